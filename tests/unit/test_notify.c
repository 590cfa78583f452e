/* control/daemon/notify: what the service manager hears. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/daemon/notify.h"
#include "core/base/clock.h"

/* A manager's socket. @param name with '@' for an abstract one */
static int listen_at(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	memcpy(address.sun_path, name, strlen(name) + 1);
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	assert_int_equal(bind(fd, (struct sockaddr *)&address,
				 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name) +
					     (name[0] == '/'))),
		0);
	return fd;
}

static void expect(int fd, const char *wanted)
{
	char message[1024];
	ssize_t length = recv(fd, message, sizeof(message) - 1, 0);

	assert_true(length >= 0);
	message[length] = '\0';
	assert_string_equal(message, wanted);
}

static void nobody_to_tell_is_fine(void **state)
{
	struct ng_notify notify;

	(void)state;
	unsetenv("NOTIFY_SOCKET");
	setenv("WATCHDOG_USEC", "1000000", 1);
	assert_int_equal(ng_notify_open(&notify, NULL), 0);
	assert_true(notify.fd == -1 && notify.watchdog_ns == 0);
	assert_int_equal(ng_notify_ready(&notify), 0);
	assert_int_equal(ng_notify_status(&notify, "a"), 0);
	assert_null(getenv("WATCHDOG_USEC"));
	ng_notify_close(&notify);
}

static void refuses_what_nobody_can_follow(void **state)
{
	static const struct {
		const char *socket, *usec;
	} cases[] = {{"", NULL}, {"/", NULL}, {"@", NULL}, {"relative", NULL}, {"vsock:2:1", NULL},
		{"/a/very/long/path/that/no/unix/address/can/hold/because/it/is/longer/than/one/"
		 "hundred/and/seven/bytes/aaaaaaaaaaaa",
			NULL},
		{"@a", ""}, {"@a", "0"}, {"@a", "-1"}, {"@a", "1s"},
		{"@a", "99999999999999999999"}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ng_diag diag = NG_DIAG_INIT;
		struct ng_notify notify;

		setenv("NOTIFY_SOCKET", cases[i].socket, 1);
		if (cases[i].usec)
			setenv("WATCHDOG_USEC", cases[i].usec, 1);
		if (ng_notify_open(&notify, &diag) != -EINVAL)
			fail_msg("'%s' '%s'", cases[i].socket, cases[i].usec);
		assert_true(diag.text[0] && notify.fd == -1);
		assert_int_equal(ng_notify_ready(&notify), 0);
		assert_null(getenv("NOTIFY_SOCKET"));
	}
}

static void hears_everything_at(const char *name)
{
	struct ng_notify notify;
	unsigned long long usec;
	char message[256], pid[16];
	int fd = listen_at(name);
	ssize_t length;

	setenv("NOTIFY_SOCKET", name, 1);
	setenv("WATCHDOG_USEC", "3000000", 1);
	(void)snprintf(pid, sizeof(pid), "%d", getpid());
	setenv("WATCHDOG_PID", pid, 1);
	assert_int_equal(ng_notify_open(&notify, NULL), 0);
	assert_true(notify.watchdog_ns == 1500000000);
	assert_int_equal(ng_notify_ready(&notify), 0);
	expect(fd, "READY=1");
	assert_int_equal(ng_notify_watchdog(&notify), 0);
	expect(fd, "WATCHDOG=1");
	assert_int_equal(ng_notify_status(&notify, "7 targets\nREADY=0\x7f"), 0);
	expect(fd, "STATUS=7 targets READY=0 ");
	assert_int_equal(ng_notify_reloading(&notify), 0);
	length = recv(fd, message, sizeof(message) - 1, 0);
	assert_true(length > 0);
	message[length] = '\0';
	assert_int_equal(sscanf(message, "RELOADING=1\nMONOTONIC_USEC=%llu", &usec), 1);
	assert_in_range(ng_clock_ns() / 1000 - usec, 0, 60000000);
	assert_int_equal(ng_notify_stopping(&notify), 0);
	expect(fd, "STOPPING=1");
	close(fd);
	assert_int_equal(ng_notify_ready(&notify), -ECONNREFUSED); /* and it lives */
	ng_notify_close(&notify);
}

static void hears_at_an_abstract_address(void **state)
{
	char name[64];

	(void)state;
	(void)snprintf(name, sizeof(name), "@nowgate-notify-%d", getpid());
	hears_everything_at(name);
}

static void hears_at_a_path(void **state)
{
	char name[64];

	(void)state;
	(void)snprintf(name, sizeof(name), "/tmp/nowgate-notify-%d", getpid());
	hears_everything_at(name);
	assert_int_equal(unlink(name), 0);
}

static void anothers_watchdog_is_not_ours(void **state)
{
	struct ng_notify notify;

	(void)state;
	setenv("NOTIFY_SOCKET", "@a", 1);
	setenv("WATCHDOG_USEC", "3000000", 1);
	setenv("WATCHDOG_PID", "1", 1);
	assert_int_equal(ng_notify_open(&notify, NULL), 0);
	assert_true(notify.watchdog_ns == 0 && notify.fd >= 0);
	ng_notify_close(&notify);
}

static void a_full_queue_does_not_block(void **state)
{
	struct ng_notify notify;
	char name[64];
	int fd, error = 0;

	(void)state;
	(void)snprintf(name, sizeof(name), "@nowgate-notify-%d", getpid());
	fd = listen_at(name);
	setenv("NOTIFY_SOCKET", name, 1);
	assert_int_equal(ng_notify_open(&notify, NULL), 0);
	for (int i = 0; i < 100000 && !error; i++)
		error = ng_notify_watchdog(&notify);
	assert_int_equal(error, -EAGAIN);
	ng_notify_close(&notify);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_to_tell_is_fine),
		cmocka_unit_test(refuses_what_nobody_can_follow),
		cmocka_unit_test(hears_at_an_abstract_address),
		cmocka_unit_test(hears_at_a_path),
		cmocka_unit_test(anothers_watchdog_is_not_ours),
		cmocka_unit_test(a_full_queue_does_not_block),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
