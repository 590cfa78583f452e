/* What the daemon keeps of calls: who makes them, and the newest ones of each target. */
#ifndef NG_CONTROL_DAEMON_DAEMON_FLIGHT_H
#define NG_CONTROL_DAEMON_DAEMON_FLIGHT_H

#include <jansson.h>

#include "control/daemon/daemon_inside.h"

/** Before the fleet is opened, which then tells of calls. @return 0; -ENOMEM */
int ng_daemon_open_flight(
	struct ng_daemon *daemon, struct ng_fleet_options *fleet, struct ng_diag *diag);

/** About once a second; what is not due costs nothing. */
void ng_daemon_flight_turn(struct ng_daemon *daemon, uint64_t now_ns);

/** Forgets calls of processes that the fleet has forgotten. */
void ng_daemon_tidy_flight(struct ng_daemon *daemon);

/** What was lost of all targets, by cause. As ng_fleet_lost(). */
int ng_daemon_lost(const struct ng_daemon *daemon, uint64_t ret_lost[NG_LOSSES]);

/*
 * Both name what they tell of. Of a pid that several processes had, the one that lives, or else the
 * last one.
 *
 * @return 0; -ESRCH no such target; -ENOENT nothing is kept of it: with the reason; -ENOMEM
 */

/**
 * The newest calls: {"pid", "exe", "clock_offset_ns", "frames": [{"function", "file", "line",
 * "address"}], "stacks": [[indices of frames, innermost first]], "calls": [[time_ns, tid,
 * goroutine, index of a stack or -1, weight, window, stretch]] in the order in which they came,
 * "overwritten": calls before these}.
 */
int ng_answer_snapshot(
	struct ng_daemon *daemon, pid_t pid, json_t **ret_body, struct ng_diag *diag);

/** Who called in the last minute: {"seconds", "calls", "callers": [{"function", "file", "line",
 * "address", "calls"}], in no order}. */
int ng_answer_callers(struct ng_daemon *daemon, pid_t pid, json_t **ret_body, struct ng_diag *diag);

#endif
