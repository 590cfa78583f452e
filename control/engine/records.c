#include "control/engine/records.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "probe.skel.h"
#include "core/base/clock.h"

#define LOOK_MS 10

struct ng_records {
	struct ring_buffer *ring;
	int epoll_fd; /* tells that the ring gets half full */
	struct ng_records_options options;
	pthread_t thread;
	bool is_ending;	    /* writer: who closes; release, paired with the reader's acquire */
	uint64_t looks;	    /* that have ended. Writer: the reader; release, after what they took */
	uint64_t strangers; /* of the reader; read when it has ended */
};

static int on_record(void *context, void *data, size_t size_bytes)
{
	struct ng_records *records = context;
	struct ng_call call;

	if (ng_call_read(data, size_bytes, &call))
		records->strangers++;
	else
		records->options.on_call(&call, records->options.context);
	return 0;
}

static void *read_all(void *argument)
{
	struct ng_records *records = argument;
	struct epoll_event event;
	bool is_last;

	do {
		is_last = __atomic_load_n(&records->is_ending, __ATOMIC_ACQUIRE);
		(void)ring_buffer__consume(records->ring); /* the callback gives no error */
		if (records->options.on_look)
			records->options.on_look(is_last, records->options.context);
		__atomic_store_n(&records->looks, records->looks + 1, __ATOMIC_RELEASE);
		if (!is_last)
			(void)epoll_wait(records->epoll_fd, &event, 1, LOOK_MS);
	} while (!is_last);
	return NULL;
}

/* Of edges: the ring nearly always has something, and only a wake-up is to end the sleep. */
static int open_ring(struct ng_records *records, int map_fd)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};

	records->ring = ring_buffer__new(map_fd, on_record, records, NULL);
	if (!records->ring)
		return -errno;
	records->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (records->epoll_fd < 0 || epoll_ctl(records->epoll_fd, EPOLL_CTL_ADD, map_fd, &event))
		return -errno;
	return 0;
}

static void release(struct ng_records *records)
{
	ring_buffer__free(records->ring);
	if (records->epoll_fd >= 0)
		close(records->epoll_fd);
	free(records);
}

int ng_records_open(struct ng_uprobe *engine, const struct ng_records_options *options,
	struct ng_records **ret_records, struct ng_diag *diag)
{
	struct ng_records *records = calloc(1, sizeof(*records));
	int error;

	if (!records)
		return -ENOMEM;
	records->options = *options;
	records->epoll_fd = -1;
	error = open_ring(records, bpf_map__fd(ng_uprobe_skeleton(engine)->maps.records));
	if (!error)
		error = -pthread_create(&records->thread, NULL, read_all, records);
	if (error) {
		release(records);
		return ng_diag_set(
			diag, error, "no reader for the records of calls: %s", strerror(-error));
	}
	*ret_records = records;
	return 0;
}

uint64_t ng_records_cpu_ns(const struct ng_records *records)
{
	struct timespec time;
	clockid_t clock;

	if (pthread_getcpuclockid(records->thread, &clock) || clock_gettime(clock, &time))
		return 0;
	return (uint64_t)time.tv_sec * NG_NS_PER_S + (uint64_t)time.tv_nsec;
}

void ng_records_catch_up(const struct ng_records *records)
{
	/* One may be under way, which has passed the newest calls by. */
	const uint64_t wanted = __atomic_load_n(&records->looks, __ATOMIC_ACQUIRE) + 2;
	const struct timespec pause = {.tv_nsec = NG_NS_PER_MS};

	while (__atomic_load_n(&records->looks, __ATOMIC_ACQUIRE) < wanted)
		(void)nanosleep(&pause, NULL); /* cut short: it looks again */
}

uint64_t ng_records_close(struct ng_records *records)
{
	uint64_t strangers;

	if (!records)
		return 0;
	__atomic_store_n(&records->is_ending, true, __ATOMIC_RELEASE);
	(void)pthread_join(records->thread, NULL);
	strangers = records->strangers;
	release(records);
	return strangers;
}
