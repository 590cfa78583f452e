/*
 * Calls functions whose code is entered, left and laid out in unusual ways, and says how often it
 * called each.
 *
 *	shapes N [hold]
 *
 * A name with a capital is one that no count can be exact for: it is entered otherwise than at its
 * entry as well, or its entry is where a loop of its own begins.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline, noclone, noipa))

void step(void);
void complain(void);
long cold_retry(long n), cold_head_Entry(long n), entered_Before(void), entered_Behind(void);
long doors_Outer(void), doors_inner(void), falls_into_next(void), fallen_into(void);
long duff_Middle(void), branches_away(long n), jumps_near(void), near_Target(void);
void enter_before(void), enter_behind(void), enter_duff(void);

static volatile long steps, complaints, tries_left;
static long (*volatile by_pointer)(void);

NOINLINE void step(void)
{
	steps++;
}

__attribute__((cold)) NOINLINE void complain(void)
{
	complaints++;
	tries_left--;
}

/* clang-format off */
asm(".macro function name\n"
    " .globl \\name\n"
    " .type \\name, @function\n"
    " .p2align 4\n"
    "\\name:\n"
    ".endm\n"
    ".macro end name\n"
    " .size \\name, . - \\name\n"
    ".endm\n"
    ".text\n"
    /* Its cold part leads back to before the first call. */
    "function cold_retry\n"
    " push %rbx\n"
    " mov %rdi, %rbx\n"
    "1: call step\n"
    " cmpq $0, tries_left(%rip)\n"
    " jg cold_retry.cold\n"
    " mov %rbx, %rax\n"
    " pop %rbx\n"
    " ret\n"
    "end cold_retry\n"
    ".pushsection .text.unlikely, \"ax\"\n"
    " .type cold_retry.cold, @function\n"
    "cold_retry.cold:\n"
    " call complain\n"
    " jmp 1b\n"
    "end cold_retry.cold\n"
    ".popsection\n"
    /* Its cold part leads back to the entry itself, which is no call. */
    "function cold_head_Entry\n"
    " sub $8, %rsp\n"
    " call step\n"
    " add $8, %rsp\n"
    " cmpq $0, tries_left(%rip)\n"
    " jg cold_head_Entry.cold\n"
    " ret\n"
    "end cold_head_Entry\n"
    ".pushsection .text.unlikely, \"ax\"\n"
    " .type cold_head_Entry.cold, @function\n"
    "cold_head_Entry.cold:\n"
    " sub $8, %rsp\n"
    " call complain\n"
    " add $8, %rsp\n"
    " jmp cold_head_Entry\n"
    "end cold_head_Entry.cold\n"
    ".popsection\n"
    /* Others jump into its midst, before and behind its only call. */
    "function entered_Before\n"
    " push %rbx\n"
    " nopw 0x0(%rax,%rax,1)\n"
    "2: call step\n"
    " pop %rbx\n"
    " ret\n"
    "end entered_Before\n"
    ".skip 300, 0x90\n"
    "function enter_before\n"
    " push %rbx\n"
    " jmp 2b\n"
    "end enter_before\n"
    "function entered_Behind\n"
    " push %rbx\n"
    " call step\n"
    "3: call step\n"
    " pop %rbx\n"
    " ret\n"
    "end entered_Behind\n"
    ".skip 300, 0x90\n"
    "function enter_behind\n"
    " push %rbx\n"
    " test %rsp, %rsp\n"
    " jne 3b\n"
    " ud2\n"
    "end enter_behind\n"
    /* By a short jump. */
    "function near_Target\n"
    " push %rbx\n"
    "4: call step\n"
    " pop %rbx\n"
    " ret\n"
    "end near_Target\n"
    "function jumps_near\n"
    " push %rbx\n"
    " jmp 4b\n"
    "end jumps_near\n"
    /* A function within another, called by a pointer alone. */
    "function doors_Outer\n"
    " mov $1, %eax\n"
    " mov $2, %ecx\n"
    " .globl doors_inner\n"
    " .type doors_inner, @function\n"
    "doors_inner:\n"
    " push %rbx\n"
    " call step\n"
    " pop %rbx\n"
    " ret\n"
    "end doors_inner\n"
    "end doors_Outer\n"
    /* One that falls into the next. */
    "function falls_into_next\n"
    " push %rbx\n"
    " call step\n"
    " pop %rbx\n"
    "end falls_into_next\n"
    "function fallen_into\n"
    " push %rbx\n"
    " call step\n"
    " pop %rbx\n"
    " ret\n"
    "end fallen_into\n"
    /* As runtime.duffzero: called anywhere. */
    "function duff_Middle\n"
    " push %rbx\n"
    " pop %rbx\n"
    "5: incq steps(%rip)\n"
    " incq steps(%rip)\n"
    " ret\n"
    "end duff_Middle\n"
    ".skip 300, 0x90\n"
    "function enter_duff\n"
    " sub $8, %rsp\n"
    " call 5b\n"
    " add $8, %rsp\n"
    " ret\n"
    "end enter_duff\n"
    /* A conditional tail call. */
    "function branches_away\n"
    " test $1, %dil\n"
    " jne fallen_into\n"
    " mov %rdi, %rax\n"
    " ret\n"
    "end branches_away\n");
/* clang-format on */

/* What gcc makes of the same: with -O2 the way back is in gcc_retry.cold. */
NOINLINE long gcc_retry(long n)
{
	step();
again:
	step();
	if (__builtin_expect(tries_left > 0, 0)) {
		complain();
		goto again;
	}
	return n;
}

/* The first call is the loop's head. */
NOINLINE long gcc_first(long n)
{
again:
	step();
	if (__builtin_expect(tries_left > 0, 0)) {
		complain();
		goto again;
	}
	return n + steps;
}

NOINLINE long by_table(long n)
{
	step();
	switch (n % 9) {
	case 0:
		return steps + 3;
	case 1:
		complain();
		return steps ^ 5;
	case 2:
		return steps * 7;
	case 3:
		step();
		return 1;
	case 4:
		return steps - 9;
	case 5:
		return steps / 11;
	case 6:
		return steps % 13;
	case 7:
		return steps << 2;
	}
	return 0;
}

/* A switch in a loop: its table leads back. */
NOINLINE long machine(long n)
{
	long state = n % 4, sum = 0;

	for (int i = 0; i < 6; i++) {
		switch (state) {
		case 0:
			step();
			state = 3;
			break;
		case 1:
			sum += steps;
			state = 5;
			break;
		case 2:
			state = 0;
			sum ^= n;
			break;
		case 3:
			step();
			state = 1;
			break;
		case 4:
			sum *= 3;
			state = 2;
			break;
		case 5:
			state = 4;
			sum -= steps;
			break;
		}
	}
	return sum;
}

NOINLINE long tail_called(long n)
{
	return n + steps;
}

NOINLINE long tail_calls(long n)
{
	return tail_called(n + 1);
}

/* Each calls the other by a jump, n times in all. */
long ping(long n);
NOINLINE long pong(long n)
{
	steps++;
	return n ? ping(n - 1) : steps;
}

NOINLINE long ping(long n)
{
	complaints++;
	return n ? pong(n - 1) : steps;
}

NOINLINE long name_one(long n)
{
	step();
	return n + steps;
}

long name_two(long n) __attribute__((alias("name_one")));

#define SAY(name, calls) printf("%s\"%s\": %ld", said++ ? ", " : "{", name, (long)(calls))

int main(int argc, char **argv)
{
	const long n = argc > 1 ? atol(argv[1]) : 1;
	long said = 0;

	if (argc > 2) {
		printf("ready %d\n", getpid());
		fflush(stdout);
		(void)getchar();
	}
	for (long i = 0; i < n; i++) {
		tries_left = i % 4;
		cold_retry(i);
		tries_left = i % 4;
		cold_head_Entry(i);
		tries_left = i % 4;
		gcc_retry(i);
		tries_left = i % 4;
		gcc_first(i);
		entered_Before();
		enter_before();
		entered_Behind();
		enter_behind();
		near_Target();
		jumps_near();
		duff_Middle();
		enter_duff();
		doors_Outer();
		by_pointer = doors_inner;
		by_pointer();
		falls_into_next();
		fallen_into();
		branches_away(i);
		by_table(i);
		machine(i);
		tail_called(i);
		tail_calls(i);
		name_one(i);
		name_two(i);
	}
	ping(2 * n - 1);
	SAY("cold_retry", n);
	SAY("cold_head_Entry", n);
	SAY("gcc_retry", n);
	SAY("gcc_first", n);
	SAY("entered_Before", n);
	SAY("entered_Behind", n);
	SAY("near_Target", n);
	SAY("duff_Middle", n);
	SAY("doors_Outer", n);
	SAY("doors_inner", 2 * n);
	SAY("falls_into_next", n);
	SAY("fallen_into", 2 * n + n / 2);
	SAY("branches_away", n);
	SAY("by_table", n);
	SAY("machine", n);
	SAY("tail_called", 2 * n);
	SAY("tail_calls", n);
	SAY("ping", n);
	SAY("pong", n);
	SAY("name_one", 2 * n);
	SAY("name_two", 2 * n);
	printf("}\n");
	fflush(stdout);
	if (argc > 2)
		(void)getchar();
	return 0;
}
