/* Records of a CTF stream that are held back, to be sorted by their times. */
#ifndef NG_CORE_OUT_TRACE_CTF_HELD_H
#define NG_CORE_OUT_TRACE_CTF_HELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/out/buffer.h"

#define NG_CTF_BEFORE_CALLS 0 /* a time: for what calls refer to */

struct ng_ctf_record {
	uint64_t time_ns;
	size_t begin; /* in the bytes: they are in the order in which they came */
	size_t length;
};

/** Zeroed it is empty. */
struct ng_ctf_held {
	struct ng_ctf_record *records;
	size_t count;
	size_t room;
	struct ng_buffer bytes;
	struct ng_buffer rest; /* room for those that stay */
	uint64_t time_ns;      /* the latest one's */
	bool is_mixed;	       /* some came later than others of a later time */
};

void ng_ctf_held_release(struct ng_ctf_held *held);

/**
 * Adds a record of two parts.
 *
 * @return 0; -ENOMEM: it is as it was
 */
int ng_ctf_hold(struct ng_ctf_held *held, uint64_t time_ns, const void *head, size_t head_length,
	const void *rest, size_t rest_length);

/** Takes away the last ones that were added, those that are not sorted. */
void ng_ctf_held_cut(struct ng_ctf_held *held, size_t count);

/** Sorts the records by time; those of the same time stay as they came. */
void ng_ctf_held_sort(struct ng_ctf_held *held);

/**
 * Takes away the first ones of those that were sorted.
 *
 * @return 0; -ENOMEM: it is as it was
 */
int ng_ctf_held_drop(struct ng_ctf_held *held, size_t count);

#endif
