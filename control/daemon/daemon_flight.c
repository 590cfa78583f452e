#include "control/daemon/daemon_flight.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/plane/namer.h"
#include "core/base/clock.h"
#include "core/out/json_parts.h"

#define TURN_NS	    NG_NS_PER_S
#define STACKS_MAX  32768
#define STACK_BYTES (32u << 20)

int ng_daemon_open_flight(
	struct ng_daemon *daemon, struct ng_fleet_options *fleet, struct ng_diag *diag)
{
	const struct ng_flight_options options = {.process_bytes = daemon->config.flight_bytes,
		.all_bytes = daemon->config.flights_bytes,
		.stacks_max = STACKS_MAX,
		.stack_bytes = STACK_BYTES};
	int error;

	if (!daemon->config.flights_bytes)
		return 0;
	error = ng_flight_new(&options, &daemon->flight);
	if (error)
		return ng_diag_set(diag, error, "no memory for a flight recorder");
	fleet->on_call = ng_flight_call;
	fleet->on_last_call = ng_flight_last_call;
	fleet->call_context = daemon->flight;
	return 0;
}

void ng_daemon_flight_turn(struct ng_daemon *daemon, uint64_t now_ns)
{
	if (!daemon->flight || now_ns < daemon->flight_ns)
		return;
	daemon->flight_ns = now_ns + TURN_NS;
	ng_flight_turn(daemon->flight, now_ns);
}

static bool is_anybodys(const struct ng_count_key *process, const void *fleet)
{
	size_t member;

	return ng_fleet_find_process(fleet, process, &member);
}

void ng_daemon_tidy_flight(struct ng_daemon *daemon)
{
	if (daemon->flight)
		ng_flight_tidy(daemon->flight, is_anybodys, daemon->fleet);
}

int ng_daemon_lost(const struct ng_daemon *daemon, uint64_t ret_lost[NG_LOSSES])
{
	int error = ng_fleet_lost(daemon->fleet, ret_lost);

	if (!error && daemon->flight)
		ret_lost[NG_LOSS_STACKS_FULL] = ng_flight_lost(daemon->flight);
	return error;
}

/* A target, as it is looked for among the members. */
struct target {
	const struct ng_fleet *fleet;
	pid_t pid;
	size_t seen; /* members so far */
	size_t index;
	bool is_there, has_ended;
	enum ng_mode mode;
	char *exe; /* its own */
};

static int look_for(const struct ng_member_report *report, void *context)
{
	struct target *target = context;
	const size_t index = target->seen++;

	if (report->pid != target->pid || (target->is_there && !target->has_ended && report->ended))
		return 0;
	free(target->exe);
	target->exe = strdup(report->exe);
	target->index = index;
	target->is_there = true;
	target->has_ended = report->ended;
	target->mode = report->settings.mode;
	return target->exe ? 0 : -ENOMEM;
}

static bool is_targets(const struct ng_count_key *process, const void *context)
{
	const struct target *target = context;
	size_t member;

	return (pid_t)process->tgid == target->pid &&
	       ng_fleet_find_process(target->fleet, process, &member) && member == target->index;
}

static int complain_of_none(const struct target *target, struct ng_diag *diag)
{
	if (target->mode == NG_MODE_COUNT)
		return ng_diag_set(diag, -ENOENT,
			"process %d is only counted: `nowgate mode count --record -p %d` keeps its "
			"calls, too",
			target->pid, target->pid);
	return ng_diag_set(
		diag, -ENOENT, "no call of process %d has been recorded yet", target->pid);
}

/* @param ret_target target.exe is the caller's, on failure too */
static int look(struct ng_daemon *daemon, pid_t pid, enum ng_agg_view view, bool with_calls,
	struct target *ret_target, struct ng_flight_view *ret_view, struct ng_diag *diag)
{
	int error;

	*ret_target = (struct target){.fleet = daemon->fleet, .pid = pid};
	if (!daemon->flight)
		return ng_diag_set(diag, -ENOENT,
			"the daemon keeps no calls: its configuration has flights = 0");
	if (with_calls)
		ng_fleet_catch_up(daemon->fleet);
	error = ng_fleet_report(daemon->fleet, look_for, ret_target);
	if (error)
		return error;
	if (!ret_target->is_there)
		return ng_diag_set(diag, -ESRCH,
			"process %d is not attached: `nowgate attach -p %d` does that", pid, pid);
	error = ng_flight_look(daemon->flight, is_targets, ret_target, view, with_calls, ret_view);
	if (error == -ENOENT)
		return complain_of_none(ret_target, diag);
	if (!error && with_calls && ret_view->has_no_room) {
		ng_flight_view_release(ret_view);
		return ng_diag_set(diag, -ENOENT,
			"there was no room for calls of process %d: others take up what the "
			"configuration's flights has",
			pid);
	}
	return error;
}

static int open_namer(const struct ng_daemon *daemon, struct ng_namer **ret_namer)
{
	const struct ng_namer_source source = {
		.locate = ng_fleet_locate, .site = ng_fleet_site, .context = daemon->fleet};

	*ret_namer = ng_namer_new(&source);
	return *ret_namer ? 0 : -ENOMEM;
}

/* Names the first frames of a row's stack. */
static int name_row(struct ng_namer *namer, const struct ng_flight_view *view,
	const struct ng_agg_row *row, size_t depth, struct ng_named *ret_named)
{
	struct ng_count_key key = view->process;

	key.site = row->function;
	return ng_namer_add(
		namer, &key, row->frames, row->depth < depth ? row->depth : depth, ret_named);
}

static json_t *frame_object(const struct ng_profile_frame *frame)
{
	json_t *object = ng_json_frame(frame);

	if (frame->address &&
		json_object_set_new(object, "address", ng_json_number(frame->address))) {
		json_decref(object);
		return NULL;
	}
	return object;
}

/* --- snapshots ---------------------------------------------------------------------------------
 */

/* What a snapshot is made into. Numbers of stacks become indices of those that are needed. */
struct picture {
	struct ng_namer *namer;
	const struct ng_flight_view *view;
	const struct ng_agg_row **rows; /* by number; NULL: there is none */
	int *indices;			/* by number; -1: not needed so far */
	size_t numbers;
	json_t *stacks;
	json_t *calls;
	size_t frame_count; /* that the namer has */
};

static int number_rows(struct picture *picture)
{
	const struct ng_agg_snapshot *stacks = &picture->view->stacks;

	for (size_t i = 0; i < stacks->count; i++) {
		if (stacks->rows[i].stack >= picture->numbers)
			picture->numbers = (size_t)stacks->rows[i].stack + 1;
	}
	picture->rows = calloc(picture->numbers + 1, sizeof(struct ng_agg_row *));
	picture->indices = calloc(picture->numbers + 1, sizeof(*picture->indices));
	if (!picture->rows || !picture->indices)
		return -ENOMEM;
	for (size_t i = 0; i < stacks->count; i++)
		picture->rows[stacks->rows[i].stack] = &stacks->rows[i];
	for (size_t i = 0; i < picture->numbers; i++)
		picture->indices[i] = -1;
	return 0;
}

/* The stack's index in the answer, where it is put when it is first needed. */
static int index_of(struct picture *picture, uint32_t number, int *ret_index)
{
	struct ng_named named;
	json_t *frames;
	int error;

	*ret_index = -1;
	if (number >= picture->numbers || !picture->rows[number])
		return 0;
	*ret_index = picture->indices[number];
	if (*ret_index >= 0)
		return 0;
	error = name_row(
		picture->namer, picture->view, picture->rows[number], NG_AGG_DEPTH_MAX, &named);
	if (error)
		return error;
	frames = json_array();
	for (size_t i = 0; i < named.count; i++) {
		if (json_array_append_new(frames, json_integer((json_int_t)(named.first + i)))) {
			json_decref(frames);
			return -ENOMEM;
		}
	}
	if (named.first + named.count > picture->frame_count)
		picture->frame_count = named.first + named.count;
	*ret_index = picture->indices[number] = (int)json_array_size(picture->stacks);
	return json_array_append_new(picture->stacks, frames) ? -ENOMEM : 0;
}

static int add_call(struct picture *picture, const struct ng_flight_call *call)
{
	int index;
	int error = index_of(picture, call->stack, &index);

	if (error)
		return error;
	return json_array_append_new(picture->calls,
		       json_pack("[o, o, o, i, f, o, o]", ng_json_number(call->time_ns),
			       ng_json_number(call->tid), ng_json_number(call->goroutine), index,
			       call->weight, ng_json_number(call->window),
			       ng_json_number(call->stretch)))
		       ? -ENOMEM
		       : 0;
}

static json_t *frame_list(const struct picture *picture)
{
	const struct ng_profile_frame *frames = ng_namer_frames(picture->namer);
	json_t *list = json_array();

	for (size_t i = 0; i < picture->frame_count; i++) {
		if (json_array_append_new(list, frame_object(&frames[i]))) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static int draw(struct picture *picture, const struct target *target, json_t **ret_body)
{
	const int64_t offset_ns = (int64_t)(ng_clock_read(CLOCK_REALTIME) - ng_clock_ns());
	int error = number_rows(picture);

	picture->stacks = json_array();
	picture->calls = json_array();
	for (size_t i = 0; i < picture->view->count && !error; i++)
		error = add_call(picture, &picture->view->calls[i]);
	if (error)
		return error;
	*ret_body = json_pack("{s:i, s:s, s:I, s:o, s:O, s:O, s:o}", "pid", target->pid, "exe",
		target->exe, "clock_offset_ns", (json_int_t)offset_ns, "frames",
		frame_list(picture), "stacks", picture->stacks, "calls", picture->calls,
		"overwritten", ng_json_number(picture->view->overwritten));
	return *ret_body ? 0 : -ENOMEM;
}

int ng_answer_snapshot(struct ng_daemon *daemon, pid_t pid, json_t **ret_body, struct ng_diag *diag)
{
	struct picture picture = {.numbers = 0};
	struct ng_flight_view view;
	struct target target;
	int error = look(daemon, pid, NG_AGG_SINCE_START, true, &target, &view, diag);

	if (!error) {
		picture.view = &view;
		error = open_namer(daemon, &picture.namer);
		if (!error)
			error = draw(&picture, &target, ret_body);
		json_decref(picture.stacks);
		json_decref(picture.calls);
		free(picture.rows);
		free(picture.indices);
		ng_namer_free(picture.namer);
		ng_flight_view_release(&view);
	}
	free(target.exe);
	return error;
}

/* --- callers -----------------------------------------------------------------------------------
 */

/* The caller of a stack, with how many calls it stands for. */
static json_t *caller_object(
	struct ng_namer *namer, const struct ng_flight_view *view, const struct ng_agg_row *row)
{
	struct ng_named named;
	json_t *object;

	if (name_row(namer, view, row, 2, &named))
		return NULL;
	object = named.count < 2 ? json_pack("{s:n, s:n, s:n}", "function", "file", "line")
				 : frame_object(ng_namer_frames(namer) + named.first + 1);
	if (json_object_set_new(object, "calls", json_real(row->sum.weight))) {
		json_decref(object);
		return NULL;
	}
	return object;
}

static int list_callers(
	struct ng_namer *namer, const struct ng_flight_view *view, json_t **ret_body)
{
	const struct ng_agg_snapshot *stacks = &view->stacks;
	json_t *callers = json_array();
	double calls = 0;

	for (size_t i = 0; i < stacks->count; i++) {
		if (json_array_append_new(callers, caller_object(namer, view, &stacks->rows[i]))) {
			json_decref(callers);
			return -ENOMEM;
		}
		calls += stacks->rows[i].sum.weight;
	}
	*ret_body = json_pack("{s:f, s:f, s:o}", "seconds",
		(double)(ng_clock_ns() - stacks->since_ns) / NG_NS_PER_S, "calls", calls, "callers",
		callers);
	return *ret_body ? 0 : -ENOMEM;
}

int ng_answer_callers(struct ng_daemon *daemon, pid_t pid, json_t **ret_body, struct ng_diag *diag)
{
	struct ng_namer *namer = NULL;
	struct ng_flight_view view;
	struct target target;
	int error = look(daemon, pid, NG_AGG_MINUTE, false, &target, &view, diag);

	if (!error) {
		error = open_namer(daemon, &namer);
		if (!error)
			error = list_callers(namer, &view, ret_body);
		ng_namer_free(namer);
		ng_flight_view_release(&view);
	}
	free(target.exe);
	return error;
}
