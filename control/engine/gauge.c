#include "control/engine/gauge.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/engine/window.h"
#include "core/base/clock.h"

#define WINDOW_NS (3 * NG_NS_PER_MS)

/* Iterations that take this part of a hit are noted; an unarmed one takes 2 ns, and the clock 25.
 */
#define THRESHOLD_SHARE 0.25

struct ng_gauge {
	struct ng_uprobe *engine;
	struct ng_gates *gates;
	struct ng_stand *stand;
	int image_fd;			       /* our own file */
	uint32_t gate;			       /* 0: none yet */
	uint64_t tracepoints[NG_LOOPS_ALL][2]; /* of each loop's site, and its lead */
	struct ng_window_parts parts;
};

static int define_loop(struct ng_gauge *gauge, enum ng_loop_number number, struct ng_diag *diag)
{
	const struct ng_loop *loop = ng_loop_get(number);
	uint64_t *tracepoints = gauge->tracepoints[number];
	uint64_t offset;
	uint32_t site, lead;
	int error = ng_loop_offset(loop->site, &offset, diag);

	if (!error)
		error = ng_uprobe_add_site(gauge->engine, gauge->image_fd, offset, &site, diag);
	if (error)
		return error;
	tracepoints[0] = ng_uprobe_tracepoint(gauge->engine, site);
	if (!loop->lead)
		return 0;
	error = ng_loop_offset(loop->lead, &offset, diag);
	if (!error)
		error = ng_uprobe_add_lead(
			gauge->engine, gauge->image_fd, offset, site, &lead, diag);
	if (!error)
		tracepoints[1] = ng_uprobe_tracepoint(gauge->engine, lead);
	return error;
}

static int define_loops(struct ng_gauge *gauge, struct ng_diag *diag)
{
	int error = 0;

	gauge->image_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (gauge->image_fd < 0)
		return ng_diag_set(
			diag, -errno, "nowgate cannot open its own file: %s", strerror(errno));
	for (int i = 0; !error && i < NG_LOOPS_ALL; i++)
		error = define_loop(gauge, i, diag);
	return error;
}

static int take_gate(struct ng_gauge *gauge)
{
	struct ng_target target = {.flags = 0};
	const int gate = ng_gates_take(gauge->gates);

	if (gate < 0)
		return gate;
	gauge->gate = target.gate = (uint32_t)gate;
	__atomic_store_n(
		&ng_gates_at(gauge->gates, gauge->gate)->mode, NG_MODE_SAMPLED, __ATOMIC_RELEASE);
	return ng_uprobe_watch(gauge->engine, ng_stand_pid(gauge->stand), &target);
}

int ng_gauge_new(struct ng_uprobe *engine, struct ng_gates *gates, struct ng_stand *stand,
	struct ng_gauge **ret_gauge, struct ng_diag *diag)
{
	struct ng_gauge *gauge = calloc(1, sizeof(*gauge));
	int error;

	if (!gauge)
		return -ENOMEM;
	*gauge =
		(struct ng_gauge){.engine = engine, .gates = gates, .stand = stand, .image_fd = -1};
	error = define_loops(gauge, diag);
	if (!error)
		error = ng_gates_follow_switches(gates, true, diag);
	if (!error)
		error = take_gate(gauge);
	if (error) {
		ng_gauge_free(gauge);
		return error;
	}
	*ret_gauge = gauge;
	return 0;
}

void ng_gauge_free(struct ng_gauge *gauge)
{
	if (!gauge)
		return;
	if (gauge->gate) {
		ng_uprobe_unwatch(gauge->engine, ng_stand_pid(gauge->stand));
		ng_gates_give(gauge->gates, gauge->gate);
	}
	if (gauge->image_fd >= 0)
		close(gauge->image_fd);
	free(gauge);
}

int ng_gauge_read(struct ng_gauge *gauge, enum ng_loop_number loop, double hit_ns,
	struct ng_gauge_reading *ret_reading, struct ng_diag *diag)
{
	const struct ng_watch watch = {
		.loop = loop, .threshold_ns = (uint32_t)(hit_ns * THRESHOLD_SHARE)};
	const struct ng_window_order order = {.pid = ng_stand_pid(gauge->stand),
		.gate = gauge->gate,
		.tracepoints = gauge->tracepoints[loop],
		.count = ng_loop_get(loop)->lead ? 2 : 1,
		.settle_ns = NG_WINDOW_SETTLE_NS,
		.length_ns = WINDOW_NS,
		.tokens = INT64_MAX};
	struct ng_window_times window_times;
	struct ng_gauge_reading reading = {.calls = 0};
	struct ng_times times;
	int error = ng_stand_unarmed(gauge->stand, loop, 1, &reading.unarmed_ns, diag);

	if (!error)
		error = ng_stand_watch(gauge->stand, &watch, diag);

	if (error)
		return error;
	error = ng_window_run(gauge->gates, &order, &gauge->parts, &window_times);
	if (error) {
		(void)ng_stand_unwatch(gauge->stand, &times, NULL); /* the first error counts */
		return ng_diag_set(diag, error == -ESRCH ? -ECHILD : error,
			"a window on a child of ours failed: %s", strerror(-error));
	}
	error = ng_stand_unwatch(gauge->stand, &times, diag);
	if (error)
		return error;
	const struct ng_window_log log = {.ns = times.ns,
		.index = times.index,
		.count = times.count,
		.unarmed_ns = reading.unarmed_ns};

	error = ng_window_measure(&log, &reading.window);
	if (error)
		return error;
	reading.calls = gauge->parts.calls;
	for (size_t i = 0; i < gauge->parts.count; i++) {
		if (gauge->parts.items[i].is_time)
			reading.ran_ns += (double)gauge->parts.items[i].value;
	}
	*ret_reading = reading;
	return 0;
}
