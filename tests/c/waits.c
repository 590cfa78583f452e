/*
 * Waits in many kinds of system calls while its text is changed, and says what went wrong.
 *
 *	waits run [filter]   calls beat(), sleeps, waits for locks, pipes, descriptors and signals;
 *counts queued signals of a child, which have to come once each and in order. A line on stdin: it
 *stands still, and says what it did as JSON; another: goes on; the end of stdin: exits 0. filter:
 *dies of the system calls that bring memory in waits exec N         its second thread execs it
 *anew, N times, with others running; exits 7 waits exit N         N times a child with threads,
 *which exits; exits 7
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static atomic_long calls, wrong, naps, reads, signals_seen, next_value;
static atomic_int resting, standing;
static volatile long steps;
static int pipe_fds[2], event_fd;

__attribute__((noinline)) void step(void);
__attribute__((noinline)) void beat(void);

void step(void)
{
	steps++;
}

void beat(void)
{
	step();
	__asm__ volatile("" ::: "memory");
}

static void is_wrong(const char *what)
{
	atomic_fetch_add(&wrong, 1);
	fprintf(stderr, "waits: wrong: %s (%s)\n", what, strerror(errno));
}

static void rest(void)
{
	if (!atomic_load(&resting))
		return;
	atomic_fetch_add(&standing, 1);
	while (atomic_load(&resting))
		usleep(200);
	atomic_fetch_sub(&standing, 1);
}

static void *beats(void *unused)
{
	for (;; rest()) {
		for (int i = 0; i < 1000; i++)
			beat();
		atomic_fetch_add(&calls, 1000);
	}
	return unused;
}

static void *sleeps(void *unused)
{
	const struct timespec nap = {.tv_nsec = 3000000};
	struct timespec before, after;

	for (;; atomic_fetch_add(&naps, 1)) {
		clock_gettime(CLOCK_MONOTONIC, &before);
		if (nanosleep(&nap, NULL))
			is_wrong("nanosleep");
		clock_gettime(CLOCK_MONOTONIC, &after);
		if ((after.tv_sec - before.tv_sec) * 1000000000L + after.tv_nsec - before.tv_nsec <
			nap.tv_nsec)
			is_wrong("a short sleep");
	}
	return unused;
}

static void *waits_for_futex(void *unused)
{
	const struct timespec nap = {.tv_nsec = 5000000};
	int word = 0;

	for (;; atomic_fetch_add(&naps, 1)) {
		if (syscall(SYS_futex, &word, FUTEX_WAIT, 0, &nap) != -1 || errno != ETIMEDOUT)
			is_wrong("futex");
	}
	return unused;
}

static void *reads_pipe(void *unused)
{
	unsigned char got, wanted = 0;

	for (;; wanted++, atomic_fetch_add(&reads, 1)) {
		if (read(pipe_fds[0], &got, 1) != 1 || got != wanted)
			is_wrong("read");
	}
	return unused;
}

static void *writes_pipe(void *unused)
{
	for (unsigned char next = 0;; next++) {
		if (write(pipe_fds[1], &next, 1) != 1)
			is_wrong("write");
		usleep(300);
	}
	return unused;
}

/* Nobody ever writes to it: whatever ends the wait is wrong. */
static void *waits_for_epoll(void *unused)
{
	struct epoll_event event = {.events = EPOLLIN};
	int fd = epoll_create1(0);

	epoll_ctl(fd, EPOLL_CTL_ADD, event_fd, &event);
	for (;;) {
		epoll_wait(fd, &event, 1, -1);
		is_wrong("epoll_wait");
	}
	return unused;
}

static void *waits_for_poll(void *unused)
{
	struct pollfd one = {.fd = event_fd, .events = POLLIN};

	for (;; atomic_fetch_add(&naps, 1)) {
		if (poll(&one, 1, 7))
			is_wrong("poll");
	}
	return unused;
}

static void *waits_for_signal(void *unused)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	for (;;) {
		if (sigwaitinfo(&set, NULL) != SIGUSR2)
			is_wrong("sigwaitinfo");
	}
	return unused;
}

static void on_signal(int signal_number, siginfo_t *info, void *context)
{
	(void)signal_number;
	(void)context;
	if (info->si_value.sival_int != atomic_fetch_add(&next_value, 1))
		is_wrong("a signal out of order");
	atomic_fetch_add(&signals_seen, 1);
}

/* Takes the signals, and calls meanwhile. */
static void *takes_signals(void *unused)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	for (;; rest()) {
		for (int i = 0; i < 100; i++)
			beat();
		atomic_fetch_add(&calls, 100);
	}
	return unused;
}

/* Queues signals until its parent is gone. */
static void storm(pid_t parent)
{
	for (int i = 0;;) {
		const union sigval value = {.sival_int = i};

		if (!sigqueue(parent, SIGRTMIN, value))
			i++;
		else if (errno == ESRCH)
			_exit(0);
		else
			usleep(100);
		if (i % 16 == 0)
			usleep(500);
	}
}

static void forbid(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_create, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_munmap, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	const struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program))
		is_wrong("seccomp");
}

static void start(void *(*work)(void *))
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, work, NULL))
		is_wrong("pthread_create");
}

static int run(int filter)
{
	struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
	const pid_t parent = getpid();
	sigset_t blocked;
	char line[64];
	pid_t sender;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGRTMIN);
	sigaddset(&blocked, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &blocked, NULL);
	sigaction(SIGRTMIN, &action, NULL);
	if (pipe(pipe_fds))
		is_wrong("pipe");
	event_fd = eventfd(0, 0);
	sender = fork();
	if (!sender) {
		close(0);
		close(1);
		storm(parent);
	}
	start(beats);
	start(takes_signals);
	start(sleeps);
	start(waits_for_futex);
	start(reads_pipe);
	start(writes_pipe);
	start(waits_for_epoll);
	start(waits_for_poll);
	start(waits_for_signal);
	if (filter)
		forbid();
	printf("ready %d\n", parent);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		atomic_store(&resting, !atomic_load(&resting));
		while (atomic_load(&resting) && atomic_load(&standing) < 2)
			usleep(100);
		if (!atomic_load(&resting))
			continue;
		printf("{\"calls\": %ld, \"wrong\": %ld, \"naps\": %ld, \"reads\": %ld, "
		       "\"signals\": "
		       "%ld}\n",
			calls, wrong, naps, reads, signals_seen);
		fflush(stdout);
	}
	kill(sender, SIGKILL);
	_exit(0);
}

static char **arguments;

static void *execs(void *unused)
{
	usleep((useconds_t)(random() % 3000));
	execv("/proc/self/exe", arguments);
	return unused;
}

static int exec_again(long left)
{
	char number[32];

	if (!left)
		return 7;
	srandom((unsigned int)left);
	snprintf(number, sizeof(number), "%ld", left - 1);
	arguments[2] = number;
	start(beats);
	start(sleeps);
	start(execs);
	for (;;)
		pause();
}

static int exit_again(long times)
{
	for (long i = 0; i < times; i++) {
		int status;
		pid_t child = fork();

		if (!child) {
			start(beats);
			start(sleeps);
			srandom((unsigned int)i);
			usleep((useconds_t)(random() % 60000));
			exit(3);
		}
		printf("%d\n", child);
		fflush(stdout);
		if (waitpid(child, &status, 0) != child || status != 3 << 8)
			return 1;
	}
	return 7;
}

int main(int argc, char **argv)
{
	arguments = argv;
	if (argc > 1 && !strcmp(argv[1], "run"))
		return run(argc > 2);
	if (argc > 2 && !strcmp(argv[1], "exec"))
		return exec_again(atol(argv[2]));
	if (argc > 2 && !strcmp(argv[1], "exit"))
		return exit_again(atol(argv[2]));
	return 2;
}
