/* core/stat/estimate: rates from windows, against a simulation that knows the truth. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "core/stat/estimate.h"
#include "core/stat/quartiles.h"
#include "tests/stat/simulate.h"

#define S  1e9
#define MS 1e6
#define US 1e3

#define RUNS	   20
#define WITHIN_MIN 18

/* A kind of program, made for a rate, all threads together. */
struct kind {
	const char *name;
	void (*make)(struct sim_process *process, double hz);
	double hz;
	double cost_ns;
	double error_max; /* in WITHIN_MIN runs; 0: it is only the interval that counts */
};

static void add_threads(struct sim_process *process, struct sim_thread thread, size_t count)
{
	for (size_t i = 0; i < count; i++)
		process->threads[process->thread_count++] = thread;
}

static struct sim_step calling(double gap_ns)
{
	return (struct sim_step){.act = SIM_RUN_FOR, .ns = 1 * S, .gap_ns = gap_ns};
}

static void steady(struct sim_process *process, double hz)
{
	process->cores = 1;
	add_threads(process, (struct sim_thread){.steps = {calling(S / hz)}}, 1);
}

static void steady_8(struct sim_process *process, double hz)
{
	process->cores = 8;
	add_threads(process, (struct sim_thread){.steps = {calling(8 * S / hz)}}, 8);
}

static void steady_8_on_2(struct sim_process *process, double hz)
{
	process->cores = 2;
	add_threads(process, (struct sim_thread){.steps = {calling(2 * S / hz)}}, 8);
}

static void random_gaps(struct sim_process *process, double hz)
{
	steady(process, hz);
	process->threads[0].steps[0].random = true;
}

static void random_8_on_2(struct sim_process *process, double hz)
{
	steady_8_on_2(process, hz);
	for (size_t i = 0; i < 8; i++)
		process->threads[i].steps[0].random = true;
}

/* Some work, some calls, and sleep until the next of 200 moments in a second. */
static void paced_threads(struct sim_process *process, double hz, size_t threads)
{
	const double calls = hz / 200 / (double)threads;
	const double gap_ns = fmin(5 * US, 3 * MS / calls);
	const struct sim_thread thread = {
		.steps = {{.act = SIM_RUN_FOR, .ns = 0.3 * MS},
			{.act = SIM_RUN_FOR, .ns = (calls + 0.5) * gap_ns, .gap_ns = gap_ns},
			{.act = SIM_SLEEP_UNTIL, .every_ns = 5 * MS}}};

	add_threads(process, thread, threads);
}

static void paced(struct sim_process *process, double hz)
{
	process->cores = 2;
	paced_threads(process, hz, 1);
}

static void paced_8(struct sim_process *process, double hz)
{
	process->cores = 8;
	paced_threads(process, hz, 8);
}

/* Bursts of 200 calls between other work; twice as dense as the mean rate at the most. */
static void bursts_of(struct sim_process *process, double hz, double calls)
{
	const double gap_ns = fmin(2 * US, S / hz / 2);
	const struct sim_thread thread = {
		.steps = {{.act = SIM_RUN_FOR, .ns = (calls + 0.5) * gap_ns, .gap_ns = gap_ns},
			{.act = SIM_RUN_FOR, .ns = calls * S / hz - (calls + 0.5) * gap_ns}}};

	process->cores = 1;
	add_threads(process, thread, 1);
}

static void bursts(struct sim_process *process, double hz)
{
	bursts_of(process, hz, 50);
}

static void rare_bursts(struct sim_process *process, double hz)
{
	bursts_of(process, hz, 2000);
}

static struct sim_step on(double hz)
{
	return (struct sim_step){
		.act = SIM_RUN_UNTIL, .every_ns = 200 * MS, .ns = 100 * MS, .gap_ns = S / hz / 2};
}

static void on_off_asleep(struct sim_process *process, double hz)
{
	const struct sim_thread thread = {
		.steps = {on(hz), {.act = SIM_SLEEP_UNTIL, .every_ns = 200 * MS}}};

	process->cores = 1;
	add_threads(process, thread, 1);
}

static void on_off_asleep_8(struct sim_process *process, double hz)
{
	const struct sim_thread thread = {
		.steps = {on(hz / 8), {.act = SIM_SLEEP_UNTIL, .every_ns = 200 * MS}}};

	process->cores = 8;
	add_threads(process, thread, 8);
}

static void on_off_busy(struct sim_process *process, double hz)
{
	const struct sim_thread thread = {
		.steps = {on(hz), {.act = SIM_RUN_UNTIL, .every_ns = 200 * MS}}};

	process->cores = 1;
	add_threads(process, thread, 1);
}

static void on_off_busy_8(struct sim_process *process, double hz)
{
	const struct sim_thread thread = {
		.steps = {on(hz / 8), {.act = SIM_RUN_UNTIL, .every_ns = 200 * MS}}};

	process->cores = 8;
	add_threads(process, thread, 8);
}

/* Two make nearly all calls, six hardly any. */
static void hot_and_cool(struct sim_process *process, double hz)
{
	process->cores = 8;
	add_threads(process, (struct sim_thread){.steps = {calling(2 * S / hz / 0.99)}}, 2);
	add_threads(process, (struct sim_thread){.steps = {calling(6 * S / hz / 0.01)}}, 6);
}

static void hot_and_cool_on_2(struct sim_process *process, double hz)
{
	process->cores = 2;
	add_threads(process, (struct sim_thread){.steps = {calling(S / hz / 1.98)}}, 2);
	add_threads(process, (struct sim_thread){.steps = {calling(3 * S / hz / 0.02)}}, 6);
}

/* Threads live for 200 ms on average, and differ by a factor of 16. */
static void coming_and_going(struct sim_process *process, double hz)
{
	const struct sim_thread passing = {
		.steps = {calling(5 * S / hz)}, .life_ns = 200 * MS, .vary = 4};

	process->cores = 4;
	add_threads(process, passing, 4);
	add_threads(process, (struct sim_thread){.steps = {calling(5 * S / hz)}}, 1);
}

struct result {
	size_t runs;
	size_t covered;
	uint64_t seed; /* no two runs are alike */
};

static void plan_windows(const struct sim_process *process, struct sim_plan *plan)
{
	struct ng_estimate *estimate = ng_estimate_new();
	struct sim_truth truth;
	struct ng_rate rate;

	assert_non_null(estimate);
	assert_int_equal(sim_run(process, plan, 1, estimate, &truth, &rate), 0);
	assert_int_equal(rate.windows, 0);
	assert_true(rate.low_hz == 0 && isinf(rate.high_hz));
	sim_plan_windows(plan, &truth, 0.01, 0.3);
	ng_estimate_free(estimate);
}

/* 10 s at a budget of 1 %, by a cost that is 3 % off unless the plan says so (standard deviation),
 * RUNS times. */
static void run_kind(const struct kind *kind, struct sim_plan plan, struct result *result)
{
	struct sim_process process = {0};
	struct ng_estimate *estimate = ng_estimate_new();
	double errors[RUNS], widths[RUNS], dead_ratio = 0;
	size_t covered = 0, within = 0;

	assert_non_null(estimate);
	plan.elapsed_ns = 10 * S;
	plan.cost_ns = kind->cost_ns;
	if (!plan.cost_error_ratio)
		plan.cost_error_ratio = 0.03;
	plan.seen_at = 0.5;
	kind->make(&process, kind->hz);
	plan_windows(&process, &plan);
	for (uint64_t i = 0; i < RUNS; i++) {
		struct sim_truth truth;
		struct ng_rate rate;

		ng_estimate_reset(estimate);
		assert_int_equal(
			sim_run(&process, &plan, ++result->seed, estimate, &truth, &rate), 0);
		assert_true(isfinite(rate.hz) && rate.low_hz >= 0);
		assert_true(rate.low_hz <= rate.hz && rate.hz <= rate.high_hz);
		errors[i] = fabs(rate.hz / truth.hz - 1);
		widths[i] = fmin((rate.high_hz - rate.low_hz) / 2 / rate.hz, 1e6);
		covered += rate.low_hz <= truth.hz && truth.hz <= rate.high_hz;
		within += errors[i] <= kind->error_max;
		dead_ratio += truth.dead_ratio / RUNS;
	}
	ng_estimate_free(estimate);
	print_message("%-18s %9.0f/s, %4.0f ns: windows %3zu x %5.2f ms, dead %4.2f %%; "
		      "error %6.2f %%, half-width %6.2f %% (medians), covered %2zu of %d\n",
		kind->name, kind->hz, kind->cost_ns, plan.windows, plan.window_ns / MS,
		dead_ratio * 100, ng_quartiles_of(errors, RUNS).median * 100,
		ng_quartiles_of(widths, RUNS).median * 100, covered, RUNS);
	if (kind->error_max > 0 && within < WITHIN_MIN)
		fail_msg("%s, %.0f/s: within %g in %zu of %d runs", kind->name, kind->hz,
			kind->error_max, within, RUNS);
	if (covered < 0.85 * RUNS)
		fail_msg("%s, %.0f/s: covered in %zu of %d runs", kind->name, kind->hz, covered,
			RUNS);
	result->runs += RUNS;
	result->covered += covered;
}

static void run_kinds(const struct kind *kinds, size_t count, const struct sim_plan *plan)
{
	struct result result = {0};

	for (size_t i = 0; i < count; i++)
		run_kind(&kinds[i], *plan, &result);
	print_message("covered %zu of %zu\n", result.covered, result.runs);
	assert_true((double)result.covered >= 0.9 * (double)result.runs);
}

#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define KIND(make, hz, cost_ns, error_max)                                                         \
	{                                                                                          \
#make, make, hz, cost_ns, error_max                                                \
	}
#define RATES(make)                                                                                \
	KIND(make, 10e3, 800, 0.05), KIND(make, 100e3, 800, 0.05), KIND(make, 1e6, 800, 0.1)

static void rates_are_right_and_so_are_their_intervals(void **state)
{
	static const struct kind kinds[] = {
		RATES(steady),
		RATES(steady_8),
		RATES(steady_8_on_2),
		RATES(random_gaps),
		RATES(random_8_on_2),
		RATES(paced),
		RATES(paced_8),
		RATES(bursts),
		RATES(on_off_asleep),
		RATES(on_off_asleep_8),
		RATES(on_off_busy),
		RATES(on_off_busy_8),
		RATES(hot_and_cool),
		RATES(hot_and_cool_on_2),
		RATES(coming_and_going),
		KIND(steady, 1e3, 800, 0.05),
		KIND(random_gaps, 1e3, 800, 0.05),
	};

	(void)state;
	run_kinds(kinds, COUNT(kinds), &(struct sim_plan){0});
}

/* A call each 56 ns: 93 to 99 % of a window are dead, and the cost's error decides. */
static void at_full_speed_intervals_hold_the_truth(void **state)
{
	static const struct kind kinds[] = {
		KIND(steady, S / 56, 800, 0),
		KIND(steady, S / 56, 5500, 0),
		KIND(steady_8, 8 * S / 56, 800, 0),
		KIND(steady_8_on_2, 2 * S / 56, 800, 0),
		KIND(steady_8_on_2, 2 * S / 56, 5500, 0),
		KIND(on_off_busy, S / 112, 800, 0),
		KIND(on_off_busy, S / 112, 5500, 0),
		KIND(coming_and_going, 10e6, 800, 0),
	};

	(void)state;
	run_kinds(kinds, COUNT(kinds), &(struct sim_plan){0});
}

/* Bursts so far apart that most windows see none. */
static void rare_bursts_are_told_by_the_interval(void **state)
{
	static const struct kind kinds[] = {
		KIND(rare_bursts, 10e3, 800, 0),
		KIND(rare_bursts, 100e3, 800, 0),
		KIND(rare_bursts, 1e6, 800, 0),
	};

	(void)state;
	run_kinds(kinds, COUNT(kinds), &(struct sim_plan){0});
}

/* Where windows come more seldom once calls are seen, each stands for more time. */
static void windows_count_by_the_time_they_stand_for(void **state)
{
	static const struct kind kinds[] = {
		KIND(on_off_busy, 100e3, 800, 0),
		KIND(on_off_busy, 1e6, 800, 0),
		KIND(on_off_asleep, 1e6, 800, 0.1),
		KIND(random_gaps, 1e6, 800, 0.1),
	};

	(void)state;
	run_kinds(kinds, COUNT(kinds), &(struct sim_plan){.shy = true});
}

/* What dead time shifts within a window is part of the interval: the cost's error hides it
 * elsewhere. */
static void hits_that_crowd_are_allowed_for(void **state)
{
	static const struct kind kinds[] = {
		KIND(paced, 1e6, 800, 0.1),
		KIND(paced_8, 1e6, 800, 0.1),
		KIND(paced_8, 4e6, 800, 0.1),
	};

	(void)state;
	run_kinds(kinds, COUNT(kinds), &(struct sim_plan){.cost_error_ratio = 0.002});
}

static void windows_may_be_ended_by_a_hit(void **state)
{
	static const struct kind kinds[] = {
		KIND(random_gaps, 100e3, 800, 0.05),
		KIND(random_gaps, 1e6, 800, 0.1),
		KIND(on_off_busy, 100e3, 800, 0.05),
		KIND(on_off_busy, 1e6, 800, 0.1),
	};

	(void)state;
	run_kinds(kinds, COUNT(kinds), &(struct sim_plan){.hits_max = 100});
}

/* 1 ms windows, one each 100 ms, a hit at 1 us. */
static void add_window(struct ng_estimate *estimate, double cost_error_ratio,
	const struct ng_exposure *exposures, size_t count)
{
	const struct ng_estimate_window window = {.stratum_ns = 100 * MS,
		.open_ns = 1 * MS,
		.cost_ns = 1 * US,
		.cost_error_ratio = cost_error_ratio};

	assert_int_equal(ng_estimate_add(estimate, &window, exposures, count), 0);
}

/* One thread, always running, for 10 s; it began the moment that the estimate did. */
static struct ng_rate rate_of(const struct ng_estimate *estimate, uint32_t tid)
{
	const struct ng_thread_use thread = {.tid = tid, .cpu_ns = 10 * S};
	const struct ng_process_use use = {
		.elapsed_ns = 10 * S, .cpu_ns = 10 * S, .threads = &thread, .thread_count = 1};
	struct ng_rate rate;

	assert_int_equal(ng_estimate_rate(estimate, &use, &rate), 0);
	return rate;
}

static void add_same(struct ng_estimate *estimate, size_t windows, double cost_error_ratio,
	struct ng_exposure exposure)
{
	for (size_t i = 0; i < windows; i++)
		add_window(estimate, cost_error_ratio, &exposure, 1);
}

static void assert_near(double value, double expected, double ratio)
{
	if (!(fabs(value - expected) <= ratio * expected))
		fail_msg("%g is not %g", value, expected);
}

static void few_windows_say_little(void **state)
{
	const struct ng_exposure calls = {1, 100, 1 * MS, 100 * US}, none = {1, 0, 1 * MS, 0};
	struct ng_estimate *estimate = ng_estimate_new();
	struct ng_rate rate = rate_of(estimate, 1);

	(void)state;
	assert_true(rate.hz == 0 && rate.low_hz == 0 && isinf(rate.high_hz) && !rate.windows);
	add_window(estimate, 0, &calls, 1);
	rate = rate_of(estimate, 1);
	assert_near(rate.hz, 111.1e3, 0.001);
	assert_true(rate.low_hz == 0 && isinf(rate.high_hz));
	assert_true(rate.windows == 1 && rate.calls == 100);
	/* Nothing ran in the second: still one. */
	add_window(estimate, 0, NULL, 0);
	rate = rate_of(estimate, 1);
	assert_true(rate.low_hz == 0 && isinf(rate.high_hz));
	add_window(estimate, 0, &none, 1);
	add_window(estimate, 0, &none, 1);
	rate = rate_of(estimate, 1);
	assert_true(rate.low_hz < 0.2 * rate.hz && rate.high_hz > 5 * rate.hz);
	ng_estimate_free(estimate);
}

static void no_call_in_any_window_bounds_the_rate(void **state)
{
	struct ng_estimate *estimate = ng_estimate_new();
	struct ng_rate rate;

	(void)state;
	add_same(estimate, 100, 0.05, (struct ng_exposure){1, 0, 1 * MS, 0});
	rate = rate_of(estimate, 1);
	assert_true(rate.hz == 0 && rate.low_hz == 0);
	assert_near(rate.high_hz, 30, 1e-9); /* 3 in 100 ms */
	/* One call: 0.025 to 5.6 by Poisson's law. */
	add_same(estimate, 1, 0.05, (struct ng_exposure){1, 1, 1 * MS, 1 * US});
	rate = rate_of(estimate, 1);
	assert_near(rate.hz, 10, 0.02);
	assert_true(rate.low_hz < 1 && rate.high_hz > 50);
	ng_estimate_free(estimate);
}

static void the_costs_error_widens_to_both_sides(void **state)
{
	struct ng_estimate *estimate = ng_estimate_new();
	struct ng_rate rate;

	(void)state;
	/* 500 of 1,000 us are dead; half a percent of 10 s. */
	add_same(estimate, 100, 0.05, (struct ng_exposure){1, 500, 1 * MS, 500 * US});
	rate = rate_of(estimate, 1);
	assert_near(rate.hz, 1e6 * 0.995, 1e-6);
	/* 500 / (1000 - 500 x 1.098), and with what cannot be known: 3 % twice */
	assert_true(rate.high_hz > 1.10 * rate.hz && rate.high_hz < 1.16 * rate.hz);
	assert_true(rate.low_hz < 0.92 * rate.hz && rate.low_hz > 0.88 * rate.hz);
	ng_estimate_free(estimate);
}

static void a_cost_that_leaves_no_time_opens_the_interval(void **state)
{
	struct ng_estimate *estimate = ng_estimate_new();
	struct ng_rate rate;

	(void)state;
	/* Only the upper end of the cost does. */
	add_same(estimate, 100, 0.05, (struct ng_exposure){1, 950, 1 * MS, 950 * US});
	rate = rate_of(estimate, 1);
	assert_near(rate.hz, 19e6 * 0.9905, 1e-6);
	assert_true(isinf(rate.high_hz) && rate.low_hz > 5e6 && rate.low_hz < 9e6);
	/* The cost itself; its lower end does not. */
	ng_estimate_reset(estimate);
	add_same(estimate, 100, 0.05, (struct ng_exposure){1, 1010, 1 * MS, 1010 * US});
	rate = rate_of(estimate, 1);
	assert_true(isinf(rate.high_hz) && rate.hz == rate.low_hz);
	assert_near(rate.low_hz, 1010 / (1e-3 - 1010e-6 * 0.902) * 0.9899, 1e-6);
	/* Its lower end too: no more is known than what was seen. */
	ng_estimate_reset(estimate);
	add_same(estimate, 100, 0.001, (struct ng_exposure){1, 1010, 1 * MS, 1010 * US});
	rate = rate_of(estimate, 1);
	assert_true(isinf(rate.high_hz) && rate.hz == rate.low_hz);
	assert_near(rate.low_hz, 1.01e6 * 0.9899, 1e-6);
	/* A thread that hardly ran, all of it dead. */
	ng_estimate_reset(estimate);
	add_same(estimate, 100, 0.05, (struct ng_exposure){1, 1, 0, 1 * US});
	rate = rate_of(estimate, 1);
	assert_true(rate.hz == 0 && rate.low_hz == 0 && isinf(rate.high_hz));
	ng_estimate_free(estimate);
}

static void hot_and_cool_windows_count_alike(void **state)
{
	struct ng_estimate *estimate = ng_estimate_new();

	(void)state;
	/* 1 M/s half of the time; pooled as they are the windows would make 0.33 of it. */
	for (size_t i = 0; i < 50; i++) {
		add_same(estimate, 1, 0, (struct ng_exposure){1, 500, 1 * MS, 500 * US});
		add_same(estimate, 1, 0, (struct ng_exposure){1, 0, 1 * MS, 0});
	}
	assert_near(rate_of(estimate, 1).hz, 0.5e6 * 0.9975, 1e-6);
	ng_estimate_free(estimate);
}

/* The CPU time that no living thread accounts for was spent by those that are gone. */
static void the_dead_are_remembered(void **state)
{
	const struct ng_thread_use thread = {.tid = 1, .cpu_ns = 10 * S};
	const struct ng_process_use use = {
		.elapsed_ns = 10 * S, .cpu_ns = 15 * S, .threads = &thread, .thread_count = 1};
	struct ng_estimate *estimate = ng_estimate_new();
	struct ng_rate rate;

	(void)state;
	for (uint32_t i = 0; i < 100; i++) {
		const struct ng_exposure exposures[] = {
			{1, 10, 1 * MS, 10 * US}, {1000 + i / 2, 100, 1 * MS, 100 * US}};

		add_window(estimate, 0, exposures, i % 2 ? 2 : 1);
	}
	assert_int_equal(ng_estimate_rate(estimate, &use, &rate), 0);
	/* 10 per 990 us; 100 per 900 us in half of the time */
	assert_near(rate.hz, 10 / 990e-6 * 0.9999 + 0.5 * 100 / 900e-6 * 0.999, 1e-6);
	ng_estimate_free(estimate);
}

/* Many more threads than are told apart, each seen once: memory stays, no call is lost. */
static void a_churn_of_threads_is_pooled(void **state)
{
	const struct ng_process_use use = {.elapsed_ns = 10e3 * S, .cpu_ns = 10e3 * S};
	struct ng_estimate *estimate = ng_estimate_new();
	struct ng_rate rate;

	(void)state;
	for (uint32_t i = 0; i < 100 * NG_ESTIMATE_THREADS_MAX; i++)
		add_same(estimate, 1, 0, (struct ng_exposure){i, 100, 1 * MS, 100 * US});
	assert_int_equal(ng_estimate_rate(estimate, &use, &rate), 0);
	assert_int_equal(rate.calls, 100ull * 100 * NG_ESTIMATE_THREADS_MAX);
	assert_near(rate.hz, 100 / 900e-6, 0.002);
	ng_estimate_reset(estimate);

	/* The same, all in one window; then they live on, beside one that is hot. */
	for (uint32_t i = 0; i < 20; i++) {
		struct ng_exposure exposures[2 * NG_ESTIMATE_THREADS_MAX];

		for (uint32_t j = 0; j < COUNT(exposures); j++)
			exposures[j] = (struct ng_exposure){
				1 + j, j ? 1 : 500, 1 * MS, (j ? 1 : 500) * US};
		add_window(estimate, 0, exposures, COUNT(exposures));
	}
	struct ng_thread_use threads[2 * NG_ESTIMATE_THREADS_MAX];

	for (uint32_t j = 0; j < COUNT(threads); j++)
		threads[j] = (struct ng_thread_use){.tid = 1 + j, .cpu_ns = 10 * S};
	assert_int_equal(ng_estimate_rate(estimate,
				 &(struct ng_process_use){.elapsed_ns = 10 * S,
					 .cpu_ns = COUNT(threads) * 10 * S,
					 .threads = threads,
					 .thread_count = COUNT(threads)},
				 &rate),
		0);
	assert_near(rate.hz, 1e6 + (COUNT(threads) - 1) * 1e3, 0.005);
	ng_estimate_free(estimate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(few_windows_say_little),
		cmocka_unit_test(no_call_in_any_window_bounds_the_rate),
		cmocka_unit_test(the_costs_error_widens_to_both_sides),
		cmocka_unit_test(a_cost_that_leaves_no_time_opens_the_interval),
		cmocka_unit_test(hot_and_cool_windows_count_alike),
		cmocka_unit_test(the_dead_are_remembered),
		cmocka_unit_test(a_churn_of_threads_is_pooled),
		cmocka_unit_test(rates_are_right_and_so_are_their_intervals),
		cmocka_unit_test(at_full_speed_intervals_hold_the_truth),
		cmocka_unit_test(rare_bursts_are_told_by_the_interval),
		cmocka_unit_test(windows_count_by_the_time_they_stand_for),
		cmocka_unit_test(hits_that_crowd_are_allowed_for),
		cmocka_unit_test(windows_may_be_ended_by_a_hit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
