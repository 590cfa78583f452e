/* control/daemon/metrics: reports of many kinds, and what is told of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/daemon/metrics.h"
#include "core/base/clock.h"

#define ALL 200

static const struct ng_metrics_facts facts = {.version = "1.2",
	.attachments = 3,
	.lost = {[NG_LOST_WINDOW_FULL] = 4},
	.cpu_seconds = 1.5,
	.resident_bytes = 4096,
	.start_seconds = 1.7e9,
	.now_ns = 100 * NG_NS_PER_S,
	.now_seconds = 1.7e9 + 50};

static struct ng_member_report report_of(pid_t pid, double hz)
{
	return (struct ng_member_report){.attachment = 1,
		.pid = pid,
		.exe = "/bin/a",
		.go_version = "go1.24",
		.settings = {.mode = NG_MODE_SAMPLED, .budget_ratio = 0.01},
		.arming = NG_ARMING_WINDOWS,
		.since_ns = (uint64_t)pid,
		.cpu_ns = 2 * NG_NS_PER_S,
		.lost_ns = 0.5 * NG_NS_PER_S,
		.share_minute = 0.009,
		.armed_ratio = 0.25,
		.tally = {.hits = 100, .delivered = 60, .sampled_out = 30, .lost = 7},
		.windows = 5,
		.functions = {{.name = "time.Now",
			.missing = "",
			.rate = {.hz = hz, .low_hz = hz / 2, .high_hz = INFINITY},
			.is_known = true,
			.calls = 1000.4,
			.cost_ns = 800}},
		.function_count = 1};
}

static char *scraped_as(struct ng_metrics *metrics, const struct ng_member_report *reports,
	size_t count, size_t targets_max, enum ng_openmetrics_format format)
{
	const struct ng_metrics_scrape scrape = {.facts = &facts,
		.reports = reports,
		.report_count = count,
		.targets_max = targets_max};
	char *text;

	assert_int_equal(ng_metrics_take(metrics, &scrape), 0);
	assert_int_equal(ng_metrics_write(metrics, &scrape, format, &text), 0);
	return text;
}

static char *scraped(
	struct ng_metrics *metrics, const struct ng_member_report *reports, size_t count)
{
	return scraped_as(metrics, reports, count, ALL, NG_OPENMETRICS_TEXT);
}

/* Does the text have this line? */
static bool has(const char *text, const char *line)
{
	const size_t length = strlen(line);

	for (const char *at = text; (at = strstr(at, line)); at++)
		if ((at == text || at[-1] == '\n') && at[length] == '\n')
			return true;
	return false;
}

static void must_have(const char *text, const char *const *lines)
{
	for (; *lines; lines++)
		if (!has(text, *lines))
			fail_msg("no line '%s' in:\n%s", *lines, text);
}

static size_t count_of(const char *text, const char *part)
{
	size_t count = 0;

	for (const char *at = text; (at = strstr(at, part)); at++)
		count++;
	return count;
}

static void nothing_attached(void **state)
{
	static const char *const lines[] = {"nowgate_build_info{version=\"1.2\"} 1",
		"process_cpu_seconds_total 1.5", "process_resident_memory_bytes 4096",
		"process_start_time_seconds 1700000000", "nowgate_targets 0",
		"nowgate_targets_without_series 0", "nowgate_attachments 3",
		"nowgate_losses_total{cause=\"window_full\"} 4",
		"nowgate_losses_total{cause=\"counts_full\"} 0", NULL};
	struct ng_metrics metrics = {.targets = NULL};
	char *text = scraped(&metrics, NULL, 0);

	(void)state;
	must_have(text, lines);
	assert_null(strstr(text, "pid="));
	free(text);
	ng_metrics_release(&metrics);
}

#define ONE "{pid=\"7\",exe=\"/bin/a\"}"

static void a_target_in_windows(void **state)
{
	static const char *const lines[] = {
		"nowgate_target_info{pid=\"7\",exe=\"/bin/a\",go_version=\"go1.24\"} 1",
		"nowgate_mode{pid=\"7\",exe=\"/bin/a\",mode=\"sampled\"} 1",
		"nowgate_mode{pid=\"7\",exe=\"/bin/a\",mode=\"off\"} 0",
		"nowgate_mode{pid=\"7\",exe=\"/bin/a\",mode=\"count\"} 0",
		"nowgate_mode{pid=\"7\",exe=\"/bin/a\",mode=\"burst\"} 0",
		"nowgate_mode{pid=\"7\",exe=\"/bin/a\",mode=\"full\"} 0",
		"nowgate_hits_total" ONE " 97", /* 3 are under way */
		"nowgate_events_delivered_total" ONE " 60",
		"nowgate_events_sampled_out_total" ONE " 30", "nowgate_events_lost_total" ONE " 7",
		"nowgate_windows_total" ONE " 5", "nowgate_target_cpu_seconds_total" ONE " 2",
		"nowgate_overhead_seconds_total" ONE " 0.5", "nowgate_overhead_ratio" ONE " 0.009",
		"nowgate_budget_ratio" ONE " 0.01", "nowgate_armed_ratio" ONE " 0.25",
		"nowgate_calls_estimated_total{pid=\"7\",exe=\"/bin/a\",function=\"time.Now\"} "
		"1000",
		"nowgate_calls_per_second{pid=\"7\",exe=\"/bin/a\",function=\"time.Now\"} 20",
		"nowgate_calls_per_second_low{pid=\"7\",exe=\"/bin/a\",function=\"time.Now\"} 10",
		"nowgate_calls_per_second_high{pid=\"7\",exe=\"/bin/a\",function=\"time.Now\"} "
		"+Inf",
		"nowgate_call_cost_seconds{pid=\"7\",exe=\"/bin/a\",function=\"time.Now\"} 8e-07",
		"nowgate_function_incomplete{pid=\"7\",exe=\"/bin/a\",function=\"time.Now\"} 0",
		"nowgate_targets 1", NULL};
	const struct ng_member_report report = report_of(7, 20);
	struct ng_metrics metrics = {.targets = NULL};
	char *text = scraped(&metrics, &report, 1);

	(void)state;
	must_have(text, lines);
	assert_null(strstr(text, "nowgate_calls_total"));
	assert_null(strstr(text, "lease"));
	free(text);
	ng_metrics_release(&metrics);
}

static void openmetrics_says_the_same(void **state)
{
	static const char *const lines[] = {"# TYPE nowgate_target info",
		"nowgate_target_info{pid=\"7\",exe=\"/bin/a\",go_version=\"go1.24\"} 1",
		"# TYPE nowgate_overhead_seconds counter",
		"# UNIT nowgate_overhead_seconds seconds",
		"nowgate_overhead_seconds_total" ONE " 0.5", "# TYPE nowgate_mode gauge",
		"# TYPE nowgate_calls_estimated counter", "# EOF", NULL};
	const struct ng_member_report report = report_of(7, 20);
	struct ng_metrics metrics = {.targets = NULL};
	char *text = scraped_as(&metrics, &report, 1, ALL, NG_OPENMETRICS_1);

	(void)state;
	must_have(text, lines);
	assert_string_equal(text + strlen(text) - 6, "# EOF\n");
	free(text);
	ng_metrics_release(&metrics);
}

static void what_is_counted_has_another_name(void **state)
{
	static const char *const lines[] = {
		"nowgate_calls_total{pid=\"7\",exe=\"/bin/a\",function=\"time.Now\"} 1000",
		"nowgate_calls_total{pid=\"7\",exe=\"/bin/a\",function=\"clock\",source=\"vdso\"} "
		"3",
		"nowgate_function_incomplete{pid=\"7\",exe=\"/bin/a\",function=\"clock\",source="
		"\"vdso\"} 1",
		"nowgate_lease_expiry_timestamp_seconds" ONE " 1700000051.5",
		"nowgate_mode{pid=\"7\",exe=\"/bin/a\",mode=\"full\"} 1", NULL};
	struct ng_member_report report = report_of(7, 20);
	struct ng_metrics metrics = {.targets = NULL};
	char *text;

	(void)state;
	report.windows = 0;
	report.arming = NG_ARMING_STEADY;
	report.settings.mode = NG_MODE_FULL;
	report.lease_until_ns = facts.now_ns + 3 * NG_NS_PER_S / 2;
	report.functions[1] = (struct ng_member_function){
		.name = "clock", .source = "vdso", .missing = "a copy without a call", .calls = 3};
	report.function_count = 2;
	text = scraped(&metrics, &report, 1);
	must_have(text, lines);
	assert_null(strstr(text, "nowgate_calls_estimated_total{"));
	assert_null(strstr(
		text, "nowgate_calls_per_second{pid=\"7\",exe=\"/bin/a\",function=\"clock\""));
	free(text);
	/* Once there has been a window, it is an estimate for good. */
	report.windows = 1;
	text = scraped(&metrics, &report, 1);
	assert_null(strstr(text, "nowgate_calls_total{"));
	assert_int_equal(count_of(text, "nowgate_calls_estimated_total{"), 2);
	free(text);
	ng_metrics_release(&metrics);
}

static void one_that_has_ended_keeps_its_counters_only(void **state)
{
	struct ng_member_report report = report_of(7, 20);
	struct ng_metrics metrics = {.targets = NULL};
	char *text;

	(void)state;
	report.ended = true;
	report.lease_until_ns = facts.now_ns + 1;
	text = scraped(&metrics, &report, 1);
	assert_true(has(text, "nowgate_hits_total" ONE " 97"));
	assert_true(has(text, "nowgate_targets 0"));
	assert_int_equal(count_of(text, "nowgate_calls_estimated_total{"), 1);
	assert_null(strstr(text, "nowgate_calls_per_second"));
	assert_null(strstr(text, "nowgate_mode"));
	assert_null(strstr(text, "_ratio"));
	assert_null(strstr(text, "lease"));
	free(text);
	ng_metrics_release(&metrics);
}

static void told(
	struct ng_metrics *metrics, const struct ng_member_report *report, const char *wanted)
{
	char *text = scraped(metrics, report, 1), line[128];

	(void)snprintf(line, sizeof(line),
		"nowgate_calls_estimated_total{pid=\"7\",exe=\"/bin/a\",function=\"time.Now\"} %s",
		wanted);
	if (!has(text, line))
		fail_msg("no line '%s' in:\n%s", line, text);
	free(text);
}

static void an_estimate_that_falls_stands_still(void **state)
{
	struct ng_member_report report = report_of(7, 20);
	struct ng_metrics metrics = {.targets = NULL};

	(void)state;
	told(&metrics, &report, "1000");
	report.functions[0].calls = 900;
	told(&metrics, &report, "1000");
	report.functions[0].calls = NAN;
	told(&metrics, &report, "1000");
	report.functions[0].calls = INFINITY;
	told(&metrics, &report, "1000");
	report.functions[0].calls = 1001;
	told(&metrics, &report, "1001");
	/* Another of the same pid begins anew. */
	report.since_ns++;
	report.functions[0].calls = 2;
	told(&metrics, &report, "2");
	ng_metrics_release(&metrics);
}

/* What is remembered is found again, whoever went or came meanwhile. */
static void targets_come_and_go(void **state)
{
	struct ng_member_report reports[] = {
		report_of(1, 1), report_of(7, 1), report_of(3, 1), report_of(4, 1)};
	struct ng_metrics metrics = {.targets = NULL};

	(void)state;
	free(scraped(&metrics, reports, 3));
	for (size_t i = 0; i < 4; i++)
		reports[i].functions[0].calls = 5;
	for (size_t first = 0; first < 2; first++) {
		char *text = scraped(&metrics, reports + first, 4 - first);

		assert_int_equal(count_of(text, "function=\"time.Now\"} 1000\n"), 3 - first);
		assert_true(has(text, "nowgate_calls_estimated_total{pid=\"4\",exe=\"/bin/a\","
				      "function=\"time.Now\"} 5"));
		free(text);
	}
	told(&metrics, &reports[1], "1000");
	ng_metrics_release(&metrics);
}

/* An exec gives one pid two reports for a while; two samples of the same labels are no scrape. */
static void no_series_is_told_twice(void **state)
{
	struct ng_member_report reports[] = {report_of(7, 1), report_of(7, 1), report_of(7, 1),
		report_of(7, 1), report_of(7, 1)};
	struct ng_metrics metrics = {.targets = NULL};
	char *text;

	(void)state;
	reports[0].ended = true;   /* it ran /bin/a, … */
	reports[1].exe = "/bin/b"; /* … then /bin/b, … */
	reports[1].ended = true;
	reports[2].ended = true;   /* … then /bin/a, … */
	reports[3].attachment = 0; /* … was attached again, and detached … */
	reports[4].exe = "/bin/c"; /* … and runs /bin/c */
	for (size_t i = 0; i < 5; i++) {
		reports[i].since_ns = i;
		reports[i].functions[0].calls = (double)i;
	}
	text = scraped(&metrics, reports, 5);
	assert_int_equal(count_of(text, "nowgate_calls_estimated_total{"), 3);
	assert_true(has(text, "nowgate_calls_estimated_total{pid=\"7\",exe=\"/bin/a\",function="
			      "\"time.Now\"} 2"));
	assert_true(has(text, "nowgate_targets 1"));
	assert_true(has(text, "nowgate_targets_without_series 0"));
	free(text);
	ng_metrics_release(&metrics);
}

/* Which of pids 1 … count are shown, as "13". */
static void shown(struct ng_metrics *metrics, const struct ng_member_report *reports, size_t count,
	size_t targets_max, const char *wanted)
{
	char *text = scraped_as(metrics, reports, count, targets_max, NG_OPENMETRICS_TEXT);
	char got[16] = "", line[64];

	for (size_t i = 0; i < count; i++) {
		(void)snprintf(
			line, sizeof(line), "nowgate_windows_total{pid=\"%d\"", reports[i].pid);
		if (strstr(text, line))
			(void)snprintf(
				got + strlen(got), sizeof(got) - strlen(got), "%d", reports[i].pid);
	}
	assert_string_equal(got, wanted);
	(void)snprintf(
		line, sizeof(line), "nowgate_targets_without_series %zu", count - strlen(wanted));
	assert_true(has(text, line));
	(void)snprintf(line, sizeof(line), "nowgate_targets %zu", count);
	assert_true(has(text, line));
	free(text);
}

static void those_that_call_most_are_told_of(void **state)
{
	struct ng_member_report reports[] = {
		report_of(1, 10), report_of(2, 30), report_of(3, 20), report_of(4, 0)};
	struct ng_metrics metrics = {.targets = NULL};

	(void)state;
	reports[3].functions[0].is_known = false;
	reports[3].functions[0].rate.hz = 1e9;
	shown(&metrics, reports, 4, 4, "1234");
	shown(&metrics, reports, 4, 0, "");
	shown(&metrics, reports, 4, 2, "23");
	/* Not for a little more, … */
	reports[0].functions[0].rate.hz = 39;
	shown(&metrics, reports, 4, 2, "23");
	/* … for more than twice as much. */
	reports[0].functions[0].rate.hz = 41;
	shown(&metrics, reports, 4, 2, "12");
	reports[2].functions[0].rate.hz = 50;
	shown(&metrics, reports, 4, 2, "12");
	/* One that ends makes room. */
	reports[1].functions[0].rate.hz = 0;
	shown(&metrics, reports, 4, 2, "13");
	/* Of the same, the oldest. */
	for (size_t i = 0; i < 4; i++)
		reports[i].functions[0].is_known = false;
	shown(&metrics, reports, 4, 3, "123");
	ng_metrics_release(&metrics);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_attached),
		cmocka_unit_test(a_target_in_windows),
		cmocka_unit_test(openmetrics_says_the_same),
		cmocka_unit_test(what_is_counted_has_another_name),
		cmocka_unit_test(one_that_has_ended_keeps_its_counters_only),
		cmocka_unit_test(an_estimate_that_falls_stands_still),
		cmocka_unit_test(targets_come_and_go),
		cmocka_unit_test(no_series_is_told_twice),
		cmocka_unit_test(those_that_call_most_are_told_of),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
