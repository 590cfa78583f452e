#include "control/plane/session_arm.h"

#include <limits.h>

#include "control/plane/session_inline.h"
#include "control/target/process.h"
#include "control/target/text.h"
#include "core/base/cleanup.h"

/* Prepares one mapped file. A library that cannot be read has nothing for us; the main image's
 * error is the caller's to judge. */
static int prepare_mapping(struct ng_session *session, pid_t pid, const struct ng_mapping *mapping,
	struct ng_traced_image **ret_image, struct ng_diag *diag)
{
	*ret_image = ng_images_by_key(&session->images, mapping->device, mapping->inode);
	if (*ret_image)
		return 0;
	NG_CLEANUP_CLOSE int fd = ng_process_open_mapping(pid, mapping);
	if (fd < 0)
		return 0;
	return ng_images_prepare(&session->images, session->engine, &session->options.wanted, fd,
		mapping->path, ret_image, diag);
}

static int arm_image(struct ng_session *session, struct ng_tracked *tracked,
	struct ng_traced_image *image, const struct ng_mappings *mappings, struct ng_diag *diag)
{
	const struct ng_text_file file = ng_traced_image_file(image);
	struct ng_armed *armed = NULL;
	int error;

	if (!image->sites.count || ng_tracked_has_image(tracked, image))
		return 0;
	if (session->options.engine != NG_ENGINE_UPROBE)
		return ng_session_inline_arm(session, tracked, image, mappings, diag);
	error = ng_text_check(tracked->pid, mappings, &file, &image->sites, diag);
	if (!error && tracked->origin != NG_ORIGIN_IMAGE)
		error = ng_uprobe_arm(session->engine, tracked->pid, ng_traced_image_numbers(image),
			tracked->origin == NG_ORIGIN_COMMAND, &armed, diag);
	if (!error)
		error = ng_tracked_add_image(tracked, image, armed);
	return error;
}

int ng_session_arm_mappings(
	struct ng_session *session, struct ng_tracked *tracked, struct ng_diag *diag)
{
	struct ng_mappings mappings = NG_MAPPINGS_INIT;
	int error = ng_process_mappings(tracked->pid, &mappings);

	if (error)
		return ng_diag_set(diag, error, "process %d has exited", tracked->pid);
	if (session->kernel && !ng_tracked_has_image(tracked, session->kernel))
		error = ng_tracked_add_image(tracked, session->kernel, NULL);
	if (!error && tracked->main)
		error = arm_image(session, tracked, tracked->main, &mappings, diag);
	for (size_t i = 0; !error && i < mappings.count; i++) {
		struct ng_traced_image *image;

		if (tracked->origin == NG_ORIGIN_IMAGE) {
			/* Armed are the files that were asked for; others have names for stacks. */
			if (session->options.on_call)
				(void)prepare_mapping(
					session, tracked->pid, &mappings.items[i], &image, NULL);
			continue;
		}
		error = prepare_mapping(session, tracked->pid, &mappings.items[i], &image, diag);
		if (!error && image)
			error = arm_image(session, tracked, image, &mappings, diag);
	}
	tracked->mapping_count = mappings.count;
	ng_mappings_release(&tracked->mappings);
	tracked->mappings = mappings;
	return error;
}

int ng_session_prepare_main(
	struct ng_session *session, struct ng_tracked *tracked, struct ng_diag *diag)
{
	char path[PATH_MAX];
	NG_CLEANUP_CLOSE int fd = ng_process_open_image(tracked->pid, diag);
	int error;

	if (fd < 0)
		return fd;
	ng_process_image_path(tracked->pid, path, sizeof(path));
	error = ng_tracked_set_exe(tracked, path);
	if (error)
		return error;
	return ng_images_prepare(&session->images, session->engine, &session->options.wanted, fd,
		path, &tracked->main, diag);
}
