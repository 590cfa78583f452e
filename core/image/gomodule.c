#include "core/image/gomodule.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"

#define RELA_CHUNK     4096	  /* relocations read at once */
#define CANDIDATES_MAX 8	  /* relocated pointers to the table; real images have one or two */
#define RELA_MAX       (4u << 20) /* chromium has 1 million */

struct search {
	const struct ng_elf *elf;
	uint64_t table_address;
	uint8_t *module;
};

static uint64_t get_u64(const uint8_t *bytes, size_t offset)
{
	uint64_t value;

	memcpy(&value, bytes + offset, sizeof(value));
	return value;
}

static bool is_module(const struct search *search, const uint8_t *module)
{
	uint64_t text = get_u64(module, NG_GOMODULE_TEXT);
	uint64_t maxpc = get_u64(module, NG_GOMODULE_MAXPC);

	return get_u64(module, 0) == search->table_address &&
	       get_u64(module, NG_GOMODULE_MINPC) == text && text < maxpc &&
	       maxpc <= get_u64(module, NG_GOMODULE_ETEXT) &&
	       ng_elf_text_segment(search->elf, text);
}

static bool find_in_chunk(const uint8_t *bytes, size_t size_bytes, uint64_t address, void *context)
{
	struct search *search = context;

	(void)address;
	for (size_t at = 0; at + NG_GOMODULE_BYTES <= size_bytes; at += sizeof(uint64_t)) {
		if (get_u64(bytes, at) != search->table_address || !is_module(search, bytes + at))
			continue;
		memcpy(search->module, bytes + at, NG_GOMODULE_BYTES);
		return true;
	}
	return false;
}

/* Called with each R_X86_64_RELATIVE. @return false to stop */
typedef bool (*on_relocation)(uint64_t address, uint64_t pointer, void *context);

static int walk_relocations(const struct ng_elf *elf, on_relocation on_each, void *context)
{
	const struct ng_section *section = ng_elf_section(elf, ".rela.dyn");
	NG_CLEANUP_FREE Elf64_Rela *chunk = NULL;
	uint64_t left;

	if (!section)
		return 0;
	chunk = malloc(RELA_CHUNK * sizeof(*chunk));
	if (!chunk)
		return -ENOMEM;
	left = section->size_bytes / sizeof(*chunk);
	if (left > RELA_MAX)
		left = RELA_MAX; /* a damaged one, too */
	for (uint64_t done = 0; left;) {
		size_t count = left < RELA_CHUNK ? (size_t)left : RELA_CHUNK;

		if (ng_elf_read_all(elf, section->address + done * sizeof(*chunk), chunk,
			    count * sizeof(*chunk)))
			return 0; /* a damaged one: as if it ended here */
		for (size_t i = 0; i < count; i++) {
			if (ELF64_R_TYPE(chunk[i].r_info) == R_X86_64_RELATIVE &&
				!on_each(chunk[i].r_offset, (uint64_t)chunk[i].r_addend, context))
				return 0;
		}
		done += count;
		left -= count;
	}
	return 0;
}

struct candidates {
	uint64_t table_address;
	uint64_t addresses[CANDIDATES_MAX];
	size_t count;
};

static bool note_candidate(uint64_t address, uint64_t pointer, void *context)
{
	struct candidates *candidates = context;

	if (pointer == candidates->table_address)
		candidates->addresses[candidates->count++] = address;
	return candidates->count < CANDIDATES_MAX;
}

/* Part of the image in memory, with its relocations applied one by one. */
struct relocated {
	uint64_t address;
	uint8_t bytes[NG_GOMODULE_BYTES];
};

static bool relocate(uint64_t address, uint64_t pointer, void *context)
{
	struct relocated *part = context;
	const uint64_t at = address - part->address;

	if (address >= part->address && at <= sizeof(part->bytes) - sizeof(pointer))
		memcpy(part->bytes + at, &pointer, sizeof(pointer));
	return true;
}

static int find_relocated(const struct search *search)
{
	struct candidates candidates = {.table_address = search->table_address};
	int error = walk_relocations(search->elf, note_candidate, &candidates);

	for (size_t i = 0; !error && i < candidates.count; i++) {
		struct relocated part = {.address = candidates.addresses[i]};

		if (ng_elf_read_all(search->elf, part.address, part.bytes, sizeof(part.bytes)))
			continue;
		error = walk_relocations(search->elf, relocate, &part);
		if (error || !is_module(search, part.bytes))
			continue;
		memcpy(search->module, part.bytes, sizeof(part.bytes));
		return 0;
	}
	return error ? error : -ENOENT;
}

int ng_gomodule_read(
	const struct ng_elf *elf, uint64_t table_address, uint8_t ret_module[NG_GOMODULE_BYTES])
{
	struct search search = {.elf = elf, .table_address = table_address, .module = ret_module};
	int error = -ENOENT;

	for (size_t i = 0; error == -ENOENT && i < elf->segment_count; i++) {
		if (!elf->segments[i].executable)
			error = ng_elf_scan(
				elf, &elf->segments[i], NG_GOMODULE_BYTES, find_in_chunk, &search);
	}
	return error == -ENOENT ? find_relocated(&search) : error;
}
