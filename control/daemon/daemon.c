#include "control/daemon/daemon_inside.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "control/daemon/daemon_config.h"
#include "control/daemon/daemon_flight.h"
#include "control/daemon/daemon_http.h"
#include "control/daemon/daemon_requests.h"
#include "control/daemon/daemon_state.h"
#include "control/daemon/daemon_triggers.h"
#include "core/base/clock.h"

/* Often enough for the watchdog, which looks for a heartbeat each 400 ms. */
#define TURN_MAX_NS (100 * NG_NS_PER_MS)

/* Of a line of the log: well below PIPE_BUF, which is written at once or not at all. */
#define LINE_BYTES_MAX 2048

static bool write_line(enum ng_log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Whoever reads the log may have stopped: a pipe that says it has room has it for a line. */
static bool write_line(enum ng_log_level level, const char *format, ...)
{
	struct pollfd log = {.fd = STDERR_FILENO, .events = POLLOUT};
	char line[PIPE_BUF];
	va_list args;
	int length;

	if (poll(&log, 1, 0) <= 0 || !(log.revents & POLLOUT))
		return false;
	length = snprintf(line, sizeof(line), "nowgate daemon: %s: ", ng_log_level_name(level));
	va_start(args, format);
	length += vsnprintf(line + length, sizeof(line) - (size_t)length, format, args);
	va_end(args);
	line[length++] = '\n';
	return write(STDERR_FILENO, line, (size_t)length) == length;
}

void ng_daemon_log(struct ng_daemon *daemon, enum ng_log_level level, const char *format, ...)
{
	char text[LINE_BYTES_MAX];
	va_list args;

	if (level > daemon->config.log_level)
		return;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args); /* a long line is cut */
	va_end(args);
	if (daemon->unlogged &&
		write_line(NG_LOG_WARNING, "%" PRIu64 " lines of the log found no reader",
			daemon->unlogged))
		daemon->unlogged = 0;
	if (daemon->unlogged || !write_line(level, "%s", text))
		daemon->unlogged++;
}

static void on_note(const char *note, void *context)
{
	ng_daemon_log(context, NG_LOG_WARNING, "%s", note);
}

static const char *const default_functions[] = {"time.Now"};

int ng_daemon_attach(struct ng_daemon *daemon, const struct ng_selector *select,
	const struct ng_names *functions, const struct ng_settings *settings, uint32_t *ret_id,
	size_t *ret_count, struct ng_diag *diag)
{
	struct ng_attachment attachment = {.selector = *select,
		.wanted = {.functions = default_functions, .function_count = 1},
		.settings = *settings};

	if (functions->count) {
		attachment.wanted.functions = (const char *const *)functions->items;
		attachment.wanted.function_count = functions->count;
	}
	return ng_fleet_attach(daemon->fleet, &attachment, ret_id, ret_count, diag);
}

struct ng_settings ng_daemon_default_settings(const struct ng_daemon *daemon)
{
	return (struct ng_settings){
		.mode = NG_MODE_SAMPLED, .budget_ratio = daemon->config.budget_ratio};
}

static int open_signals(struct ng_daemon *daemon)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGPIPE); /* a log that nobody reads does not end us */
	sigaddset(&set, SIGIO);	  /* somebody wants to write to a file of ours: seen at each tick */
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return -errno;
	sigdelset(&set, SIGPIPE);
	sigdelset(&set, SIGIO);
	daemon->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return daemon->signal_fd < 0 ? -errno : 0;
}

static void take_signals(struct ng_daemon *daemon)
{
	struct signalfd_siginfo info;

	while (read(daemon->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGHUP)
			ng_daemon_reload(daemon);
		else
			daemon->ending = true;
	}
}

static int open_all(struct ng_daemon *daemon, struct ng_diag *diag)
{
	struct ng_fleet_options fleet = {.on_note = on_note, .context = daemon};
	struct ng_server_options server = {.on_request = ng_daemon_on_request, .context = daemon};
	int error = ng_daemon_load_config(daemon, &daemon->config, diag);

	if (!error)
		error = ng_watchdog_start(&daemon->watchdog, diag);
	if (!error)
		error = open_signals(daemon);
	if (!error && ng_notify_open(&daemon->notify, diag))
		ng_daemon_log(daemon, NG_LOG_WARNING, "%s", diag->text);
	diag->text[0] = '\0';
	server.path = daemon->config.socket_path;
	if (!error) /* first: a second daemon ends here, before it touches anything */
		error = ng_server_open(&server, &daemon->server, diag);
	if (!error)
		error = ng_daemon_open_http(daemon, diag);
	if (!error)
		error = ng_daemon_open_flight(daemon, &fleet, diag);
	if (!error)
		error = ng_fleet_open(&fleet, &daemon->fleet, diag);
	return error;
}

static void close_all(struct ng_daemon *daemon)
{
	ng_server_free(daemon->server);
	ng_daemon_close_http(daemon);
	ng_fleet_free(daemon->fleet);
	ng_flight_free(daemon->flight);
	ng_notify_close(&daemon->notify);
	if (daemon->signal_fd >= 0)
		close(daemon->signal_fd);
	ng_watchdog_free(daemon->watchdog);
	ng_state_release(&daemon->state);
	ng_daemon_forget_watched(daemon);
	free(daemon->sections);
	ng_config_release(&daemon->config);
}

/* Somebody has killed it. Where there can be no other, the daemon ends. */
static int replace_watchdog(struct ng_daemon *daemon, struct ng_diag *diag)
{
	ng_daemon_log(daemon, NG_LOG_WARNING, "the watchdog has been killed: it is started again");
	ng_watchdog_free(daemon->watchdog);
	daemon->watchdog = NULL;
	return ng_watchdog_start(&daemon->watchdog, diag);
}

static int wait_for_something(struct ng_daemon *daemon, uint64_t until_ns, struct ng_diag *diag)
{
	struct pollfd fds[] = {{.fd = daemon->signal_fd, .events = POLLIN},
		{.fd = ng_fleet_event_fd(daemon->fleet), .events = POLLIN},
		{.fd = ng_server_event_fd(daemon->server), .events = POLLIN},
		{.fd = ng_watchdog_event_fd(daemon->watchdog), .events = POLLIN},
		{.fd = ng_daemon_http_fd(daemon), .events = POLLIN}};
	const uint64_t now_ns = ng_clock_ns();
	const uint64_t wait_ns = until_ns > now_ns ? until_ns - now_ns : 0;
	const struct timespec timeout = {.tv_sec = (time_t)(wait_ns / NG_NS_PER_S),
		.tv_nsec = (long)(wait_ns % NG_NS_PER_S)};

	if (ppoll(fds, sizeof(fds) / sizeof(fds[0]), &timeout, NULL) < 0)
		return errno == EINTR ? 0 : -errno;
	return fds[3].revents ? replace_watchdog(daemon, diag) : 0;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static int loop(struct ng_daemon *daemon, struct ng_diag *diag)
{
	uint64_t next_ns = 0;
	int error = 0;

	while (!daemon->ending) {
		uint64_t now_ns = ng_clock_ns();

		next_ns = earlier(next_ns, ng_server_deadline_ns(daemon->server));
		next_ns = earlier(next_ns, ng_daemon_http_deadline_ns(daemon));
		error = wait_for_something(daemon, earlier(next_ns, now_ns + TURN_MAX_NS), diag);
		if (error)
			break;
		take_signals(daemon);
		ng_server_turn(daemon->server);
		ng_daemon_http_turn(daemon);
		next_ns = ng_fleet_turn(daemon->fleet);
		ng_watchdog_set_deadline(daemon->watchdog, ng_fleet_deadline(daemon->fleet));
		ng_watchdog_beat(daemon->watchdog);
		(void)ng_notify_watchdog(&daemon->notify);
		now_ns = ng_clock_ns();
		if (now_ns >= daemon->triggers_ns)
			ng_daemon_look_at_triggers(daemon, now_ns);
		if (now_ns >= daemon->tidy_ns) {
			ng_daemon_tidy_state(daemon, now_ns);
			ng_daemon_tidy_flight(daemon);
		}
		ng_daemon_flight_turn(daemon, now_ns);
	}
	return error;
}

int ng_daemon_run(const struct ng_daemon_options *options, struct ng_diag *diag)
{
	struct ng_daemon daemon = {.options = *options, .signal_fd = -1, .notify = NG_NOTIFY_INIT};
	int error = open_all(&daemon, diag);

	if (!error) {
		daemon.started_ns = ng_clock_ns();
		for (size_t i = 0; i < daemon.config.attach_count; i++)
			ng_daemon_attach_section(&daemon, &daemon.config.attaches[i]);
		ng_daemon_load_state(&daemon);
		ng_daemon_log(&daemon, NG_LOG_INFO, "listening on %s", daemon.config.socket_path);
		(void)ng_notify_ready(&daemon.notify);
		error = loop(&daemon, diag);
		/* Closing takes a grace period a site, and disarms whatever was due. */
		if (daemon.watchdog)
			ng_watchdog_set_deadline(daemon.watchdog, 0);
		(void)ng_notify_stopping(&daemon.notify);
		ng_daemon_log(&daemon, NG_LOG_INFO, "ending: everything is disarmed");
	}
	close_all(&daemon);
	return error;
}
