#include "core/out/sink.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/write.h"

#define GZIP_WINDOW_BITS 31 /* zlib.h: 15, and 16 for gzip's header and trailer */
#define MEMORY_LEVEL	 8  /* zlib's default */

struct ng_sink *ng_sink_open(int fd, bool is_gzip)
{
	struct ng_sink *sink = calloc(1, sizeof(*sink));

	if (!sink)
		return NULL;
	sink->fd = fd;
	sink->is_gzip = is_gzip;
	/* The fastest level: it is written beside the program that was traced. */
	if (is_gzip && deflateInit2(&sink->deflate, Z_BEST_SPEED, Z_DEFLATED, GZIP_WINDOW_BITS,
			       MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK) {
		free(sink);
		return NULL;
	}
	return sink;
}

void ng_sink_fail(struct ng_sink *sink, int error)
{
	if (!sink->error)
		sink->error = error;
}

static void write_all(struct ng_sink *sink, const char *bytes, size_t length)
{
	if (!sink->error)
		sink->error = ng_write_all(sink->fd, bytes, length);
}

static void compress_buffer(struct ng_sink *sink, int flush)
{
	unsigned char out[4096];

	sink->deflate.next_in = (unsigned char *)sink->buffer;
	sink->deflate.avail_in = (uInt)sink->used_bytes;
	do {
		sink->deflate.next_out = out;
		sink->deflate.avail_out = sizeof(out);
		/* It only fails where its state was trampled on; -EIO then, not a broken file. */
		if (deflate(&sink->deflate, flush) == Z_STREAM_ERROR) {
			ng_sink_fail(sink, -EIO);
			return;
		}
		write_all(sink, (char *)out, sizeof(out) - sink->deflate.avail_out);
	} while (!sink->deflate.avail_out && !sink->error);
}

static void empty_buffer(struct ng_sink *sink, int flush)
{
	if (sink->is_gzip)
		compress_buffer(sink, flush);
	else
		write_all(sink, sink->buffer, sink->used_bytes);
	sink->used_bytes = 0;
}

void ng_sink_put(struct ng_sink *sink, const void *bytes, size_t length)
{
	const char *from = bytes;

	while (length && !sink->error) {
		const size_t room = sizeof(sink->buffer) - sink->used_bytes;
		const size_t part = length < room ? length : room;

		memcpy(sink->buffer + sink->used_bytes, from, part);
		sink->used_bytes += part;
		from += part;
		length -= part;
		if (sink->used_bytes == sizeof(sink->buffer))
			empty_buffer(sink, Z_NO_FLUSH);
	}
}

void ng_sink_puts(struct ng_sink *sink, const char *text)
{
	ng_sink_put(sink, text, strlen(text));
}

void ng_sink_printf(struct ng_sink *sink, const char *format, ...)
{
	char *text = NULL;
	va_list args;
	int length;

	va_start(args, format);
	length = vasprintf(&text, format, args);
	va_end(args);
	if (length < 0) {
		ng_sink_fail(sink, -ENOMEM);
		return;
	}
	ng_sink_put(sink, text, (size_t)length);
	free(text);
}

int ng_sink_close(struct ng_sink *sink, const char *what, struct ng_diag *diag)
{
	int error;

	if (!sink->error)
		empty_buffer(sink, Z_FINISH);
	error = sink->error;
	if (sink->is_gzip)
		(void)deflateEnd(&sink->deflate); /* an unfinished one is Z_DATA_ERROR */
	free(sink);
	if (error)
		return ng_diag_set(diag, error,
			"the %s cannot be written: %s; what is there "
			"is not whole",
			what, strerror(-error));
	return 0;
}
