#include "control/engine/loop.h"

#include <errno.h>
#include <link.h>

/*
 * Written in assembly, so that what stands at the site is known to the byte.
 *
 * LOOP() makes void ng_loop_NAME(uint64_t iterations in %rdi) and the function that it calls, which
 * holds the site and may clobber what a call may clobber. Both start on a cache line of their own:
 * without that, the unarmed loops differ from build to build.
 */
#define LOOP(name, before, site, after)                                                            \
	" .p2align 6\n"                                                                            \
	" .globl ng_loop_" name ", ng_loop_" name "_site\n"                                        \
	" .hidden ng_loop_" name ", ng_loop_" name "_site\n"                                       \
	" .type ng_loop_" name ", @function\n"                                                     \
	"ng_loop_" name ":\n"                                                                      \
	" push %rbx\n"                                                                             \
	" mov %rdi, %rbx\n"                                                                        \
	"1: call ng_loop_" name "_body\n"                                                          \
	" dec %rbx\n"                                                                              \
	" jnz 1b\n"                                                                                \
	" pop %rbx\n"                                                                              \
	" ret\n"                                                                                   \
	" .size ng_loop_" name ", . - ng_loop_" name "\n"                                          \
	" .p2align 6\n"                                                                            \
	" .type ng_loop_" name "_body, @function\n"                                                \
	"ng_loop_" name "_body:\n" before "ng_loop_" name "_site:\n" site after " ret\n"           \
	" .size ng_loop_" name "_body, . - ng_loop_" name "_body\n"

asm(" .text\n"
    " .p2align 6\n"
    " .type ng_loop_leaf, @function\n"
    "ng_loop_leaf:\n"
    " ret\n"
    " .size ng_loop_leaf, . - ng_loop_leaf\n"

	/* call rel32: emulated. */
	LOOP("call", "", "call ng_loop_leaf\n", "")

	/* Single-stepped. Byte for byte what Go 1.17 and newer begin a function with: there %r14 is
	 * g, here our stack, where 0x10 is the loop's own return address. */
	LOOP("cmp", "mov %r14, %rax\n mov %rsp, %r14\n", "cmp 0x10(%r14), %rsp\n",
		"mov %rax, %r14\n")

	/* Emulated. */
	LOOP("push", "", "push %rbp\n", "pop %rbp\n")

	/* What follows Go's stack check: emulated. Not taken: test clears the carry, and the stack
	 * pointer is never 0. */
	LOOP("branch", "test %rsp, %rsp\n", "jbe ng_loop_leaf\n", "")

	/* A five-byte nop: emulated, until the kernel replaces it by a call into itself. */
	LOOP("nop5", "", ".byte 0x0f, 0x1f, 0x44, 0x00, 0x00\n", "")

	/* Both of what a Go function has: the check's branch leads to the call. */
	LOOP("led",
		"test %rsp, %rsp\n"
		".globl ng_loop_led_lead\n .hidden ng_loop_led_lead\n"
		"ng_loop_led_lead:\n"
		"jbe ng_loop_leaf\n",
		"call ng_loop_leaf\n", ""));

#define HIDDEN __attribute__((visibility("hidden")))

HIDDEN void ng_loop_call(uint64_t iterations);
HIDDEN void ng_loop_cmp(uint64_t iterations);
HIDDEN void ng_loop_push(uint64_t iterations);
HIDDEN void ng_loop_branch(uint64_t iterations);
HIDDEN void ng_loop_nop5(uint64_t iterations);
HIDDEN extern const char ng_loop_call_site[];
HIDDEN extern const char ng_loop_cmp_site[];
HIDDEN extern const char ng_loop_push_site[];
HIDDEN extern const char ng_loop_branch_site[];
HIDDEN extern const char ng_loop_nop5_site[];
HIDDEN void ng_loop_led(uint64_t iterations);
HIDDEN extern const char ng_loop_led_site[];
HIDDEN extern const char ng_loop_led_lead[];

static const struct ng_loop loops[NG_LOOPS_ALL] = {
	[NG_LOOP_CALL] = {NG_SITE_EMULATED, "call", ng_loop_call, ng_loop_call_site, NULL},
	[NG_LOOP_CMP] = {NG_SITE_STEPPED, "cmp", ng_loop_cmp, ng_loop_cmp_site, NULL},
	[NG_LOOP_PUSH] = {NG_SITE_EMULATED, "push", ng_loop_push, ng_loop_push_site, NULL},
	[NG_LOOP_BRANCH] = {NG_SITE_EMULATED, "jbe", ng_loop_branch, ng_loop_branch_site, NULL},
	[NG_LOOP_NOP5] = {NG_SITE_EMULATED, "nop5", ng_loop_nop5, ng_loop_nop5_site, NULL},
	[NG_LOOP_LED] = {NG_SITE_EMULATED, "call", ng_loop_led, ng_loop_led_site, ng_loop_led_lead},
};

const struct ng_loop *ng_loop_get(enum ng_loop_number number)
{
	return &loops[number];
}

struct search {
	uint64_t address;
	uint64_t offset;
	bool found;
};

/* The first object that is walked is the executable itself; the walk ends there. */
static int search_executable(struct dl_phdr_info *object, size_t size, void *context)
{
	struct search *search = context;

	(void)size;
	for (size_t i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
		uint64_t start = object->dlpi_addr + segment->p_vaddr;

		if (segment->p_type != PT_LOAD || search->address < start ||
			search->address - start >= segment->p_filesz)
			continue;
		search->offset = search->address - start + segment->p_offset;
		search->found = true;
	}
	return 1;
}

int ng_loop_offset(const void *place, uint64_t *ret_offset, struct ng_diag *diag)
{
	struct search search = {.address = (uint64_t)(uintptr_t)place};

	(void)dl_iterate_phdr(search_executable, &search); /* returns what the callback did */
	if (!search.found)
		return ng_diag_set(
			diag, -ENOENT, "nowgate does not find its own code in its own file");
	*ret_offset = search.offset;
	return 0;
}
