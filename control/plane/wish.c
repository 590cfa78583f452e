#include "control/plane/wish.h"

#include <errno.h>
#include <inttypes.h>

#include "core/base/clock.h"

int ng_budget_check(double budget_ratio, struct ng_diag *diag)
{
	/* Written so that a NaN fails. */
	if (budget_ratio >= NG_BUDGET_MIN && budget_ratio <= NG_BUDGET_MAX)
		return 0;
	return ng_diag_set(diag, -ERANGE,
		"a budget of %g %% is out of range: it can be %g %% to %g %% of the CPU time",
		budget_ratio * 100, NG_BUDGET_MIN * 100, NG_BUDGET_MAX * 100);
}

static bool has_to_end(enum ng_mode mode)
{
	return mode == NG_MODE_BURST || mode == NG_MODE_FULL;
}

static int check_lease(const struct ng_wish *wish, struct ng_diag *diag)
{
	const struct ng_settings *settings = &wish->settings;

	if (settings->lease_ns > NG_LEASE_MAX_NS)
		return ng_diag_set(diag, -ERANGE,
			"a lease of %" PRIu64 " s is too long: it can be at most %" PRIu64 " h",
			(uint64_t)(settings->lease_ns / NG_NS_PER_S),
			(uint64_t)(NG_LEASE_MAX_NS / NG_NS_PER_S / 3600));
	if (!settings->lease_ns && wish->has_mode && has_to_end(settings->mode))
		return ng_diag_set(diag, -ERANGE,
			"mode %s needs a lease: it goes over the budget, so it has to end by "
			"itself",
			ng_mode_name(settings->mode));
	if (!wish->has_mode)
		return ng_diag_set(diag, -EINVAL, "a lease goes with a mode, and none is given");
	return 0;
}

/* What belongs to one mode is given, but with another, or with none. */
static int check_belongs(const struct ng_wish *wish, bool is_given, const char *what,
	enum ng_mode mode, struct ng_diag *diag)
{
	if (!is_given || (wish->has_mode && wish->settings.mode == mode))
		return 0;
	return ng_diag_set(diag, -EINVAL, "%s goes with mode %s only%s%s", what, ng_mode_name(mode),
		wish->has_mode ? ", not with " : "",
		wish->has_mode ? ng_mode_name(wish->settings.mode) : "");
}

int ng_wish_check(const struct ng_wish *wish, struct ng_diag *diag)
{
	const struct ng_settings *settings = &wish->settings;
	int error = 0;

	if (wish->has_mode && (unsigned int)settings->mode >= NG_MODES)
		return ng_diag_set(diag, -ERANGE, "there is no mode %d", (int)settings->mode);
	if (wish->has_budget)
		error = ng_budget_check(settings->budget_ratio, diag);
	if (!error && wish->has_lease)
		error = check_lease(wish, diag);
	if (!error && wish->has_events &&
		(settings->events < 1 || settings->events > NG_EVENTS_MAX))
		error = ng_diag_set(diag, -ERANGE,
			"%" PRIu64 " events are out of range: there can be 1 to %" PRIu64,
			settings->events, (uint64_t)NG_EVENTS_MAX);
	if (!error && wish->has_rate &&
		!(settings->rate_ratio >= NG_RATE_MIN && settings->rate_ratio <= 1))
		error = ng_diag_set(diag, -ERANGE,
			"a rate of %g is out of range: it can be %g to 1", settings->rate_ratio,
			NG_RATE_MIN);
	if (!error)
		error = check_belongs(
			wish, wish->has_events, "a number of events", NG_MODE_BURST, diag);
	if (!error)
		error = check_belongs(wish, wish->has_rate, "a rate", NG_MODE_SAMPLED, diag);
	if (!error)
		error = check_belongs(wish, settings->exact, "exact", NG_MODE_COUNT, diag);
	if (!error)
		error = check_belongs(wish, settings->record, "record", NG_MODE_COUNT, diag);
	return error;
}

struct ng_settings ng_wish_apply(const struct ng_wish *wish, const struct ng_settings *base)
{
	struct ng_settings settings = *base;

	if (wish->has_mode) {
		settings.mode = wish->settings.mode;
		settings.lease_ns = has_to_end(settings.mode) ? NG_LEASE_DEFAULT_NS : 0;
		settings.events = 0;
		settings.rate_ratio = 0;
		settings.exact = false;
		settings.record = false;
	}
	if (wish->has_budget)
		settings.budget_ratio = wish->settings.budget_ratio;
	if (wish->has_lease)
		settings.lease_ns = wish->settings.lease_ns;
	if (wish->has_events)
		settings.events = wish->settings.events;
	if (wish->has_rate)
		settings.rate_ratio = wish->settings.rate_ratio;
	if (wish->has_exact)
		settings.exact = wish->settings.exact;
	if (wish->has_record)
		settings.record = wish->settings.record;
	if (wish->has_follow_forks)
		settings.follow_forks = wish->settings.follow_forks;
	return settings;
}
