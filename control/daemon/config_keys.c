#include "control/daemon/config_keys.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "control/daemon/address.h"
#include "control/daemon/server.h"
#include "core/base/clock.h"
#include "core/base/number.h"

#define HZ_MAX	      1e12 /* more than any machine calls */
#define FACTOR_MAX    1e6
#define COOL_DOWN_MAX (24 * 3600 * NG_NS_PER_S)

static const char *const log_levels[NG_LOG_LEVELS] = {
	[NG_LOG_ERROR] = "error",
	[NG_LOG_WARNING] = "warning",
	[NG_LOG_INFO] = "info",
	[NG_LOG_DEBUG] = "debug",
};

const char *ng_log_level_name(enum ng_log_level level)
{
	return (unsigned int)level < NG_LOG_LEVELS ? log_levels[level] : "unknown";
}

static void *member(const struct ng_config_key *key, void *section)
{
	return (char *)section + key->offset;
}

static int take_text(
	const struct ng_config_key *key, void *section, const char *value, struct ng_diag *diag)
{
	char **text = member(key, section);
	int error = ng_wire_check_text(key->name, value, diag);

	if (error)
		return error;
	free(*text); /* an earlier file's, or the default */
	*text = strdup(value);
	return *text ? 0 : -ENOMEM;
}

static int take_path(
	const struct ng_config_key *key, void *section, const char *value, struct ng_diag *diag)
{
	if (value[0] != '/')
		return ng_diag_set(diag, -EINVAL, "'%s' is not an absolute path", value);
	return take_text(key, section, value, diag);
}

static int take_bool(
	const struct ng_config_key *key, void *section, const char *value, struct ng_diag *diag)
{
	bool *flag = member(key, section);

	if (!strcmp(value, "yes") || !strcmp(value, "true") || !strcmp(value, "on"))
		*flag = true;
	else if (!strcmp(value, "no") || !strcmp(value, "false") || !strcmp(value, "off"))
		*flag = false;
	else
		return ng_diag_set(diag, -EINVAL, "'%s' is neither yes nor no", value);
	return 0;
}

static int take_budget(
	const struct ng_config_key *key, void *section, const char *value, struct ng_diag *diag)
{
	double ratio;
	int error = ng_ratio_parse(value, &ratio, diag);

	if (!error)
		error = ng_budget_check(ratio, diag);
	if (!error)
		*(double *)member(key, section) = ratio;
	return error;
}

static int take_max_budget(
	const struct ng_config_key *key, void *section, const char *value, struct ng_diag *diag)
{
	double ratio;

	if (ng_ratio_parse(value, &ratio, NULL) || ratio != 0)
		return take_budget(key, section, value, diag);
	*(double *)member(key, section) = 0;
	return 0;
}

static int take_log_level(
	const struct ng_config_key *key, void *section, const char *value, struct ng_diag *diag)
{
	enum ng_log_level *level = member(key, section);

	for (unsigned int i = 0; i < NG_LOG_LEVELS; i++) {
		if (strcmp(value, log_levels[i]))
			continue;
		*level = (enum ng_log_level)i;
		return 0;
	}
	return ng_diag_set(
		diag, -EINVAL, "'%s' is no level: it can be error, warning, info or debug", value);
}

static int take_metrics(
	const struct ng_config_key *key, void *section, const char *value, struct ng_diag *diag)
{
	char **text = member(key, section);
	struct ng_address address;
	int error;

	if (strcmp(value, "no") != 0) {
		error = ng_address_parse(value, &address, diag);
		return error ? error : take_text(key, section, value, diag);
	}
	free(*text);
	*text = NULL;
	return 0;
}

static int take_metrics_targets(
	const struct ng_config_key *key, void *section, const char *value, struct ng_diag *diag)
{
	return ng_number_parse(
		value, (struct ng_range){0, NG_METRICS_TARGETS_MAX}, member(key, section), diag);
}

static int take_flight(
	const struct ng_config_key *key, void *section, const char *value, struct ng_diag *diag)
{
	return ng_size_parse(value, (struct ng_range){NG_FLIGHT_BYTES_MIN, NG_FLIGHT_BYTES_MAX},
		member(key, section), diag);
}

static int take_flights(
	const struct ng_config_key *key, void *section, const char *value, struct ng_diag *diag)
{
	return ng_size_parse(
		value, (struct ng_range){0, NG_FLIGHTS_BYTES_MAX}, member(key, section), diag);
}

static int take_pid(
	const struct ng_config_key *key, void *section, const char *value, struct ng_diag *diag)
{
	struct ng_config_attach *attach = section;
	uint64_t pid;
	int error = ng_number_parse(value, (struct ng_range){1, INT_MAX}, &pid, diag);

	(void)key;
	if (!error)
		attach->select.pid = (pid_t)pid;
	return error;
}

static int take_uid(
	const struct ng_config_key *key, void *section, const char *value, struct ng_diag *diag)
{
	struct ng_config_attach *attach = section;
	uint64_t uid;
	int error = ng_number_parse(value, (struct ng_range){0, UINT32_MAX - 1}, &uid, diag);

	(void)key;
	if (!error) {
		attach->select.has_uid = true;
		attach->select.uid = (uid_t)uid;
	}
	return error;
}

static int take_function(
	const struct ng_config_key *key, void *section, const char *value, struct ng_diag *diag)
{
	struct ng_config_attach *attach = section;
	int error = ng_wire_check_text(key->name, value, diag);

	if (!error)
		error = ng_names_add(&attach->functions, value);
	if (error == -E2BIG)
		return ng_diag_set(diag, -EINVAL, "there are more than %d functions", NG_NAMES_MAX);
	return error;
}

static int take_mode(
	const struct ng_config_key *key, void *section, const char *value, struct ng_diag *diag)
{
	struct ng_wish *wish = &((struct ng_config_attach *)section)->wish;

	(void)key;
	if (ng_mode_parse(value, &wish->settings.mode))
		return ng_diag_set(
			diag, -EINVAL, "'%s' is no mode: it can be off, count or sampled", value);
	if (wish->settings.mode == NG_MODE_BURST || wish->settings.mode == NG_MODE_FULL)
		return ng_diag_set(diag, -EINVAL,
			"%s ends with its lease, so it cannot stand here: use a [trigger NAME], or "
			"`nowgate mode`",
			value);
	wish->has_mode = true;
	return 0;
}

static int take_attach_budget(
	const struct ng_config_key *key, void *section, const char *value, struct ng_diag *diag)
{
	((struct ng_config_attach *)section)->wish.has_budget = true;
	return take_budget(key, section, value, diag);
}

static int take_attach_rate(
	const struct ng_config_key *key, void *section, const char *value, struct ng_diag *diag)
{
	((struct ng_config_attach *)section)->wish.has_rate = true;
	return ng_ratio_parse(value, member(key, section), diag);
}

static int take_attach_exact(
	const struct ng_config_key *key, void *section, const char *value, struct ng_diag *diag)
{
	((struct ng_config_attach *)section)->wish.has_exact = true;
	return take_bool(key, section, value, diag);
}

static int take_attach_record(
	const struct ng_config_key *key, void *section, const char *value, struct ng_diag *diag)
{
	((struct ng_config_attach *)section)->wish.has_record = true;
	return take_bool(key, section, value, diag);
}

static int take_follow_forks(
	const struct ng_config_key *key, void *section, const char *value, struct ng_diag *diag)
{
	((struct ng_config_attach *)section)->wish.has_follow_forks = true;
	return take_bool(key, section, value, diag);
}

/* Calls a second: a whole number. */
static int take_hz(
	const struct ng_config_key *key, void *section, const char *value, struct ng_diag *diag)
{
	uint64_t hz;
	int error = ng_number_parse(value, (struct ng_range){1, (uint64_t)HZ_MAX}, &hz, diag);

	if (!error)
		*(double *)member(key, section) = (double)hz;
	return error;
}

static int take_factor(
	const struct ng_config_key *key, void *section, const char *value, struct ng_diag *diag)
{
	double factor;
	int error = ng_ratio_parse(value, &factor, NULL);

	if (error || strpbrk(value, "%/") || !(factor > 1 && factor <= FACTOR_MAX))
		return ng_diag_set(diag, error ? error : -ERANGE,
			"'%s' is no factor: a number above 1, up to %g", value, FACTOR_MAX);
	*(double *)member(key, section) = factor;
	return 0;
}

static int take_lease(
	const struct ng_config_key *key, void *section, const char *value, struct ng_diag *diag)
{
	return ng_duration_parse(value, (struct ng_range){NG_NS_PER_MS, NG_LEASE_MAX_NS},
		member(key, section), diag);
}

static int take_cool_down(
	const struct ng_config_key *key, void *section, const char *value, struct ng_diag *diag)
{
	return ng_duration_parse(
		value, (struct ng_range){0, COOL_DOWN_MAX}, member(key, section), diag);
}

static int take_events(
	const struct ng_config_key *key, void *section, const char *value, struct ng_diag *diag)
{
	return ng_number_parse(
		value, (struct ng_range){1, NG_EVENTS_MAX}, member(key, section), diag);
}

static int take_max_per_hour(
	const struct ng_config_key *key, void *section, const char *value, struct ng_diag *diag)
{
	return ng_number_parse(
		value, (struct ng_range){1, NG_TRIGGER_FIRINGS_MAX}, member(key, section), diag);
}

#define DAEMON(name, value, take, member, help)                                                    \
	{                                                                                          \
		NG_SECTION_DAEMON, name, value, true, false, take,                                 \
			offsetof(struct ng_config, member), help                                   \
	}
#define ATTACH(name, value, take, member, help)                                                    \
	{                                                                                          \
		NG_SECTION_ATTACH, name, value, false, false, take,                                \
			offsetof(struct ng_config_attach, member), help                            \
	}
#define TRIGGER(name, value, has_default, take, member, help)                                      \
	{                                                                                          \
		NG_SECTION_TRIGGER, name, value, has_default, false, take,                         \
			offsetof(struct ng_config_trigger, member), help                           \
	}

const struct ng_config_key ng_config_keys[] = {
	DAEMON("socket", NG_SOCKET_PATH, take_path, socket_path,
		"Where commands reach the daemon. Everybody may connect; who may do what is "
		"decided "
		"by uid."),
	DAEMON("state_dir", "/var/lib/nowgate", take_path, state_dir,
		"Where the daemon notes what it was asked for by the socket, to go on after a "
		"restart."),
	DAEMON("budget", "1%", take_budget, budget_ratio,
		"The share of a target's CPU time that tracing may take, unless asked otherwise."),
	DAEMON("max_budget", "1%", take_max_budget, max_budget_ratio,
		"The largest budget that others than root may ask for, for their own processes; 0: "
		"they may only look."),
	DAEMON("inline", "no", take_bool, inline_allowed,
		"May the engine inline, which changes the target's code, be asked for?"),
	DAEMON("metrics", "no", take_metrics, metrics,
		"Where metrics and profiles are served by HTTP, as 127.0.0.1:9753 or [::1]:9753; "
		"no: nowhere. There is no password: whoever reaches the address sees what `nowgate "
		"status` shows, and may take profiles, which cost a target its budget once more."),
	DAEMON("metrics_targets", "200", take_metrics_targets, metrics_targets,
		"How many targets have metrics of their own; of more, those that call most."),
	DAEMON("flight", "1M", take_flight, flight_bytes,
		"How much memory the newest calls of a target may take, 40 bytes each: what "
		"`nowgate snapshot` shows. Holds from the next start, as the next one."),
	DAEMON("flights", "64M", take_flights, flights_bytes,
		"How much those of all targets may; 0: none are kept, and callers are not told."),
	DAEMON("log_level", "info", take_log_level, log_level, "error, warning, info or debug."),

	ATTACH("exe", "/usr/bin/caddy", take_text, select.exe,
		"Which processes: all that is given must hold. The executable's path; *, ? and "
		"[a-z] match, * across slashes too."),
	ATTACH("comm", "caddy", take_text, select.comm, "The process's name."),
	ATTACH("cgroup", "/system.slice/caddy.service", take_text, select.cgroup,
		"The control group, or one above it."),
	ATTACH("uid", "1000", take_uid, select.uid, "The process's owner."),
	ATTACH("pid", "4711", take_pid, select.pid, "One process."),
	{NG_SECTION_ATTACH, "func", "time.Now", false, true, take_function, 0,
		"What is traced; once for each function. Unless given: time.Now."},
	ATTACH("mode", "sampled", take_mode, wish.settings.mode,
		"off, count or sampled. Unless given: sampled."),
	ATTACH("budget", "1%", take_attach_budget, wish.settings.budget_ratio,
		"Unless given: that of [daemon]."),
	ATTACH("rate", "1/100", take_attach_rate, wish.settings.rate_ratio,
		"sampled: the share of the time to be armed. Unless given: as the budget allows."),
	ATTACH("exact", "no", take_attach_exact, wish.settings.exact,
		"count: go on counting over the budget, and report it."),
	ATTACH("record", "no", take_attach_record, wish.settings.record,
		"count: keep the newest calls for `nowgate snapshot`, as other modes do."),
	ATTACH("follow_forks", "no", take_follow_forks, wish.settings.follow_forks,
		"Do children become targets, too?"),

	TRIGGER("attach", "web", false, take_text, attach,
		"Whose targets; the name of an [attach NAME]. Unless given: all targets."),
	TRIGGER("above", "100000", false, take_hz, above_hz,
		"When: calls a second, more than that."),
	TRIGGER("below", "10", false, take_hz, below_hz, "When: calls a second, fewer than that."),
	TRIGGER("factor", "5", false, take_factor, factor,
		"When: so many times the rate of the last minute, or one such part of it."),
	TRIGGER("for", "10s", true, take_lease, lease_ns, "How long the burst lasts."),
	TRIGGER("events", "100000", false, take_events, events,
		"After how many calls it ends, if that comes first."),
	TRIGGER("cool_down", "60s", true, take_cool_down, cool_down_ns,
		"From the end of a burst to the next one of the same target."),
	TRIGGER("max_per_hour", "6", true, take_max_per_hour, max_per_hour,
		"How many bursts an hour, of one target."),
	{.name = NULL},
};

int ng_config_set_defaults(enum ng_config_section section, void *ret_section)
{
	for (const struct ng_config_key *key = ng_config_keys; key->name; key++) {
		int error;

		if (key->section != section || !key->has_default)
			continue;
		error = key->take(key, ret_section, key->value, NULL);
		if (error)
			return error;
	}
	return 0;
}

void ng_config_print(FILE *file)
{
	static const char *const headings[] = {
		[NG_SECTION_DAEMON] = "[daemon]\n",
		[NG_SECTION_ATTACH] =
			"\n# Processes to be traced from the start: any number of such "
			"sections.\n#[attach web]\n",
		[NG_SECTION_TRIGGER] =
			"\n# Targets whose rate does this go into burst: any number of "
			"such sections.\n#[trigger spike]\n",
	};
	enum ng_config_section section = NG_SECTION_NONE;

	fputs("# nowgate's configuration. What is commented out is the default, or an example.\n"
	      "# A ';' after a space begins a comment.\n\n",
		file);
	for (const struct ng_config_key *key = ng_config_keys; key->name; key++) {
		if (key->section != section)
			fputs(headings[key->section], file);
		section = key->section;
		fprintf(file, "# %s\n#%s = %s\n", key->help, key->name, key->value);
	}
}
