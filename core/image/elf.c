#include "core/image/elf.h"

#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/cleanup.h"

#define SECTIONS_MAX	  65536	     /* a linker writes some tens; more is no program */
#define SECTION_NAMES_MAX (4u << 20) /* bytes, for all of them */
#define CHUNK_BYTES	  (1u << 20) /* of a scan */
/* Of all segments' file parts: x86-64 code reaches 2 GiB around it, and some data need not be near.
 * A sparse file would have us search for hours. */
#define LOADED_BYTES_MAX (4ull << 30)

static int pread_all(int fd, void *buffer, size_t size_bytes, uint64_t offset)
{
	size_t done = 0;

	while (done < size_bytes) {
		ssize_t length = pread(
			fd, (uint8_t *)buffer + done, size_bytes - done, (off_t)(offset + done));

		if (length < 0 && errno == EINTR)
			continue;
		if (length <= 0)
			return length < 0 ? -errno : -EIO;
		done += (size_t)length;
	}
	return 0;
}

static int refuse_other(int fd, struct ng_diag *diag)
{
	char line[128] = "";
	ssize_t length = pread(fd, line, sizeof(line) - 1, 0);

	if (length < 0)
		return ng_diag_set(diag, -errno, "it cannot be read: %s", strerror(errno));
	if (!length)
		return ng_diag_set(diag, -ENOEXEC, "it is empty: no program, and no library");
	if (length >= SELFMAG && !memcmp(line, ELFMAG, SELFMAG))
		return ng_diag_set(
			diag, -ENOEXEC, "it is truncated: even its ELF header is cut off");
	line[strcspn(line, "\r\n")] = '\0';
	if (!strncmp(line, "#!", 2))
		return ng_diag_set(diag, -ENOEXEC,
			"it is a script, run by '%s': trace that program, or its process by -p",
			line + 2);
	return ng_diag_set(diag, -ENOEXEC, "it is not an ELF file: no program, and no library");
}

/* The machine and class, before libelf takes the file for one it can read. */
static int check_ident(int fd, struct ng_diag *diag)
{
	Elf64_Ehdr header;
	int error = pread_all(fd, &header, EI_NIDENT + 4, 0);

	if (error == -EIO || (!error && memcmp(header.e_ident, ELFMAG, SELFMAG)))
		return refuse_other(fd, diag);
	if (error)
		return ng_diag_set(diag, error, "it cannot be read: %s", strerror(-error));
	if (header.e_ident[EI_CLASS] == ELFCLASS32)
		return ng_diag_set(
			diag, -ENOTSUP, "it is a 32-bit program: nowgate traces 64-bit x86 only");
	if (header.e_ident[EI_DATA] == ELFDATA2MSB)
		return ng_diag_set(diag, -ENOTSUP,
			"it is a big-endian program: nowgate traces 64-bit x86 only");
	if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
		header.e_ident[EI_VERSION] != EV_CURRENT)
		return ng_diag_set(diag, -EINVAL, "its ELF header is damaged");
	error = pread_all(fd, &header, sizeof(header), 0);
	if (error)
		return ng_diag_set(
			diag, -ENOEXEC, "it is truncated: even its ELF header is cut off");
	if (header.e_machine != EM_X86_64)
		return ng_diag_set(diag, -ENOTSUP,
			"it is a program for another architecture (%s, ELF machine %u): nowgate "
			"traces "
			"64-bit x86 only",
			header.e_machine == EM_AARCH64 ? "arm64" : "not x86-64", header.e_machine);
	if (header.e_type != ET_EXEC && header.e_type != ET_DYN)
		return ng_diag_set(diag, -ENOEXEC, "it is no program and no shared library, but %s",
			header.e_type == ET_REL	   ? "an object file"
			: header.e_type == ET_CORE ? "a core dump"
						   : "of an unknown kind");
	return 0;
}

static int damaged(struct ng_diag *diag, const char *what)
{
	return ng_diag_set(diag, -EINVAL, "its ELF file is damaged: %s", what);
}

static bool lies_within(uint64_t offset, uint64_t size_bytes, uint64_t limit)
{
	return offset <= limit && size_bytes <= limit - offset;
}

/* The tables' sizes, before libelf takes memory for them: it believes a count in section 0 that
 * the file's length allows, and a sparse file allows anything. */
static int check_tables(const struct ng_elf *elf, struct ng_diag *diag)
{
	Elf64_Ehdr header;
	Elf64_Shdr first;
	uint64_t count;

	if (pread_all(elf->fd, &header, sizeof(header), 0))
		return ng_diag_set(
			diag, -ENOEXEC, "it is truncated: even its ELF header is cut off");
	if (header.e_phnum && header.e_phentsize != sizeof(Elf64_Phdr))
		return damaged(diag, "program headers of a wrong size");
	if (!header.e_shoff)
		return 0;
	count = header.e_shnum ? header.e_shnum : 1;
	if (!lies_within(header.e_shoff, count * sizeof(Elf64_Shdr), elf->file_bytes))
		return ng_diag_set(diag, -ENOEXEC,
			"it is truncated: its section headers lie beyond the file's end (%llu "
			"bytes)",
			(unsigned long long)elf->file_bytes);
	if (header.e_shnum)
		return 0;
	if (pread_all(elf->fd, &first, sizeof(first), header.e_shoff))
		return ng_diag_set(diag, -ENOEXEC, "it is truncated: its section headers are gone");
	return first.sh_size > SECTIONS_MAX ? damaged(diag, "too many sections") : 0;
}

static int add_segment(struct ng_elf *elf, const GElf_Phdr *header, struct ng_diag *diag)
{
	uint64_t end;

	if (header->p_type == PT_INTERP)
		elf->has_interpreter = true;
	if (header->p_type == PT_TLS)
		elf->tls = (struct ng_elf_tls){.address = header->p_vaddr,
			.size_bytes = header->p_memsz,
			.alignment = header->p_align};
	if (header->p_type != PT_LOAD || !header->p_memsz)
		return 0;
	if (elf->segment_count == NG_ELF_SEGMENTS_MAX)
		return damaged(diag, "too many segments");
	if (header->p_filesz > header->p_memsz ||
		__builtin_add_overflow(header->p_vaddr, header->p_memsz, &end) || end >> 47)
		return damaged(diag, "a segment's addresses are impossible");
	if (!lies_within(header->p_offset, header->p_filesz, elf->file_bytes))
		return ng_diag_set(diag, -ENOEXEC,
			"it is truncated: a segment ends beyond the file (%llu bytes)",
			(unsigned long long)elf->file_bytes);
	elf->loaded_bytes += header->p_filesz;
	if (elf->loaded_bytes > LOADED_BYTES_MAX)
		return ng_diag_set(diag, -E2BIG,
			"its segments are too large to be true: more than %llu bytes",
			LOADED_BYTES_MAX);
	for (size_t i = 0; i < elf->segment_count; i++) {
		const struct ng_segment *other = &elf->segments[i];

		if (header->p_vaddr < other->address + other->memory_bytes && other->address < end)
			return damaged(diag, "its segments overlap");
	}
	elf->segments[elf->segment_count++] = (struct ng_segment){
		.address = header->p_vaddr,
		.offset = header->p_offset,
		.file_bytes = header->p_filesz,
		.memory_bytes = header->p_memsz,
		.executable = header->p_flags & PF_X,
		.writable = header->p_flags & PF_W,
	};
	return 0;
}

static int read_segments(struct ng_elf *elf, Elf *handle, struct ng_diag *diag)
{
	size_t count;
	int error = 0;

	if (elf_getphdrnum(handle, &count))
		return damaged(diag, "no program headers");
	if (!count || count > 4096)
		return damaged(diag, count ? "too many program headers" : "no program headers");
	for (size_t i = 0; !error && i < count; i++) {
		GElf_Phdr header;

		if (!gelf_getphdr(handle, (int)i, &header))
			return ng_diag_set(
				diag, -ENOEXEC, "it is truncated: its program headers are cut off");
		error = add_segment(elf, &header, diag);
	}
	if (!error && !elf->segment_count)
		return damaged(diag, "nothing in it is loaded");
	return error;
}

/* libelf would take as much memory for the names as the file says, and more than once. */
static int name_sections(struct ng_elf *elf, const uint32_t *places, size_t names_index)
{
	struct ng_blob names = NG_BLOB_INIT;
	int error;

	if (names_index >= elf->section_count)
		return 0;
	if (elf->sections[names_index].size_bytes > SECTION_NAMES_MAX)
		return -E2BIG;
	error = ng_elf_load(elf, &elf->sections[names_index], &names);
	for (size_t i = 0; !error && i < elf->section_count; i++) {
		struct ng_section *section = &elf->sections[i];

		if (section->type != SHT_NULL && places[i] < names.size_bytes)
			(void)snprintf(section->name, sizeof(section->name), "%.*s",
				(int)sizeof(section->name) - 1,
				(const char *)names.bytes + places[i]); /* cut where longer */
	}
	elf->memory_bytes -= names.size_bytes;
	ng_blob_release(&names);
	return error;
}

/* A stripped or hand-made file may have no sections, or bad ones; those are then passed over. */
static int read_sections(struct ng_elf *elf, Elf *handle)
{
	NG_CLEANUP_FREE uint32_t *places = NULL; /* of their names */
	size_t count, names;

	if (elf_getshdrnum(handle, &count) || elf_getshdrstrndx(handle, &names) ||
		count > SECTIONS_MAX)
		return 0;
	places = calloc(count + 1, sizeof(*places));
	if (!places)
		return -ENOMEM;
	elf->sections = calloc(count + 1, sizeof(*elf->sections));
	if (!elf->sections)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct ng_section *section = &elf->sections[i]; /* by index: links need it */
		Elf_Scn *scn = elf_getscn(handle, i);
		GElf_Shdr header;

		elf->section_count = i + 1;
		if (!scn || !gelf_getshdr(scn, &header) || header.sh_type == SHT_NOBITS ||
			header.sh_type == SHT_NULL || (header.sh_flags & SHF_COMPRESSED) ||
			!lies_within(header.sh_offset, header.sh_size, elf->file_bytes))
			continue;
		places[i] = header.sh_name;
		section->address = header.sh_addr;
		section->offset = header.sh_offset;
		section->size_bytes = header.sh_size;
		section->type = header.sh_type;
		section->link = header.sh_link;
	}
	return name_sections(elf, places, names);
}

int ng_elf_open(struct ng_elf *elf, int fd, struct ng_diag *diag)
{
	struct stat file;
	GElf_Ehdr header;
	Elf *handle;
	int error;

	*elf = (struct ng_elf){.fd = fd};
	if (fstat(fd, &file))
		return ng_diag_set(diag, -errno, "it cannot be read: %s", strerror(errno));
	if (!S_ISREG(file.st_mode))
		return ng_diag_set(diag, -ENOEXEC, "it is not a file, but %s",
			S_ISDIR(file.st_mode) ? "a folder" : "a device, pipe or socket");
	elf->file_bytes = (uint64_t)file.st_size;
	error = check_ident(fd, diag);
	if (error)
		return error;
	error = check_tables(elf, diag);
	if (error)
		return error;
	(void)elf_version(EV_CURRENT); /* the version that we are built with: always known */
	handle = elf_begin(fd, ELF_C_READ, NULL);
	if (!handle || !gelf_getehdr(handle, &header)) {
		error = damaged(diag, elf_errmsg(-1));
	} else {
		elf->is_dynamic = header.e_type == ET_DYN;
		error = read_segments(elf, handle, diag);
		if (!error)
			error = read_sections(elf, handle);
		if (error)
			(void)ng_diag_set(diag, error, "its sections cannot be read: %s",
				error == -E2BIG ? "they are too large to be true"
						: strerror(-error));
	}
	elf_end(handle);
	if (error) {
		free(elf->sections);
		elf->sections = NULL;
	}
	return error;
}

void ng_elf_close(struct ng_elf *elf)
{
	free(elf->sections);
	if (elf->fd >= 0)
		close(elf->fd);
	elf->fd = -1;
}

const struct ng_section *ng_elf_section(const struct ng_elf *elf, const char *name)
{
	for (size_t i = 0; i < elf->section_count; i++) {
		if (!strcmp(elf->sections[i].name, name))
			return &elf->sections[i];
	}
	return NULL;
}

void ng_blob_release(struct ng_blob *blob)
{
	free(blob->bytes);
	*blob = (struct ng_blob)NG_BLOB_INIT;
}

int ng_elf_load(struct ng_elf *elf, const struct ng_section *section, struct ng_blob *ret_blob)
{
	const size_t size_bytes = (size_t)section->size_bytes;
	uint8_t *bytes;
	int error;

	if (section->size_bytes > NG_ELF_CONTENTS_MAX - elf->memory_bytes)
		return -E2BIG;
	bytes = malloc(size_bytes + 1); /* one more: texts at the end are terminated by it */
	if (!bytes)
		return -ENOMEM;
	error = pread_all(elf->fd, bytes, size_bytes, section->offset);
	if (error) {
		free(bytes);
		return error;
	}
	bytes[size_bytes] = 0;
	elf->memory_bytes += size_bytes;
	*ret_blob = (struct ng_blob){
		.bytes = bytes, .size_bytes = size_bytes, .address = section->address};
	return 0;
}

int64_t ng_elf_read(const struct ng_elf *elf, uint64_t address, void *buffer, size_t size_bytes)
{
	for (size_t i = 0; i < elf->segment_count; i++) {
		const struct ng_segment *segment = &elf->segments[i];
		uint64_t rest;
		int error;

		if (address < segment->address || address - segment->address >= segment->file_bytes)
			continue;
		rest = segment->file_bytes - (address - segment->address);
		if (size_bytes > rest)
			size_bytes = (size_t)rest;
		error = pread_all(elf->fd, buffer, size_bytes,
			segment->offset + (address - segment->address));
		return error ? error : (int64_t)size_bytes;
	}
	return -EFAULT;
}

int ng_elf_read_all(const struct ng_elf *elf, uint64_t address, void *buffer, size_t size_bytes)
{
	int64_t length = ng_elf_read(elf, address, buffer, size_bytes);

	if (length < 0)
		return (int)length;
	return (size_t)length == size_bytes ? 0 : -EFAULT;
}

int ng_elf_scan(const struct ng_elf *elf, const struct ng_segment *segment, size_t match_bytes,
	ng_elf_on_chunk on_chunk, void *context)
{
	/* Matches are aligned, and a segment need not be. */
	const uint64_t skipped = -segment->address % NG_ELF_SCAN_ALIGNMENT;
	const uint64_t start = segment->address + skipped;
	const size_t step = (CHUNK_BYTES - match_bytes) & ~(size_t)(NG_ELF_SCAN_ALIGNMENT - 1);
	NG_CLEANUP_FREE uint8_t *chunk = NULL;
	uint64_t rest;

	if (segment->file_bytes < skipped + match_bytes)
		return -ENOENT;
	rest = segment->file_bytes - skipped;
	chunk = malloc(rest < CHUNK_BYTES ? (size_t)rest : CHUNK_BYTES);
	if (!chunk)
		return -ENOMEM;
	for (uint64_t at = 0; at < rest; at += step) {
		uint64_t wanted = rest - at < CHUNK_BYTES ? rest - at : CHUNK_BYTES;
		int64_t length = ng_elf_read(elf, start + at, chunk, (size_t)wanted);

		if (length < 0)
			return (int)length;
		if (on_chunk(chunk, (size_t)length, start + at, context))
			return 0;
	}
	return -ENOENT;
}

const struct ng_segment *ng_elf_text_segment(const struct ng_elf *elf, uint64_t address)
{
	for (size_t i = 0; i < elf->segment_count; i++) {
		const struct ng_segment *segment = &elf->segments[i];

		if (segment->executable && address >= segment->address &&
			address - segment->address < segment->file_bytes)
			return segment;
	}
	return NULL;
}
