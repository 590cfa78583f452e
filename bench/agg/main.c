/*
 * Readers that add calls as fast as they can, all of them the same 1,000 stacks of 16 frames.
 *
 *	agg table|mutex READERS SECONDS    events/s of all readers together
 *	agg memory                         100,000 stacks, 2 readers: what they take
 *
 * `mutex` is the same hash and the same key in a chained table behind one lock.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <xxhash.h>

#include "core/agg/agg.h"
#include "core/base/clock.h"

#define DEPTH	    16
#define STACKS	    1000
#define MANY	    100000
#define PICKS	    65536 /* a reader's row of calls, again and again */
#define BATCH	    64	  /* events between two looks at the time's end */
#define READERS_MAX 16
#define SEED	    0x6e6f7767617465

struct chained {
	struct chained *next;
	uint64_t hash;
	struct ng_agg_call key;
	struct ng_agg_sum sum;
	uint64_t frames[DEPTH];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct chained *buckets[131072];
static struct ng_agg *agg;
static bool is_mutex, is_over;
static pthread_barrier_t ready;

/* Distinct stacks that share their outer half, as those of one program do. */
static void make_stack(uint64_t number, uint64_t frames[DEPTH])
{
	for (uint64_t i = 0; i < DEPTH; i++)
		frames[i] = 0x400000 + 16 * (i < DEPTH / 2 ? number * DEPTH + i : i);
}

static void add_locked(const struct ng_agg_call *call)
{
	const size_t bytes = call->depth * sizeof(*call->frames);
	const uint64_t hash = XXH3_64bits_withSeed(call->frames, bytes, SEED);
	struct chained *entry;

	pthread_mutex_lock(&lock);
	entry = buckets[hash % 131072];
	while (entry &&
		(entry->hash != hash || entry->key.target != call->target ||
			entry->key.function != call->function || entry->key.depth != call->depth ||
			memcmp(entry->frames, call->frames, bytes) != 0))
		entry = entry->next;
	if (!entry) {
		entry = calloc(1, sizeof(*entry));
		if (!entry)
			abort();
		entry->hash = hash;
		entry->key = *call;
		memcpy(entry->frames, call->frames, bytes);
		entry->next = buckets[hash % 131072];
		buckets[hash % 131072] = entry;
	}
	entry->sum.hits++;
	entry->sum.cost_ns += call->cost_ns;
	entry->sum.weight += call->weight;
	pthread_mutex_unlock(&lock);
}

struct work {
	pthread_t thread;
	unsigned int seed;
	uint64_t events;
	uint64_t ns;
	uint64_t cpu_ns;
};

static void *run_reader(void *context)
{
	struct work *work = context;
	uint64_t(*frames)[DEPTH] = calloc(STACKS, sizeof(*frames));
	uint32_t *picks = calloc(PICKS, sizeof(*picks));
	struct ng_agg_reader *reader;
	uint64_t began_ns, began_cpu_ns, events = 0;

	if (!frames || !picks || ng_agg_reader_register(agg, &reader))
		abort();
	for (size_t i = 0; i < STACKS; i++)
		make_stack(i, frames[i]);
	for (size_t i = 0; i < PICKS; i++)
		picks[i] = (uint32_t)rand_r(&work->seed) % STACKS;
	pthread_barrier_wait(&ready);
	began_ns = ng_clock_ns();
	began_cpu_ns = ng_clock_thread_ns();
	while (!__atomic_load_n(&is_over, __ATOMIC_RELAXED)) {
		for (size_t i = 0; i < BATCH; i++) {
			const struct ng_agg_call call = {.target = 1,
				.function = 2,
				.frames = frames[picks[events++ % PICKS]],
				.depth = DEPTH,
				.cost_ns = 800,
				.weight = 1};

			if (is_mutex)
				add_locked(&call);
			else
				(void)ng_agg_add(reader, &call, NULL);
		}
	}
	work->ns = ng_clock_ns() - began_ns;
	work->cpu_ns = ng_clock_thread_ns() - began_cpu_ns;
	work->events = events;
	ng_agg_reader_unregister(reader);
	free(picks);
	free(frames);
	return NULL;
}

static void measure_speed(size_t readers, double seconds)
{
	const struct timespec pause = {.tv_sec = (time_t)seconds,
		.tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
	struct work works[READERS_MAX];
	double rate = 0, cpu_rate = 0;

	pthread_barrier_init(&ready, NULL, (unsigned int)readers + 1);
	for (size_t i = 0; i < readers; i++) {
		works[i] = (struct work){.seed = (unsigned int)i};
		if (pthread_create(&works[i].thread, NULL, run_reader, &works[i]))
			abort();
	}
	pthread_barrier_wait(&ready);
	nanosleep(&pause, NULL);
	__atomic_store_n(&is_over, true, __ATOMIC_RELAXED);
	for (size_t i = 0; i < readers; i++) {
		pthread_join(works[i].thread, NULL);
		rate += (double)works[i].events / (double)works[i].ns * 1e9;
		cpu_rate += (double)works[i].events / (double)works[i].cpu_ns * 1e9;
	}
	printf("%.0f %.0f\n", rate, cpu_rate);
}

/* Resident, and nobody else's. */
static double memory_mib(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	long size, resident, shared;

	if (!file || fscanf(file, "%ld %ld %ld", &size, &resident, &shared) != 3)
		abort();
	fclose(file);
	return (double)((resident - shared) * sysconf(_SC_PAGESIZE)) / (1 << 20);
}

static void *add_many(void *context)
{
	struct ng_agg_reader *reader;
	uint64_t frames[DEPTH];

	(void)context;
	if (ng_agg_reader_register(agg, &reader))
		abort();
	for (uint64_t i = 0; i < MANY; i++) {
		const struct ng_agg_call call = {
			.target = 1, .function = 2, .frames = frames, .depth = DEPTH, .weight = 1};

		make_stack(i, frames);
		(void)ng_agg_add(reader, &call, NULL);
	}
	ng_agg_reader_unregister(reader);
	return NULL;
}

static double since_ms(uint64_t *began_ns)
{
	const uint64_t now_ns = ng_clock_ns(), took_ns = now_ns - *began_ns;

	*began_ns = now_ns;
	return (double)took_ns / 1e6;
}

static void measure_memory(double before_mib)
{
	pthread_t threads[2];
	struct ng_agg_snapshot snapshot;
	double mib, rotate_ms, snapshot_ms, remove_ms;
	uint64_t began_ns;

	for (size_t i = 0; i < 2; i++) {
		if (pthread_create(&threads[i], NULL, add_many, NULL))
			abort();
	}
	for (size_t i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	mib = memory_mib() - before_mib;
	began_ns = ng_clock_ns();
	if (ng_agg_rotate(agg, 100 * NG_NS_PER_S))
		abort();
	rotate_ms = since_ms(&began_ns);
	if (ng_agg_snapshot(agg, NG_AGG_SINCE_START, NG_AGG_ALL_TARGETS, &snapshot) ||
		snapshot.count != MANY)
		abort();
	snapshot_ms = since_ms(&began_ns);
	printf("%.1f %.1f ", mib, (double)ng_agg_totals(agg).bytes / (1 << 20));
	began_ns = ng_clock_ns();
	ng_agg_remove_target(agg, 1);
	remove_ms = since_ms(&began_ns);
	printf("%.1f %.1f %.1f\n", rotate_ms, snapshot_ms, remove_ms);
	ng_agg_snapshot_release(&snapshot);
}

int main(int argc, char **argv)
{
	const bool is_memory = argc == 2 && !strcmp(argv[1], "memory");
	const size_t readers = argc == 4 ? strtoul(argv[2], NULL, 10) : 2;
	const struct ng_agg_options options = {
		.seed = SEED, .readers_max = readers, .stacks_max = MANY, .bytes_max = 1 << 30};
	const double before_mib = memory_mib();

	is_mutex = argc == 4 && !strcmp(argv[1], "mutex");
	if ((!is_memory && argc != 4) || !readers || readers > READERS_MAX)
		return 2;
	if (ng_agg_new(&options, &agg))
		return 1;
	if (is_memory)
		measure_memory(before_mib);
	else
		measure_speed(readers, strtod(argv[3], NULL));
	ng_agg_free(agg);
	return 0;
}
