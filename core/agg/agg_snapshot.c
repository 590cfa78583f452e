#include "core/agg/agg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/agg/agg_inside.h"

struct filling {
	struct ng_agg_snapshot snapshot;
	size_t rows_max;
	size_t frame_count;
	size_t frames_max;
};

/* @return whether there is room for one more row, however deep */
static bool make_room(struct filling *filling)
{
	struct ng_agg_snapshot *snapshot = &filling->snapshot;

	if (snapshot->count == filling->rows_max) {
		const size_t more = 2 * filling->rows_max + 64;
		void *rows = reallocarray(snapshot->rows, more, sizeof(*snapshot->rows));

		if (!rows)
			return false;
		snapshot->rows = rows;
		filling->rows_max = more;
	}
	if (filling->frames_max - filling->frame_count < NG_AGG_DEPTH_MAX) {
		const size_t more = 2 * filling->frames_max + NG_AGG_DEPTH_MAX;
		void *frames = reallocarray(snapshot->frames, more, sizeof(*snapshot->frames));

		if (!frames)
			return false;
		snapshot->frames = frames;
		filling->frames_max = more;
	}
	return true;
}

/* What an entry has in a view. */
static struct ng_agg_sum view_sum(
	const struct ng_agg *agg, enum ng_agg_view view, struct ng_agg_entry *entry)
{
	struct ng_agg_sum sum = ng_agg_entry_sum(agg, entry);

	if (view != NG_AGG_SINCE_START) {
		const struct ng_agg_marks *marks = ng_agg_marks(entry);
		const size_t window = view - NG_AGG_TEN_SECONDS;
		const struct ng_agg_sum *from = &marks->at[window][agg->windows[window].from];

		sum.hits -= from->hits;
		sum.cost_ns -= from->cost_ns;
		sum.weight -= from->weight;
	}
	return sum;
}

static void add_row(
	struct filling *filling, const struct ng_agg_entry *entry, const struct ng_agg_sum *sum)
{
	struct ng_agg_snapshot *snapshot = &filling->snapshot;
	const size_t depth = entry->depth;

	memcpy(snapshot->frames + filling->frame_count, entry->frames,
		depth * sizeof(*entry->frames));
	filling->frame_count += depth;
	snapshot->rows[snapshot->count++] = (struct ng_agg_row){.target = entry->target,
		.function = entry->function,
		.stack = entry->number,
		.depth = depth,
		.sum = *sum};
}

/* By the control lock. */
static int fill(struct ng_agg *agg, enum ng_agg_view view, uint32_t target, struct filling *filling)
{
	struct cds_lfht_iter at;
	struct ng_agg_entry *entry;

	filling->snapshot.overflow = view_sum(agg, view, agg->overflow);
	filling->snapshot.since_ns = agg->start_ns;
	if (view != NG_AGG_SINCE_START) {
		const struct ng_agg_window *window = &agg->windows[view - NG_AGG_TEN_SECONDS];

		filling->snapshot.since_ns = window->at_ns[window->from];
	}
	cds_lfht_for_each_entry(agg->table, &at, entry, node)
	{
		const struct ng_agg_sum sum = view_sum(agg, view, entry);

		if (!sum.hits || (target != NG_AGG_ALL_TARGETS && entry->target != target))
			continue;
		if (!make_room(filling))
			return -ENOMEM;
		add_row(filling, entry, &sum);
	}
	return 0;
}

int ng_agg_snapshot(struct ng_agg *agg, enum ng_agg_view view, uint32_t target,
	struct ng_agg_snapshot *ret_snapshot)
{
	struct filling filling = {.rows_max = 0};
	uint64_t *frames;
	int error;

	pthread_mutex_lock(&agg->control);
	ng_rcu_enter();
	urcu_memb_read_lock();
	error = fill(agg, view, target, &filling);
	urcu_memb_read_unlock();
	ng_rcu_leave();
	pthread_mutex_unlock(&agg->control);
	if (error) {
		ng_agg_snapshot_release(&filling.snapshot);
		return error;
	}
	/* They stay where they are only now. */
	frames = filling.snapshot.frames;
	for (size_t i = 0; i < filling.snapshot.count; i++) {
		filling.snapshot.rows[i].frames = frames;
		frames += filling.snapshot.rows[i].depth;
	}
	*ret_snapshot = filling.snapshot;
	return 0;
}

void ng_agg_snapshot_release(struct ng_agg_snapshot *snapshot)
{
	free(snapshot->rows);
	free(snapshot->frames);
}
