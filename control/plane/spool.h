/*
 * Calls on their way from the reader of records, which must never wait, to a thread that may be
 * slower: bounded, and what finds no room is counted.
 */
#ifndef NG_CONTROL_PLANE_SPOOL_H
#define NG_CONTROL_PLANE_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/engine/records.h"
#include "core/agg/call.h"

#define NG_SPOOL_CHUNK_BYTES (256u << 10)

struct ng_spool;

/** @param chunks_max how much may be on its way, in chunks @return NULL: no memory */
struct ng_spool *ng_spool_new(size_t chunks_max);
void ng_spool_free(struct ng_spool *spool);

/** Takes a call in. An ng_records_on_call. @param spool a struct ng_spool */
void ng_spool_put(const struct ng_call *call, void *spool);

/** Hands over what was taken in so far. An ng_records_on_look. @param spool likewise */
void ng_spool_hand_over(bool is_last, void *spool);

/* The other thread's: */

/** Sets apart what was handed over. */
void ng_spool_collect(struct ng_spool *spool);

/** Passes on all calls that were set apart, in their order. */
void ng_spool_drain(struct ng_spool *spool, ng_records_on_call on_call, void *context);

/** Calls that found no room so far; from any thread. */
uint64_t ng_spool_lost(const struct ng_spool *spool);

#endif
