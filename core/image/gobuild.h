/* What the Go linker notes of a build: .go.buildinfo. Format: Go's debug/buildinfo. */
#ifndef NG_CORE_IMAGE_GOBUILD_H
#define NG_CORE_IMAGE_GOBUILD_H

#include <stdbool.h>

#include "core/image/elf.h"

#define NG_GO_VERSION_MAX 64
#define NG_GO_PATH_MAX	  512

struct ng_gobuild {
	char version[NG_GO_VERSION_MAX]; /* "go1.24.4", "devel go1.25-0123456"; the rest is left off
					  */
	char module_path[NG_GO_PATH_MAX];
	bool has_profile; /* built with -pgo */
};

/** @return 0; -ENOENT where the image has none; -EINVAL where it is damaged; -ENOMEM, -EIO */
int ng_gobuild_read(const struct ng_elf *elf, struct ng_gobuild *ret_build);

/** The N of "go1.N…" or "devel go1.N…"; 0 where the text says none. */
unsigned int ng_gobuild_minor(const char *version);

#endif
