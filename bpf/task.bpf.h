/*
 * The few kernel fields that the programs read. Only their names count: libbpf moves the accesses
 * to where the running kernel has them (CO-RE), so no vmlinux.h of the building machine is needed.
 */
#ifndef NG_BPF_TASK_BPF_H
#define NG_BPF_TASK_BPF_H

#include <linux/types.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	int counter;
} atomic_t;

struct super_block {
	__u32 s_dev;
};

struct inode {
	struct super_block *i_sb;
	unsigned long i_ino;
};

struct file {
	struct inode *f_inode;
};

struct pt_regs {
	unsigned long r14;
	unsigned long bp;
	unsigned long ip;
	unsigned long sp;
};

struct vdso_image {
	unsigned long size;
};

typedef struct {
	void *vdso; /* its address; 0: there is none */
	const struct vdso_image *vdso_image;
} mm_context_t;

struct mm_struct {
	struct file *exe_file;
	mm_context_t context;
};

struct sched_entity {
	__u64 sum_exec_runtime;
};

struct signal_struct {
	atomic_t live; /* threads that have not begun to exit */
};

struct thread_struct {
	unsigned long fsbase; /* where the thread's own memory ends: x86's thread pointer */
};

struct task_struct {
	int pid;
	int tgid;
	__u64 start_boottime;
	__u64 self_exec_id; /* 32 bits before 5.7; libbpf takes the size from the kernel */
	struct task_struct *group_leader;
	struct signal_struct *signal;
	struct sched_entity se;
	struct mm_struct *mm;
	struct thread_struct thread;
};

#pragma clang attribute pop

#endif
