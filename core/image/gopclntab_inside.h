/* What the readers of Go's function table share. Each offset is one in the table's blob. */
#ifndef NG_CORE_IMAGE_GOPCLNTAB_INSIDE_H
#define NG_CORE_IMAGE_GOPCLNTAB_INSIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/image/gopclntab.h"

bool ng_pclntab_fits(const struct ng_pclntab *table, size_t offset, size_t size_bytes);

/** It must fit. */
uint32_t ng_pclntab_u32(const struct ng_pclntab *table, size_t offset);

/** A name or a path: it is terminated within the blob, for its last byte and one more are 0.
 * @param base where they begin @return "" where the offset is none */
const char *ng_pclntab_text(const struct ng_pclntab *table, size_t base, uint32_t offset);

/** The entry address in row `index` of the function table; the row behind the last is its end. */
uint64_t ng_pclntab_entry(const struct ng_pclntab *table, uint32_t index);

/**
 * The funcID of wrappers. Methods that the compiler generates have it, and no file; an image
 * without any has nothing to leave out.
 *
 * @return -1 where there is none
 */
int ng_pclntab_wrapper_id(const struct ng_pclntab *table);

/** Which register convention a function's code follows. */
enum ng_pclntab_code {
	NG_PCLNTAB_FOREIGN,  /* not Go's: C, or nothing that the table knows */
	NG_PCLNTAB_INTERNAL, /* the compiler's, of Go 1.18 and newer: R14 is g all along */
	NG_PCLNTAB_OTHER,    /* assembly, a wrapper between conventions, or not told: up to 1.17 */
};

/** @param ret_name of the function that holds the address; "" where there is none */
enum ng_pclntab_code ng_pclntab_code_at(
	const struct ng_pclntab *table, uint64_t address, const char **ret_name);

/** One step through a pc-value table: a run of code with one value. Begin with the value -1, and
 * with the function's entry as the end. */
struct ng_pclntab_run {
	size_t at; /* offset of the next pair */
	uint64_t start;
	uint64_t end;
	int32_t value;
	bool started;
};

/** @return false at the table's end, and where it is damaged */
bool ng_pclntab_next_run(const struct ng_pclntab *table, struct ng_pclntab_run *run);

/** Where a function's inline tree is, and its inline index table. */
struct ng_pclntab_inline_data {
	uint64_t tree;	 /* address */
	size_t pc_table; /* offset */
};

/** Go 1.18 and newer. @return false: nothing is inlined into it */
bool ng_pclntab_inline_data(const struct ng_pclntab *table,
	const struct ng_pclntab_function *function, struct ng_pclntab_inline_data *ret_data);

#endif
