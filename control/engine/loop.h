/*
 * Loops of known code, to measure what a hit costs: each calls one small function an iteration,
 * with one kind of instruction at a known address in it, in nowgate's own binary.
 *
 * It is a function that returns, as those that people trace are: the return after a hit is
 * mispredicted, for the kernel's own calls have filled the return stack buffer, and that is part of
 * what a hit costs (measured: 520 ns for a push in a bare loop, 795 with one return after it, 860
 * with eight).
 */
#ifndef NG_CONTROL_ENGINE_LOOP_H
#define NG_CONTROL_ENGINE_LOOP_H

#include <stdint.h>

#include "core/base/diag.h"
#include "core/image/site.h"

/** The loops. The first stand for their class: a site of the class costs what they cost. */
enum ng_loop_number {
	NG_LOOP_CALL = NG_SITE_EMULATED, /* the site that is chosen in most Go functions */
	NG_LOOP_CMP = NG_SITE_STEPPED,	 /* Go's stack check, where other tools probe */
	NG_LOOP_PUSH,
	NG_LOOP_BRANCH,
	NG_LOOP_NOP5, /* what newer kernels turn into a system call: no trap at all */
	NG_LOOP_COUNT,
	NG_LOOP_LED = NG_LOOP_COUNT, /* as call, with a lead before it: armed in windows only */
	NG_LOOPS_ALL,
};

struct ng_loop {
	enum ng_site_class class;
	const char *insn;		  /* mnemonic of the instruction at the site */
	void (*run)(uint64_t iterations); /* iterations: at least 1 */
	const void *site;		  /* the instruction's first byte */
	const void *lead;		  /* that of its lead (bpf/abi.h); NULL: it has none */
};

const struct ng_loop *ng_loop_get(enum ng_loop_number number);

/**
 * Where a site or a lead of a loop stands in the file that this process runs, for a uprobe on
 * /proc/self/exe.
 *
 * @return 0; -ENOENT where no segment of the executable holds it
 */
int ng_loop_offset(const void *place, uint64_t *ret_offset, struct ng_diag *diag);

#endif
