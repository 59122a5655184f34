"""What clients and servers say: HTTP, TLS up to its encryption, and the platform's other protocols."""

import base64
import struct

from .conversation import noise

# Every secret in these captures is one of these words and a number behind it.
TOKEN = "CANARY-"
PASSWORD = "canary-pw-"

HOST = "gw.example.com:8280"


def token(number):
    """Returns an opaque bearer token."""
    return f"{TOKEN}{number:04}-d2f1c0"


def password(number):
    """Returns a password."""
    return f"{PASSWORD}{number}"


def bearer(number):
    """Returns the Authorization line of a token."""
    return f"Authorization: Bearer {token(number)}"


def basic(user, secret, name="Authorization"):
    """Returns the line of Basic credentials."""
    return f"{name}: Basic {base64.b64encode(f'{user}:{secret}'.encode()).decode()}"


def request(target="/pizzashack/1.0.0/menu", *lines, method="GET", host=HOST, agent="curl/8.5.0", body=b""):
    """Returns a request; a body brings its length."""
    head = [f"{method} {target} HTTP/1.1", f"Host: {host}", f"User-Agent: {agent}", *lines]
    if body:
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def form(target, parameters, *lines, **more):
    """Returns a POST of a URL-encoded form."""
    kind = "Content-Type: application/x-www-form-urlencoded"
    return request(target, *lines, kind, method="POST", body=parameters.encode(), **more)


def answer(status="200 OK", body=b'{"status":"ok"}', *lines, length=None):
    """Returns a response; `length` may say another length than the body's."""
    if length is None:
        length = len(body)
    head = [f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {length}", *lines]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def chunked(*parts):
    """Returns a body in the chunked coding (RFC 9112 §7.1)."""
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (*parts, b""))


def record(kind, version, body):
    """Returns a TLS record (RFC 8446 §5.1)."""
    return struct.pack(">BHH", kind, version, len(body)) + body


def vector(size, body):
    """Returns a vector with its length in front (RFC 8446 §3.4)."""
    return len(body).to_bytes(size, "big") + body


def extension(kind, body):
    """Returns an extension."""
    return struct.pack(">H", kind) + vector(2, body)


def client_hello(name, version=0x0304, alpn=("h2", "http/1.1"), seed=0):
    """Returns a ClientHello like that of a common client of the version (RFC 8446 §4.1.2, RFC 5246 §7.4.1.2)."""
    suites = [0xC02F, 0xC030, 0xC02B, 0xC02C, 0x009C, 0x009D, 0x002F, 0x0035, 0x00FF]
    extensions = b""
    if name:
        extensions += extension(0, vector(2, b"\0" + vector(2, name.encode())))
    extensions += extension(23, b"") + extension(11, b"\1\0")
    extensions += extension(10, vector(2, struct.pack(">HHH", 29, 23, 24)))
    if version >= 0x0303:
        schemes = [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501]
        extensions += extension(13, vector(2, struct.pack(">6H", *schemes)))
        if alpn:
            protocols = b"".join(vector(1, name.encode()) for name in alpn)
            extensions += extension(16, vector(2, protocols))
    if version >= 0x0304:
        suites = [0x1301, 0x1302, 0x1303, *suites]
        extensions += extension(43, vector(1, struct.pack(">HH", 0x0304, 0x0303)))
        share = struct.pack(">H", 29) + vector(2, noise(32, "share", seed))
        extensions += extension(51, vector(2, share)) + extension(45, b"\1\1")
    body = struct.pack(">H", min(version, 0x0303)) + noise(32, "client random", seed)
    body += vector(1, noise(32, "session", seed))
    body += vector(2, struct.pack(f">{len(suites)}H", *suites)) + vector(1, b"\0")
    body += vector(2, extensions)
    return record(22, 0x0301, b"\1" + vector(3, body))


def server_hello(version=0x0304, seed=0):
    """Returns a ServerHello and what follows it in the same flight.

    Below TLS 1.3 it resumes the client's session, so that no certificate is needed (RFC 5246 §7.3).
    """
    body = struct.pack(">H", min(version, 0x0303)) + noise(32, "server random", seed)
    body += vector(1, noise(32, "session", seed))
    change = record(20, min(version, 0x0303), b"\1")
    if version >= 0x0304:
        share = struct.pack(">H", 29) + vector(2, noise(32, "server share", seed))
        extensions = extension(43, struct.pack(">H", 0x0304)) + extension(51, share)
        body += struct.pack(">HB", 0x1301, 0) + vector(2, extensions)
        hello = record(22, 0x0303, b"\2" + vector(3, body))
        return hello + change + record(23, 0x0303, noise(520, "flight", seed))
    body += struct.pack(">HB", 0xC02F if version == 0x0303 else 0x002F, 0)
    body += vector(2, extension(0xFF01, b"\0"))
    finished = record(22, version, noise(40, "finished", seed))
    return record(22, version, b"\2" + vector(3, body)) + change + finished


def tls(connection, name, version=0x0304, exchanges=1, seed=0, alpn=("http/1.1",)):
    """Shakes TLS's hands on an open connection and exchanges encrypted data."""
    wire_version = min(version, 0x0303)
    connection.ask(client_hello(name, version, alpn, seed), server_hello(version, seed))
    finished = record(20, wire_version, b"\1")
    kind = 23 if version >= 0x0304 else 22
    finished += record(kind, wire_version, noise(53, "client finished", seed))
    connection.say(0, finished)
    for index in range(exchanges):
        question = record(23, wire_version, noise(180 + index % 7 * 11, "question", seed, index))
        reply = record(23, wire_version, noise(260 + index % 5 * 17, "reply", seed, index))
        connection.ask(question, reply)
    return connection


def databridge_login(user, secret):
    """Returns a login frame of WSO2's binary databridge (BinaryEventSender.java)."""
    body = struct.pack(">II", len(user), len(secret)) + (user + secret).encode()
    return b"\0" + vector(4, body)


def databridge_publish(session, events, at_ms):
    """Returns a publish frame with events of the throttling stream."""
    body = vector(4, session.encode()) + struct.pack(">I", events)
    for index in range(events):
        stream = b"org.wso2.throttle.request.stream:1.0.0"
        event = struct.pack(">Q", at_ms + index) + vector(4, stream)
        event += b"".join(vector(4, word) for word in (b"/pizzashack/1.0.0", b"Unlimited", b"carbon.super"))
        body += vector(4, event)
    return b"\2" + vector(4, body)


def amqp_method(number, arguments):
    """Returns an AMQP 0-9-1 method frame of the connection class (AMQP 0-9-1 §4.2.3)."""
    return b"\1\0\0" + vector(4, struct.pack(">HH", 10, number) + arguments) + b"\xce"


def amqp_start():
    """Returns connection.start: version, properties, mechanisms, locales."""
    properties = vector(1, b"product") + b"S" + vector(4, b"WSO2 Andes")
    return amqp_method(10, b"\0\x09" + vector(4, properties) + vector(4, b"PLAIN AMQPLAIN") + vector(4, b"en_US"))


def amqp_start_ok(user, secret):
    """Returns connection.start-ok with PLAIN credentials."""
    properties = vector(1, b"product") + b"S" + vector(4, b"Andes client")
    response = b"\0" + user.encode() + b"\0" + secret.encode()
    return amqp_method(11, vector(4, properties) + vector(1, b"PLAIN") + vector(4, response) + vector(1, b"en_US"))


def utf(text):
    """Returns text as Java's DataOutput.writeUTF writes it."""
    return vector(2, text.encode())


JRMI = b"JRMI\0\2K"


def jrmp_ack(host, port):
    """Returns the server's answer to the stream protocol."""
    return b"N" + utf(host) + struct.pack(">I", port)


def jrmp_host(host):
    """Returns the client's own endpoint."""
    return utf(host) + struct.pack(">I", 0)


def jrmp_lookup(name="jmxrmi"):
    """Returns a registry lookup."""
    call = b"P\xac\xed\0\5w\x22" + bytes(22)
    return call + struct.pack(">I", 2) + bytes.fromhex("44154dc9d4e63bdf") + b"t" + utf(name)


def jrmp_stub(host, port, seed=0):
    """Returns the answer to a lookup: a stub that names host and port of the object (LiveRef.java)."""
    out = b"Q\xac\xed\0\5w\x0f\1" + noise(14, "uid", seed)
    out += b"sr" + utf("javax.management.remote.rmi.RMIServerImpl_Stub") + struct.pack(">QBH", 2, 2, 0)
    out += b"xr" + utf("java.rmi.server.RemoteStub") + bytes.fromhex("e9fedcc98be1651a 02 0000".replace(" ", ""))
    out += b"xr" + utf("java.rmi.server.RemoteObject")
    out += bytes.fromhex("d361b4910c61331e 03 0000".replace(" ", "")) + b"xp"
    reference = utf("UnicastRef") + utf(host) + struct.pack(">I", port) + noise(22, "object", seed) + b"\1"
    return out + b"w" + vector(1, reference) + b"x"


def jrmp_login(user, secret, seed=0):
    """Returns the call newClient with a user's name and password."""
    out = b"P\xac\xed\0\5w\x22" + noise(22, "object", seed) + b"\xff" * 4
    out += bytes.fromhex("f0e074eaad0caea8") + b"ur" + utf("[Ljava.lang.String;")
    out += bytes.fromhex("add256e7e91d7b47 02 0000".replace(" ", "")) + b"xp" + struct.pack(">I", 2)
    return out + b"t" + utf(user) + b"t" + utf(secret)


def jrmp_refused(seed=0):
    """Returns the answer to a login that was refused."""
    out = b"Q\xac\xed\0\5w\x0f\2" + noise(14, "uid", seed)
    return out + b"sr" + utf("java.lang.SecurityException") + bytes.fromhex("5f6cb4d2a1ebd2a5 02 0000 78 70".replace(" ", ""))


def ber(tag, body):
    """Returns a BER element with a short length."""
    return bytes([tag]) + vector(1, body)


def ldap_bind(number, name, secret):
    """Returns a simple bind (RFC 4511 §4.2)."""
    bind = ber(2, b"\3") + ber(4, name.encode()) + ber(0x80, secret.encode())
    return ber(0x30, ber(2, bytes([number])) + ber(0x60, bind))


def ldap_bound(number, code=0):
    """Returns the answer to a bind."""
    result = ber(10, bytes([code])) + ber(4, b"") + ber(4, b"")
    return ber(0x30, ber(2, bytes([number])) + ber(0x61, result))


def ldap_unbind(number):
    """Returns an unbind."""
    return ber(0x30, ber(2, bytes([number])) + b"\x42\0")


def dns(number, name, address=None):
    """Returns a DNS question for an address, or the answer to it (RFC 1035 §4.1)."""
    labels = b"".join(vector(1, label.encode()) for label in name.split(".")) + b"\0"
    flags, answers = (0x8180, 1) if address else (0x0100, 0)
    out = struct.pack(">HHHHHH", number, flags, 1, answers, 0, 0) + labels + struct.pack(">HH", 1, 1)
    if address:
        out += struct.pack(">HHHIH", 0xC00C, 1, 1, 300, 4) + bytes(map(int, address.split(".")))
    return out


def syslog(number, text):
    """Returns a log line (RFC 5424 §6)."""
    return f"<13>1 2026-11-23T09:15:{number:02}Z gw-1 wso2am 411 - - {text}".encode()
