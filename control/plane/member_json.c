#include "control/plane/member_json.h"

#include <math.h>

#include "core/base/clock.h"

static json_t *finite_or_null(double number)
{
	return isfinite(number) ? json_real(number) : json_null();
}

bool ng_member_is_counted(const struct ng_member_report *report)
{
	return !report->windows && report->arming == NG_ARMING_STEADY;
}

/* Calls are whole: their ends are rounded as they are, or an end may lie beyond them. */
static json_t *whole_calls(double calls)
{
	return finite_or_null(round(calls));
}

/* The mean rate since it was attached. */
static struct ng_rate mean_rate(
	const struct ng_member_report *report, const struct ng_member_function *function)
{
	const double seconds = fmax((double)report->elapsed_ns / NG_NS_PER_S, 1e-9);

	return (struct ng_rate){.hz = function->calls / seconds,
		.low_hz = function->calls_low / seconds,
		.high_hz = function->calls_high / seconds};
}

static json_t *json_of_function(const struct ng_member_report *report,
	const struct ng_member_function *function, enum ng_member_rate which)
{
	const bool is_known = which == NG_MEMBER_RATE_MEAN || function->is_known;
	const struct ng_rate rate =
		which == NG_MEMBER_RATE_MEAN ? mean_rate(report, function) : function->rate;
	json_t *object = json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:f}", "name",
		function->name, "engine", "uprobe", "calls", whole_calls(function->calls),
		"calls_low", whole_calls(function->calls_low), "calls_high",
		whole_calls(function->calls_high), "rate_hz",
		is_known ? finite_or_null(rate.hz) : json_null(), "rate_low_hz",
		is_known ? finite_or_null(rate.low_hz) : json_null(), "rate_high_hz",
		is_known ? finite_or_null(rate.high_hz) : json_null(), "estimated",
		!ng_member_is_counted(report), "cost_ns", function->cost_ns);

	if (object && function->source)
		(void)json_object_set_new(object, "source", json_string(function->source));
	if (object && function->missing[0])
		(void)json_object_set_new(object, "missing", json_string(function->missing));
	return object;
}

static json_t *json_of_decision(const struct ng_decision *decision)
{
	return json_pack("{s:I, s:s, s:s, s:o, s:f, s:f, s:f, s:s}", "time_ns",
		(json_int_t)decision->time_ns, "from", ng_arming_name(decision->from), "to",
		ng_arming_name(decision->to), "rate_hz",
		decision->rate_hz < 0 ? json_null() : json_real(decision->rate_hz), "cpu_ratio",
		decision->cpu_ratio, "share_ratio", decision->share_ratio, "budget_ratio",
		decision->budget_ratio, "reason", decision->reason);
}

json_t *ng_member_to_json(const struct ng_member_report *report, enum ng_member_rate which)
{
	json_t *functions = json_array(), *decisions = json_array();
	const size_t first = report->decision_count > NG_DECISIONS_KEPT
				     ? report->decision_count - NG_DECISIONS_KEPT
				     : 0;

	for (size_t i = 0; functions && i < report->function_count; i++)
		(void)json_array_append_new(
			functions, json_of_function(report, &report->functions[i], which));
	for (size_t i = first; decisions && i < report->decision_count; i++)
		(void)json_array_append_new(
			decisions, json_of_decision(&report->decisions[i % NG_DECISIONS_KEPT]));
	return json_pack(
		"{s:i, s:s, s:s, s:s, s:s, s:f, s:I, s:f, s:f, s:f, s:f, s:I, s:I, s:I, s:I, s:I, "
		"s:I, s:I, s:I, s:b, s:o, s:o}",
		"pid", report->pid, "exe", report->exe, "go_version", report->go_version, "mode",
		ng_mode_name(report->settings.mode), "arming", ng_arming_name(report->arming),
		"budget_ratio", report->settings.budget_ratio, "lease_until_ns",
		(json_int_t)report->lease_until_ns, "overhead_ratio",
		report->cpu_ns ? report->lost_ns / (double)report->cpu_ns : 0, "overhead_now_ratio",
		report->share_now, "overhead_minute_ratio", report->share_minute, "armed_ratio",
		report->armed_ratio, "windows", (json_int_t)report->windows, "hits",
		(json_int_t)report->tally.hits, "delivered", (json_int_t)report->tally.delivered,
		"sampled_out", (json_int_t)report->tally.sampled_out, "lost",
		(json_int_t)report->tally.lost, "lead_hits", (json_int_t)report->tally.lead_hits,
		"pairs", (json_int_t)report->tally.pairs, "cpu_ns", (json_int_t)report->cpu_ns,
		"ended", report->ended, "functions", functions, "decisions", decisions);
}
