#include "core/out/trace_ctf_held.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void ng_ctf_held_release(struct ng_ctf_held *held)
{
	free(held->records);
	ng_buffer_release(&held->bytes);
	ng_buffer_release(&held->rest);
	*held = (struct ng_ctf_held){0};
}

int ng_ctf_hold(struct ng_ctf_held *held, uint64_t time_ns, const void *head, size_t head_length,
	const void *rest, size_t rest_length)
{
	const size_t begin = held->bytes.length;

	if (held->count == held->room) {
		const size_t room = held->room ? 2 * held->room : 1024;
		struct ng_ctf_record *records = reallocarray(held->records, room, sizeof(*records));

		if (!records)
			return -ENOMEM;
		held->records = records;
		held->room = room;
	}
	held->bytes.error = 0;
	ng_buffer_put(&held->bytes, head, head_length);
	ng_buffer_put(&held->bytes, rest, rest_length);
	if (held->bytes.error) {
		held->bytes.length = begin;
		return held->bytes.error;
	}
	held->records[held->count++] =
		(struct ng_ctf_record){time_ns, begin, head_length + rest_length};
	held->is_mixed |= time_ns < held->time_ns;
	if (time_ns > held->time_ns)
		held->time_ns = time_ns;
	return 0;
}

void ng_ctf_held_cut(struct ng_ctf_held *held, size_t count)
{
	while (held->count > count)
		held->bytes.length -= held->records[--held->count].length;
}

static int compare_records(const void *one, const void *other)
{
	const struct ng_ctf_record *a = one, *b = other;

	if (a->time_ns != b->time_ns)
		return a->time_ns < b->time_ns ? -1 : 1;
	return a->begin < b->begin ? -1 : a->begin > b->begin;
}

void ng_ctf_held_sort(struct ng_ctf_held *held)
{
	if (held->is_mixed)
		qsort(held->records, held->count, sizeof(*held->records), compare_records);
}

int ng_ctf_held_drop(struct ng_ctf_held *held, size_t count)
{
	struct ng_buffer bytes = held->bytes;
	size_t begin = 0;

	ng_buffer_clear(&held->rest);
	for (size_t i = count; i < held->count; i++)
		ng_buffer_put(
			&held->rest, bytes.text + held->records[i].begin, held->records[i].length);
	if (held->rest.error)
		return held->rest.error;
	held->bytes = held->rest;
	held->rest = bytes;
	held->count -= count;
	if (held->count)
		memmove(held->records, held->records + count, held->count * sizeof(*held->records));
	for (size_t i = 0; i < held->count; i++) {
		held->records[i].begin = begin;
		begin += held->records[i].length;
	}
	held->is_mixed = false;
	held->time_ns = held->count ? held->records[held->count - 1].time_ns : 0;
	return 0;
}
