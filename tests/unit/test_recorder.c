/*
 * Recorded calls added up: each under its process, site and stack, and none lost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "control/plane/recorder.h"

#define KINDS 6

/* Each differs from the first in one thing. */
static struct ng_call kind(size_t number, uint64_t frames[3])
{
	struct ng_call call = {
		.start_ns = 1, .tgid = 2, .exec_id = 3, .site = 4, .frames = frames, .depth = 3};

	frames[0] = 10;
	frames[1] = 11;
	frames[2] = number == 1 ? 13 : 12;
	call.depth -= number == 2;
	call.site += number == 3;
	call.exec_id += number == 4;
	call.start_ns += number == 5;
	return call;
}

struct seen {
	uint64_t hits[KINDS];
	size_t stacks;
};

static void see(const struct ng_recorded_stack *stack, void *context)
{
	struct seen *seen = context;

	seen->stacks++;
	for (size_t i = 0; i < KINDS; i++) {
		uint64_t frames[3];
		const struct ng_call call = kind(i, frames);

		if (stack->depth == call.depth && stack->key.site == call.site &&
			stack->key.exec_id == call.exec_id &&
			stack->key.start_ns == call.start_ns &&
			!memcmp(stack->frames, frames, 8 * call.depth))
			seen->hits[i] += stack->hits;
	}
}

/* Adds the first kind once, the second twice, and so on, by turns. */
static void add_all(struct ng_recorder *recorder)
{
	for (size_t round = 0; round < KINDS; round++) {
		for (size_t i = round; i < KINDS; i++) {
			uint64_t frames[3];
			const struct ng_call call = kind(i, frames);

			ng_recorder_count(&call, recorder);
		}
	}
}

static void each_kind_has_its_own_sum(void **state)
{
	struct ng_recorder *recorder = ng_recorder_new(100);
	struct seen seen = {.stacks = 0};

	(void)state;
	assert_non_null(recorder);
	add_all(recorder);
	ng_recorder_walk(recorder, see, &seen);
	assert_int_equal(seen.stacks, KINDS);
	for (size_t i = 0; i < KINDS; i++)
		assert_int_equal(seen.hits[i], i + 1);
	assert_int_equal(ng_recorder_totals(recorder).hits, 21);
	assert_int_equal(ng_recorder_totals(recorder).overflow, 0);
	ng_recorder_free(recorder);
}

static void what_finds_no_room_is_counted(void **state)
{
	struct ng_recorder *recorder = ng_recorder_new(2);
	struct seen seen = {.stacks = 0};
	uint64_t kept = 0;

	(void)state;
	assert_non_null(recorder);
	add_all(recorder);
	ng_recorder_walk(recorder, see, &seen);
	for (size_t i = 0; i < KINDS; i++)
		kept += seen.hits[i];
	assert_int_equal(seen.stacks, 2);
	assert_int_equal(kept, 3); /* the first two kinds */
	assert_int_equal(ng_recorder_totals(recorder).overflow, 18);
	assert_int_equal(ng_recorder_totals(recorder).hits, 21);
	ng_recorder_free(recorder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_has_its_own_sum),
		cmocka_unit_test(what_finds_no_room_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
