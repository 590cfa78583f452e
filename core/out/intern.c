#include "core/out/intern.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_MAX (1u << 31)

void ng_intern_release(struct ng_intern *intern)
{
	for (uint32_t i = 0; i < intern->count; i++)
		free(intern->entries[i].bytes);
	free(intern->entries);
	free(intern->index);
	*intern = (struct ng_intern){0};
}

/* FNV-1a, 64 bits (Fowler, Noll, Vo); its low bits are the better mixed ones. */
static uint64_t hash_of(const unsigned char *bytes, size_t length)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (size_t i = 0; i < length; i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3;
	return hash ^ hash >> 32;
}

static bool is_same(const struct ng_interned *one, const struct ng_interned *other)
{
	return one->hash == other->hash && one->length == other->length &&
	       (!one->length || !memcmp(one->bytes, other->bytes, one->length));
}

/* The entry's place in the index, or the free one where it belongs. */
static uint32_t *index_at(const struct ng_intern *intern, const struct ng_interned *entry)
{
	const size_t mask = intern->index_size - 1;
	size_t i = entry->hash & mask;

	while (intern->index[i] && !is_same(&intern->entries[intern->index[i] - 1], entry))
		i = (i + 1) & mask;
	return &intern->index[i];
}

static int grow(struct ng_intern *intern)
{
	const uint32_t room = intern->room ? 2 * intern->room : 64;
	struct ng_interned *entries;
	uint32_t *index;

	if (room > COUNT_MAX)
		return -E2BIG;
	entries = reallocarray(intern->entries, room, sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	intern->entries = entries;
	index = calloc(2 * (size_t)room, sizeof(*index));
	if (!index)
		return -ENOMEM;
	free(intern->index);
	intern->index = index;
	intern->index_size = 2 * (size_t)room;
	intern->room = room;
	for (uint32_t i = 0; i < intern->count; i++)
		*index_at(intern, &entries[i]) = i + 1;
	return 0;
}

int ng_intern_add(struct ng_intern *intern, const void *bytes, size_t length, uint32_t *ret_number)
{
	struct ng_interned entry = {.bytes = (char *)bytes, .length = length};
	uint32_t *place;

	if (intern->count == intern->room) {
		int error = grow(intern);

		if (error)
			return error;
	}
	assert(intern->index && intern->entries);
	entry.hash = hash_of(bytes, length);
	place = index_at(intern, &entry);
	if (!*place && intern->count_max && intern->count == intern->count_max)
		return -E2BIG;
	if (!*place) {
		entry.bytes = malloc(length + 1);
		if (!entry.bytes)
			return -ENOMEM;
		if (length)
			memcpy(entry.bytes, bytes, length);
		entry.bytes[length] = '\0';
		intern->entries[intern->count++] = entry;
		*place = intern->count;
	}
	*ret_number = *place - 1;
	return 0;
}

int ng_intern_add_text(struct ng_intern *intern, const char *text, uint32_t *ret_number)
{
	return ng_intern_add(intern, text, strlen(text), ret_number);
}
