/* core/image/copies: the call that each run of an inlined copy makes once. The comments are the
 * assembly; `a:` to `b:` (or `n:`, and `b:` to `e:`) are the copy's own, `y` is a leaf. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "core/image/copies.h"

#define BASE 0x401000
#define LEAF (BASE + 0x50000)

/* Bytes as a string literal, with their length. */
#define CODE(text) (const uint8_t *)(text), sizeof(text) - 1

struct sample {
	const char *name;
	const uint8_t *code;
	size_t size_bytes;
	struct {
		uint32_t start;
		uint32_t end;
	} ranges[2];
	size_t count;
	uint32_t call; /* 0: none is proven */
};

static const struct sample samples[] = {
	/* push %rbp; a: mov %rcx,%rax; c: call x; b: test %rax,%rax; jne 1f; nop; 1: pop %rbp; ret
	 */
	{"straight", CODE("\x55\x48\x89\xc8\xe8\xf7\xff\x03\x00\x48\x85\xc0\x75\x01\x90\x5d\xc3"),
		{{0x1, 0x9}}, 1, 0x4},
	/* push %rbp; a: call x; c=a; b: pop %rbp; ret */
	{"call_first", CODE("\x55\xe8\xfa\xff\x03\x00\x5d\xc3"), {{0x1, 0x6}}, 1, 0x1},
	/* push %rbp; xor %ebx,%ebx; a: mov %rbx,%rax; c: call x; b: inc %ebx; cmp $3,%ebx; jl a;
	   pop %rbp; ret */
	{"in_a_callers_loop",
		CODE("\x55\x31\xdb\x48\x89\xd8\xe8\xf5\xff\x03\x00\xff\xc3\x83\xfb\x03\x7c\xf1"
		     "\x5d\xc3"),
		{{0x3, 0xb}}, 1, 0x6},
	/* push %rbp; jmp h; a: mov $5,%eax; c: call x; h: test %rax,%rax; jne a; b: pop %rbp; ret
	 */
	{"own_loop_rotated",
		CODE("\x55\xeb\x0a\xb8\x05\x00\x00\x00\xe8\xf3\xff\x03\x00\x48\x85\xc0\x75\xf1"
		     "\x5d\xc3"),
		{{0x3, 0x12}}, 1, 0x0},
	/* push %rbp; a: mov $5,%eax; c: call x; n: test %rax,%rax; jne a; b: nop; e: pop %rbp; ret
	 */
	{"loop_closed_by_nested_code",
		CODE("\x55\xb8\x05\x00\x00\x00\xe8\xf5\xff\x03\x00\x48\x85\xc0\x75\xf1\x90\x5d"
		     "\xc3"),
		{{0x1, 0xb}, {0x10, 0x11}}, 2, 0x0},
	/* push %rbp; a: test %ecx,%ecx; je 1f; c: call x; 1: nop; b: pop %rbp; ret */
	{"branch_before", CODE("\x55\x85\xc9\x74\x05\xe8\xf6\xff\x03\x00\x90\x5d\xc3"),
		{{0x1, 0xb}}, 1, 0x0},
	/* push %rbp; test %ecx,%ecx; je c; a: mov %rcx,%rax; c: call x; b: pop %rbp; ret */
	{"jumped_into", CODE("\x55\x85\xc9\x74\x03\x48\x89\xc8\xe8\xf3\xff\x03\x00\x5d\xc3"),
		{{0x5, 0xd}}, 1, 0x0},
	/* push %rbp; a: call x; mov %rax,%rbx; c: call x; b: pop %rbp; ret */
	{"two_calls", CODE("\x55\xe8\xfa\xff\x03\x00\x48\x89\xc3\xe8\xf2\xff\x03\x00\x5d\xc3"),
		{{0x1, 0xe}}, 1, 0x0},
	/* push %rbp; a: mov %rcx,%rax; inc %eax; b: call x; c: pop %rbp; ret */
	{"no_call", CODE("\x55\x48\x89\xc8\xff\xc0\xe8\xf5\xff\x03\x00\x5d\xc3"), {{0x1, 0x6}}, 1,
		0x0},
	/* push %rbp; a: mov %rcx,%rax; n: call x; b: inc %eax; e: nop; c: pop %rbp; ret */
	{"call_is_not_its_own", CODE("\x55\x48\x89\xc8\xe8\xf7\xff\x03\x00\xff\xc0\x90\x5d\xc3"),
		{{0x1, 0x4}, {0x9, 0xb}}, 2, 0x0},
	/* push %rbp; pop %rbp; ret; a: mov %rcx,%rax; c: call x; b: ret */
	{"not_reached", CODE("\x55\x5d\xc3\x48\x89\xc8\xe8\xf5\xff\x03\x00\xc3"), {{0x3, 0xb}}, 1,
		0x0},
	/* push %rbp; l: inc %ebx; a: mov %rbx,%rax; c: call x; test %rax,%rax; jne l; b: pop %rbp;
	   ret */
	{"returns_into_the_callers_loop",
		CODE("\x55\xff\xc3\x48\x89\xd8\xe8\xf5\xff\x03\x00\x48\x85\xc0\x75\xf1\x5d\xc3"),
		{{0x3, 0x10}}, 1, 0x0},
	/* push %rbp; a: test %ecx,%ecx; je 1f; nop; 1: nop; c: call y; call x; b: pop %rbp; ret */
	{"leaf_behind_a_branch",
		CODE("\x55\x85\xc9\x74\x01\x90\x90\xe8\xf4\xff\x04\x00\xe8\xef\xff\x03\x00\x5d"
		     "\xc3"),
		{{0x1, 0x11}}, 1, 0x7},
	/* push %rbp; a: call y; c: call y; b: pop %rbp; ret */
	{"two_leaves", CODE("\x55\xe8\xfa\xff\x04\x00\xe8\xf5\xff\x04\x00\x5d\xc3"), {{0x1, 0xb}},
		1, 0x0},
	/* push %rbp; a: mov %rcx,%rax; c: call x; jmp *0x1000(,%rax,8); b: pop %rbp; ret */
	{"jump_table",
		CODE("\x55\x48\x89\xc8\xe8\xf7\xff\x03\x00\xff\x24\xc5\x00\x10\x00\x00\x5d\xc3"),
		{{0x1, 0x10}}, 1, 0x0},
};

static void finds_the_call_or_none(void **state)
{
	static const uint64_t leaf = LEAF;

	(void)state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		const struct sample *want = &samples[i];
		struct ng_inlined_range ranges[2] = {0};
		const struct ng_copy copy = {
			.ranges = ranges, .count = want->count, .leaves = &leaf, .leaf_count = 1};
		struct ng_flow flow = {.data = NULL};
		uint64_t call;
		bool proven;

		for (size_t j = 0; j < want->count; j++) {
			ranges[j].start = BASE + want->ranges[j].start;
			ranges[j].end = BASE + want->ranges[j].end;
		}
		assert_int_equal(ng_flow_open(&flow, want->code, want->size_bytes, BASE), 0);
		call = ng_copy_find_call(&flow, &copy, &proven);
		ng_flow_close(&flow);
		/* Only what calls the leaf cannot have lost its call to the optimiser. */
		assert_int_equal(proven, !strcmp(want->name, "leaf_behind_a_branch"));
		if (call != (want->call ? BASE + want->call : 0))
			fail_msg("%s: %#lx", want->name, (unsigned long)call);
	}
}

/* Ranges are input too: beyond the function, before it, backwards. */
static void bears_any_ranges(void **state)
{
	static const uint64_t edges[] = {
		0, BASE - 1, BASE, BASE + 1, BASE + 3, BASE + 0x1000, UINT64_MAX - 1, UINT64_MAX};
	const size_t count = sizeof(edges) / sizeof(edges[0]);
	struct ng_flow flow = {.data = NULL};

	(void)state;
	assert_int_equal(ng_flow_open(&flow, samples[0].code, samples[0].size_bytes, BASE), 0);
	for (size_t i = 0; i < count * count; i++) {
		const struct ng_inlined_range range = {
			.start = edges[i / count], .end = edges[i % count]};
		const struct ng_copy copy = {.ranges = &range, .count = 1};
		bool proven;
		const uint64_t call = ng_copy_find_call(&flow, &copy, &proven);

		if (call)
			assert_true(call == BASE + samples[0].call && range.start <= call &&
				    call < range.end);
	}
	ng_flow_close(&flow);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_the_call_or_none),
		cmocka_unit_test(bears_any_ranges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
