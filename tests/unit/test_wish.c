/* control/plane/wish, settings: what can be asked for, and what comes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <string.h>

#include "control/plane/wish.h"
#include "core/base/clock.h"

#define WITH_MODE(m) .has_mode = true, .settings.mode = (m)

static void modes_have_names(void **state)
{
	static const char *const bad[] = {"", "Off", "on", "full ", "counts", "unknown", "0"};
	static const char *const names[] = {"off", "count", "sampled", "burst", "full"};
	enum ng_mode mode = NG_MODE_BURST;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(ng_mode_parse(bad[i], &mode), -EINVAL);
	assert_int_equal(mode, NG_MODE_BURST);
	for (int i = 0; i < NG_MODES; i++) {
		assert_string_equal(ng_mode_name(i), names[i]);
		assert_int_equal(ng_mode_parse(names[i], &mode), 0);
		assert_int_equal(mode, i);
	}
	assert_string_equal(ng_mode_name(NG_MODES), "unknown");
}

struct wish_case {
	struct ng_wish wish;
	int error;
	const char *text; /* what the diagnosis must say */
};

static void check_cases(const struct wish_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct ng_diag diag = NG_DIAG_INIT;
		const int error = ng_wish_check(&cases[i].wish, &diag);

		if (error != cases[i].error || !strstr(diag.text, cases[i].text))
			fail_msg("case %zu: %d, %s", i, error, diag.text);
	}
}

static void refuses_what_is_out_of_bounds(void **state)
{
	static const struct wish_case cases[] = {
		{{.has_budget = true}, -ERANGE, "budget of 0 %"},
		{{.has_budget = true, .settings.budget_ratio = -0.01}, -ERANGE, "budget of -1 %"},
		{{.has_budget = true, .settings.budget_ratio = 1.001}, -ERANGE,
			"budget of 100.1 %"},
		{{.has_budget = true, .settings.budget_ratio = 0.00009}, -ERANGE,
			"budget of 0.009"},
		{{.has_budget = true, .settings.budget_ratio = NAN}, -ERANGE, "budget of"},
		{{.has_budget = true, .settings.budget_ratio = INFINITY}, -ERANGE, "budget of inf"},
		{{WITH_MODE(NG_MODE_FULL), .has_lease = true}, -ERANGE, "mode full needs a lease"},
		{{WITH_MODE(NG_MODE_BURST), .has_lease = true}, -ERANGE,
			"mode burst needs a lease"},
		{{WITH_MODE(NG_MODE_FULL), .has_lease = true,
			 .settings.lease_ns = NG_LEASE_MAX_NS + 1},
			-ERANGE, "at most 24 h"},
		{{WITH_MODE(NG_MODE_OFF), .has_lease = true,
			 .settings.lease_ns = 3 * 365 * 86400 * NG_NS_PER_S},
			-ERANGE, "lease of 94608000 s is too long"},
		{{.has_lease = true, .settings.lease_ns = 1}, -EINVAL, "none is given"},
		{{WITH_MODE(NG_MODE_BURST), .has_events = true}, -ERANGE, "0 events"},
		{{WITH_MODE(NG_MODE_BURST), .has_events = true,
			 .settings.events = NG_EVENTS_MAX + 1},
			-ERANGE, "events are out of range"},
		{{WITH_MODE(NG_MODE_FULL), .has_events = true, .settings.events = 1}, -EINVAL,
			"goes with mode burst only, not with full"},
		{{.has_events = true, .settings.events = 1}, -EINVAL, "goes with mode burst only"},
		{{WITH_MODE(NG_MODE_SAMPLED), .has_rate = true}, -ERANGE, "rate of 0"},
		{{WITH_MODE(NG_MODE_SAMPLED), .has_rate = true, .settings.rate_ratio = NAN},
			-ERANGE, "rate of"},
		{{WITH_MODE(NG_MODE_SAMPLED), .has_rate = true, .settings.rate_ratio = 1.1},
			-ERANGE, "rate of 1.1"},
		{{WITH_MODE(NG_MODE_COUNT), .has_rate = true, .settings.rate_ratio = 0.5}, -EINVAL,
			"a rate goes with mode sampled only, not with count"},
		{{WITH_MODE(NG_MODE_SAMPLED), .has_exact = true, .settings.exact = true}, -EINVAL,
			"exact goes with"},

		{{WITH_MODE(NG_MODES)}, -ERANGE, "no mode 5"},
	};

	(void)state;
	check_cases(cases, sizeof(cases) / sizeof(cases[0]));
}

static void takes_what_is_on_the_bounds(void **state)
{
	static const struct wish_case cases[] = {
		{{.has_mode = false}, 0, ""},
		{{.has_budget = true, .settings.budget_ratio = NG_BUDGET_MIN}, 0, ""},
		{{.has_budget = true, .settings.budget_ratio = NG_BUDGET_MAX}, 0, ""},
		{{WITH_MODE(NG_MODE_FULL)}, 0, ""},
		{{WITH_MODE(NG_MODE_FULL), .has_lease = true, .settings.lease_ns = 1}, 0, ""},
		{{WITH_MODE(NG_MODE_FULL), .has_lease = true, .settings.lease_ns = NG_LEASE_MAX_NS},
			0, ""},
		{{WITH_MODE(NG_MODE_COUNT), .has_lease = true}, 0, ""},
		{{WITH_MODE(NG_MODE_COUNT), .has_exact = true, .settings.exact = true}, 0, ""},
		{{WITH_MODE(NG_MODE_SAMPLED), .has_exact = true}, 0, ""},
		{{WITH_MODE(NG_MODE_BURST), .has_events = true, .settings.events = 1}, 0, ""},
		{{WITH_MODE(NG_MODE_SAMPLED), .has_rate = true, .settings.rate_ratio = 1}, 0, ""},
		{{.has_follow_forks = true, .settings.follow_forks = true}, 0, ""},
	};

	(void)state;
	check_cases(cases, sizeof(cases) / sizeof(cases[0]));
}

static void a_mode_takes_the_last_ones_things_away(void **state)
{
	const struct ng_settings base = {.mode = NG_MODE_BURST,
		.budget_ratio = 0.02,
		.lease_ns = 5,
		.events = 9,
		.rate_ratio = 0.5,
		.exact = true,
		.follow_forks = true};
	const struct ng_wish nothing = {0}, full = {WITH_MODE(NG_MODE_FULL)},
			     count = {WITH_MODE(NG_MODE_COUNT), .has_exact = true,
				     .settings.exact = true, .has_lease = true,
				     .settings.lease_ns = 7},
			     budget = {.has_budget = true,
				     .settings.budget_ratio = 0.03,
				     .has_follow_forks = true};
	struct ng_settings settings = ng_wish_apply(&nothing, &base);

	(void)state;
	assert_int_equal(settings.mode, NG_MODE_BURST);
	assert_true(settings.lease_ns == 5 && settings.events == 9 && settings.rate_ratio == 0.5 &&
		    settings.exact && settings.follow_forks && settings.budget_ratio == 0.02);
	settings = ng_wish_apply(&full, &base);
	assert_int_equal(settings.mode, NG_MODE_FULL);
	assert_true(settings.lease_ns == NG_LEASE_DEFAULT_NS && settings.events == 0 &&
		    settings.rate_ratio == 0 && !settings.exact && settings.follow_forks &&
		    settings.budget_ratio == 0.02);
	settings = ng_wish_apply(&count, &base);
	assert_true(settings.mode == NG_MODE_COUNT && settings.lease_ns == 7 && settings.exact);
	settings = ng_wish_apply(&budget, &base);
	assert_true(settings.mode == NG_MODE_BURST && settings.budget_ratio == 0.03 &&
		    !settings.follow_forks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(modes_have_names),
		cmocka_unit_test(refuses_what_is_out_of_bounds),
		cmocka_unit_test(takes_what_is_on_the_bounds),
		cmocka_unit_test(a_mode_takes_the_last_ones_things_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
