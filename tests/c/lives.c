/*
 * Calls tick() a known number of times through a life that is hard to follow, and says how often.
 *
 *	lives plain N          N calls
 *	lives main-exits N     its main thread exits; another calls N times
 *	lives execs N          another thread calls N times, then execs `lives plain N`
 *	lives forks N          N calls, a child with N calls, N calls
 *	lives vforks N         the same by vfork
 *	… hold                 waits for a line on stdin first, and for another at its end
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char **arguments;
static long count;
static int hold;
static volatile long ticks;

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

static void finish(long own, long child)
{
	printf("{\"tick\": %ld, \"child\": %ld}\n", own, child);
	fflush(stdout);
	if (hold)
		(void)getchar();
	_exit(0);
}

static void *outlive_main(void *unused)
{
	char path[64], state = 0;

	(void)unused;
	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", getpid());
	/* Until the main thread is a zombie, or gone. */
	do {
		FILE *file = fopen(path, "r");

		if (!file || fscanf(file, "%*d %*s %c", &state) != 1)
			state = 'Z';
		if (file)
			fclose(file);
	} while (state != 'Z');
	call(count);
	finish(count, 0);
	return NULL;
}

static void *exec_away(void *unused)
{
	(void)unused;
	call(count);
	execl("/proc/self/exe", arguments[0], "plain", arguments[2], NULL);
	_exit(1);
}

static void fork_and_call(int by_vfork)
{
	pid_t child;

	call(count);
	child = by_vfork ? vfork() : fork();
	if (!child) {
		call(count);
		_exit(0);
	}
	(void)waitpid(child, NULL, 0);
	call(count);
	finish(2 * count, count);
}

int main(int argc, char **argv)
{
	pthread_t thread;

	if (argc < 3)
		return 2;
	arguments = argv;
	count = atol(argv[2]);
	hold = argc > 3;
	if (hold) {
		printf("ready %d\n", getpid());
		fflush(stdout);
		(void)getchar();
	}
	if (!strcmp(argv[1], "plain")) {
		call(count);
		finish(count, 0);
	} else if (!strcmp(argv[1], "main-exits")) {
		pthread_create(&thread, NULL, outlive_main, NULL);
		syscall(SYS_exit, 0);
	} else if (!strcmp(argv[1], "execs")) {
		pthread_create(&thread, NULL, exec_away, NULL);
		pause();
	} else {
		fork_and_call(!strcmp(argv[1], "vforks"));
	}
	return 2;
}
