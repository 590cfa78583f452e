/*
 * Gives each recorded call its weight: how many calls it stands for. One that was counted stands
 * for itself. One that a window caught stands for those between windows too, and for those that its
 * thread did not make for the dead time; that is known only when the window is over, so its calls
 * wait for it here.
 *
 * Who reads the records calls ng_weigher_call() and _turn(); who runs windows calls
 * ng_weigher_window(), which never waits.
 */
#ifndef NG_CONTROL_PLANE_WEIGHER_H
#define NG_CONTROL_PLANE_WEIGHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/agg/call.h"

struct ng_weigher;

/** Told of each call once its weight is known, on the reader's thread. */
typedef void (*ng_weigher_on_call)(const struct ng_call *call, double weight, void *context);

#define NG_WEIGHER_BYTES_MAX (16u << 20) /* of calls that wait */

/** @return NULL: no memory */
struct ng_weigher *ng_weigher_new(ng_weigher_on_call on_call, void *context);
void ng_weigher_free(struct ng_weigher *weigher);

/** Takes a call in: passes it on, or lets it wait for its window. */
void ng_weigher_call(struct ng_weigher *weigher, const struct ng_call *call);

/** What a call of one thread stands for in a window. */
struct ng_weight {
	uint32_t tid;
	double calls;
};

/**
 * Tells what a window's calls stand for, once all of them are in the ring.
 *
 * @param serial as in ng_call.window
 * @param count 0: the window could not be weighed, and its calls are lost
 */
void ng_weigher_window(
	struct ng_weigher *weigher, uint32_t serial, const struct ng_weight *weights, size_t count);

/** Passes on the calls of windows that were told of. @param is_last whatever still waits is lost */
void ng_weigher_turn(struct ng_weigher *weigher, uint64_t now_ns, bool is_last);

/** Calls that were not passed on so far; from any thread. */
struct ng_weigher_losses {
	uint64_t full;	    /* too many waited, or memory was out */
	uint64_t unweighed; /* nothing was told of their window, or of their thread in it */
};

struct ng_weigher_losses ng_weigher_losses(const struct ng_weigher *weigher);

#endif
