#include "control/plane/workers.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "control/plane/prompt.h"
#include "core/base/clock.h"

#define RESERVED 2 /* threads that take no windows */

struct queue {
	struct ng_job *first;
	struct ng_job **last;
};

/* The lock guards the queues; nothing is called while it is held. */
struct ng_workers {
	pthread_mutex_t lock;
	pthread_cond_t posted;	/* who takes windows, too, waits here … */
	pthread_cond_t urgent;	/* … and who does not, here */
	size_t urgent_count;	/* jobs queued that are no windows */
	size_t idle_for_urgent; /* who waits there */
	struct queue queues[NG_JOB_KINDS];
	struct queue done;
	bool stopping;
	uint64_t cpu_ns; /* that jobs have used; relaxed: a sum for people and plans */
	int event_fd;
	size_t count;
	struct worker {
		struct ng_workers *workers;
		pthread_t thread;
		bool takes_windows;
	} items[];
};

static void push(struct queue *queue, struct ng_job *job)
{
	job->next = NULL;
	*queue->last = job;
	queue->last = &job->next;
}

static struct ng_job *pop(struct queue *queue)
{
	struct ng_job *job = queue->first;

	if (!job)
		return NULL;
	queue->first = job->next;
	if (!queue->first)
		queue->last = &queue->first;
	return job;
}

static struct ng_job *next_job(struct worker *worker)
{
	struct ng_workers *workers = worker->workers;
	struct ng_job *job = NULL;

	for (int kind = 0; !job && kind < NG_JOB_KINDS; kind++) {
		if (kind != NG_JOB_WINDOW || worker->takes_windows)
			job = pop(&workers->queues[kind]);
	}
	if (job && job->kind != NG_JOB_WINDOW)
		workers->urgent_count--;
	return job;
}

static void wait_for_job(struct worker *worker)
{
	struct ng_workers *workers = worker->workers;

	if (worker->takes_windows) {
		(void)pthread_cond_wait(&workers->posted, &workers->lock);
		return;
	}
	workers->idle_for_urgent++;
	(void)pthread_cond_wait(&workers->urgent, &workers->lock);
	workers->idle_for_urgent--;
}

static void *work(void *argument)
{
	struct worker *worker = argument;
	struct ng_workers *workers = worker->workers;
	const uint64_t one = 1;
	uint64_t began_ns;
	struct ng_job *job;

	(void)prctl(PR_SET_TIMERSLACK, 1UL); /* windows are timed to some microseconds */
	ng_prompt_thread(-20);
	(void)pthread_mutex_lock(&workers->lock);
	for (;;) {
		job = next_job(worker);
		if (!job && workers->stopping)
			break;
		if (!job) {
			wait_for_job(worker);
			continue;
		}
		(void)pthread_mutex_unlock(&workers->lock);
		began_ns = ng_clock_thread_ns();
		job->run(job);
		(void)__atomic_fetch_add(
			&workers->cpu_ns, ng_clock_thread_ns() - began_ns, __ATOMIC_RELAXED);
		(void)pthread_mutex_lock(&workers->lock);
		push(&workers->done, job);
		(void)pthread_mutex_unlock(&workers->lock); /* who is woken up here wants it */
		(void)!write(workers->event_fd, &one, sizeof(one)); /* full: readable it is */
		(void)pthread_mutex_lock(&workers->lock);
	}
	(void)pthread_mutex_unlock(&workers->lock);
	return NULL;
}

/* Signals are for the threads that were there before. */
static int start_thread(struct worker *worker)
{
	sigset_t all, old;
	int error;

	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	error = pthread_create(&worker->thread, NULL, work, worker);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -error;
}

int ng_workers_start(size_t window_count, struct ng_workers **ret_workers)
{
	const size_t count = window_count + RESERVED;
	struct ng_workers *workers =
		calloc(1, sizeof(*workers) + count * sizeof(workers->items[0]));
	int error = 0;

	if (!workers)
		return -ENOMEM;
	(void)pthread_mutex_init(&workers->lock, NULL); /* cannot fail without attributes */
	(void)pthread_cond_init(&workers->posted, NULL);
	(void)pthread_cond_init(&workers->urgent, NULL);
	for (int kind = 0; kind < NG_JOB_KINDS; kind++)
		workers->queues[kind].last = &workers->queues[kind].first;
	workers->done.last = &workers->done.first;
	workers->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (workers->event_fd < 0)
		error = -errno;
	for (size_t i = 0; !error && i < count; i++) {
		workers->items[i] =
			(struct worker){.workers = workers, .takes_windows = i < window_count};
		error = start_thread(&workers->items[i]);
		workers->count += !error;
	}
	if (error) {
		ng_workers_stop(workers);
		return error;
	}
	*ret_workers = workers;
	return 0;
}

void ng_workers_stop(struct ng_workers *workers)
{
	if (!workers)
		return;
	(void)pthread_mutex_lock(&workers->lock);
	workers->stopping = true;
	(void)pthread_cond_broadcast(&workers->posted);
	(void)pthread_cond_broadcast(&workers->urgent);
	(void)pthread_mutex_unlock(&workers->lock);
	for (size_t i = 0; i < workers->count; i++)
		(void)pthread_join(workers->items[i].thread, NULL);
	if (workers->event_fd >= 0)
		close(workers->event_fd);
	(void)pthread_cond_destroy(&workers->posted);
	(void)pthread_cond_destroy(&workers->urgent);
	(void)pthread_mutex_destroy(&workers->lock);
	free(workers);
}

void ng_workers_post(struct ng_workers *workers, struct ng_job *job)
{
	(void)pthread_mutex_lock(&workers->lock);
	push(&workers->queues[job->kind], job);
	workers->urgent_count += job->kind != NG_JOB_WINDOW;
	/* One is woken up, not all: each time that takes a CPU, maybe from a target. */
	if (job->kind != NG_JOB_WINDOW && workers->urgent_count <= workers->idle_for_urgent)
		(void)pthread_cond_signal(&workers->urgent);
	else
		(void)pthread_cond_signal(&workers->posted);
	(void)pthread_mutex_unlock(&workers->lock);
}

uint64_t ng_workers_cpu_ns(const struct ng_workers *workers)
{
	return __atomic_load_n(&workers->cpu_ns, __ATOMIC_RELAXED);
}

int ng_workers_event_fd(const struct ng_workers *workers)
{
	return workers->event_fd;
}

struct ng_job *ng_workers_collect(struct ng_workers *workers)
{
	struct ng_job *job;
	uint64_t count;

	(void)pthread_mutex_lock(&workers->lock);
	job = pop(&workers->done);
	if (!job)
		(void)!read(workers->event_fd, &count, sizeof(count)); /* empty it already is */
	(void)pthread_mutex_unlock(&workers->lock);
	return job;
}
