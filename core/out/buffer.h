/*
 * Text that grows in memory. (A stream of open_memstream() does not say that memory was out: glibc
 * 2.36 drops what was written, and closes it without an error.)
 */
#ifndef NG_CORE_OUT_BUFFER_H
#define NG_CORE_OUT_BUFFER_H

#include <stddef.h>

/** Zeroed it is empty. The first error is kept, and nothing is added after it. */
struct ng_buffer {
	char *text; /* NULL, or with a NUL behind it */
	size_t length;
	size_t room;
	int error;
};

void ng_buffer_put(struct ng_buffer *buffer, const void *bytes, size_t length);
void ng_buffer_puts(struct ng_buffer *buffer, const char *text);
void ng_buffer_printf(struct ng_buffer *buffer, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/** Empties it; what it has of memory it keeps. */
void ng_buffer_clear(struct ng_buffer *buffer);
void ng_buffer_release(struct ng_buffer *buffer);

/**
 * Hands the text on; the buffer is released.
 *
 * @param ret_text to be freed; "" where nothing was added
 * @return 0; -ENOMEM: something is missing
 */
int ng_buffer_finish(struct ng_buffer *buffer, char **ret_text);

#endif
