/*
 * Records of calls as they come out of the ring: what is none is refused.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bpf/abi.h"
#include "core/agg/call.h"

#define WORDS (sizeof(struct ng_record) / 8 + NG_RECORD_FRAMES_MAX + 1)

/* A record with so many frames: 1, 2, 3 … @return its bytes */
static size_t fill(uint64_t words[WORDS], size_t frames)
{
	const struct ng_record record = {.time_ns = 10,
		.start_ns = 20,
		.tgid = 30,
		.exec_id = 40,
		.site = 50,
		.tid = 60,
		.goroutine = 70};

	memcpy(words, &record, sizeof(record));
	for (size_t i = 0; i < frames; i++)
		words[sizeof(record) / 8 + i] = i + 1;
	return sizeof(record) + 8 * frames;
}

static void a_record_is_read(void **state)
{
	uint64_t words[WORDS];
	struct ng_call call;

	(void)state;
	assert_int_equal(ng_call_read(words, fill(words, 3), &call), 0);
	assert_int_equal(call.time_ns, 10);
	assert_int_equal(call.start_ns, 20);
	assert_int_equal(call.tgid, 30);
	assert_int_equal(call.exec_id, 40);
	assert_int_equal(call.site, 50);
	assert_int_equal(call.tid, 60);
	assert_int_equal(call.goroutine, 70);
	assert_int_equal(call.depth, 3);
	assert_int_equal(call.frames[0], 1);
	assert_int_equal(call.frames[2], 3);
}

static void room_that_was_not_used_is_no_frame(void **state)
{
	uint64_t words[WORDS];
	struct ng_call call;
	const size_t size = fill(words, 5);

	(void)state;
	words[size / 8 - 1] = words[size / 8 - 2] = 0;
	assert_int_equal(ng_call_read(words, size, &call), 0);
	assert_int_equal(call.depth, 3);
	assert_int_equal(ng_call_read(words, fill(words, 0), &call), 0);
	assert_int_equal(call.depth, 0);
}

static void the_deepest_is_read_and_one_more_refused(void **state)
{
	uint64_t words[WORDS];
	struct ng_call call;

	(void)state;
	assert_int_equal(ng_call_read(words, fill(words, NG_RECORD_FRAMES_MAX), &call), 0);
	assert_int_equal(call.depth, NG_RECORD_FRAMES_MAX);
	assert_int_equal(
		ng_call_read(words, fill(words, NG_RECORD_FRAMES_MAX + 1), &call), -EINVAL);
}

static void other_lengths_are_refused(void **state)
{
	uint64_t words[WORDS];
	struct ng_call call;
	const size_t size = fill(words, 3);

	(void)state;
	for (size_t bytes = 0; bytes < size; bytes++) {
		const bool is_record = bytes >= sizeof(struct ng_record) && bytes % 8 == 0;

		assert_int_equal(ng_call_read(words, bytes, &call), is_record ? 0 : -EINVAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_record_is_read),
		cmocka_unit_test(room_that_was_not_used_is_no_frame),
		cmocka_unit_test(the_deepest_is_read_and_one_more_refused),
		cmocka_unit_test(other_lengths_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
