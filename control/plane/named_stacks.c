#include "control/plane/named_stacks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/out/intern.h"

struct ng_named_stacks {
	struct ng_namer *namer;
	struct ng_intern keys;	/* process, site and frames */
	struct ng_named *items; /* by number of their key */
	size_t room;
};

struct ng_named_stacks *ng_named_stacks_new(
	const struct ng_namer_source *source, uint32_t count_max)
{
	struct ng_named_stacks *stacks = calloc(1, sizeof(*stacks));

	if (!stacks)
		return NULL;
	stacks->keys.count_max = count_max;
	stacks->namer = ng_namer_new(source);
	if (!stacks->namer) {
		free(stacks);
		return NULL;
	}
	return stacks;
}

void ng_named_stacks_free(struct ng_named_stacks *stacks)
{
	if (!stacks)
		return;
	ng_namer_free(stacks->namer);
	ng_intern_release(&stacks->keys);
	free(stacks->items);
	free(stacks);
}

/* There is room for one more. @return 0; -ENOMEM */
static int make_room(struct ng_named_stacks *stacks)
{
	const size_t room = stacks->room ? 2 * stacks->room : 256;
	struct ng_named *grown;

	if (stacks->keys.count < stacks->room)
		return 0;
	grown = reallocarray(stacks->items, room, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	stacks->items = grown;
	stacks->room = room;
	return 0;
}

/* @return 0; -ENOMEM; -E2BIG */
static int number_of(
	struct ng_named_stacks *stacks, const struct ng_call *call, uint32_t *ret_number)
{
	struct {
		struct ng_count_key process;
		uint64_t frames[NG_RECORD_FRAMES_MAX];
	} key;
	const size_t frame_bytes = call->depth * sizeof(*call->frames);
	const uint32_t known = stacks->keys.count;
	int error = make_room(stacks);

	key.process = (struct ng_count_key){.start_ns = call->start_ns,
		.tgid = call->tgid,
		.exec_id = call->exec_id,
		.site = call->site};
	if (frame_bytes)
		memcpy(key.frames, call->frames, frame_bytes);
	if (!error)
		error = ng_intern_add(
			&stacks->keys, &key, sizeof(key.process) + frame_bytes, ret_number);
	if (!error && *ret_number == known) /* where memory is out, it has no frames */
		(void)ng_namer_add(stacks->namer, &key.process, call->frames, call->depth,
			&stacks->items[known]);
	return error;
}

int ng_named_stacks_of(struct ng_named_stacks *stacks, const struct ng_call *call,
	struct ng_named_stack *ret_stack)
{
	uint32_t number;
	int error = number_of(stacks, call, &number);

	if (error)
		return error;
	*ret_stack = (struct ng_named_stack){
		.number = number, .frame_count = stacks->items[number].count};
	if (ret_stack->frame_count)
		ret_stack->frames = ng_namer_frames(stacks->namer) + stacks->items[number].first;
	return 0;
}

uint32_t ng_named_stacks_count(const struct ng_named_stacks *stacks)
{
	return stacks->keys.count;
}
