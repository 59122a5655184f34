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
#include "headers.bpf.h"
#include "tables.bpf.h"

char license_text[] SEC("license") = "Dual BSD/GPL";
#ifdef SOURCE_HASH
char source_hash[] SEC("portreeve_source") = SOURCE_HASH;
#endif

/* Set by the loader. */
const volatile u32 copy_max = 0xffffffff;
const volatile u64 wake_len = 256 << 10;
const volatile u64 udp_idle_ns = 180000000000ULL;

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

	/* A verdict is about the flow, all else about an entry. */
	order->key.in_more = 0;
	flow = in_more ? 0 : map_lookup(&flows, &order->key);
	if (!flow && (in_more || order->what == ORDER_MUTE || order->what == ORDER_UNMUTE))
		flow = map_lookup(&more, &order->key);
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
		if (in_more)
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
