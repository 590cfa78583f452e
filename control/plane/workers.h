/*
 * Threads that arm, disarm and run windows, so that nobody who decides ever waits for the kernel:
 * an opening can take 15 ms, a closing as long.
 *
 * Disarming comes first, then arming, then windows; and some threads never take windows, so that a
 * disarming never waits for one. Posting and collecting is for one thread; the jobs run in others.
 */
#ifndef NG_CONTROL_PLANE_WORKERS_H
#define NG_CONTROL_PLANE_WORKERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ng_job_kind {
	NG_JOB_DISARM,
	NG_JOB_ARM,
	NG_JOB_WINDOW,
	NG_JOB_KINDS,
};

/** Embedded in what the job is about; the poster's until posted, and again when collected. */
struct ng_job {
	enum ng_job_kind kind;
	void (*run)(struct ng_job *job); /* in a worker */
	struct ng_job *next;		 /* the workers' own */
};

struct ng_workers;

/** Starts the threads: as many as windows can be open side by side, and two more.
 * @return 0; -ENOMEM, -EAGAIN */
int ng_workers_start(size_t window_count, struct ng_workers **ret_workers);

/** Ends the threads when all jobs posted have run. Jobs not collected are the poster's again. */
void ng_workers_stop(struct ng_workers *workers);

void ng_workers_post(struct ng_workers *workers, struct ng_job *job);

/** CPU time that jobs have used so far; those under way not counted. */
uint64_t ng_workers_cpu_ns(const struct ng_workers *workers);

/** Readable when a job has been run. */
int ng_workers_event_fd(const struct ng_workers *workers);

/** Takes back a job that has been run, in the order they ended. @return NULL where there is none */
struct ng_job *ng_workers_collect(struct ng_workers *workers);

#endif
