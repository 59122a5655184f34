"""Protocols beside HTTP and TLS: logins in every version, ways to TLS, endpoints that registries name, and traps."""

import struct

from .book import found
from .conversation import MILLI, MSS, SECOND, SYN_OPTIONS, Capture, Tcp, datagram, noise
from .speech import (
    JRMI, amqp_start, answer, ber, client_hello, databridge_login, jrmp_ack, jrmp_host, jrmp_login, jrmp_lookup,
    jrmp_refused, jrmp_stub, ldap_bind, ldap_bound, password, request, utf, vector,
)
from .wire import ACK, RST, SYN

CLIENT, SERVER, ELSEWHERE = "10.0.2.7", "10.0.3.10", "10.0.3.99"
SESSION = b"123e4567-e89b-12d3-a456-426614174000"
HELLO = client_hello("gw.example.com")
ALERT = bytes.fromhex("15030300020246")
GET = request("/health", host="gw")

# Numbers of the documents, with encryption and without.
NUMBERS = (
    8280, 8243, 9443, 9763, 9611, 9711, 7611, 7711, 5672, 8672, 1883, 8883, 9999, 11111, 10389, 8000, 4000, 9099, 8099,
    9021, 10397, 10500, 7000, 9092, 54321, 8290, 8253,
)


class Talks(Capture):
    """Conversations one after the other, each with a client port of its own."""

    def __init__(self):
        super().__init__()
        self.flows = 0

    def client(self):
        self.flows += 1
        return CLIENT, 50000 + self.flows

    def talk(self, port, *said, server=SERVER):
        """Adds a connection; the client begins, and bytes are said by turns."""
        tcp = Tcp(self, self.client(), (server, port)).open()
        for index, data in enumerate(said):
            if data:
                tcp.say(index % 2, data, [MSS])
        self.now = tcp.close().now + SECOND


def add(book):
    """Adds the captures of others/."""
    for add_one in (jmx, ldap, amqp, mqtt, thrift, snmp, in_kind, dns_numbered, client_ports, nonsense, scan):
        add_one(book)


def jmx(book):
    talks = Talks()

    def session(port, *said, server=SERVER):
        talks.talk(port, JRMI, jrmp_ack(CLIENT, 50000), jrmp_host(CLIENT) + said[0], *said[1:], server=server)

    def named(host, port, stub=None, registry=9999):
        session(registry, jrmp_lookup(), stub or jrmp_stub(host, port, port))

    def let_in(port):
        return jrmp_stub(SERVER, port, port)

    named("127.0.0.1", 41001)
    session(41001, jrmp_login("admin", "admin"), let_in(41001))
    named("gw.example.org", 41002)
    session(41002, jrmp_login("monitor", password(1)), jrmp_refused())
    named(ELSEWHERE, 41003)
    session(41003, jrmp_login("monitor", password(2)), let_in(41003), server=ELSEWHERE)
    named("other.example.org", 41004)
    nobody = jrmp_login("", "")
    session(41004, nobody[:nobody.index(b"ur")] + b"p", let_in(41004), server="10.0.3.98")
    named("gw.example.org", 41005, with_factory("gw.example.org", 41005, b"\1", TLS_FACTORY))
    talks.talk(41005, HELLO)
    named("gw", 41006, with_factory("gw", 41006, b"\0", noise(22, "id") + b"\1"), registry=1099)
    session(41006, jrmp_login("monitor", password(3)), let_in(41006))
    # Named only afterwards, and not asked again.
    talks.talk(41007, HELLO)
    named("gw", 41007)
    # A header alone is no session where something else answers.
    talks.talk(20001, JRMI, answer("400 Bad Request"))
    talks.talk(20002, JRMI, ALERT)
    findings = {
        "jmx-no-tls": found(12, 12), "jmx-login-cleartext": found(4, 4), "jmx-no-auth": found(),
        "default-credentials": found(),
    }
    book.pcap("others/jmx.pcap", "JMX open, with passwords and behind TLS; on ports that a registry names by loopback address, "
              "by name, by another address", talks, talks.flows, findings, roles={"jmx": 15})


TLS_FACTORY = b"sr" + utf("javax.rmi.ssl.SslRMIClientSocketFactory") + bytes.fromhex("000000000000000102000078 70")


def with_factory(host, port, format_, behind):
    """Returns the answer to a lookup with a reference that may hold a socket factory (TCPEndpoint.java)."""
    plain = jrmp_stub(host, port)
    at = plain.index(b"w", 100)
    reference = utf("UnicastRef2") + format_ + utf(host) + struct.pack(">I", port)
    return plain[:at] + b"w" + vector(1, reference) + behind


def ldap(book):
    talks = Talks()
    ask_tls = ber(0x30, ber(2, b"\1") + ber(0x77, ber(0x80, b"1.3.6.1.4.1.1466.20037")))

    def agreed(code):
        return ber(0x30, ber(2, b"\1") + ber(0x78, ber(10, bytes([code])) + ber(4, b"") + ber(4, b"")))

    talks.talk(389, ask_tls, agreed(0), HELLO, ALERT)
    talks.talk(389, ask_tls, agreed(2), ldap_bind(2, "cn=a,dc=x", password(1)), ldap_bound(2))
    talks.talk(389, ask_tls, agreed(52), ask_tls, agreed(0), HELLO)
    # What follows TLS is inside, whatever it looks like.
    talks.talk(389, ask_tls, agreed(0), HELLO, ALERT, ldap_bind(2, "cn=a,dc=x", password(2)))
    talks.talk(389, ldap_bind(1, "cn=a,dc=x", ""), ldap_bound(1, 53))
    talks.talk(389, ldap_bind(1, "", ""), ldap_bound(1))
    talks.talk(389, ldap_bind(1, "cn=a", password(3)), ldap_bound(1), ldap_bind(2, "cn=a", password(4)), ldap_bound(2, 49))
    talks.talk(389, ldap_bind(1, "cn=a", password(5)) + ask_tls, ldap_bound(1) + agreed(0), HELLO)
    talks.talk(10389, ldap_bind(1, "uid=admin,ou=system", "admin"), ldap_bound(1))
    plain = ber(4, b"PLAIN") + ber(4, b"\0user\0" + password(6).encode())
    bind = ber(0x60, ber(2, b"\3") + ber(4, b"") + ber(0xA3, plain))
    talks.talk(389, ber(0x30, ber(2, b"\1") + bind), ldap_bound(1))
    # Windows writes every length in four bytes.
    bind = long_ber(0x60, ber(2, b"\3") + ber(4, b"cn=w") + ber(0x80, password(7).encode()))
    talks.talk(389, long_ber(0x30, long_ber(2, b"\1") + bind), ldap_bound(1))
    findings = {"ldap-simple-bind-cleartext": found(7, 6), "default-credentials": found()}
    book.pcap("others/ldap.pcap", "binds with and without a password, before, instead of and behind StartTLS",
              talks, talks.flows, findings)


def long_ber(tag, body):
    """Returns a BER element with a length of four bytes."""
    return bytes([tag, 0x84]) + vector(4, body)


def amqp(book):
    talks = Talks()

    def method(number, arguments):
        return b"\1\0\0" + vector(4, struct.pack(">HH", 10, number) + arguments) + b"\xce"

    def start_ok(mechanism, response, properties=b""):
        return method(11, vector(4, properties) + vector(1, mechanism) + vector(4, response) + vector(1, b"en_US"))

    secret = password(1).encode()
    for header in ("00000901", "01010009", "01010800", "01010901"):
        talks.talk(5672, b"AMQP" + bytes.fromhex(header), amqp_start(), start_ok(b"PLAIN", b"\0admin\0admin"))
    begin = b"AMQP\0\0\x09\1"
    table = vector(1, b"LOGIN") + b"S" + vector(4, b"guest") + vector(1, b"PASSWORD") + b"S" + vector(4, b"guest")
    talks.talk(5672, begin, amqp_start(), start_ok(b"AMQPLAIN", table))
    talks.talk(5672, begin, amqp_start(), start_ok(b"PLAIN", b"\0admin\0"))
    talks.talk(5672, begin, amqp_start(), start_ok(b"PLAIN", b"\0user\0" + secret, b"x" * 9000))
    talks.talk(5672, begin, amqp_start(), start_ok(b"PLAIN", b""), method(20, vector(4, b"?")),
               method(21, vector(4, b"\0user\0" + secret)))
    # 0-10: packed fields behind a header of twelve bytes.
    fields = b"\1\2\6\0" + vector(1, b"PLAIN") + vector(4, b"\0user\0" + secret)
    talks.talk(5672, b"AMQP\1\1\0\x0a", b"AMQP\1\1\0\x0a",
               b"\x0f\0" + struct.pack(">H", 12 + len(fields)) + bytes(8) + fields)
    values = b"\2\xa3" + vector(1, b"PLAIN") + b"\xa0" + vector(1, b"\0user\0" + secret)
    init = b"\2\1\0\0\0\x53\x41\xc0" + vector(1, values)
    talks.talk(5672, b"AMQP\3\1\0\0", b"AMQP\3\1\0\0", struct.pack(">I", 4 + len(init)) + init)
    talks.talk(5672, b"AMQP\2\1\0\0", b"AMQP\2\1\0\0", HELLO)
    talks.talk(5672, begin, begin)
    findings = {
        "amqp-login-cleartext": found(9, 9), "default-credentials": found(5, 5), "tls-on-plain-port": found(),
    }
    book.pcap("others/amqp.pcap", "AMQP 0-8 to 1.0: PLAIN at once and when asked, AMQPLAIN, no password, the way to TLS",
              talks, talks.flows, findings)


def mqtt(book):
    talks = Talks()

    def connect(level, flags, *strings, properties=b"\0"):
        name = "MQIsdp" if level & 0x7F == 3 else "MQTT"
        body = utf(name) + bytes([level, flags]) + b"\0\x3c" + (properties if level == 5 else b"") + utf("client")
        body += b"".join(string if isinstance(string, bytes) else utf(string) for string in strings)
        return b"\x10" + (bytes([len(body)]) if len(body) < 128 else bytes([len(body) % 128 | 128, len(body) // 128])) + body

    yes = b"\x20\2\0\0"
    # A bridge sets the highest bit of the level.
    for level in (3, 4, 5, 0x83, 0x84):
        talks.talk(1883, connect(level, 0xC2, "user", password(level)), yes)
    talks.talk(1883, connect(4, 0xC6, "gone", "x" * 300, "admin", "admin"), yes)
    talks.talk(20000, connect(5, 0xC6, b"\0", "gone", "x", "user", password(1), properties=b"\5\x11\0\0\0\x3c"), yes)
    talks.talk(1883, connect(5, 0x42, password(2)), yes)
    talks.talk(1883, connect(4, 0x82, "user"), yes)
    talks.talk(1883, connect(4, 0xC2, "user", ""), yes)
    talks.talk(1883, connect(4, 0x02), yes)
    findings = {"mqtt-login-cleartext": found(8, 8), "default-credentials": found()}
    book.pcap("others/mqtt.pcap", "MQTT 3.1 to 5: passwords behind a will and properties, without a user, empty, none",
              talks, talks.flows, findings)


def thrift(book):
    talks = Talks()

    def strict(name, arguments, kind=1):
        return bytes([0x80, 1, 0, kind]) + vector(4, name) + struct.pack(">I", 1) + arguments

    def fields(*strings):
        return b"".join(struct.pack(">BH", 11, index) + vector(4, text) for index, text in strings) + b"\0"

    shipped, secret = fields((1, b"admin"), (2, b"admin")), password(1).encode()
    compact = b"\x82\x21\1" + vector(1, b"connect") + b"\x18" + vector(1, b"admin") + b"\x18" + vector(1, b"admin") + b"\0"
    reply = strict(b"connect", b"\x0b\0\0" + vector(4, SESSION) + b"\0", 2)
    for call in (strict(b"connect", shipped), vector(4, b"connect") + b"\1\0\0\0\1" + shipped, compact):
        talks.talk(7611, call, reply)
        talks.talk(7611, vector(4, call), vector(4, reply))
    talks.talk(7611, strict(b"Secure:connect", fields((1, b"user"), (2, secret))), reply)
    talks.talk(7611, strict(b"connect", fields((2, secret), (1, b"user"))), reply)
    event = vector(4, SESSION) + b"\x0b\0\2" + vector(4, b"connect, \7connect\1 and \5login")
    talks.talk(7611, strict(b"publish", b"\x0c\0\1\x0b\0\1" + event + b"\0\0"), strict(b"publish", b"\0", 2))
    publish = b"\2" + vector(4, vector(4, SESSION) + bytes(4))
    talks.talk(9611, databridge_login("admin", "admin"), b"\2" + vector(4, SESSION))
    talks.talk(9611, publish, b"\0", publish, b"\0")
    talks.talk(9611, publish, b"\0", databridge_login("user", password(2)), b"\2" + vector(4, SESSION))
    findings = {
        "thrift-login-cleartext": found(8, 8), "databridge-login-cleartext": found(2, 2), "default-credentials": found(7, 7),
    }
    book.pcap("others/thrift.pcap", "logins by Thrift in every protocol, framed or not, at one of several services, and by the "
              "databridge; events that only have the words", talks, talks.flows, findings)


def snmp(book):
    talks = Talks()
    variables = ber(0x30, ber(0x30, ber(6, bytes.fromhex("2b06010201010500")) + b"\5\0"))

    def message(version, community, kind, number):
        numbers = ber(2, bytes([number])) + ber(2, b"\0") + ber(2, b"\0")
        return ber(0x30, ber(2, bytes([version])) + ber(4, community) + ber(kind, numbers + variables))

    for version in (0, 1):
        for port in (161, 20161):
            client = talks.client()
            for number, community in enumerate((b"public", b"private", b"canary-pw-community")):
                ask, tell = message(version, community, 0xA0, number), message(version, community, 0xA2, number)
                # The mirror port captures every datagram twice; the agent is asked again a second later.
                for again in range(2):
                    for copy in range(2):
                        datagram(talks, client, (SERVER, port), ask, talks.now + copy * MILLI // 4)
                        datagram(talks, (SERVER, port), client, tell, talks.now + MILLI + copy * MILLI // 4, False)
                    talks.now += SECOND
    datagram(talks, talks.client(), (SERVER, 162), message(1, b"public", 0xA7, 9))
    header = ber(0x30, ber(2, b"\1") + ber(2, b"\5\xdc") + ber(4, b"\7") + ber(2, b"\3"))
    datagram(talks, talks.client(), (SERVER, 161), ber(0x30, ber(2, b"\3") + header + ber(4, ber(0x30, b"")) + ber(4, noise(40))))
    findings = {"snmp-community-cleartext": found(24, 4), "default-credentials": found(16, 4)}
    book.pcap("others/snmp.pcap", "SNMP v1, v2c and v3: communities asked twice and mirrored, a trap, another port",
              talks, talks.flows, findings)


def in_kind(book):
    """Whatever a server answers, the client's protocol names the connection."""
    talks = Talks()
    asked = [GET, HELLO, b"AMQP\0\0\x09\1", b"\x10\x10\0\4MQTT\4\2\0\x3c\0\4abcd", ldap_bind(1, "", ""), noise(40, "asked")]
    answered = [answer("400 Bad Request"), ALERT, b"AMQP\0\0\x09\1", b"\x20\2\0\1", ldap_bound(0, 2),
                b"SSH-2.0-x\r\n\0\0\1\2", jrmp_ack(CLIENT, 1)]
    for said in asked:
        for told in answered:
            talks.talk(20000, said, told)
    book.pcap("others/in-kind.pcap", "servers that answer in their own protocol to another one, and to nonsense",
              talks, talks.flows)


def dns_numbered(book):
    talks = Talks()
    others = [noise(60, "dns"), bytes(60), b"hello, this is not a question", bytes(range(64)), b"\xff" * 48,
              b"\x12\x34\1\0\0\1" + bytes(6) + noise(30, "name")]
    for data in others:
        talks.talk(53, data, noise(50, "answer"))
        client = talks.client()
        datagram(talks, client, (SERVER, 53), data)
        datagram(talks, (SERVER, 53), client, noise(80, "answer"), talks.now + MILLI, False)
        talks.now += SECOND
    book.pcap("others/dns-numbered.pcap", "flows on DNS's number that are not DNS", talks, talks.flows)


def client_ports(book):
    capture = Capture()
    for index, port in enumerate(NUMBERS):
        for turn in range(3):
            server = (f"192.0.2.{index + 1}", 44000 + index + 100 * turn)
            tcp = Tcp(capture, (CLIENT, port), server, capture.now)
            if turn == 0:
                tcp.open()
            if turn == 2:
                tcp.say(1, answer())
            capture.now = tcp.ask(GET, answer()).now
    book.pcap("others/client-ports.pcap", "catalogued numbers as clients' ports, with a handshake, without one, and behind an "
              "answer: they tag nothing", capture, 3 * len(NUMBERS), roles={}, exit=0)


def nonsense(book):
    talks = Talks()
    for port in (*NUMBERS, 53, 88, 123, 161, 162, 389, 514, 5353, 45564):
        client = talks.client()
        for turn in range(3):
            datagram(talks, client, (SERVER, port), noise(20 + 37 * turn, port, turn))
            datagram(talks, (SERVER, port), client, noise(30 + 11 * turn, port, turn, "back"), talks.now + MILLI, False)
            talks.now += SECOND
    book.pcap("others/nonsense.pcap", "datagrams of nonsense on the documents' numbers", talks, talks.flows, exit=0)


def scan(book):
    capture, ports = Capture(), [*NUMBERS, *range(7500, 7500 + 9 * (400 - len(NUMBERS)), 9)]
    for index, port in enumerate(ports):
        tcp = Tcp(capture, (CLIENT, 40000 + index), (SERVER, port), capture.now)
        tcp.packet(0, SYN, options=SYN_OPTIONS)
        if index % 3 == 0:
            tcp.packet(1, RST | ACK)
        elif index % 3 == 1:
            tcp.packet(1, SYN | ACK, options=SYN_OPTIONS)
            tcp.packet(0, RST)
        capture.now = tcp.now
    book.pcap("others/scan.pcap", "a scan of 400 ports: a third answers, a third refuses, a third is silent", capture, 400)
