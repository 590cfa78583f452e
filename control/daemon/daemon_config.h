/* The daemon's configuration: read at its start, attached section by section, and read again. */
#ifndef NG_CONTROL_DAEMON_DAEMON_CONFIG_H
#define NG_CONTROL_DAEMON_DAEMON_CONFIG_H

#include "control/daemon/daemon_inside.h"

/** Reads the configuration, under what the command line says. @return 0; -ENOMEM; what
 * ng_config_load() gave: with the text */
int ng_daemon_load_config(
	const struct ng_daemon *daemon, struct ng_config *ret_config, struct ng_diag *diag);

/** Attaches what a section says. A failure is logged. */
void ng_daemon_attach_section(struct ng_daemon *daemon, const struct ng_config_attach *from);

/** The section with this name, if it is attached; NULL. */
struct daemon_section *ng_daemon_section(struct ng_daemon *daemon, const char *name);

/** Reads the configuration again and carries out what has changed. Where it cannot be read, that is
 * logged, and the old one holds. */
void ng_daemon_reload(struct ng_daemon *daemon);

#endif
