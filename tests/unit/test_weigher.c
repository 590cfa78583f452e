/* A call's weight: its own, that of its window, or none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/plane/weigher.h"
#include "core/base/clock.h"

struct sums {
	unsigned int calls;
	double weight;
	uint64_t frames;
};

static void add(const struct ng_call *call, double weight, void *context)
{
	struct sums *sums = context;

	sums->calls++;
	sums->weight += weight;
	for (size_t i = 0; i < call->depth; i++)
		sums->frames += call->frames[i];
}

static void hit(struct ng_weigher *weigher, uint32_t window, uint32_t tid)
{
	const uint64_t frames[] = {100, 20, 3};

	ng_weigher_call(weigher,
		&(struct ng_call){.window = window, .tid = tid, .frames = frames, .depth = 3});
}

static void counted_calls_stand_for_themselves(void **state)
{
	struct sums sums = {0};
	struct ng_weigher *weigher = ng_weigher_new(add, &sums);

	(void)state;
	hit(weigher, 0, 1);
	hit(weigher, 0, 2);
	assert_int_equal(sums.calls, 2);
	assert_true(sums.weight == 2);
	assert_int_equal(sums.frames, 246);
	ng_weigher_free(weigher);
}

static void calls_of_a_window_wait_for_their_weight(void **state)
{
	const struct ng_weight first[] = {{.tid = 1, .calls = 10}, {.tid = 2, .calls = 0.5}};
	const struct ng_weight second[] = {{.tid = 1, .calls = 1000}};
	struct sums sums = {0};
	struct ng_weigher *weigher = ng_weigher_new(add, &sums);
	const uint64_t now_ns = ng_clock_ns();

	(void)state;
	hit(weigher, 7, 1);
	hit(weigher, 8, 1);
	hit(weigher, 7, 2);
	assert_int_equal(sums.calls, 0);
	ng_weigher_window(weigher, 7, first, 2);
	ng_weigher_turn(weigher, now_ns, false);
	assert_int_equal(sums.calls, 2);
	assert_true(sums.weight == 10.5);
	hit(weigher, 7, 1); /* read after its window was told of */
	assert_true(sums.weight == 20.5);
	ng_weigher_window(weigher, 8, second, 1);
	ng_weigher_turn(weigher, now_ns, false);
	assert_true(sums.weight == 1020.5);
	assert_int_equal(sums.frames, 4 * 123);
	assert_int_equal(ng_weigher_losses(weigher).unweighed, 0);
	ng_weigher_free(weigher);
}

static void what_has_no_weight_is_lost_and_counted(void **state)
{
	const struct ng_weight weights[] = {{.tid = 1, .calls = 10}};
	struct sums sums = {0};
	struct ng_weigher *weigher = ng_weigher_new(add, &sums);

	(void)state;
	hit(weigher, 1, 1);
	hit(weigher, 1, 9); /* a thread that its window has not seen */
	ng_weigher_window(weigher, 1, weights, 1);
	hit(weigher, 2, 1); /* a window that shows nothing */
	ng_weigher_window(weigher, 2, NULL, 0);
	hit(weigher, 3, 1); /* a window that is never told of */
	ng_weigher_turn(weigher, ng_clock_ns(), false);
	assert_int_equal(ng_weigher_losses(weigher).unweighed, 2);
	ng_weigher_turn(weigher, ng_clock_ns() + 3 * NG_NS_PER_S, false);
	assert_int_equal(ng_weigher_losses(weigher).unweighed, 3);
	hit(weigher, 4, 1);
	ng_weigher_turn(weigher, ng_clock_ns(), true);
	assert_int_equal(ng_weigher_losses(weigher).unweighed, 4);
	assert_int_equal(sums.calls, 1);
	ng_weigher_free(weigher);
}

static void no_more_wait_than_there_is_room_for(void **state)
{
	const struct ng_weight weights[] = {{.tid = 1, .calls = 1}};
	struct sums sums = {0};
	struct ng_weigher *weigher = ng_weigher_new(add, &sums);
	uint64_t hits = 0;

	(void)state;
	while (!ng_weigher_losses(weigher).full) {
		hit(weigher, 1, 1);
		hits++;
		assert_true(hits <= NG_WEIGHER_BYTES_MAX / (3 * sizeof(uint64_t)));
	}
	ng_weigher_window(weigher, 1, weights, 1);
	ng_weigher_turn(weigher, ng_clock_ns(), false);
	assert_int_equal(sums.calls, hits - 1);
	hit(weigher, 2, 1); /* there is room again */
	assert_int_equal(ng_weigher_losses(weigher).full, 1);
	ng_weigher_free(weigher);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counted_calls_stand_for_themselves),
		cmocka_unit_test(calls_of_a_window_wait_for_their_weight),
		cmocka_unit_test(what_has_no_weight_is_lost_and_counted),
		cmocka_unit_test(no_more_wait_than_there_is_room_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
