/* core/out/flame: where frames are drawn, and which ones are not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/out/flame.h"
#include "core/out/text.h"
#include "tests/out/sample.h"
#include "tests/out/written.h"

#define NO_MAPPING .mapping = NG_FRAME_NO_MAPPING

static size_t count_of(const char *text, const char *part)
{
	size_t count = 0;

	for (; (text = strstr(text, part)); text += strlen(part))
		count++;
	return count;
}

static void assert_has(const char *text, const char *part)
{
	if (count_of(text, part) != 1)
		fail_msg("%zu times: %s", count_of(text, part), part);
}

/* A frame, up to its text. */
#define FRAME(x, y, width, name, calls)                                                            \
	"x=\"" x "\" y=\"" y "\" width=\"" width "\" height=\"15\"><title>" name "\n" calls        \
	"</title><rect/><text x=\"3\" y=\"12\">" name "</text></svg>\n"

static void a_flame_graph_is_as_wide_as_the_calls(void **state)
{
	size_t bytes;
	NG_CLEANUP_FREE char *svg = written(ng_flame_write, &sample_profile, &bytes);

	(void)state;
	assert_int_equal(count_of(svg, "<svg class="), 9);
	assert_has(svg, FRAME("0.00000", "0", "1200.00000", "all", "about 1,900 calls, 100.00 %"));
	assert_has(svg,
		FRAME("0.00000", "16", "1136.84211", "runtime.main", "about 1,800 calls, 94.74 %"));
	/* Siblings: those with more calls are on the left. */
	assert_has(svg,
		FRAME("1136.84211", "16", "63.15789", "[no stack]", "about 100 calls, 5.26 %"));
	assert_has(svg, FRAME("1010.52632", "32", "126.31579", "0x7f0000001234",
				"about 200 calls, 10.53 %"));
	/* At two addresses, and inlined: one frame. */
	assert_has(
		svg, FRAME("0.00000", "64", "694.98947", "time.Now", "about 1,100 calls, 57.92 %"));
	assert_has(svg, FRAME("694.98947", "48", "315.53684",
				"main.other[go.shape.struct { A int; B &lt;-chan \"x\" }]",
				"about 500 calls, 26.29 %"));
	assert_has(svg, ">calls: 1900, an estimate: 1700 to 2101 (95 %); hits recorded: 19<");
	assert_has(svg, ">lost: 7 calls: the ring was full<");
	assert_has(svg, ">frames left out: none<");
	/* Nothing is fetched: addresses are those of two namespaces. */
	assert_int_equal(count_of(svg, "://"), 2);
	assert_has(svg, "xmlns=\"http://www.w3.org/2000/svg\"");
	assert_has(svg, "xmlns=\"http://www.w3.org/1999/xhtml\"");
}

static void flame_graphs_are_bounded_and_say_so(void **state)
{
	const struct ng_profile_frame wide = {.function = "wide", NO_MAPPING};
	const struct ng_profile_frame narrow[] = {
		{.function = "inner", NO_MAPPING}, {.function = "outer", NO_MAPPING}};
	const struct ng_profile_stack stacks[] = {
		{narrow, 2, .hits = 1, .calls = 1}, {&wide, 1, .hits = 1, .calls = 11999}};
	struct ng_profile *many = sample_many(10000), *deep = sample_deep(100000);
	size_t bytes;
	char *svg;

	(void)state;
	/* 1 of 12,000 calls is 0.1 px. */
	svg = written(
		ng_flame_write, &(struct ng_profile){.stacks = stacks, .stack_count = 2}, &bytes);
	assert_int_equal(count_of(svg, "<svg class="), 4);
	assert_has(svg, ">frames left out: none<");
	assert_has(svg, FRAME("1199.90000", "32", "0.10000", "inner", "1 calls, 0.01 %"));
	free(svg);
	struct ng_profile_stack more[] = {stacks[0], stacks[1]};

	more[1].calls = 12000;
	svg = written(
		ng_flame_write, &(struct ng_profile){.stacks = more, .stack_count = 2}, &bytes);
	assert_int_equal(count_of(svg, "<svg class="), 2);
	assert_has(svg, ">frames left out: 2 narrower than 0.1 px<");
	free(svg);
	/* The root, 32 shared frames, 997 below them, and 10,000 in each of 31 rows. */
	svg = written(ng_flame_write, many, &bytes);
	assert_int_equal(count_of(svg, "<svg class="), NG_FLAME_FRAMES_MAX);
	assert_has(svg, ">frames left out: the narrowest 291030, to draw no more than 20000<");
	free(svg);
	svg = written(ng_flame_write, deep, &bytes);
	assert_int_equal(count_of(svg, "<svg class="), 1 + NG_FLAME_DEPTH_MAX);
	assert_has(svg, ">frames left out: 99000 below row 1000<");
	free(svg);
	sample_free(many);
	sample_free(deep);
}

static void a_flame_graph_of_nothing_and_of_bad_names(void **state)
{
	const struct ng_profile_frame frame = {.function = "a\x01<b>&\xff]]>\n", NO_MAPPING};
	const struct ng_profile_stack stack = {&frame, 1, .hits = 1, .calls = 1234567};
	const char *const comments[] = {"<script>"};
	size_t bytes;
	char *svg = written(ng_flame_write, &sample_empty, &bytes);

	(void)state;
	assert_int_equal(count_of(svg, "<svg class="), 1);
	assert_has(svg, FRAME("0.00000", "0", "1200.00000", "all", "0 calls, 0.00 %"));
	free(svg);
	svg = written(ng_flame_write,
		&(struct ng_profile){.stacks = &stack,
			.stack_count = 1,
			.comments = comments,
			.comment_count = 1},
		&bytes);
	assert_has(svg,
		FRAME("0.00000", "16", "1200.00000", "a &lt;b&gt;&amp;" NG_TEXT_BAD_UTF8 "]]&gt; ",
			"1,234,567 calls, 100.00 %"));
	assert_has(svg, ">comment: &lt;script&gt;<");
	assert_int_equal(count_of(svg, "<script>"), 1);
	free(svg);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_flame_graph_is_as_wide_as_the_calls),
		cmocka_unit_test(flame_graphs_are_bounded_and_say_so),
		cmocka_unit_test(a_flame_graph_of_nothing_and_of_bad_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
