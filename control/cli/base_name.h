/* How files are called on narrow lines. */
#ifndef NG_CONTROL_CLI_BASE_NAME_H
#define NG_CONTROL_CLI_BASE_NAME_H

#include <string.h>

/** What stands behind the last slash. */
static inline const char *ng_base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

#endif
