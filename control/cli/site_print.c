#include "control/cli/site_print.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "core/base/cleanup.h"
#include "core/image/insn.h"
#include "core/inline/form.h"

#define LINES_BEFORE 24 /* instructions shown before a site: a whole prologue */
#define LINES_AFTER  3
#define AFTER_BYTES  (15 * (LINES_AFTER + 1)) /* the site's instruction and those after it */
#define HEX_SIZE     (2 * 15 + 1)

/** The code around a site; offsets from the entry. */
struct listing {
	uint8_t *code;
	size_t size_bytes;
	size_t starts[LINES_BEFORE + 1 + LINES_AFTER];
	size_t count;
	bool from_entry;
};

static void add_start(struct listing *listing, size_t offset)
{
	if (listing->count == LINES_BEFORE) {
		memmove(listing->starts, listing->starts + 1,
			(LINES_BEFORE - 1) * sizeof(listing->starts[0]));
		listing->count--;
		listing->from_entry = false;
	}
	listing->starts[listing->count++] = offset;
}

static bool decode(const struct listing *listing, size_t offset, struct ng_insn *ret_insn)
{
	return offset < listing->size_bytes &&
	       !ng_insn_decode(
		       listing->code + offset, listing->size_bytes - offset, offset, ret_insn);
}

/* From the entry on, one instruction after the other. That may lose step before a site far away
 * (an inlined copy's): then the listing begins with the site. */
static void find_starts(struct listing *listing, size_t delta)
{
	struct ng_insn insn;
	size_t offset = 0;

	listing->from_entry = true;
	while (offset < delta && decode(listing, offset, &insn)) {
		add_start(listing, offset);
		offset += insn.length;
	}
	if (offset != delta) {
		listing->count = 0;
		listing->from_entry = false;
	}
	offset = delta;
	for (int i = 0; i <= LINES_AFTER && decode(listing, offset, &insn); i++) {
		listing->starts[listing->count++] = offset;
		offset += insn.length;
	}
}

static int open_listing(
	struct listing *listing, const struct ng_image *image, const struct ng_site *site)
{
	int64_t length;

	*listing = (struct listing){.size_bytes = (size_t)site->delta + AFTER_BYTES};
	listing->code = malloc(listing->size_bytes);
	if (!listing->code)
		return -ENOMEM;
	length = ng_image_read(image, site->entry, listing->code, listing->size_bytes);
	if (length < 0) {
		free(listing->code);
		return (int)length;
	}
	listing->size_bytes = (size_t)length;
	find_starts(listing, site->delta);
	return 0;
}

/* One line's text and bytes. @return its length */
static uint8_t describe(const struct listing *listing, size_t line, uint64_t entry,
	char text[NG_INSN_TEXT_MAX], char hex[HEX_SIZE])
{
	const size_t offset = listing->starts[line];
	struct ng_insn insn = {.length = 0};

	(void)decode(listing, offset, &insn); /* did already, when the line was found */
	ng_insn_format(listing->code + offset, listing->size_bytes - offset, entry + offset, text,
		NG_INSN_TEXT_MAX);
	hex[0] = '\0';
	for (uint8_t i = 0; i < insn.length; i++)
		(void)snprintf(hex + (size_t)2 * i, 3, "%02x", listing->code[offset + i]);
	return insn.length;
}

/* How the inline engine would enter there; by the prologue where it is by no other way. */
struct inline_way {
	bool is_possible;
	bool is_asked_for; /* only when it is asked for by name */
	struct ng_form form;
	struct ng_diag why; /* not the better way */
};

static int find_inline_way(
	const struct ng_image *image, const struct ng_site *site, struct inline_way *way)
{
	int error;

	*way = (struct inline_way){.why = NG_DIAG_INIT};
	error = ng_form_choose(image, site, false, &way->form, &way->why);
	if (error == -ENOTSUP) {
		error = ng_form_choose(image, site, true, &way->form, NULL);
		way->is_asked_for = !error;
	}
	way->is_possible = !error;
	return error == -ENOTSUP ? 0 : error;
}

static void print_inline_way(
	const struct ng_site_print *print, const struct ng_site *site, const struct inline_way *way)
{
	if (way->is_possible)
		fprintf(print->file, "  inline: %s form at +%#" PRIx64 ", %s: %s\n",
			ng_form_kind_name(way->form.kind), way->form.address - site->entry,
			way->form.exact ? "exact" : "not exact", way->form.why);
	if (way->is_asked_for)
		fprintf(print->file, "    by --engine inline=prologue only: %s\n", way->why.text);
	else if (!way->is_possible)
		fprintf(print->file, "  inline: no: %s\n", way->why.text);
}

static void print_site(const struct ng_site_print *print, const struct ng_site *site,
	const struct inline_way *way, const struct listing *lines)
{
	fprintf(print->file, "%s: %s at +%#" PRIx32 ", %s, %s\n", site->function, site->insn,
		site->delta, ng_site_class_name(site->class), site->exact ? "exact" : "not exact");
	if (site->caller)
		fprintf(print->file, "  inlined copy in %s\n", site->caller);
	if (site->source)
		fprintf(print->file, "  clock source %s\n", site->source);
	fprintf(print->file, "  address %#" PRIx64 ", file offset %#" PRIx64 "\n  why: %s\n",
		site->address, site->offset, site->why);
	print_inline_way(print, site, way);
	if (!lines->from_entry)
		fputs("         …\n", print->file);
	for (size_t i = 0; i < lines->count; i++) {
		char text[NG_INSN_TEXT_MAX], hex[HEX_SIZE];

		(void)describe(lines, i, site->entry, text, hex);
		fprintf(print->file, "  %s +0x%04zx  %-22s  %s\n",
			lines->starts[i] == site->delta ? "->" : "  ", lines->starts[i], hex, text);
	}
}

static int finish(FILE *file)
{
	if (fflush(file))
		return -errno;
	return ferror(file) ? -EIO : 0;
}

int ng_site_print_text(const struct ng_site_print *print)
{
	const struct ng_sites *sites = print->sites;

	for (size_t i = 0; i < sites->count; i++) {
		struct inline_way way;
		struct listing listing;
		int error = open_listing(&listing, print->image, &sites->items[i]);

		if (error)
			return error;
		if (i)
			fputc('\n', print->file);
		error = find_inline_way(print->image, &sites->items[i], &way);
		if (!error)
			print_site(print, &sites->items[i], &way, &listing);
		free(listing.code);
		if (error)
			return error;
	}
	for (size_t i = 0; i < sites->gap_count; i++)
		fprintf(print->file, "%snot seen: %s\n", sites->count && !i ? "\n" : "",
			sites->gaps[i].text);
	return finish(print->file);
}

/* A text of the image's, or NULL for null. JSON is UTF-8; in what is not, such bytes become '?'. */
static json_t *json_of_text(const char *text)
{
	NG_CLEANUP_FREE char *clean = NULL;
	json_t *value;

	if (!text)
		return json_null();
	value = json_string(text);
	if (value)
		return value;
	clean = strdup(text);
	for (char *at = clean; at && *at; at++) {
		if (*at & 0x80)
			*at = '?';
	}
	return clean ? json_string(clean) : NULL;
}

static json_t *json_of_listing(const struct listing *listing, const struct ng_site *site)
{
	json_t *lines = json_array();

	for (size_t i = 0; i < listing->count; i++) {
		char text[NG_INSN_TEXT_MAX], hex[HEX_SIZE];

		(void)describe(listing, i, site->entry, text, hex);
		if (json_array_append_new(
			    lines, json_pack("{s:I, s:s, s:s, s:b}", "delta",
					   (json_int_t)listing->starts[i], "bytes", hex, "text",
					   text, "site", listing->starts[i] == site->delta))) {
			json_decref(lines);
			return NULL;
		}
	}
	return lines;
}

/* "form" is null where there is none; "why" then says why, or why it must be asked for by name. */
static json_t *json_of_inline_way(const struct inline_way *way)
{
	const struct ng_form *form = &way->form;

	if (!way->is_possible)
		return json_pack("{s:n, s:s}", "form", "why", way->why.text);
	return json_pack("{s:s, s:s, s:b, s:I, s:I, s:b}", "form", ng_form_kind_name(form->kind),
		"why", way->is_asked_for ? way->why.text : form->why, "asked_for",
		way->is_asked_for, "address", (json_int_t)form->address, "offset",
		(json_int_t)form->offset, "exact", form->exact);
}

static json_t *json_of_site(
	const struct ng_site *site, const struct inline_way *way, const struct listing *listing)
{
	return json_pack("{s:o, s:s, s:o, s:o, s:I, s:I, s:I, s:I, s:s, s:s, s:b, s:s, s:o, s:o}",
		"function", json_of_text(site->function), "kind",
		site->kind == NG_SITE_INLINED_COPY ? "inlined copy" : "function", "caller",
		json_of_text(site->caller), "source", json_of_text(site->source), "entry",
		(json_int_t)site->entry, "address", (json_int_t)site->address, "offset",
		(json_int_t)site->offset, "delta", (json_int_t)site->delta, "insn", site->insn,
		"class", ng_site_class_name(site->class), "exact", site->exact, "why", site->why,
		"inline", json_of_inline_way(way), "prologue", json_of_listing(listing, site));
}

/* Adds every site. @return 0; -ENOMEM; what reading gave */
static int add_sites(const struct ng_site_print *print, json_t *array)
{
	for (size_t i = 0; i < print->sites->count; i++) {
		const struct ng_site *site = &print->sites->items[i];
		struct inline_way way;
		struct listing listing;
		int error = open_listing(&listing, print->image, site);

		if (error)
			return error;
		error = find_inline_way(print->image, site, &way);
		if (!error && json_array_append_new(array, json_of_site(site, &way, &listing)))
			error = -ENOMEM;
		free(listing.code);
		if (error)
			return error;
	}
	return 0;
}

int ng_site_print_json(const struct ng_site_print *print)
{
	json_t *array = json_array();
	json_t *document;
	int error = array ? add_sites(print, array) : -ENOMEM;

	if (error) {
		json_decref(array);
		return error;
	}
	document = json_pack("{s:i, s:o, s:o, s:o, s:b, s:o}", "v", 1, "image",
		json_of_text(print->path), "go_version",
		json_of_text(ng_image_info(print->image)->go_version), "sites", array, "complete",
		!print->sites->gap_count, "missing",
		json_of_text(print->sites->gap_count ? print->sites->gaps[0].text : ""));
	if (!document)
		return -ENOMEM;
	error = json_dumpf(document, print->file, JSON_INDENT(2)) ? -EIO : 0;
	json_decref(document);
	fputc('\n', print->file);
	return error ? error : finish(print->file);
}
