/*
 * The fleet: all processes that are traced within budgets, and the attachments that say which those
 * are, now and later.
 *
 * One thread uses a fleet. It never waits for the kernel's arming and disarming: workers do.
 */
#ifndef NG_CONTROL_PLANE_FLEET_H
#define NG_CONTROL_PLANE_FLEET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/plane/images.h"
#include "control/plane/losses.h"
#include "control/plane/member.h"
#include "control/plane/places.h"
#include "control/plane/selector.h"
#include "control/plane/settings.h"
#include "control/plane/wish.h"
#include "core/base/diag.h"

struct ng_fleet;

/** Told of anything a person should know: one line, no newline. */
typedef void (*ng_fleet_on_note)(const char *note, void *context);

struct ng_fleet_options {
	ng_fleet_on_note on_note; /* may be NULL */
	void *context;
	/* Told of each delivered call with its stack, and of how many calls it stands for, on
	 * another thread; NULL: they are only counted. */
	ng_weigher_on_call on_call;
	/* Told on that thread when it ends; may be NULL. */
	void (*on_last_call)(void *context);
	void *call_context;
};

/**
 * Loads the programs, calibrates if there is no calibration of this machine, and starts the
 * workers. Forks: call it with one thread.
 */
int ng_fleet_open(
	const struct ng_fleet_options *options, struct ng_fleet **ret_fleet, struct ng_diag *diag);

/** Disarms everything, and waits for it. */
void ng_fleet_free(struct ng_fleet *fleet);

/** What to trace, in which processes, and how. */
struct ng_attachment {
	struct ng_selector selector;
	struct ng_wanted wanted; /* borrowed texts are copied */
	struct ng_settings settings;
};

/**
 * Attaches what the selector selects, now and later. A process belongs to the first attachment that
 * selects it.
 *
 * @param ret_id names it from now on
 * @param ret_count processes attached now; by pid exactly one
 * @return 0; by pid what ng_inspect() gave; -EEXIST by pid: it is attached already; -ENOMEM
 */
int ng_fleet_attach(struct ng_fleet *fleet, const struct ng_attachment *attachment,
	uint32_t *ret_id, size_t *ret_count, struct ng_diag *diag);

/** Ends an attachment: its processes are disarmed. @return 0; -ENOENT */
int ng_fleet_detach(struct ng_fleet *fleet, uint32_t id, struct ng_diag *diag);

/** The oldest attachment that the selector means, by ng_selector_means(); for detaching by the
 * words that attached. @return the id, 0 where there is none */
uint32_t ng_fleet_find(const struct ng_fleet *fleet, const struct ng_selector *selector);

size_t ng_fleet_attachment_count(const struct ng_fleet *fleet);

/** Gives an attachment and its processes other settings. */
void ng_fleet_resettle(struct ng_fleet *fleet, uint32_t id, const struct ng_settings *settings);

/** Does a selector match a process that lives? */
bool ng_fleet_selects(const struct ng_selector *selector, pid_t pid);

/** Changes members that the selector matches; and attachments that it means, for the processes to
 * come. @return how many processes */
size_t ng_fleet_set(
	struct ng_fleet *fleet, const struct ng_selector *selector, const struct ng_wish *wish);

/** Asks all processes to be off, and waits for that; then all calls have been told of. What was
 * counted and estimated stays. */
void ng_fleet_stop(struct ng_fleet *fleet);

/** Finds what a process that is or was traced has at an address; an ng_locate. @param fleet a
 * struct ng_fleet */
bool ng_fleet_locate(const struct ng_count_key *process, uint64_t address, const void *fleet,
	struct ng_place *ret_place);

/** The site with a number. @param fleet a struct ng_fleet @return NULL where it is no more */
const struct ng_site *ng_fleet_site(uint32_t number, const void *fleet);

/** Whose call, of what function? @param ret_member its place in the order of ng_fleet_report()
 * @param ret_function in that report; NG_MEMBER_FUNCTIONS_MAX: it is not told apart
 * @return false: nobody's any more */
bool ng_fleet_find_function(const struct ng_fleet *fleet, const struct ng_count_key *call,
	size_t *ret_member, uint32_t *ret_function);

/** Whose process? @param process the site is not looked at @param ret_member its place in the
 * order of ng_fleet_report(), the newest one's @return false: nobody's any more */
bool ng_fleet_find_process(
	const struct ng_fleet *fleet, const struct ng_count_key *process, size_t *ret_member);

/** Waits until each call has been told of that was recorded before, and not in a window that is
 * still open: a few milliseconds. */
void ng_fleet_catch_up(struct ng_fleet *fleet);

/** CPU time that taking the records took; after ng_fleet_stop(). */
uint64_t ng_fleet_reader_cpu_ns(const struct ng_fleet *fleet);

/** Readable when ng_fleet_turn() has something to do. */
int ng_fleet_event_fd(const struct ng_fleet *fleet);

/** Takes in what happened and starts what is due. @return when to call it again at the latest;
 * CLOCK_MONOTONIC */
uint64_t ng_fleet_turn(struct ng_fleet *fleet);

/** Are there members that have not ended? */
bool ng_fleet_is_alive(const struct ng_fleet *fleet);

/** When the next lease or window must be over; 0: none runs. For the watchdog. */
uint64_t ng_fleet_deadline(const struct ng_fleet *fleet);

/** Sees a member's report. @return 0 to go on */
typedef int (*ng_fleet_on_report)(const struct ng_member_report *report, void *context);

/** Reports every member, oldest first; those that ended too, until they are forgotten. */
int ng_fleet_report(struct ng_fleet *fleet, ng_fleet_on_report on_report, void *context);

/** What was lost so far, by cause; of stacks, what becomes of calls is not known here: 0. */
int ng_fleet_lost(const struct ng_fleet *fleet, uint64_t ret_lost[NG_LOSSES]);

#endif
