/*
 * Loads a shared object of Go's, and reads the clock in it and by itself.
 *
 *	loads OBJECT N     waits for a line before it reads, and for another before it ends
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void wait_for_line(void)
{
	char line[16];

	if (!fgets(line, sizeof(line), stdin))
		exit(1);
}

int main(int argc, char **argv)
{
	void *object = argc > 2 ? dlopen(argv[1], RTLD_NOW) : NULL;
	const long n = argc > 2 ? atol(argv[2]) : 0;
	struct timespec now;
	void (*ready)(void);
	void (*read_clock)(long);

	if (!object) {
		fprintf(stderr, "loads: %s\n", argc > 2 ? dlerror() : "loads OBJECT N");
		return 1;
	}
	*(void **)&ready = dlsym(object, "Ready");
	*(void **)&read_clock = dlsym(object, "Read");
	ready();
	printf("ready %d\n", getpid());
	fflush(stdout);
	wait_for_line();
	for (long i = 0; i < 3 * n; i++)
		clock_gettime(CLOCK_MONOTONIC, &now);
	read_clock(n);
	printf("{\"now\": %ld, \"mono\": %ld, \"gettimeofday\": %ld, \"c\": %ld}\n", n, 2 * n, n,
		3 * n);
	fflush(stdout);
	wait_for_line();
	return 0;
}
