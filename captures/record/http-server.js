// The server of the HTTP recordings: HTTP/1.1 on the port it is told, with every framing that Node has, a token
// endpoint, a Digest challenge, a proxy (absolute-form and CONNECT) and WebSocket. What it answers and pushes
// holds look-alikes of requests. It writes what each request presented to the file it is told.
//   node http-server.js PORT SEEN.log [DELAY_MS]
const fs = require('fs');
const http = require('http');
const net = require('net');
const zlib = require('zlib');

const [port, seen, delay] = [Number(process.argv[2]), process.argv[3], Number(process.argv[4] || 0)];
const LOOK_ALIKE = 'GET /decoy HTTP/1.1\r\nHost: decoy\r\nAuthorization: Bearer CANARY-decoy\r\n\r\n';
let issued = 0;

// Notes which credentials the head of a request presents, as Node reads it.
function note(request, more) {
  const kinds = [...(more || [])];
  const authorization = request.headers.authorization || '';
  if (/^bearer\s+\S/i.test(authorization)) kinds.push('plaintext-bearer');
  if (/^basic\s+\S/i.test(authorization)) kinds.push('basic-auth-cleartext');
  if (/^digest\s+\S/i.test(authorization)) kinds.push('digest-auth-cleartext');
  if (request.headers.apikey) kinds.push('api-key-cleartext');
  fs.appendFileSync(seen, `${request.socket.remotePort}\t${request.method} ${request.url.split('?')[0]}\t${kinds}\n`);
}

function token(request, response, body) {
  const form = new URLSearchParams(body);
  const grant = form.get('grant_type');
  const json = JSON.stringify({ access_token: `CANARY-issued-${++issued}`, token_type: 'Bearer', expires_in: 3600 });
  note(request, [...(grant === 'password' ? ['password-grant-cleartext'] : []), 'token-issued-cleartext']);
  if (request.url.includes('zip')) {
    response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' });
    return response.end(zlib.gzipSync(json));
  }
  response.writeHead(200, { 'Content-Type': 'application/json;charset=UTF-8', 'Cache-Control': 'no-store' });
  // Without a length: chunked, in two chunks that cut the token.
  response.write(json.slice(0, 22));
  setTimeout(() => response.end(json.slice(22)), 5);
}

const answers = {
  '/no-content': (response) => response.writeHead(204).end(),
  '/not-modified': (response) => response.writeHead(304, { ETag: '"1"' }).end(),
  '/refused': (response) => response.writeHead(401, { 'WWW-Authenticate': 'Bearer realm="CANARY-realm"' }).end('no'),
  '/moved': (response) => response.writeHead(302, { Location: '/pets' }).end(),
  '/trailers': (response) => {
    response.writeHead(200, { Trailer: 'X-Sum', 'Transfer-Encoding': 'chunked' });
    for (const part of [LOOK_ALIKE, LOOK_ALIKE]) response.write(part);
    response.addTrailers({ 'X-Sum': 'Bearer CANARY-trailer' });
    response.end();
  },
  '/until-close': (response) => {
    // As servers of HTTP/1.0 do: no length, and the connection's end is the body's.
    const socket = response.socket;
    socket.write(`HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n${LOOK_ALIKE}`);
    setTimeout(() => socket.end(LOOK_ALIKE), 5);
  },
};

function answer(request, response) {
  const path = new URL(request.url, 'http://x').pathname;
  if (request.method === 'POST' && path === '/token') {
    let body = '';
    return request.on('data', (part) => { body += part; }).on('end', () => token(request, response, body));
  }
  note(request);
  request.resume();
  if (path === '/digest' && !/^digest/i.test(request.headers.authorization || '')) {
    response.writeHead(401, { 'WWW-Authenticate': 'Digest realm="gw", nonce="n1", qop="auth", algorithm=MD5' });
    return response.end();
  }
  if (answers[path]) return answers[path](response);
  const length = Number(new URL(request.url, 'http://x').searchParams.get('bytes') || 0);
  const body = LOOK_ALIKE.repeat(1 + Math.floor(length / LOOK_ALIKE.length));
  const send = () => {
    response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': Buffer.byteLength(body) });
    response.end(request.method === 'HEAD' ? undefined : body);
  };
  request.on('end', () => (delay ? setTimeout(send, delay) : send()));
}

// A proxy's two duties: requests in absolute-form are passed on, tunnels are opened.
function forward(request, response) {
  note(request);
  const target = new URL(request.url);
  const { 'proxy-authorization': _, ...headers } = request.headers;
  const path = target.pathname + target.search;
  const onward = http.request({ host: target.hostname, port: target.port, method: request.method, path, headers });
  onward.on('response', (back) => { response.writeHead(back.statusCode, back.headers); back.pipe(response); });
  request.pipe(onward);
}

const server = http.createServer((request, response) =>
  (request.url.startsWith('http://') ? forward(request, response) : answer(request, response)));
server.keepAliveTimeout = 20_000;
server.on('connect', (request, socket, head) => {
  note(request);
  const [host, to] = request.url.split(':');
  if (host === 'refused') return socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n');
  const onward = net.connect(Number(to), host, () => {
    socket.write('HTTP/1.1 200 Connection established\r\n\r\n');
    onward.write(head);
    socket.pipe(onward).pipe(socket);
  });
  for (const end of [socket, onward]) end.on('error', () => { socket.destroy(); onward.destroy(); });
});
try {
  const { WebSocketServer } = require('ws');
  const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: true });
  server.on('upgrade', (request, socket, head) => {
    note(request);
    if (request.headers.upgrade.toLowerCase() !== 'websocket') {
      return socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
    }
    sockets.handleUpgrade(request, socket, head, (peer) => {
      peer.on('message', (message, isBinary) => { if (message.length < 2000) peer.send(message, { binary: isBinary, compress: message.length > 100 }); });
      for (const text of [LOOK_ALIKE, 'HTTP/1.1 200 OK\r\n\r\n']) peer.send(text, { compress: false });
      peer.ping('Authorization: Bearer CANARY-ping');
    });
  });
} catch {
  // Recordings without WebSocket do without the package.
}
server.listen(port, '::');
