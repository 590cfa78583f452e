#include "core/image/goroutine.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "core/image/gopclntab_inside.h"
#include "core/image/symbols.h"

/* Go's own variable is 8 bytes long; what C code in a program adds is some hundreds. */
#define TLS_BYTES_MAX	  (1u << 20)
#define TLS_ALIGNMENT_MAX 4096

#define G_BYTES 8 /* runtime.tlsg: a pointer */

/* "go1.24" or "go1.24.4", and nothing else: what somebody built from a tree in between, or with
 * changes of their own, may have another g. @return 0 where it is not such a text */
static unsigned int release_minor(const char *version)
{
	static const char digits[] = "0123456789";
	size_t length;

	if (strncmp(version, "go1.", 4))
		return 0;
	version += 4;
	length = strspn(version, digits);
	if (version[length] == '.') {
		const size_t patch = strspn(version + length + 1, digits);

		if (!patch || version[length + 1 + patch])
			return 0;
	} else if (version[length]) {
		return 0;
	}
	return length == 2 ? (unsigned int)(10 * (version[0] - '0') + version[1] - '0') : 0;
}

/*
 * Source: runtime/runtime2.go of 1.16.14, 1.17.13, 1.18 and 1.20.6; DWARF of 1.19 and of 1.21 to
 * 1.27, which tests/e2e/test_goroutine.py compares. 1.23 put syscallbp before goid, and 1.25 took
 * gobuf.ret away.
 */
uint32_t ng_goroutine_id_offset(const char *go_version)
{
	const unsigned int minor = release_minor(go_version);

	if (minor < 16 || minor > 27)
		return 0;
	return minor == 23 || minor == 24 ? 160 : 152;
}

/* Source: DWARF of 1.19 and of 1.21 to 1.27, which tests/e2e/test_goroutine.py compares. 1.25 has a
 * word less before it. */
uint32_t ng_goroutine_m_id_offset(const char *go_version)
{
	const unsigned int minor = release_minor(go_version);

	if (minor < 19 || minor == 20 || minor > 27)
		return 0;
	return minor == 25 ? 0xe0 : 0xe8;
}

uint32_t ng_goroutine_tid_offset(const char *go_version)
{
	if (!ng_goroutine_m_id_offset(go_version))
		return 0;
	return release_minor(go_version) >= 25 ? 0x40 : 0x48;
}

/* The offset of runtime.tlsg in the image's thread-local segment. */
static bool find_tls_symbol(const struct ng_image *image, uint64_t *ret_offset)
{
	const size_t count = image->symbols.size_bytes / sizeof(Elf64_Sym);

	for (size_t i = 0; image->source == NG_NAME_SYMTAB && i < count; i++) {
		Elf64_Sym entry;

		memcpy(&entry, image->symbols.bytes + i * sizeof(entry), sizeof(entry));
		if (ELF64_ST_TYPE(entry.st_info) != STT_TLS ||
			entry.st_name >= image->names.size_bytes ||
			strcmp((const char *)image->names.bytes + entry.st_name, "runtime.tlsg"))
			continue;
		*ret_offset = entry.st_value;
		return true;
	}
	return false;
}

/*
 * Where a program's threads have their g, relative to the thread pointer. Without a libc it is
 * Go's runtime that sets the pointer, and g is right below it. Else a program's thread-local
 * segment ends at the pointer (ELF's variant II); that of a library is put somewhere when it is
 * loaded.
 */
static bool find_tls(const struct ng_image *image, int32_t *ret_offset_bytes)
{
	const struct ng_elf_tls *tls = &image->elf.tls;
	uint64_t offset = 0;

	if (!tls->size_bytes) {
		*ret_offset_bytes = -G_BYTES;
		return !image->elf.is_dynamic && !image->elf.has_interpreter;
	}
	if ((image->elf.is_dynamic && !image->elf.has_interpreter) || tls->size_bytes < G_BYTES ||
		tls->size_bytes > TLS_BYTES_MAX || !tls->alignment ||
		tls->alignment > TLS_ALIGNMENT_MAX || tls->alignment & (tls->alignment - 1) ||
		tls->address & (tls->alignment - 1))
		return false;
	if (tls->size_bytes > G_BYTES &&
		(!find_tls_symbol(image, &offset) || offset > tls->size_bytes - G_BYTES))
		return false;
	*ret_offset_bytes = (int32_t)offset - (int32_t)((tls->size_bytes + tls->alignment - 1) &
							~(tls->alignment - 1));
	return true;
}

/* Assembly that is declared ABIInternal, and takes g from R14 itself, in any version. */
static bool has_g_in_r14(const char *name)
{
	return !strcmp(name, "time.now") || !strcmp(name, "runtime.nanotime1");
}

int ng_goroutine_at(const struct ng_image *image, uint64_t address, struct ng_goroutine *ret_where,
	struct ng_diag *diag)
{
	struct ng_goroutine where = {.id_offset = ng_goroutine_id_offset(image->info.go_version)};
	enum ng_pclntab_code code = NG_PCLNTAB_FOREIGN;
	const char *name;

	*ret_where = (struct ng_goroutine){.g = NG_G_NOWHERE};
	if (image->info.has_pclntab)
		code = ng_pclntab_code_at(&image->pclntab, address, &name);
	if (code == NG_PCLNTAB_FOREIGN)
		return ng_diag_set(diag, -ENODATA,
			"goroutines are not known there: that is not code of Go's, or its "
			"function table cannot be read");
	if (!where.id_offset)
		return ng_diag_set(diag, -ENODATA,
			"goroutines are not known: nowgate knows where their ids are in programs "
			"of the releases Go 1.16 to 1.27, and this one is of %s",
			image->info.go_version[0] ? image->info.go_version
						  : "a version that it does not tell");
	if (code == NG_PCLNTAB_INTERNAL ||
		(image->pclntab.layout != NG_PCLNTAB_1_16 && has_g_in_r14(name)))
		where.g = NG_G_R14;
	else if (find_tls(image, &where.tls_bytes))
		where.g = NG_G_TLS;
	else
		return ng_diag_set(diag, -ENODATA,
			"goroutines are not known in %s: it is assembly code, or of Go before "
			"1.18, and the file does not say where its threads have their own",
			name);
	*ret_where = where;
	return 0;
}
