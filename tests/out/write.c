/* Writes a profile of sample.c to standard output: write FORMAT [sample | many | deep]. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/out/flame.h"
#include "core/out/folded.h"
#include "core/out/json.h"
#include "core/out/pprof.h"
#include "tests/out/sample.h"

#define MANY_STACKS 10000
#define DEEP_FRAMES 100000

static int write_json(const struct ng_profile *profile, int fd, struct ng_diag *diag)
{
	NG_CLEANUP_FREE char *text = NULL;
	int error = ng_profile_json(profile, &text, diag);

	if (error)
		return error;
	return dprintf(fd, "%s\n", text) < 0 ? ng_diag_set(diag, -errno, "it is not written") : 0;
}

static int write_as(const char *format, const struct ng_profile *profile, struct ng_diag *diag)
{
	if (!strcmp(format, "pprof"))
		return ng_pprof_write(profile, STDOUT_FILENO, diag);
	if (!strcmp(format, "folded"))
		return ng_folded_write(profile, STDOUT_FILENO, diag);
	if (!strcmp(format, "flame"))
		return ng_flame_write(profile, STDOUT_FILENO, diag);
	if (!strcmp(format, "json"))
		return write_json(profile, STDOUT_FILENO, diag);
	return ng_diag_set(diag, -EINVAL, "there is no format '%s'", format);
}

int main(int argc, char **argv)
{
	struct ng_profile *made = NULL;
	struct ng_diag diag = NG_DIAG_INIT;
	int error;

	if (argc < 2)
		return 2;
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return 1;
	if (argc > 2 && !strcmp(argv[2], "many"))
		made = sample_many(MANY_STACKS);
	else if (argc > 2 && !strcmp(argv[2], "deep"))
		made = sample_deep(DEEP_FRAMES);
	error = write_as(argv[1], made ? made : &sample_profile, &diag);
	if (made)
		sample_free(made);
	if (error)
		(void)fprintf(stderr, "write: %s\n", diag.text);
	return error ? 1 : 0;
}
