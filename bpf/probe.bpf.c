/*
 * The programs: one counts calls, one system calls, and three tell of the watched processes' lives.
 *
 * A uprobe's program may be preempted, and another thread's hit run on the same CPU in between; so
 * a per-CPU counter still needs an atomic addition (a plain one lost 390 of 40,000).
 */
#include "bpf/task.bpf.h"

#include "bpf/maps.bpf.h"

#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline void ng_count_add(const struct ng_count_key *key)
{
	struct ng_count *count = bpf_map_lookup_elem(&counts, key);

	if (!count) {
		const struct ng_count none = {.calls = 0};

		/* -EEXIST: another CPU was first, and its entry serves us as well. */
		(void)bpf_map_update_elem(&counts, key, &none, BPF_NOEXIST);
		count = bpf_map_lookup_elem(&counts, key);
		if (!count) {
			ng_lose(NG_LOST_COUNTS_FULL);
			return;
		}
	}
	__sync_fetch_and_add(&count->calls, 1);
}

static __always_inline void ng_count_call(struct task_struct *task, __u32 site)
{
	struct ng_count_key key = {.site = site};

	key.start_ns = task->group_leader->start_boottime;
	key.tgid = task->tgid;
	key.exec_id = (__u32)task->self_exec_id;
	ng_count_add(&key);
}

/* Each hit of each site. 0 tells perf that there is nothing to sample. */
SEC("kprobe")
int ng_hit(struct pt_regs *ctx)
{
	if (ng_gate)
		ng_count_call((struct task_struct *)bpf_get_current_task_btf(),
			(__u32)bpf_get_attach_cookie(ctx));
	return 0;
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
static __always_inline int ng_is_fallback(struct task_struct *task)
{
	const struct pt_regs *regs = (const struct pt_regs *)bpf_task_pt_regs(task);
	const __u64 start = (__u64)task->mm->context.vdso;

	return start && regs->ip - start < task->mm->context.vdso_image->size;
}

/* Each entry to a watched system call, by whatever process. */
SEC("tracepoint")
int ng_syscall(void *ctx)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task_btf();

	if (ng_gate && ng_target_of(task) && !ng_is_fallback(task))
		ng_count_call(task, (__u32)bpf_get_attach_cookie(ctx));
	return 0;
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
	if (ng_target_of(task)) {
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
