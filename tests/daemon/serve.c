/*
 * The daemon's socket without a daemon: answers each request with what it was, who asked, and what
 * they may. serve PATH [LINE_TIMEOUT_MS]; ends at SIGTERM.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "control/daemon/access.h"
#include "control/daemon/server.h"

static void on_request(const struct ng_request *request, const struct ng_peer *peer,
	char **ret_answer, void *context)
{
	const struct ng_access *access = context;
	struct ng_request narrowed = *request; /* its texts stay the request's */
	struct ng_diag diag = NG_DIAG_INIT;
	const int error = ng_access_check(access, peer->uid, &narrowed, &diag);

	if (error)
		*ret_answer = ng_answer_error((enum ng_exit)ng_exit_code(error), diag.text);
	else
		*ret_answer = ng_answer_ok(json_pack("{s:s, s:i, s:i, s:f}", "op",
			ng_op_name(request->op), "uid", (int)peer->uid, "pid", (int)peer->pid,
			"budget_ratio", narrowed.wish.settings.budget_ratio));
}

int main(int argc, char **argv)
{
	struct ng_access access = {.budget_ratio = 0.01, .max_budget_ratio = 0.02};
	struct ng_server_options options = {.on_request = on_request, .context = &access};
	struct ng_diag diag = NG_DIAG_INIT;
	struct ng_server *server;
	sigset_t signals;
	int signal_fd;

	if (argc < 2)
		return NG_EXIT_USAGE;
	options.path = argv[1];
	if (argc > 2)
		options.line_timeout_ns = (uint64_t)atoi(argv[2]) * NG_NS_PER_MS;
	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &signals, NULL);
	signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
	if (ng_server_open(&options, &server, &diag)) {
		printf("%s\n", diag.text);
		return NG_EXIT_FAILED;
	}
	printf("ready %d\n", getpid());
	(void)fflush(stdout);
	for (;;) {
		struct pollfd fds[] = {{.fd = ng_server_event_fd(server), .events = POLLIN},
			{.fd = signal_fd, .events = POLLIN}};
		const uint64_t now_ns = ng_clock_ns(), until_ns = ng_server_deadline_ns(server);
		int timeout_ms = -1;

		if (until_ns != UINT64_MAX)
			timeout_ms = until_ns > now_ns
					     ? (int)((until_ns - now_ns) / NG_NS_PER_MS) + 1
					     : 0;
		if (poll(fds, 2, timeout_ms) < 0 && errno != EINTR)
			return NG_EXIT_FAILED;
		if (fds[1].revents)
			break;
		ng_server_turn(server);
	}
	ng_server_free(server);
	close(signal_fd);
	return NG_EXIT_DONE;
}
