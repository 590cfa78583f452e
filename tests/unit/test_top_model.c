/* What `nowgate top` shows: orders, what is selected, and callers that add up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <string.h>

#include "control/cli/top_model.h"

#define TARGET(pid, rate, cost)                                                                    \
	"{\"pid\": " #pid                                                                          \
	", \"exe\": \"/bin/a\", \"mode\": \"sampled\", \"overhead_now_ratio\": " #cost             \
	", \"functions\": [{\"name\": \"time.Now\", \"rate_hz\": " #rate                           \
	", \"rate_low_hz\": 1, \"rate_high_hz\": null, \"estimated\": true}]}"

static json_t *answer_of(const char *targets)
{
	json_t *answer =
		json_pack("{s:f, s:o}", "now_ns", 5e9, "targets", json_loads(targets, 0, NULL));

	assert_non_null(answer);
	return answer;
}

static void order_is(const struct ng_top *top, pid_t first, pid_t second, pid_t third)
{
	assert_int_equal(top->count, 3);
	assert_int_equal(top->rows[0].pid, first);
	assert_int_equal(top->rows[1].pid, second);
	assert_int_equal(top->rows[2].pid, third);
}

static void rows_stand_in_an_order(void **state)
{
	struct ng_top top = {.order = NG_TOP_BY_RATE};

	(void)state;
	assert_int_equal(ng_top_take(&top, answer_of("[" TARGET(1, 10, 0.5) "," TARGET(
						   2, 30, 0.1) "," TARGET(3, 20, 0.2) "]")),
		0);
	order_is(&top, 2, 3, 1);
	assert_true(top.rows[0].is_estimate && isinf(top.rows[0].rate_high_hz));
	ng_top_set_order(&top, NG_TOP_BY_COST);
	order_is(&top, 1, 3, 2);
	ng_top_set_order(&top, NG_TOP_BY_PID);
	order_is(&top, 1, 2, 3);
	ng_top_release(&top);
}

static void what_is_selected_stays_so(void **state)
{
	struct ng_top top = {.order = NG_TOP_BY_RATE};

	(void)state;
	assert_int_equal(ng_top_take(&top, answer_of("[]")), 0);
	ng_top_move(&top, 1);
	assert_int_equal(ng_top_selected(&top), 0);
	assert_int_equal(
		ng_top_take(&top, answer_of("[" TARGET(1, 10, 0) "," TARGET(2, 30, 0) "]")), 0);
	assert_int_equal(top.selected, 2);
	ng_top_move(&top, 9);
	assert_int_equal(top.selected, 1);
	assert_int_equal(
		ng_top_take(&top, answer_of("[" TARGET(1, 90, 0) "," TARGET(2, 30, 0) "]")), 0);
	assert_int_equal(ng_top_selected(&top), 0);
	ng_top_move(&top, -9);
	assert_int_equal(top.selected, 1);
	assert_int_equal(
		ng_top_take(&top, answer_of("[" TARGET(2, 30, 0) "]")), 0); /* it is gone */
	assert_int_equal(top.selected, 2);
	ng_top_release(&top);
}

static void an_answer_may_lack_anything(void **state)
{
	struct ng_top top = {.order = NG_TOP_BY_RATE};
	json_t *document;

	(void)state;
	assert_int_equal(ng_top_take(&top, answer_of("[{}, 7, {\"functions\": [{}, 1]}]")), 0);
	assert_int_equal(top.count, 3);
	assert_string_equal(top.rows[0].exe, "?");
	assert_false(top.rows[2].is_measured && top.rows[1].is_measured && top.rows[0].is_measured);
	document = ng_top_json(&top);
	assert_int_equal(json_array_size(json_object_get(document, "targets")), 3);
	json_decref(document);
	assert_int_equal(ng_top_take(&top, json_object()), 0);
	assert_int_equal(top.count, 0);
	ng_top_release(&top);
}

#define CALLER(function, calls)                                                                    \
	"{\"function\": " function                                                                 \
	", \"file\": \"a.go\", \"line\": 7, \"address\": 16, \"calls\": " calls "}"

static void callers_add_up(void **state)
{
	json_t *answer = json_loads("{\"callers\": [" CALLER("\"main.one\"", "5") "," CALLER(
					    "\"main.two\"", "20") "," CALLER("\"main.one\"",
					    "4") ","
						 "{\"function\": null, \"file\": null, \"line\": "
						 "null, \"calls\": 2}," CALLER("null", "3") "]}",
		0, NULL);
	struct ng_top_callers callers = {.items = NULL};

	(void)state;
	assert_non_null(answer);
	/* The second answer stands in place of the first one. */
	assert_int_equal(ng_top_callers_take(&callers, answer), 0);
	assert_int_equal(ng_top_callers_take(&callers, answer), 0);
	assert_true(callers.calls == 34);
	assert_int_equal(callers.count, 4);
	assert_string_equal(callers.items[0].function, "main.two");
	assert_true(callers.items[0].calls == 20);
	assert_string_equal(callers.items[1].function, "main.one");
	assert_true(callers.items[1].calls == 9);
	assert_int_equal(callers.items[1].line, 7);
	assert_string_equal(callers.items[2].function, "0x10");
	assert_string_equal(callers.items[3].function, "(no caller known)");
	assert_null(callers.items[3].file);
	json_decref(answer);
	answer = json_object();
	assert_int_equal(ng_top_callers_take(&callers, answer), -EINVAL);
	assert_int_equal(ng_top_callers_take(&callers, NULL), -EINVAL);
	json_decref(answer);
	ng_top_callers_release(&callers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_stand_in_an_order),
		cmocka_unit_test(what_is_selected_stays_so),
		cmocka_unit_test(an_answer_may_lack_anything),
		cmocka_unit_test(callers_add_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
