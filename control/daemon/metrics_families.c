/* The families, in their order; README names those that matter most. */
#include "control/daemon/metrics_inside.h"

#include <math.h>
#include <stdio.h>

#include "control/plane/losses.h"
#include "core/base/clock.h"

/* --- families of the daemon --------------------------------------------------------------------
 */

static void put_labelled(struct ng_metrics_page *page, const struct ng_metric_family *family,
	const struct ng_metric_label *label, double value)
{
	const struct ng_metric_labels labels = {.items = label, .count = label ? 1 : 0};

	if (page->writer.family != family)
		ng_openmetrics_family(&page->writer, family);
	ng_openmetrics_put(&page->writer, &labels, value);
}

static void put_targets_count(struct ng_metrics_page *page)
{
	static const struct ng_metric_family families[] = {
		{"nowgate_targets", NG_METRIC_GAUGE, NULL, "Processes that are attached and live."},
		{"nowgate_targets_without_series", NG_METRIC_GAUGE, NULL,
			"Of these, those left out below: there are more than metrics_targets, and "
			"others call more."},
		{"nowgate_attachments", NG_METRIC_GAUGE, NULL,
			"What `nowgate attach` and the configuration attach, now and later."}};
	size_t alive = 0, without = 0;

	for (size_t i = 0; i < page->scrape->report_count; i++) {
		const bool is_alive =
			page->scrape->reports[i].attachment && !page->scrape->reports[i].ended;

		alive += is_alive;
		without += is_alive && !page->metrics->targets[i].is_shown;
	}
	put_labelled(page, &families[0], NULL, (double)alive);
	put_labelled(page, &families[1], NULL, (double)without);
	put_labelled(page, &families[2], NULL, (double)page->scrape->facts->attachments);
}

static void put_losses(struct ng_metrics_page *page)
{
	static const struct ng_metric_family family = {"nowgate_losses", NG_METRIC_COUNTER, NULL,
		"What the daemon lost, of all targets, by cause: calls, children, process events, "
		"records that found no room."};

	for (size_t i = 0; i < NG_LOSSES; i++)
		put_labelled(page, &family, &(struct ng_metric_label){"cause", ng_loss_key(i)},
			(double)page->scrape->facts->lost[i]);
}

static void put_daemon(struct ng_metrics_page *page)
{
	static const struct ng_metric_family build = {
		"nowgate_build", NG_METRIC_INFO, NULL, "Which nowgate this is."};
	static const struct ng_metric_family own[] = {
		{"process_cpu_seconds", NG_METRIC_COUNTER, "seconds",
			"CPU time that the daemon has used, user and system."},
		{"process_resident_memory_bytes", NG_METRIC_GAUGE, "bytes",
			"Memory that the daemon holds."},
		{"process_start_time_seconds", NG_METRIC_GAUGE, "seconds",
			"When the daemon was started, in Unix time."}};
	const struct ng_metrics_facts *facts = page->scrape->facts;

	put_labelled(page, &build, &(struct ng_metric_label){"version", facts->version}, 1);
	put_labelled(page, &own[0], NULL, facts->cpu_seconds);
	put_labelled(page, &own[1], NULL, facts->resident_bytes);
	put_labelled(page, &own[2], NULL, facts->start_seconds);
	put_targets_count(page);
	put_losses(page);
}

/* --- families of targets -----------------------------------------------------------------------
 */

/* What a value is made of. */
struct subject {
	const struct ng_metrics_facts *facts;
	const struct ng_member_report *report;
	const struct ng_metrics_target *target;
	size_t function; /* index, in families of functions */
};

static const struct ng_member_function *function_of(const struct subject *subject)
{
	return &subject->report->functions[subject->function];
}

/* A family, and its value for one subject; NAN: that has none. */
struct measure {
	struct ng_metric_family family;
	double (*value)(const struct subject *subject);
};

#define TARGET_LABELS	2
#define FUNCTION_LABELS (TARGET_LABELS + 2)

struct label_room {
	char pid[16];
	struct ng_metric_label labels[FUNCTION_LABELS];
};

static void put_sample(struct ng_metrics_page *page, const struct measure *measure,
	const struct ng_metric_labels *labels, const struct subject *subject)
{
	const double value = measure->value(subject);

	if (!isnan(value))
		ng_openmetrics_put(&page->writer, labels, value);
}

static struct ng_metric_labels labels_of(const struct subject *subject, struct label_room *room)
{
	(void)snprintf(room->pid, sizeof(room->pid), "%d", subject->report->pid);
	room->labels[0] = (struct ng_metric_label){"pid", room->pid};
	room->labels[1] = (struct ng_metric_label){"exe", subject->report->exe};
	return (struct ng_metric_labels){.items = room->labels, .count = TARGET_LABELS};
}

static void put_functions(
	struct ng_metrics_page *page, const struct measure *measure, const struct subject *target)
{
	struct subject subject = *target;
	struct label_room room;
	struct ng_metric_labels labels = labels_of(&subject, &room);

	for (size_t i = 0; i < subject.report->function_count; i++) {
		const struct ng_member_function *function = &subject.report->functions[i];

		subject.function = i;
		room.labels[TARGET_LABELS] = (struct ng_metric_label){"function", function->name};
		room.labels[TARGET_LABELS + 1] =
			(struct ng_metric_label){"source", function->source};
		labels.count = TARGET_LABELS + (function->source ? 2 : 1);
		put_sample(page, measure, &labels, &subject);
	}
}

static void put_measure(
	struct ng_metrics_page *page, const struct measure *measure, bool is_of_functions)
{
	ng_openmetrics_family(&page->writer, &measure->family);
	for (size_t i = 0; i < page->scrape->report_count; i++) {
		const struct subject subject = {.facts = page->scrape->facts,
			.report = &page->scrape->reports[i],
			.target = &page->metrics->targets[i]};
		struct label_room room;
		struct ng_metric_labels labels;

		if (!subject.target->is_shown)
			continue;
		if (is_of_functions) {
			put_functions(page, measure, &subject);
			continue;
		}
		labels = labels_of(&subject, &room);
		put_sample(page, measure, &labels, &subject);
	}
}

static double hits(const struct subject *subject)
{
	const struct ng_gate_tally *tally = &subject->report->tally;

	/* Not the tally's: it also has hits of which is not noted yet what became of them. */
	return (double)(tally->delivered + tally->sampled_out + tally->lost);
}

static double delivered(const struct subject *subject)
{
	return (double)subject->report->tally.delivered;
}

static double sampled_out(const struct subject *subject)
{
	return (double)subject->report->tally.sampled_out;
}

static double lost(const struct subject *subject)
{
	return (double)subject->report->tally.lost;
}

static double windows(const struct subject *subject)
{
	return (double)subject->report->windows;
}

static double target_cpu(const struct subject *subject)
{
	return (double)subject->report->cpu_ns / NG_NS_PER_S;
}

static double overhead(const struct subject *subject)
{
	return subject->report->lost_ns / NG_NS_PER_S;
}

static double overhead_ratio(const struct subject *subject)
{
	return subject->report->ended ? NAN : subject->report->share_minute;
}

static double budget_ratio(const struct subject *subject)
{
	return subject->report->ended ? NAN : subject->report->settings.budget_ratio;
}

static double armed_ratio(const struct subject *subject)
{
	return subject->report->ended ? NAN : subject->report->armed_ratio;
}

/* To the millisecond: the two clocks are not read at the same time. */
static double lease_expiry(const struct subject *subject)
{
	const struct ng_metrics_facts *facts = subject->facts;
	const uint64_t until_ns = subject->report->lease_until_ns;

	if (!until_ns || subject->report->ended)
		return NAN;
	return round(facts->now_seconds * 1e3 + ((double)until_ns - (double)facts->now_ns) / 1e6) /
	       1e3;
}

static const struct measure of_targets[] = {
	{{"nowgate_hits", NG_METRIC_COUNTER, NULL,
		 "Breakpoint hits, exactly: delivered, sampled out and lost ones."},
		hits},
	{{"nowgate_events_delivered", NG_METRIC_COUNTER, NULL,
		 "Hits that were counted or recorded, exactly."},
		delivered},
	{{"nowgate_events_sampled_out", NG_METRIC_COUNTER, NULL,
		 "Hits that were left out on purpose, exactly: outside of windows, or over a "
		 "limit."},
		sampled_out},
	{{"nowgate_events_lost", NG_METRIC_COUNTER, NULL,
		 "Hits that found no room, exactly. nowgate_losses_total has the causes."},
		lost},
	{{"nowgate_windows", NG_METRIC_COUNTER, NULL,
		 "Windows in which the target was armed for a short time."},
		windows},
	{{"nowgate_target_cpu_seconds", NG_METRIC_COUNTER, "seconds",
		 "CPU time that the target has used since it was attached."},
		target_cpu},
	{{"nowgate_overhead_seconds", NG_METRIC_COUNTER, "seconds",
		 "CPU time that tracing took from the target: an estimate, hits by what one "
		 "costs."},
		overhead},
	{{"nowgate_overhead_ratio", NG_METRIC_GAUGE, "ratio",
		 "Share of the target's CPU time that tracing took in the last minute: an "
		 "estimate."},
		overhead_ratio},
	{{"nowgate_budget_ratio", NG_METRIC_GAUGE, "ratio",
		 "Share of the target's CPU time that tracing may take."},
		budget_ratio},
	{{"nowgate_armed_ratio", NG_METRIC_GAUGE, "ratio",
		 "Share of the time since it was attached in which the target was armed."},
		armed_ratio},
	{{"nowgate_lease_expiry_timestamp_seconds", NG_METRIC_GAUGE, "seconds",
		 "When the mode ends by itself, in Unix time; only where it does."},
		lease_expiry},
};

/* Was anything estimated? Else each call while it was armed was counted. */
static bool is_estimated(const struct ng_member_report *report)
{
	return report->windows || report->arming == NG_ARMING_WINDOWS;
}

static double calls_counted(const struct subject *subject)
{
	return is_estimated(subject->report) ? NAN : subject->target->calls[subject->function];
}

static double calls_estimated(const struct subject *subject)
{
	return is_estimated(subject->report) ? subject->target->calls[subject->function] : NAN;
}

static bool has_rate(const struct subject *subject)
{
	return function_of(subject)->is_known && !subject->report->ended;
}

static double rate(const struct subject *subject)
{
	return has_rate(subject) ? function_of(subject)->rate.hz : NAN;
}

static double rate_low(const struct subject *subject)
{
	return has_rate(subject) ? function_of(subject)->rate.low_hz : NAN;
}

static double rate_high(const struct subject *subject)
{
	return has_rate(subject) ? function_of(subject)->rate.high_hz : NAN;
}

static double call_cost(const struct subject *subject)
{
	return function_of(subject)->cost_ns / NG_NS_PER_S;
}

static double is_incomplete(const struct subject *subject)
{
	return function_of(subject)->missing[0] ? 1 : 0;
}

static const struct measure of_functions[] = {
	{{"nowgate_calls", NG_METRIC_COUNTER, NULL,
		 "Calls, counted: each one while the target was armed. Only of targets that have "
		 "had no windows; see nowgate_calls_estimated_total."},
		calls_counted},
	{{"nowgate_calls_estimated", NG_METRIC_COUNTER, NULL,
		 "Calls, an estimate: of targets armed in windows, the time between them included. "
		 "Where later windows say less it stands still; it never goes back."},
		calls_estimated},
	{{"nowgate_calls_per_second", NG_METRIC_GAUGE, NULL,
		 "Calls a second now: counted, or estimated by the windows of the last 10 to 20 "
		 "s."},
		rate},
	{{"nowgate_calls_per_second_low", NG_METRIC_GAUGE, NULL,
		 "Lower end of the 95 % interval of nowgate_calls_per_second; the same where it is "
		 "counted."},
		rate_low},
	{{"nowgate_calls_per_second_high", NG_METRIC_GAUGE, NULL,
		 "Upper end of the 95 % interval of nowgate_calls_per_second; +Inf: it has none."},
		rate_high},
	{{"nowgate_call_cost_seconds", NG_METRIC_GAUGE, "seconds",
		 "What one hit takes from the target: an estimate, by calibration and windows."},
		call_cost},
	{{"nowgate_function_incomplete", NG_METRIC_GAUGE, NULL,
		 "1: some calls of the function cannot be seen, and are in no figure; `nowgate "
		 "status --json` says why."},
		is_incomplete},
};

static void put_info(struct ng_metrics_page *page)
{
	static const struct ng_metric_family family = {"nowgate_target", NG_METRIC_INFO, NULL,
		"A target, and the Go version that it was built by."};

	ng_openmetrics_family(&page->writer, &family);
	for (size_t i = 0; i < page->scrape->report_count; i++) {
		const struct subject subject = {.report = &page->scrape->reports[i]};
		struct label_room room;
		struct ng_metric_labels labels = labels_of(&subject, &room);

		room.labels[labels.count++] =
			(struct ng_metric_label){"go_version", subject.report->go_version};
		if (page->metrics->targets[i].is_shown)
			ng_openmetrics_put(&page->writer, &labels, 1);
	}
}

static void put_modes(struct ng_metrics_page *page)
{
	static const struct ng_metric_family family = {"nowgate_mode", NG_METRIC_GAUGE, NULL,
		"1 for the mode that the target is in, 0 for the others."};

	ng_openmetrics_family(&page->writer, &family);
	for (size_t i = 0; i < page->scrape->report_count; i++) {
		const struct subject subject = {.report = &page->scrape->reports[i]};
		struct label_room room;
		struct ng_metric_labels labels = labels_of(&subject, &room);

		labels.count++;
		for (enum ng_mode mode = 0; mode < NG_MODES; mode++) {
			room.labels[TARGET_LABELS] =
				(struct ng_metric_label){"mode", ng_mode_name(mode)};
			if (page->metrics->targets[i].is_shown && !subject.report->ended)
				ng_openmetrics_put(&page->writer, &labels,
					subject.report->settings.mode == mode);
		}
	}
}

void ng_metrics_put(struct ng_metrics_page *page)
{
	put_daemon(page);
	put_info(page);
	put_modes(page);
	for (size_t i = 0; i < sizeof(of_targets) / sizeof(of_targets[0]); i++)
		put_measure(page, &of_targets[i], false);
	for (size_t i = 0; i < sizeof(of_functions) / sizeof(of_functions[0]); i++)
		put_measure(page, &of_functions[i], true);
	ng_openmetrics_end(&page->writer);
}
