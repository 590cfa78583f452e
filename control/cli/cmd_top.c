/* nowgate top: what the daemon traces, live; who calls in one of them; and keys that steer it. */
#include "control/cli/commands.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ncurses.h> /* names of keys */

#include "control/cli/json_get.h"
#include "control/cli/options.h"
#include "control/cli/top_model.h"
#include "control/cli/top_screen.h"
#include "control/daemon/client.h"
#include "control/daemon/server.h"
#include "core/base/clock.h"

#define COMMAND	      "top"
#define LOOK_NS	      NG_NS_PER_S
#define KEY_MS	      100
#define KEY_ESCAPE    27
#define KEY_INTERRUPT 3 /* ^C */
#define MESSAGE_BYTES NG_DIAG_SIZE

static const char help[] =
	"Shows what the daemon traces, live: rates, costs, modes; and who calls in one of them.\n"
	"\n"
	"Usage: nowgate top [-p PID] [--once [--json]] [--socket PATH]\n"
	"\n"
	"  -p, --pid PID      only this process; it has to be attached: see `nowgate attach`\n"
	"      --once         print a table, and end\n"
	"      --json         with --once: the same as a JSON document\n"
	"      --socket PATH  the daemon's, default " NG_SOCKET_PATH "\n"
	"  -h, --help\n"
	"\n"
	"Keys: Up, Down, PageUp, PageDown select; Enter shows who called in that process in the "
	"last\n"
	"minute; t orders by rate, cost or pid; s, c, o, b, f set\n"
	"its mode (sampled, count, off, burst, full: f twice); + and - double and halve its "
	"budget;\n"
	"q ends it. ~ before a rate: an estimate; NOW and MIN: what tracing takes of its CPU "
	"time.\n"
	"\n"
	"Exit status: 0 done; 1 failed; 2 usage; 3 no daemon; 4 denied; 6 no such target.\n";

enum option_index {
	OPTION_PID,
	OPTION_ONCE,
	OPTION_JSON,
	OPTION_SOCKET,
	OPTION_HELP,
};

static const struct ng_option option_table[] = {
	[OPTION_PID] = {'p', "pid", NG_OPTION_VALUE, false},
	[OPTION_ONCE] = {0, "once", NG_OPTION_FLAG, false},
	[OPTION_JSON] = {0, "json", NG_OPTION_FLAG, false},
	[OPTION_SOCKET] = {0, "socket", NG_OPTION_VALUE, false},
	[OPTION_HELP] = {'h', "help", NG_OPTION_FLAG, false},
};

/* One run of the command. */
struct top_run {
	pid_t pid; /* 0: all */
	bool once, json, help;
	const char *socket_path;
	struct ng_top top;
	struct ng_top_view view;
	struct ng_top_callers callers;
	char message[MESSAGE_BYTES];
	bool full_is_asked; /* once: the next f means it */
	bool is_over;
	struct ng_diag diag;
};

static int set_option(int index, const char *value, void *context)
{
	struct top_run *run = context;

	switch (index) {
	case OPTION_PID:
		return ng_option_pid(COMMAND, value, &run->pid);
	case OPTION_ONCE:
		run->once = true;
		return 0;
	case OPTION_JSON:
		run->json = true;
		return 0;
	case OPTION_SOCKET:
		run->socket_path = value;
		return 0;
	default:
		run->help = true;
		return 0;
	}
}

static int read_arguments(struct top_run *run, int argc, char **argv)
{
	struct ng_options options = NG_OPTIONS_INIT(COMMAND, option_table, argc, argv);
	int code = ng_options_each(&options, set_option, run);

	if (code)
		return code;
	if (options.next < argc)
		return ng_complain_usage(COMMAND, "'%s' is no option", argv[options.next]);
	if (run->json && !run->once && !run->help)
		return ng_complain_usage(COMMAND, "--json goes with --once");
	return 0;
}

/* @return the exit code, with the text */
static int look(struct top_run *run)
{
	const struct ng_request request = {
		.op = NG_OP_STATUS, .select = {.pid = run->pid, .all = !run->pid}};
	json_t *answer = NULL;
	int code = (int)ng_client_request(run->socket_path, &request, &answer, &run->diag);

	if (code)
		return code;
	if (ng_top_take(&run->top, answer))
		return ng_exit_code(-ENOMEM);
	if (run->pid && !run->top.count) {
		(void)ng_diag_set(&run->diag, -ENOENT,
			"process %d is not attached: `nowgate attach -p %d` does that", run->pid,
			run->pid);
		return NG_EXIT_NOT_FOUND;
	}
	return 0;
}

static int print_once(struct top_run *run)
{
	json_t *document;
	int error;

	if (!run->json)
		return ng_top_print(stdout, &run->top) ? NG_EXIT_FAILED : NG_EXIT_DONE;
	document = ng_top_json(&run->top);
	error = !document || json_dumpf(document, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9)) ||
		putchar('\n') == EOF || fflush(stdout);
	json_decref(document);
	return error ? NG_EXIT_FAILED : NG_EXIT_DONE;
}

static void say(struct top_run *run, const char *text)
{
	(void)snprintf(run->message, sizeof(run->message), "%s", text);
}

static struct ng_top_row *selected_row(struct top_run *run)
{
	return run->top.count ? &run->top.rows[ng_top_selected(&run->top)] : NULL;
}

static void change_mode(struct top_run *run, enum ng_mode mode, double budget_ratio)
{
	const struct ng_top_row *row = selected_row(run);
	struct ng_request request = {.op = NG_OP_MODE};
	struct ng_diag diag = NG_DIAG_INIT;
	json_t *answer = NULL;

	if (!row)
		return;
	request.select.pid = row->pid;
	request.wish.has_mode = true;
	request.wish.settings.mode = mode;
	request.wish.has_budget = budget_ratio > 0;
	request.wish.settings.budget_ratio = budget_ratio;
	if (ng_client_request(run->socket_path, &request, &answer, &diag)) {
		say(run, diag.text);
		return;
	}
	json_decref(answer);
	if (budget_ratio > 0)
		(void)snprintf(run->message, sizeof(run->message), "process %d: budget %.3g %%",
			row->pid, budget_ratio * 100);
	else
		(void)snprintf(run->message, sizeof(run->message), "process %d: %s", row->pid,
			ng_mode_name(mode));
	(void)look(run); /* what went wrong is told at the next look */
}

static void change_budget(struct top_run *run, double factor)
{
	const struct ng_top_row *row = selected_row(run);
	enum ng_mode mode;

	if (!row || ng_mode_parse(row->mode, &mode))
		return;
	if (mode == NG_MODE_BURST || mode == NG_MODE_FULL)
		say(run, "burst and full know no budget: they end by themselves");
	else
		change_mode(run, mode, row->budget_ratio * factor);
}

/* What goes wrong is said; the next look may find more. */
static void look_at_callers(struct top_run *run)
{
	const struct ng_top_row *row = selected_row(run);
	struct ng_request request = {.op = NG_OP_CALLERS};
	struct ng_diag diag = NG_DIAG_INIT;
	json_t *answer = NULL;

	if (!row)
		return;
	request.select.pid = row->pid;
	if (ng_client_request(run->socket_path, &request, &answer, &diag)) {
		say(run, diag.text);
		return;
	}
	run->view.callers_s = ng_json_real(answer, "seconds");
	run->message[0] = '\0';
	if (ng_top_callers_take(&run->callers, answer))
		say(run, "what the daemon answered cannot be read");
	json_decref(answer);
}

static void begin_callers(struct top_run *run)
{
	if (!run->top.count)
		return;
	run->message[0] = '\0';
	run->view.callers = &run->callers;
	look_at_callers(run);
}

static void end_callers(struct top_run *run)
{
	ng_top_callers_release(&run->callers);
	run->view.callers = NULL;
	run->message[0] = '\0';
}

static void take_caller_key(struct top_run *run, int key)
{
	if (key == 'q' || key == KEY_ESCAPE || key == KEY_BACKSPACE || key == '\b')
		end_callers(run);
}

static void take_target_key(struct top_run *run, int key)
{
	const bool full_was_asked = run->full_is_asked;

	if (key == ERR || key == KEY_RESIZE)
		return;
	run->full_is_asked = false;
	switch (key) {
	case 'q':
		run->is_over = true;
		break;
	case KEY_UP:
	case 'k':
		ng_top_move(&run->top, -1);
		break;
	case KEY_DOWN:
	case 'j':
		ng_top_move(&run->top, 1);
		break;
	case KEY_PPAGE:
		ng_top_move(&run->top, -ng_top_screen_lines());
		break;
	case KEY_NPAGE:
		ng_top_move(&run->top, ng_top_screen_lines());
		break;
	case 't':
		ng_top_set_order(&run->top, (run->top.order + 1) % NG_TOP_ORDERS);
		break;
	case '\n':
	case '\r':
	case KEY_ENTER:
		begin_callers(run);
		break;
	case 's':
		change_mode(run, NG_MODE_SAMPLED, 0);
		break;
	case 'c':
		change_mode(run, NG_MODE_COUNT, 0);
		break;
	case 'o':
		change_mode(run, NG_MODE_OFF, 0);
		break;
	case 'b':
		change_mode(run, NG_MODE_BURST, 0);
		break;
	case 'f':
		run->full_is_asked = !full_was_asked;
		if (full_was_asked)
			change_mode(run, NG_MODE_FULL, 0);
		else
			say(run, "full traps at every call, without a budget, for 30 s: f once "
				 "more");
		break;
	case '+':
	case '=':
		change_budget(run, 2);
		break;
	case '-':
		change_budget(run, 0.5);
		break;
	default:
		break;
	}
}

static int show(struct top_run *run)
{
	uint64_t look_ns = ng_clock_ns() + LOOK_NS;
	int code = 0;

	while (!code && !run->is_over) {
		int key;

		run->view.message = run->message;
		ng_top_screen_draw(&run->top, &run->view);
		key = ng_top_screen_key(KEY_MS);
		if (key == KEY_INTERRUPT)
			run->is_over = true;
		else if (run->view.callers)
			take_caller_key(run, key);
		else
			take_target_key(run, key);
		if (ng_clock_ns() >= look_ns) {
			code = look(run);
			if (!code && run->view.callers)
				look_at_callers(run);
			look_ns = ng_clock_ns() + LOOK_NS;
		}
	}
	end_callers(run);
	return code;
}

int ng_cmd_top(int argc, char **argv)
{
	struct top_run run = {.socket_path = NG_SOCKET_PATH, .diag = NG_DIAG_INIT};
	int code = read_arguments(&run, argc, argv);

	if (code)
		return code;
	if (run.help)
		return ng_print_help(help);
	code = look(&run);
	if (!code && run.once) {
		code = print_once(&run);
	} else if (!code && ng_top_screen_open()) {
		(void)ng_diag_set(&run.diag, -ENOTTY,
			"this is no terminal that it can draw on: --once prints a table");
		code = NG_EXIT_FAILED;
	} else if (!code) {
		code = show(&run);
		ng_top_screen_close();
	}
	if (code && run.diag.text[0])
		fprintf(stderr, "nowgate top: %s\n", run.diag.text);
	ng_top_release(&run.top);
	return code;
}
