#include "control/cli/stat_print.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "control/cli/base_name.h"
#include "control/cli/losses_print.h"
#include "control/plane/losses.h"
#include "core/base/clock.h"

#define JSON_VERSION 1

static double seconds(uint64_t ns)
{
	return (double)ns / (double)NG_NS_PER_S;
}

static double rate_hz(uint64_t calls, uint64_t ns)
{
	return ns ? (double)calls / seconds(ns) : 0;
}

/* ns that a hit takes; negative where that is not known: a system call's event is not calibrated.
 */
static double hit_ns(const struct ng_stat_print *print, const struct ng_report_site *site)
{
	if (!print->calibration || site->site->class == NG_SITE_SYSCALL)
		return -1;
	return print->calibration->costs[site->site->class].median_ns;
}

/* ns that all hits of a function took; negative where it is not known. */
static double lost_ns(const struct ng_stat_print *print, const struct ng_report_function *function)
{
	double total = 0;

	for (size_t i = 0; i < function->site_count; i++) {
		const double hit = hit_ns(print, &function->sites[i]);

		if (hit < 0)
			return -1;
		total += (double)function->sites[i].calls * hit;
	}
	return total;
}

/* ns a call; where there was none, what one would have cost. Negative: not known. */
static double cost_ns(const struct ng_stat_print *print, const struct ng_report_function *function)
{
	const double lost = lost_ns(print, function);

	if (lost < 0 || !function->site_count)
		return -1;
	return function->calls ? lost / (double)function->calls
			       : hit_ns(print, &function->sites[0]);
}

/* Share of the process's CPU time; negative: not known. */
static double overhead_ratio(const struct ng_stat_print *print,
	const struct ng_report_target *target, const struct ng_report_function *function)
{
	double lost = lost_ns(print, function);

	if (lost < 0 || (!target->cpu_ns && lost > 0))
		return -1;
	if (!target->cpu_ns)
		return 0;
	/* The calibrated cost can be above the real one: but no more than all can be lost. */
	return lost < (double)target->cpu_ns ? lost / (double)target->cpu_ns : 1;
}

/* A number with its thousands set apart: "1,234,567". */
static const char *grouped(uint64_t number, char text[32])
{
	char *at = text + 31;
	int digits = 0;

	*at = '\0';
	do {
		if (digits && digits % 3 == 0)
			*--at = ',';
		*--at = (char)('0' + number % 10);
		number /= 10;
		digits++;
	} while (number);
	return at;
}

static bool is_syscall(const struct ng_report_function *function)
{
	return function->site_count && function->sites[0].site->class == NG_SITE_SYSCALL;
}

static void print_function(const struct ng_stat_print *print, const struct ng_report_target *target,
	const struct ng_report_function *function)
{
	const uint64_t armed_ns = target->disarmed_at_ns - target->armed_at_ns;
	const double cost = cost_ns(print, function);
	const double overhead = overhead_ratio(print, target, function);
	char calls[32], rate[32], cost_text[32] = "?", overhead_text[32] = "?";

	if (cost >= 0)
		(void)snprintf(cost_text, sizeof(cost_text), "%.2f us", cost / 1e3);
	if (overhead >= 0)
		(void)snprintf(overhead_text, sizeof(overhead_text), "%.2f %%", overhead * 100);
	fprintf(print->file, "  %15s %15s %10s %9s  %-5s  %s\n", grouped(function->calls, calls),
		grouped((uint64_t)(rate_hz(function->calls, armed_ns) + 0.5), rate), cost_text,
		overhead_text, function->exact ? "exact" : "NOT",
		is_syscall(function) ? function->source : function->name);
	if (!function->exact)
		fprintf(print->file, "  %15s not every call was counted: %s\n", "",
			function->missing);
}

static void print_target(const struct ng_stat_print *print, const struct ng_report_target *target)
{
	fprintf(print->file, "\n%d %s", target->pid, ng_base_name(target->exe));
	if (target->go_version[0])
		fprintf(print->file, " (%s)", target->go_version);
	if (target->origin == NG_ORIGIN_VFORK)
		fprintf(print->file, ", a vfork child of %d", target->parent);
	else if (target->parent)
		fprintf(print->file, ", child of %d", target->parent);
	fprintf(print->file, ", %.3f s%s\n", seconds(target->disarmed_at_ns - target->armed_at_ns),
		target->ended ? ", ended" : "");
	for (size_t i = 0; i < target->function_count; i++)
		print_function(print, target, &target->functions[i]);
}

/* A wrapper that has nothing wanted, or a process that made no call beside many that did. */
static bool is_worth_a_line(const struct ng_report *report, const struct ng_report_target *target)
{
	if (!target->function_count)
		return false;
	if (target->origin == NG_ORIGIN_PID || report->target_count <= 8)
		return true;
	for (size_t i = 0; i < target->function_count; i++) {
		if (target->functions[i].calls)
			return true;
	}
	return false;
}

void ng_stat_print_table(const struct ng_stat_print *print, const struct ng_report *report)
{
	size_t shown = 0;

	fprintf(print->file, "%17s %15s %10s %9s\n", "calls", "calls/s", "cost/call", "CPU lost");
	for (size_t i = 0; i < report->target_count; i++) {
		if (!is_worth_a_line(report, &report->targets[i]))
			continue;
		print_target(print, &report->targets[i]);
		shown++;
	}
	if (!shown)
		fprintf(print->file, "\nno process has the function\n");
	if (report->foreign_calls)
		fprintf(print->file, "\n%" PRIu64 " hits of processes that are no targets\n",
			report->foreign_calls);
	ng_losses_print(print->file, report->lost, NG_LOST_CAUSES);
	fprintf(print->file, "\n%.3f s elapsed\n", seconds(report->elapsed_ns));
}

static json_t *number_or_null(double number)
{
	return number < 0 ? json_null() : json_real(number);
}

static json_t *json_of_site(const struct ng_report_site *site)
{
	json_t *object = json_pack("{s:s, s:I, s:I, s:s, s:s, s:b, s:I}", "image",
		site->image->path, "delta", (json_int_t)site->site->delta, "offset",
		(json_int_t)site->site->offset, "insn", site->site->insn, "class",
		ng_site_class_name(site->site->class), "exact", site->site->exact, "calls",
		(json_int_t)site->calls);

	if (object && site->site->caller)
		(void)json_object_set_new(object, "caller", json_string(site->site->caller));
	return object;
}

static json_t *json_of_function(const struct ng_stat_print *print, const struct ng_report *report,
	const struct ng_report_target *target, const struct ng_report_function *function)
{
	const uint64_t armed_ns = target->disarmed_at_ns - target->armed_at_ns;
	const uint64_t lost = report->lost[NG_LOST_COUNTS_FULL];
	json_t *sites = json_array();
	json_t *object;

	for (size_t i = 0; sites && i < function->site_count; i++)
		(void)json_array_append_new(sites, json_of_site(&function->sites[i]));
	object = json_pack("{s:s, s:s, s:o, s:I, s:b, s:I, s:f, s:o, s:o}", "name", function->name,
		"engine", is_syscall(function) ? "tracepoint" : "uprobe", "sites", sites, "calls",
		(json_int_t)function->calls, "exact", function->exact, "lost", (json_int_t)lost,
		"rate_hz", rate_hz(function->calls, armed_ns), "cost_ns",
		number_or_null(cost_ns(print, function)), "overhead_ratio",
		number_or_null(overhead_ratio(print, target, function)));
	if (object && function->source)
		(void)json_object_set_new(object, "source", json_string(function->source));
	if (object && !function->exact)
		(void)json_object_set_new(object, "missing", json_string(function->missing));
	return object;
}

static json_t *json_of_target(const struct ng_stat_print *print, const struct ng_report *report,
	const struct ng_report_target *target)
{
	static const char *const origins[] = {[NG_ORIGIN_PID] = "pid",
		[NG_ORIGIN_COMMAND] = "command",
		[NG_ORIGIN_IMAGE] = "exe",
		[NG_ORIGIN_VFORK] = "vfork"};
	json_t *functions = json_array();
	json_t *object;

	for (size_t i = 0; functions && i < target->function_count; i++)
		(void)json_array_append_new(
			functions, json_of_function(print, report, target, &target->functions[i]));
	object = json_pack("{s:i, s:s, s:s, s:s, s:I, s:I, s:b, s:I, s:o}", "pid", target->pid,
		"exe", target->exe, "go_version", target->go_version, "origin",
		origins[target->origin], "armed_at_ns", (json_int_t)target->armed_at_ns,
		"disarmed_at_ns", (json_int_t)target->disarmed_at_ns, "ended", target->ended,
		"cpu_ns", (json_int_t)target->cpu_ns, "functions", functions);
	if (object && target->parent)
		(void)json_object_set_new(object, "parent", json_integer(target->parent));
	return object;
}

static int dump(const struct ng_stat_print *print, json_t *root, size_t flags)
{
	int error = 0;

	if (!root)
		return -ENOMEM;
	if (json_dumpf(root, print->file, flags | JSON_REAL_PRECISION(9)) ||
		fputc('\n', print->file) == EOF || fflush(print->file))
		error = errno ? -errno : -EIO;
	json_decref(root);
	return error;
}

int ng_stat_print_json(const struct ng_stat_print *print, const struct ng_report *report)
{
	json_t *targets = json_array();

	for (size_t i = 0; targets && i < report->target_count; i++) {
		if (report->targets[i].function_count)
			(void)json_array_append_new(
				targets, json_of_target(print, report, &report->targets[i]));
	}
	return dump(print,
		json_pack("{s:i, s:I, s:o, s:I, s:o}", "v", JSON_VERSION, "elapsed_ns",
			(json_int_t)report->elapsed_ns, "targets", targets, "foreign_calls",
			(json_int_t)report->foreign_calls, "lost",
			ng_losses_json(report->lost, NG_LOST_CAUSES)),
		JSON_INDENT(1));
}

/* The calls of the same function of the same life in an earlier report: lives never change places.
 */
static uint64_t calls_before(const struct ng_report *before, size_t target, size_t function)
{
	if (target >= before->target_count || function >= before->targets[target].function_count)
		return 0;
	return before->targets[target].functions[function].calls;
}

void ng_stat_print_interval(const struct ng_stat_print *print, const struct ng_report *before,
	const struct ng_report *now)
{
	const uint64_t interval_ns = now->elapsed_ns - before->elapsed_ns;

	for (size_t i = 0; i < now->target_count; i++) {
		const struct ng_report_target *target = &now->targets[i];

		for (size_t k = 0; k < target->function_count; k++) {
			const struct ng_report_function *function = &target->functions[k];
			const uint64_t calls = function->calls - calls_before(before, i, k);
			char calls_text[32], rate[32];

			fprintf(print->file, "%9.3f %8d %15s %15s/s  %s\n",
				seconds(now->elapsed_ns), target->pid, grouped(calls, calls_text),
				grouped((uint64_t)(rate_hz(calls, interval_ns) + 0.5), rate),
				function->name);
		}
	}
}

int ng_stat_print_interval_json(const struct ng_stat_print *print, const struct ng_report *before,
	const struct ng_report *now)
{
	const uint64_t interval_ns = now->elapsed_ns - before->elapsed_ns;
	json_t *targets = json_array();

	for (size_t i = 0; targets && i < now->target_count; i++) {
		const struct ng_report_target *target = &now->targets[i];
		json_t *functions = json_array();

		for (size_t k = 0; functions && k < target->function_count; k++) {
			const struct ng_report_function *function = &target->functions[k];
			const uint64_t calls = function->calls - calls_before(before, i, k);
			json_t *object = json_pack("{s:s, s:I, s:I, s:f, s:b}", "name",
				function->name, "calls", (json_int_t)calls, "total",
				(json_int_t)function->calls, "rate_hz", rate_hz(calls, interval_ns),
				"exact", function->exact);

			if (object && function->source)
				(void)json_object_set_new(
					object, "source", json_string(function->source));
			(void)json_array_append_new(functions, object);
		}
		(void)json_array_append_new(
			targets, json_pack("{s:i, s:s, s:o}", "pid", target->pid, "exe",
					 target->exe, "functions", functions));
	}
	return dump(print,
		json_pack("{s:i, s:I, s:I, s:o}", "v", JSON_VERSION, "elapsed_ns",
			(json_int_t)now->elapsed_ns, "interval_ns", (json_int_t)interval_ns,
			"targets", targets),
		JSON_COMPACT);
}
