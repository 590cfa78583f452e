#include "control/daemon/daemon.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "control/daemon/access.h"
#include "control/daemon/answers.h"
#include "control/daemon/config.h"
#include "control/daemon/notify.h"
#include "control/daemon/server.h"
#include "control/daemon/state.h"
#include "control/daemon/triggers.h"
#include "control/daemon/watchdog.h"
#include "control/plane/fleet.h"
#include "control/target/process.h"
#include "core/base/clock.h"

/* Often enough for the watchdog, which looks for a heartbeat each 400 ms. */
#define TURN_MAX_NS (100 * NG_NS_PER_MS)

#define TRIGGERS_NS NG_NS_PER_S /* how often rules are looked at */

/** A section of the configuration, as it is attached. */
struct section {
	char name[NG_CONFIG_NAME_MAX];
	uint32_t id;
};

/** What triggers remember of one target. */
struct watched {
	pid_t pid;
	struct ng_rate_memory rates;
	struct ng_trigger_memory *triggers; /* one for each of the configuration's */
	bool seen;
};

struct daemon {
	struct ng_daemon_options options;
	struct ng_config config;
	struct ng_watchdog *watchdog;
	struct ng_notify notify;
	struct ng_fleet *fleet;
	struct ng_server *server;
	struct ng_state state;
	int signal_fd;
	struct section *sections;
	size_t section_count;
	struct watched *watched;
	size_t watched_count;
	uint64_t triggers_ns; /* when rules are looked at next */
	uint64_t started_ns;
	bool ending;
};

static void log_line(struct daemon *daemon, enum ng_log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void log_line(struct daemon *daemon, enum ng_log_level level, const char *format, ...)
{
	va_list args;

	if (level > daemon->config.log_level)
		return;
	fprintf(stderr, "nowgate daemon: %s: ", ng_log_level_name(level));
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

static void on_note(const char *note, void *context)
{
	log_line(context, NG_LOG_WARNING, "%s", note);
}

/* --- attaching -----------------------------------------------------------------------------------
 */

static const char *const default_functions[] = {"time.Now"};

static int attach(struct daemon *daemon, const struct ng_selector *select,
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

static struct ng_settings default_settings(const struct daemon *daemon)
{
	return (struct ng_settings){
		.mode = NG_MODE_SAMPLED, .budget_ratio = daemon->config.budget_ratio};
}

/* --- requests ------------------------------------------------------------------------------------
 */

/* A change that could not be kept still holds until the daemon ends: it is said, and not undone. */
static void save_state(struct daemon *daemon)
{
	struct ng_diag diag = NG_DIAG_INIT;

	if (ng_state_save(daemon->config.state_dir, &daemon->state, &diag))
		log_line(daemon, NG_LOG_ERROR, "what was asked for would not survive a restart: %s",
			diag.text);
}

static bool is_same_process(const struct ng_state_entry *entry)
{
	struct ng_process process;

	if (!entry->select.pid)
		return true;
	return !ng_process_read(entry->select.pid, &process) &&
	       (!entry->start_ticks || entry->start_ticks == process.start_ticks);
}

/* Forgets what a request replaces, and what was asked for of processes that have ended. A mode with
 * a lease leaves the one that it falls back to. */
static void forget_state(struct daemon *daemon, const struct ng_request *request, bool is_leased)
{
	for (size_t i = daemon->state.count; i > 0; i--) {
		const struct ng_state_entry *entry = &daemon->state.entries[i - 1];
		const bool is_kept = request->op == NG_OP_MODE &&
				     (entry->op != NG_OP_MODE || (is_leased && !entry->has_lease));

		if (!is_same_process(entry) ||
			(!is_kept && ng_selector_means(&request->select, &entry->select)))
			ng_state_remove(&daemon->state, i - 1);
	}
}

static int remember(
	struct daemon *daemon, const struct ng_request *request, const struct ng_peer *peer)
{
	struct ng_state_entry entry = {
		.op = request->op, .wish = request->wish, .owner = peer->uid};
	struct ng_state_clock clock;
	struct ng_process process;
	int error = ng_selector_copy(&request->select, &entry.select);

	if (!error)
		error = ng_names_copy(&request->functions, &entry.functions);
	if (!error)
		error = ng_state_clock_read(&clock);
	if (!error && entry.select.pid && !ng_process_read(entry.select.pid, &process))
		entry.start_ticks = process.start_ticks;
	if (!error && entry.wish.has_mode) {
		const struct ng_settings base = default_settings(daemon);
		const struct ng_settings settings = ng_wish_apply(&entry.wish, &base);

		if (settings.lease_ns)
			ng_state_entry_set_lease(&entry, settings.lease_ns, &clock);
	}
	if (!error)
		error = ng_state_add(&daemon->state, &entry);
	if (error) {
		ng_selector_release(&entry.select);
		ng_names_release(&entry.functions);
	}
	return error;
}

/** A request, and who asks. */
struct asked {
	struct ng_request *request;
	const struct ng_peer *peer;
};

static void keep(struct daemon *daemon, const struct asked *asked)
{
	const struct ng_request *request = asked->request;
	const struct ng_settings base = default_settings(daemon);

	forget_state(daemon, request, ng_wish_apply(&request->wish, &base).lease_ns > 0);
	if (request->op != NG_OP_DETACH && remember(daemon, request, asked->peer))
		log_line(daemon, NG_LOG_ERROR,
			"what was asked for would not survive a restart: out of memory");
	save_state(daemon);
}

static int answer_attach(
	struct daemon *daemon, const struct asked *asked, json_t **ret_body, struct ng_diag *diag)
{
	const struct ng_request *request = asked->request;
	const struct ng_settings base = default_settings(daemon);
	const struct ng_settings settings = ng_wish_apply(&request->wish, &base);
	uint32_t id;
	size_t count;
	int error;

	if (ng_fleet_find(daemon->fleet, &request->select))
		return ng_diag_set(diag, -EEXIST,
			"the same processes are attached already: `nowgate mode` changes how, "
			"`nowgate detach` ends it");
	error = attach(daemon, &request->select, &request->functions, &settings, &id, &count, diag);
	if (error)
		return error;
	keep(daemon, asked);
	*ret_body = json_pack("{s:I, s:I}", "id", (json_int_t)id, "processes", (json_int_t)count);
	return 0;
}

static int answer_detach(
	struct daemon *daemon, const struct asked *asked, json_t **ret_body, struct ng_diag *diag)
{
	const struct ng_selector *select = &asked->request->select;
	uint32_t id;
	size_t count = 0;

	while ((id = ng_fleet_find(daemon->fleet, select))) {
		(void)ng_fleet_detach(daemon->fleet, id, NULL); /* it was just found */
		count++;
	}
	if (!count)
		return ng_diag_set(diag, -ESRCH,
			"nothing was attached by these words: `nowgate status` shows what is");
	keep(daemon, asked);
	*ret_body = json_pack("{s:I}", "detached", (json_int_t)count);
	return 0;
}

static int answer_mode(
	struct daemon *daemon, const struct asked *asked, json_t **ret_body, struct ng_diag *diag)
{
	const struct ng_request *request = asked->request;
	const size_t count = ng_fleet_set(daemon->fleet, &request->select, &request->wish);

	if (!count && !ng_fleet_find(daemon->fleet, &request->select))
		return ng_diag_set(diag, -ESRCH,
			"no attached process matches: `nowgate status` shows those that are, "
			"`nowgate attach` adds one");
	keep(daemon, asked);
	*ret_body = json_pack("{s:I}", "processes", (json_int_t)count);
	return 0;
}

static int answer(
	struct daemon *daemon, const struct asked *asked, json_t **ret_body, struct ng_diag *diag)
{
	switch (asked->request->op) {
	case NG_OP_ATTACH:
		return answer_attach(daemon, asked, ret_body, diag);
	case NG_OP_DETACH:
		return answer_detach(daemon, asked, ret_body, diag);
	case NG_OP_MODE:
		return answer_mode(daemon, asked, ret_body, diag);
	case NG_OP_STATUS:
		return ng_answer_status(
			daemon->fleet, &asked->request->select, daemon->started_ns, ret_body);
	default:
		*ret_body = json_pack("{s:s, s:i}", "version", NG_VERSION, "pid", (int)getpid());
		return 0;
	}
}

/* May they? A request by pid is looked at more closely: the process may be no longer theirs alone.
 */
static int check_access(
	const struct daemon *daemon, const struct asked *asked, struct ng_diag *diag)
{
	const struct ng_access access = {.budget_ratio = daemon->config.budget_ratio,
		.max_budget_ratio = daemon->config.max_budget_ratio};
	struct ng_request *request = asked->request;
	struct ng_owner owner;
	int error = ng_access_check(&access, asked->peer->uid, request, diag);

	if (error || !request->select.pid || request->op == NG_OP_STATUS)
		return error;
	error = ng_process_owner(request->select.pid, &owner);
	if (error)
		return ng_diag_set(diag, error, "there is no process %d", request->select.pid);
	return ng_access_check_process(asked->peer->uid, request->select.pid, &owner, diag);
}

static void log_change(
	struct daemon *daemon, const struct asked *asked, int error, const struct ng_diag *diag)
{
	char *line = NULL;

	if (asked->request->op == NG_OP_STATUS || asked->request->op == NG_OP_PING)
		return;
	(void)ng_request_encode(asked->request, &line, NULL); /* out of memory: less is told */
	log_line(daemon, NG_LOG_INFO, "uid %u, pid %d: %s: %s", asked->peer->uid, asked->peer->pid,
		line ? line : ng_op_name(asked->request->op), error ? diag->text : "done");
	free(line);
}

static void on_request(const struct ng_request *request, const struct ng_peer *peer,
	char **ret_answer, void *context)
{
	struct daemon *daemon = context;
	/* Narrowed on the way to what others than root may ask for; the server's own after that. */
	const struct asked asked = {.request = (struct ng_request *)request, .peer = peer};
	struct ng_diag diag = NG_DIAG_INIT;
	json_t *body = NULL;
	int error = check_access(daemon, &asked, &diag);

	if (!error)
		error = answer(daemon, &asked, &body, &diag);
	log_change(daemon, &asked, error, &diag);
	*ret_answer = error ? ng_answer_error(ng_exit_code(error),
				      diag.text[0] ? diag.text : strerror(-error))
			    : ng_answer_ok(body);
}

/* --- configuration
 * -------------------------------------------------------------------------------- */

static int load_config(
	const struct daemon *daemon, struct ng_config *ret_config, struct ng_diag *diag)
{
	const struct ng_daemon_options *options = &daemon->options;
	const char *folder = options->config_folder;
	int error;

	if (!folder && !options->config_path)
		folder = NG_CONFIG_FOLDER;
	error = ng_config_load(options->config_path ? options->config_path : NG_CONFIG_PATH,
		options->config_path != NULL, folder, ret_config, diag);
	if (error)
		return error;
	if (options->socket_path) {
		free(ret_config->socket_path);
		ret_config->socket_path = strdup(options->socket_path);
	}
	if (options->state_dir) {
		free(ret_config->state_dir);
		ret_config->state_dir = strdup(options->state_dir);
	}
	if (ret_config->socket_path && ret_config->state_dir)
		return 0;
	ng_config_release(ret_config);
	return -ENOMEM;
}

static struct section *section_of(struct daemon *daemon, const char *name)
{
	for (size_t i = 0; i < daemon->section_count; i++) {
		if (!strcmp(daemon->sections[i].name, name))
			return &daemon->sections[i];
	}
	return NULL;
}

static void attach_section(struct daemon *daemon, const struct ng_config_attach *from)
{
	struct section *grown =
		reallocarray(daemon->sections, daemon->section_count + 1, sizeof(*grown));
	struct ng_diag diag = NG_DIAG_INIT;
	size_t count;
	int error = grown ? 0 : -ENOMEM;

	if (grown) {
		daemon->sections = grown;
		grown += daemon->section_count;
		memcpy(grown->name, from->name, sizeof(grown->name));
		error = attach(daemon, &from->select, &from->functions, &from->settings, &grown->id,
			&count, &diag);
	}
	if (error) {
		log_line(daemon, NG_LOG_ERROR, "%s:%u: [attach %s]: %s", from->place.file,
			from->place.line, from->name, diag.text[0] ? diag.text : strerror(-error));
		return;
	}
	daemon->section_count++;
	log_line(daemon, NG_LOG_INFO, "[attach %s]: %zu processes", from->name, count);
}

static void detach_section(struct daemon *daemon, const char *name)
{
	struct section *section = section_of(daemon, name);

	if (!section)
		return; /* it could not be attached */
	(void)ng_fleet_detach(daemon->fleet, section->id, NULL);
	*section = daemon->sections[--daemon->section_count];
}

static void change_section(struct daemon *daemon, const struct ng_config_change *change)
{
	const struct section *section =
		change->before ? section_of(daemon, change->before->name) : NULL;

	if (change->kind == NG_CONFIG_CHANGED && change->is_settings_only && section) {
		ng_fleet_resettle(daemon->fleet, section->id, &change->after->settings);
		return;
	}
	if (change->before)
		detach_section(daemon, change->before->name);
	if (change->after)
		attach_section(daemon, change->after);
}

static void forget_watched(struct daemon *daemon)
{
	for (size_t i = 0; i < daemon->watched_count; i++)
		free(daemon->watched[i].triggers);
	free(daemon->watched);
	daemon->watched = NULL;
	daemon->watched_count = 0;
}

static void reload(struct daemon *daemon)
{
	struct ng_config after;
	struct ng_config_diff diff;
	struct ng_diag diag = NG_DIAG_INIT;
	int error;

	(void)ng_notify_reloading(&daemon->notify); /* nobody listens: then nobody is told */
	error = load_config(daemon, &after, &diag);
	if (!error)
		error = ng_config_diff(&daemon->config, &after, &diff);
	if (error) {
		log_line(daemon, NG_LOG_ERROR,
			"the configuration is not reloaded, the old one holds: %s",
			diag.text[0] ? diag.text : strerror(-error));
		(void)ng_notify_ready(&daemon->notify);
		return;
	}
	for (size_t i = 0; i < diff.change_count; i++)
		change_section(daemon, &diff.changes[i]);
	if (diff.needs_restart)
		log_line(daemon, NG_LOG_WARNING,
			"another socket or state_dir holds from the next start on");
	if (diff.triggers)
		forget_watched(daemon);
	log_line(daemon, NG_LOG_INFO, "reloaded: %zu sections changed", diff.change_count);
	ng_config_diff_release(&diff);
	ng_config_release(&daemon->config);
	daemon->config = after;
	(void)ng_notify_ready(&daemon->notify);
}

/* --- what was before a restart
 * --------------------------------------------------------------------- */

static int take_up(struct daemon *daemon, const struct ng_state_entry *entry, struct ng_diag *diag)
{
	const struct ng_settings base = default_settings(daemon);
	const struct ng_settings settings = ng_wish_apply(&entry->wish, &base);
	uint32_t id;
	size_t count;

	if (!is_same_process(entry))
		return ng_diag_set(
			diag, -ESRCH, "process %d has ended meanwhile", entry->select.pid);
	if (entry->op == NG_OP_ATTACH)
		return attach(
			daemon, &entry->select, &entry->functions, &settings, &id, &count, diag);
	(void)ng_fleet_set(daemon->fleet, &entry->select, &entry->wish);
	return 0;
}

static void load_state(struct daemon *daemon)
{
	struct ng_diag diag = NG_DIAG_INIT;

	if (ng_state_load(daemon->config.state_dir, &daemon->state, &diag))
		log_line(daemon, NG_LOG_WARNING, "%s", diag.text);
	for (size_t i = 0; i < daemon->state.count;) {
		diag = (struct ng_diag)NG_DIAG_INIT;
		if (!take_up(daemon, &daemon->state.entries[i], &diag)) {
			i++;
			continue;
		}
		log_line(daemon, NG_LOG_WARNING, "not taken up again: %s", diag.text);
		ng_state_remove(&daemon->state, i);
	}
}

/* --- triggers
 * --------------------------------------------------------------------------------------- */

static struct watched *watched_of(struct daemon *daemon, pid_t pid)
{
	struct watched *grown;

	for (size_t i = 0; i < daemon->watched_count; i++) {
		if (daemon->watched[i].pid == pid)
			return &daemon->watched[i];
	}
	grown = reallocarray(daemon->watched, daemon->watched_count + 1, sizeof(*grown));
	if (!grown)
		return NULL;
	daemon->watched = grown;
	grown += daemon->watched_count;
	*grown = (struct watched){.pid = pid};
	grown->triggers = calloc(daemon->config.trigger_count, sizeof(*grown->triggers));
	if (!grown->triggers)
		return NULL;
	ng_rate_memory_init(&grown->rates);
	daemon->watched_count++;
	return grown;
}

static bool is_of_section(
	struct daemon *daemon, const struct ng_config_trigger *trigger, uint32_t attachment)
{
	const struct section *section =
		trigger->attach ? section_of(daemon, trigger->attach) : NULL;

	return !trigger->attach || (section && section->id == attachment);
}

static void fire(struct daemon *daemon, const struct ng_config_trigger *trigger, pid_t pid,
	const char *reason)
{
	const struct ng_selector select = {.pid = pid};
	const struct ng_wish wish = {.settings = {.mode = NG_MODE_BURST,
					     .lease_ns = trigger->lease_ns,
					     .events = trigger->events},
		.has_mode = true,
		.has_lease = true,
		.has_events = trigger->events > 0};

	log_line(daemon, NG_LOG_WARNING, "[trigger %s]: process %d goes into burst: %s",
		trigger->name, pid, reason);
	(void)ng_fleet_set(daemon->fleet, &select, &wish);
}

/* Fired after the walk: a change of mode is not for in the midst of it. */
struct firing {
	const struct ng_config_trigger *trigger;
	pid_t pid;
	char reason[160];
};

struct look {
	struct daemon *daemon;
	uint64_t now_ns;
	struct firing *firings;
	size_t count;
};

static int look_at(const struct ng_member_report *report, void *context)
{
	struct look *look = context;
	struct daemon *daemon = look->daemon;
	struct watched *watched = report->ended ? NULL : watched_of(daemon, report->pid);
	double rate_hz = 0, low_hz = 0, high_hz = 0;

	if (!watched)
		return 0;
	watched->seen = true;
	for (size_t i = 0; i < report->function_count; i++) {
		rate_hz += report->functions[i].rate.hz;
		low_hz += report->functions[i].rate.low_hz;
		high_hz += report->functions[i].rate.high_hz;
	}
	for (size_t i = 0; i < daemon->config.trigger_count; i++) {
		const struct ng_config_trigger *trigger = &daemon->config.triggers[i];
		struct firing firing = {.trigger = trigger, .pid = report->pid};
		struct firing *grown;

		if (report->settings.mode == NG_MODE_OFF ||
			!is_of_section(daemon, trigger, report->attachment) ||
			!ng_trigger_fires(trigger, &watched->triggers[i], &watched->rates, low_hz,
				high_hz, look->now_ns, firing.reason, sizeof(firing.reason)))
			continue;
		grown = reallocarray(look->firings, look->count + 1, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		look->firings = grown;
		grown[look->count++] = firing;
	}
	if (isfinite(high_hz)) /* else nothing is known yet */
		ng_rate_memory_add(&watched->rates, rate_hz, look->now_ns);
	return 0;
}

static void look_at_triggers(struct daemon *daemon, uint64_t now_ns)
{
	struct look look = {.daemon = daemon, .now_ns = now_ns};

	daemon->triggers_ns = now_ns + TRIGGERS_NS;
	if (!daemon->config.trigger_count)
		return;
	for (size_t i = 0; i < daemon->watched_count; i++)
		daemon->watched[i].seen = false;
	(void)ng_fleet_report(daemon->fleet, look_at, &look); /* out of memory: next time */
	for (size_t i = 0; i < look.count; i++)
		fire(daemon, look.firings[i].trigger, look.firings[i].pid, look.firings[i].reason);
	free(look.firings);
	for (size_t i = daemon->watched_count; i > 0; i--) {
		if (daemon->watched[i - 1].seen)
			continue;
		free(daemon->watched[i - 1].triggers);
		daemon->watched[i - 1] = daemon->watched[--daemon->watched_count];
	}
}

/* --- running
 * ---------------------------------------------------------------------------------------- */

static int open_signals(struct daemon *daemon)
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

static void take_signals(struct daemon *daemon)
{
	struct signalfd_siginfo info;

	while (read(daemon->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGHUP)
			reload(daemon);
		else
			daemon->ending = true;
	}
}

static int open_all(struct daemon *daemon, struct ng_diag *diag)
{
	const struct ng_fleet_options fleet = {.on_note = on_note, .context = daemon};
	struct ng_server_options server = {.on_request = on_request, .context = daemon};
	int error = load_config(daemon, &daemon->config, diag);

	if (!error)
		error = ng_watchdog_start(&daemon->watchdog, diag);
	if (!error)
		error = open_signals(daemon);
	if (!error && ng_notify_open(&daemon->notify, diag))
		log_line(daemon, NG_LOG_WARNING, "%s", diag->text);
	diag->text[0] = '\0';
	server.path = daemon->config.socket_path;
	if (!error) /* first: a second daemon ends here, before it touches anything */
		error = ng_server_open(&server, &daemon->server, diag);
	if (!error)
		error = ng_fleet_open(&fleet, &daemon->fleet, diag);
	return error;
}

static void close_all(struct daemon *daemon)
{
	ng_server_free(daemon->server);
	ng_fleet_free(daemon->fleet);
	ng_notify_close(&daemon->notify);
	if (daemon->signal_fd >= 0)
		close(daemon->signal_fd);
	ng_watchdog_free(daemon->watchdog);
	ng_state_release(&daemon->state);
	forget_watched(daemon);
	free(daemon->sections);
	ng_config_release(&daemon->config);
}

static int wait_for_something(struct daemon *daemon, uint64_t until_ns)
{
	struct pollfd fds[] = {{.fd = daemon->signal_fd, .events = POLLIN},
		{.fd = ng_fleet_event_fd(daemon->fleet), .events = POLLIN},
		{.fd = ng_server_event_fd(daemon->server), .events = POLLIN}};
	const uint64_t now_ns = ng_clock_ns();
	const uint64_t wait_ns = until_ns > now_ns ? until_ns - now_ns : 0;
	const struct timespec timeout = {.tv_sec = (time_t)(wait_ns / NG_NS_PER_S),
		.tv_nsec = (long)(wait_ns % NG_NS_PER_S)};

	return ppoll(fds, sizeof(fds) / sizeof(fds[0]), &timeout, NULL) < 0 && errno != EINTR
		       ? -errno
		       : 0;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static int loop(struct daemon *daemon)
{
	uint64_t next_ns = 0;
	int error = 0;

	while (!error && !daemon->ending) {
		uint64_t now_ns = ng_clock_ns();

		next_ns = earlier(next_ns, ng_server_deadline_ns(daemon->server));
		error = wait_for_something(daemon, earlier(next_ns, now_ns + TURN_MAX_NS));
		take_signals(daemon);
		ng_server_turn(daemon->server);
		next_ns = ng_fleet_turn(daemon->fleet);
		ng_watchdog_set_deadline(daemon->watchdog, ng_fleet_deadline(daemon->fleet));
		ng_watchdog_beat(daemon->watchdog);
		(void)ng_notify_watchdog(&daemon->notify);
		now_ns = ng_clock_ns();
		if (now_ns >= daemon->triggers_ns)
			look_at_triggers(daemon, now_ns);
	}
	return error;
}

int ng_daemon_run(const struct ng_daemon_options *options, struct ng_diag *diag)
{
	struct daemon daemon = {.options = *options, .signal_fd = -1, .notify = NG_NOTIFY_INIT};
	int error = open_all(&daemon, diag);

	if (!error) {
		daemon.started_ns = ng_clock_ns();
		for (size_t i = 0; i < daemon.config.attach_count; i++)
			attach_section(&daemon, &daemon.config.attaches[i]);
		load_state(&daemon);
		log_line(&daemon, NG_LOG_INFO, "listening on %s", daemon.config.socket_path);
		(void)ng_notify_ready(&daemon.notify);
		error = loop(&daemon);
		(void)ng_notify_stopping(&daemon.notify);
		log_line(&daemon, NG_LOG_INFO, "ending: everything is disarmed");
	}
	close_all(&daemon);
	return error;
}
