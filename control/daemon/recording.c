#include "control/daemon/recording.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/exit.h"
#include "core/base/cleanup.h"

#define PROFILE_FD	  3 /* there the child finds its file */
#define PROFILE_PATH	  "/proc/self/fd/3"
#define PROFILE_BYTES_MAX (64 << 20)
#define WORDS_MAX	  512 /* of what a child that failed said last */
#define ARGUMENTS_MAX	  (16 + 2 * NG_RECORDING_FUNCTIONS_MAX)

struct ng_recording {
	pid_t child; /* 0: it has been waited for */
	int status;  /* then */
	int profile_fd;
	int words_fd; /* its standard error */
};

/* Its own process from here on: no return, nothing that allocates, for the daemon has threads. */
static _Noreturn void become_recorder(
	const struct ng_recording *recording, pid_t daemon, char *const *arguments)
{
	sigset_t none;
	int null_fd;

	(void)prctl(PR_SET_PDEATHSIG, SIGTERM); /* it then ends as by ^C */
	if (getppid() != daemon)
		_exit(1);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)setsid(); /* a ^C is the daemon's, which ends us */
	null_fd = open("/dev/null", O_RDWR);
	if (null_fd < 0 || dup2(null_fd, 0) < 0 || dup2(null_fd, 1) < 0 ||
		dup2(recording->words_fd, 2) < 0)
		_exit(1);
	/* Not itself: its own number can be 3, which would keep close-on-exec. */
	if (dup2(dup(recording->profile_fd), PROFILE_FD) < 0 ||
		syscall(SYS_close_range, PROFILE_FD + 1, ~0u, 0))
		_exit(1);
	(void)execv("/proc/self/exe", arguments);
	_exit(NG_EXIT_OWN_FAILURE);
}

static int spawn(struct ng_recording *recording, const struct ng_recording_options *options)
{
	char seconds[16], budget[32], pid[16];
	const char *arguments[ARGUMENTS_MAX] = {"nowgate", "record", "--mode", "sampled",
		"--budget", budget, "-d", seconds, "-p", pid, "-o", PROFILE_PATH};
	const pid_t daemon = getpid();
	size_t count = 12;

	(void)snprintf(seconds, sizeof(seconds), "%us", options->seconds);
	(void)snprintf(budget, sizeof(budget), "%.9f", options->budget_ratio);
	(void)snprintf(pid, sizeof(pid), "%d", options->pid);
	for (size_t i = 0; i < options->function_count && i < NG_RECORDING_FUNCTIONS_MAX; i++) {
		arguments[count++] = "-f";
		arguments[count++] = options->functions[i];
	}
	recording->child = fork();
	if (recording->child < 0)
		return -errno;
	if (!recording->child)
		become_recorder(recording, daemon, (char *const *)arguments);
	return 0;
}

int ng_recording_start(const struct ng_recording_options *options,
	struct ng_recording **ret_recording, struct ng_diag *diag)
{
	struct ng_recording *recording = calloc(1, sizeof(*recording));
	int error = 0;

	if (!recording)
		return -ENOMEM;
	recording->profile_fd = memfd_create("profile", MFD_CLOEXEC);
	recording->words_fd = memfd_create("words", MFD_CLOEXEC);
	if (recording->profile_fd < 0 || recording->words_fd < 0)
		error = -errno;
	if (!error)
		error = spawn(recording, options);
	if (error) {
		recording->child = 0;
		ng_recording_free(recording);
		return ng_diag_set(diag, error, "no process for a recording: %s", strerror(-error));
	}
	*ret_recording = recording;
	return 0;
}

/* @return 0; -EAGAIN it goes on */
static int wait_for_it(struct ng_recording *recording, int options)
{
	pid_t ended = 0;

	if (!recording->child)
		return 0;
	do
		ended = waitpid(recording->child, &recording->status, options);
	while (ended < 0 && errno == EINTR);
	if (!ended)
		return -EAGAIN;
	recording->child = 0;
	return 0;
}

/* The last line that it printed: what went wrong. */
static void read_words(const struct ng_recording *recording, char words[WORDS_MAX])
{
	struct stat file;
	off_t from = 0;
	ssize_t length;
	char *line;

	words[0] = '\0';
	if (fstat(recording->words_fd, &file))
		return;
	if (file.st_size >= WORDS_MAX)
		from = file.st_size - (WORDS_MAX - 1);
	length = pread(recording->words_fd, words, WORDS_MAX - 1, from);
	if (length < 0)
		length = 0;
	while (length > 0 && words[length - 1] == '\n')
		length--;
	words[length] = '\0';
	line = strrchr(words, '\n');
	if (line)
		memmove(words, line + 1, strlen(line));
}

static int read_profile(const struct ng_recording *recording, char **ret_bytes, size_t *ret_length)
{
	NG_CLEANUP_FREE char *bytes = NULL;
	struct stat file;
	size_t done = 0;

	if (fstat(recording->profile_fd, &file) || !file.st_size ||
		file.st_size > PROFILE_BYTES_MAX)
		return -EIO;
	bytes = malloc((size_t)file.st_size);
	if (!bytes)
		return -ENOMEM;
	while (done < (size_t)file.st_size) {
		const ssize_t length = pread(recording->profile_fd, bytes + done,
			(size_t)file.st_size - done, (off_t)done);

		if (length <= 0)
			return -EIO;
		done += (size_t)length;
	}
	*ret_bytes = bytes;
	*ret_length = done;
	bytes = NULL;
	return 0;
}

int ng_recording_take(
	struct ng_recording *recording, char **ret_bytes, size_t *ret_length, struct ng_diag *diag)
{
	char words[WORDS_MAX];
	int code, error = wait_for_it(recording, WNOHANG);

	if (error)
		return error;
	code = WIFEXITED(recording->status) ? WEXITSTATUS(recording->status) : NG_EXIT_OWN_FAILURE;
	if (code == NG_EXIT_DONE || code == NG_EXIT_LOST) {
		error = read_profile(recording, ret_bytes, ret_length);
		return error ? ng_diag_set(diag, error, "the profile cannot be read: %s",
				       strerror(-error))
			     : 0;
	}
	read_words(recording, words);
	return ng_diag_set(diag, code == NG_EXIT_NOT_FOUND ? -ESRCH : -EIO, "%s",
		words[0] ? words : "the recording failed without a word");
}

void ng_recording_free(struct ng_recording *recording)
{
	if (!recording)
		return;
	if (recording->child && wait_for_it(recording, WNOHANG)) {
		/* Our child, not waited for: it is it. It may stand still. */
		(void)kill(recording->child, SIGTERM);
		(void)kill(recording->child, SIGCONT);
		(void)wait_for_it(recording, 0);
	}
	if (recording->profile_fd >= 0)
		close(recording->profile_fd);
	if (recording->words_fd >= 0)
		close(recording->words_fd);
	free(recording);
}
