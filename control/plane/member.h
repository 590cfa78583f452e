/*
 * A member of the fleet: one process that is traced within a budget. It arms and disarms through
 * the workers, learns from each window, and is told what to do by its governor.
 *
 * One thread uses a member; only its job, while that is posted, belongs to a worker.
 */
#ifndef NG_CONTROL_PLANE_MEMBER_H
#define NG_CONTROL_PLANE_MEMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "control/engine/calibrate.h"
#include "control/engine/gates.h"
#include "control/engine/uprobe.h"
#include "control/engine/window.h"
#include "control/plane/costs.h"
#include "control/plane/governor.h"
#include "control/plane/images.h"
#include "control/plane/settings.h"
#include "control/plane/weigher.h"
#include "control/plane/workers.h"
#include "control/target/process.h"
#include "core/stat/estimate.h"

/** What all members share; borrowed, outlives them. */
struct ng_member_context {
	struct ng_uprobe *engine;
	struct ng_gates *gates;
	struct ng_workers *workers;
	const struct ng_calibration *calibration;
	const struct ng_cost_now *cost;
	struct ng_weigher *weigher; /* of calls that are told with their stacks; NULL: none are */
};

struct ng_member;

/**
 * Begins to watch a process, off; nothing is armed.
 *
 * @param images those that have something wanted, at least one
 * @return 0; -ENOMEM; -EMFILE too many members; -E2BIG more sites than a window can arm
 */
int ng_member_new(const struct ng_member_context *context, const struct ng_process *process,
	struct ng_traced_image *const *images, size_t image_count, struct ng_member **ret_member);

/** Asks it to end: it disarms. It may be freed when it is idle. */
void ng_member_leave(struct ng_member *member);

/** Has it no job under way, and nothing armed? */
bool ng_member_is_idle(const struct ng_member *member);

/** Takes it, and what was counted of it, out of the maps. Only when it is idle. NULL does nothing.
 */
void ng_member_free(struct ng_member *member);

/** Has it sites in an image? */
bool ng_member_uses(const struct ng_member *member, const struct ng_traced_image *image);

pid_t ng_member_pid(const struct ng_member *member);
uint64_t ng_member_start_ticks(const struct ng_member *member);

/** What holds now, and is asked for again when a lease ends. */
const struct ng_settings *ng_member_settings(const struct ng_member *member);

/** When its lease ends; 0: it has none. */
uint64_t ng_member_lease(const struct ng_member *member);

/** Changes its mode, at once as far as recording goes, and has it armed or disarmed. */
void ng_member_set(struct ng_member *member, const struct ng_settings *settings, uint64_t now_ns);

/** Its process has exited, or runs another image. */
void ng_member_end(struct ng_member *member, uint64_t now_ns);

/** Tells the images of one process apart: hits count for a member from its image's exec_id on (as
 * in ng_count_key) and before the next one's. @param before UINT32_MAX: it has no end yet */
void ng_member_set_execs(struct ng_member *member, uint32_t from, uint32_t before);

uint32_t ng_member_exec_from(const struct ng_member *member);

/** The exec_id of the image after its own; UINT32_MAX: none is known. */
uint32_t ng_member_exec_before(const struct ng_member *member);

/** Its tokens ran out: a burst's, or a steady stretch's. */
void ng_member_trip(struct ng_member *member, uint64_t now_ns);

/** A job of its own has been run. */
void ng_member_collect(struct ng_member *member, struct ng_job *job, uint64_t now_ns);

/** Is this its process, in its image's life? @param process the site is not looked at */
bool ng_member_is_of(const struct ng_member *member, const struct ng_count_key *process);

/** Was this call made by this process, in this image's life, at one of the sites? */
bool ng_member_owns(const struct ng_member *member, const struct ng_count_key *key);

/** The index of a site's function in the report; NG_MEMBER_FUNCTIONS_MAX: it is not told apart. */
uint32_t ng_member_function_at(const struct ng_member *member, uint32_t site);

/** The member that a job belongs to. */
struct ng_member *ng_member_of_job(struct ng_job *job);

/** Is its tick due? Each NG_GOVERNOR_TICK_NS, or more rarely while it is calm. */
bool ng_member_needs_tick(const struct ng_member *member, uint64_t now_ns);

/** Each NG_GOVERNOR_TICK_NS. */
void ng_member_tick(struct ng_member *member, uint64_t now_ns);

/** When the window under way must be over; 0: none is. */
uint64_t ng_member_window_end(const struct ng_member *member);

/** Starts what is due. @return when it wants to be called again; CLOCK_MONOTONIC */
uint64_t ng_member_turn(struct ng_member *member, uint64_t now_ns);

/** What is known of one function. */
struct ng_member_function {
	const char *name;
	const char *source;  /* for clock reads, else NULL */
	const char *missing; /* what is not seen of it, "" */
	struct ng_rate rate; /* now: of the last second where all is counted, else of the last 10 to
				20 s */
	bool is_known;	     /* is there such a rate? Not where nothing is armed */
	double calls;	     /* since it was attached: counted, and estimated where windows were */
	double calls_low;
	double calls_high;
	double cost_ns; /* a hit; with its record, where calls are told */
};

#define NG_MEMBER_FUNCTIONS_MAX 16 /* told apart; the rest is in the total only */

struct ng_member_report {
	uint32_t attachment; /* its id; filled by the fleet */
	pid_t pid;
	const char *exe;
	const char *go_version;
	struct ng_settings settings;
	enum ng_arming arming;
	uint64_t since_ns; /* when it was attached; CLOCK_MONOTONIC */
	uint64_t elapsed_ns;
	uint64_t cpu_ns;	 /* that the target used since then */
	uint64_t lease_until_ns; /* 0: none */
	double lost_ns;		 /* what tracing took from it since then */
	double share_now;	 /* of its CPU time, in the last second */
	double share_minute;	 /* in the last minute */
	double armed_ratio;	 /* of the time */
	struct ng_gate_tally tally;
	uint64_t windows;
	bool ended;
	struct ng_member_function functions[NG_MEMBER_FUNCTIONS_MAX];
	size_t function_count;
	const struct ng_decision *decisions; /* a ring of NG_DECISIONS_KEPT */
	size_t decision_count;
};

/** Texts belong to the member. @param tallies of the engine @return 0; -ENOMEM */
int ng_member_report(struct ng_member *member, const struct ng_tallies *tallies, uint64_t now_ns,
	struct ng_member_report *ret_report);

#endif
