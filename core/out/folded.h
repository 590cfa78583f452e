/* Folded stacks, for scripts: "root;…;innermost calls", a line for each distinct stack of names. */
#ifndef NG_CORE_OUT_FOLDED_H
#define NG_CORE_OUT_FOLDED_H

#include "core/base/diag.h"
#include "core/out/profile.h"

/**
 * Writes them, in the order in which they are met. The format has no escapes: in a name ';' becomes
 * ':' and a control character a space. A name may hold spaces; the last one of a line is the
 * separator. Stacks whose names are the same are one line.
 *
 * @return 0; -EINVAL as ng_profile_check(); -ENOMEM; what write() said
 */
int ng_folded_write(const struct ng_profile *profile, int fd, struct ng_diag *diag);

#endif
