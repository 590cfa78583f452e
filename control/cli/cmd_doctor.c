/* nowgate doctor: can tracing work here, what does it cost, and what is to be done about it. */
#include "control/cli/commands.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "control/cli/options.h"
#include "control/doctor/checks.h"
#include "control/engine/calibration_file.h"

#define COMMAND "doctor"

static const char help[] =
	"Checks all that decides whether tracing can work here, tries it on a child of its own,\n"
	"and prints what a traced call costs on this machine.\n"
	"\n"
	"Usage: nowgate doctor [OPTION...]\n"
	"\n"
	"      --recalibrate    measure the costs again, though they are known (takes 1 s)\n"
	"      --json           one JSON document\n"
	"  -h, --help\n"
	"\n"
	"Exit status: 0 tracing can work; 1 it cannot; 2 usage; 4 it is denied to this user.\n";

enum option_index {
	OPTION_RECALIBRATE,
	OPTION_JSON,
	OPTION_HELP,
};

static const struct ng_option option_table[] = {
	[OPTION_RECALIBRATE] = {0, "recalibrate", NG_OPTION_FLAG, false},
	[OPTION_JSON] = {0, "json", NG_OPTION_FLAG, false},
	[OPTION_HELP] = {'h', "help", NG_OPTION_FLAG, false},
};

static const char *const status_names[] = {
	[NG_CHECK_OK] = "ok",
	[NG_CHECK_WARN] = "warn",
	[NG_CHECK_FAIL] = "fail",
};

static void print_calibration(const struct ng_calibration *calibration)
{
	const time_t measured_at = (time_t)calibration->measured_at_s;
	char text[64] = "";
	struct tm local;

	if (localtime_r(&measured_at, &local))
		(void)strftime(text, sizeof(text), "%F %T", &local);
	printf("\nWhat a hit costs here, in ns (median, and the quartiles), measured %s:\n\n",
		text);
	printf("  %-15s %-6s %-23s %-23s %s\n", "class", "insn", "armed for long",
		"in windows of 1 ms", "a window's edges, us");
	for (int i = 0; i < NG_LOOP_COUNT; i++) {
		const struct ng_cost *cost = &calibration->costs[i];
		const struct ng_loop *loop = ng_loop_get(i);

		printf("  %-15s %-6s %6.0f (%5.0f..%5.0f)", ng_site_class_name(loop->class),
			loop->insn, cost->median_ns, cost->low_ns, cost->high_ns);
		if (cost->windows)
			printf("   %6.0f (%5.0f..%5.0f)   %6.1f (%5.1f..%5.1f)",
				cost->window_ns.median, cost->window_ns.low, cost->window_ns.high,
				cost->edge_ns.median / 1e3, cost->edge_ns.low / 1e3,
				cost->edge_ns.high / 1e3);
		putchar('\n');
	}
}

static void print_text(const struct ng_checks *checks, const struct ng_trials *trials)
{
	for (size_t i = 0; i < checks->count; i++) {
		const struct ng_check *check = &checks->items[i];

		printf("%-4s  %-26s %s\n", status_names[check->status], check->name, check->seen);
		if (check->advice[0])
			printf("      %-26s -> %s\n", "", check->advice);
	}
	if (trials->calibrated)
		print_calibration(&trials->calibration);
	printf("\nTracing %s here.\n",
		ng_checks_worst(checks) == NG_CHECK_FAIL ? "cannot work" : "can work");
}

static json_t *checks_to_json(const struct ng_checks *checks)
{
	json_t *array = json_array();

	for (size_t i = 0; i < checks->count; i++) {
		const struct ng_check *check = &checks->items[i];

		/* NULL is passed on as an error, and so is an array that there is not. */
		if (json_array_append_new(
			    array, json_pack("{s:s, s:s, s:s, s:s}", "name", check->name, "status",
					   status_names[check->status], "seen", check->seen,
					   "advice", check->advice))) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

static int print_json(const struct ng_checks *checks, const struct ng_trials *trials)
{
	json_t *calibration =
		trials->calibrated ? ng_calibration_to_json(&trials->calibration) : json_null();
	json_t *root = json_pack("{s:i, s:b, s:o, s:o}", "v", 1, "ok",
		ng_checks_worst(checks) != NG_CHECK_FAIL, "checks", checks_to_json(checks),
		"calibration", calibration);
	int error = 0;

	if (!root)
		return -ENOMEM;
	if (json_dumpf(root, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) ||
		putchar('\n') == EOF)
		error = -EIO;
	json_decref(root);
	return error;
}

static int run_doctor(bool json, bool recalibrate)
{
	struct ng_checks checks = NG_CHECKS_INIT;
	struct ng_trials trials = {.recalibrate = recalibrate};
	int error = 0;

	ng_checks_machine(&checks);
	ng_checks_privileges(&checks);
	ng_checks_trials(&checks, &trials);
	if (json)
		error = print_json(&checks, &trials);
	else
		print_text(&checks, &trials);
	if (!error && fflush(stdout))
		error = -errno;
	if (error) {
		const struct ng_diag none = NG_DIAG_INIT;

		return ng_complain(COMMAND, error, &none);
	}
	if (ng_checks_worst(&checks) != NG_CHECK_FAIL)
		return NG_EXIT_DONE;
	return trials.denied ? NG_EXIT_DENIED : NG_EXIT_FAILED;
}

int ng_cmd_doctor(int argc, char **argv)
{
	struct ng_options options = NG_OPTIONS_INIT(COMMAND, option_table, argc, argv);
	bool json = false, recalibrate = false;
	int option;

	while ((option = ng_options_next(&options)) >= 0) {
		switch (option) {
		case OPTION_RECALIBRATE:
			recalibrate = true;
			break;
		case OPTION_JSON:
			json = true;
			break;
		default:
			fputs(help, stdout);
			return NG_EXIT_DONE;
		}
	}
	if (option == NG_OPTIONS_ERROR)
		return NG_EXIT_USAGE;
	if (options.next < argc)
		return ng_complain_usage(
			COMMAND, "'%s' is too much: it takes options only", argv[options.next]);
	return run_doctor(json, recalibrate);
}
