/*
 * One short armed window on one process, from its arming to its disarming: what sampled mode is
 * made of.
 *
 * The breakpoints hang on one thread. Should that exit meanwhile, the window is cut short, which it
 * tells. Calls count only between the opening, some time after arming, and the closing, before
 * disarming: what the edges disturb is not seen.
 */
#ifndef NG_CONTROL_ENGINE_WINDOW_H
#define NG_CONTROL_ENGINE_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "control/engine/gates.h"

/* Calls count only this long after arming: what that disturbs is over by then. */
#define NG_WINDOW_SETTLE_NS 50000ull

#define NG_WINDOW_SITES_MAX 256 /* sites armed together in a window … */
#define NG_WINDOW_LEADS_MAX 4	/* … and leads of theirs */

struct ng_window_order {
	pid_t pid;
	uint32_t gate;
	const uint64_t *tracepoints; /* of the sites to arm: ng_uprobe_tracepoint() */
	size_t count;		     /* at most NG_WINDOW_SITES_MAX + NG_WINDOW_LEADS_MAX */
	uint64_t settle_ns;	     /* from arming to opening */
	uint64_t length_ns;	     /* from opening to closing, at the most */
	int64_t tokens;		     /* calls after which it closes early */
};

/** When things happened; CLOCK_MONOTONIC. */
struct ng_window_times {
	uint64_t asked_ns;
	uint64_t armed_ns;    /* the kernel said that it is; first hits can come a little earlier */
	uint64_t disarmed_ns; /* the last descriptor was closed */
};

/**
 * Runs a window; takes as long as that. Any number of threads may run windows of different gates.
 *
 * @return 0; -ESRCH the process, or the thread that held the breakpoints, is gone: nothing of the
 *         window counts; -EBUSY all windows are open; -EMFILE, -EPERM
 */
int ng_window_run(struct ng_gates *gates, const struct ng_window_order *order,
	struct ng_window_parts *ret_parts, struct ng_window_times *ret_times);

#endif
