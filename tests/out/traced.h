/* A trace that was written, read again: the same from each format. For tests by cmocka. */
#ifndef NG_TESTS_OUT_TRACED_H
#define NG_TESTS_OUT_TRACED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/out/trace.h"

struct traced_call {
	uint64_t time_ns;
	uint32_t pid;
	uint32_t tid;
	uint64_t goroutine;
	bool is_late;
	char *function;
	char *caller; /* as the format says it: "main.work main.go:25"; NULL: it does not */
	char *stack;  /* "time.Now@/go/src/time/time.go:1160;main.work@…;" */
};

struct traced {
	struct traced_call *calls; /* in the order of the file */
	size_t count;
	uint64_t lost; /* told in it */
	size_t packets;
};

/** Reads a file of a trace, by itself; what cannot be read fails the test. */
void traced_read(enum ng_trace_format format, const char *path, struct traced *ret_traced);
void traced_release(struct traced *traced);

/** The path of a segment; until it is called again. */
const char *traced_path(enum ng_trace_format format, const char *path, uint32_t segment);

/** Reads all that the totals speak of. @return how many calls there are */
uint64_t traced_calls(
	enum ng_trace_format format, const char *path, const struct ng_trace_totals *totals);

/** The whole file; to be freed. */
char *traced_bytes(const char *path, size_t *ret_length);

#endif
