#include "control/daemon/metrics_inside.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One that has no series must call so many times as much as one that has, to take its place. */
#define KEEP_FACTOR 2

void ng_metrics_release(struct ng_metrics *metrics)
{
	free(metrics->targets);
	*metrics = (struct ng_metrics){.targets = NULL};
}

/* --- what is remembered ------------------------------------------------------------------------
 */

static double rate_of(const struct ng_member_report *report)
{
	double hz = 0;

	for (size_t i = 0; i < report->function_count; i++)
		if (report->functions[i].is_known && isfinite(report->functions[i].rate.hz))
			hz += report->functions[i].rate.hz;
	return report->ended ? 0 : hz;
}

static void take_in(struct ng_metrics_target *target, const struct ng_member_report *report)
{
	target->pid = report->pid;
	target->since_ns = report->since_ns;
	for (size_t i = 0; i < report->function_count; i++)
		if (isfinite(report->functions[i].calls))
			target->calls[i] =
				fmax(target->calls[i], round(report->functions[i].calls));
	target->score = rate_of(report) * (target->is_shown ? KEEP_FACTOR : 1);
	target->is_shown = false;
}

/* Both are in the order of coming: what is left of the old ones, then the new ones. */
static int remember(struct ng_metrics *metrics, const struct ng_metrics_scrape *scrape)
{
	struct ng_metrics_target *now = calloc(scrape->report_count + 1, sizeof(*now));
	size_t old = 0;

	if (!now)
		return -ENOMEM;
	for (size_t i = 0; i < scrape->report_count; i++) {
		const struct ng_member_report *report = &scrape->reports[i];

		while (old < metrics->target_count &&
			(metrics->targets[old].pid != report->pid ||
				metrics->targets[old].since_ns != report->since_ns))
			old++;
		if (old < metrics->target_count)
			now[i] = metrics->targets[old++];
		take_in(&now[i], report);
	}
	free(metrics->targets);
	metrics->targets = now;
	metrics->target_count = scrape->report_count;
	return 0;
}

/* Is it no more: detached, or replaced by a later image of the same process and file, which has the
 * same labels? */
static bool is_past(const struct ng_metrics_scrape *scrape, size_t index)
{
	const struct ng_member_report *report = &scrape->reports[index];

	if (!report->attachment)
		return true;
	for (size_t i = index + 1; i < scrape->report_count; i++)
		if (scrape->reports[i].attachment && scrape->reports[i].pid == report->pid &&
			!strcmp(scrape->reports[i].exe, report->exe))
			return true;
	return false;
}

/* The highest score first; of the same, the oldest. */
static int compare_scores(const void *a, const void *b)
{
	const struct ng_metrics_target *left = *(struct ng_metrics_target *const *)a;
	const struct ng_metrics_target *right = *(struct ng_metrics_target *const *)b;

	if (left->score != right->score)
		return left->score < right->score ? 1 : -1;
	return left < right ? -1 : 1;
}

static int choose(struct ng_metrics *metrics, const struct ng_metrics_scrape *scrape)
{
	struct ng_metrics_target **order =
		calloc(scrape->report_count + 1, sizeof(struct ng_metrics_target *));
	size_t count = 0;

	if (!order)
		return -ENOMEM;
	for (size_t i = 0; i < scrape->report_count; i++)
		if (!is_past(scrape, i))
			order[count++] = &metrics->targets[i];
	qsort(order, count, sizeof(struct ng_metrics_target *), compare_scores);
	for (size_t i = 0; i < count && i < scrape->targets_max; i++)
		order[i]->is_shown = true;
	free(order);
	return 0;
}

int ng_metrics_take(struct ng_metrics *metrics, const struct ng_metrics_scrape *scrape)
{
	const int error = remember(metrics, scrape);

	return error ? error : choose(metrics, scrape);
}

int ng_metrics_write(const struct ng_metrics *metrics, const struct ng_metrics_scrape *scrape,
	enum ng_openmetrics_format format, char **ret_text)
{
	struct ng_buffer buffer = {0};
	struct ng_metrics_page page = {.metrics = metrics,
		.scrape = scrape,
		.writer = {.buffer = &buffer, .format = format}};

	ng_metrics_put(&page);
	return ng_buffer_finish(&buffer, ret_text);
}
