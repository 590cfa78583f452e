/* The inline engine's code, run in this very process: memory laid out as a target has it, a fake g
 * and m, and calls with all registers chosen and looked at. */
#ifndef NG_TESTS_INLINE_RUN_H
#define NG_TESTS_INLINE_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/inline/layout.h"
#include "core/inline/stub.h"

#define NG_RUN_SITES  3 /* clock, call, prologue */
#define NG_RUN_M_ID   0xe8
#define NG_RUN_M_TID  0x48
#define NG_RUN_G_ID   152
#define NG_RUN_FRAMES 200

enum ng_run_site {
	NG_RUN_CLOCK,
	NG_RUN_CALL,
	NG_RUN_PROLOGUE,
};

/** All registers, as they are before and after. */
struct ng_run_registers {
	uint64_t general[16]; /* rax, rcx, rdx, rbx, rsp (ignored), rbp, rsi, rdi, r8 … r15 */
	uint64_t flags;	      /* after: ignored */
	uint64_t vector[16][2] __attribute__((aligned(16)));
};

enum { NG_RAX, NG_RCX, NG_RDX, NG_RBX, NG_RSP, NG_RBP, NG_RSI, NG_RDI };

/** What a thread has: Go's g and m, and a stack to be walked. */
struct ng_run_thread {
	uint64_t g[64];
	uint64_t m[64];
	uint64_t stack[2 * NG_RUN_FRAMES + 2];
};

struct ng_run {
	struct ng_layout layout;
	struct ng_form forms[NG_RUN_SITES];
	uint8_t *code; /* the sites' functions, the handler, and the entry code */
	uint8_t *own;
	uint8_t *area;
	size_t bytes; /* of all, from code on */
	bool is_quiet;
	uint64_t *reached; /* how often each site's function was run behind its site */
};

/** Maps it all, and enters the sites. @param change may change forms before; NULL: as they are */
void ng_run_open(struct ng_run *run, const struct ng_layout *wanted,
	void (*change)(struct ng_form forms[NG_RUN_SITES]));
/** The same for measuring: what is behind a site does nothing. @param entered or as it was before
 */
void ng_run_open_quiet(struct ng_run *run, const struct ng_layout *wanted, bool entered);
void ng_run_close(struct ng_run *run);

/** A thread with an id and a goroutine, and `depth` frames with return addresses first, first + 1 …
 */
void ng_run_thread_init(struct ng_run_thread *thread, uint64_t m_id, uint64_t goroutine,
	size_t depth, uint64_t first);

/** Registers as a thread has them at any site. */
void ng_run_registers_init(struct ng_run_registers *registers, const struct ng_run_thread *thread);

/** Calls a site's function with registers; they are as it left them. */
void ng_run_call(
	const struct ng_run *run, enum ng_run_site site, struct ng_run_registers *registers);

/** Only calls it, with g, m and the frame pointer set: cheap. */
void ng_run_many(const struct ng_run *run, enum ng_run_site site,
	const struct ng_run_thread *thread, uint64_t count);

/** The same once, on a stack of the test's own. @param top its upper end */
void ng_run_many_on(const struct ng_run *run, enum ng_run_site site,
	const struct ng_run_thread *thread, uint64_t *top);

/** The return address that a call at the site in the prologue or the call leaves on the stack. */
extern const uint8_t ng_run_returns[], ng_run_many_returns[];

#endif
