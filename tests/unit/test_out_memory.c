/* core/out: each allocation fails in turn. Linked so that its code calls the __wrap_ functions. */
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
#include "tests/out/sample.h"
#include "tests/out/written.h"

static bool is_counting;
static size_t allocations; /* so far */
static size_t failing;	   /* the one that does */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_reallocarray(void *old, size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);

static bool fails(void)
{
	return is_counting && allocations++ == failing;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return fails() ? NULL : __real_realloc(old, size);
}

void *__wrap_reallocarray(void *old, size_t count, size_t size)
{
	return fails() ? NULL : __real_reallocarray(old, count, size);
}

static int write_json(const struct ng_profile *profile, int fd, struct ng_diag *diag)
{
	NG_CLEANUP_FREE char *text = NULL;
	int error = ng_profile_json(profile, &text, diag);

	if (!error)
		assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return error;
}

/* @return what it gave, with the n-th allocation failing */
static int write_failing(writer *write_it, size_t n, int fd, struct ng_diag *diag)
{
	int error;

	allocations = 0;
	failing = n;
	is_counting = true;
	error = write_it(&sample_profile, fd, diag);
	is_counting = false;
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
		error = write_failing(write_it, n, fd, &diag);
		if (allocations <= n) {
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
	json_set_alloc_funcs(__wrap_malloc, free);
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
