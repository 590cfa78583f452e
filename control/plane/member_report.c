#include "control/plane/member_inside.h"

#include <math.h>

#include "core/base/clock.h"

/* With fewer windows than this the last 10 seconds before say more. */
#define RECENT_WINDOWS 20

/* Calls of a function that were counted while it was armed all the time. */
static double steady_calls(
	const struct ng_member *member, uint32_t function, const struct ng_tallies *tallies)
{
	uint64_t calls = 0;

	for (size_t i = 0; i < tallies->count; i++) {
		const struct ng_count_key *key = &tallies->items[i].key;

		if (ng_member_owns(member, key) &&
			ng_member_site(member, key->site)->function == function)
			calls += tallies->items[i].calls;
	}
	return (double)calls - (double)member->functions[function].in_windows;
}

/* The rate now: counted in the last second or so, or by the last windows. */
static bool rate_now(struct ng_member *member, uint32_t index, const struct ng_rate *recent,
	const struct ng_rate *all, double counted, uint64_t now_ns, struct ng_rate *ret_rate)
{
	struct member_function *function = &member->functions[index];

	if (member->steady_since_ns && !member->ended) {
		if (function->looked_ns < member->steady_since_ns) {
			function->looked_ns = now_ns;
			function->looked_calls = counted;
		} else if (now_ns - function->looked_ns >= NG_NS_PER_S) {
			function->steady_hz = (counted - function->looked_calls) * NG_NS_PER_S /
					      (double)(now_ns - function->looked_ns);
			function->looked_ns = now_ns;
			function->looked_calls = counted;
		}
		if (member->function_count == 1 && member->governor.rate_hz >= 0)
			function->steady_hz = member->governor.rate_hz; /* of the last tick */
		*ret_rate = (struct ng_rate){.hz = function->steady_hz,
			.low_hz = function->steady_hz,
			.high_hz = function->steady_hz};
		return function->steady_hz > 0;
	}
	if (!member->all.start_ns)
		return false;
	*ret_rate = recent->windows >= RECENT_WINDOWS ? *recent
		    : function->last.windows	      ? function->last
						      : *all;
	return true;
}

static void report_function(struct ng_member *member, uint32_t index,
	const struct ng_tallies *tallies, struct ng_member_function *ret_function)
{
	const struct member_function *function = &member->functions[index];
	const double counted = steady_calls(member, index, tallies);
	const double half = 1.96 * sqrt(function->variance);

	*ret_function = (struct ng_member_function){.name = function->site->function,
		.source = function->site->source,
		.missing = function->missing,
		.calls = counted + function->calls,
		.calls_low = counted + fmax(function->calls - half, 0),
		.calls_high = counted + function->calls + half,
		.cost_ns = ng_member_hit_ns(member, function->hit_ns)};
}

int ng_member_report(struct ng_member *member, const struct ng_tallies *tallies, uint64_t now_ns,
	struct ng_member_report *ret_report)
{
	struct ng_rate all[NG_MEMBER_FUNCTIONS_MAX] = {0}, recent[NG_MEMBER_FUNCTIONS_MAX] = {0};
	struct ng_member_report *report = ret_report;
	int error = 0;

	/* The sums take what is over; the span that runs is added to what is told. */
	if (member->all.start_ns)
		error = ng_span_rates(member, &member->all, now_ns, all);
	if (!error && member->all.start_ns)
		error = ng_span_rates(member, &member->recent, now_ns, recent);
	if (error)
		return error;
	*report = (struct ng_member_report){.pid = member->process.pid,
		.exe = member->main->path,
		.go_version =
			member->main->image ? ng_image_info(member->main->image)->go_version : "",
		.settings = member->settings,
		.arming = member->governor.plan.arming,
		.since_ns = member->since_ns,
		.elapsed_ns = now_ns - member->since_ns,
		.cpu_ns = member->cpu_ns - member->since_cpu_ns,
		.lease_until_ns = member->lease_until_ns,
		.lost_ns = member->governor.lost_ns,
		.share_now = ng_governor_share(&member->governor, NG_TICKS_SECOND),
		.share_minute = ng_governor_share(&member->governor, NG_TICKS_MINUTE),
		.windows = member->windows,
		.ended = member->ended,
		.decisions = member->governor.decisions,
		.decision_count = member->governor.decision_count};
	(void)ng_member_tally(member, &report->tally);
	report->armed_ratio =
		(double)(member->armed_ns +
			 (member->steady_since_ns ? now_ns - member->steady_since_ns : 0)) /
		fmax((double)report->elapsed_ns, 1);
	for (uint32_t i = 0; i < member->function_count; i++) {
		struct ng_member_function *function = &report->functions[i];
		const double seconds = (double)(now_ns - member->all.start_ns) / NG_NS_PER_S;

		report_function(member, i, tallies, function);
		function->is_known = rate_now(member, i, &recent[i], &all[i],
			steady_calls(member, i, tallies), now_ns, &function->rate);
		if (!member->all.start_ns)
			continue;
		function->calls += all[i].hz * seconds;
		function->calls_low += all[i].low_hz * seconds;
		function->calls_high += all[i].high_hz * seconds;
	}
	report->function_count = member->function_count;
	return 0;
}
