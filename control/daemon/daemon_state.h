/* What the daemon keeps for its next start of what it was asked for, and how it takes that up. */
#ifndef NG_CONTROL_DAEMON_DAEMON_STATE_H
#define NG_CONTROL_DAEMON_DAEMON_STATE_H

#include "control/daemon/daemon_inside.h"

/** Keeps a request that was carried out, in the place of what it replaces. A failure is logged. */
void ng_daemon_keep(struct ng_daemon *daemon, const struct daemon_asked *asked);

/** Forgets what was asked for of processes that have ended. Not at each request: it takes a look at
 * each process, 1 ms for 20 of them. Call it again at daemon->tidy_ns. */
void ng_daemon_tidy_state(struct ng_daemon *daemon, uint64_t now_ns);

/** Takes up what was kept before a restart. What fails is logged, and forgotten. */
void ng_daemon_load_state(struct ng_daemon *daemon);

#endif
