/*
 * What hits cost in a target, by what the gauge's child told.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/plane/costs.h"

static void one_that_is_as_calibrated_changes_nothing(void **state)
{
	const struct ng_cost_now cost = ng_cost_gauged(1, 7);

	(void)state;
	assert_true(cost.scale >= 1 && cost.scale < 1.1);
	assert_true(cost.error_ratio > 0);
	assert_true(cost.own_ns == 7);
}

static void one_that_is_dearer_is_believed_by_half(void **state)
{
	const struct ng_cost_now as_calibrated = ng_cost_gauged(1, 0),
				 dear = ng_cost_gauged(1.3, 0);

	(void)state;
	assert_true(fabs(dear.scale / as_calibrated.scale - 1.15) < 1e-9);
	assert_true(dear.error_ratio > as_calibrated.error_ratio);
}

static void one_that_is_cheaper_is_believed(void **state)
{
	const struct ng_cost_now as_calibrated = ng_cost_gauged(1, 0),
				 cheap = ng_cost_gauged(0.8, 0);

	(void)state;
	assert_true(fabs(cheap.scale / as_calibrated.scale - 0.8) < 1e-9);
	assert_true(cheap.error_ratio == as_calibrated.error_ratio);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_that_is_as_calibrated_changes_nothing),
		cmocka_unit_test(one_that_is_dearer_is_believed_by_half),
		cmocka_unit_test(one_that_is_cheaper_is_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
