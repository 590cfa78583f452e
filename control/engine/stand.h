/*
 * The test stand: a private child process that runs the loops of loop.h and times them, so that
 * only it is ever armed.
 *
 * The child is a fork of nowgate, ordered about through a socket, and gone with its parent in any
 * case: killed by ng_stand_free(), by the kernel when the parent ends (PR_SET_PDEATHSIG), and by
 * itself when the socket closes.
 */
#ifndef NG_CONTROL_ENGINE_STAND_H
#define NG_CONTROL_ENGINE_STAND_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "control/engine/loop.h"
#include "core/base/diag.h"

#define NG_STAND_TIMES_MAX 4096

struct ng_stand;

/**
 * Forks the child. Call it with one thread.
 *
 * @return 0; -ENOMEM; -EAGAIN …: with the text
 */
int ng_stand_new(struct ng_stand **ret_stand, struct ng_diag *diag);
void ng_stand_free(struct ng_stand *stand);

pid_t ng_stand_pid(const struct ng_stand *stand);

/** Times of one order. */
struct ng_times {
	const uint32_t *ns;    /* each batch's; borrowed from the stand until the next order */
	const uint32_t *index; /* which batch it was, counted from the order's start */
	size_t count;
};

/** What to run in batches. */
struct ng_batches {
	enum ng_loop_number loop;
	uint32_t iterations; /* a batch */
	uint32_t batches;    /* at most NG_STAND_TIMES_MAX … */
	uint32_t time_ns;    /* … and none begins later than this */
};

/**
 * Runs batches and times each.
 *
 * @return 0; -ECHILD the child is gone; -ETIMEDOUT it does not get to run
 */
int ng_stand_run(struct ng_stand *stand, const struct ng_batches *batches,
	struct ng_times *ret_times, struct ng_diag *diag);

/** What an iteration takes while nothing is armed: the median of some batches, in ns.
 * @return as ng_stand_run() */
int ng_stand_unarmed(struct ng_stand *stand, enum ng_loop_number loop, uint32_t iterations,
	double *ret_ns, struct ng_diag *diag);

/** What to run on and on. */
struct ng_watch {
	enum ng_loop_number loop;
	uint32_t threshold_ns; /* single iterations that take longer are noted, the others not */
};

/** Begins to run single iterations, on and on. When it returns, the child is at it. */
int ng_stand_watch(struct ng_stand *stand, const struct ng_watch *watch, struct ng_diag *diag);

/** Ends that. @param ret_times of what was noted; the first NG_STAND_TIMES_MAX of it */
int ng_stand_unwatch(struct ng_stand *stand, struct ng_times *ret_times, struct ng_diag *diag);

#endif
