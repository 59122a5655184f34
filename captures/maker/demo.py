"""Five minutes at the mirror port of a small API Manager deployment, with most of what can be found."""

from . import wire
from .book import bearers, found
from .conversation import MICRO, MILLI, SECOND, START, Capture, Tcp, datagram, noise
from .speech import (
    JRMI, amqp_method, amqp_start, amqp_start_ok, answer, basic, bearer, client_hello, databridge_login, databridge_publish, dns,
    form, jrmp_ack, jrmp_host, jrmp_login, jrmp_lookup, jrmp_refused, jrmp_stub, ldap_bind, ldap_bound, ldap_unbind,
    password, request, tls, token,
)

# The platform: two gateways, a control plane, a traffic manager, a directory.
GATEWAYS = ["10.20.3.10", "10.20.3.11"]
CONTROL, TRAFFIC, DIRECTORY = "10.20.4.10", "10.20.4.20", "10.20.4.30"
# Around it: a load balancer, applications, administrators, a partner, a name server.
BALANCER, PARTNER, NAMES = "10.20.2.5", "203.0.113.40", "10.20.4.53"
APPS = [f"10.20.8.{number}" for number in range(21, 29)]
ADMINS = ["10.20.9.4", "10.20.9.5"]

# Requests of the busy connection, and those among them that carry no token.
BUSY, BUSY_WITHOUT = 23, 2


class Scene:
    """The capture with a clock: each conversation begins at so many seconds."""

    def __init__(self):
        self.capture = Capture()
        self.port = 40100

    def talk(self, seconds, client, server, port, rtt=None):
        """Opens a connection with the next free client port; by default its server is near."""
        self.port += 7
        rtt = rtt or (280 + self.port * 457 % 733) * MICRO
        at = START + int(seconds * SECOND) + self.port * 1319 % 997 * MICRO
        return Tcp(self.capture, (client, self.port), (server, port), at, rtt).open()

    def attempt(self, seconds, client, server, port, refused):
        """Tries to connect, three times unless it is refused."""
        self.port += 7
        talk = Tcp(self.capture, (client, self.port), (server, port), START + int(seconds * SECOND))
        talk.packet(0, wire.SYN)
        if refused:
            talk.wait(MILLI).packet(1, wire.RST | wire.ACK)
            return
        for wait in (1, 2):
            talk.wait(wait * SECOND).packet(0, wire.SYN, seq=talk.seq[0] - 1)

    def flows(self):
        """Counts different five-tuples: none is used twice here."""
        ends = set()
        for _, frame, _ in self.capture.frames:
            if frame[12:14] == b"\x08\x00" and frame[23] in (wire.TCP, wire.UDP):
                ends.add((frame[23], frozenset([frame[26:30] + frame[34:36], frame[30:34] + frame[36:38]])))
        return len(ends)


def add(book):
    """Adds demo.pcap."""
    scene = Scene()
    surroundings(scene)
    bearers_in_clear(scene)
    encrypted(scene)
    consoles(scene)
    mistakes(scene)
    inside(scene)
    attempts(scene)
    findings = bearers(
        BUSY - BUSY_WITHOUT + 2 + 3 + 1 + 2 + 1 + 1, 8,
        basic_auth_cleartext=found(3, 2), default_credentials=found(2), plaintext_on_tls_port=found(),
        tls_on_plain_port=found(), obsolete_tls=found(), databridge_login_cleartext=found(), amqp_login_cleartext=found(),
        jmx_no_tls=found(2, 2), jmx_login_cleartext=found(), ldap_simple_bind_cleartext=found(2),
    )
    shows = "a small API Manager deployment: tokens, passwords and logins in clear on the documents' ports, beside what is in order"
    book.pcap("demo.pcap", shows, scene.capture, scene.flows(), findings, stopped={"arp": 3, "icmp": 4}, exit=1)


def surroundings(scene):
    """ARP, ping, names."""
    capture = scene.capture
    for seconds, sender, target in [(0, APPS[0], GATEWAYS[0]), (61, GATEWAYS[0], CONTROL), (190, ADMINS[0], CONTROL)]:
        capture.add_frame(wire.arp(sender, target), START + seconds * SECOND)
    for index in range(2):
        at = START + (20 + index) * SECOND
        capture.add(wire.echo(BALANCER, GATEWAYS[0], index), True, at)
        capture.add(wire.echo(GATEWAYS[0], BALANCER, index, True), False, at + 300 * MICRO)
    for index, (client, name, address) in enumerate([
        (APPS[0], "gw.example.com", GATEWAYS[0]), (GATEWAYS[0], "cp.example.com", CONTROL), (ADMINS[0], "cp.example.com", CONTROL),
    ]):
        at = START + (1 + 47 * index) * SECOND
        datagram(capture, (client, 50000 + index), (NAMES, 53), dns(index, name), at)
        datagram(capture, (NAMES, 53), (client, 50000 + index), dns(index, name, address), at + 700 * MICRO, False)


def bearers_in_clear(scene):
    """Applications that talk to the gateway's HTTP port."""
    talk = scene.talk(2, BALANCER, GATEWAYS[0], 8280, 350 * MICRO)
    for index in range(BUSY):
        lines = [f"X-Forwarded-For: 198.51.100.{7 + index % 3}"]
        if index % 11 != 10:
            lines.append(bearer(1))
        reply = answer("401 Unauthorized", b'{"code":900901}') if index % 11 == 10 else answer()
        target = f"/pizzashack/1.0.0/{('menu', 'order', 'delivery')[index % 3]}"
        talk.ask(request(target, *lines, agent="okhttp/4.12.0"), reply, (4 + index * 7 % 19) * MILLI)
        talk.wait((9 + index % 4) * SECOND)
    talk.close()
    for seconds in (31, 152):
        talk = scene.talk(seconds, APPS[0], GATEWAYS[0], 8280)
        talk.ask(request("/orders/2.1/list", bearer(2), agent="python-requests/2.32.3"), answer()).close()
    talk = scene.talk(75, APPS[1], GATEWAYS[1], 8280)
    for page in range(3):
        talk.ask(request(f"/orders/2.1/list?page={page}", bearer(2), agent="python-requests/2.32.3"), answer()).wait(SECOND)
    talk.close()
    talk = scene.talk(98, APPS[2], GATEWAYS[0], 8280)
    talk.ask(request(f"/weather/v1/now?city=Galle&access_token={token(3)}", agent="Mozilla/5.0"), answer()).close()
    talk = scene.talk(121, APPS[3], GATEWAYS[0], 8280)
    for _ in range(2):
        talk.ask(form("/orders/2.1/new", f"item=42&access_token={token(4)}", agent="PHP/8.3"), answer("201 Created")).wait(SECOND)
    talk.close()
    # The health check of the load balancer carries nothing.
    for index in range(3):
        talk = scene.talk(15 + 90 * index, BALANCER, GATEWAYS[1], 8280, 350 * MICRO)
        talk.ask(request("/services/Version", agent="HealthChecker/2.0"), answer()).close()
    talk = scene.talk(166, PARTNER, GATEWAYS[1], 8280, 38 * MILLI)
    talk.ask(request("/partner/v3/stock", bearer(5), agent="Java/17.0.12"), answer()).close()


def encrypted(scene):
    """What is in order."""
    for index, client in enumerate(APPS[4:]):
        talk = scene.talk(9 + 53 * index, client, GATEWAYS[index % 2], 8243)
        tls(talk, "gw.example.com", 0x0304 if index % 2 else 0x0303, 2, ("app", index)).close()
    talk = scene.talk(140, PARTNER, GATEWAYS[0], 8243, 41 * MILLI)
    tls(talk, "gw.example.com", 0x0304, 1, "partner").close()
    for index, (client, server, version) in enumerate([
        (ADMINS[0], CONTROL, 0x0304), (GATEWAYS[0], CONTROL, 0x0303), (GATEWAYS[1], CONTROL, 0x0303), (TRAFFIC, CONTROL, 0x0303),
    ]):
        talk = scene.talk(5 + 37 * index, client, server, 9443)
        tls(talk, "cp.example.com" if index == 0 else None, version, 2, ("console", index)).close()
    talk = scene.talk(12, GATEWAYS[0], TRAFFIC, 9711)
    tls(talk, None, 0x0303, 1, "databridge").close()
    talk = scene.talk(13, GATEWAYS[1], TRAFFIC, 9711)
    tls(talk, None, 0x0301, 1, "old databridge").close()


def consoles(scene):
    """Administrators on the servlet transport in clear."""
    reply = answer("200 OK", b'{"status":"ok"}', "Server: WSO2 Carbon Server")
    talk = scene.talk(44, ADMINS[0], CONTROL, 9763)
    for target in ("/services/APIKeyMgtSubscriberService", "/services/UserAdmin"):
        talk.ask(request(target, basic("admin", "admin"), host="cp.example.com:9763", agent="SoapUI/5.7.2"), reply)
    talk.close()
    talk = scene.talk(207, ADMINS[1], CONTROL, 9763)
    ask = request("/api/am/admin/v4/applications", basic("audit", password(1)), host="cp.example.com:9763")
    talk.ask(ask, reply).close()


def mistakes(scene):
    """The right port with the wrong scheme."""
    talk = scene.talk(110, APPS[5], GATEWAYS[1], 8243)
    refusal = b"This combination of host and port requires TLS."
    talk.ask(request("/orders/2.1/list", bearer(6), host="gw.example.com:8243"), answer("400 Bad Request", refusal)).close(1)
    talk = scene.talk(131, APPS[6], GATEWAYS[0], 8280)
    hello = client_hello("gw.example.com", seed="mistake")
    talk.ask(hello, answer("400 Bad Request", b"")).close(1)


def inside(scene):
    """What the components say to each other."""
    session = "5b8a6f0e-93c1-4c1f-a8d2-0f6d1c2b3a49"
    talk = scene.talk(14, GATEWAYS[0], TRAFFIC, 9611)
    for index in range(4):
        at_ms = talk.now // MILLI
        talk.ask(databridge_publish(session, 2, at_ms), b"\0").wait(20 * SECOND)
    talk.close()
    talk = scene.talk(16, GATEWAYS[1], TRAFFIC, 9611)
    talk.ask(databridge_login("publisher", password(2)), b"\2" + len(session).to_bytes(4, "big") + session.encode())
    talk.ask(databridge_publish(session, 1, talk.now // MILLI), b"\0").close()
    talk = scene.talk(17, GATEWAYS[0], TRAFFIC, 5672)
    talk.ask(b"AMQP\0\0\x09\1", amqp_start())
    tune = amqp_method(30, bytes.fromhex("0100 0000ffff 0000".replace(" ", "")))
    talk.ask(amqp_start_ok("gateway", password(3)), tune).wait(120 * SECOND).close()
    talk = scene.talk(181, ADMINS[0], CONTROL, 9999)
    talk.ask(JRMI, jrmp_ack(ADMINS[0], talk.ends[0][1]))
    talk.ask(jrmp_host(ADMINS[0]) + jrmp_lookup(), jrmp_stub(CONTROL, 11111)).close()
    talk = scene.talk(182, ADMINS[0], CONTROL, 11111)
    talk.ask(JRMI, jrmp_ack(ADMINS[0], talk.ends[0][1]))
    talk.ask(jrmp_host(ADMINS[0]) + jrmp_login("monitor", password(4)), jrmp_refused()).close()
    talk = scene.talk(52, CONTROL, DIRECTORY, 10389)
    for index in (1, 2):
        talk.ask(ldap_bind(index, "uid=carbon,ou=services,dc=example,dc=com", password(5)), ldap_bound(index)).wait(30 * SECOND)
    talk.say(0, ldap_unbind(3)).close()
    # Something that nobody knows.
    talk = scene.talk(88, APPS[7], TRAFFIC, 18999)
    talk.ask(b"\xfe\xed" + noise(60, "unknown"), b"\xfe\xed" + noise(40, "unknown too")).close()


def attempts(scene):
    """Ports that refuse, and one that does not answer."""
    scene.attempt(64, APPS[7], GATEWAYS[0], 9099, refused=True)
    scene.attempt(65, APPS[7], GATEWAYS[0], 9099, refused=True)
    scene.attempt(200, ADMINS[1], CONTROL, 10397, refused=False)
