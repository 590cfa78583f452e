/*
 * A gauge: loops of known code in a child of ours, armed in windows through a gate like any
 * target's, to tell what a hit costs now. On a busy host that changes by a third from one minute to
 * the next.
 *
 * One thread uses a gauge at a time.
 */
#ifndef NG_CONTROL_ENGINE_GAUGE_H
#define NG_CONTROL_ENGINE_GAUGE_H

#include "control/engine/gates.h"
#include "control/engine/loop.h"
#include "control/engine/stand.h"
#include "control/engine/uprobe.h"
#include "core/base/diag.h"
#include "core/stat/window.h"

struct ng_gauge;

/**
 * Defines the loops' sites, and takes a gate.
 *
 * @param engine opened with NG_GATING_EACH; like the gates and the stand it must outlive the gauge
 */
int ng_gauge_new(struct ng_uprobe *engine, struct ng_gates *gates, struct ng_stand *stand,
	struct ng_gauge **ret_gauge, struct ng_diag *diag);
void ng_gauge_free(struct ng_gauge *gauge);

/** What one window on a loop showed. */
struct ng_gauge_reading {
	struct ng_window window; /* by single iterations: medians, and the edges */
	/* All that the child did while the window was open, interruptions and all: as a target's
	 * threads are seen. */
	uint64_t calls;
	double ran_ns;
	double unarmed_ns; /* what an iteration takes unarmed */
};

/**
 * Runs one window of 3 ms on a loop.
 *
 * @param hit_ns what a hit costs, roughly
 * @return 0; -ENODATA the child hardly ran; -ECHILD it is gone; what ng_window_run() gave
 */
int ng_gauge_read(struct ng_gauge *gauge, enum ng_loop_number loop, double hit_ns,
	struct ng_gauge_reading *ret_reading, struct ng_diag *diag);

#endif
