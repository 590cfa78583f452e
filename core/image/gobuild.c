#include "core/image/gobuild.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"

#define MAGIC	     "\xff Go buildinf:"
#define MAGIC_BYTES  14
#define HEADER_BYTES 32
#define ALIGNMENT    16
#define TEXT_MAX     (1u << 20) /* of the module list */

#define FLAG_BIG_ENDIAN 1
#define FLAG_INLINE	2 /* Go 1.18 and newer: the texts stand right behind the header */

/* The module list stands between two 16-byte marks. */
#define MARK_BYTES 16

_Static_assert(ALIGNMENT == NG_ELF_SCAN_ALIGNMENT, "each chunk begins where a header can");

static bool find_in_chunk(const uint8_t *bytes, size_t size_bytes, uint64_t address, void *context)
{
	for (size_t at = 0; at + HEADER_BYTES <= size_bytes; at += ALIGNMENT) {
		if (memcmp(bytes + at, MAGIC, MAGIC_BYTES))
			continue;
		*(uint64_t *)context = address + at;
		return true;
	}
	return false;
}

/* In its section, which begins with it; in data where there are no sections at all. */
static int find_header(const struct ng_elf *elf, uint64_t *ret_address)
{
	const struct ng_section *section = ng_elf_section(elf, ".go.buildinfo");
	uint8_t magic[MAGIC_BYTES];
	int error = -ENOENT;

	if (section) {
		*ret_address = section->address;
		error = ng_elf_read_all(elf, section->address, magic, sizeof(magic));
		return error || !memcmp(magic, MAGIC, sizeof(magic)) ? error : -EINVAL;
	}
	for (size_t i = 0; !elf->section_count && error == -ENOENT && i < elf->segment_count; i++) {
		if (elf->segments[i].writable)
			error = ng_elf_scan(
				elf, &elf->segments[i], HEADER_BYTES, find_in_chunk, ret_address);
	}
	return error;
}

/* A text with its length before it, as a varint. */
static char *read_inline_text(const struct ng_elf *elf, uint64_t *address)
{
	uint8_t prefix[10];
	uint64_t size_bytes = 0;
	int64_t length = ng_elf_read(elf, *address, prefix, sizeof(prefix));
	unsigned int used = 0;
	char *text;

	do {
		if (used >= length || used == 9)
			return NULL;
		size_bytes |= (uint64_t)(prefix[used] & 0x7f) << (7 * used);
	} while (prefix[used++] & 0x80);
	if (size_bytes > TEXT_MAX)
		return NULL;
	text = calloc(1, (size_t)size_bytes + 1);
	if (!text)
		return NULL;
	if (size_bytes && ng_elf_read_all(elf, *address + used, text, (size_t)size_bytes)) {
		free(text);
		return NULL;
	}
	*address += used + size_bytes;
	return text;
}

/* A text behind a pointer to Go's string header: pointer and length. */
static char *read_pointed_text(const struct ng_elf *elf, uint64_t pointer_address)
{
	uint64_t header_address, header[2];
	char *text;

	if (ng_elf_read_all(elf, pointer_address, &header_address, sizeof(header_address)) ||
		ng_elf_read_all(elf, header_address, header, sizeof(header)) ||
		header[1] > TEXT_MAX)
		return NULL;
	text = calloc(1, (size_t)header[1] + 1);
	if (text && header[1] && ng_elf_read_all(elf, header[0], text, (size_t)header[1])) {
		free(text);
		return NULL;
	}
	return text;
}

/* "go1.24.4 X:loopvar" and "devel go1.25-0123456 Mon Jan 2 …": what follows is of no use here. */
static void take_version(const char *text, struct ng_gobuild *build)
{
	size_t length = strncmp(text, "devel ", 6) ? 0 : 6;

	length += strcspn(text + length, " ");
	(void)snprintf(build->version, sizeof(build->version), "%.*s", (int)length, text);
}

static void take_modules(const char *text, struct ng_gobuild *build)
{
	size_t length = strlen(text);
	const char *line;

	if (length < 2 * MARK_BYTES)
		return; /* none: built without modules */
	text += MARK_BYTES;
	for (line = text; line && *line; line = strchr(line, '\n')) {
		if (*line == '\n')
			line++;
		if (!strncmp(line, "mod\t", 4) ||
			(!strncmp(line, "path\t", 5) && !build->module_path[0])) {
			const char *path = strchr(line, '\t') + 1;

			(void)snprintf(build->module_path, sizeof(build->module_path), "%.*s",
				(int)strcspn(path, "\t\n"), path);
		}
		build->has_profile |= !strncmp(line, "build\t-pgo=", 11);
	}
}

int ng_gobuild_read(const struct ng_elf *elf, struct ng_gobuild *ret_build)
{
	NG_CLEANUP_FREE char *version = NULL;
	NG_CLEANUP_FREE char *modules = NULL;
	uint8_t header[HEADER_BYTES];
	uint64_t address;
	int error = find_header(elf, &address);

	if (error)
		return error;
	error = ng_elf_read_all(elf, address, header, sizeof(header));
	if (error)
		return error;
	if (header[14] != 8 || (header[15] & FLAG_BIG_ENDIAN))
		return -EINVAL;
	*ret_build = (struct ng_gobuild){0};
	if (header[15] & FLAG_INLINE) {
		address += HEADER_BYTES;
		version = read_inline_text(elf, &address);
		modules = version ? read_inline_text(elf, &address) : NULL;
	} else {
		version = read_pointed_text(elf, address + 16);
		modules = read_pointed_text(elf, address + 24);
	}
	if (!version)
		return -EINVAL;
	take_version(version, ret_build);
	if (modules)
		take_modules(modules, ret_build);
	return 0;
}

unsigned int ng_gobuild_minor(const char *version)
{
	const char *number = strstr(version, "go1.");
	unsigned int minor;

	return number && sscanf(number, "go1.%3u", &minor) == 1 ? minor : 0;
}
