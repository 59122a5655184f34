#!/usr/bin/env python3
"""Writes seeds/: small named inputs for every fuzz target, cut from ../captures; with --check, compares.

src/script.rs has the language that most of them are in. Crashes that were found are kept by hand in
regressions/, in the same form. Needs nothing but Python's standard library.
"""

import struct
import sys
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
TREE = HERE.parent
CAPTURES = TREE / "captures"

MARK = b"\xf5"
TURN, GAP, CUT, CLOSE = (MARK + bytes([code]) for code in range(4))
BACK, REOPEN, AHEAD = MARK + b"\x04", MARK + b"\x07", MARK + b"\x08"

# src/captures.rs LINKS, inspect/facts.rs Protocol::ALL, src/conversations.rs and src/datagrams.rs PORTS.
LINKS = [0, 1, 9, 12, 14, 50, 101, 104, 105, 107, 108, 113, 127, 228, 229, 276]
PROTOCOLS = (
    "amqp cassandra databridge dns hazelcast hdfs http http2 kafka krb5 ldap mqtt ntp quic rmi snmp spark ssh syslog"
    " thrift tls websocket"
).split()
UDP_PORTS = [53, 88, 123, 161, 389, 443, 514, 45564]

SEED_LEN_MAX = 700


def escaped(data):
    """Returns data with the mark doubled."""
    return data.replace(MARK, MARK + b"\xff")


def frames(path):
    """Returns link type and frames of a pcap of either byte order."""
    data = path.read_bytes()
    order = "<" if data[0] in (0xD4, 0x4D) else ">"
    (link,) = struct.unpack_from(order + "I", data, 20)
    out, at = [], 24
    while at + 16 <= len(data):
        (size,) = struct.unpack_from(order + "I", data, at + 8)
        out.append(data[at + 16 : at + 16 + size])
        at += 16 + size
    return link, out


def segments(path):
    """Returns (protocol number, sender, receiver, payload) of plain IPv4 and IPv6 frames."""
    link, all_frames = frames(path)
    skip = {1: 14, 113: 16, 276: 20, 101: 0, 228: 0}.get(link)
    out = []
    for frame in all_frames:
        packet = frame[skip:]
        if not packet or packet[0] >> 4 != 4:
            continue
        head, (total,) = (packet[0] & 15) * 4, struct.unpack_from(">H", packet, 2)
        body = packet[head:total]
        if packet[9] not in (6, 17) or len(body) < 8:
            continue
        ports = struct.unpack_from(">HH", body)
        payload = body[(body[12] >> 4) * 4 :] if packet[9] == 6 else body[8:]
        out.append((packet[9], (packet[12:16], ports[0]), (packet[16:20], ports[1]), payload))
    return out


def talks(path, transport=6):
    """Returns (server's port, conversation) of each flow; the client speaks, or is seen, first."""
    flows = {}
    for number, sender, receiver, payload in segments(path):
        if number == transport:
            flows.setdefault(frozenset((sender, receiver)), [sender, receiver, []])[2].append((sender, payload))
    for client, server, pieces in flows.values():
        script, turn = b"", client
        for sender, payload in pieces:
            if not payload:
                continue
            if sender != turn:
                script, turn = script + TURN, sender
            elif script:
                script += CUT
            script += escaped(payload)
        yield server[1], script


def h2_frame(kind, flags, stream, payload):
    """Returns a frame of HTTP/2 (RFC 9113 section 4.1)."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def h2_literal(name, value):
    """Returns a header field that the dynamic table takes (RFC 7541 section 6.2.1)."""
    return b"\x40" + bytes([len(name)]) + name + bytes([len(value)]) + value


def http2():
    """Returns conversations of HTTP/2."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    fields = b"\x83\x86\x84" + h2_literal(b"authorization", b"Bearer CANARY-h2")
    request = h2_frame(1, 4, 1, fields) + h2_frame(0, 1, 1, b"grant_type=password&password=canary-pw-1")
    answer = h2_frame(4, 0, 0, b"") + h2_frame(1, 4, 1, b"\x88") + h2_frame(0, 1, 1, b'{"access_token":"CANARY-2"}')
    padded = h2_frame(1, 0x2C, 3, b"\x03" + b"\0\0\0\0\x10" + fields + b"\0\0\0")
    parts = h2_frame(1, 0, 1, fields[:9]) + h2_frame(9, 0, 1, fields[9:20]) + h2_frame(9, 4, 1, fields[20:])
    huffman = b"\x83\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"
    sizes = h2_frame(4, 0, 0, b"\0\1\0\0\x10\0" + b"\0\4\0\0\xff\xff") + h2_frame(1, 5, 1, b"\x3f\xe1\x1f" + fields)
    opening = preface + h2_frame(4, 0, 0, b"")
    conversations = {
        "request-and-answer": escaped(opening + request) + TURN + escaped(answer),
        "padding-and-priority": escaped(opening + padded),
        "continuation": escaped(opening + parts),
        "huffman": escaped(opening + h2_frame(1, 5, 1, huffman)),
        "table-size": escaped(preface + sizes),
        "push-and-goaway": escaped(opening + request) + TURN
        + escaped(answer + h2_frame(5, 4, 1, b"\0\0\0\2" + fields) + h2_frame(7, 0, 0, b"\0\0\0\1\0\0\0\0")),
        "hole-in-body": escaped(opening + h2_frame(0, 0, 1, b"x" * 40)[:20]) + GAP + b"\x11" + escaped(request),
    }
    out = {name: b"\0" + script for name, script in conversations.items()}
    for name in ("curl", "load", "node", "python"):
        for port, script in talks(CAPTURES / "real" / f"http-{name}.pcap"):
            if script.startswith(preface):
                out[name] = b"\0" + script[: 2 * SEED_LEN_MAX]
                break
    return out


def named(folder):
    """Returns the captures of a folder by their names."""
    return {path.stem: path for path in sorted((CAPTURES / folder).glob("*.pcap"))}


def conversations(folder):
    """Returns the beginning of the first conversation of each capture of a folder."""
    for name, path in named(folder).items():
        for port, script in talks(path):
            if script:
                yield name, port, script[:SEED_LEN_MAX]
                break


def decode():
    """Returns frames."""
    out = {}
    for name, path in named("link").items():
        link, all_frames = frames(path)
        script = TURN.join(escaped(frame[:400]) for frame in all_frames[:8])
        out[name] = bytes([LINKS.index(link) if link in LINKS else 1]) + script[: 2 * SEED_LEN_MAX]
    return out


def reassembly():
    """Returns connections with every kind of disorder."""
    out = {}
    for name, port, script in conversations("http"):
        if name in ("chunked-body", "pipelined", "upgrade-refused", "basic", "connect-tunnel", "websocket", "unfinished-head"):
            out[name] = b"\0" + script
    request = b"GET /a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer CANARY-1\r\n\r\n"
    answer = TURN + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"
    out |= {
        "hole-in-head": b"\0" + request[:20] + GAP + b"\x05" + request[25:] + answer,
        "overlap": b"\0" + request[:30] + BACK + b"\x08" + b"another " + request[30:] + answer,
        "early-segment": b"\0" + AHEAD + b"\x09" + request + answer,
        "far-ahead": b"\0" + request + GAP + b"\x2a" + request + answer,
        "five-tuple-reused": b"\0" + request + answer + REOPEN + TURN + request + answer,
        "joined-midway": b"\x80" + b"a body's end " + CUT + request + answer,
        "closed": b"\0" + request + CLOSE + answer + CLOSE,
    }
    return out


def tls():
    """Returns handshakes."""
    out = {}
    for port, script in talks(CAPTURES / "demo.pcap"):
        if port in (8243, 9443, 7711) and f"port-{port}" not in out:
            out[f"port-{port}"] = b"\0" + script[:SEED_LEN_MAX]
    return out


def inspectors():
    """Returns conversations of every other protocol that the captures have."""
    out = {}
    names = {"jmx": "rmi"}
    for folder, only in (("real", None),):
        for name, port, script in conversations(folder):
            protocol = names.get(name, name)
            if protocol in PROTOCOLS:
                out[protocol] = bytes([PROTOCOLS.index(protocol), 0]) + script
    ports = {9611: "databridge", 7611: "thrift", 1883: "mqtt", 389: "ldap", 5672: "amqp", 10389: "ldap", 9999: "rmi", 11111: "rmi", 7077: "spark"}
    for port, script in talks(CAPTURES / "demo.pcap"):
        protocol = ports.get(port)
        if protocol and f"demo-{protocol}" not in out:
            out[f"demo-{protocol}"] = bytes([PROTOCOLS.index(protocol), 0]) + script[:SEED_LEN_MAX]
    return out


def datagrams():
    """Returns exchanges."""
    out = {}
    for name in ("dns", "ntp", "snmp", "krb5", "syslog"):
        for port, script in talks(CAPTURES / "real" / f"{name}.pcap", 17):
            choice = UDP_PORTS.index(port) if port in UDP_PORTS else 0
            out.setdefault(name, bytes([choice]) + script[:SEED_LEN_MAX])
    return out


def redact():
    """Returns conversations behind the byte of their protocol."""
    out = {f"http2-{name}": bytes([PROTOCOLS.index("http2")]) + seed[1:] for name, seed in http2().items()}
    out |= {f"tls-{name}": bytes([PROTOCOLS.index("tls")]) + seed[1:] for name, seed in tls().items()}
    out |= {name: seed[:1] + seed[2:] for name, seed in inspectors().items()}
    for name, _, script in conversations("http"):
        if name in ("basic", "chunked-body", "form-body", "query", "websocket", "password-grant", "pipelined"):
            out[f"http-{name}"] = bytes([PROTOCOLS.index("http")]) + script
    return out


def http1():
    """Returns conversations of HTTP/1, and one in single bytes."""
    out = {name: b"\0" + script for name, _, script in conversations("http")}
    out["single-bytes"] = b"\x08" + out["pipelined"][1:]
    for name, port, script in conversations("real"):
        if name.startswith("http-"):
            out[name] = b"\0" + script
    return out


def forms():
    """Returns bodies behind the bytes of what they are and of the pieces they come in."""
    soap = (
        b"<s:Envelope xmlns:s='x'><s:Header><w:Security><w:UsernameToken><w:Username>admin</w:Username>"
        b"<w:Password>canary-pw-1</w:Password></w:UsernameToken></w:Security></s:Header><s:Body/></s:Envelope>"
    )
    parts = b'--b\r\nContent-Disposition: form-data; name="access_token"\r\n\r\nCANARY-1\r\n--b--\r\n'
    # Stored, not compressed, so that every zlib makes the same of it (RFC 1951 section 3.2.4, RFC 1952).
    plain = b"access_token=CANARY-1"
    packed = b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x01" + struct.pack("<HH", len(plain), len(plain) ^ 0xFFFF) + plain
    packed += struct.pack("<II", zlib.crc32(plain), len(plain))
    return {
        "form": b"\0\4a=b&access_token=CANARY-1&c",
        "form-encoded": b"\x08\2%61ccess%5Ftoken=CANARY+1%2F2&=&&",
        "form-gzip": b"\4\x09" + packed,
        "grant": b"\0\7grant_type=password&username=admin&password=admin&client_secret=canary-pw-2",
        "login": b"\x08\x1fusername=admin&password=canary-pw-1",
        "soap": b"\1\x11" + soap,
        "soap-cdata": b"\x09\x21" + soap.replace(b"canary-pw-1", b"<!-- > --><![CDATA[canary-pw-1]]>"),
        "parts": b"\2\x10" + parts,
        "token": b'\3\5{"scope":"a \\"b","access_token":"CANARY-1","expires_in":3600}',
        "token-nested": b'\x0b\5{"token":{"accessToken":"CANARY\\u002d1"}}',
    }


def small(folder, limit):
    """Returns whole captures."""
    paths = (path for path in sorted((CAPTURES / folder).iterdir()) if path.stat().st_size <= limit)
    return {path.name: path.read_bytes() for path in paths}


def loaders():
    """Returns beginnings of files, up to an empty line."""

    def beginning(path, limit):
        text = (TREE / path).read_text()
        return text[: text.rfind("\n\n", 0, limit)].encode() + b"\n"

    site = (
        b'[[zone]]\nname = "public"\nprefixes = ["10.0.2.0/24"]\ntrust = "server"\n\n[[host]]\nname = "gw-1"\n'
        b'addresses = ["10.0.3.10", "fd00::10"]\nproducts = ["wso2-api-manager-4"]\noffset = 1\nzone = "public"\n\n'
        b'[policy]\npacks = ["wso2"]\nauth_headers = ["X-Auth"]\n\n[[suppress]]\nrule = "wso2/bearer-over-http"\n'
        b'initiator = "10.0.2.7"\nport = 8280\nuntil = 2027-01-31\nreason = "legacy client"\n'
    )
    return {
        "site": b"t" + site,
        "catalogue": b"u" + beginning("catalog/wso2-micro-integrator.toml", 1800),
        "policy": b"v" + beginning("catalog/policy/wso2.toml", 1800),
        "matrix": b"v" + beginning("catalog/policy/wso2-api-manager-4-distributed.toml", 1800),
        "baseline": b"w" + site[site.index(b"[[suppress]]") :],
    }


def made():
    """Returns every seed by its path."""
    seeds = {
        "reader": small("file", 2000),
        "decode": decode(),
        "reassembly": reassembly(),
        "http1": http1(),
        "http2": http2(),
        "forms": forms(),
        "tls": tls(),
        "inspectors": inspectors(),
        "datagrams": datagrams(),
        "redact": redact(),
        "report": {**small("flow", 1100), **small("link", 800)},
        "loaders": loaders(),
    }
    return {f"{target}/{name}": seed for target, named in seeds.items() for name, seed in named.items()}


def main(arguments):
    """Writes or compares."""
    folder, seeds = HERE / "seeds", made()
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    if arguments == ["--check"]:
        wrong = sorted(path for path in there ^ set(seeds))
        wrong += [path for path in there & set(seeds) if (folder / path).read_bytes() != seeds[path]]
        for path in wrong:
            print(f"error: fuzz/seeds/{path}: differs from what seeds.py makes", file=sys.stderr)
        return 1 if wrong else 0
    for path in there - set(seeds):
        (folder / path).unlink()
    for path, seed in seeds.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(seed)
    print(f"{len(seeds)} seeds, {sum(map(len, seeds.values()))} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
