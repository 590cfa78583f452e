/*
 * Allocations that fail when they should. A program that has it is linked with --wrap of each
 * (tests/unit/meson.build): its own calls come here, those of shared libraries do not.
 */
#ifndef NG_TESTS_OUT_FAILING_H
#define NG_TESTS_OUT_FAILING_H

#include <stddef.h>

/** From now on they are counted, and the n-th fails, from 0. */
void failing_begin(size_t n);

/** They succeed again. @return how many there were */
size_t failing_end(void);

/** The same for what takes a function (json_set_alloc_funcs()). */
void *failing_malloc(size_t size);

#endif
