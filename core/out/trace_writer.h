/*
 * What a format of traces is made of; trace.c drives it. A writer holds back what was added until
 * it is taken, a unit at a time: a reader can do with any number of whole units.
 */
#ifndef NG_CORE_OUT_TRACE_WRITER_H
#define NG_CORE_OUT_TRACE_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/diag.h"
#include "core/out/buffer.h"
#include "core/out/segment.h"
#include "core/out/trace.h"

/* A unit is taken when so much was added: a system call for a thousand events. CTF takes half of
 * it, and so sorts a thousand. */
#define NG_TRACE_UNIT_BYTES (128u << 10)

#define NG_TRACE_UNKNOWN "[unknown]" /* stands for a text that is not known */

/* Valid until the writer is called again. */
struct ng_trace_unit {
	const char *bytes;
	size_t length; /* 0: there is none */
	uint64_t events;
};

/* What is known at the end of a segment. */
struct ng_trace_end {
	bool is_last;
	uint64_t segment_events;
	const struct ng_trace_totals *totals;
};

struct ng_trace_writer {
	enum ng_segment_names names;

	/** @return 0; -ENOMEM; -EEXIST; what the system said */
	int (*open)(const struct ng_trace_options *options, void **ret_state, struct ng_diag *diag);
	void (*free)(void *state);

	/* The next five add all of it or nothing. @return 0; -ENOMEM */

	/** A file begins: what was defined in another one is not known there. */
	int (*begin)(void *state, uint32_t segment);
	int (*add)(void *state, const struct ng_trace_event *event);
	int (*gap)(void *state, uint64_t from_ns, uint64_t to_ns);
	/** @param time_ns of the latest event, or now */
	int (*lose)(void *state, uint64_t time_ns, const char *cause, uint64_t events);
	int (*end)(void *state, const struct ng_trace_end *end);

	/** What was added is lost, also the unit that was taken last: it could not be written.
	 * @return how many events were not taken */
	uint64_t (*drop)(void *state);

	/** Bytes that were added and not taken. */
	size_t (*pending)(const void *state);

	/**
	 * What was lost is in the next unit that is taken.
	 *
	 * @param is_all no event is to be held back
	 * @return 0; -ENOMEM: nothing was taken
	 */
	int (*take)(void *state, bool is_all, struct ng_trace_unit *ret_unit);
};

extern const struct ng_trace_writer ng_trace_ctf;
extern const struct ng_trace_writer ng_trace_perfetto;
extern const struct ng_trace_writer ng_trace_ndjson;

/** The caller's frame: the first one that is not the called function's own; NULL: not known. */
const struct ng_profile_frame *ng_trace_caller(const struct ng_trace_event *event);

/** The called function's name, or what stands for it. */
const char *ng_trace_function(const struct ng_trace_event *event);

/** "main.go:25", of its file's last part; "" where the file is not known. Adds no NUL. */
void ng_trace_put_place(struct ng_buffer *buffer, const struct ng_profile_frame *frame);

#endif
