/* control/daemon/access: root may do all, others their own, within their budget. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "control/daemon/access.h"

static const struct ng_access limited = {.budget_ratio = 0.01, .max_budget_ratio = 0.02};
static const struct ng_access closed = {.budget_ratio = 0.01};

#define USER 1000u

static int check(const struct ng_access *access, uid_t uid, struct ng_request request)
{
	return ng_access_check(access, uid, &request, NULL);
}

static void others_may_not(void **state)
{
	static const struct {
		struct ng_request request;
		int error;
		const char *text;
	} cases[] = {
		{{.op = NG_OP_ATTACH, .select = {.has_uid = true, .uid = 0}}, -EPERM,
			"uid 0 are not yours"},
		{{.op = NG_OP_MODE, .select = {.all = true, .has_uid = true, .uid = 1001}}, -EPERM,
			"uid 1001 are not yours"},
		{{.op = NG_OP_DETACH, .select = {.has_uid = true, .uid = 0}}, -EPERM, "ask root"},
		{{.op = NG_OP_MODE,
			 .select = {.all = true},
			 .wish = {.has_mode = true, .settings.mode = NG_MODE_FULL}},
			-EBUSY, "mode full goes over"},
		{{.op = NG_OP_ATTACH,
			 .select = {.pid = 1},
			 .wish = {.has_mode = true, .settings.mode = NG_MODE_BURST}},
			-EBUSY, "mode burst goes over"},
		{{.op = NG_OP_MODE,
			 .select = {.pid = 1},
			 .wish = {.has_mode = true,
				 .settings = {.mode = NG_MODE_COUNT, .exact = true},
				 .has_exact = true}},
			-EBUSY, "exact"},
		{{.op = NG_OP_MODE,
			 .select = {.pid = 1},
			 .wish = {.has_rate = true, .settings.rate_ratio = 0.001}},
			-EBUSY, "a rate"},
		{{.op = NG_OP_ATTACH,
			 .select = {.pid = 1},
			 .wish = {.has_budget = true, .settings.budget_ratio = 0.0201}},
			-EBUSY, "2.01 % is more than the 2 %"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ng_request request = cases[i].request;
		struct ng_diag diag = NG_DIAG_INIT;
		const int error = ng_access_check(&limited, USER, &request, &diag);

		if (error != cases[i].error || !strstr(diag.text, cases[i].text))
			fail_msg("case %zu: %d, %s", i, error, diag.text);
		request = cases[i].request;
		assert_int_equal(ng_access_check(&limited, 0, &request, NULL), 0);
		assert_memory_equal(&request, &cases[i].request, sizeof(request));
	}
}

static void with_nothing_left_others_only_look(void **state)
{
	(void)state;
	for (int op = 0; op < NG_OPS; op++) {
		const bool looks = op == NG_OP_PING || op == NG_OP_STATUS || op == NG_OP_SNAPSHOT ||
				   op == NG_OP_CALLERS;

		assert_int_equal(
			check(&closed, USER, (struct ng_request){.op = op}), looks ? 0 : -EPERM);
		assert_int_equal(check(&closed, 0, (struct ng_request){.op = op}), 0);
	}
}

static void others_are_narrowed_to_their_own(void **state)
{
	struct ng_request request = {.op = NG_OP_MODE,
		.select = {.all = true},
		.wish = {.has_mode = true, .settings.mode = NG_MODE_OFF}};

	(void)state;
	assert_int_equal(ng_access_check(&limited, USER, &request, NULL), 0);
	assert_true(request.select.all && request.select.has_uid && request.select.uid == USER);
	assert_false(request.wish.has_budget); /* theirs is set when they attach */
	request = (struct ng_request){.op = NG_OP_STATUS};
	assert_int_equal(ng_access_check(&limited, USER, &request, NULL), 0);
	assert_false(request.select.has_uid); /* they may look at everything */
}

static void others_get_a_budget_within_theirs(void **state)
{
	const struct ng_access tight = {.budget_ratio = 0.01, .max_budget_ratio = 0.005};
	struct ng_request request = {.op = NG_OP_ATTACH, .select = {.pid = 1}};

	(void)state;
	assert_int_equal(ng_access_check(&limited, USER, &request, NULL), 0);
	assert_true(request.wish.has_budget && request.wish.settings.budget_ratio == 0.01);
	request = (struct ng_request){.op = NG_OP_ATTACH, .select = {.pid = 1}};
	assert_int_equal(ng_access_check(&tight, USER, &request, NULL), 0);
	assert_true(request.wish.has_budget && request.wish.settings.budget_ratio == 0.005);
	request.wish.settings.budget_ratio = 0.001;
	assert_int_equal(ng_access_check(&tight, USER, &request, NULL), 0);
	assert_true(request.wish.settings.budget_ratio == 0.001);
}

static void a_process_is_its_users_only_if_wholly(void **state)
{
	struct ng_diag diag = NG_DIAG_INIT;

	(void)state;
	assert_int_equal(
		ng_access_check_process(USER, 7, &(struct ng_owner){USER, USER, USER}, NULL), 0);
	assert_int_equal(ng_access_check_process(0, 7, &(struct ng_owner){USER, 5, 6}, NULL), 0);
	assert_int_equal(
		ng_access_check_process(USER, 7, &(struct ng_owner){USER, 0, 0}, &diag), -EPERM);
	assert_string_equal(
		diag.text, "process 7 is not yours: it runs as uid 0, you are uid 1000; ask root");
	assert_int_equal(
		ng_access_check_process(USER, 7, &(struct ng_owner){USER, USER, 0}, NULL), -EPERM);
	assert_int_equal(
		ng_access_check_process(USER, 7, &(struct ng_owner){0, USER, USER}, NULL), -EPERM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(others_may_not),
		cmocka_unit_test(with_nothing_left_others_only_look),
		cmocka_unit_test(others_are_narrowed_to_their_own),
		cmocka_unit_test(others_get_a_budget_within_theirs),
		cmocka_unit_test(a_process_is_its_users_only_if_wholly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
