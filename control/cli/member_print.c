#include "control/cli/member_print.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "control/cli/losses_print.h"
#include "control/cli/numbers.h"
#include "control/plane/member_json.h"
#include "core/base/clock.h"

#define JSON_VERSION 1

static int collect_json(const struct ng_member_report *report, void *context)
{
	return json_array_append_new(context, ng_member_to_json(report, NG_MEMBER_RATE_MEAN))
		       ? -ENOMEM
		       : 0;
}

int ng_member_print_json(const struct ng_member_print *print, struct ng_fleet *fleet)
{
	json_t *targets = json_array(), *root;
	int error = targets ? ng_fleet_report(fleet, collect_json, targets) : -ENOMEM;

	root = json_pack("{s:i, s:I, s:o}", "v", JSON_VERSION, "elapsed_ns",
		(json_int_t)print->elapsed_ns, "targets", targets);
	if (!root)
		return -ENOMEM;
	if (!error && (json_dumpf(root, print->file, JSON_COMPACT | JSON_REAL_PRECISION(9)) ||
			      fputc('\n', print->file) == EOF || fflush(print->file)))
		error = errno ? -errno : -EIO;
	json_decref(root);
	return error;
}

static void print_function(FILE *file, const struct ng_member_report *report,
	const struct ng_member_function *function)
{
	const double seconds = (double)report->elapsed_ns / NG_NS_PER_S;
	const double rate = seconds > 0 ? function->calls / seconds : 0;
	const double half = (function->calls_high - function->calls_low) / 2 / fmax(seconds, 1e-9);
	char text[32], interval[48] = "counted";

	if (!ng_member_is_counted(report) && isfinite(half))
		(void)snprintf(interval, sizeof(interval), "+-%.1f %%",
			rate > 0 ? half / rate * 100 : 100);
	else if (!ng_member_is_counted(report))
		(void)snprintf(interval, sizeof(interval), "not known");
	fprintf(file, "  %15s/s %12s %8.2f us  %s\n",
		isfinite(rate) ? ng_grouped((uint64_t)(rate + 0.5), text) : "?", interval,
		function->cost_ns / 1e3, function->source ? function->source : function->name);
	if (function->missing[0])
		fprintf(file, "  %15s not every call is seen: %s\n", "", function->missing);
}

static int print_member(const struct ng_member_report *report, void *context)
{
	FILE *file = context;
	const char *slash = strrchr(report->exe, '/');

	fprintf(file, "\n%d %s", report->pid, slash ? slash + 1 : report->exe);
	if (report->go_version[0])
		fprintf(file, " (%s)", report->go_version);
	fprintf(file,
		", %s, armed %.2f %% of %.1f s in %llu windows, CPU lost %.2f %% (budget %.2f "
		"%%)%s\n",
		ng_mode_name(report->settings.mode), report->armed_ratio * 100,
		(double)report->elapsed_ns / NG_NS_PER_S, (unsigned long long)report->windows,
		report->cpu_ns ? report->lost_ns / (double)report->cpu_ns * 100 : 0,
		report->settings.budget_ratio * 100, report->ended ? ", ended" : "");
	for (size_t i = 0; i < report->function_count; i++)
		print_function(file, report, &report->functions[i]);
	return 0;
}

int ng_member_print_table(const struct ng_member_print *print, struct ng_fleet *fleet)
{
	uint64_t lost[NG_LOSSES];
	int error;

	fprintf(print->file, "%19s %12s %11s\n", "calls/s", "95 %", "cost/call");
	error = ng_fleet_report(fleet, print_member, print->file);
	if (!error)
		error = ng_fleet_lost(fleet, lost);
	if (!error)
		ng_losses_print(print->file, lost, NG_LOSSES);
	fprintf(print->file, "\n%.3f s elapsed\n", (double)print->elapsed_ns / NG_NS_PER_S);
	return !error && fflush(print->file) ? -errno : error;
}
