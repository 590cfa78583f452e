/* The maps, and the one switch; user space reaches all of them through the skeleton. */
#ifndef NG_BPF_MAPS_BPF_H
#define NG_BPF_MAPS_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "bpf/abi.h"

/* Hits count only while this is not 0. Writer: user space, a plain store; reader: every hit. So one
 * store opens or closes counting at all sites of all targets at once, armed before and disarmed
 * after. */
volatile __u32 ng_gate = 0;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, NG_COUNTS_MAX);
	__type(key, struct ng_count_key);
	__type(value, struct ng_count);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, NG_TARGETS_MAX);
	__type(key, __u32);
	__type(value, struct ng_target);
} targets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, NG_IMAGES_MAX);
	__type(key, struct ng_image_key);
	__type(value, __u32);
} images SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, NG_LOST_CAUSES);
	__type(key, __u32);
	__type(value, __u64);
} lost SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, NG_EVENTS_BYTES);
} events SEC(".maps");

static __always_inline void ng_lose(__u32 cause)
{
	__u64 *count = bpf_map_lookup_elem(&lost, &cause);

	if (count)
		__sync_fetch_and_add(count, 1);
}

#endif
