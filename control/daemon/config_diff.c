/* What a reload changes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/daemon/config.h"

static bool is_same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static bool is_same_target(const struct ng_config_attach *a, const struct ng_config_attach *b)
{
	return ng_selector_equals(&a->select, &b->select) &&
	       ng_names_equal(&a->functions, &b->functions);
}

static bool has_same_settings(const struct ng_config_attach *a, const struct ng_config_attach *b)
{
	const struct ng_settings *x = &a->settings, *y = &b->settings;

	return x->mode == y->mode && x->budget_ratio == y->budget_ratio &&
	       x->lease_ns == y->lease_ns && x->events == y->events &&
	       x->rate_ratio == y->rate_ratio && x->exact == y->exact && x->record == y->record &&
	       x->follow_forks == y->follow_forks;
}

static bool is_same_trigger(const struct ng_config_trigger *a, const struct ng_config_trigger *b)
{
	return !strcmp(a->name, b->name) && is_same_text(a->attach, b->attach) &&
	       a->above_hz == b->above_hz && a->below_hz == b->below_hz && a->factor == b->factor &&
	       a->lease_ns == b->lease_ns && a->events == b->events &&
	       a->cool_down_ns == b->cool_down_ns && a->max_per_hour == b->max_per_hour;
}

/* Both are in the order of names. */
static bool has_same_triggers(const struct ng_config *a, const struct ng_config *b)
{
	if (a->trigger_count != b->trigger_count)
		return false;
	for (size_t i = 0; i < a->trigger_count; i++) {
		if (!is_same_trigger(&a->triggers[i], &b->triggers[i]))
			return false;
	}
	return true;
}

static const struct ng_config_attach *find(const struct ng_config *config, const char *name)
{
	for (size_t i = 0; i < config->attach_count; i++) {
		if (!strcmp(config->attaches[i].name, name))
			return &config->attaches[i];
	}
	return NULL;
}

static void add(struct ng_config_diff *diff, enum ng_config_change_kind kind,
	const struct ng_config_attach *before, const struct ng_config_attach *after)
{
	diff->changes[diff->change_count++] = (struct ng_config_change){.kind = kind,
		.before = before,
		.after = after,
		.is_settings_only = before && after && is_same_target(before, after)};
}

int ng_config_diff(const struct ng_config *before, const struct ng_config *after,
	struct ng_config_diff *ret_diff)
{
	struct ng_config_diff diff = {
		.triggers = !has_same_triggers(before, after),
		.limits = before->budget_ratio != after->budget_ratio ||
			  before->max_budget_ratio != after->max_budget_ratio,
		.needs_restart = !is_same_text(before->socket_path, after->socket_path) ||
				 !is_same_text(before->state_dir, after->state_dir) ||
				 !is_same_text(before->metrics, after->metrics),
	};

	diff.changes =
		calloc(before->attach_count + after->attach_count + 1, sizeof(*diff.changes));
	if (!diff.changes)
		return -ENOMEM;
	for (size_t i = 0; i < before->attach_count; i++) {
		if (!find(after, before->attaches[i].name))
			add(&diff, NG_CONFIG_REMOVED, &before->attaches[i], NULL);
	}
	for (size_t i = 0; i < before->attach_count; i++) {
		const struct ng_config_attach *attach = &before->attaches[i];
		const struct ng_config_attach *now = find(after, attach->name);

		if (now && !(is_same_target(attach, now) && has_same_settings(attach, now)))
			add(&diff, NG_CONFIG_CHANGED, attach, now);
	}
	for (size_t i = 0; i < after->attach_count; i++) {
		if (!find(before, after->attaches[i].name))
			add(&diff, NG_CONFIG_ADDED, NULL, &after->attaches[i]);
	}
	*ret_diff = diff;
	return 0;
}

void ng_config_diff_release(struct ng_config_diff *diff)
{
	free(diff->changes);
	*diff = (struct ng_config_diff){0};
}
