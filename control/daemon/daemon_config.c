#include "control/daemon/daemon_config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/daemon/daemon_triggers.h"

int ng_daemon_load_config(
	const struct ng_daemon *daemon, struct ng_config *ret_config, struct ng_diag *diag)
{
	const struct ng_daemon_options *options = &daemon->options;
	const char *folder = options->config_folder;
	int error;

	if (!folder && !options->config_path)
		folder = NG_CONFIG_FOLDER;
	error = ng_config_load(options->config_path ? options->config_path : NG_CONFIG_PATH,
		options->config_path != NULL, folder, ret_config, diag);
	if (error)
		return error;
	if (options->socket_path) {
		free(ret_config->socket_path);
		ret_config->socket_path = strdup(options->socket_path);
	}
	if (options->state_dir) {
		free(ret_config->state_dir);
		ret_config->state_dir = strdup(options->state_dir);
	}
	if (ret_config->socket_path && ret_config->state_dir)
		return 0;
	ng_config_release(ret_config);
	return -ENOMEM;
}

struct daemon_section *ng_daemon_section(struct ng_daemon *daemon, const char *name)
{
	for (size_t i = 0; i < daemon->section_count; i++) {
		if (!strcmp(daemon->sections[i].name, name))
			return &daemon->sections[i];
	}
	return NULL;
}

void ng_daemon_attach_section(struct ng_daemon *daemon, const struct ng_config_attach *from)
{
	struct daemon_section *grown =
		reallocarray(daemon->sections, daemon->section_count + 1, sizeof(*grown));
	struct ng_diag diag = NG_DIAG_INIT;
	size_t count;
	int error = grown ? 0 : -ENOMEM;

	if (grown) {
		daemon->sections = grown;
		grown += daemon->section_count;
		memcpy(grown->name, from->name, sizeof(grown->name));
		error = ng_daemon_attach(daemon, &from->select, &from->functions, &from->settings,
			&grown->id, &count, &diag);
	}
	if (error) {
		ng_daemon_log(daemon, NG_LOG_ERROR, "%s:%u: [attach %s]: %s", from->place.file,
			from->place.line, from->name, diag.text[0] ? diag.text : strerror(-error));
		return;
	}
	daemon->section_count++;
	ng_daemon_log(daemon, NG_LOG_INFO, "[attach %s]: %zu processes", from->name, count);
}

static void detach_section(struct ng_daemon *daemon, const char *name)
{
	struct daemon_section *section = ng_daemon_section(daemon, name);

	if (!section)
		return; /* it could not be attached */
	(void)ng_fleet_detach(daemon->fleet, section->id, NULL);
	*section = daemon->sections[--daemon->section_count];
}

static void change_section(struct ng_daemon *daemon, const struct ng_config_change *change)
{
	const struct daemon_section *section =
		change->before ? ng_daemon_section(daemon, change->before->name) : NULL;

	if (change->kind == NG_CONFIG_CHANGED && change->is_settings_only && section) {
		ng_fleet_resettle(daemon->fleet, section->id, &change->after->settings);
		return;
	}
	if (change->before)
		detach_section(daemon, change->before->name);
	if (change->after)
		ng_daemon_attach_section(daemon, change->after);
}

static void swap_texts(char **a, char **b)
{
	char *kept = *a;

	*a = *b;
	*b = kept;
}

/* What listens stays where it is, and the state beside what is in it. */
static void keep_places(struct ng_daemon *daemon, struct ng_config *after)
{
	ng_daemon_log(daemon, NG_LOG_WARNING,
		"another socket, state_dir or metrics holds from the next start on");
	swap_texts(&daemon->config.socket_path, &after->socket_path);
	swap_texts(&daemon->config.state_dir, &after->state_dir);
	swap_texts(&daemon->config.metrics, &after->metrics);
}

void ng_daemon_reload(struct ng_daemon *daemon)
{
	struct ng_config after;
	struct ng_config_diff diff;
	struct ng_diag diag = NG_DIAG_INIT;
	int error;

	(void)ng_notify_reloading(&daemon->notify); /* nobody listens: then nobody is told */
	error = ng_daemon_load_config(daemon, &after, &diag);
	if (!error)
		error = ng_config_diff(&daemon->config, &after, &diff);
	if (error) {
		ng_daemon_log(daemon, NG_LOG_ERROR,
			"the configuration is not reloaded, the old one holds: %s",
			diag.text[0] ? diag.text : strerror(-error));
		(void)ng_notify_ready(&daemon->notify);
		return;
	}
	for (size_t i = 0; i < diff.change_count; i++)
		change_section(daemon, &diff.changes[i]);
	if (diff.needs_restart)
		keep_places(daemon, &after);
	if (diff.triggers)
		ng_daemon_forget_watched(daemon);
	ng_daemon_log(daemon, NG_LOG_INFO, "reloaded: %zu sections changed", diff.change_count);
	ng_config_diff_release(&diff);
	ng_config_release(&daemon->config);
	daemon->config = after;
	(void)ng_notify_ready(&daemon->notify);
}
