#include "control/plane/weigher.h"

#include <stdlib.h>
#include <string.h>
#include <urcu/wfcqueue.h>

#include "core/base/clock.h"

/* A window's record, and what was told of it, stay for so long: a window lasts 0.5 s at the most
 * before it is given up, and its last call may be read 10 ms after what is told of it. */
#define KEPT_NS (2 * NG_NS_PER_S)

/* What is told of a window, on its way to the reader. */
struct told_window {
	struct cds_wfcq_node node;
	uint32_t serial;
	size_t count;
	struct ng_weight weights[];
};

struct waiting_call {
	struct waiting_call *next;
	struct ng_call call; /* its frames follow */
	uint64_t frames[];
};

struct open_window {
	uint32_t serial;
	uint64_t since_ns;	  /* when it was first heard of */
	struct told_window *told; /* NULL: not yet */
	struct waiting_call *calls;
};

struct ng_weigher {
	ng_weigher_on_call on_call;
	void *context;
	/* Producers: who runs windows; consumer: the reader. Queueing is wait-free, and its
	 * exchange of the tail orders what was written before it before what the consumer reads. */
	struct cds_wfcq_head head;
	struct cds_wfcq_tail tail;
	struct open_window *windows; /* the reader's, as is all below */
	size_t window_count;
	size_t window_room;
	size_t waiting_bytes;
	struct ng_weigher_losses losses; /* which others may look at: relaxed */
};

struct ng_weigher *ng_weigher_new(ng_weigher_on_call on_call, void *context)
{
	struct ng_weigher *weigher = calloc(1, sizeof(*weigher));

	if (!weigher)
		return NULL;
	weigher->on_call = on_call;
	weigher->context = context;
	cds_wfcq_init(&weigher->head, &weigher->tail);
	return weigher;
}

static void lose(uint64_t *loss)
{
	__atomic_store_n(loss, *loss + 1, __ATOMIC_RELAXED);
}

static size_t bytes_of(const struct ng_call *call)
{
	return sizeof(struct waiting_call) + call->depth * sizeof(call->frames[0]);
}

static struct open_window *find_window(struct ng_weigher *weigher, uint32_t serial)
{
	for (size_t i = weigher->window_count; i > 0; i--) {
		if (weigher->windows[i - 1].serial == serial)
			return &weigher->windows[i - 1];
	}
	return NULL;
}

/* @return NULL: no memory */
static struct open_window *window_of(struct ng_weigher *weigher, uint32_t serial)
{
	struct open_window *window = find_window(weigher, serial);

	if (window)
		return window;
	if (weigher->window_count == weigher->window_room) {
		const size_t room = weigher->window_room ? 2 * weigher->window_room : 32;
		struct open_window *grown = reallocarray(weigher->windows, room, sizeof(*grown));

		if (!grown)
			return NULL;
		weigher->windows = grown;
		weigher->window_room = room;
	}
	window = &weigher->windows[weigher->window_count++];
	*window = (struct open_window){.serial = serial, .since_ns = ng_clock_ns()};
	return window;
}

static void pass_on(
	struct ng_weigher *weigher, const struct told_window *told, const struct ng_call *call)
{
	for (size_t i = 0; i < told->count; i++) {
		if (told->weights[i].tid == call->tid) {
			weigher->on_call(call, told->weights[i].calls, weigher->context);
			return;
		}
	}
	lose(&weigher->losses.unweighed);
}

static void let_wait(
	struct ng_weigher *weigher, struct open_window *window, const struct ng_call *call)
{
	const size_t bytes = bytes_of(call);
	struct waiting_call *waiting =
		weigher->waiting_bytes + bytes <= NG_WEIGHER_BYTES_MAX ? malloc(bytes) : NULL;

	if (!waiting) {
		lose(&weigher->losses.full);
		return;
	}
	waiting->call = *call;
	memcpy(waiting->frames, call->frames, call->depth * sizeof(call->frames[0]));
	waiting->call.frames = waiting->frames;
	waiting->next = window->calls;
	window->calls = waiting;
	weigher->waiting_bytes += bytes;
}

void ng_weigher_call(struct ng_weigher *weigher, const struct ng_call *call)
{
	struct open_window *window;

	if (!call->window) {
		weigher->on_call(call, 1, weigher->context);
		return;
	}
	window = window_of(weigher, call->window);
	if (!window)
		lose(&weigher->losses.full);
	else if (window->told)
		pass_on(weigher, window->told, call);
	else
		let_wait(weigher, window, call);
}

void ng_weigher_window(
	struct ng_weigher *weigher, uint32_t serial, const struct ng_weight *weights, size_t count)
{
	struct told_window *told = malloc(sizeof(*told) + count * sizeof(*weights));

	if (!told)
		return; /* its calls are given up as nothing was told */
	told->serial = serial;
	told->count = count;
	if (count)
		memcpy(told->weights, weights, count * sizeof(*weights));
	cds_wfcq_node_init(&told->node);
	(void)cds_wfcq_enqueue(&weigher->head, &weigher->tail, &told->node);
}

/* Passes on what waits for a window, or gives it up where nothing was told. */
static void settle(struct ng_weigher *weigher, struct open_window *window)
{
	while (window->calls) {
		struct waiting_call *waiting = window->calls;

		window->calls = waiting->next;
		weigher->waiting_bytes -= bytes_of(&waiting->call);
		if (window->told)
			pass_on(weigher, window->told, &waiting->call);
		else
			lose(&weigher->losses.unweighed);
		free(waiting);
	}
}

static void take_told(struct ng_weigher *weigher)
{
	struct cds_wfcq_node *node;

	while ((node = __cds_wfcq_dequeue_blocking(&weigher->head, &weigher->tail))) {
		struct told_window *told = caa_container_of(node, struct told_window, node);
		struct open_window *window = window_of(weigher, told->serial);

		if (!window || window->told) {
			free(told); /* no memory; or a window that failed before it was opened,
				       under the last one's number */
			continue;
		}
		window->told = told;
		settle(weigher, window);
	}
}

static void forget(struct ng_weigher *weigher, size_t index)
{
	struct open_window *window = &weigher->windows[index];

	settle(weigher, window);
	free(window->told);
	*window = weigher->windows[--weigher->window_count];
}

void ng_weigher_turn(struct ng_weigher *weigher, uint64_t now_ns, bool is_last)
{
	take_told(weigher);
	for (size_t i = weigher->window_count; i > 0; i--) {
		if (is_last || now_ns > weigher->windows[i - 1].since_ns + KEPT_NS)
			forget(weigher, i - 1);
	}
}

struct ng_weigher_losses ng_weigher_losses(const struct ng_weigher *weigher)
{
	return (struct ng_weigher_losses){
		.full = __atomic_load_n(&weigher->losses.full, __ATOMIC_RELAXED),
		.unweighed = __atomic_load_n(&weigher->losses.unweighed, __ATOMIC_RELAXED)};
}

void ng_weigher_free(struct ng_weigher *weigher)
{
	if (!weigher)
		return;
	ng_weigher_turn(weigher, 0, true);
	free(weigher->windows);
	free(weigher);
}
