#include "control/plane/inspect.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/target/process.h"
#include "control/target/text.h"
#include "core/base/cleanup.h"

void ng_inspected_release(struct ng_inspected *inspected)
{
	free(inspected->images);
	ng_mappings_release(&inspected->mappings);
	*inspected = (struct ng_inspected)NG_INSPECTED_INIT;
}

static int take_image(struct ng_inspected *inspected, struct ng_traced_image *image)
{
	struct ng_traced_image **grown;

	for (size_t i = 0; i < inspected->count; i++) {
		if (inspected->images[i] == image)
			return 0;
	}
	grown = reallocarray(
		inspected->images, inspected->count + 1, sizeof(struct ng_traced_image *));
	if (!grown)
		return -ENOMEM;
	inspected->images = grown;
	grown[inspected->count++] = image;
	return 0;
}

static int take_if_wanted(struct ng_inspected *inspected, pid_t pid,
	const struct ng_mappings *mappings, struct ng_traced_image *image, struct ng_diag *diag)
{
	const struct ng_text_file file = ng_traced_image_file(image);
	int error;

	if (!image->sites.count)
		return 0;
	error = ng_text_check(pid, mappings, &file, &image->sites, diag);
	return error ? error : take_image(inspected, image);
}

/* A library that cannot be opened has nothing for us. */
static int prepare_mapping(struct ng_images *images, struct ng_uprobe *engine,
	const struct ng_wanted *wanted, pid_t pid, const struct ng_mapping *mapping,
	struct ng_traced_image **ret_image, struct ng_diag *diag)
{
	*ret_image = ng_images_by_key(images, mapping->device, mapping->inode);
	if (*ret_image)
		return 0;
	NG_CLEANUP_CLOSE int fd = ng_process_open_mapping(pid, mapping);
	if (fd < 0)
		return 0;
	return ng_images_prepare(images, engine, wanted, fd, mapping->path, ret_image, diag);
}

/* Why a process has nothing wanted: in the words of a library that had it in a form that cannot be
 * probed, or of its executable. */
static int explain_nothing(const struct ng_images *images, const struct ng_wanted *wanted,
	const struct ng_mappings *mappings, const struct ng_traced_image *main, const char *exe,
	struct ng_diag *diag)
{
	for (size_t i = 0; i < mappings->count; i++) {
		const struct ng_traced_image *image = ng_images_by_key(
			images, mappings->items[i].device, mappings->items[i].inode);

		if (image && image->image && image->error == -ENOTSUP)
			return ng_diag_set(
				diag, image->error, "%s: %s", image->path, image->diag.text);
	}
	if (wanted->clock)
		return ng_diag_set(diag, -ENOENT, "%s: reads no clock that can be probed", exe);
	return ng_traced_image_explain(main, wanted->functions[0], diag);
}

int ng_inspect(struct ng_images *images, struct ng_uprobe *engine, const struct ng_wanted *wanted,
	pid_t pid, struct ng_inspected *ret_inspected, struct ng_diag *diag)
{
	struct ng_inspected inspected = NG_INSPECTED_INIT;
	struct ng_traced_image *main = NULL;
	NG_CLEANUP_CLOSE int fd = ng_process_open_image(pid, diag);
	int error;

	if (fd < 0)
		return fd;
	ng_process_image_path(pid, inspected.exe, sizeof(inspected.exe));
	error = ng_images_prepare(images, engine, wanted, fd, inspected.exe, &main, diag);
	if (!error && ng_process_mappings(pid, &inspected.mappings))
		error = ng_diag_set(diag, -ESRCH, "process %d has exited", pid);
	if (!error)
		error = take_if_wanted(&inspected, pid, &inspected.mappings, main, diag);
	for (size_t i = 0; !error && i < inspected.mappings.count; i++) {
		struct ng_traced_image *image;

		error = prepare_mapping(
			images, engine, wanted, pid, &inspected.mappings.items[i], &image, diag);
		if (!error && image)
			error = take_if_wanted(&inspected, pid, &inspected.mappings, image, diag);
	}
	if (!error && !inspected.count)
		error = explain_nothing(
			images, wanted, &inspected.mappings, main, inspected.exe, diag);
	if (error) {
		ng_inspected_release(&inspected);
		return error;
	}
	*ret_inspected = inspected;
	return 0;
}
