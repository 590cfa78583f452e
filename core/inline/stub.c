#include "core/inline/stub.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "core/image/insn.h"
#include "core/inline/area.h"
#include "handler_code.h"

#define FS_CPU_SELECTOR                                                                            \
	0x7b		 /* its limit holds the CPU's number: arch/x86/include/asm/segment.h       \
			  */
#define G_M	    0x30 /* runtime.g's m, in all versions */
#define LINE_SHIFT  6
#define SHARED_MASK (NG_AREA_SHARED_LINES - 1)

_Static_assert(sizeof(struct ng_area_line) == 1u << LINE_SHIFT, "a line by a shift");
_Static_assert((NG_AREA_SHARED_LINES & SHARED_MASK) == 0, "shared lines by a mask");

const uint8_t *const ng_handler_code = handler_code;
const size_t ng_handler_bytes = sizeof(handler_code);

enum reg {
	RAX = 0,
	RCX = 1,
	RDX = 2,
	RBX = 3,
	RSP = 4,
	RBP = 5,
	RSI = 6,
	RDI = 7,
	R8 = 8,
	R9 = 9,
	R10 = 10,
	R11 = 11,
	R12 = 12,
	R13 = 13,
	R14 = 14,
};

/* What a function of C may change. */
static const enum reg caller_saved[] = {RAX, RCX, RDX, RSI, RDI, R8, R9, R10, R11};

#define CALLER_SAVED (sizeof(caller_saved) / sizeof(caller_saved[0]))

/** Places in the code that jumps lead to. */
enum label {
	LABEL_ACTIVE,  /* the gate is not off */
	LABEL_SHARED,  /* a line that threads share, by `slot` */
	LABEL_BY_CPU,  /* there is no number of the thread's */
	LABEL_FOREIGN, /* in a child by fork */
	LABEL_TAKE,    /* the call is to be recorded */
	LABEL_DONE,
	LABELS,
};

/** A jump whose target was not known yet. */
struct forward {
	size_t at; /* of its displacement */
	enum label label;
};

struct writer {
	const struct ng_form *form;
	const struct ng_stub_place *place;
	uint8_t *code;
	size_t size;
	bool is_far;	     /* something was out of reach */
	enum reg slot, line; /* free registers: the line's number, and its address */
	uint32_t labels[LABELS];
	struct forward forwards[24];
	size_t forward_count;
};

static void put(struct writer *writer, const void *bytes, size_t count)
{
	memcpy(writer->code + writer->size, bytes, count);
	writer->size += count;
}

#define PUT(writer, ...)                                                                           \
	put(writer, (const uint8_t[]){__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__}))

static void put_32(struct writer *writer, uint32_t value)
{
	put(writer, &value, sizeof(value));
}

/* A displacement from behind itself, and `more` bytes of the instruction, to an address. */
static void put_near(struct writer *writer, uint64_t address, size_t more)
{
	const int64_t distance =
		(int64_t)(address - (writer->place->code + writer->size + 4 + more));

	writer->is_far |= distance != (int32_t)distance;
	put_32(writer, (uint32_t)distance);
}

static void put_label(struct writer *writer, enum label label)
{
	writer->labels[label] = (uint32_t)writer->size;
}

static void put_forward(struct writer *writer, enum label label)
{
	writer->forwards[writer->forward_count++] =
		(struct forward){.at = writer->size, .label = label};
	put_32(writer, 0);
}

static void resolve(struct writer *writer)
{
	for (size_t i = 0; i < writer->forward_count; i++) {
		const struct forward *forward = &writer->forwards[i];
		const uint32_t distance =
			writer->labels[forward->label] - (uint32_t)forward->at - 4;

		memcpy(writer->code + forward->at, &distance, sizeof(distance));
	}
}

#define JE  0x84
#define JNE 0x85
#define JAE 0x83
#define JA  0x87
#define JG  0x8f

static void put_branch(struct writer *writer, uint8_t condition, enum label label)
{
	PUT(writer, 0x0f, condition);
	put_forward(writer, label);
}

static void put_jump(struct writer *writer, enum label label)
{
	PUT(writer, 0xe9);
	put_forward(writer, label);
}

static void put_push(struct writer *writer, enum reg reg)
{
	if (reg >= R8)
		PUT(writer, 0x41);
	PUT(writer, (uint8_t)(0x50 | (reg & 7)));
}

static void put_pop(struct writer *writer, enum reg reg)
{
	if (reg >= R8)
		PUT(writer, 0x41);
	PUT(writer, (uint8_t)(0x58 | (reg & 7)));
}

static uint8_t rex_w(enum reg reg, enum reg rm)
{
	return (uint8_t)(0x48 | (reg >= R8) << 2 | (rm >= R8));
}

static uint8_t modrm(unsigned int mod, enum reg reg, enum reg rm)
{
	return (uint8_t)(mod << 6 | (reg & 7) << 3 | (rm & 7));
}

/* mov %from,%to */
static void put_move(struct writer *writer, enum reg from, enum reg to)
{
	PUT(writer, rex_w(from, to), 0x89, modrm(3, from, to));
}

/* mov offset(%base),%to; base is neither %rsp nor %r12's kin */
static void put_load(struct writer *writer, enum reg base, uint32_t offset, enum reg to)
{
	PUT(writer, rex_w(to, base), 0x8b, modrm(2, to, base));
	if ((base & 7) == RSP)
		PUT(writer, 0x24); /* the byte that names an index, of none */
	put_32(writer, offset);
}

/* lea address(%rip),%to */
static void put_address(struct writer *writer, uint64_t address, enum reg to)
{
	PUT(writer, rex_w(to, RAX), 0x8d, modrm(0, to, RBP));
	put_near(writer, address, 0);
}

/* mov $value,%to, which clears the upper half */
static void put_constant(struct writer *writer, uint32_t value, enum reg to)
{
	if (to >= R8)
		PUT(writer, 0x41);
	PUT(writer, (uint8_t)(0xb8 | (to & 7)));
	put_32(writer, value);
}

/* test %reg,%reg */
static void put_test(struct writer *writer, enum reg reg)
{
	PUT(writer, rex_w(reg, reg), 0x85, modrm(3, reg, reg));
}

/* An operation on a register with 32 bits of constant: 81 /operation. */
static void put_arithmetic(struct writer *writer, uint8_t operation, enum reg reg, uint32_t value)
{
	PUT(writer, rex_w(RAX, reg), 0x81, modrm(3, (enum reg)operation, reg));
	put_32(writer, value);
}

#define ADD 0
#define AND 4
#define CMP 7

/* A one-byte operation on the line's memory: inc (0) or dec (1), of 64 or 32 bits. */
static void put_step(
	struct writer *writer, bool locked, uint8_t operation, bool wide, uint8_t offset)
{
	const uint8_t rex = (uint8_t)(0x40 | (wide ? 8 : 0) | (writer->line >= R8));

	if (locked)
		PUT(writer, 0xf0);
	PUT(writer, rex, 0xff, modrm(1, (enum reg)operation, writer->line), offset);
}

/* cmpl $mode,gate(%rip) */
static void put_compare_mode(struct writer *writer, uint8_t mode)
{
	PUT(writer, 0x83, 0x3d);
	put_near(writer,
		writer->place->area + NG_AREA_PAGE +
			writer->place->site * sizeof(struct ng_area_gate),
		1);
	PUT(writer, mode);
}

static uint64_t line_address(const struct ng_stub_place *place, uint32_t slot)
{
	const uint64_t lines = place->thread_lines + NG_AREA_SHARED_LINES + 1;

	return place->area + place->lines_offset +
	       (place->site * lines + slot) * sizeof(struct ng_area_line);
}

/* Where the site leads on to, when it is off as when it is done. */
static void put_exit(struct writer *writer)
{
	if (writer->form->kind == NG_FORM_CLOCK) {
		PUT(writer, 0xbf); /* mov $clock,%edi */
		put_32(writer, writer->form->clock_id);
	}
	PUT(writer, 0xe9);
	put_near(writer, writer->form->next + writer->place->bias, 0);
}

/* The stack check as it stood, its branches with 32 bits and their targets as before. */
static void put_check(struct writer *writer)
{
	const struct ng_form *form = writer->form;
	struct ng_insn insn;

	for (size_t at = 0; at < form->check_bytes; at += insn.length) {
		const uint8_t *bytes = form->check + at;

		if (ng_insn_decode(bytes, form->check_bytes - at, form->address + at, &insn)) {
			writer->is_far = true; /* cannot be: ng_form_choose() has decoded it */
			return;
		}
		if (insn.flow != NG_INSN_BRANCH) {
			put(writer, bytes, insn.length);
			continue;
		}
		PUT(writer, 0x0f, bytes[0] == 0x0f ? bytes[1] : (uint8_t)(bytes[0] + 0x10));
		put_near(writer, insn.target + writer->place->bias, 0);
	}
}

/* Leads the thread's number into `slot`; elsewhere where there is none. */
static void put_number(struct writer *writer)
{
	const struct ng_form *form = writer->form;
	enum reg m = writer->slot;

	if (!form->m_id_offset ||
		(form->kind != NG_FORM_CLOCK && form->goroutine.g == NG_G_NOWHERE)) {
		put_jump(writer, LABEL_BY_CPU);
		return;
	}
	if (form->kind == NG_FORM_CLOCK) {
		m = RBX;
	} else {
		enum reg g = R14;

		if (form->goroutine.g == NG_G_TLS) {
			g = writer->slot; /* mov %fs:offset,%slot */
			PUT(writer, 0x64, rex_w(g, RAX), 0x8b, modrm(0, g, RSP), 0x25);
			put_32(writer, (uint32_t)form->goroutine.tls_bytes);
		}
		put_test(writer, g); /* none: a signal on a thread that is not Go's */
		put_branch(writer, JE, LABEL_BY_CPU);
		put_load(writer, g, G_M, m);
		put_test(writer, m);
		put_branch(writer, JE, LABEL_BY_CPU);
	}
	put_load(writer, m, form->m_id_offset, writer->slot);
	put_arithmetic(writer, CMP, writer->slot, writer->place->thread_lines);
	put_branch(writer, JAE, LABEL_SHARED);
}

/* Counts in the line of number `slot`, and asks whether that was all. */
static void put_count(struct writer *writer, bool shared)
{
	/* imul $64,%slot,%line; lea lines(%rip) cannot be added to in one: so by a second register
	 */
	put_address(writer, line_address(writer->place, 0), writer->line);
	PUT(writer, rex_w(RAX, writer->slot), 0xc1, modrm(3, (enum reg)4, writer->slot),
		LINE_SHIFT);
	PUT(writer, rex_w(writer->slot, writer->line), 0x01,
		modrm(3, writer->slot, writer->line)); /* add %slot,%line */
	put_step(writer, shared, 0, true, 0);
	put_compare_mode(writer, NG_AREA_SAMPLED);
	PUT(writer, 0x0f, 0x82); /* jb: count alone, or off by now */
	put_forward(writer, LABEL_DONE);
	put_branch(writer, JA, LABEL_TAKE);
	put_step(writer, shared, 1, false, offsetof(struct ng_area_line, countdown));
	put_branch(writer, JG, LABEL_DONE); /* also below 0: who shares it may have come first */
	if (shared)
		put_jump(writer, LABEL_TAKE);
}

/* The thread's number by hashing or the CPU's, then the lines that they share. */
static void put_shared(struct writer *writer)
{
	put_label(writer, LABEL_BY_CPU);
	put_constant(writer, FS_CPU_SELECTOR, writer->slot);
	/* lsl %slot,%slot: the limit, whose low 12 bits are the CPU's number */
	if (writer->slot >= R8)
		PUT(writer, 0x45);
	PUT(writer, 0x0f, 0x03, modrm(3, writer->slot, writer->slot));
	put_label(writer, LABEL_SHARED);
	put_arithmetic(writer, AND, writer->slot, SHARED_MASK);
	put_arithmetic(writer, ADD, writer->slot, writer->place->thread_lines);
	put_count(writer, true);
}

static void put_foreign(struct writer *writer)
{
	put_label(writer, LABEL_FOREIGN);
	PUT(writer, 0xf0, 0x48, 0xff, 0x05); /* lock incq line(%rip) */
	put_near(writer,
		line_address(writer->place, writer->place->thread_lines + NG_AREA_SHARED_LINES), 0);
	put_jump(writer, LABEL_DONE);
}

/* How far %rsp is below where the site had it, in the midst of LABEL_TAKE. */
static uint32_t pushed_bytes(const struct ng_form *form)
{
	if (form->kind == NG_FORM_CLOCK)
		return 0;
	return 8 * (CALLER_SAVED + (form->is_plain ? 0 : 2));
}

/* The goroutine's g in %rcx, and in %r9 the return address that no frame pointer leads to. */
static void put_stack_arguments(struct writer *writer)
{
	const struct ng_form *form = writer->form;

	if (form->goroutine.g == NG_G_R14) {
		put_move(writer, R14, RCX);
	} else if (form->goroutine.g == NG_G_TLS) {
		PUT(writer, 0x64, 0x48, 0x8b, 0x0c, 0x25); /* mov %fs:offset,%rcx */
		put_32(writer, (uint32_t)form->goroutine.tls_bytes);
	} else {
		PUT(writer, 0x31, 0xc9); /* xor %ecx,%ecx */
	}
	put_move(writer, RBP, R8);
	if (form->is_bare) /* at a call its own return address is before it */
		put_load(
			writer, RSP, pushed_bytes(form) + (form->kind == NG_FORM_CALL ? 8 : 0), R9);
	else
		PUT(writer, 0x45, 0x31, 0xc9); /* xor %r9d,%r9d */
}

static void put_take(struct writer *writer)
{
	const bool keeps = writer->form->kind != NG_FORM_CLOCK;

	put_label(writer, LABEL_TAKE);
	for (size_t i = 0; keeps && i < CALLER_SAVED; i++)
		put_push(writer, caller_saved[i]);
	/* sar: the slot's number out of its offset; then the arguments by the C rules */
	PUT(writer, rex_w(RAX, writer->slot), 0xc1, modrm(3, (enum reg)7, writer->slot),
		LINE_SHIFT);
	if (writer->slot != RDX)
		put_move(writer, writer->slot, RDX);
	put_stack_arguments(writer);
	put_constant(writer, writer->place->site, RSI);
	put_address(writer, writer->place->area, RDI);
	PUT(writer, 0xe8);
	put_near(writer, writer->place->handler, 0);
	for (size_t i = CALLER_SAVED; keeps && i; i--)
		put_pop(writer, caller_saved[i - 1]);
}

/*
 * check, of a prologue         off:                    active:
 * cmpl $0,gate                 [mov $clock,%edi]       cmpl $0,own; je foreign
 * jne active                   jmp next                … slot; count; take
 */
static void put_all(struct writer *writer)
{
	const bool keeps = !writer->form->is_plain;

	if (writer->form->kind == NG_FORM_PROLOGUE)
		put_check(writer);
	put_compare_mode(writer, NG_AREA_OFF);
	put_branch(writer, JNE, LABEL_ACTIVE);
	put_exit(writer);

	put_label(writer, LABEL_ACTIVE);
	if (keeps) {
		put_push(writer, writer->slot);
		put_push(writer, writer->line);
	}
	PUT(writer, 0x83, 0x3d); /* cmpl $0,own(%rip) */
	put_near(writer, writer->place->area - NG_AREA_PAGE, 1);
	PUT(writer, 0);
	put_branch(writer, JE, LABEL_FOREIGN);
	put_number(writer);
	if (writer->form->m_id_offset)
		put_count(writer, false);
	put_take(writer);
	put_label(writer, LABEL_DONE);
	if (keeps) {
		put_pop(writer, writer->line);
		put_pop(writer, writer->slot);
	}
	put_exit(writer);
	put_shared(writer);
	put_foreign(writer);
}

static int refuse_distance(struct ng_diag *diag)
{
	return ng_diag_set(diag, -ERANGE,
		"its code and what is mapped for it are further apart than a jump reaches, 2 GiB");
}

int ng_stub_make(const struct ng_form *form, const struct ng_stub_place *place,
	uint8_t ret_code[NG_STUB_BYTES_MAX], size_t *ret_bytes, struct ng_diag *diag)
{
	const bool is_clock = form->kind == NG_FORM_CLOCK;
	struct writer writer = {.form = form,
		.place = place,
		.code = ret_code,
		.slot = is_clock ? RCX : R12,
		.line = is_clock ? RDX : R13};

	put_all(&writer);
	resolve(&writer);
	*ret_bytes = writer.size;
	return writer.is_far ? refuse_distance(diag) : 0;
}

int ng_stub_patch(const struct ng_form *form, const struct ng_stub_place *place,
	uint8_t ret_bytes[NG_FORM_BYTES], struct ng_diag *diag)
{
	const int64_t distance =
		(int64_t)(place->code - (form->address + place->bias + NG_FORM_BYTES));
	const int32_t near = (int32_t)distance;

	if (near != distance)
		return refuse_distance(diag);
	ret_bytes[0] = form->kind == NG_FORM_CALL ? 0xe8 : 0xe9;
	memcpy(ret_bytes + 1, &near, sizeof(near));
	return 0;
}
