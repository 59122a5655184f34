/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only)
 *
 * Counts every packet exactly once: a packet is either handed up through the ring, and then counted by
 * the reader, or counted here in its flow. Handed up are the packets with payload of every flow that is
 * not muted, what opens and closes a connection, the first of each kind a side, and every packet without
 * a key: fragments, tunnels, odd headers, other protocols. Counted here are the packets of muted flows,
 * bare acknowledgements, and what the ring had no room for; that is marked as lost where it carried
 * payload.
 */
#include "portreeve.bpf.h"

char license_text[] SEC("license") = "Dual BSD/GPL";
#ifdef SOURCE_HASH
char source_hash[] SEC("portreeve_source") = SOURCE_HASH;
#endif

/* Set by the loader. */
const volatile u32 copy_max = 0xffffffff;
const volatile u32 ignore_vlan = 0;
const volatile u32 tunnel_ports[16] = {};
const volatile u64 wake_len = 256 << 10;
const volatile u64 udp_idle_ns = 180000000000ULL;
const volatile u32 has_more = 1;

/* The commonest flows, few enough for a look-up to find its bucket in a cache. */
struct {
	uint_of(type, MAP_HASH);
	uint_of(max_entries, 16384);
	type_of(key, struct flow_key);
	type_of(value, struct flow);
} flows SEC(".maps");

/* Those that found no room there. A flow may get an entry in both, by two CPUs at one time: each is counted for
 * itself, and what is asked of the flow is asked of the first one, where every later packet goes. */
struct {
	uint_of(type, MAP_HASH);
	uint_of(max_entries, 131072);
	type_of(key, struct flow_key);
	type_of(value, struct flow);
} more SEC(".maps");

/* Entries ever made in `more`. */
struct {
	uint_of(type, MAP_ARRAY);
	uint_of(max_entries, 1);
	type_of(key, u32);
	type_of(value, u64);
} more_made SEC(".maps");

struct {
	uint_of(type, MAP_RINGBUF);
	uint_of(max_entries, 1 << 24);
} ring SEC(".maps");

struct {
	uint_of(type, MAP_HASH);
	uint_of(max_entries, 256);
	type_of(key, u32);
	type_of(value, struct losses);
} losses SEC(".maps");

/* A flow to begin with; too large for the stack. Only the program of one CPU uses it at a time. */
struct {
	uint_of(type, MAP_PERCPU_ARRAY);
	uint_of(max_entries, 1);
	type_of(key, u32);
	type_of(value, struct flow);
} blank SEC(".maps");

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

/* The reader sleeps until much lies unread, or for its time. */
INLINE u64 wake_flag(void)
{
	u64 unread = ring_query(&ring, RB_AVAIL_DATA);

	return unread >= wake_len && unread < 2 * wake_len ? RB_FORCE_WAKEUP : RB_NO_WAKEUP;
}

/* Hands a frame up in a record of a size that the verifier knows. */
#define HAND_UP(size)                                                                  \
	do {                                                                           \
		record = ring_reserve(&ring, sizeof(*record) + (size), 0);             \
		if (!record)                                                           \
			return 0;                                                      \
		asm volatile("" : "+r"(len));                                          \
		if (len > (size))                                                      \
			len = (size);                                                  \
		if (len < 1 || skb_load(skb, 0, record + 1, len) < 0) {                \
			ring_discard(record, RB_NO_WAKEUP);                            \
			return 0;                                                      \
		}                                                                      \
	} while (0)

/* Copies a frame into the ring. Returns 0 when there is no room. */
static __attribute__((noinline)) int hand_up(struct __sk_buff *skb, struct packet *packet)
{
	struct frame_record *record;
	u32 len = skb->len;

	if (!packet)
		return 0;
	if (len > copy_max)
		len = copy_max;
	if (len <= 128)
		HAND_UP(128);
	else if (len <= 512)
		HAND_UP(512);
	else if (len <= 1536)
		HAND_UP(1536);
	else if (len <= 4096)
		HAND_UP(4096);
	else if (len <= 9216)
		HAND_UP(9216);
	else if (len <= 20480)
		HAND_UP(20480);
	else if (len <= 40960)
		HAND_UP(40960);
	else
		HAND_UP(65664);
	record->kind = RECORD_FRAME;
	record->ifindex = skb->ifindex;
	record->time_ns = packet->now;
	record->len = skb->len;
	record->copied = len;
	record->packets = packet->packets;
	record->headers_len = packet->headers_len;
	record->vlan_tci = skb->vlan_tci;
	record->vlan_proto = tag_len(skb) ? from_net16(skb->vlan_proto) : 0;
	record->is_ip = packet->is_ip;
	ring_submit(record, wake_flag());
	return 1;
}

INLINE void add_loss(u32 ifindex, u64 ring_lost, u64 flow_full)
{
	struct losses *loss = map_lookup(&losses, &ifindex);

	if (!loss)
		return;
	__sync_fetch_and_add(&loss->ring, ring_lost);
	__sync_fetch_and_add(&loss->flow_full, flow_full);
}

/* A packet that no flow counts: it is handed up, or lost. */
INLINE int hand_up_uncounted(struct __sk_buff *skb, struct packet *packet)
{
	if (!hand_up(skb, packet))
		add_loss(skb->ifindex, packet->packets, 0);
	return NEXT;
}

/* Another connection opens on the key. */
INLINE void begin_generation(struct flow *flow, u64 now)
{
	for (int side = 0; side < 2; side++) {
		flow->before.packets[side] = flow->packets[side];
		flow->before.bytes[side] = flow->bytes[side];
		flow->before.lost[side] = flow->lost[side];
	}
	flow->former_next[0] = flow->next[0];
	flow->former_next[1] = flow->next[1];
	flow->former_known = flow->next_known;
	flow->born_ns = now;
	flow->generation++;
	flow->muted = 0;
	flow->untold = 1;
	flow->opened = 1;
	flow->isn_known = 0;
	flow->next_known = 0;
	flow->closed = 0;
	flow->seen = 0;
	flow->to_tell = 1;
}

/* Finds out whether a SYN or SYN/ACK repeats, answers or opens. */
INLINE void see_opening(struct flow *flow, const struct packet *packet, int is_new)
{
	u32 side = packet->side & 1, own = 1 << side, other = 2 >> side;

	if (flow->isn_known & own) {
		if (flow->isn[side] != packet->seq)
			begin_generation(flow, packet->now);
	} else if (!is_new) {
		/* An answer belongs to the SYN that came before it; anything else is of another connection. */
		if (!(packet->flags & ACK) || !(flow->isn_known & other))
			begin_generation(flow, packet->now);
	}
	flow->isn[side] = packet->seq;
	flow->isn_known |= own;
}

INLINE struct flow *find_flow(struct flow_key *key)
{
	struct flow *flow = map_lookup(&flows, key);

	return !flow && has_more ? map_lookup(&more, key) : flow;
}

/* Makes a flow's entry. Returns nothing when there is no room. */
static __attribute__((noinline)) struct flow *make_flow(struct flow_key *key, struct packet *packet)
{
	u32 zero = 0;
	struct flow *flow;

	if (!key || !packet)
		return 0;
	flow = map_lookup(&blank, &zero);
	if (!flow)
		return 0;
	flow->born_ns = packet->now;
	flow->last_ns = packet->now;
	flow->untold = 1;
	flow->opened = key->transport == UDP || (packet->flags & SYN) != 0;
	flow->in_more = 0;
	map_update(&flows, key, flow, BPF_NOEXIST);
	struct flow *made = map_lookup(&flows, key);

	if (made || !has_more)
		return made;
	flow->in_more = 1;
	if (map_update(&more, key, flow, BPF_NOEXIST) == 0) {
		u64 *count = map_lookup(&more_made, &zero);

		if (count)
			__sync_fetch_and_add(count, 1);
	}
	return map_lookup(&more, key);
}

/* Puts the flow's sums into the ring, if they changed since they were last there. */
INLINE int tell_counts(struct flow_key *key, struct flow *flow)
{
	u32 counted = flow->packets[0] + flow->packets[1];
	struct counts_record *record;

	if (counted == flow->told) {
		flow->to_tell = 0;
		return 1;
	}
	record = ring_reserve(&ring, sizeof(*record), 0);
	if (!record)
		return 0;
	record->kind = RECORD_COUNTS;
	record->zero = 0;
	record->key = *key;
	record->key.in_more = flow->in_more;
	record->flow = *flow;
	flow->told = counted;
	flow->to_tell = 0;
	ring_submit(record, RB_NO_WAKEUP);
	return 1;
}

/* Counts a packet that is not handed up. */
INLINE void count(struct __sk_buff *skb, struct flow *flow, const struct packet *packet, int is_lost)
{
	u32 side = packet->side & 1, own = 1 << side;
	u32 next = packet->seq + packet->payload_len + !!(packet->flags & SYN) + !!(packet->flags & FIN);

	__sync_fetch_and_add(&flow->packets[side], packet->packets);
	__sync_fetch_and_add(&flow->bytes[side], skb->len + tag_len(skb) + packet->headers_len);
	if (packet->packets > 1)
		flow->seen |= SEEN_MERGED;
	if (is_lost)
		__sync_fetch_and_add(&flow->lost[side], packet->packets);
	if (!(packet->flags & RST) && (!(flow->next_known & own) || (s32)(next - flow->next[side]) > 0)) {
		flow->next[side] = next;
		flow->next_known |= own;
	}
}

INLINE int handle(struct __sk_buff *skb, int is_ip)
{
	struct flow_key key = {};
	struct packet packet = {};
	struct flow *flow;
	int is_new = 0;

	if (skb->pkt_type == PACKET_LOOPBACK)
		return NEXT;
	packet.now = ktime_ns();
	packet.packets = skb->gso_segs > 1 ? skb->gso_segs : 1;
	packet.is_ip = is_ip;
	if (!read_key(skb, is_ip, &key, &packet))
		return hand_up_uncounted(skb, &packet);
	flow = find_flow(&key);
	if (!flow) {
		flow = make_flow(&key, &packet);
		is_new = 1;
	}
	if (!flow) {
		add_loss(skb->ifindex, 0, packet.packets);
		return hand_up_uncounted(skb, &packet);
	}
	if (flow->state != LIVE) {
		/* The entry is about to be deleted, and must not count: unless there is no other way. */
		if (hand_up(skb, &packet))
			return NEXT;
		if (__sync_val_compare_and_swap(&flow->state, DYING, LIVE) == GONE) {
			add_loss(skb->ifindex, packet.packets, 0);
			return NEXT;
		}
	}
	if (packet.flags & SYN)
		see_opening(flow, &packet, is_new);
	else if (key.transport == UDP && (s64)(packet.now - flow->last_ns) > (s64)udp_idle_ns)
		begin_generation(flow, packet.now);
	if (packet.flags & RST)
		flow->closed = 3;
	else if (packet.flags & FIN)
		flow->closed |= 1 << (packet.side & 1);
	flow->last_ns = packet.now;
	int turns = packet.flags & (SYN | FIN | RST);
	int is_bare = key.transport == TCP && packet.payload_len == 0;
	u8 kind = (is_bare ? 1 : 4) << (packet.side & 1);

	if ((flow->muted || is_bare) && !turns && (flow->seen & kind)) {
		count(skb, flow, &packet, 0);
		return NEXT;
	}
	if ((!(flow->to_tell || turns) || tell_counts(&key, flow)) && hand_up(skb, &packet)) {
		flow->untold = 0;
		/* Neither a SYN nor a FIN is a bare acknowledgement. */
		if (!(turns && is_bare))
			flow->seen |= kind;
		return NEXT;
	}
	flow->to_tell = 1;
	if (packet.flags & RST)
		flow->seen |= SEEN_END_LOST | SEEN_END_LOST << 1;
	else if (packet.flags & FIN)
		flow->seen |= SEEN_END_LOST << (packet.side & 1);
	count(skb, flow, &packet, !flow->muted && packet.payload_len > 0);
	return NEXT;
}

SEC("classifier")
int portreeve_eth(struct __sk_buff *skb)
{
	return handle(skb, 0);
}

SEC("classifier")
int portreeve_ip(struct __sk_buff *skb)
{
	return handle(skb, 1);
}

/* Carries out an order, in one step where the loader could not. Returns 1 when done. */
static __attribute__((noinline)) int carry_out(struct order *order)
{
	struct flow *flow;

	if (!order)
		return 0;
	u32 in_more = order->key.in_more;

	order->key.in_more = 0;
	flow = in_more ? map_lookup(&more, &order->key) : find_flow(&order->key);
	if (!flow)
		return 0;
	switch (order->what) {
	case ORDER_MUTE:
		/* A verdict of an earlier connection says nothing about this one. */
		if (flow->born_ns > order->time_ns)
			return 0;
		flow->muted = 1;
		return 1;
	case ORDER_UNMUTE:
		flow->muted = 0;
		return 1;
	case ORDER_DIE:
		if (flow->last_ns != order->time_ns)
			return 0;
		return __sync_val_compare_and_swap(&flow->state, LIVE, DYING) == LIVE;
	case ORDER_BURY:
		if (__sync_val_compare_and_swap(&flow->state, DYING, GONE) != DYING)
			return 0;
		if (flow->in_more)
			map_delete(&more, &order->key);
		else
			map_delete(&flows, &order->key);
		return 1;
	}
	return 0;
}

/* Carries out the loader's orders. Returns a bit for each: 1 when done. */
SEC("classifier")
int portreeve_order(struct __sk_buff *skb)
{
	struct order order;
	u32 done = 0;

	for (u32 i = 0; i < ORDERS_MAX; i++) {
		if (skb_load(skb, i * sizeof(order), &order, sizeof(order)) < 0)
			break;
		done |= (u32)(carry_out(&order) & 1) << i;
	}
	return done;
}
