/* Whether a thread is in our code: by its counter, or by a signal's frame that is alive. The memory
 * of the process is a file here, at the same offsets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ucontext.h>
#include <unistd.h>

#include "control/inject/patch.h"

#define CODE	    0x400000u
#define STACK	    0x10000u /* a thread's own … */
#define SIGNALS	    0x14000u /* … and that for signals, of so many bytes */
#define SIGNAL_SIZE 0x4000u
#define END	    0x20000u

/* What the kernel puts on a stack for a handler: struct rt_sigframe, of which the first word is
 * where the handler returns to. */
struct frame {
	uint64_t restorer;
	ucontext_t context;
};

static const struct ng_span span = {.start = CODE, .end = CODE + 0x1000};
static int memory = -1;

static int open_memory(void **state)
{
	(void)state;
	memory = memfd_create("memory", 0);
	return memory < 0 || ftruncate(memory, END);
}

static int close_memory(void **state)
{
	(void)state;
	return close(memory);
}

static void put(uint64_t address, const void *bytes, size_t length)
{
	assert_int_equal(pwrite(memory, bytes, length, (off_t)address), length);
}

/* A frame of a signal that came where pc says, on the stack for signals if there is one. */
static void put_frame(uint64_t address, uint64_t pc, uint64_t alt_start, uint64_t alt_size)
{
	struct frame frame;

	memset(&frame, 0, sizeof(frame));
	frame.restorer = 0x500000;
	frame.context.uc_stack.ss_sp =
		(void *)alt_start; /* NOLINT: an address of another process */
	frame.context.uc_stack.ss_size = alt_size;
	frame.context.uc_mcontext.gregs[REG_RIP] = (greg_t)pc;
	frame.context.uc_mcontext.gregs[REG_EFL] = 0x246;
	frame.context.uc_mcontext.gregs[REG_CSGSFS] = 0x2b000000000033;
	put(address, &frame, sizeof(frame));
}

static bool is_inside(uint64_t pc, uint64_t sp)
{
	struct ng_tracee tracee = {.tid = 7, .stop = NG_STOP_EVENT, .pc = pc, .sp = sp};
	const struct ng_stopped stopped = {.pid = 7, .items = &tracee, .count = 1};

	return ng_stopped_inside(&stopped, memory, &span, false) == 7;
}

static void a_counter_in_it_is(void **state)
{
	(void)state;
	assert_true(is_inside(CODE, STACK));
	assert_true(is_inside(CODE + 0xfff, STACK));
	assert_false(is_inside(CODE + 0x1000, STACK));
	assert_false(is_inside(CODE - 1, STACK));
}

static void words_that_calls_left_are_not(void **state)
{
	const uint64_t word = CODE + 8;

	(void)state;
	put(STACK + 64, &word, sizeof(word));
	put(STACK + 8, &word, sizeof(word));
	assert_false(is_inside(0x500000, STACK));
}

static void what_a_handler_interrupted_is(void **state)
{
	(void)state;
	/* On the thread's own stack. */
	put_frame(STACK + 0x100, CODE + 8, 0, 0);
	assert_true(is_inside(0x500000, STACK));
	assert_true(is_inside(0x500000, STACK + 0x100));
	/* The handler has returned: the pointer is behind the frame's first word, up to sigreturn.
	 */
	assert_true(is_inside(0x500000, STACK + 0x108));
	/* On the stack for signals. */
	put_frame(SIGNALS + 0x2000, CODE + 8, SIGNALS, SIGNAL_SIZE);
	assert_true(is_inside(0x500000, SIGNALS + 0x1000));
	assert_true(is_inside(0x500000, SIGNALS + 0x2000));
	assert_true(is_inside(0x500000, SIGNALS + 0x2008));
	/* Elsewhere. */
	put_frame(SIGNALS + 0x2000, 0x500000, SIGNALS, SIGNAL_SIZE);
	assert_false(is_inside(0x500000, SIGNALS + 0x1000));
}

static void signals_that_are_over_are_not(void **state)
{
	(void)state;
	/* The thread is on its own stack again, below that for signals. */
	put_frame(SIGNALS + 0x2000, CODE + 8, SIGNALS, SIGNAL_SIZE);
	assert_false(is_inside(0x500000, STACK + 0x1000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_counter_in_it_is, open_memory, close_memory),
		cmocka_unit_test_setup_teardown(
			words_that_calls_left_are_not, open_memory, close_memory),
		cmocka_unit_test_setup_teardown(
			what_a_handler_interrupted_is, open_memory, close_memory),
		cmocka_unit_test_setup_teardown(
			signals_that_are_over_are_not, open_memory, close_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
