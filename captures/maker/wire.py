"""Packets from the inside out: transports, IP, tunnels, link layers. Checksums are right where there is one."""

import struct
from ipaddress import ip_address

# Locally administered addresses; the mirror port sees both sides through one switch.
CLIENT_MAC = bytes.fromhex("02000a000207")
SERVER_MAC = bytes.fromhex("02000a00030a")

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10
TCP, UDP, ICMP, ICMP6, GRE, IPIP = 6, 17, 1, 58, 47, 4


def checksum(data):
    """Returns the Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packed(address):
    """Returns an address as on the wire."""
    return ip_address(address).packed


def pseudo(src, dst, protocol, length):
    """Returns the pseudo header of TCP and UDP (RFC 9293 §3.1, RFC 8200 §8.1)."""
    src, dst = packed(src), packed(dst)
    if len(src) == 4:
        return src + dst + struct.pack(">BBH", 0, protocol, length)
    return src + dst + struct.pack(">IHBB", length, 0, 0, protocol)


def tcp(src, dst, seq, ack, flags, data=b"", options=b"", window=64240):
    """Returns a TCP segment; `src` and `dst` are pairs of address and port."""
    options += b"\1" * (-len(options) % 4)
    offset = (20 + len(options)) // 4 << 4
    head = struct.pack(
        ">HHIIBBHHH", src[1], dst[1], seq % 2**32, ack % 2**32, offset, flags, window, 0, 0
    )
    segment = head + options + data
    total = checksum(pseudo(src[0], dst[0], TCP, len(segment)) + segment)
    return segment[:16] + struct.pack(">H", total) + segment[18:]


def udp(src, dst, data):
    """Returns a UDP datagram."""
    datagram = struct.pack(">HHHH", src[1], dst[1], 8 + len(data), 0) + data
    total = checksum(pseudo(src[0], dst[0], UDP, len(datagram)) + datagram) or 0xFFFF
    return datagram[:6] + struct.pack(">H", total) + datagram[8:]


def ip4(src, dst, protocol, payload, ident=0, fragment=0x4000, ttl=64):
    """Returns an IPv4 packet; `fragment` holds the flags and the offset (RFC 791 §3.1)."""
    head = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), ident % 2**16, fragment, ttl, protocol, 0,
        packed(src), packed(dst),
    )
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def ip6(src, dst, protocol, payload, extensions=()):
    """Returns an IPv6 packet; an extension is a pair of its number and its bytes without the first one."""
    numbers = [number for number, _ in extensions] + [protocol]
    body = b"".join(
        bytes([following]) + rest for following, (_, rest) in zip(numbers[1:], extensions)
    ) + payload
    head = struct.pack(">IHBB", 0x6000_0000, len(body), numbers[0], 64)
    return head + packed(src) + packed(dst) + body


def ip(src, dst, protocol, payload, ident=0):
    """Returns an IP packet of the addresses' version."""
    if ":" in src:
        return ip6(src, dst, protocol, payload)
    return ip4(src, dst, protocol, payload, ident)


def fragments4(packet, size, ident):
    """Returns an IPv4 packet's fragments, each with at most `size` bytes of it (a multiple of 8)."""
    src, dst, protocol, body = packet[12:16], packet[16:20], packet[9], packet[20:]
    parts = []
    for at in range(0, len(body), size):
        more = 0x2000 if at + size < len(body) else 0
        part = body[at:at + size]
        parts.append(ip4(bytes(src), bytes(dst), protocol, part, ident, more | at // 8))
    return parts


def fragments6(packet, size, ident):
    """Returns an IPv6 packet's fragments (RFC 8200 §4.5)."""
    src, dst, protocol, body = packet[8:24], packet[24:40], packet[6], packet[40:]
    parts = []
    for at in range(0, len(body), size):
        more = 1 if at + size < len(body) else 0
        header = struct.pack(">BHI", 0, at | more, ident)
        parts.append(ip6(src, dst, protocol, body[at:at + size], [(44, header)]))
    return parts


def is_ip6(packet):
    """Tells whether an IP packet is of version 6."""
    return packet[0] >> 4 == 6


def ether_type(packet):
    """Returns the Ethernet type of an IP packet."""
    return 0x86DD if is_ip6(packet) else 0x0800


def ethernet(packet, from_client=True, tags=(), type_=None):
    """Returns an Ethernet frame; a tag is a pair of its type and its VLAN id."""
    src, dst = (CLIENT_MAC, SERVER_MAC) if from_client else (SERVER_MAC, CLIENT_MAC)
    frame = dst + src
    for tag, vlan in tags:
        frame += struct.pack(">HH", tag, vlan)
    frame += struct.pack(">H", type_ or ether_type(packet)) + packet
    # An Ethernet frame has at least 60 bytes before its checksum.
    return frame.ljust(60, b"\0")


def sll(packet, from_client=True):
    """Returns a frame of LINKTYPE_LINUX_SLL."""
    kind, mac = (0, CLIENT_MAC) if from_client else (4, SERVER_MAC)
    return struct.pack(">HHH6sHH", kind, 1, 6, mac, 0, ether_type(packet)) + packet


def sll2(packet, from_client=True):
    """Returns a frame of LINKTYPE_LINUX_SLL2."""
    kind, mac = (0, CLIENT_MAC) if from_client else (4, SERVER_MAC)
    return struct.pack(">HHIHBB6sH", ether_type(packet), 0, 2, 1, kind, 6, mac, 0) + packet


def null(packet, order, family6=30):
    """Returns a frame of LINKTYPE_NULL: the address family in the byte order of the capturing host."""
    return struct.pack(order + "I", family6 if is_ip6(packet) else 2) + packet


def outer(from_client, protocol, payload):
    """Returns the IP packet between two tunnel ends."""
    src, dst = ("192.0.2.1", "192.0.2.2") if from_client else ("192.0.2.2", "192.0.2.1")
    return ip4(src, dst, protocol, payload)


def outer_udp(from_client, port, payload):
    """Returns the UDP packet between two tunnel ends."""
    src, dst = ("192.0.2.1", "192.0.2.2") if from_client else ("192.0.2.2", "192.0.2.1")
    return ip4(src, dst, UDP, udp((src, 54321), (dst, port), payload))


def vxlan(packet, from_client, vni=42):
    """Returns a packet in VXLAN (RFC 7348 §5)."""
    head = struct.pack(">II", 0x0800_0000, vni << 8)
    return outer_udp(from_client, 4789, head + ethernet(packet, from_client))


def geneve(packet, from_client, vni=42):
    """Returns a packet in Geneve with one option (RFC 8926 §3.4)."""
    option = struct.pack(">HBBI", 0x0102, 0x01, 1, 7)
    head = struct.pack(">BBHI", len(option) // 4, 0, 0x6558, vni << 8) + option
    return outer_udp(from_client, 6081, head + ethernet(packet, from_client))


def gtp(packet, from_client, teid=0x1234):
    """Returns a packet in GTP-U with a sequence number (3GPP TS 29.281 §5)."""
    head = struct.pack(">BBHIHBB", 0x32, 255, 4 + len(packet), teid, 7, 0, 0)
    return outer_udp(from_client, 2152, head + packet)


def gre(packet, from_client, key=0x2A):
    """Returns a packet in GRE with a key (RFC 2890 §2)."""
    return outer(from_client, GRE, struct.pack(">HHI", 0x2000, ether_type(packet), key) + packet)


def ipip(packet, from_client):
    """Returns a packet in IP (RFC 2003)."""
    return outer(from_client, 41 if is_ip6(packet) else IPIP, packet)


def mpls(packet, labels=(100, 200)):
    """Returns an IP packet behind MPLS labels (RFC 3032 §2.1)."""
    stack = b""
    for label in labels:
        bottom = label == labels[-1]
        stack += struct.pack(">I", label << 12 | bottom << 8 | 64)
    return stack + packet


def pppoe(packet, session=7):
    """Returns an IP packet in a PPPoE session (RFC 2516 §4)."""
    protocol = struct.pack(">H", 0x57 if is_ip6(packet) else 0x21)
    return struct.pack(">BBHH", 0x11, 0, session, len(packet) + 2) + protocol + packet


def arp(sender, target, from_client=True):
    """Returns an ARP request as an Ethernet frame (RFC 826)."""
    mac = CLIENT_MAC if from_client else SERVER_MAC
    body = struct.pack(">HHBBH", 1, 0x0800, 6, 4, 1) + mac + packed(sender)
    frame = b"\xff" * 6 + mac + struct.pack(">H", 0x0806) + body + bytes(6) + packed(target)
    return frame.ljust(60, b"\0")


def echo(src, dst, number, reply=False):
    """Returns an ICMP echo packet (RFC 792)."""
    body = struct.pack(">BBHHH", 0 if reply else 8, 0, 0, 0x77, number) + b"abcdefgh" * 4
    body = body[:2] + struct.pack(">H", checksum(body)) + body[4:]
    return ip4(src, dst, ICMP, body)


def unreachable(reporter, packet, code=3):
    """Returns the ICMP error that says a packet's port is unreachable (RFC 792)."""
    body = struct.pack(">BBHI", 3, code, 0, 0) + packet[:28]
    body = body[:2] + struct.pack(">H", checksum(body)) + body[4:]
    return ip4(reporter, bytes(packet[12:16]), ICMP, body)
