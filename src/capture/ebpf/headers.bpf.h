/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only)
 *
 * Reads a frame's headers: which flow it belongs to, and what of it counts. Decides nothing.
 */
#pragma once

#include "portreeve.bpf.h"

/* Set by the loader. */
const volatile u32 ignore_vlan = 0;
const volatile u32 tunnel_ports[16] = {};

enum { TCP = 6, UDP = 17 };
enum { FIN = 1, SYN = 2, RST = 4, ACK = 16 };
enum { ETH_IP4 = 0x0800, ETH_IP6 = 0x86dd, ETH_VLAN = 0x8100, ETH_QINQ = 0x88a8 };
/* Headers that are still read stay within this offset. */
enum { HEADERS_MAX = 1024 };
/* Tags and extension headers that are still read; a frame with more is handed up whole. */
enum { VLANS_MAX = 2, EXTENSIONS_MAX = 6 };

struct packet {
	u64 now;
	u32 packets;
	u32 headers_len;
	u32 payload_len;
	u32 seq;
	u32 side;
	u32 flags;
	u32 is_ip;
};

/* The wire carries the tag that the kernel keeps beside the frame. */
INLINE u32 tag_len(struct __sk_buff *skb)
{
	return skb->vlan_present ? 4 : 0;
}

/* Reads headers where they lie, nearly always; the rest of a frame may lie elsewhere, and the kernel fetches it. */
INLINE long load(struct __sk_buff *skb, u32 at, void *to, const u32 len)
{
	u8 *from = (u8 *)(long)skb->data, *end = (u8 *)(long)skb->data_end;

	if (at > HEADERS_MAX)
		return -1;
	/* For the verifier: the compiler would drop a bound that it knows. */
	asm volatile("%0 &= 0x7ff" : "+r"(at));
	from += at;
	if (from + len <= end) {
		__builtin_memcpy(to, __builtin_assume_aligned(from, 2), len);
		return 0;
	}
	return skb_load(skb, at, to, len);
}

/* Offload joins packets of one connection: each had headers of its own on the wire. */
INLINE void count_segments(struct __sk_buff *skb, u32 headers_len, struct packet *packet)
{
	u32 size = skb->gso_size;
	u32 len = skb->len;

	if (size == 0 || len <= headers_len)
		return;
	packet->packets = (len - headers_len + size - 1) / size;
	packet->headers_len = (packet->packets - 1) * (headers_len + tag_len(skb));
}

INLINE int is_tunnel(u16 port)
{
	for (int i = 0; i < 16; i++)
		if (tunnel_ports[i] == port)
			return port != 0;
	return 0;
}

/* Orders the ends and returns the side of the sender. */
INLINE u32 place_ends(struct flow_key *key, const u8 *src, const u8 *dst, u32 len, u16 sport, u16 dport)
{
	u64 src_hi, src_lo = 0, dst_hi, dst_lo = 0;
	u32 side;

	if (len == 4) {
		src_hi = from_net32(*(u32 *)src);
		dst_hi = from_net32(*(u32 *)dst);
	} else {
		src_hi = from_net64(*(u64 *)src);
		src_lo = from_net64(*(u64 *)(src + 8));
		dst_hi = from_net64(*(u64 *)dst);
		dst_lo = from_net64(*(u64 *)(dst + 8));
	}
	if (src_hi != dst_hi)
		side = src_hi > dst_hi;
	else if (src_lo != dst_lo)
		side = src_lo > dst_lo;
	else
		side = sport > dport;
	if (side) {
		__builtin_memcpy(key->addresses[1], src, len);
		__builtin_memcpy(key->addresses[0], dst, len);
		key->ports[1] = sport;
		key->ports[0] = dport;
	} else {
		__builtin_memcpy(key->addresses[0], src, len);
		__builtin_memcpy(key->addresses[1], dst, len);
		key->ports[0] = sport;
		key->ports[1] = dport;
	}
	return side;
}

/* Reads the ports; `end` is where the IP packet ends. Returns 0 where there is no key. */
INLINE int read_transport(struct __sk_buff *skb, u32 at, u32 end, u32 protocol, u16 ports[2], struct packet *packet)
{
	if (at > HEADERS_MAX)
		return 0;
	if (protocol == TCP) {
		struct {
			u16 ports[2];
			u32 seq, ack;
			u8 offset, flags;
			u16 window, sum, urgent;
		} tcp;

		if (load(skb, at, &tcp, sizeof(tcp)) < 0)
			return 0;
		u32 len = (tcp.offset >> 4) * 4;

		if (len < sizeof(tcp) || at + len > end)
			return 0;
		ports[0] = from_net16(tcp.ports[0]);
		ports[1] = from_net16(tcp.ports[1]);
		packet->seq = from_net32(tcp.seq);
		packet->flags = tcp.flags;
		packet->payload_len = end - at - len;
		count_segments(skb, at + len, packet);
		return 1;
	}
	if (protocol == UDP) {
		struct {
			u16 ports[2], len, sum;
		} udp;

		if (load(skb, at, &udp, sizeof(udp)) < 0)
			return 0;
		u32 len = from_net16(udp.len);

		if (len < sizeof(udp) || at + len > end)
			return 0;
		ports[0] = from_net16(udp.ports[0]);
		ports[1] = from_net16(udp.ports[1]);
		if (is_tunnel(ports[0]) || is_tunnel(ports[1]))
			return 0;
		packet->payload_len = len - sizeof(udp);
		count_segments(skb, at + sizeof(udp), packet);
		return 1;
	}
	return 0;
}

INLINE int read_ip4(struct __sk_buff *skb, u32 at, struct flow_key *key, struct packet *packet)
{
	struct {
		u8 version, tos;
		u16 len, id, fragment;
		u8 ttl, protocol;
		u16 sum;
		u8 src[4], dst[4];
	} ip;
	u16 ports[2];

	if (load(skb, at, &ip, sizeof(ip)) < 0)
		return 0;
	u32 header_len = (ip.version & 15) * 4, len = from_net16(ip.len);

	if (ip.version >> 4 != 4 || header_len < sizeof(ip) || (ip.fragment & from_net16(0x3fff)) != 0)
		return 0;
	/* Left to the network card: the packet fills the frame. */
	u32 end = len == 0 ? skb->len : at + len;

	if (end > skb->len || !read_transport(skb, at + header_len, end, ip.protocol, ports, packet))
		return 0;
	key->transport = ip.protocol;
	packet->side = place_ends(key, ip.src, ip.dst, 4, ports[0], ports[1]);
	return 1;
}

INLINE int read_ip6(struct __sk_buff *skb, u32 at, struct flow_key *key, struct packet *packet)
{
	struct {
		u32 version;
		u16 len;
		u8 next, hops;
		u8 src[16], dst[16];
	} ip;
	u16 ports[2];

	if (load(skb, at, &ip, sizeof(ip)) < 0)
		return 0;
	if ((ip.version & 0xf0) != 0x60)
		return 0;
	u32 len = from_net16(ip.len);
	u32 end = len == 0 ? skb->len : at + sizeof(ip) + len;
	u8 next = ip.next;

	/* A jumbogram says its length in an option. */
	if (end > skb->len || (len == 0 && next == 0))
		return 0;
	at += sizeof(ip);
	for (int i = 0; i < EXTENSIONS_MAX; i++) {
		u8 extension[4];

		if (next == TCP || next == UDP)
			break;
		/* Hop-by-hop, routing, destination options. */
		if ((next != 0 && next != 43 && next != 60) || at > HEADERS_MAX)
			return 0;
		if (load(skb, at, extension, sizeof(extension)) < 0)
			return 0;
		/* A route that is not finished: another address than the header's answers. */
		if (next == 43 && extension[3] != 0)
			return 0;
		next = extension[0];
		at += (extension[1] + 1) * 8;
	}
	if (!read_transport(skb, at, end, next, ports, packet))
		return 0;
	key->v6 = 1;
	key->transport = next;
	packet->side = place_ends(key, ip.src, ip.dst, 16, ports[0], ports[1]);
	return 1;
}

/* Adds a VLAN id; 0 is a priority and no VLAN (IEEE 802.1Q 9.6). Returns 0 when there are too many. */
INLINE int add_vlan(struct flow_key *key, u32 id)
{
	if (id == 0 || ignore_vlan)
		return 1;
	if (key->vlans[0] == 0)
		key->vlans[0] = id;
	else if (key->vlans[1] == 0)
		key->vlans[1] = id;
	else
		return 0;
	return 1;
}

/* Finds the flow's key. Returns 0 where only the general decoder can tell. */
INLINE int read_key(struct __sk_buff *skb, int is_ip, struct flow_key *key, struct packet *packet)
{
	u32 at = 0;
	u16 type;

	key->ifindex = skb->ifindex;
	if (tag_len(skb) && !add_vlan(key, skb->vlan_tci & 0xfff))
		return 0;
	if (is_ip) {
		u8 version;

		if (load(skb, 0, &version, 1) < 0)
			return 0;
		type = version >> 4 == 4 ? ETH_IP4 : ETH_IP6;
	} else {
		if (load(skb, 12, &type, 2) < 0)
			return 0;
		type = from_net16(type);
		at = 14;
		for (int i = 0; i < VLANS_MAX; i++) {
			u16 tag[2];

			if (type != ETH_VLAN && type != ETH_QINQ)
				break;
			if (load(skb, at, tag, 4) < 0 || !add_vlan(key, from_net16(tag[0]) & 0xfff))
				return 0;
			type = from_net16(tag[1]);
			at += 4;
		}
	}
	if (type == ETH_IP4)
		return read_ip4(skb, at, key, packet);
	if (type == ETH_IP6)
		return read_ip6(skb, at, key, packet);
	return 0;
}
