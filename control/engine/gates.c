#include "control/engine/gates.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "probe.skel.h"
#include "core/base/cleanup.h"
#include "core/base/clock.h"

struct ng_gates {
	struct ng_probe *skeleton;
	struct ng_gate *gates;
	struct ng_window_table *windows;
	struct ng_on_cpu *on_cpu;
	size_t cpu_count;
	struct bpf_link *switches; /* NULL: not followed */
	/* Lock: of what is taken and what is free. Nothing else is locked while it is held. */
	pthread_mutex_t lock;
	bool gate_taken[NG_GATES_MAX];
	bool window_taken[NG_WINDOWS_MAX];
	uint32_t serial;		     /* of the last window */
	uint32_t window_ended[NG_GATES_MAX]; /* futexes: not 0 when it ended before its time */
};

/* The kernel rounds the values of a mapped array up to 8 bytes and the whole to pages. */
static int map_array(const struct bpf_map *map, size_t bytes, void **ret_memory)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	if (memory == MAP_FAILED)
		return -errno;
	*ret_memory = memory;
	return 0;
}

static void unmap_array(void *memory, size_t bytes)
{
	if (memory)
		(void)munmap(memory, bytes);
}

int ng_gates_open(struct ng_uprobe *engine, struct ng_gates **ret_gates, struct ng_diag *diag)
{
	struct ng_gates *gates = calloc(1, sizeof(*gates));
	int error;

	if (!gates)
		return -ENOMEM;
	(void)pthread_mutex_init(&gates->lock, NULL); /* cannot fail without attributes */
	gates->skeleton = ng_uprobe_skeleton(engine);
	gates->cpu_count = (size_t)libbpf_num_possible_cpus();
	gates->gate_taken[0] = true; /* everybody's */
	error = map_array(gates->skeleton->maps.gates, NG_GATES_MAX * sizeof(*gates->gates),
		(void **)&gates->gates);
	if (!error)
		error = map_array(gates->skeleton->maps.windows,
			NG_WINDOWS_MAX * sizeof(*gates->windows), (void **)&gates->windows);
	if (!error)
		error = map_array(gates->skeleton->maps.on_cpu,
			NG_CPUS_MAX * sizeof(*gates->on_cpu), (void **)&gates->on_cpu);
	if (error) {
		ng_gates_close(gates);
		return ng_diag_set(diag, error, "the gates cannot be mapped: %s", strerror(-error));
	}
	*ret_gates = gates;
	return 0;
}

void ng_gates_close(struct ng_gates *gates)
{
	if (!gates)
		return;
	bpf_link__destroy(gates->switches);
	unmap_array(gates->gates, NG_GATES_MAX * sizeof(*gates->gates));
	unmap_array(gates->windows, NG_WINDOWS_MAX * sizeof(*gates->windows));
	unmap_array(gates->on_cpu, NG_CPUS_MAX * sizeof(*gates->on_cpu));
	(void)pthread_mutex_destroy(&gates->lock);
	free(gates);
}

/* Finds and takes a free place. @return its index, or -1 */
static int take_free(struct ng_gates *gates, bool *taken, int count)
{
	int found = -1;

	(void)pthread_mutex_lock(&gates->lock);
	for (int i = 0; i < count && found < 0; i++) {
		if (!taken[i])
			taken[found = i] = true;
	}
	(void)pthread_mutex_unlock(&gates->lock);
	return found;
}

static void give_back(struct ng_gates *gates, bool *taken, uint32_t index)
{
	(void)pthread_mutex_lock(&gates->lock);
	taken[index] = false;
	(void)pthread_mutex_unlock(&gates->lock);
}

static int write_tally(const struct ng_gates *gates, uint32_t gate, const void *shares)
{
	int fd = bpf_map__fd(gates->skeleton->maps.gate_tallies);

	return bpf_map_update_elem(fd, &gate, shares, BPF_ANY) ? -errno : 0;
}

int ng_gates_take(struct ng_gates *gates)
{
	NG_CLEANUP_FREE struct ng_gate_tally *zeros =
		calloc(gates->cpu_count, sizeof(struct ng_gate_tally));
	int index, error;

	if (!zeros)
		return -ENOMEM;
	index = take_free(gates, gates->gate_taken, NG_GATES_MAX);
	if (index < 0)
		return -EMFILE;
	gates->gates[index] = (struct ng_gate){.mode = NG_MODE_OFF, .probability = UINT32_MAX};
	error = write_tally(gates, (uint32_t)index, zeros);
	if (error) {
		ng_gates_give(gates, (uint32_t)index);
		return error;
	}
	return index;
}

void ng_gates_give(struct ng_gates *gates, uint32_t gate)
{
	__atomic_store_n(&gates->gates[gate].mode, NG_MODE_OFF, __ATOMIC_RELEASE);
	give_back(gates, gates->gate_taken, gate);
}

struct ng_gate *ng_gates_at(struct ng_gates *gates, uint32_t gate)
{
	return &gates->gates[gate];
}

int ng_gates_tally(const struct ng_gates *gates, uint32_t gate, struct ng_gate_tally *ret_tally)
{
	NG_CLEANUP_FREE struct ng_gate_tally *shares =
		calloc(gates->cpu_count, sizeof(struct ng_gate_tally));
	struct ng_gate_tally sum = {0};

	if (!shares)
		return -ENOMEM;
	if (bpf_map_lookup_elem(bpf_map__fd(gates->skeleton->maps.gate_tallies), &gate, shares))
		return -errno;
	for (size_t cpu = 0; cpu < gates->cpu_count; cpu++) {
		const struct ng_gate_tally *share = &shares[cpu];

		sum.hits += share->hits;
		sum.delivered += share->delivered;
		sum.sampled_out += share->sampled_out;
		sum.lost += share->lost;
		sum.lead_hits += share->lead_hits;
		sum.pairs += share->pairs;
		sum.pairs_ns += share->pairs_ns;
		sum.told += share->told;
		sum.telling_ns += share->telling_ns;
		if (share->first_ns && (!sum.first_ns || share->first_ns < sum.first_ns))
			sum.first_ns = share->first_ns;
		if (share->last_hit_ns > sum.last_hit_ns)
			sum.last_hit_ns = share->last_hit_ns;
	}
	*ret_tally = sum;
	return 0;
}

int ng_gates_follow_switches(struct ng_gates *gates, bool follow, struct ng_diag *diag)
{
	int error = 0;

	if (follow && !gates->switches) {
		/* Of an earlier time: a CPU's first switch writes it anew. */
		memset(gates->on_cpu, 0, NG_CPUS_MAX * sizeof(*gates->on_cpu));
		gates->switches = bpf_program__attach(gates->skeleton->progs.ng_switch);
		error = gates->switches ? 0 : -errno;
	} else if (!follow) {
		bpf_link__destroy(gates->switches);
		gates->switches = NULL;
	}
	return error ? ng_diag_set(diag, error, "the kernel's switches cannot be followed (%s)",
			       strerror(-error))
		     : 0;
}

int ng_gates_open_window(
	struct ng_gates *gates, uint32_t gate_index, uint64_t length_ns, int64_t tokens)
{
	struct ng_gate *gate = &gates->gates[gate_index];
	const int index = take_free(gates, gates->window_taken, NG_WINDOWS_MAX);
	struct ng_window_table *window;
	uint32_t serial;

	if (index < 0)
		return -EBUSY;
	window = &gates->windows[index];
	memset(window->rows, 0, sizeof(window->rows));
	gate->window = (uint32_t)index;
	/* What CPUs may hold unused comes on top. Atomic: who ends a window may do so meanwhile. */
	if (tokens < INT64_MAX / 2)
		tokens += (int64_t)(NG_GATE_SHARE * gates->cpu_count);
	__atomic_store_n(&gate->tokens, tokens, __ATOMIC_RELAXED);
	(void)__atomic_fetch_add(&gates->skeleton->bss->ng_windows_open, 1, __ATOMIC_RELEASE);
	window->opened_ns = ng_clock_ns();
	gate->window_until_ns = window->opened_ns + length_ns;
	__atomic_store_n(&gates->window_ended[gate_index], 0, __ATOMIC_RELAXED);
	do /* never 0 */
		serial = __atomic_add_fetch(&gates->serial, 1, __ATOMIC_RELAXED);
	while (!serial);
	/* Release: whoever sees the window open sees its rows empty and its start. */
	__atomic_store_n(&gate->window_open, serial, __ATOMIC_RELEASE);
	return index;
}

void ng_gates_await_window(struct ng_gates *gates, uint32_t gate_index)
{
	const uint64_t until_ns = gates->gates[gate_index].window_until_ns;
	const struct timespec until = {.tv_sec = (time_t)(until_ns / NG_NS_PER_S),
		.tv_nsec = (long)(until_ns % NG_NS_PER_S)};
	uint32_t *ended = &gates->window_ended[gate_index];

	/* A trip brings the window's end forward; then this is woken up, too. */
	while (!__atomic_load_n(ended, __ATOMIC_ACQUIRE) && ng_clock_ns() < until_ns)
		(void)syscall(SYS_futex, ended, FUTEX_WAIT_BITSET_PRIVATE, 0, &until, NULL,
			FUTEX_BITSET_MATCH_ANY);
}

void ng_gates_end_window(struct ng_gates *gates, uint32_t gate_index)
{
	uint32_t *ended = &gates->window_ended[gate_index];

	__atomic_store_n(&gates->gates[gate_index].tokens, 0, __ATOMIC_RELAXED);
	__atomic_store_n(ended, 1, __ATOMIC_RELEASE);
	(void)syscall(SYS_futex, ended, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* A consistent look at who runs on a CPU: the CPU writes the time first and the thread last. */
static struct ng_on_cpu look_at(const struct ng_on_cpu *shared)
{
	struct ng_on_cpu seen;

	do {
		seen.tid = __atomic_load_n(&shared->tid, __ATOMIC_ACQUIRE);
		seen.tgid = __atomic_load_n(&shared->tgid, __ATOMIC_ACQUIRE);
		seen.since_ns = __atomic_load_n(&shared->since_ns, __ATOMIC_ACQUIRE);
	} while (seen.tid != __atomic_load_n(&shared->tid, __ATOMIC_ACQUIRE));
	return seen;
}

/* Who ran on a CPU when a window closed. */
struct running {
	struct ng_on_cpu seen;
	size_t cpu;
};

/* Adds to the time of a thread; or a part for it, if there is room. */
static void add_time(struct ng_window_parts *parts, uint32_t tid, uint64_t ns, bool is_certain)
{
	for (size_t i = 0; i < parts->count; i++) {
		struct ng_window_part *part = &parts->items[i];

		if (!part->is_time || part->tid != tid)
			continue;
		if (is_certain || part->value < ns)
			part->value += ns;
		return;
	}
	if (parts->count < NG_WINDOW_ROWS)
		parts->items[parts->count++] =
			(struct ng_window_part){.tid = tid, .is_time = true, .value = ns};
}

/* The time of threads that run on as the window closes: no switch has told of it. Where one did in
 * the few microseconds in between, it has told of all of it, or of nothing. */
static void add_running(const struct ng_gates *gates, const struct running *running, size_t count,
	struct ng_window_parts *parts)
{
	for (size_t i = 0; i < count; i++) {
		const struct ng_on_cpu *seen = &running[i].seen;
		const struct ng_on_cpu now = look_at(&gates->on_cpu[running[i].cpu]);
		const uint64_t from_ns =
			seen->since_ns > parts->opened_ns ? seen->since_ns : parts->opened_ns;

		if (parts->closed_ns > from_ns)
			add_time(parts, seen->tid, parts->closed_ns - from_ns,
				now.tid == seen->tid && now.since_ns == seen->since_ns);
	}
}

static size_t find_running(const struct ng_gates *gates, uint32_t tgid, struct running *running)
{
	size_t count = 0;

	for (size_t cpu = 0; cpu < gates->cpu_count && cpu < NG_CPUS_MAX; cpu++) {
		const struct ng_on_cpu seen = look_at(&gates->on_cpu[cpu]);

		if (seen.tgid == tgid)
			running[count++] = (struct running){.seen = seen, .cpu = cpu};
	}
	return count;
}

static void read_rows(const struct ng_window_table *window, struct ng_window_parts *parts)
{
	for (size_t i = 0; i < NG_WINDOW_ROWS; i++) {
		const struct ng_window_row *row = &window->rows[i];
		const uint64_t key = __atomic_load_n(&row->key, __ATOMIC_ACQUIRE);
		const uint32_t site_plus_one = (uint32_t)key;
		struct ng_window_part *part = &parts->items[parts->count];

		if (!key)
			continue;
		*part = (struct ng_window_part){.tid = (uint32_t)(key >> 32),
			.is_time = !site_plus_one,
			.site = site_plus_one - 1,
			.value = __atomic_load_n(&row->value, __ATOMIC_RELAXED)};
		parts->calls += part->is_time ? 0 : part->value;
		parts->count++;
	}
}

void ng_gates_close_window(struct ng_gates *gates, uint32_t gate_index, uint32_t tgid,
	struct ng_window_parts *ret_parts)
{
	struct ng_gate *gate = &gates->gates[gate_index];
	struct ng_window_table *window = &gates->windows[gate->window];
	struct running running[NG_CPUS_MAX];
	const size_t running_count = find_running(gates, tgid, running);
	const uint64_t until_ns = __atomic_load_n(&gate->window_until_ns, __ATOMIC_RELAXED);
	const uint64_t now_ns = ng_clock_ns();

	*ret_parts = (struct ng_window_parts){.serial = gate->window_open,
		.opened_ns = window->opened_ns,
		.closed_ns = now_ns < until_ns ? now_ns : until_ns};
	__atomic_store_n(&gate->window_open, 0, __ATOMIC_RELEASE);
	(void)__atomic_fetch_sub(&gates->skeleton->bss->ng_windows_open, 1, __ATOMIC_RELEASE);
	ret_parts->tripped = __atomic_load_n(&gate->tokens, __ATOMIC_RELAXED) <= 0;
	read_rows(window, ret_parts);
	add_running(gates, running, running_count, ret_parts);
	give_back(gates, gates->window_taken, gate->window);
}

int ng_gates_forget_first(const struct ng_gates *gates, uint32_t gate)
{
	NG_CLEANUP_FREE struct ng_gate_tally *shares =
		calloc(gates->cpu_count, sizeof(struct ng_gate_tally));

	/* Hits in between would be overwritten: so only while nothing is armed. */
	if (!shares)
		return -ENOMEM;
	if (bpf_map_lookup_elem(bpf_map__fd(gates->skeleton->maps.gate_tallies), &gate, shares))
		return -errno;
	for (size_t cpu = 0; cpu < gates->cpu_count; cpu++)
		shares[cpu].first_ns = 0;
	return write_tally(gates, gate, shares);
}
