/* control/daemon/server, listener, client: clients of all kinds, in one thread with the server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/daemon/client.h"
#include "control/daemon/listener.h"
#include "control/daemon/server.h"

#define PING	 "{\"v\":1,\"op\":\"ping\"}\n"
#define PONG	 "{\"v\":1,\"ok\":true,\"op\":\"ping\"}\n"
#define BOUND_NS (20 * NG_NS_PER_S)

struct fixture {
	char folder[64];
	char path[96];
	struct ng_server *server;
	struct ng_peer peer; /* of the last request */
	size_t requests;
	size_t answer_bytes; /* 0: a short one that names the operation */
};

static void on_request(const struct ng_request *request, const struct ng_peer *peer,
	char **ret_answer, void *context)
{
	struct fixture *fixture = context;

	fixture->peer = *peer;
	fixture->requests++;
	if (fixture->answer_bytes) {
		*ret_answer = malloc(fixture->answer_bytes + 1);
		memset(*ret_answer, 'a', fixture->answer_bytes);
		(*ret_answer)[fixture->answer_bytes] = '\0';
		return;
	}
	*ret_answer = ng_answer_ok(json_pack("{s:s}", "op", ng_op_name(request->op)));
}

static void open_server(struct fixture *fixture, struct ng_server_options options)
{
	struct ng_diag diag = NG_DIAG_INIT;

	options.path = fixture->path;
	options.on_request = on_request;
	options.context = fixture;
	if (ng_server_open(&options, &fixture->server, &diag))
		fail_msg("%s", diag.text);
}

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	strcpy(fixture->folder, "/tmp/nowgate-server-XXXXXX");
	if (!mkdtemp(fixture->folder))
		return -1;
	(void)snprintf(fixture->path, sizeof(fixture->path), "%s/socket", fixture->folder);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;
	char lock[sizeof(fixture->path) + 8];

	ng_server_free(fixture->server);
	(void)snprintf(lock, sizeof(lock), "%s.lock", fixture->path);
	(void)unlink(lock);
	(void)unlink(fixture->path);
	if (rmdir(fixture->folder))
		return -1;
	free(fixture);
	return 0;
}

static int dial(const struct fixture *fixture)
{
	struct ng_diag diag = NG_DIAG_INIT;
	int fd;

	if (ng_client_open(fixture->path, BOUND_NS, &fd, &diag))
		fail_msg("%s", diag.text);
	return fd;
}

static void say(int fd, const char *text, size_t length)
{
	assert_int_equal(send(fd, text, length, MSG_NOSIGNAL), length);
}

/* One turn when there is something to do; waits for it until `deadline_ns` or the server's own. */
static void turn(struct fixture *fixture, uint64_t deadline_ns)
{
	struct pollfd poll_fd = {.fd = ng_server_event_fd(fixture->server), .events = POLLIN};
	const uint64_t own_ns = ng_server_deadline_ns(fixture->server);
	const uint64_t until_ns = own_ns < deadline_ns ? own_ns : deadline_ns;
	const uint64_t now_ns = ng_clock_ns();

	(void)poll(
		&poll_fd, 1, until_ns > now_ns ? (int)((until_ns - now_ns) / NG_NS_PER_MS) + 1 : 0);
	ng_server_turn(fixture->server);
}

/* Takes what is there, up to the first newline. @return as recv() */
static ssize_t take(int fd, char *text, size_t size)
{
	ssize_t got = recv(fd, text, size, MSG_DONTWAIT | MSG_PEEK);
	const char *newline = got > 0 ? memchr(text, '\n', (size_t)got) : NULL;

	return got <= 0 ? got
			: recv(fd, text, newline ? (size_t)(newline + 1 - text) : (size_t)got, 0);
}

/* Turns the server until the client has read `wanted` newlines, or the end. @return the length */
static size_t hear(struct fixture *fixture, int fd, char *text, size_t size, int wanted)
{
	const uint64_t deadline_ns = ng_clock_ns() + BOUND_NS;
	size_t length = 0;

	while (wanted && length + 1 < size) {
		ssize_t got = take(fd, text + length, size - 1 - length);

		if (got == 0 || (got < 0 && errno != EAGAIN))
			break;
		if (got > 0) {
			length += (size_t)got;
			wanted -= text[length - 1] == '\n';
			continue;
		}
		if (ng_clock_ns() > deadline_ns)
			fail_msg("nothing came after %zu bytes", length);
		turn(fixture, ng_clock_ns() + 10 * NG_NS_PER_MS);
	}
	text[length] = '\0';
	return length;
}

static void expect(struct fixture *fixture, int fd, const char *part)
{
	char text[4096];

	(void)hear(fixture, fd, text, sizeof(text), 1);
	if (!strstr(text, part) || text[strlen(text) - 1] != '\n')
		fail_msg("'%s' instead of '%s'", text, part);
}

static void expect_end(struct fixture *fixture, int fd)
{
	char text[64];

	assert_int_equal(hear(fixture, fd, text, sizeof(text), 1), 0);
	close(fd);
}

static void malformed_lines_get_an_answer_each(void **state)
{
	static const char lines[] = "\n{\n{\"v\":1}\n{\"v\":9,\"op\":\"ping\"}\n\0\n\xff\n" PING;
	struct fixture *fixture = *state;
	int fd;

	open_server(fixture, (struct ng_server_options){0});
	fd = dial(fixture);
	say(fd, lines, sizeof(lines) - 1);
	expect(fixture, fd, "\"code\":2,\"text\":\"the request is not JSON");
	expect(fixture, fd, "not JSON");
	expect(fixture, fd, "op is missing");
	expect(fixture, fd, "v is 9");
	expect(fixture, fd, "not JSON");
	expect(fixture, fd, "not JSON");
	expect(fixture, fd, PONG);
	assert_int_equal(fixture->requests, 1);
	assert_int_equal(fixture->peer.uid, getuid());
	assert_int_equal(fixture->peer.pid, getpid());
	close(fd);
}

static void a_line_may_come_in_pieces_and_many_at_once(void **state)
{
	struct fixture *fixture = *state;
	char text[50 * sizeof(PONG)];
	int fd;

	open_server(fixture, (struct ng_server_options){0});
	fd = dial(fixture);
	for (size_t i = 0; i < strlen(PING); i++) {
		say(fd, &PING[i], 1);
		turn(fixture, ng_clock_ns() + NG_NS_PER_MS);
	}
	expect(fixture, fd, PONG);
	for (int i = 0; i < 50; i++)
		say(fd, PING, strlen(PING));
	assert_int_equal(hear(fixture, fd, text, sizeof(text), 50), 50 * strlen(PONG));
	assert_int_equal(fixture->requests, 51);
	close(fd);
}

static void an_oversized_line_is_refused_and_its_client_closed(void **state)
{
	struct fixture *fixture = *state;
	static char text[NG_REQUEST_BYTES_MAX + 2];
	int fd;

	open_server(fixture, (struct ng_server_options){0});
	memset(text, ' ', sizeof(text));
	memcpy(text, PING, strlen(PING) - 1);
	text[NG_REQUEST_BYTES_MAX] = '\n'; /* the longest there can be */
	fd = dial(fixture);
	say(fd, text, NG_REQUEST_BYTES_MAX + 1);
	expect(fixture, fd, PONG);
	text[NG_REQUEST_BYTES_MAX] = ' ';
	say(fd, text, sizeof(text));
	expect(fixture, fd, "too long");
	close(fd);
	fd = dial(fixture); /* the daemon lives */
	say(fd, PING, strlen(PING));
	expect(fixture, fd, PONG);
	close(fd);
	assert_int_equal(fixture->requests, 2);
}

static void half_closed_clients_get_their_answers(void **state)
{
	struct fixture *fixture = *state;
	int fd;

	open_server(fixture, (struct ng_server_options){0});
	fd = dial(fixture);
	say(fd, PING PING, 2 * strlen(PING));
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	expect(fixture, fd, PONG);
	expect(fixture, fd, PONG);
	expect_end(fixture, fd);
	fd = dial(fixture);
	say(fd, PING "{\"v\":", strlen(PING) + 5);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	expect(fixture, fd, PONG);
	expect(fixture, fd, "ends without a newline");
	expect_end(fixture, fd);
	fd = dial(fixture);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	expect_end(fixture, fd);
	fd = dial(fixture); /* gone before the answer */
	say(fd, PING, strlen(PING));
	close(fd);
	fd = dial(fixture);
	say(fd, PING, strlen(PING));
	expect(fixture, fd, PONG);
	close(fd);
}

static void slow_clients_are_closed_at_their_deadline(void **state)
{
	struct fixture *fixture = *state;
	const uint64_t began_ns = ng_clock_ns();
	int idle, slow;

	open_server(fixture, (struct ng_server_options){.line_timeout_ns = 60 * NG_NS_PER_MS,
				     .idle_timeout_ns = 120 * NG_NS_PER_MS});
	idle = dial(fixture);
	slow = dial(fixture);
	say(slow, "{", 1);
	expect(fixture, slow, "the request took too long");
	assert_true(ng_clock_ns() - began_ns >= 60 * NG_NS_PER_MS);
	expect_end(fixture, slow);
	say(idle, PING, strlen(PING)); /* still there, and its time begins anew */
	expect(fixture, idle, PONG);
	expect_end(fixture, idle);
	assert_true(ng_clock_ns() - began_ns >= 180 * NG_NS_PER_MS);
	assert_true(ng_server_deadline_ns(fixture->server) == UINT64_MAX);
}

static void who_does_not_take_an_answer_is_closed(void **state)
{
	struct fixture *fixture = *state;
	const uint64_t began_ns = ng_clock_ns();
	static char text[8 << 20];
	int fd, other;

	open_server(fixture, (struct ng_server_options){.answer_timeout_ns = 100 * NG_NS_PER_MS});
	fixture->answer_bytes = 4 << 20; /* more than a socket holds */
	fd = dial(fixture);
	say(fd, PING PING, 2 * strlen(PING));
	other = dial(fixture);
	while (!fixture->requests)
		turn(fixture, began_ns + BOUND_NS);
	fixture->answer_bytes = 0;
	say(other, PING, strlen(PING)); /* the others do not wait for it */
	expect(fixture, other, PONG);
	while (ng_server_deadline_ns(fixture->server) < began_ns + 30 * NG_NS_PER_S)
		turn(fixture, UINT64_MAX);
	assert_true(ng_clock_ns() - began_ns >= 100 * NG_NS_PER_MS);
	assert_int_equal(fixture->requests, 2); /* its second one was never looked at */
	assert_in_range(hear(fixture, fd, text, sizeof(text), 1), 1, 4 << 20);
	close(fd);
	close(other);
}

static void large_answers_arrive_whole(void **state)
{
	struct fixture *fixture = *state;
	static char text[8 << 20];
	int fd;

	open_server(fixture, (struct ng_server_options){.idle_timeout_ns = 1000 * NG_NS_PER_S});
	fixture->answer_bytes = 4 << 20;
	fd = dial(fixture);
	say(fd, PING, strlen(PING));
	assert_int_equal(hear(fixture, fd, text, sizeof(text), 1), (4 << 20) + 1);
	assert_int_equal(text[(4 << 20)], '\n');
	turn(fixture, ng_clock_ns() + NG_NS_PER_MS);
	/* The time for taking it is over: now it is the next request's. */
	assert_true(ng_server_deadline_ns(fixture->server) > ng_clock_ns() + 900 * NG_NS_PER_S);
	fixture->answer_bytes = 0;
	say(fd, PING, strlen(PING));
	expect(fixture, fd, PONG);
	close(fd);
}

static void the_next_client_is_told_that_there_are_too_many(void **state)
{
	struct fixture *fixture = *state;
	const int max = getuid() ? NG_CLIENTS_OTHERS : NG_CLIENTS_MAX;
	int fds[NG_CLIENTS_MAX], more;

	open_server(fixture, (struct ng_server_options){0});
	for (int i = 0; i < max; i++) {
		fds[i] = dial(fixture);
		say(fds[i], PING, strlen(PING));
		expect(fixture, fds[i], PONG);
	}
	more = dial(fixture);
	expect(fixture, more, "\"code\":5,\"text\":\"too many clients");
	expect_end(fixture, more);
	close(fds[7]);
	turn(fixture, UINT64_MAX);
	fds[7] = dial(fixture);
	for (int i = 0; i < max; i++) {
		say(fds[i], PING, strlen(PING));
		expect(fixture, fds[i], PONG);
		close(fds[i]);
	}
}

static void out_of_descriptors_it_waits_and_lives(void **state)
{
	struct fixture *fixture = *state;
	struct rlimit limit, low = {.rlim_cur = 3};
	int fd;

	open_server(fixture, (struct ng_server_options){0});
	fd = dial(fixture);
	say(fd, PING, strlen(PING));
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	low.rlim_max = limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	turn(fixture, UINT64_MAX);
	assert_in_range(ng_server_deadline_ns(fixture->server), ng_clock_ns() - NG_NS_PER_S,
		ng_clock_ns() + NG_NS_PER_S);
	assert_int_equal(
		poll(&(struct pollfd){.fd = ng_server_event_fd(fixture->server), .events = POLLIN},
			1, 0),
		0); /* it does not spin */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	expect(fixture, fd, PONG);
	close(fd);
}

/* --- the path ----------------------------------------------------------------------------------
 */

static int try_open(struct fixture *fixture, struct ng_diag *diag)
{
	const struct ng_server_options options = {
		.path = fixture->path, .on_request = on_request, .context = fixture};
	struct ng_server *server;
	int error = ng_server_open(&options, &server, diag);

	if (!error)
		ng_server_free(server);
	return error;
}

static void what_is_no_socket_is_not_touched(void **state)
{
	struct fixture *fixture = *state;
	struct ng_diag diag = NG_DIAG_INIT;
	struct stat facts;
	int fd = open(fixture->path, O_CREAT | O_WRONLY, 0600);

	assert_int_equal(write(fd, "mine", 4), 4);
	close(fd);
	assert_int_equal(try_open(fixture, &diag), -EEXIST);
	assert_non_null(strstr(diag.text, "is no socket"));
	assert_int_equal(stat(fixture->path, &facts), 0);
	assert_int_equal(facts.st_size, 4);
}

static void a_living_daemons_socket_is_not_touched(void **state)
{
	struct fixture *fixture = *state;
	struct ng_diag diag = NG_DIAG_INIT;
	int fd;

	open_server(fixture, (struct ng_server_options){0});
	assert_int_equal(try_open(fixture, &diag), -EADDRINUSE);
	assert_non_null(strstr(diag.text, "already"));
	fd = dial(fixture);
	say(fd, PING, strlen(PING));
	expect(fixture, fd, PONG);
	close(fd);
}

static void a_lock_keeps_a_second_daemon_away(void **state)
{
	struct fixture *fixture = *state;
	struct ng_diag diag = NG_DIAG_INIT;
	int pipe_fds[2], status;
	char expected[32];
	pid_t child;

	/* The child holds the lock, and has no socket yet. */
	assert_int_equal(pipe(pipe_fds), 0);
	child = fork();
	if (child == 0) {
		struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
		char name[128];
		int fd;

		(void)snprintf(name, sizeof(name), "%s.lock", fixture->path);
		fd = open(name, O_RDWR | O_CREAT, 0600);
		if (fcntl(fd, F_SETLK, &lock) || write(pipe_fds[1], "x", 1) != 1)
			_exit(1);
		(void)pause();
		_exit(0);
	}
	assert_int_equal(read(pipe_fds[0], expected, 1), 1);
	assert_int_equal(try_open(fixture, &diag), -EADDRINUSE);
	(void)snprintf(expected, sizeof(expected), "process %d, listens", child);
	assert_non_null(strstr(diag.text, expected));
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, &status, 0), child);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	assert_int_equal(try_open(fixture, NULL), 0);
}

static void a_dead_daemons_socket_is_replaced(void **state)
{
	struct fixture *fixture = *state;
	struct ng_diag diag = NG_DIAG_INIT;
	struct sockaddr_un address;
	int length = ng_socket_address(fixture->path, &address, NULL);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct stat facts;

	assert_int_equal(bind(fd, (struct sockaddr *)&address, (socklen_t)length), 0);
	close(fd); /* as kill -9 leaves it */
	assert_int_equal(ng_client_open(fixture->path, BOUND_NS, &fd, &diag), -ECONNREFUSED);
	assert_non_null(strstr(diag.text, "start one by `nowgate daemon`"));
	open_server(fixture, (struct ng_server_options){0});
	assert_int_equal(stat(fixture->path, &facts), 0);
	assert_int_equal(facts.st_mode & 0777, 0666);
	fd = dial(fixture);
	say(fd, PING, strlen(PING));
	expect(fixture, fd, PONG);
	close(fd);
	ng_server_free(fixture->server);
	fixture->server = NULL;
	assert_int_equal(stat(fixture->path, &facts), -1);
	memset(diag.text, 0, sizeof(diag.text));
	assert_int_equal(ng_client_open(fixture->path, BOUND_NS, &fd, &diag), -ECONNREFUSED);
	assert_int_equal(ng_exit_code(-ECONNREFUSED), NG_EXIT_NO_DAEMON);
}

static void anothers_socket_is_not_removed_at_the_end(void **state)
{
	struct fixture *fixture = *state;
	struct sockaddr_un address;
	int length = ng_socket_address(fixture->path, &address, NULL);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct stat facts;

	open_server(fixture, (struct ng_server_options){0});
	assert_int_equal(unlink(fixture->path), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, (socklen_t)length), 0);
	ng_server_free(fixture->server);
	fixture->server = NULL;
	assert_int_equal(stat(fixture->path, &facts), 0);
	close(fd);
}

static void a_path_that_is_too_long_is_refused(void **state)
{
	struct ng_server_options options = {.on_request = on_request};
	struct ng_diag diag = NG_DIAG_INIT;
	struct ng_server *server;
	char path[109];

	(void)state;
	memset(path, 'a', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	options.path = path;
	assert_int_equal(ng_server_open(&options, &server, &diag), -ENAMETOOLONG);
	assert_string_equal(diag.text, "the socket's path is too long: 108 bytes, 107 at most");
}

/* --- the client ------------------------------------------------------------------------------- */

/* A daemon that takes a connection in, says something, and closes it. */
static void fake_daemon(
	struct fixture *fixture, const char *answer, enum ng_exit wanted_code, const char *wanted)
{
	struct ng_request request = NG_REQUEST_INIT;
	struct ng_diag diag = NG_DIAG_INIT;
	struct ng_listener listener;
	json_t *root = NULL;
	int status;
	pid_t child;

	assert_int_equal(ng_listener_open(fixture->path, &listener, NULL), 0);
	child = fork();
	if (child == 0) {
		struct pollfd poll_fd = {.fd = listener.fd, .events = POLLIN};
		int fd;

		(void)poll(&poll_fd, 1, -1);
		fd = accept(listener.fd, NULL, NULL);
		if (send(fd, answer, strlen(answer), MSG_NOSIGNAL) < 0)
			_exit(1);
		close(fd);
		_exit(0);
	}
	assert_int_equal(ng_client_request(fixture->path, &request, &root, &diag), wanted_code);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	if (wanted && !strstr(diag.text, wanted))
		fail_msg("%s instead of %s", diag.text, wanted);
	json_decref(root);
	ng_listener_close(&listener);
}

static void a_client_reads_why_it_was_turned_away(void **state)
{
	fake_daemon(*state, "{\"v\":1,\"ok\":false,\"error\":{\"code\":5,\"text\":\"full\"}}\n",
		NG_EXIT_REFUSED, "full");
}

static void a_client_tells_a_daemon_that_dies(void **state)
{
	fake_daemon(*state, "", NG_EXIT_FAILED, "went away before it answered");
	fake_daemon(*state, "{\"v\":1,\"ok\":true}", NG_EXIT_FAILED, "went away");
	fake_daemon(*state, "nonsense\n", NG_EXIT_FAILED, "no answer");
	fake_daemon(*state, "{\"v\":1,\"ok\":true}\n", NG_EXIT_DONE, NULL);
}

static void a_client_does_not_wait_for_ever(void **state)
{
	struct fixture *fixture = *state;
	struct ng_diag diag = NG_DIAG_INIT;
	char *answer = NULL;
	uint64_t began_ns;
	int fd;

	open_server(fixture, (struct ng_server_options){0});
	fd = dial(fixture); /* nobody turns the server */
	began_ns = ng_clock_ns();
	assert_int_equal(ng_client_ask(fd, "{}", 50 * NG_NS_PER_MS, &answer, &diag), -ETIMEDOUT);
	assert_true(ng_clock_ns() - began_ns >= 50 * NG_NS_PER_MS);
	assert_non_null(strstr(diag.text, "does it hang?"));
	assert_null(answer);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			malformed_lines_get_an_answer_each, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_line_may_come_in_pieces_and_many_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			an_oversized_line_is_refused_and_its_client_closed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			half_closed_clients_get_their_answers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			slow_clients_are_closed_at_their_deadline, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			who_does_not_take_an_answer_is_closed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(large_answers_arrive_whole, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			the_next_client_is_told_that_there_are_too_many, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			out_of_descriptors_it_waits_and_lives, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			what_is_no_socket_is_not_touched, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_living_daemons_socket_is_not_touched, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_lock_keeps_a_second_daemon_away, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_dead_daemons_socket_is_replaced, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			anothers_socket_is_not_removed_at_the_end, set_up, tear_down),
		cmocka_unit_test(a_path_that_is_too_long_is_refused),
		cmocka_unit_test_setup_teardown(
			a_client_reads_why_it_was_turned_away, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_client_tells_a_daemon_that_dies, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_client_does_not_wait_for_ever, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
