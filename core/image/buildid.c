#include "core/image/buildid.h"

#include <stdio.h>
#include <string.h>

void ng_build_id_read(const struct ng_elf *elf, char ret_text[NG_BUILD_ID_TEXT_SIZE])
{
	const struct ng_section *section = ng_elf_section(elf, ".note.gnu.build-id");
	struct {
		Elf64_Nhdr header;
		char name[4];
		uint8_t id[NG_BUILD_ID_BYTES_MAX];
	} note = {0};
	const int64_t length =
		section ? ng_elf_read(elf, section->address, &note, sizeof(note)) : 0;

	ret_text[0] = '\0';
	if (length < (int64_t)offsetof(typeof(note), id) || note.header.n_type != NT_GNU_BUILD_ID ||
		note.header.n_namesz != sizeof(note.name) ||
		memcmp(note.name, "GNU", sizeof(note.name)) != 0 ||
		note.header.n_descsz > (uint64_t)length - offsetof(typeof(note), id))
		return;
	for (size_t i = 0; i < note.header.n_descsz; i++)
		(void)snprintf(ret_text + 2 * i, 3, "%02x", note.id[i]);
}
