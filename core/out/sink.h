/* A file descriptor that is written to in pieces, plain or compressed. */
#ifndef NG_CORE_OUT_SINK_H
#define NG_CORE_OUT_SINK_H

#include <stdbool.h>
#include <stddef.h>

#include <zlib.h>

#include "core/base/diag.h"

#define NG_SINK_BUFFER_BYTES 65536 /* what a pipe holds */

/** The first error is kept, and nothing is written after it: one look at the end is enough. */
struct ng_sink {
	int fd; /* borrowed */
	int error;
	bool is_gzip;
	z_stream deflate;
	size_t used_bytes;
	char buffer[NG_SINK_BUFFER_BYTES];
};

/** @return NULL where memory is out; to be ended by ng_sink_close() */
struct ng_sink *ng_sink_open(int fd, bool is_gzip);

void ng_sink_put(struct ng_sink *sink, const void *bytes, size_t length);
void ng_sink_puts(struct ng_sink *sink, const char *text);
void ng_sink_printf(struct ng_sink *sink, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/** Notes an error of the caller's own: 0 is none. */
void ng_sink_fail(struct ng_sink *sink, int error);

/**
 * Writes the rest and frees the sink; the descriptor stays open.
 *
 * @param what it is, for the text
 * @return 0 where all of it was written; else the first error: what write() said (-ENOSPC, -EPIPE,
 * -EIO and so on), -ENOMEM, the caller's own
 */
int ng_sink_close(struct ng_sink *sink, const char *what, struct ng_diag *diag);

#endif
