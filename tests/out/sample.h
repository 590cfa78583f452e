/* Profiles that the tests of core/out write. */
#ifndef NG_TESTS_OUT_SAMPLE_H
#define NG_TESTS_OUT_SAMPLE_H

#include <stddef.h>

#include "core/out/profile.h"

/* What is in the sample, in all. */
#define SAMPLE_STACKS  5
#define SAMPLE_HITS    19
#define SAMPLE_CALLS   1900
#define SAMPLE_COST_NS 15200

/** Inlined code, a name with ';', the same names at two addresses, no name, no stack; estimates. */
extern const struct ng_profile sample_profile;

/** Nothing was called. */
extern const struct ng_profile sample_empty;

/** So many distinct stacks, 64 frames each, of 1 call each; freed by sample_free(). */
struct ng_profile *sample_many(size_t stack_count);

/** One stack, so deep that nothing may recurse over it: main.f calls itself. */
struct ng_profile *sample_deep(size_t frame_count);

void sample_free(struct ng_profile *profile);

#endif
