/*
 * Calibration: what a hit costs the thread that makes it, on this machine, now.
 *
 * Measured in a private child, which runs loops of known code armed and not armed; the difference
 * is the cost. It depends on the CPU, the hypervisor and the kernel, and up to half of it on what
 * else the machine does meanwhile. So it is measured, never assumed, and tells its spread.
 */
#ifndef NG_CONTROL_ENGINE_CALIBRATE_H
#define NG_CONTROL_ENGINE_CALIBRATE_H

#include <stdbool.h>
#include <stdint.h>

#include "control/engine/loop.h"
#include "core/base/diag.h"
#include "core/stat/quartiles.h"

/** What a hit costs at one kind of instruction. */
struct ng_cost {
	/* While armed for long. One value is the mean of a batch of hits, about 50 us long. */
	double low_ns; /* first quartile of the batches */
	double median_ns;
	double high_ns; /* third quartile */
	uint32_t batches;

	/* While armed for 1 ms at a time; not measured where `windows` is 0 (without tracefs there
	 * are no short windows). Quartiles over the windows. */
	struct ng_quartiles window_ns; /* a hit */
	struct ng_quartiles edge_ns; /* once a window: what arming and disarming cost the thread */
	uint32_t windows;
};

struct ng_calibration {
	/* By enum ng_loop_number; the first NG_SITE_STEPPED + 1 are those of the site classes, so
	 * that costs[site->class] is what a hit there costs. */
	struct ng_cost costs[NG_LOOP_COUNT];
	/* What a hit of a lead (bpf/abi.h) costs in windows: where both are armed, a call costs
	 * this more; the median. 0: not measured. */
	double lead_ns;
	uint64_t hits;		/* made while armed for long; each of them was counted */
	uint64_t took_ns;	/* how long it took */
	uint64_t measured_at_s; /* Unix time */
};

/** What a hit costs in a window, at a site of a class. */
double ng_calibration_hit_ns(const struct ng_calibration *calibration, enum ng_site_class class);

/**
 * Measures, in 0.9 s: 0.3 s of it armed, 0.5 s for taking the probes out again; 1.2 s seen on
 * a machine with no CPU to spare.
 *
 * Forks: call it with one thread, and before sites of one's own are added to an engine. The child
 * is gone when it returns.
 *
 * @return 0; -EPERM a privilege is missing; -ENOTSUP the kernel lacks something; -EIO a probe does
 *         not count what it should; -ETIMEDOUT the machine gave the child no time; -ECHILD the
 * child was killed; with the text
 */
int ng_calibrate(struct ng_calibration *ret_calibration, struct ng_diag *diag);

/**
 * Tries whether probes work, in 0.2 s: places one in a private child, and counts its hits.
 *
 * @param ret_hits how many there were, each counted
 * @return as ng_calibrate()
 */
int ng_calibrate_try(uint64_t *ret_hits, struct ng_diag *diag);

/**
 * Loads this machine's calibration if there is one (control/engine/calibration_file.h), else
 * measures and stores it.
 *
 * @return 0, or what ng_calibrate() gave
 */
int ng_calibration_get(struct ng_calibration *ret_calibration, struct ng_diag *diag);

/** Measures, and stores it for others. @return as ng_calibrate() */
int ng_calibration_renew(struct ng_calibration *ret_calibration, struct ng_diag *diag);

#endif
