#include "core/image/insn.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <Zydis/Zydis.h>

static void init_decoder(ZydisDecoder *decoder)
{
	/* Fails for impossible modes only. */
	(void)ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
}

static bool is_direct(const ZydisDecodedInstruction *insn)
{
	return insn->raw.imm[0].is_relative; /* jumps of AVX-512's forerunner have it second */
}

static enum ng_insn_flow flow_of(const ZydisDecodedInstruction *insn)
{
	switch (insn->meta.category) {
	case ZYDIS_CATEGORY_CALL:
		return is_direct(insn) ? NG_INSN_CALL : NG_INSN_INDIRECT_CALL;
	case ZYDIS_CATEGORY_UNCOND_BR:
		return is_direct(insn) ? NG_INSN_JUMP : NG_INSN_INDIRECT_JUMP;
	case ZYDIS_CATEGORY_COND_BR:
		return NG_INSN_BRANCH;
	case ZYDIS_CATEGORY_RET:
	case ZYDIS_CATEGORY_SYSRET:
		return NG_INSN_STOP;
	default:
		break;
	}
	switch (insn->mnemonic) {
	case ZYDIS_MNEMONIC_UD0:
	case ZYDIS_MNEMONIC_UD1:
	case ZYDIS_MNEMONIC_UD2:
	case ZYDIS_MNEMONIC_HLT:
	case ZYDIS_MNEMONIC_INT1:
	case ZYDIS_MNEMONIC_INT3:
		return NG_INSN_STOP;
	default:
		return NG_INSN_NEXT;
	}
}

static bool has_prefix(const ZydisDecodedInstruction *insn, uint8_t prefix)
{
	for (ZyanU8 i = 0; i < insn->raw.prefix_count; i++) {
		if (insn->raw.prefixes[i].value == prefix)
			return true;
	}
	return false;
}

static bool is_one_byte(const ZydisDecodedInstruction *insn)
{
	return insn->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
	       insn->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT;
}

static bool is_two_byte(const ZydisDecodedInstruction *insn)
{
	return insn->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
	       insn->opcode_map == ZYDIS_OPCODE_MAP_0F;
}

/* The direct branches that branch_setup_xol_ops() knows. */
static bool is_kernel_branch(const ZydisDecodedInstruction *insn)
{
	const uint8_t opcode = insn->opcode;

	if (is_two_byte(insn))
		return (opcode & 0xf0) == 0x80;
	return is_one_byte(insn) &&
	       (opcode == 0xeb || opcode == 0xe9 || opcode == 0xe8 || (opcode & 0xf0) == 0x70);
}

/*
 * What arch/x86/kernel/uprobes.c emulates of what is probeable, since Linux 4.20:
 * branch_setup_xol_ops() takes jmp, jcc and call with 8 or 32 bits, and nop 0x90;
 * push_setup_xol_ops() takes push of a register, with no prefix but 0x41. Longer nops are emulated
 * since 6.16 only, and so count as stepped here.
 */
static bool is_emulated(const ZydisDecodedInstruction *insn)
{
	if (is_kernel_branch(insn))
		return true;
	if (!is_one_byte(insn))
		return false;
	if ((insn->opcode & 0xf8) == 0x50)
		return insn->length == 1 ||
		       (insn->length == 2 && insn->raw.rex.offset == 0 && has_prefix(insn, 0x41));
	return insn->opcode == 0x90;
}

/*
 * One-byte opcodes that good_insns_64 refuses, as far as they decode in 64-bit mode at all, and
 * those that it lets through and single-stepping gets wrong.
 */
static bool is_bad_one_byte(const ZydisDecodedInstruction *insn)
{
	switch (insn->opcode) {
	case 0x6c ... 0x6f: /* ins, outs */
	case 0xcc ... 0xcd: /* int3, int */
	case 0xcf:	    /* iret */
	case 0xe4 ... 0xe7: /* in, out */
	case 0xec ... 0xef:
	case 0xf1:	    /* int1 */
	case 0xf4:	    /* hlt */
	case 0xfa ... 0xfb: /* cli, sti */
		return true;
	case 0x8e: /* mov to a segment register: one to %ss puts the step's trap off */
		return true;
	case 0x90: /* with REX.B it is xchg %r8,%rax, but the kernel emulates a nop; with 66 it is
		      refused before 6.2 */
		return insn->mnemonic == ZYDIS_MNEMONIC_XCHG || has_prefix(insn, 0x66);
	case 0x9c: /* pushf: would push the trap flag of the step */
		return true;
	case 0xa4 ... 0xa7: /* strings: repeated, they trap, and hit, once for each turn */
	case 0xaa ... 0xaf:
		return has_prefix(insn, 0xf2) || has_prefix(insn, 0xf3);
	case 0xc6 ... 0xc7: /* xabort, xbegin: an abort would go to beside the copy */
		return insn->raw.modrm.reg == 7;
	case 0xca ... 0xcb: /* far return */
		return true;
	case 0xff: /* far call, far jump */
		return insn->raw.modrm.reg == 3 || insn->raw.modrm.reg == 5;
	default:
		return false;
	}
}

/*
 * The kernel's good_2byte_insns. Its one-byte table lets each 0f through before that one is asked,
 * so syscall is accepted; single-stepped, a new thread would come to life in the copy.
 */
static bool is_bad_two_byte(const ZydisDecodedInstruction *insn)
{
	switch (insn->opcode) {
	case 0x00 ... 0x01:
	case 0x05 ... 0x09:
	case 0x0b:
	case 0x30:
	case 0x34 ... 0x35:
	case 0x37:
	case 0x78 ... 0x79:
	case 0xae:
	case 0xb2: /* lss, as mov to %ss */
	case 0xb9: /* ud1 */
	case 0xff: /* ud0 */
		return true;
	default:
		return false;
	}
}

/*
 * What the kernel takes a uprobe on (is_prefix_bad(), good_insns_64, good_2byte_insns) and gets
 * right. No VEX and EVEX: their opcode byte reaches the kernel's switch as if it stood alone, and
 * vmovdqa (c5 f9 7f) would be emulated as jg, vpor (eb) as jmp. No 66 before a branch: -ENOTSUPP.
 */
static bool is_probeable(const ZydisDecodedInstruction *insn)
{
	static const uint8_t bad_prefixes[] = {0xf0, 0x26, 0x2e, 0x36, 0x3e};

	for (size_t i = 0; i < sizeof(bad_prefixes); i++) {
		if (has_prefix(insn, bad_prefixes[i]))
			return false;
	}
	if (insn->attributes & ZYDIS_ATTRIB_IS_PRIVILEGED)
		return false;
	if (is_kernel_branch(insn))
		return !has_prefix(insn, 0x66);
	if (is_one_byte(insn))
		return !is_bad_one_byte(insn);
	return is_two_byte(insn) && !is_bad_two_byte(insn);
}

static bool is_stack_register(ZydisRegister reg)
{
	return reg == ZYDIS_REGISTER_RSP || reg == ZYDIS_REGISTER_RBP;
}

/* Could it fault? Not by memory on the own stack, in the image's data, or in Go's g. */
static bool may_fault(const ZydisDecodedInstruction *insn, const ZydisDecodedOperand *operands)
{
	if (insn->mnemonic == ZYDIS_MNEMONIC_DIV || insn->mnemonic == ZYDIS_MNEMONIC_IDIV)
		return true;
	if (insn->mnemonic == ZYDIS_MNEMONIC_NOP)
		return false; /* a long one names memory that it does not touch */
	for (ZyanU8 i = 0; i < insn->operand_count; i++) {
		const ZydisDecodedOperand *operand = &operands[i];

		if (operand->type != ZYDIS_OPERAND_TYPE_MEMORY ||
			operand->mem.type != ZYDIS_MEMOP_TYPE_MEM)
			continue;
		if (operand->mem.index != ZYDIS_REGISTER_NONE)
			return true;
		if (is_stack_register(operand->mem.base) ||
			operand->mem.base == ZYDIS_REGISTER_RIP ||
			operand->mem.base == ZYDIS_REGISTER_R14 ||
			operand->mem.segment == ZYDIS_REGISTER_FS)
			continue;
		return true;
	}
	return false;
}

static bool writes_stack_pointer(
	const ZydisDecodedInstruction *insn, const ZydisDecodedOperand *operands)
{
	if (insn->meta.category == ZYDIS_CATEGORY_CALL || insn->meta.category == ZYDIS_CATEGORY_RET)
		return false; /* the one undoes the other */
	for (ZyanU8 i = 0; i < insn->operand_count; i++) {
		if (operands[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
			operands[i].reg.value == ZYDIS_REGISTER_RSP &&
			(operands[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
			return true;
	}
	return false;
}

/* As objdump and most people write them; Zydis takes the manuals' other names. */
static const char *mnemonic_of(ZydisMnemonic mnemonic)
{
	const char *text;

	switch (mnemonic) {
	case ZYDIS_MNEMONIC_JZ:
		return "je";
	case ZYDIS_MNEMONIC_JNZ:
		return "jne";
	case ZYDIS_MNEMONIC_JNB:
		return "jae";
	case ZYDIS_MNEMONIC_JNBE:
		return "ja";
	case ZYDIS_MNEMONIC_JNL:
		return "jge";
	case ZYDIS_MNEMONIC_JNLE:
		return "jg";
	default:
		text = ZydisMnemonicGetString(mnemonic);
		return text ? text : "?";
	}
}

int ng_insn_decode(
	const uint8_t *code, size_t size_bytes, uint64_t address, struct ng_insn *ret_insn)
{
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction insn;
	ZydisDecoder decoder;

	init_decoder(&decoder);
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code, size_bytes, &insn, operands)))
		return -EINVAL;
	*ret_insn = (struct ng_insn){
		.address = address,
		.length = insn.length,
		.flow = flow_of(&insn),
		.emulated = is_probeable(&insn) && is_emulated(&insn),
		.probeable = is_probeable(&insn),
		.may_fault = may_fault(&insn, operands),
		.compares =
			insn.mnemonic == ZYDIS_MNEMONIC_CMP || insn.mnemonic == ZYDIS_MNEMONIC_SUB,
		.moves_stack = writes_stack_pointer(&insn, operands),
	};
	if (is_direct(&insn))
		ret_insn->target = address + insn.length + (uint64_t)insn.raw.imm[0].value.s;
	(void)snprintf(ret_insn->mnemonic, sizeof(ret_insn->mnemonic), "%s",
		mnemonic_of(insn.mnemonic)); /* cut: the longest are vector instructions */
	return 0;
}

void ng_insn_format(
	const uint8_t *code, size_t size_bytes, uint64_t address, char *buffer, size_t buffer_bytes)
{
	ZydisDisassembledInstruction insn;
	const char *own, *theirs;

	if (!buffer_bytes)
		return;
	if (!ZYAN_SUCCESS(ZydisDisassembleIntel(
		    ZYDIS_MACHINE_MODE_LONG_64, address, code, size_bytes, &insn))) {
		(void)snprintf(buffer, buffer_bytes, "(bad)");
		return;
	}
	own = mnemonic_of(insn.info.mnemonic);
	theirs = ZydisMnemonicGetString(insn.info.mnemonic);
	if (!theirs || strncmp(insn.text, theirs, strlen(theirs)) != 0)
		own = theirs = ""; /* behind a prefix */
	(void)snprintf(buffer, buffer_bytes, "%s%s", own, insn.text + strlen(theirs)); /* cut */
}
