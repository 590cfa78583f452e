/*
 * Go's own function table, which survives stripping: names, addresses, and which code was inlined
 * from where. Layouts of Go 1.16 to 1.27. Source: Go's runtime/symtab.go,
 * cmd/link/internal/ld/pcln.go and debug/gosym.
 */
#ifndef NG_CORE_IMAGE_GOPCLNTAB_H
#define NG_CORE_IMAGE_GOPCLNTAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/diag.h"
#include "core/image/elf.h"

/** Layouts, by the Go version that brought them. */
enum ng_pclntab_layout {
	NG_PCLNTAB_1_16,
	NG_PCLNTAB_1_18,
	NG_PCLNTAB_1_20,
};

struct ng_pclntab {
	struct ng_blob blob;
	enum ng_pclntab_layout layout;
	uint32_t function_count;
	uint64_t text;	     /* address that entries count from */
	uint64_t gofunc;     /* address of go:func.*, where inline trees are; 0: not known */
	uint64_t code_start; /* the segment that holds the functions, as far as the file does */
	uint64_t code_end;
	int wrapper_id; /* funcID of wrappers, which is another in each version; -1: not known */
	/* Offsets in the blob, each within it: */
	size_t names;
	size_t units; /* compilation units: for each of its files, where the path is */
	size_t files; /* paths */
	size_t pc_tables;
	size_t functions;
};

/**
 * Finds and reads the table.
 *
 * @param go_minor N of go1.N, 0 where it is not known
 * @return 0; -ENOENT where there is none; -EINVAL where it is damaged (with the text); -E2BIG,
 * -ENOMEM, -EIO
 */
int ng_pclntab_open(
	struct ng_pclntab *table, struct ng_elf *elf, unsigned int go_minor, struct ng_diag *diag);
void ng_pclntab_close(struct ng_pclntab *table);

/** One function of the table. */
struct ng_pclntab_function {
	const char *name; /* in the table; "" where it cannot be read */
	uint64_t entry;
	uint64_t end;  /* the next one's entry */
	size_t record; /* offset of its record in the blob */
};

/** @return false where the index's entry is damaged, or lies outside the code: pass it over */
bool ng_pclntab_function(
	const struct ng_pclntab *table, uint32_t index, struct ng_pclntab_function *ret_function);

/** Called with each stretch of a function's code that was inlined: [start, end) and the innermost
 * inlined function's name. @return 0 to go on */
typedef int (*ng_pclntab_on_inlined)(const struct ng_pclntab_function *function, uint64_t start,
	uint64_t end, int32_t tree_index, const char *name, void *context);

/**
 * Walks the inlined code of all functions.
 *
 * @param ret_steps how much work it was; set on success
 * @return 0; -ENODATA where the inline trees cannot be found; -EINVAL where they are damaged;
 * -ENOMEM; what the callback gave
 */
int ng_pclntab_walk_inlined(const struct ng_pclntab *table, const struct ng_elf *elf,
	ng_pclntab_on_inlined on_inlined, void *context, uint64_t *ret_steps);

#endif
