/* How a list of sites grows; shared by the two that fill one. */
#ifndef NG_CORE_IMAGE_SITES_H
#define NG_CORE_IMAGE_SITES_H

#include "core/image/flow.h"
#include "core/image/site.h"

/** Units of work, of about half a nanosecond: a byte of code that is decoded; a byte of memory for
 * a site; a step of a walk through inline trees. */
#define NG_SITES_CODE_WORK   128
#define NG_SITES_MEMORY_WORK 128
#define NG_SITES_STEP_WORK   16

#define NG_SITES_TOO_MUCH "that is more code than is looked at: ask for less at once"

/** Spends work on a list of sites, of which there is an end: the functions of a hostile file may
 * all overlap. @return false, and it is noted as missed, where there is no more to be had */
bool ng_sites_spend(struct ng_sites *sites, uint64_t work);

/** A function's bytes, with the flow's limit in mind. @return NULL, with the error in ret_error */
uint8_t *ng_sites_read_code(
	const struct ng_image *image, const struct ng_function *function, int *ret_error);

/** Sees a chunk of code; a chunk begins with the last NG_SITES_OVERLAP_BYTES of the one before.
 * @return 0 to go on */
typedef int (*ng_sites_on_code)(
	const uint8_t *bytes, size_t size_bytes, uint64_t address, void *context);

#define NG_SITES_OVERLAP_BYTES 80

/** Walks all code of an image. @return 0; -ENOMEM; what reading or the callback gave */
int ng_sites_walk_code(const struct ng_image *image, ng_sites_on_code on_chunk, void *context);

/** Chooses a function's site and adds it under a name.
 * @param joins what leads into it from outside; NULL: not looked for
 * @return 0; ng_site_choose()'s, which is also given where there is no more work to be had; -ENOMEM
 */
int ng_sites_add_function(const struct ng_image *image, const struct ng_function *function,
	const struct ng_joins *joins, const char *name, struct ng_sites *sites,
	struct ng_diag *diag);

/** A call instruction in some function's code, as a site. */
struct ng_call_site {
	const struct ng_function *caller;
	uint64_t address;
	const char *name; /* what is counted there */
	const char *why;
	bool exact; /* each call of it runs once */
};

/** Adds a direct call as a site, proven to be an instruction by decoding from its function's entry.
 * @param flow of the caller, or NULL where it is not at hand
 * @return 0; -ENOEXEC where it is none; -ENOMEM */
int ng_sites_add_call(const struct ng_image *image, const struct ng_flow *flow,
	const struct ng_call_site *call, struct ng_sites *sites);

/** Notes what is not seen of a function's calls. @param function NULL: of any function's
 * @return 0; -ENOMEM */
int ng_sites_miss(struct ng_sites *sites, const char *function, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/** Does a function's code call or jump to an address, directly? */
bool ng_sites_calls(
	const struct ng_image *image, const struct ng_function *function, uint64_t address);

/** Drops from functions of one name those that only pass on to another of them: ABI wrappers. */
void ng_sites_drop_wrappers(const struct ng_image *image, struct ng_functions *functions);

#endif
