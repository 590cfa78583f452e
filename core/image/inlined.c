#include "core/image/image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/image/symbols.h"

#define RANGES_MAX     (256u << 10)
#define NAME_BYTES_MAX (16u << 20) /* of all ranges' callers together */

void ng_inlined_release(struct ng_inlined *inlined)
{
	for (size_t i = 0; i < inlined->count; i++) {
		free(inlined->items[i].caller.name);
		free(inlined->items[i].name);
	}
	free(inlined->items);
	*inlined = (struct ng_inlined)NG_INLINED_INIT;
}

/* A walk for the inlined copies of one function. */
struct inlined_search {
	const char *name;
	bool glob;
	struct ng_inlined found;
	size_t room;
	size_t name_bytes;
};

static struct ng_inlined_range *grow(struct inlined_search *search)
{
	size_t room = search->room ? 2 * search->room : 8;
	struct ng_inlined_range *grown;

	if (search->found.count == search->room) {
		grown = reallocarray(search->found.items, room, sizeof(*grown));
		if (!grown)
			return NULL;
		search->found.items = grown;
		search->room = room;
	}
	return &search->found.items[search->found.count];
}

/* Up to Go 1.20 the tree itself has "[...]". */
static bool matches(const struct inlined_search *search, const char *name)
{
	if (!name[0])
		return false; /* it cannot be read */
	if (search->glob)
		return ng_symbols_match_glob(name, search->name);
	return ng_symbols_match(name, search->name) ||
	       (strstr(name, "[...]") && ng_symbols_match(search->name, name));
}

static int collect(const struct ng_pclntab_function *function, uint64_t start, uint64_t end,
	int32_t tree_index, const char *name, void *context)
{
	struct inlined_search *search = context;
	struct ng_inlined_range *range;
	char *caller, *copy;

	if (!matches(search, name))
		return 0;
	if (search->found.count == RANGES_MAX || search->name_bytes > NAME_BYTES_MAX)
		return -E2BIG;
	range = grow(search);
	caller = range ? strndup(function->name, NG_IMAGE_NAME_MAX) : NULL;
	copy = caller ? strndup(name, NG_IMAGE_NAME_MAX) : NULL;
	if (!copy) {
		free(caller);
		return -ENOMEM;
	}
	search->name_bytes += strlen(caller) + strlen(copy);
	*range = (struct ng_inlined_range){
		.caller = {.name = caller,
			.address = function->entry,
			.size_bytes = function->end - function->entry,
			.source = NG_NAME_PCLNTAB},
		.name = copy,
		.start = start,
		.end = end,
		.tree_index = tree_index,
	};
	search->found.count++;
	return 0;
}

static int by_copy(const void *a, const void *b)
{
	const struct ng_inlined_range *first = a, *second = b;

	if (first->caller.address != second->caller.address)
		return first->caller.address < second->caller.address ? -1 : 1;
	return (first->tree_index > second->tree_index) - (first->tree_index < second->tree_index);
}

static int by_start(const void *a, const void *b)
{
	const struct ng_inlined_range *first = a, *second = b;

	if (first->start != second->start)
		return first->start < second->start ? -1 : 1;
	return (first->copy > second->copy) - (first->copy < second->copy);
}

/* The stretches of one copy share their entry in their caller's tree. */
static void number_copies(struct ng_inlined *found)
{
	if (!found->count)
		return;
	qsort(found->items, found->count, sizeof(*found->items), by_copy);
	for (size_t i = 0; i < found->count; i++) {
		if (i && by_copy(&found->items[i - 1], &found->items[i]))
			found->copy_count++;
		found->items[i].copy = (uint32_t)found->copy_count;
	}
	found->copy_count++;
	qsort(found->items, found->count, sizeof(*found->items), by_start);
}

int ng_image_inlined(const struct ng_image *image, const char *name, struct ng_inlined *ret_inlined,
	struct ng_diag *diag)
{
	struct inlined_search search = {.name = name, .found = NG_INLINED_INIT};
	uint64_t steps;
	int error;

	if (!image->info.has_pclntab)
		return ng_diag_set(diag, -ENODATA,
			"inlined copies of %s cannot be looked for: no function table of Go's",
			name);
	if (image->pclntab.layout == NG_PCLNTAB_1_16)
		return ng_diag_set(diag, -ENODATA,
			"inlined copies of %s cannot be looked for: Go 1.16 and 1.17 note them in "
			"another way; build with Go 1.18 or newer",
			name);
	error = ng_pclntab_walk_inlined(&image->pclntab, &image->elf, collect, &search, &steps);
	if (!error && !search.found.count && ng_symbols_is_glob(name)) {
		uint64_t more = 0;

		search.glob = true;
		error = ng_pclntab_walk_inlined(
			&image->pclntab, &image->elf, collect, &search, &more);
		steps += more;
	}
	if (!error) {
		number_copies(&search.found);
		*ret_inlined = search.found;
		ret_inlined->steps = steps;
		return 0;
	}
	ng_inlined_release(&search.found);
	if (error == -ENOMEM)
		return error;
	if (error == -E2BIG)
		return ng_diag_set(diag, error,
			"%s was inlined in more than %u places: trace its callers", name,
			RANGES_MAX);
	return ng_diag_set(diag, -ENODATA,
		"inlined copies of %s cannot be looked for: the inline trees cannot be read", name);
}
