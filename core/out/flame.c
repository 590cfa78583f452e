#include "core/out/flame.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/out/buffer.h"
#include "core/out/flame_embedded.h"
#include "core/out/flame_tree.h"
#include "core/out/sink.h"
#include "core/out/text.h"

#define ROW_PX	  16
#define FRAME_PX  15 /* of a row */
#define MARGIN_PX 10
#define TITLE_PX  34
#define NOTE_PX	  16
#define FIELD_PX  300 /* where one types what to search for */
#define BUTTON_PX 44
#define HUES	  12

#define COUNT_SIZE 32 /* bytes: 2^64 with separators */

/* What is drawn, and how many frames are not. */
struct cut {
	bool *is_drawn; /* by place */
	uint32_t narrow;
	uint32_t deep; /* too deep, and wide enough */
	uint32_t excess;
	uint32_t rows;
};

struct drawing {
	struct ng_sink *sink;
	const struct ng_profile *profile;
	const struct ng_flame_tree *tree;
	struct cut cut;
};

/* As text of XML; it is on one line. */
static void put_text(struct ng_sink *sink, const char *text)
{
	uint32_t code;
	size_t length;

	for (; (length = ng_text_decode(text, &code)); text += length)
		if (code == '<')
			ng_sink_puts(sink, "&lt;");
		else if (code == '>')
			ng_sink_puts(sink, "&gt;");
		else if (code == '&')
			ng_sink_puts(sink, "&amp;");
		else if (ng_text_is_control(code))
			ng_sink_puts(sink, " ");
		else if (code == NG_TEXT_BAD)
			ng_sink_puts(sink, NG_TEXT_BAD_UTF8);
		else
			ng_sink_put(sink, text, length);
}

/* "1,234,567" */
static const char *grouped(double calls, char room[COUNT_SIZE])
{
	uint64_t rest = (uint64_t)(calls + 0.5);
	char *at = room + COUNT_SIZE - 1;

	*at = '\0';
	for (int digits = 0; rest || !digits; rest /= 10, digits++) {
		if (digits && digits % 3 == 0)
			*--at = ',';
		*--at = (char)('0' + rest % 10);
	}
	return at;
}

static double all_calls(const struct ng_flame_tree *tree)
{
	return tree->nodes[0].calls;
}

static double px_of(const struct ng_flame_tree *tree, double calls)
{
	return all_calls(tree) > 0 ? calls / all_calls(tree) * NG_FLAME_WIDTH_PX : 0;
}

/* Without a division, so that 1 of 12,000 calls is 0.1 px and not a little less. */
static bool is_narrow(const struct ng_flame_tree *tree, const struct ng_flame_node *node)
{
	return node->calls <= 0 ||
	       node->calls * NG_FLAME_WIDTH_PX < NG_FLAME_NARROW_PX * all_calls(tree);
}

/* Those with more calls first, of equal ones the outer ones: a parent is before its children. */
static int compare(const void *left, const void *right, void *context)
{
	const struct ng_flame_tree *tree = context;
	const uint32_t places[] = {*(const uint32_t *)left, *(const uint32_t *)right};
	const struct ng_flame_node *a = &tree->nodes[places[0]], *b = &tree->nodes[places[1]];

	if (a->calls != b->calls)
		return a->calls > b->calls ? -1 : 1;
	if (a->depth != b->depth)
		return a->depth < b->depth ? -1 : 1;
	return places[0] < places[1] ? -1 : places[0] > places[1];
}

/* @param wide room for as many places as there are nodes */
static uint32_t find_wide(const struct ng_flame_tree *tree, uint32_t *wide, struct cut *cut)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < tree->count; i++) {
		const struct ng_flame_node *node = &tree->nodes[i];

		if (node->depth && is_narrow(tree, node))
			cut->narrow++;
		else if (node->depth > NG_FLAME_DEPTH_MAX)
			cut->deep++;
		else
			wide[count++] = i;
	}
	return count;
}

static int cut_down(const struct ng_flame_tree *tree, struct cut *ret_cut)
{
	NG_CLEANUP_FREE uint32_t *wide = calloc(tree->count, sizeof(*wide));
	struct cut cut = {.is_drawn = calloc(tree->count, sizeof(bool))};
	uint32_t count;

	if (!wide || !cut.is_drawn) {
		free(cut.is_drawn);
		return -ENOMEM;
	}
	count = find_wide(tree, wide, &cut);
	if (count > NG_FLAME_FRAMES_MAX) {
		qsort_r(wide, count, sizeof(*wide), compare, (void *)tree);
		cut.excess = count - NG_FLAME_FRAMES_MAX;
		count = NG_FLAME_FRAMES_MAX;
	}
	for (uint32_t i = 0; i < count; i++) {
		cut.is_drawn[wide[i]] = true;
		if (cut.rows <= tree->nodes[wide[i]].depth)
			cut.rows = tree->nodes[wide[i]].depth + 1;
	}
	*ret_cut = cut;
	return 0;
}

/* A frame's colour is its package's: "net/http" of "net/http.(*conn).serve". */
static unsigned int hue_of(const char *name)
{
	size_t end = strcspn(name, "["); /* type parameters have packages of their own */
	const char *slash = memrchr(name, '/', end);
	const char *from = slash ? slash : name;
	const char *dot = memchr(from, '.', end - (size_t)(from - name));
	uint32_t hash = 2166136261; /* FNV-1a, 32 bits */

	if (dot)
		end = (size_t)(dot - name);
	for (size_t i = 0; i < end; i++)
		hash = (hash ^ (unsigned char)name[i]) * 16777619;
	return (hash ^ hash >> 16) % HUES;
}

static void put_frame(const struct drawing *drawing, const struct ng_flame_node *node)
{
	const struct ng_flame_tree *tree = drawing->tree;
	struct ng_sink *sink = drawing->sink;
	const char *name = ng_flame_tree_name(tree, node);
	char room[COUNT_SIZE];

	ng_sink_printf(sink, "<svg class=\"h%u\" x=\"%.5f\" y=\"%" PRIu32 "\" width=\"%.5f\"",
		hue_of(name), px_of(tree, node->start), node->depth * ROW_PX,
		node->depth ? px_of(tree, node->calls) : NG_FLAME_WIDTH_PX);
	ng_sink_printf(sink, " height=\"%d\"><title>", FRAME_PX);
	put_text(sink, name);
	ng_sink_printf(sink, "\n%s%s calls, %.2f %%</title><rect/><text x=\"3\" y=\"12\">",
		drawing->profile->is_estimate ? "about " : "", grouped(node->calls, room),
		all_calls(tree) > 0 ? 100 * node->calls / all_calls(tree) : 0);
	put_text(sink, name);
	ng_sink_puts(sink, "</text></svg>\n");
}

static void put_line(struct ng_sink *sink, const char *class, unsigned int y, const char *text)
{
	ng_sink_printf(sink, "<text class=\"%s\" x=\"%d\" y=\"%u\">", class, MARGIN_PX, y);
	put_text(sink, text);
	ng_sink_puts(sink, "</text>\n");
}

/* What was left out, in words; to be freed. @return 0; -ENOMEM */
static int left_out(const struct cut *cut, char **ret_text)
{
	struct ng_buffer out = {0};

	ng_buffer_puts(&out, "frames left out:");
	if (cut->narrow)
		ng_buffer_printf(
			&out, " %" PRIu32 " narrower than %g px", cut->narrow, NG_FLAME_NARROW_PX);
	if (cut->deep)
		ng_buffer_printf(&out, "%s %" PRIu32 " below row %d", cut->narrow ? "," : "",
			cut->deep, NG_FLAME_DEPTH_MAX);
	if (cut->excess)
		ng_buffer_printf(&out, "%s the narrowest %" PRIu32 ", to draw no more than %d",
			cut->narrow || cut->deep ? "," : "", cut->excess, NG_FLAME_FRAMES_MAX);
	if (!cut->narrow && !cut->deep && !cut->excess)
		ng_buffer_puts(&out, " none");
	return ng_buffer_finish(&out, ret_text);
}

static void put_head(const struct drawing *drawing, unsigned int top_px)
{
	const unsigned int width = NG_FLAME_WIDTH_PX + 2 * MARGIN_PX;
	const unsigned int height = top_px + drawing->cut.rows * ROW_PX + MARGIN_PX;
	struct ng_sink *sink = drawing->sink;

	ng_sink_printf(sink,
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%u\""
		" viewBox=\"0 0 %u %u\">\n<style><![CDATA[\n",
		width, height, width, height);
	ng_sink_puts(sink, flame_style);
	for (int i = 0; i < HUES; i++)
		ng_sink_printf(
			sink, ".h%d > rect { fill: hsl(%d, 65%%, 78%%); }\n", i, i * 360 / HUES);
	ng_sink_puts(sink, "]]></style>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n");
}

/* The notes, then what was left out; and, on the right, the search. */
static void put_notes(const struct drawing *drawing, char *notes, const char *last)
{
	const int right_px = MARGIN_PX + NG_FLAME_WIDTH_PX;
	struct ng_sink *sink = drawing->sink;
	unsigned int y = TITLE_PX + NOTE_PX * 3 / 4;
	char *rest = NULL;

	put_line(sink, "title", TITLE_PX - NOTE_PX / 2, "nowgate: calls by stack");
	for (char *line = strtok_r(notes, "\n", &rest); line;
		line = strtok_r(NULL, "\n", &rest), y += NOTE_PX)
		put_line(sink, "note", y, line);
	put_line(sink, "note", y, last);
	ng_sink_printf(sink,
		"<foreignObject x=\"%d\" y=\"8\" width=\"%d\" height=\"28\">"
		"<input xmlns=\"http://www.w3.org/1999/xhtml\" type=\"search\""
		" placeholder=\"search: regular expression\"/></foreignObject>\n"
		"<text id=\"reset\" x=\"%d\" y=\"25\">reset</text>\n"
		"<text id=\"found\" x=\"%d\" y=\"54\"></text>\n",
		right_px - FIELD_PX, FIELD_PX, right_px - FIELD_PX - BUTTON_PX,
		right_px - FIELD_PX);
}

static unsigned int count_lines(const char *text)
{
	unsigned int count = 0;

	for (; *text; text++)
		count += *text == '\n';
	return count;
}

static int draw(struct drawing *drawing, const struct ng_profile_total *total)
{
	const struct ng_flame_tree *tree = drawing->tree;
	NG_CLEANUP_FREE char *notes = NULL;
	NG_CLEANUP_FREE char *last = NULL;
	int error = ng_profile_notes(drawing->profile, total, &notes);
	unsigned int top_px;

	if (!error)
		error = left_out(&drawing->cut, &last);
	if (error)
		return error;
	top_px = TITLE_PX + (count_lines(notes) + 2) * NOTE_PX;
	put_head(drawing, top_px);
	put_notes(drawing, notes, last);
	ng_sink_printf(drawing->sink, "<g id=\"frames\" transform=\"translate(%d, %u)\">\n",
		MARGIN_PX, top_px);
	for (uint32_t i = 0; i < tree->count; i++) {
		const uint32_t place = tree->order[i];

		if (drawing->cut.is_drawn[place])
			put_frame(drawing, &tree->nodes[place]);
	}
	ng_sink_puts(drawing->sink, "</g>\n<script><![CDATA[\n");
	ng_sink_puts(drawing->sink, flame_script);
	ng_sink_puts(drawing->sink, "]]></script>\n</svg>\n");
	return 0;
}

int ng_flame_write(const struct ng_profile *profile, int fd, struct ng_diag *diag)
{
	struct ng_flame_tree tree = {0};
	struct drawing drawing = {.profile = profile, .tree = &tree};
	struct ng_profile_total total;
	int error = ng_profile_check(profile, &total, diag);

	if (error)
		return error;
	error = ng_flame_tree_build(&tree, profile);
	if (!error)
		error = cut_down(&tree, &drawing.cut);
	if (error)
		goto no_memory;
	error = -ENOMEM;
	drawing.sink = ng_sink_open(fd, false);
	if (!drawing.sink)
		goto no_memory;
	ng_sink_fail(drawing.sink, draw(&drawing, &total));
	error = ng_sink_close(drawing.sink, "flame graph", diag);
no_memory:
	/* Unless it has said something better. */
	if (error)
		(void)ng_diag_set(diag, error, "no memory for the flame graph");
	free(drawing.cut.is_drawn);
	ng_flame_tree_release(&tree);
	return error;
}
