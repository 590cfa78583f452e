/*
 * A profile as one JSON document, version 1:
 *
 *   {"v": 1, "function": text or null, "exe": text or null, "pid": number or null,
 *    "mode": text or null, "began_at_ns": since 1970, "duration_ns",
 *    "hits", "calls", "cost_ns": sums over all stacks,
 *    "is_estimate": bool, "low_calls", "high_calls": 95 %; null where not known or infinite,
 *    "lost": {cause: how many}, "comments": [text],
 *    "mappings": [{"start", "limit", "offset", "file", "build_id"}],
 *    "frames": [{"function", "file", "line", "start_line", "address", "mapping", "is_inlined"}],
 *    "stacks": [{"frames": [places in "frames", innermost first], "hits", "calls", "cost_ns"}]}
 *
 * Addresses and offsets are texts, "0x…", since many readers keep numbers as doubles. What is not
 * known is null. Each frame is there once.
 */
#ifndef NG_CORE_OUT_JSON_H
#define NG_CORE_OUT_JSON_H

#include "core/base/diag.h"
#include "core/out/profile.h"

/**
 * Formats it, in one line without a newline.
 *
 * @param ret_text to be freed
 * @return 0; -EINVAL as ng_profile_check(); -ENOMEM
 */
int ng_profile_json(const struct ng_profile *profile, char **ret_text, struct ng_diag *diag);

#endif
