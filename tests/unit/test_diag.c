/* core/base/diag: the first cause, in words that fit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/diag.h"

static void keeps_the_first_cause(void **state)
{
	struct ng_diag diag = NG_DIAG_INIT;

	(void)state;
	assert_int_equal(ng_diag_set(&diag, -ENOENT, "no %s", "file"), -ENOENT);
	assert_int_equal(ng_diag_set(&diag, -EIO, "another"), -EIO);
	assert_string_equal(diag.text, "no file");
	assert_int_equal(ng_diag_set(NULL, -EIO, "nobody listens"), -EIO);
}

/* What is said of a long name stands behind it. */
static void cuts_a_long_text_in_its_middle(void **state)
{
	static const char begin[] = "begin ", end[] = ": too long";

	(void)state;
	for (size_t length = NG_DIAG_SIZE - 64; length < 3 * NG_DIAG_SIZE; length++) {
		struct ng_diag diag = NG_DIAG_INIT;
		char *name = malloc(length + 1);
		size_t whole = length + strlen(begin) + strlen(end), got;

		assert_non_null(name);
		memset(name, 'x', length);
		name[length] = '\0';
		(void)ng_diag_set(&diag, -EIO, "%s%s%s", begin, name, end);
		got = strlen(diag.text);
		assert_int_equal(got, whole < NG_DIAG_SIZE ? whole : NG_DIAG_SIZE - 1);
		assert_memory_equal(diag.text, begin, strlen(begin));
		assert_string_equal(diag.text + got - strlen(end), end);
		assert_int_equal(strstr(diag.text, " ... ") != NULL, whole >= NG_DIAG_SIZE);
		free(name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_the_first_cause),
		cmocka_unit_test(cuts_a_long_text_in_its_middle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
