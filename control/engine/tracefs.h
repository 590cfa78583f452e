/*
 * tracefs: where uprobe events are defined.
 *
 * We mount an instance of our own that is attached nowhere (fsopen, fsmount): it needs no mount
 * point, changes nothing on the machine, and goes with its descriptor.
 */
#ifndef NG_CONTROL_ENGINE_TRACEFS_H
#define NG_CONTROL_ENGINE_TRACEFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/diag.h"

#define NG_TRACEFS_GROUP_MAX 64 /* bytes with the NUL; the kernel's MAX_EVENT_NAME_LEN */

/**
 * Opens the root of tracefs: a detached mount, else the one at /sys/kernel/tracing.
 *
 * @return a descriptor (O_CLOEXEC) for openat(); -EPERM, -ENODEV … with the text
 */
int ng_tracefs_open(struct ng_diag *diag);

/** The group of our own events: "nowgate_PID_START" (start in clock ticks since boot), as unique as
 * a process is. */
int ng_tracefs_group(char group[NG_TRACEFS_GROUP_MAX]);

/** One uprobe event to define. */
struct ng_tracefs_uprobe {
	const char *group;
	const char *name;
	int image_fd;	 /* the file, by descriptor: works for deleted and hidden ones */
	uint64_t offset; /* in the file, of a proven instruction */
};

/**
 * Defines a uprobe event. It costs nothing until a perf event is opened on it, but it pins the
 * file's mount until it is removed.
 *
 * @param ret_id the tracepoint id, for perf_event_attr.config
 */
int ng_tracefs_define(int tracefs_fd, const struct ng_tracefs_uprobe *uprobe, uint64_t *ret_id,
	struct ng_diag *diag);

/** Reads an event's tracepoint id, for perf_event_attr.config. @return 0; -ENOENT … */
int ng_tracefs_event_id(int tracefs_fd, const char *group, const char *name, uint64_t *ret_id);

/**
 * Removes a definition, again and again while the kernel still holds it (for about 0.1 s after the
 * last perf event's close), at most a second.
 *
 * @return 0, also where it is gone already; -EBUSY
 */
int ng_tracefs_remove(int tracefs_fd, const char *group, const char *name);

/**
 * Removes what dead runs of nowgate left. What a living one uses is never touched: its process is
 * alive, and the kernel refuses to remove an event in use in any case.
 *
 * @return how many definitions were removed, or a negative errno
 */
int ng_tracefs_sweep(int tracefs_fd);

/** Counts definitions whose owner is dead; for `nowgate doctor`. */
int ng_tracefs_count_stale(int tracefs_fd);

#endif
