/* A gate that is set while it is hit: bursts stay exact, and leases end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>

#include "bpf/gate.bpf.h"
#include "control/engine/gate_set.h"

#define ROUNDS 20000
#define EVENTS 5
#define NOW_NS 1000000ull

/* A CPU that hits the gate on and on. */
struct hitter {
	struct ng_gate *gate;
	uint64_t now_ns;
	uint32_t stop;
	uint64_t decisions;
	uint64_t delivered;
	uint64_t tripped;
	pthread_t thread;
};

static void *hit(void *argument)
{
	struct hitter *hitter = argument;
	struct ng_gate_share share = {0};

	while (!__atomic_load_n(&hitter->stop, __ATOMIC_RELAXED)) {
		const uint64_t now_ns = __atomic_load_n(&hitter->now_ns, __ATOMIC_RELAXED);
		const __u32 verdict = ng_gate_decide(hitter->gate, &share, now_ns, 0);

		hitter->delivered += !!(verdict & NG_VERDICT_DELIVER);
		hitter->tripped += !!(verdict & NG_VERDICT_TRIP);
		__atomic_fetch_add(&hitter->decisions, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

static void start(struct hitter *hitter, struct ng_gate *gate)
{
	*hitter = (struct hitter){.gate = gate, .now_ns = NOW_NS};
	assert_int_equal(pthread_create(&hitter->thread, NULL, hit, hitter), 0);
}

static void stop(struct hitter *hitter)
{
	__atomic_store_n(&hitter->stop, 1, __ATOMIC_RELAXED);
	assert_int_equal(pthread_join(hitter->thread, NULL), 0);
}

/* Waits until a hit has seen all that was stored before. */
static void let_pass(const struct hitter *hitter)
{
	uint64_t from;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	from = __atomic_load_n(&hitter->decisions, __ATOMIC_ACQUIRE);
	while (__atomic_load_n(&hitter->decisions, __ATOMIC_ACQUIRE) < from + 2)
		(void)sched_yield();
}

static void bursts_take_as_many_as_they_may(void **state)
{
	static const enum ng_mode befores[] = {NG_MODE_OFF, NG_MODE_SAMPLED};

	(void)state;
	for (size_t i = 0; i < sizeof(befores) / sizeof(befores[0]); i++) {
		const struct ng_gate_setting before = {.mode = befores[i]};
		const struct ng_gate_setting burst = {
			.mode = NG_MODE_BURST, .lease_until_ns = NOW_NS + 1, .events = EVENTS};
		struct ng_gate gate = {.probability = UINT32_MAX};
		struct hitter hitter;

		start(&hitter, &gate);
		for (int round = 0; round < ROUNDS; round++) {
			ng_gate_set(&gate, &burst);
			while (__atomic_load_n(&gate.burst_left, __ATOMIC_RELAXED) > 0)
				(void)sched_yield();
			ng_gate_set(&gate, &before);
		}
		stop(&hitter);
		assert_int_equal(hitter.delivered, ROUNDS * EVENTS);
		assert_int_equal(hitter.tripped, ROUNDS);
	}
}

/* A lease that is over delivers nothing more, also while it is being taken away. */
static void what_was_leased_is_over(void **state)
{
	const struct ng_gate_setting leased = {.mode = NG_MODE_FULL, .lease_until_ns = NOW_NS + 1};
	const struct ng_gate_setting off = {.mode = NG_MODE_OFF};
	struct ng_gate gate = {.probability = UINT32_MAX};
	struct hitter hitter;

	(void)state;
	start(&hitter, &gate);
	for (int round = 0; round < ROUNDS; round++) {
		uint64_t delivered;

		ng_gate_set(&gate, &leased);
		let_pass(&hitter);
		__atomic_store_n(&hitter.now_ns, leased.lease_until_ns, __ATOMIC_RELAXED);
		let_pass(&hitter);
		delivered = __atomic_load_n(&hitter.delivered, __ATOMIC_RELAXED);
		ng_gate_set(&gate, &off);
		let_pass(&hitter);
		assert_int_equal(__atomic_load_n(&hitter.delivered, __ATOMIC_RELAXED), delivered);
		__atomic_store_n(&hitter.now_ns, NOW_NS, __ATOMIC_RELAXED);
	}
	stop(&hitter);
	assert_true(hitter.delivered >= ROUNDS);
}

static void a_count_goes_on_through_full(void **state)
{
	const struct ng_gate_setting count = {.mode = NG_MODE_COUNT};
	const struct ng_gate_setting full = {.mode = NG_MODE_FULL, .lease_until_ns = NOW_NS + 1};
	struct ng_gate gate = {.probability = UINT32_MAX};

	(void)state;
	ng_gate_set(&gate, &count);
	for (int round = 0; round < 10; round++) {
		struct ng_gate_share share = {0};

		ng_gate_set(&gate, round % 2 ? &count : &full);
		assert_int_equal(ng_gate_decide(&gate, &share, NOW_NS, 0), NG_VERDICT_DELIVER);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bursts_take_as_many_as_they_may),
		cmocka_unit_test(what_was_leased_is_over),
		cmocka_unit_test(a_count_goes_on_through_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
