#include "control/inject/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/inject/threads.h"
#include "core/base/clock.h"

/* What the helper tells, in memory that both share. */
struct told {
	int error;
	int data_fd; /* in the helper */
	struct ng_inject_report report;
	struct ng_diag diag;
};

/* --- the changes, with all threads stopped ------------------------------------------------------
 */

/* Maps both areas, or none. */
static int map_areas(struct ng_remote *remote, const struct ng_helper_job *job, int *ret_fd,
	struct ng_diag *diag)
{
	int error = ng_area_map(remote, &job->data, ret_fd, diag);

	if (error)
		return error;
	error = ng_own_page_map(remote, &job->data, diag);
	if (error)
		goto unmap_data;
	error = ng_area_map(remote, &job->code, NULL, diag);
	if (!error)
		return 0;
	(void)ng_own_page_unmap(remote, &job->data, NULL);
unmap_data:
	(void)ng_area_unmap(remote, &job->data, NULL);
	return error;
}

static int unmap_areas(
	struct ng_remote *remote, const struct ng_helper_job *job, struct ng_diag *diag)
{
	const int error = ng_area_unmap(remote, &job->code, diag);
	const int own_error = ng_own_page_unmap(remote, &job->data, diag);
	const int data_error = ng_area_unmap(remote, &job->data, diag);

	return error ? error : own_error ? own_error : data_error;
}

static int put_in(struct ng_stopped *stopped, const struct ng_helper_job *job, struct told *told)
{
	struct ng_remote remote = {
		.stopped = stopped, .mem_fd = job->mem_fd, .syscall_address = job->syscall_address};
	int error, end_error;

	error = ng_patches_match(job->mem_fd, job->patches, job->patch_count, false, &told->diag);
	if (!error)
		error = ng_patches_clear(
			stopped, job->mem_fd, job->patches, job->patch_count, &told->diag);
	if (!error)
		error = ng_remote_begin(&remote, &told->diag);
	if (error)
		return error;
	error = map_areas(&remote, job, &told->data_fd, &told->diag);
	if (!error) {
		error = ng_patches_write(
			stopped, job->mem_fd, job->patches, job->patch_count, true, &told->diag);
		if (error)
			(void)unmap_areas(&remote, job, NULL);
	}
	end_error = ng_remote_end(&remote);
	if (end_error && !error)
		error = ng_diag_set(
			&told->diag, end_error, "process %d was killed meanwhile", job->pid);
	return error;
}

static int unmap(struct ng_stopped *stopped, const struct ng_helper_job *job, struct told *told)
{
	struct ng_remote remote = {
		.stopped = stopped, .mem_fd = job->mem_fd, .syscall_address = job->syscall_address};
	int error = ng_remote_begin(&remote, &told->diag), end_error;

	if (error)
		return error;
	error = unmap_areas(&remote, job, &told->diag);
	end_error = ng_remote_end(&remote);
	return error ? error : end_error;
}

/* Puts back what is not the file's yet. */
static int restore(struct ng_stopped *stopped, const struct ng_helper_job *job, struct told *told)
{
	struct ng_patch ours[NG_INJECT_PATCHES_MAX];
	size_t count = 0;
	int error = 0;

	for (size_t i = 0; !error && i < job->patch_count; i++) {
		const struct ng_patch *patch = &job->patches[i];

		if (!ng_patches_match(job->mem_fd, patch, 1, false, NULL))
			continue; /* was put back before */
		error = ng_patches_match(job->mem_fd, patch, 1, true, &told->diag);
		ours[count++] = *patch;
	}
	if (!error)
		error = ng_patches_clear(stopped, job->mem_fd, ours, count, &told->diag);
	if (!error)
		error = ng_patches_write(stopped, job->mem_fd, ours, count, false, &told->diag);
	return error;
}

static int take_out(struct ng_stopped *stopped, const struct ng_helper_job *job, struct told *told)
{
	const struct ng_span span = {job->code.address, job->code.address + job->code.size_bytes};
	int error = restore(stopped, job, told);

	if (error)
		return error;
	told->report.inside = ng_stopped_inside(stopped, job->mem_fd, &span, false);
	if (told->report.inside)
		return ng_diag_set(&told->diag, -EAGAIN,
			"thread %d of process %d may be in nowgate's code still: its pages stay "
			"until it is not",
			told->report.inside, job->pid);
	return unmap(stopped, job, told);
}

static int do_job(const struct ng_helper_job *job, struct told *told)
{
	struct ng_stopped stopped = NG_STOPPED_INIT;
	int error;

	stopped.pid = job->pid;
	stopped.deadline_ns = ng_clock_ns() + job->max_stop_ns;
	error = ng_stopped_seize(&stopped, &told->diag);
	if (!error) {
		told->report.stopped_ns = ng_clock_ns() - stopped.began_ns;
		told->report.threads = (uint32_t)ng_stopped_threads(&stopped);
		for (size_t i = 0; i < stopped.count; i++)
			told->report.asleep += stopped.items[i].stop == NG_STOP_ASLEEP;
		error = job->what == NG_HELPER_INSTALL ? put_in(&stopped, job, told)
						       : take_out(&stopped, job, told);
		told->report.stop_ns = ng_stopped_let_go(&stopped);
	}
	ng_stopped_release(&stopped);
	return error;
}

/* --- the process --------------------------------------------------------------------------------
 */

static int alone(int socket_fd, int mem_fd)
{
	const struct sched_param first = {.sched_priority = 1};
	sigset_t signals;
	int fds[2] = {socket_fd, mem_fd};

	(void)prctl(PR_SET_NAME, NG_HELPER_NAME);
	(void)setsid(); /* a ^C at the terminal is not for it */
	/* What it inherited would hold breakpoints armed that nowgate closes meanwhile. */
	if (fds[0] > fds[1]) {
		fds[0] = mem_fd;
		fds[1] = socket_fd;
	}
	(void)close_range(3, (unsigned int)fds[0] - 1, 0);
	if (fds[1] > fds[0] + 1)
		(void)close_range((unsigned int)fds[0] + 1, (unsigned int)fds[1] - 1, 0);
	(void)close_range((unsigned int)fds[1] + 1, ~0u, 0);
	(void)sigfillset(&signals);
	(void)sigdelset(&signals, SIGALRM);
	if (sigprocmask(SIG_SETMASK, &signals, NULL))
		return -errno;
	/* Not allowed: then the threads' stop takes longer on a busy machine. */
	(void)sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &first);
	return ng_stopped_tick();
}

static _Noreturn void help(
	const struct ng_helper_job *job, pid_t nowgate, int socket_fd, struct told *told)
{
	char end;

	told->error = alone(socket_fd, job->mem_fd);
	if (getppid() != nowgate)
		_exit(0); /* it was killed: nobody wants this any more */
	if (!told->error)
		told->error = do_job(job, told);
	if (send(socket_fd, "", 1, MSG_NOSIGNAL) == 1) {
		/* Until the descriptor has been fetched, or nobody wants it any more. */
		while (read(socket_fd, &end, 1) < 0 && errno == EINTR)
			;
	}
	_exit(0);
}

/* Fetches the helper's descriptor of the data. */
static int fetch(pid_t helper, int fd)
{
	char path[64];
	int fetched;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", helper, fd);
	fetched = open(path, O_RDWR | O_CLOEXEC);
	return fetched < 0 ? -errno : fetched;
}

static int await_helper(pid_t helper, int socket_fd, const struct told *told,
	struct ng_helper_result *ret_result, struct ng_diag *diag)
{
	ssize_t length;
	char done;

	do
		length = read(socket_fd, &done, 1);
	while (length < 0 && errno == EINTR);
	if (length != 1)
		return ng_diag_set(diag, -ECHILD,
			"nowgate's process that changes others (pid %d) was killed", helper);
	ret_result->report = told->report;
	if (told->error)
		return ng_diag_set(diag, told->error, "%s", told->diag.text);
	if (told->data_fd >= 0) {
		const int fd = fetch(helper, told->data_fd);

		if (fd < 0)
			return ng_diag_set(diag, fd,
				"the data shared with the process cannot be opened: %s",
				strerror(-fd));
		ret_result->data_fd = fd;
	}
	return 0;
}

static int run(const struct ng_helper_job *job, struct told *told,
	struct ng_helper_result *ret_result, struct ng_diag *diag)
{
	const pid_t nowgate = getpid();
	int sockets[2], error;
	pid_t helper;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets))
		return -errno;
	helper = fork();
	if (!helper)
		help(job, nowgate, sockets[1], told);
	error = helper < 0 ? -errno : 0;
	close(sockets[1]);
	if (error)
		error = ng_diag_set(diag, error, "fork: %s", strerror(-error));
	else
		error = await_helper(helper, sockets[0], told, ret_result, diag);
	close(sockets[0]);
	while (helper > 0 && waitpid(helper, NULL, 0) < 0 && errno == EINTR)
		;
	return error;
}

int ng_helper_run(
	const struct ng_helper_job *job, struct ng_helper_result *ret_result, struct ng_diag *diag)
{
	struct told *told = mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	int error;

	if (told == MAP_FAILED)
		return -errno;
	told->data_fd = -1;
	error = run(job, told, ret_result, diag);
	(void)munmap(told, sizeof(*told));
	return error;
}
