/*
 * A stream of calls, written to disk as it comes, in a format that others read:
 *
 *   CTF       a directory for babeltrace2 and Trace Compass (trace_ctf.c)
 *   Perfetto  a file for ui.perfetto.dev (trace_perfetto.c)
 *   NDJSON    a JSON document a line, for scripts (trace_ndjson.c)
 *
 * Files take blocks ahead of what is written and may be followed by others, each of which can be
 * read alone. A disk that is full ends a trace: what was written stays readable, and each further
 * call is counted as lost.
 *
 * Strings and arrays are borrowed during a call only, and may be any bytes: what is no UTF-8 is
 * written as U+FFFD, a control character as a space. One thread uses a trace at a time.
 *
 * The caller ignores or blocks SIGPIPE and SIGXFSZ: -EPIPE and -EFBIG are what comes of them.
 */
#ifndef NG_CORE_OUT_TRACE_H
#define NG_CORE_OUT_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/diag.h"
#include "core/out/profile.h"

#define NG_TRACE_NO_STACK 0

#define NG_TRACE_FRAMES_MAX 1024 /* of a stack that is sure to be written whole */

#define NG_TRACE_SEGMENT_MIN_BYTES (64u << 10)
#define NG_TRACE_SEGMENTS_MAX	   100000u

/* Causes that writers count by themselves; others are the caller's. */
#define NG_TRACE_LOST_DISK_FULL	  "disk full"
#define NG_TRACE_LOST_SIZE_LIMIT  "size limit"
#define NG_TRACE_LOST_WRITE_ERROR "write error"
#define NG_TRACE_LOST_NO_MEMORY	  "no memory"

#define NG_TRACE_CAUSES_MAX 16 /* what is beyond them is counted as the last one, "other" */
#define NG_TRACE_CAUSE_SIZE 48 /* bytes; longer names are cut */

enum ng_trace_format {
	NG_TRACE_CTF,
	NG_TRACE_PERFETTO,
	NG_TRACE_NDJSON,
};

struct ng_trace_options {
	enum ng_trace_format format;
	const char
		*path; /* CTF: a directory that is new or empty; else a file: it is overwritten */
	int fd;	       /* with path NULL, borrowed; not for CTF, and of one segment */
	int64_t clock_offset_ns; /* CLOCK_REALTIME - CLOCK_MONOTONIC */

	/*
	 * A new file begins when one has this size: what it has more is one event, and what is
	 * told at its end. 0: there is one. They are PATH, PATH.1, PATH.2; PATH/stream_0, ….
	 */
	uint64_t segment_bytes;
	uint32_t segment_count; /* the trace ends with so many; 0: with the disk */
	bool is_ring;		/* … or not: the oldest one makes room for the next */

	/* Of what; NULL or 0: not known, or more than one. */
	uint32_t pid;
	const char *exe;
	const char *function;
	const char *mode;
};

struct ng_trace_event {
	uint64_t time_ns; /* CLOCK_MONOTONIC */
	uint32_t pid;
	uint32_t tid;
	uint64_t goroutine;   /* 0: not known, or none */
	const char *function; /* that was called; NULL or "": not known */

	/* Its stack, innermost first: the called function's own frame, if it is there, has the
	 * same name. The same id, from 1, for the same frames in all of the trace; with
	 * NG_TRACE_NO_STACK there are none. Mappings are not looked at. */
	uint32_t stack_id;
	const struct ng_profile_frame *frames;
	size_t frame_count;
};

struct ng_trace_loss {
	char cause[NG_TRACE_CAUSE_SIZE];
	uint64_t events;
};

struct ng_trace_totals {
	uint64_t events;	 /* that were written */
	uint64_t removed_events; /* of these, in files that made room for others */
	uint64_t bytes;		 /* in all files, also in those */
	uint32_t first_segment;	 /* the oldest one that is left */
	uint32_t segment_count;	 /* that are left */

	/* 0, or what ended it: -ENOSPC, -EDQUOT or -EFBIG where the disk or a limit of the process
	 * was reached, -E2BIG for options.segment_count, or the error that ng_trace_write() gave.
	 */
	int ended_by;
	struct ng_trace_loss losses[NG_TRACE_CAUSES_MAX]; /* none of 0 */
	size_t loss_count;
};

struct ng_trace;

/**
 * Begins a trace.
 *
 * @return 0; -EINVAL: options that do not go together; -EEXIST: a directory that is not empty;
 * -ENOMEM; what mkdir(), open() or write() said
 */
int ng_trace_open(
	const struct ng_trace_options *options, struct ng_trace **ret_trace, struct ng_diag *diag);

/**
 * Adds an event. They come in any order: CTF wants one, so what comes more than about a thousand
 * events late, or after a flush or the end of a file, is a `late_call` there, with its true time
 * beside.
 *
 * @return 0; else it is counted as lost: -ENOMEM, and the trace goes on; anything else has ended
 * it, see ng_trace_totals.ended_by
 */
int ng_trace_write(
	struct ng_trace *trace, const struct ng_trace_event *event, struct ng_diag *diag);

/**
 * Marks a stretch of time in which nobody looked: there may have been calls between these two.
 *
 * @return 0; -ENOMEM; as ng_trace_write()
 */
int ng_trace_gap(struct ng_trace *trace, uint64_t from_ns, uint64_t to_ns, struct ng_diag *diag);

/** Counts events as lost that never came here; the trace tells it where it stands then. */
void ng_trace_lose(struct ng_trace *trace, const char *cause, uint64_t events);

/**
 * Writes what is held back, up to 128 KiB: for a pipe, or against a kill -9.
 *
 * @return 0; as ng_trace_write()
 */
int ng_trace_flush(struct ng_trace *trace, struct ng_diag *diag);

/** How it stands; what is held back is not in it. */
void ng_trace_look(const struct ng_trace *trace, struct ng_trace_totals *ret_totals);

/**
 * Ends it: the rest is written, files get their true length, and the trace is freed.
 *
 * @param trace NULL: nothing
 * @param ret_totals may be NULL; always filled
 * @return 0, also where the disk or a limit ended it: ended_by and losses say so. -ENOMEM: what
 * belongs at its end is missing, and events that were held back are lost; else the error that
 * ended it
 */
int ng_trace_close(
	struct ng_trace *trace, struct ng_trace_totals *ret_totals, struct ng_diag *diag);

#endif
