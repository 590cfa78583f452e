/*
 * The daemon: a fleet, a socket to steer it by, a configuration, a state that survives, and a
 * watchdog beside it. It runs in the foreground: a service manager's or a container's child.
 */
#ifndef NG_CONTROL_DAEMON_DAEMON_H
#define NG_CONTROL_DAEMON_DAEMON_H

#include <stdbool.h>

#include "core/base/diag.h"

struct ng_daemon_options {
	const char *config_path;   /* NULL: NG_CONFIG_PATH, which may be missing */
	const char *config_folder; /* NULL: NG_CONFIG_FOLDER; not read beside a config_path */
	const char *socket_path;   /* NULL: the configuration's */
	const char *state_dir;	   /* NULL: the configuration's */
};

/**
 * Runs until it is told to end, by SIGTERM or SIGINT; SIGHUP reloads the configuration. Everything
 * is disarmed when it returns. One thread may do so, and no other may be there.
 *
 * @return 0; what opening one of the parts gave, with the text
 */
int ng_daemon_run(const struct ng_daemon_options *options, struct ng_diag *diag);

#endif
