#include "control/cli/top_model.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/cli/json_get.h"
#include "core/base/clock.h"

#define ADDRESS_SIZE 24

void ng_top_release(struct ng_top *top)
{
	json_decref(top->answer);
	free(top->rows);
	*top = (struct ng_top){.order = top->order};
}

static void add_function(struct ng_top_row *row, const json_t *function)
{
	const json_t *high = json_object_get(function, "rate_high_hz");

	if (!json_is_number(json_object_get(function, "rate_hz"))) {
		row->is_measured = false;
		return;
	}
	row->rate_hz += ng_json_real(function, "rate_hz");
	row->rate_low_hz += ng_json_real(function, "rate_low_hz");
	row->rate_high_hz += json_is_number(high) ? json_number_value(high) : INFINITY;
	row->is_estimate |= json_is_true(json_object_get(function, "estimated"));
}

static struct ng_top_row row_of(json_t *target, double now_ns)
{
	struct ng_top_row row = {
		.pid = (pid_t)ng_json_real(target, "pid"),
		.exe = ng_json_text(target, "exe"),
		.mode = ng_json_text(target, "mode"),
		.budget_ratio = ng_json_real(target, "budget_ratio"),
		.now_ratio = ng_json_real(target, "overhead_now_ratio"),
		.minute_ratio = ng_json_real(target, "overhead_minute_ratio"),
		.hits = ng_json_real(target, "hits"),
		.lost = ng_json_real(target, "lost"),
		.has_ended = json_is_true(json_object_get(target, "ended")),
		.functions = json_object_get(target, "functions"),
		.is_measured = true,
	};
	const double lease_ns = ng_json_real(target, "lease_until_ns");
	const json_t *function;
	size_t i;

	if (lease_ns > now_ns)
		row.lease_s = (lease_ns - now_ns) / (double)NG_NS_PER_S;
	json_array_foreach(row.functions, i, function) add_function(&row, function);
	return row;
}

/* More of what is ordered by comes first; then the smaller pid. */
static int compare_rows(const void *a, const void *b, void *context)
{
	const struct ng_top_row *first = a, *second = b;
	const enum ng_top_order order = *(const enum ng_top_order *)context;
	const double one = order == NG_TOP_BY_COST ? first->now_ratio : first->rate_hz;
	const double other = order == NG_TOP_BY_COST ? second->now_ratio : second->rate_hz;

	if (order != NG_TOP_BY_PID && one != other)
		return one > other ? -1 : 1;
	return (first->pid > second->pid) - (first->pid < second->pid);
}

static void sort_rows(struct ng_top *top)
{
	if (top->count)
		qsort_r(top->rows, top->count, sizeof(*top->rows), compare_rows, &top->order);
}

int ng_top_take(struct ng_top *top, json_t *answer)
{
	json_t *targets = json_object_get(answer, "targets"), *target;
	struct ng_top_row *rows = calloc(json_array_size(targets) + 1, sizeof(*rows));
	size_t i;

	if (!rows) {
		json_decref(answer);
		return -ENOMEM;
	}
	json_array_foreach(targets, i, target) rows[i] =
		row_of(target, ng_json_real(answer, "now_ns"));
	free(top->rows);
	json_decref(top->answer);
	top->rows = rows;
	top->answer = answer;
	top->count = json_array_size(targets);
	sort_rows(top);
	if (top->count)
		top->selected = top->rows[ng_top_selected(top)].pid;
	return 0;
}

void ng_top_set_order(struct ng_top *top, enum ng_top_order order)
{
	top->order = order;
	sort_rows(top);
}

const char *ng_top_order_name(enum ng_top_order order)
{
	static const char *const names[NG_TOP_ORDERS] = {
		[NG_TOP_BY_RATE] = "rate",
		[NG_TOP_BY_COST] = "cost",
		[NG_TOP_BY_PID] = "pid",
	};

	return names[order];
}

size_t ng_top_selected(const struct ng_top *top)
{
	for (size_t i = 0; i < top->count; i++) {
		if (top->rows[i].pid == top->selected)
			return i;
	}
	return 0;
}

void ng_top_move(struct ng_top *top, long by)
{
	long index = (long)ng_top_selected(top) + by;

	if (!top->count)
		return;
	if (index >= (long)top->count)
		index = (long)top->count - 1;
	top->selected = top->rows[index < 0 ? 0 : index].pid;
}

static json_t *row_object(const struct ng_top_row *row)
{
	return json_pack("{s:i, s:s, s:s, s:o, s:o, s:o, s:b, s:f, s:f, s:f, s:f, s:f, s:b}", "pid",
		row->pid, "exe", row->exe, "mode", row->mode, "rate_hz",
		row->is_measured ? json_real(row->rate_hz) : json_null(), "rate_low_hz",
		row->is_measured ? json_real(row->rate_low_hz) : json_null(), "rate_high_hz",
		row->is_measured && isfinite(row->rate_high_hz) ? json_real(row->rate_high_hz)
								: json_null(),
		"estimated", row->is_estimate, "budget_ratio", row->budget_ratio,
		"overhead_now_ratio", row->now_ratio, "overhead_minute_ratio", row->minute_ratio,
		"hits", row->hits, "lost", row->lost, "ended", row->has_ended);
}

json_t *ng_top_json(const struct ng_top *top)
{
	json_t *targets = json_array();

	for (size_t i = 0; i < top->count; i++) {
		if (json_array_append_new(targets, row_object(&top->rows[i]))) {
			json_decref(targets);
			return NULL;
		}
	}
	return json_pack(
		"{s:i, s:s, s:o}", "version", 1, "kind", "nowgate-top", "targets", targets);
}

/* --- callers -----------------------------------------------------------------------------------
 */

void ng_top_callers_release(struct ng_top_callers *callers)
{
	for (size_t i = 0; i < callers->count; i++) {
		free(callers->items[i].function);
		free(callers->items[i].file);
	}
	free(callers->items);
	*callers = (struct ng_top_callers){.items = NULL};
}

static bool is_same(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

static const char *address_text(const json_t *frame, char room[ADDRESS_SIZE])
{
	const json_int_t address = json_integer_value(json_object_get(frame, "address"));

	if (!address)
		return "(no caller known)";
	(void)snprintf(room, ADDRESS_SIZE, "0x%llx", (unsigned long long)address);
	return room;
}

/* @return NULL: no memory */
static struct ng_top_caller *caller_of(struct ng_top_callers *callers, const json_t *frame)
{
	const char *function = json_string_value(json_object_get(frame, "function"));
	const char *file = json_string_value(json_object_get(frame, "file"));
	const unsigned int line = (unsigned int)ng_json_real(frame, "line");
	char room[ADDRESS_SIZE];
	struct ng_top_caller *grown;

	if (!function)
		function = address_text(frame, room);
	for (size_t i = 0; i < callers->count; i++) {
		struct ng_top_caller *caller = &callers->items[i];

		if (caller->line == line && is_same(caller->function, function) &&
			is_same(caller->file, file))
			return caller;
	}
	grown = reallocarray(callers->items, callers->count + 1, sizeof(*grown));
	if (!grown)
		return NULL;
	callers->items = grown;
	grown += callers->count;
	*grown = (struct ng_top_caller){
		.function = strdup(function), .file = file ? strdup(file) : NULL, .line = line};
	if (!grown->function || (file && !grown->file)) {
		free(grown->function);
		free(grown->file);
		return NULL;
	}
	callers->count++;
	return grown;
}

static int compare_callers(const void *a, const void *b)
{
	const struct ng_top_caller *first = a, *second = b;

	if (first->calls != second->calls)
		return first->calls > second->calls ? -1 : 1;
	return strcmp(first->function, second->function);
}

int ng_top_callers_take(struct ng_top_callers *callers, const json_t *answer)
{
	const json_t *list = json_object_get(answer, "callers"), *frame;
	size_t i;

	if (!json_is_array(list))
		return -EINVAL;
	ng_top_callers_release(callers);
	json_array_foreach(list, i, frame)
	{
		struct ng_top_caller *caller = caller_of(callers, frame);

		if (!caller)
			return -ENOMEM;
		caller->calls += ng_json_real(frame, "calls");
		callers->calls += ng_json_real(frame, "calls");
	}
	if (callers->count)
		qsort(callers->items, callers->count, sizeof(*callers->items), compare_callers);
	return 0;
}
