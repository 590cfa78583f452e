/* Where free address space is found, in maps as the kernel writes them. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "control/inject/pages.h"

#define REACH_BYTES 0x80000000ull

static int find(const char *maps, struct ng_reach reach, uint64_t *ret_address)
{
	FILE *file = fmemopen((void *)(uintptr_t)maps, strlen(maps), "r");
	int error;

	assert_non_null(file);
	error = ng_pages_find_hole(file, &reach, ret_address, NULL);
	fclose(file);
	return error;
}

/* A Go program that is not position-independent: there is room below it. */
static const char low[] = "00400000-00488000 r-xp 00000000 08:01 1 /p\n"
			  "00488000-0051a000 r--p 00088000 08:01 1 /p\n"
			  "0051a000-0052d000 rw-p 0011a000 08:01 1 /p\n"
			  "0052d000-00561000 rw-p 00000000 00:00 0\n"
			  "c000000000-c000400000 rw-p 00000000 00:00 0\n"
			  "7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0 [stack]\n";

static void below_the_program_where_it_fits(void **state)
{
	uint64_t address = 0;

	(void)state;
	assert_int_equal(find(low, (struct ng_reach){0x480000, 0x480010, 0x4000}, &address), 0);
	assert_int_equal(address, 0x400000 - 0x10000 - 0x4000);
}

static void far_above_the_heap_where_it_does_not(void **state)
{
	const struct ng_reach reach = {0x480000, 0x480010, 0x800000};
	uint64_t address = 0;

	(void)state;
	assert_int_equal(find(low, reach, &address), 0);
	assert_true(address >= 0x561000 + 0x40000000ull);
	assert_true(address + reach.size_bytes - reach.first < REACH_BYTES);
	assert_int_equal(address % NG_PAGE_BYTES, 0);
}

static void both_ends_reach_all_sites(void **state)
{
	/* The only hole is below, and the sites are 1.5 GiB apart. */
	const char maps[] = "10000000-20000000 r-xp 00000000 08:01 1 /p\n"
			    "30000000-7ffffffff000 r-xp 00000000 08:01 1 /q\n";
	const struct ng_reach reach = {0x30000000, 0x90000000, 0x4000};
	uint64_t address = 0;

	(void)state;
	assert_int_equal(find(maps, reach, &address), 0);
	assert_true(address >= 0x20000000 && address + 0x4000 <= 0x30000000);
	assert_true(reach.last - address < REACH_BYTES);
}

static void none_where_all_is_taken_or_too_far(void **state)
{
	const char full[] = "00001000-7ffffffff000 r-xp 00000000 08:01 1 /p\n";
	const char far[] = "00001000-1000000000 r-xp 00000000 08:01 1 /p\n";
	uint64_t address = 0;

	(void)state;
	assert_int_equal(find(full, (struct ng_reach){0x5000, 0x5000, 0x4000}, &address), -ENOSPC);
	assert_int_equal(find(far, (struct ng_reach){0x5000, 0x5000, 0x4000}, &address), -ENOSPC);
	assert_int_equal(
		find(far, (struct ng_reach){0xfff000000, 0xfff000000, 0x4000}, &address), 0);
	assert_true(address >= 0x1000000000 + 0x10000);
}

static void not_where_the_stack_grows_to(void **state)
{
	const char maps[] = "00001000-7ffc00000000 r-xp 00000000 08:01 1 /p\n"
			    "7ffc20000000-7ffc20021000 rw-p 00000000 00:00 0 [stack]\n"
			    "7ffc20021000-7ffffffff000 r--p 00000000 00:00 0 [vvar]\n";
	const struct ng_reach reach = {0x7ffbfff00000, 0x7ffbfff00000, 0x4000};
	uint64_t address = 0;

	(void)state;
	assert_int_equal(find(maps, reach, &address), -ENOSPC);
}

static void garbage_is_passed_over(void **state)
{
	uint64_t address = 0;

	(void)state;
	assert_int_equal(
		find("\nnothing\n-\nffffffffff600000-ffffffffff601000 --xp 0 0 0 [vsyscall]\n",
			(struct ng_reach){0x400000, 0x400000, 0x4000}, &address),
		0);
	assert_true(address + 0x4000 - 0x400000 < REACH_BYTES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(below_the_program_where_it_fits),
		cmocka_unit_test(far_above_the_heap_where_it_does_not),
		cmocka_unit_test(both_ends_reach_all_sites),
		cmocka_unit_test(none_where_all_is_taken_or_too_far),
		cmocka_unit_test(not_where_the_stack_grows_to),
		cmocka_unit_test(garbage_is_passed_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
