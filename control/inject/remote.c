#include "control/inject/remote.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/cleanup.h"

#define SYSCALL_STOP (SIGTRAP | 0x80) /* with PTRACE_O_TRACESYSGOOD */
#define SYSCALL_SIZE 2u		      /* bytes of the instruction: 0f 05 */

#define TRACE_OPTIONS (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC)

/* Below the stack pointer, and below what the ABI lets a function use there (128 bytes). */
#define TEXT_BELOW 512ull
#define TEXT_BYTES 64u

#define RESET_ON_FORK 0x01ull /* of struct sched_attr's flags: linux/sched.h */

#define CHUNK_BYTES 65536ul

static uint64_t find_in(int mem_fd, uint64_t start, uint64_t end)
{
	NG_CLEANUP_FREE uint8_t *chunk = malloc(CHUNK_BYTES);

	while (chunk && start < end) {
		const size_t wanted = end - start < CHUNK_BYTES ? end - start : CHUNK_BYTES;
		const ssize_t length = pread(mem_fd, chunk, wanted, (off_t)start);
		const uint8_t *found =
			length > 1 ? memmem(chunk, (size_t)length, "\x0f\x05", SYSCALL_SIZE) : NULL;

		if (found)
			return start + (uint64_t)(found - chunk);
		if (length < 2)
			return 0;
		start += (uint64_t)length - (wanted > 2 && start + wanted < end);
	}
	return 0;
}

uint64_t ng_remote_find_syscall(pid_t pid, int mem_fd)
{
	NG_CLEANUP_FCLOSE FILE *file = NULL;
	NG_CLEANUP_FREE char *line = NULL;
	uint64_t found = 0;
	char path[32];
	size_t room = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	file = fopen(path, "re");
	while (file && getline(&line, &room, file) > 0) {
		const bool is_vdso = strstr(line, "[vdso]");
		uint64_t start, end, here;
		char executable;

		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*c%*c%c", &start, &end, &executable) !=
				3 ||
			executable != 'x' || strstr(line, "[vsyscall]") || (found && !is_vdso))
			continue;
		here = find_in(mem_fd, start, end);
		if (here)
			found = here; /* the vDSO's, where it has one: no uprobe can stand there */
	}
	return found;
}

/* Is it within a restartable sequence? The kernel would take our detour for the end of it. */
static bool is_in_sequence(const struct ng_remote *remote, pid_t tid)
{
	struct __ptrace_rseq_configuration rseq = {0};
	uint64_t section = 0;

	if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, tid, sizeof(rseq), &rseq) < 0 ||
		!rseq.rseq_abi_pointer)
		return false;
	/* struct rseq: cpu_id_start, cpu_id, rseq_cs */
	return pread(remote->mem_fd, &section, sizeof(section),
		       (off_t)(rseq.rseq_abi_pointer + 8)) == sizeof(section) &&
	       section;
}

/* How good is a thread for it? 0: not at all. A sleeper is the best: it runs at once when told to,
 * while the kernel lets one that has used its time wait for others. */
static int fitness(const struct ng_remote *remote, const struct ng_tracee *tracee)
{
	if (!tracee->is_64_bit || !tracee->sp)
		return 0;
	if (tracee->stop == NG_STOP_EVENT && tracee->in_call)
		return 3;
	if (tracee->stop != NG_STOP_EVENT && tracee->stop != NG_STOP_GROUP)
		return 0;
	if (!tracee->in_call && is_in_sequence(remote, tracee->tid))
		return 0;
	return tracee->stop == NG_STOP_EVENT ? 2 : 1;
}

static void choose(struct ng_remote *remote)
{
	int best = 0;

	for (size_t i = 0; i < remote->stopped->count && best < 3; i++) {
		struct ng_tracee *tracee = &remote->stopped->items[i];
		const int fit = fitness(remote, tracee);

		if (fit > best) {
			best = fit;
			remote->thread = tracee;
		}
	}
}

/* Lets a thread take the signal that it is about to be given: it stops again before its handler's
 * first instruction, or is gone by it. */
static void deliver(struct ng_tracee *tracee)
{
	struct user_regs_struct registers;
	int status;

	(void)ptrace(PTRACE_INTERRUPT, tracee->tid, NULL, NULL);
	if (ptrace(PTRACE_CONT, tracee->tid, NULL, (long)tracee->signal))
		return; /* killed in its stop */
	tracee->signal = 0;
	status = ng_tracee_await(tracee);
	if (status < 0)
		return;
	tracee->stop = ng_stop_of(status);
	tracee->signal = tracee->stop == NG_STOP_SIGNAL ? status & 0x7f : 0;
	if (ptrace(PTRACE_GETREGS, tracee->tid, NULL, &registers))
		return;
	tracee->pc = registers.rip;
	tracee->sp = registers.rsp;
	tracee->in_call = (int64_t)registers.orig_rax >= 0;
}

static void deliver_and_choose(struct ng_remote *remote)
{
	for (size_t i = 0; i < remote->stopped->count && !remote->thread; i++) {
		if (remote->stopped->items[i].stop == NG_STOP_SIGNAL) {
			deliver(&remote->stopped->items[i]);
			choose(remote);
		}
	}
}

static bool has_filter(const struct ng_remote *remote)
{
	NG_CLEANUP_FCLOSE FILE *file = NULL;
	NG_CLEANUP_FREE char *line = NULL;
	char path[64];
	size_t room = 0;
	int mode = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/status", remote->stopped->pid,
		remote->thread->tid);
	file = fopen(path, "re");
	while (file && getline(&line, &room, file) > 0) {
		if (sscanf(line, "Seccomp: %d", &mode) == 1)
			break;
	}
	return mode;
}

/* All signals but those that a fault of its own raises: the kernel resets the handlers of these
 * where they are blocked. */
static uint64_t calm_mask(uint64_t own_mask)
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
	uint64_t mask = ~0ull;

	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		if (!(own_mask & 1ull << (faults[i] - 1)))
			mask &= ~(1ull << (faults[i] - 1));
	}
	return mask;
}

/* A thread may run wherever its cpuset lets it, unless it was told less: then these are its CPUs.
 */
static bool read_cpus(struct ng_remote *remote)
{
	const pid_t tid = remote->thread->tid;
	cpu_set_t own, all;

	memset(&remote->cpus, 0xff, sizeof(remote->cpus));
	if (sched_getaffinity(tid, sizeof(own), &own) ||
		sched_setaffinity(tid, sizeof(remote->cpus), &remote->cpus) ||
		sched_getaffinity(tid, sizeof(all), &all))
		return false;
	if (!CPU_EQUAL(&own, &all))
		remote->cpus = own;
	return true;
}

/*
 * A thread that others compete with would wait for them at each of our calls, while all of the
 * target stands. So it goes first for that long, and on our CPU: to wake another one up takes
 * 60 us on a virtual machine, a switch takes 8. It is as before again when its registers are.
 */
static void go_first(struct ng_remote *remote)
{
	const pid_t tid = remote->thread->tid;
	const int cpu = sched_getcpu();
	struct ng_schedule first = {.size = sizeof(first), .policy = SCHED_FIFO, .priority = 1};
	cpu_set_t here;

	CPU_ZERO(&here);
	if (cpu >= 0 && cpu < CPU_SETSIZE && read_cpus(remote)) {
		CPU_SET(cpu, &here);
		remote->is_here = true;
		if (!sched_setaffinity(0, sizeof(here), &here))
			(void)sched_setaffinity(tid, sizeof(here), &here);
	}
	if (syscall(SYS_sched_getattr, tid, &remote->schedule, sizeof(remote->schedule), 0) ||
		(remote->schedule.policy != SCHED_OTHER && remote->schedule.policy != SCHED_BATCH))
		return;
	first.flags = remote->schedule.flags & RESET_ON_FORK;
	remote->is_first = !syscall(SYS_sched_setattr, tid, &first, 0);
}

static void go_as_before(struct ng_remote *remote)
{
	if (remote->is_first)
		(void)syscall(SYS_sched_setattr, remote->thread->tid, &remote->schedule, 0);
	if (remote->is_here)
		(void)sched_setaffinity(remote->thread->tid, sizeof(remote->cpus), &remote->cpus);
	remote->is_first = false;
	remote->is_here = false;
}

int ng_remote_begin(struct ng_remote *remote, struct ng_diag *diag)
{
	uint64_t mask;
	pid_t tid;

	choose(remote);
	if (!remote->thread)
		deliver_and_choose(remote);
	if (!remote->thread)
		return ng_diag_set(diag, -ENOENT,
			"no thread of process %d is at a place where it could be borrowed: nothing "
			"was changed. Try again",
			remote->stopped->pid);
	tid = remote->thread->tid;
	remote->suspends_seccomp =
		!ptrace(PTRACE_SETOPTIONS, tid, NULL, TRACE_OPTIONS | PTRACE_O_SUSPEND_SECCOMP);
	if (!remote->suspends_seccomp && has_filter(remote))
		return ng_diag_set(diag, -EACCES,
			"process %d has a seccomp filter, and suspending it for a moment is "
			"denied: "
			"it needs CAP_SYS_ADMIN, and that nowgate itself is under no filter",
			remote->stopped->pid);
	if (ptrace(PTRACE_GETREGS, tid, NULL, &remote->saved) ||
		ptrace(PTRACE_GETSIGMASK, tid, sizeof(remote->saved_mask), &remote->saved_mask))
		return ng_diag_set(
			diag, -ESRCH, "process %d has been killed", remote->stopped->pid);
	mask = calm_mask(remote->saved_mask);
	(void)ptrace(PTRACE_SETSIGMASK, tid, sizeof(mask), &mask);
	go_first(remote);
	return 0;
}

/* A signal that came in between: it is given back at the end. */
static void owe(struct ng_remote *remote)
{
	siginfo_t *info = &remote->owed[remote->owed_count];

	if (remote->owed_count < NG_REMOTE_OWED_MAX &&
		!ptrace(PTRACE_GETSIGINFO, remote->thread->tid, NULL, info))
		remote->owed_count++;
}

/* Is the signal that it is stopped for one that our call has raised? */
static bool is_raised(const struct ng_remote *remote, int signal_number)
{
	siginfo_t info;

	if (ptrace(PTRACE_GETSIGINFO, remote->thread->tid, NULL, &info))
		return false;
	return signal_number != SIGSTOP && info.si_code > 0;
}

static int killed(const struct ng_remote *remote, struct ng_diag *diag)
{
	return ng_diag_set(diag, -ESRCH, "process %d was killed meanwhile", remote->stopped->pid);
}

/* Has it go on until it enters or leaves a system call; whatever else comes is passed by. */
static int run_to_syscall(struct ng_remote *remote, struct ng_diag *diag)
{
	struct ng_tracee *thread = remote->thread;

	for (;;) {
		int status;

		if (ptrace(PTRACE_SYSCALL, thread->tid, NULL, 0L)) {
			(void)ng_tracee_await(thread);
			return killed(remote, diag);
		}
		status = ng_tracee_await(thread);
		if (status < 0)
			return killed(remote, diag);
		if (status == SYSCALL_STOP)
			return 0;
		if (ng_stop_of(status) != NG_STOP_SIGNAL)
			continue; /* job control, which we leave to the end */
		if (is_raised(remote, status))
			return ng_diag_set(diag, -EACCES,
				"a system call in process %d raised signal %d: its own filter "
				"(seccomp, user dispatch) forbids it",
				remote->stopped->pid, status);
		owe(remote);
	}
}

int ng_remote_call(struct ng_remote *remote, long number, const uint64_t arguments[6],
	int64_t *ret_result, struct ng_diag *diag)
{
	struct user_regs_struct registers = remote->saved;
	const pid_t tid = remote->thread->tid;
	int error;

	registers.rip = remote->syscall_address;
	registers.rax = (uint64_t)number;
	registers.orig_rax = (uint64_t)-1; /* it is in no system call: nothing to go on with */
	registers.rdi = arguments[0];
	registers.rsi = arguments[1];
	registers.rdx = arguments[2];
	registers.r10 = arguments[3];
	registers.r8 = arguments[4];
	registers.r9 = arguments[5];
	remote->has_moved = true;
	if (ptrace(PTRACE_SETREGS, tid, NULL, &registers))
		return killed(remote, diag);
	error = run_to_syscall(remote, diag); /* enters */
	if (!error)
		error = run_to_syscall(remote, diag); /* leaves */
	if (!error && ptrace(PTRACE_GETREGS, tid, NULL, &registers))
		error = killed(remote, diag);
	if (error)
		return error;
	if (registers.rip != remote->syscall_address + SYSCALL_SIZE ||
		registers.orig_rax != (uint64_t)number)
		return ng_diag_set(diag, -EPROTO,
			"a system call in process %d ended at 0x%" PRIx64 ", not at 0x%" PRIx64,
			remote->stopped->pid, (uint64_t)registers.rip,
			remote->syscall_address + SYSCALL_SIZE);
	*ret_result = (int64_t)registers.rax;
	return 0;
}

int ng_remote_call_with_text(struct ng_remote *remote, long number, const char *text,
	uint64_t second, int64_t *ret_result, struct ng_diag *diag)
{
	const off_t at = (off_t)((remote->saved.rsp - TEXT_BELOW) & ~15ull);
	const uint64_t arguments[6] = {(uint64_t)at, second};
	const ssize_t size = (ssize_t)strnlen(text, TEXT_BYTES - 1) + 1;
	char put[TEXT_BYTES] = "", before[TEXT_BYTES];
	int error;

	memcpy(put, text, (size_t)size - 1);
	if (pread(remote->mem_fd, before, (size_t)size, at) != size ||
		pwrite(remote->mem_fd, put, (size_t)size, at) != size)
		return ng_diag_set(diag, -EFAULT,
			"thread %d of process %d has no room below its stack: nothing was changed",
			remote->thread->tid, remote->stopped->pid);
	error = ng_remote_call(remote, number, arguments, ret_result, diag);
	if (pwrite(remote->mem_fd, before, (size_t)size, at) != size && !error)
		error = killed(remote, diag);
	return error;
}

/* Brings it to a stop from which the kernel goes on with what the registers say it was in: not the
 * stop at a system call's end. */
static int run_to_event(struct ng_remote *remote)
{
	struct ng_tracee *thread = remote->thread;

	for (;;) {
		int status;

		(void)ptrace(PTRACE_INTERRUPT, thread->tid, NULL, NULL);
		if (ptrace(PTRACE_CONT, thread->tid, NULL, 0L)) {
			(void)ng_tracee_await(thread);
			return -ESRCH;
		}
		status = ng_tracee_await(thread);
		if (status < 0)
			return status;
		if (ng_stop_of(status) != NG_STOP_SIGNAL) {
			thread->stop = ng_stop_of(status);
			return 0;
		}
		if (!is_raised(remote, status))
			owe(remote);
	}
}

static void pay(const struct ng_remote *remote)
{
	const pid_t pid = remote->stopped->pid, tid = remote->thread->tid;

	for (size_t i = 0; i < remote->owed_count; i++) {
		const siginfo_t *info = &remote->owed[i];

		if (info->si_code >= 0 || info->si_code == SI_TKILL ||
			syscall(SYS_rt_tgsigqueueinfo, pid, tid, info->si_signo, info))
			(void)syscall(SYS_tgkill, pid, tid, info->si_signo);
	}
}

int ng_remote_end(struct ng_remote *remote)
{
	const pid_t tid = remote->thread->tid;
	int error = 0;

	if (remote->thread->stop == NG_STOP_GONE)
		return -ESRCH;
	if (remote->has_moved)
		error = run_to_event(remote);
	go_as_before(remote);
	if (error)
		return error;
	if (ptrace(PTRACE_SETREGS, tid, NULL, &remote->saved) ||
		ptrace(PTRACE_SETSIGMASK, tid, sizeof(remote->saved_mask), &remote->saved_mask))
		return -ESRCH;
	(void)ptrace(PTRACE_SETOPTIONS, tid, NULL, TRACE_OPTIONS);
	pay(remote);
	return 0;
}
