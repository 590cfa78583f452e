/* core/out: what the writers of profiles write, to the last byte where that is fixed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "core/base/cleanup.h"
#include "core/out/flame.h"
#include "core/out/folded.h"
#include "core/out/intern.h"
#include "core/out/json.h"
#include "core/out/pprof.h"
#include "core/out/text.h"
#include "tests/out/sample.h"
#include "tests/out/written.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define NO_MAPPING .mapping = NG_FRAME_NO_MAPPING

static void assert_folds_to(const struct ng_profile *profile, const char *wanted)
{
	size_t bytes;
	NG_CLEANUP_FREE char *text = written(ng_folded_write, profile, &bytes);

	assert_string_equal(text, wanted);
}

static void text_is_decoded_with_mistrust(void **state)
{
	static const struct {
		const char *text;
		size_t length;
		uint32_t code;
	} cases[] = {
		{"", 0, 7},
		{"a", 1, 'a'},
		{"\xc3\xa4x", 2, 0xe4},
		{"\xe2\x82\xac", 3, 0x20ac},
		{"\xf0\x9f\x98\x80", 4, 0x1f600},
		{"\xf4\x8f\xbf\xbf", 4, 0x10ffff},
		{"\x80", 1, NG_TEXT_BAD},	      /* continues nothing */
		{"\xc3", 1, NG_TEXT_BAD},	      /* ends too early */
		{"\xe2\x82", 1, NG_TEXT_BAD},	      /* … */
		{"\xc3(", 1, NG_TEXT_BAD},	      /* is not continued */
		{"\xc0\xaf", 1, NG_TEXT_BAD},	      /* not the shortest form */
		{"\xe0\x80\xaf", 1, NG_TEXT_BAD},     /* … */
		{"\xf0\x80\x80\xaf", 1, NG_TEXT_BAD}, /* … */
		{"\xed\xa0\x80", 1, NG_TEXT_BAD},     /* a surrogate */
		{"\xf4\x90\x80\x80", 1, NG_TEXT_BAD}, /* above U+10FFFF */
		{"\xff", 1, NG_TEXT_BAD},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint32_t code = 7;

		assert_int_equal(ng_text_decode(cases[i].text, &code), cases[i].length);
		assert_int_equal(code, cases[i].code);
	}
	struct ng_buffer line = {0};

	ng_text_put_line(&line, "a\nb\tc\x7f\xc2\x85\xff\xe2\x80\xa8"
				"d \xc3\xa4");
	assert_int_equal(line.error, 0);
	assert_string_equal(line.text, "a b c  " NG_TEXT_BAD_UTF8 " d \xc3\xa4");
	ng_buffer_release(&line);
}

static void the_same_bytes_have_the_same_number(void **state)
{
	struct ng_intern intern = {0};
	uint32_t number;

	(void)state;
	for (int round = 0; round < 2; round++)
		for (uint32_t i = 0; i < 100000; i++) {
			assert_int_equal(ng_intern_add(&intern, &i, sizeof(i), &number), 0);
			assert_int_equal(number, i);
		}
	assert_int_equal(intern.count, 100000);
	for (uint32_t i = 0; i < intern.count; i++)
		assert_memory_equal(intern.entries[i].bytes, &i, sizeof(i));
	/* Lengths count, and so does a NUL. */
	assert_int_equal(ng_intern_add(&intern, "\0\0", 2, &number), 0);
	assert_int_equal(number, 100000);
	assert_int_equal(ng_intern_add_text(&intern, "", &number), 0);
	assert_int_equal(number, 100001);
	ng_intern_release(&intern);
}

static void roundings_add_up(void **state)
{
	struct ng_rounder rounder = {0};
	uint64_t sum = 0;

	(void)state;
	for (size_t i = 0; i < 1000; i++) {
		uint64_t calls = ng_rounder_next(&rounder, 0.3);

		assert_true(calls <= 1);
		sum += calls;
	}
	assert_int_equal(sum, 300);
	assert_int_equal(ng_rounder_next(&rounder, 17), 17);
	assert_int_equal(ng_rounder_next(&rounder, 0), 0);
}

static void what_cannot_be_written_is_refused(void **state)
{
	static const double bad_calls[] = {-1, NAN, INFINITY, 1e16};
	static writer *const writers[] = {ng_pprof_write, ng_folded_write, ng_flame_write};
	const struct ng_profile_frame frame = {.function = "f", .mapping = 1};
	const struct ng_profile_mapping mapping = {.start = 0};
	struct ng_profile_stack stack = {&frame, 1, .hits = 1};
	const struct ng_profile profile = {
		.stacks = &stack, .stack_count = 1, .mappings = &mapping, .mapping_count = 1};
	char *text = NULL;

	(void)state;
	for (size_t i = 0; i < COUNT(writers); i++) {
		struct ng_diag diag = NG_DIAG_INIT;

		assert_int_equal(writers[i](&profile, -1, &diag), -EINVAL);
		assert_string_equal(diag.text, "stack 0 of the profile: mapping 1 of 1");
	}
	assert_int_equal(ng_profile_json(&profile, &text, NULL), -EINVAL);
	assert_null(text);
	stack.frame_count = 0;
	for (size_t i = 0; i < COUNT(bad_calls); i++) {
		struct ng_diag diag = NG_DIAG_INIT;

		stack.calls = bad_calls[i];
		assert_int_equal(ng_folded_write(&profile, -1, &diag), -EINVAL);
		assert_non_null(strstr(diag.text, "calls are no count"));
	}
	struct ng_profile interval = sample_profile;

	interval.low_calls = interval.high_calls + 1;
	assert_int_equal(ng_folded_write(&interval, -1, NULL), -EINVAL);
}

static void folded_is_one_line_a_stack(void **state)
{
	(void)state;
	assert_folds_to(&sample_profile,
		"runtime.main;main.main;main.work;time.Now 1100\n"
		"runtime.main;main.main;main.other[go.shape.struct { A int: B <-chan \"x\" }];"
		"time.Now 500\n"
		"runtime.main;0x7f0000001234 200\n"
		"[no stack] 100\n");
	assert_folds_to(&sample_empty, "");
}

static void folded_names_stay_on_their_line(void **state)
{
	const struct ng_profile_frame frames[] = {{.function = "a;b\nc d", NO_MAPPING},
		{.function = "", NO_MAPPING}, {.function = "\xff\r", NO_MAPPING}};
	const struct ng_profile_stack stack = {frames, COUNT(frames), .hits = 1, .calls = 1};

	(void)state;
	assert_folds_to(&(struct ng_profile){.stacks = &stack, .stack_count = 1},
		"\xff ;[unknown];a:b c d 1\n");
}

static json_t *parsed(const struct ng_profile *profile)
{
	NG_CLEANUP_FREE char *text = NULL;
	struct ng_diag diag = NG_DIAG_INIT;
	json_t *root;

	assert_int_equal(ng_profile_json(profile, &text, &diag), 0);
	root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(root);
	assert_int_equal(json_integer_value(json_object_get(root, "v")), 1);
	return root;
}

/* Is it this, key order aside? */
static void assert_json(json_t *object, const char *key, const char *wanted)
{
	json_t *value = json_loads(wanted, JSON_DECODE_ANY, NULL);

	assert_non_null(value);
	if (!json_equal(json_object_get(object, key), value))
		fail_msg("%s is not %s", key, wanted);
	json_decref(value);
}

static void json_says_all_of_it(void **state)
{
	json_t *root = parsed(&sample_profile), *frames = json_object_get(root, "frames");
	json_t *stacks = json_object_get(root, "stacks");

	(void)state;
	assert_json(root, "function", "\"time.Now\"");
	assert_json(root, "exe", "\"/usr/bin/server\"");
	assert_json(root, "pid", "4711");
	assert_json(root, "mode", "\"sampled\"");
	assert_json(root, "began_at_ns", "1700000000000000000");
	assert_json(root, "duration_ns", "2500000000");
	assert_json(root, "hits", "19");
	assert_json(root, "calls", "1900");
	assert_json(root, "cost_ns", "15200");
	assert_json(root, "is_estimate", "true");
	assert_json(root, "low_calls", "1700.5");
	assert_json(root, "high_calls", "2100.5");
	assert_json(root, "lost", "{\"ring_full\": 7, \"no_memory\": 0}");
	assert_json(root, "comments", "[\"made by a test\"]");
	assert_json(root, "mappings",
		"[{\"start\": \"0x400000\", \"limit\": \"0x500000\", \"offset\": \"0x1000\","
		" \"file\": \"/usr/bin/server\", \"build_id\": \"0123abcd\"},"
		" {\"start\": \"0x7f0000000000\", \"limit\": \"0x7f0000100000\", \"offset\": "
		"\"0x0\","
		" \"file\": \"/usr/lib/libc.so.6\", \"build_id\": null}]");
	assert_int_equal(json_array_size(frames), 9);
	assert_json(json_array_get(frames, 0), "is_inlined", "true");
	assert_json(json_array_get(frames, 0), "start_line", "1150");
	assert_json(json_array_get(frames, 1), "function", "\"main.work\"");
	assert_json(json_array_get(frames, 1), "line", "25");
	assert_json(json_array_get(frames, 1), "file", "\"/src/main.go\"");
	assert_json(json_array_get(frames, 8), "function", "null");
	assert_json(json_array_get(frames, 8), "address", "\"0x7f0000001234\"");
	assert_json(json_array_get(frames, 8), "mapping", "1");
	assert_int_equal(json_array_size(stacks), SAMPLE_STACKS);
	assert_json(json_array_get(stacks, 0), "frames", "[0, 1, 2, 3]");
	assert_json(json_array_get(stacks, 0), "calls", "1000");
	assert_json(json_array_get(stacks, 0), "hits", "10");
	assert_json(json_array_get(stacks, 0), "cost_ns", "8000");
	assert_json(json_array_get(stacks, 3), "frames", "[8, 3]");
	assert_json(json_array_get(stacks, 4), "frames", "[]");
	json_decref(root);
}

static void json_of_nothing_and_of_bad_names(void **state)
{
	const struct ng_profile_frame frame = {
		.function = "\xff\"", .address = UINT64_MAX, NO_MAPPING};
	const struct ng_profile_stack stack = {&frame, 1, .hits = UINT64_MAX, .calls = 1};
	const struct ng_profile profile = {.stacks = &stack,
		.stack_count = 1,
		.exe = "\xfe",
		.is_estimate = true,
		.high_calls = INFINITY};
	json_t *root = parsed(&sample_empty), *first;

	(void)state;
	assert_json(root, "stacks", "[]");
	assert_json(root, "frames", "[]");
	assert_json(root, "lost", "{}");
	assert_json(root, "pid", "null");
	assert_json(root, "low_calls", "null");
	json_decref(root);
	root = parsed(&profile);
	first = json_array_get(json_object_get(root, "frames"), 0);
	assert_json(root, "exe", "\"" NG_TEXT_BAD_UTF8 "\"");
	assert_json(root, "low_calls", "0.0");
	assert_json(root, "high_calls", "null");
	assert_json(root, "hits", "9223372036854775807");
	assert_json(first, "function", "\"" NG_TEXT_BAD_UTF8 "\\\"\"");
	assert_json(first, "address", "\"0xffffffffffffffff\"");
	assert_json(first, "mapping", "null");
	json_decref(root);
}

static void assert_fails(writer *write_it, int fd, int error, const char *why)
{
	struct ng_profile *profile = sample_many(2000); /* more than a buffer, in each format */
	const struct ng_profile *const profiles[] = {&sample_profile, profile};

	for (size_t i = 0; i < COUNT(profiles); i++) {
		struct ng_diag diag = NG_DIAG_INIT;

		assert_int_equal(write_it(profiles[i], fd, &diag), error);
		assert_non_null(strstr(diag.text, why));
	}
	sample_free(profile);
}

static void a_failed_write_is_told(void **state)
{
	static writer *const writers[] = {ng_pprof_write, ng_folded_write, ng_flame_write};
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC), ends[2];

	(void)state;
	assert_true(full >= 0);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	close(ends[0]);
	assert_true(signal(SIGPIPE, SIG_IGN) != SIG_ERR); /* as profile.h asks for */
	for (size_t i = 0; i < COUNT(writers); i++) {
		assert_fails(writers[i], full, -ENOSPC, "No space left on device");
		assert_fails(writers[i], ends[1], -EPIPE, "Broken pipe");
		assert_fails(writers[i], -1, -EBADF, "Bad file descriptor");
	}
	close(ends[1]);
	close(full);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_is_decoded_with_mistrust),
		cmocka_unit_test(the_same_bytes_have_the_same_number),
		cmocka_unit_test(roundings_add_up),
		cmocka_unit_test(what_cannot_be_written_is_refused),
		cmocka_unit_test(folded_is_one_line_a_stack),
		cmocka_unit_test(folded_names_stay_on_their_line),
		cmocka_unit_test(json_says_all_of_it),
		cmocka_unit_test(json_of_nothing_and_of_bad_names),
		cmocka_unit_test(a_failed_write_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
