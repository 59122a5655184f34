"""Connections: what is one, and what only looks like another."""

from . import wire
from .book import bearers
from .conversation import MILLI, SECOND, Capture, Tcp, datagram, number
from .http import CLIENT, GATEWAY, connection
from .speech import answer, bearer, dns, request
from .wire import ACK, FIN, PSH, RST, SYN

ASK = request("/a", bearer(1))


def add(book):
    """Adds the captures of flow/."""
    connections(book)
    openings(book)
    forgeries(book)
    attempts(book)


def connections(book):
    """Where a connection begins and ends."""
    capture = Capture()
    for index in range(2):
        at = capture.now + index * 2 * SECOND
        Tcp(capture, (CLIENT, 40001), (GATEWAY, 8280), at, isn=(1000 + index * 10**6, 5000 + index * 10**6)) \
            .open().ask(ASK, answer()).close()
    book.pcap("flow/five-tuple-reused.pcap", "two connections one after the other with the same addresses and ports",
              capture, 2, bearers(2, 2))
    capture = Capture()
    talk = connection(capture).open().ask(ASK, answer())
    talk.wait(3 * 3600 * SECOND).ask(ASK, answer()).close()
    book.pcap("flow/idle-for-hours.pcap", "a connection that is silent for three hours", capture, 1, bearers(2))
    capture = Capture()
    talk = Tcp(capture, (CLIENT, 40001), (GATEWAY, 8280), isn=(2**32 - 40, 2**32 - 5)).open()
    talk.ask(ASK, answer()).ask(ASK, answer()).close()
    book.pcap("flow/sequence-wraps.pcap", "sequence numbers that wrap around in the middle of a head", capture, 1, bearers(2))
    capture = Capture()
    talk = connection(capture).open().ask(ASK, answer())
    talk.packet(0, FIN | ACK)
    fin = talk.seq[0] - 1
    for _ in range(2):
        talk.wait(200 * MILLI).packet(0, FIN | ACK, seq=fin)
    talk.packet(1, FIN | ACK)
    talk.packet(0, ACK)
    book.pcap("flow/fin-retransmitted.pcap", "a FIN sent three times", capture, 1, bearers())
    for name, side, findings in [("requests", 0, bearers(2)), ("answers", 1, {})]:
        capture = Capture()
        talk = connection(capture).open().ask(ASK, answer()).ask(ASK, answer()).close()
        mac = (wire.CLIENT_MAC, wire.SERVER_MAC)[side]
        capture.frames = [frame for frame in capture.frames if frame[1][6:12] == mac]
        book.pcap(f"flow/only-{name}.pcap", f"only the {name} of a connection were captured", capture, 1, findings,
                  exit=1 if findings else 0)
    capture = Capture()
    for index, seconds in enumerate([0, 10, 250, 255]):
        at = capture.now + seconds * SECOND
        datagram(capture, (CLIENT, 40001), ("10.0.9.53", 53), dns(index, "gw.example.com"), at)
        datagram(capture, ("10.0.9.53", 53), (CLIENT, 40001), dns(index, "gw.example.com", GATEWAY), at + MILLI, False)
    book.pcap("flow/udp-idle.pcap", "a UDP exchange, four minutes of silence, another one between the same ports", capture, 2)


def openings(book):
    """What a connection's first and last segments may look like."""
    capture = Capture()
    talk = connection(capture)
    for wait in (1, 2):
        talk.packet(0, SYN, advance=False)
        talk.wait(wait * SECOND)
    talk.open().ask(ASK, answer()).close()
    book.pcap("flow/syn-repeated.pcap", "a SYN sent three times", capture, 1, bearers())
    capture = Capture()
    for index in range(2):
        at = capture.now + index * 2 * SECOND
        talk = Tcp(capture, (CLIENT, 40001), (GATEWAY, 8280), at, isn=(9000 - index * 500, 70 + index * 900))
        talk.open().ask(ASK, answer())
    book.pcap("flow/reused-without-an-end.pcap", "the same addresses and ports again, though the first connection was never closed",
              capture, 2, bearers(2, 2))
    mac = wire.CLIENT_MAC
    capture = Capture()
    for index in range(2):
        at = capture.now + index * 2 * SECOND
        Tcp(capture, (CLIENT, 40001), (GATEWAY, 8280), at, isn=(1000 + index * 10**6, 5000)).open().ask(ASK, answer())
    capture.frames = [frame for frame in capture.frames if frame[1][6:12] == mac]
    book.pcap("flow/reused-one-direction.pcap", "the same addresses and ports again, of which only the requests were captured",
              capture, 2, bearers(2, 2))
    capture = Capture()
    old = Tcp(capture, (CLIENT, 40001), (GATEWAY, 8280), isn=(1000, 5000)).open().ask(ASK, answer()).close()
    new = Tcp(capture, (CLIENT, 40001), (GATEWAY, 8280), old.now + SECOND, isn=(900_000, 70_000)).open()
    new.packet(0, PSH | ACK, ASK, seq=1001, ack=5001)
    new.ask(ASK, answer()).close()
    book.pcap("flow/late-segment-of-old.pcap", "a late copy of the old connection's request amid the new one", capture, 2, bearers(2, 2))
    capture = Capture()
    talk = connection(capture).open().ask(ASK, answer())
    for data in (b"", b"\0"):
        talk.wait(60 * SECOND).packet(0, ACK, data, seq=talk.seq[0] - 1)
        talk.packet(1, ACK)
    talk.ask(ASK, answer()).close()
    book.pcap("flow/keep-alive-probes.pcap", "keep-alive probes, one with a byte of garbage (RFC 9293 §3.8.4)", capture, 1,
              bearers(2), uninspected={})


def forgeries(book):
    """Segments that the endpoints would not take."""
    capture = Capture()
    talk = connection(capture).open().ask(ASK, answer())
    talk.packet(0, SYN, seq=number("forged"))
    talk.wait(MILLI).ask(ASK, answer()).close()
    book.pcap("flow/forged-syn.pcap", "a SYN with another number amid a connection, which goes on: an attempt beside it",
              capture, 2, bearers(2))
    capture = Capture()
    talk = connection(capture).open().ask(ASK, answer())
    talk.packet(0, RST, seq=talk.seq[0] + 500_000_000)
    talk.packet(1, RST, seq=talk.seq[1] - 500_000_000)
    talk.wait(MILLI).ask(ASK, answer()).close()
    book.pcap("flow/forged-rst.pcap", "resets far out of window; the connection goes on", capture, 1, bearers(2))
    capture = Capture()
    talk = connection(capture).open().ask(ASK, answer())
    talk.packet(1, RST | ACK, advance=False)
    talk.wait(MILLI).ask(ASK, answer()).close()
    book.pcap("flow/reset-in-window.pcap", "a reset in window that the ends ignore: what follows is still looked at", capture, 1, bearers(2))


def attempts(book):
    """Connections that never came to be, and numbers that say nothing."""
    capture = Capture()
    scanner = "10.0.2.66"
    ports = [22, 80, 443, 4000, 5672, 7611, 7711, 8000, 8243, 8280, 9099, 9443, 9611, 9711, 9763, 9999, 10389, 11111]
    for index, port in enumerate(ports):
        talk = Tcp(capture, (scanner, 52000), (GATEWAY, port), capture.now + index * MILLI)
        talk.packet(0, SYN)
        if port in (8280, 9443):
            talk.packet(1, SYN | ACK)
            talk.packet(0, RST)
        elif index % 3:
            talk.packet(1, RST | ACK)
    book.pcap("flow/port-scan.pcap", "a scan of catalogued ports: two answer, some refuse, some are silent", capture,
              len(ports), exit=0)
    capture = Capture()
    for index, port in enumerate([8280, 9443, 8243]):
        talk = Tcp(capture, (CLIENT, port), ("10.0.9.80", 18999), capture.now + index * SECOND)
        talk.open().ask(request("/a", host="shop.example.com"), answer()).close()
    book.pcap("flow/catalogued-client-port.pcap", "catalogued numbers as the clients' own ports: they tag nothing",
              capture, 3, roles={}, exit=0)
    capture = Capture()
    for index in range(2):
        at = capture.now + index * SECOND
        ask = wire.udp((CLIENT, 40001), (GATEWAY, 161), b"\x30\x03\x02\x01\x01")
        ask = wire.ip4(CLIENT, GATEWAY, wire.UDP, ask)
        capture.add(ask, True, at)
        capture.add(wire.unreachable(GATEWAY, ask), False, at + MILLI)
    book.pcap("flow/icmp-refused.pcap", "datagrams that an ICMP error refuses", capture, 1, stopped={"icmp": 2}, exit=0)
