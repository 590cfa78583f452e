#include "core/agg/call.h"

#include <errno.h>

#include "bpf/abi.h"

int ng_call_read(const void *data, size_t size_bytes, struct ng_call *ret_call)
{
	const struct ng_record *record = data;
	const uint64_t *frames = (const uint64_t *)(record + 1);
	size_t depth;

	if (size_bytes < sizeof(*record) || (size_bytes - sizeof(*record)) % sizeof(uint64_t))
		return -EINVAL;
	depth = (size_bytes - sizeof(*record)) / sizeof(uint64_t);
	if (depth > NG_RECORD_FRAMES_MAX)
		return -EINVAL;
	/* A long record's room was taken before its depth was known. */
	while (depth && !frames[depth - 1])
		depth--;
	*ret_call = (struct ng_call){.time_ns = record->time_ns,
		.start_ns = record->start_ns,
		.tgid = record->tgid,
		.exec_id = record->exec_id,
		.site = record->site,
		.tid = record->tid,
		.goroutine = record->goroutine,
		.window = record->window,
		.stretch = record->stretch,
		.frames = frames,
		.depth = depth};
	return 0;
}
