/* core/stat: quartiles, and what a short armed window cost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "core/stat/quartiles.h"
#include "core/stat/window.h"

#define ENTRIES 200

static void quartiles_of_nothing_are_zero(void **state)
{
	struct ng_quartiles quartiles = ng_quartiles_of(NULL, 0);

	(void)state;
	assert_true(quartiles.low == 0 && quartiles.median == 0 && quartiles.high == 0);
}

static void quartiles_lie_between_values(void **state)
{
	double one[] = {7}, four[] = {4, 1, 3, 2}, five[] = {50, 10, 40, 20, 30};
	struct ng_quartiles quartiles = ng_quartiles_of(one, 1);

	(void)state;
	assert_true(quartiles.low == 7 && quartiles.median == 7 && quartiles.high == 7);
	quartiles = ng_quartiles_of(four, 4);
	assert_true(quartiles.low == 1.75 && quartiles.median == 2.5 && quartiles.high == 3.25);
	quartiles = ng_quartiles_of(five, 5);
	assert_true(quartiles.low == 20 && quartiles.median == 30 && quartiles.high == 40);
}

struct log {
	uint32_t ns[ENTRIES];
	uint32_t index[ENTRIES];
	size_t count;
};

static void add(struct log *log, uint32_t index, uint32_t ns)
{
	log->index[log->count] = index;
	log->ns[log->count++] = ns;
}

static void add_row(struct log *log, uint32_t first, size_t count)
{
	for (uint32_t i = 0; i < count; i++)
		add(log, first + i, 825);
}

static int measure(const struct log *log, struct ng_window *ret_window)
{
	const struct ng_window_log window_log = {
		.ns = log->ns, .index = log->index, .count = log->count, .unarmed_ns = 25};

	return ng_window_measure(&window_log, ret_window);
}

static void a_log_without_a_row_has_no_window(void **state)
{
	struct log log = {.count = 0};
	struct ng_window window = {.hits = 7};

	(void)state;
	assert_int_equal(measure(&log, &window), -ENODATA);
	/* Interrupts, one here and one there, and two in a row. */
	for (uint32_t i = 0; i < 50; i++)
		add(&log, 10 * i, 9000);
	add(&log, 500, 9000);
	add(&log, 501, 9000);
	assert_int_equal(measure(&log, &window), -ENODATA);
	/* A row, but too short to say anything. */
	add_row(&log, 600, 15);
	assert_int_equal(measure(&log, &window), -ENODATA);
	assert_int_equal(window.hits, 7);
}

static void a_window_is_its_hits_and_its_edges(void **state)
{
	struct log log = {.count = 0};
	struct ng_window window;

	(void)state;
	add(&log, 3, 17000); /* an interrupt before it */
	add_row(&log, 100, 150);
	add(&log, 300, 17000); /* … and after it */
	add(&log, 302, 17000);
	assert_int_equal(measure(&log, &window), 0);
	assert_int_equal(window.hits, 150);
	assert_true(window.hit_ns == 800);
	assert_true(window.edge_ns == 0);

	log.ns[1] = 9825;    /* arming */
	log.ns[12] = 10825;  /* the second interrupt of it */
	log.ns[150] = 20825; /* disarming */
	log.ns[20] = 1200;   /* a hit that took longer, no more */
	assert_int_equal(measure(&log, &window), 0);
	assert_true(window.hit_ns == 800);
	assert_true(window.edge_ns == 9000 + 10000 + 20000);
}

static void what_the_scheduler_does_is_no_edge(void **state)
{
	uint32_t ns[1000], index[1000];
	const struct ng_window_log log = {.ns = ns, .index = index, .count = 1000, .unarmed_ns = 0};
	struct ng_window window;

	(void)state;
	for (uint32_t i = 0; i < 1000; i++) {
		ns[i] = 1000;
		index[i] = 7 + i;
	}
	ns[500] = 3000000; /* the scheduler took the CPU away for 3 ms … */
	ns[2] = 4000000;   /* … right after arming, too */
	ns[998] = 600000;
	assert_int_equal(ng_window_measure(&log, &window), 0);
	assert_int_equal(window.hits, 1000);
	assert_true(window.hit_ns == 1000);
	assert_true(window.edge_ns == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(quartiles_of_nothing_are_zero),
		cmocka_unit_test(quartiles_lie_between_values),
		cmocka_unit_test(a_log_without_a_row_has_no_window),
		cmocka_unit_test(a_window_is_its_hits_and_its_edges),
		cmocka_unit_test(what_the_scheduler_does_is_no_edge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
