/* core/base/number: whole strings, ranges, units. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/base/number.h"

static const struct ng_range any = {0, UINT64_MAX};

static void refuses_what_is_no_number(void **state)
{
	static const char *const texts[] = {
		"", " 1", "1 ", "-1", "+1", "0x10", "1e3", "one", "1.5"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct ng_diag diag = NG_DIAG_INIT;
		uint64_t value = 7;

		assert_int_equal(ng_number_parse(texts[i], any, &value, &diag), -EINVAL);
		assert_int_equal(value, 7);
		assert_non_null(strstr(diag.text, "not a number"));
	}
}

static void keeps_to_the_range(void **state)
{
	const struct ng_range range = {5, 10};
	uint64_t value = 0;

	(void)state;
	assert_int_equal(ng_number_parse("4", range, &value, NULL), -ERANGE);
	assert_int_equal(ng_number_parse("5", range, &value, NULL), 0);
	assert_int_equal(value, 5);
	assert_int_equal(ng_number_parse("10", range, &value, NULL), 0);
	assert_int_equal(value, 10);
	assert_int_equal(ng_number_parse("11", range, &value, NULL), -ERANGE);
	assert_int_equal(ng_number_parse("18446744073709551615", any, &value, NULL), 0);
	assert_true(value == UINT64_MAX);
	assert_int_equal(ng_number_parse("18446744073709551616", any, &value, NULL), -ERANGE);
}

static void reads_times_with_units(void **state)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} good[] = {{"5", 5000000000ull}, {"1.5s", 1500000000ull}, {"10ms", 10000000},
		{"3us", 3000}, {"7ns", 7}, {"2m", 120000000000ull}, {"1h", 3600000000000ull}};
	static const char *const bad[] = {"", "s", "-1s", "1 s", "1.2.3s", "1sec", "1e3s", "nan",
		"inf", ".5s", "99999999999999999999999999999999999s"};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		uint64_t ns = 0;

		assert_int_equal(ng_duration_parse(good[i].text, any, &ns, NULL), 0);
		assert_true(ns == good[i].ns);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint64_t ns = 7;

		assert_int_equal(ng_duration_parse(bad[i], any, &ns, NULL), -EINVAL);
		assert_true(ns == 7);
	}
}

static void says_what_times_can_be(void **state)
{
	const struct ng_range range = {10 * NG_NS_PER_MS, 90 * 60 * NG_NS_PER_S};
	static const char *const bad[] = {"1ns", "0", "9ms", "91m"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct ng_diag diag = NG_DIAG_INIT;
		uint64_t ns = 7;

		assert_int_equal(ng_duration_parse(bad[i], range, &ns, &diag), -ERANGE);
		assert_non_null(strstr(diag.text, "it can be 10ms to 1.5h"));
		assert_true(ns == 7);
	}
}

static void reads_shares_in_three_forms(void **state)
{
	static const struct {
		const char *text;
		double ratio;
	} good[] = {{"1%", 0.01}, {"1/100", 0.01}, {"0.01", 0.01}, {"100%", 1}, {"1", 1}, {"0", 0},
		{"0.2%", 0.002}, {"2/3", 2.0 / 3}, {"250%", 2.5}};
	static const char *const bad[] = {"", "%", "1 %", "-1%", "+1%", "1/", "/2", "1/0", "1/-2",
		"0/0", "nan", "inf", "1e3", "0x1p3", "1%%", "1/2%", "1.2.3", ".5", "1/2/3",
		"99999999999999999999999999999999999"};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		double ratio = -1;

		assert_int_equal(ng_ratio_parse(good[i].text, &ratio, NULL), 0);
		assert_true(ratio == good[i].ratio);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct ng_diag diag = NG_DIAG_INIT;
		double ratio = 7;

		assert_int_equal(ng_ratio_parse(bad[i], &ratio, &diag), -EINVAL);
		assert_true(ratio == 7);
		assert_non_null(strstr(diag.text, "not a share"));
	}
}

static void reads_sizes_with_units(void **state)
{
	const struct ng_range range = {64 << 10, 1ull << 40};
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {{"65536", 65536}, {"64K", 65536}, {"64M", 64ull << 20}, {"1024G", 1ull << 40}};
	static const char *const bad[] = {
		"", "K", "-1K", "+1K", " 1K", "1 K", "1KB", "1k", "1T", "1.5M", "0x10000", "1KK"};
	static const char *const out[] = {
		"0", "63K", "65535", "1025G", "18446744073709551616", "17179869184G"};
	struct ng_diag diag = NG_DIAG_INIT;
	uint64_t bytes = 7;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(ng_size_parse(bad[i], range, &bytes, NULL), -EINVAL);
	for (size_t i = 0; i < sizeof(out) / sizeof(out[0]); i++) {
		assert_int_equal(ng_size_parse(out[i], range, &bytes, &diag), -ERANGE);
		assert_non_null(strstr(diag.text, "it can be 64K to 1024G"));
	}
	assert_true(bytes == 7);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(ng_size_parse(good[i].text, range, &bytes, NULL), 0);
		assert_true(bytes == good[i].bytes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_what_is_no_number),
		cmocka_unit_test(keeps_to_the_range),
		cmocka_unit_test(reads_times_with_units),
		cmocka_unit_test(says_what_times_can_be),
		cmocka_unit_test(reads_shares_in_three_forms),
		cmocka_unit_test(reads_sizes_with_units),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
