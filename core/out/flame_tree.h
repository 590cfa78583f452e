/* All stacks as one tree, laid out: what a flame graph draws. */
#ifndef NG_CORE_OUT_FLAME_TREE_H
#define NG_CORE_OUT_FLAME_TREE_H

#include <stddef.h>
#include <stdint.h>

#include "core/out/intern.h"
#include "core/out/profile.h"

struct ng_flame_node {
	uint32_t parent; /* its place; the root's own is 0 */
	uint32_t name;	 /* in the tree's names */
	uint32_t depth;	 /* 0: the root */
	double calls;	 /* with all it called */
	double start;	 /* calls left of it */
};

/** Zeroed it is empty. A parent's place is before its children's; the first one is the root. */
struct ng_flame_tree {
	struct ng_flame_node *nodes;
	uint32_t count;
	uint32_t room;
	uint32_t *order; /* places, so that siblings stand together, those with more calls first */
	struct ng_intern names;
	struct ng_intern edges; /* parent and name: the node's place - 1 */
};

/** @return 0; -ENOMEM; -E2BIG */
int ng_flame_tree_build(struct ng_flame_tree *tree, const struct ng_profile *profile);
void ng_flame_tree_release(struct ng_flame_tree *tree);

const char *ng_flame_tree_name(const struct ng_flame_tree *tree, const struct ng_flame_node *node);

#endif
