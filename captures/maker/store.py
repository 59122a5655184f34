"""Capture files and the containers around them, written by hand so that no tool's version shows."""

import struct
import zlib

ETHERNET, RAW, NULL, LOOP, SLL, SLL2, IPV4, IPV6 = 1, 101, 0, 108, 113, 276, 228, 229


def pcap(frames, link=ETHERNET, order="<", nanos=False, snaplen=262144):
    """Returns a pcap file: microseconds or nanoseconds, in either byte order."""
    magic = 0xA1B23C4D if nanos else 0xA1B2C3D4
    out = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snaplen, link)
    for at, frame, length in frames:
        fraction = at % 10**9 if nanos else at % 10**9 // 1000
        out += struct.pack(order + "IIII", at // 10**9, fraction, len(frame), length) + frame
    return out


def block(order, kind, body):
    """Returns a pcapng block (draft-ietf-opsawg-pcapng §3.1)."""
    body += b"\0" * (-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def option(order, code, value):
    """Returns an option, padded."""
    return struct.pack(order + "HH", code, len(value)) + value + b"\0" * (-len(value) % 4)


def section(order):
    """Returns a section header."""
    head = struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1)
    return block(order, 0x0A0D0D0A, head + option(order, 4, b"captures/make.py") + bytes(4))


def interface(order, link, name=None, resolution=6, snaplen=262144):
    """Returns an interface description; its times count 10 to the minus `resolution` seconds."""
    body = struct.pack(order + "HHI", link, 0, snaplen)
    if name:
        body += option(order, 2, name.encode())
    body += option(order, 9, bytes([resolution])) + bytes(4)
    return block(order, 1, body)


def enhanced(order, index, frame, resolution=6):
    """Returns an enhanced packet block."""
    at, data, length = frame
    ticks = at * 10**resolution // 10**9
    head = struct.pack(order + "IIIII", index, ticks >> 32, ticks % 2**32, len(data), length)
    return block(order, 6, head + data)


def simple(order, frame):
    """Returns a simple packet block: no time, the section's first interface."""
    return block(order, 3, struct.pack(order + "I", frame[2]) + frame[1])


def names(order, address, name):
    """Returns a name resolution block with one IPv4 name."""
    record = address + name.encode() + b"\0"
    body = struct.pack(order + "HH", 1, len(record)) + record + b"\0" * (-len(record) % 4)
    return block(order, 4, body + bytes(4))


def statistics(order, index):
    """Returns an interface statistics block: 100 received, 3 dropped by the kernel."""
    counts = option(order, 4, struct.pack(order + "Q", 100))
    counts += option(order, 5, struct.pack(order + "Q", 3))
    return block(order, 5, struct.pack(order + "III", index, 0, 0) + counts + bytes(4))


def gz(data):
    """Returns a gzip member (RFC 1952) of one block with fixed codes and no matches (RFC 1951 §3.2.6)."""
    bits, count, out = 0b011, 3, bytearray()

    def put(code, length):
        nonlocal bits, count
        for place in reversed(range(length)):
            bits |= (code >> place & 1) << count
            count += 1
            if count == 8:
                out.append(bits)
                bits, count = 0, 0

    for byte in data:
        if byte < 144:
            put(0x30 + byte, 8)
        else:
            put(0x190 + byte - 144, 9)
    put(0, 7)
    if count:
        out.append(bits)
    head = bytes([0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255])
    return head + bytes(out) + struct.pack("<II", zlib.crc32(data), len(data))


def zst(data, size=700):
    """Returns a skippable frame and a Zstandard frame of raw blocks (RFC 8878 §3.1.1, §3.1.2)."""
    out = struct.pack("<II", 0x184D2A50, 4) + b"note"
    # A single segment with its content size in four bytes; no checksum.
    out += struct.pack("<IBI", 0xFD2FB528, 0xA0, len(data))
    for at in range(0, len(data), size):
        part = data[at:at + size]
        last = at + size >= len(data)
        out += struct.pack("<I", len(part) << 3 | last)[:3] + part
    return out


def lz4(data, size=700):
    """Returns an LZ4 frame of uncompressed blocks (LZ4 Frame Format 1.6.x)."""
    # Version 1, independent blocks; blocks of up to 64 KiB.
    descriptor = bytes([0x60, 0x40])
    out = struct.pack("<I", 0x184D2204) + descriptor + bytes([xxh32(descriptor) >> 8 & 0xFF])
    for at in range(0, len(data), size):
        part = data[at:at + size]
        out += struct.pack("<I", 0x8000_0000 | len(part)) + part
    return out + struct.pack("<I", 0)


def xxh32(data):
    """Returns xxHash32 of less than four bytes, with seed 0 (xxHash specification, XXH32)."""
    prime1, prime2, prime3, prime5 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x165667B1
    acc = (prime5 + len(data)) % 2**32
    for byte in data:
        acc = (acc + byte * prime5) % 2**32
        acc = (acc << 11 | acc >> 21) % 2**32 * prime1 % 2**32
    acc = (acc ^ acc >> 15) * prime2 % 2**32
    acc = (acc ^ acc >> 13) * prime3 % 2**32
    return acc ^ acc >> 16
