/* One x86-64 instruction, decoded by Zydis, with what a probe must know of it. */
#ifndef NG_CORE_IMAGE_INSN_H
#define NG_CORE_IMAGE_INSN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NG_INSN_TEXT_MAX 96 /* bytes, with the NUL */

/** How an instruction passes control on. */
enum ng_insn_flow {
	NG_INSN_NEXT,	/* only to the next instruction */
	NG_INSN_JUMP,	/* unconditional, direct: only to the target */
	NG_INSN_BRANCH, /* conditional, direct: to the target or the next (loop, jrcxz too) */
	NG_INSN_CALL,	/* direct call */
	NG_INSN_INDIRECT_CALL,
	NG_INSN_INDIRECT_JUMP,
	NG_INSN_STOP, /* ret, ud2, hlt, int3, iret: not to the next */
};

struct ng_insn {
	uint64_t address;
	uint64_t target; /* of a direct jump, branch or call; else 0 */
	uint8_t length;	 /* bytes */
	enum ng_insn_flow flow;
	bool emulated;	  /* x86 uprobes emulate it: no single-step (kernel 5.15 and newer) */
	bool probeable;	  /* the kernel accepts a uprobe on it, and it is safe there */
	bool may_fault;	  /* by memory that is not the stack, the image's or g's; or it divides */
	bool compares;	  /* cmp or sub: may set the flags of a stack check */
	bool moves_stack; /* writes rsp, and is no call or return */
	char mnemonic[16];
};

/**
 * Decodes one instruction.
 *
 * `emulated` and `probeable` follow arch/x86/kernel/uprobes.c of kernel 5.15 to 6.18; where these
 * differ, the one that can less. What the kernel accepts and gets wrong is not probeable.
 *
 * @return 0; -EINVAL where the bytes are no 64-bit instruction or end within one
 */
int ng_insn_decode(
	const uint8_t *code, size_t size_bytes, uint64_t address, struct ng_insn *ret_insn);

/** The instruction as text in Intel syntax; cut to the buffer, always terminated. */
void ng_insn_format(const uint8_t *code, size_t size_bytes, uint64_t address, char *buffer,
	size_t buffer_bytes);

#endif
