/* The build id that a linker writes into a file: GNU's note, .note.gnu.build-id. */
#ifndef NG_CORE_IMAGE_BUILDID_H
#define NG_CORE_IMAGE_BUILDID_H

#include "core/image/elf.h"

#define NG_BUILD_ID_BYTES_MAX 64 /* linkers write 8 to 32 */
#define NG_BUILD_ID_TEXT_SIZE (2 * NG_BUILD_ID_BYTES_MAX + 1)

/** Reads it as lower-case hex digits; "" where there is none, or it cannot be read. */
void ng_build_id_read(const struct ng_elf *elf, char ret_text[NG_BUILD_ID_TEXT_SIZE]);

#endif
