/* core/out/pprof: unpacked again, and compared field by field. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "core/base/cleanup.h"
#include "core/out/pprof.h"
#include "core/out/pprof.pb-c.h"
#include "core/out/text.h"
#include "tests/out/sample.h"
#include "tests/out/written.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define NO_MAPPING .mapping = NG_FRAME_NO_MAPPING

typedef Perftools__Profiles__Profile message;

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
		"cost: 0.015 ms of CPU time, in 2.500 s", "lost: 7 calls: the ring was full",
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pprof_says_what_was_found),
		cmocka_unit_test(pprof_says_how_it_was_found),
		cmocka_unit_test(an_empty_pprof_is_one_too),
		cmocka_unit_test(pprof_takes_any_name_and_estimate),
		cmocka_unit_test(many_stacks_keep_their_sum),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
