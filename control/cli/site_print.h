/* What `nowgate site` prints: the sites with the code around them, as text or JSON. */
#ifndef NG_CONTROL_CLI_SITE_PRINT_H
#define NG_CONTROL_CLI_SITE_PRINT_H

#include <stdio.h>

#include "core/image/image.h"
#include "core/image/site.h"

struct ng_site_print {
	FILE *file;
	const char *path; /* of the image, for people */
	const struct ng_image *image;
	const struct ng_sites *sites;
};

/** Prints for people. @return 0; -ENOMEM; what reading the image or writing gave */
int ng_site_print_text(const struct ng_site_print *print);

/** Prints one JSON document. @return as ng_site_print_text() */
int ng_site_print_json(const struct ng_site_print *print);

#endif
