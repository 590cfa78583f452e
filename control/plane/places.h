/* Places in processes' code, in the files that they are from. */
#ifndef NG_CONTROL_PLANE_PLACES_H
#define NG_CONTROL_PLANE_PLACES_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/abi.h"
#include "control/plane/images.h"
#include "control/target/process.h"

struct ng_place {
	const struct ng_image *image; /* as long as whoever traces the process keeps it */
	const char *path;	      /* of the image as it was first seen */
	uint64_t address;	      /* as linked */
	uint64_t start;		      /* of the mapping that it is in, end not included … */
	uint64_t end;
	uint64_t offset; /* … and where in the file that begins */
};

/** Finds what a process that is or was traced has at an address. @return false: nothing is known */
typedef bool (*ng_locate)(const struct ng_count_key *process, uint64_t address, const void *context,
	struct ng_place *ret_place);

/** Finds what is mapped at an address, where it is of one of the images. @return false: it is not
 */
bool ng_place_find(const struct ng_images *images, const struct ng_mappings *mappings,
	uint64_t address, struct ng_place *ret_place);

/** The images' site with a number. @return NULL: there is none */
const struct ng_site *ng_place_site(const struct ng_images *images, uint32_t number);

#endif
