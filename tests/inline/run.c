#include "tests/inline/run.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define CODE_BYTES    (4 * NG_AREA_PAGE)
#define HANDLER_PLACE 1024
#define STUBS_PLACE   8192
#define SITES_APART   128

/*
 * Loads all registers, calls, stores all. By memory relative to the code: no register is free. One
 * thread at a time.
 */
__asm__(".bss\n.balign 16\n"
	"run_code: .quad 0\nrun_stack: .quad 0\nrun_pointer: .quad 0\nrun_rax: .quad 0\n"
	".text\n.globl ng_run_returns\n.type run_registers,@function\nrun_registers:\n"
	"push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
	"mov %rsi,run_code(%rip)\nmov %rdi,run_pointer(%rip)\nmov %rdi,%rax\n"
	".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\nmovaps 144+16*\\n(%rax),%xmm\\n\n.endr\n"
	"pushq 128(%rax)\npopfq\n"
	"mov 8(%rax),%rcx\nmov 16(%rax),%rdx\nmov 24(%rax),%rbx\nmov 40(%rax),%rbp\n"
	"mov 48(%rax),%rsi\nmov 56(%rax),%rdi\n"
	".irp n,8,9,10,11,12,13,14,15\nmov 8*\\n(%rax),%r\\n\n.endr\n"
	"mov (%rax),%rax\nmov %rsp,run_stack(%rip)\n"
	"call *run_code(%rip)\n"
	"ng_run_returns:\n"
	"mov %rax,run_rax(%rip)\nmov run_pointer(%rip),%rax\n"
	"mov %rcx,8(%rax)\nmov %rdx,16(%rax)\nmov %rbx,24(%rax)\n"
	"mov %rbp,40(%rax)\nmov %rsi,48(%rax)\nmov %rdi,56(%rax)\n"
	".irp n,8,9,10,11,12,13,14,15\nmov %r\\n,8*\\n(%rax)\n.endr\n"
	".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\nmovaps %xmm\\n,144+16*\\n(%rax)\n.endr\n"
	"mov run_rax(%rip),%rcx\nmov %rcx,(%rax)\n"
	"mov %rsp,%rcx\nsub run_stack(%rip),%rcx\nmov %rcx,32(%rax)\n" /* 0: balanced */
	"pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n"
	".size run_registers,.-run_registers\n"
	/* run_many(code, count, g, m, frame) */
	".globl ng_run_many_returns\n.type run_many,@function\nrun_many:\n"
	"push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\nsub $24,%rsp\n"
	"mov %rdx,%r14\nmov %rcx,%rbx\nmov %r8,%rbp\n"
	"mov %rdi,8(%rsp)\nmov %rsi,(%rsp)\n"
	"1: call *8(%rsp)\n"
	"ng_run_many_returns:\n"
	"decq (%rsp)\njne 1b\n"
	"add $24,%rsp\npop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n"
	".size run_many,.-run_many\n"
	/* run_on(code, top, g, m, frame) */
	".type run_on,@function\nrun_on:\n"
	"push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
	"mov %rdx,%r14\nmov %rcx,%rbx\nmov %r8,%rbp\nmov %rsp,-8(%rsi)\nlea -8(%rsi),%rsp\n"
	"call *%rdi\n"
	"mov (%rsp),%rsp\n"
	"pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n"
	".size run_on,.-run_on\n");

void run_registers(struct ng_run_registers *registers, const void *code);
void run_on(const void *code, void *top, const void *g, const void *m, const void *frame);
void run_many(const void *code, uint64_t count, const void *g, const void *m, const void *frame);

static uint8_t *site_code(const struct ng_run *run, enum ng_run_site site)
{
	return run->code + (size_t)site * SITES_APART;
}

/* lock incq reached[site](%rip) */
static uint8_t *put_reached(const struct ng_run *run, uint8_t *at, enum ng_run_site site)
{
	const int32_t distance = (int32_t)((uint8_t *)&run->reached[site] - (at + 8));
	static const uint8_t increment[] = {0xf0, 0x48, 0xff, 0x05};

	if (run->is_quiet)
		return at;
	memcpy(at, increment, sizeof(increment));
	memcpy(at + 4, &distance, sizeof(distance));
	return at + 8;
}

/* mov $0,%edi; lock incq reached; ret */
static void make_clock(struct ng_run *run)
{
	uint8_t *at = site_code(run, NG_RUN_CLOCK);
	struct ng_form *form = &run->forms[NG_RUN_CLOCK];

	*form = (struct ng_form){.kind = NG_FORM_CLOCK,
		.address = (uint64_t)at,
		.next = (uint64_t)at + 5,
		.clock_id = 7};
	memcpy(at, "\xbf\x07\x00\x00\x00", 5);
	at = put_reached(run, at + 5, NG_RUN_CLOCK);
	*at = 0xc3;
}

/* call 1f; ret; 1: lock incq reached; ret */
static void make_call(struct ng_run *run)
{
	uint8_t *at = site_code(run, NG_RUN_CALL);
	struct ng_form *form = &run->forms[NG_RUN_CALL];

	*form = (struct ng_form){
		.kind = NG_FORM_CALL, .address = (uint64_t)at, .next = (uint64_t)at + 6};
	memcpy(at, "\xe8\x01\x00\x00\x00\xc3", 6);
	at = put_reached(run, at + 6, NG_RUN_CALL);
	*at = 0xc3;
}

/* cmp 0x10(%r14),%rsp; jbe 1f; lock incq reached; ret; 1: mov %rsp,0x18(%r14); ret */
static void make_prologue(struct ng_run *run)
{
	uint8_t *at = site_code(run, NG_RUN_PROLOGUE);
	struct ng_form *form = &run->forms[NG_RUN_PROLOGUE];

	*form = (struct ng_form){.kind = NG_FORM_PROLOGUE,
		.address = (uint64_t)at,
		.next = (uint64_t)at + 6,
		.check_bytes = 6,
		.is_bare = true};
	memcpy(at, "\x49\x3b\x66\x10\x76\x09", 6);
	at[5] = run->is_quiet ? 1 : 9;
	memcpy(form->check, at, 6);
	at = put_reached(run, at + 6, NG_RUN_PROLOGUE);
	*at++ = 0xc3;
	memcpy(at, "\x49\x89\x66\x18\xc3", 5);
}

static void enter(struct ng_run *run, uint32_t site)
{
	const struct ng_stub_place place = {
		.code = (uint64_t)(run->code + STUBS_PLACE + (size_t)site * NG_STUB_BYTES_MAX),
		.handler = (uint64_t)(run->code + HANDLER_PLACE),
		.area = (uint64_t)run->area,
		.site = site,
		.thread_lines = run->layout.thread_lines,
		.lines_offset = run->layout.lines_offset};
	uint8_t patch[NG_FORM_BYTES];
	size_t bytes;

	if (ng_stub_make(&run->forms[site], &place, (uint8_t *)place.code, &bytes, NULL) ||
		ng_stub_patch(&run->forms[site], &place, patch, NULL) || bytes > NG_STUB_BYTES_MAX)
		abort();
	memcpy((uint8_t *)run->forms[site].address, patch, sizeof(patch));
	ng_layout_set_site(run->area, site, &run->forms[site]);
}

static void prepare(struct ng_run *run, const struct ng_layout *wanted, bool is_quiet)
{
	const struct ng_area_owner owner = {.pid = 1, .start_ns = 2, .target_pid = 3};

	*run = (struct ng_run){.layout = *wanted, .is_quiet = is_quiet};
	run->layout.site_count = NG_RUN_SITES;
	if (ng_layout_fill(&run->layout, NULL))
		abort();
	/* code; how often reached; the own page; the area, shared with children by fork */
	run->bytes = CODE_BYTES + 2 * NG_AREA_PAGE + run->layout.area_bytes;
	run->code =
		mmap(NULL, run->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (run->code == MAP_FAILED)
		abort();
	run->reached = (uint64_t *)(void *)(run->code + CODE_BYTES);
	run->own = run->code + CODE_BYTES + NG_AREA_PAGE;
	run->area = run->own + NG_AREA_PAGE;
	if (madvise(run->own, NG_AREA_PAGE, MADV_WIPEONFORK) ||
		mmap(run->area, run->layout.area_bytes, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != run->area)
		abort();
	((struct ng_area_own *)(void *)run->own)->is_owner = 1;
	ng_layout_write(&run->layout, &owner, 1, run->area);
	memcpy(run->code + HANDLER_PLACE, ng_handler_code, ng_handler_bytes);
	make_clock(run);
	make_call(run);
	make_prologue(run);
	for (uint32_t site = 0; site < NG_RUN_SITES; site++) {
		run->forms[site].goroutine =
			(struct ng_goroutine){.g = NG_G_R14, .id_offset = NG_RUN_G_ID};
		run->forms[site].m_id_offset = NG_RUN_M_ID;
		run->forms[site].tid_offset = NG_RUN_M_TID;
		run->forms[site].is_plain = true;
	}
}

static void finish(struct ng_run *run, bool entered)
{
	for (uint32_t site = 0; site < NG_RUN_SITES && entered; site++)
		enter(run, site);
	if (mprotect(run->code, CODE_BYTES, PROT_READ | PROT_EXEC))
		abort();
}

void ng_run_open(struct ng_run *run, const struct ng_layout *wanted,
	void (*change)(struct ng_form forms[NG_RUN_SITES]))
{
	prepare(run, wanted, false);
	if (change)
		change(run->forms);
	finish(run, true);
}

void ng_run_open_quiet(struct ng_run *run, const struct ng_layout *wanted, bool entered)
{
	prepare(run, wanted, true);
	finish(run, entered);
}

void ng_run_close(struct ng_run *run)
{
	munmap(run->code, run->bytes);
}

void ng_run_thread_init(struct ng_run_thread *thread, uint64_t m_id, uint64_t goroutine,
	size_t depth, uint64_t first)
{
	uint64_t *stack = thread->stack;

	memset(thread, 0, sizeof(*thread));
	thread->g[0] = (uint64_t)stack;
	thread->g[1] = (uint64_t)(stack + sizeof(thread->stack) / sizeof(stack[0]));
	thread->g[6] = (uint64_t)thread->m;
	thread->g[NG_RUN_G_ID / 8] = goroutine;
	thread->m[NG_RUN_M_ID / 8] = m_id;
	thread->m[NG_RUN_M_TID / 8] = 1000 + m_id;
	for (size_t i = 0; i < depth && i < NG_RUN_FRAMES; i++) {
		stack[2 * i] = i + 1 < depth ? (uint64_t)(stack + 2 * i + 2) : 0;
		stack[2 * i + 1] = first + i;
	}
}

void ng_run_registers_init(struct ng_run_registers *registers, const struct ng_run_thread *thread)
{
	for (uint64_t i = 0; i < 16; i++) {
		registers->general[i] = 0x1111111111111111ull * i + 0xabc;
		registers->vector[i][0] = registers->vector[i][1] = 0x0101010101010101ull * (i + 1);
	}
	registers->vector[15][0] = registers->vector[15][1] = 0;
	registers->flags = 0x202;
	registers->general[NG_RBX] = (uint64_t)thread->m;
	registers->general[NG_RBP] = (uint64_t)thread->stack;
	registers->general[14] = (uint64_t)thread->g;
}

void ng_run_call(
	const struct ng_run *run, enum ng_run_site site, struct ng_run_registers *registers)
{
	run_registers(registers, site_code(run, site));
}

void ng_run_many(const struct ng_run *run, enum ng_run_site site,
	const struct ng_run_thread *thread, uint64_t count)
{
	if (count)
		run_many(site_code(run, site), count, thread->g, thread->m, thread->stack);
}

void ng_run_many_on(const struct ng_run *run, enum ng_run_site site,
	const struct ng_run_thread *thread, uint64_t *top)
{
	run_on(site_code(run, site), top, thread->g, thread->m, thread->stack);
}
