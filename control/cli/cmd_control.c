/* nowgate attach, detach, mode and status: what steers a daemon. */
#include "control/cli/commands.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/cli/json_get.h"
#include "control/cli/options.h"
#include "control/cli/snapshot.h"
#include "control/cli/status_print.h"
#include "control/cli/trace_output.h"
#include "control/daemon/client.h"
#include "control/daemon/server.h"
#include "core/base/clock.h"
#include "core/base/number.h"

#define PID_MAX	 4194304 /* the kernel's PID_MAX_LIMIT */
#define WATCH_NS NG_NS_PER_S

#define BURST_LOOK_NS (20 * NG_NS_PER_MS)

static const char attach_help[] =
	"Has the daemon trace processes: those that there are, and those that come.\n"
	"\n"
	"Usage: nowgate attach -p PID | --exe GLOB | --comm NAME | --cgroup PATH [OPTION...]\n"
	"\n"
	"Which (all that is given must hold)\n"
	"  -p, --pid PID\n"
	"      --exe GLOB       by the executable's path; '*' goes across slashes\n"
	"      --comm NAME      by the process's name\n"
	"      --cgroup PATH    below the cgroup root, and whatever is below it\n"
	"      --uid UID        by its owner\n"
	"What and how\n"
	"  -f, --func FUNC      default: time.Now. Again for more\n"
	"      --mode MODE      off, count, sampled (default), burst or full\n"
	"      --budget SHARE   of each target's CPU time, such as 1% (default) or 1/1000\n"
	"      --follow-forks   children become targets too\n"
	"      --for, --events, --rate, --exact, --record: see `nowgate mode --help`\n"
	"      --socket PATH    the daemon's, default " NG_SOCKET_PATH "\n"
	"      --json           print the answer as JSON\n"
	"  -h, --help\n"
	"\n"
	"Exit status: 0 done; 1 failed; 2 usage; 3 no daemon; 4 denied; 5 refused; 6 no such "
	"process\n"
	"or function.\n";

static const char detach_help[] =
	"Ends what `nowgate attach` began: by the same words, or --all. Everything is disarmed.\n"
	"\n"
	"Usage: nowgate detach -p PID | --exe GLOB | --comm NAME | --cgroup PATH | --all\n"
	"\n"
	"      --uid UID, --socket PATH, --json, -h, --help: as with `nowgate attach`\n"
	"\n"
	"Exit status: 0 done; 1 failed; 2 usage; 3 no daemon; 4 denied; 6 nothing was attached "
	"so.\n";

static const char mode_help[] =
	"Changes how attached processes are traced, at once.\n"
	"\n"
	"Usage: nowgate mode off|count|sampled|burst|full [OPTION...] (-p PID | --exe GLOB | … | "
	"--all)\n"
	"\n"
	"  off                  nothing is armed: costs nothing\n"
	"  count                every call is counted, within the budget; over it, sampled\n"
	"  sampled              short windows at random times: an estimate with its interval\n"
	"  burst                every call, for a time or a number of calls; then as before\n"
	"  full                 every call, for a time; then as before\n"
	"\n"
	"  -p, --exe, --comm, --cgroup, --uid: as with `nowgate attach`; --all: every one\n"
	"      --for TIME       how long, such as 30s (default of burst and full)\n"
	"      --events N       burst: ends after so many calls\n"
	"      --rate SHARE     sampled: share of the time to be armed, instead of by the budget\n"
	"      --budget SHARE   of each target's CPU time, such as 1%\n"
	"      --exact          count: go on over the budget, and report it\n"
	"      --record         count: keep the newest calls for `nowgate snapshot`, as other "
	"modes "
	"do\n"
	"  -o, --output PATH    burst, with -p: wait for its end, and write its calls and those "
	"before\n"
	"      --format FORMAT  of that: see `nowgate snapshot --help`\n"
	"      --socket PATH, --json, -h, --help: as with `nowgate attach`\n"
	"\n"
	"Exit status: 0 done; 1 failed; 2 usage; 3 no daemon; 4 denied; 5 refused; 6 nothing "
	"matches.\n";

static const char status_help[] =
	"Shows what the daemon traces, how, and what it costs.\n"
	"\n"
	"Usage: nowgate status [-p PID | --exe GLOB | …] [OPTION...]\n"
	"\n"
	"      --watch          again each second, until ^C; with --json a line each\n"
	"      --json           the daemon's own answer\n"
	"  -p, --exe, --comm, --cgroup, --uid: only these; as with `nowgate attach`\n"
	"      --socket PATH, -h, --help\n"
	"\n"
	"Exit status: 0 done; 1 failed; 2 usage; 3 no daemon.\n";

enum option_index {
	OPTION_PID,
	OPTION_EXE,
	OPTION_COMM,
	OPTION_CGROUP,
	OPTION_UID,
	OPTION_ALL,
	OPTION_FUNC,
	OPTION_MODE,
	OPTION_BUDGET,
	OPTION_FOR,
	OPTION_EVENTS,
	OPTION_RATE,
	OPTION_EXACT,
	OPTION_RECORD,
	OPTION_FOLLOW,
	OPTION_WATCH,
	OPTION_OUTPUT,
	OPTION_FORMAT,
	OPTION_SOCKET,
	OPTION_JSON,
	OPTION_HELP,
	OPTION_COUNT,
};

static const struct ng_option option_table[OPTION_COUNT] = {
	[OPTION_PID] = {'p', "pid", NG_OPTION_VALUE, false},
	[OPTION_EXE] = {0, "exe", NG_OPTION_VALUE, false},
	[OPTION_COMM] = {0, "comm", NG_OPTION_VALUE, false},
	[OPTION_CGROUP] = {0, "cgroup", NG_OPTION_VALUE, false},
	[OPTION_UID] = {0, "uid", NG_OPTION_VALUE, false},
	[OPTION_ALL] = {0, "all", NG_OPTION_FLAG, false},
	[OPTION_FUNC] = {'f', "func", NG_OPTION_VALUE, true},
	[OPTION_MODE] = {0, "mode", NG_OPTION_VALUE, false},
	[OPTION_BUDGET] = {0, "budget", NG_OPTION_VALUE, false},
	[OPTION_FOR] = {0, "for", NG_OPTION_VALUE, false},
	[OPTION_EVENTS] = {0, "events", NG_OPTION_VALUE, false},
	[OPTION_RATE] = {0, "rate", NG_OPTION_VALUE, false},
	[OPTION_EXACT] = {0, "exact", NG_OPTION_FLAG, false},
	[OPTION_RECORD] = {0, "record", NG_OPTION_FLAG, false},
	[OPTION_FOLLOW] = {0, "follow-forks", NG_OPTION_FLAG, false},
	[OPTION_OUTPUT] = {'o', "output", NG_OPTION_VALUE, false},
	[OPTION_FORMAT] = {0, "format", NG_OPTION_VALUE, false},
	[OPTION_WATCH] = {0, "watch", NG_OPTION_FLAG, false},
	[OPTION_SOCKET] = {0, "socket", NG_OPTION_VALUE, false},
	[OPTION_JSON] = {0, "json", NG_OPTION_FLAG, false},
	[OPTION_HELP] = {'h', "help", NG_OPTION_FLAG, false},
};

/** One of the commands, and what was given. */
struct control {
	const char *command;
	const char *help;
	struct ng_request request;
	const char *socket_path;
	bool json, watch, help_wanted;
	const char *output, *format; /* mode burst: where its calls are written; NULL: nowhere */
	struct ng_snapshot snapshot; /* then */
};

#define BIT(option) (1u << (option))
#define SELECTING                                                                                  \
	(BIT(OPTION_PID) | BIT(OPTION_EXE) | BIT(OPTION_COMM) | BIT(OPTION_CGROUP) |               \
		BIT(OPTION_UID))
#define COMMON (BIT(OPTION_SOCKET) | BIT(OPTION_JSON) | BIT(OPTION_HELP))
#define SETTING                                                                                    \
	(BIT(OPTION_BUDGET) | BIT(OPTION_FOR) | BIT(OPTION_EVENTS) | BIT(OPTION_RATE) |            \
		BIT(OPTION_EXACT) | BIT(OPTION_RECORD))

/* Which options a command takes. */
static unsigned int options_of(enum ng_op op)
{
	switch (op) {
	case NG_OP_ATTACH:
		return SELECTING | COMMON | SETTING | BIT(OPTION_FUNC) | BIT(OPTION_MODE) |
		       BIT(OPTION_FOLLOW);
	case NG_OP_DETACH:
		return SELECTING | COMMON | BIT(OPTION_ALL);
	case NG_OP_MODE:
		return SELECTING | COMMON | SETTING | BIT(OPTION_ALL) | BIT(OPTION_OUTPUT) |
		       BIT(OPTION_FORMAT);
	default:
		return SELECTING | COMMON | BIT(OPTION_WATCH);
	}
}

static int take_text(char **ret_text, const char *value)
{
	free(*ret_text);
	*ret_text = strdup(value);
	return *ret_text ? 0 : -1;
}

static int take_number(const char *value, struct ng_range range, uint64_t *ret_number,
	const struct control *control, const char *name)
{
	struct ng_diag diag = NG_DIAG_INIT;

	if (ng_number_parse(value, range, ret_number, &diag))
		return ng_complain_usage(control->command, "--%s: %s", name, diag.text);
	return 0;
}

static int take_ratio(
	const char *value, double *ret_ratio, const struct control *control, const char *name)
{
	struct ng_diag diag = NG_DIAG_INIT;

	if (ng_ratio_parse(value, ret_ratio, &diag))
		return ng_complain_usage(control->command, "--%s: %s", name, diag.text);
	return 0;
}

static int take_mode(struct control *control, const char *value)
{
	struct ng_wish *wish = &control->request.wish;

	if (ng_mode_parse(value, &wish->settings.mode))
		return ng_complain_usage(control->command,
			"'%s' is no mode: it can be off, count, sampled, burst or full", value);
	wish->has_mode = true;
	return 0;
}

static int take_time(struct control *control, const char *value)
{
	const struct ng_range range = {1, NG_LEASE_MAX_NS};
	struct ng_wish *wish = &control->request.wish;
	struct ng_diag diag = NG_DIAG_INIT;

	wish->has_lease = true;
	if (ng_duration_parse(value, range, &wish->settings.lease_ns, &diag))
		return ng_complain_usage(control->command, "--for: %s", diag.text);
	return 0;
}

/* @return 0, or the exit code */
static int take_selecting(struct control *control, int index, const char *value)
{
	struct ng_selector *select = &control->request.select;
	uint64_t number = 0;
	int code;

	switch (index) {
	case OPTION_PID:
		code = take_number(value, (struct ng_range){1, PID_MAX}, &number, control, "pid");
		select->pid = (pid_t)number;
		return code;
	case OPTION_UID:
		code = take_number(
			value, (struct ng_range){0, UINT32_MAX - 1}, &number, control, "uid");
		select->uid = (uid_t)number;
		select->has_uid = true;
		return code;
	case OPTION_EXE:
		return take_text(&select->exe, value) ? NG_EXIT_FAILED : 0;
	case OPTION_COMM:
		return take_text(&select->comm, value) ? NG_EXIT_FAILED : 0;
	case OPTION_CGROUP:
		return take_text(&select->cgroup, value) ? NG_EXIT_FAILED : 0;
	default:
		select->all = true;
		return 0;
	}
}

static int take_setting(struct control *control, int index, const char *value)
{
	struct ng_wish *wish = &control->request.wish;

	switch (index) {
	case OPTION_MODE:
		return take_mode(control, value);
	case OPTION_BUDGET:
		wish->has_budget = true;
		return take_ratio(value, &wish->settings.budget_ratio, control, "budget");
	case OPTION_FOR:
		return take_time(control, value);
	case OPTION_EVENTS:
		wish->has_events = true;
		return take_number(value, (struct ng_range){1, NG_EVENTS_MAX},
			&wish->settings.events, control, "events");
	case OPTION_RATE:
		wish->has_rate = true;
		return take_ratio(value, &wish->settings.rate_ratio, control, "rate");
	case OPTION_EXACT:
		wish->has_exact = wish->settings.exact = true;
		return 0;
	case OPTION_RECORD:
		wish->has_record = wish->settings.record = true;
		return 0;
	default:
		wish->has_follow_forks = wish->settings.follow_forks = true;
		return 0;
	}
}

static int take_option(struct control *control, int index, const char *value)
{
	if (BIT(index) & (SELECTING | BIT(OPTION_ALL)))
		return take_selecting(control, index, value);
	switch (index) {
	case OPTION_FUNC:
		if (ng_names_add(&control->request.functions, value))
			return ng_complain_usage(
				control->command, "--func stands more than 64 times");
		return 0;
	case OPTION_SOCKET:
		control->socket_path = value;
		return 0;
	case OPTION_JSON:
		control->json = true;
		return 0;
	case OPTION_WATCH:
		control->watch = true;
		return 0;
	case OPTION_OUTPUT:
		control->output = value;
		return 0;
	case OPTION_FORMAT:
		control->format = value;
		return 0;
	case OPTION_HELP:
		control->help_wanted = true;
		return 0;
	default:
		return take_setting(control, index, value);
	}
}

static int check_output(struct control *control)
{
	const struct ng_request *request = &control->request;

	if (!control->output && !control->format)
		return 0;
	if (request->wish.settings.mode != NG_MODE_BURST || !request->select.pid)
		return ng_complain_usage(control->command,
			"--output goes with burst of one process, by --pid: others are looked at "
			"by "
			"`nowgate snapshot`");
	control->snapshot = (struct ng_snapshot){.command = control->command,
		.socket_path = control->socket_path,
		.pid = request->select.pid};
	return ng_trace_output(
		control->command, control->output, control->format, &control->snapshot.trace);
}

static int check(struct control *control)
{
	const struct ng_request *request = &control->request;
	struct ng_diag diag = NG_DIAG_INIT;

	if (request->op == NG_OP_MODE && !request->wish.has_mode)
		return ng_complain_usage(
			control->command, "which mode? off, count, sampled, burst or full");
	if (request->op != NG_OP_STATUS && ng_selector_is_empty(&request->select))
		return ng_complain_usage(control->command,
			"which processes? Give --pid, --exe, --comm, --cgroup or --uid%s",
			request->op == NG_OP_ATTACH ? "" : ", or --all");
	if (ng_wish_check(&request->wish, &diag))
		return ng_complain_usage(control->command, "%s", diag.text);
	return check_output(control);
}

/* @return 0, or the exit code */
static int parse(int argc, char **argv, struct control *control)
{
	struct ng_options options = NG_OPTIONS_INIT(control->command, option_table, argc, argv);
	int index, code = 0;

	if (control->request.op == NG_OP_MODE && argc > 1 && argv[1][0] != '-') {
		code = take_mode(control, argv[1]);
		options.next = 2;
	}
	while (!code && (index = ng_options_next(&options)) >= 0) {
		if (!(BIT(index) & options_of(control->request.op)))
			return ng_complain_usage(control->command, "there is no option '--%s'",
				option_table[index].name);
		code = take_option(control, index, options.value);
	}
	if (code)
		return code;
	if (index == NG_OPTIONS_ERROR)
		return NG_EXIT_USAGE;
	if (options.next < argc)
		return ng_complain_usage(control->command, "'%s' is no option", argv[options.next]);
	return control->help_wanted ? 0 : check(control);
}

static void print_done(const struct control *control, const json_t *answer)
{
	const json_int_t processes = json_integer_value(json_object_get(answer, "processes"));

	switch (control->request.op) {
	case NG_OP_ATTACH:
		printf("attached: %" JSON_INTEGER_FORMAT " process%s now%s\n", processes,
			processes == 1 ? "" : "es",
			control->request.select.pid ? "" : ", and those to come");
		break;
	case NG_OP_DETACH:
		puts("detached");
		break;
	default:
		printf("mode %s: %" JSON_INTEGER_FORMAT " process%s\n",
			ng_mode_name(control->request.wish.settings.mode), processes,
			processes == 1 ? "" : "es");
	}
}

static int print_answer(const struct control *control, json_t *answer)
{
	if (control->json) {
		json_dumpf(answer, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
		putchar('\n');
	} else if (control->request.op == NG_OP_STATUS) {
		ng_status_print(stdout, answer, control->watch);
	} else {
		print_done(control, answer);
	}
	return fflush(stdout) ? NG_EXIT_FAILED : NG_EXIT_DONE;
}

static int ask_once(const struct control *control)
{
	struct ng_diag diag = NG_DIAG_INIT;
	json_t *answer = NULL;
	int code = (int)ng_client_request(control->socket_path, &control->request, &answer, &diag);

	if (code) {
		fprintf(stderr, "nowgate %s: %s\n", control->command, diag.text);
		return code;
	}
	code = print_answer(control, answer);
	json_decref(answer);
	return code;
}

/* Is one of the targets in burst? Those that have ended are told of, too. */
static bool is_in_burst(const json_t *answer)
{
	const json_t *targets = json_object_get(answer, "targets"), *target;
	size_t i;

	json_array_foreach(targets, i, target)
	{
		if (!json_is_true(json_object_get(target, "ended")) &&
			!strcmp(ng_json_text(target, "mode"), ng_mode_name(NG_MODE_BURST)))
			return true;
	}
	return false;
}

/* Waits until the burst is over, and has what came of it written, and what came before. */
static int write_burst(struct control *control)
{
	const struct timespec pause = {.tv_nsec = BURST_LOOK_NS};
	const struct ng_request status = {
		.op = NG_OP_STATUS, .select = {.pid = control->request.select.pid}};
	struct ng_diag diag = NG_DIAG_INIT;
	bool is_over = false;
	int code = 0;

	while (!is_over && !code) {
		json_t *answer = NULL;

		(void)nanosleep(&pause, NULL); /* cut short: the next one is early */
		code = (int)ng_client_request(control->socket_path, &status, &answer, &diag);
		is_over = !is_in_burst(answer);
		json_decref(answer);
	}
	if (code) {
		fprintf(stderr, "nowgate %s: %s\n", control->command, diag.text);
		return code;
	}
	return ng_snapshot_write(&control->snapshot);
}

static int run(struct control *control, int argc, char **argv)
{
	const struct timespec pause = {.tv_sec = WATCH_NS / NG_NS_PER_S};
	int code = parse(argc, argv, control);

	if (!code && control->help_wanted) {
		code = ng_print_help(control->help);
	} else if (!code) {
		code = ask_once(control);
		if (!code && control->output)
			code = write_burst(control);
		while (control->watch && !code) {
			(void)nanosleep(&pause, NULL); /* cut short: the next one is early */
			code = ask_once(control);
		}
	}
	ng_request_release(&control->request);
	return code;
}

int ng_cmd_attach(int argc, char **argv)
{
	struct control control = {.command = "attach",
		.help = attach_help,
		.socket_path = NG_SOCKET_PATH,
		.request = {.op = NG_OP_ATTACH}};

	return run(&control, argc, argv);
}

int ng_cmd_detach(int argc, char **argv)
{
	struct control control = {.command = "detach",
		.help = detach_help,
		.socket_path = NG_SOCKET_PATH,
		.request = {.op = NG_OP_DETACH}};

	return run(&control, argc, argv);
}

int ng_cmd_mode(int argc, char **argv)
{
	struct control control = {.command = "mode",
		.help = mode_help,
		.socket_path = NG_SOCKET_PATH,
		.request = {.op = NG_OP_MODE}};

	return run(&control, argc, argv);
}

int ng_cmd_status(int argc, char **argv)
{
	struct control control = {.command = "status",
		.help = status_help,
		.socket_path = NG_SOCKET_PATH,
		.request = {.op = NG_OP_STATUS}};

	return run(&control, argc, argv);
}
