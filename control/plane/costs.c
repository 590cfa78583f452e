#include "control/plane/costs.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "control/engine/gauge.h"
#include "control/engine/stand.h"
#include "core/base/cleanup.h"
#include "core/base/clock.h"

/* The gauge's child takes a CPU for 10 to 20 ms a reading, maybe from a target: so while windows
 * run it is read often at first, and then rarely. So many readings are pooled. */
#define FIRST_NS (2 * NG_NS_PER_S)
#define REST_NS	 (10 * NG_NS_PER_S)
#define READINGS 8

/* A reading whose mean is above this many medians was interrupted by something long. */
#define MEAN_MAX 1.5

/* What we use ourselves is worked out anew each so many windows, and is never taken to be more. */
#define OWN_WINDOWS  20
#define OWN_GUESS_NS (0.3 * NG_NS_PER_MS)
#define OWN_MAX_NS   (2.0 * NG_NS_PER_MS)

/** What windows take of our own CPU time. */
struct own_use {
	uint64_t windows; /* of all targets, when it was last worked out … */
	uint64_t cpu_ns;  /* … and what they had used by then */
	double window_ns; /* what one uses */
	uint64_t idle_ns; /* when idle time was last looked at; 0: not yet … */
	double idle_s;	  /* … and how much there had been, of all CPUs */
	double busy_part; /* of a window's CPU time: that which no idle CPU gave */
};

struct ng_costs {
	struct ng_job job;
	bool is_busy;
	struct ng_stand *stand;
	struct ng_gauge *gauge;
	double expected_ns; /* what the calibration says */
	int error;	    /* of the last reading */
	struct ng_gauge_reading reading;
	struct ng_gauge_reading readings[READINGS]; /* a ring */
	size_t count;				    /* of readings so far */
	uint64_t due_ns;
	uint64_t windows; /* of all targets, at the last reading */
	struct own_use own;
	struct ng_cost_now now;
};

static void run_reading(struct ng_job *job)
{
	struct ng_costs *costs = (struct ng_costs *)((char *)job - offsetof(struct ng_costs, job));

	costs->error = ng_gauge_read(
		costs->gauge, NG_LOOP_CALL, costs->expected_ns, &costs->reading, NULL);
}

int ng_costs_new(struct ng_costs **ret_costs, struct ng_diag *diag)
{
	struct ng_costs *costs = calloc(1, sizeof(*costs));
	int error;

	if (!costs)
		return -ENOMEM;
	costs->job = (struct ng_job){.kind = NG_JOB_WINDOW, .run = run_reading};
	costs->own = (struct own_use){.window_ns = OWN_GUESS_NS, .busy_part = 1};
	costs->now = ng_cost_gauged(1, OWN_GUESS_NS);
	error = ng_stand_new(&costs->stand, diag);
	if (error) {
		free(costs);
		return error;
	}
	*ret_costs = costs;
	return 0;
}

int ng_costs_open(struct ng_costs *costs, const struct ng_calibration *calibration,
	struct ng_uprobe *engine, struct ng_gates *gates, struct ng_diag *diag)
{
	costs->expected_ns = ng_calibration_hit_ns(calibration, NG_SITE_EMULATED);
	return ng_gauge_new(engine, gates, costs->stand, &costs->gauge, diag);
}

void ng_costs_free(struct ng_costs *costs)
{
	if (!costs)
		return;
	ng_gauge_free(costs->gauge);
	ng_stand_free(costs->stand);
	free(costs);
}

const struct ng_cost_now *ng_costs_now(const struct ng_costs *costs)
{
	return &costs->now;
}

/* What a hit cost in a reading, interruptions and all. */
static double mean_cost(const struct ng_gauge_reading *reading)
{
	return reading->ran_ns / (double)reading->calls - reading->unarmed_ns;
}

/*
 * Takes a reading in. What counts is the mean, not the median of the hits, which differ by 1 %: on
 * a virtual machine the host interrupts whoever runs (1,200 times a second for 45 us, where this
 * was measured), armed or not, and so a target's hits are dearer by that part as well. A reading
 * that something long fell into says nothing.
 */
static void take_reading(struct ng_costs *costs)
{
	const struct ng_gauge_reading *reading = &costs->reading;
	double each[READINGS], mean = 0, squares = 0;
	size_t count;

	if (costs->error || !reading->calls ||
		mean_cost(reading) > MEAN_MAX * reading->window.hit_ns)
		return; /* what was read before holds on */
	costs->readings[costs->count++ % READINGS] = *reading;
	count = costs->count < READINGS ? costs->count : READINGS;
	for (size_t i = 0; i < count; i++) {
		each[i] = mean_cost(&costs->readings[i]);
		mean += each[i] / (double)count;
	}
	for (size_t i = 0; i < count; i++)
		squares += (each[i] - mean) * (each[i] - mean);
	costs->now = ng_cost_gauged(mean / costs->expected_ns, costs->now.own_ns);
	if (count > 1)
		costs->now.error_ratio = hypot(costs->now.error_ratio,
			sqrt(squares / (double)(count * (count - 1))) / mean);
}

/* @return the seconds that CPUs of this machine were idle, all together; negative: unknown */
static double idle_seconds(void)
{
	NG_CLEANUP_FCLOSE FILE *file = fopen("/proc/uptime", "re");
	double up_s, idle_s;

	return file && fscanf(file, "%lf %lf", &up_s, &idle_s) == 2 ? idle_s : -1;
}

static void look_at_idle(struct own_use *own, uint64_t now_ns)
{
	const double idle_s = idle_seconds();
	const double passed_s = (double)(now_ns - own->idle_ns) / NG_NS_PER_S;

	if (own->idle_ns && idle_s >= 0)
		own->busy_part = 1 - fmin(fmax((idle_s - own->idle_s) / passed_s, 0), 1);
	own->idle_ns = idle_s < 0 ? 0 : now_ns;
	own->idle_s = idle_s;
}

/*
 * A window takes 0.2 to 0.5 ms of CPU time of our own. Where a CPU is idle nobody misses it; where
 * all are busy the target, which keeps them so, has that much less, and it counts as lost.
 */
static void look_at_own(struct ng_costs *costs, uint64_t windows, uint64_t cpu_ns, uint64_t now_ns)
{
	struct own_use *own = &costs->own;
	const uint64_t count = windows - own->windows;

	look_at_idle(own, now_ns);
	if (count >= OWN_WINDOWS) {
		own->window_ns = fmin((double)(cpu_ns - own->cpu_ns) / (double)count, OWN_MAX_NS);
		own->windows = windows;
		own->cpu_ns = cpu_ns;
	}
	costs->now.own_ns = own->busy_part * own->window_ns;
}

void ng_costs_tick(struct ng_costs *costs, struct ng_workers *workers, uint64_t windows,
	uint64_t cpu_ns, uint64_t now_ns)
{
	look_at_own(costs, windows, cpu_ns + ng_workers_cpu_ns(workers), now_ns);
	if (costs->is_busy || now_ns < costs->due_ns)
		return;
	costs->due_ns = now_ns + (costs->count < READINGS ? FIRST_NS : REST_NS);
	if (windows == costs->windows)
		return;
	costs->windows = windows;
	costs->is_busy = true;
	ng_workers_post(workers, &costs->job);
}

bool ng_costs_collect(struct ng_costs *costs, const struct ng_job *job)
{
	if (job != &costs->job)
		return false;
	costs->is_busy = false;
	take_reading(costs);
	return true;
}
