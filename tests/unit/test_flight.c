/* The flight recorder: the newest calls of each process, whole, while more come in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

#include "control/plane/flight.h"

#define ROOM	100u
#define THREADS 2000000u /* calls of the test with two threads */

static const struct ng_flight_options options = {
	.process_bytes = ROOM * sizeof(struct ng_flight_call),
	.all_bytes = 2 * ROOM * sizeof(struct ng_flight_call),
	.stacks_max = 1000,
	.stack_bytes = 1 << 20,
};

/* A call whose parts all follow from its number. */
static void put(struct ng_flight *flight, uint32_t tgid, uint64_t number)
{
	const uint64_t frames[] = {tgid, number % 5};
	const struct ng_call call = {.time_ns = number,
		.start_ns = 7,
		.tgid = tgid,
		.exec_id = 1,
		.site = 3,
		.tid = (uint32_t)number,
		.goroutine = 2 * number,
		.window = (uint32_t)number / 10,
		.stretch = 1,
		.frames = frames,
		.depth = 2};

	ng_flight_call(&call, (double)number / 2, flight);
}

static bool has_tgid(const struct ng_count_key *process, const void *tgid)
{
	return process->tgid == *(const uint32_t *)tgid;
}

static int look(struct ng_flight *flight, uint32_t tgid, struct ng_flight_view *ret_view)
{
	return ng_flight_look(flight, has_tgid, &tgid, NG_AGG_SINCE_START, true, ret_view);
}

/* All calls are whole, one after another. */
static void check_calls(const struct ng_flight_view *view)
{
	for (size_t i = 0; i < view->count; i++) {
		const struct ng_flight_call *call = &view->calls[i];
		const uint64_t number = view->overwritten + i;

		assert_int_equal(call->time_ns, number);
		assert_int_equal(call->tid, (uint32_t)number);
		assert_int_equal(call->goroutine, 2 * number);
		assert_int_equal(call->window, (uint32_t)number / 10);
		assert_int_equal(call->stretch, 1);
		assert_true(call->weight == (double)number / 2);
	}
}

/* Each call's stack is told. */
static void check_stacks(const struct ng_flight_view *view)
{
	for (size_t i = 0; i < view->count; i++) {
		const struct ng_agg_row *row = NULL;

		for (size_t k = 0; k < view->stacks.count; k++) {
			if (view->stacks.rows[k].stack == view->calls[i].stack)
				row = &view->stacks.rows[k];
		}
		assert_non_null(row);
		assert_int_equal(row->function, 3);
		assert_int_equal(row->depth, 2);
		assert_int_equal(row->frames[0], view->process.tgid);
		assert_int_equal(row->frames[1], view->calls[i].time_ns % 5);
	}
}

static void the_newest_stay(void **state)
{
	struct ng_flight_view view;
	struct ng_flight *flight;

	(void)state;
	assert_int_equal(ng_flight_new(&options, &flight), 0);
	assert_int_equal(look(flight, 1, &view), -ENOENT);
	for (uint64_t i = 0; i < ROOM / 2; i++)
		put(flight, 1, i);
	assert_int_equal(look(flight, 1, &view), 0);
	assert_int_equal(view.count, ROOM / 2);
	assert_int_equal(view.overwritten, 0);
	check_calls(&view);
	check_stacks(&view);
	ng_flight_view_release(&view);
	for (uint64_t i = ROOM / 2; i < 10 * ROOM + 3; i++)
		put(flight, 1, i);
	assert_int_equal(look(flight, 1, &view), 0);
	/* One less than there is room for: it may be overwritten at any time. */
	assert_int_equal(view.count, ROOM - 1);
	assert_int_equal(view.overwritten + view.count, 10 * ROOM + 3);
	check_calls(&view);
	check_stacks(&view);
	ng_flight_view_release(&view);
	ng_flight_last_call(flight);
	ng_flight_free(flight);
}

static void processes_are_told_apart(void **state)
{
	struct ng_flight_view view;
	struct ng_flight *flight;
	const uint32_t second = 2;

	(void)state;
	assert_int_equal(ng_flight_new(&options, &flight), 0);
	for (uint64_t i = 0; i < 10; i++) {
		put(flight, 1, i);
		put(flight, 2, i);
		put(flight, 3, i); /* there is room for two */
	}
	assert_int_equal(look(flight, 3, &view), 0);
	assert_true(view.has_no_room);
	assert_int_equal(view.count, 0);
	assert_int_equal(view.overwritten, 10);
	assert_int_equal(view.stacks.count, 5); /* its callers are known */
	ng_flight_view_release(&view);
	ng_flight_tidy(flight, has_tgid, &second);
	assert_int_equal(look(flight, 1, &view), -ENOENT);
	assert_int_equal(look(flight, 3, &view), -ENOENT);
	put(flight, 3, 0); /* now there is */
	assert_int_equal(look(flight, 3, &view), 0);
	assert_int_equal(view.count, 1);
	ng_flight_view_release(&view);
	assert_int_equal(look(flight, 2, &view), 0);
	assert_int_equal(view.count, 10);
	check_calls(&view);
	check_stacks(&view);
	ng_flight_view_release(&view);
	assert_int_equal(ng_flight_lost(flight), 0);
	ng_flight_last_call(flight);
	ng_flight_free(flight);
}

static void *put_all(void *flight)
{
	for (uint64_t i = 0; i < THREADS; i++)
		put(flight, 1, i);
	ng_flight_last_call(flight);
	return NULL;
}

static void whoever_looks_sees_whole_calls(void **state)
{
	struct ng_flight_view view;
	struct ng_flight *flight;
	pthread_t thread;
	uint64_t seen = 0;
	bool is_over = false;

	(void)state;
	assert_int_equal(ng_flight_new(&options, &flight), 0);
	assert_int_equal(pthread_create(&thread, NULL, put_all, flight), 0);
	while (!is_over) {
		if (look(flight, 1, &view))
			continue;
		check_calls(&view);
		assert_true(view.count < ROOM);
		assert_true(view.overwritten + view.count >= seen);
		seen = view.overwritten + view.count;
		is_over = seen == THREADS;
		if (is_over)
			assert_int_equal(view.count, ROOM - 1);
		ng_flight_view_release(&view);
		ng_flight_turn(flight, seen);
	}
	pthread_join(thread, NULL);
	ng_flight_free(flight);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_newest_stay),
		cmocka_unit_test(processes_are_told_apart),
		cmocka_unit_test(whoever_looks_sees_whole_calls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
