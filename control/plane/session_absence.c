#include "control/plane/session_absence.h"

#include <errno.h>

#define ABSENCES_MAX  4 /* programs of a command that a note names */
#define GAPS_TOLD_MAX 3 /* of an image; the result has them all */

static bool has_function(const struct ng_tracked *tracked, size_t function)
{
	for (size_t i = 0; i < tracked->image_count; i++) {
		if (!tracked->images[i]->errors[function])
			return true;
	}
	return false;
}

/* Why a process has not a function: in the words of its main image, or of a library that has it in
 * a form that cannot be probed. */
static int explain_function(const struct ng_session *session, const struct ng_tracked *tracked,
	size_t function, struct ng_diag *diag)
{
	const char *name = session->options.wanted.functions[function];

	for (size_t i = 0; i < session->images.count; i++) {
		const struct ng_traced_image *image = session->images.items[i];

		if (image->errors[function] == -ENOTSUP && image->image && image != tracked->main)
			return ng_traced_image_explain(image, name, diag);
	}
	return ng_traced_image_explain(tracked->main, name, diag);
}

int ng_session_check_found(
	struct ng_session *session, const struct ng_tracked *tracked, struct ng_diag *diag)
{
	const struct ng_wanted *wanted = &session->options.wanted;

	if (wanted->clock && !tracked->image_count && tracked->main->error)
		return ng_diag_set(diag, tracked->main->error, "%s: %s", tracked->exe,
			tracked->main->diag.text);
	if (wanted->clock && !tracked->image_count)
		return ng_diag_set(
			diag, -ENOENT, "%s: reads no clock that can be probed", tracked->exe);
	for (size_t i = 0; i < wanted->function_count; i++) {
		if (!has_function(tracked, i))
			return explain_function(session, tracked, i, diag);
	}
	return 0;
}

/* Of each program that the command ran, the last ones first. */
static void note_absence(struct ng_session *session, size_t function)
{
	const struct ng_tracked_list *list = &session->tracked;
	const struct ng_traced_image *told[ABSENCES_MAX];
	size_t count = 0;

	for (size_t i = list->count; i > 0 && count < ABSENCES_MAX; i--) {
		const struct ng_tracked *tracked = list->items[i - 1];
		struct ng_diag diag = NG_DIAG_INIT;
		bool repeated = !tracked->main;

		for (size_t k = 0; k < count; k++)
			repeated |= told[k] == tracked->main;
		if (repeated)
			continue;
		told[count++] = tracked->main;
		if (explain_function(session, tracked, function, &diag))
			ng_session_note(session, "%s", diag.text);
	}
}

void ng_session_note_missing(struct ng_session *session)
{
	for (size_t i = 0; i < session->options.wanted.function_count; i++) {
		bool found = false;

		for (size_t k = 0; k < session->tracked.count; k++)
			found |= has_function(session->tracked.items[k], i);
		if (!found)
			note_absence(session, i);
	}
}

void ng_session_note_incomplete(struct ng_session *session, const struct ng_tracked *tracked)
{
	for (size_t i = 0; i < tracked->image_count; i++) {
		const struct ng_sites *sites = &tracked->images[i]->sites;

		for (size_t k = 0; k < sites->gap_count && k < GAPS_TOLD_MAX; k++)
			ng_session_note(session, "%s: not every call is seen: %s",
				tracked->images[i]->path, sites->gaps[k].text);
		if (sites->gap_count > GAPS_TOLD_MAX)
			ng_session_note(session, "%s: and so for %zu functions more",
				tracked->images[i]->path, sites->gap_count - GAPS_TOLD_MAX);
	}
}
