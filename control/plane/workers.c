#include "control/plane/workers.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#define RESERVED 2 /* threads that take no windows */

struct queue {
	struct ng_job *first;
	struct ng_job **last;
};

/* The lock guards the queues; nothing is called while it is held. */
struct ng_workers {
	pthread_mutex_t lock;
	pthread_cond_t posted; /* of the two kinds of threads */
	struct queue queues[NG_JOB_KINDS];
	struct queue done;
	bool stopping;
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
	return job;
}

static void *work(void *argument)
{
	struct worker *worker = argument;
	struct ng_workers *workers = worker->workers;
	const uint64_t one = 1;
	struct ng_job *job;

	(void)prctl(PR_SET_TIMERSLACK, 1UL); /* windows are timed to some microseconds */
	(void)pthread_mutex_lock(&workers->lock);
	for (;;) {
		job = next_job(worker);
		if (!job && workers->stopping)
			break;
		if (!job) {
			(void)pthread_cond_wait(&workers->posted, &workers->lock);
			continue;
		}
		(void)pthread_mutex_unlock(&workers->lock);
		job->run(job);
		(void)pthread_mutex_lock(&workers->lock);
		push(&workers->done, job);
		(void)!write(workers->event_fd, &one, sizeof(one)); /* full: readable it is */
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
	(void)pthread_mutex_unlock(&workers->lock);
	for (size_t i = 0; i < workers->count; i++)
		(void)pthread_join(workers->items[i].thread, NULL);
	if (workers->event_fd >= 0)
		close(workers->event_fd);
	(void)pthread_cond_destroy(&workers->posted);
	(void)pthread_mutex_destroy(&workers->lock);
	free(workers);
}

void ng_workers_post(struct ng_workers *workers, struct ng_job *job)
{
	(void)pthread_mutex_lock(&workers->lock);
	push(&workers->queues[job->kind], job);
	/* All: the one that a signal woke might not take this kind. */
	(void)pthread_cond_broadcast(&workers->posted);
	(void)pthread_mutex_unlock(&workers->lock);
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
