/*
 * Any bytes as a configuration: it is refused with file and line, or everything in it is within its
 * bounds; and against itself and against the defaults a reload changes what it must.
 */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "control/daemon/address.h"
#include "control/daemon/config.h"
#include "tests/fuzz/must.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_attach(const struct ng_config_attach *attach)
{
	const struct ng_settings *settings = &attach->settings;

	MUST(attach->name[0] && strlen(attach->name) < NG_CONFIG_NAME_MAX);
	MUST(!ng_selector_is_empty(&attach->select) && !attach->select.all);
	MUST(attach->functions.count <= NG_NAMES_MAX);
	MUST(settings->mode == NG_MODE_OFF || settings->mode == NG_MODE_COUNT ||
		settings->mode == NG_MODE_SAMPLED);
	MUST(settings->budget_ratio >= NG_BUDGET_MIN && settings->budget_ratio <= NG_BUDGET_MAX);
	MUST(settings->rate_ratio >= 0 && settings->rate_ratio <= 1);
	MUST(!settings->lease_ns && !settings->events);
	MUST(!settings->exact || settings->mode == NG_MODE_COUNT);
}

static void check_trigger(const struct ng_config_trigger *trigger)
{
	MUST(trigger->above_hz > 0 || trigger->below_hz > 0 || trigger->factor > 1);
	MUST(trigger->lease_ns > 0 && trigger->lease_ns <= NG_LEASE_MAX_NS);
	MUST(trigger->max_per_hour > 0);
}

static void check_config(const struct ng_config *config)
{
	struct ng_address address;

	MUST(config->socket_path[0] == '/' && config->state_dir[0] == '/');
	MUST(config->budget_ratio >= NG_BUDGET_MIN && config->budget_ratio <= NG_BUDGET_MAX);
	MUST(config->max_budget_ratio == 0 || (config->max_budget_ratio >= NG_BUDGET_MIN &&
						      config->max_budget_ratio <= NG_BUDGET_MAX));
	MUST((unsigned int)config->log_level < NG_LOG_LEVELS);
	MUST(!config->metrics || !ng_address_parse(config->metrics, &address, NULL));
	MUST(config->metrics_targets <= NG_METRICS_TARGETS_MAX);
	MUST(config->attach_count <= NG_CONFIG_SECTIONS_MAX);
	MUST(config->trigger_count <= NG_CONFIG_SECTIONS_MAX);
	for (size_t i = 0; i < config->attach_count; i++)
		check_attach(&config->attaches[i]);
	for (size_t i = 0; i < config->trigger_count; i++)
		check_trigger(&config->triggers[i]);
}

static void check_diffs(const struct ng_config *config)
{
	struct ng_config defaults;
	struct ng_config_diff diff;

	MUST(ng_config_diff(config, config, &diff) == 0);
	MUST(!diff.change_count && !diff.triggers && !diff.limits && !diff.needs_restart);
	ng_config_diff_release(&diff);
	MUST(ng_config_init(&defaults) == 0);
	MUST(ng_config_diff(&defaults, config, &diff) == 0);
	MUST(diff.change_count == config->attach_count);
	MUST(diff.triggers == (config->trigger_count != 0));
	for (size_t i = 0; i < diff.change_count; i++)
		MUST(diff.changes[i].kind == NG_CONFIG_ADDED);
	ng_config_diff_release(&diff);
	ng_config_release(&defaults);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ng_diag diag = NG_DIAG_INIT;
	struct ng_config config;
	char *text = malloc(size ? size : 1); /* of that size exactly, for ASan */
	int error;

	MUST(text);
	memcpy(text, data, size);
	MUST(ng_config_init(&config) == 0);
	error = ng_config_add(&config, "F", text, size, &diag);
	MUST(error == 0 || error == -EINVAL || error == -E2BIG);
	if (!error)
		error = ng_config_finish(&config, &diag);
	if (error) {
		MUST(!strncmp(diag.text, "F:", 2) && diag.text[2] >= '1' && diag.text[2] <= '9');
	} else {
		MUST(!diag.text[0]);
		check_config(&config);
		check_diffs(&config);
	}
	ng_config_release(&config);
	free(text);
	return 0;
}
