/*
 * What a hit costs in a process: how far its leads are believed, beside what the gauge says.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/plane/member_inside.h"

#define LEAD_NS 500

static const struct ng_calibration calibration = {.lead_ns = LEAD_NS};

/* Takes in so many windows, each with 100 pairs of so many ns, more or less by a part of that. */
static void learn(struct ng_member *member, struct ng_gate_tally *tally, size_t windows,
	double pair_ns, double spread)
{
	for (size_t i = 0; i < windows; i++) {
		tally->pairs += 100;
		tally->lead_hits += 100;
		tally->pairs_ns += (uint64_t)(100 * pair_ns * (i % 2 ? 1 + spread : 1 - spread));
		ng_member_learn_cost(member, tally);
	}
}

static struct member_cost learnt(double gauged_scale, size_t windows, double pair_ns)
{
	const struct ng_cost_now gauged = {.scale = gauged_scale, .error_ratio = 0.05};
	struct ng_member member = {.context = {.calibration = &calibration, .cost = &gauged}};
	struct ng_gate_tally tally = {0};

	ng_member_renew_cost(&member);
	learn(&member, &tally, windows, pair_ns, 0.02);
	return member.cost;
}

static void without_leads_the_gauge_holds(void **state)
{
	const struct member_cost cost = learnt(1.1, 0, 0);

	(void)state;
	assert_true(cost.scale == 1.1);
	assert_true(cost.error_ratio == 0.05);
}

static void two_windows_say_nothing_yet(void **state)
{
	const struct member_cost cost = learnt(1.1, 2, 1.2 * LEAD_NS);

	(void)state;
	assert_true(cost.scale == 1.1);
}

static void leads_know_a_process_better(void **state)
{
	const struct member_cost cost = learnt(1, 20, 1.1 * LEAD_NS);

	(void)state;
	assert_true(cost.scale > 1.09 && cost.scale < 1.1);
	assert_true(cost.error_ratio < 0.02);
}

static void leads_that_say_something_else_are_not_believed(void **state)
{
	const struct member_cost dear = learnt(1, 20, 1.6 * LEAD_NS),
				 cheap = learnt(1.05, 20, 0.6 * LEAD_NS);

	(void)state;
	assert_true(dear.scale > 1 && dear.scale < 1.05);
	assert_true(dear.error_ratio > 0.04 && dear.error_ratio <= 0.05);
	assert_true(cheap.scale < 1.05 && cheap.scale > 1);
}

static void a_pair_that_was_interrupted_does_not_count(void **state)
{
	const struct ng_cost_now gauged = {.scale = 1, .error_ratio = 0.05};
	struct ng_member member = {.context = {.calibration = &calibration, .cost = &gauged}};
	struct ng_gate_tally tally = {0};
	double before;

	(void)state;
	ng_member_renew_cost(&member);
	learn(&member, &tally, 20, LEAD_NS, 0.02);
	before = member.cost.scale;
	tally.pairs++;
	tally.pairs_ns += 20000000;
	ng_member_learn_cost(&member, &tally);
	assert_true(member.cost.scale == before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_leads_the_gauge_holds),
		cmocka_unit_test(two_windows_say_nothing_yet),
		cmocka_unit_test(leads_know_a_process_better),
		cmocka_unit_test(leads_that_say_something_else_are_not_believed),
		cmocka_unit_test(a_pair_that_was_interrupted_does_not_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
