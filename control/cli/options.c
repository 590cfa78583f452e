#include "control/cli/options.h"

#include <string.h>

#include "control/cli/commands.h"
#include "core/base/clock.h"
#include "core/base/number.h"

#define PID_MAX 4194304 /* the kernel's PID_MAX_LIMIT */
#define YEAR_NS (365 * 86400 * NG_NS_PER_S)

static int find_option(
	const struct ng_options *options, const char *argument, const char **ret_value)
{
	const char *name = argument + 2;
	size_t length = strcspn(name, "=");

	*ret_value = NULL;
	for (size_t i = 0; i < options->count; i++) {
		const struct ng_option *option = &options->table[i];

		if (argument[1] == '-') {
			if (strlen(option->name) != length || strncmp(option->name, name, length))
				continue;
			*ret_value = name[length] ? name + length + 1 : NULL;
			return (int)i;
		}
		if (option->letter == argument[1]) {
			*ret_value = argument[2] ? argument + 2 : NULL;
			return (int)i;
		}
	}
	return NG_OPTIONS_ERROR;
}

int ng_options_next(struct ng_options *options)
{
	const struct ng_option *option;
	const char *argument;
	int index;

	if (options->next >= options->argc)
		return NG_OPTIONS_END;
	argument = options->argv[options->next];
	if (argument[0] != '-' || !argument[1])
		return NG_OPTIONS_END;
	options->next++;
	if (!strcmp(argument, "--"))
		return NG_OPTIONS_END;
	index = find_option(options, argument, &options->value);
	if (index < 0) {
		(void)ng_complain_usage(options->command, "there is no option '%s'", argument);
		return NG_OPTIONS_ERROR;
	}
	option = &options->table[index];
	if (options->seen[index] && !option->repeats) {
		(void)ng_complain_usage(options->command, "--%s is given twice", option->name);
		return NG_OPTIONS_ERROR;
	}
	options->seen[index] = true;
	if (option->value == NG_OPTION_FLAG && options->value) {
		(void)ng_complain_usage(options->command, "--%s takes no value", option->name);
		return NG_OPTIONS_ERROR;
	}
	if (option->value == NG_OPTION_VALUE && !options->value) {
		if (options->next >= options->argc) {
			(void)ng_complain_usage(
				options->command, "--%s needs a value", option->name);
			return NG_OPTIONS_ERROR;
		}
		options->value = options->argv[options->next++];
	}
	return index;
}

int ng_options_each(struct ng_options *options, ng_options_take take, void *context)
{
	int index, code = 0;

	while (!code && (index = ng_options_next(options)) >= 0)
		code = take(index, options->value, context);
	return !code && index == NG_OPTIONS_ERROR ? NG_EXIT_USAGE : code;
}

int ng_option_pid(const char *command, const char *text, pid_t *ret_pid)
{
	const struct ng_range range = {1, PID_MAX};
	struct ng_diag diag = NG_DIAG_INIT;
	uint64_t pid;

	if (ng_number_parse(text, range, &pid, &diag))
		return ng_complain_usage(command, "--pid: %s", diag.text);
	*ret_pid = (pid_t)pid;
	return 0;
}

int ng_option_duration(const char *command, const char *name, const char *text, uint64_t *ret_ns)
{
	const struct ng_range range = {10 * NG_NS_PER_MS, YEAR_NS};
	struct ng_diag diag = NG_DIAG_INIT;

	if (ng_duration_parse(text, range, ret_ns, &diag))
		return ng_complain_usage(command, "--%s: %s", name, diag.text);
	return 0;
}
