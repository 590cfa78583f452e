/*
 * Where code from outside of a function leads into it, other than by a call of its entry: parts of
 * its own that the compiler put elsewhere (gcc's NAME.cold), and others that enter it in its midst.
 */
#ifndef NG_CORE_IMAGE_JOINS_H
#define NG_CORE_IMAGE_JOINS_H

#include <stddef.h>

#include "core/image/flow.h"
#include "core/image/image.h"
#include "core/image/site.h"

/**
 * Finds what leads into each of some functions, by one pass over the names and one over all code.
 *
 * Direct jumps and calls are seen. What looks like one is decoded from the start of the function
 * that it stands in or, where none is known, from some bytes before it, in all ways. What is too
 * much to be decoded counts as an entry.
 *
 * @param sites whose work is spent
 * @param ret_joins one for each function; release them, also after an error
 * @return 0; -ENOMEM; what reading gave
 */
int ng_joins_find(const struct ng_image *image, const struct ng_functions *functions,
	struct ng_sites *sites, struct ng_joins *ret_joins);
void ng_joins_release(struct ng_joins *joins, size_t count);

#endif
