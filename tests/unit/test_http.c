/* control/daemon/http: clients of all kinds, in one thread with the server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/daemon/http.h"

#define BOUND_NS    (20 * NG_NS_PER_S)
#define LARGE_BYTES (32u << 20) /* more than sockets' buffers hold */
#define GET(path)   "GET " path " HTTP/1.1\r\nHost: localhost\r\n\r\n"

struct fixture {
	struct ng_http *http;
	struct ng_http_page *page;
	struct ng_http_request *later[NG_HTTP_CONNECTIONS_MAX];
	size_t later_count;
	size_t asked, gone;
	char pid[16]; /* of the last request */
};

struct got {
	char text[4096]; /* the beginning */
	size_t length;
	bool has_ended;
};

static void on_request(struct ng_http_request *request, void *context)
{
	struct fixture *fixture = context;
	const char *pid = ng_http_parameter(request, "pid");

	fixture->asked++;
	(void)snprintf(fixture->pid, sizeof(fixture->pid), "%s", pid ? pid : "none");
	if (!strcmp(ng_http_path(request), "/page"))
		ng_http_answer(request, 200, fixture->page);
	else if (!strcmp(ng_http_path(request), "/no-memory"))
		ng_http_answer(request, 200, NULL);
	else if (!strcmp(ng_http_path(request), "/later"))
		fixture->later[fixture->later_count++] = request;
	else
		ng_http_answer_text(request, 404, "not here\n");
}

static void on_gone(struct ng_http_request *request, void *context)
{
	struct fixture *fixture = context;

	assert_string_equal(ng_http_path(request), "/later");
	fixture->gone++;
}

static void open_http(struct fixture *fixture, struct ng_http_options options, const char *address)
{
	struct ng_diag diag = NG_DIAG_INIT;

	assert_int_equal(ng_address_parse(address, &options.address, NULL), 0);
	options.on_request = on_request;
	options.on_gone = on_gone;
	options.context = fixture;
	if (ng_http_open(&options, &fixture->http, &diag))
		fail_msg("%s", diag.text);
}

static void make_page(struct fixture *fixture, char letter, size_t length)
{
	char *text = malloc(length + 1);

	memset(text, letter, length);
	ng_http_page_free(fixture->page);
	fixture->page = ng_http_page_new("text/x-test", text, length);
	assert_non_null(fixture->page);
}

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	make_page(fixture, 'p', 5);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	ng_http_free(fixture->http);
	ng_http_page_free(fixture->page);
	free(fixture);
	return 0;
}

static int dial(const struct fixture *fixture)
{
	const struct ng_address *address = ng_http_address(fixture->http);
	int fd = socket(address->socket.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(
		connect(fd, (const struct sockaddr *)&address->socket, address->length), 0);
	return fd;
}

static int say(const struct fixture *fixture, const char *text)
{
	int fd = dial(fixture);

	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	return fd;
}

/* One turn when there is something to do. @return the time that was waited */
static uint64_t turn(struct fixture *fixture, uint64_t until_ns)
{
	struct pollfd poll_fd = {.fd = ng_http_event_fd(fixture->http), .events = POLLIN};
	const uint64_t own_ns = ng_http_deadline_ns(fixture->http), now_ns = ng_clock_ns();

	until_ns = own_ns < until_ns ? own_ns : until_ns;
	(void)poll(
		&poll_fd, 1, until_ns > now_ns ? (int)((until_ns - now_ns) / NG_NS_PER_MS) + 1 : 0);
	ng_http_turn(fixture->http);
	return ng_clock_ns() - now_ns;
}

/* Takes what is there. */
static void take(int fd, struct got *got)
{
	char piece[65536];
	ssize_t length;

	while ((length = recv(fd, piece, sizeof(piece), MSG_DONTWAIT)) > 0) {
		size_t room = sizeof(got->text) - 1;

		for (ssize_t i = 0; i < length && got->length + (size_t)i < room; i++)
			got->text[got->length + (size_t)i] = piece[i];
		got->length += (size_t)length;
	}
	if (!length || errno != EAGAIN)
		got->has_ended = true;
}

/* Everything until the connection ends. */
static struct got hear(struct fixture *fixture, int fd)
{
	const uint64_t until_ns = ng_clock_ns() + BOUND_NS;
	struct got got = {.length = 0};

	while (!got.has_ended) {
		assert_true(ng_clock_ns() < until_ns);
		turn(fixture, ng_clock_ns() + 10 * NG_NS_PER_MS);
		take(fd, &got);
	}
	close(fd);
	return got;
}

static struct got ask(struct fixture *fixture, const char *text)
{
	return hear(fixture, say(fixture, text));
}

static bool begins(const struct got *got, const char *text)
{
	return !strncmp(got->text, text, strlen(text));
}

static const char *body_of(const struct got *got)
{
	const char *end = strstr(got->text, "\r\n\r\n");

	return end ? end + 4 : "no end of the head";
}

static void what_is_no_request(void **state)
{
	static const char *const heads[] = {
		"\r\n",
		"x\r\n\r\n",
		"GET\r\n\r\n",
		"GET /page\r\n\r\n",
		"GET /page HTTP/9.9\r\n\r\n",
		"GET page HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"\x16\x03\x01\x02\x01\x01\xfc\x03\x03\r\n\r\n",
		"GET /%00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
	};
	struct fixture *fixture = *state;

	open_http(fixture, (struct ng_http_options){.request_timeout_ns = 50 * NG_NS_PER_MS},
		"127.0.0.1:0");
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		struct got got = ask(fixture, heads[i]);

		if (begins(&got, "HTTP/1.1 200"))
			fail_msg("'%s' is answered: %s", heads[i], got.text);
	}
	struct got got = ask(fixture, GET("/page"));
	assert_string_equal(body_of(&got), "ppppp");
}

static void other_methods_change_nothing(void **state)
{
	static const char *const methods[] = {"POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get"};
	struct fixture *fixture = *state;

	open_http(fixture, (struct ng_http_options){.context = NULL}, "127.0.0.1:0");
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		char text[128];
		struct got got;

		(void)snprintf(text, sizeof(text),
			"%s /page HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc",
			methods[i]);
		got = ask(fixture, text);
		if (!begins(&got, "HTTP/1.1 405 ") || !strstr(got.text, "\r\nAllow: GET, HEAD\r\n"))
			fail_msg("%s: %s", methods[i], got.text);
	}
	assert_int_equal(fixture->asked, 0);
}

static void a_head_that_is_too_large(void **state)
{
	struct fixture *fixture = *state;
	const size_t length = 4 * NG_HTTP_HEAD_BYTES_MAX;
	char *text = malloc(length + 64);
	struct got got;

	open_http(fixture, (struct ng_http_options){.context = NULL}, "127.0.0.1:0");
	strcpy(text, "GET /page HTTP/1.1\r\nHost: localhost\r\nX: ");
	memset(text + strlen(text), 'x', length - strlen(text));
	text[length] = '\0';
	got = hear(fixture, say(fixture, text));
	/* Or nothing: who still sends when we close is not sure to hear. */
	if (got.length && !begins(&got, "HTTP/1.1 431 ") && !begins(&got, "HTTP/1.1 413 "))
		fail_msg("%s", got.text);
	assert_int_equal(fixture->asked, 0);
	free(text);
}

static void a_page_to_the_letter(void **state)
{
	struct fixture *fixture = *state;
	const char *const addresses[] = {"127.0.0.1:0", "[::1]:0"};

	for (size_t i = 0; i < 2; i++) {
		struct got got;

		open_http(fixture, (struct ng_http_options){.context = NULL}, addresses[i]);
		got = ask(fixture, GET("/page?pid=7&seconds=%31"));
		assert_true(begins(&got, "HTTP/1.1 200 OK\r\n"));
		assert_non_null(strstr(got.text, "\r\nConnection: close\r\n"));
		assert_non_null(strstr(got.text, "\r\nContent-Type: text/x-test\r\n"));
		assert_non_null(strstr(got.text, "\r\nContent-Length: 5\r\n"));
		assert_string_equal(body_of(&got), "ppppp");
		assert_string_equal(fixture->pid, "7");
		got = ask(fixture, "HEAD /page HTTP/1.1\r\nHost: localhost\r\n\r\n");
		assert_non_null(strstr(got.text, "\r\nContent-Length: 5\r\n"));
		assert_string_equal(body_of(&got), "");
		got = ask(fixture, "GET /page HTTP/1.0\r\n\r\n");
		assert_string_equal(body_of(&got), "ppppp");
		got = ask(fixture, GET("/pag"));
		assert_true(begins(&got, "HTTP/1.1 404 "));
		assert_string_equal(body_of(&got), "not here\n");
		assert_string_equal(fixture->pid, "none");
		got = ask(fixture, GET("/no-memory"));
		assert_int_equal(got.length, 0);
		/* Of two requests on a connection the first is answered. */
		got = ask(fixture, GET("/page") GET("/page"));
		assert_string_equal(body_of(&got), "ppppp");
		ng_http_free(fixture->http);
		fixture->http = NULL;
	}
}

static void another_name_is_refused_on_loopback(void **state)
{
	static const char request[] = "GET /page HTTP/1.1\r\nHost: evil.example\r\n\r\n";
	struct fixture *fixture = *state;
	struct got got;

	open_http(fixture, (struct ng_http_options){.context = NULL}, "127.0.0.1:0");
	got = ask(fixture, request);
	assert_true(begins(&got, "HTTP/1.1 403 "));
	assert_int_equal(fixture->asked, 0);
	ng_http_free(fixture->http);
	/* Others reach this one, by whatever name it has. */
	open_http(fixture, (struct ng_http_options){.context = NULL}, "0.0.0.0:0");
	got = ask(fixture, request);
	assert_true(begins(&got, "HTTP/1.1 200 "));
}

/* Half a request: nothing to do until its time is over. */
static void who_falls_silent_is_let_go(void **state)
{
	struct fixture *fixture = *state;
	const uint64_t began_ns = ng_clock_ns();
	struct got got = {.length = 0};
	int fd, turns = 0;

	open_http(fixture, (struct ng_http_options){.request_timeout_ns = 300 * NG_NS_PER_MS},
		"127.0.0.1:0");
	fd = say(fixture, "GET /page HTTP/1.1\r\nHost: local");
	while (!got.has_ended) {
		turn(fixture, began_ns + BOUND_NS);
		take(fd, &got);
		turns++;
	}
	assert_true(ng_clock_ns() - began_ns >= 300 * NG_NS_PER_MS);
	assert_true(turns < 20); /* it does not spin meanwhile */
	assert_int_equal(got.length, 0);
	close(fd);
	assert_int_equal(fixture->asked, 0);
	assert_true(ng_http_deadline_ns(fixture->http) == UINT64_MAX);
}

static void who_does_not_take_the_answer_is_let_go(void **state)
{
	struct fixture *fixture = *state;
	const uint64_t began_ns = ng_clock_ns();
	struct got got = {.length = 0};
	int fd, turns = 0;

	open_http(fixture, (struct ng_http_options){.answer_timeout_ns = 300 * NG_NS_PER_MS},
		"127.0.0.1:0");
	make_page(fixture, 'a', LARGE_BYTES);
	fd = say(fixture, GET("/page"));
	while (!fixture->asked)
		turn(fixture, began_ns + BOUND_NS);
	make_page(fixture, 'b', 5); /* the large one is still being sent */
	while (ng_http_deadline_ns(fixture->http) != UINT64_MAX) {
		assert_true(ng_clock_ns() - began_ns < BOUND_NS);
		turn(fixture, began_ns + BOUND_NS);
		turns++;
	}
	assert_true(ng_clock_ns() - began_ns >= 300 * NG_NS_PER_MS);
	assert_true(turns < 100);
	while (!got.has_ended)
		take(fd, &got);
	assert_true(got.length > 1000 && got.length < LARGE_BYTES);
	close(fd);
	got = ask(fixture, GET("/page"));
	assert_string_equal(body_of(&got), "bbbbb");
}

static void a_large_page_arrives_whole(void **state)
{
	struct fixture *fixture = *state;
	struct got got;

	open_http(fixture, (struct ng_http_options){.context = NULL}, "127.0.0.1:0");
	make_page(fixture, 'a', LARGE_BYTES);
	got = ask(fixture, GET("/page"));
	assert_int_equal(got.length - (size_t)(body_of(&got) - got.text), LARGE_BYTES);
}

/* Who is silent holds the slots; who comes later waits until their time is over. */
static void many_at_once(void **state)
{
	/* All fit into the kernel's queue: none waits in connect(). */
	enum { COUNT = 80, SILENT = 3 * NG_HTTP_CONNECTIONS_MAX };
	struct fixture *fixture = *state;
	int fds[COUNT];

	open_http(fixture, (struct ng_http_options){.request_timeout_ns = 100 * NG_NS_PER_MS},
		"127.0.0.1:0");
	for (size_t i = 0; i < COUNT; i++) {
		fds[i] = say(fixture, i < SILENT ? "GET /page" : GET("/page"));
		turn(fixture, 0);
	}
	for (size_t i = 0; i < COUNT; i++) {
		struct got got = hear(fixture, fds[i]);

		assert_string_equal(
			i < SILENT ? got.text : body_of(&got), i < SILENT ? "" : "ppppp");
	}
	assert_int_equal(fixture->asked, COUNT - SILENT);
}

static void an_answer_can_come_later(void **state)
{
	struct fixture *fixture = *state;
	struct got got[2] = {{.length = 0}};
	int fds[2];

	/* Times are for clients: whoever answers later takes his own. */
	open_http(fixture, (struct ng_http_options){.request_timeout_ns = 50 * NG_NS_PER_MS},
		"127.0.0.1:0");
	for (size_t i = 0; i < 2; i++) {
		fds[i] = say(fixture, GET("/later?pid=9"));
		while (fixture->later_count <= i)
			turn(fixture, ng_clock_ns() + BOUND_NS);
	}
	assert_true(ng_http_deadline_ns(fixture->http) == UINT64_MAX);
	assert_string_equal(ng_http_parameter(fixture->later[0], "pid"), "9");
	turn(fixture, ng_clock_ns() + 60 * NG_NS_PER_MS);
	for (size_t i = 0; i < 2; i++) {
		take(fds[i], &got[i]);
		assert_true(!got[i].length && !got[i].has_ended);
	}
	got[0] = ask(fixture, GET("/page"));
	assert_string_equal(body_of(&got[0]), "ppppp");
	ng_http_answer(fixture->later[1], 200, fixture->page);
	make_page(fixture, 'q', 1);
	got[1] = hear(fixture, fds[1]);
	assert_string_equal(body_of(&got[1]), "ppppp");
	ng_http_answer_text(fixture->later[0], 503, "no\n");
	got[0] = hear(fixture, fds[0]);
	assert_true(begins(&got[0], "HTTP/1.1 503 "));
	assert_string_equal(body_of(&got[0]), "no\n");
	assert_int_equal(fixture->gone, 0);
}

static void who_has_gone_meanwhile_is_answered_all_the_same(void **state)
{
	struct fixture *fixture = *state;
	const uint64_t until_ns = ng_clock_ns() + BOUND_NS;

	open_http(fixture, (struct ng_http_options){.context = NULL}, "127.0.0.1:0");
	close(say(fixture, GET("/later")));
	while (!fixture->later_count)
		turn(fixture, until_ns);
	make_page(fixture, 'l', LARGE_BYTES);
	ng_http_answer(fixture->later[0], 200, fixture->page);
	do {
		assert_true(ng_clock_ns() < until_ns);
		turn(fixture, until_ns);
	} while (ng_http_deadline_ns(fixture->http) != UINT64_MAX);
}

static void closing_ends_those_that_wait(void **state)
{
	struct fixture *fixture = *state;
	struct got got = {.length = 0};
	int fds[3];

	open_http(fixture, (struct ng_http_options){.context = NULL}, "127.0.0.1:0");
	make_page(fixture, 'a', LARGE_BYTES);
	fds[0] = say(fixture, "GET");
	fds[1] = say(fixture, GET("/page"));
	fds[2] = say(fixture, GET("/later"));
	while (fixture->asked < 2)
		turn(fixture, ng_clock_ns() + BOUND_NS);
	ng_http_free(fixture->http);
	fixture->http = NULL;
	assert_int_equal(fixture->gone, 1);
	for (size_t i = 0; i < 3; i++) {
		for (got.has_ended = false; !got.has_ended;)
			take(fds[i], &got);
		close(fds[i]);
	}
}

static void a_port_that_is_taken(void **state)
{
	struct fixture *fixture = *state;
	struct ng_http_options options = {.context = NULL};
	struct ng_diag diag = NG_DIAG_INIT;
	struct ng_http *second = NULL;

	open_http(fixture, options, "127.0.0.1:0");
	options.address = *ng_http_address(fixture->http);
	assert_int_equal(ng_http_open(&options, &second, &diag), -EADDRINUSE);
	assert_null(second);
	assert_non_null(strstr(diag.text, "another program does"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_no_request, set_up, tear_down),
		cmocka_unit_test_setup_teardown(other_methods_change_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_head_that_is_too_large, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_page_to_the_letter, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			another_name_is_refused_on_loopback, set_up, tear_down),
		cmocka_unit_test_setup_teardown(who_falls_silent_is_let_go, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			who_does_not_take_the_answer_is_let_go, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_large_page_arrives_whole, set_up, tear_down),
		cmocka_unit_test_setup_teardown(many_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_answer_can_come_later, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			who_has_gone_meanwhile_is_answered_all_the_same, set_up, tear_down),
		cmocka_unit_test_setup_teardown(closing_ends_those_that_wait, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_port_that_is_taken, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
