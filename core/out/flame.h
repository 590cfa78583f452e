/*
 * A flame graph in one SVG that needs nothing else: roots on top, a frame as wide as its calls.
 *
 * A click zooms, another one on the top row shows all again; the field searches by regular
 * expression. Both stand in the address: "#s=regex&z=number of the frame".
 */
#ifndef NG_CORE_OUT_FLAME_H
#define NG_CORE_OUT_FLAME_H

#include "core/base/diag.h"
#include "core/out/profile.h"

#define NG_FLAME_WIDTH_PX  1200
#define NG_FLAME_NARROW_PX 0.1	/* narrower frames are left out */
#define NG_FLAME_DEPTH_MAX 1000 /* rows of 16 px: what lies deeper is left out */

/* Chromium draws and searches so many in 2 s, on 2 CPUs without a GPU. */
#define NG_FLAME_FRAMES_MAX 20000

/**
 * Writes it. Where frames are left out, for being too narrow or too deep, it says how many; above
 * NG_FLAME_FRAMES_MAX it is the narrowest ones of all, and of equal ones the inner ones.
 *
 * @return 0; -EINVAL as ng_profile_check(); -ENOMEM; what write() said
 */
int ng_flame_write(const struct ng_profile *profile, int fd, struct ng_diag *diag);

#endif
