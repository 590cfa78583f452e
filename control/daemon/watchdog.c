#include "control/daemon/watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * Shared by the daemon and the watchdog. Writer: the daemon. Reader: the watchdog. Each word stands
 * for itself, so relaxed is enough: one that is seen a moment late is late by less than a look.
 */
struct page {
	uint64_t beat_ns;
	uint64_t deadline_ns;
};

struct ng_watchdog {
	struct page *page;
	pid_t pid;
	int pidfd; /* of the watchdog */
};

static int open_pidfd(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0); /* always close-on-exec */

	return fd < 0 ? -errno : fd;
}

bool ng_watchdog_judge(
	struct ng_watchdog_eye *eye, uint64_t now_ns, uint64_t beat_ns, uint64_t deadline_ns)
{
	const bool is_overdue = deadline_ns && now_ns > deadline_ns + NG_WATCHDOG_GRACE_NS;
	const bool is_silent = now_ns > beat_ns + NG_WATCHDOG_SILENCE_NS;
	/* We slept ourselves, so the daemon may have: the suspicion begins anew. */
	const bool has_slept = now_ns > eye->looked_ns + 2 * NG_WATCHDOG_REST_NS;

	if (!is_overdue || !is_silent || beat_ns != eye->beat_ns || has_slept)
		eye->suspect_ns = 0;
	eye->beat_ns = beat_ns;
	eye->looked_ns = now_ns;
	if (!is_overdue || !is_silent)
		return false;
	if (!eye->suspect_ns)
		eye->suspect_ns = now_ns;
	return now_ns - eye->suspect_ns >= NG_WATCHDOG_SURE_NS;
}

/* Its own process from here on: no return, nothing that allocates. */
static _Noreturn void watch(const struct page *page, int daemon_pidfd)
{
	struct pollfd daemon = {.fd = daemon_pidfd, .events = POLLIN};
	struct ng_watchdog_eye eye = {.looked_ns = ng_clock_ns()};

	for (;;) {
		const uint64_t deadline_ns = __atomic_load_n(&page->deadline_ns, __ATOMIC_RELAXED);
		const uint64_t beat_ns = __atomic_load_n(&page->beat_ns, __ATOMIC_RELAXED);
		const uint64_t now_ns = ng_clock_ns();
		const bool is_near = deadline_ns && deadline_ns < now_ns + NG_WATCHDOG_REST_NS;

		if (ng_watchdog_judge(&eye, now_ns, beat_ns, deadline_ns))
			(void)syscall(SYS_pidfd_send_signal, daemon_pidfd, SIGKILL, NULL, 0);
		if (poll(&daemon, 1,
			    (int)((is_near ? NG_WATCHDOG_LOOK_NS : NG_WATCHDOG_REST_NS) /
				    NG_NS_PER_MS)) > 0)
			_exit(0); /* the daemon has ended */
	}
}

/* Nothing of the daemon's stays: a descriptor of it here would outlive it. */
static _Noreturn void become_watchdog(const struct page *page, int daemon_pidfd)
{
	sigset_t all;
	int null_fd;

	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, NULL);
	(void)setsid(); /* away from the terminal's ^C and ^Z */
	(void)prctl(PR_SET_NAME, "nowgate-watch");
	if (daemon_pidfd != 3 && dup3(daemon_pidfd, 3, O_CLOEXEC) < 0)
		_exit(1);
	if (syscall(SYS_close_range, 4, ~0u, 0))
		_exit(1);
	for (int fd = 0; fd < 3; fd++)
		close(fd);
	null_fd = open("/dev/null", O_RDWR); /* 0; so that nobody else's becomes one of them */
	if (null_fd == 0) {
		(void)dup2(null_fd, 1);
		(void)dup2(null_fd, 2);
	}
	(void)chdir("/");
	watch(page, 3);
}

int ng_watchdog_start(struct ng_watchdog **ret_watchdog, struct ng_diag *diag)
{
	struct ng_watchdog *watchdog = calloc(1, sizeof(*watchdog));
	int daemon_pidfd, error;

	if (!watchdog)
		return -ENOMEM;
	watchdog->page = mmap(NULL, sizeof(*watchdog->page), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (watchdog->page == MAP_FAILED) {
		error = ng_diag_set(diag, -errno, "watchdog: mmap: %s", strerror(errno));
		goto free_watchdog;
	}
	ng_watchdog_beat(watchdog);
	/* Opened by the daemon itself, so it is the daemon's, whatever becomes of its pid. */
	daemon_pidfd = open_pidfd(getpid());
	if (daemon_pidfd < 0) {
		error = ng_diag_set(
			diag, daemon_pidfd, "watchdog: pidfd_open: %s", strerror(-daemon_pidfd));
		goto unmap;
	}
	watchdog->pid = fork();
	if (watchdog->pid == 0)
		become_watchdog(watchdog->page, daemon_pidfd);
	error = -errno;
	close(daemon_pidfd);
	if (watchdog->pid < 0) {
		error = ng_diag_set(diag, error, "watchdog: fork: %s", strerror(-error));
		goto unmap;
	}
	watchdog->pidfd = open_pidfd(watchdog->pid); /* our child, not waited for: it is still it */
	if (watchdog->pidfd < 0) {
		error = ng_diag_set(diag, watchdog->pidfd, "watchdog: pidfd_open: %s",
			strerror(-watchdog->pidfd));
		goto kill_child;
	}
	*ret_watchdog = watchdog;
	return 0;
kill_child:
	(void)kill(watchdog->pid, SIGKILL);
	(void)waitpid(watchdog->pid, NULL, 0);
unmap:
	(void)munmap(watchdog->page, sizeof(*watchdog->page));
free_watchdog:
	free(watchdog);
	return error;
}

void ng_watchdog_free(struct ng_watchdog *watchdog)
{
	if (!watchdog)
		return;
	(void)syscall(SYS_pidfd_send_signal, watchdog->pidfd, SIGKILL, NULL, 0);
	while (waitpid(watchdog->pid, NULL, 0) < 0 && errno == EINTR)
		;
	close(watchdog->pidfd);
	(void)munmap(watchdog->page, sizeof(*watchdog->page));
	free(watchdog);
}

pid_t ng_watchdog_pid(const struct ng_watchdog *watchdog)
{
	return watchdog->pid;
}

int ng_watchdog_event_fd(const struct ng_watchdog *watchdog)
{
	return watchdog->pidfd;
}

void ng_watchdog_beat(struct ng_watchdog *watchdog)
{
	__atomic_store_n(&watchdog->page->beat_ns, ng_clock_ns(), __ATOMIC_RELAXED);
}

void ng_watchdog_set_deadline(struct ng_watchdog *watchdog, uint64_t deadline_ns)
{
	__atomic_store_n(&watchdog->page->deadline_ns, deadline_ns, __ATOMIC_RELAXED);
}
