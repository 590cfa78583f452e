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
#include <sys/mman.h>
#include <unistd.h>

#include <jansson.h>
#include <zlib.h>

#include "core/base/cleanup.h"
#include "core/out/folded.h"
#include "core/out/intern.h"
#include "core/out/json.h"
#include "core/out/pprof.h"
#include "core/out/pprof.pb-c.h"
#include "core/out/text.h"
#include "tests/out/sample.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define NO_MAPPING .mapping = NG_FRAME_NO_MAPPING

typedef int writer(const struct ng_profile *profile, int fd, struct ng_diag *diag);
typedef Perftools__Profiles__Profile message;

static int new_file(void)
{
	int fd = memfd_create("out", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* What it writes, inflated if need be; to be freed. */
static char *written(writer *write_it, const struct ng_profile *profile, size_t *ret_bytes)
{
	const size_t room = 64 << 20;
	struct ng_diag diag = NG_DIAG_INIT;
	char *text = malloc(room);
	int fd = new_file(), bytes;
	gzFile file;

	assert_non_null(text);
	assert_int_equal(write_it(profile, fd, &diag), 0);
	assert_string_equal(diag.text, "");
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	file = gzdopen(fd, "rb");
	assert_non_null(file);
	bytes = gzread(file, text, (unsigned int)room - 1);
	assert_true(bytes >= 0);
	assert_int_equal(gzdirect(file), write_it != ng_pprof_write);
	assert_int_equal(gzclose_r(file), Z_OK); /* its checksum is right */
	text[bytes] = '\0';
	*ret_bytes = (size_t)bytes;
	return text;
}

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
	char *line = ng_text_to_line("a\nb\tc\x7f\xc2\x85\xff\xe2\x80\xa8"
				     "d \xc3\xa4");

	assert_string_equal(line, "a b c  " NG_TEXT_BAD_UTF8 " d \xc3\xa4");
	free(line);
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
	static writer *const writers[] = {ng_pprof_write, ng_folded_write};
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

static message *unpacked(const struct ng_profile *profile)
{
	size_t bytes;
	NG_CLEANUP_FREE char *text = written(ng_pprof_write, profile, &bytes);
	message *pprof = perftools__profiles__profile__unpack(NULL, bytes, (uint8_t *)text);

	assert_non_null(pprof);
	assert_string_equal(pprof->string_table[0], "");
	return pprof;
}

static const char *string_of(const message *pprof, int64_t number)
{
	assert_true(number >= 0 && (size_t)number < pprof->n_string_table);
	return pprof->string_table[number];
}

/* Ids count from 1, in the order of the tables. */
static const Perftools__Profiles__Location *location_of(
	const message *pprof, size_t stack, size_t place)
{
	const Perftools__Profiles__Sample *sample = pprof->sample[stack];

	assert_true(place < sample->n_location_id);
	assert_true(sample->location_id[place] >= 1);
	assert_true(sample->location_id[place] <= pprof->n_location);
	assert_int_equal(
		pprof->location[sample->location_id[place] - 1]->id, sample->location_id[place]);
	return pprof->location[sample->location_id[place] - 1];
}

static void assert_line(const message *pprof, const Perftools__Profiles__Line *line,
	const struct ng_profile_frame *frame)
{
	const Perftools__Profiles__Function *function;

	assert_true(line->function_id >= 1 && line->function_id <= pprof->n_function);
	function = pprof->function[line->function_id - 1];
	assert_int_equal(function->id, line->function_id);
	assert_int_equal(line->line, frame->line);
	assert_string_equal(string_of(pprof, function->name), frame->function);
	assert_string_equal(string_of(pprof, function->system_name), frame->function);
	assert_string_equal(string_of(pprof, function->filename), frame->file ? frame->file : "");
	assert_int_equal(function->start_line, frame->start_line);
}

static void assert_sample(const message *pprof, const struct ng_profile *profile, size_t index)
{
	const struct ng_profile_stack *stack = &profile->stacks[index];
	size_t place = 0, line = 0;

	for (size_t i = 0; i < stack->frame_count; i++) {
		const struct ng_profile_frame *frame = &stack->frames[i];
		const Perftools__Profiles__Location *location = location_of(pprof, index, place);

		assert_int_equal(location->address, frame->address);
		assert_int_equal(location->mapping_id, frame->mapping + 1);
		if (frame->function) {
			assert_true(line < location->n_line);
			assert_line(pprof, location->line[line++], frame);
		}
		if (frame->is_inlined)
			continue;
		assert_int_equal(location->n_line, line);
		place++;
		line = 0;
	}
	if (stack->frame_count)
		assert_int_equal(pprof->sample[index]->n_location_id, place);
}

static void pprof_says_what_was_found(void **state)
{
	static const int64_t calls[SAMPLE_STACKS] = {1000, 500, 100, 200, 100};
	message *pprof = unpacked(&sample_profile);

	(void)state;
	assert_int_equal(pprof->n_sample, SAMPLE_STACKS);
	for (size_t i = 0; i < SAMPLE_STACKS; i++) {
		assert_sample(pprof, &sample_profile, i);
		assert_int_equal(pprof->sample[i]->n_value, 2);
		assert_int_equal(pprof->sample[i]->value[0], calls[i]);
		assert_int_equal(pprof->sample[i]->value[1], sample_profile.stacks[i].cost_ns);
	}
	assert_int_equal(pprof->sample[4]->n_location_id, 1);
	assert_string_equal(
		string_of(pprof,
			pprof->function[location_of(pprof, 4, 0)->line[0]->function_id - 1]->name),
		"[no stack]");
	/* main.main's and runtime.main's are shared; one is of two functions. */
	assert_int_equal(pprof->n_location, 3 + 2 + 1 + 1 + 1);
	assert_int_equal(pprof->n_function, 6);
	for (size_t i = 0; i < pprof->n_string_table; i++)
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(pprof->string_table[i], pprof->string_table[j]);
	perftools__profiles__profile__free_unpacked(pprof, NULL);
}

static void assert_type(const message *pprof, const Perftools__Profiles__ValueType *type,
	const char *name, const char *unit)
{
	assert_non_null(type);
	assert_string_equal(string_of(pprof, type->type), name);
	assert_string_equal(string_of(pprof, type->unit), unit);
}

static void pprof_says_how_it_was_found(void **state)
{
	static const char *const comments[] = {"function: time.Now", "executable: /usr/bin/server",
		"pid: 4711", "mode: sampled",
		"calls: 1900, an estimate: 1700 to 2101 (95 %); hits recorded: 19",
		"cost: 0.015 ms of CPU time, in 2.500 s", "hits lost: 7 ring_full",
		"comment: made by a test"};
	message *pprof = unpacked(&sample_profile);

	(void)state;
	assert_int_equal(pprof->n_sample_type, 2);
	assert_type(pprof, pprof->sample_type[0], "calls", "count");
	assert_type(pprof, pprof->sample_type[1], "cost", "nanoseconds");
	assert_type(pprof, pprof->period_type, "calls", "count");
	assert_string_equal(string_of(pprof, pprof->default_sample_type), "calls");
	assert_int_equal(pprof->period, 100);
	assert_int_equal(pprof->time_nanos, 1700000000000000000);
	assert_int_equal(pprof->duration_nanos, 2500000000);
	assert_int_equal(pprof->n_comment, COUNT(comments));
	for (size_t i = 0; i < COUNT(comments); i++)
		assert_string_equal(string_of(pprof, pprof->comment[i]), comments[i]);
	assert_int_equal(pprof->n_mapping, 2);
	for (size_t i = 0; i < 2; i++) {
		const struct ng_profile_mapping *mapping = &sample_profile.mappings[i];
		const Perftools__Profiles__Mapping *got = pprof->mapping[i];

		assert_int_equal(got->id, i + 1);
		assert_int_equal(got->memory_start, mapping->start);
		assert_int_equal(got->memory_limit, mapping->limit);
		assert_int_equal(got->file_offset, mapping->offset);
		assert_string_equal(string_of(pprof, got->filename), mapping->file);
		assert_string_equal(string_of(pprof, got->build_id), i ? "" : "0123abcd");
		/* The second one's only frame has no name, file or line. */
		assert_int_equal(got->has_functions, !i);
		assert_int_equal(got->has_filenames, !i);
		assert_int_equal(got->has_line_numbers, !i);
		assert_int_equal(got->has_inline_frames, !i);
	}
	perftools__profiles__profile__free_unpacked(pprof, NULL);
}

static void an_empty_pprof_is_one_too(void **state)
{
	message *pprof = unpacked(&sample_empty);

	(void)state;
	assert_int_equal(pprof->n_sample, 0);
	assert_int_equal(pprof->n_location, 0);
	assert_int_equal(pprof->n_function, 0);
	assert_int_equal(pprof->n_mapping, 0);
	assert_int_equal(pprof->n_sample_type, 2);
	assert_int_equal(pprof->period, 1);
	assert_string_equal(
		string_of(pprof, pprof->comment[1]), "calls: 0, counted; hits recorded: 0");
	perftools__profiles__profile__free_unpacked(pprof, NULL);
}

static void pprof_takes_any_name_and_estimate(void **state)
{
	/* The stack was cut within inlined code: there is no outer frame. */
	const struct ng_profile_frame frame = {
		.function = "a\xff\nb", .line = 3, .address = 5, NO_MAPPING, .is_inlined = true};
	const struct ng_profile_stack stacks[] = {
		{&frame, 1, .hits = 1, .calls = 0.4}, {&frame, 1, .hits = 1, .calls = 0.4}};
	const struct ng_profile profile = {
		.stacks = stacks, .stack_count = 2, .is_estimate = true, .high_calls = INFINITY};
	message *pprof = unpacked(&profile);

	(void)state;
	assert_int_equal(pprof->n_location, 1);
	assert_int_equal(pprof->location[0]->mapping_id, 0);
	assert_int_equal(pprof->location[0]->n_line, 1);
	assert_string_equal(string_of(pprof, pprof->function[0]->name), "a" NG_TEXT_BAD_UTF8 " b");
	assert_int_equal(pprof->sample[0]->value[0] + pprof->sample[1]->value[0], 1);
	assert_string_equal(string_of(pprof, pprof->comment[0]),
		"calls: 1, an estimate: 0 or more (95 %); hits recorded: 2");
	perftools__profiles__profile__free_unpacked(pprof, NULL);
}

static void many_stacks_keep_their_sum(void **state)
{
	struct ng_profile *profile = sample_many(10000);
	message *pprof = unpacked(profile);
	int64_t calls = 0;

	(void)state;
	assert_int_equal(pprof->n_sample, 10000);
	for (size_t i = 0; i < pprof->n_sample; i++) {
		assert_int_equal(pprof->sample[i]->n_location_id, 64);
		calls += pprof->sample[i]->value[0];
	}
	assert_int_equal(calls, 10000);
	assert_int_equal(pprof->n_function, 997);
	perftools__profiles__profile__free_unpacked(pprof, NULL);
	sample_free(profile);
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
	static writer *const writers[] = {ng_pprof_write, ng_folded_write};
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
		cmocka_unit_test(pprof_says_what_was_found),
		cmocka_unit_test(pprof_says_how_it_was_found),
		cmocka_unit_test(an_empty_pprof_is_one_too),
		cmocka_unit_test(pprof_takes_any_name_and_estimate),
		cmocka_unit_test(many_stacks_keep_their_sum),
		cmocka_unit_test(json_says_all_of_it),
		cmocka_unit_test(json_of_nothing_and_of_bad_names),
		cmocka_unit_test(a_failed_write_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
