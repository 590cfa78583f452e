/* control/doctor/facts: what the kernel's text files say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/doctor/facts.h"

static void reads_releases(void **state)
{
	static const char *const bad[] = {"", "6", "6.", "six.one", ".1", "-"};
	struct ng_release release = {7, 7};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(ng_release_parse(bad[i], &release));
	assert_int_equal(release.major, 7);
	assert_true(ng_release_parse("5.15.0-91-generic", &release));
	assert_int_equal(release.major, 5);
	assert_int_equal(release.minor, 15);
	assert_false(ng_release_is_before(release, 5, 15));
	assert_true(ng_release_is_before(release, 5, 16));
	assert_true(ng_release_is_before(release, 6, 0));
	assert_false(ng_release_is_before(release, 4, 99));
}

static void reads_lockdown(void **state)
{
	(void)state;
	assert_int_equal(ng_lockdown_parse("[none] integrity confidentiality\n"), NG_LOCKDOWN_NONE);
	assert_int_equal(
		ng_lockdown_parse("none [integrity] confidentiality\n"), NG_LOCKDOWN_INTEGRITY);
	assert_int_equal(ng_lockdown_parse("none integrity [confidentiality]\n"),
		NG_LOCKDOWN_CONFIDENTIALITY);
	assert_int_equal(ng_lockdown_parse("none integrity"), NG_LOCKDOWN_UNKNOWN);
	assert_int_equal(ng_lockdown_parse(""), NG_LOCKDOWN_UNKNOWN);
}

static void reads_status(void **state)
{
	static const char text[] = "Name:\tCapEff:\t1\nSeccomp:\t2\nCapEff:\t000001fffeffffff\n"
				   "Empty:\t\nWord:\tyes\nMixed:\t12 34\nHuge:\t"
				   "fffffffffffffffff\nLast:\t10";
	uint64_t value = 7;

	(void)state;
	assert_false(ng_status_parse(text, "Cap", 16, &value));
	assert_false(ng_status_parse(text, "Missing", 16, &value));
	assert_false(ng_status_parse(text, "Empty", 10, &value));
	assert_false(ng_status_parse(text, "Word", 10, &value));
	assert_false(ng_status_parse(text, "Mixed", 10, &value));
	assert_false(ng_status_parse(text, "Huge", 16, &value));
	assert_false(ng_status_parse("", "CapEff", 16, &value));
	assert_int_equal(value, 7);
	assert_true(ng_status_parse(text, "CapEff", 16, &value));
	assert_true(value == 0x1fffeffffff);
	assert_true(ng_status_parse(text, "Seccomp", 10, &value));
	assert_true(value == 2);
	assert_true(ng_status_parse(text, "Last", 10, &value));
	assert_true(value == 10);
}

static void reads_configurations(void **state)
{
	static const char text[] = "# CONFIG_BPF_LSM is not set\nCONFIG_UPROBES=y\n"
				   "CONFIG_UPROBE_EVENTS_MORE=y\nCONFIG_X=m\nCONFIG_HZ=250\n"
				   "CONFIG_LAST=";

	(void)state;
	assert_int_equal(ng_config_parse(text, "CONFIG_UPROBES"), 'y');
	assert_int_equal(ng_config_parse(text, "CONFIG_X"), 'm');
	assert_int_equal(ng_config_parse(text, "CONFIG_UPROBE_EVENTS"), 'n');
	assert_int_equal(ng_config_parse(text, "CONFIG_BPF_LSM"), 'n');
	assert_int_equal(ng_config_parse(text, "CONFIG_HZ"), 'n');
	assert_int_equal(ng_config_parse(text, "CONFIG_LAST"), 'n');
	assert_int_equal(ng_config_parse("", "CONFIG_UPROBES"), 'n');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_releases),
		cmocka_unit_test(reads_lockdown),
		cmocka_unit_test(reads_status),
		cmocka_unit_test(reads_configurations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
