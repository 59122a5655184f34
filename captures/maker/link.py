"""Link layers, tunnels, fragments: the same request in each."""

from . import store, wire
from .book import bearers
from .conversation import SECOND, Capture, Tcp
from .http import CLIENT, GATEWAY
from .speech import answer, bearer, dns, request

ASK = request("/pizzashack/1.0.0/menu", bearer(1))
CLIENT6, GATEWAY6 = "2001:db8:2::7", "2001:db8:3::10"


def talk(link=wire.ethernet, six=False, port=40001, capture=None):
    """Returns a capture of one connection with one request."""
    capture = capture or Capture(link)
    client, server = (CLIENT6, GATEWAY6) if six else (CLIENT, GATEWAY)
    Tcp(capture, (client, port), (server, 8280)).open().ask(ASK, answer()).close()
    return capture


def add(book):
    """Adds the captures of link/."""
    links(book)
    tags_and_tunnels(book)
    extensions(book)
    fragments(book)


def links(book):
    """Each link type."""
    def bare(packet, _from_client):
        return packet

    def null(order):
        return lambda packet, _from_client: wire.null(packet, order)

    kinds = {
        "ethernet": ("Ethernet", wire.ethernet, store.ETHERNET, False),
        "sll": ("Linux cooked capture", wire.sll, store.SLL, False),
        "sll2": ("Linux cooked capture, version 2", wire.sll2, store.SLL2, False),
        "raw": ("IP without a link layer, of either version", bare, store.RAW, False),
        "ipv4": ("the link type of IPv4 alone", bare, store.IPV4, False),
        "ipv6": ("the link type of IPv6 alone", bare, store.IPV6, True),
        "null-little": ("BSD loopback from a little-endian machine", null("<"), store.NULL, False),
        "null-big": ("BSD loopback from a big-endian machine", null(">"), store.NULL, False),
        "null-ipv6": ("BSD loopback, IPv6 by macOS's number", null("<"), store.NULL, True),
        "loop": ("OpenBSD loopback", null(">"), store.LOOP, False),
        "ethernet-ipv6": ("IPv6 over Ethernet", wire.ethernet, store.ETHERNET, True),
    }
    for name, (shows, link, number, six) in kinds.items():
        book.pcap(f"link/{name}.pcap", shows, talk(link, six), 1, bearers(), link=number)
    capture = Capture()
    capture.add_frame(wire.arp(CLIENT, GATEWAY))
    capture.add_frame(wire.ethernet(b"\x42\x42\x03" + bytes(43), type_=0x0026))
    capture.add_frame(wire.ethernet(bytes(46), type_=0x88CC))
    capture.add(wire.echo(CLIENT, GATEWAY, 1))
    capture.add(wire.ip4(CLIENT, GATEWAY, 132, bytes(20)))
    book.pcap("link/no-flows.pcap", "ARP, spanning tree, LLDP, ICMP, SCTP: counted, and no flows", capture, 0,
              stopped={"arp": 1, "icmp": 1, "not-ip": 2, "other-transport": 1}, exit=0)


def tags_and_tunnels(book):
    """VLANs, and packets in packets."""
    def tagged(*tags):
        return lambda packet, from_client: wire.ethernet(packet, from_client, tags)

    def inside(wrap):
        return lambda packet, from_client: wire.ethernet(wrap(packet, from_client), from_client)

    def typed(wrap, number):
        return lambda packet, from_client: wire.ethernet(wrap(packet), from_client, type_=number)

    kinds = {
        "vlan": ("a VLAN tag", tagged((0x8100, 30)), False),
        "qinq": ("two VLAN tags (802.1ad)", tagged((0x88A8, 300), (0x8100, 30)), False),
        "mpls": ("two MPLS labels", typed(wire.mpls, 0x8847), False),
        "pppoe": ("a PPPoE session", typed(wire.pppoe, 0x8864), False),
        "vxlan": ("VXLAN", inside(wire.vxlan), False),
        "geneve": ("Geneve with an option", inside(wire.geneve), False),
        "gre": ("GRE with a key", inside(wire.gre), False),
        "gtp-u": ("GTP-U with a sequence number", inside(wire.gtp), False),
        "ip-in-ip": ("IPv4 in IPv4", inside(wire.ipip), False),
        "6in4": ("IPv6 in IPv4", inside(wire.ipip), True),
        "vlan-vxlan-vlan": ("VXLAN inside a VLAN", lambda packet, from_client: wire.ethernet(
            wire.vxlan(packet, from_client), from_client, [(0x8100, 30)]), False),
    }
    for name, (shows, link, six) in kinds.items():
        book.pcap(f"link/{name}.pcap", shows, talk(link, six), 1, bearers())
    capture = Capture()
    for vlan in (30, 40):
        capture.link = tagged((0x8100, vlan))
        talk(capture=capture)
        capture.now += SECOND
    book.pcap("link/same-tuple-in-two-vlans.pcap", "the same addresses, ports and numbers in two VLANs: two flows",
              capture, 2, bearers(2, 2))


def extensions(book):
    """IPv6 with headers between the fixed one and TCP (RFC 8200 §4)."""
    headers = [
        (0, b"\0" + bytes.fromhex("050200000100")),
        (60, b"\0" + bytes.fromhex("010400000000")),
        (43, b"\x02\x04\x00" + bytes(4) + wire.packed("2001:db8:4::1")),
        (60, b"\1" + bytes.fromhex("010c") + bytes(12)),
    ]

    def link(packet, from_client):
        src, dst, inner = bytes(packet[8:24]), bytes(packet[24:40]), packet[40:]
        return wire.ethernet(wire.ip6(src, dst, packet[6], inner, headers), from_client)

    book.pcap("link/ipv6-extension-headers.pcap",
              "IPv6 with hop-by-hop options, destination options and a routing header", talk(link, True), 1, bearers())


def fragments(book):
    """Datagrams in pieces, in any order."""
    orders = {
        "in-order": lambda parts: parts,
        "reversed": lambda parts: parts[::-1],
        "shuffled-and-doubled": lambda parts: parts[1:2] * 2 + parts[2:] + parts[:1],
    }
    for six, cut, version in [(False, wire.fragments4, "ipv4"), (True, wire.fragments6, "ipv6")]:
        for name, order in orders.items():
            capture = talk(six=six)
            frames, capture.frames = capture.frames, []
            for index, (at, frame, _) in enumerate(frames):
                # Only the request is long enough to be cut.
                packet = frame[14:]
                if ASK not in packet:
                    capture.add_frame(frame, at)
                    continue
                for part in order(cut(packet, 48, 7000 + index)):
                    capture.add_frame(wire.ethernet(part), at)
            book.pcap(f"link/{version}-fragments-{name}.pcap", f"a request in {version} fragments, {name.replace('-', ' ')}",
                      capture, 1, bearers())
    capture = Capture()
    ask = wire.ip4(CLIENT, "10.0.9.53", wire.UDP, wire.udp((CLIENT, 40001), ("10.0.9.53", 53), dns(1, "gw.example.com" * 2)))
    parts = wire.fragments4(ask, 24, 9)
    for part in parts[:-1]:
        capture.add_frame(wire.ethernet(part))
    book.pcap("link/fragment-missing.pcap", "a datagram whose last fragment never came", capture, 0,
              stopped={"fragment": len(parts) - 1}, exit=0)
