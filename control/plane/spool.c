#include "control/plane/spool.h"

#include <stdlib.h>
#include <string.h>
#include <urcu/wfcqueue.h>

struct chunk {
	struct cds_wfcq_node node;
	size_t used;						   /* bytes */
	_Alignas(struct ng_call) char bytes[NG_SPOOL_CHUNK_BYTES]; /* calls, each with its frames
								      behind it */
};

struct queue {
	struct cds_wfcq_head head;
	struct cds_wfcq_tail tail;
};

struct ng_spool {
	size_t chunks_max;
	size_t chunks;	    /* writer: both, by atomic addition; how many there are */
	uint64_t lost;	    /* writer: the reader of records; relaxed, a count alone */
	struct chunk *open; /* that one's: not handed over yet */
	/* Producer: the reader of records; consumer: whoever drains. Queueing is wait-free, and its
	 * exchange of the tail orders a chunk's bytes before what the consumer reads. */
	struct queue handed_over;
	struct queue collected; /* the consumer's */
};

struct ng_spool *ng_spool_new(size_t chunks_max)
{
	struct ng_spool *spool = calloc(1, sizeof(*spool));

	if (!spool)
		return NULL;
	spool->chunks_max = chunks_max;
	cds_wfcq_init(&spool->handed_over.head, &spool->handed_over.tail);
	cds_wfcq_init(&spool->collected.head, &spool->collected.tail);
	return spool;
}

static void drop_chunk(struct ng_spool *spool, struct chunk *chunk)
{
	free(chunk);
	(void)__atomic_sub_fetch(&spool->chunks, 1, __ATOMIC_RELAXED);
}

/* @return NULL: there is no room */
static struct chunk *new_chunk(struct ng_spool *spool)
{
	struct chunk *chunk;

	if (__atomic_load_n(&spool->chunks, __ATOMIC_RELAXED) >= spool->chunks_max)
		return NULL;
	chunk = malloc(sizeof(*chunk));
	if (!chunk)
		return NULL;
	(void)__atomic_add_fetch(&spool->chunks, 1, __ATOMIC_RELAXED);
	cds_wfcq_node_init(&chunk->node);
	chunk->used = 0;
	return chunk;
}

void ng_spool_put(const struct ng_call *call, void *context)
{
	struct ng_spool *spool = context;
	const size_t frame_bytes = call->depth * sizeof(*call->frames);
	const size_t bytes = sizeof(*call) + frame_bytes;
	char *at;

	if (spool->open && spool->open->used + bytes > NG_SPOOL_CHUNK_BYTES)
		ng_spool_hand_over(false, spool);
	if (!spool->open)
		spool->open = new_chunk(spool);
	if (!spool->open) {
		__atomic_store_n(&spool->lost, spool->lost + 1, __ATOMIC_RELAXED);
		return;
	}
	at = spool->open->bytes + spool->open->used;
	memcpy(at, call, sizeof(*call));
	if (frame_bytes)
		memcpy(at + sizeof(*call), call->frames, frame_bytes);
	spool->open->used += bytes;
}

void ng_spool_hand_over(bool is_last, void *context)
{
	struct ng_spool *spool = context;

	(void)is_last;
	if (!spool->open)
		return;
	(void)cds_wfcq_enqueue(
		&spool->handed_over.head, &spool->handed_over.tail, &spool->open->node);
	spool->open = NULL;
}

void ng_spool_collect(struct ng_spool *spool)
{
	(void)__cds_wfcq_splice_blocking(&spool->collected.head, &spool->collected.tail,
		&spool->handed_over.head, &spool->handed_over.tail);
}

static struct chunk *next_chunk(struct ng_spool *spool)
{
	struct cds_wfcq_node *node =
		__cds_wfcq_dequeue_blocking(&spool->collected.head, &spool->collected.tail);

	return node ? caa_container_of(node, struct chunk, node) : NULL;
}

static void pass_on(const struct chunk *chunk, ng_records_on_call on_call, void *context)
{
	for (size_t at = 0; at < chunk->used;) {
		struct ng_call call;

		memcpy(&call, chunk->bytes + at, sizeof(call));
		at += sizeof(call);
		call.frames = (const uint64_t *)(const void *)(chunk->bytes + at);
		at += call.depth * sizeof(*call.frames);
		on_call(&call, context);
	}
}

void ng_spool_drain(struct ng_spool *spool, ng_records_on_call on_call, void *context)
{
	struct chunk *chunk;

	while ((chunk = next_chunk(spool))) {
		pass_on(chunk, on_call, context);
		drop_chunk(spool, chunk);
	}
}

uint64_t ng_spool_lost(const struct ng_spool *spool)
{
	return __atomic_load_n(&spool->lost, __ATOMIC_RELAXED);
}

void ng_spool_free(struct ng_spool *spool)
{
	struct chunk *chunk;

	if (!spool)
		return;
	ng_spool_hand_over(true, spool);
	ng_spool_collect(spool);
	while ((chunk = next_chunk(spool)))
		drop_chunk(spool, chunk);
	free(spool);
}
