/* What the daemon does for those who ask by its socket. */
#ifndef NG_CONTROL_DAEMON_DAEMON_REQUESTS_H
#define NG_CONTROL_DAEMON_DAEMON_REQUESTS_H

#include "control/daemon/daemon_inside.h"

/** Carries out a request; for ng_server_options. @param context the daemon */
void ng_daemon_on_request(const struct ng_request *request, const struct ng_peer *peer,
	char **ret_answer, void *context);

#endif
