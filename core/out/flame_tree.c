#include "core/out/flame_tree.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ROOT_NAME "all"

/* Hashed as bytes, so without padding. */
struct edge {
	uint32_t parent;
	uint32_t name;
};

static int add_node(struct ng_flame_tree *tree, struct edge edge, uint32_t depth)
{
	if (tree->count == tree->room) {
		const uint32_t room = tree->room ? 2 * tree->room : 256;
		struct ng_flame_node *nodes = reallocarray(tree->nodes, room, sizeof(*nodes));

		if (!nodes)
			return -ENOMEM;
		tree->nodes = nodes;
		tree->room = room;
	}
	tree->nodes[tree->count++] =
		(struct ng_flame_node){.parent = edge.parent, .name = edge.name, .depth = depth};
	return 0;
}

/* Finds the parent's child of that name, or makes it. */
static int find_child(struct ng_flame_tree *tree, struct edge edge, uint32_t *ret_child)
{
	uint32_t number;
	int error = ng_intern_add(&tree->edges, &edge, sizeof(edge), &number);

	if (error)
		return error;
	*ret_child = number + 1;
	if (*ret_child < tree->count)
		return 0;
	assert(*ret_child == tree->count);
	return add_node(tree, edge, tree->nodes[edge.parent].depth + 1);
}

static int add_stack(struct ng_flame_tree *tree, const struct ng_profile_stack *stack)
{
	size_t count;
	const struct ng_profile_frame *frames = ng_profile_stack_frames(stack, &count);
	struct edge edge = {.parent = 0};

	tree->nodes[0].calls += stack->calls;
	while (count-- > 0) {
		char room[NG_FRAME_NAME_SIZE];
		int error = ng_intern_add_text(
			&tree->names, ng_profile_frame_name(&frames[count], room), &edge.name);

		if (!error)
			error = find_child(tree, edge, &edge.parent);
		if (error)
			return error;
		tree->nodes[edge.parent].calls += stack->calls;
	}
	return 0;
}

static int compare(const void *left, const void *right, void *context)
{
	const struct ng_flame_tree *tree = context;
	const uint32_t places[] = {*(const uint32_t *)left, *(const uint32_t *)right};
	const struct ng_flame_node *a = &tree->nodes[places[0]], *b = &tree->nodes[places[1]];

	if (a->parent != b->parent)
		return a->parent < b->parent ? -1 : 1;
	if (a->calls != b->calls)
		return a->calls > b->calls ? -1 : 1;
	return places[0] < places[1] ? -1 : places[0] > places[1];
}

/* Siblings stand together and parents' places are the smaller ones: so a parent's start is known
 * when its children are reached, and nothing recurses. */
static int lay_out(struct ng_flame_tree *tree)
{
	uint32_t parent = 0;
	double start = 0;

	tree->order = calloc(tree->count, sizeof(*tree->order));
	if (!tree->order)
		return -ENOMEM;
	for (uint32_t i = 0; i < tree->count; i++)
		tree->order[i] = i;
	qsort_r(tree->order + 1, tree->count - 1, sizeof(*tree->order), compare, tree);
	for (uint32_t i = 1; i < tree->count; i++) {
		struct ng_flame_node *node = &tree->nodes[tree->order[i]];

		if (node->parent != parent) {
			parent = node->parent;
			start = tree->nodes[parent].start;
		}
		node->start = start;
		start += node->calls;
	}
	return 0;
}

int ng_flame_tree_build(struct ng_flame_tree *tree, const struct ng_profile *profile)
{
	struct edge root = {.parent = 0};
	int error = ng_intern_add_text(&tree->names, ROOT_NAME, &root.name);

	if (!error)
		error = add_node(tree, root, 0);
	for (size_t i = 0; i < profile->stack_count && !error; i++)
		error = add_stack(tree, &profile->stacks[i]);
	return error ? error : lay_out(tree);
}

void ng_flame_tree_release(struct ng_flame_tree *tree)
{
	free(tree->nodes);
	free(tree->order);
	ng_intern_release(&tree->names);
	ng_intern_release(&tree->edges);
	*tree = (struct ng_flame_tree){0};
}

const char *ng_flame_tree_name(const struct ng_flame_tree *tree, const struct ng_flame_node *node)
{
	return tree->names.entries[node->name].bytes;
}
