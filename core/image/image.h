/*
 * An executable or shared object, read from a descriptor: what it is, where its functions are.
 *
 * The file is input, not fact: each size, offset and count in it is checked before it is used, and
 * a hostile file gets an error, in bounded memory and time. Nothing here prints, forks, or needs a
 * privilege, so all of it can run in a child without any.
 */
#ifndef NG_CORE_IMAGE_IMAGE_H
#define NG_CORE_IMAGE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/diag.h"

#define NG_IMAGE_MEMORY_MAX (256u << 20) /* bytes that reading one image may take */
#define NG_IMAGE_NAME_MAX   4096	 /* bytes; a longer function name is passed over */

struct ng_image;

/** Facts about an image; the texts belong to the image and live as long as it does. */
struct ng_image_info {
	bool is_go;	  /* has Go build information or a Go function table */
	bool is_pie;	  /* ET_DYN: a position-independent executable or a shared object */
	bool is_pgo;	  /* Go, built with a profile: functions may be inlined into hot callers */
	bool has_symtab;  /* .symtab is there: not stripped */
	bool has_pclntab; /* Go's function table was found and understood */
	const char *go_version;	 /* "go1.24.4", or "" where it is not known */
	const char *module_path; /* "example.com/m", or "" */
	const char *build_id;	 /* the linker's, in hex digits, or "" */
};

/** Where a function's name was found. */
enum ng_name_source {
	NG_NAME_SYMTAB,
	NG_NAME_DYNSYM,
	NG_NAME_PCLNTAB,
	NG_NAME_SIGNATURE, /* by the bytes of its body: no name was there to find */
};

/** One function in the image. Addresses are virtual, as linked (without a PIE's load bias). */
struct ng_function {
	char *name; /* owned by the list it stands in */
	uint64_t address;
	uint64_t size_bytes; /* never 0 and never beyond its segment; up to the next function's
				start where the file does not say */
	enum ng_name_source source;
};

struct ng_functions {
	struct ng_function *items; /* by address, each address once */
	size_t count;
};

#define NG_FUNCTIONS_INIT                                                                          \
	{                                                                                          \
		.items = NULL, .count = 0                                                          \
	}

void ng_functions_release(struct ng_functions *functions);

/**
 * One stretch of code that an inlined copy of a function was compiled to.
 * A copy may consist of several stretches; they share `copy`.
 */
struct ng_inlined_range {
	struct ng_function
		caller; /* the physical function that the copy stands in; name owned here */
	char *name;	/* the inlined function's, as the inline tree has it; owned here */
	uint64_t start; /* addresses, end not included */
	uint64_t end;
	uint32_t copy;	    /* number of the copy, from 0, by caller and entry */
	int32_t tree_index; /* its entry in the caller's inline tree */
};

struct ng_inlined {
	struct ng_inlined_range *items; /* by start address */
	size_t count;
	size_t copy_count;
	uint64_t steps; /* that looking for them took, about 10 ns each */
};

#define NG_INLINED_INIT                                                                            \
	{                                                                                          \
		.items = NULL, .count = 0, .copy_count = 0, .steps = 0                             \
	}

void ng_inlined_release(struct ng_inlined *inlined);

/**
 * Opens the ELF file behind a descriptor.
 *
 * The descriptor is duplicated (O_CLOEXEC): the caller keeps its own. The image is immutable
 * afterwards, and any number of threads may read it.
 *
 * Errors, each with its text: -ENOEXEC not an ELF file, truncated, a script ("#!"), a core or
 * object file; -EINVAL a damaged header; -ENOTSUP 32-bit, big-endian or another architecture than
 * x86-64; -E2BIG its tables, or what it loads, are too large to be true; -ENOMEM; or what reading
 * gave.
 */
int ng_image_open(int fd, struct ng_image **ret_image, struct ng_diag *diag);
void ng_image_free(struct ng_image *image);

const struct ng_image_info *ng_image_info(const struct ng_image *image);

/** The image's own descriptor; open as long as the image is. */
int ng_image_fd(const struct ng_image *image);

/**
 * Finds functions by name.
 *
 * The pattern is a name as Go or the C compiler writes it ("time.Now", "net/http.(*conn).serve",
 * "main.Gen[...]", "clock_gettime", a mangled C++ name, or a plain one without parameters:
 * "ns::T::get", all overloads), compared as a whole; where no function has that name and it holds a
 * '*' (but not as in "(*T)") or a '?', it is a glob. "[...]" stands for any type arguments. A
 * name's ".abi0" suffix may be left out. Function symbols come from .symtab, else .dynsym; in a Go
 * image without .symtab from .gopclntab.
 *
 * @param ret_functions filled on success, at least one; release it
 * @return 0; -ENOENT no such function: the text lists near names, or says that it was inlined
 *         everywhere and into what; -ENOTSUP an IFUNC (the text says why); -E2BIG more than
 *         4096 matches; -EINVAL a damaged symbol table; -ENOMEM
 */
int ng_image_find(const struct ng_image *image, const char *pattern,
	struct ng_functions *ret_functions, struct ng_diag *diag);

/** The function that holds an address, from the same sources; its name is the caller's to free.
 * @return 0; -ENOENT where there is none; -EINVAL a damaged symbol table; -ENOMEM */
int ng_image_function_at(
	const struct ng_image *image, uint64_t address, struct ng_function *ret_function);

/** The same for many addresses, in ascending order, by one walk over all names.
 *
 * @param ret_functions count of them; without a name (NULL) where there is none
 * @return 0; -EINVAL a damaged symbol table; -ENOMEM: then none is filled */
int ng_image_functions_at(const struct ng_image *image, const uint64_t *addresses, size_t count,
	struct ng_function *ret_functions);

/**
 * Finds the code of every inlined copy of a function, by Go's inline trees.
 *
 * @param name as in the inline tree ("time.Now"), compared as a whole; "[...]" stands for any type
 *        arguments, also where the tree has it (up to Go 1.20); or a glob, as ng_image_find()
 * @param ret_inlined filled on success, perhaps empty; release it. A range is code whose innermost
 *        inlined function is `name`.
 * @return 0; -ENODATA not a Go image, or one whose inline trees cannot be read (the text says why:
 *         damaged, or of Go 1.16 or 1.17); -E2BIG more than 262144 ranges; -ENOMEM
 */
int ng_image_inlined(const struct ng_image *image, const char *name, struct ng_inlined *ret_inlined,
	struct ng_diag *diag);

/**
 * Reads bytes as they stand in the file, by virtual address.
 *
 * @return the count read: less than size_bytes only where the segment's file part ends; -EFAULT
 * where no segment of the file holds the address; or what reading gave
 */
int64_t ng_image_read(
	const struct ng_image *image, uint64_t address, void *buffer, size_t size_bytes);

/** The file offset of an address in an executable segment, or -EFAULT. */
int64_t ng_image_text_offset(const struct ng_image *image, uint64_t address);

/** Executable segments (virtual addresses), for those who scan all code. */
struct ng_text {
	uint64_t start;
	uint64_t size_bytes; /* the part that the file holds */
};

/** @return how many executable segments there are; fills at most max of them */
size_t ng_image_texts(const struct ng_image *image, struct ng_text *ret_texts, size_t max);

#endif
