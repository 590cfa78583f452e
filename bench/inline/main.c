/*
 * What a call of an entered site costs in the process itself, for bench/inline.py:
 *
 *     inline SITE MODE INTERVAL DEPTH WORK CALLS RING_KIB
 *
 * SITE is clock, call or prologue; MODE none (not entered), off, count, sampled or full; WORK what
 * a call does besides: none, or clock, which reads the clock twice, as time.Now does. A reader
 * drains the rings each millisecond on another CPU. Prints ns a call by the caller's CPU time,
 * calls delivered and lost, and the reader's CPU time over the caller's.
 */
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/clock.h"
#include "core/inline/ring.h"
#include "tests/inline/run.h"

#define CALLS_AT_ONCE 1000

struct bench {
	struct ng_run run;
	struct ng_rings *rings;
	bool is_over;
	uint64_t reader_ns;
	uint64_t sum; /* of what was told, so that all of it is read */
};

static void pin(unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	(void)sched_setaffinity(0, sizeof(set), &set); /* on a machine of one CPU: as it is */
}

static void take(const struct ng_call *call, void *context)
{
	struct bench *bench = context;

	bench->sum += call->time_ns + call->goroutine + call->depth;
}

static void *drain(void *argument)
{
	const struct timespec pause = {.tv_nsec = NG_NS_PER_MS};
	struct bench *bench = argument;
	struct ng_tsc clock;

	pin(1);
	ng_tsc_start(&clock);
	bench->reader_ns = ng_clock_thread_ns();
	while (!__atomic_load_n(&bench->is_over, __ATOMIC_ACQUIRE)) {
		ng_tsc_update(&clock);
		(void)ng_rings_read_all(bench->rings, &clock, take, bench);
		nanosleep(&pause, NULL);
	}
	bench->reader_ns = ng_clock_thread_ns() - bench->reader_ns;
	ng_tsc_update(&clock);
	(void)ng_rings_read_all(bench->rings, &clock, take, bench);
	return NULL;
}

static uint32_t index_of(const char *word, const char *const *words, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		if (!strcmp(word, words[i]))
			return i;
	}
	fprintf(stderr, "inline: %s is none of them\n", word);
	exit(2);
}

static void call(struct bench *bench, enum ng_run_site site, const struct ng_run_thread *thread,
	uint64_t count, bool reads_clock)
{
	struct timespec now;

	for (uint64_t done = 0; done < count; done += CALLS_AT_ONCE) {
		if (!reads_clock) {
			ng_run_many(&bench->run, site, thread, CALLS_AT_ONCE);
			continue;
		}
		for (int i = 0; i < CALLS_AT_ONCE; i++) {
			ng_run_many(&bench->run, site, thread, 1);
			clock_gettime(CLOCK_REALTIME, &now);
			clock_gettime(CLOCK_MONOTONIC, &now);
		}
	}
}

int main(int argc, char **argv)
{
	static const char *const sites[] = {"clock", "call", "prologue"}, *const modes[] = {"off",
										  "count",
										  "sampled", "full",
										  "none"};
	static const uint64_t addresses[NG_RUN_SITES] = {1, 2, 3};
	static const uint32_t numbers[NG_RUN_SITES] = {0, 1, 2};
	static struct bench bench;
	struct ng_layout layout = {
		.site_count = 1, .thread_lines = 64, .thread_rings = 2, .shared_rings = 1};
	struct ng_rings_of of = {
		.addresses = addresses, .numbers = numbers, .tgid = 1, .stack_bytes_max = 64 << 20};
	struct ng_rings_counts counts;
	struct ng_run_thread thread;
	enum ng_run_site site;
	uint32_t mode;
	uint64_t count, took, lost = 0;
	pthread_t reader;

	if (argc != 8)
		return 2;
	site = (enum ng_run_site)index_of(argv[1], sites, 3);
	mode = index_of(argv[2], modes, 5);
	count = strtoull(argv[6], NULL, 10);
	layout.ring_bytes = strtoull(argv[7], NULL, 10) << 10;
	ng_run_open_quiet(&bench.run, &layout, mode < 4);
	memset(bench.run.area + bench.run.layout.rings_offset, 0,
		bench.run.layout.area_bytes - bench.run.layout.rings_offset); /* touched */
	of.area = bench.run.area;
	of.layout = &bench.run.layout;
	if (ng_rings_new(&of, &bench.rings))
		return 1;
	((struct ng_area_header *)(void *)bench.run.area)->lease_tsc = UINT64_MAX;
	ng_run_thread_init(&thread, 0, 7, strtoull(argv[4], NULL, 10), 0x500000);
	pin(0);
	if (pthread_create(&reader, NULL, drain, &bench))
		return 1;
	call(&bench, site, &thread, count / 10, !strcmp(argv[5], "clock")); /* warm */
	if (mode < 4)
		ng_layout_set_mode(&bench.run.layout, bench.run.area, site, (enum ng_area_mode)mode,
			(uint32_t)strtoul(argv[3], NULL, 10));
	call(&bench, site, &thread, count / 10, !strcmp(argv[5], "clock"));
	took = ng_clock_thread_ns();
	call(&bench, site, &thread, count, !strcmp(argv[5], "clock"));
	took = ng_clock_thread_ns() - took;
	__atomic_store_n(&bench.is_over, true, __ATOMIC_RELEASE);
	pthread_join(reader, NULL);
	ng_rings_count(bench.rings, site, &counts);
	for (int cause = 0; cause < NG_AREA_LOSSES; cause++)
		lost += counts.lost[cause];
	printf("%.3f %llu %llu %llu %.3f\n", (double)took / (double)count,
		(unsigned long long)counts.calls,
		(unsigned long long)ng_rings_so_far(bench.rings).delivered,
		(unsigned long long)lost, (double)bench.reader_ns / (double)took);
	ng_rings_free(bench.rings);
	ng_run_close(&bench.run);
	return 0;
}
