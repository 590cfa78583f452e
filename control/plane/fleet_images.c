#include "control/plane/fleet_images.h"

#include <stddef.h>
#include <string.h>

#include "core/base/clock.h"

#define PRUNE_NS NG_NS_PER_S

/* Images of a catalog that have nothing wanted are remembered as such, so many of them. */
#define EMPTY_IMAGES_MAX 256

/* Somebody waits to write to it: its processes are let go, and then the file. */
static void yield_file(struct ng_fleet *fleet, struct ng_traced_image *image)
{
	bool is_used = false;

	for (size_t i = 0; i < fleet->entry_count; i++) {
		struct fleet_entry *entry = &fleet->entries[i];

		if (!ng_member_uses(entry->member, image))
			continue;
		entry->is_wanted_again = false;
		if (entry->attachment)
			ng_fleet_note(fleet, "process %d is detached: somebody writes to %s",
				ng_member_pid(entry->member), image->path);
		entry->attachment = 0;
		ng_member_leave(entry->member);
		is_used |= !ng_member_is_idle(entry->member);
	}
	if (!is_used)
		ng_traced_image_let_go(image);
}

void ng_fleet_yield_files(struct ng_fleet *fleet)
{
	for (size_t i = 0; i < fleet->catalogs.count; i++) {
		const struct ng_images *images = &fleet->catalogs.items[i]->images;

		for (size_t k = 0; k < images->count; k++) {
			if (ng_traced_image_is_contested(images->items[k]))
				yield_file(fleet, images->items[k]);
		}
	}
}

static bool is_used(const struct ng_fleet *fleet, const struct ng_traced_image *image)
{
	for (size_t i = 0; i < fleet->entry_count; i++) {
		if (ng_member_uses(fleet->entries[i].member, image))
			return true;
	}
	return false;
}

static bool is_to_go(const struct ng_fleet *fleet, const struct ng_images *images, size_t index)
{
	const struct ng_traced_image *image = images->items[index];

	if (!image->sites.count)
		return images->count > EMPTY_IMAGES_MAX || ng_traced_image_is_stale(image);
	return ng_traced_image_is_stale(image) && !is_used(fleet, image);
}

/* @return one that is to go, taken off its list; NULL */
static struct ng_traced_image *take_image(struct ng_fleet *fleet)
{
	for (size_t i = 0; i < fleet->catalogs.count; i++) {
		struct ng_images *images = &fleet->catalogs.items[i]->images;

		for (size_t k = 0; k < images->count; k++) {
			struct ng_traced_image *image = images->items[k];

			if (!is_to_go(fleet, images, k))
				continue;
			images->count--;
			memmove(&images->items[k], &images->items[k + 1],
				(images->count - k) * sizeof(struct ng_traced_image *));
			return image;
		}
	}
	return NULL;
}

static void run_pruning(struct ng_job *job)
{
	struct fleet_pruning *pruning =
		(struct fleet_pruning *)((char *)job - offsetof(struct fleet_pruning, job));

	ng_uprobe_remove_sites(pruning->engine, ng_traced_image_numbers(pruning->image));
}

void ng_fleet_prune_images(struct ng_fleet *fleet, uint64_t now_ns)
{
	struct fleet_pruning *pruning = &fleet->pruning;

	if (pruning->image || now_ns < pruning->due_ns)
		return;
	pruning->image = take_image(fleet);
	if (!pruning->image) {
		pruning->due_ns = now_ns + PRUNE_NS;
		return;
	}
	pruning->engine = fleet->engine;
	pruning->job = (struct ng_job){.kind = NG_JOB_DISARM, .run = run_pruning};
	ng_workers_post(fleet->workers, &pruning->job);
}

bool ng_fleet_collect_image(struct ng_fleet *fleet, const struct ng_job *job)
{
	struct fleet_pruning *pruning = &fleet->pruning;

	if (job != &pruning->job)
		return false;
	ng_uprobe_reuse_sites(fleet->engine, ng_traced_image_numbers(pruning->image));
	ng_traced_image_free(pruning->image);
	pruning->image = NULL;
	return true;
}
