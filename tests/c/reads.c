/*
 * Reads the clock by libc, by real system calls, and by libc calls that the vDSO passes on to the
 * kernel, and says how often.
 *
 *	reads N
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	const long n = argc > 1 ? atol(argv[1]) : 1;
	struct timespec time;
	struct timeval value;

	for (long i = 0; i < n; i++) {
		clock_gettime(CLOCK_MONOTONIC, &time);
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time); /* the vDSO knows no such clock */
		syscall(SYS_clock_gettime, CLOCK_REALTIME, &time);
		syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &time);
		syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &time);
		for (int k = 0; k < 4; k++)
			syscall(SYS_gettimeofday, &value, NULL);
		for (int k = 0; k < 5; k++)
			syscall(SYS_time, NULL);
	}
	printf("{\"c\": %ld, \"syscall clock_gettime\": %ld, \"syscall gettimeofday\": %ld, "
	       "\"syscall time\": %ld}\n",
		2 * n, 3 * n, 4 * n, 5 * n);
	return 0;
}
