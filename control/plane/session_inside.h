/* What a session is made of; for the files of the session alone. */
#ifndef NG_CONTROL_PLANE_SESSION_INSIDE_H
#define NG_CONTROL_PLANE_SESSION_INSIDE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "control/engine/inline.h"
#include "control/engine/uprobe.h"
#include "control/plane/images.h"
#include "control/plane/session.h"
#include "control/plane/tracked.h"

/** A file's sites, armed in every process. */
struct session_everyone {
	struct ng_traced_image *image;
	struct ng_armed *armed; /* NULL: not any more */
};

/** An image that a process has code of ours for. */
struct session_inline {
	struct ng_tracked *tracked;
	struct ng_inline *engine;
	bool is_out; /* or left in for good */
};

struct ng_session {
	struct ng_session_options options;
	struct ng_uprobe *engine;
	struct ng_images images;
	struct ng_traced_image *kernel; /* its system calls count for every target; NULL: none do */
	struct ng_tracked_list tracked;
	struct session_everyone *everyone; /* of the files that were asked for */
	size_t everyone_count;
	uint64_t started_at_ns;		/* 0: the gate is still closed */
	uint64_t stopped_at_ns;		/* 0: it is still open */
	struct ng_records *records;	/* NULL: none, or none any more */
	uint64_t reader_cpu_ns;		/* of what took them */
	uint64_t strangers;		/* that were none */
	struct session_inline *inlines; /* by the inline engine */
	size_t inline_count;
	pthread_t inline_reader; /* of their records … */
	bool inline_is_reading;	 /* … it runs … */
	bool inline_is_ending;	 /* … for the last time; release, paired with its acquire */
	uint64_t check_at_ns;	 /* when the code of the armed ones is looked at next */
};

/** Tells a person, if anybody listens. A long note is cut. */
void ng_session_note(struct ng_session *session, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/** The time from which on hits count, for something armed now; 0: from when the gate opens. */
uint64_t ng_session_counted_from(const struct ng_session *session);

#endif
