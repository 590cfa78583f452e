/* core/out: each allocation fails in turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <jansson.h>

#include "core/base/cleanup.h"
#include "core/out/flame.h"
#include "core/out/folded.h"
#include "core/out/json.h"
#include "core/out/pprof.h"
#include "tests/out/failing.h"
#include "tests/out/sample.h"
#include "tests/out/written.h"

static int write_json(const struct ng_profile *profile, int fd, struct ng_diag *diag)
{
	NG_CLEANUP_FREE char *text = NULL;
	int error = ng_profile_json(profile, &text, diag);

	if (!error)
		assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return error;
}

/* Each one that fails is told, and after the last one there is nothing to tell. */
static void assert_tells(writer *write_it, size_t at_least)
{
	size_t n = 0;

	for (;; n++) {
		struct ng_diag diag = NG_DIAG_INIT;
		NG_CLEANUP_CLOSE int fd = memfd_create("out", MFD_CLOEXEC);
		int error;

		assert_true(fd >= 0);
		failing_begin(n);
		error = write_it(&sample_profile, fd, &diag);
		if (failing_end() <= n) {
			assert_int_equal(error, 0);
			break;
		}
		assert_int_equal(error, -ENOMEM);
		assert_true(diag.text[0]);
	}
	if (n < at_least) /* were they ours that failed? */
		fail_msg("only %zu allocations", n);
}

static void memory_that_is_out_is_told(void **state)
{
	(void)state;
	assert_tells(ng_pprof_write, 50);
	assert_tells(ng_folded_write, 5);
	assert_tells(ng_flame_write, 20);
	json_set_alloc_funcs(failing_malloc, free);
	assert_tells(write_json, 300);
	json_set_alloc_funcs(malloc, free);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_that_is_out_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
