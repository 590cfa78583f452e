/* What the daemon serves by HTTP: where it stands for metrics, and what else there is. */
#ifndef NG_CONTROL_DAEMON_DAEMON_HTTP_H
#define NG_CONTROL_DAEMON_DAEMON_HTTP_H

#include "control/daemon/daemon_inside.h"

/** Listens where the configuration says; nowhere, if it says no. @return 0; as ng_http_open() */
int ng_daemon_open_http(struct ng_daemon *daemon, struct ng_diag *diag);
void ng_daemon_close_http(struct ng_daemon *daemon);

/** For the loop: -1 and UINT64_MAX where nothing is served. */
int ng_daemon_http_fd(const struct ng_daemon *daemon);
uint64_t ng_daemon_http_deadline_ns(const struct ng_daemon *daemon);
void ng_daemon_http_turn(struct ng_daemon *daemon);

#endif
