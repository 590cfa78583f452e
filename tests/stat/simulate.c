#include "tests/stat/simulate.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SLICE_NS    3e6
#define TICK_NS	    4e6
#define WARM_UP_NS  200e6
#define EXPOSED_MAX (4 * SIM_THREADS_MAX) /* those that die in a window beside those that live */

enum state { ON_CPU, WAITING, ASLEEP };

struct thread {
	const struct sim_thread *is;
	uint32_t tid;
	enum state state;
	double dies_ns;
	double vary;
	double shift_ns; /* its multiples of time are not those of others */

	size_t step;
	double left_ns;	       /* of a step in CPU time */
	double until_ns;       /* of a step in the wall's */
	double to_call_ns;     /* on its own clock */
	double dead_before_ns; /* until the hit is counted */
	double dead_after_ns;

	double since_ns; /* when it got its core or had its slice renewed */
	double put_on_ns;
	double queued_ns;
	double cpu_ns;
	double read_ns; /* what a reading gave at the beginning */

	struct ng_exposure exposure; /* in this window */
};

struct sim {
	const struct sim_process *process;
	const struct sim_plan *plan;
	uint64_t random;
	double cost_ns; /* the true one */
	double now_ns;
	bool is_open;
	uint32_t hits; /* in this window */
	double opened_ns;
	double closed_ns; /* by a hit */
	uint32_t next_tid;
	double calls; /* in all */
	double dead_ns;
	double gone_cpu_ns;
	struct thread threads[SIM_THREADS_MAX];
	struct ng_exposure gone[EXPOSED_MAX]; /* in this window */
	size_t gone_count;
};

/* fmin() is a call of libm's. */
static double least(double a, double b)
{
	return a < b ? a : b;
}

/* splitmix64 */
static double uniform(struct sim *sim)
{
	uint64_t x = sim->random += 0x9e3779b97f4a7c15;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return (double)((x ^ (x >> 31)) >> 11) * 0x1p-53;
}

static double exponential(struct sim *sim)
{
	return -log(1 - uniform(sim));
}

static double normal(struct sim *sim)
{
	double radius = sqrt(2 * exponential(sim));

	return radius * cos(2 * M_PI * uniform(sim));
}

static double poisson(struct sim *sim, double mean)
{
	double count = 0, product = uniform(sim);

	if (mean > 200)
		return fmax(floor(mean + sqrt(mean) * normal(sim) + 0.5), 0);
	for (const double end = exp(-mean); product > end; count++)
		product *= uniform(sim);
	return count;
}

static const struct sim_step *step_of(const struct thread *thread)
{
	return &thread->is->steps[thread->step];
}

static double gap_of(const struct thread *thread)
{
	return step_of(thread)->gap_ns * thread->vary;
}

static void draw_gap(struct sim *sim, struct thread *thread)
{
	const double gap_ns = gap_of(thread);

	thread->to_call_ns = !gap_ns		       ? INFINITY
			     : step_of(thread)->random ? gap_ns * exponential(sim)
						       : gap_ns;
}

static void begin_step(struct sim *sim, struct thread *thread)
{
	const struct sim_step *step = step_of(thread);

	thread->left_ns = INFINITY;
	thread->until_ns = INFINITY;
	if (step->act == SIM_RUN_FOR) {
		thread->left_ns = step->ns;
	} else {
		const double base = sim->now_ns - step->ns - thread->shift_ns;

		/* Not the multiple that is just now, by rounding. */
		thread->until_ns = (floor((base + 1) / step->every_ns) + 1) * step->every_ns +
				   step->ns + thread->shift_ns;
	}
	if (step->act == SIM_SLEEP_UNTIL)
		thread->state = ASLEEP;
	draw_gap(sim, thread);
}

static void next_step(struct sim *sim, struct thread *thread)
{
	thread->step++;
	if (thread->step == SIM_STEPS_MAX || step_of(thread)->act == SIM_END)
		thread->step = 0;
	begin_step(sim, thread);
}

static void queue(struct sim *sim, struct thread *thread)
{
	thread->state = WAITING;
	thread->queued_ns = sim->now_ns;
}

static void bear(struct sim *sim, struct thread *thread, const struct sim_thread *is)
{
	*thread = (struct thread){.is = is, .tid = sim->next_tid++, .dies_ns = INFINITY, .vary = 1};
	if (is->life_ns > 0)
		thread->dies_ns = sim->now_ns + is->life_ns * exponential(sim);
	if (is->vary > 0)
		thread->vary = pow(is->vary, 2 * uniform(sim) - 1);
	thread->shift_ns = 1e9 * uniform(sim);
	queue(sim, thread);
	begin_step(sim, thread);
	if (isfinite(thread->to_call_ns))
		thread->to_call_ns *= uniform(sim);
	if (isfinite(thread->left_ns))
		thread->left_ns *= uniform(sim);
}

static void bury(struct sim *sim, struct thread *thread)
{
	sim->gone_cpu_ns += thread->cpu_ns - thread->read_ns;
	if (thread->exposure.ran_ns > 0) {
		thread->exposure.tid = thread->tid;
		assert(sim->gone_count < EXPOSED_MAX);
		sim->gone[sim->gone_count++] = thread->exposure;
	}
	bear(sim, thread, thread->is);
}

static void count_hit(struct sim *sim, struct thread *thread)
{
	if (!sim->is_open)
		return;
	if (sim->plan->hits_max && sim->hits == sim->plan->hits_max) {
		sim->is_open = false; /* uncounted: it chose the end */
		return;
	}
	sim->hits++;
	thread->exposure.calls++;
}

static bool is_dead(const struct thread *thread)
{
	return thread->dead_before_ns > 0 || thread->dead_after_ns > 0;
}

static void use(double *left_ns, double ns)
{
	*left_ns -= ns;
	if (*left_ns < 1e-6) /* rounding */
		*left_ns = 0;
}

/* Undisturbed: many calls at once. */
static void run_free(struct sim *sim, struct thread *thread, double ns)
{
	const double gap_ns = gap_of(thread);
	double calls = 0;

	if (step_of(thread)->random && gap_ns) {
		calls = poisson(sim, ns / gap_ns);
		draw_gap(sim, thread); /* it has no memory */
	} else if (gap_ns && ns >= thread->to_call_ns) {
		const double beyond = ns - thread->to_call_ns;

		calls = 1 + floor(beyond / gap_ns);
		thread->to_call_ns = gap_ns - (beyond - (calls - 1) * gap_ns);
	} else {
		thread->to_call_ns -= ns;
	}
	sim->calls += calls;
	use(&thread->left_ns, ns);
}

static void begin_hit(struct sim *sim, struct thread *thread)
{
	/* Hits differ, by a tenth or so. */
	const double cost_ns = sim->cost_ns * (0.8 + 0.4 * uniform(sim));

	sim->dead_ns += cost_ns;
	thread->dead_before_ns = sim->plan->seen_at * cost_ns;
	thread->dead_after_ns = cost_ns - thread->dead_before_ns;
	if (!thread->dead_before_ns)
		count_hit(sim, thread);
}

/* One of what follows another in a window, at most ns long. */
static double run_part(struct sim *sim, struct thread *thread, double ns)
{
	if (thread->dead_before_ns > 0) {
		ns = least(ns, thread->dead_before_ns);
		use(&thread->dead_before_ns, ns);
		if (!thread->dead_before_ns)
			count_hit(sim, thread);
	} else if (thread->dead_after_ns > 0) {
		ns = least(ns, thread->dead_after_ns);
		use(&thread->dead_after_ns, ns);
	} else {
		ns = least(ns, least(thread->to_call_ns, thread->left_ns));
		use(&thread->left_ns, ns);
		thread->to_call_ns -= ns;
		if (thread->to_call_ns <= 0) {
			sim->calls++;
			draw_gap(sim, thread);
			if (sim->is_open)
				begin_hit(sim, thread);
		}
	}
	return ns;
}

/* In a window: call by call. */
static void run_armed(struct sim *sim, struct thread *thread, double ns)
{
	for (double past_ns = 0; past_ns < ns;) {
		const bool is_open = sim->is_open;
		double part_ns;

		if (thread->left_ns <= 0 && !is_dead(thread)) {
			next_step(sim, thread);
			if (thread->state != ON_CPU)
				return;
		}
		part_ns = run_part(sim, thread, ns - past_ns);
		past_ns += part_ns;
		thread->cpu_ns += part_ns;
		thread->exposure.ran_ns += is_open ? part_ns : 0;
		if (is_open && !sim->is_open)
			sim->closed_ns = sim->now_ns + past_ns;
	}
}

static void run(struct sim *sim, struct thread *thread, double ns)
{
	if (sim->is_open || is_dead(thread)) {
		run_armed(sim, thread, ns);
		return;
	}
	thread->cpu_ns += ns;
	run_free(sim, thread, ns);
}

/* How long it runs on at least before anything but calls happens to it. */
static double until_change(const struct sim *sim, const struct thread *thread)
{
	double ns = thread->since_ns + SLICE_NS - sim->now_ns;

	if (is_dead(thread)) /* the kernel's, not to be left */
		return sim->is_open ? least(ns, thread->dead_before_ns + thread->dead_after_ns +
							least(thread->to_call_ns, thread->left_ns))
				    : thread->dead_before_ns + thread->dead_after_ns;
	ns = least(ns, least(thread->until_ns, thread->dies_ns) - sim->now_ns);
	return least(ns, thread->left_ns);
}

/* Starts, ends and wakes what is due. */
static void settle(struct sim *sim, struct thread *thread)
{
	if (thread->state == ASLEEP && thread->until_ns <= sim->now_ns) {
		queue(sim, thread);
		next_step(sim, thread);
	}
	if (thread->state != ON_CPU || is_dead(thread))
		return;
	if (thread->dies_ns <= sim->now_ns)
		bury(sim, thread);
	else if (thread->left_ns <= 0 || thread->until_ns <= sim->now_ns)
		next_step(sim, thread);
}

static void schedule(struct sim *sim)
{
	size_t busy = 0, waiting = 0;

	for (size_t i = 0; i < sim->process->thread_count; i++) {
		busy += sim->threads[i].state == ON_CPU;
		waiting += sim->threads[i].state == WAITING;
	}
	for (size_t i = 0; i < sim->process->thread_count; i++) {
		struct thread *thread = &sim->threads[i];

		if (thread->state != ON_CPU || thread->since_ns + SLICE_NS > sim->now_ns)
			continue;
		thread->since_ns = sim->now_ns;
		if (waiting) {
			queue(sim, thread);
			busy--;
		}
	}
	for (; busy < sim->process->cores; busy++) {
		struct thread *first = NULL;

		for (size_t i = 0; i < sim->process->thread_count; i++) {
			struct thread *thread = &sim->threads[i];

			if (thread->state == WAITING &&
				(!first || thread->queued_ns < first->queued_ns))
				first = thread;
		}
		if (!first)
			return;
		first->state = ON_CPU;
		first->since_ns = sim->now_ns;
		first->put_on_ns = sim->now_ns;
	}
}

static void run_to(struct sim *sim, double end_ns)
{
	while (sim->now_ns < end_ns) {
		double next_ns = end_ns;

		for (size_t i = 0; i < sim->process->thread_count; i++)
			settle(sim, &sim->threads[i]);
		schedule(sim);
		for (size_t i = 0; i < sim->process->thread_count; i++) {
			const struct thread *thread = &sim->threads[i];

			if (thread->state == ASLEEP)
				next_ns = least(next_ns, thread->until_ns);
			else if (thread->state == ON_CPU)
				next_ns = least(next_ns,
					sim->now_ns + fmax(until_change(sim, thread), 1e-3));
		}
		for (size_t i = 0; i < sim->process->thread_count; i++)
			if (sim->threads[i].state == ON_CPU)
				run(sim, &sim->threads[i], next_ns - sim->now_ns);
		sim->now_ns = next_ns;
	}
}

static int close_window(
	struct sim *sim, struct ng_estimate_window *window, struct ng_estimate *estimate)
{
	struct ng_exposure exposures[SIM_THREADS_MAX + EXPOSED_MAX];
	size_t count = sim->gone_count;

	if (!sim->is_open)
		window->open_ns = sim->closed_ns - sim->opened_ns;
	memcpy(exposures, sim->gone, count * sizeof(*exposures));
	for (size_t i = 0; i < sim->process->thread_count; i++) {
		struct thread *thread = &sim->threads[i];

		thread->exposure.tid = thread->tid;
		if (thread->exposure.ran_ns > 0)
			exposures[count++] = thread->exposure;
		thread->exposure = (struct ng_exposure){0};
	}
	sim->is_open = false;
	sim->gone_count = 0;
	for (size_t i = 0; i < count; i++)
		exposures[i].dead_ns = exposures[i].calls * window->cost_ns;
	return ng_estimate_add(estimate, window, exposures, count);
}

/* The kernel brings a thread's time up to date when it leaves its core, and at each tick. */
static double read_cpu(struct sim *sim, const struct thread *thread)
{
	if (thread->state != ON_CPU)
		return thread->cpu_ns;
	return thread->cpu_ns - least(sim->now_ns - thread->put_on_ns, TICK_NS * uniform(sim));
}

static void begin(struct sim *sim)
{
	for (size_t i = 0; i < sim->process->thread_count; i++)
		bear(sim, &sim->threads[i], &sim->process->threads[i]);
	run_to(sim, WARM_UP_NS * (1 + uniform(sim)));
	for (size_t i = 0; i < sim->process->thread_count; i++)
		sim->threads[i].read_ns = read_cpu(sim, &sim->threads[i]);
	sim->calls = 0;
	sim->gone_cpu_ns = 0;
}

static int estimate_rate(struct sim *sim, double elapsed_ns, struct ng_estimate *estimate,
	struct sim_truth *truth, struct ng_rate *ret_rate)
{
	struct ng_thread_use uses[SIM_THREADS_MAX];
	struct ng_process_use use = {.elapsed_ns = elapsed_ns,
		.cpu_ns = sim->gone_cpu_ns,
		.threads = uses,
		.thread_count = sim->process->thread_count};

	for (size_t i = 0; i < use.thread_count; i++) {
		const struct thread *thread = &sim->threads[i];

		uses[i].tid = thread->tid;
		uses[i].cpu_ns = read_cpu(sim, thread) - thread->read_ns;
		use.cpu_ns += uses[i].cpu_ns;
	}
	*truth = (struct sim_truth){.hz = sim->calls / elapsed_ns * 1e9,
		.cpu_ratio = use.cpu_ns / elapsed_ns,
		.dead_ratio = sim->dead_ns / use.cpu_ns};
	return ng_estimate_rate(estimate, &use, ret_rate);
}

static int run_window(
	struct sim *sim, double begin_ns, double stratum_ns, struct ng_estimate *estimate)
{
	struct ng_estimate_window window = {.stratum_ns = stratum_ns,
		/* Arming and disarming take their time. */
		.open_ns = sim->plan->window_ns * (0.9 + 0.1 * uniform(sim)),
		.cost_ns = sim->plan->cost_ns,
		.cost_error_ratio = sim->plan->cost_error_ratio};

	run_to(sim, begin_ns + (stratum_ns - window.open_ns) * uniform(sim));
	sim->opened_ns = sim->now_ns;
	sim->is_open = true;
	sim->hits = 0;
	run_to(sim, sim->opened_ns + window.open_ns);
	return close_window(sim, &window, estimate);
}

int sim_run(const struct sim_process *process, const struct sim_plan *plan, uint64_t seed,
	struct ng_estimate *estimate, struct sim_truth *ret_truth, struct ng_rate *ret_rate)
{
	struct sim sim = {.process = process, .plan = plan, .random = seed, .next_tid = 1000};
	double begin_ns, stratum_ns;
	int error;

	sim.cost_ns = plan->cost_ns * fmax(1 + plan->cost_error_ratio * normal(&sim), 0.1);
	begin(&sim);
	begin_ns = sim.now_ns;
	for (double past_ns = 0; plan->windows && past_ns < plan->elapsed_ns;) {
		/* Of no regular length, or a program's period could lie along them. */
		stratum_ns =
			plan->elapsed_ns / (double)plan->windows * (0.75 + 0.5 * uniform(&sim));
		if (plan->shy && sim.hits)
			stratum_ns *= 4;
		if (past_ns + stratum_ns + plan->window_ns > plan->elapsed_ns)
			stratum_ns = plan->elapsed_ns - past_ns;
		error = run_window(&sim, begin_ns + past_ns, stratum_ns, estimate);
		if (error)
			return error;
		past_ns += stratum_ns;
	}
	run_to(&sim, begin_ns + plan->elapsed_ns);
	return estimate_rate(&sim, plan->elapsed_ns, estimate, ret_truth, ret_rate);
}

void sim_plan_windows(struct sim_plan *plan, const struct sim_truth *untraced, double budget,
	double window_ratio_max)
{
	const double elapsed_s = plan->elapsed_ns / 1e9, cost_s = plan->cost_ns / 1e9;
	/* While armed, of each second of CPU time. */
	const double hits = untraced->hz / (untraced->cpu_ratio + untraced->hz * cost_s);
	const double armed_ratio = least(budget / (hits * cost_s), window_ratio_max);

	plan->window_ns = least(fmax(300 / hits * 1e9, 0.3e6), 10e6);
	plan->windows = (size_t)fmax(armed_ratio * plan->elapsed_ns / plan->window_ns, 2);
	if ((double)plan->windows > 50 * elapsed_s) {
		plan->windows = (size_t)(50 * elapsed_s);
		plan->window_ns = armed_ratio * plan->elapsed_ns / (double)plan->windows;
	}
}
