#include "tests/out/sample.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define DEPTH	  64
#define NAME_SIZE 32

#define NOW  .function = "time.Now", .file = "/go/src/time/time.go", .start_line = 1150
#define WORK .function = "main.work", .file = "/src/main.go", .start_line = 20
#define MAIN                                                                                       \
	{                                                                                          \
		.function = "main.main", .file = "/src/main.go", .line = 60, .start_line = 50,     \
		.address = 0x402000                                                                \
	}
#define START                                                                                      \
	{                                                                                          \
		.function = "runtime.main", .file = "/go/src/runtime/proc.go", .line = 250,        \
		.start_line = 145, .address = 0x403000                                             \
	}

static const struct ng_profile_frame inlined[] = {
	{NOW, .line = 1160, .address = 0x401000, .is_inlined = true},
	{WORK, .line = 25, .address = 0x401000},
	MAIN,
	START,
};

static const struct ng_profile_frame of_a_struct[] = {
	{NOW, .line = 1151, .address = 0x404000},
	{.function = "main.other[go.shape.struct { A int; B <-chan \"x\" }]",
		.file = "/src/main.go",
		.line = 35,
		.start_line = 30,
		.address = 0x405000},
	MAIN,
	START,
};

static const struct ng_profile_frame inlined_again[] = {
	{NOW, .line = 1160, .address = 0x401080, .is_inlined = true},
	{WORK, .line = 27, .address = 0x401080},
	MAIN,
	START,
};

static const struct ng_profile_frame nameless[] = {
	{.address = 0x7f0000001234, .mapping = 1},
	START,
};

static const struct ng_profile_stack stacks[SAMPLE_STACKS] = {
	{inlined, COUNT(inlined), .hits = 10, .calls = 1000.4, .cost_ns = 8000},
	{of_a_struct, COUNT(of_a_struct), .hits = 5, .calls = 499.6, .cost_ns = 4000},
	{inlined_again, COUNT(inlined_again), .hits = 1, .calls = 100, .cost_ns = 800},
	{nameless, COUNT(nameless), .hits = 2, .calls = 200, .cost_ns = 1600},
	{NULL, 0, .hits = 1, .calls = 100, .cost_ns = 800},
};

static const struct ng_profile_mapping mappings[] = {
	{0x400000, 0x500000, 0x1000, "/usr/bin/server", "0123abcd"},
	{0x7f0000000000, 0x7f0000100000, 0, "/usr/lib/libc.so.6", NULL},
};

static const struct ng_profile_loss losses[] = {
	{"ring_full", "calls: the ring was full", 7}, {"no_memory", "calls: no memory", 0}};
static const char *const comments[] = {"made by a test"};

const struct ng_profile sample_profile = {
	.stacks = stacks,
	.stack_count = COUNT(stacks),
	.mappings = mappings,
	.mapping_count = COUNT(mappings),
	.began_at_ns = 1700000000000000000,
	.duration_ns = 2500000000,
	.pid = 4711,
	.exe = "/usr/bin/server",
	.function = "time.Now",
	.mode = "sampled",
	.is_estimate = true,
	.low_calls = 1700.5,
	.high_calls = 2100.5,
	.losses = losses,
	.loss_count = COUNT(losses),
	.comments = comments,
	.comment_count = COUNT(comments),
};

const struct ng_profile sample_empty = {.function = "time.Now", .high_calls = INFINITY};

/* The caller fills the frames. */
static struct ng_profile *make(
	size_t stack_count, size_t frame_count, struct ng_profile_frame **ret_frames)
{
	struct ng_profile *profile = calloc(1, sizeof(*profile));
	struct ng_profile_stack *all = calloc(stack_count, sizeof(*all));
	struct ng_profile_frame *frames = calloc(stack_count * frame_count, sizeof(*frames));

	if (!profile || !all || !frames)
		abort();
	for (size_t i = 0; i < stack_count; i++)
		all[i] = (struct ng_profile_stack){&frames[i * frame_count], frame_count, .hits = 1,
			.calls = 1, .cost_ns = 800};
	*profile = (struct ng_profile){.stacks = all, .stack_count = stack_count};
	*ret_frames = frames;
	return profile;
}

struct ng_profile *sample_many(size_t stack_count)
{
	static char names[997][NAME_SIZE];
	struct ng_profile_frame *frames;
	struct ng_profile *profile = make(stack_count, DEPTH, &frames);

	for (size_t i = 0; i < COUNT(names); i++)
		(void)snprintf(names[i], NAME_SIZE, "example.org/p%zu.(*T).f%zu", i % 20, i);
	for (size_t i = 0; i < stack_count; i++)
		for (size_t depth = 0; depth < DEPTH; depth++) {
			/* The outer half is shared; the next two tell the stacks apart. */
			const size_t name = depth >= DEPTH / 2	     ? depth
					    : depth == DEPTH / 2 - 1 ? i % COUNT(names)
					    : depth == DEPTH / 2 - 2 ? i / COUNT(names)
								     : 7 * i + 31 * depth;

			frames[i * DEPTH + depth] = (struct ng_profile_frame){
				.function = names[name % COUNT(names)],
				.address = 0x400000 + name,
				.mapping = NG_FRAME_NO_MAPPING,
			};
		}
	return profile;
}

struct ng_profile *sample_deep(size_t frame_count)
{
	struct ng_profile_frame *frames;
	struct ng_profile *profile = make(1, frame_count, &frames);

	for (size_t i = 0; i < frame_count; i++)
		frames[i] = (struct ng_profile_frame){
			.function = "main.f", .address = 1, .mapping = NG_FRAME_NO_MAPPING};
	return profile;
}

void sample_free(struct ng_profile *profile)
{
	free((struct ng_profile_frame *)profile->stacks[0].frames);
	free((struct ng_profile_stack *)profile->stacks);
	free(profile);
}
