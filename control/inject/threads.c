#include "control/inject/threads.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "control/inject/helper.h"
#include "control/target/process.h"
#include "core/base/cleanup.h"
#include "core/base/clock.h"

#define TICK_US 1000 /* how long a wait lasts before it is asked whether it may ever end */

#define SEIZE_ATTEMPTS 3

#define LINGER_NS (2 * NG_NS_PER_S) /* for threads that come late, when the others have gone on */

/* The kernel's own: go on with the call, but for a handler that runs; then EINTR. */
#define RESTART_NO_HANDLER 514

#define USER_64_CS 0x33

/* The threads that are being seized, for the SIGALRM that comes while PTRACE_SEIZE lasts. */
static struct ng_stopped *seizing;

/* Reaps a thread that has exited. */
static bool is_gone(struct ng_tracee *tracee, const siginfo_t *info)
{
	siginfo_t reaped;

	if (info->si_code != CLD_EXITED && info->si_code != CLD_KILLED &&
		info->si_code != CLD_DUMPED)
		return false;
	(void)waitid(P_PID, (id_t)tracee->tid, &reaped, WEXITED | WNOHANG | __WALL);
	tracee->stop = NG_STOP_GONE;
	return true;
}

/*
 * PTRACE_SEIZE waits while one of the threads execs, and that one waits for the others, which we
 * trace, to be reaped: by us.
 */
static void on_tick(int signal_number)
{
	const int saved = errno;

	(void)signal_number;
	for (size_t i = 0; seizing && i < seizing->count; i++) {
		struct ng_tracee *tracee = &seizing->items[i];
		siginfo_t info = {0};

		if (tracee->stop != NG_STOP_GONE &&
			!waitid(P_PID, (id_t)tracee->tid, &info,
				WEXITED | WSTOPPED | WNOHANG | WNOWAIT | __WALL) &&
			info.si_pid)
			(void)is_gone(tracee, &info);
	}
	errno = saved;
}

int ng_stopped_tick(void)
{
	const struct itimerval often = {
		.it_interval.tv_usec = TICK_US, .it_value.tv_usec = TICK_US};
	struct sigaction action = {.sa_handler = on_tick}; /* no SA_RESTART: it ends waits */

	if (sigaction(SIGALRM, &action, NULL) || setitimer(ITIMER_REAL, &often, NULL))
		return -errno;
	return 0;
}

enum ng_stop ng_stop_of(int status)
{
	const int event = status >> 8, signal_number = status & 0x7f;

	if (event == PTRACE_EVENT_STOP && signal_number != SIGTRAP)
		return NG_STOP_GROUP;
	if (event || (status & 0x80))
		return NG_STOP_EVENT;
	return NG_STOP_SIGNAL;
}

/* Notes how a thread has been met. */
static void note(struct ng_stopped *stopped, struct ng_tracee *tracee, const siginfo_t *info)
{
	if (is_gone(tracee, info))
		return;
	tracee->stop = ng_stop_of(info->si_status);
	tracee->signal = tracee->stop == NG_STOP_SIGNAL ? info->si_status & 0x7f : 0;
	if (info->si_status >> 8 == PTRACE_EVENT_EXEC)
		stopped->execed = true;
}

/* Has it met our interruption by now? */
static bool look(struct ng_stopped *stopped, struct ng_tracee *tracee, int flags)
{
	siginfo_t info = {0};

	if (waitid(P_PID, (id_t)tracee->tid, &info,
		    WEXITED | WSTOPPED | WNOWAIT | __WALL | flags)) {
		if (errno == ECHILD) /* another thread's exec has taken its place */
			tracee->stop = NG_STOP_GONE;
		return errno == ECHILD;
	}
	if (!info.si_pid)
		return false;
	note(stopped, tracee, &info);
	return true;
}

static bool sleeps_fast(pid_t tid)
{
	struct ng_process thread;

	return !ng_process_read(tid, &thread) && thread.state == 'D';
}

/* Where a thread asleep in the kernel is. */
static void read_asleep(const struct ng_stopped *stopped, struct ng_tracee *tracee)
{
	char path[64], text[256] = "";
	const char *last;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", stopped->pid, tracee->tid);
	NG_CLEANUP_FCLOSE FILE *file = fopen(path, "re");
	if (!file || !fgets(text, sizeof(text), file))
		return;
	/* "number arguments… sp pc", or "running" */
	last = strrchr(text, ' ');
	if (!last || sscanf(last, " %" SCNx64, &tracee->pc) != 1)
		return;
	text[last - text] = '\0';
	last = strrchr(text, ' ');
	if (last)
		(void)sscanf(last, " %" SCNx64, &tracee->sp);
}

static int await_stop(struct ng_stopped *stopped, struct ng_tracee *tracee, struct ng_diag *diag)
{
	while (tracee->stop == NG_STOP_NONE && !look(stopped, tracee, 0)) {
		if (sleeps_fast(tracee->tid)) {
			tracee->stop = NG_STOP_ASLEEP;
		} else if (ng_clock_ns() > stopped->deadline_ns) {
			return ng_diag_set(diag, -ETIMEDOUT,
				"thread %d of process %d did not stop within %" PRIu64
				" ms: nothing was changed. Try again when the machine is less busy",
				tracee->tid, stopped->pid,
				(uint64_t)((stopped->deadline_ns - stopped->began_ns) /
					   NG_NS_PER_MS));
		}
	}
	return 0;
}

static struct ng_tracee *find(struct ng_stopped *stopped, pid_t tid)
{
	for (size_t i = 0; i < stopped->count; i++) {
		if (stopped->items[i].tid == tid)
			return &stopped->items[i];
	}
	return NULL;
}

static int add(struct ng_stopped *stopped, pid_t tid)
{
	if (stopped->count == stopped->room) {
		const size_t room = stopped->room ? 2 * stopped->room : 256;
		struct ng_tracee *grown = reallocarray(stopped->items, room, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		stopped->items = grown;
		stopped->room = room;
	}
	stopped->items[stopped->count++] = (struct ng_tracee){.tid = tid};
	return 0;
}

/* Why could it not be seized? 0: it is exiting. */
static int refusal(const struct ng_stopped *stopped, pid_t tid, int error, struct ng_diag *diag)
{
	char comm[NG_COMM_MAX * 4];
	struct ng_process thread;
	int tracer;

	if (error == -ESRCH || ng_process_read(tid, &thread) || thread.state == 'Z' ||
		thread.state == 'X' || !ng_process_has_memory(stopped->pid, tid))
		return 0;
	tracer = ng_process_tracer(stopped->pid, comm);
	if (tracer > 0 && !strcmp(comm, NG_HELPER_NAME))
		return ng_diag_set(diag, -EAGAIN,
			"another nowgate is at work in process %d (pid %d). Try again",
			stopped->pid, tracer);
	if (tracer > 0)
		return ng_diag_set(diag, -EBUSY,
			"process %d is traced by %s (pid %d): a process has one tracer only. End "
			"that one first",
			stopped->pid, comm, tracer);
	return ng_diag_set(diag, error,
		"process %d cannot be stopped (ptrace: %s): it needs CAP_SYS_PTRACE, and no "
		"security module that forbids it (kernel.yama.ptrace_scope = 3 does)",
		stopped->pid, strerror(-error));
}

static int seize_one(struct ng_stopped *stopped, pid_t tid, bool *ret_new, struct ng_diag *diag)
{
	const unsigned long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC;
	int result = 0;

	seizing = stopped;
	/* An exec puts another thread into the place of the main one: then that one is met. */
	for (int attempt = 0; attempt < SEIZE_ATTEMPTS; attempt++) {
		result = ptrace(PTRACE_SEIZE, tid, NULL, options) ? -errno : 0;
		if (!result || !refusal(stopped, tid, result, NULL))
			break;
		(void)sched_yield();
	}
	seizing = NULL;
	if (result)
		return refusal(stopped, tid, result, diag);
	*ret_new = true;
	if (!stopped->began_ns)
		stopped->began_ns = ng_clock_ns();
	return add(stopped, tid); /* out of memory: it goes on when we exit */
}

/*
 * Seizes the threads that were not known. All known ones being stopped, one scan sees all of the
 * others, unless one of them exited meanwhile: so their number is compared too.
 */
static int scan(struct ng_stopped *stopped, bool *ret_complete, struct ng_diag *diag)
{
	struct ng_process process;
	struct dirent *entry;
	bool is_new = false;
	uint32_t seen = 0;
	char path[32];
	int error = 0;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "/proc/%d/task", stopped->pid);
	dir = opendir(path);
	while (dir && !error && (entry = readdir(dir))) {
		const pid_t tid = atoi(entry->d_name);

		if (tid <= 0)
			continue;
		seen++;
		if (!find(stopped, tid))
			error = seize_one(stopped, tid, &is_new, diag);
	}
	if (dir)
		closedir(dir);
	if (!error && (!dir || ng_process_read(stopped->pid, &process)))
		error = ng_diag_set(diag, -ESRCH, "process %d has exited", stopped->pid);
	*ret_complete = !error && !is_new && process.threads == seen;
	return error;
}

/* The calls that end with EINTR when the thread is stopped and goes on, though nobody handled a
 * signal: signal(7). */
static bool is_ended_by_stops(uint64_t call)
{
	static const unsigned short calls[] = {SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_pwait2,
		SYS_rt_sigtimedwait, SYS_semop, SYS_semtimedop, SYS_io_getevents, SYS_io_pgetevents,
		SYS_recvfrom, SYS_recvmsg, SYS_accept, SYS_accept4};

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (calls[i] == call)
			return true;
	}
	return false;
}

static void read_registers(struct ng_tracee *tracee)
{
	struct user_regs_struct registers;

	if (ptrace(PTRACE_GETREGS, tracee->tid, NULL, &registers))
		return; /* killed in its stop */
	tracee->pc = registers.rip;
	tracee->sp = registers.rsp;
	tracee->in_call = (int64_t)registers.orig_rax >= 0;
	tracee->is_64_bit = registers.cs == USER_64_CS;
	if (tracee->stop != NG_STOP_EVENT || (int64_t)registers.rax != -EINTR || !tracee->in_call ||
		!is_ended_by_stops(registers.orig_rax))
		return;
	/* The kernel decides when it goes on: with a handler to run it is EINTR after all. */
	registers.rax = (uint64_t)-RESTART_NO_HANDLER;
	(void)ptrace(PTRACE_SETREGS, tracee->tid, NULL, &registers);
}

static int stop_all(struct ng_stopped *stopped, struct ng_diag *diag)
{
	bool complete = false;
	int error = 0;

	while (!error && !complete) {
		const size_t known = stopped->count;

		error = scan(stopped, &complete, diag);
		/* Gone in between: waited for below. */
		for (size_t i = known; i < stopped->count; i++)
			(void)ptrace(PTRACE_INTERRUPT, stopped->items[i].tid, NULL, NULL);
		for (size_t i = known; !error && i < stopped->count; i++)
			error = await_stop(stopped, &stopped->items[i], diag);
		if (!error && !complete && ng_clock_ns() > stopped->deadline_ns)
			error = ng_diag_set(diag, -ETIMEDOUT,
				"process %d starts threads faster than they can be stopped: "
				"nothing was changed",
				stopped->pid);
	}
	return error;
}

/* Where it is. One that sleeps may have woken up meanwhile: then it stops in a moment. */
static int locate(struct ng_stopped *stopped, struct ng_tracee *tracee, struct ng_diag *diag)
{
	int error = 0;

	if (tracee->stop == NG_STOP_ASLEEP)
		(void)look(stopped, tracee, WNOHANG);
	while (!error && tracee->stop == NG_STOP_ASLEEP) {
		read_asleep(stopped, tracee);
		if (tracee->pc)
			return 0;
		tracee->stop = NG_STOP_NONE;
		error = await_stop(stopped, tracee, diag);
	}
	if (!error && tracee->stop != NG_STOP_GONE)
		read_registers(tracee);
	return error;
}

int ng_stopped_seize(struct ng_stopped *stopped, struct ng_diag *diag)
{
	int error = stop_all(stopped, diag);

	for (size_t i = 0; !error && i < stopped->count; i++)
		error = locate(stopped, &stopped->items[i], diag);
	if (!error && stopped->execed)
		error = ng_diag_set(diag, -ESRCH,
			"process %d runs another program since this moment (exec)", stopped->pid);
	if (!error && !ng_stopped_threads(stopped))
		error = ng_diag_set(diag, -ESRCH, "process %d has exited", stopped->pid);
	if (error)
		(void)ng_stopped_let_go(stopped);
	return error;
}

/* Lets one go that has stopped, as it would have gone on. One that was killed in its stop needs
 * nobody. */
static void let_go(struct ng_tracee *tracee)
{
	if (!tracee->pc)
		read_registers(tracee); /* and mends what the stop ended */
	if (tracee->stop != NG_STOP_GONE)
		(void)ptrace(PTRACE_DETACH, tracee->tid, NULL, (long)tracee->signal);
	tracee->stop = NG_STOP_GONE;
}

uint64_t ng_stopped_let_go(struct ng_stopped *stopped)
{
	uint64_t stop_ns, end_ns;

	for (size_t i = 0; i < stopped->count; i++) {
		struct ng_tracee *tracee = &stopped->items[i];

		if (tracee->stop == NG_STOP_ASLEEP)
			tracee->stop = NG_STOP_NONE; /* until it stops after all */
		if (tracee->stop != NG_STOP_NONE || look(stopped, tracee, WNOHANG))
			let_go(tracee);
	}
	end_ns = ng_clock_ns();
	stop_ns = stopped->began_ns ? end_ns - stopped->began_ns : 0;
	/* Who has not met our interruption yet will, and is waited for; or what it ends is not
	 * mended. Whoever does not come is let go by the kernel at our end. */
	end_ns += LINGER_NS;
	for (size_t i = 0; i < stopped->count; i++) {
		struct ng_tracee *tracee = &stopped->items[i];

		while (tracee->stop == NG_STOP_NONE && ng_clock_ns() < end_ns) {
			if (look(stopped, tracee, 0))
				let_go(tracee);
		}
	}
	return stop_ns;
}

int ng_tracee_await(struct ng_tracee *tracee)
{
	siginfo_t info = {0};

	while (waitid(P_PID, (id_t)tracee->tid, &info, WEXITED | WSTOPPED | __WALL)) {
		if (errno != EINTR) {
			tracee->stop = NG_STOP_GONE;
			return -ESRCH;
		}
	}
	return is_gone(tracee, &info) ? -ESRCH : info.si_status;
}

size_t ng_stopped_threads(const struct ng_stopped *stopped)
{
	size_t count = 0;

	for (size_t i = 0; i < stopped->count; i++)
		count += stopped->items[i].stop != NG_STOP_GONE &&
			 stopped->items[i].stop != NG_STOP_NONE;
	return count;
}

void ng_stopped_release(struct ng_stopped *stopped)
{
	free(stopped->items);
	*stopped = (struct ng_stopped)NG_STOPPED_INIT;
}
