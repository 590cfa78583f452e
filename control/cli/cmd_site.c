/* nowgate site: where the probes of a function would go, and why there. */
#include "control/cli/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "control/cli/options.h"
#include "control/cli/site_print.h"
#include "control/target/process.h"
#include "core/base/cleanup.h"

#define COMMAND	     "site"
#define FUNCTION_MAX 256

static const char help[] =
	"Shows where a function would be probed, the code there, and why; and how the inline "
	"engine\n"
	"would enter it. Changes nothing, and needs no privilege for a file that you can read.\n"
	"\n"
	"Usage: nowgate site [OPTION...] FILE FUNC...\n"
	"       nowgate site [OPTION...] -p PID FUNC...\n"
	"\n"
	"FUNC is a function as its language writes it: time.Now, 'net/http.(*conn).serve',\n"
	"'main.Gen[...]', clock_gettime; or a glob, 'time.*'.\n"
	"\n"
	"  -p, --pid PID     the image that this process runs, be it deleted or replaced\n"
	"      --clock       in place of FUNC: the functions that read the clock, by source\n"
	"      --clock=all   the Go runtime's own reads too\n"
	"      --json        one JSON document\n"
	"  -h, --help\n"
	"\n"
	"Exit status: 0 done; 1 failed; 2 usage; 4 denied; 6 no such file, process or function.\n";

struct site_arguments {
	const char *operands[FUNCTION_MAX + 1]; /* FILE, unless there is a pid, then FUNC… */
	size_t operand_count;
	pid_t pid; /* 0: none */
	bool json;
	bool clock;
	bool help;
	enum ng_clock_set clock_set;
};

enum option_index {
	OPTION_PID,
	OPTION_CLOCK,
	OPTION_JSON,
	OPTION_HELP,
};

static const struct ng_option option_table[] = {
	[OPTION_PID] = {'p', "pid", NG_OPTION_VALUE, false},
	[OPTION_CLOCK] = {0, "clock", NG_OPTION_OPTIONAL, false},
	[OPTION_JSON] = {0, "json", NG_OPTION_FLAG, false},
	[OPTION_HELP] = {'h', "help", NG_OPTION_FLAG, false},
};

static int set_clock(struct site_arguments *arguments, const char *value)
{
	if (value && strcmp(value, "all") != 0)
		return ng_complain_usage(
			COMMAND, "--clock=%s: it is --clock or --clock=all", value);
	arguments->clock = true;
	arguments->clock_set = value ? NG_CLOCK_ALL : NG_CLOCK_PROGRAM;
	return 0;
}

static int take_option(struct site_arguments *arguments, int index, const char *value)
{
	switch (index) {
	case OPTION_PID:
		return ng_option_pid(COMMAND, value, &arguments->pid);
	case OPTION_CLOCK:
		return set_clock(arguments, value);
	case OPTION_JSON:
		arguments->json = true;
		return 0;
	default:
		arguments->help = true;
		return 0;
	}
}

static int add_operand(struct site_arguments *arguments, const char *text)
{
	if (!*text)
		return ng_complain_usage(COMMAND, "a file or function cannot be empty");
	if (arguments->operand_count > FUNCTION_MAX)
		return ng_complain_usage(COMMAND, "more than %d functions", FUNCTION_MAX);
	for (size_t i = arguments->pid ? 0 : 1; i < arguments->operand_count; i++) {
		if (!strcmp(arguments->operands[i], text))
			return ng_complain_usage(COMMAND, "%s is given twice", text);
	}
	arguments->operands[arguments->operand_count++] = text;
	return 0;
}

/* Options may stand behind operands too, up to a "--". */
static int read_arguments(int argc, char **argv, struct site_arguments *arguments)
{
	struct ng_options options = NG_OPTIONS_INIT(COMMAND, option_table, argc, argv);
	bool only_operands = false;
	int wrong = 0;

	while (!wrong && options.next < argc) {
		int index = NG_OPTIONS_END;

		if (!only_operands) {
			only_operands = !strcmp(argv[options.next], "--");
			index = ng_options_next(&options);
		}
		if (index == NG_OPTIONS_ERROR)
			return NG_EXIT_USAGE;
		if (index != NG_OPTIONS_END)
			wrong = take_option(arguments, index, options.value);
		else if (options.next < argc)
			wrong = add_operand(arguments, argv[options.next++]);
	}
	return wrong;
}

static int check_arguments(const struct site_arguments *arguments)
{
	const size_t before = arguments->pid ? 0 : 1; /* operands before the functions */

	if (arguments->help)
		return 0;
	if (arguments->operand_count < before)
		return ng_complain_usage(COMMAND, "it wants a FILE or -p PID, and a function");
	if (arguments->clock && arguments->operand_count > before)
		return ng_complain_usage(COMMAND, "it is either --clock or functions, not both");
	if (!arguments->clock && arguments->operand_count == before)
		return ng_complain_usage(COMMAND, "which function? Such as time.Now, or --clock");
	return 0;
}

/* The image's descriptor, with its path for people. */
static int open_image(
	const struct site_arguments *arguments, char *path, size_t path_bytes, struct ng_diag *diag)
{
	int fd;

	if (arguments->pid) {
		fd = ng_process_open_image(arguments->pid, diag);
		ng_process_image_path(arguments->pid, path, path_bytes);
		return fd;
	}
	(void)snprintf(path, path_bytes, "%s", arguments->operands[0]); /* the kernel's limit */
	/* Not to wait for a FIFO's writer. */
	fd = open(arguments->operands[0], O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd >= 0)
		return fd;
	fd = -errno;
	return ng_diag_set(diag, fd, "%s: %s", arguments->operands[0], strerror(-fd));
}

static int find_sites(const struct site_arguments *arguments, const struct ng_image *image,
	struct ng_sites *sites, struct ng_diag *diag)
{
	int error = 0;

	if (arguments->clock)
		return ng_sites_clock(image, arguments->clock_set, sites, diag);
	for (size_t i = arguments->pid ? 0 : 1; !error && i < arguments->operand_count; i++)
		error = ng_sites_find(image, arguments->operands[i], sites, diag);
	return error;
}

static int show(const struct site_arguments *arguments, struct ng_diag *diag)
{
	NG_CLEANUP_CLOSE int fd = -1;
	char path[PATH_MAX];
	struct ng_image *image = NULL;
	struct ng_sites sites = NG_SITES_INIT;
	struct ng_diag why = NG_DIAG_INIT;
	int error;

	fd = open_image(arguments, path, sizeof(path), diag);
	if (fd < 0)
		return fd;
	error = ng_image_open(fd, &image, &why);
	if (!error)
		error = find_sites(arguments, image, &sites, &why);
	if (error) {
		(void)ng_diag_set(
			diag, error, "%s: %s", path, why.text[0] ? why.text : strerror(-error));
	} else {
		const struct ng_site_print print = {
			.file = stdout, .path = path, .image = image, .sites = &sites};

		if (!sites.count)
			fprintf(stderr, "nowgate site: %s reads no clock\n", path);
		error = arguments->json ? ng_site_print_json(&print) : ng_site_print_text(&print);
		if (error)
			(void)ng_diag_set(diag, error,
				"the result cannot be written to standard output: %s",
				strerror(-error));
	}
	ng_sites_release(&sites);
	ng_image_free(image);
	return error;
}

int ng_cmd_site(int argc, char **argv)
{
	struct site_arguments arguments = {.operand_count = 0};
	struct ng_diag diag = NG_DIAG_INIT;
	int wrong = read_arguments(argc, argv, &arguments);
	int error;

	if (!wrong)
		wrong = check_arguments(&arguments);
	if (wrong)
		return wrong;
	if (arguments.help) {
		fputs(help, stdout);
		return NG_EXIT_DONE;
	}
	error = show(&arguments, &diag);
	return error ? ng_complain(COMMAND, error, &diag) : NG_EXIT_DONE;
}
