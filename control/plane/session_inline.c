#include "control/plane/session_inline.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "control/target/text.h"
#include "core/base/clock.h"

#define LOOK_NS (2 * NG_NS_PER_MS) /* 10 M calls/s of 16 bytes fill 0.3 MiB in it */

/* Where an image's bytes are in a process, less where they are as linked. */
static int find_bias(const struct ng_traced_image *image, const struct ng_mappings *mappings,
	uint64_t *ret_bias, struct ng_diag *diag)
{
	const struct ng_site *site = &image->sites.items[0];
	const struct ng_text_file file = ng_traced_image_file(image);
	const uint64_t address = ng_text_find(mappings, &file, site);

	if (!address)
		return ng_diag_set(
			diag, -ENOENT, "%s is not mapped where its code is", image->path);
	*ret_bias = address - site->address;
	return 0;
}

/* @return 0; -ENOMEM */
static int make_room(struct ng_session *session)
{
	struct session_inline *grown = reallocarray(
		session->inlines, session->inline_count + 1, sizeof(*session->inlines));

	if (!grown)
		return -ENOMEM;
	session->inlines = grown;
	return 0;
}

static void tell_stop(struct ng_session *session, const struct ng_inline *engine, pid_t pid)
{
	uint32_t threads;
	const uint64_t stop_ns = ng_inline_stop_ns(engine, &threads);

	ng_session_note(session, "process %d was stopped for %.3f ms, with %" PRIu32 " thread%s",
		pid, (double)stop_ns / NG_NS_PER_MS, threads, threads == 1 ? "" : "s");
}

int ng_session_inline_arm(struct ng_session *session, struct ng_tracked *tracked,
	struct ng_traced_image *image, const struct ng_mappings *mappings, struct ng_diag *diag)
{
	const struct ng_process process = {
		.pid = tracked->pid, .start_ticks = tracked->start_ticks};
	struct ng_inline_sites sites = {.image = image->image,
		.sites = &image->sites,
		.numbers = image->numbers,
		.prologue = session->options.engine == NG_ENGINE_INLINE_PROLOGUE,
		.records = session->options.on_call != NULL};
	struct ng_inline *engine = NULL;
	int error = find_bias(image, mappings, &sites.bias, diag);

	if (!error)
		error = make_room(session);
	if (!error)
		error = ng_inline_new(&process, &sites, &engine, diag);
	if (error)
		return error;
	session->inlines[session->inline_count++] =
		(struct session_inline){.tracked = tracked, .engine = engine};
	tracked->is_inline = true;
	tell_stop(session, engine, tracked->pid);
	return ng_tracked_add_image(tracked, image, NULL);
}

/* --- records ------------------------------------------------------------------------------------
 */

static void drain_all(struct ng_session *session, struct ng_tsc *clock)
{
	ng_tsc_update(clock);
	for (size_t i = 0; i < session->inline_count; i++)
		(void)ng_inline_drain(session->inlines[i].engine, clock, session->options.on_call,
			session->options.call_context);
}

static void *read_records(void *context)
{
	struct ng_session *session = context;
	const struct timespec pause = {.tv_nsec = LOOK_NS};
	struct timespec used;
	struct ng_tsc clock;
	bool is_last;

	ng_tsc_start(&clock);
	do {
		is_last = __atomic_load_n(&session->inline_is_ending, __ATOMIC_ACQUIRE);
		drain_all(session, &clock);
		if (session->options.on_look)
			session->options.on_look(is_last, session->options.call_context);
		if (!is_last)
			(void)nanosleep(&pause, NULL); /* cut short: it looks again */
	} while (!is_last);
	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
	session->reader_cpu_ns = (uint64_t)used.tv_sec * NG_NS_PER_S + (uint64_t)used.tv_nsec;
	return NULL;
}

static void set_all(struct ng_session *session, enum ng_area_mode mode)
{
	for (size_t i = 0; i < session->inline_count; i++)
		ng_inline_set(session->inlines[i].engine, mode);
}

void ng_session_inline_open(struct ng_session *session)
{
	const bool records = session->options.on_call != NULL && session->inline_count;

	if (records)
		session->inline_is_reading =
			!pthread_create(&session->inline_reader, NULL, read_records, session);
	set_all(session, session->inline_is_reading ? NG_AREA_FULL : NG_AREA_COUNT);
}

void ng_session_inline_close(struct ng_session *session)
{
	set_all(session, NG_AREA_OFF);
	for (size_t i = 0; i < session->inline_count; i++) {
		struct session_inline *item = &session->inlines[i];
		struct ng_diag diag = NG_DIAG_INIT;

		if (!item->is_out && !item->tracked->disarmed_at_ns &&
			!ng_inline_is_there(item->engine))
			ng_tracked_gap(item->tracked,
				"somebody took nowgate's code out of it: calls after that were not "
				"counted");
		item->is_out = true;
		if (ng_inline_remove(item->engine, &diag))
			ng_session_note(session,
				"process %d holds code of nowgate still, which is harmless: %s",
				item->tracked->pid, diag.text);
	}
	if (!session->inline_is_reading)
		return;
	/* Nobody writes any more: what is left is read. */
	__atomic_store_n(&session->inline_is_ending, true, __ATOMIC_RELEASE);
	(void)pthread_join(session->inline_reader, NULL);
	session->inline_is_reading = false;
}

/* --- counts -------------------------------------------------------------------------------------
 */

int ng_session_inline_read(const struct ng_session *session, struct ng_tallies *tallies)
{
	for (size_t i = 0; i < session->inline_count; i++) {
		const struct session_inline *item = &session->inlines[i];
		const struct ng_tracked *tracked = item->tracked;
		struct ng_tally tally = {.key = {.start_ns = tracked->start_ns,
						 .tgid = (uint32_t)tracked->pid,
						 .exec_id = tracked->exec_id}};

		if (!tally.key.start_ns)
			tally.key.start_ns = ng_process_start_ns(tracked->start_ticks);
		for (size_t k = 0; k < ng_inline_site_count(item->engine); k++) {
			struct ng_rings_counts counts;

			ng_inline_count(item->engine, k, &counts);
			tally.key.site = ng_inline_number(item->engine, k);
			tally.calls = counts.calls;
			if (ng_tallies_add(tallies, &tally))
				return -ENOMEM;
		}
	}
	return 0;
}

/* Each call that counted was to be recorded: what was not delivered is lost, for whatever cause. */
void ng_session_inline_lost(const struct ng_session *session, uint64_t lost[NG_LOST_CAUSES])
{
	for (size_t i = 0; session->options.on_call && i < session->inline_count; i++) {
		const struct ng_inline *engine = session->inlines[i].engine;
		const uint64_t delivered = ng_inline_read(engine).delivered;
		uint64_t calls = 0;

		for (size_t k = 0; k < ng_inline_site_count(engine); k++) {
			struct ng_rings_counts counts;

			ng_inline_count(engine, k, &counts);
			calls += counts.calls;
		}
		if (calls > delivered) /* the target can write anything there */
			lost[NG_LOST_RECORDS_FULL] += calls - delivered;
	}
}

void ng_session_inline_release(struct ng_session *session)
{
	ng_session_inline_close(session);
	for (size_t i = 0; i < session->inline_count; i++)
		ng_inline_free(session->inlines[i].engine);
	free(session->inlines);
	session->inlines = NULL;
	session->inline_count = 0;
}
