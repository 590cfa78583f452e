/* control/plane/selector: which processes it takes, and that no glob takes long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "control/plane/selector.h"
#include "core/base/clock.h"

static const struct ng_candidate server = {.pid = 42,
	.uid = 1000,
	.exe = "/usr/bin/server",
	.comm = "server",
	.cgroup = "/system.slice/server.service"};

static bool takes(struct ng_selector selector)
{
	return ng_selector_matches(&selector, &server);
}

static bool glob_takes(const char *glob, const char *exe)
{
	const struct ng_selector selector = {.exe = (char *)glob};
	const struct ng_candidate candidate = {.pid = 1, .exe = exe};

	return ng_selector_matches(&selector, &candidate);
}

static void nothing_set_takes_nothing(void **state)
{
	struct ng_selector selector = {0};

	(void)state;
	assert_true(ng_selector_is_empty(&selector));
	assert_false(takes(selector));
	selector.uid = 1000; /* without has_uid it says nothing */
	assert_true(ng_selector_is_empty(&selector));
	assert_false(takes(selector));
	assert_false(ng_selector_is_empty(&(struct ng_selector){.all = true}));
	assert_false(ng_selector_is_empty(&(struct ng_selector){.has_uid = true}));
	assert_false(ng_selector_is_empty(&(struct ng_selector){.pid = 1}));
	assert_false(ng_selector_is_empty(&(struct ng_selector){.exe = (char *)"a"}));
	assert_false(ng_selector_is_empty(&(struct ng_selector){.comm = (char *)"a"}));
	assert_false(ng_selector_is_empty(&(struct ng_selector){.cgroup = (char *)"a"}));
}

static void every_member_must_hold(void **state)
{
	(void)state;
	assert_true(takes((struct ng_selector){.all = true}));
	assert_true(takes((struct ng_selector){.pid = 42}));
	assert_false(takes((struct ng_selector){.pid = 43}));
	assert_true(takes((struct ng_selector){.has_uid = true, .uid = 1000}));
	assert_false(takes((struct ng_selector){.has_uid = true, .uid = 0}));
	assert_true(takes((struct ng_selector){.comm = (char *)"server"}));
	assert_false(takes((struct ng_selector){.comm = (char *)"serve"}));
	assert_false(takes((struct ng_selector){.comm = (char *)"serve*"}));
	assert_true(takes((struct ng_selector){.pid = 42, .comm = (char *)"server"}));
	assert_false(takes((struct ng_selector){.pid = 42, .comm = (char *)"client"}));
	assert_false(takes((struct ng_selector){.pid = 43, .comm = (char *)"server"}));
	assert_false(takes((struct ng_selector){.all = true, .has_uid = true, .uid = 1}));
}

static void what_is_not_known_is_not_taken(void **state)
{
	const struct ng_candidate unknown = {.pid = 42};

	(void)state;
	assert_false(ng_selector_matches(&(struct ng_selector){.exe = (char *)"*"}, &unknown));
	assert_false(ng_selector_matches(&(struct ng_selector){.comm = (char *)""}, &unknown));
	assert_false(ng_selector_matches(&(struct ng_selector){.cgroup = (char *)"/"}, &unknown));
}

static void globs(void **state)
{
	static const struct {
		const char *glob, *exe;
		bool taken;
	} cases[] = {
		{"", "", true}, {"", "a", false}, {"*", "", true},
		{"/usr/bin/server", "/usr/bin/server", true},
		{"/usr/bin/server", "/usr/bin/server2", false},
		{"/usr/bin/server", "/usr/bin/serve", false},
		{"/usr/*", "/usr/bin/server", true}, /* across slashes */
		{"*/server", "/usr/bin/server", true}, {"server", "/usr/bin/server", false},
		{"*r*v*", "/usr/bin/server", true}, {"*rr*", "/usr/bin/server", false},
		{"*aab", "aaaab", true}, {"a**b", "ab", true}, {"a*b*c", "a-c-b", false},
		{"/opt/app-?", "/opt/app-1", true}, {"/opt/app-?", "/opt/app-", false},
		{"/opt/app-?", "/opt/app-12", false}, {"[a-c]x", "bx", true},
		{"[a-c]x", "dx", false}, {"[!a-c]x", "dx", true}, {"[^a-c]x", "ax", false},
		{"[]]", "]", true}, {"[!]]", "]", false}, {"[a-]", "-", true},
		{"[a", "[a", true}, /* no set: itself */
		{"[a", "a", false}, {"[", "[", true}, {"[]", "[]", true}, {"\\*", "*", true},
		{"\\*", "a", false}, {"\\", "\\", true}, {"*[0-9]", "server7", true},
		{"[\xe0-\xff]", "\xf0", true}, /* bytes, not signed ones */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (glob_takes(cases[i].glob, cases[i].exe) != cases[i].taken)
			fail_msg("%s and %s", cases[i].glob, cases[i].exe);
	}
}

/* glibc's fnmatch() would not come back from this one. */
static void no_glob_takes_long(void **state)
{
	char glob[4097], exe[4096];
	uint64_t began_ns = ng_clock_ns();

	(void)state;
	for (size_t i = 0; i + 2 < sizeof(glob); i += 2)
		memcpy(glob + i, "*a", 2);
	memcpy(glob + sizeof(glob) - 3, "*b", 3);
	memset(exe, 'a', sizeof(exe) - 1);
	exe[sizeof(exe) - 1] = '\0';
	assert_false(glob_takes(glob, exe));
	assert_false(glob_takes("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", exe));
	assert_true(ng_clock_ns() - began_ns < 10 * NG_NS_PER_S);
}

static void cgroups_hold_what_is_below_them(void **state)
{
	(void)state;
	assert_true(takes((struct ng_selector){.cgroup = (char *)"/system.slice"}));
	assert_true(takes((struct ng_selector){.cgroup = (char *)"system.slice/"}));
	assert_true(takes((struct ng_selector){.cgroup = (char *)"/system.slice/server.service"}));
	assert_true(takes((struct ng_selector){.cgroup = (char *)"/"}));
	assert_false(takes((struct ng_selector){.cgroup = (char *)"/system.slic"}));
	assert_false(takes((struct ng_selector){.cgroup = (char *)"/system.slice/server"}));
	assert_false(takes((struct ng_selector){.cgroup = (char *)"/server.service"}));
	assert_false(
		takes((struct ng_selector){.cgroup = (char *)"/system.slice/server.service/a"}));
}

static void a_copy_is_equal_and_its_own(void **state)
{
	struct ng_selector original = {.pid = 7,
		.exe = strdup("/a*"),
		.comm = strdup("b"),
		.cgroup = strdup("/c"),
		.has_uid = true,
		.uid = 5};
	struct ng_selector copy, other;

	(void)state;
	assert_int_equal(ng_selector_copy(&original, &copy), 0);
	assert_true(ng_selector_equals(&original, &copy));
	assert_ptr_not_equal(original.exe, copy.exe);
	ng_selector_release(&original);
	assert_true(ng_selector_is_empty(&original));
	assert_string_equal(copy.exe, "/a*");
	assert_string_equal(copy.comm, "b");
	assert_string_equal(copy.cgroup, "/c");
	assert_int_equal(ng_selector_copy(&copy, &other), 0);
	other.uid = 6;
	assert_false(ng_selector_equals(&copy, &other));
	other.uid = 5;
	other.pid = 8;
	assert_false(ng_selector_equals(&copy, &other));
	other.pid = 7;
	other.exe[1] = 'b';
	assert_false(ng_selector_equals(&copy, &other));
	free(other.exe);
	other.exe = NULL;
	assert_false(ng_selector_equals(&copy, &other));
	ng_selector_release(&copy);
	ng_selector_release(&other);
	assert_true(ng_selector_equals(
		&(struct ng_selector){.uid = 1}, &(struct ng_selector){.uid = 2}));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_set_takes_nothing),
		cmocka_unit_test(every_member_must_hold),
		cmocka_unit_test(what_is_not_known_is_not_taken),
		cmocka_unit_test(globs),
		cmocka_unit_test(no_glob_takes_long),
		cmocka_unit_test(cgroups_hold_what_is_below_them),
		cmocka_unit_test(a_copy_is_equal_and_its_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
