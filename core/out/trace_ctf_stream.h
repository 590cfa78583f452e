/*
 * The stream of a CTF trace: records that are held back, to be sorted by their times, and the
 * packets that are made of them.
 */
#ifndef NG_CORE_OUT_TRACE_CTF_STREAM_H
#define NG_CORE_OUT_TRACE_CTF_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/out/buffer.h"
#include "core/out/trace_ctf.h"
#include "core/out/trace_ctf_held.h"
#include "core/out/trace_writer.h"

/* A record begins with it. */
struct ng_ctf_record_head {
	uint8_t id;
	uint64_t time_ns;
} __attribute__((packed));

/* Where the stream stands, by what was taken. */
struct ng_ctf_stand {
	uint64_t packets;
	uint64_t time_ns; /* of the last record */
	uint64_t lost_events;
};

/** Zeroed it is empty, but for its UUID. */
struct ng_ctf_stream {
	uint8_t uuid[NG_CTF_UUID_BYTES];
	struct ng_ctf_stand stand;
	struct ng_ctf_stand stand_before; /* the last unit was taken */

	struct ng_ctf_held held;
	struct ng_buffer packet;
	struct ng_buffer losses; /* for the next packet: each a number of events, and a cause */
	uint64_t losses_ns;	 /* the latest one's time */
};

/** Adds a text as CTF has it, with a NUL. NULL or "": not known, and never written as nothing. */
void ng_ctf_put_text(struct ng_buffer *out, const char *text);

void ng_ctf_stream_release(struct ng_ctf_stream *stream);

/*
 * These are what ng_trace_writer has by their names.
 */

int ng_ctf_stream_lose(
	struct ng_ctf_stream *stream, uint64_t time_ns, const char *cause, uint64_t events);
uint64_t ng_ctf_stream_drop(struct ng_ctf_stream *stream);
size_t ng_ctf_stream_pending(const struct ng_ctf_stream *stream);
int ng_ctf_stream_take(struct ng_ctf_stream *stream, bool is_all, struct ng_trace_unit *ret_unit);

#endif
