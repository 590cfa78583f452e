/*
 * Where and how the inline engine enters a function: five bytes that become a jump, or a call's
 * displacement that leads elsewhere.
 *
 * Three forms, each proven by decoding from the function's entry; docs/design.md says why they are
 * safe. A refusal has its reason.
 */
#ifndef NG_CORE_INLINE_FORM_H
#define NG_CORE_INLINE_FORM_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/abi.h"
#include "core/base/diag.h"
#include "core/image/image.h"
#include "core/image/site.h"

enum ng_form_kind {
	NG_FORM_CLOCK, /* a jump in place of `mov $clock,%edi`, in time.now or runtime.nanotime1 */
	NG_FORM_CALL,  /* another target for a `call rel32` that every call runs once */
	NG_FORM_PROLOGUE, /* a jump over the stack check, only when asked for */
};

/** "clock", "call" or "prologue". */
const char *ng_form_kind_name(enum ng_form_kind kind);

#define NG_FORM_BYTES	  5  /* that are replaced, in every form */
#define NG_FORM_CHECK_MAX 40 /* bytes of a stack check: six instructions at the most */
#define NG_FORM_WHY_MAX	  160

/** Addresses are virtual, as linked. */
struct ng_form {
	enum ng_form_kind kind;
	uint64_t address;	      /* of the first replaced byte, an instruction's first */
	uint64_t offset;	      /* the same in the file */
	uint8_t bytes[NG_FORM_BYTES]; /* as the file holds them */
	uint64_t next; /* where the trampoline leads: the call's target; behind the `mov`; behind
			  the stack check */
	uint32_t clock_id;		  /* NG_FORM_CLOCK: what the `mov` loads */
	uint8_t check[NG_FORM_CHECK_MAX]; /* NG_FORM_PROLOGUE: the instructions to be run first */
	uint8_t check_bytes;		  /* as many, from `address` on */
	struct ng_goroutine goroutine;	  /* where g is; its id_offset is 0 where not known */
	uint32_t m_id_offset;		  /* of runtime.m's id; 0: not known, count by CPU */
	uint32_t tid_offset;		  /* of runtime.m's thread's id; 0: not known */
	bool exact;			  /* each call runs it once, proven */
	bool is_bare;  /* the frame is not set up: the caller's return address is at (%rsp) */
	bool is_plain; /* between Go functions by its own rules: %r12, %r13 and flags are free */
	char why[NG_FORM_WHY_MAX]; /* one sentence for a person */
};

/**
 * Decides how the inline engine would enter where a probe would be put.
 *
 * @param site of `image`, as its chooser found it
 * @param prologue take the prologue form and no other
 * @return 0; -ENOTSUP a refusal, with its reason: no call that each run makes once, an unknown
 *         stack check, a function of less than 6 bytes, a jump into the replaced bytes, a Go
 *         version or function that is not known …; -ENOMEM; what reading gave
 */
int ng_form_choose(const struct ng_image *image, const struct ng_site *site, bool prologue,
	struct ng_form *ret_form, struct ng_diag *diag);

/**
 * Recognises Go's stack check at a function's entry, for Go 1.17 and newer. Pure.
 *
 * @param address of code[0]
 * @return its length in bytes, behind its last branch; 0 where it is none that is known
 */
uint8_t ng_form_check_length(const uint8_t *code, size_t size_bytes, uint64_t address);

#endif
