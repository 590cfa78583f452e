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
#define SEARCH_MAX   (1u << 20) /* Go puts it first in the data; its own reader looks as far */
#define TEXT_MAX     (1u << 20) /* of the module list */

#define FLAG_BIG_ENDIAN 1
#define FLAG_INLINE	2 /* Go 1.18 and newer: the texts stand right behind the header */

/* The module list stands between two 16-byte marks. */
#define MARK_BYTES 16

static int find_header(const struct ng_elf *elf, uint64_t *ret_address)
{
	const struct ng_section *section = ng_elf_section(elf, ".go.buildinfo");
	NG_CLEANUP_FREE uint8_t *bytes = NULL;
	uint64_t address = section ? section->address : 0;
	int64_t length;

	for (size_t i = 0; !section && !address && i < elf->segment_count; i++) {
		if (elf->segments[i].writable)
			address = elf->segments[i].address;
	}
	if (!address)
		return -ENOENT;
	bytes = malloc(SEARCH_MAX);
	if (!bytes)
		return -ENOMEM;
	length = ng_elf_read(elf, address, bytes, SEARCH_MAX);
	for (int64_t at = 0; at + HEADER_BYTES <= length; at += ALIGNMENT) {
		if (memcmp(bytes + at, MAGIC, MAGIC_BYTES))
			continue;
		*ret_address = address + (uint64_t)at;
		return 0;
	}
	return -ENOENT;
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
	(void)snprintf(ret_build->version, sizeof(ret_build->version), "%.*s",
		(int)strcspn(version, " "), version);
	if (modules)
		take_modules(modules, ret_build);
	return 0;
}

unsigned int ng_gobuild_minor(const char *version)
{
	unsigned int minor;

	return sscanf(version, "go1.%3u", &minor) == 1 ? minor : 0;
}
