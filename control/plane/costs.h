/*
 * What hits cost now, beside what the calibration found: on a busy host that changes by a third
 * from one minute to the next. Read with a gauge in a child of ours, by a worker, while windows
 * run.
 *
 * One thread uses it; readings run in a worker.
 */
#ifndef NG_CONTROL_PLANE_COSTS_H
#define NG_CONTROL_PLANE_COSTS_H

#include <stdbool.h>
#include <stdint.h>

#include "control/engine/calibrate.h"
#include "control/engine/gates.h"
#include "control/engine/uprobe.h"
#include "control/plane/workers.h"
#include "core/base/diag.h"

struct ng_cost_now {
	double scale;	    /* times what was calibrated */
	double error_ratio; /* its standard error, relative */
	double own_ns;	    /* CPU time of our own for each window, where no CPU is idle */
};

/**
 * What hits cost in a target, by what the gauge's child told.
 *
 * @param ratio a hit in the child now, to what was calibrated
 */
struct ng_cost_now ng_cost_gauged(double ratio, double own_ns);

struct ng_costs;

/** Forks the child; call it with one thread. @return 0; -ENOMEM; what ng_stand_new() gave */
int ng_costs_new(struct ng_costs **ret_costs, struct ng_diag *diag);

/**
 * Defines what is armed in the child.
 *
 * @param engine opened with NG_GATING_EACH; like the gates it must outlive the costs
 * @return 0; what ng_gauge_new() gave
 */
int ng_costs_open(struct ng_costs *costs, const struct ng_calibration *calibration,
	struct ng_uprobe *engine, struct ng_gates *gates, struct ng_diag *diag);

/** No reading may be under way. NULL does nothing. */
void ng_costs_free(struct ng_costs *costs);

/** What was found last; of the same address as long as the costs live. */
const struct ng_cost_now *ng_costs_now(const struct ng_costs *costs);

/**
 * Takes a look at what we use ourselves, and posts a reading if one is due.
 *
 * @param windows how many there were of all targets: where there are no new ones nobody needs to
 * know
 * @param cpu_ns CPU time that was used for targets so far, the workers' not counted
 */
void ng_costs_tick(struct ng_costs *costs, struct ng_workers *workers, uint64_t windows,
	uint64_t cpu_ns, uint64_t now_ns);

/** Takes a reading back. @return false: the job is somebody else's */
bool ng_costs_collect(struct ng_costs *costs, const struct ng_job *job);

#endif
