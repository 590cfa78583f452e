#include "control/cli/targets.h"

#include <string.h>

#include "control/cli/commands.h"

static int add_text(const char *list[], size_t *count, const char *command, const char *option,
	const char *text)
{
	if (!*text)
		return ng_complain_usage(command, "--%s needs a value that is not empty", option);
	for (size_t i = 0; i < *count; i++) {
		if (!strcmp(list[i], text))
			return ng_complain_usage(command, "--%s %s is given twice", option, text);
	}
	if (*count == NG_TARGETS_LIST_MAX)
		return ng_complain_usage(
			command, "--%s stands more than %d times", option, NG_TARGETS_LIST_MAX);
	list[(*count)++] = text;
	return 0;
}

int ng_targets_add_function(struct ng_targets *targets, const char *command, const char *text)
{
	return add_text(targets->functions, &targets->function_count, command, "func", text);
}

int ng_targets_add_exe(struct ng_targets *targets, const char *command, const char *text)
{
	return add_text(targets->exes, &targets->exe_count, command, "exe", text);
}

int ng_targets_add_pid(struct ng_targets *targets, const char *command, const char *text)
{
	pid_t pid;
	const int code = ng_option_pid(command, text, &pid);

	if (code)
		return code;
	for (size_t i = 0; i < targets->pid_count; i++) {
		if (targets->pids[i] == pid)
			return ng_complain_usage(command, "--pid %s is given twice", text);
	}
	if (targets->pid_count == NG_TARGETS_LIST_MAX)
		return ng_complain_usage(
			command, "--pid stands more than %d times", NG_TARGETS_LIST_MAX);
	targets->pids[targets->pid_count++] = pid;
	return 0;
}

int ng_targets_set_engine(struct ng_targets *targets, const char *command, const char *text)
{
	if (!strcmp(text, "uprobe"))
		targets->engine = NG_ENGINE_UPROBE;
	else if (!strcmp(text, "inline"))
		targets->engine = NG_ENGINE_INLINE;
	else if (!strcmp(text, "inline=prologue"))
		targets->engine = NG_ENGINE_INLINE_PROLOGUE;
	else
		return ng_complain_usage(
			command, "--engine %s: it can be uprobe, inline or inline=prologue", text);
	return 0;
}

int ng_targets_finish(struct ng_targets *targets, const struct ng_options *options)
{
	if (options->next < options->argc) {
		if (strcmp(options->argv[options->next - 1], "--"))
			return ng_complain_usage(options->command,
				"'%s' is no option: a command stands after --",
				options->argv[options->next]);
		targets->command = options->argv + options->next;
	}
	if (!targets->command && !targets->pid_count && !targets->exe_count)
		return ng_complain_usage(options->command,
			"nothing to trace: give -p PID, --exe PATH or -- COMMAND");
	if (targets->command && (targets->pid_count || targets->exe_count))
		return ng_complain_usage(options->command,
			"a command does not go with --pid or --exe: one at a time");
	if (targets->engine != NG_ENGINE_UPROBE && !targets->pid_count)
		return ng_complain_usage(options->command,
			"--engine inline goes with --pid: it changes one running process");
	return 0;
}

struct ng_run_options ng_targets_run_options(const struct ng_targets *targets, const char *name)
{
	return (struct ng_run_options){.name = name,
		.wanted = {.functions = targets->functions,
			.function_count = targets->function_count},
		.pids = targets->pids,
		.pid_count = targets->pid_count,
		.exes = targets->exes,
		.exe_count = targets->exe_count,
		.command = targets->command,
		.engine = targets->engine};
}
