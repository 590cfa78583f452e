/*
 * The programs: one counts calls, one system calls, one notes who runs where, and three tell of the
 * watched processes' lives.
 *
 * A uprobe's program may be preempted, and another thread's hit run on the same CPU in between; so
 * a per-CPU counter still needs an atomic addition (a plain one lost 390 of 40,000).
 */
#include <stdbool.h>

#include "bpf/task.bpf.h"

#include "bpf/maps.bpf.h"
#include "bpf/gate.bpf.h"
#include "bpf/record.bpf.h"

#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline bool ng_count_add(const struct ng_count_key *key)
{
	struct ng_count *count = bpf_map_lookup_elem(&counts, key);

	if (!count) {
		const struct ng_count none = {.calls = 0};

		/* -EEXIST: another CPU was first, and its entry serves us as well. */
		(void)bpf_map_update_elem(&counts, key, &none, BPF_NOEXIST);
		count = bpf_map_lookup_elem(&counts, key);
		if (!count) {
			ng_lose(NG_LOST_COUNTS_FULL);
			return false;
		}
	}
	__sync_fetch_and_add(&count->calls, 1);
	return true;
}

static __always_inline bool ng_count_call(struct task_struct *task, __u32 site)
{
	struct ng_count_key key = {.site = site};

	key.start_ns = task->group_leader->start_boottime;
	key.tgid = task->tgid;
	key.exec_id = (__u32)task->self_exec_id;
	return ng_count_add(&key);
}

static __always_inline struct ng_target *ng_target_of(struct task_struct *task)
{
	__u32 tgid = task->tgid;
	struct ng_target *target = bpf_map_lookup_elem(&targets, &tgid);

	if (target && target->start_ns && target->start_ns != task->group_leader->start_boottime)
		return 0; /* another process under an old pid */
	return target;
}

/* Does the vDSO pass a read on to the kernel? It was counted where the vDSO was called. */
static __always_inline bool ng_is_fallback(struct task_struct *task)
{
	const struct pt_regs *regs = (const struct pt_regs *)bpf_task_pt_regs(task);
	const __u64 start = (__u64)task->mm->context.vdso;

	return start && regs->ip - start < task->mm->context.vdso_image->size;
}

/* Without gates of their own, all processes share the first one's mode. */
static __always_inline bool ng_default_counts(void)
{
	const __u32 first = 0;
	const volatile struct ng_gate *gate = bpf_map_lookup_elem(&gates, &first);

	return gate && gate->mode == NG_MODE_COUNT;
}

static __always_inline void ng_tell(struct ng_proc_event *event, struct task_struct *task)
{
	event->time_ns = bpf_ktime_get_ns();
	event->start_ns = task->group_leader->start_boottime;
	event->tgid = task->tgid;
	event->exec_id = (__u32)task->self_exec_id;
	if (bpf_ringbuf_output(&events, event, sizeof(*event), BPF_RB_FORCE_WAKEUP))
		ng_lose(NG_LOST_EVENTS_FULL);
}

/* The row of a key in a window, claimed if it is new. */
static __always_inline struct ng_window_row *ng_window_row_of(
	struct ng_window_table *window, __u64 key)
{
	const __u32 hash = (__u32)((key * 0x9e3779b97f4a7c15ull) >> 40);

	for (__u32 i = 0; i < NG_WINDOW_PROBES; i++) {
		struct ng_window_row *row = &window->rows[(hash + i) & (NG_WINDOW_ROWS - 1)];
		__u64 found = *(volatile __u64 *)&row->key;

		if (!found)
			found = __sync_val_compare_and_swap(&row->key, 0, key);
		if (!found || found == key)
			return row;
	}
	return 0;
}

static __always_inline bool ng_window_add(__u32 index, __u64 key, __u64 value)
{
	struct ng_window_table *window = bpf_map_lookup_elem(&windows, &index);
	struct ng_window_row *row = window ? ng_window_row_of(window, key) : 0;

	if (!row)
		return false;
	__sync_fetch_and_add(&row->value, value);
	return true;
}

/* Delivers a hit: counts it, in its window if one is open. */
static __always_inline bool ng_deliver(
	struct task_struct *task, __u32 site, const volatile struct ng_gate *gate, bool in_window)
{
	if (in_window && !ng_window_add(gate->window, NG_ROW_KEY(task->pid, site + 1), 1)) {
		ng_lose(NG_LOST_WINDOW_FULL);
		return false;
	}
	return ng_count_call(task, site);
}

/* Records a delivered call, and what time that takes: on top of what a counted one does. */
static __always_inline void ng_tell_call(const struct pt_regs *regs, struct task_struct *task,
	__u32 site, struct ng_when when, struct ng_gate_tally *tally)
{
	const __u64 from_ns = bpf_ktime_get_ns();

	ng_record_call(regs, task, site, when);
	__sync_fetch_and_add(&tally->told, 1);
	__sync_fetch_and_add(&tally->telling_ns, bpf_ktime_get_ns() - from_ns);
}

static __always_inline void ng_trip(struct task_struct *task)
{
	struct ng_proc_event event = {.kind = NG_PROC_TRIP};

	ng_tell(&event, task);
}

/* Has the thread been on this CPU since a time? */
static __always_inline bool ng_ran_since(__u64 time_ns)
{
	const __u32 cpu = bpf_get_smp_processor_id();
	const struct ng_on_cpu *here = bpf_map_lookup_elem(&on_cpu, &cpu);

	return here && here->since_ns <= time_ns;
}

/* A site is hit after its lead: what lies between is the cost of a hit. Another thread's hit may
 * have come in the midst of noting one, or the thread was away meanwhile: then it says nothing. */
static __always_inline void ng_pair(struct ng_gate_tally *tally, __u64 key, __u64 now_ns)
{
	const __u64 from_ns = tally->lead_ns;

	if (tally->lead_key != key)
		return;
	tally->lead_key = 0;
	if (!ng_ran_since(from_ns))
		return;
	__sync_fetch_and_add(&tally->pairs, 1);
	__sync_fetch_and_add(&tally->pairs_ns, now_ns - from_ns);
}

/* A hit of a process that has a gate: hits = delivered + sampled out + lost. */
static __always_inline void ng_gated_hit(
	const struct pt_regs *regs, struct task_struct *task, __u64 cookie)
{
	const __u32 site = (__u32)cookie, leads_to_plus_one = (__u32)(cookie >> 32);
	struct ng_target *target = ng_target_of(task);
	const __u32 index = target ? target->gate : 0;
	struct ng_gate *gate = bpf_map_lookup_elem(&gates, &index);
	struct ng_gate_tally *tally = bpf_map_lookup_elem(&gate_tallies, &index);
	const __u64 now_ns = bpf_ktime_get_ns();
	__u64 verdict;
	__u32 window;

	if (!gate || !tally)
		return; /* cannot be: the index is in range */
	if (leads_to_plus_one) {
		__sync_fetch_and_add(&tally->lead_hits, 1);
		tally->lead_key = NG_ROW_KEY(task->pid, leads_to_plus_one);
		tally->lead_ns = now_ns;
		return;
	}
	__sync_fetch_and_add(&tally->hits, 1);
	tally->last_hit_ns = now_ns;
	verdict = ng_gate_decide(gate, &tally->share, now_ns, bpf_get_prandom_u32());
	if (!(verdict & NG_VERDICT_DELIVER)) {
		__sync_fetch_and_add(&tally->sampled_out, 1);
		return;
	}
	if (!tally->first_ns)
		tally->first_ns = now_ns;
	ng_pair(tally, NG_ROW_KEY(task->pid, site + 1), now_ns);
	window = NG_VERDICT_WINDOW(verdict);
	if (!ng_deliver(task, site, gate, window)) {
		__sync_fetch_and_add(&tally->lost, 1);
	} else {
		const struct ng_when when = {
			.window = window, .stretch = ((volatile struct ng_gate *)gate)->records};

		__sync_fetch_and_add(&tally->delivered, 1);
		if (ng_records_bytes && when.stretch)
			ng_tell_call(regs, task, site, when, tally);
	}
	if (!(verdict & NG_VERDICT_TRIP))
		return;
	if (window)
		gate->window_until_ns = now_ns;
	ng_trip(task);
}

/* Each hit of each site. 0 tells perf that there is nothing to sample. */
SEC("kprobe")
int ng_hit(struct pt_regs *ctx)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();
	const __u64 cookie = bpf_get_attach_cookie(ctx);

	if (ng_has_gates) {
		ng_gated_hit(ctx, task, cookie);
	} else if (ng_default_counts()) {
		if (ng_count_call(task, (__u32)cookie) && ng_records_bytes)
			ng_record_call(ctx, task, (__u32)cookie, (struct ng_when){});
	}
	return 0;
}

/* Each entry to a watched system call, by whatever process. */
SEC("tracepoint")
int ng_syscall(void *ctx)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();

	if (ng_default_counts() && ng_target_of(task) && !ng_is_fallback(task))
		(void)ng_count_call(task, (__u32)bpf_get_attach_cookie(ctx));
	return 0;
}

/* Adds the time that a thread just spent on its CPU to its process's window, if one is open. */
static __always_inline void ng_window_ran(struct task_struct *task, __u64 since_ns, __u64 now_ns)
{
	struct ng_target *target = ng_target_of(task);
	const __u32 index = target ? target->gate : 0;
	const volatile struct ng_gate *gate = index ? bpf_map_lookup_elem(&gates, &index) : 0;
	struct ng_window_table *window;
	__u64 until_ns;
	__u32 number;

	if (!gate || !gate->window_open)
		return;
	number = gate->window;
	window = bpf_map_lookup_elem(&windows, &number);
	if (!window)
		return;
	if (since_ns < window->opened_ns)
		since_ns = window->opened_ns;
	until_ns = gate->window_until_ns;
	if (now_ns < until_ns)
		until_ns = now_ns;
	if (until_ns > since_ns &&
		!ng_window_add(number, NG_ROW_KEY(task->pid, 0), until_ns - since_ns))
		ng_lose(NG_LOST_WINDOW_FULL);
}

/* Each switch of each CPU; attached while windows are wanted. Threads are corrected for dead time
 * by the time that they were on a CPU, and only switches tell that within a millisecond. */
SEC("tp_btf/sched_switch")
int BPF_PROG(ng_switch, bool preempt, struct task_struct *previous, struct task_struct *next)
{
	const __u32 cpu = bpf_get_smp_processor_id();
	struct ng_on_cpu *here = bpf_map_lookup_elem(&on_cpu, &cpu);
	const __u64 now_ns = bpf_ktime_get_ns();

	if (!here)
		return 0; /* a CPU beyond NG_CPUS_MAX: its threads' time is not seen */
	if (ng_windows_open && previous->pid)
		ng_window_ran(previous, here->since_ns, now_ns);
	here->since_ns = now_ns;
	here->tgid = next->tgid;
	here->tid = next->pid;
	return 0;
}

static __always_inline void ng_event_file(struct ng_proc_event *event, struct file *file)
{
	if (!file)
		return;
	event->image_inode = file->f_inode->i_ino;
	event->image_device = file->f_inode->i_sb->s_dev;
}

static __always_inline void ng_follow(struct task_struct *task)
{
	struct ng_target target = {.flags = NG_TARGET_FOLLOW};
	__u32 tgid = task->tgid;

	target.start_ns = task->group_leader->start_boottime;
	if (bpf_map_update_elem(&targets, &tgid, &target, BPF_ANY))
		ng_lose(NG_LOST_TARGETS_FULL);
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(ng_fork, struct task_struct *parent, struct task_struct *child)
{
	struct ng_proc_event event = {.kind = NG_PROC_FORK};
	struct ng_target *target;

	if (parent->tgid == child->tgid)
		return 0; /* a thread */
	target = ng_target_of(parent);
	if (!target)
		return 0;
	if (target->flags & NG_TARGET_FOLLOW)
		ng_follow(child);
	event.parent = parent->tgid;
	ng_tell(&event, child);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(ng_exec, struct task_struct *task)
{
	struct ng_proc_event event = {.kind = NG_PROC_EXEC};
	struct ng_image_key image = {};

	ng_event_file(&event, task->mm->exe_file);
	image.inode = event.image_inode;
	image.device = event.image_device;
	if (ng_target_of(task) || ng_tell_execs) {
		ng_tell(&event, task);
	} else if (bpf_map_lookup_elem(&images, &image)) {
		ng_follow(task);
		ng_tell(&event, task);
	}
	return 0;
}

/* Each thread's end. The runtime lags by up to a tick: it is brought up to date at ticks. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(ng_exit, struct task_struct *task)
{
	struct ng_proc_event event = {.kind = NG_PROC_EXIT};
	struct ng_target *target = ng_target_of(task);

	if (!target)
		return 0;
	__sync_fetch_and_add(&target->cpu_ns, task->se.sum_exec_runtime);
	/* The kernel takes a thread off `live` before this point: 0 in the last one (in the last
	 * two, where they end together). */
	if (task->signal->live.counter) {
		if (task->pid != task->tgid)
			return 0;
		event.kind = NG_PROC_MAIN_EXIT;
	}
	event.cpu_ns = target->cpu_ns;
	ng_tell(&event, task);
	if (event.kind == NG_PROC_EXIT) {
		__u32 tgid = task->tgid;

		/* Makes room. The other of two that end together finds nothing: its time is lost.
		 */
		(void)bpf_map_delete_elem(&targets, &tgid);
	}
	return 0;
}
