/*
 * Perf events that arm breakpoints by being open: of a uprobe tracepoint, or of the uprobe unit.
 */
#ifndef NG_CONTROL_ENGINE_PERF_H
#define NG_CONTROL_ENGINE_PERF_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/** Whom a perf event hangs on, and what comes with it. */
struct ng_perf_hold {
	pid_t tid; /* -1: every process */
	int cpu;   /* -1: every CPU */
	bool inherit;
	bool inherit_forks; /* not only threads, child processes too */
};

/** Opens a tracepoint's event, disabled. @return a descriptor, or a negative errno */
int ng_perf_open(uint64_t tracepoint_id, const struct ng_perf_hold *hold);

/**
 * Opens one that arms a process, above all other descriptors, and such that the kernel never swaps
 * it between tasks where it can.
 *
 * @param swaps set where it may swap them; where it is set already, nothing else is tried
 * @return a descriptor, or a negative errno
 */
int ng_perf_open_inherited(uint64_t tracepoint_id, const struct ng_perf_hold *hold, bool *swaps);

/** Opens a breakpoint in a file, for a link. @param tid -1: in every process @return a descriptor;
 * a negative errno, also where the kernel has no such unit */
int ng_perf_open_uprobe(int image_fd, uint64_t offset, pid_t tid);

#endif
