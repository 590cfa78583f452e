#include "core/image/insn.h"

#include <errno.h>
#include <stdio.h>

#include <Zydis/Zydis.h>

static void init_decoder(ZydisDecoder *decoder)
{
	/* Fails for impossible modes only. */
	(void)ZydisDecoderInit(decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
}

static bool is_direct(const ZydisDecodedInstruction *insn, const ZydisDecodedOperand *operands)
{
	return insn->operand_count_visible && operands[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
	       operands[0].imm.is_relative;
}

static enum ng_insn_flow flow_of(
	const ZydisDecodedInstruction *insn, const ZydisDecodedOperand *operands)
{
	switch (insn->meta.category) {
	case ZYDIS_CATEGORY_CALL:
		return is_direct(insn, operands) ? NG_INSN_CALL : NG_INSN_INDIRECT_CALL;
	case ZYDIS_CATEGORY_UNCOND_BR:
		return is_direct(insn, operands) ? NG_INSN_JUMP : NG_INSN_INDIRECT_JUMP;
	case ZYDIS_CATEGORY_COND_BR:
		return NG_INSN_BRANCH;
	case ZYDIS_CATEGORY_RET:
	case ZYDIS_CATEGORY_INTERRUPT:
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

/*
 * What arch/x86/kernel/uprobes.c emulates, since Linux 4.20: branch_setup_xol_ops() takes jmp, jcc
 * and call with 8 or 32 bits, and nop 0x90; push_setup_xol_ops() takes push of a register, with no
 * prefix but 0x41. Longer nops are emulated by newer kernels only, and so count as stepped here.
 */
static bool is_emulated(const ZydisDecodedInstruction *insn)
{
	const uint8_t opcode = insn->opcode;

	if (insn->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY || has_prefix(insn, 0x66))
		return false;
	if (insn->opcode_map == ZYDIS_OPCODE_MAP_0F)
		return (opcode & 0xf0) == 0x80;
	if (insn->opcode_map != ZYDIS_OPCODE_MAP_DEFAULT)
		return false;
	if ((opcode & 0xf8) == 0x50)
		return insn->length == 1 ||
		       (insn->length == 2 && insn->raw.rex.offset == 0 && has_prefix(insn, 0x41));
	return opcode == 0xeb || opcode == 0xe9 || opcode == 0xe8 || opcode == 0x90 ||
	       (opcode & 0xf0) == 0x70;
}

/*
 * What the kernel takes a uprobe on (is_prefix_bad(), good_insns_64, good_2byte_insns), and less:
 * only kinds of instruction that Go and C compilers put into the beginning of a function.
 */
static bool is_probeable(const ZydisDecodedInstruction *insn)
{
	static const uint8_t bad_prefixes[] = {0xf0, 0x26, 0x2e, 0x36, 0x3e};

	for (size_t i = 0; i < sizeof(bad_prefixes); i++) {
		if (has_prefix(insn, bad_prefixes[i]))
			return false;
	}
	if (insn->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY ||
		insn->opcode_map > ZYDIS_OPCODE_MAP_0F)
		return false;
	if (insn->attributes & ZYDIS_ATTRIB_IS_PRIVILEGED)
		return false;
	switch (insn->meta.category) {
	case ZYDIS_CATEGORY_INTERRUPT:
	case ZYDIS_CATEGORY_SYSCALL:
	case ZYDIS_CATEGORY_SYSRET:
	case ZYDIS_CATEGORY_SYSTEM:
	case ZYDIS_CATEGORY_IO:
	case ZYDIS_CATEGORY_IOSTRINGOP:
	case ZYDIS_CATEGORY_SEGOP:
		return false;
	default:
		break;
	}
	return insn->mnemonic != ZYDIS_MNEMONIC_HLT && insn->mnemonic != ZYDIS_MNEMONIC_UD2 &&
	       insn->mnemonic != ZYDIS_MNEMONIC_UD1 && insn->mnemonic != ZYDIS_MNEMONIC_UD0 &&
	       insn->mnemonic != ZYDIS_MNEMONIC_IRETQ;
}

static bool is_stack_register(ZydisRegister reg)
{
	return reg == ZYDIS_REGISTER_RSP || reg == ZYDIS_REGISTER_RBP;
}

/* Could this memory operand point nowhere? Not on the own stack, in the image's data, or in Go's g.
 */
static bool may_fault(const ZydisDecodedInstruction *insn, const ZydisDecodedOperand *operands)
{
	for (ZyanU8 i = 0; i < insn->operand_count; i++) {
		const ZydisDecodedOperand *operand = &operands[i];

		if (operand->type != ZYDIS_OPERAND_TYPE_MEMORY ||
			operand->mem.type != ZYDIS_MEMOP_TYPE_MEM)
			continue;
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
	for (ZyanU8 i = 0; i < insn->operand_count; i++) {
		if (operands[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
			operands[i].reg.value == ZYDIS_REGISTER_RSP &&
			(operands[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
			return true;
	}
	return false;
}

int ng_insn_decode(
	const uint8_t *code, size_t size_bytes, uint64_t address, struct ng_insn *ret_insn)
{
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction insn;
	ZydisDecoder decoder;
	ZyanU64 target = 0;

	init_decoder(&decoder);
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code, size_bytes, &insn, operands)))
		return -EINVAL;
	*ret_insn = (struct ng_insn){
		.address = address,
		.length = insn.length,
		.flow = flow_of(&insn, operands),
		.emulated = is_emulated(&insn),
		.probeable = is_probeable(&insn),
		.may_fault = may_fault(&insn, operands),
		.compares =
			insn.mnemonic == ZYDIS_MNEMONIC_CMP || insn.mnemonic == ZYDIS_MNEMONIC_SUB,
		.moves_stack = writes_stack_pointer(&insn, operands),
	};
	if ((ret_insn->flow == NG_INSN_JUMP || ret_insn->flow == NG_INSN_BRANCH ||
		    ret_insn->flow == NG_INSN_CALL) &&
		ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(&insn, &operands[0], address, &target)))
		ret_insn->target = target;
	(void)snprintf(ret_insn->mnemonic, sizeof(ret_insn->mnemonic), "%s",
		ZydisMnemonicGetString(insn.mnemonic));
	return 0;
}

void ng_insn_format(
	const uint8_t *code, size_t size_bytes, uint64_t address, char *buffer, size_t buffer_bytes)
{
	ZydisDisassembledInstruction insn;

	if (!ZYAN_SUCCESS(ZydisDisassembleIntel(
		    ZYDIS_MACHINE_MODE_LONG_64, address, code, size_bytes, &insn)))
		(void)snprintf(buffer, buffer_bytes, "(bad)");
	else
		(void)snprintf(buffer, buffer_bytes, "%s", insn.text);
}
