#include "control/cli/status_print.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "control/cli/base_name.h"
#include "control/cli/json_get.h"
#include "control/cli/numbers.h"
#include "core/base/clock.h"

#define DECISIONS_SHOWN 2 /* the last ones of each target */

static void print_function(FILE *file, json_t *function)
{
	const double rate = ng_json_real(function, "rate_hz"),
		     low = ng_json_real(function, "rate_low_hz");
	json_t *high = json_object_get(function, "rate_high_hz");
	char text[32], interval[64] = "counted";

	if (!json_is_number(json_object_get(function, "rate_hz"))) {
		fprintf(file, "         %-24s %15s calls/s  (not measured now)\n",
			ng_json_text(function, "name"), "?");
		return;
	}

	if (json_is_true(json_object_get(function, "estimated")) && json_is_number(high))
		(void)snprintf(
			interval, sizeof(interval), "%.3g to %.3g", low, json_number_value(high));
	else if (json_is_true(json_object_get(function, "estimated")))
		(void)snprintf(interval, sizeof(interval), "%.3g or more", low);
	fprintf(file, "         %-24s %15s calls/s  (%s)  %.2f us a call\n",
		ng_json_text(function, "name"), ng_grouped((uint64_t)(rate + 0.5), text), interval,
		ng_json_real(function, "cost_ns") / 1e3);
}

static void print_decisions(FILE *file, json_t *target, double now_ns)
{
	json_t *decisions = json_object_get(target, "decisions");
	const size_t count = json_array_size(decisions);

	for (size_t i = count > DECISIONS_SHOWN ? count - DECISIONS_SHOWN : 0; i < count; i++) {
		json_t *decision = json_array_get(decisions, i);

		fprintf(file, "         %.1f s ago armed %s: %s\n",
			(now_ns - ng_json_real(decision, "time_ns")) / NG_NS_PER_S,
			ng_json_text(decision, "to"), ng_json_text(decision, "reason"));
	}
}

static void print_target(FILE *file, json_t *target, double now_ns)
{
	const double lease_ns = ng_json_real(target, "lease_until_ns");
	char mode[48], budget[32];
	json_t *function;
	size_t i;

	(void)snprintf(mode, sizeof(mode), "%s", ng_json_text(target, "mode"));
	if (lease_ns > now_ns)
		(void)snprintf(mode, sizeof(mode), "%s, %.0f s left", ng_json_text(target, "mode"),
			(lease_ns - now_ns) / NG_NS_PER_S);
	(void)snprintf(
		budget, sizeof(budget), "%.3g %%", ng_json_real(target, "budget_ratio") * 100);
	fprintf(file, "%8.0f %-16.16s %-20s %8s %8.2f %% %8.2f %% %8.2f %%%s\n",
		ng_json_real(target, "pid"), ng_base_name(ng_json_text(target, "exe")), mode,
		budget, ng_json_real(target, "overhead_now_ratio") * 100,
		ng_json_real(target, "overhead_minute_ratio") * 100,
		ng_json_real(target, "armed_ratio") * 100,
		json_is_true(json_object_get(target, "ended")) ? "  ended" : "");
	json_array_foreach(json_object_get(target, "functions"), i, function)
		print_function(file, function);
	fprintf(file, "         hits %.0f = delivered %.0f + sampled out %.0f + lost %.0f\n",
		ng_json_real(target, "hits"), ng_json_real(target, "delivered"),
		ng_json_real(target, "sampled_out"), ng_json_real(target, "lost"));
	print_decisions(file, target, now_ns);
}

void ng_status_print(FILE *file, json_t *answer, bool again)
{
	json_t *targets = json_object_get(answer, "targets"), *target;
	size_t i;

	if (again && isatty(fileno(file)))
		fputs("\033[H\033[2J", file);
	fprintf(file, "%8s %-16s %-20s %8s %10s %10s %10s\n", "pid", "program", "mode", "budget",
		"lost now", "minute", "armed");
	json_array_foreach(targets, i, target)
		print_target(file, target, ng_json_real(answer, "now_ns"));
	if (!json_array_size(targets))
		fputs("nothing is attached: see `nowgate attach --help`\n", file);
}
