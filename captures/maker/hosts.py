"""Hosts side by side: API Manager at several port offsets, its Analytics and the Micro Integrator as they ship."""

from .conversation import MICRO, MILLI, SECOND, START, Capture, Tcp
from .speech import answer, databridge_publish, request, tls

MANAGERS = {0: "10.30.0.10", 1: "10.30.0.11", 3: "10.30.0.13", 10: "10.30.0.20"}
ANALYTICS, INTEGRATOR = "10.30.0.30", "10.30.0.40"
CLIENTS = ["10.30.8.21", "10.30.8.22"]
SESSION = "5b8a6f0e-93c1-4c1f-a8d2-0f6d1c2b3a49"


def add(book):
    """Adds the captures of hosts/."""
    capture = Capture()
    talks = list(conversations())
    for index, (server, port, speak) in enumerate(talks):
        client = (CLIENTS[index % 2], 41000 + 13 * index)
        at = START + index * SECOND + index * 7919 % 991 * MICRO
        speak(Tcp(capture, client, (server, port), at).open())
    book.pcap("hosts/offsets.pcap", "API Manager at offsets 0, 1, 3 and 10 beside its Analytics and the Micro Integrator as "
              "they ship: ordinary traffic, no mismatch", capture, len(talks), {}, exit=0)


def conversations():
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


def web(talk):
    talk.ask(request("/health", host="gw.example.com"), answer()).close()


def encrypted(talk):
    tls(talk, "gw.example.com", 0x0303, 1, talk.ends[1]).close()


def events(talk):
    talk.ask(databridge_publish(SESSION, 2, talk.now // MILLI), b"\0").close()


def thrift(talk):
    name = b"publish"
    call = b"\x80\x01\0\1" + len(name).to_bytes(4, "big") + name + b"\0\0\0\1"
    session = b"\x0c\0\1\x0b\0\1" + len(SESSION).to_bytes(4, "big") + SESSION.encode() + b"\0\0"
    reply = b"\x80\x01\0\2" + len(name).to_bytes(4, "big") + name + b"\0\0\0\1\0"
    talk.ask(call + session, reply).close()
