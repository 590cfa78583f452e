/*
 * The parts of an ELF file that matter here, copied out of it and checked. libelf reads the
 * headers; the contents are read by descriptor into memory of our own, never mapped: a file may be
 * cut short while we read it, and a mapping would then kill us.
 */
#ifndef NG_CORE_IMAGE_ELF_H
#define NG_CORE_IMAGE_ELF_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/diag.h"

#define NG_ELF_SEGMENTS_MAX	128
#define NG_ELF_SECTION_NAME_MAX 40
/* Bytes of contents in memory; of NG_IMAGE_MEMORY_MAX the rest is for what is made of them. */
#define NG_ELF_CONTENTS_MAX (160u << 20)

/** A PT_LOAD segment. No two numbers in it add up to more than 64 bits, the file's part lies within
 * the file, and no other segment has any of its addresses: what is decoded is what is probed. */
struct ng_segment {
	uint64_t address;
	uint64_t offset;
	uint64_t file_bytes;
	uint64_t memory_bytes;
	bool executable;
	bool writable;
};

/** A PT_TLS segment: what each thread has of its own. As the file says, unchecked. */
struct ng_elf_tls {
	uint64_t address;
	uint64_t size_bytes; /* 0: there is none */
	uint64_t alignment;
};

struct ng_section {
	char name[NG_ELF_SECTION_NAME_MAX]; /* cut where it is longer */
	uint64_t address;
	uint64_t offset;
	uint64_t size_bytes;
	uint32_t type;
	uint32_t link;
};

struct ng_elf {
	int fd;
	uint64_t file_bytes;
	bool is_dynamic;      /* ET_DYN */
	bool has_interpreter; /* PT_INTERP: a program, loaded by ld.so */
	struct ng_elf_tls tls;
	struct ng_segment segments[NG_ELF_SEGMENTS_MAX];
	size_t segment_count;
	uint64_t loaded_bytes;	     /* of the file, by all segments */
	struct ng_section *sections; /* those with contents in the file */
	size_t section_count;
	size_t memory_bytes; /* taken by contents read so far */
};

/** Reads the headers. Takes fd on success only. Errors as ng_image_open(). */
int ng_elf_open(struct ng_elf *elf, int fd, struct ng_diag *diag);
void ng_elf_close(struct ng_elf *elf);

/** @return NULL where there is none */
const struct ng_section *ng_elf_section(const struct ng_elf *elf, const char *name);

/** A part of the file in memory. */
struct ng_blob {
	uint8_t *bytes;
	size_t size_bytes;
	uint64_t address; /* virtual, of bytes[0]; 0 where it has none */
};

#define NG_BLOB_INIT                                                                               \
	{                                                                                          \
		.bytes = NULL, .size_bytes = 0, .address = 0                                       \
	}

void ng_blob_release(struct ng_blob *blob);

/** Reads a section whole. @return 0; -E2BIG over NG_ELF_CONTENTS_MAX in all; -EIO cut short;
 * -ENOMEM */
int ng_elf_load(struct ng_elf *elf, const struct ng_section *section, struct ng_blob *ret_blob);

/** Reads up to size_bytes at an address. @return the count; -EFAULT where no segment holds it; -EIO
 */
int64_t ng_elf_read(const struct ng_elf *elf, uint64_t address, void *buffer, size_t size_bytes);

/** Reads exactly size_bytes at an address. @return 0; -EFAULT; -EIO */
int ng_elf_read_all(const struct ng_elf *elf, uint64_t address, void *buffer, size_t size_bytes);

#define NG_ELF_SCAN_ALIGNMENT 16 /* bytes; of each chunk's address */

/** Sees a part of a segment. @return true where it found what was looked for */
typedef bool (*ng_elf_on_chunk)(
	const uint8_t *bytes, size_t size_bytes, uint64_t address, void *context);

/**
 * Shows a segment's file part in chunks that overlap by what a match needs.
 *
 * @param match_bytes less than 4096
 * @return 0 found; -ENOENT; -ENOMEM; -EIO
 */
int ng_elf_scan(const struct ng_elf *elf, const struct ng_segment *segment, size_t match_bytes,
	ng_elf_on_chunk on_chunk, void *context);

/** The executable segment whose file part holds an address, or NULL. */
const struct ng_segment *ng_elf_text_segment(const struct ng_elf *elf, uint64_t address);

#endif
