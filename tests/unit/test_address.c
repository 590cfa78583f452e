/* control/daemon/address: what is an address, which are ours alone, and a port that is taken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "control/daemon/address.h"

static void what_is_no_address(void **state)
{
	static const struct {
		const char *text;
		int error;
		const char *wanted;
	} cases[] = {
		{"", -EINVAL, "'' is no numeric address with a port"},
		{":", -EINVAL, "no numeric address"},
		{":9753", -EINVAL, "no numeric address"},
		{"9753", -EINVAL, "no numeric address"},
		{"127.0.0.1", -EINVAL, "no numeric address"},
		{"127.0.0.1:", -EINVAL, ""},
		{"127.0.0.1:x", -EINVAL, ""},
		{"127.0.0.1: 1", -EINVAL, ""},
		{"127.0.0.1:65536", -ERANGE, ""},
		{"127.0.0.1:-1", -EINVAL, ""},
		{"127.0.0.1:1:2", -EINVAL, ""},
		{"127.1:80", -EINVAL, "no numeric address"},
		{"127.0.0.256:80", -EINVAL, "no numeric address"},
		{"localhost:80", -EINVAL, "write 127.0.0.1:9753 or [::1]:9753"},
		{"::1:80", -EINVAL, "no numeric address"},
		{"[::1]", -EINVAL, "no numeric address"},
		{"[::1", -EINVAL, "no numeric address"},
		{"[::1]80", -EINVAL, "no numeric address"},
		{"[]:80", -EINVAL, "no numeric address"},
		{"[127.0.0.1]:80", -EINVAL, "no numeric address"},
		{"[::1%lo]:80", -EINVAL, "no numeric address"},
		{"[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa]:80", -EINVAL,
			"no numeric address"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ng_diag diag = NG_DIAG_INIT;
		struct ng_address address;

		if (ng_address_parse(cases[i].text, &address, &diag) != cases[i].error ||
			!strstr(diag.text, cases[i].wanted) || !diag.text[0])
			fail_msg("'%s': %s", cases[i].text, diag.text);
	}
}

static void an_address_is_printed_as_it_is_read(void **state)
{
	static const struct {
		const char *text;
		bool is_loopback;
	} cases[] = {
		{"127.0.0.1:0", true},
		{"127.1.2.3:65535", true},
		{"[::1]:9753", true},
		{"[::ffff:127.0.0.1]:1", true},
		{"0.0.0.0:9753", false},
		{"128.0.0.1:9753", false},
		{"[::]:9753", false},
		{"[::ffff:10.0.0.1]:1", false},
		{"[2001:db8::1]:9753", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ng_diag diag = NG_DIAG_INIT;
		char text[NG_ADDRESS_TEXT_MAX];
		struct ng_address address;

		if (ng_address_parse(cases[i].text, &address, &diag))
			fail_msg("%s", diag.text);
		ng_address_print(&address, text);
		assert_string_equal(text, cases[i].text);
		if (ng_address_is_loopback(&address) != cases[i].is_loopback)
			fail_msg("%s", cases[i].text);
	}
}

static void which_hosts_are_plain(void **state)
{
	static const char *const plain[] = {"", "localhost", "LocalHost:9753", "127.0.0.1",
		"127.0.0.1:9753", "[::1]", "[::1]:9753", "10.1.2.3:80"};
	static const char *const others[] = {"evil.example", "evil.example:9753",
		"localhost.evil.example", "127.0.0.1.evil.example", "localhos", "127.0.0.1:x",
		"::1", "[::1", ":",
		"0123456789012345678901234567890123456789012345678901234567890123:80"};

	(void)state;
	assert_true(ng_address_is_plain_host(NULL));
	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		if (!ng_address_is_plain_host(plain[i]))
			fail_msg("%s", plain[i]);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (ng_address_is_plain_host(others[i]))
			fail_msg("%s", others[i]);
}

static void a_port_that_is_taken_is_told(void **state)
{
	struct ng_diag diag = NG_DIAG_INIT;
	char text[NG_ADDRESS_TEXT_MAX];
	struct ng_address address;
	int fd;

	(void)state;
	assert_int_equal(ng_address_parse("127.0.0.1:0", &address, NULL), 0);
	fd = ng_address_listen(&address, 1, &diag);
	assert_true(fd >= 0);
	ng_address_print(&address, text);
	assert_string_not_equal(text, "127.0.0.1:0");
	assert_int_equal(ng_address_listen(&address, 1, &diag), -EADDRINUSE);
	assert_non_null(strstr(diag.text, text));
	assert_non_null(strstr(diag.text, "another program does"));
	close(fd);
	diag = (struct ng_diag)NG_DIAG_INIT;
	fd = ng_address_listen(&address, 1, &diag);
	assert_true(fd >= 0);
	close(fd);
	/* Of a net for documentation: nobody's. */
	assert_int_equal(ng_address_parse("192.0.2.1:0", &address, NULL), 0);
	assert_int_equal(ng_address_listen(&address, 1, &diag), -EADDRNOTAVAIL);
	assert_non_null(strstr(diag.text, "cannot listen on 192.0.2.1:0: "));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_no_address),
		cmocka_unit_test(an_address_is_printed_as_it_is_read),
		cmocka_unit_test(which_hosts_are_plain),
		cmocka_unit_test(a_port_that_is_taken_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
