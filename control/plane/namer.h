/*
 * Names the frames of stacks: functions, files and lines, inlined ones too. What stands at an
 * address is looked up once.
 *
 * One thread uses it at a time.
 */
#ifndef NG_CONTROL_PLANE_NAMER_H
#define NG_CONTROL_PLANE_NAMER_H

#include <stddef.h>
#include <stdint.h>

#include "control/plane/places.h"
#include "core/out/profile.h"

struct ng_namer;

/** Where it looks things up. Borrowed, with the images of places. */
struct ng_namer_source {
	ng_locate locate;
	const struct ng_site *(*site)(uint32_t number, const void *context); /* NULL: no more */
	const void *context;						     /* for both */
};

/** @return NULL: no memory */
struct ng_namer *ng_namer_new(const struct ng_namer_source *source);
void ng_namer_free(struct ng_namer *namer);

/** A stack's frames, innermost first: so many of ng_namer_frames(), from the first. */
struct ng_named {
	size_t first;
	size_t count;
};

/**
 * Names a stack. Addresses that nothing is known of stay addresses. The first frame is that of the
 * function that was called, the second one its caller's, inlined as either may be.
 *
 * @param frames as in ng_call
 * @return 0; -ENOMEM
 */
int ng_namer_add(struct ng_namer *namer, const struct ng_count_key *process, const uint64_t *frames,
	size_t depth, struct ng_named *ret_named);

/** The frames of all stacks; they move when one is added. */
const struct ng_profile_frame *ng_namer_frames(const struct ng_namer *namer);

/** What the frames' mappings are; likewise. */
const struct ng_profile_mapping *ng_namer_mappings(const struct ng_namer *namer, size_t *ret_count);

#endif
