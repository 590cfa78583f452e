#include "core/out/blobs.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void ng_blobs_release(struct ng_blobs *blobs)
{
	ng_intern_release(&blobs->keys);
	ng_buffer_release(&blobs->bytes);
	free(blobs->blobs);
	*blobs = (struct ng_blobs){0};
}

int ng_blobs_number(struct ng_blobs *blobs, const void *key, size_t length, uint32_t *ret_number)
{
	const int error = ng_intern_add(&blobs->keys, key, length, ret_number);
	const uint32_t room = blobs->keys.room; /* at least as many as there are keys */
	struct ng_blob *grown;

	if (error || blobs->room == room)
		return error;
	grown = reallocarray(blobs->blobs, room, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	memset(grown + blobs->room, 0, (room - blobs->room) * sizeof(*grown));
	blobs->blobs = grown;
	blobs->room = room;
	return 0;
}

const char *ng_blobs_get(const struct ng_blobs *blobs, uint32_t number, size_t *ret_length)
{
	const struct ng_blob *blob = &blobs->blobs[number];

	*ret_length = blob->length;
	return blob->length ? blobs->bytes.text + blob->begin : NULL;
}

int ng_blobs_keep(struct ng_blobs *blobs, uint32_t number, const void *bytes, size_t length)
{
	const size_t begin = blobs->bytes.length;
	int error;

	assert(length && !blobs->blobs[number].length);
	ng_buffer_put(&blobs->bytes, bytes, length);
	error = blobs->bytes.error;
	blobs->bytes.error = 0; /* what is there is whole */
	if (!error)
		blobs->blobs[number] = (struct ng_blob){begin, length};
	return error;
}
