/*
 * Calls added up by one thread: what is taken in is in the stacks, in the overflow or removed, to
 * the unit, in each view.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/agg/agg.h"
#include "core/base/clock.h"
#include "tests/out/failing.h"

#define START_NS (1000 * NG_NS_PER_S)

static const struct ng_agg_options usual = {
	.seed = 1, .now_ns = START_NS, .readers_max = 2, .stacks_max = 100, .bytes_max = 1 << 20};

static struct ng_agg *make(const struct ng_agg_options *options, struct ng_agg_reader **ret_reader)
{
	struct ng_agg *agg = NULL;

	assert_int_equal(ng_agg_new(options, &agg), 0);
	assert_int_equal(ng_agg_reader_register(agg, ret_reader), 0);
	return agg;
}

static void end(struct ng_agg *agg, struct ng_agg_reader *reader)
{
	ng_agg_reader_unregister(reader);
	ng_agg_free(agg);
}

/* Adds calls of a stack of one frame. Each costs 10 ns and stands for 2.5. */
static void add(struct ng_agg_reader *reader, uint32_t target, uint64_t frame, size_t count)
{
	const struct ng_agg_call call = {.target = target,
		.function = 7,
		.frames = &frame,
		.depth = 1,
		.cost_ns = 10,
		.weight = 2.5};

	for (size_t i = 0; i < count; i++)
		assert_int_equal(ng_agg_add(reader, &call, NULL), 0);
}

static void assert_sum(struct ng_agg_sum sum, uint64_t hits)
{
	assert_int_equal(sum.hits, hits);
	assert_int_equal(sum.cost_ns, 10 * hits);
	assert_true(sum.weight == 2.5 * (double)hits);
}

/* All of add()'s calls in a view, of one target or all, and since when. */
static struct ng_agg_sum viewed(
	struct ng_agg *agg, enum ng_agg_view view, uint32_t target, uint64_t *ret_since_ns)
{
	struct ng_agg_snapshot snapshot;
	struct ng_agg_sum all = {.hits = 0};

	assert_int_equal(ng_agg_snapshot(agg, view, target, &snapshot), 0);
	for (size_t i = 0; i < snapshot.count; i++) {
		assert_sum(snapshot.rows[i].sum, snapshot.rows[i].sum.hits);
		all.hits += snapshot.rows[i].sum.hits;
		all.cost_ns += snapshot.rows[i].sum.cost_ns;
		all.weight += snapshot.rows[i].sum.weight;
	}
	*ret_since_ns = snapshot.since_ns;
	ng_agg_snapshot_release(&snapshot);
	return all;
}

/* @param since_s from START_NS on */
static void assert_view(struct ng_agg *agg, enum ng_agg_view view, uint64_t hits, double since_s)
{
	uint64_t since_ns;

	assert_sum(viewed(agg, view, NG_AGG_ALL_TARGETS, &since_ns), hits);
	assert_int_equal(since_ns, START_NS + (uint64_t)(since_s * 1e9));
}

static void rotate(struct ng_agg *agg, double now_s)
{
	assert_int_equal(ng_agg_rotate(agg, START_NS + (uint64_t)(now_s * 1e9)), 0);
}

static void assert_hits_of(struct ng_agg *agg, uint32_t target, uint64_t hits)
{
	uint64_t since_ns;

	assert_sum(viewed(agg, NG_AGG_SINCE_START, target, &since_ns), hits);
}

/* Taken in is what the stacks have, what overflowed and what was removed. */
static void assert_totals(
	struct ng_agg *agg, uint64_t taken, uint64_t overflow, uint64_t removed, size_t stacks)
{
	const struct ng_agg_totals totals = ng_agg_totals(agg);

	assert_sum(totals.taken, taken);
	assert_sum(totals.overflow, overflow);
	assert_sum(totals.removed, removed);
	assert_int_equal(totals.stacks, stacks);
	assert_hits_of(agg, NG_AGG_ALL_TARGETS, taken - overflow - removed);
}

static void options_without_room_are_refused(void **state)
{
	struct ng_agg *agg = NULL;
	struct ng_agg_options none = usual;
	size_t least = 0;

	(void)state;
	none.readers_max = 0;
	assert_int_equal(ng_agg_new(&none, &agg), -EINVAL);
	none.readers_max = SIZE_MAX;
	assert_int_equal(ng_agg_new(&none, &agg), -EINVAL);
	none = usual;
	none.stacks_max = 0;
	assert_int_equal(ng_agg_new(&none, &agg), -EINVAL);
	none = usual;
	for (none.bytes_max = 0; ng_agg_new(&none, &agg) == -EINVAL; none.bytes_max++)
		assert_null(agg);
	assert_non_null(agg);
	assert_true(none.bytes_max < 4096);
	least = ng_agg_totals(agg).bytes;
	ng_agg_free(agg);
	/* What one more byte made possible is a stack without frames. */
	none.stacks_max = SIZE_MAX;
	{
		struct ng_agg_reader *reader;
		const struct ng_agg_call call = {.target = 1};

		agg = make(&none, &reader);
		assert_int_equal(ng_agg_totals(agg).bytes, least);
		assert_int_equal(ng_agg_add(reader, &call, NULL), 0);
		assert_int_equal(ng_agg_totals(agg).stacks, 1);
		assert_int_equal(ng_agg_totals(agg).bytes, none.bytes_max);
		end(agg, reader);
	}
}

static void what_is_no_call_is_not_taken_in(void **state)
{
	static const uint64_t frames[NG_AGG_DEPTH_MAX + 1] = {1, 2, 3};
	struct ng_agg_call call = {.target = 1, .frames = frames, .weight = 1};
	struct ng_agg_snapshot snapshot;
	struct ng_agg_reader *reader;
	struct ng_agg *agg = make(&usual, &reader);

	(void)state;
	call.depth = NG_AGG_DEPTH_MAX + 1;
	assert_int_equal(ng_agg_add(reader, &call, NULL), -EINVAL);
	call.depth = SIZE_MAX;
	assert_int_equal(ng_agg_add(reader, &call, NULL), -EINVAL);
	call.depth = 1;
	call.target = NG_AGG_ALL_TARGETS;
	assert_int_equal(ng_agg_add(reader, &call, NULL), -EINVAL);
	assert_totals(agg, 0, 0, 0, 0);

	call.target = 1;
	call.depth = NG_AGG_DEPTH_MAX;
	assert_int_equal(ng_agg_add(reader, &call, NULL), 0);
	assert_int_equal(ng_agg_snapshot(agg, NG_AGG_SINCE_START, 1, &snapshot), 0);
	assert_int_equal(snapshot.count, 1);
	assert_int_equal(snapshot.rows[0].depth, NG_AGG_DEPTH_MAX);
	assert_memory_equal(snapshot.rows[0].frames, frames, 8 * NG_AGG_DEPTH_MAX);
	ng_agg_snapshot_release(&snapshot);
	end(agg, reader);
}

#define KINDS 7

/* Each differs from the first in one thing. */
static struct ng_agg_call kind(size_t number, uint64_t frames[3])
{
	struct ng_agg_call call = {
		.target = 1, .function = 2, .frames = frames, .depth = 3, .weight = 1};

	frames[0] = 10;
	frames[1] = 11;
	frames[2] = number == 1 ? 13 : 12;
	call.depth -= number == 2;
	call.target += number == 3;
	call.function += number == 4;
	if (number == 5) {
		call.target = 2; /* … or in two, the other way round */
		call.function = 1;
	}
	if (number == 6) {
		call.depth = 0;
		call.frames = NULL;
	}
	return call;
}

static void each_kind_has_its_own_row(void **state)
{
	struct ng_agg_snapshot snapshot;
	struct ng_agg_reader *reader;
	struct ng_agg *agg = make(&usual, &reader);
	uint64_t hits[KINDS] = {0}, frames[3];

	(void)state;
	for (size_t round = 0; round < KINDS; round++) {
		for (size_t i = round; i < KINDS; i++) {
			const struct ng_agg_call call = kind(i, frames);

			assert_int_equal(ng_agg_add(reader, &call, NULL), 0);
		}
	}
	assert_int_equal(
		ng_agg_snapshot(agg, NG_AGG_SINCE_START, NG_AGG_ALL_TARGETS, &snapshot), 0);
	assert_int_equal(snapshot.count, KINDS);
	for (size_t i = 0; i < KINDS * KINDS; i++) {
		const struct ng_agg_row *row = &snapshot.rows[i / KINDS];
		const struct ng_agg_call call = kind(i % KINDS, frames);

		if (row->target == call.target && row->function == call.function &&
			row->depth == call.depth && !memcmp(row->frames, frames, 8 * row->depth))
			hits[i % KINDS] += row->sum.hits;
	}
	for (size_t i = 0; i < KINDS; i++)
		assert_int_equal(hits[i], i + 1);
	ng_agg_snapshot_release(&snapshot);
	end(agg, reader);
}

static void a_view_may_be_of_one_target(void **state)
{
	struct ng_agg_reader *reader;
	struct ng_agg *agg = make(&usual, &reader);

	(void)state;
	add(reader, 1, 1, 3);
	add(reader, 2, 1, 4);
	add(reader, 2, 2, 5);
	assert_hits_of(agg, 1, 3);
	assert_hits_of(agg, 2, 9);
	assert_hits_of(agg, 3, 0);
	assert_hits_of(agg, NG_AGG_ALL_TARGETS, 12);
	end(agg, reader);
}

static void stacks_above_the_cap_overflow(void **state)
{
	struct ng_agg_options few = usual;
	struct ng_agg_reader *reader;
	struct ng_agg *agg;

	(void)state;
	few.stacks_max = 3;
	agg = make(&few, &reader);
	for (uint64_t i = 1; i <= 5; i++)
		add(reader, 1, i, i);
	assert_totals(agg, 15, 9, 0, 3);
	add(reader, 1, 2, 1); /* one that is there */
	assert_totals(agg, 16, 9, 0, 3);
	rotate(agg, 10);
	add(reader, 1, 9, 4);
	rotate(agg, 20);
	{
		struct ng_agg_snapshot snapshot;

		assert_int_equal(ng_agg_snapshot(agg, NG_AGG_TEN_SECONDS, 1, &snapshot), 0);
		assert_sum(snapshot.overflow, 4); /* has views as stacks have */
		assert_int_equal(snapshot.count, 0);
		ng_agg_snapshot_release(&snapshot);
	}
	end(agg, reader);
}

static void bytes_above_the_cap_overflow(void **state)
{
	static const uint64_t frames[NG_AGG_DEPTH_MAX] = {0};
	struct ng_agg_options few = usual;
	struct ng_agg_call call = {.target = 1, .frames = frames};
	struct ng_agg_totals totals;
	struct ng_agg_reader *reader;
	struct ng_agg *agg;

	(void)state;
	few.bytes_max = 20000;
	few.stacks_max = SIZE_MAX;
	agg = make(&few, &reader);
	for (call.depth = NG_AGG_DEPTH_MAX; call.depth; call.depth--)
		assert_int_equal(ng_agg_add(reader, &call, NULL), 0);
	totals = ng_agg_totals(agg);
	assert_in_range(totals.bytes, 20000 - 512, 20000); /* small ones fill what is left */
	assert_in_range(totals.stacks, 10, 20);
	assert_int_equal(totals.taken.hits, NG_AGG_DEPTH_MAX);
	assert_int_equal(totals.overflow.hits, NG_AGG_DEPTH_MAX - totals.stacks);
	end(agg, reader);
}

static void windows_move_on(void **state)
{
	struct ng_agg_reader *reader;
	struct ng_agg *agg = make(&usual, &reader);

	(void)state;
	add(reader, 1, 1, 1);
	for (int s = 1; s <= 30; s++) { /* a mark each 3 s, and each 15 s */
		rotate(agg, s);
		add(reader, 1, 1 + (uint64_t)s % 2, 1);
	}
	/* Marks at 18, 21, …, 30: of these 18 is more than 10 s old. */
	assert_view(agg, NG_AGG_TEN_SECONDS, 13, 18);
	assert_view(agg, NG_AGG_MINUTE, 31, 0);
	assert_view(agg, NG_AGG_SINCE_START, 31, 0);
	for (int s = 31; s <= 90; s++)
		rotate(agg, s);
	assert_view(agg, NG_AGG_TEN_SECONDS, 0, 78);
	assert_view(agg, NG_AGG_MINUTE, 1, 30); /* what came right after the mark at 30 s */
	rotate(agg, 105);
	assert_view(agg, NG_AGG_MINUTE, 0, 45);
	assert_view(agg, NG_AGG_SINCE_START, 31, 0);
	end(agg, reader);
}

/* A view says how long it is, whatever was done when. */
static void late_rotations_make_longer_windows(void **state)
{
	struct ng_agg_reader *reader;
	struct ng_agg *agg = make(&usual, &reader);

	(void)state;
	rotate(agg, 2.5);
	add(reader, 1, 1, 1);
	rotate(agg, 5);
	add(reader, 1, 2, 2); /* born between two marks */
	rotate(agg, 100);
	assert_view(agg, NG_AGG_TEN_SECONDS, 2, 5);
	assert_view(agg, NG_AGG_MINUTE, 3, 0);
	add(reader, 1, 3, 4);
	rotate(agg, 50); /* no time goes back */
	rotate(agg, 101);
	assert_view(agg, NG_AGG_TEN_SECONDS, 6, 5);
	rotate(agg, 110);
	assert_view(agg, NG_AGG_TEN_SECONDS, 4, 100);
	rotate(agg, 120);
	assert_view(agg, NG_AGG_TEN_SECONDS, 0, 110);
	end(agg, reader);
}

static void a_removed_target_is_accounted_for(void **state)
{
	struct ng_agg_options few = usual;
	struct ng_agg_reader *reader;
	struct ng_agg *agg;
	size_t bytes;

	(void)state;
	few.stacks_max = 3;
	agg = make(&few, &reader);
	bytes = ng_agg_totals(agg).bytes;
	add(reader, 1, 1, 1);
	add(reader, 2, 1, 2);
	add(reader, 1, 2, 4);
	add(reader, 2, 2, 8); /* overflows */
	ng_agg_remove_target(agg, 3);
	assert_totals(agg, 15, 8, 0, 3);
	ng_agg_remove_target(agg, 1);
	assert_totals(agg, 15, 8, 5, 1);
	assert_hits_of(agg, 1, 0);
	assert_hits_of(agg, 2, 2);
	add(reader, 1, 1, 16); /* begins anew, and finds room */
	add(reader, 1, 3, 32);
	assert_totals(agg, 63, 8, 5, 3);
	assert_hits_of(agg, 1, 48);
	ng_agg_remove_target(agg, 1);
	ng_agg_remove_target(agg, 2);
	assert_totals(agg, 63, 8, 55, 0);
	assert_int_equal(ng_agg_totals(agg).bytes, bytes);
	end(agg, reader);
}

/* Its marks are not those of the one before it, and what is removed is in no window. */
static void a_target_that_begins_anew_has_no_past(void **state)
{
	struct ng_agg_reader *reader;
	struct ng_agg *agg = make(&usual, &reader);

	(void)state;
	add(reader, 1, 1, 5);
	rotate(agg, 10);
	add(reader, 1, 1, 1);
	ng_agg_remove_target(agg, 1);
	assert_view(agg, NG_AGG_TEN_SECONDS, 0, 0);
	add(reader, 1, 1, 2);
	rotate(agg, 20);
	assert_view(agg, NG_AGG_TEN_SECONDS, 2, 10);
	assert_view(agg, NG_AGG_SINCE_START, 2, 0);
	end(agg, reader);
}

static void readers_share_stacks(void **state)
{
	struct ng_agg_reader *first, *second, *third = NULL;
	struct ng_agg *agg = make(&usual, &first);

	(void)state;
	assert_int_equal(ng_agg_reader_register(agg, &second), 0);
	assert_int_equal(ng_agg_reader_register(agg, &third), -EBUSY);
	assert_null(third);
	add(first, 1, 1, 1);
	add(second, 1, 1, 2);
	ng_agg_reader_unregister(first);
	assert_totals(agg, 3, 0, 0, 1); /* what it added stays */
	assert_int_equal(ng_agg_reader_register(agg, &first), 0);
	add(first, 1, 1, 4);
	add(first, 1, 2, 8);
	assert_totals(agg, 15, 0, 0, 2);
	ng_agg_reader_unregister(second);
	end(agg, first);
}

static void without_memory_a_stack_overflows(void **state)
{
	struct ng_agg_reader *reader;
	struct ng_agg *agg = make(&usual, &reader);

	(void)state;
	add(reader, 1, 1, 1);
	failing_begin(0);
	add(reader, 1, 2, 1);
	assert_int_equal(failing_end(), 1);
	assert_totals(agg, 2, 1, 0, 1);
	add(reader, 1, 2, 1);
	assert_totals(agg, 3, 1, 0, 2);
	end(agg, reader);
}

static void without_memory_there_is_no_aggregator(void **state)
{
	struct ng_agg *agg = NULL;
	size_t n = 0;

	(void)state;
	for (;; n++) {
		int error;

		failing_begin(n);
		error = ng_agg_new(&usual, &agg);
		if (failing_end() <= n) {
			assert_int_equal(error, 0);
			break;
		}
		assert_int_equal(error, -ENOMEM);
		assert_null(agg);
	}
	assert_true(n > 1); /* itself, and the overflow */
	ng_agg_free(agg);
}

static void without_memory_there_is_no_snapshot(void **state)
{
	struct ng_agg_snapshot snapshot;
	struct ng_agg_reader *reader;
	struct ng_agg *agg = make(&usual, &reader);
	size_t n = 0;

	(void)state;
	for (uint64_t i = 0; i < usual.stacks_max; i++)
		add(reader, 1, i, 1);
	for (;; n++) {
		int error;

		failing_begin(n);
		error = ng_agg_snapshot(agg, NG_AGG_MINUTE, 1, &snapshot);
		if (failing_end() <= n) {
			assert_int_equal(error, 0);
			break;
		}
		assert_int_equal(error, -ENOMEM);
	}
	assert_true(n > 2); /* rows and frames, and rows grew */
	assert_int_equal(snapshot.count, usual.stacks_max);
	ng_agg_snapshot_release(&snapshot);
	end(agg, reader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_without_room_are_refused),
		cmocka_unit_test(what_is_no_call_is_not_taken_in),
		cmocka_unit_test(each_kind_has_its_own_row),
		cmocka_unit_test(a_view_may_be_of_one_target),
		cmocka_unit_test(stacks_above_the_cap_overflow),
		cmocka_unit_test(bytes_above_the_cap_overflow),
		cmocka_unit_test(windows_move_on),
		cmocka_unit_test(late_rotations_make_longer_windows),
		cmocka_unit_test(a_removed_target_is_accounted_for),
		cmocka_unit_test(a_target_that_begins_anew_has_no_past),
		cmocka_unit_test(readers_share_stacks),
		cmocka_unit_test(without_memory_a_stack_overflows),
		cmocka_unit_test(without_memory_there_is_no_aggregator),
		cmocka_unit_test(without_memory_there_is_no_snapshot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
