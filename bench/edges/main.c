/*
 * Calls tick() all the time, and shows in a file that others map when its calls were dear: a trap
 * makes them so.
 *
 *	edges FILE THRESHOLD_NS [PAUSE_NS]
 *
 * FILE gets, of the latest row of dear calls, the times in ns (CLOCK_MONOTONIC) of the first and of
 * the last one; then how many rows there were and how many calls were in the latest; and from 64
 * bytes on the times of its calls, the latest 262,144 of them. A row: 8 dear calls or more, and
 *none that is not dear in between. With a pause it sleeps so long after each call.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define ROW_CALLS  8
#define TIMES	   262144
#define TIMES_AT   8 /* words from the start */
#define FILE_BYTES ((TIMES_AT + TIMES) * sizeof(uint64_t))

__attribute__((noinline)) void tick(void)
{
	__asm__ volatile("push %rbp; pop %rbp");
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int main(int argc, char **argv)
{
	const uint64_t threshold_ns = argc > 2 ? strtoull(argv[2], NULL, 10) : 500;
	const struct timespec pause = {.tv_nsec = argc > 3 ? strtol(argv[3], NULL, 10) : 0};
	int fd = argc > 1 ? open(argv[1], O_RDWR) : -1;
	volatile uint64_t *shown;
	uint64_t first_ns = 0, calls = 0, before_ns;

	if (fd < 0)
		return 2;
	shown = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (shown == MAP_FAILED)
		return 1;
	printf("ready %d\n", getpid());
	fflush(stdout);
	alarm(1800); /* whoever started it may be gone */
	before_ns = now_ns();
	for (;;) {
		uint64_t after_ns;

		tick();
		after_ns = now_ns();
		if (after_ns - before_ns <= threshold_ns) {
			calls = 0;
		} else {
			if (!calls)
				first_ns = before_ns;
			shown[TIMES_AT + calls++ % TIMES] = after_ns;
			if (calls >= ROW_CALLS) {
				shown[0] = first_ns;
				shown[1] = after_ns;
				shown[2] += calls == ROW_CALLS;
				shown[3] = calls;
			}
		}
		before_ns = after_ns;
		if (pause.tv_nsec) {
			nanosleep(&pause, NULL);
			before_ns = now_ns();
		}
	}
}
