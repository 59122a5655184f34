/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only)
 *
 * Where flows are counted, and what may be said of their openings.
 */
#pragma once

#include "headers.bpf.h"

struct {
	uint_of(type, MAP_HASH);
	uint_of(max_entries, 131072);
	type_of(key, struct flow_key);
	type_of(value, struct flow);
} flows SEC(".maps");

/* A flow to begin with; too large for the stack. Only the program of one CPU uses it at a time. */
struct {
	uint_of(type, MAP_PERCPU_ARRAY);
	uint_of(max_entries, 1);
	type_of(key, u32);
	type_of(value, struct flow);
} blank SEC(".maps");

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
	map_update(&flows, key, flow, BPF_NOEXIST);
	return map_lookup(&flows, key);
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
