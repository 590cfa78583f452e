/* Numbers for things that are the same: each distinct string of bytes gets the next one. */
#ifndef NG_CORE_OUT_INTERN_H
#define NG_CORE_OUT_INTERN_H

#include <stddef.h>
#include <stdint.h>

/** Zeroed it is empty. It keeps copies; one thread uses it at a time. */
struct ng_intern {
	struct ng_interned *entries;
	uint32_t count;
	uint32_t room;
	uint32_t *index; /* by hash: place in entries + 1, 0 if free; open addressing */
	size_t index_size;
	uint32_t count_max; /* set by its user: no more than these; 0: 2^31 */
};

struct ng_interned {
	char *bytes; /* and a NUL behind them */
	size_t length;
	uint64_t hash;
};

void ng_intern_release(struct ng_intern *intern);

/**
 * The number of these bytes.
 *
 * @param bytes may be NULL where the length is 0
 * @param ret_number 0 for the first that were added, and so on: it is new where that is what
 *        intern->count was before
 * @return 0; -ENOMEM; -E2BIG: it is new, and there are count_max
 */
int ng_intern_add(struct ng_intern *intern, const void *bytes, size_t length, uint32_t *ret_number);

/** A string's, without its NUL. */
int ng_intern_add_text(struct ng_intern *intern, const char *text, uint32_t *ret_number);

#endif
