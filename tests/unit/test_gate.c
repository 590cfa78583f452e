/* The gate's decision: all modes, and every edge of leases, tokens and bursts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bpf/gate.bpf.h"

#define NOW_NS 1000000ull

static struct ng_gate gate_of(enum ng_mode mode)
{
	return (struct ng_gate){.mode = mode, .probability = UINT32_MAX};
}

/* On a CPU that holds no tokens. */
static __u32 decide_at(struct ng_gate *gate, __u64 now_ns, __u32 random)
{
	struct ng_gate_share none = {0};

	return ng_gate_decide(gate, &none, now_ns, random);
}

static __u32 decide(struct ng_gate *gate)
{
	return decide_at(gate, NOW_NS, 12345);
}

static void modes_deliver_what_they_say(void **state)
{
	struct ng_gate off = gate_of(NG_MODE_OFF), count = gate_of(NG_MODE_COUNT);
	struct ng_gate sampled = gate_of(NG_MODE_SAMPLED), burst = gate_of(NG_MODE_BURST);
	struct ng_gate full = gate_of(NG_MODE_FULL), unknown = gate_of(NG_MODES);

	(void)state;
	assert_int_equal(decide(&off), 0);
	assert_int_equal(decide(&count), NG_VERDICT_DELIVER);
	assert_int_equal(decide(&sampled), 0); /* no window is open */
	assert_int_equal(decide(&burst), NG_VERDICT_DELIVER);
	assert_int_equal(decide(&full), NG_VERDICT_DELIVER);
	assert_int_equal(decide(&unknown), 0);
}

static void open_window(struct ng_gate *gate)
{
	gate->window_open = 1;
	gate->window_until_ns = NOW_NS + 1;
}

static void a_window_ends_in_time(void **state)
{
	struct ng_gate gate = gate_of(NG_MODE_SAMPLED);
	struct ng_gate_share share = {0};

	(void)state;
	open_window(&gate);
	gate.tokens = 3 * NG_GATE_SHARE;
	assert_int_equal(
		ng_gate_decide(&gate, &share, NOW_NS, 0), (uint64_t)1 << 32 | NG_VERDICT_DELIVER);
	assert_int_equal(ng_gate_decide(&gate, &share, NOW_NS + 1, 0), 0);
	assert_int_equal(ng_gate_decide(&gate, &share, NOW_NS + 2, 0), 0);
	assert_int_equal(gate.tokens, 2 * NG_GATE_SHARE);
	assert_int_equal(share.left, NG_GATE_SHARE - 1); /* late hits took none */
}

/* So many calls does a window take of two CPUs that are hit in turns, and trips with the last. */
static void a_window_takes_its_tokens_and_trips_once(void **state)
{
	struct ng_gate gate = gate_of(NG_MODE_SAMPLED);
	struct ng_gate_share shares[2] = {{0}};
	const int wanted = 100, tokens = wanted + 2 * NG_GATE_SHARE;
	int delivered = 0;
	__u32 verdict;

	(void)state;
	gate.tokens = tokens;
	assert_int_equal(decide(&gate), 0);
	assert_int_equal(gate.tokens, tokens); /* closed: nothing was taken */
	open_window(&gate);
	do {
		verdict = ng_gate_decide(&gate, &shares[delivered % 2], NOW_NS, 0);
		assert_true(verdict & NG_VERDICT_DELIVER);
		delivered++;
	} while (!(verdict & NG_VERDICT_TRIP));
	assert_true(delivered >= wanted && delivered <= tokens);
	assert_true(gate.tokens <= 0);
	for (int i = 0; i < 2 * NG_GATE_SHARE; i++)
		assert_false(ng_gate_decide(&gate, &shares[i % 2], NOW_NS, 0) & NG_VERDICT_TRIP);
	assert_int_equal(ng_gate_decide(&gate, &shares[0], NOW_NS, 0), 0);
	assert_int_equal(ng_gate_decide(&gate, &shares[1], NOW_NS, 0), 0);
}

/* What a CPU kept of an earlier window is of no use in the next one. */
static void a_share_is_of_one_window(void **state)
{
	struct ng_gate gate = gate_of(NG_MODE_SAMPLED);
	struct ng_gate_share share = {.window = 1, .left = 5};

	(void)state;
	open_window(&gate);
	gate.window_open = 2;
	assert_int_equal(ng_gate_decide(&gate, &share, NOW_NS, 0), 0); /* there are no tokens */
	gate.tokens = 2 * NG_GATE_SHARE;
	assert_int_equal(
		ng_gate_decide(&gate, &share, NOW_NS, 0), (uint64_t)2 << 32 | NG_VERDICT_DELIVER);
	assert_int_equal(share.window, 2);
	assert_int_equal(share.left, NG_GATE_SHARE - 1);
}

static void a_window_without_tokens_delivers_nothing(void **state)
{
	struct ng_gate gate = gate_of(NG_MODE_SAMPLED);

	(void)state;
	open_window(&gate);
	assert_int_equal(decide(&gate), 0);
	gate.tokens = -5;
	assert_int_equal(decide(&gate), 0);
}

static void probability_is_of_32_bits(void **state)
{
	struct ng_gate gate = gate_of(NG_MODE_SAMPLED);

	(void)state;
	open_window(&gate);
	gate.tokens = 100;
	gate.probability = 1000;
	assert_int_equal(decide_at(&gate, NOW_NS, 1000), NG_VERDICT_DELIVER);
	assert_int_equal(decide_at(&gate, NOW_NS, 1001), 0);
	assert_int_equal(
		gate.tokens, 100 - NG_GATE_SHARE); /* one that was sampled out takes no token */
	gate.probability = UINT32_MAX;
	assert_int_equal(decide_at(&gate, NOW_NS, UINT32_MAX), NG_VERDICT_DELIVER);
}

static void a_burst_ends_with_its_last_event(void **state)
{
	struct ng_gate gate = gate_of(NG_MODE_BURST);

	(void)state;
	gate.burst_limited = 1;
	gate.burst_left = 2;
	assert_int_equal(decide(&gate), NG_VERDICT_DELIVER);
	assert_int_equal(decide(&gate), NG_VERDICT_DELIVER | NG_VERDICT_TRIP);
	assert_int_equal(decide(&gate), 0);
	gate.burst_limited = 0; /* by time alone */
	assert_int_equal(decide(&gate), NG_VERDICT_DELIVER);
}

static void a_limited_count_trips_but_goes_on_counting(void **state)
{
	struct ng_gate gate = gate_of(NG_MODE_COUNT);

	(void)state;
	gate.count_limited = 1;
	gate.tokens = 2;
	assert_int_equal(decide(&gate), NG_VERDICT_DELIVER);
	assert_int_equal(decide(&gate), NG_VERDICT_DELIVER | NG_VERDICT_TRIP);
	assert_int_equal(decide(&gate), NG_VERDICT_DELIVER);
	assert_int_equal(decide(&gate), NG_VERDICT_DELIVER);
}

static void a_lease_ends_at_its_deadline(void **state)
{
	struct ng_gate gate = gate_of(NG_MODE_FULL);

	(void)state;
	gate.fallback = NG_MODE_OFF;
	gate.lease_until_ns = NOW_NS;
	assert_int_equal(decide_at(&gate, NOW_NS - 1, 0), NG_VERDICT_DELIVER);
	assert_int_equal(decide_at(&gate, NOW_NS, 0), 0);
	gate.fallback = NG_MODE_COUNT;
	assert_int_equal(decide_at(&gate, NOW_NS, 0), NG_VERDICT_DELIVER);
	gate.lease_until_ns = 0; /* no end */
	gate.fallback = NG_MODE_OFF;
	assert_int_equal(decide_at(&gate, UINT64_MAX, 0), NG_VERDICT_DELIVER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(modes_deliver_what_they_say),
		cmocka_unit_test(a_window_ends_in_time),
		cmocka_unit_test(a_window_takes_its_tokens_and_trips_once),
		cmocka_unit_test(a_share_is_of_one_window),
		cmocka_unit_test(a_window_without_tokens_delivers_nothing),
		cmocka_unit_test(probability_is_of_32_bits),
		cmocka_unit_test(a_burst_ends_with_its_last_event),
		cmocka_unit_test(a_limited_count_trips_but_goes_on_counting),
		cmocka_unit_test(a_lease_ends_at_its_deadline),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
