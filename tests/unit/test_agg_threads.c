/*
 * The aggregator by all of its threads at once, under ThreadSanitizer: readers, views, a rotating
 * thread and one that removes. Whatever they interleave to, the sums are exact in the end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "core/agg/agg.h"
#include "core/base/clock.h"

#define READERS	   3
#define TARGETS	   4
#define STACKS	   40	 /* of each target; a reader brings them in a row */
#define STACKS_MAX 20	 /* a row without a removal in it overflows, … */
#define CALLS_MIN  20000 /* … and of a reader's 500 rows most have none */
#define ROUNDS	   200	 /* of each other thread that found what it came for */
#define COST_NS	   3
#define WEIGHT	   1.5

#if defined(__has_feature) /* clang's way */
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__
#endif
#endif
#ifndef __SANITIZE_THREAD__
#error "built without ThreadSanitizer this test proves little"
#endif

struct stage {
	struct ng_agg *agg;
	pthread_barrier_t begin;
	unsigned int busy; /* threads beside the readers with rounds to do */
	uint64_t wrong;	   /* what a view must not show */
};

static void end_rounds(struct stage *stage)
{
	__atomic_fetch_sub(&stage->busy, 1, __ATOMIC_RELAXED);
}

/* @return how many calls it added */
static void *add_calls(void *context)
{
	struct stage *stage = context;
	struct ng_agg_reader *reader;
	uint64_t count = 0;

	if (ng_agg_reader_register(stage->agg, &reader))
		abort();
	pthread_barrier_wait(&stage->begin);
	while (count < CALLS_MIN || __atomic_load_n(&stage->busy, __ATOMIC_RELAXED)) {
		const uint64_t frames[] = {count * 7 % STACKS, 1, 2, 3};
		const struct ng_agg_call call = {.target = (uint32_t)(count / STACKS % TARGETS),
			.function = 1,
			.frames = frames,
			.depth = 1 + frames[0] % 4,
			.cost_ns = COST_NS,
			.weight = WEIGHT};

		if (ng_agg_add(reader, &call, NULL))
			abort();
		count++;
	}
	ng_agg_reader_unregister(reader);
	return (void *)count;
}

static bool is_sum(const struct ng_agg_sum *sum)
{
	return sum->cost_ns == COST_NS * sum->hits && sum->weight == WEIGHT * (double)sum->hits;
}

/* Of each reader one call's cost and weight may already be there, and its hit not yet. */
static bool is_almost_sum(const struct ng_agg_sum *sum)
{
	return sum->cost_ns >= COST_NS * sum->hits && sum->weight >= WEIGHT * (double)sum->hits;
}

static void *view(void *context)
{
	struct stage *stage = context;
	uint64_t wrong = 0;

	pthread_barrier_wait(&stage->begin);
	for (unsigned int round = 0; round < ROUNDS;) {
		const uint32_t target = round % 2 ? round / 2 % TARGETS : NG_AGG_ALL_TARGETS;
		struct ng_agg_snapshot snapshot;

		if (ng_agg_snapshot(stage->agg, round % 3, target, &snapshot))
			abort();
		wrong += snapshot.count > STACKS_MAX;
		for (size_t i = 0; i < snapshot.count; i++) {
			const struct ng_agg_row *row = &snapshot.rows[i];

			wrong += row->function != 1 || row->target >= TARGETS ||
				 (target != NG_AGG_ALL_TARGETS && row->target != target);
			wrong += row->frames[0] >= STACKS || row->depth != 1 + row->frames[0] % 4 ||
				 row->frames[row->depth - 1] !=
					 (row->depth > 1 ? row->depth - 1 : row->frames[0]);
			wrong += round % 3 == NG_AGG_SINCE_START && !is_almost_sum(&row->sum);
		}
		/* Of all, since start, there is something to see once a reader runs. */
		round += snapshot.count || target != NG_AGG_ALL_TARGETS ||
			 round % 3 != NG_AGG_SINCE_START;
		ng_agg_snapshot_release(&snapshot);
	}
	__atomic_fetch_add(&stage->wrong, wrong, __ATOMIC_RELAXED);
	end_rounds(stage);
	return NULL;
}

static void *rotate(void *context)
{
	struct stage *stage = context;

	pthread_barrier_wait(&stage->begin);
	for (unsigned int round = 0; round < ROUNDS;) {
		const uint64_t now_ns = (round + 1) * 2500 * NG_NS_PER_MS;
		const int error = ng_agg_rotate(stage->agg, now_ns);

		if (error && error != -EBUSY)
			abort();
		round += !error; /* a view was being taken */
	}
	end_rounds(stage);
	return NULL;
}

static void *remove_targets(void *context)
{
	struct stage *stage = context;
	uint64_t wrong = 0, removed = 0;

	pthread_barrier_wait(&stage->begin);
	for (unsigned int tries = 0, round = 0; round < ROUNDS; tries++) {
		struct ng_agg_totals totals;

		ng_agg_remove_target(stage->agg, tries % TARGETS);
		totals = ng_agg_totals(stage->agg);
		wrong += totals.stacks > STACKS_MAX;
		round += totals.removed.hits > removed;
		removed = totals.removed.hits;
	}
	__atomic_fetch_add(&stage->wrong, wrong, __ATOMIC_RELAXED);
	end_rounds(stage);
	return NULL;
}

static struct ng_agg_sum rows_sum(struct ng_agg *agg)
{
	struct ng_agg_sum sum = {.hits = 0};
	struct ng_agg_snapshot snapshot;

	assert_int_equal(
		ng_agg_snapshot(agg, NG_AGG_SINCE_START, NG_AGG_ALL_TARGETS, &snapshot), 0);
	for (size_t i = 0; i < snapshot.count; i++) {
		assert_true(is_sum(&snapshot.rows[i].sum));
		sum.hits += snapshot.rows[i].sum.hits;
	}
	ng_agg_snapshot_release(&snapshot);
	return sum;
}

static void assert_exact(struct ng_agg *agg, uint64_t taken)
{
	const struct ng_agg_totals totals = ng_agg_totals(agg);

	assert_true(is_sum(&totals.taken));
	assert_true(is_sum(&totals.overflow));
	assert_true(is_sum(&totals.removed));
	assert_int_equal(totals.taken.hits, taken);
	assert_int_equal(rows_sum(agg).hits + totals.overflow.hits + totals.removed.hits, taken);
}

static void sums_are_exact_whatever_else_is_done(void **state)
{
	static void *(*const others[])(void *) = {view, view, rotate, remove_targets};
	const size_t others_count = sizeof(others) / sizeof(*others);
	const struct ng_agg_options options = {
		.seed = 1, .readers_max = READERS, .stacks_max = STACKS_MAX, .bytes_max = 1 << 20};
	struct stage stage = {.busy = (unsigned int)others_count};
	pthread_t threads[READERS + sizeof(others) / sizeof(*others)];
	struct ng_agg_totals totals;
	uint64_t taken = 0;

	(void)state;
	assert_int_equal(ng_agg_new(&options, &stage.agg), 0);
	pthread_barrier_init(&stage.begin, NULL, READERS + (unsigned int)others_count);
	for (size_t i = 0; i < READERS + others_count; i++)
		assert_int_equal(pthread_create(&threads[i], NULL,
					 i < READERS ? add_calls : others[i - READERS], &stage),
			0);
	for (size_t i = 0; i < READERS + others_count; i++) {
		void *count = NULL;

		assert_int_equal(pthread_join(threads[i], &count), 0);
		taken += (uint64_t)count; /* the others' is none */
	}
	assert_int_equal(stage.wrong, 0);
	assert_true(taken >= READERS * CALLS_MIN);
	assert_exact(stage.agg, taken);
	totals = ng_agg_totals(stage.agg);
	assert_true(totals.overflow.hits > 0);
	assert_true(totals.removed.hits > 0);
	for (uint32_t target = 0; target < TARGETS; target++)
		ng_agg_remove_target(stage.agg, target);
	assert_exact(stage.agg, taken);
	assert_int_equal(ng_agg_totals(stage.agg).stacks, 0);
	pthread_barrier_destroy(&stage.begin);
	ng_agg_free(stage.agg);
}

#define RACES	    100
#define RACE_STACKS 20

struct race {
	struct ng_agg *agg;
	pthread_barrier_t line; /* all readers, and who looks */
};

/* Each brings the same new stacks, in the same order. */
static void *race(void *context)
{
	struct race *shared = context;
	struct ng_agg_reader *reader;

	if (ng_agg_reader_register(shared->agg, &reader))
		abort();
	for (unsigned int round = 0; round < RACES; round++) {
		pthread_barrier_wait(&shared->line);
		for (uint64_t i = 0; i < RACE_STACKS; i++) {
			const struct ng_agg_call call = {.target = round,
				.frames = &i,
				.depth = 1,
				.cost_ns = COST_NS,
				.weight = WEIGHT};

			if (ng_agg_add(reader, &call, NULL))
				abort();
		}
		pthread_barrier_wait(&shared->line);
	}
	ng_agg_reader_unregister(reader);
	return NULL;
}

/* @param stacks_max above RACE_STACKS by what losers hold for a moment, or below it */
static void race_for(size_t stacks_max)
{
	const struct ng_agg_options options = {
		.seed = 1, .readers_max = READERS, .stacks_max = stacks_max, .bytes_max = 1 << 20};
	const uint64_t each = READERS * RACE_STACKS;
	struct race shared;
	pthread_t threads[READERS];

	assert_int_equal(ng_agg_new(&options, &shared.agg), 0);
	pthread_barrier_init(&shared.line, NULL, READERS + 1);
	for (size_t i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, race, &shared), 0);
	for (unsigned int round = 0; round < RACES; round++) {
		pthread_barrier_wait(&shared.line);
		pthread_barrier_wait(&shared.line);
		assert_exact(shared.agg, each * (round + 1));
		if (stacks_max > RACE_STACKS) {
			assert_int_equal(ng_agg_totals(shared.agg).stacks, RACE_STACKS);
			assert_int_equal(ng_agg_totals(shared.agg).overflow.hits, 0);
		} else {
			assert_in_range(ng_agg_totals(shared.agg).stacks, 1, stacks_max);
		}
		ng_agg_remove_target(shared.agg, round);
		assert_int_equal(ng_agg_totals(shared.agg).stacks, 0);
	}
	for (size_t i = 0; i < READERS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	pthread_barrier_destroy(&shared.line);
	ng_agg_free(shared.agg);
}

static void a_stack_that_several_bring_is_there_once(void **state)
{
	(void)state;
	race_for(RACE_STACKS + READERS - 1);
	race_for(RACE_STACKS / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sums_are_exact_whatever_else_is_done),
		cmocka_unit_test(a_stack_that_several_bring_is_there_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
