/* core/image/site: the choice in one function's bytes. Each comment is the assembly of the bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/image/site.h"

#define BASE 0x401000

/* Bytes as a string literal, with their length. */
#define CODE(text) (const uint8_t *)(text), sizeof(text) - 1

struct sample {
	const char *name;
	const uint8_t *code;
	size_t size_bytes;
	bool go;
	int error;
	uint32_t delta;
	enum ng_site_class class;
	bool exact;
	const char *insn;
};

/* `s:` is the entry, `m:` the way to morestack, `x` something far away. */
static const struct sample samples[] = {
	/* cmp 0x10(%r14),%rsp; jbe m; sub $8,%rsp; mov %rbp,(%rsp); .byte 0x48,0x8d,0x2c,0x24; call
	   x; test %rax,%rax; je 1f; nop; 1: mov (%rsp),%rbp; add $8,%rsp; ret; m: call x; jmp s */
	{"now_1_19",
		CODE("\x49\x3b\x66\x10\x76\x20\x48\x83\xec\x08\x48\x89\x2c\x24\x48\x8d\x2c\x24"
		     "\xe8\xe9\xff\x03\x00\x48\x85\xc0\x74\x01\x90\x48\x8b\x2c\x24\x48\x83\xc4"
		     "\x08\xc3\xe8\xd5\xff\x03\x00\xeb\xd3"),
		true, 0, 0x12, NG_SITE_EMULATED, true, "call"},
	/* cmp 0x10(%r14),%rsp; jbe m; push %rbp; mov %rsp,%rbp; call x; pop %rbp; ret; m: call x;
	   jmp s */
	{"now_1_21",
		CODE("\x49\x3b\x66\x10\x76\x0b\x55\x48\x89\xe5\xe8\xf1\xff\x03\x00\x5d\xc3\xe8"
		     "\xea\xff\x03\x00\xeb\xe8"),
		true, 0, 0xa, NG_SITE_EMULATED, true, "call"},
	/* cmp 0x10(%r14),%rsp; .byte 0x0f,0x86; .long m-1f; 1: push %rbp; mov %rsp,%rbp; call x;
	   test %rcx,%rcx; je 2f; nop; 2: pop %rbp; ret; m: call x; jmp s */
	{"now_1_24",
		CODE("\x49\x3b\x66\x10\x0f\x86\x11\x00\x00\x00\x55\x48\x89\xe5\xe8\xed\xff\x03"
		     "\x00\x48\x85\xc9\x74\x01\x90\x5d\xc3\xe8\xe0\xff\x03\x00\xeb\xde"),
		true, 0, 0xe, NG_SITE_EMULATED, true, "call"},
	/* cmp 0x10(%r14),%rsp; jbe m; push %rbp; mov %rsp,%rbp; call x; pop %rbp; ret; m: mov
	   %rax,8(%rsp); mov %rbx,16(%rsp); call x; mov 8(%rsp),%rax; mov 16(%rsp),%rbx; jmp s */
	{"small_frame_with_spills",
		CODE("\x49\x3b\x66\x10\x76\x0b\x55\x48\x89\xe5\xe8\xf1\xff\x03\x00\x5d\xc3\x48"
		     "\x89\x44\x24\x08\x48\x89\x5c\x24\x10\xe8\xe0\xff\x03\x00\x48\x8b\x44\x24"
		     "\x08\x48\x8b\x5c\x24\x10\xeb\xd4"),
		true, 0, 0xa, NG_SITE_EMULATED, true, "call"},
	/* cmp 0x18(%r14),%rsp; jbe m; push %rbp; mov %rsp,%rbp; call x; pop %rbp; ret; m: call x;
	   jmp s */
	{"stackguard1",
		CODE("\x49\x3b\x66\x18\x76\x0b\x55\x48\x89\xe5\xe8\xf1\xff\x03\x00\x5d\xc3\xe8"
		     "\xea\xff\x03\x00\xeb\xe8"),
		true, 0, 0xa, NG_SITE_EMULATED, true, "call"},
	/* .byte 0x4c,0x8d,0xa4,0x24; .long -0x1000; cmp 0x10(%r14),%r12; jbe m; push %rbp; mov
	   %rsp,%rbp; sub $0x1080,%rsp; nop; call x; add $0x1080,%rsp; pop %rbp; ret; m: call x; jmp
	   s */
	{"big_frame",
		CODE("\x4c\x8d\xa4\x24\x00\xf0\xff\xff\x4d\x3b\x66\x10\x76\x1a\x55\x48\x89\xe5"
		     "\x48\x81\xec\x80\x10\x00\x00\x90\xe8\xe1\xff\x03\x00\x48\x81\xc4\x80\x10"
		     "\x00\x00\x5d\xc3\xe8\xd3\xff\x03\x00\xeb\xd1"),
		true, 0, 0x1a, NG_SITE_EMULATED, true, "call"},
	/* mov %rsp,%r12; sub $0x20000,%r12; jb m; cmp 0x10(%r14),%r12; jbe m; push %rbp; mov
	   %rsp,%rbp; sub $0x20080,%rsp; call x; add $0x20080,%rsp; pop %rbp; ret; m: call x; jmp s
	 */
	{"huge_frame",
		CODE("\x49\x89\xe4\x49\x81\xec\x00\x00\x02\x00\x72\x1f\x4d\x3b\x66\x10\x76\x19"
		     "\x55\x48\x89\xe5\x48\x81\xec\x80\x00\x02\x00\xe8\xde\xff\x03\x00\x48\x81"
		     "\xc4\x80\x00\x02\x00\x5d\xc3\xe8\xd0\xff\x03\x00\xeb\xce"),
		true, 0, 0x1d, NG_SITE_EMULATED, true, "call"},
	/* mov %fs:-8,%rcx; cmp 0x10(%rcx),%rsp; jbe m; sub $8,%rsp; mov %rbp,(%rsp); lea
	   0(%rsp),%rbp; call x; mov (%rsp),%rbp; add $8,%rsp; ret; m: call x; jmp s */
	{"tls_small",
		CODE("\x64\x48\x8b\x0c\x25\xf8\xff\xff\xff\x48\x3b\x61\x10\x76\x1a\x48\x83\xec"
		     "\x08\x48\x89\x2c\x24\x48\x8d\x2c\x24\xe8\xe0\xff\x03\x00\x48\x8b\x2c\x24"
		     "\x48\x83\xc4\x08\xc3\xe8\xd2\xff\x03\x00\xeb\xd0"),
		true, 0, 0x1b, NG_SITE_EMULATED, true, "call"},
	/* mov %fs:-8,%rcx; .byte 0x48,0x8d,0x84,0x24; .long -0x1000; cmp 0x10(%rcx),%rax; jbe m;
	   sub $0x1080,%rsp; mov %rbp,0x1078(%rsp); lea 0x1078(%rsp),%rbp; call x; add $0x1080,%rsp;
	   ret; m: call x; jmp s */
	{"tls_big",
		CODE("\x64\x48\x8b\x0c\x25\xf8\xff\xff\xff\x48\x8d\x84\x24\x00\xf0\xff\xff\x48"
		     "\x3b\x41\x10\x76\x24\x48\x81\xec\x80\x10\x00\x00\x48\x89\xac\x24\x78\x10"
		     "\x00\x00\x48\x8d\xac\x24\x78\x10\x00\x00\xe8\xcd\xff\x03\x00\x48\x81\xc4"
		     "\x80\x10\x00\x00\xc3\xe8\xc0\xff\x03\x00\xeb\xbe"),
		true, 0, 0x2e, NG_SITE_EMULATED, true, "call"},
	/* mov %fs:-8,%rcx; mov 0x10(%rcx),%rsi; cmp $-1314,%rsi; je m; lea 0x3a0(%rsp),%rax; sub
	   %rsi,%rax; cmp $0x20000,%rax; jbe m; sub $0x20080,%rsp; mov %rbp,0x20078(%rsp); call x;
	   add $0x20080,%rsp; ret; m: call x; jmp s */
	{"tls_huge",
		CODE("\x64\x48\x8b\x0c\x25\xf8\xff\xff\xff\x48\x8b\x71\x10\x48\x81\xfe\xde\xfa"
		     "\xff\xff\x74\x2f\x48\x8d\x84\x24\xa0\x03\x00\x00\x48\x29\xf0\x48\x3d\x00"
		     "\x00\x02\x00\x76\x1c\x48\x81\xec\x80\x00\x02\x00\x48\x89\xac\x24\x78\x00"
		     "\x02\x00\xe8\xc3\xff\x03\x00\x48\x81\xc4\x80\x00\x02\x00\xc3\xe8\xb6\xff"
		     "\x03\x00\xeb\xb4"),
		true, 0, 0x38, NG_SITE_EMULATED, true, "call"},
	/* mov $-8,%rcx; mov %fs:(%rcx),%rcx; cmp 0x10(%rcx),%rsp; jbe m; sub $8,%rsp; mov
	   %rbp,(%rsp); call x; add $8,%rsp; ret; m: call x; jmp s */
	{"tls_pie",
		CODE("\x48\xc7\xc1\xf8\xff\xff\xff\x64\x48\x8b\x09\x48\x3b\x61\x10\x76\x12\x48"
		     "\x83\xec\x08\x48\x89\x2c\x24\xe8\xe2\xff\x03\x00\x48\x83\xc4\x08\xc3\xe8"
		     "\xd8\xff\x03\x00\xeb\xd6"),
		true, 0, 0x19, NG_SITE_EMULATED, true, "call"},
	/* mov 0x1000(%rip),%rcx; mov %fs:(%rcx),%rcx; cmp 0x10(%rcx),%rsp; jbe m; sub $8,%rsp; mov
	   %rbp,(%rsp); call x; add $8,%rsp; ret; m: call *0x1000(%rip); jmp s */
	{"tls_dynlink",
		CODE("\x48\x8b\x0d\x00\x10\x00\x00\x64\x48\x8b\x09\x48\x3b\x61\x10\x76\x12\x48"
		     "\x83\xec\x08\x48\x89\x2c\x24\xe8\xe2\xff\x03\x00\x48\x83\xc4\x08\xc3\xff"
		     "\x15\x00\x10\x00\x00\xeb\xd5"),
		true, 0, 0x19, NG_SITE_EMULATED, true, "call"},
	/* cmp 0x10(%r14),%rsp; jbe m; push %rbp; mov %rsp,%rbp; mov 8(%rbp),%rax; call x; call x;
	   pop %rbp; ret; m: call x; jmp s */
	{"race",
		CODE("\x49\x3b\x66\x10\x76\x14\x55\x48\x89\xe5\x48\x8b\x45\x08\xe8\xed\xff\x03"
		     "\x00\xe8\xe8\xff\x03\x00\x5d\xc3\xe8\xe1\xff\x03\x00\xeb\xdf"),
		true, 0, 0xe, NG_SITE_EMULATED, true, "call"},
	/* cmp 0x10(%r14),%rsp; jbe m; push %rbp; mov %rsp,%rbp; sub $16,%rsp; test %rax,%rax; nop;
	   jle 1f; call x; 1: pop %rbp; ret; m: call x; jmp s */
	{"leaf_after_check",
		CODE("\x49\x3b\x66\x10\x76\x15\x55\x48\x89\xe5\x48\x83\xec\x10\x48\x85\xc0\x90"
		     "\x7e\x05\xe8\xe7\xff\x03\x00\x5d\xc3\xe8\xe0\xff\x03\x00\xeb\xde"),
		true, 0, 0x11, NG_SITE_EMULATED, true, "nop"},
	/* push %rbp; mov %rsp,%rbp; sub $16,%rsp; call x; add $16,%rsp; pop %rbp; ret */
	{"nosplit_call",
		CODE("\x55\x48\x89\xe5\x48\x83\xec\x10\xe8\xf3\xff\x03\x00\x48\x83\xc4\x10\x5d"
		     "\xc3"),
		true, 0, 0x8, NG_SITE_EMULATED, true, "call"},
	/* push %rbp; mov %rsp,%rbp; sub $0x10,%rsp; mov %rsp,%r12; mov 0x30(%r14),%rbx; mov
	   0x368(%rbx),%rcx; cmp 0xc0(%rbx),%r14; jne 1f; mov (%rbx),%rdx; 1: ret */
	{"asm_now_1_21",
		CODE("\x55\x48\x89\xe5\x48\x83\xec\x10\x49\x89\xe4\x49\x8b\x5e\x30\x48\x8b\x8b"
		     "\x68\x03\x00\x00\x4c\x3b\xb3\xc0\x00\x00\x00\x75\x03\x48\x8b\x13\xc3"),
		true, 0, 0x0, NG_SITE_EMULATED, true, "push"},
	/* sub $0x18,%rsp; mov %rbp,0x10(%rsp); lea 0x10(%rsp),%rbp; mov %rsp,%r12; mov
	   0x30(%r14),%rbx; mov 0x328(%rbx),%rcx; cmp 0(%rbx),%r14; jne 1f; mov (%rbx),%rdx; 1: ret
	 */
	{"asm_now_1_19",
		CODE("\x48\x83\xec\x18\x48\x89\x6c\x24\x10\x48\x8d\x6c\x24\x10\x49\x89\xe4\x49"
		     "\x8b\x5e\x30\x48\x8b\x8b\x28\x03\x00\x00\x4c\x3b\x33\x75\x03\x48\x8b\x13"
		     "\xc3"),
		true, 0, 0x1f, NG_SITE_EMULATED, true, "jne"},
	/* cmp 0x10(%r14),%rsp; jbe m; push %rbp; mov %rsp,%rbp; cmp %rbx,%rax; nop; jae p; call x;
	   pop %rbp; ret; p: call x; nop; m: call x; jmp s */
	{"panic_before_the_check_tail",
		CODE("\x49\x3b\x66\x10\x76\x17\x55\x48\x89\xe5\x48\x39\xd8\x90\x73\x07\xe8\xeb"
		     "\xff\x03\x00\x5d\xc3\xe8\xe4\xff\x03\x00\x90\xe8\xde\xff\x03\x00\xeb\xdc"),
		true, 0, 0xd, NG_SITE_EMULATED, true, "nop"},
	/* endbr64; sub $8,%rsp; call x; add $8,%rsp; ret */
	{"c_main", CODE("\xf3\x0f\x1e\xfa\x48\x83\xec\x08\xe8\xf3\xff\x03\x00\x48\x83\xc4\x08\xc3"),
		false, 0, 0x8, NG_SITE_EMULATED, true, "call"},
	/* push %rbx; mov (%rdi),%rbx; call x; pop %rbx; ret */
	{"c_push", CODE("\x53\x48\x8b\x1f\xe8\xf7\xff\x03\x00\x5b\xc3"), false, 0, 0x0,
		NG_SITE_EMULATED, true, "push"},
	/* .byte 0xe9; .long x-1f; 1: */
	{"c_tail_jump", CODE("\xe9\xfb\xff\x03\x00"), false, 0, 0x0, NG_SITE_EMULATED, true, "jmp"},
	/* mov %edi,%eax; add $1,%eax; ret */
	{"c_stepped_only", CODE("\x89\xf8\x83\xc0\x01\xc3"), false, 0, 0x0, NG_SITE_STEPPED, true,
		"mov"},
	/* ret */
	{"c_only_ret", CODE("\xc3"), false, 0, 0x0, NG_SITE_STEPPED, true, "ret"},
	/* mov (%rdi),%rax; jmp *0x10(%rax) */
	{"c_vtable_jump", CODE("\x48\x8b\x07\xff\x60\x10"), false, 0, 0x0, NG_SITE_STEPPED, false,
		"mov"},
	/* push %rbp; mov %edi,%eax; cmp $5,%eax; ja 1f; lea 0x1000(%rip),%rdx; movslq
	   (%rdx,%rax,4),%rax; add %rdx,%rax; jmp *%rax; 1: pop %rbp; ret */
	{"c_table_framed",
		CODE("\x55\x89\xf8\x83\xf8\x05\x77\x10\x48\x8d\x15\x00\x10\x00\x00\x48\x63\x04"
		     "\x82\x48\x01\xd0\xff\xe0\x5d\xc3"),
		false, 0, 0x0, NG_SITE_EMULATED, true, "push"},
	/* dec %edi; jne s; ret */
	{"c_loop_within", CODE("\xff\xcf\x75\xfc\xc3"), false, 0, 0x2, NG_SITE_EMULATED, false,
		"jne"},
	/* lock decl (%rdi); jne s; ret */
	{"c_spinlock", CODE("\xf0\xff\x0f\x75\xfb\xc3"), false, 0, 0x3, NG_SITE_EMULATED, false,
		"jne"},
	/* jmp s */
	{"self_jump", CODE("\xeb\xfe"), false, 0, 0x0, NG_SITE_EMULATED, false, "jmp"},
	/* cmp $5,%edi; ja 1f; lea 0x1000(%rip),%rdx; movslq (%rdx,%rdi,4),%rax; add %rdx,%rax; jmp
	 *%rax; 1: ret */
	{"table_frameless",
		CODE("\x83\xff\x05\x77\x10\x48\x8d\x15\x00\x10\x00\x00\x48\x63\x04\xba\x48\x01"
		     "\xd0\xff\xe0\xc3"),
		false, 0, 0x3, NG_SITE_EMULATED, false, "ja"},
	/* cmp 0x10(%r14),%rsp; jbe m; push %rbp; mov %rsp,%rbp; t: call x; test %eax,%eax; jne t;
	   pop %rbp; ret; m: call x; jmp s */
	{"back_to_the_site",
		CODE("\x49\x3b\x66\x10\x76\x0f\x55\x48\x89\xe5\xe8\xf1\xff\x03\x00\x85\xc0\x75"
		     "\xf7\x5d\xc3\xe8\xe6\xff\x03\x00\xeb\xe4"),
		true, 0, 0x6, NG_SITE_EMULATED, true, "push"},
	/* cmp 0x10(%r14),%rsp; jbe m; push %rbp; mov %rsp,%rbp; t: call x; jmp *0x1000(,%rax,8);
	   inc %eax; jmp t; pop %rbp; ret; m: call x; jmp s */
	{"table_back_code",
		CODE("\x49\x3b\x66\x10\x76\x16\x55\x48\x89\xe5\xe8\xf1\xff\x03\x00\xff\x24\xc5"
		     "\x00\x10\x00\x00\xff\xc0\xeb\xf0\x5d\xc3\xe8\xdf\xff\x03\x00\xeb\xdd"),
		true, 0, 0x6, NG_SITE_EMULATED, true, "push"},
	/* cmp 0x10(%r14),%rsp; t: jbe m; push %rbp; mov %rsp,%rbp; call x; test %eax,%eax; je s;
	   pop %rbp; ret; m: call x; jmp s */
	{"into_the_check",
		CODE("\x49\x3b\x66\x10\x76\x0f\x55\x48\x89\xe5\xe8\xf1\xff\x03\x00\x85\xc0\x74"
		     "\xed\x5d\xc3\xe8\xe6\xff\x03\x00\xeb\xe4"),
		true, 0, 0xa, NG_SITE_EMULATED, false, "call"},
	/* cmp 0x10(%r14),%rsp; jbe m; push %rbp; test %eax,%eax; je n; pop %rbp; ret; m: mov
	   %rax,8(%rsp); n: call x; jmp s */
	{"into_the_way_back",
		CODE("\x49\x3b\x66\x10\x76\x07\x55\x85\xc0\x74\x07\x5d\xc3\x48\x89\x44\x24\x08"
		     "\xe8\xe9\xff\x03\x00\xeb\xe7"),
		true, 0, 0x9, NG_SITE_EMULATED, false, "je"},
	/* cmp 0x10(%r14),%rsp; .byte 0x76,0x70; push %rbp; mov %rsp,%rbp; call x; pop %rbp; ret */
	{"tail_outside",
		CODE("\x49\x3b\x66\x10\x76\x70\x55\x48\x89\xe5\xe8\xf1\xff\x03\x00\x5d\xc3"), true,
		0, 0xa, NG_SITE_EMULATED, false, "call"},
	/* push %rbp; mov %rsp,%rbp; t: mov $0x90909090,%eax; sub $16,%rsp; call x; jmp t+1 */
	{"into_the_middle",
		CODE("\x55\x48\x89\xe5\xb8\x90\x90\x90\x90\x48\x83\xec\x10\xe8\xee\xff\x03\x00"
		     "\xeb\xf1"),
		false, 0, 0x0, NG_SITE_EMULATED, true, "push"},
	/* push %rbp; t: nop; nop; call t; ret */
	{"call_into_the_body", CODE("\x55\x90\x90\xe8\xf9\xff\xff\xff\xc3"), false, 0, 0x0,
		NG_SITE_EMULATED, true, "push"},
	/* cmp 0x10(%r14),%rsp; jbe m; push %rbp; mov %rsp,%rbp; call x; pop %rbp; m: call x; jmp s
	 */
	{"falls_into_the_way_back",
		CODE("\x49\x3b\x66\x10\x76\x0a\x55\x48\x89\xe5\xe8\xf1\xff\x03\x00\x5d\xe8\xeb"
		     "\xff\x03\x00\xeb\xe9"),
		true, 0, 0xa, NG_SITE_EMULATED, false, "call"},
	/* cmp 0x10(%r14),%rsp; jbe m; push %rbp; mov %rsp,%rbp; call x; pop %rbp; jmp n; ud2; n:
	   nop; m: call x; jmp s */
	{"nop_before_the_way_back",
		CODE("\x49\x3b\x66\x10\x76\x0f\x55\x48\x89\xe5\xe8\xf1\xff\x03\x00\x5d\xeb\x02"
		     "\x0f\x0b\x90\xe8\xe6\xff\x03\x00\xeb\xe4"),
		true, 0, 0xa, NG_SITE_EMULATED, false, "call"},
	/* cmp 0x10(%r14),%rsp; jbe m; push %rbp; mov %rsp,%rbp; call x; pop %rbp; .byte 0x43; m:
	   call x; jmp s */
	{"overlaps_the_way_back",
		CODE("\x49\x3b\x66\x10\x76\x0b\x55\x48\x89\xe5\xe8\xf1\xff\x03\x00\x5d\x43\xe8"
		     "\xea\xff\x03\x00\xeb\xe8"),
		true, 0, 0xa, NG_SITE_EMULATED, false, "call"},
	/* lock incl (%rdi); vzeroupper; ud2 */
	{"lock_only", CODE("\xf0\xff\x07\xc5\xf8\x77\x0f\x0b"), false, -ENOEXEC, 0,
		NG_SITE_EMULATED, false, "-"},
	/* ud2 */
	{"ud2", CODE("\x0f\x0b"), true, -ENOEXEC, 0, NG_SITE_EMULATED, false, "-"},
	/* int3; ret */
	{"int3", CODE("\xcc\xc3"), false, -ENOEXEC, 0, NG_SITE_EMULATED, false, "-"},
	/* .byte 0,0,0,0 */
	{"zeros", CODE("\x00\x00\x00\x00"), false, -ENOEXEC, 0, NG_SITE_EMULATED, false, "-"},
	/* .byte 6,6,6 */
	{"no_code", CODE("\x06\x06\x06"), true, -ENOEXEC, 0, NG_SITE_EMULATED, false, "-"},
};

/* mov 8(%rax),%rcx; test %ecx,%ecx; je 1f; nop; 1: ret */
static void heeds_faults_that_are_outlived(void **state)
{
	static const uint8_t bytes[] = "\x48\x8b\x48\x08\x85\xc9\x74\x01\x90\xc3";
	struct ng_site_code code = {
		.bytes = bytes, .size_bytes = sizeof(bytes) - 1, .address = BASE, .go = true};
	struct ng_site site = {0};

	(void)state;
	assert_int_equal(ng_site_choose_in(&code, &site, NULL), 0);
	assert_int_equal(site.delta, 6); /* nothing comes after a fault: the last call is lost */
	assert_true(site.exact);
	code.outlives_faults = true;
	assert_int_equal(ng_site_choose_in(&code, &site, NULL), 0);
	assert_int_equal(site.delta, 0);
	assert_true(site.exact);
}

/* push %rbx; mov %rdi,%rbx; call x; pop %rbx; ret */
static struct ng_site site_with(const struct ng_joins *joins)
{
	static const uint8_t bytes[] = "\x53\x48\x89\xfb\xe8\xf7\xff\x03\x00\x5b\xc3";
	const struct ng_flow_data data = {.joins = joins};
	const struct ng_site_code code = {
		.bytes = bytes, .size_bytes = sizeof(bytes) - 1, .address = BASE, .data = &data};
	struct ng_site site = {0};

	assert_int_equal(ng_site_choose_in(&code, &site, NULL), 0);
	return site;
}

/* What leads into a function from outside is a jump like its own. */
static void heeds_joins(void **state)
{
	uint32_t to_call[] = {4}, into_call[] = {6}, behind[] = {9}, to_entry[] = {9, 0},
		 beyond[] = {11, UINT32_MAX};

	(void)state;
	assert_int_equal(site_with(NULL).delta, 4);
	assert_true(site_with(NULL).exact);
	assert_int_equal(site_with(&(struct ng_joins){.offsets = to_call, .count = 1}).delta, 0);
	assert_true(site_with(&(struct ng_joins){.offsets = to_call, .count = 1}).exact);
	assert_int_equal(site_with(&(struct ng_joins){.offsets = into_call, .count = 1}).delta, 4);
	assert_int_equal(site_with(&(struct ng_joins){.offsets = behind, .count = 1}).delta, 4);
	assert_true(site_with(&(struct ng_joins){.offsets = behind, .count = 1}).exact);
	assert_false(site_with(&(struct ng_joins){.offsets = to_entry, .count = 2}).exact);
	assert_int_equal(site_with(&(struct ng_joins){.offsets = beyond, .count = 2}).delta, 4);
	assert_int_equal(site_with(&(struct ng_joins){.wanders = true}).delta, 0);
	assert_true(site_with(&(struct ng_joins){.wanders = true}).exact);
	assert_false(site_with(&(struct ng_joins){.is_entered = true}).exact);
}

#define TABLE (BASE + 0x100000)

static int64_t read_table(uint64_t address, void *buffer, size_t size_bytes, void *context)
{
	const uint64_t *words = context;
	size_t count = 0;

	assert_true(address == TABLE && size_bytes >= 6 * sizeof(*words));
	while (words[count])
		count++;
	memcpy(buffer, words, (count + 1) * sizeof(*words));
	return (int64_t)((count + 1) * sizeof(*words));
}

/* incl 0x1000(%rip); mov %ecx,%eax; lea table(%rip),%rcx; jmp *(%rcx,%rax,8); nop; nop; xor
 * %eax,%eax; ret; ret */
static bool is_exact_with(const uint64_t *words)
{
	static const uint8_t bytes[] =
		"\xff\x05\x00\x10\x00\x00\x89\xc8\x48\x8d\x0d\xf1\xff\x0f\x00"
		"\xff\x24\xc1\x90\x90\x31\xc0\xc3\xc3";
	const struct ng_flow_data data = {.read = read_table, .context = (void *)words};
	const struct ng_site_code code = {.bytes = bytes,
		.size_bytes = sizeof(bytes) - 1,
		.address = BASE,
		.go = true,
		.data = words ? &data : NULL};
	struct ng_site site = {0};

	assert_int_equal(ng_site_choose_in(&code, &site, NULL), 0);
	assert_int_equal(site.delta, 0);
	return site.exact;
}

/* A table can lead back to the entry: only one that was read, and does not, is trusted. */
static void reads_jump_tables(void **state)
{
	static const uint64_t onward[] = {BASE + 0x14, BASE + 0x17, BASE + 0x14, BASE + 0x14, 0};
	static const uint64_t back[] = {BASE + 0x14, BASE + 0x17, BASE, BASE + 0x14, 0};
	static const uint64_t to_the_jump[] = {
		BASE + 0x14, BASE + 0xf, BASE + 0x17, BASE + 0x14, 0};
	static const uint64_t relocated[] = {0};

	(void)state;
	assert_true(is_exact_with(onward));
	assert_false(is_exact_with(back));
	assert_false(is_exact_with(to_the_jump));
	assert_false(is_exact_with(relocated));
	assert_false(is_exact_with(NULL));
}

/* The call that each run makes; with a second one, or behind a branch, none. */
static void finds_the_sure_call(void **state)
{
	/* push %rbp; mov %ecx,%eax; call x; test %eax,%eax; je 1f; call y; 1: pop %rbp; ret */
	static const uint8_t first[] = "\x55\x89\xc8\xe8\xf8\xff\x03\x00\x85\xc0\x74\x05\xe8\xef"
				       "\xff\x04\x00\x5d\xc3";
	/* push %rbp; mov %ecx,%eax; call x; test %eax,%eax; je 1f; call x; 1: pop %rbp; ret */
	static const uint8_t twice[] = "\x55\x89\xc8\xe8\xf8\xff\x03\x00\x85\xc0\x74\x05\xe8\xef"
				       "\xff\x03\x00\x5d\xc3";
	/* push %rbp; test %eax,%eax; je 1f; call x; 1: pop %rbp; ret */
	static const uint8_t branch[] = "\x55\x85\xc0\x74\x05\xe8\xf6\xff\x03\x00\x5d\xc3";
	/* push %rbp; 1: call x; test %eax,%eax; jne 1b; pop %rbp; ret */
	static const uint8_t loop[] = "\x55\xe8\xfa\xff\x03\x00\x85\xc0\x75\xf7\x5d\xc3";

	(void)state;
	assert_true(ng_site_sure_call(first, sizeof(first) - 1, BASE, true) == BASE + 0x40000);
	assert_true(ng_site_sure_call(twice, sizeof(twice) - 1, BASE, true) == 0);
	assert_true(ng_site_sure_call(branch, sizeof(branch) - 1, BASE, true) == 0);
	assert_true(ng_site_sure_call(loop, sizeof(loop) - 1, BASE, true) == 0);
	assert_true(ng_site_sure_call(first, 0, BASE, true) == 0);
}

/* From a buffer of exactly that size, so that reading beyond it is noticed. */
static int choose(
	const struct sample *sample, size_t size_bytes, struct ng_site *site, struct ng_diag *diag)
{
	uint8_t *copy = malloc(size_bytes ? size_bytes : 1);
	int error;

	assert_non_null(copy);
	memcpy(copy, sample->code, size_bytes);
	error = ng_site_choose(copy, size_bytes, BASE, sample->go, site, diag);
	free(copy);
	return error;
}

static void chooses_what_it_should(void **state)
{
	size_t wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		const struct sample *want = &samples[i];
		struct ng_diag diag = NG_DIAG_INIT;
		struct ng_site site = {.insn = "-"};
		int error = choose(want, want->size_bytes, &site, &diag);

		if (error == want->error && site.delta == want->delta &&
			site.class == want->class && site.exact == want->exact &&
			strcmp(site.insn, want->insn) == 0 && (error == 0) == !diag.text[0])
			continue;
		wrong++;
		print_error("%s: error %d, +%#x, class %d, exact %d, %s: %s%s\n", want->name, error,
			site.delta, site.class, site.exact, site.insn, site.why, diag.text);
	}
	assert_int_equal(wrong, 0);
}

/* The last branch of a proven check, by the way from it to the site. */
static void knows_what_leads_to_it(void **state)
{
	static const struct {
		const char *name;
		uint32_t lead;
	} wanted[] = {{"now_1_19", 0xe}, {"now_1_21", 6}, {"now_1_24", 10}, {"huge_frame", 13},
		{"tls_small", 0xe}, {"nosplit_call", 0}};

	(void)state;
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		const struct sample *sample = samples;
		struct ng_site site = {.lead = 99};

		while (strcmp(sample->name, wanted[i].name) != 0)
			sample++;
		assert_int_equal(choose(sample, sample->size_bytes, &site, NULL), 0);
		assert_int_equal(site.lead, wanted[i].lead);
	}
}

static void fills_the_rest(void **state)
{
	struct ng_site site = {.function = (char *)"mine", .offset = 7, .kind = NG_SITE_FUNCTION};

	(void)state;
	assert_int_equal(choose(&samples[1], samples[1].size_bytes, &site, NULL), 0);
	assert_true(site.entry == BASE && site.address == BASE + 0xa);
	assert_int_equal(site.length, 5);
	assert_memory_equal(site.bytes, samples[1].code + 0xa, 5);
	assert_int_equal(site.bytes[5], 0);
	assert_non_null(strstr(site.why, "after the stack check"));
	assert_string_equal(site.function, "mine"); /* left as it was */
	assert_true(site.offset == 7);
}

/* Cut anywhere: an error, or a site that lies within, and is what the whole bytes begin with. */
static void bears_any_truncation(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		for (size_t size = 0; size < samples[i].size_bytes; size++) {
			struct ng_diag diag = NG_DIAG_INIT;
			struct ng_site site = {0};

			if (choose(&samples[i], size, &site, &diag)) {
				assert_true(diag.text[0]);
				continue;
			}
			assert_true(site.delta + site.length <= size);
			assert_memory_equal(site.bytes, samples[i].code + site.delta, site.length);
			/* The way back is gone: how often the check runs is not known. */
			if (samples[i].go && samples[i].size_bytes - size == 1 &&
				!strncmp(samples[i].name, "now_", 4))
				assert_false(site.exact);
		}
	}
}

/* Code that wraps around the end of the address space: by offsets, as anywhere else. */
static void bears_any_address(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		const uint64_t address = 0 - (uint64_t)samples[i].size_bytes / 2;
		struct ng_site site = {0};
		int error = ng_site_choose(samples[i].code, samples[i].size_bytes, address,
			samples[i].go, &site, NULL);

		assert_int_equal(error, samples[i].error);
		assert_int_equal(site.delta, samples[i].delta);
		assert_int_equal(site.exact, samples[i].exact);
	}
}

/* What goes wrong in a stack check that leads out of the bytes is not called exact. */
static void takes_no_check_on_trust(void **state)
{
	struct ng_site site = {0};

	(void)state;
	assert_int_equal(choose(&samples[1], 0x11, &site, NULL), 0); /* the tail is cut off */
	assert_false(site.exact);
	assert_int_equal(site.lead, 0);
}

/* Time must not grow with the square of the size: 4 MiB of jumps, each to the one before. */
static void is_not_quadratic(void **state)
{
	const size_t size_bytes = 4u << 20;
	uint8_t *code = malloc(size_bytes);
	struct timespec from, to;
	struct ng_site site = {0};

	(void)state;
	assert_non_null(code);
	for (size_t i = 0; i < size_bytes; i += 2)
		memcpy(code + i, "\x74\xfc", 2);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
	(void)ng_site_choose(
		code, size_bytes, BASE, true, &site, NULL); /* its answer is no matter */
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
	assert_true(to.tv_sec - from.tv_sec < 20); /* 2 s under ASan, 0.7 s without */
	free(code);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chooses_what_it_should),
		cmocka_unit_test(knows_what_leads_to_it),
		cmocka_unit_test(fills_the_rest),
		cmocka_unit_test(bears_any_truncation),
		cmocka_unit_test(bears_any_address),
		cmocka_unit_test(takes_no_check_on_trust),
		cmocka_unit_test(heeds_faults_that_are_outlived),
		cmocka_unit_test(heeds_joins),
		cmocka_unit_test(reads_jump_tables),
		cmocka_unit_test(finds_the_sure_call),
		cmocka_unit_test(is_not_quadratic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
