"""HTTP/1: where a token counts, however it travels, and where it does not."""

from . import speech, wire
from .book import bearers, found
from .conversation import MICRO, MILLI, SECOND, Capture, Tcp
from .speech import answer, basic, bearer, form, request, token
from .wire import ACK, PSH, SYN

CLIENT, GATEWAY = "10.0.2.7", "10.0.3.10"

# As short as a request with a token may be: many connections of it stay small.
SHORT = f"GET / HTTP/1.1\r\nHost: gw\r\n{bearer(1)}\r\n\r\n".encode()


def connection(capture, port=40001, at=None, server=8280):
    """Returns a connection from the client to the gateway that has not begun."""
    return Tcp(capture, (CLIENT, port), (GATEWAY, server), at)


def one(*asks, port=40001, server=8280):
    """Returns a capture of one connection with requests and their answers."""
    capture = Capture()
    talk = connection(capture, port, server=server).open()
    for ask in asks:
        ask, reply = ask if isinstance(ask, tuple) else (ask, answer())
        talk.ask(ask, reply)
    talk.close()
    return capture


def several(*conversations):
    """Returns a capture of connections one after the other, each with one request and its answer."""
    capture = Capture()
    for index, (ask, reply) in enumerate(conversations):
        talk = connection(capture, 40001 + index, capture.now + index * SECOND).open()
        talk.ask(ask, reply)
        talk.close()
    return capture


def add(book):
    """Adds the captures of http/."""
    whole(book)
    pieces(book)
    spellings(book)
    places(book)
    framing(book)
    losses(book)
    silence(book)


def whole(book):
    """One request, and its like."""
    book.pcap("http/token-in-header.pcap", "a token in an Authorization header",
              one(request("/pizzashack/1.0.0/menu", bearer(1))), 1, bearers(), first_frame=4, exit=1)
    plain = [request("/pizzashack/1.0.0/menu") for _ in range(4)]
    capture = one(*plain, request("/pizzashack/1.0.0/order", bearer(1)))
    book.pcap("http/fifth-request.pcap", "a token in the fifth request of a keep-alive connection only",
              capture, 1, bearers(), first_frame=16)
    wanted = [request("/a", bearer(1)), request("/b"), request("/c", bearer(2)), request("/d", bearer(1))]
    capture = Capture()
    talk = connection(capture).open()
    talk.ask(b"".join(wanted), answer() * 4)
    talk.close()
    book.pcap("http/pipelined.pcap", "four requests in one segment, three with a token", capture, 1,
              bearers(3), first_frame=4)
    book.pcap("http/refused-401.pcap", "a token that the gateway refuses, with 401 and with 400: presented all the same",
              one((request("/a", bearer(1)), answer("401 Unauthorized")),
                  (request("/b", bearer(1)), answer("400 Bad Request"))), 1, bearers(2))
    book.pcap("http/other-port.pcap", "a token in clear on a port of no catalogue",
              one(request("/a", bearer(1), host="shop.example.com"), server=18999), 1, bearers(), exit=1)


def pieces(book):
    """The same bytes in other segments."""
    capture = Capture()
    line = SHORT.index(b"Authorization")
    cuts = range(line, len(SHORT))
    for index, cut in enumerate(cuts):
        talk = connection(capture, 40001 + index, capture.now + index * 10 * MILLI).open()
        talk.say(0, SHORT, [cut, len(SHORT)], acked=False)
        talk.wait(MILLI).packet(1, ACK)
    book.pcap("http/split-everywhere.pcap",
              "the Authorization line cut into two segments, once at each of its bytes", capture,
              len(cuts), bearers(len(cuts), len(cuts)))
    capture = Capture()
    connection(capture).open().say(0, SHORT, [1]).say(1, answer()).close()
    book.pcap("http/one-byte-segments.pcap", "each byte in a segment of its own", capture, 1, bearers(), first_frame=4)
    capture = Capture()
    talk = connection(capture).open()
    start, parts = talk.seq[0], [SHORT[at:at + 9] for at in range(0, len(SHORT), 9)]
    for index in reversed(range(len(parts))):
        talk.packet(0, PSH | ACK, parts[index], seq=start + 9 * index)
    talk.seq[0] += len(SHORT)
    talk.say(1, answer()).close()
    book.pcap("http/reordered.pcap", "segments in the opposite order", capture, 1, bearers())
    capture = Capture()
    talk = connection(capture).open()
    start = talk.seq[0]
    talk.say(0, SHORT, [20])
    for at, end in [(0, 20), (10, 45), (0, len(SHORT)), (len(SHORT) - 5, len(SHORT))]:
        talk.wait(200 * MILLI).packet(0, PSH | ACK, SHORT[at:end], seq=start + at)
    talk.say(1, answer()).say(0, request("/b", bearer(2))).say(1, answer()).close()
    book.pcap("http/retransmitted.pcap", "a request sent again, whole and in overlapping parts, then a second request",
              capture, 1, bearers(2))
    capture = one(request("/a", bearer(1)), request("/b", bearer(2)))
    capture.frames = [frame for frame in capture.frames for _ in range(2)]
    book.pcap("http/mirrored-twice.pcap", "two requests, each frame captured twice by the mirror port", capture, 1, bearers(2))
    capture = Capture()
    talk = connection(capture)
    cookie = bytes.fromhex("020405b4 0402 01 030307 220a 0102030405060708".replace(" ", ""))
    talk.open(SHORT, options=cookie)
    talk.say(1, answer()).close()
    book.pcap("http/syn-with-data.pcap", "a request in the SYN (TCP Fast Open)", capture, 1, bearers(), first_frame=1)
    capture = Capture()
    talk = connection(capture)
    talk.packet(0, SYN, SHORT, options=cookie, advance=False)
    talk.seq[0] += 1
    talk.wait(60 * MICRO).packet(1, SYN | ACK)
    talk.wait(MILLI).packet(0, ACK)
    talk.say(0, SHORT).say(1, answer()).close()
    book.pcap("http/syn-data-sent-again.pcap", "a request in the SYN that the server does not take, sent again", capture, 1, bearers())
    filler = [f"X-Filler-{index:03}: {'0123456789' * 9}" for index in range(400)]
    book.pcap("http/after-40-kib-of-headers.pcap", "a token behind 40 KiB of other headers",
              one(request("/a", *filler, bearer(1))), 1, bearers(), first_frame=4)
    capture = Capture()
    talk = connection(capture)
    talk.say(0, b'"item":"tail of a body that began before the capture"}')
    talk.say(1, answer()).say(0, request("/b", bearer(1))).say(1, answer())
    talk.say(0, request("/c", bearer(1))).say(1, answer())
    book.pcap("http/joined-midway.pcap", "a connection joined in the middle of a body, then two requests", capture, 1, bearers(2))


def spellings(book):
    """Heads that servers take, however odd."""
    spelt = {
        "bare-lf": ("lines that end with LF alone", f"GET /a HTTP/1.1\nHost: gw\n{bearer(1)}\n\n"),
        "obs-fold": ("a header folded over three lines (RFC 9112 §5.2)",
                     f"GET /a HTTP/1.1\r\nHost: gw\r\nAuthorization:\r\n Bearer\r\n\t{token(1)}\r\n\r\n"),
        "space-before-colon": ("a space between name and colon",
                               f"GET /a HTTP/1.1\r\nHost: gw\r\nAuthorization : Bearer {token(1)}\r\n\r\n"),
        "scheme-in-any-case": ("scheme and name in mixed case, tabs for spaces",
                               f"GET /a HTTP/1.1\r\nHost: gw\r\naUTHORIZATION:bEaReR\t \t{token(1)}\t\r\n\r\n"),
        "leading-blank-lines": ("blank lines before the request line (RFC 9112 §2.2)",
                                f"\r\n\r\nGET /a HTTP/1.1\r\nHost: gw\r\n{bearer(1)}\r\n\r\n"),
        "malformed-head": ("a head with garbage, a NUL and a line without a colon in it",
                           f"GET /a b HTTP/1.1\r\nHost gw\r\n: nothing\r\n\x00\x7f: x\r\n{bearer(1)}\r\n\r\n"),
        "http-1.0": ("HTTP/1.0 without a Host", f"GET /a HTTP/1.0\r\n{bearer(1)}\r\n\r\n"),
    }
    for name, (shows, text) in spelt.items():
        book.pcap(f"http/{name}.pcap", shows, one(text.encode("latin-1")), 1, bearers())
    several_lines = request("/a", basic("app", speech.password(1)), "Authorization: Negotiate abc", bearer(1))
    book.pcap("http/several-authorization-lines.pcap", "Basic, Negotiate and Bearer in one head",
              one(several_lines), 1, bearers(basic_auth_cleartext=found()))
    capture = Capture()
    talk = connection(capture).open()
    talk.say(0, f"GET /a HTTP/1.1\r\nHost: gw\r\n{bearer(1)}\r\nX-Last: never fini".encode())
    talk.close()
    book.pcap("http/unfinished-head.pcap", "a head that never ends, behind a whole Authorization line", capture, 1, bearers())


def places(book):
    """Every place where RFC 6750 lets a token stand, and credentials of other kinds."""
    book.pcap("http/query.pcap", "a token in the query, its name percent-encoded, and beside a header: each request once",
              one(request(f"/a?x=1&access_token={token(1)}&y=2"), request(f"/a?%61ccess%5Ftoken={token(1)}"),
                  request(f"/a?access_token={token(1)}", bearer(1))), 1, bearers(3))
    book.pcap("http/form-body.pcap", "a token in a form body, in two spellings",
              one(form("/a", f"x=1&access_token={token(1)}"),
                  form("/b", f"a%63cess_token={token(1).replace('-', '%2D')}&y=2")), 1, bearers(2))
    book.pcap("http/absolute-form.pcap", "a request as proxies get it, with a token in its query",
              one(request(f"http://gw.example.com:8280/a?access_token={token(1)}")), 1, bearers())
    book.pcap("http/proxy-credentials.pcap", "credentials for a proxy are none in Authorization",
              one(request("http://gw.example.com:8280/a", basic("proxy", speech.password(2), "Proxy-Authorization"))), 1)
    book.pcap("http/basic.pcap", "Basic credentials, once those that ship with the product",
              several((request("/services/Version", basic("admin", "admin")), answer()),
                      (request("/services/Version", basic("audit", speech.password(3))), answer())), 2,
              {"basic-auth-cleartext": found(2, 2), "default-credentials": found()})
    digest = ('Authorization: Digest username="audit", realm="gw", nonce="4f2a", uri="/a", '
              'response="6629fae49393a05397450978507c4ef1"')
    book.pcap("http/digest.pcap", "Digest credentials", one(request("/a", digest)), 1, {"digest-auth-cleartext": found()})
    book.pcap("http/api-keys.pcap", "API keys in header and query, an internal key",
              one(request("/a", f"apikey: {token(4)}"), request(f"/a?apikey={token(4)}"),
                  request("/a", f"Internal-Key: {token(5)}")), 1,
              {"api-key-cleartext": found(2), "internal-key-cleartext": found()})
    book.pcap("http/backend-jwt.pcap", "the gateway's assertion on its way to a back end",
              one(request("/orders", f"X-JWT-Assertion: {token(6)}", host="orders.example.com"), server=18080), 1,
              {"backend-jwt-cleartext": found()})
    grant = form("/token", f"grant_type=password&username=anna&password={speech.password(4)}",
                 basic("clientid", speech.password(5)))
    issued = f'{{"access_token":"{token(7)}","token_type":"Bearer","expires_in":3600}}'.encode()
    book.pcap("http/password-grant.pcap", "a user's password exchanged for a token",
              one((grant, answer(body=issued))), 1,
              {"basic-auth-cleartext": found(), "password-grant-cleartext": found(), "token-issued-cleartext": found()})


def framing(book):
    """What is a head and what is not, by the framing of messages."""
    fake = f"GET /fake HTTP/1.1\r\n{bearer(9)}\r\n\r\n".encode()
    head = request("/a", "Transfer-Encoding: chunked", method="POST")
    book.pcap("http/chunked-body.pcap", "a look-alike of a request in a chunked body, then a real one",
              one(head + speech.chunked(fake, b"x" * 300, fake), request("/b", bearer(1))), 1, bearers())
    book.pcap("http/body-with-length.pcap", "a look-alike of a request in a body of known length, then a real one",
              one(request("/a", method="POST", body=fake), request("/b", bearer(1))), 1, bearers())
    book.pcap("http/head-and-304.pcap", "answers without the bodies that their heads announce",
              one((request("/a", bearer(1), method="HEAD"), answer(body=b"", length=900)),
                  (request("/b", bearer(1)), answer("304 Not Modified", b"", length=900)),
                  (request("/c", bearer(1)), b"HTTP/1.1 204 No Content\r\n\r\n"),
                  (request("/d", bearer(1)), answer())), 1, bearers(4))
    continued = request("/a", bearer(1), "Expect: 100-continue", "Content-Length: 5", method="POST")
    capture = Capture()
    talk = connection(capture).open()
    talk.ask(continued, b"HTTP/1.1 100 Continue\r\n\r\n").ask(b"hello", answer()).ask(request("/b", bearer(1)), answer())
    talk.close()
    book.pcap("http/continue.pcap", "a body that waits for 100 Continue", capture, 1, bearers(2))
    connect = request("orders.example.com:80", method="CONNECT", host="orders.example.com:80")
    ok = b"HTTP/1.1 200 Connection established\r\n\r\n"
    book.pcap("http/connect-tunnel.pcap", "a token inside a tunnel in clear",
              one((connect, ok), request("/a", bearer(1))), 1, bearers())
    upgrade = ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
    switched = (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
    frame = b"\x81\xfe" + len(fake).to_bytes(2, "big") + bytes(4) + fake
    capture = one((request("/chat", bearer(1), *upgrade, host="gw.example.com:9099"), switched),
                  (frame, b"\x81\x02ok"), server=9099)
    book.pcap("http/websocket.pcap", "a token in a WebSocket handshake, a look-alike of a request in its frames",
              capture, 1, bearers())
    capture.frames = [f for f in capture.frames if f[1][6:12] == wire.CLIENT_MAC]
    book.pcap("http/websocket-one-direction.pcap", "the same without the server's side: the next bytes decide",
              capture, 1, bearers())
    book.pcap("http/connect-refused.pcap", "a tunnel that the proxy refuses, then a request with a token",
              one((connect, answer("403 Forbidden")), request("/a", bearer(1))), 1, bearers())
    both = request("/a", "Content-Length: 5", "Transfer-Encoding: chunked", method="POST")
    book.pcap("http/length-and-chunked.pcap", "a body with both framings: chunked counts (RFC 9112 §6.3)",
              one(both + speech.chunked(b"x" * 40, fake), request("/b", bearer(1))), 1, bearers())
    capture = one(request("/a", bearer(1)), request("/b", bearer(1)))
    order = [0, 1, 2, 4, 3, 5, 7, 6, 8, 9, 10, 11]
    times = [frame[0] for frame in capture.frames]
    capture.frames = [(at, *capture.frames[index][1:]) for at, index in zip(times, order)]
    book.pcap("http/answer-before-request.pcap", "a mirror port that swaps each request with its answer", capture, 1, bearers(2))
    asks = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"]
    book.pcap("http/upgrade-refused.pcap", "an upgrade that the server does not take",
              one(request("/a", *asks), request("/b", bearer(1))), 1, bearers())


def losses(book):
    """What was never captured, captured in part, or captured twice with different content."""
    capture = Capture()
    talk = connection(capture).open()
    post = request("/a", method="POST", body=b"x" * 600)
    talk.say(0, post[:300])
    talk.seq[0] += 200
    talk.say(0, post[500:]).say(1, answer()).say(0, request("/b", bearer(1))).say(1, answer()).close()
    book.pcap("http/hole-in-body.pcap", "bytes of a body missing: its length is known", capture, 1, bearers(),
              uninspected={}, exit=1)
    capture = Capture()
    talk = connection(capture).open()
    talk.say(0, SHORT[:30])
    talk.seq[0] += 20
    talk.say(0, SHORT[50:]).say(1, answer()).close()
    book.pcap("http/hole-in-head.pcap", "bytes of a head missing, and with them half of a token", capture, 1,
              uninspected={"hole": 1}, exit=3)
    capture = one(request("/a", bearer(1)))
    # The token's first bytes are the last that are captured.
    capture.cut(54 + request("/a", bearer(1)).index(b"CANARY") + 3)
    book.pcap("http/snaplen-in-token.pcap", "frames cut in the middle of the token", capture, 1,
              uninspected={"snaplen": 1}, exit=3)
    capture = Capture()
    talk = connection(capture).open()
    start = talk.seq[0]
    talk.say(0, SHORT)
    talk.packet(0, PSH | ACK, SHORT.replace(b"Bearer", b"Baerer"), seq=start)
    talk.say(1, answer()).close()
    book.pcap("http/conflicting-overlap.pcap", "a retransmission with other content: the first bytes count", capture, 1,
              bearers(), uninspected={"overlap": 1})


def silence(book):
    """Near misses."""
    fake = f"GET /fake HTTP/1.1\r\n{bearer(9)}\r\n\r\n".encode()
    text = f"access_token={token(9)}".encode()
    book.pcap("http/near-misses.pcap",
              "the words without a token: in answers and bodies, challenges, empty tokens, other headers, other forms",
              several(
                  (request("/a"), answer("401 Unauthorized", b"", 'WWW-Authenticate: Bearer realm="gw"')),
                  (request("/a"), answer("200 OK", fake, bearer(9))),
                  (request("/a", method="POST", body=fake), answer()),
                  (request("/a", "Authorization: Bearer"), answer()),
                  (request("/a", "Authorization: Bearer \t "), answer()),
                  (request("/a", f"X-Authorization: Bearer {token(9)}"), answer()),
                  (request("/a", f"X-Note: {bearer(9)}"), answer()),
                  (request("/a", f"Sec-WebSocket-Protocol: v1, authorization.bearer.{token(9)}"), answer()),
                  (request("/a?access_token="), answer()),
                  (request("/a?access_token=&x=1#access_token"), answer()),
                  (request(f"/access_token={token(9)}"), answer()),
                  (request(f"/a?my_access_token={token(9)}"), answer()),
                  (request("/a", "Content-Type: text/plain", method="POST", body=text), answer()),
                  (request("/a", "Content-Type: multipart/form-data", method="POST", body=text), answer()),
                  (form("/a", "access_token=&x=1"), answer()),
                  (f"GET /a HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer {token(9)}".encode(), None),
              ), 16, exit=0)
