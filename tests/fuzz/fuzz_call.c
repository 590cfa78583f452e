/*
 * Any bytes as records of calls: each is refused by its length alone, or read as it stands; and
 * what is added up of them is all of them.
 *
 * An input is records one after the other: 2 bytes its length, then so many, or as many as are
 * left.
 */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/abi.h"
#include "control/plane/recorder.h"
#include "core/agg/call.h"
#include "tests/fuzz/must.h"

#define STACKS_MAX 3 /* few, so that some find no room */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_record(size_t size)
{
	for (size_t frames = 0; frames <= NG_RECORD_FRAMES_MAX; frames++) {
		if (size == sizeof(struct ng_record) + 8 * frames)
			return true;
	}
	return false;
}

static void check_call(const struct ng_call *call, const void *data, size_t size)
{
	const size_t room = (size - sizeof(struct ng_record)) / 8;
	struct ng_record record;

	memcpy(&record, data, sizeof(record));
	MUST(call->time_ns == record.time_ns && call->start_ns == record.start_ns);
	MUST(call->tgid == record.tgid && call->exec_id == record.exec_id);
	MUST(call->site == record.site && call->tid == record.tid);
	MUST(call->goroutine == record.goroutine && call->window == record.window);
	MUST((const uint8_t *)call->frames == (const uint8_t *)data + sizeof(record));
	MUST(call->depth <= room);
	MUST(!call->depth || call->frames[call->depth - 1]);
	for (size_t i = call->depth; i < room; i++)
		MUST(!call->frames[i]);
}

/* @return was it one? */
static bool read_record(const uint8_t *bytes, size_t size, struct ng_recorder *recorder)
{
	struct ng_call call, before;
	void *data = malloc(size ? size : 1); /* of that size exactly, for ASan; aligned */
	int error;

	MUST(data);
	memcpy(data, bytes, size);
	memset(&call, 0xa5, sizeof(call));
	before = call;
	error = ng_call_read(data, size, &call);
	MUST(error == (is_record(size) ? 0 : -EINVAL));
	if (error) {
		MUST(!memcmp(&call, &before, sizeof(call)));
	} else {
		check_call(&call, data, size);
		ng_recorder_count(&call, recorder);
	}
	free(data);
	return !error;
}

/* What the stacks add up to. */
struct sums {
	uint64_t hits;
	double calls;
	size_t stacks;
};

static void add_stack(const struct ng_recorded_stack *stack, void *context)
{
	struct sums *sums = context;

	MUST(stack->hits && stack->depth <= NG_RECORD_FRAMES_MAX);
	MUST(!stack->depth || stack->frames[stack->depth - 1]);
	sums->hits += stack->hits;
	sums->calls += stack->calls;
	sums->stacks++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ng_recorder *recorder = ng_recorder_new(STACKS_MAX);
	struct ng_recorder_totals totals;
	struct sums sums = {0};
	uint64_t records = 0;

	MUST(recorder);
	while (size >= 2) {
		const size_t wanted = (size_t)data[0] | (size_t)data[1] << 8;
		const size_t length = wanted < size - 2 ? wanted : size - 2;

		records += read_record(data + 2, length, recorder);
		data += 2 + length;
		size -= 2 + length;
	}
	totals = ng_recorder_totals(recorder);
	ng_recorder_walk(recorder, add_stack, &sums);
	MUST(totals.hits == records && totals.stacks == sums.stacks && sums.stacks <= STACKS_MAX);
	MUST(sums.hits + totals.overflow == records && sums.calls == (double)sums.hits);
	MUST(!totals.overflow || sums.stacks == STACKS_MAX);
	ng_recorder_free(recorder);
	return 0;
}
