#include "control/plane/tracked.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/target/text.h"

static void tracked_free(struct ng_tracked *tracked)
{
	ng_tracked_disarm(tracked);
	ng_mappings_release(&tracked->mappings);
	free(tracked->images);
	free(tracked->armed);
	free(tracked->exe);
	free(tracked);
}

void ng_tracked_list_release(struct ng_tracked_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		tracked_free(list->items[i]);
	free(list->items);
	free(list->children);
	*list = (struct ng_tracked_list){0};
}

struct ng_tracked *ng_tracked_add(
	struct ng_tracked_list *list, const struct ng_process *process, enum ng_origin origin)
{
	struct ng_tracked **grown =
		reallocarray(list->items, list->count + 1, sizeof(struct ng_tracked *));
	struct ng_tracked *tracked;

	if (!grown)
		return NULL;
	list->items = grown;
	tracked = calloc(1, sizeof(*tracked));
	if (!tracked)
		return NULL;
	tracked->pid = process->pid;
	tracked->parent = process->parent;
	tracked->start_ticks = process->start_ticks;
	tracked->origin = origin;
	list->items[list->count++] = tracked;
	return tracked;
}

void ng_tracked_drop(struct ng_tracked_list *list, struct ng_tracked *tracked)
{
	list->count--; /* it is the newest */
	tracked_free(tracked);
}

struct ng_tracked *ng_tracked_find(
	const struct ng_tracked_list *list, pid_t pid, uint64_t start_ticks)
{
	for (size_t i = list->count; i > 0; i--) {
		struct ng_tracked *tracked = list->items[i - 1];

		if (tracked->pid == pid && tracked->start_ticks == start_ticks && !tracked->ended)
			return tracked;
	}
	return NULL;
}

struct ng_tracked *ng_tracked_by_event(
	const struct ng_tracked_list *list, const struct ng_proc_event *event, uint32_t tgid)
{
	for (size_t i = list->count; i > 0; i--) {
		struct ng_tracked *tracked = list->items[i - 1];

		if (tracked->pid != (pid_t)tgid || tracked->ended)
			continue;
		/* A parent's start time is not in the event; but it lived when it forked. */
		if (tgid == event->tgid &&
			tracked->start_ticks != ng_process_ticks(event->start_ns))
			continue;
		return tracked;
	}
	return NULL;
}

int ng_tracked_set_exe(struct ng_tracked *tracked, const char *exe)
{
	free(tracked->exe);
	tracked->exe = strdup(exe);
	return tracked->exe ? 0 : -ENOMEM;
}

int ng_tracked_add_image(
	struct ng_tracked *tracked, struct ng_traced_image *image, struct ng_armed *armed)
{
	size_t count = tracked->image_count + 1;
	struct ng_traced_image **images =
		reallocarray(tracked->images, count, sizeof(struct ng_traced_image *));
	struct ng_armed **arms;

	if (images)
		tracked->images = images;
	arms = reallocarray(tracked->armed, count, sizeof(struct ng_armed *));
	if (arms)
		tracked->armed = arms;
	if (!images || !arms) {
		ng_armed_free(armed);
		return -ENOMEM;
	}
	tracked->images[tracked->image_count] = image;
	tracked->armed[tracked->image_count++] = armed;
	return 0;
}

bool ng_tracked_has_image(const struct ng_tracked *tracked, const struct ng_traced_image *image)
{
	for (size_t i = 0; i < tracked->image_count; i++) {
		if (tracked->images[i] == image)
			return true;
	}
	return false;
}

int ng_tracked_inherit(struct ng_tracked *tracked, const struct ng_tracked *from)
{
	int error = tracked->exe || !from->exe ? 0 : ng_tracked_set_exe(tracked, from->exe);

	if (!tracked->main)
		tracked->main = from->main;
	tracked->mapping_count = from->mapping_count;
	if (!error && !tracked->mappings.count)
		error = ng_mappings_copy(&from->mappings, &tracked->mappings);
	for (size_t i = 0; !error && i < from->image_count; i++)
		error = ng_tracked_add_image(tracked, from->images[i], NULL);
	return error;
}

void ng_tracked_note_child(struct ng_tracked_list *list, const struct ng_tracked *parent,
	const struct ng_proc_event *event)
{
	struct ng_child *grown;
	size_t index = 0;

	grown = reallocarray(list->children, list->child_count + 1, sizeof(*grown));
	if (!grown)
		return;
	while (list->items[index] != parent)
		index++;
	list->children = grown;
	grown[list->child_count++] = (struct ng_child){.pid = (pid_t)event->tgid,
		.start_ns = event->start_ns,
		.exec_id = event->exec_id,
		.parent = index};
}

void ng_tracked_gap(struct ng_tracked *tracked, const char *why)
{
	if (!tracked->gap)
		tracked->gap = why;
}

void ng_tracked_check_text(struct ng_tracked *tracked)
{
	struct ng_mappings mappings = NG_MAPPINGS_INIT;

	if (tracked->is_inline || ng_process_mappings(tracked->pid, &mappings))
		return;
	for (size_t i = 0; i < tracked->image_count; i++) {
		const struct ng_traced_image *image = tracked->images[i];
		const struct ng_text_file file = ng_traced_image_file(image);

		if (ng_text_is_bare(tracked->pid, &mappings, &file, &image->sites))
			ng_tracked_gap(tracked, "a breakpoint was gone from its code: calls after "
						"that were not counted");
	}
	ng_mappings_release(&mappings);
}

void ng_tracked_give_up(struct ng_tracked *tracked, const struct ng_traced_image *image)
{
	for (size_t i = 0; i < tracked->image_count; i++) {
		if (tracked->images[i] != image)
			continue;
		ng_armed_free(tracked->armed[i]);
		tracked->armed[i] = NULL;
		if (!tracked->ended)
			ng_tracked_gap(tracked,
				"its file was overwritten meanwhile: its calls from then on were "
				"not counted");
	}
}

void ng_tracked_end(struct ng_tracked *tracked, uint64_t time_ns, uint64_t cpu_ns)
{
	/* It may have ended before the counting began. */
	if (!tracked->disarmed_at_ns)
		tracked->disarmed_at_ns =
			time_ns > tracked->armed_at_ns ? time_ns : tracked->armed_at_ns;
	if (cpu_ns > tracked->cpu_end_ns)
		tracked->cpu_end_ns = cpu_ns;
	tracked->ended = true;
}

int ng_tracked_find_dead(const struct ng_tracked *tracked)
{
	for (size_t i = 0; i < tracked->image_count; i++) {
		if (tracked->armed[i] && ng_armed_is_dead(tracked->armed[i]))
			return (int)i;
	}
	return -1;
}

void ng_tracked_disarm(struct ng_tracked *tracked)
{
	for (size_t i = 0; i < tracked->image_count; i++) {
		ng_armed_free(tracked->armed[i]);
		tracked->armed[i] = NULL;
	}
}

/* Is this what a life was counted under? */
static bool is_counted_under(const struct ng_tracked *tracked, const struct ng_count_key *key)
{
	if (tracked->pid != (pid_t)key->tgid)
		return false;
	if (tracked->start_ns ? tracked->start_ns != key->start_ns
			      : tracked->start_ticks != ng_process_ticks(key->start_ns))
		return false;
	return !tracked->exec_id || tracked->exec_id == key->exec_id;
}

struct ng_tracked *ng_tracked_under(
	const struct ng_tracked_list *list, const struct ng_count_key *key)
{
	for (size_t i = 0; i < list->count; i++) {
		if (is_counted_under(list->items[i], key))
			return list->items[i];
	}
	return NULL;
}

static uint64_t calls_at(const struct ng_tracked *tracked, const struct ng_tallies *tallies,
	bool *claimed, uint32_t site)
{
	uint64_t calls = 0;

	for (size_t i = 0; i < tallies->count; i++) {
		if (tallies->items[i].key.site != site || claimed[i] ||
			!is_counted_under(tracked, &tallies->items[i].key))
			continue;
		calls += tallies->items[i].calls;
		claimed[i] = true;
	}
	return calls;
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

static struct ng_report_function *report_function(
	struct ng_report_target *target, const struct ng_site *site)
{
	struct ng_report_function *grown;

	for (size_t i = 0; i < target->function_count; i++) {
		struct ng_report_function *function = &target->functions[i];

		if (!strcmp(function->name, site->function) &&
			same_text(function->source, site->source))
			return function;
	}
	grown = reallocarray(target->functions, target->function_count + 1, sizeof(*grown));
	if (!grown)
		return NULL;
	target->functions = grown;
	grown += target->function_count++;
	*grown = (struct ng_report_function){
		.name = site->function, .source = site->source, .exact = true, .missing = ""};
	return grown;
}

static void set_inexact(struct ng_report_function *function, const char *why)
{
	if (function->exact)
		function->missing = why;
	function->exact = false;
}

static int report_site(struct ng_report_target *target, const struct ng_traced_image *image,
	const struct ng_site *site, uint64_t calls)
{
	struct ng_report_function *function = report_function(target, site);
	struct ng_report_site *grown;
	const char *gap;

	if (!function)
		return -ENOMEM;
	grown = reallocarray(function->sites, function->site_count + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	function->sites = grown;
	grown[function->site_count++] =
		(struct ng_report_site){.image = image, .site = site, .calls = calls};
	function->calls += calls;
	gap = ng_sites_gap(&image->sites, site->function);
	if (gap)
		set_inexact(function, gap);
	if (!site->exact)
		set_inexact(function, site->why);
	return 0;
}

static struct ng_report_target *add_target(struct ng_report *report)
{
	struct ng_report_target *grown =
		reallocarray(report->targets, report->target_count + 1, sizeof(*grown));

	if (!grown)
		return NULL;
	report->targets = grown;
	grown += report->target_count++;
	*grown = (struct ng_report_target){0};
	return grown;
}

/* What is told of a life, besides its counts. */
static void describe(
	const struct ng_tracked *tracked, uint64_t now_ns, struct ng_report_target *target)
{
	target->pid = tracked->pid;
	target->parent = tracked->origin == NG_ORIGIN_COMMAND ? tracked->parent : 0;
	target->origin = tracked->origin;
	target->exe = tracked->exe ? tracked->exe : "?";
	target->go_version = tracked->main && tracked->main->image
				     ? ng_image_info(tracked->main->image)->go_version
				     : "";
	target->armed_at_ns = tracked->armed_at_ns;
	target->disarmed_at_ns = tracked->disarmed_at_ns ? tracked->disarmed_at_ns : now_ns;
	if (tracked->cpu_end_ns > tracked->cpu_start_ns)
		target->cpu_ns = tracked->cpu_end_ns - tracked->cpu_start_ns;
	target->ended = tracked->ended;
}

static int report_life(const struct ng_tracked *tracked, const struct ng_tallies *tallies,
	bool *claimed, struct ng_report_target *target)
{
	int error = 0;

	for (size_t i = 0; i < tracked->image_count; i++) {
		const struct ng_traced_image *image = tracked->images[i];

		for (size_t k = 0; !error && k < image->sites.count; k++)
			error = report_site(target, image, &image->sites.items[k],
				calls_at(tracked, tallies, claimed, image->numbers[k]));
	}
	for (size_t i = 0; tracked->gap && i < target->function_count; i++)
		set_inexact(&target->functions[i], tracked->gap);
	return error;
}

/* A child that shared its parent's memory hit the parent's breakpoints in its own name. */
static int report_child(const struct ng_tracked_list *list, const struct ng_child *child,
	const struct ng_tallies *tallies, bool *claimed, uint64_t now_ns, struct ng_report *report)
{
	struct ng_tracked life = *list->items[child->parent];
	struct ng_report_target *target;
	bool any = false;

	for (size_t i = 0; i < tallies->count; i++)
		any |= !claimed[i] && (pid_t)tallies->items[i].key.tgid == child->pid &&
		       tallies->items[i].key.start_ns == child->start_ns;
	if (!any)
		return 0;
	life.parent = life.pid;
	life.pid = child->pid;
	life.start_ns = child->start_ns;
	life.exec_id = child->exec_id;
	life.origin = NG_ORIGIN_VFORK;
	life.cpu_end_ns = life.cpu_start_ns = 0;
	target = add_target(report);
	if (!target)
		return -ENOMEM;
	describe(&life, now_ns, target);
	target->parent = life.parent;
	return report_life(&life, tallies, claimed, target);
}

/* Whatever was lost can have been a call of any of them, or the child that made it. */
static void report_losses(struct ng_report *report)
{
	static const char *const causes[NG_LOST_CAUSES] = {
		[NG_LOST_COUNTS_FULL] = "there were too many processes to count for",
		[NG_LOST_TARGETS_FULL] = "there were too many processes to follow",
		[NG_LOST_EVENTS_FULL] = "processes started and ended faster than could be followed",
	}; /* the others do not make counts inexact */

	for (size_t cause = 0; cause < NG_LOST_CAUSES; cause++) {
		for (size_t i = 0; report->lost[cause] && causes[cause] && i < report->target_count;
			i++) {
			for (size_t k = 0; k < report->targets[i].function_count; k++)
				set_inexact(&report->targets[i].functions[k], causes[cause]);
		}
	}
}

int ng_tracked_report(struct ng_tracked_list *list, const struct ng_tallies *tallies,
	uint64_t now_ns, struct ng_report *report)
{
	bool *claimed = calloc(tallies->count + 1, sizeof(*claimed));
	int error = claimed ? 0 : -ENOMEM;

	for (size_t i = 0; !error && i < list->count; i++) {
		struct ng_report_target *target = add_target(report);

		if (!target) {
			error = -ENOMEM;
			break;
		}
		describe(list->items[i], now_ns, target);
		error = report_life(list->items[i], tallies, claimed, target);
	}
	for (size_t i = 0; !error && i < list->child_count; i++)
		error = report_child(list, &list->children[i], tallies, claimed, now_ns, report);
	for (size_t i = 0; !error && i < tallies->count; i++) {
		if (!claimed[i])
			report->foreign_calls += tallies->items[i].calls;
	}
	free(claimed);
	report_losses(report);
	return error;
}

void ng_report_release(struct ng_report *report)
{
	for (size_t i = 0; i < report->target_count; i++) {
		struct ng_report_target *target = &report->targets[i];

		for (size_t k = 0; k < target->function_count; k++)
			free(target->functions[k].sites);
		free(target->functions);
	}
	free(report->targets);
	*report = (struct ng_report)NG_REPORT_INIT;
}
