/* How large the shared area is, where its parts are, and what stands in it before it is used. */
#ifndef NG_CORE_INLINE_LAYOUT_H
#define NG_CORE_INLINE_LAYOUT_H

#include <stdint.h>

#include "core/base/diag.h"
#include "core/inline/area.h"
#include "core/inline/form.h"

/** What is wanted, and what follows from it. */
struct ng_layout {
	uint32_t site_count;   /* 1 to NG_AREA_SITES_MAX */
	uint32_t thread_lines; /* 1 to 65536: threads with counters of their own */
	uint32_t thread_rings; /* 0 to thread_lines: threads with a ring of their own */
	uint32_t shared_rings; /* a power of two, or 0 */
	uint64_t ring_bytes;   /* of records, a power of two, from NG_AREA_RING_BYTES_MIN on */
	uint64_t lines_offset; /* filled, as the rest */
	uint64_t rings_offset;
	uint64_t ring_stride;
	uint64_t area_bytes; /* a multiple of a page */
};

/** Whose area it is: pids, and starts on the boot clock. */
struct ng_area_owner {
	uint64_t pid;
	uint64_t start_ns;
	uint64_t target_pid;
	uint64_t target_start_ns;
};

/** Fills in what follows from what is wanted. @return 0; -EINVAL out of its range, or too large */
int ng_layout_fill(struct ng_layout *layout, struct ng_diag *diag);

/**
 * Writes a new area, that no target knows yet: all gates off, no lease.
 *
 * @param area zeros, of area_bytes
 * @param seed for the sampling's random numbers: unlike for each area
 */
void ng_layout_write(const struct ng_layout *layout, const struct ng_area_owner *owner,
	uint64_t seed, void *area);

/** What a site's gate must know of it. Before the site is entered. */
void ng_layout_set_site(void *area, uint32_t site, const struct ng_form *form);

/** Sets a gate, at any time: a store, and of a new interval one for each line.
 * @param interval NG_AREA_SAMPLED: records one call in so many, 1 to 2^30 */
void ng_layout_set_mode(const struct ng_layout *layout, void *area, uint32_t site,
	enum ng_area_mode mode, uint32_t interval);

#endif
