#include "control/target/launch.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/target/process.h"
#include "core/base/cleanup.h"

#define SYSCALL_STOP (SIGTRAP | 0x80) /* with PTRACE_O_TRACESYSGOOD */

#define TRACE_OPTIONS                                                                              \
	(PTRACE_O_TRACEEXEC | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |     \
		PTRACE_O_TRACESYSGOOD)

/* A tracee; on its way through the dynamic loader it stops at each system call, and the loader's
 * code is from start to end (0: it is not on that way). */
struct tracee {
	pid_t pid;
	uint64_t loader_start;
	uint64_t loader_end;
};

struct ng_launch {
	struct ng_launch_options options;
	pid_t pid;
	int go_fd;    /* written to once: exec now */
	int error_fd; /* the errno of a failed exec comes here */
	bool lets_go;
	bool ended;
	int status;
	struct tracee *tracees;
	size_t tracee_count;
};

/* Like execvp(), but for its last resort: to have a shell run what the kernel does not, be it a
 * program for another machine. */
static void exec_by_path(char *const *argv)
{
	const char *folder = getenv("PATH");
	bool denied = false;
	char path[PATH_MAX];

	if (strchr(argv[0], '/')) {
		(void)execv(argv[0], argv);
		return;
	}
	errno = ENOENT;
	if (!folder)
		folder = "/usr/local/bin:/usr/bin:/bin";
	for (; argv[0][0]; folder++) {
		const int length = (int)strcspn(folder, ":");
		const int used = snprintf(path, sizeof(path), "%.*s%s%s", length, folder,
			length ? "/" : "./", argv[0]);

		errno = ENOENT; /* what is too long for a path, is not there */
		if (used < (int)sizeof(path))
			(void)execv(path, argv);
		denied |= errno == EACCES;
		if (errno != ENOENT && errno != ENOTDIR && errno != EACCES)
			return;
		folder += length;
		if (!*folder)
			break;
	}
	errno = denied ? EACCES : ENOENT;
}

/* In the child. Only calls that are safe after fork. */
static _Noreturn void run_command(const struct ng_launch_options *options, int go_fd, int error_fd)
{
	int error;
	char go;

	if (read(go_fd, &go, 1) != 1)
		_exit(125); /* nowgate is gone */
	(void)sigprocmask(SIG_SETMASK, options->signals, NULL);
	(void)setrlimit(RLIMIT_NOFILE, options->descriptors); /* lower than ours, or the same */
	exec_by_path(options->argv);
	error = errno;
	(void)!write(error_fd, &error, sizeof(error)); /* nobody there: then nobody asks */
	_exit(error == ENOENT ? 127 : 126);
}

int ng_launch_start(const struct ng_launch_options *options, struct ng_launch **ret_launch,
	struct ng_diag *diag)
{
	struct ng_launch *launch = calloc(1, sizeof(*launch));
	int go[2], failed[2], error;

	if (!launch)
		return -ENOMEM;
	launch->options = *options;
	if (pipe2(go, O_CLOEXEC))
		goto no_go;
	if (pipe2(failed, O_CLOEXEC))
		goto no_failed;
	launch->pid = fork();
	if (launch->pid < 0)
		goto no_fork;
	if (!launch->pid) {
		close(go[1]);
		close(failed[0]);
		run_command(options, go[0], failed[1]);
	}
	close(go[0]);
	close(failed[1]);
	launch->go_fd = go[1];
	launch->error_fd = failed[0];
	if (ptrace(PTRACE_SEIZE, launch->pid, NULL, TRACE_OPTIONS)) {
		error = -errno;
		ng_launch_free(launch); /* the command reads the pipe's end, and exits */
		return ng_diag_set(diag, error,
			"the command cannot be held at its start (ptrace: %s): run as root",
			strerror(-error));
	}
	*ret_launch = launch;
	return 0;
no_fork:
	close(failed[0]);
	close(failed[1]);
no_failed:
	close(go[0]);
	close(go[1]);
no_go:
	error = -errno;
	free(launch);
	return ng_diag_set(diag, error, "the command cannot be started: %s", strerror(-error));
}

void ng_launch_release(struct ng_launch *launch)
{
	(void)!write(launch->go_fd, "", 1); /* it waits for this, or is gone: turn() sees that */
	close(launch->go_fd);
	launch->go_fd = -1;
}

int ng_launch_exec_error(const struct ng_launch *launch)
{
	int error;

	/* A failed exec writes why; a successful one closes the pipe. */
	return read(launch->error_fd, &error, sizeof(error)) == sizeof(error) ? -error : 0;
}

pid_t ng_launch_pid(const struct ng_launch *launch)
{
	return launch->pid;
}

static struct tracee *tracee_of(struct ng_launch *launch, pid_t pid)
{
	struct tracee *grown;

	for (size_t i = 0; i < launch->tracee_count; i++) {
		if (launch->tracees[i].pid == pid)
			return &launch->tracees[i];
	}
	grown = reallocarray(launch->tracees, launch->tracee_count + 1, sizeof(*grown));
	if (!grown)
		return NULL;
	launch->tracees = grown;
	grown += launch->tracee_count++;
	*grown = (struct tracee){.pid = pid};
	return grown;
}

static void forget_tracee(struct ng_launch *launch, pid_t pid)
{
	struct tracee *last = &launch->tracees[launch->tracee_count - 1];

	for (size_t i = 0; i < launch->tracee_count; i++) {
		if (launch->tracees[i].pid != pid)
			continue;
		launch->tracees[i] = *last;
		launch->tracee_count--;
		return;
	}
}

/* Where the loader was mapped: AT_BASE; 0 where the kernel loaded none. */
static uint64_t read_base(pid_t pid)
{
	Elf64_auxv_t vector[64];
	char path[32];
	ssize_t length;

	(void)snprintf(path, sizeof(path), "/proc/%d/auxv", pid);
	NG_CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	length = read(fd, vector, sizeof(vector));
	for (size_t i = 0; length > 0 && i < (size_t)length / sizeof(vector[0]); i++) {
		if (vector[i].a_type == AT_BASE)
			return vector[i].a_un.a_val;
	}
	return 0;
}

/* At an exec: finds the code of the loader. Without one the program itself may be it (ld.so started
 * by its name). */
static bool find_loader(struct tracee *tracee)
{
	const uint64_t base = read_base(tracee->pid);
	struct ng_mappings mappings = NG_MAPPINGS_INIT;
	const struct ng_mapping *found = NULL;

	if (ng_process_mappings(tracee->pid, &mappings))
		return false;
	for (size_t i = 0; i < mappings.count; i++) {
		const struct ng_mapping *mapping = &mappings.items[i];

		if (mapping->start >= base && (!found || mapping->start < found->start))
			found = mapping;
	}
	if (found) {
		tracee->loader_start = found->start;
		tracee->loader_end = found->end;
	}
	ng_mappings_release(&mappings);
	return found;
}

static void release(struct ng_launch *launch, pid_t pid, int signal_number)
{
	/* Gone: then there is nothing to let go. */
	(void)ptrace(PTRACE_DETACH, pid, NULL, (long)signal_number);
	forget_tracee(launch, pid);
}

static void resume(const struct tracee *tracee, int signal_number)
{
	/* -ESRCH: killed in its stop; the wait status comes. */
	(void)ptrace(tracee->loader_end ? PTRACE_SYSCALL : PTRACE_CONT, tracee->pid, NULL,
		(long)signal_number);
}

static void act(struct ng_launch *launch, struct tracee *tracee, enum ng_hold answer)
{
	if (answer == NG_HOLD_RELEASE) {
		release(launch, tracee->pid, 0);
		return;
	}
	resume(tracee, 0);
}

static void on_exec(struct ng_launch *launch, struct tracee *tracee)
{
	enum ng_hold answer = launch->options.on_held(tracee->pid, false, launch->options.context);

	tracee->loader_end = 0;
	if (answer == NG_HOLD_LIBRARIES) {
		answer = NG_HOLD_KEEP;
		if (!find_loader(tracee)) /* what is loaded from here on is found a little later */
			answer =
				launch->options.on_held(tracee->pid, true, launch->options.context);
	}
	act(launch, tracee, answer);
}

/* Is it one that a loader makes, or the return of the exec? Loaders that are the C library too
 * (musl's) end with another one. */
static bool is_loaders(unsigned long long system_call)
{
	static const unsigned short calls[] = {SYS_access, SYS_arch_prctl, SYS_brk, SYS_close,
		SYS_execve, SYS_execveat, SYS_faccessat, SYS_fstat, SYS_getcwd, SYS_getrandom,
		SYS_lseek, SYS_mmap, SYS_mprotect, SYS_munmap, SYS_newfstatat, SYS_open, SYS_openat,
		SYS_pread64, SYS_prlimit64, SYS_read, SYS_readlink, SYS_readlinkat, SYS_rseq,
		SYS_set_robust_list, SYS_set_tid_address, SYS_stat, SYS_uname};

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (calls[i] == system_call)
			return true;
	}
	return false;
}

/*
 * On the way through the loader. It has done its work when anything but the loader makes a system
 * call: code of a library, which the loader runs when all are mapped, or the program's own.
 *
 * A breakpoint at the program's entry would tell the very moment; but one that outlives us kills
 * the process: after a kill -9 of ours in a debug register still, and some virtual machines
 * never let one strike.
 */
static void on_syscall(struct ng_launch *launch, struct tracee *tracee)
{
	struct user_regs_struct registers;

	if (ptrace(PTRACE_GETREGS, tracee->pid, NULL, &registers)) {
		resume(tracee, 0); /* killed in its stop */
	} else if (registers.rip < tracee->loader_start || registers.rip >= tracee->loader_end ||
		   !is_loaders(registers.orig_rax)) {
		tracee->loader_end = 0;
		act(launch, tracee,
			launch->options.on_held(tracee->pid, true, launch->options.context));
	} else {
		/* Its return: at its entry rax says -ENOSYS. */
		if (registers.orig_rax == SYS_mmap && (registers.rdx & PROT_EXEC) &&
			(long)registers.rax != -ENOSYS)
			(void)launch->options.on_held(tracee->pid, false, launch->options.context);
		resume(tracee, 0);
	}
}

static void on_stop(struct ng_launch *launch, struct tracee *tracee, int status)
{
	const int event = status >> 16, signal_number = WSTOPSIG(status);
	const bool is_signal = !event && signal_number != SYSCALL_STOP;

	if (launch->lets_go) /* one that job control has stopped stays so */
		release(launch, tracee->pid, is_signal ? signal_number : 0);
	else if (event == PTRACE_EVENT_EXEC)
		on_exec(launch, tracee);
	else if (event == PTRACE_EVENT_STOP && signal_number != SIGTRAP)
		(void)ptrace(
			PTRACE_LISTEN, tracee->pid, NULL, 0); /* stopped by job control: stays so */
	else if (event)
		resume(tracee, 0); /* fork, vfork, clone; a new tracee's first stop; SIGCONT */
	else if (is_signal)
		resume(tracee, signal_number);
	else
		on_syscall(launch, tracee);
}

void ng_launch_let_go(struct ng_launch *launch)
{
	launch->lets_go = true;
}

void ng_launch_turn(struct ng_launch *launch)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0) {
		struct tracee *tracee;

		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			if (pid == launch->pid) {
				launch->ended = true;
				launch->status = status;
			}
			if (launch->tracee_count)
				forget_tracee(launch, pid);
			continue;
		}
		tracee = tracee_of(launch, pid);
		if (tracee)
			on_stop(launch, tracee, status);
		else
			(void)ptrace(PTRACE_DETACH, pid, NULL, 0); /* out of memory: let it go */
	}
}

bool ng_launch_has_ended(const struct ng_launch *launch, int *ret_status)
{
	if (launch->ended)
		*ret_status = launch->status;
	return launch->ended;
}

void ng_launch_free(struct ng_launch *launch)
{
	if (!launch)
		return;
	/* Running tracees cannot be detached; they go on when we exit. */
	if (launch->go_fd >= 0)
		close(launch->go_fd);
	close(launch->error_fd);
	free(launch->tracees);
	free(launch);
}
