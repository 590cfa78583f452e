/* The daemon's look at its triggers: the rates of all targets, against the configuration's rules.
 */
#ifndef NG_CONTROL_DAEMON_DAEMON_TRIGGERS_H
#define NG_CONTROL_DAEMON_DAEMON_TRIGGERS_H

#include "control/daemon/daemon_inside.h"

/** Puts into burst what a trigger fires for, and sets when to look next. */
void ng_daemon_look_at_triggers(struct ng_daemon *daemon, uint64_t now_ns);

/** Forgets what triggers remember of all targets. */
void ng_daemon_forget_watched(struct ng_daemon *daemon);

#endif
