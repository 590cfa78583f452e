/* What a writer of core/out writes, in memory; for tests by cmocka. */
#ifndef NG_TESTS_OUT_WRITTEN_H
#define NG_TESTS_OUT_WRITTEN_H

#include <stddef.h>

#include "core/base/diag.h"
#include "core/out/profile.h"

typedef int writer(const struct ng_profile *profile, int fd, struct ng_diag *diag);

/** What it writes without an error: pprof's inflated, the others as they are. To be freed. */
char *written(writer *write_it, const struct ng_profile *profile, size_t *ret_bytes);

#endif
