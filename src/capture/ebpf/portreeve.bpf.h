/* SPDX-License-Identifier: (Apache-2.0 OR GPL-2.0-only)
 *
 * What the program needs of the kernel's headers, and the layouts that it shares with the loader
 * (layout.rs). Kept by hand, so that building needs neither vmlinux.h nor the kernel's headers.
 */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed int s32;
typedef signed long long s64;

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define uint_of(name, value) int(*name)[value]
#define type_of(name, value) value *name

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "network order is converted for little-endian machines only"
#endif
#define from_net16(x) __builtin_bswap16(x)
#define from_net32(x) __builtin_bswap32(x)
#define from_net64(x) __builtin_bswap64(x)

/* include/uapi/linux/bpf.h; the kernel rewrites accesses by these offsets. */
struct __sk_buff {
	u32 len, pkt_type, mark, queue_mapping, protocol, vlan_present, vlan_tci, vlan_proto;
	u32 priority, ingress_ifindex, ifindex, tc_index, cb[5], hash, tc_classid, data, data_end;
	u32 napi_id, family, remote_ip4, local_ip4, remote_ip6[4], local_ip6[4], remote_port;
	u32 local_port, data_meta;
	u64 flow_keys, tstamp;
	u32 wire_len, gso_segs;
	u64 sk;
	u32 gso_size;
};

enum { MAP_HASH = 1, MAP_ARRAY = 2, MAP_PERCPU_ARRAY = 6, MAP_RINGBUF = 27 };
enum { BPF_NOEXIST = 1, BPF_EXIST = 2 };
enum { RB_NO_WAKEUP = 1, RB_FORCE_WAKEUP = 2, RB_AVAIL_DATA = 0 };

static void *(*const map_lookup)(void *map, const void *key) = (void *)1;
static long (*const map_update)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*const map_delete)(void *map, const void *key) = (void *)3;
static u64 (*const ktime_ns)(void) = (void *)5;
static long (*const skb_load)(const void *skb, u32 offset, void *to, u32 len) = (void *)26;
static void *(*const ring_reserve)(void *ring, u64 size, u64 flags) = (void *)131;
static void (*const ring_submit)(void *data, u64 flags) = (void *)132;
static void (*const ring_discard)(void *data, u64 flags) = (void *)133;
static u64 (*const ring_query)(void *ring, u64 flags) = (void *)134;

/* Go on with whatever else is attached: TCX_NEXT, and TC_ACT_UNSPEC below 6.6. */
enum { NEXT = -1 };
/* include/uapi/linux/if_packet.h: a copy of what this host sent to a group. */
enum { PACKET_LOOPBACK = 5 };

/* One flow at one interface; both directions have the same. Ends are ordered by address, then port. */
struct flow_key {
	u8 addresses[2][16]; /* IPv4 in the first four bytes */
	u16 ports[2];
	u16 vlans[2]; /* from outside in; 0 where there is none */
	u32 ifindex;
	u8 transport;
	u8 v6;
	u8 in_more; /* which map an entry is in, for the loader; 0 in both maps */
	u8 zero;
};

/* Sums since the entry was made, by side. Never reset: the reader takes differences. */
struct sums {
	u64 packets[2];
	u64 bytes[2];
	u64 lost[2]; /* packets with payload, among those above, that could not be handed up */
};

enum { LIVE, DYING, GONE };

/* What is known of a flow. Packets that were handed up are not counted here: the reader counts them. What a counted
 * packet needs comes first: with the key in front of it, it lies in two cache lines. */
struct flow {
	u64 packets[2];
	u64 bytes[2];
	u64 last_ns;    /* its last packet, handed up or not */
	u32 next[2];    /* the sequence number after the last counted packet */
	u32 state;
	u32 generation; /* connections that opened on this key */
	u8 muted;       /* nothing more is to be learned of this connection */
	u8 untold;      /* no packet of this connection was handed up */
	u8 opened;      /* its opening was seen, so it is another one than what came before */
	u8 isn_known;   /* a bit a side */
	u8 closed;      /* a bit a side that sent FIN; both for RST */
	u8 next_known;
	u8 seen;        /* two bits a side: a bare acknowledgement was handed up, a packet with payload; SEEN_… */
	u8 to_tell;     /* the ring must tell the sums before the next frame */
	u64 lost[2];    /* packets with payload, among those above, that could not be handed up */
	struct sums before; /* the sums when the present connection opened */
	u64 born_ns;        /* when it opened */
	u32 told;           /* packets that the ring already tells of, the lower bits */
	u32 isn[2];         /* initial sequence numbers, where known */
	u32 former_next[2]; /* `next` of the connection before */
	u8 former_known;
	u8 in_more;         /* which map this entry is in */
	u16 zero;
};

/* Offload joined packets that were counted: the wire carried more of them. A bit a side whose FIN found no room
 * in the ring; both for RST. */
enum { SEEN_MERGED = 16, SEEN_END_LOST = 32 };

enum { RECORD_FRAME = 1, RECORD_COUNTS = 2 };

/* A frame in the ring; its bytes follow. */
struct frame_record {
	u32 kind;
	u32 ifindex;
	u64 time_ns;
	u32 len;         /* as it is here, several wire packets perhaps */
	u32 copied;      /* bytes that follow */
	u32 packets;     /* on the wire */
	u32 headers_len; /* bytes that the wire carries beyond `len` */
	u16 vlan_tci;    /* the tag that the kernel took out of the frame, host order */
	u16 vlan_proto;  /* its type, host order; 0 where there was none */
	u32 is_ip;       /* begins with IP, not Ethernet */
};

/* Counts in the ring: what came before the frame that follows. */
struct counts_record {
	u32 kind;
	u32 zero;
	struct flow_key key;
	struct flow flow;
};

enum { ORDER_MUTE = 1, ORDER_UNMUTE = 2, ORDER_DIE = 3, ORDER_BURY = 4 };

/* Orders of one run: their packet fits the page that the kernel makes it in. */
#define ORDERS_MAX 32

/* What the loader asks for: some of these are the content of a packet that only the program `order` ever sees. */
struct order {
	u8 ethernet[14];
	u16 zero;
	u32 what;
	u32 zero_too;
	u64 time_ns;
	struct flow_key key;
};

/* What went wrong at an interface. */
struct losses {
	u64 ring;      /* packets that were neither handed up nor counted in a flow */
	u64 flow_full; /* packets that found no room among the flows, handed up or not */
};
