/*
 * The bodies of time.now and runtime.nanotime1 by their bytes, on x86-64: assembly that is the same
 * from Go 1.19 to 1.27 but for offsets. Both load the clock's id, `mov $clock,%edi`, right before
 * they call the vDSO on the thread's system stack. Source: runtime/time_linux_amd64.s and
 * runtime/sys_linux_amd64.s, and objdump of each version's programs.
 */
#ifndef NG_CORE_IMAGE_CLOCKBODY_H
#define NG_CORE_IMAGE_CLOCKBODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/image/image.h"

#define NG_CLOCKBODY_BYTES_MAX	     0x100 /* enough of a body: its straight line ends earlier */
#define NG_CLOCKBODY_SIGNATURE_BYTES 80	   /* from `mov $clock,%edi` on */

/** Do these bytes begin with time.now's load of the clock's id, and go on as it does? */
bool ng_clockbody_is_now(const uint8_t *bytes, size_t size_bytes);

/** The same for runtime.nanotime1. */
bool ng_clockbody_is_nanotime1(const uint8_t *bytes, size_t size_bytes);

/** The entry of the body whose clock's id is loaded at an address; 0 where none is seen. */
uint64_t ng_clockbody_entry_before(const struct ng_image *image, uint64_t address);

#endif
