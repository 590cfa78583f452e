/*
 * The flight recorder: who calls in each process, and its newest calls, in memory that is bounded.
 *
 * One thread takes calls in, and never waits: the reader of records. Another one looks at them, and
 * forgets processes.
 */
#ifndef NG_CONTROL_PLANE_FLIGHT_H
#define NG_CONTROL_PLANE_FLIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/abi.h"
#include "core/agg/agg.h"
#include "core/agg/call.h"

struct ng_flight;

struct ng_flight_options {
	size_t process_bytes; /* for the newest calls of one process … */
	size_t all_bytes;     /* … and of all; what comes later has its callers told, no calls */
	size_t stacks_max;    /* different ones, of all */
	size_t stack_bytes;   /* for those */
};

/** @return 0; -ENOMEM; -EINVAL: no room for one stack */
int ng_flight_new(const struct ng_flight_options *options, struct ng_flight **ret_flight);

/** The thread that takes calls in has ended, or never began. */
void ng_flight_free(struct ng_flight *flight);

/* By the thread that takes calls in: */

/** Takes a call in, with what it stands for. An ng_weigher_on_call. @param flight a struct
 * ng_flight
 */
void ng_flight_call(const struct ng_call *call, double weight, void *flight);

/** The thread takes no more calls in, and ends. An ng_fleet_options.on_last_call. @param flight
 * likewise */
void ng_flight_last_call(void *flight);

/* By the other one: */

/** Is this process meant? @param process its site is 0 */
typedef bool (*ng_flight_is_meant)(const struct ng_count_key *process, const void *context);

/** A call that was kept. */
struct ng_flight_call {
	uint64_t time_ns; /* CLOCK_MONOTONIC */
	uint64_t goroutine;
	double weight; /* calls that it stands for */
	uint32_t tid;
	uint32_t stack;	  /* as ng_agg_row.stack; one that no row has: its stack found no room */
	uint32_t window;  /* as ng_call; between different windows … */
	uint32_t stretch; /* … or stretches there may be calls that nobody saw */
};

/** What is known of a process: the caller's own. */
struct ng_flight_view {
	struct ng_count_key process;  /* its site is 0 */
	struct ng_flight_call *calls; /* the newest ones, oldest first as they came in */
	size_t count;
	uint64_t overwritten;	       /* that came before them */
	bool has_no_room;	       /* no calls are kept of it */
	struct ng_agg_snapshot stacks; /* with an ng_agg_row.function that is the site's number */
};

/**
 * Looks at the first process that is meant: its newest calls, and its stacks. Calls that come in
 * meanwhile may be missing.
 *
 * @param view over which time stacks are; NG_AGG_SINCE_START has those of all calls
 * @param with_calls else there are none
 * @return 0; -ENOENT: no call of it has come in; -ENOMEM
 */
int ng_flight_look(struct ng_flight *flight, ng_flight_is_meant is_meant, const void *context,
	enum ng_agg_view view, bool with_calls, struct ng_flight_view *ret_view);
void ng_flight_view_release(struct ng_flight_view *view);

/** Tells the time, about once a second. */
void ng_flight_turn(struct ng_flight *flight, uint64_t now_ns);

/** Forgets all processes that are not meant any more. Waits for a grace period where there are
 * such. */
void ng_flight_tidy(struct ng_flight *flight, ng_flight_is_meant is_meant, const void *context);

/** Calls that came in without their stack being kept: there was no room, or no memory. */
uint64_t ng_flight_lost(struct ng_flight *flight);

#endif
