"""Hosts side by side: API Manager at several port offsets, its Analytics and the Micro Integrator as they ship."""

from .conversation import MICRO, MILLI, SECOND, START, SYN, Capture, Tcp
from .speech import answer, databridge_publish, request, tls

MANAGERS = {0: "10.30.0.10", 1: "10.30.0.11", 3: "10.30.0.13", 10: "10.30.0.20"}
ANALYTICS, INTEGRATOR = "10.30.0.30", "10.30.0.40"
STRANGE, TORN, ELSEWHERE = "10.30.1.10", "10.30.1.11", "10.30.1.50"
CLIENTS = ["10.30.8.21", "10.30.8.22"]
SESSION = "5b8a6f0e-93c1-4c1f-a8d2-0f6d1c2b3a49"


def add(book):
    """Adds the captures of hosts/."""
    talks = list(offsets())
    book.pcap("hosts/offsets.pcap", "API Manager at offsets 0, 1, 3 and 10 beside its Analytics and the Micro Integrator as "
              "they ship: ordinary traffic, no mismatch", recorded(talks), len(talks), {}, exit=0)
    talks, once = list(listeners()), {"flows": 1, "count": 1}
    book.pcap("hosts/listeners.pcap", "API Manager with a listener that no document names and a port that refuses, the same "
              "listener on a host of no product, and a host where one port did not move with the offset",
              recorded(talks), len(talks), {"uncatalogued-service": once, "partial-offset": once}, exit=0)


def recorded(talks):
    """Returns the capture of conversations, one a second."""
    capture = Capture()
    for index, (server, port, speak) in enumerate(talks):
        client = (CLIENTS[index % 2], 41000 + 13 * index)
        at = START + index * SECOND + index * 7919 % 991 * MICRO
        speak(Tcp(capture, client, (server, port), at))
    return capture


def listeners():
    """Yields server, port and what is spoken, where hosts hold more or less than their product."""
    for port in (9443, 8243, 9711, 12345):
        yield STRANGE, port, encrypted
    for port in (9763, 8280):
        yield STRANGE, port, web
    yield STRANGE, 9611, events
    yield STRANGE, 5672, refused
    yield ELSEWHERE, 12345, encrypted
    for port in (9444, 8244, 9712):
        yield TORN, port, encrypted
    for port in (9763, 8281):
        yield TORN, port, web
    yield TORN, 9612, events


def offsets():
    """Yields server, port and what is spoken."""
    for offset, host in MANAGERS.items():
        yield host, 9443 + offset, encrypted
        yield host, 9763 + offset, web
        yield host, 8243 + offset, encrypted
        yield host, 8280 + offset, web
        yield host, 9611 + offset, events
        yield host, 9711 + offset, encrypted
    # The same numbers as API Manager's at offset 1, and more.
    yield ANALYTICS, 7612, thrift
    yield ANALYTICS, 7712, encrypted
    yield ANALYTICS, 9444, encrypted
    yield ANALYTICS, 7444, encrypted
    yield ANALYTICS, 9643, encrypted
    # The same numbers as API Manager's at offset 10, and one more.
    yield INTEGRATOR, 8290, web
    yield INTEGRATOR, 8253, encrypted
    yield INTEGRATOR, 9164, encrypted


def refused(talk):
    talk.packet(0, SYN)
    talk.reset(1)


def web(talk):
    talk.open().ask(request("/health", host="gw.example.com"), answer()).close()


def encrypted(talk):
    tls(talk.open(), "gw.example.com", 0x0303, 1, talk.ends[1]).close()


def events(talk):
    talk.open().ask(databridge_publish(SESSION, 2, talk.now // MILLI), b"\0").close()


def thrift(talk):
    name = b"publish"
    call = b"\x80\x01\0\1" + len(name).to_bytes(4, "big") + name + b"\0\0\0\1"
    session = b"\x0c\0\1\x0b\0\1" + len(SESSION).to_bytes(4, "big") + SESSION.encode() + b"\0\0"
    reply = b"\x80\x01\0\2" + len(name).to_bytes(4, "big") + name + b"\0\0\0\1\0"
    talk.open().ask(call + session, reply).close()
