"""A capture in the making, and TCP connections and UDP exchanges that fill it."""

import hashlib

from . import wire
from .wire import ACK, FIN, PSH, RST, SYN

SECOND = 10**9
MILLI = 10**6
MICRO = 10**3

# 2026-11-23 09:15:00 UTC, a Monday morning.
START = 1_795_425_300 * SECOND

MSS = 1460
# MSS, SACK permitted, window scale: what a Linux client opens with, without its time stamps.
SYN_OPTIONS = bytes.fromhex("020405b4 0402 01 030307".replace(" ", ""))


class Capture:
    """Frames with their times. `link` turns an IP packet into a frame."""

    def __init__(self, link=wire.ethernet, start=START):
        self.frames = []
        self.link = link
        self.now = start

    def add(self, packet, from_client=True, at=None, wire_len=None):
        """Appends an IP packet."""
        self.add_frame(self.link(packet, from_client), at, wire_len)

    def add_frame(self, frame, at=None, wire_len=None):
        """Appends a frame as it is."""
        self.frames.append((self.now if at is None else at, frame, wire_len or len(frame)))

    def by_time(self):
        """Returns the frames by time; frames of one moment keep their order."""
        return sorted(self.frames, key=lambda frame: frame[0])

    def cut(self, snaplen):
        """Cuts all frames to a snap length."""
        self.frames = [(at, frame[:snaplen], length) for at, frame, length in self.frames]


class Tcp:
    """One connection. Every method appends its packets to the capture and lets time pass."""

    def __init__(self, capture, client, server, at=None, rtt=800 * MICRO, isn=None):
        self.capture, self.ends = capture, [client, server]
        self.now = capture.now if at is None else at
        self.rtt = rtt
        first, second = isn or (number(client, server), number(server, client))
        self.seq = [first, second]
        self.ident = number(client, server) % 2**16

    def packet(self, side, flags, data=b"", seq=None, ack=None, options=b"", advance=True):
        """Appends one segment of a side (0 is the client); `seq` puts it elsewhere than at the stream's end."""
        src, dst = self.ends[side], self.ends[1 - side]
        at = self.seq[side] if seq is None else seq
        known = self.seq[1 - side] if ack is None else ack
        segment = wire.tcp(src, dst, at, known if flags & ACK else 0, flags, data, options)
        self.ident += 1
        self.capture.add(wire.ip(src[0], dst[0], wire.TCP, segment, self.ident), side == 0, self.now)
        if advance and seq is None:
            self.seq[side] += len(data) + (1 if flags & (SYN | FIN) else 0)
        self.now += 20 * MICRO

    def wait(self, ns):
        """Lets time pass."""
        self.now += ns
        return self

    def open(self, data=b"", options=SYN_OPTIONS):
        """Shakes hands; `data` lies in the SYN (RFC 7413)."""
        self.packet(0, SYN, data, options=options)
        self.wait(60 * MICRO).packet(1, SYN | ACK, options=SYN_OPTIONS)
        self.wait(self.rtt - 100 * MICRO).packet(0, ACK)
        return self

    def say(self, side, data, sizes=None, acked=True):
        """Sends data, cut at the given sizes (the last one repeats), and has it acknowledged."""
        sizes, at = list(sizes or [MSS]), 0
        while at < len(data):
            size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
            self.packet(side, PSH | ACK, data[at:at + size])
            at += size
        if acked:
            self.wait(self.rtt // 2).packet(1 - side, ACK)
        return self

    def ask(self, request, answer=None, think=3 * MILLI):
        """Sends a request and its answer, which acknowledges it."""
        self.say(0, request, acked=answer is None)
        if answer is not None:
            self.wait(think).say(1, answer)
        return self.wait(self.rtt)

    def close(self, side=0):
        """Closes from one side, then from the other."""
        self.packet(side, FIN | ACK)
        self.wait(self.rtt // 2).packet(1 - side, FIN | ACK)
        self.wait(self.rtt // 2).packet(side, ACK)
        return self

    def reset(self, side):
        """Resets from one side."""
        self.packet(side, RST | ACK)
        return self


def datagram(capture, src, dst, data, at=None, from_client=True):
    """Appends a UDP datagram."""
    packet = wire.ip(src[0], dst[0], wire.UDP, wire.udp(src, dst, data))
    capture.add(packet, from_client, at)


def number(*words):
    """Returns a number that looks random and is always the same for the same words."""
    return int.from_bytes(noise(4, *words), "big")


def noise(length, *words):
    """Returns bytes that look random and are always the same for the same words."""
    out, index = b"", 0
    while len(out) < length:
        out += hashlib.sha256(repr((index, words)).encode()).digest()
        index += 1
    return out[:length]
