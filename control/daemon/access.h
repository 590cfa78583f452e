/*
 * Who may do what: root may do all; others may look, and may control their own processes within
 * the budget that the configuration leaves them. Pure.
 */
#ifndef NG_CONTROL_DAEMON_ACCESS_H
#define NG_CONTROL_DAEMON_ACCESS_H

#include <sys/types.h>

#include "control/daemon/protocol.h"
#include "control/target/process.h"
#include "core/base/diag.h"

/** What the configuration leaves to others than root. */
struct ng_access {
	double budget_ratio;	 /* that a target gets where none is asked for */
	double max_budget_ratio; /* for others' targets; 0: others may only look */
};

/**
 * May this user ask for this? For others than root the request is narrowed on the way, when they
 * ask for a change: to their own uid's processes, and to a budget that is within theirs where they
 * name none. burst, full, `exact` and a rate go over a budget on purpose: they are root's.
 *
 * @return 0; -EPERM another user's processes, or any, are not theirs to control; -EBUSY the budget
 *         or the mode is more than they may have
 */
int ng_access_check(const struct ng_access *access, uid_t uid, struct ng_request *request,
	struct ng_diag *diag);

/**
 * May this user control this process? A program with the set-user-ID bit is not only the user's who
 * started it.
 *
 * @return 0; -EPERM
 */
int ng_access_check_process(
	uid_t uid, pid_t pid, const struct ng_owner *owner, struct ng_diag *diag);

#endif
