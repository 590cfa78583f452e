/* Calls that go from one thread to another: each of them, in their order, or counted as lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdbool.h>

#include "control/plane/spool.h"

#define CALLS 200000u

struct seen {
	uint64_t calls;
	uint64_t latest; /* its time */
	bool is_wrong;
};

static void look(const struct ng_call *call, void *context)
{
	struct seen *seen = context;

	seen->calls++;
	seen->is_wrong |= call->time_ns <= seen->latest || call->depth != call->time_ns % 5;
	for (size_t i = 0; i < call->depth; i++)
		seen->is_wrong |= call->frames[i] != call->time_ns + i;
	seen->latest = call->time_ns;
}

static void put(struct ng_spool *spool, uint64_t time_ns)
{
	uint64_t frames[5];
	const struct ng_call call = {.time_ns = time_ns, .frames = frames, .depth = time_ns % 5};

	for (size_t i = 0; i < 5; i++)
		frames[i] = time_ns + i;
	ng_spool_put(&call, spool);
}

static void what_is_handed_over_arrives_once(void **state)
{
	struct ng_spool *spool = ng_spool_new(4);
	struct seen seen = {0};

	(void)state;
	put(spool, 1);
	put(spool, 2);
	ng_spool_collect(spool);
	ng_spool_drain(spool, look, &seen);
	assert_int_equal(seen.calls, 0);
	ng_spool_hand_over(false, spool);
	put(spool, 3);
	ng_spool_collect(spool);
	ng_spool_hand_over(false, spool); /* not collected yet */
	ng_spool_drain(spool, look, &seen);
	assert_int_equal(seen.calls, 2);
	ng_spool_collect(spool);
	ng_spool_drain(spool, look, &seen);
	assert_int_equal(seen.calls, 3);
	ng_spool_drain(spool, look, &seen);
	assert_int_equal(seen.calls, 3);
	assert_false(seen.is_wrong);
	assert_int_equal(ng_spool_lost(spool), 0);
	ng_spool_free(spool);
}

static void what_finds_no_room_is_counted(void **state)
{
	struct ng_spool *spool = ng_spool_new(2);
	struct seen seen = {0};

	(void)state;
	for (uint64_t i = 1; i <= CALLS; i++)
		put(spool, i);
	ng_spool_hand_over(true, spool);
	ng_spool_collect(spool);
	ng_spool_drain(spool, look, &seen);
	assert_false(seen.is_wrong);
	assert_true(seen.calls > 2 * NG_SPOOL_CHUNK_BYTES / 200);
	assert_true(ng_spool_lost(spool) > 0);
	assert_int_equal(seen.calls + ng_spool_lost(spool), CALLS);
	put(spool, CALLS + 1); /* there is room again; it is freed with the spool */
	assert_int_equal(seen.calls + ng_spool_lost(spool), CALLS);
	ng_spool_free(spool);
}

struct producer {
	struct ng_spool *spool;
	bool is_over; /* release, with the taker's acquire */
};

static void *put_all(void *context)
{
	struct producer *producer = context;

	for (uint64_t i = 1; i <= CALLS; i++) {
		put(producer->spool, i);
		if (i % 100 == 0)
			ng_spool_hand_over(false, producer->spool);
	}
	__atomic_store_n(&producer->is_over, true, __ATOMIC_RELEASE);
	return NULL;
}

static void two_threads_lose_nothing_unseen(void **state)
{
	struct producer producer = {.spool = ng_spool_new(8)};
	struct seen seen = {0};
	pthread_t thread;
	bool is_over;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, put_all, &producer), 0);
	do {
		is_over = __atomic_load_n(&producer.is_over, __ATOMIC_ACQUIRE);
		ng_spool_collect(producer.spool);
		ng_spool_drain(producer.spool, look, &seen);
	} while (!is_over);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_false(seen.is_wrong);
	assert_int_equal(seen.calls + ng_spool_lost(producer.spool), CALLS);
	ng_spool_free(producer.spool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_handed_over_arrives_once),
		cmocka_unit_test(what_finds_no_room_is_counted),
		cmocka_unit_test(two_threads_lose_nothing_unseen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
