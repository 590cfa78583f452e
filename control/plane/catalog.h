/* What is looked for, with the images that were read for it: shared by all attachments that look
 * for the same, and kept for the next one. One thread uses them. */
#ifndef NG_CONTROL_PLANE_CATALOG_H
#define NG_CONTROL_PLANE_CATALOG_H

#include <stddef.h>

#include "control/plane/images.h"

struct ng_catalog {
	struct ng_wanted wanted;
	char **functions; /* owned; wanted.functions points here */
	struct ng_images images;
};

struct ng_catalogs {
	struct ng_catalog **items;
	size_t count;
};

/** The one that looks for this; made if there is none yet, and of the same address from then on.
 * @return NULL: out of memory */
struct ng_catalog *ng_catalogs_get(struct ng_catalogs *catalogs, const struct ng_wanted *wanted);

/** After whatever uses their images, the engine included. */
void ng_catalogs_release(struct ng_catalogs *catalogs);

#endif
