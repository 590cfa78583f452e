/*
 * The governor against a target that is simulated: what it really loses must stay within the
 * budget, whatever its rate does, and every decision must be told.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "control/plane/governor.h"
#include "control/plane/strata.h"
#include "core/base/clock.h"

/** A target with threads that are always on a CPU. */
struct target {
	double rate_hz; /* untraced, of all threads */
	double cpus;
	struct ng_governor_costs costs; /* the real ones */
	struct ng_governor governor;
	double now_s;
	double lost_s; /* in all */
	size_t windows;
	double steady_s; /* for how long it was armed steadily */
	struct ng_strata strata;
	double period_s;   /* it sleeps every other one; 0: never */
	double shown_s;	   /* what windows stand for in all … */
	double shown_on_s; /* … and those that found it on a CPU */
};

static struct target target_of(double rate_hz, double cpus, const struct ng_settings *settings)
{
	struct target target = {
		.rate_hz = rate_hz, .cpus = cpus, .costs = {.hit_ns = 800, .edge_ns = 80e3}};

	ng_governor_init(&target.governor, &target.costs);
	ng_governor_ask(&target.governor, settings, 0);
	return target;
}

static uint64_t ns(double seconds)
{
	return (uint64_t)(seconds * NG_NS_PER_S);
}

static bool is_on(const struct target *target, double at_s)
{
	return target->period_s <= 0 || fmod(at_s / target->period_s, 2) < 1;
}

static double cpu_s(const struct target *target, double from_s, double to_s)
{
	const double step_s = (to_s - from_s) / 10;
	double on_s = 0;

	for (int i = 0; i < 10; i++)
		on_s += is_on(target, from_s + (i + 0.5) * step_s) ? step_s : 0;
	return on_s * target->cpus;
}

/* Hits in so many armed seconds: each holds its thread up. */
static double hits_in(const struct target *target, double armed_s)
{
	const double per_thread = target->rate_hz / fmax(target->cpus, 1);

	return armed_s * target->rate_hz / (1 + per_thread * target->costs.hit_ns / 1e9);
}

static void run_window(struct target *target)
{
	const struct ng_plan *plan = &target->governor.plan;
	const bool on = is_on(target, (double)target->strata.due_ns / 1e9);
	double armed_s = (double)plan->window_ns / 1e9;
	double hits = on ? hits_in(target, armed_s) : 0;

	if (hits > (double)plan->tokens) {
		armed_s *= (double)plan->tokens / hits;
		hits = (double)plan->tokens;
	}
	target->lost_s +=
		((on ? target->costs.edge_ns * target->cpus : 0) + hits * target->costs.hit_ns) /
		1e9;
	target->windows++;
	target->shown_s += (double)target->strata.length_ns / 1e9;
	target->shown_on_s += on ? (double)target->strata.length_ns / 1e9 : 0;
	ng_governor_charge(&target->governor,
		&(struct ng_window_cost){.armed_ns = ns(armed_s), .hits = (uint64_t)hits});
}

/* One tick: windows in it, or a steady stretch, which may trip. */
static void run_tick(struct target *target)
{
	const double tick_s =
		(ng_governor_is_calm(&target->governor) ? NG_GOVERNOR_CALM_TICKS : 1) *
		(double)NG_GOVERNOR_TICK_NS / 1e9;
	const double end_s = target->now_s + tick_s;
	double steady_hits = 0;

	if (target->governor.plan.arming == NG_ARMING_STEADY) {
		const double tokens = (double)target->governor.plan.tokens;

		steady_hits = hits_in(target, tick_s);
		if (steady_hits > tokens) {
			steady_hits = tokens;
			ng_governor_pay(&target->governor, (uint64_t)steady_hits);
			ng_governor_trip(
				&target->governor, ns(target->now_s), (uint64_t)steady_hits);
		} else {
			target->steady_s += tick_s;
			ng_governor_pay(&target->governor, (uint64_t)steady_hits);
		}
		target->lost_s += steady_hits * target->costs.hit_ns / 1e9;
	}
	if (target->governor.plan.arming != NG_ARMING_WINDOWS)
		target->strata = (struct ng_strata){.random = target->strata.random};
	else if (!target->strata.end_ns)
		ng_strata_begin(&target->strata, &target->governor, ns(target->now_s));
	while (target->strata.end_ns && target->strata.due_ns < ns(end_s)) {
		if (target->strata.has_window)
			run_window(target);
		ng_strata_next(&target->strata, &target->governor, target->strata.due_ns);
	}
	ng_governor_tick(
		&target->governor, &(struct ng_tick){.now_ns = ns(end_s),
					   .elapsed_ns = ns(tick_s),
					   .cpu_ns = ns(cpu_s(target, target->now_s, end_s)),
					   .rate_hz = target->rate_hz,
					   .rate_high_hz = target->rate_hz * 1.1});
	target->now_s = end_s;
}

static void run_for(struct target *target, double seconds)
{
	const double end_s = target->now_s + seconds;

	while (target->now_s < end_s - 1e-6)
		run_tick(target);
}

static const struct ng_settings sampled = {.mode = NG_MODE_SAMPLED, .budget_ratio = 0.01};

static void the_budget_holds_at_any_rate(void **state)
{
	static const double rates[] = {0, 1e3, 1e4, 1e5, 1e6, 16e6},
			    budgets[] = {0.002, 0.01, 0.05};

	(void)state;
	for (size_t b = 0; b < 3; b++) {
		for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
			const struct ng_settings settings = {
				.mode = NG_MODE_SAMPLED, .budget_ratio = budgets[b]};
			struct target target = target_of(rates[i], 1, &settings);
			double share;

			run_for(&target, 2);
			target.lost_s = 0;
			run_for(&target, 20);
			share = target.lost_s / 20;
			if (share > budgets[b])
				fail_msg("%g calls/s: lost %g of a budget of %g", rates[i], share,
					budgets[b]);
			/* It is there to be used: where it cannot be used up, all calls count. */
			if (share < 0.5 * budgets[b] && target.steady_s < 19)
				fail_msg("%g calls/s: only %g of a budget of %g is used", rates[i],
					share, budgets[b]);
		}
	}
}

static void what_it_says_is_what_it_takes(void **state)
{
	struct target target = target_of(1e6, 2, &sampled);
	double told;

	(void)state;
	run_for(&target, 10);
	told = ng_governor_share(&target.governor, NG_TICKS_MINUTE);
	if (fabs(told - target.lost_s / 10 / 2) > 0.1 * told)
		fail_msg("told %g, lost %g", told, target.lost_s / 10 / 2);
	assert_true(target.windows > 50);
}

static void a_slow_caller_is_counted_all_the_time(void **state)
{
	struct target target = target_of(1e3, 1, &sampled);

	(void)state;
	run_for(&target, 5);
	assert_int_equal(target.governor.plan.arming, NG_ARMING_STEADY);
	assert_true(target.steady_s > 4);
}

static void a_step_up_is_caught_at_once_and_told(void **state)
{
	struct target target = target_of(1e3, 1, &sampled);
	double before_s;
	const struct ng_decision *decision;

	(void)state;
	run_for(&target, 5);
	before_s = target.lost_s;
	target.rate_hz = 16e6;
	run_for(&target, 0.3);
	assert_int_equal(target.governor.plan.arming, NG_ARMING_WINDOWS);
	/* A quarter of a second's budget may have been saved up. */
	assert_true(target.lost_s - before_s < 0.01 * (0.3 + 0.25));
	decision = &target.governor
			    .decisions[(target.governor.decision_count - 1) % NG_DECISIONS_KEPT];
	assert_int_equal(decision->to, NG_ARMING_WINDOWS);
	assert_true(strlen(decision->reason) > 0);
}

static void it_comes_back_but_not_at_once(void **state)
{
	struct target target = target_of(1e3, 1, &sampled);
	size_t decisions;

	(void)state;
	run_for(&target, 3);
	target.rate_hz = 16e6;
	run_for(&target, 0.5);
	target.rate_hz = 1e3;
	run_for(&target, 0.3);
	assert_int_equal(target.governor.plan.arming, NG_ARMING_WINDOWS);
	run_for(&target, 5);
	assert_int_equal(target.governor.plan.arming, NG_ARMING_STEADY);
	/* One that goes up and down all the time makes it ever more careful. */
	decisions = target.governor.decision_count;
	for (int i = 0; i < 120; i++) {
		target.rate_hz = i % 2 ? 16e6 : 1e3;
		run_for(&target, 0.5);
	}
	assert_true(target.governor.decision_count - decisions < 16);
}

static void full_is_full_whatever_it_costs(void **state)
{
	const struct ng_settings full = {.mode = NG_MODE_FULL, .budget_ratio = 0.01};
	struct target target = target_of(1e6, 1, &full);

	(void)state;
	run_for(&target, 2);
	assert_int_equal(target.governor.plan.arming, NG_ARMING_STEADY);
	assert_true(target.steady_s > 1.9);
	/* And it says what it takes. */
	assert_true(ng_governor_share(&target.governor, NG_TICKS_SECOND) > 0.4);
	ng_governor_ask(&target.governor, &sampled, ns(target.now_s));
	assert_int_equal(target.governor.plan.arming, NG_ARMING_WINDOWS);
}

static void counting_gives_way_to_the_budget_unless_exact(void **state)
{
	struct ng_settings count = {.mode = NG_MODE_COUNT, .budget_ratio = 0.01};
	struct target target = target_of(1e6, 1, &count);

	(void)state;
	run_for(&target, 1);
	assert_int_equal(target.governor.plan.arming, NG_ARMING_WINDOWS);
	count.exact = true;
	target = target_of(1e6, 1, &count);
	run_for(&target, 1);
	assert_int_equal(target.governor.plan.arming, NG_ARMING_STEADY);
}

static void what_is_off_saves_nothing_up(void **state)
{
	static const struct ng_settings off = {.mode = NG_MODE_OFF, .budget_ratio = 0.01};
	struct target target = target_of(1e6, 1, &sampled);
	double on_s = 0;

	(void)state;
	run_for(&target, 2);
	target.lost_s = 0;
	for (int i = 0; i < 50; i++) {
		ng_governor_ask(&target.governor, &off, ns(target.now_s));
		run_for(&target, 0.3);
		ng_governor_ask(&target.governor, &sampled, ns(target.now_s));
		run_for(&target, 0.3);
		on_s += 0.3;
	}
	if (target.lost_s > 0.01 * on_s || target.lost_s < 0.005 * on_s)
		fail_msg("%g of the time that it was on was lost", target.lost_s / on_s);
}

/* Its windows show it at work as often as it is, though those are the dear ones. */
static void who_sleeps_in_turns_is_not_seen_asleep_more_often(void **state)
{
	static const double periods_s[] = {0.03, 0.1, 0.17, 0.7, 3};

	(void)state;
	for (size_t i = 0; i < sizeof(periods_s) / sizeof(periods_s[0]); i++) {
		struct target target = target_of(1e5, 1, &sampled);
		double on;

		target.costs.hit_ns = target.governor.costs.hit_ns = 5500;
		target.period_s = periods_s[i];
		run_for(&target, 5000);
		on = target.shown_on_s / target.shown_s;
		print_message("a period of %g s: %zu windows, on in %.4f of what they stand for\n",
			periods_s[i], target.windows, on);
		/* Four standard errors of as many fair coins. */
		if (fabs(on - 0.5) > 2 / sqrt((double)target.windows))
			fail_msg("seen at work in %g of the time, not in a half", on);
		if (target.lost_s > 0.01 * 2500)
			fail_msg("lost %g of its CPU time", target.lost_s / 2500);
	}
}

static void off_is_not_armed(void **state)
{
	const struct ng_settings off = {.mode = NG_MODE_OFF, .budget_ratio = 0.01};
	struct target target = target_of(1e6, 1, &off);

	(void)state;
	run_for(&target, 2);
	assert_int_equal(target.governor.plan.arming, NG_ARMING_NONE);
	assert_int_equal(target.windows, 0);
	assert_true(target.lost_s == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_budget_holds_at_any_rate),
		cmocka_unit_test(what_it_says_is_what_it_takes),
		cmocka_unit_test(a_slow_caller_is_counted_all_the_time),
		cmocka_unit_test(a_step_up_is_caught_at_once_and_told),
		cmocka_unit_test(it_comes_back_but_not_at_once),
		cmocka_unit_test(full_is_full_whatever_it_costs),
		cmocka_unit_test(counting_gives_way_to_the_budget_unless_exact),
		cmocka_unit_test(what_is_off_saves_nothing_up),
		cmocka_unit_test(who_sleeps_in_turns_is_not_seen_asleep_more_often),
		cmocka_unit_test(off_is_not_armed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
