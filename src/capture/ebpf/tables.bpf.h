/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only)
 *
 * Where flows are counted: a place of its own for most, a hash map for those whose place was taken.
 */
#pragma once

#include "headers.bpf.h"

/* Set by the loader: how many places, less one; what nobody outside can foresee. */
const volatile u32 slots_mask = 0;
const volatile u64 slots_seed = 0;

/* Most flows: each has one place where it may be, so that a packet waits for one cache miss and not, as with a hash
 * map, for two that follow each other. Read by the loader in its own memory. */
struct {
	uint_of(type, MAP_ARRAY);
	uint_of(map_flags, BPF_F_MMAPABLE);
	uint_of(max_entries, 1);
	type_of(key, u32);
	type_of(value, struct slot);
} slots SEC(".maps");

/* Those whose place was taken. A flow may get an entry in both, by two CPUs at one time: each is counted for itself,
 * and what is asked of the flow is asked of the first one, where every later packet goes. */
struct {
	uint_of(type, MAP_HASH);
	uint_of(max_entries, 131072);
	type_of(key, struct flow_key);
	type_of(value, struct flow);
} flows SEC(".maps");

/* Entries ever made in `flows`. */
struct {
	uint_of(type, MAP_ARRAY);
	uint_of(max_entries, 1);
	type_of(key, u32);
	type_of(value, u64);
} flows_made SEC(".maps");

/* A flow to begin with; too large for the stack. Only the program of one CPU uses it at a time. */
struct {
	uint_of(type, MAP_PERCPU_ARRAY);
	uint_of(max_entries, 1);
	type_of(key, u32);
	type_of(value, struct flow);
} blank SEC(".maps");

typedef u64 __attribute__((may_alias)) word;

/* Returns the place where a flow may be. Who finds flows of one place only has them in the other map. */
INLINE struct slot *slot_of(const struct flow_key *key)
{
	const word *words = (const word *)key;
	u64 hash = slots_seed;

	for (int i = 0; i < 6; i++) {
		hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15ULL;
		hash ^= hash >> 32;
	}
	u32 at = hash & slots_mask;

	return map_lookup(&slots, &at);
}

/* Tells whether a place is this flow's. */
INLINE int is_held(struct slot *slot, const struct flow_key *key)
{
	const word *held = (const word *)&slot->key, *words = (const word *)key;
	u32 state = *(volatile u32 *)&slot->flow.state;
	u64 differing = 0;

	if (state != LIVE && state != DYING)
		return 0;
	for (int i = 0; i < 6; i++)
		differing |= held[i] ^ words[i];
	return differing == 0;
}

INLINE struct flow *find_near(struct flow_key *key)
{
	struct slot *slot = slot_of(key);

	return slot && is_held(slot, key) ? &slot->flow : 0;
}

INLINE struct flow *find_flow(struct flow_key *key)
{
	struct flow *flow = find_near(key);

	return flow ? flow : map_lookup(&flows, key);
}

/* What is known of a flow before its first packet; all else is 0. */
INLINE void begin_flow(struct flow *flow, const struct flow_key *key, const struct packet *packet)
{
	flow->born_ns = packet->now;
	flow->last_ns = packet->now;
	flow->untold = 1;
	flow->opened = key->transport == UDP || (packet->flags & SYN) != 0;
}

/* Makes a flow's entry in its place. Returns nothing when that is taken. */
INLINE struct flow *make_near(struct flow_key *key, struct packet *packet)
{
	struct slot *slot = slot_of(key);

	if (!slot)
		return 0;
	struct flow *flow = &slot->flow;

	if (__sync_val_compare_and_swap(&flow->state, FREE, CLAIMED) != FREE)
		/* Another CPU may just have made it. */
		return is_held(slot, key) ? flow : 0;
	slot->key = *key;
	__builtin_memset(flow, 0, __builtin_offsetof(struct flow, state));
	__builtin_memset((u8 *)flow + FLOW_REST, 0, sizeof(*flow) - FLOW_REST);
	begin_flow(flow, key, packet);
	__sync_val_compare_and_swap(&flow->state, CLAIMED, LIVE);
	return flow;
}

/* Makes a flow's entry. Returns nothing when there is no room. */
static __attribute__((noinline)) struct flow *make_flow(struct flow_key *key, struct packet *packet)
{
	u32 zero = 0;
	struct flow *flow;

	if (!key || !packet)
		return 0;
	flow = make_near(key, packet);
	if (flow)
		return flow;
	flow = map_lookup(&blank, &zero);
	if (!flow)
		return 0;
	begin_flow(flow, key, packet);
	flow->state = LIVE;
	flow->in_hash = 1;
	if (map_update(&flows, key, flow, BPF_NOEXIST) == 0) {
		u64 *made = map_lookup(&flows_made, &zero);

		if (made)
			__sync_fetch_and_add(made, 1);
	}
	return map_lookup(&flows, key);
}
