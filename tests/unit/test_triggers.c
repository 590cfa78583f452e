/* When triggers fire: bounds, changes against the last minute, the cool-down, so many an hour. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "control/daemon/triggers.h"
#include "core/base/clock.h"

#define START_NS (1000 * NG_NS_PER_S)

struct scene {
	struct ng_config_trigger trigger;
	struct ng_trigger_memory memory;
	struct ng_rate_memory rates;
	uint64_t now_ns;
	char reason[160];
};

static struct scene scene_of(const struct ng_config_trigger *trigger)
{
	struct scene scene = {.trigger = *trigger, .now_ns = START_NS};

	ng_rate_memory_init(&scene.rates);
	return scene;
}

static bool fires(struct scene *scene, double low_hz, double high_hz)
{
	return ng_trigger_fires(&scene->trigger, &scene->memory, &scene->rates, low_hz, high_hz,
		scene->now_ns, scene->reason, sizeof(scene->reason));
}

/* A rate of so many seconds, told each second. */
static void pass(struct scene *scene, double rate_hz, int seconds)
{
	for (int i = 0; i < seconds; i++) {
		ng_rate_memory_add(&scene->rates, rate_hz, scene->now_ns);
		scene->now_ns += NG_NS_PER_S;
	}
}

static void a_bound_is_passed_by_the_whole_interval(void **state)
{
	const struct ng_config_trigger above = {.above_hz = 1000, .max_per_hour = 10};
	const struct ng_config_trigger below = {.below_hz = 1000, .max_per_hour = 10};
	struct scene scene = scene_of(&above);

	(void)state;
	assert_false(fires(&scene, 900, 5000));
	assert_false(fires(&scene, 1000, 5000));
	assert_true(fires(&scene, 1001, INFINITY));
	assert_string_equal(scene.reason, "at least 1001 calls/s, above 1000");

	scene = scene_of(&below);
	assert_false(fires(&scene, 0, 1000));
	assert_false(fires(&scene, 0, INFINITY)); /* it may be anything */
	assert_true(fires(&scene, 0, 999));
	assert_string_equal(scene.reason, "at most 999 calls/s, below 1000");
}

static void a_change_is_against_a_full_minute(void **state)
{
	const struct ng_config_trigger change = {.factor = 2, .max_per_hour = 10};
	struct scene scene = scene_of(&change);

	(void)state;
	assert_false(fires(&scene, 1e6, 1e6)); /* against nothing */
	pass(&scene, 100, 59);
	assert_false(fires(&scene, 1e6, 1e6));
	pass(&scene, 100, 1);
	assert_false(fires(&scene, 150, 250)); /* it may be less than twice as much */
	assert_false(fires(&scene, 40, 60));
	assert_true(fires(&scene, 200, 250));
	assert_non_null(strstr(scene.reason, "by a factor of 2.0 off the last minute's 100"));

	scene = scene_of(&change);
	pass(&scene, 100, 60);
	assert_true(fires(&scene, 10, 50));
}

/* The last minute follows: what is new today is usual tomorrow. */
static void the_last_minute_follows_the_rate(void **state)
{
	const struct ng_config_trigger change = {.factor = 2, .max_per_hour = 10};
	struct scene scene = scene_of(&change);

	(void)state;
	pass(&scene, 100, 60);
	pass(&scene, 1000, 60);
	/* After one minute 1 - 1/e of the step; after five nearly all of it. */
	assert_true(fabs(scene.rates.minute_hz - (1000 - 900 * exp(-1))) < 20);
	pass(&scene, 1000, 240);
	assert_true(fabs(scene.rates.minute_hz - 1000) < 10);
	assert_false(fires(&scene, 1000, 1000));
}

static void it_rests_after_a_burst(void **state)
{
	const struct ng_config_trigger trigger = {.above_hz = 1,
		.max_per_hour = 10,
		.lease_ns = 5 * NG_NS_PER_S,
		.cool_down_ns = 20 * NG_NS_PER_S};
	struct scene scene = scene_of(&trigger);

	(void)state;
	assert_true(fires(&scene, 10, 10));
	scene.now_ns += 25 * NG_NS_PER_S - 1;
	assert_false(fires(&scene, 10, 10));
	scene.now_ns += 1;
	assert_true(fires(&scene, 10, 10));
}

static void it_fires_so_often_in_any_hour(void **state)
{
	const struct ng_config_trigger trigger = {.above_hz = 1, .max_per_hour = 3};
	struct scene scene = scene_of(&trigger);

	(void)state;
	for (int hour = 0; hour < 30; hour++) { /* more often than the ring is long */
		for (int i = 0; i < 3; i++) {
			assert_true(fires(&scene, 10, 10));
			scene.now_ns += 60 * NG_NS_PER_S;
		}
		assert_false(fires(&scene, 10, 10));
		scene.now_ns +=
			(3600 - 180) * NG_NS_PER_S - 1; /* the first is an hour old in 1 ns */
		assert_false(fires(&scene, 10, 10));
		scene.now_ns += 1;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_bound_is_passed_by_the_whole_interval),
		cmocka_unit_test(a_change_is_against_a_full_minute),
		cmocka_unit_test(the_last_minute_follows_the_rate),
		cmocka_unit_test(it_rests_after_a_burst),
		cmocka_unit_test(it_fires_so_often_in_any_hour),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
