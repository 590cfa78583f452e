#include "control/cli/stat_arguments.h"

#include <string.h>

#include "control/cli/commands.h"
#include "control/cli/options.h"
#include "core/base/number.h"

const char ng_stat_help[] =
	"Counts calls of a function, every one, in running processes or in a command.\n"
	"\n"
	"Usage: nowgate stat [OPTION...] -p PID... | --exe PATH... | -- COMMAND ARG...\n"
	"\n"
	"What to count\n"
	"  -f, --func FUNC      a function as its language writes it: time.Now,\n"
	"                       'net/http.(*conn).serve', 'main.Gen[...]', clock_gettime;\n"
	"                       or a glob, 'time.*'. Again for more. Default: time.Now\n"
	"      --clock          every read of the clock, by its source, none twice\n"
	"      --clock=all      the Go runtime's own reads too\n"
	"      --clock=+syscalls  real system calls too; while it runs, each system call of\n"
	"                       every process of this machine takes longer (the note says how "
	"much)\n"
	"Where\n"
	"  -p, --pid PID        a running process. Again for more; its children are not followed\n"
	"      --exe PATH       every process that runs this file, now and started later\n"
	"  -- COMMAND ARG...    from its first instruction to its end, its children too\n"
	"How long\n"
	"  -d, --duration TIME  such as 5s or 500ms; default: until the targets end, or ^C\n"
	"  -I, --interval TIME  print the counts of each such interval too\n"
	"Output\n"
	"      --json           one JSON document; with -I one line of JSON an interval\n"
	"  -o, --output FILE    write the result there; default: stdout, with a command "
	"stderr\n" NG_TARGETS_ENGINE_HELP
	"      --attach HOW     auto, tracefs, or link (slower to arm, follows no children)\n"
	"  -h, --help\n"
	"\n"
	"Exit status: 0 done; 1 failed; 2 usage; 4 denied; 5 refused; 6 no such process or\n"
	"function; 7 done, but calls were lost. With a command its own, 128 + signal where one\n"
	"ended it, 125 where nowgate failed, 126 not executable, 127 not found.\n";

enum option_index {
	OPTION_FUNC,
	OPTION_PID,
	OPTION_EXE,
	OPTION_DURATION,
	OPTION_INTERVAL,
	OPTION_OUTPUT,
	OPTION_JSON,
	OPTION_CLOCK,
	OPTION_ENGINE,
	OPTION_ATTACH,
	OPTION_AT_SYMBOL,
	OPTION_MODE,
	OPTION_BUDGET,
	OPTION_RATE,
	OPTION_HELP,
};

static const struct ng_option option_table[] = {
	[OPTION_FUNC] = {'f', "func", NG_OPTION_VALUE, true},
	[OPTION_PID] = {'p', "pid", NG_OPTION_VALUE, true},
	[OPTION_EXE] = {0, "exe", NG_OPTION_VALUE, true},
	[OPTION_DURATION] = {'d', "duration", NG_OPTION_VALUE, false},
	[OPTION_INTERVAL] = {'I', "interval", NG_OPTION_VALUE, false},
	[OPTION_OUTPUT] = {'o', "output", NG_OPTION_VALUE, false},
	[OPTION_JSON] = {0, "json", NG_OPTION_FLAG, false},
	[OPTION_CLOCK] = {0, "clock", NG_OPTION_OPTIONAL, false},
	[OPTION_ENGINE] = {0, "engine", NG_OPTION_VALUE, false},
	[OPTION_ATTACH] = {0, "attach", NG_OPTION_VALUE, false},
	/* Not in the help: shows in our tests why the symbol's address is the wrong place. */
	[OPTION_AT_SYMBOL] = {0, "at-symbol", NG_OPTION_FLAG, false},
	[OPTION_MODE] = {0, "mode", NG_OPTION_VALUE, false},
	[OPTION_BUDGET] = {0, "budget", NG_OPTION_VALUE, false},
	[OPTION_RATE] = {0, "rate", NG_OPTION_VALUE, false},
	[OPTION_HELP] = {'h', "help", NG_OPTION_FLAG, false},
};

static int set_clock(struct ng_stat_arguments *arguments, const char *text)
{
	static const char syscalls[] = "+syscalls";
	const char *rest = text ? text : "";

	arguments->clock = true;
	arguments->clock_set = NG_CLOCK_PROGRAM;
	if (!strncmp(rest, "all", 3)) {
		arguments->clock_set = NG_CLOCK_ALL;
		rest += 3;
	}
	if (!strcmp(rest, syscalls)) {
		arguments->syscalls = true;
		rest = "";
	}
	if (*rest || (text && !*text))
		return ng_complain_usage(NG_STAT_COMMAND,
			"--clock=%s: it can be --clock, --clock=all, --clock=+syscalls or "
			"--clock=all+syscalls",
			text);
	return 0;
}

static int set_attach(struct ng_stat_arguments *arguments, const char *text)
{
	if (!strcmp(text, "auto"))
		arguments->attach = NG_ATTACH_AUTO;
	else if (!strcmp(text, "tracefs"))
		arguments->attach = NG_ATTACH_TRACEFS;
	else if (!strcmp(text, "link"))
		arguments->attach = NG_ATTACH_LINK;
	else
		return ng_complain_usage(
			NG_STAT_COMMAND, "--attach %s: it can be auto, tracefs or link", text);
	return 0;
}

static int set_mode(struct ng_stat_arguments *arguments, const char *text)
{
	if (!strcmp(text, "sampled"))
		arguments->sampled = true;
	else if (strcmp(text, "count"))
		return ng_complain_usage(
			NG_STAT_COMMAND, "--mode %s: it can be count or sampled", text);
	return 0;
}

static int set_ratio(double *ret_ratio, const char *text, const char *option)
{
	struct ng_diag diag = NG_DIAG_INIT;

	if (ng_ratio_parse(text, ret_ratio, &diag))
		return ng_complain_usage(NG_STAT_COMMAND, "--%s: %s", option, diag.text);
	return 0;
}

static int set_option(int index, const char *value, void *context)
{
	struct ng_stat_arguments *arguments = context;

	switch (index) {
	case OPTION_FUNC:
		return ng_targets_add_function(&arguments->targets, NG_STAT_COMMAND, value);
	case OPTION_PID:
		return ng_targets_add_pid(&arguments->targets, NG_STAT_COMMAND, value);
	case OPTION_EXE:
		return ng_targets_add_exe(&arguments->targets, NG_STAT_COMMAND, value);
	case OPTION_DURATION:
		return ng_option_duration(
			NG_STAT_COMMAND, "duration", value, &arguments->duration_ns);
	case OPTION_INTERVAL:
		return ng_option_duration(
			NG_STAT_COMMAND, "interval", value, &arguments->interval_ns);
	case OPTION_OUTPUT:
		arguments->output = value;
		return 0;
	case OPTION_JSON:
		arguments->json = true;
		return 0;
	case OPTION_CLOCK:
		return set_clock(arguments, value);
	case OPTION_ENGINE:
		return ng_targets_set_engine(&arguments->targets, NG_STAT_COMMAND, value);
	case OPTION_ATTACH:
		return set_attach(arguments, value);
	case OPTION_AT_SYMBOL:
		arguments->at_symbol = true;
		return 0;
	case OPTION_MODE:
		return set_mode(arguments, value);
	case OPTION_BUDGET:
		return set_ratio(&arguments->budget_ratio, value, "budget");
	case OPTION_RATE:
		return set_ratio(&arguments->rate_ratio, value, "rate");
	default:
		arguments->help = true;
		return 0;
	}
}

static int check_arguments(struct ng_stat_arguments *arguments)
{
	if (arguments->clock && arguments->targets.function_count)
		return ng_complain_usage(NG_STAT_COMMAND,
			"--clock counts the clock's own functions: it does not go with --func");
	if (arguments->sampled && arguments->targets.engine != NG_ENGINE_UPROBE)
		return ng_complain_usage(NG_STAT_COMMAND,
			"--mode sampled goes with engine uprobe: inline counts every call at less "
			"than what that takes");
	if (arguments->sampled && (arguments->targets.command || arguments->syscalls))
		return ng_complain_usage(NG_STAT_COMMAND,
			"--mode sampled goes with --pid and --exe, and without system calls");
	if (arguments->sampled && (arguments->attach == NG_ATTACH_LINK || arguments->at_symbol))
		return ng_complain_usage(NG_STAT_COMMAND,
			"--mode sampled needs tracefs and the chosen site: --attach link and "
			"--at-symbol do not go with it");
	if (!arguments->sampled && (arguments->budget_ratio || arguments->rate_ratio))
		return ng_complain_usage(
			NG_STAT_COMMAND, "--budget and --rate go with --mode sampled");
	if (!arguments->clock && !arguments->targets.function_count)
		arguments->targets.functions[arguments->targets.function_count++] = "time.Now";
	return 0;
}

int ng_stat_arguments_parse(int argc, char **argv, struct ng_stat_arguments *arguments)
{
	struct ng_options options = NG_OPTIONS_INIT(NG_STAT_COMMAND, option_table, argc, argv);
	int code = ng_options_each(&options, set_option, arguments);

	if (code || arguments->help)
		return code;
	code = ng_targets_finish(&arguments->targets, &options);
	return code ? code : check_arguments(arguments);
}
