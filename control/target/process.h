/*
 * A process as /proc tells it. Nothing here stops or changes it.
 *
 * A process whose main thread has exited has no image of its own in /proc/PID any more; its other
 * threads still have. So images, maps and memory are read through a live thread.
 */
#ifndef NG_CONTROL_TARGET_PROCESS_H
#define NG_CONTROL_TARGET_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/base/diag.h"

#define NG_COMM_MAX 16 /* bytes with the NUL; the kernel's TASK_COMM_LEN */

struct ng_process {
	pid_t pid;
	pid_t parent;
	char state; /* as in proc(5): 'Z' is a zombie, also one whose threads live on */
	uint32_t threads;
	uint64_t start_ticks;	    /* since boot, in units of sysconf(_SC_CLK_TCK) */
	char comm[NG_COMM_MAX * 4]; /* an escaped name can be longer */
};

/** Reads the text of a /proc/PID/stat; -EINVAL where it is none. Pure. */
int ng_process_parse(const char *stat, struct ng_process *ret_process);

/** Reads a process, or a thread by its tid. @return 0; -ESRCH */
int ng_process_read(pid_t pid, struct ng_process *ret_process);

/**
 * Reads a process that somebody asked for by its pid.
 *
 * @return 0; -ESRCH there is none, or the pid is that of one of its threads: with the text
 */
int ng_process_find(pid_t pid, struct ng_process *ret_process, struct ng_diag *diag);

/* Inodes of the first namespaces, the same on every kernel since 3.8 (linux/proc_ns.h). */
#define NG_FIRST_PID_NAMESPACE	0xeffffffcu
#define NG_FIRST_USER_NAMESPACE 0xeffffffdu
#define NG_FIRST_TIME_NAMESPACE 0xeffffffau

/**
 * Do the pids and start times that BPF tells mean the same to us as to the kernel? Only in the
 * first pid namespace and the first time namespace. True also where /proc does not tell.
 */
bool ng_process_has_kernels_view(void);

/** The owners of a process. */
struct ng_owner {
	uid_t real;
	uid_t effective;
	uid_t saved;
};

/** Reads a process's owners. @return 0; -ESRCH */
int ng_process_owner(pid_t pid, struct ng_owner *ret_owner);

/** The start time that BPF tells (ns on the boot clock) in the ticks of ng_process. */
uint64_t ng_process_ticks(uint64_t start_ns);

/** The first nanosecond of a tick: the other way round. */
uint64_t ng_process_start_ns(uint64_t start_ticks);

/** The CPU time that a whole process has used, its threads that are gone too. @return 0; -ESRCH */
int ng_process_cpu_time(pid_t pid, uint64_t *ret_ns);

struct ng_threads {
	pid_t *tids;
	size_t count;
};

#define NG_THREADS_INIT                                                                            \
	{                                                                                          \
		.tids = NULL, .count = 0                                                           \
	}

void ng_threads_release(struct ng_threads *threads);

/** The threads of a process that still have memory: no zombies. @return 0; -ESRCH; -ENOMEM */
int ng_process_threads(pid_t pid, struct ng_threads *ret_threads);

/** A thread, and the CPU time that it has used; up to a scheduler's tick ago while it runs. */
struct ng_thread_time {
	pid_t tid;
	uint64_t cpu_ns;
};

struct ng_thread_times {
	struct ng_thread_time *items; /* by tid */
	size_t count;
};

#define NG_THREAD_TIMES_INIT                                                                       \
	{                                                                                          \
		.items = NULL, .count = 0                                                          \
	}

void ng_thread_times_release(struct ng_thread_times *times);

/** The living threads' CPU times. Cost: some 10 us a thread. @param max of them, at the most
 * @return 0; -ESRCH; -ENOMEM */
int ng_process_thread_times(pid_t pid, size_t max, struct ng_thread_times *ret_times);

/** Has a thread memory still: has it not begun to exit? */
bool ng_process_has_memory(pid_t pid, pid_t tid);

/** Some live thread of a process, the main one if it lives. @return its tid; -ESRCH */
int ng_process_live_thread(pid_t pid);

/** Opens the running image: not what stands at its path now. @return a descriptor; -ESRCH (also a
 * thread's id, or a kernel thread), -EACCES: with the text */
int ng_process_open_image(pid_t pid, struct ng_diag *diag);

/** The image's path as the kernel tells it, with " (deleted)" taken off; "?" where it is not known.
 */
void ng_process_image_path(pid_t pid, char *path, size_t path_bytes);

/** Who traces a process by ptrace. @return its pid, with its name; 0 nobody; -ESRCH */
int ng_process_tracer(pid_t pid, char comm[NG_COMM_MAX * 4]);

/** A part of a file mapped executable. */
struct ng_mapping {
	uint64_t start; /* addresses, end not included */
	uint64_t end;
	uint64_t offset; /* in the file, of start */
	dev_t device;
	ino_t inode;
	char *path; /* owned by the list */
};

struct ng_mappings {
	struct ng_mapping *items;
	size_t count;
};

#define NG_MAPPINGS_INIT                                                                           \
	{                                                                                          \
		.items = NULL, .count = 0                                                          \
	}

void ng_mappings_release(struct ng_mappings *mappings);

/** @param ret_copy empty before @return 0; -ENOMEM: it is empty then */
int ng_mappings_copy(const struct ng_mappings *mappings, struct ng_mappings *ret_copy);

/** The executable file mappings of a process. @return 0; -ESRCH; -ENOMEM */
int ng_process_mappings(pid_t pid, struct ng_mappings *ret_mappings);

/** Opens a mapped file itself, deleted or hidden from us as it may be. @return a descriptor; -errno
 */
int ng_process_open_mapping(pid_t pid, const struct ng_mapping *mapping);

/**
 * How the kernel itself names an open file: by its superblock and inode. That is how mappings and
 * execs are told; stat() shows other devices on btrfs and overlay, and other inodes on some
 * overlays. What /proc does not tell (a mount that is not in our namespace) is taken from stat().
 */
void ng_file_key(int fd, dev_t *ret_device, ino_t *ret_inode);

/** Reads memory. @return the count read; -ESRCH, -EIO */
ssize_t ng_process_read_memory(pid_t pid, uint64_t address, void *buffer, size_t size_bytes);

#endif
