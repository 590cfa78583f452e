#include "control/engine/records.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <bpf/libbpf.h>

#include "probe.skel.h"
#include "core/base/clock.h"

#define LOOK_NS (10 * NG_NS_PER_MS)

struct ng_records {
	struct ring_buffer *ring;
	struct ng_records_options options;
	pthread_t thread;
	bool is_ending;	    /* writer: who closes; release, paired with the reader's acquire */
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
	const struct timespec look = {.tv_nsec = LOOK_NS};
	bool is_last;

	do {
		is_last = __atomic_load_n(&records->is_ending, __ATOMIC_ACQUIRE);
		(void)ring_buffer__consume(records->ring); /* the callback gives no error */
		if (records->options.on_look)
			records->options.on_look(is_last, records->options.context);
		if (!is_last)
			(void)nanosleep(&look, NULL);
	} while (!is_last);
	return NULL;
}

int ng_records_open(struct ng_uprobe *engine, const struct ng_records_options *options,
	struct ng_records **ret_records, struct ng_diag *diag)
{
	struct ng_records *records = calloc(1, sizeof(*records));
	int error;

	if (!records)
		return -ENOMEM;
	records->options = *options;
	records->ring = ring_buffer__new(
		bpf_map__fd(ng_uprobe_skeleton(engine)->maps.records), on_record, records, NULL);
	error = records->ring ? -pthread_create(&records->thread, NULL, read_all, records) : -errno;
	if (error) {
		ring_buffer__free(records->ring);
		free(records);
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

uint64_t ng_records_close(struct ng_records *records)
{
	uint64_t strangers;

	if (!records)
		return 0;
	__atomic_store_n(&records->is_ending, true, __ATOMIC_RELEASE);
	(void)pthread_join(records->thread, NULL);
	strangers = records->strangers;
	ring_buffer__free(records->ring);
	free(records);
	return strangers;
}
