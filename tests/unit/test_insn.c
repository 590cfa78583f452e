/* core/image/insn: flow, and what the kernel's uprobes do with an instruction. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/image/insn.h"

#define BASE 0x401000

/* Bytes as a string literal, with their length. */
#define CODE(text) (const uint8_t *)(text), sizeof(text) - 1

struct sample {
	const uint8_t *code;
	size_t size_bytes;
	const char *mnemonic;
	bool emulated;
	bool probeable;
};

/* Decodes from a buffer of exactly that size, so that reading beyond it is noticed. */
static int decode(const uint8_t *code, size_t size_bytes, struct ng_insn *insn)
{
	uint8_t *copy = malloc(size_bytes ? size_bytes : 1);
	int error;

	assert_non_null(copy);
	memcpy(copy, code, size_bytes);
	error = ng_insn_decode(copy, size_bytes, BASE, insn);
	free(copy);
	return error;
}

static void check(const struct sample *samples, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct ng_insn insn;

		assert_int_equal(decode(samples[i].code, samples[i].size_bytes, &insn), 0);
		if (strcmp(insn.mnemonic, samples[i].mnemonic) != 0 ||
			insn.length != samples[i].size_bytes ||
			insn.emulated != samples[i].emulated ||
			insn.probeable != samples[i].probeable)
			fail_msg("sample %zu: %s, %u bytes, emulated %d, probeable %d", i,
				insn.mnemonic, insn.length, insn.emulated, insn.probeable);
	}
}

#define CHECK(samples) check(samples, sizeof(samples) / sizeof((samples)[0]))

static void refuses_what_is_no_instruction(void **state)
{
	struct ng_insn insn;

	(void)state;
	assert_int_equal(decode(CODE(""), &insn), -EINVAL);
	assert_int_equal(decode(CODE("\x06"), &insn), -EINVAL);		    /* push %es */
	assert_int_equal(decode(CODE("\xe8\x00\x00\x00"), &insn), -EINVAL); /* cut */
	assert_int_equal(decode(CODE("\x0f"), &insn), -EINVAL);
	assert_int_equal(decode(CODE("\x48"), &insn), -EINVAL);
	assert_int_equal(decode(CODE("\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66"
				     "\x90"),
				 &insn),
		-EINVAL); /* 16 bytes */
}

static void knows_what_is_emulated(void **state)
{
	static const struct sample samples[] = {
		{CODE("\x90"), "nop", true, true},
		{CODE("\x48\x90"), "nop", true, true},
		{CODE("\xf3\x90"), "pause", true, true},
		{CODE("\xeb\x10"), "jmp", true, true},
		{CODE("\xe9\x10\x00\x00\x00"), "jmp", true, true},
		{CODE("\xe8\x10\x00\x00\x00"), "call", true, true},
		{CODE("\xf2\xe8\x10\x00\x00\x00"), "call", true, true}, /* bnd */
		{CODE("\x70\x02"), "jo", true, true},
		{CODE("\x73\x02"), "jae", true, true},
		{CODE("\x74\x02"), "je", true, true},
		{CODE("\x75\x02"), "jne", true, true},
		{CODE("\x76\x02"), "jbe", true, true},
		{CODE("\x77\x02"), "ja", true, true},
		{CODE("\x7d\x02"), "jge", true, true},
		{CODE("\x7f\x02"), "jg", true, true},
		{CODE("\x0f\x86\x84\x00\x00\x00"), "jbe", true, true},
		{CODE("\x0f\x8f\x84\x00\x00\x00"), "jg", true, true},
		{CODE("\x55"), "push", true, true},
		{CODE("\x41\x54"), "push", true, true},
	};

	(void)state;
	CHECK(samples);
}

static void knows_what_is_stepped(void **state)
{
	static const struct sample samples[] = {
		{CODE("\x49\x3b\x66\x10"), "cmp", false, true},
		{CODE("\x48\x83\xec\x18"), "sub", false, true},
		{CODE("\xf3\x0f\x1e\xfa"), "endbr64", false, true},
		{CODE("\xc3"), "ret", false, true},
		{CODE("\xe3\x02"), "jrcxz", false, true},
		{CODE("\xe2\x02"), "loop", false, true},
		{CODE("\xff\xd0"), "call", false, true},
		{CODE("\xff\x25\x00\x00\x00\x00"), "jmp", false, true},
		{CODE("\x48\x8b\x05\x10\x00\x00\x00"), "mov", false, true},
		{CODE("\x48\x55"), "push", false, true}, /* a REX prefix other than 41 */
		{CODE("\x66\x55"), "push", false, true},
		{CODE("\x68\x01\x00\x00\x00"), "push", false, true},
		{CODE("\xff\x30"), "push", false, true},
		/* Emulated since 6.16 only. */
		{CODE("\x0f\x1f\x40\x00"), "nop", false, true},
		{CODE("\x0f\x1f\x44\x00\x00"), "nop", false, true},
		{CODE("\x66\x0f\x1f\x44\x00\x00"), "nop", false, true},
		{CODE("\xa4"), "movsb", false, true},
	};

	(void)state;
	CHECK(samples);
}

/* -ENOTSUPP in arch/x86/kernel/uprobes.c, of 5.15 or of any later one. */
static void knows_what_the_kernel_refuses(void **state)
{
	static const struct sample samples[] = {
		{CODE("\xcc"), "int3", false, false}, {CODE("\xcd\x80"), "int", false, false},
		{CODE("\xf4"), "hlt", false, false}, {CODE("\x0f\x0b"), "ud2", false, false},
		{CODE("\xfa"), "cli", false, false}, {CODE("\xec"), "in", false, false},
		{CODE("\x6c"), "insb", false, false}, {CODE("\x0f\x05"), "syscall", false, false},
		{CODE("\x48\xcf"), "iretq", false, false},
		{CODE("\xf0\x48\x0f\xc1\x07"), "xadd", false, false}, /* lock */
		{CODE("\x2e\x74\x02"), "je", false, false},	      /* branch hints */
		{CODE("\x3e\x74\x02"), "je", false, false},
		{CODE("\x3e\xff\xe0"), "jmp", false, false}, /* notrack */
		{CODE("\x66\x2e\x0f\x1f\x84\x00\x00\x00\x00\x00"), "nop", false, false},
		{CODE("\x66\x74\x02"), "je", false, false},
		{CODE("\x66\xe8\x00\x00\x00\x00"), "call", false, false},
		{CODE("\x66\xeb\x00"), "jmp", false, false},
		{CODE("\x66\x90"), "nop", false, false}, /* accepted since 6.2 */
		{CODE("\x8e\xd0"), "mov", false, false}, /* to %ss */
	};

	(void)state;
	CHECK(samples);
}

/* The kernel takes these, and the target is broken or hits count more than once. */
static void knows_what_the_kernel_gets_wrong(void **state)
{
	static const struct sample samples[] = {
		{CODE("\x41\x90"), "xchg", false, false}, /* %r8d,%eax: taken for a nop */
		{CODE("\x49\x90"), "xchg", false, false},
		{CODE("\xc5\xf9\x7f\x07"), "vmovdqa", false, false}, /* … for jg */
		{CODE("\xc5\xf9\xeb\xc1"), "vpor", false, false},    /* … for jmp */
		{CODE("\xc5\xf8\x90\xc9"), "kmovw", false, false},   /* … for nop */
		{CODE("\xc5\xf8\x77"), "vzeroupper", false, false},  /* … for ja */
		{CODE("\x9c"), "pushfq", false, false},		     /* with the step's trap flag */
		{CODE("\xf3\x48\xab"), "stosq", false, false},	     /* a trap for each turn */
		{CODE("\xf3\xa4"), "movsb", false, false},
		{CODE("\xf2\xae"), "scasb", false, false},
		{CODE("\xc7\xf8\x00\x00\x00\x00"), "xbegin", false, false},
		{CODE("\xc6\xf8\x01"), "xabort", false, false},
	};

	(void)state;
	CHECK(samples);
}

static void knows_flow_and_target(void **state)
{
	static const struct {
		const uint8_t *code;
		size_t size_bytes;
		enum ng_insn_flow flow;
		uint64_t target;
	} samples[] = {
		{CODE("\x90"), NG_INSN_NEXT, 0},
		{CODE("\xeb\xfe"), NG_INSN_JUMP, BASE},
		{CODE("\xe9\xfb\xff\xff\xff"), NG_INSN_JUMP, BASE},
		{CODE("\x76\x10"), NG_INSN_BRANCH, BASE + 0x12},
		{CODE("\x0f\x86\x10\x00\x00\x00"), NG_INSN_BRANCH, BASE + 0x16},
		{CODE("\xe3\x10"), NG_INSN_BRANCH, BASE + 0x12},
		{CODE("\xe8\xf0\xff\xff\xff"), NG_INSN_CALL, BASE - 0xb},
		{CODE("\xff\xd0"), NG_INSN_INDIRECT_CALL, 0},
		{CODE("\xff\x15\x00\x00\x00\x00"), NG_INSN_INDIRECT_CALL, 0},
		{CODE("\xff\xe0"), NG_INSN_INDIRECT_JUMP, 0},
		{CODE("\xff\x24\xc1"), NG_INSN_INDIRECT_JUMP, 0},
		{CODE("\xc3"), NG_INSN_STOP, 0},
		{CODE("\xc2\x08\x00"), NG_INSN_STOP, 0},
		{CODE("\xcc"), NG_INSN_STOP, 0},
		{CODE("\x0f\x0b"), NG_INSN_STOP, 0},
		{CODE("\xf4"), NG_INSN_STOP, 0},
		{CODE("\x0f\x05"), NG_INSN_NEXT, 0},
		{CODE("\xcd\x80"), NG_INSN_NEXT, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		struct ng_insn insn;

		assert_int_equal(decode(samples[i].code, samples[i].size_bytes, &insn), 0);
		if (insn.flow != samples[i].flow || insn.target != samples[i].target)
			fail_msg("sample %zu: flow %d, target %#lx", i, insn.flow,
				(unsigned long)insn.target);
		assert_true(insn.address == BASE);
	}
}

/* jkzd, of AVX-512's forerunner only: Zydis 4.0 decodes it, 4.1 refuses it. Never may it pass for
 * an instruction that goes on to the next. */
static void takes_jkzd_for_a_branch_or_nothing(void **state)
{
	struct ng_insn insn;
	int error = decode(CODE("\xc4\xe0\x64\x74\x10"), &insn);

	(void)state;
	if (error) {
		assert_int_equal(error, -EINVAL);
		return;
	}
	assert_int_equal(insn.flow, NG_INSN_BRANCH);
	assert_true(insn.target == BASE + 0x15);
}

static void knows_what_may_fault(void **state)
{
	static const struct {
		const uint8_t *code;
		size_t size_bytes;
		bool may_fault;
		bool moves_stack;
	} samples[] = {
		{CODE("\x55"), false, true},
		{CODE("\x48\x83\xec\x18"), false, true},
		{CODE("\x48\x83\xfc\x18"), false, false},     /* cmp $0x18,%rsp */
		{CODE("\x48\x89\xe5"), false, false},	      /* mov %rsp,%rbp */
		{CODE("\x48\x89\xec"), false, true},	      /* mov %rbp,%rsp */
		{CODE("\x48\x89\x6c\x24\x10"), false, false}, /* mov %rbp,0x10(%rsp) */
		{CODE("\x48\x8d\x07"), false, false},	      /* lea (%rdi),%rax */
		{CODE("\x48\x8b\x05\x00\x00\x00\x00"), false, false},
		{CODE("\x49\x3b\x66\x10"), false, false}, /* cmp 0x10(%r14),%rsp */
		{CODE("\x64\x48\x8b\x0c\x25\xf8\xff\xff\xff"), false, false},
		{CODE("\x48\x8b\x07"), true, false},	  /* mov (%rdi),%rax */
		{CODE("\x48\x8b\x04\x04"), true, false},  /* mov (%rsp,%rax),%rax */
		{CODE("\x48\xf7\xf1"), true, false},	  /* div %rcx */
		{CODE("\x0f\x1f\x40\x00"), false, false}, /* nop */
		{CODE("\xc9"), false, true},		  /* leave */
		{CODE("\xe8\x00\x00\x00\x00"), false, false},
		{CODE("\xc3"), false, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		struct ng_insn insn;

		assert_int_equal(decode(samples[i].code, samples[i].size_bytes, &insn), 0);
		if (insn.may_fault != samples[i].may_fault ||
			insn.moves_stack != samples[i].moves_stack)
			fail_msg("sample %zu, %s: may fault %d, moves the stack %d", i,
				insn.mnemonic, insn.may_fault, insn.moves_stack);
	}
}

static void formats_into_any_buffer(void **state)
{
	char text[NG_INSN_TEXT_MAX], small[5] = "xxxx";

	(void)state;
	ng_insn_format(CODE("\x49\x3b\x66\x10"), BASE, text, sizeof(text));
	assert_string_equal(text, "cmp rsp, [r14+0x10]");
	ng_insn_format(CODE("\x76\x10"), BASE, text, sizeof(text));
	assert_string_equal(text, "jbe 0x0000000000401012");
	ng_insn_format(CODE("\x74\x10"), BASE, text, sizeof(text));
	assert_string_equal(text, "je 0x0000000000401012");
	ng_insn_format(CODE("\x06"), BASE, text, sizeof(text));
	assert_string_equal(text, "(bad)");
	ng_insn_format(CODE("\x49\x3b\x66\x10"), BASE, small, sizeof(small));
	assert_string_equal(small, "cmp ");
	ng_insn_format(CODE("\x49\x3b\x66\x10"), BASE, small, 1);
	assert_string_equal(small, "");
	ng_insn_format(CODE("\x90"), BASE, NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_what_is_no_instruction),
		cmocka_unit_test(knows_what_is_emulated),
		cmocka_unit_test(knows_what_is_stepped),
		cmocka_unit_test(knows_what_the_kernel_refuses),
		cmocka_unit_test(knows_what_the_kernel_gets_wrong),
		cmocka_unit_test(knows_flow_and_target),
		cmocka_unit_test(takes_jkzd_for_a_branch_or_nothing),
		cmocka_unit_test(knows_what_may_fault),
		cmocka_unit_test(formats_into_any_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
