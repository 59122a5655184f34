/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only)
 *
 * Where flows are counted: a near table for most, a large one for those that found no room there.
 */
#pragma once

#include "headers.bpf.h"

/* Set by the loader: there is a large table. */
const volatile u32 has_more = 1;

/* Most flows, few enough for a look-up to find its bucket in a cache. */
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

/* A flow to begin with; too large for the stack. Only the program of one CPU uses it at a time. */
struct {
	uint_of(type, MAP_PERCPU_ARRAY);
	uint_of(max_entries, 1);
	type_of(key, u32);
	type_of(value, struct flow);
} blank SEC(".maps");

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
