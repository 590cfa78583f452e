/*
 * Brings the simplest gate into a process and takes it out again.
 *
 *	inject once PID FUNCTION call|clock     in; "in" is said; at a line on stdin out again. Says
 *	                                        the count as JSON
 *	inject cycles PID FUNCTION KIND N US    N times in and out, with US microseconds between, at
 *	                                        random; says what it took as JSON
 *	inject repair PID                       takes out what is found
 *
 * A failure is told as JSON too: {"error": errno's name, "text": …}.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gate.h"

static int fail(int error, const struct ng_diag *diag)
{
	printf("{\"error\": \"%s\", \"text\": \"%s\"}\n", strerrorname_np(-error), diag->text);
	return 1;
}

static uint64_t counted(const struct ng_injected *injected)
{
	uint64_t count = 0;

	(void)!pread(injected->data_fd, &count, sizeof(count), GATE_COUNT_AT);
	return count;
}

static int remove_whole(const struct ng_injected *injected, struct ng_inject_report *report,
	size_t *busy, struct ng_diag *diag)
{
	int error;

	for (int attempt = 0; attempt < 1000; attempt++) {
		diag->text[0] = '\0';
		error = ng_inject_remove(injected, report, diag);
		if (error != -EAGAIN && error != -ETIMEDOUT && error != -ENOENT)
			return error;
		++*busy;
		usleep(1000);
	}
	return error;
}

static int once(struct gate *gate)
{
	struct ng_inject_report in = {0}, out = {0};
	struct ng_diag diag = NG_DIAG_INIT;
	struct ng_injected injected;
	size_t busy = 0;
	int error = ng_inject_install(&gate->plan, &injected, &in, &diag);

	if (error)
		return fail(error, &diag);
	printf("in\n");
	fflush(stdout);
	(void)getchar();
	error = remove_whole(&injected, &out, &busy, &diag);
	if (error)
		return fail(error, &diag);
	printf("{\"count\": %" PRIu64 ", \"threads\": %u, \"in_ns\": %" PRIu64
	       ", \"out_ns\": %" PRIu64 "}\n",
		counted(&injected), in.threads, in.stop_ns, out.stop_ns);
	ng_injected_release(&injected);
	return 0;
}

static int by_value(const void *left, const void *right)
{
	const uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return (a > b) - (a < b);
}

static void print_times(const char *name, uint64_t *times, size_t count)
{
	qsort(times, count, sizeof(*times), by_value);
	printf("\"%s_us\": {\"median\": %.1f, \"p99\": %.1f, \"max\": %.1f}", name,
		(double)times[count / 2] / 1e3, (double)times[count * 99 / 100] / 1e3,
		(double)times[count - 1] / 1e3);
}

static int cycles(struct gate *gate, size_t n, unsigned int pause_us)
{
	uint64_t *in_ns = calloc(n + 1, sizeof(*in_ns)), *out_ns = calloc(n + 1, sizeof(*out_ns)),
		 *stand_ns = calloc(n + 1, sizeof(*stand_ns));
	struct ng_diag diag = NG_DIAG_INIT;
	size_t busy = 0, again = 0, asleep = 0, done = 0;
	uint64_t total = 0, threads = 0;
	uint32_t max_threads = 0;
	int error = 0;

	printf("at it\n");
	fflush(stdout);
	while (done < n && !error) {
		struct ng_inject_report in = {0}, out = {0};
		struct ng_injected injected;

		diag.text[0] = '\0';
		error = ng_inject_install(&gate->plan, &injected, &in, &diag);
		if (error == -EAGAIN || error == -ETIMEDOUT || error == -ENOENT) {
			again++;
			error = 0;
			continue;
		}
		if (error)
			break;
		usleep(pause_us ? (unsigned int)random() % pause_us : 0);
		error = remove_whole(&injected, &out, &busy, &diag);
		total += counted(&injected);
		ng_injected_release(&injected);
		in_ns[done] = in.stop_ns;
		stand_ns[done] = in.stopped_ns;
		out_ns[done++] = out.stop_ns;
		asleep += in.asleep + out.asleep;
		threads += in.threads;
		max_threads = in.threads > max_threads ? in.threads : max_threads;
		usleep(pause_us ? (unsigned int)random() % pause_us : 0);
	}
	printf("{\"cycles\": %zu, \"counted\": %" PRIu64
	       ", \"threads\": {\"mean\": %.1f, \"max\": %u}, \"in_again\": %zu, \"out_again\": "
	       "%zu, "
	       "\"asleep\": %zu, ",
		done, total, done ? (double)threads / (double)done : 0, max_threads, again, busy,
		asleep);
	print_times("in", in_ns, done ? done : 1);
	printf(", ");
	print_times("stand", stand_ns, done ? done : 1);
	printf(", ");
	print_times("out", out_ns, done ? done : 1);
	printf("}\n");
	free(in_ns);
	free(out_ns);
	free(stand_ns);
	return error ? fail(error, &diag) : 0;
}

static int repair(pid_t pid)
{
	struct ng_diag diag = NG_DIAG_INIT;
	struct ng_inject_report report;
	struct ng_injected injected;
	size_t busy = 0;
	int error = ng_injected_find(pid, &injected, &diag);

	if (!error)
		error = remove_whole(&injected, &report, &busy, &diag);
	if (error)
		return fail(error, &diag);
	printf("{\"patches\": %zu}\n", injected.patch_count);
	return 0;
}

int main(int argc, char **argv)
{
	const pid_t pid = argc > 2 ? atoi(argv[2]) : 0;
	struct gate gate;

	srandom((unsigned int)getpid());
	if (argc == 3 && !strcmp(argv[1], "repair"))
		return repair(pid);
	if (argc < 5 || gate_find(&gate, pid, argv[3], argv[4]))
		return 2;
	if (!strcmp(argv[1], "once"))
		return once(&gate);
	if (argc == 7 && !strcmp(argv[1], "cycles"))
		return cycles(&gate, strtoul(argv[5], NULL, 10),
			(unsigned int)strtoul(argv[6], NULL, 10));
	return 2;
}
