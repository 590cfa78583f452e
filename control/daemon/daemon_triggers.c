#include "control/daemon/daemon_triggers.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "control/daemon/daemon_config.h"
#include "core/base/clock.h"

#define TRIGGERS_NS NG_NS_PER_S /* how often rules are looked at */

void ng_daemon_forget_watched(struct ng_daemon *daemon)
{
	for (size_t i = 0; i < daemon->watched_count; i++)
		free(daemon->watched[i].triggers);
	free(daemon->watched);
	daemon->watched = NULL;
	daemon->watched_count = 0;
}

static struct daemon_watched *watched_of(
	struct ng_daemon *daemon, const struct ng_member_report *report)
{
	struct daemon_watched *grown;

	for (size_t i = 0; i < daemon->watched_count; i++) {
		if (daemon->watched[i].pid == report->pid &&
			daemon->watched[i].since_ns == report->since_ns)
			return &daemon->watched[i];
	}
	grown = reallocarray(daemon->watched, daemon->watched_count + 1, sizeof(*grown));
	if (!grown)
		return NULL;
	daemon->watched = grown;
	grown += daemon->watched_count;
	*grown = (struct daemon_watched){.pid = report->pid, .since_ns = report->since_ns};
	grown->triggers = calloc(daemon->config.trigger_count, sizeof(*grown->triggers));
	if (!grown->triggers)
		return NULL;
	ng_rate_memory_init(&grown->rates);
	daemon->watched_count++;
	return grown;
}

static bool is_of_section(
	struct ng_daemon *daemon, const struct ng_config_trigger *trigger, uint32_t attachment)
{
	const struct daemon_section *section =
		trigger->attach ? ng_daemon_section(daemon, trigger->attach) : NULL;

	return !trigger->attach || (section && section->id == attachment);
}

static void fire(struct ng_daemon *daemon, const struct ng_config_trigger *trigger, pid_t pid,
	const char *reason)
{
	const struct ng_selector select = {.pid = pid};
	const struct ng_wish wish = {.settings = {.mode = NG_MODE_BURST,
					     .lease_ns = trigger->lease_ns,
					     .events = trigger->events},
		.has_mode = true,
		.has_lease = true,
		.has_events = trigger->events > 0};

	ng_daemon_log(daemon, NG_LOG_WARNING, "[trigger %s]: process %d goes into burst: %s",
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
	struct ng_daemon *daemon;
	uint64_t now_ns;
	struct firing *firings;
	size_t count;
};

static int look_at(const struct ng_member_report *report, void *context)
{
	struct look *look = context;
	struct ng_daemon *daemon = look->daemon;
	struct daemon_watched *watched = report->ended ? NULL : watched_of(daemon, report);
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

void ng_daemon_look_at_triggers(struct ng_daemon *daemon, uint64_t now_ns)
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
