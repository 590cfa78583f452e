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
 * That is the only call of a leaf; or, where it calls none, its only direct call, if nothing but
 * straight code lies between its first byte and it, no jump leads to between them, and none from
 * within the copy leads back (Go puts a loop's condition behind its body). Pure.
 *
 * @param flow of the physical function
 * @return the call's address; 0 where none is proven
 */
uint64_t ng_copy_find_call(const struct ng_flow *flow, const struct ng_copy *copy);

/**
 * Adds a site for each copy; copies that have no such call are noted as missed.
 *
 * Each function that holds copies is analysed once, however many it holds.
 *
 * @param name of the function that was inlined
 * @return 0; -ENOMEM; what reading the image gave
 */
int ng_sites_add_copies(const struct ng_image *image, const struct ng_inlined *inlined,
	const char *name, struct ng_sites *sites);

#endif
