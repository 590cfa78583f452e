/* What the daemon is made of; for the files of the daemon alone. */
#ifndef NG_CONTROL_DAEMON_DAEMON_INSIDE_H
#define NG_CONTROL_DAEMON_DAEMON_INSIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "control/daemon/config.h"
#include "control/daemon/daemon.h"
#include "control/daemon/http.h"
#include "control/daemon/metrics.h"
#include "control/daemon/notify.h"
#include "control/daemon/recording.h"
#include "control/daemon/server.h"
#include "control/daemon/state.h"
#include "control/daemon/triggers.h"
#include "control/daemon/watchdog.h"
#include "control/plane/fleet.h"
#include "control/plane/flight.h"

/** A section of the configuration, as it is attached. */
struct daemon_section {
	char name[NG_CONFIG_NAME_MAX];
	uint32_t id;
};

/** What triggers remember of one target. */
struct daemon_watched {
	pid_t pid;
	uint64_t since_ns; /* when it was attached: another of its pid was so at another time */
	struct ng_rate_memory rates;
	struct ng_trigger_memory *triggers; /* one for each of the configuration's */
	bool seen;
};

/** A request, and who asks. */
struct daemon_asked {
	struct ng_request *request;
	const struct ng_peer *peer;
};

#define NG_DAEMON_PROFILES_MAX 4 /* taken at the same time, of as many processes */

/** A profile that somebody waits for. */
struct daemon_profile {
	struct ng_http_request *request; /* NULL: nobody does */
	struct ng_recording *recording;
	pid_t pid; /* of whom */
};

/** What is served by HTTP. */
struct daemon_http {
	struct ng_http *server; /* NULL: the configuration wants none */
	struct ng_metrics metrics;
	struct ng_http_page *pages[NG_OPENMETRICS_FORMATS]; /* of one moment … */
	uint64_t good_until_ns;				    /* … and good until this one */
	double start_seconds;				    /* Unix time */
	struct daemon_profile profiles[NG_DAEMON_PROFILES_MAX];
};

struct ng_daemon {
	struct ng_daemon_options options;
	struct ng_config config;
	struct ng_watchdog *watchdog;
	struct ng_notify notify;
	struct ng_flight *flight; /* NULL: the configuration wants none */
	struct ng_fleet *fleet;
	struct ng_server *server;
	struct daemon_http http;
	struct ng_state state;
	int signal_fd;
	struct daemon_section *sections;
	size_t section_count;
	struct daemon_watched *watched;
	size_t watched_count;
	uint64_t triggers_ns; /* when rules are looked at next … */
	uint64_t tidy_ns;     /* … and what is kept of processes … */
	uint64_t flight_ns;   /* … and windows of callers move on */
	uint64_t started_ns;
	uint64_t unlogged; /* lines that the log had no room for */
	bool ending;
};

/** Writes a line of the log, unless the configuration wants fewer. Never waits for who reads it:
 * lines that find no room are counted. */
void ng_daemon_log(struct ng_daemon *daemon, enum ng_log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/** Attaches, the default functions where none are named. As ng_fleet_attach(). */
int ng_daemon_attach(struct ng_daemon *daemon, const struct ng_selector *select,
	const struct ng_names *functions, const struct ng_settings *settings, uint32_t *ret_id,
	size_t *ret_count, struct ng_diag *diag);

/** What an attachment is where nobody says otherwise. */
struct ng_settings ng_daemon_default_settings(const struct ng_daemon *daemon);

#endif
