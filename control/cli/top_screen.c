#include "control/cli/top_screen.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* After the C library's headers: it defines a macro for each of its functions. */
#define NCURSES_WIDECHAR 1
#include <ncurses.h>

#include "control/cli/base_name.h"
#include "control/cli/json_get.h"

#define LINE_MAX_BYTES 512
#define HEADING	       2 /* lines above the rows … */
#define FOOTING	       2 /* … and below them */
#define COLOUR_HOT     1

#define TARGET_KEYS "q quit  Enter callers  t order  + - budget  s c o b f mode (help: --help)"
#define CALLER_KEYS "q Esc back to the targets"

/* Names of processes and functions are anybody's: no control character reaches the terminal. */
static void clean(char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
	}
}

/* "1.23 M": three digits and a unit, as wide as the column. */
static void write_number(double number, char text[16])
{
	static const char units[] = " kMGT";
	size_t unit = 0;

	while (number >= 999.5 && units[unit + 1]) {
		number /= 1000;
		unit++;
	}
	if (!unit)
		(void)snprintf(text, 16, "%.0f", number);
	else
		(void)snprintf(text, 16, "%.*f %c",
			number < 9.995	 ? 2
			: number < 99.95 ? 1
					 : 0,
			number, units[unit]);
}

static void write_rate(const struct ng_top_row *row, char text[24])
{
	char number[16];

	if (!row->is_measured) {
		(void)snprintf(text, 24, "?");
		return;
	}
	write_number(row->rate_hz, number);
	(void)snprintf(text, 24, "%s%s", row->is_estimate ? "~" : "", number);
}

static void write_mode(const struct ng_top_row *row, char text[32])
{
	if (row->has_ended)
		(void)snprintf(text, 32, "ended");
	else if (row->lease_s > 0)
		(void)snprintf(text, 32, "%.12s %.0f s", row->mode, ceil(row->lease_s));
	else
		(void)snprintf(text, 32, "%.24s", row->mode);
}

static void write_heading(char line[LINE_MAX_BYTES])
{
	(void)snprintf(line, LINE_MAX_BYTES, "%8s  %10s  %7s  %7s  %7s  %-12s %s", "PID", "CALLS/s",
		"NOW %", "MIN %", "BUDGET", "MODE", "PROGRAM");
}

static void write_row(const struct ng_top_row *row, char line[LINE_MAX_BYTES])
{
	char rate[24], mode[32], budget[16];

	write_rate(row, rate);
	write_mode(row, mode);
	(void)snprintf(budget, sizeof(budget), "%.3g %%", row->budget_ratio * 100);
	(void)snprintf(line, LINE_MAX_BYTES, "%8d  %10s  %7.2f  %7.2f  %7s  %-12s %.300s", row->pid,
		rate, row->now_ratio * 100, row->minute_ratio * 100, budget, mode,
		ng_base_name(row->exe));
	clean(line);
}

static void write_caller(const struct ng_top_caller *caller, double all, char line[LINE_MAX_BYTES])
{
	char number[16];

	write_number(caller->calls, number);
	(void)snprintf(line, LINE_MAX_BYTES, "%10s  %6.2f %%  %.250s", number,
		all > 0 ? caller->calls / all * 100 : 0, caller->function);
	if (caller->file) {
		const size_t length = strlen(line);

		(void)snprintf(line + length, LINE_MAX_BYTES - length, "  %.150s:%u",
			ng_base_name(caller->file), caller->line);
	}
	clean(line);
}

int ng_top_screen_open(void)
{
	SCREEN *screen;

	(void)setlocale(LC_CTYPE, "");
	if (!isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO))
		return -ENOTTY;
	screen = newterm(NULL, stdout, stdin);
	if (!screen)
		return -ENOTTY;
	(void)raw(); /* ^C is a key: what was started is ended in order */
	(void)noecho();
	(void)keypad(stdscr, TRUE);
	(void)curs_set(0);
	set_escdelay(50);
	if (!getenv("NO_COLOR") && has_colors()) {
		(void)start_color();
		(void)use_default_colors();
		(void)init_pair(COLOUR_HOT, COLOR_RED, -1);
	}
	return 0;
}

void ng_top_screen_close(void)
{
	(void)endwin();
}

int ng_top_screen_key(int wait_ms)
{
	timeout(wait_ms);
	return getch();
}

int ng_top_screen_lines(void)
{
	const int lines = LINES - HEADING - FOOTING;

	return lines > 1 ? lines : 1;
}

/* A whole line, cut at the terminal's edge. */
static void put_line(int at, attr_t attributes, const char *text)
{
	if (at < 0 || at >= LINES)
		return;
	(void)move(at, 0);
	(void)clrtoeol();
	(void)attrset(attributes);
	(void)addnstr(text, COLS - (at == LINES - 1)); /* the last cell would scroll */
	if (attributes & A_REVERSE)
		(void)chgat(-1, attributes, 0, NULL);
	(void)attrset(A_NORMAL);
}

static void draw_targets(const struct ng_top *top, struct ng_top_view *view)
{
	const size_t lines = (size_t)ng_top_screen_lines(), selected = ng_top_selected(top);
	char line[LINE_MAX_BYTES];

	if (selected < view->first)
		view->first = selected;
	if (selected >= view->first + lines)
		view->first = selected - lines + 1;
	(void)snprintf(line, sizeof(line), "nowgate top: %zu target%s, by %s", top->count,
		top->count == 1 ? "" : "s", ng_top_order_name(top->order));
	put_line(0, A_BOLD, line);
	write_heading(line);
	put_line(1, A_UNDERLINE, line);
	for (size_t i = 0; i < lines; i++) {
		const size_t index = view->first + i;
		const struct ng_top_row *row = &top->rows[index];
		attr_t attributes = A_NORMAL;

		if (index >= top->count) {
			put_line(HEADING + (int)i, A_NORMAL, "");
			continue;
		}
		write_row(row, line);
		if (index == selected)
			attributes = A_REVERSE;
		else if (row->now_ratio > 1.5 * row->budget_ratio)
			attributes = A_BOLD | COLOR_PAIR(COLOUR_HOT);
		put_line(HEADING + (int)i, attributes, line);
	}
	if (!top->count)
		put_line(HEADING, A_NORMAL, "nothing is attached: see `nowgate attach --help`");
}

static void draw_callers(const struct ng_top *top, const struct ng_top_view *view)
{
	const struct ng_top_callers *callers = view->callers;
	const int lines = ng_top_screen_lines();
	const char *exe = top->count ? ng_base_name(top->rows[ng_top_selected(top)].exe) : "?";
	char line[LINE_MAX_BYTES], number[16];

	write_number(callers->calls, number);
	(void)snprintf(line, sizeof(line), "%.200s, process %d: about %s calls in %.0f s", exe,
		top->selected, number, view->callers_s);
	clean(line);
	put_line(0, A_BOLD, line);
	(void)snprintf(line, sizeof(line), "%10s  %8s  %s", "CALLS", "SHARE", "CALLED FROM");
	put_line(1, A_UNDERLINE, line);
	for (int i = 0; i < lines; i++) {
		line[0] = '\0';
		if ((size_t)i < callers->count)
			write_caller(&callers->items[i], callers->calls, line);
		put_line(HEADING + i, A_NORMAL, line);
	}
	if (!callers->count)
		put_line(HEADING, A_NORMAL, "no call of the last minute is known");
}

void ng_top_screen_draw(const struct ng_top *top, struct ng_top_view *view)
{
	(void)erase();
	if (view->callers)
		draw_callers(top, view);
	else
		draw_targets(top, view);
	put_line(LINES - 2, A_BOLD, view->message);
	put_line(LINES - 1, A_REVERSE, view->callers ? CALLER_KEYS : TARGET_KEYS);
	(void)refresh();
}

int ng_top_print(FILE *file, const struct ng_top *top)
{
	char line[LINE_MAX_BYTES];

	write_heading(line);
	fprintf(file, "%s\n", line);
	for (size_t i = 0; i < top->count; i++) {
		write_row(&top->rows[i], line);
		fprintf(file, "%s\n", line);
	}
	if (!top->count)
		fputs("nothing is attached: see `nowgate attach --help`\n", file);
	return fflush(file) ? -errno : 0;
}
