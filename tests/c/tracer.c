/*
 * A debugger in the small: traces a process, puts a breakpoint of its own there if it is given an
 * address, and lets the process run on until its stdin ends.
 *
 *	tracer PID [ADDRESS]
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static void stop(pid_t pid)
{
	if (ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) || waitpid(pid, NULL, __WALL) != pid)
		exit(1);
}

/* @return the word that stood there */
static long put(pid_t pid, long address, long word)
{
	long old;

	stop(pid);
	errno = 0;
	old = ptrace(PTRACE_PEEKTEXT, pid, address, NULL);
	if (!word)
		word = (old & ~0xffL) | 0xcc;
	if (errno || ptrace(PTRACE_POKETEXT, pid, address, word) ||
		ptrace(PTRACE_CONT, pid, NULL, NULL))
		exit(1);
	return old;
}

int main(int argc, char **argv)
{
	const pid_t pid = argc > 1 ? atoi(argv[1]) : 0;
	const long address = argc > 2 ? strtol(argv[2], NULL, 0) : 0;
	long old = 0;

	if (ptrace(PTRACE_SEIZE, pid, NULL, NULL))
		return 1;
	if (address)
		old = put(pid, address, 0);
	printf("ready %d\n", getpid());
	fflush(stdout);
	(void)getchar();
	if (address)
		(void)put(pid, address, old);
	return 0;
}
