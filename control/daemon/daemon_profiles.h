/* Profiles by HTTP, as pprof asks for them: /profile?pid=PID&seconds=30. */
#ifndef NG_CONTROL_DAEMON_DAEMON_PROFILES_H
#define NG_CONTROL_DAEMON_DAEMON_PROFILES_H

#include "control/daemon/daemon_inside.h"

/** Answers what cannot be at once, the rest when its recording is over. */
void ng_daemon_answer_profile(struct ng_daemon *daemon, struct ng_http_request *request);

/** A request that waits for its profile is no more: the recording ends. */
void ng_daemon_forget_profile(struct ng_daemon *daemon, const struct ng_http_request *request);

/** Answers with the recordings that have ended; at each turn of the loop. */
void ng_daemon_profiles_turn(struct ng_daemon *daemon);

#endif
