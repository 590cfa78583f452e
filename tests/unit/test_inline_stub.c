/*
 * core/inline: the entry code and the recording part, run in this process itself: registers,
 * counts, records, losses.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

#include "core/base/clock.h"
#include "core/inline/ring.h"
#include "tests/inline/run.h"

#define TGID	4711
#define NO_END	UINT64_MAX
#define THREADS 2

static const struct ng_layout small = {.site_count = NG_RUN_SITES,
	.thread_lines = 8,
	.thread_rings = 4,
	.shared_rings = 2,
	.ring_bytes = NG_AREA_RING_BYTES_MIN};

static const uint64_t addresses[NG_RUN_SITES] = {0x401000, 0x402000, 0x403000};
static const uint32_t numbers[NG_RUN_SITES] = {10, 11, 12};

/** The last calls that were read. */
struct seen {
	struct ng_call last;
	uint64_t frames[NG_AREA_DEPTH_MAX + 1]; /* of the last */
	uint64_t count;
	uint64_t by_depth[NG_AREA_DEPTH_MAX + 2];
	uint64_t by_tid[4096];
	uint64_t goroutines; /* sum */
	uint64_t first_ns;
	bool is_ordered;
};

static void see(const struct ng_call *call, void *context)
{
	struct seen *seen = context;

	assert_int_equal(call->tgid, TGID);
	assert_int_equal(call->start_ns, 99);
	assert_int_equal(call->exec_id, 5);
	assert_int_equal(call->window, 0);
	assert_true(call->depth <= NG_AREA_DEPTH_MAX + 1);
	seen->is_ordered = !seen->count || call->time_ns >= seen->last.time_ns;
	if (!seen->count)
		seen->first_ns = call->time_ns;
	seen->last = *call;
	if (call->depth)
		memcpy(seen->frames, call->frames, call->depth * sizeof(call->frames[0]));
	seen->count++;
	seen->by_depth[call->depth]++;
	seen->by_tid[call->tid % 4096]++;
	seen->goroutines += call->goroutine;
}

static struct ng_rings *new_rings_of(struct ng_run *run, size_t stack_bytes_max)
{
	const struct ng_rings_of of = {.area = run->area,
		.layout = &run->layout,
		.addresses = addresses,
		.numbers = numbers,
		.tgid = TGID,
		.exec_id = 5,
		.start_ns = 99,
		.stack_bytes_max = stack_bytes_max};
	struct ng_rings *rings = NULL;

	assert_int_equal(ng_rings_new(&of, &rings), 0);
	return rings;
}

static struct ng_rings *new_rings(struct ng_run *run)
{
	return new_rings_of(run, 1 << 20);
}

static uint64_t read_all(struct ng_rings *rings, struct seen *seen)
{
	static struct ng_tsc clock;

	if (!clock.mult)
		ng_tsc_start(&clock);
	ng_tsc_update(&clock);
	return ng_rings_read_all(rings, &clock, see, seen);
}

static void set_all(struct ng_run *run, enum ng_area_mode mode, uint32_t interval)
{
	((struct ng_area_header *)(void *)run->area)->lease_tsc = NO_END;
	for (uint32_t site = 0; site < NG_RUN_SITES; site++)
		ng_layout_set_mode(&run->layout, run->area, site, mode, interval);
}

static struct ng_rings_counts counts_of(const struct ng_rings *rings, uint32_t site)
{
	struct ng_rings_counts counts;

	ng_rings_count(rings, site, &counts);
	return counts;
}

/* What the form says is live is as it was: of the clock's all that C's rules keep, and more. */
static void check_registers(enum ng_run_site site, const struct ng_run_registers *before,
	const struct ng_run_registers *after, bool is_plain)
{
	for (int i = 0; i < 16; i++) {
		const bool callers = i <= NG_RDX || (i >= NG_RSI && i <= 11);

		if (i == NG_RSP) {
			assert_int_equal(after->general[i], 0);
			continue;
		}
		if (site == NG_RUN_CLOCK && callers)
			continue;
		if (site != NG_RUN_CLOCK && is_plain && (i == 12 || i == 13))
			continue;
		if (before->general[i] != after->general[i])
			fail_msg("site %d: register %d is %#llx, was %#llx", site, i,
				(unsigned long long)after->general[i],
				(unsigned long long)before->general[i]);
	}
	assert_memory_equal(before->vector, after->vector, sizeof(before->vector));
}

static void check_once(struct ng_run *run, enum ng_run_site site,
	const struct ng_run_thread *thread, bool is_plain)
{
	struct ng_run_registers before, after;
	const uint64_t reached = run->reached[site];

	ng_run_registers_init(&before, thread);
	after = before;
	ng_run_call(run, site, &after);
	assert_int_equal(run->reached[site], reached + 1);
	check_registers(site, &before, &after, is_plain);
	if (site == NG_RUN_CLOCK)
		assert_int_equal(after.general[NG_RDI], run->forms[site].clock_id);
}

static const struct {
	enum ng_area_mode mode;
	uint32_t interval;
} modes[] = {{NG_AREA_OFF, 1}, {NG_AREA_COUNT, 1}, {NG_AREA_SAMPLED, 1}, {NG_AREA_SAMPLED, 1000},
	{NG_AREA_FULL, 1}};

#define MODES (sizeof(modes) / sizeof(modes[0]))

/* In each mode, for a thread of each kind: with a ring, without one, beyond the lines. */
static void check_all_registers(void (*change)(struct ng_form *forms), bool is_plain)
{
	static const uint64_t ids[] = {0, 5, 100, UINT64_MAX};
	struct ng_run_thread thread;
	struct ng_run run;
	uint64_t calls = 0;

	ng_run_open(&run, &small, change);
	for (size_t i = 0; i < MODES; i++) {
		set_all(&run, modes[i].mode, modes[i].interval);
		for (size_t id = 0; id < sizeof(ids) / sizeof(ids[0]); id++) {
			for (size_t depth = 0; depth < 160; depth += 40) {
				ng_run_thread_init(&thread, ids[id], 7, depth, 0x500000);
				for (int site = 0; site < NG_RUN_SITES; site++)
					check_once(&run, (enum ng_run_site)site, &thread, is_plain);
				calls += modes[i].mode != NG_AREA_OFF;
			}
		}
	}
	for (uint32_t site = 0; site < NG_RUN_SITES; site++) {
		struct ng_rings *rings = new_rings(&run);

		assert_int_equal(counts_of(rings, site).calls, calls);
		assert_int_equal(counts_of(rings, site).foreign, 0);
		ng_rings_free(rings);
	}
	ng_run_close(&run);
}

static void keeps_registers(void **state)
{
	(void)state;
	check_all_registers(NULL, true);
}

static void is_foreign_code(struct ng_form *forms)
{
	for (int site = 0; site < NG_RUN_SITES; site++)
		forms[site].is_plain = site == NG_RUN_CLOCK;
}

static void keeps_all_registers_of_other_code(void **state)
{
	(void)state;
	check_all_registers(is_foreign_code, false);
}

static void has_no_m(struct ng_form *forms)
{
	is_foreign_code(forms);
	for (int site = 0; site < NG_RUN_SITES; site++) {
		forms[site].m_id_offset = 0;
		forms[site].goroutine = (struct ng_goroutine){.g = NG_G_NOWHERE};
	}
}

static void counts_by_cpu_without_an_m(void **state)
{
	(void)state;
	check_all_registers(has_no_m, false);
}

/* A thread whose g is 0, as in a signal handler of a thread that is not Go's. */
static void counts_without_a_g(void **state)
{
	struct ng_run_registers before, after;
	struct ng_run_thread thread;
	struct ng_rings *rings;
	struct ng_run run;

	(void)state;
	ng_run_open(&run, &small, NULL);
	set_all(&run, NG_AREA_COUNT, 1);
	ng_run_thread_init(&thread, 0, 7, 3, 0x500000);
	ng_run_registers_init(&before, &thread);
	before.general[14] = 0;
	after = before;
	ng_run_call(&run, NG_RUN_CALL, &after);
	check_registers(NG_RUN_CALL, &before, &after, true);
	thread.g[6] = 0; /* … and one whose g has no m */
	ng_run_registers_init(&before, &thread);
	after = before;
	ng_run_call(&run, NG_RUN_CALL, &after);
	check_registers(NG_RUN_CALL, &before, &after, true);
	rings = new_rings(&run);
	assert_int_equal(counts_of(rings, NG_RUN_CALL).calls, 2);
	ng_rings_free(rings);
	ng_run_close(&run);
}

/* A check that fails goes on where it did before, uncounted. */
static void a_failed_stack_check_does_not_count(void **state)
{
	struct ng_run_registers registers;
	struct ng_run_thread thread;
	struct ng_rings *rings;
	struct ng_run run;

	(void)state;
	ng_run_open(&run, &small, NULL);
	set_all(&run, NG_AREA_FULL, 1);
	ng_run_thread_init(&thread, 0, 7, 3, 0x500000);
	thread.g[2] = UINT64_MAX;
	ng_run_registers_init(&registers, &thread);
	ng_run_call(&run, NG_RUN_PROLOGUE, &registers);
	assert_int_equal(run.reached[NG_RUN_PROLOGUE], 0);
	assert_true(thread.g[3]); /* what the tail leaves behind */
	rings = new_rings(&run);
	assert_int_equal(counts_of(rings, NG_RUN_PROLOGUE).calls, 0);
	ng_rings_free(rings);
	ng_run_close(&run);
}

static void check_frames(const struct seen *seen, const uint64_t *frames, size_t depth)
{
	assert_int_equal(seen->last.depth, depth);
	for (size_t i = 0; i < depth; i++)
		assert_true(seen->frames[i] == frames[i]);
}

static void tells_stacks(void **state)
{
	const uint64_t clock[] = {addresses[0], 0x500000, 0x500001, 0x500002};
	const uint64_t call[] = {addresses[1], 0x500000, 0x500001, 0x500002};
	const uint64_t prologue[] = {
		addresses[2], (uint64_t)ng_run_many_returns, 0x500000, 0x500001, 0x500002};
	struct ng_run_thread thread;
	struct seen seen = {.count = 0};
	struct ng_rings *rings;
	struct ng_run run;
	uint64_t before;

	(void)state;
	ng_run_open(&run, &small, NULL);
	set_all(&run, NG_AREA_FULL, 1);
	rings = new_rings(&run);
	ng_run_thread_init(&thread, 2, 77, 3, 0x500000);
	before = ng_clock_ns();
	for (int i = 0; i < 3; i++) {
		ng_run_many(&run, NG_RUN_CLOCK, &thread, 5);
		assert_int_equal(read_all(rings, &seen), 5);
		check_frames(&seen, clock, 4);
		ng_run_many(&run, NG_RUN_CALL, &thread, 5);
		assert_int_equal(read_all(rings, &seen), 5);
		check_frames(&seen, call, 4);
		ng_run_many(&run, NG_RUN_PROLOGUE, &thread, 5);
		assert_int_equal(read_all(rings, &seen), 5);
		check_frames(&seen, prologue, 5);
		assert_int_equal(seen.last.site, 12);
		assert_int_equal(seen.last.tid, 1002);
		assert_int_equal(seen.last.goroutine, 77);
		assert_true(seen.is_ordered);
	}
	assert_true(seen.first_ns + 100000 >= before && seen.last.time_ns <= ng_clock_ns());
	assert_int_equal(ng_rings_so_far(rings).delivered, 45);
	assert_int_equal(ng_rings_so_far(rings).stackless, 0);
	assert_int_equal(ng_rings_so_far(rings).damaged, 0);
	ng_rings_free(rings);
	ng_run_close(&run);
}

/* Whatever the frame pointer and the bounds are, nothing is read outside of them. */
static void walks_within_bounds(void **state)
{
	struct ng_run_thread thread;
	struct seen seen = {.count = 0};
	struct ng_rings *rings;
	struct ng_run run;
	uint64_t *stack = thread.stack;

	(void)state;
	ng_run_open(&run, &small, NULL);
	set_all(&run, NG_AREA_FULL, 1);
	rings = new_rings(&run);
#define DEPTH_IS(wanted)                                                                           \
	do {                                                                                       \
		ng_run_many(&run, NG_RUN_CALL, &thread, 1);                                        \
		assert_int_equal(read_all(rings, &seen), 1);                                       \
		assert_int_equal(seen.last.depth, (wanted) + 1);                                   \
	} while (0)
	ng_run_thread_init(&thread, 0, 7, 150, 0x500000);
	DEPTH_IS(NG_AREA_DEPTH_MAX);
	ng_run_thread_init(&thread, 0, 7, 10, 0x500000);
	DEPTH_IS(10);
	stack[2 * 5] = 8; /* next frame: below, and no memory */
	DEPTH_IS(6);
	stack[2 * 5] = UINT64_MAX - 7;
	DEPTH_IS(6);
	stack[2 * 5] = (uint64_t)stack; /* a circle */
	DEPTH_IS(6);
	stack[2 * 5] = (uint64_t)(stack + 2 * 5);
	DEPTH_IS(6);
	stack[2 * 5] = (uint64_t)(stack + 2 * 6) + 1; /* askew */
	DEPTH_IS(6);
	stack[2 * 5 + 1] = 0; /* no return address */
	DEPTH_IS(5);
	thread.g[1] = (uint64_t)(stack + 2 * 3); /* the stack ends */
	DEPTH_IS(3);
	thread.g[1] = (uint64_t)(stack + 2 * 3) - 8;
	DEPTH_IS(2);
	thread.g[0] = (uint64_t)(stack + 1);
	DEPTH_IS(0);
	thread.g[0] = thread.g[1] = 0;
	DEPTH_IS(0);
	thread.g[0] = UINT64_MAX;
	DEPTH_IS(0);
	thread.g[0] = 0;
	thread.g[1] = 8;
	DEPTH_IS(0);
	ng_rings_free(rings);
	ng_run_close(&run);
}

/** A thread that calls. */
struct caller {
	struct ng_run *run;
	struct ng_run_thread thread;
	uint64_t count;
	pthread_t id;
	pthread_barrier_t *barrier;
};

static void *call_many(void *argument)
{
	struct caller *caller = argument;

	pthread_barrier_wait(caller->barrier);
	for (int site = 0; site < NG_RUN_SITES; site++)
		ng_run_many(caller->run, (enum ng_run_site)site, &caller->thread, caller->count);
	return NULL;
}

/* @param ids of the threads */
static void run_threads(struct ng_run *run, const uint64_t ids[THREADS], uint64_t count,
	struct ng_rings *rings, struct seen *seen)
{
	static struct caller callers[THREADS];
	pthread_barrier_t barrier;

	pthread_barrier_init(&barrier, NULL, THREADS);
	for (int i = 0; i < THREADS; i++) {
		callers[i].run = run;
		callers[i].count = count;
		callers[i].barrier = &barrier;
		ng_run_thread_init(&callers[i].thread, ids[i], (uint64_t)i + 1, 4, 0x500000);
		assert_int_equal(pthread_create(&callers[i].id, NULL, call_many, &callers[i]), 0);
	}
	if (rings)
		(void)read_all(rings, seen);
	for (int i = 0; i < THREADS; i++)
		pthread_join(callers[i].id, NULL);
	if (rings)
		(void)read_all(rings, seen);
	pthread_barrier_destroy(&barrier);
}

/* hits = delivered + sampled out + lost, of threads with their own ring and with shared ones. */
static void check_exact(const uint64_t ids[THREADS], enum ng_area_mode mode)
{
	const uint64_t count = 200000;
	struct seen *seen = calloc(1, sizeof(*seen));
	uint64_t lost = 0, calls = 0, delivered;
	struct ng_rings *rings;
	struct ng_run run;

	ng_run_open(&run, &small, NULL);
	set_all(&run, mode, 10);
	rings = new_rings(&run);
	run_threads(&run, ids, count, rings, seen);
	for (uint32_t site = 0; site < NG_RUN_SITES; site++) {
		const struct ng_rings_counts counts = counts_of(rings, site);

		assert_int_equal(counts.calls, THREADS * count);
		assert_int_equal(run.reached[site], THREADS * count);
		calls += counts.calls;
		for (int cause = 0; cause < NG_AREA_LOSSES; cause++)
			lost += counts.lost[cause];
	}
	delivered = ng_rings_so_far(rings).delivered;
	assert_int_equal(delivered, seen->count);
	assert_int_equal(ng_rings_so_far(rings).damaged, 0);
	if (mode == NG_AREA_COUNT)
		assert_int_equal(delivered + lost, 0);
	if (mode == NG_AREA_FULL)
		assert_int_equal(delivered + lost, calls);
	if (mode == NG_AREA_FULL)
		assert_true(delivered > 0 && lost > 0); /* a small ring, and hardly read */
	if (mode ==
		NG_AREA_SAMPLED) /* 120,000 of 1.2 million, of which it is 70 off in most runs */
		assert_in_range(
			delivered + lost, calls / 10 - calls / 300, calls / 10 + calls / 300);
	ng_rings_free(rings);
	ng_run_close(&run);
	free(seen);
}

static void counts_exactly_on_two_threads(void **state)
{
	static const enum ng_area_mode each[] = {NG_AREA_COUNT, NG_AREA_SAMPLED, NG_AREA_FULL};

	(void)state;
	for (size_t i = 0; i < sizeof(each) / sizeof(each[0]); i++) {
		check_exact((const uint64_t[]){0, 1}, each[i]);	      /* rings of their own */
		check_exact((const uint64_t[]){5, 7}, each[i]);	      /* one shared ring */
		check_exact((const uint64_t[]){1000, 1064}, each[i]); /* and one shared line */
	}
}

static void a_full_ring_loses_and_says_how_many(void **state)
{
	const uint64_t room = NG_AREA_RING_BYTES_MIN / NG_AREA_RECORD_BYTES;
	struct ng_run_thread thread;
	struct seen seen = {.count = 0};
	struct ng_rings *rings;
	struct ng_run run;

	(void)state;
	ng_run_open(&run, &small, NULL);
	set_all(&run, NG_AREA_FULL, 1);
	rings = new_rings(&run);
	ng_run_thread_init(&thread, 3, 7, 4, 0x500000);
	ng_run_many(&run, NG_RUN_CLOCK, &thread, room + 1000);
	/* one record is the time, three are the stack: a head and four frames */
	assert_int_equal(counts_of(rings, 0).lost[NG_AREA_LOST_FULL], 1000 + 4);
	assert_int_equal(read_all(rings, &seen), room - 4);
	/* Around the end many times, with stacks that change. */
	for (uint64_t i = 0; i < 3000; i++) {
		ng_run_thread_init(&thread, 3, 7, i % 90, 0x600000 + i % 700);
		ng_run_many(&run, NG_RUN_CALL, &thread, 3);
		assert_int_equal(read_all(rings, &seen), 3);
		assert_int_equal(seen.last.depth, i % 90 + 1);
		for (uint64_t frame = 1; frame < seen.last.depth; frame++)
			assert_true(seen.frames[frame] == 0x600000 + i % 700 + frame - 1);
	}
	assert_int_equal(counts_of(rings, 0).lost[NG_AREA_LOST_FULL], 1000 + 4);
	assert_int_equal(counts_of(rings, 1).lost[NG_AREA_LOST_FULL], 0);
	assert_int_equal(ng_rings_so_far(rings).stackless, 0);
	ng_rings_free(rings);
	ng_run_close(&run);
}

/* More stacks than numbers: each is told again when its number went to another. */
static void tells_more_stacks_than_it_has_numbers(void **state)
{
	struct ng_run_thread thread;
	struct seen seen = {.count = 0};
	struct ng_rings *rings;
	struct ng_run run;

	(void)state;
	ng_run_open(&run, &small, NULL);
	set_all(&run, NG_AREA_FULL, 1);
	rings = new_rings_of(&run, 64 << 20);
	ng_run_thread_init(&thread, 1, 7, 3, 0x800000);
	for (uint64_t i = 0; i < 60000; i++) {
		thread.stack[3] = 0x700000 + i % 20000;
		ng_run_many(&run, NG_RUN_CLOCK, &thread, 1);
		assert_int_equal(read_all(rings, &seen), 1);
		assert_true(seen.frames[2] == 0x700000 + i % 20000);
	}
	assert_int_equal(ng_rings_so_far(rings).stackless, 0);
	ng_rings_free(rings);
	/* The same with hardly any memory: they are calls all the same. */
	rings = new_rings_of(&run, 40000);
	ng_run_many(&run, NG_RUN_CLOCK, &thread, 100);
	for (uint64_t i = 0; i < 2000; i++) {
		thread.stack[3] = 0x900000 + i;
		ng_run_many(&run, NG_RUN_CLOCK, &thread, 1);
		(void)read_all(rings, &seen);
	}
	assert_int_equal(ng_rings_so_far(rings).delivered, 2100);
	assert_in_range(ng_rings_so_far(rings).stackless, 1500, 1999);
	ng_rings_free(rings);
	ng_run_close(&run);
}

static void the_next_reader_knows_all_stacks_anew(void **state)
{
	const uint64_t frames[] = {addresses[0], 0x500000, 0x500001};
	struct ng_run_thread thread;
	struct seen seen = {.count = 0};
	struct ng_rings *rings;
	struct ng_run run;

	(void)state;
	ng_run_open(&run, &small, NULL);
	set_all(&run, NG_AREA_FULL, 1);
	ng_run_thread_init(&thread, 1, 7, 2, 0x500000);
	for (int i = 0; i < 5; i++) {
		ng_run_many(&run, NG_RUN_CLOCK, &thread, 10);
		rings = new_rings(&run);
		assert_int_equal(read_all(rings, &seen), 0);
		ng_run_many(&run, NG_RUN_CLOCK, &thread, 10);
		assert_int_equal(read_all(rings, &seen), 10);
		check_frames(&seen, frames, 3);
		ng_rings_free(rings);
	}
	ng_run_close(&run);
}

static void the_lease_ends_recording_alone(void **state)
{
	struct ng_run_thread thread;
	struct seen seen = {.count = 0};
	struct ng_area_header *header;
	struct ng_rings *rings;
	struct ng_run run;

	(void)state;
	ng_run_open(&run, &small, NULL);
	header = (struct ng_area_header *)(void *)run.area;
	rings = new_rings(&run);
	ng_run_thread_init(&thread, 1, 7, 2, 0x500000);
	for (size_t i = 0; i < MODES; i++) {
		set_all(&run, modes[i].mode, modes[i].interval);
		header->lease_tsc = __rdtsc();
		ng_run_many(&run, NG_RUN_CLOCK, &thread, 1000);
		assert_int_equal(read_all(rings, &seen), 0);
	}
	assert_int_equal(counts_of(rings, 0).calls, (MODES - 1) * 1000);
	header->lease_tsc = __rdtsc() + (1ull << 40);
	ng_run_many(&run, NG_RUN_CLOCK, &thread, 1000);
	assert_int_equal(read_all(rings, &seen), 1000);
	ng_rings_free(rings);
	ng_run_close(&run);
}

/* A child by fork counts apart, and leaves rings and its parent's counters alone. */
static void a_forked_child_counts_apart(void **state)
{
	struct ng_run_thread thread;
	struct seen seen = {.count = 0};
	struct ng_rings *rings;
	struct ng_run run;
	int status;
	pid_t child;

	(void)state;
	ng_run_open(&run, &small, NULL);
	rings = new_rings(&run);
	ng_run_thread_init(&thread, 1, 7, 2, 0x500000);
	set_all(&run, NG_AREA_FULL, 1);
	ng_run_many(&run, NG_RUN_CALL, &thread, 10);
	child = fork();
	if (!child) {
		ng_run_many(&run, NG_RUN_CALL, &thread, 1000);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	ng_run_many(&run, NG_RUN_CALL, &thread, 10);
	assert_int_equal(read_all(rings, &seen), 20);
	assert_int_equal(counts_of(rings, NG_RUN_CALL).calls, 20);
	assert_int_equal(counts_of(rings, NG_RUN_CALL).foreign, 1000);
	assert_int_equal(counts_of(rings, NG_RUN_CLOCK).foreign, 0);
	ng_rings_free(rings);
	ng_run_close(&run);
}

/** What the signal handler calls with. */
static struct {
	struct ng_run *run;
	const struct ng_run_thread *thread;
	volatile uint64_t calls;
} in_signal;

static void call_in_signal(int signal_number)
{
	(void)signal_number;
	ng_run_many(in_signal.run, NG_RUN_CLOCK, in_signal.thread, 1);
	in_signal.calls++;
}

/* Signals in the midst of anything, with calls of the same thread in their handler. */
static void a_signal_handler_may_call(void **state)
{
	const struct itimerspec often = {{0, 20000}, {0, 20000}};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	const struct sigaction action = {.sa_handler = call_in_signal};
	struct seen *seen = calloc(1, sizeof(*seen));
	struct ng_rings_counts counts;
	struct ng_run_thread thread;
	struct ng_rings *rings;
	struct ng_run run;
	uint64_t own = 0;
	timer_t timer;

	(void)state;
	ng_run_open(&run, &small, NULL);
	rings = new_rings(&run);
	ng_run_thread_init(&thread, 1, 7, 60, 0x500000);
	in_signal.run = &run;
	in_signal.thread = &thread;
	in_signal.calls = 0;
	set_all(&run, NG_AREA_FULL, 1);
	assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
	assert_int_equal(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
	assert_int_equal(timer_settime(timer, 0, &often, NULL), 0);
	while (in_signal.calls < 3000) {
		ng_run_many(&run, NG_RUN_CLOCK, &thread, 1000);
		own += 1000;
		(void)read_all(rings, seen);
	}
	timer_delete(timer);
	(void)read_all(rings, seen);
	counts = counts_of(rings, NG_RUN_CLOCK);
	assert_int_equal(counts.calls, own + in_signal.calls);
	assert_int_equal(
		seen->count + counts.lost[NG_AREA_LOST_BUSY] + counts.lost[NG_AREA_LOST_FULL],
		counts.calls);
	assert_int_equal(ng_rings_so_far(rings).damaged, 0);
	assert_int_equal(ng_rings_so_far(rings).stackless, 0);
	assert_int_equal(seen->by_depth[61], seen->count);
	ng_rings_free(rings);
	ng_run_close(&run);
	free(seen);
}

/* Each thread with no ring at all loses its records, by that name. */
static void without_rings_it_counts(void **state)
{
	struct ng_layout none = small;
	struct ng_run_thread thread;
	struct ng_rings *rings;
	struct ng_run run;

	(void)state;
	none.thread_rings = none.shared_rings = 0;
	ng_run_open(&run, &none, NULL);
	rings = new_rings(&run);
	ng_run_thread_init(&thread, 1, 7, 2, 0x500000);
	set_all(&run, NG_AREA_FULL, 1);
	ng_run_many(&run, NG_RUN_CALL, &thread, 10);
	assert_int_equal(counts_of(rings, NG_RUN_CALL).calls, 10);
	assert_int_equal(counts_of(rings, NG_RUN_CALL).lost[NG_AREA_LOST_RING], 10);
	ng_rings_free(rings);
	ng_run_close(&run);
}

#define MARK 0x5aa55aa55aa55aa5ull

/* How far below the site the stack is written to. */
static void takes_little_of_the_stack(void **state)
{
	static uint64_t room[2048];
	struct ng_run_thread thread;
	struct ng_run run;

	(void)state;
	(void)room;
	ng_run_open(&run, &small, is_foreign_code);
	set_all(&run, NG_AREA_FULL, 1);
	for (int round = 0; round < 2; round++) {
		size_t used = 0;

		for (size_t i = 0; i < 2048; i++)
			room[i] = MARK;
		ng_run_thread_init(&thread, (uint64_t)round, 7, 9, 0x500000);
		ng_run_many_on(&run, round ? NG_RUN_CALL : NG_RUN_PROLOGUE, &thread, room + 2048);
		while (used < 2048 && room[2047 - used] != MARK)
			used++;
		for (size_t i = used; i < 2048; i++) {
			if (room[2047 - i] != MARK)
				used = i + 1;
		}
		print_message("stack: %zu bytes\n", 8 * used);
		assert_true(
			8 * used <= NG_STUB_STACK_BYTES + 16); /* and the two return addresses */
		assert_true(8 * used > 100);
	}
	ng_run_close(&run);
}

static void refuses_what_is_too_far(void **state)
{
	const struct ng_form form = {.kind = NG_FORM_CALL, .address = 0x400000, .next = 0x500000};
	const struct ng_stub_place near = {
		.code = 0x600000, .handler = 0x601000, .area = 0x700000, .thread_lines = 1};
	uint8_t code[NG_STUB_BYTES_MAX], patch[NG_FORM_BYTES];
	size_t bytes;

	(void)state;
	assert_int_equal(ng_stub_make(&form, &near, code, &bytes, NULL), 0);
	assert_int_equal(ng_stub_patch(&form, &near, patch, NULL), 0);
	for (int i = 0; i < 4; i++) {
		struct ng_stub_place far = near;
		const uint64_t away = 0x90000000;

		far.code += i == 0 ? away : 0;
		far.handler += i == 1 ? away : 0;
		far.area += i == 2 ? away : 0;
		far.bias += i == 3 ? away : 0;
		assert_int_equal(ng_stub_make(&form, &far, code, &bytes, NULL), -ERANGE);
		assert_int_equal(
			ng_stub_patch(&form, &far, patch, NULL), i == 0 || i == 3 ? -ERANGE : 0);
	}
}

static void refuses_layouts_that_cannot_be(void **state)
{
	struct ng_layout layout = small;

	(void)state;
	assert_int_equal(ng_layout_fill(&layout, NULL), 0);
	assert_int_equal(layout.area_bytes % NG_AREA_PAGE, 0);
#define BAD(field, value)                                                                          \
	do {                                                                                       \
		layout = small;                                                                    \
		layout.field = (value);                                                            \
		assert_int_equal(ng_layout_fill(&layout, NULL), -EINVAL);                          \
	} while (0)
	BAD(site_count, 0);
	BAD(site_count, NG_AREA_SITES_MAX + 1);
	BAD(thread_lines, 0);
	BAD(thread_lines, 65537);
	BAD(thread_rings, 9);
	BAD(shared_rings, 3);
	BAD(shared_rings, 8192);
	BAD(ring_bytes, 0);
	BAD(ring_bytes, NG_AREA_RING_BYTES_MIN / 2);
	BAD(ring_bytes, NG_AREA_RING_BYTES_MIN + 1);
	BAD(ring_bytes, 1ull << 40);
	layout = small;
	layout.thread_lines = layout.thread_rings = 4000;
	layout.ring_bytes = 1 << 20;
	assert_int_equal(ng_layout_fill(&layout, NULL), -EINVAL);
}

static void the_clock_converts_both_ways(void **state)
{
	struct ng_tsc clock;
	uint64_t before, tsc, after;

	(void)state;
	ng_tsc_start(&clock);
	before = ng_clock_ns();
	tsc = __rdtsc();
	after = ng_clock_ns();
	ng_tsc_update(&clock);
	assert_in_range(ng_tsc_to_ns(&clock, tsc), before - 10000, after + 10000);
	assert_true(ng_tsc_to_ns(&clock, 0) == clock.start_ns);
	assert_true(ng_tsc_to_ns(&clock, UINT64_MAX) == clock.ns);
	assert_true(ng_tsc_from_ns(&clock, UINT64_MAX) == UINT64_MAX ||
		    ng_tsc_from_ns(&clock, UINT64_MAX) > UINT64_MAX / 2);
	assert_true(ng_tsc_from_ns(&clock, clock.ns) == clock.tsc);
	tsc = ng_tsc_from_ns(&clock, clock.ns + NG_NS_PER_S);
	assert_in_range((tsc - clock.tsc) * (unsigned __int128)clock.mult >> 32, NG_NS_PER_S - 10,
		NG_NS_PER_S + 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_registers),
		cmocka_unit_test(keeps_all_registers_of_other_code),
		cmocka_unit_test(counts_by_cpu_without_an_m),
		cmocka_unit_test(counts_without_a_g),
		cmocka_unit_test(a_failed_stack_check_does_not_count),
		cmocka_unit_test(tells_stacks),
		cmocka_unit_test(walks_within_bounds),
		cmocka_unit_test(counts_exactly_on_two_threads),
		cmocka_unit_test(a_full_ring_loses_and_says_how_many),
		cmocka_unit_test(tells_more_stacks_than_it_has_numbers),
		cmocka_unit_test(the_next_reader_knows_all_stacks_anew),
		cmocka_unit_test(the_lease_ends_recording_alone),
		cmocka_unit_test(a_forked_child_counts_apart),
		cmocka_unit_test(a_signal_handler_may_call),
		cmocka_unit_test(without_rings_it_counts),
		cmocka_unit_test(takes_little_of_the_stack),
		cmocka_unit_test(refuses_what_is_too_far),
		cmocka_unit_test(refuses_layouts_that_cannot_be),
		cmocka_unit_test(the_clock_converts_both_ways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
