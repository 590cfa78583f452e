/* Bytes that were made once for a key, kept to be copied: a dictionary that only grows. */
#ifndef NG_CORE_OUT_BLOBS_H
#define NG_CORE_OUT_BLOBS_H

#include <stddef.h>
#include <stdint.h>

#include "core/out/buffer.h"
#include "core/out/intern.h"

/** Zeroed it is empty. One thread uses it at a time. */
struct ng_blobs {
	struct ng_intern keys;
	struct ng_blob *blobs; /* by number of their key */
	uint32_t room;
	struct ng_buffer bytes; /* of all */
};

struct ng_blob {
	size_t begin;
	size_t length; /* 0: it is not made yet */
};

void ng_blobs_release(struct ng_blobs *blobs);

/**
 * The key's number, for the next two.
 *
 * @return 0; -ENOMEM; -E2BIG as ng_intern_add()
 */
int ng_blobs_number(struct ng_blobs *blobs, const void *key, size_t length, uint32_t *ret_number);

/** @return what is kept, until something is added; NULL: nothing yet */
const char *ng_blobs_get(const struct ng_blobs *blobs, uint32_t number, size_t *ret_length);

/**
 * Keeps a copy for a key that has none.
 *
 * @param length not 0
 * @return 0; -ENOMEM
 */
int ng_blobs_keep(struct ng_blobs *blobs, uint32_t number, const void *bytes, size_t length);

#endif
