/* control/target/process: what /proc tells of a process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "control/target/process.h"
#include "core/base/clock.h"

#define REST                                                                                       \
	"S 17 42 42 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 9 0 123456789 1000 200 "                     \
	"18446744073709551615 1 1 0"

static void refuses_what_is_no_stat(void **state)
{
	static const char *const texts[] = {"", "42", "42 (", "42 (name", "42 name) " REST,
		"42 )name( " REST, "(name) " REST, "x (name) " REST, "42 (name)", "42 (name) S",
		"42 (name) S 17 42 42 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 9 0"};
	struct ng_process process = {.pid = 7};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (ng_process_parse(texts[i], &process) != -EINVAL)
			fail_msg("taken: '%s'", texts[i]);
	}
	assert_int_equal(process.pid, 7);
}

static void reads_any_name(void **state)
{
	static const char *const names[] = {"", "name", "two words", ")", "((", ") S 1 (",
		"a) R 1 2 3", "(sd-pam)", "-1", "\n", "\xff\xfe", "sixteen\\nletters)"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct ng_process process;
		char text[512];

		(void)snprintf(text, sizeof(text), "42 (%s) " REST "\n", names[i]);
		assert_int_equal(ng_process_parse(text, &process), 0);
		assert_int_equal(process.pid, 42);
		assert_string_equal(process.comm, names[i]);
		assert_int_equal(process.state, 'S');
		assert_int_equal(process.parent, 17);
		assert_int_equal(process.threads, 9);
		assert_true(process.start_ticks == 123456789);
	}
}

static void cuts_a_name_that_is_too_long(void **state)
{
	struct ng_process process;
	char name[300], text[512];

	(void)state;
	memset(name, ')', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	(void)snprintf(text, sizeof(text), "42 (%s) " REST "\n", name);
	assert_int_equal(ng_process_parse(text, &process), 0);
	assert_int_equal(strlen(process.comm), sizeof(process.comm) - 1);
	assert_true(process.start_ticks == 123456789);
}

static void knows_itself_and_its_child(void **state)
{
	struct ng_process self, child, again;
	uint64_t now_ns;
	struct timespec boot;
	pid_t pid = fork();

	(void)state;
	if (!pid) {
		pause();
		_exit(0);
	}
	assert_int_equal(ng_process_read(getpid(), &self), 0);
	assert_int_equal(self.pid, getpid());
	assert_int_equal(self.parent, getppid());
	assert_int_equal(self.state, 'R');
	assert_int_equal(ng_process_read(pid, &child), 0);
	assert_int_equal(child.parent, getpid());
	assert_int_equal(child.threads, 1);
	assert_true(child.start_ticks >= self.start_ticks);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	now_ns = (uint64_t)boot.tv_sec * NG_NS_PER_S + (uint64_t)boot.tv_nsec;
	assert_true(child.start_ticks <= ng_process_ticks(now_ns));

	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_int_equal(ng_process_read(pid, &again), -ESRCH);
}

static uint64_t own_cpu_ns(void)
{
	struct timespec used;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	return (uint64_t)used.tv_sec * NG_NS_PER_S + (uint64_t)used.tv_nsec;
}

static void tells_the_cpu_time_of_another_process(void **state)
{
	uint64_t used_ns, before_ns, self_ns, after_ns;
	int ready[2], hold[2];
	char byte = 0;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe(hold), 0);
	pid = fork();
	if (!pid) {
		uint64_t at_start_ns = own_cpu_ns();

		while (own_cpu_ns() - at_start_ns < 20 * NG_NS_PER_MS)
			continue;
		if (write(ready[1], &byte, 1) == 1)
			(void)!read(hold[0], &byte, 1);
		_exit(0);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(ng_process_cpu_time(pid, &used_ns), 0);
	assert_true(used_ns >= 20 * NG_NS_PER_MS && used_ns < 20 * NG_NS_PER_S);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_int_equal(ng_process_cpu_time(pid, &used_ns), -ESRCH);

	before_ns = own_cpu_ns();
	assert_int_equal(ng_process_cpu_time(getpid(), &self_ns), 0);
	after_ns = own_cpu_ns();
	assert_true(before_ns <= self_ns && self_ns <= after_ns);
}

static void *wait_for_byte(void *end)
{
	char byte;

	return read(*(int *)end, &byte, 1) < 0 ? end : NULL;
}

static void finds_processes_and_no_threads(void **state)
{
	struct ng_process process = {.pid = 7};
	struct ng_diag diag = NG_DIAG_INIT;
	struct ng_threads threads;
	pthread_t thread;
	char pid[32];
	int hold[2];

	(void)state;
	assert_int_equal(pipe(hold), 0);
	assert_int_equal(pthread_create(&thread, NULL, wait_for_byte, &hold[0]), 0);
	assert_int_equal(ng_process_threads(getpid(), &threads), 0);
	assert_true(threads.count >= 2); /* a sanitizer may have one of its own */
	(void)snprintf(pid, sizeof(pid), "Give -p %d", getpid());
	for (size_t i = 0; i < threads.count; i++) {
		const bool leads = threads.tids[i] == getpid();

		memset(&diag, 0, sizeof(diag));
		assert_int_equal(
			ng_process_find(threads.tids[i], &process, &diag), leads ? 0 : -ESRCH);
		assert_int_equal(strstr(diag.text, pid) != NULL, !leads);
	}
	assert_int_equal(process.pid, getpid());
	close(hold[1]);
	pthread_join(thread, NULL);
	ng_threads_release(&threads);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_what_is_no_stat),
		cmocka_unit_test(reads_any_name),
		cmocka_unit_test(cuts_a_name_that_is_too_long),
		cmocka_unit_test(knows_itself_and_its_child),
		cmocka_unit_test(finds_processes_and_no_threads),
		cmocka_unit_test(tells_the_cpu_time_of_another_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
