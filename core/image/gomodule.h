/* Go's moduledata, the runtime's own note of where its parts are: found by its first word, which
 * points to the function table. Source: Go's runtime/symtab.go. */
#ifndef NG_CORE_IMAGE_GOMODULE_H
#define NG_CORE_IMAGE_GOMODULE_H

#include <stddef.h>
#include <stdint.h>

#include "core/image/elf.h"

#define NG_GOMODULE_BYTES 0x160 /* of it, as much as is read */

/** Byte offsets of its words: the same from Go 1.16 to 1.27. */
#define NG_GOMODULE_MINPC 0xa0
#define NG_GOMODULE_MAXPC 0xa8
#define NG_GOMODULE_TEXT  0xb0
#define NG_GOMODULE_ETEXT 0xb8

/**
 * Reads the moduledata of a function table, with its pointers as linked.
 *
 * Most linkers leave the pointers of a position-independent image in the file; lld leaves zeros,
 * and the pointers stand in .rela.dyn.
 *
 * @return 0; -ENOENT; -ENOMEM; -EIO
 */
int ng_gomodule_read(
	const struct ng_elf *elf, uint64_t table_address, uint8_t ret_module[NG_GOMODULE_BYTES]);

#endif
