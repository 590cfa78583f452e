#include "control/cli/snapshot.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "control/cli/commands.h"
#include "control/cli/json_get.h"
#include "control/cli/numbers.h"
#include "control/daemon/client.h"
#include "core/base/clock.h"

#define MODE "snapshot"

/* A call, as the daemon's answer has it. */
struct call {
	uint64_t time_ns;
	uint64_t goroutine;
	uint32_t tid;
	int stack; /* index; -1: none */
	uint32_t window;
	uint32_t stretch;
};

/* What was answered, read. Texts are the answer's. */
struct picture {
	struct call *calls;
	size_t count;
	struct ng_profile_frame *frames;
	size_t frame_count;
	json_t *stacks;
	struct ng_profile_frame stack[NG_TRACE_FRAMES_MAX]; /* of one call */
	size_t gaps;
};

static int read_frames(struct picture *picture, const json_t *answer)
{
	const json_t *frames = json_object_get(answer, "frames"), *frame;
	size_t i;

	picture->frame_count = json_array_size(frames);
	picture->frames = calloc(picture->frame_count + 1, sizeof(*picture->frames));
	if (!picture->frames)
		return -ENOMEM;
	json_array_foreach(frames, i, frame) picture->frames[i] = (struct ng_profile_frame){
		.function = json_string_value(json_object_get(frame, "function")),
		.file = json_string_value(json_object_get(frame, "file")),
		.line = (uint32_t)json_integer_value(json_object_get(frame, "line")),
		.address = (uint64_t)json_integer_value(json_object_get(frame, "address"))};
	return 0;
}

static uint64_t number_at(const json_t *list, size_t index)
{
	return (uint64_t)json_integer_value(json_array_get(list, index));
}

static int by_time(const void *a, const void *b)
{
	const struct call *x = a, *y = b;

	return (x->time_ns > y->time_ns) - (x->time_ns < y->time_ns);
}

static int read_calls(struct picture *picture, const json_t *answer)
{
	const json_t *calls = json_object_get(answer, "calls"), *call;
	size_t i;

	picture->count = json_array_size(calls);
	picture->calls = calloc(picture->count + 1, sizeof(*picture->calls));
	if (!picture->calls)
		return -ENOMEM;
	json_array_foreach(calls, i, call) picture->calls[i] =
		(struct call){.time_ns = number_at(call, 0),
			.tid = (uint32_t)number_at(call, 1),
			.goroutine = number_at(call, 2),
			.stack = (int)json_integer_value(json_array_get(call, 3)),
			.window = (uint32_t)number_at(call, 5),
			.stretch = (uint32_t)number_at(call, 6)};
	qsort(picture->calls, picture->count, sizeof(*picture->calls), by_time);
	return 0;
}

/* @return how many frames it has */
static size_t stack_of(struct picture *picture, const struct call *call)
{
	const json_t *stack =
		json_array_get(picture->stacks, call->stack < 0 ? SIZE_MAX : (size_t)call->stack);
	size_t count = 0;

	while (count < json_array_size(stack) && count < NG_TRACE_FRAMES_MAX) {
		const uint64_t index = number_at(stack, count);

		if (index >= picture->frame_count)
			break;
		picture->stack[count++] = picture->frames[index];
	}
	return count;
}

static int write_call(struct picture *picture, struct ng_trace *trace, uint32_t pid,
	const struct call *call, struct ng_diag *diag)
{
	struct ng_trace_event event = {.time_ns = call->time_ns,
		.pid = pid,
		.tid = call->tid,
		.goroutine = call->goroutine,
		.stack_id = NG_TRACE_NO_STACK,
		.frames = picture->stack,
		.frame_count = stack_of(picture, call)};

	if (event.frame_count) {
		event.stack_id = (uint32_t)call->stack + 1;
		event.function = picture->stack[0].function;
	}
	return ng_trace_write(trace, &event, diag);
}

static int write_calls(
	struct picture *picture, struct ng_trace *trace, uint32_t pid, struct ng_diag *diag)
{
	int error = 0;

	for (size_t i = 0; i < picture->count && !error; i++) {
		const struct call *call = &picture->calls[i], *before = i ? call - 1 : NULL;

		if (before &&
			(before->window != call->window || before->stretch != call->stretch)) {
			error = ng_trace_gap(trace, before->time_ns, call->time_ns, diag);
			picture->gaps++;
		}
		if (!error)
			error = write_call(picture, trace, pid, call, diag);
	}
	return error;
}

static void print_totals(const struct ng_snapshot *snapshot, const struct picture *picture,
	const struct ng_trace_totals *totals, double overwritten)
{
	FILE *file = snapshot->trace.path ? stdout : stderr;
	const uint64_t now_ns = ng_clock_ns();
	char number[32];

	fprintf(file, "%s calls of process %d", ng_grouped(totals->events, number), snapshot->pid);
	if (picture->count)
		fprintf(file, ", %.3f to %.3f s ago",
			(double)(now_ns - picture->calls[0].time_ns) / NG_NS_PER_S,
			(double)(now_ns - picture->calls[picture->count - 1].time_ns) /
				NG_NS_PER_S);
	if (snapshot->trace.path)
		fprintf(file, ", written to %s", snapshot->trace.path);
	fprintf(file, "; %zu gap%s in which nobody looked", picture->gaps,
		picture->gaps == 1 ? "" : "s");
	if (overwritten > 0)
		fprintf(file, "; %s earlier ones were not kept",
			ng_grouped((uint64_t)overwritten, number));
	fputc('\n', file);
	for (size_t i = 0; i < totals->loss_count; i++)
		fprintf(file, "LOST: %" PRIu64 " calls: %s\n", totals->losses[i].events,
			totals->losses[i].cause);
}

static int write_answer(struct ng_snapshot *snapshot, const json_t *answer, struct picture *picture)
{
	struct ng_trace_totals totals = {0};
	struct ng_diag diag = NG_DIAG_INIT;
	struct ng_trace *trace = NULL;
	int error, close_error;

	snapshot->trace.pid = (uint32_t)snapshot->pid;
	snapshot->trace.exe = json_string_value(json_object_get(answer, "exe"));
	snapshot->trace.mode = MODE;
	snapshot->trace.clock_offset_ns =
		json_integer_value(json_object_get(answer, "clock_offset_ns"));
	error = ng_trace_open(&snapshot->trace, &trace, &diag);
	if (!error)
		error = write_calls(picture, trace, snapshot->trace.pid, &diag);
	if (!trace)
		return ng_complain(snapshot->command, error, &diag);
	close_error = ng_trace_close(trace, &totals, error ? NULL : &diag);
	print_totals(snapshot, picture, &totals, ng_json_real(answer, "overwritten"));
	if (error || close_error)
		return ng_complain(snapshot->command, error ? error : close_error, &diag);
	return totals.loss_count ? NG_EXIT_LOST : NG_EXIT_DONE;
}

int ng_snapshot_write(struct ng_snapshot *snapshot)
{
	const struct ng_request request = {.op = NG_OP_SNAPSHOT, .select = {.pid = snapshot->pid}};
	struct picture picture = {.calls = NULL};
	struct ng_diag diag = NG_DIAG_INIT;
	json_t *answer = NULL;
	int code = (int)ng_client_request(snapshot->socket_path, &request, &answer, &diag);

	if (code) {
		fprintf(stderr, "nowgate %s: %s\n", snapshot->command, diag.text);
		return code;
	}
	picture.stacks = json_object_get(answer, "stacks");
	if (read_frames(&picture, answer) || read_calls(&picture, answer))
		code = ng_complain(snapshot->command, -ENOMEM, &diag);
	else
		code = write_answer(snapshot, answer, &picture);
	free(picture.frames);
	free(picture.calls);
	json_decref(answer);
	return code;
}
