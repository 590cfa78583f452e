/* The maps, and the one switch; user space reaches all of them through the skeleton. */
#ifndef NG_BPF_MAPS_BPF_H
#define NG_BPF_MAPS_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "bpf/abi.h"

/* Have processes gates of their own? Else the default one, gates[0], serves all of them, and none
 * is looked up. Known at load, so that the programs have the one way only. */
const volatile __u32 ng_has_gates = 0;

/* Size of the ring `records`; 0: calls are not told with their stacks. Known at load. */
const volatile __u32 ng_records_bytes = 0;

/* Is every exec of the machine to be told? Writer: user space. */
volatile __u32 ng_tell_execs = 0;

/* Windows that are open. Writer: user space, atomic additions; reader: each switch. */
volatile __u32 ng_windows_open = 0;

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

/* One store to gates[0].mode opens or closes counting at all sites of all targets at once, armed
 * before and disarmed after. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, NG_GATES_MAX);
	__type(key, __u32);
	__type(value, struct ng_gate);
} gates SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, NG_GATES_MAX);
	__type(key, __u32);
	__type(value, struct ng_gate_tally);
} gate_tallies SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, NG_WINDOWS_MAX);
	__type(key, __u32);
	__type(value, struct ng_window_table);
} windows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, NG_CPUS_MAX);
	__type(key, __u32);
	__type(value, struct ng_on_cpu);
} on_cpu SEC(".maps");

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

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, NG_FACTS_MAX);
	__type(key, __u32);
	__type(value, struct ng_site_facts);
} site_facts SEC(".maps");

/* User space sets its size before it is loaded. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} records SEC(".maps");

static __always_inline void ng_lose(__u32 cause)
{
	__u64 *count = bpf_map_lookup_elem(&lost, &cause);

	if (count)
		__sync_fetch_and_add(count, 1);
}

#endif
