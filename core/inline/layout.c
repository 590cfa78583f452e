#include "core/inline/layout.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#define THREAD_LINES_MAX 65536
#define RINGS_MAX	 4096
#define AREA_BYTES_MAX	 (1ull << 30) /* within a jump's reach, with room for what is there */

static bool is_power(uint64_t value)
{
	return value && !(value & (value - 1));
}

static uint64_t whole_pages(uint64_t bytes)
{
	return (bytes + NG_AREA_PAGE - 1) / NG_AREA_PAGE * NG_AREA_PAGE;
}

static uint32_t lines_of_site(const struct ng_layout *layout)
{
	return layout->thread_lines + NG_AREA_SHARED_LINES + 1;
}

int ng_layout_fill(struct ng_layout *layout, struct ng_diag *diag)
{
	const uint64_t rings = (uint64_t)layout->thread_rings + layout->shared_rings;

	if (!layout->site_count || layout->site_count > NG_AREA_SITES_MAX)
		return ng_diag_set(diag, -EINVAL, "the inline engine takes 1 to %d sites, not %u",
			NG_AREA_SITES_MAX, layout->site_count);
	if (!layout->thread_lines || layout->thread_lines > THREAD_LINES_MAX ||
		layout->thread_rings > layout->thread_lines || rings > RINGS_MAX ||
		(layout->shared_rings && !is_power(layout->shared_rings)))
		return ng_diag_set(diag, -EINVAL,
			"counters for %u threads, with %u rings and %u shared",
			layout->thread_lines, layout->thread_rings, layout->shared_rings);
	if (!is_power(layout->ring_bytes) || layout->ring_bytes < NG_AREA_RING_BYTES_MIN ||
		layout->ring_bytes > NG_AREA_RING_BYTES_MAX)
		return ng_diag_set(diag, -EINVAL,
			"a ring of %llu bytes is no power of two, or too "
			"small, or too large",
			(unsigned long long)layout->ring_bytes);
	layout->lines_offset = 2 * NG_AREA_PAGE;
	layout->rings_offset = layout->lines_offset +
			       whole_pages((uint64_t)layout->site_count * lines_of_site(layout) *
					   sizeof(struct ng_area_line));
	layout->ring_stride = NG_AREA_RING_DATA + layout->ring_bytes;
	layout->area_bytes = layout->rings_offset + rings * layout->ring_stride;
	if (layout->area_bytes > AREA_BYTES_MAX)
		return ng_diag_set(diag, -EINVAL,
			"rings of %llu MiB are more than a jump reaches over",
			(unsigned long long)(layout->area_bytes >> 20));
	return 0;
}

/* splitmix64: any seed will do, and each line gets another stream. */
static uint64_t next_seed(uint64_t *seed)
{
	uint64_t mixed = *seed += 0x9e3779b97f4a7c15ull;

	mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9ull;
	mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebull;
	mixed ^= mixed >> 31;
	return mixed ? mixed : 1;
}

static struct ng_area_line *line_of(const struct ng_layout *layout, void *area, uint64_t index)
{
	return (struct ng_area_line *)(void *)((uint8_t *)area + layout->lines_offset) + index;
}

static struct ng_area_gate *gate_of(void *area, uint32_t site)
{
	return (struct ng_area_gate *)(void *)((uint8_t *)area + NG_AREA_PAGE) + site;
}

void ng_layout_write(const struct ng_layout *layout, const struct ng_area_owner *owner,
	uint64_t seed, void *area)
{
	const uint64_t lines = (uint64_t)layout->site_count * lines_of_site(layout);

	*(struct ng_area_header *)area = (struct ng_area_header){.magic = NG_AREA_MAGIC,
		.version = NG_AREA_VERSION,
		.site_count = layout->site_count,
		.owner_pid = owner->pid,
		.owner_start_ns = owner->start_ns,
		.target_pid = owner->target_pid,
		.target_start_ns = owner->target_start_ns,
		.area_bytes = layout->area_bytes,
		.lines_offset = layout->lines_offset,
		.rings_offset = layout->rings_offset,
		.ring_stride = layout->ring_stride,
		.ring_bytes = layout->ring_bytes,
		.thread_lines = layout->thread_lines,
		.thread_rings = layout->thread_rings,
		.shared_rings = layout->shared_rings};
	for (uint64_t i = 0; i < lines; i++)
		line_of(layout, area, i)->random = next_seed(&seed);
}

void ng_layout_set_site(void *area, uint32_t site, const struct ng_form *form)
{
	struct ng_area_gate *gate = gate_of(area, site);

	gate->id_offset = form->goroutine.id_offset;
	gate->tid_offset = form->tid_offset;
}

void ng_layout_set_mode(const struct ng_layout *layout, void *area, uint32_t site,
	enum ng_area_mode mode, uint32_t interval)
{
	struct ng_area_gate *gate = gate_of(area, site);
	const uint32_t lines = lines_of_site(layout);

	if (mode == NG_AREA_SAMPLED) {
		__atomic_store_n(&gate->interval, interval, __ATOMIC_RELAXED);
		/* Anywhere in the first interval; a thread that counts down meanwhile may overwrite
		 * it, with what it then draws itself. */
		for (uint32_t i = 0; i < lines; i++) {
			struct ng_area_line *line =
				line_of(layout, area, (uint64_t)site * lines + i);
			uint64_t seed = __atomic_load_n(&line->random, __ATOMIC_RELAXED);

			__atomic_store_n(&line->countdown,
				1 + (uint32_t)((next_seed(&seed) >> 32) * interval >> 32),
				__ATOMIC_RELAXED);
		}
	}
	__atomic_store_n(&gate->mode, (uint32_t)mode, __ATOMIC_RELEASE);
}
