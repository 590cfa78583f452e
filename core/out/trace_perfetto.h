/* The packets of a Perfetto trace, and what they define once to refer to it by number (iid). */
#ifndef NG_CORE_OUT_TRACE_PERFETTO_H
#define NG_CORE_OUT_TRACE_PERFETTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/out/blobs.h"
#include "core/out/buffer.h"
#include "core/out/intern.h"
#include "core/out/perfetto.pb-c.h"
#include "core/out/trace.h"

typedef Perfetto__Protos__TracePacket ng_perfetto_packet;
typedef Perfetto__Protos__TrackDescriptor ng_perfetto_track;

/* sequence_flags, of trace_packet.proto. */
#define NG_PERFETTO_STATE_CLEARED 1u
#define NG_PERFETTO_NEEDS_STATE	  2u

/* What was defined: numbers are iids - 1. */
struct ng_perfetto_defined {
	struct ng_intern names; /* of events */
	struct ng_intern values;
	struct ng_intern functions;
	struct ng_intern files;
	struct ng_intern frames; /* by what they are made of */
	struct ng_intern stacks; /* by id */
	struct ng_intern tracks; /* uuids */
	struct ng_blobs callers; /* values' iids, by function and stack */
};

struct ng_perfetto {
	int64_t clock_offset_ns;
	uint32_t pid;
	char *exe; /* NULL: not known */

	struct ng_buffer packets;
	uint64_t events; /* in them */
	bool is_taken;	 /* they were, and go when something is added */

	bool has_head;	/* so that what follows can refer to it */
	bool has_clock; /* in this file */
	bool had_clock; /* before what is being added */
	struct ng_perfetto_defined defined;

	struct ng_buffer line;	 /* room for a text … */
	struct ng_buffer caller; /* … another one, as it comes … */
	uint64_t *ids;		 /* … the frames of a stack */
	size_t id_room;
	uint8_t *packed; /* … a packet */
	size_t packed_room_bytes;
	int error; /* the first one since something was begun; what follows it does nothing */
};

/** Notes an error, if it is the first one. */
void ng_perfetto_fail(struct ng_perfetto *perfetto, int error);

/** Adds a packet of the one sequence that there is; without flags it needs what was defined. */
void ng_perfetto_put(struct ng_perfetto *perfetto, ng_perfetto_packet *packet);

/*
 * Each of these defines what is new in packets of its own.
 */

/** @return the iid of an event's name */
uint64_t ng_perfetto_name(struct ng_perfetto *perfetto, const char *text);

/** @return the iid of an annotation's value */
uint64_t ng_perfetto_value(struct ng_perfetto *perfetto, const char *text);

/** @return the iid of its stack; 0 where it has none: one without frames is an error there */
uint64_t ng_perfetto_stack(struct ng_perfetto *perfetto, const struct ng_trace_event *event);

/** @return the uuid of its thread's track */
uint64_t ng_perfetto_thread(struct ng_perfetto *perfetto, uint32_t pid, uint32_t tid);

/** Defines a track of its own, if it is new. @param name borrowed */
void ng_perfetto_track_named(struct ng_perfetto *perfetto, uint64_t uuid, const char *name);

/** Nothing is defined any more: the next packet has to say so. */
void ng_perfetto_forget(struct ng_perfetto *perfetto);

#endif
