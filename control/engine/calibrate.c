#include "control/engine/calibrate.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/engine/calibration_file.h"
#include "control/engine/gauge.h"
#include "control/engine/stand.h"
#include "control/engine/uprobe.h"
#include "core/base/clock.h"
#include "core/stat/window.h"

/*
 * Short batches, so that few of them are interrupted and the median is one that was not; in rounds
 * over all loops, so that each sees the whole of what else the machine did meanwhile.
 */
#define BATCH_NS       50e3
#define BATCHES_MAX    128 /* a round */
#define ROUNDS	       10
#define ROUND_NS       (4 * NG_NS_PER_MS)
#define WINDOWS	       10
#define ITERATIONS_MAX 1024

struct loop_run {
	uint32_t site;	     /* its number at the engine */
	uint32_t iterations; /* a batch */
	uint64_t hits;
	double batch_ns[ROUNDS * BATCHES_MAX]; /* an iteration, by batch */
	size_t batch_count;
	double window_ns[WINDOWS];
	double edge_ns[WINDOWS];
	size_t window_count;
};

struct run {
	struct ng_stand *stand;
	struct ng_uprobe *engine;
	int image_fd;
	struct loop_run loops[NG_LOOPS_ALL];
	int loop_count; /* the first so many are used, where armed for long */
	struct ng_diag *diag;
};

static struct run *run_new(int loop_count, struct ng_diag *diag)
{
	struct run *run = calloc(1, sizeof(*run));

	if (!run)
		return NULL;
	run->image_fd = -1;
	run->loop_count = loop_count;
	run->diag = diag;
	return run;
}

static void run_free(struct run *run)
{
	ng_stand_free(run->stand);
	ng_uprobe_close(run->engine);
	if (run->image_fd >= 0)
		close(run->image_fd);
	free(run);
}

static int prepare(struct run *run)
{
	const struct ng_uprobe_options options = {
		.attach = NG_ATTACH_AUTO, .gating = NG_GATING_COMMON};
	int error = ng_stand_new(&run->stand, run->diag);

	if (!error)
		error = ng_uprobe_open(&options, &run->engine, run->diag);
	if (error)
		return error;
	run->image_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (run->image_fd < 0)
		return ng_diag_set(
			run->diag, -errno, "nowgate cannot open its own file: %s", strerror(errno));
	for (int i = 0; !error && i < run->loop_count; i++) {
		uint64_t offset;

		error = ng_loop_offset(ng_loop_get(i)->site, &offset, run->diag);
		if (!error)
			error = ng_uprobe_add_site(
				run->engine, run->image_fd, offset, &run->loops[i].site, run->diag);
	}
	if (!error)
		ng_uprobe_gate(run->engine, true);
	return error;
}

/* How many iterations make a batch of BATCH_NS; the first few hits are left out, they are slow. */
static int choose_iterations(struct run *run, int number)
{
	struct loop_run *loop = &run->loops[number];
	const struct ng_batches batches = {
		.loop = number, .iterations = 4, .batches = 4, .time_ns = ROUND_NS};
	struct ng_times times;
	double hit_ns;
	int error = ng_stand_run(run->stand, &batches, &times, run->diag);

	if (error)
		return error;
	loop->hits += times.count * batches.iterations;
	hit_ns = (double)times.ns[times.count - 1] / batches.iterations;
	loop->iterations = hit_ns * ITERATIONS_MAX < BATCH_NS ? ITERATIONS_MAX
			   : hit_ns > BATCH_NS		      ? 1
							      : (uint32_t)(BATCH_NS / hit_ns);
	return 0;
}

static int run_round(struct run *run, int number)
{
	struct loop_run *loop = &run->loops[number];
	const struct ng_batches batches = {.loop = number,
		.iterations = loop->iterations,
		.batches = BATCHES_MAX,
		.time_ns = ROUND_NS};
	struct ng_times times;
	int error = ng_stand_run(run->stand, &batches, &times, run->diag);

	if (error)
		return error;
	for (size_t i = 0; i < times.count; i++)
		loop->batch_ns[loop->batch_count++] = (double)times.ns[i] / loop->iterations;
	loop->hits += times.count * loop->iterations;
	return 0;
}

/* A figure is worth nothing if the hits did not happen: each must have been counted, once. */
static int check_counts(struct run *run)
{
	struct ng_tallies tallies = NG_TALLIES_INIT;
	int error = ng_uprobe_read(run->engine, &tallies);

	if (error)
		return error;
	for (int i = 0; !error && i < run->loop_count; i++) {
		uint64_t counted = 0;

		for (size_t j = 0; j < tallies.count; j++) {
			if (tallies.items[j].key.site == run->loops[i].site)
				counted += tallies.items[j].calls;
		}
		if (counted != run->loops[i].hits)
			error = ng_diag_set(run->diag, -EIO,
				"the probe on a known loop (%s) counted %" PRIu64 " of %" PRIu64
				" hits: counts cannot be trusted here",
				ng_loop_get(i)->insn, counted, run->loops[i].hits);
	}
	ng_tallies_release(&tallies);
	return error;
}

/* Arms the first `count` of these sites in the child. */
static int arm(struct run *run, const uint32_t *sites, size_t count, struct ng_armed **ret_armed)
{
	struct ng_diag diag = NG_DIAG_INIT;
	int error = ng_uprobe_arm(run->engine, ng_stand_pid(run->stand),
		(struct ng_site_numbers){.items = sites, .count = count}, false, ret_armed, &diag);

	/* It never ends by itself; its number would say nothing to anybody. */
	if (error == -ESRCH)
		return ng_diag_set(
			run->diag, -ECHILD, "the child process that calibrates was killed");
	return error ? ng_diag_set(run->diag, error, "%s", diag.text) : 0;
}

static int measure_armed(struct run *run, int rounds)
{
	uint32_t numbers[NG_LOOP_COUNT];
	struct ng_armed *armed;
	int error;

	for (int i = 0; i < run->loop_count; i++)
		numbers[i] = run->loops[i].site;
	/* All at once: disarming what was armed for long takes 8 ms. */
	error = arm(run, numbers, (size_t)run->loop_count, &armed);
	if (error)
		return error;
	for (int i = 0; !error && i < run->loop_count; i++)
		error = choose_iterations(run, i);
	for (int round = 0; !error && round < rounds; round++) {
		for (int i = 0; !error && i < run->loop_count; i++)
			error = run_round(run, i);
	}
	ng_armed_free(armed);
	return error ? error : check_counts(run);
}

static int conclude_armed(struct run *run, struct ng_calibration *calibration)
{
	for (int i = 0; i < run->loop_count; i++) {
		struct loop_run *loop = &run->loops[i];
		struct ng_cost *cost = &calibration->costs[i];
		struct ng_quartiles armed = ng_quartiles_of(loop->batch_ns, loop->batch_count);
		double unarmed_ns;
		int error =
			ng_stand_unarmed(run->stand, i, loop->iterations, &unarmed_ns, run->diag);

		if (error)
			return error;
		cost->low_ns = armed.low - unarmed_ns;
		cost->median_ns = armed.median - unarmed_ns;
		cost->high_ns = armed.high - unarmed_ns;
		cost->batches = (uint32_t)loop->batch_count;
		calibration->hits += loop->hits;
		if (cost->low_ns <= 0)
			return ng_diag_set(run->diag, -EIO,
				"a hit on a known loop (%s) takes no time: the clock is not fit "
				"to calibrate by",
				ng_loop_get(i)->insn);
	}
	return 0;
}

/* Arms once. A window that the child slept through is left out. */
static int run_window(struct run *run, struct ng_gauge *gauge, int number, double hit_ns)
{
	struct loop_run *loop = &run->loops[number];
	struct ng_gauge_reading reading;
	int error = ng_gauge_read(gauge, number, hit_ns, &reading, run->diag);

	if (error)
		return error == -ENODATA ? 0 : error;
	loop->window_ns[loop->window_count] = reading.window.hit_ns;
	loop->edge_ns[loop->window_count++] = reading.window.edge_ns;
	return 0;
}

/** What windows are run with: their hits go through a gate, and cost a little more by that. */
struct gated {
	struct ng_uprobe *engine;
	struct ng_gates *gates;
	struct ng_gauge *gauge;
};

static int gated_init(struct run *run, struct gated *gated)
{
	const struct ng_uprobe_options options = {
		.attach = NG_ATTACH_TRACEFS, .gating = NG_GATING_EACH};
	int error = ng_uprobe_open(&options, &gated->engine, run->diag);

	if (!error)
		error = ng_gates_open(gated->engine, &gated->gates, run->diag);
	if (!error)
		error = ng_gauge_new(
			gated->engine, gated->gates, run->stand, &gated->gauge, run->diag);
	return error;
}

static void gated_release(struct gated *gated)
{
	ng_gauge_free(gated->gauge);
	ng_gates_close(gated->gates);
	ng_uprobe_close(gated->engine);
}

/* @return 0 where it cannot be told */
static double lead_cost(struct run *run)
{
	struct loop_run *both = &run->loops[NG_LOOP_LED], *call = &run->loops[NG_LOOP_CALL];

	if (!both->window_count || !call->window_count)
		return 0;
	return fmax(ng_quartiles_of(both->window_ns, both->window_count).median -
			    ng_quartiles_of(call->window_ns, call->window_count).median,
		0);
}

static int measure_windows(struct run *run, struct ng_calibration *calibration)
{
	struct gated gated = {0};
	int error;

	if (ng_uprobe_attach(run->engine) != NG_ATTACH_TRACEFS)
		return 0; /* a link takes 7 ms to attach and 100 to detach */
	error = gated_init(run, &gated);
	for (int i = 0; !error && i < WINDOWS * NG_LOOPS_ALL; i++) {
		const int number = i % NG_LOOPS_ALL;
		const int like = number == NG_LOOP_LED ? NG_LOOP_CALL : number;

		error = run_window(run, gated.gauge, number, calibration->costs[like].median_ns);
	}
	for (int i = 0; !error && i < run->loop_count; i++) {
		struct loop_run *loop = &run->loops[i];
		struct ng_cost *cost = &calibration->costs[i];

		cost->window_ns = ng_quartiles_of(loop->window_ns, loop->window_count);
		cost->edge_ns = ng_quartiles_of(loop->edge_ns, loop->window_count);
		cost->windows = (uint32_t)loop->window_count;
	}
	if (!error)
		calibration->lead_ns = lead_cost(run);
	gated_release(&gated);
	return error;
}

int ng_calibrate(struct ng_calibration *ret_calibration, struct ng_diag *diag)
{
	struct ng_calibration calibration = {.measured_at_s = (uint64_t)time(NULL)};
	const uint64_t start = ng_clock_ns();
	struct run *run = run_new(NG_LOOP_COUNT, diag);
	int error;

	if (!run)
		return -ENOMEM;
	error = prepare(run);
	if (!error)
		error = measure_armed(run, ROUNDS);
	if (!error)
		error = conclude_armed(run, &calibration);
	if (!error)
		error = measure_windows(run, &calibration);
	run_free(run);
	if (error)
		return error;
	calibration.took_ns = ng_clock_ns() - start;
	*ret_calibration = calibration;
	return 0;
}

double ng_calibration_hit_ns(const struct ng_calibration *calibration, enum ng_site_class class)
{
	const struct ng_cost *cost = &calibration->costs[class];

	return cost->windows ? cost->window_ns.median : cost->median_ns;
}

int ng_calibrate_try(uint64_t *ret_hits, struct ng_diag *diag)
{
	struct run *run = run_new(1, diag);
	int error;

	if (!run)
		return -ENOMEM;
	error = prepare(run);
	if (!error)
		error = measure_armed(run, 1);
	if (!error)
		*ret_hits = run->loops[0].hits;
	run_free(run);
	return error;
}

int ng_calibration_renew(struct ng_calibration *ret_calibration, struct ng_diag *diag)
{
	int error = ng_calibrate(ret_calibration, diag);

	if (!error)
		(void)ng_calibration_save(ret_calibration); /* else the next run measures again */
	return error;
}

int ng_calibration_get(struct ng_calibration *ret_calibration, struct ng_diag *diag)
{
	/* Why there is none, or why it is not of this machine, does not matter: it is measured. */
	if (!ng_calibration_load(ret_calibration))
		return 0;
	return ng_calibration_renew(ret_calibration, diag);
}
