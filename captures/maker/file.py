"""Files: formats, byte orders, containers, and files that are broken."""

from . import store, wire
from .book import bearers
from .conversation import SECOND, Capture, Tcp
from .link import ASK, CLIENT, GATEWAY
from .speech import answer


def talk(port=40001, link=wire.ethernet, at=0):
    """Returns the frames of one connection with one request, `at` seconds later than others."""
    capture = Capture(link)
    capture.now += at * SECOND
    Tcp(capture, (CLIENT, port), (GATEWAY, 8280)).open().ask(ASK, answer()).close()
    return capture.by_time()


def bare(packet, _from_client):
    """Leaves an IP packet as it is."""
    return packet


def add(book):
    """Adds the captures of file/."""
    frames = talk()

    def good(path, shows, data, count=1, **more):
        book.add(f"file/{path}", shows, data, frames=len(frames) * count, flows=count,
                 findings=bearers(count, count), exit=1, **more)

    for unit, nanos in [("us", False), ("ns", True)]:
        for name, order in [("little", "<"), ("big", ">")]:
            words = f"pcap with {'nano' if nanos else 'micro'}seconds, {name}-endian"
            good(f"pcap-{unit}-{name}.pcap", words, store.pcap(frames, order=order, nanos=nanos))
    next_generation(good, frames)
    plain = store.pcap(frames)
    good("gzip.pcap.gz", "pcap in gzip", store.gz(plain))
    good("gzip-two-members.pcap.gz", "pcap in two gzip members", store.gz(plain[:500]) + store.gz(plain[500:]))
    good("zstandard.pcap.zst", "pcap in a Zstandard frame behind a skippable one", store.zst(plain))
    good("lz4.pcap.lz4", "pcap in an LZ4 frame", store.lz4(plain))
    good("misnamed.txt", "a capture whose name says otherwise: the content decides", plain)
    broken(book, plain, frames)


def next_generation(good, frames):
    """pcapng with what makes it more than pcap."""
    second = talk(40002, bare, 2)
    data = b""
    for order, connection, name, resolution in [("<", frames, "eth0", 6), (">", talk(40002, at=2), "bond0", 9)]:
        data += store.section(order) + store.interface(order, store.ETHERNET, name, resolution)
        data += b"".join(store.enhanced(order, 0, frame, resolution) for frame in connection)
    good("pcapng-two-sections.pcapng", "two sections in different byte orders, with interface names", data, 2)
    data = store.section("<") + store.interface("<", store.ETHERNET, "eth0") + store.interface("<", store.RAW, "tun0", 9)
    data += b"".join(store.enhanced("<", 0, frame) for frame in frames)
    data += b"".join(store.enhanced("<", 1, frame, 9) for frame in second)
    good("pcapng-two-interfaces.pcapng", "two interfaces with their own link type and resolution", data, 2)
    data = store.section("<") + store.interface("<", store.ETHERNET) + b"".join(store.simple("<", frame) for frame in frames)
    good("pcapng-simple-packets.pcapng", "packets without a time", data)
    data = store.section("<") + store.interface("<", store.ETHERNET, "eth0")
    data += store.names("<", wire.packed(GATEWAY), "gw.example.com") + store.block("<", 0x0BAD, b"what is this")
    data += b"".join(store.enhanced("<", 0, frame) for frame in frames) + store.statistics("<", 0)
    good("pcapng-other-blocks.pcapng", "names, statistics and an unknown block between the packets", data)


def broken(book, plain, frames):
    """Files that end too soon, and files that are none."""
    findings = bearers()
    book.add("file/cut-in-record.pcap", "cut in the middle of the last frame", plain[:-30], frames=len(frames) - 1,
             flows=1, findings=findings, broken=True, exit=1)
    book.add("file/cut-in-record-header.pcap", "cut in the middle of a record's header, before any request",
             plain[:24 + 16 + 66 + 7], frames=1, flows=1, findings={}, broken=True, exit=3)
    squeezed = store.gz(plain)
    book.add("file/cut.pcap.gz", "a gzip member without its end", squeezed[:-20], flows=1, findings=findings,
             broken=True, exit=1)
    book.add("file/record-too-long.pcap", "a record that says it has 3 GiB",
             plain + (3 << 30).to_bytes(4, "little") * 4, frames=len(frames), flows=1, findings=findings,
             broken=True, exit=1)
    book.add("file/empty.pcap", "a file header and no frame", plain[:24], frames=0, flows=0, findings={}, exit=0)
    book.add("file/nothing.pcap", "no byte at all", b"", exit=2)
    book.add("file/no-capture.pcap", "not a capture", b"It was a bright cold day in April.\n", exit=2)
