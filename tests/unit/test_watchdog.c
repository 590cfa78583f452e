/* control/daemon/watchdog: dummies of a daemon that are stopped, hang, or die. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/daemon/watchdog.h"

#define BOUND_NS (20 * NG_NS_PER_S)
#define START_NS (1000 * NG_NS_PER_S)
#define MS	 NG_NS_PER_MS

/* --- the decision -------------------------------------------------------------------------------
 */

/* Looks every 50 ms over 10 s. @return when the daemon is killed, from the start; 0: never */
static uint64_t killed_at(uint64_t deadline_ns, uint64_t last_beat_ns)
{
	struct ng_watchdog_eye eye = {.looked_ns = START_NS};

	for (uint64_t at_ns = 0; at_ns < 10 * NG_NS_PER_S; at_ns += 50 * MS) {
		const uint64_t beat_ns = at_ns < last_beat_ns ? at_ns : last_beat_ns;

		if (ng_watchdog_judge(&eye, START_NS + at_ns, START_NS + beat_ns,
			    deadline_ns ? START_NS + deadline_ns : 0))
			return at_ns;
	}
	return 0;
}

static void kills_only_who_is_silent_and_overdue(void **state)
{
	(void)state;
	assert_int_equal(killed_at(0, 0), 0);			      /* nothing is due */
	assert_int_equal(killed_at(1000 * MS, 10000 * MS), 0);	      /* alive, though it is late */
	assert_int_equal(killed_at(9999 * MS, 0), 0);		      /* not due yet */
	assert_int_equal(killed_at(1000 * MS, 0), 1650 * MS);	      /* silent long since */
	assert_int_equal(killed_at(1000 * MS, 990 * MS), 1650 * MS);  /* stopped just before */
	assert_int_equal(killed_at(1000 * MS, 1300 * MS), 1850 * MS); /* stopped while late */
	assert_in_range(killed_at(1 * MS, 0), 500 * MS, 1000 * MS);
}

static void a_beat_or_a_new_deadline_ends_the_suspicion(void **state)
{
	struct ng_watchdog_eye eye = {.beat_ns = START_NS, .looked_ns = START_NS + 950 * MS};

	(void)state;
	assert_false(ng_watchdog_judge(&eye, START_NS + 1000 * MS, START_NS, START_NS + 1));
	assert_false(ng_watchdog_judge(&eye, START_NS + 1050 * MS, START_NS, START_NS + 1));
	assert_false(ng_watchdog_judge(/* it was dealt with at the last moment */
		&eye, START_NS + 1100 * MS, START_NS, START_NS + 9000 * MS));
	assert_false(ng_watchdog_judge(&eye, START_NS + 1150 * MS, START_NS, START_NS + 1));
	assert_false(
		ng_watchdog_judge(&eye, START_NS + 1200 * MS, START_NS + 700 * MS, START_NS + 1));
	assert_false(
		ng_watchdog_judge(&eye, START_NS + 1250 * MS, START_NS + 700 * MS, START_NS + 1));
	assert_true(
		ng_watchdog_judge(&eye, START_NS + 1300 * MS, START_NS + 700 * MS, START_NS + 1));
}

/* The whole machine slept: both are late, and neither can help it. */
static void gives_a_daemon_time_after_a_sleep_of_its_own(void **state)
{
	struct ng_watchdog_eye eye = {.looked_ns = START_NS};
	const uint64_t woken_ns = START_NS + 3600 * NG_NS_PER_S;

	(void)state;
	assert_false(ng_watchdog_judge(&eye, START_NS, START_NS, START_NS + 100 * MS));
	assert_false(ng_watchdog_judge(&eye, woken_ns, START_NS, START_NS + 100 * MS));
	assert_false(ng_watchdog_judge(&eye, woken_ns + 50 * MS, START_NS, START_NS + 100 * MS));
	assert_false(ng_watchdog_judge(
		&eye, woken_ns + 99 * MS, woken_ns + 60 * MS, START_NS + 100 * MS));
	assert_false(ng_watchdog_judge(
		&eye, woken_ns + 200 * MS, woken_ns + 60 * MS, START_NS + 100 * MS));
}

/* It was suspect before the sleep already. */
static void a_sleep_begins_the_suspicion_anew(void **state)
{
	struct ng_watchdog_eye eye = {.beat_ns = START_NS, .looked_ns = START_NS + 950 * MS};
	const uint64_t woken_ns = START_NS + 3600 * NG_NS_PER_S;

	(void)state;
	assert_false(ng_watchdog_judge(&eye, START_NS + 1000 * MS, START_NS, START_NS + 1));
	assert_false(ng_watchdog_judge(&eye, woken_ns, START_NS, START_NS + 1));
	assert_false(ng_watchdog_judge(&eye, woken_ns + 50 * MS, START_NS, START_NS + 1));
	assert_true(ng_watchdog_judge(&eye, woken_ns + 100 * MS, START_NS, START_NS + 1));
}

/* --- the process --------------------------------------------------------------------------------
 */

enum behaviour { STOPS, HANGS, WAITS, FREES };

struct news {
	pid_t watchdog;
	uint64_t deadline_ns;
};

struct dummy {
	pid_t pid;
	int pipe_fd;
	struct news news;
};

/* The daemon's side; never returns. */
static void behave(enum behaviour behaviour, int news_fd, uint64_t lease_ns)
{
	struct ng_watchdog *watchdog;
	struct news news = {0};

	if (ng_watchdog_start(&watchdog, NULL))
		_exit(1);
	news.watchdog = ng_watchdog_pid(watchdog);
	news.deadline_ns = lease_ns ? ng_clock_ns() + lease_ns : 0;
	ng_watchdog_set_deadline(watchdog, news.deadline_ns);
	ng_watchdog_beat(watchdog);
	if (write(news_fd, &news, sizeof(news)) != sizeof(news))
		_exit(1);
	switch (behaviour) {
	case STOPS:
		(void)raise(SIGSTOP);
		break;
	case HANGS:
		for (volatile int i = 0;; i = 0)
			(void)i;
	case WAITS:
		(void)pause();
		break;
	case FREES:
		ng_watchdog_free(watchdog);
		_exit(0);
	}
	_exit(1);
}

static struct dummy start(enum behaviour behaviour, uint64_t lease_ns)
{
	struct dummy dummy;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	dummy.pid = fork();
	if (dummy.pid == 0)
		behave(behaviour, fds[1], lease_ns);
	close(fds[1]);
	dummy.pipe_fd = fds[0];
	assert_int_equal(read(fds[0], &dummy.news, sizeof(dummy.news)), sizeof(dummy.news));
	return dummy;
}

static int open_pidfd(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	assert_true(fd >= 0);
	return fd;
}

/* Waits for the end of a process, whoever's child it is. @return whether it ended */
static bool has_ended(int pidfd)
{
	struct pollfd poll_fd = {.fd = pidfd, .events = POLLIN};
	const bool ended = poll(&poll_fd, 1, (int)(BOUND_NS / MS)) == 1;

	close(pidfd);
	return ended;
}

static void expect_kill_in_time(const struct dummy *dummy)
{
	const bool ended = has_ended(open_pidfd(dummy->pid));
	const uint64_t after_ns = ng_clock_ns() - dummy->news.deadline_ns;
	int status;

	if (!ended)
		(void)kill(dummy->pid, SIGKILL); /* it would stay stopped for ever */
	assert_int_equal(waitpid(dummy->pid, &status, 0), dummy->pid);
	assert_true(ended && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_in_range(after_ns, NG_WATCHDOG_GRACE_NS, NG_NS_PER_S);
	close(dummy->pipe_fd);
}

static void a_stopped_daemon_is_killed(void **state)
{
	struct dummy dummy = start(STOPS, 200 * MS);
	int watchdog = open_pidfd(dummy.news.watchdog);

	(void)state;
	expect_kill_in_time(&dummy);
	assert_true(has_ended(watchdog));
}

static void a_hanging_daemon_is_killed(void **state)
{
	struct dummy dummy = start(HANGS, 200 * MS);

	(void)state;
	expect_kill_in_time(&dummy);
}

static void with_a_killed_daemon_it_ends(void **state)
{
	struct dummy dummy = start(WAITS, 0);
	int watchdog = open_pidfd(dummy.news.watchdog);
	int status;

	(void)state;
	assert_int_equal(kill(dummy.pid, SIGKILL), 0);
	assert_int_equal(waitpid(dummy.pid, &status, 0), dummy.pid);
	assert_true(has_ended(watchdog));
	close(dummy.pipe_fd);
}

static void a_daemon_ends_it(void **state)
{
	struct dummy dummy = start(FREES, 0);
	int status;

	(void)state;
	assert_int_equal(waitpid(dummy.pid, &status, 0), dummy.pid);
	assert_int_equal(status, 0);
	assert_int_equal(kill(dummy.news.watchdog, 0), -1); /* waited for: gone */
	assert_int_equal(errno, ESRCH);
	close(dummy.pipe_fd);
}

static char state_of(pid_t pid)
{
	char name[64], text[512], *end;
	int fd;
	ssize_t length;

	(void)snprintf(name, sizeof(name), "/proc/%d/stat", pid);
	fd = open(name, O_RDONLY);
	length = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	if (fd >= 0)
		close(fd);
	if (length <= 0)
		return '?';
	text[length] = '\0';
	end = strrchr(text, ')');
	return end ? end[2] : '?';
}

/* Until its signals are blocked, it can be ended by them: so wait for its name. */
static void await_name(pid_t pid)
{
	const uint64_t deadline_ns = ng_clock_ns() + BOUND_NS;
	char name[64], text[32] = "";

	(void)snprintf(name, sizeof(name), "/proc/%d/comm", pid);
	while (strcmp(text, "nowgate-watch\n")) {
		int fd = open(name, O_RDONLY);
		ssize_t length = read(fd, text, sizeof(text) - 1);

		close(fd);
		assert_true(length > 0 && ng_clock_ns() < deadline_ns);
		text[length] = '\0';
	}
}

static void signals_do_not_reach_it(void **state)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU,
		SIGPIPE, SIGALRM, SIGUSR1, SIGUSR2, SIGCHLD};
	struct dummy dummy = start(STOPS, 300 * MS);
	int watchdog = open_pidfd(dummy.news.watchdog);

	(void)state;
	await_name(dummy.news.watchdog);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		assert_int_equal(kill(dummy.news.watchdog, signals[i]), 0);
	assert_int_not_equal(getsid(dummy.news.watchdog), getsid(0));
	assert_null(strchr("TtZ?", state_of(dummy.news.watchdog)));
	expect_kill_in_time(&dummy); /* it still does what it is for */
	assert_true(has_ended(watchdog));
}

/* What its descriptors are. @return how many; -1 where one is neither /dev/null nor a pidfd */
static int count_descriptors(pid_t pid)
{
	char name[300], link[256];
	struct dirent *entry;
	int count = 0;
	DIR *folder;

	(void)snprintf(name, sizeof(name), "/proc/%d/fd", pid);
	folder = opendir(name);
	while (count >= 0 && (entry = readdir(folder))) {
		ssize_t length;

		if (entry->d_name[0] == '.')
			continue;
		(void)snprintf(name, sizeof(name), "/proc/%d/fd/%s", pid, entry->d_name);
		length = readlink(name, link, sizeof(link) - 1);
		link[length < 0 ? 0 : length] = '\0';
		count++;
		if (strcmp(link, "/dev/null") && strcmp(link, "anon_inode:[pidfd]") &&
			strncmp(link, "pidfd:", 6))
			count = -1;
	}
	closedir(folder);
	return count;
}

static void it_holds_no_descriptor_of_the_daemon(void **state)
{
	const uint64_t deadline_ns = ng_clock_ns() + BOUND_NS;
	int extra[64];
	struct dummy dummy;
	int watchdog, status;

	(void)state;
	for (int i = 0; i < 64; i++)
		extra[i] = open("/proc/self/stat", O_RDONLY); /* the dummy has them, too */
	dummy = start(WAITS, 0);
	watchdog = open_pidfd(dummy.news.watchdog);
	while (count_descriptors(dummy.news.watchdog) != 4) /* it closes them at its start */
		assert_true(ng_clock_ns() < deadline_ns);
	assert_int_equal(kill(dummy.pid, SIGKILL), 0);
	assert_int_equal(waitpid(dummy.pid, &status, 0), dummy.pid);
	assert_true(has_ended(watchdog));
	for (int i = 0; i < 64; i++)
		close(extra[i]);
	close(dummy.pipe_fd);
}

static void a_daemon_sees_its_watchdogs_end(void **state)
{
	struct ng_watchdog *watchdog;
	struct pollfd poll_fd = {.events = POLLIN};

	(void)state;
	assert_int_equal(ng_watchdog_start(&watchdog, NULL), 0);
	poll_fd.fd = ng_watchdog_event_fd(watchdog);
	assert_int_equal(poll(&poll_fd, 1, 0), 0);
	assert_int_equal(kill(ng_watchdog_pid(watchdog), SIGKILL), 0);
	assert_int_equal(poll(&poll_fd, 1, (int)(BOUND_NS / MS)), 1);
	ng_watchdog_free(watchdog);
	ng_watchdog_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kills_only_who_is_silent_and_overdue),
		cmocka_unit_test(a_beat_or_a_new_deadline_ends_the_suspicion),
		cmocka_unit_test(gives_a_daemon_time_after_a_sleep_of_its_own),
		cmocka_unit_test(a_sleep_begins_the_suspicion_anew),
		cmocka_unit_test(a_stopped_daemon_is_killed),
		cmocka_unit_test(a_hanging_daemon_is_killed),
		cmocka_unit_test(with_a_killed_daemon_it_ends),
		cmocka_unit_test(a_daemon_ends_it),
		cmocka_unit_test(signals_do_not_reach_it),
		cmocka_unit_test(it_holds_no_descriptor_of_the_daemon),
		cmocka_unit_test(a_daemon_sees_its_watchdogs_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
