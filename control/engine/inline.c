#include "control/engine/inline.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "control/inject/inject.h"
#include "core/base/clock.h"
#include "core/inline/form.h"
#include "core/inline/layout.h"
#include "core/inline/stub.h"

#define THREAD_LINES 1024
#define THREAD_RINGS 64
#define SHARED_RINGS 4
#define RING_BYTES   (4u << 20)
#define STACK_BYTES  (64u << 20)

/* A thread may be in our code: it is tried again after pauses that grow. */
#define REMOVE_TRIES	20
#define REMOVE_PAUSE_NS NG_NS_PER_MS

struct ng_inline {
	struct ng_injected injected;
	struct ng_inject_report report;
	struct ng_layout layout;
	struct ng_form forms[NG_AREA_SITES_MAX];
	uint32_t numbers[NG_AREA_SITES_MAX];
	uint64_t bias;
	void *area; /* as we have it mapped; NULL: not yet */
	struct ng_rings *rings;
	bool is_ours[THREAD_RINGS + SHARED_RINGS]; /* rings whose memory has been taken by us */
	bool is_in;				   /* the process holds it */
};

/* What a call of ng_inline_new() makes code of. */
struct building {
	struct ng_inline *entered;
	struct ng_patch *patches;
};

static int choose_forms(
	struct ng_inline *entered, const struct ng_inline_sites *sites, struct ng_diag *diag)
{
	uint32_t count = 0;

	for (size_t i = 0; i < sites->sites->count; i++) {
		const struct ng_site *site = &sites->sites->items[i];
		int error;

		if (site->kind == NG_SITE_LEAD)
			continue;
		if (count == NG_AREA_SITES_MAX)
			return ng_diag_set(diag, -ENOTSUP,
				"the inline engine takes %d places in a program, and there are "
				"more: name fewer functions",
				NG_AREA_SITES_MAX);
		error = ng_form_choose(
			sites->image, site, sites->prologue, &entered->forms[count], diag);
		if (error)
			return error;
		entered->numbers[count++] = sites->numbers[i];
	}
	entered->layout.site_count = count;
	return 0;
}

static int build(void *context, const struct ng_inject_places *places, uint8_t *code,
	uint8_t *data_head, struct ng_diag *diag)
{
	struct building *building = context;
	const struct ng_inline *entered = building->entered;
	const uint32_t count = entered->layout.site_count;
	int error = 0;

	(void)data_head; /* gates are 0: off */
	memcpy(code + (size_t)count * NG_STUB_BYTES_MAX, ng_handler_code, ng_handler_bytes);
	for (uint32_t i = 0; i < count && !error; i++) {
		const struct ng_stub_place place = {.code = places->code + i * NG_STUB_BYTES_MAX,
			.handler = places->code + count * NG_STUB_BYTES_MAX,
			.area = places->data,
			.bias = entered->bias,
			.site = i,
			.thread_lines = entered->layout.thread_lines,
			.lines_offset = entered->layout.lines_offset};
		size_t length;

		error = ng_stub_make(&entered->forms[i], &place,
			code + (size_t)i * NG_STUB_BYTES_MAX, &length, diag);
		if (!error)
			error = ng_stub_patch(
				&entered->forms[i], &place, building->patches[i].after, diag);
	}
	return error;
}

static void set_patches(const struct ng_inline *entered, struct ng_patch *patches)
{
	for (uint32_t i = 0; i < entered->layout.site_count; i++) {
		const struct ng_form *form = &entered->forms[i];

		patches[i] = (struct ng_patch){.address = form->address + entered->bias,
			.length = NG_FORM_BYTES,
			.is_one = form->kind != NG_FORM_PROLOGUE};
		memcpy(patches[i].before, form->bytes, NG_FORM_BYTES);
	}
}

static int bring_in(struct ng_inline *entered, pid_t pid, struct ng_diag *diag)
{
	struct ng_patch patches[NG_INJECT_PATCHES_MAX];
	struct building building = {.entered = entered, .patches = patches};
	const struct ng_inject_plan plan = {.pid = pid,
		.code_bytes =
			(uint64_t)entered->layout.site_count * NG_STUB_BYTES_MAX + ng_handler_bytes,
		.data_bytes = entered->layout.area_bytes,
		.patch_count = entered->layout.site_count,
		.patches = patches,
		.build = build,
		.context = &building};

	set_patches(entered, patches);
	return ng_inject_install(&plan, &entered->injected, &entered->report, diag);
}

/* Readies the area, of which the process knows by now, with all gates off. */
static int open_area(
	struct ng_inline *entered, const struct ng_process *process, struct ng_diag *diag)
{
	struct ng_process own;
	struct ng_area_owner owner = {.target_pid = (uint64_t)process->pid,
		.target_start_ns = ng_process_start_ns(process->start_ticks)};
	uint64_t addresses[NG_AREA_SITES_MAX], seed = ng_clock_ns();
	struct ng_rings_of rings = {.layout = &entered->layout,
		.addresses = addresses,
		.numbers = entered->numbers,
		.tgid = (uint32_t)process->pid,
		.start_ns = owner.target_start_ns,
		.stack_bytes_max = STACK_BYTES};
	const int error = ng_process_read(getpid(), &own);

	if (error)
		return error;
	owner.pid = (uint64_t)own.pid;
	owner.start_ns = ng_process_start_ns(own.start_ticks);
	entered->area = mmap(NULL, entered->layout.area_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		entered->injected.data_fd, 0);
	if (entered->area == MAP_FAILED) {
		entered->area = NULL;
		return ng_diag_set(
			diag, -errno, "the shared memory cannot be mapped: %s", strerror(errno));
	}
	(void)!getrandom(&seed, sizeof(seed), GRND_NONBLOCK); /* else the time it is */
	ng_layout_write(&entered->layout, &owner, seed, entered->area);
	for (uint32_t i = 0; i < entered->layout.site_count; i++) {
		ng_layout_set_site(entered->area, i, &entered->forms[i]);
		addresses[i] = entered->forms[i].address + entered->bias;
	}
	/* No end unless somebody sets one. */
	((struct ng_area_header *)entered->area)->lease_tsc = UINT64_MAX;
	rings.area = entered->area;
	return ng_rings_new(&rings, &entered->rings);
}

int ng_inline_new(const struct ng_process *process, const struct ng_inline_sites *sites,
	struct ng_inline **ret_inline, struct ng_diag *diag)
{
	struct ng_inline *entered = calloc(1, sizeof(*entered));
	int error;

	if (!entered)
		return -ENOMEM;
	entered->injected.data_fd = -1;
	entered->bias = sites->bias;
	entered->layout = (struct ng_layout){.thread_lines = THREAD_LINES,
		.thread_rings = sites->records ? THREAD_RINGS : 0,
		.shared_rings = sites->records ? SHARED_RINGS : 0,
		.ring_bytes = RING_BYTES};
	error = choose_forms(entered, sites, diag);
	if (!error)
		error = ng_layout_fill(&entered->layout, diag);
	if (!error)
		error = bring_in(entered, process->pid, diag);
	if (!error) {
		entered->is_in = true;
		error = open_area(entered, process, diag);
	}
	if (error) {
		(void)ng_inline_remove(entered, NULL);
		ng_inline_free(entered);
		return error;
	}
	*ret_inline = entered;
	return 0;
}

int ng_inline_remove(struct ng_inline *entered, struct ng_diag *diag)
{
	int error = 0;

	if (!entered->is_in)
		return 0;
	for (int try = 0; try < REMOVE_TRIES; try++) {
		const struct timespec pause = {.tv_nsec = (long)(try * REMOVE_PAUSE_NS)};

		(void)nanosleep(&pause, NULL); /* cut short: it is tried earlier */
		error = ng_inject_remove(&entered->injected, NULL, diag);
		if (error != -EAGAIN && error != -ETIMEDOUT && error != -ENOENT)
			break;
	}
	if (error == -ESRCH)
		error = 0; /* gone with its process, or the program that it ran */
	entered->is_in = error != 0;
	return error;
}

bool ng_inline_is_there(const struct ng_inline *entered)
{
	return ng_injected_is_there(&entered->injected);
}

void ng_inline_free(struct ng_inline *entered)
{
	if (!entered)
		return;
	ng_rings_free(entered->rings);
	if (entered->area)
		(void)munmap(entered->area, entered->layout.area_bytes);
	ng_injected_release(&entered->injected);
	free(entered);
}

void ng_inline_set(struct ng_inline *entered, enum ng_area_mode mode)
{
	for (uint32_t i = 0; i < entered->layout.site_count; i++)
		ng_layout_set_mode(&entered->layout, entered->area, i, mode, 1);
}

void ng_inline_count(
	const struct ng_inline *entered, size_t index, struct ng_rings_counts *ret_counts)
{
	ng_rings_count(entered->rings, (uint32_t)index, ret_counts);
}

size_t ng_inline_site_count(const struct ng_inline *entered)
{
	return entered->layout.site_count;
}

uint32_t ng_inline_number(const struct ng_inline *entered, size_t index)
{
	return entered->numbers[index];
}

/*
 * Takes the memory of rings that are in use, all of each at once: it counts for the control group
 * of who touches it first, and the process may have little left. Kernels before 5.14 cannot.
 */
static void take_memory(struct ng_inline *entered)
{
	const struct ng_layout *layout = &entered->layout;

	for (size_t i = 0; i < (size_t)layout->thread_rings + layout->shared_rings; i++) {
		uint8_t *ring =
			(uint8_t *)entered->area + layout->rings_offset + i * layout->ring_stride;

		if (entered->is_ours[i] ||
			!__atomic_load_n(
				&((struct ng_area_ring *)(void *)ring)->head, __ATOMIC_RELAXED))
			continue;
		(void)madvise(ring, layout->ring_stride, MADV_POPULATE_WRITE);
		entered->is_ours[i] = true;
	}
}

uint64_t ng_inline_drain(struct ng_inline *entered, const struct ng_tsc *clock,
	ng_rings_on_call on_call, void *context)
{
	take_memory(entered);
	return ng_rings_read_all(entered->rings, clock, on_call, context);
}

struct ng_rings_read ng_inline_read(const struct ng_inline *entered)
{
	return ng_rings_so_far(entered->rings);
}

uint64_t ng_inline_stop_ns(const struct ng_inline *entered, uint32_t *ret_threads)
{
	*ret_threads = entered->report.threads;
	return entered->report.stop_ns;
}
