/*
 * The goroutines of calls, for tests/e2e/test_goroutine.py: PID FUNCTION... Says "ready" when they
 * are recorded; when the process has ended, a line for each goroutine and function: its id, the
 * function and the calls.
 */
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/plane/session.h"

#define ROWS_MAX 4096

/* Written by the session's reader, read when it has ended. */
struct sums {
	struct row {
		uint64_t goroutine;
		uint64_t calls;
		uint32_t site;
	} rows[ROWS_MAX];
	size_t count;
};

static void add_call(const struct ng_call *call, void *context)
{
	struct sums *sums = context;

	for (size_t i = 0; i < sums->count; i++) {
		struct row *row = &sums->rows[i];

		if (row->goroutine == call->goroutine && row->site == call->site) {
			row->calls++;
			return;
		}
	}
	if (sums->count == ROWS_MAX)
		abort(); /* no test has so many */
	sums->rows[sums->count++] =
		(struct row){.goroutine = call->goroutine, .calls = 1, .site = call->site};
}

static void print_note(const char *note, void *context)
{
	(void)context;
	fprintf(stderr, "goroutines: %s\n", note);
}

static int fail(int error, const struct ng_diag *diag)
{
	fprintf(stderr, "goroutines: %s\n", diag->text[0] ? diag->text : strerror(-error));
	return 1;
}

static void wait_for_end(struct ng_session *session)
{
	while (!ng_session_is_over(session)) {
		struct pollfd fd = {.fd = ng_session_event_fd(session), .events = POLLIN};

		(void)poll(&fd, 1, (int)(NG_SESSION_TURN_NS / 1000000)); /* we look anyway */
		ng_session_turn(session);
	}
	ng_session_stop(session);
}

static int print_sums(struct ng_session *session, const struct sums *sums)
{
	struct ng_report report;
	struct ng_diag diag = NG_DIAG_INIT;
	int error = ng_session_report(session, &report);
	uint64_t lost = 0;

	if (error)
		return fail(error, &diag);
	for (size_t i = 0; i < NG_LOST_CAUSES; i++)
		lost += report.lost[i];
	lost += report.strangers;
	ng_report_release(&report);
	if (lost) {
		fprintf(stderr, "goroutines: %" PRIu64 " were lost\n", lost);
		return 1;
	}
	for (size_t i = 0; i < sums->count; i++)
		printf("%" PRIu64 " %s %" PRIu64 "\n", sums->rows[i].goroutine,
			ng_session_site(sums->rows[i].site, session)->function,
			sums->rows[i].calls);
	return 0;
}

int main(int argc, char **argv)
{
	static struct sums sums;
	const struct ng_session_options options = {
		.wanted = {.functions = (const char *const *)argv + 2,
			.function_count = argc > 2 ? (size_t)argc - 2 : 0},
		.on_note = print_note,
		.on_call = add_call,
		.call_context = &sums,
	};
	struct ng_session *session = NULL;
	struct ng_diag diag = NG_DIAG_INIT;
	sigset_t all;
	int error, status;

	if (argc < 3)
		return 2;
	sigfillset(&all);
	(void)sigprocmask(SIG_BLOCK, &all, NULL); /* it cannot fail */
	error = ng_session_open(&options, &session, &diag);
	if (!error)
		error = ng_session_add_pid(session, (pid_t)strtol(argv[1], NULL, 10), &diag);
	if (!error)
		error = ng_session_start(session, &diag);
	if (error)
		return fail(error, &diag);
	puts("ready");
	(void)fflush(stdout); /* a reader that has gone is seen at the next line */
	wait_for_end(session);
	status = print_sums(session, &sums);
	ng_session_free(session);
	return status;
}
