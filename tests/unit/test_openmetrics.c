/* core/out/openmetrics: both formats to the letter, whatever is in a label, and who gets which. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "core/out/openmetrics.h"

static const struct ng_metric_labels none = {.items = NULL};

static const struct ng_metric_family load = {"a_load", NG_METRIC_GAUGE, NULL, "How \"busy\" \\."};
static const struct ng_metric_family spent = {
	"a_spent_seconds", NG_METRIC_COUNTER, "seconds", "One\nline."};
static const struct ng_metric_family build = {"a_build", NG_METRIC_INFO, NULL, "Which."};
static const struct ng_metric_family empty = {"a_hole", NG_METRIC_GAUGE, NULL, "Nothing."};

static char *written(enum ng_openmetrics_format format)
{
	static const struct ng_metric_label pairs[] = {{"pid", "7"}, {"exe", "/a b"}};
	const struct ng_metric_labels labels = {.items = pairs, .count = 2};
	struct ng_buffer buffer = {0};
	struct ng_openmetrics writer = {.buffer = &buffer, .format = format};
	char *text;

	ng_openmetrics_family(&writer, &load);
	ng_openmetrics_put(&writer, &none, 0.25);
	ng_openmetrics_family(&writer, &empty);
	ng_openmetrics_family(&writer, &spent);
	ng_openmetrics_put(&writer, &labels, 1.5);
	ng_openmetrics_put(&writer, &none, 1048576);
	ng_openmetrics_family(&writer, &build);
	ng_openmetrics_put(&writer, &labels, 1);
	ng_openmetrics_end(&writer);
	assert_int_equal(ng_buffer_finish(&buffer, &text), 0);
	return text;
}

static void the_text_format(void **state)
{
	char *text = written(NG_OPENMETRICS_TEXT);

	(void)state;
	assert_string_equal(text, "# HELP a_load How \"busy\" \\\\.\n"
				  "# TYPE a_load gauge\n"
				  "a_load 0.25\n"
				  "# HELP a_spent_seconds_total One\\nline.\n"
				  "# TYPE a_spent_seconds_total counter\n"
				  "a_spent_seconds_total{pid=\"7\",exe=\"/a b\"} 1.5\n"
				  "a_spent_seconds_total 1048576\n"
				  "# HELP a_build_info Which.\n"
				  "# TYPE a_build_info gauge\n"
				  "a_build_info{pid=\"7\",exe=\"/a b\"} 1\n");
	free(text);
}

static void openmetrics(void **state)
{
	char *text = written(NG_OPENMETRICS_1);

	(void)state;
	assert_string_equal(text, "# HELP a_load How \\\"busy\\\" \\\\.\n"
				  "# TYPE a_load gauge\n"
				  "a_load 0.25\n"
				  "# HELP a_spent_seconds One\\nline.\n"
				  "# TYPE a_spent_seconds counter\n"
				  "# UNIT a_spent_seconds seconds\n"
				  "a_spent_seconds_total{pid=\"7\",exe=\"/a b\"} 1.5\n"
				  "a_spent_seconds_total 1048576\n"
				  "# HELP a_build Which.\n"
				  "# TYPE a_build info\n"
				  "a_build_info{pid=\"7\",exe=\"/a b\"} 1\n"
				  "# EOF\n");
	free(text);
}

static void nothing_at_all(void **state)
{
	for (int format = 0; format < NG_OPENMETRICS_FORMATS; format++) {
		struct ng_buffer buffer = {0};
		struct ng_openmetrics writer = {
			.buffer = &buffer, .format = (enum ng_openmetrics_format)format};
		char *text;

		(void)state;
		ng_openmetrics_family(&writer, &empty);
		ng_openmetrics_end(&writer);
		assert_int_equal(ng_buffer_finish(&buffer, &text), 0);
		assert_string_equal(text, format == NG_OPENMETRICS_1 ? "# EOF\n" : "");
		free(text);
	}
}

static char *sample(const struct ng_metric_labels *labels, double value)
{
	struct ng_buffer buffer = {0};
	struct ng_openmetrics writer = {.buffer = &buffer, .family = &load, .has_begun = true};
	char *text;

	ng_openmetrics_put(&writer, labels, value);
	assert_int_equal(ng_buffer_finish(&buffer, &text), 0);
	return text;
}

static void any_bytes_are_a_label(void **state)
{
	static const struct {
		const char *value, *wanted;
	} cases[] = {
		{"", "a_load{exe=\"\"} 0\n"},
		{"\\\"\n", "a_load{exe=\"\\\\\\\"\\n\"} 0\n"},
		{"\\n", "a_load{exe=\"\\\\n\"} 0\n"},
		{"a\r\tb\x1b[0m\x7f", "a_load{exe=\"a  b [0m \"} 0\n"},
		{"\xc3\xa4\xf0\x9f\x90\x98{},=",
			"a_load{exe=\"\xc3\xa4\xf0\x9f\x90\x98{},=\"} 0\n"},
		{"\xff\xc3", "a_load{exe=\"\xef\xbf\xbd\xef\xbf\xbd\"} 0\n"},
		{"\xed\xa0\x80", "a_load{exe=\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"} 0\n"},
		{"\xc2\x85\xe2\x80\xa8", "a_load{exe=\"  \"} 0\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct ng_metric_label label = {"exe", cases[i].value};
		char *text = sample(&(struct ng_metric_labels){&label, 1}, 0);

		assert_string_equal(text, cases[i].wanted);
		free(text);
	}
}

static void a_number_is_read_back_as_it_was(void **state)
{
	static const struct {
		double value;
		const char *wanted;
	} cases[] = {
		{0, "a_load 0\n"},
		{0.01, "a_load 0.01\n"},
		{0.1 + 0.2, "a_load 0.30000000000000004\n"},
		{1e15, "a_load 1e+15\n"},
		{123456789012345, "a_load 123456789012345\n"},
		{-2.5, "a_load -2.5\n"},
		{DBL_MAX, "a_load 1.7976931348623157e+308\n"},
		{DBL_MIN, "a_load 2.2250738585072014e-308\n"},
		{INFINITY, "a_load +Inf\n"},
		{-INFINITY, "a_load -Inf\n"},
		{NAN, "a_load NaN\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text = sample(&none, cases[i].value);

		assert_string_equal(text, cases[i].wanted);
		free(text);
	}
}

static void who_gets_which_format(void **state)
{
	static const struct {
		const char *accept;
		enum ng_openmetrics_format wanted;
	} cases[] = {
		{NULL, NG_OPENMETRICS_TEXT},
		{"", NG_OPENMETRICS_TEXT},
		{",;,=;q=", NG_OPENMETRICS_TEXT},
		{"*/*", NG_OPENMETRICS_TEXT},
		{"text/html,application/xhtml+xml,*/*;q=0.8", NG_OPENMETRICS_TEXT},
		{"application/openmetrics-text-not", NG_OPENMETRICS_TEXT},
		{"application/openmetrics-tex", NG_OPENMETRICS_TEXT},
		{"application/openmetrics-text; version=0.0.1", NG_OPENMETRICS_TEXT},
		{"application/openmetrics-text; version=1.0.00", NG_OPENMETRICS_TEXT},
		{"application/openmetrics-text;q=0", NG_OPENMETRICS_TEXT},
		{"application/openmetrics-text;q=-1", NG_OPENMETRICS_TEXT},
		{"application/openmetrics-text;q=nan", NG_OPENMETRICS_TEXT},
		{"application/openmetrics-text;q=0.5, text/plain;q=0.6", NG_OPENMETRICS_TEXT},
		{"application/openmetrics-text;q=0.6,text/plain;q=0.5", NG_OPENMETRICS_1},
		{"application/openmetrics-text;q=0.5, text/plain;version=9", NG_OPENMETRICS_1},
		{"application/openmetrics-text", NG_OPENMETRICS_1},
		{" Application/OpenMetrics-Text ; Version=1.0.0 ; charset=utf-8", NG_OPENMETRICS_1},
		/* Prometheus 2.42, and 3 */
		{"application/openmetrics-text;version=1.0.0,application/openmetrics-text;"
		 "version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
			NG_OPENMETRICS_1},
		{"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
		 "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;"
		 "escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
			NG_OPENMETRICS_1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (ng_openmetrics_choose(cases[i].accept) != cases[i].wanted)
			fail_msg("'%s'", cases[i].accept);
	assert_string_equal(ng_openmetrics_type(NG_OPENMETRICS_TEXT),
		"text/plain; version=0.0.4; charset=utf-8");
	assert_string_equal(ng_openmetrics_type(NG_OPENMETRICS_1),
		"application/openmetrics-text; version=1.0.0; charset=utf-8");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_text_format),
		cmocka_unit_test(openmetrics),
		cmocka_unit_test(nothing_at_all),
		cmocka_unit_test(any_bytes_are_a_label),
		cmocka_unit_test(a_number_is_read_back_as_it_was),
		cmocka_unit_test(who_gets_which_format),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
