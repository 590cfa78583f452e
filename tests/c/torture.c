/*
 * Calls tick() a known number of times under conditions hard on a tracer, and says how often.
 *
 *	torture plain N        N calls
 *	torture children N M   N children, 64 at a time, with M calls each
 *	torture many N         N children, each calls all of 128 functions many_NNN once
 *	torture drops N        N calls, drops the page that tick() is on, N calls
 *	torture queue SIG N    N signals SIG queued by a child, a call for each; says how many came
 *	                       in order and unaltered
 *	torture relay N M      N threads with M calls each; each starts the next one, and ends
 *	… hold                 waits for a line on stdin first, and for another at its end
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE_BYTES	 4096ul
#define CHILDREN_AT_ONCE 64

static volatile long ticks;
static long relays, relay_calls;
static volatile int relay_is_over;

__attribute__((noinline)) void tick(void);

void tick(void)
{
	ticks++;
}

static void call(long n)
{
	for (long i = 0; i < n; i++)
		tick();
}

/* clang-format off */
#define MANY(n)	      __attribute__((noinline)) static void many_##n(void) { ticks++; }
#define NAME(n)	      many_##n,
#define ALL_8(of, n)  of(n##0) of(n##1) of(n##2) of(n##3) of(n##4) of(n##5) of(n##6) of(n##7)
#define ALL_64(of, n) ALL_8(of, n##0) ALL_8(of, n##1) ALL_8(of, n##2) ALL_8(of, n##3) \
	ALL_8(of, n##4) ALL_8(of, n##5) ALL_8(of, n##6) ALL_8(of, n##7)
/* clang-format on */

ALL_64(MANY, 0)
ALL_64(MANY, 1)

static void call_many(void)
{
	static void (*const all[])(void) = {ALL_64(NAME, 0) ALL_64(NAME, 1)};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		all[i]();
}

/* @param calls 0: call_many() instead */
static void children(long n, long calls)
{
	long living = 0;

	for (long i = 0; i < n; i++) {
		if (living == CHILDREN_AT_ONCE && wait(NULL) > 0)
			living--;
		if (!fork()) {
			if (calls)
				call(calls);
			else
				call_many();
			_exit(0);
		}
		living++;
	}
	while (wait(NULL) > 0)
		;
}

static long drop(long n)
{
	call(n);
	if (madvise((void *)((unsigned long)tick & ~(PAGE_BYTES - 1)), PAGE_BYTES, MADV_DONTNEED))
		exit(1);
	call(n);
	return 2 * n;
}

static long queued(int number, long n)
{
	const pid_t parent = getpid();
	siginfo_t info;
	sigset_t set;
	long right = 0;
	pid_t child;

	sigemptyset(&set);
	sigaddset(&set, number);
	sigprocmask(SIG_BLOCK, &set, NULL);
	child = fork();
	if (!child) {
		for (long i = 0; i < n; i++) {
			while (sigqueue(parent, number, (union sigval){.sival_int = (int)i}))
				usleep(100); /* the queue is full */
		}
		_exit(0);
	}
	for (long i = 0; i < n; i++) {
		if (sigwaitinfo(&set, &info) == number && info.si_value.sival_int == i &&
			info.si_pid == child && info.si_code == SI_QUEUE)
			right++;
		tick();
	}
	waitpid(child, NULL, 0);
	return right;
}

static void *relay(void *number)
{
	pthread_t next;

	call(relay_calls);
	if ((long)number == relays) {
		relay_is_over = 1;
		return NULL;
	}
	if (pthread_create(&next, NULL, relay, (void *)((long)number + 1)))
		exit(1);
	pthread_detach(next);
	return NULL;
}

int main(int argc, char **argv)
{
	const int hold = !strcmp(argv[argc - 1], "hold");
	long first = argc > 2 ? atol(argv[2]) : 0, second = argc > 3 ? atol(argv[3]) : 0;
	pthread_t thread;

	if (hold) {
		printf("ready %d\n", getpid());
		fflush(stdout);
		(void)getchar();
	}
	if (!strcmp(argv[1], "children")) {
		children(first, second);
		printf("{\"tick\": %ld}\n", first * second);
	} else if (!strcmp(argv[1], "many")) {
		children(first, 0);
		printf("{\"many\": %ld}\n", 128 * first);
	} else if (!strcmp(argv[1], "drops")) {
		printf("{\"tick\": %ld}\n", drop(first));
	} else if (!strcmp(argv[1], "queue")) {
		printf("{\"right\": %ld, \"tick\": %ld}\n", queued((int)first, second), second);
	} else if (!strcmp(argv[1], "relay")) {
		relays = first;
		relay_calls = second;
		pthread_create(&thread, NULL, relay, (void *)1l);
		pthread_detach(thread);
		while (!relay_is_over)
			usleep(1000);
		printf("{\"tick\": %ld}\n", first * second);
	} else {
		call(first);
		printf("{\"tick\": %ld}\n", first);
	}
	fflush(stdout);
	if (hold)
		(void)getchar();
	return 0;
}
