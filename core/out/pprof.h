/*
 * A profile for `go tool pprof`: gzipped profile.proto. Sample types: calls/count, which is shown
 * unless another one is asked for, and cost/nanoseconds.
 */
#ifndef NG_CORE_OUT_PPROF_H
#define NG_CORE_OUT_PPROF_H

#include "core/base/diag.h"
#include "core/out/profile.h"

/**
 * Writes it. Functions, locations and strings are written once each; what was inlined shares a
 * location with what it was inlined into. The notes of ng_profile_notes() are its comments.
 *
 * @return 0; -EINVAL as ng_profile_check(); -ENOMEM; what write() said
 */
int ng_pprof_write(const struct ng_profile *profile, int fd, struct ng_diag *diag);

#endif
