/*
 * What a target has written into its area, read by nowgate: calls from the rings, sums from the
 * counters.
 *
 * All of it is input. The target can change any byte at any time, also while it is read: each word
 * is read once, then checked. Whatever it writes, a read ends after a ring's size at the most,
 * stays in its memory, and is wrong of this target alone.
 */
#ifndef NG_CORE_INLINE_RING_H
#define NG_CORE_INLINE_RING_H

#include <stddef.h>
#include <stdint.h>

#include "core/agg/call.h"
#include "core/inline/layout.h"
#include "core/inline/tsc.h"

/** Whose rings, and what their sites are. */
struct ng_rings_of {
	void *area;			/* as nowgate has it mapped; outlives the reader */
	const struct ng_layout *layout; /* nowgate's own; copied */
	const uint64_t *addresses;	/* of each site, as the target has it; copied … */
	const uint32_t *numbers; /* … and what its calls are to have as their `site`; copied */
	uint32_t tgid;
	uint32_t exec_id;
	uint64_t start_ns;
	size_t stack_bytes_max; /* memory for stacks, in all */
};

/** Of all that was read so far. */
struct ng_rings_read {
	uint64_t delivered; /* calls */
	uint64_t
		stackless; /* of these: their stack is not known, for want of memory or by damage */
	uint64_t damaged;  /* rings that were found not as they can be, and passed over to their end
			    */
};

/** A site's counters, added up. */
struct ng_rings_counts {
	uint64_t calls; /* by the target itself */
	uint64_t lost[NG_AREA_LOSSES];
	uint64_t foreign; /* calls by children by fork, not in `calls` */
};

struct ng_rings;

/**
 * A new reader of an area: what was in its rings before is passed over, and a new epoch begins. One
 * at a time may be. Belongs to one thread.
 *
 * @return 0; -ENOMEM
 */
int ng_rings_new(const struct ng_rings_of *of, struct ng_rings **ret_rings);
void ng_rings_free(struct ng_rings *rings);

/** Takes a call; it lives until this returns. */
typedef void (*ng_rings_on_call)(const struct ng_call *call, void *context);

/**
 * Reads what is in the rings now: each ring's calls in their order.
 *
 * @param clock updated before, or times may be cut to its last update
 * @return how many calls
 */
uint64_t ng_rings_read_all(struct ng_rings *rings, const struct ng_tsc *clock,
	ng_rings_on_call on_call, void *context);

struct ng_rings_read ng_rings_so_far(const struct ng_rings *rings);

/** Sums a site's counters: of what happened while it sums some may be in them. */
void ng_rings_count(
	const struct ng_rings *rings, uint32_t site, struct ng_rings_counts *ret_counts);

#endif
