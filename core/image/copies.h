/* Where an inlined copy of a function is seen once each time it runs: at a call of its own. */
#ifndef NG_CORE_IMAGE_COPIES_H
#define NG_CORE_IMAGE_COPIES_H

#include <stddef.h>
#include <stdint.h>

#include "core/image/flow.h"
#include "core/image/image.h"
#include "core/image/site.h"

/** One inlined copy: its own stretches of code, without those of what was inlined into it. */
struct ng_copy {
	const struct ng_inlined_range *ranges; /* by start address, at least one */
	size_t count;
	const uint64_t
		*leaves; /* functions that each run of it calls once, as is known otherwise */
	size_t leaf_count;
};

/**
 * The call that each run of a copy makes once.
 *
 * That is the only call of a leaf, and this is proven; or, where it calls none, its only direct
 * call, if nothing but straight code lies between its first byte and it, no jump leads to between
 * them, and none from within the copy leads back (Go puts a loop's condition behind its body). This
 * is likely: where the compiler knew what a branch would do, it left only one of its ways. Pure.
 *
 * @param flow of the physical function
 * @param ret_proven whether it is a leaf's
 * @return the call's address; 0 where there is none
 */
uint64_t ng_copy_find_call(
	const struct ng_flow *flow, const struct ng_copy *copy, bool *ret_proven);

/**
 * Adds a site for each copy, and notes what is not seen or not proven: copies that have no such
 * call, or one that is only likely.
 *
 * What is known of time.Now, or what a function's own body makes in each run, tells the leaves. A
 * copy cannot have lost such a call; without one, it may have been optimised away altogether.
 * Each function that holds copies is analysed once, however many it holds.
 *
 * @param label what the sites' function is called; NULL: as in the inline trees
 * @return 0; -ENOMEM; what reading the image gave
 */
int ng_sites_add_copies(const struct ng_image *image, const struct ng_inlined *inlined,
	const char *label, struct ng_sites *sites);

#endif
