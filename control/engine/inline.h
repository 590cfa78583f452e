/*
 * The inline engine: a few instructions of ours in the process itself, which count its calls and
 * record them into memory that both share. No trap is taken, where a breakpoint takes one a call.
 *
 * What is brought in, and how it is taken out, is control/inject's; what it does is core/inline's.
 * When nowgate ends without taking it out, it goes on counting, harmlessly, and is found by its
 * name.
 *
 * One thread uses an inlined image at a time, but for ng_inline_drain(), which belongs to one
 * thread of its own choice.
 */
#ifndef NG_CONTROL_ENGINE_INLINE_H
#define NG_CONTROL_ENGINE_INLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/target/process.h"
#include "core/agg/call.h"
#include "core/base/diag.h"
#include "core/image/image.h"
#include "core/image/site.h"
#include "core/inline/area.h"
#include "core/inline/ring.h"
#include "core/inline/tsc.h"

/** Sites of one image that one process runs. */
struct ng_inline_sites {
	const struct ng_image *image;
	const struct ng_sites *sites;
	const uint32_t *numbers; /* as their calls are to have them */
	uint64_t bias; /* of the image: its addresses in the process, less those as linked */
	bool prologue; /* by the prologue form, which must be asked for */
	bool records;  /* calls are to be recorded: with rings */
};

struct ng_inline;

/**
 * Brings it in, with all gates off. Stops the process for a moment.
 *
 * @return 0; -ENOTSUP one of the sites, or the process, is of a kind that this engine does not
 * know; as ng_inject_install(): all with the text
 */
int ng_inline_new(const struct ng_process *process, const struct ng_inline_sites *sites,
	struct ng_inline **ret_inline, struct ng_diag *diag);

/**
 * Takes it out, and tries again for a while where a thread is in the midst of it. What was counted
 * stays.
 *
 * @return 0, also where the process is gone; -EAGAIN the text is put back, but pages of ours stay;
 * what ng_inject_remove() gave: with the text
 */
int ng_inline_remove(struct ng_inline *entered, struct ng_diag *diag);

/** Does the process's text lead through it still? false too where it cannot be read. */
bool ng_inline_is_there(const struct ng_inline *entered);

/** Frees what is ours of it; the process is left as it is. NULL does nothing. */
void ng_inline_free(struct ng_inline *entered);

/** Has all its sites do something else from the next call on: a store a site. */
void ng_inline_set(struct ng_inline *entered, enum ng_area_mode mode);

/** What was counted at a site so far. @param index of the sites that are no leads, in their order
 */
void ng_inline_count(
	const struct ng_inline *entered, size_t index, struct ng_rings_counts *ret_counts);
size_t ng_inline_site_count(const struct ng_inline *entered);
uint32_t ng_inline_number(const struct ng_inline *entered, size_t index);

/** Takes the records that there are. As ng_rings_read_all(). */
uint64_t ng_inline_drain(struct ng_inline *entered, const struct ng_tsc *clock,
	ng_rings_on_call on_call, void *context);
struct ng_rings_read ng_inline_read(const struct ng_inline *entered);

/** For how long the process was stopped, and how many threads it had. */
uint64_t ng_inline_stop_ns(const struct ng_inline *entered, uint32_t *ret_threads);

#endif
