/* control/daemon/protocol, wire: what the socket takes, and how it says no. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/daemon/protocol.h"

/* Parses a copy that ends where the line does, for ASan. */
static int parse(const char *line, struct ng_request *request, struct ng_diag *diag)
{
	const size_t length = strlen(line);
	char *copy = malloc(length ? length : 1);
	int error;

	memcpy(copy, line, length);
	error = ng_request_parse(copy, length, request, diag);
	free(copy);
	return error;
}

#define ATTACH(rest) "{\"v\":1,\"op\":\"attach\",\"select\":{\"pid\":7}" rest "}"
#define SELECT(rest) "{\"v\":1,\"op\":\"status\",\"select\":{" rest "}}"
#define MODE(rest)   "{\"v\":1,\"op\":\"mode\",\"select\":{\"all\":true},\"settings\":{" rest "}}"

static void refuses_bad_requests_by_name(void **state)
{
	static const struct {
		const char *line, *text;
		int error;
	} cases[] = {
		{"", "not JSON", -EINVAL},
		{"{", "not JSON", -EINVAL},
		{"ping", "not JSON", -EINVAL},
		{"[]", "not a JSON object", -EINVAL},
		{"{\"v\":1,\"op\":\"ping\"} x", "not JSON", -EINVAL},
		{"{\"v\":1,\"op\":\"ping\",\"op\":\"ping\"}", "not JSON: duplicate", -EINVAL},
		{"{\"v\":1,\"op\":\"pi\\u0000ng\"}", "not JSON", -EINVAL},
		{"{\"v\":1,\"op\":\"\xff\"}", "not JSON", -EINVAL},
		{"{}", "v, the protocol's version, is missing", -EINVAL},
		{"{\"op\":\"ping\"}", "v, the protocol's version, is missing", -EINVAL},
		{"{\"v\":\"1\",\"op\":\"ping\"}", "is missing", -EINVAL},
		{"{\"v\":2,\"op\":\"ping\"}", "v is 2, and 1 is spoken", -EPROTONOSUPPORT},
		{"{\"v\":1}", "op is missing", -EINVAL},
		{"{\"v\":1,\"op\":7}", "op is missing, or not a string", -EINVAL},
		{"{\"v\":1,\"op\":\"dance\"}", "op is 'dance'", -EINVAL},
		{"{\"v\":1,\"op\":\"ping\",\"x\":1}", "ping has no key 'x'", -EINVAL},
		{"{\"v\":1,\"op\":\"ping\",\"select\":{\"pid\":1}}", "ping has no key 'select'",
			-EINVAL},
		{"{\"v\":1,\"op\":\"detach\"}", "detach needs select", -EINVAL},
		{"{\"v\":1,\"op\":\"attach\"}", "attach needs select", -EINVAL},
		{"{\"v\":1,\"op\":\"mode\",\"settings\":{\"mode\":\"off\"}}", "mode needs select",
			-EINVAL},
		{"{\"v\":1,\"op\":\"attach\",\"select\":{\"all\":true}}", "attach cannot have all",
			-EINVAL},
		{SELECT(""), "select is empty", -EINVAL},
		{SELECT("\"all\":false"), "select is empty", -EINVAL},
		{SELECT("\"all\":1"), "all is neither true nor false", -EINVAL},
		{SELECT("\"pids\":1"), "select has no key 'pids'", -EINVAL},
		{SELECT("\"pid\":0"), "pid is out of range: 0", -ERANGE},
		{SELECT("\"pid\":-1"), "pid is out of range: -1", -ERANGE},
		{SELECT("\"pid\":2147483648"), "pid is out of range", -ERANGE},
		{SELECT("\"pid\":1.0"), "pid is not an integer", -EINVAL},
		{SELECT("\"pid\":\"1\""), "pid is not an integer", -EINVAL},
		{SELECT("\"pid\":null"), "pid is not an integer", -EINVAL},
		{SELECT("\"pid\":99999999999999999999"), "not JSON: too big integer", -EINVAL},
		{SELECT("\"uid\":4294967295"), "uid is out of range", -ERANGE},
		{SELECT("\"exe\":\"\""), "exe is empty", -EINVAL},
		{SELECT("\"exe\":[]"), "exe is not a string", -EINVAL},
		{SELECT("\"comm\":\"a\\nb\""), "comm has a control character", -EINVAL},
		{SELECT("\"cgroup\":\"a\\u007f\""), "cgroup has a control character", -EINVAL},
		{"{\"v\":1,\"op\":\"status\",\"select\":[]}", "select is not an object", -EINVAL},
		{ATTACH(",\"functions\":\"time.Now\""), "functions is not a list", -EINVAL},
		{ATTACH(",\"functions\":[]"), "functions is not a list", -EINVAL},
		{ATTACH(",\"functions\":[\"a\",1]"), "functions[1] is not a string", -EINVAL},
		{ATTACH(",\"functions\":[\"\"]"), "functions is empty", -EINVAL},
		{ATTACH(",\"settings\":1"), "settings is not an object", -EINVAL},
		{ATTACH(",\"settings\":{\"modus\":\"off\"}"), "settings has no key 'modus'",
			-EINVAL},
		{ATTACH(",\"settings\":{\"mode\":\"on\"}"), "mode is 'on'", -EINVAL},
		{ATTACH(",\"settings\":{\"mode\":4}"), "mode is not a string", -EINVAL},
		{ATTACH(",\"settings\":{\"budget_ratio\":0}"), "budget of 0 %", -ERANGE},
		{ATTACH(",\"settings\":{\"budget_ratio\":1.01}"), "budget of 101 %", -ERANGE},
		{ATTACH(",\"settings\":{\"budget_ratio\":-1}"), "budget of -100 %", -ERANGE},
		{ATTACH(",\"settings\":{\"budget_ratio\":NaN}"), "not JSON", -EINVAL},
		{ATTACH(",\"settings\":{\"budget_ratio\":1e400}"), "not JSON: real number overflow",
			-EINVAL},
		{ATTACH(",\"settings\":{\"budget_ratio\":1e300}"), "out of range", -ERANGE},
		{ATTACH(",\"settings\":{\"budget_ratio\":\"1%\"}"), "budget_ratio is not a number",
			-EINVAL},
		{ATTACH(",\"settings\":{\"exact\":1}"), "exact is neither", -EINVAL},
		{ATTACH(",\"settings\":{\"follow_forks\":\"yes\"}"), "follow_forks is neither",
			-EINVAL},
		{"{\"v\":1,\"op\":\"mode\",\"select\":{\"all\":true}}",
			"needs settings with a mode", -EINVAL},
		{MODE("\"budget_ratio\":0.1"), "needs settings with a mode", -EINVAL},
		{MODE("\"mode\":\"off\",\"follow_forks\":true"), "follow_forks goes with attach",
			-EINVAL},
		{MODE("\"mode\":\"full\",\"lease_ns\":0"), "mode full needs a lease", -ERANGE},
		{MODE("\"mode\":\"burst\",\"lease_ns\":94608000000000000"), "too long", -ERANGE},
		{MODE("\"mode\":\"full\",\"lease_ns\":-5"), "lease_ns is out of range: -5",
			-ERANGE},
		{MODE("\"mode\":\"full\",\"lease_ns\":1.5"), "lease_ns is not an integer", -EINVAL},
		{MODE("\"mode\":\"burst\",\"events\":0"), "0 events", -ERANGE},
		{MODE("\"mode\":\"full\",\"events\":5"), "goes with mode burst only", -EINVAL},
		{MODE("\"mode\":\"sampled\",\"rate_ratio\":1.5"), "rate of 1.5", -ERANGE},
		{MODE("\"mode\":\"sampled\",\"rate_ratio\":0"), "rate of 0", -ERANGE},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ng_request request = {.op = NG_OP_MODE, .select.pid = 77};
		struct ng_diag diag = NG_DIAG_INIT;
		const int error = parse(cases[i].line, &request, &diag);

		if (error != cases[i].error || !strstr(diag.text, cases[i].text))
			fail_msg("%s: %d, %s", cases[i].line, error, diag.text);
		assert_int_equal(ng_request_error_code(error), NG_EXIT_USAGE);
		assert_int_equal(request.select.pid, 77);
	}
}

static char *repeat(const char *begin, const char *part, size_t count, const char *end)
{
	char *line = calloc(1, strlen(begin) + count * strlen(part) + strlen(end) + 1);
	char *at = stpcpy(line, begin);

	for (size_t i = 0; i < count; i++)
		at = stpcpy(at, part);
	strcpy(at, end);
	return line;
}

static void bounds_what_it_takes(void **state)
{
	static const struct {
		const char *begin, *part;
		size_t count;
		const char *end;
		int error;
	} cases[] = {
		{"", "x", NG_REQUEST_BYTES_MAX + 1, "", -E2BIG},
		{"{\"v\":1,\"op\":\"ping\"", " ", NG_REQUEST_BYTES_MAX - 19, "}", 0},
		{"{\"v\":1,\"op\":\"ping\"", " ", NG_REQUEST_BYTES_MAX - 18, "}", -E2BIG},
		{"", "[", 60000, "", -EINVAL}, /* deep */
		{"{\"v\":1,\"op\":\"status\",\"select\":{\"exe\":\"", "a", NG_WIRE_TEXT_MAX, "\"}}",
			0},
		{"{\"v\":1,\"op\":\"status\",\"select\":{\"exe\":\"", "a", NG_WIRE_TEXT_MAX + 1,
			"\"}}", -EINVAL},
		{"{\"v\":1,\"op\":\"attach\",\"select\":{\"pid\":1},\"functions\":[\"a\"", ",\"b\"",
			NG_NAMES_MAX - 1, "]}", 0},
		{"{\"v\":1,\"op\":\"attach\",\"select\":{\"pid\":1},\"functions\":[\"a\"", ",\"b\"",
			NG_NAMES_MAX, "]}", -EINVAL},
		{"{\"v\":1,\"op\":\"ping\",\"", "k", 60000, "\":1}", -EINVAL}, /* a long key */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ng_request request = NG_REQUEST_INIT;
		struct ng_diag diag = NG_DIAG_INIT;
		char *line = repeat(cases[i].begin, cases[i].part, cases[i].count, cases[i].end);
		const int error = parse(line, &request, &diag);

		if (error != cases[i].error)
			fail_msg("case %zu: %d, %s", i, error, diag.text);
		ng_request_release(&request);
		free(line);
	}
}

static void gives_back_what_was_encoded(void **state)
{
	struct ng_request request = {.op = NG_OP_ATTACH,
		.select = {.pid = 7,
			.exe = strdup("/opt/\xc3\xa4*"),
			.comm = strdup("caddy"),
			.cgroup = strdup("/system.slice"),
			.has_uid = true,
			.uid = 1000},
		.wish = {.settings = {.mode = NG_MODE_BURST,
				 .budget_ratio = 0.015,
				 .lease_ns = 123456789012345,
				 .events = 1000,
				 .follow_forks = true},
			.has_mode = true,
			.has_budget = true,
			.has_lease = true,
			.has_events = true,
			.has_follow_forks = true}};
	struct ng_request got;
	char *line;

	(void)state;
	request.wish.settings.lease_ns = 12345678901234;
	assert_int_equal(ng_names_add(&request.functions, "time.Now"), 0);
	assert_int_equal(ng_names_add(&request.functions, "main.Work[...]"), 0);
	assert_int_equal(ng_request_encode(&request, &line, NULL), 0);
	assert_null(strchr(line, '\n'));
	assert_int_equal(parse(line, &got, NULL), 0);
	free(line);
	assert_int_equal(got.op, NG_OP_ATTACH);
	assert_true(ng_selector_equals(&got.select, &request.select));
	assert_true(ng_names_equal(&got.functions, &request.functions));
	assert_true(got.wish.has_mode && got.wish.has_budget && got.wish.has_lease &&
		    got.wish.has_events && got.wish.has_follow_forks && !got.wish.has_rate &&
		    !got.wish.has_exact);
	assert_int_equal(got.wish.settings.mode, NG_MODE_BURST);
	assert_true(got.wish.settings.budget_ratio == 0.015);
	assert_true(got.wish.settings.lease_ns == 12345678901234);
	assert_true(got.wish.settings.events == 1000);
	assert_true(got.wish.settings.follow_forks);
	ng_request_release(&got);
	ng_request_release(&request);
}

static void every_operation_has_its_line(void **state)
{
	(void)state;
	for (int op = 0; op < NG_OPS; op++) {
		struct ng_request request = {.op = op}, got;
		char *line;

		if (op != NG_OP_PING)
			request.select.pid = 5;
		request.wish.has_mode = op == NG_OP_MODE;
		assert_int_equal(ng_request_encode(&request, &line, NULL), 0);
		assert_int_equal(parse(line, &got, NULL), 0);
		assert_int_equal(got.op, op);
		assert_int_equal(got.wish.has_mode, op == NG_OP_MODE);
		assert_int_equal(got.select.pid, op == NG_OP_PING ? 0 : 5);
		ng_request_release(&got);
		free(line);
	}
}

static void encodes_nothing_that_would_be_refused(void **state)
{
	struct ng_request request = {.op = NG_OP_ATTACH};
	struct ng_diag diag = NG_DIAG_INIT;
	char *name = repeat("", "a", 4000, ""), *line = NULL;

	(void)state;
	request.select.exe = strdup("/\xff");
	assert_int_equal(ng_request_encode(&request, &line, &diag), -EINVAL);
	assert_string_equal(diag.text, "select cannot be sent: a text in it is not UTF-8");
	ng_selector_release(&request.select);
	request.select.pid = 1;
	for (int i = 0; i < 17; i++)
		assert_int_equal(ng_names_add(&request.functions, name), 0);
	assert_int_equal(ng_request_encode(&request, &line, NULL), -E2BIG);
	assert_null(line);
	ng_request_release(&request);
	free(name);
}

static void answers_say_what_went_wrong(void **state)
{
	static const struct {
		int code;
		const char *text, *said;
	} cases[] = {
		{NG_EXIT_NOT_FOUND, "no such target", "no such target"},
		{NG_EXIT_USAGE, "a \"quoted\"\n\tline", "a \"quoted\"\n\tline"},
		{NG_EXIT_DENIED, "\xc3\xa4", "\xc3\xa4"},
		{NG_EXIT_REFUSED, "cut \xc3", "cut ?"},
		{NG_EXIT_FAILED, "", ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ng_diag diag = NG_DIAG_INIT;
		char *line = ng_answer_error(cases[i].code, cases[i].text);
		json_t *answer = NULL;

		assert_non_null(line);
		assert_null(strchr(line, '\n'));
		assert_int_equal(
			ng_answer_parse(line, strlen(line), &answer, &diag), cases[i].code);
		assert_string_equal(diag.text, cases[i].said);
		assert_null(answer);
		free(line);
	}
}

static void answers_carry_their_body(void **state)
{
	char *line = ng_answer_ok(json_pack("{s:i}", "targets", 3));
	json_t *answer = NULL;

	(void)state;
	assert_int_equal(ng_answer_parse(line, strlen(line), &answer, NULL), NG_EXIT_DONE);
	assert_int_equal(json_integer_value(json_object_get(answer, "targets")), 3);
	json_decref(answer);
	free(line);
	line = ng_answer_ok(NULL);
	assert_string_equal(line, "{\"v\":1,\"ok\":true}");
	free(line);
}

static void a_client_believes_no_answer_that_is_none(void **state)
{
	static const char *const lines[] = {"", "x", "[]", "{}", "{\"v\":1}", "{\"ok\":true}",
		"{\"v\":2,\"ok\":true}", "{\"v\":1,\"ok\":1}", "{\"v\":1,\"ok\":false}",
		"{\"v\":1,\"ok\":false,\"error\":{\"code\":0,\"text\":\"a\"}}",
		"{\"v\":1,\"ok\":false,\"error\":{\"code\":256,\"text\":\"a\"}}",
		"{\"v\":1,\"ok\":false,\"error\":{\"code\":\"2\",\"text\":\"a\"}}",
		"{\"v\":1,\"ok\":false,\"error\":{\"code\":2}}"};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct ng_diag diag = NG_DIAG_INIT;
		json_t *answer = NULL;

		assert_int_equal(ng_answer_parse(lines[i], strlen(lines[i]), &answer, &diag),
			NG_EXIT_FAILED);
		assert_true(diag.text[0] && !answer);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_bad_requests_by_name),
		cmocka_unit_test(bounds_what_it_takes),
		cmocka_unit_test(gives_back_what_was_encoded),
		cmocka_unit_test(every_operation_has_its_line),
		cmocka_unit_test(encodes_nothing_that_would_be_refused),
		cmocka_unit_test(answers_say_what_went_wrong),
		cmocka_unit_test(answers_carry_their_body),
		cmocka_unit_test(a_client_believes_no_answer_that_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
