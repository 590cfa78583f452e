/*
 * Takes the records of calls out of the engine's ring, on a thread of its own.
 *
 * The thread looks each 10 ms, and as the ring gets half full. Two CPUs at the most that traps
 * allow, 2.4 million calls/s of 130 bytes, fill 3 MiB in 10 ms.
 */
#ifndef NG_CONTROL_ENGINE_RECORDS_H
#define NG_CONTROL_ENGINE_RECORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "control/engine/uprobe.h"
#include "core/agg/call.h"
#include "core/base/diag.h"

#define NG_RECORDS_BYTES (16u << 20) /* of the ring */

struct ng_records;

/** Called for each call, on the reader's thread; what the call points to holds until it returns. */
typedef void (*ng_records_on_call)(const struct ng_call *call, void *context);

/** Called after each look, on the reader's thread. @param is_last there will be no more calls */
typedef void (*ng_records_on_look)(bool is_last, void *context);

struct ng_records_options {
	ng_records_on_call on_call;
	ng_records_on_look on_look; /* may be NULL */
	void *context;		    /* for both */
};

/**
 * Starts the reader. Block all signals before, and keep them so meanwhile.
 *
 * @param engine opened with records; it must outlive the reader
 * @return 0; -ENOMEM; -EAGAIN no thread, -EMFILE: with the text
 */
int ng_records_open(struct ng_uprobe *engine, const struct ng_records_options *options,
	struct ng_records **ret_records, struct ng_diag *diag);

/** Takes what is left in the ring, and ends the reader. @return records that were not what the
 * engine writes: 0, or the abi is broken */
uint64_t ng_records_close(struct ng_records *records);

/** Waits until the reader has taken what was in the ring before, and ended that look: 10 ms, or as
 * long as the reader is kept from running. From any other thread. */
void ng_records_catch_up(const struct ng_records *records);

/** CPU time of the reader so far, in ns; from any thread. */
uint64_t ng_records_cpu_ns(const struct ng_records *records);

#endif
