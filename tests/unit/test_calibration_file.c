/* control/engine/calibration_file: what is stored is given back, and nothing else is believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/engine/calibration_file.h"

#define NOW_S 1800000000u

static const struct ng_machine machine = {.boot_id = "boot",
	.cpu = "AMD EPYC",
	.kernel = "6.18.0 #1 SMP",
	.version = "0.1.0",
	.program_id = 0xfedcba9876543210u};

static struct ng_calibration example(void)
{
	struct ng_calibration calibration = {.measured_at_s = NOW_S - 60,
		.hits = 200000,
		.took_ns = 900000000,
		.lead_ns = 742.25};

	for (int i = 0; i < NG_LOOP_COUNT; i++)
		calibration.costs[i] = (struct ng_cost){.low_ns = 700.25 + i,
			.median_ns = 790.5 + i,
			.high_ns = 812.75 + i,
			.batches = 700,
			.window_ns = {791, 792.5, 793},
			.edge_ns = {27000, 30000, 41000},
			.windows = 10};
	calibration.costs[NG_LOOP_PUSH].windows = 0;
	calibration.costs[NG_LOOP_PUSH].window_ns = (struct ng_quartiles){0};
	calibration.costs[NG_LOOP_PUSH].edge_ns = (struct ng_quartiles){0};
	return calibration;
}

static int parse(const char *text, struct ng_calibration *ret_calibration)
{
	return ng_calibration_parse(text, strlen(text), &machine, NOW_S, ret_calibration);
}

static void gives_back_what_was_stored(void **state)
{
	const struct ng_calibration stored = example();
	struct ng_calibration loaded;
	char *text = ng_calibration_format(&stored, &machine);

	(void)state;
	assert_non_null(text);
	memset(&loaded, 0, sizeof(loaded));
	assert_int_equal(parse(text, &loaded), 0);
	assert_true(loaded.measured_at_s == stored.measured_at_s);
	assert_true(loaded.hits == stored.hits);
	assert_true(loaded.took_ns == stored.took_ns);
	assert_true(loaded.lead_ns == stored.lead_ns);
	for (int i = 0; i < NG_LOOP_COUNT; i++) {
		const struct ng_cost *a = &stored.costs[i], *b = &loaded.costs[i];

		assert_true(a->low_ns == b->low_ns && a->median_ns == b->median_ns &&
			    a->high_ns == b->high_ns && a->batches == b->batches);
		assert_true(a->windows == b->windows);
		assert_memory_equal(&a->window_ns, &b->window_ns, sizeof(a->window_ns));
		assert_memory_equal(&a->edge_ns, &b->edge_ns, sizeof(a->edge_ns));
	}
	free(text);
}

static void refuses_what_is_no_calibration(void **state)
{
	static const char *const texts[] = {"", "{", "[]", "null", "{}", "{\"v\":\"1\"}",
		"{\"v\":2}", "{\"v\":2,\"machine\":3}", "{\"v\":2,\"v\":2}"};
	struct ng_calibration loaded = {.hits = 7};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(parse(texts[i], &loaded), -EINVAL);
	assert_int_equal(loaded.hits, 7);
}

static void refuses_every_cut(void **state)
{
	const struct ng_calibration stored = example();
	char *text = ng_calibration_format(&stored, &machine);
	struct ng_calibration loaded;

	(void)state;
	for (size_t length = 0; length < strlen(text); length++) {
		char *cut = malloc(length + 1); /* its own, so that ASan sees its end */

		memcpy(cut, text, length);
		assert_int_equal(
			ng_calibration_parse(cut, length, &machine, NOW_S, &loaded), -EINVAL);
		free(cut);
	}
	free(text);
}

/* Replaces the first `from` in the text, which must be there. */
static char *replace(const char *text, const char *from, const char *to)
{
	const char *place = strstr(text, from);
	char *changed = calloc(1, strlen(text) + strlen(to) + 1);

	assert_non_null(place);
	memcpy(changed, text, (size_t)(place - text));
	strcat(changed, to);
	strcat(changed, place + strlen(from));
	return changed;
}

static void refuses_what_cannot_be(void **state)
{
	static const struct {
		const char *from, *to;
		int error;
	} changes[] = {
		{"\"v\": 2", "\"v\": 1", -ESTALE},
		{"\"boot_id\": \"boot\"", "\"boot_id\": \"boot2\"", -ESTALE},
		{"\"cpu\": \"AMD EPYC\"", "\"cpu\": \"AMD\"", -ESTALE},
		{"\"kernel\": \"6.18.0 #1 SMP\"", "\"kernel\": 6", -ESTALE},
		{"\"version\": \"0.1.0\"", "\"version\": \"0.2.0\"", -ESTALE},
		{"fedcba9876543210", "0000000000000000", -ESTALE},
		{"\"measured_at\": \"2027-01-15T07:59:00Z\"",
			"\"measured_at\": \"2027-01-14T07:59:00Z\"", -ESTALE},
		{"\"measured_at\": \"2027-01-15T07:59:00Z\"",
			"\"measured_at\": \"2027-01-15T08:00:01Z\"", -ESTALE},
		{"\"measured_at\": \"2027-01-15T07:59:00Z\"", "\"measured_at\": \"today\"",
			-EINVAL},
		{"\"hits\": 200000", "\"hits\": 0", -EINVAL},
		{"\"hits\": 200000", "\"hats\": 200000", -EINVAL},
		{"\"class\": \"emulated\"", "\"class\": \"single-stepped\"", -EINVAL},
		{"\"insn\": \"call\"", "\"insn\": \"jump\"", -EINVAL},
		{"\"cost_ns\": 790.5", "\"cost_ns\": -790.5", -EINVAL},
		{"\"cost_ns\": 790.5", "\"cost_ns\": 0", -EINVAL},
		{"\"cost_ns\": 790.5", "\"cost_ns\": \"790.5\"", -EINVAL},
		{"\"cost_ns\": 790.5", "\"cost_ns\": 900", -EINVAL}, /* above its high_ns */
		{"\"high_ns\": 812.75", "\"high_ns\": 1e300", -EINVAL},
		{"\"low_ns\": 700.25", "\"low_ns\": 0.5", -EINVAL},
		{"\"lead_cost_ns\": 742.25", "\"lead_cost_ns\": -1", -EINVAL},
		{"\"lead_cost_ns\": 742.25", "\"lead_cost\": 742.25", -EINVAL},
		{"\"batches\": 700", "\"batches\": 0", -EINVAL},
		{"\"batches\": 700", "\"batches\": 4294967296", -EINVAL},
		{"\"batches\": 700", "\"batches\": 700.5", -EINVAL},
		{"\"windows\": 10", "\"windows\": -1", -EINVAL},
		{"\"edge_low_ns\": 27000.0", "\"edge_low_ns\": 31000", -EINVAL},
		{"\"edge_low_ns\": 27000.0,", "", -EINVAL},
	};
	const struct ng_calibration stored = example();
	char *text = ng_calibration_format(&stored, &machine);

	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		struct ng_calibration loaded = {.hits = 7};
		char *changed = replace(text, changes[i].from, changes[i].to);

		if (parse(changed, &loaded) != changes[i].error)
			fail_msg("%s -> %s", changes[i].from, changes[i].to);
		assert_int_equal(loaded.hits, 7);
		free(changed);
	}
	free(text);
}

static void knows_the_machine_it_is_on(void **state)
{
	struct ng_machine first, second;

	(void)state;
	memset(&first, 0, sizeof(first));
	memset(&second, 0, sizeof(second));
	assert_int_equal(ng_machine_read(&first), 0);
	assert_int_equal(ng_machine_read(&second), 0);
	assert_int_equal(strlen(first.boot_id), 36);
	assert_true(first.kernel[0] && first.program_id);
	assert_string_equal(first.boot_id, second.boot_id);
	assert_string_equal(first.cpu, second.cpu);
	assert_string_equal(first.kernel, second.kernel);
	assert_true(first.program_id == second.program_id);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gives_back_what_was_stored),
		cmocka_unit_test(refuses_what_is_no_calibration),
		cmocka_unit_test(refuses_every_cut),
		cmocka_unit_test(refuses_what_cannot_be),
		cmocka_unit_test(knows_the_machine_it_is_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
