#include "core/agg/agg.h"

#include <errno.h>

#include "core/agg/agg_inside.h"
#include "core/base/clock.h"

void ng_agg_windows_init(struct ng_agg *agg, uint64_t now_ns)
{
	static const uint64_t slots_ns[NG_AGG_WINDOWS] = {
		10 * NG_NS_PER_S / NG_AGG_SLOTS, 60 * NG_NS_PER_S / NG_AGG_SLOTS};

	for (size_t i = 0; i < NG_AGG_WINDOWS; i++) {
		agg->windows[i].slot_ns = slots_ns[i];
		for (size_t j = 0; j < NG_AGG_MARKS; j++)
			agg->windows[i].at_ns[j] = now_ns;
	}
}

static bool is_due(const struct ng_agg_window *window, uint64_t now_ns)
{
	const uint64_t last_ns = window->at_ns[window->last];

	return now_ns > last_ns && now_ns - last_ns >= window->slot_ns;
}

/* Makes the newest mark, in place of the oldest, of all that were due. */
static void mark_entry(struct ng_agg *agg, struct ng_agg_entry *entry, const bool *due)
{
	const struct ng_agg_sum sum = ng_agg_entry_sum(agg, entry);
	struct ng_agg_marks *marks = ng_agg_marks(entry);

	for (size_t i = 0; i < NG_AGG_WINDOWS; i++) {
		if (due[i])
			marks->at[i][agg->windows[i].last] = sum;
	}
}

/* The view begins at the newest mark that is a whole window old; at the oldest where none is. */
static void advance(struct ng_agg_window *window, uint64_t now_ns)
{
	window->last = (window->last + 1) % NG_AGG_MARKS;
	window->at_ns[window->last] = now_ns;
	window->from = window->last;
	for (size_t i = 0; i < NG_AGG_SLOTS; i++) {
		if (now_ns - window->at_ns[window->from] >= NG_AGG_SLOTS * window->slot_ns)
			break;
		window->from = (window->from + NG_AGG_MARKS - 1) % NG_AGG_MARKS;
	}
}

int ng_agg_rotate(struct ng_agg *agg, uint64_t now_ns)
{
	bool due[NG_AGG_WINDOWS], is_any = false;
	struct cds_lfht_iter at;
	struct ng_agg_entry *entry;

	/* Not waited for: who tells the time disarms, too. */
	if (pthread_mutex_trylock(&agg->control))
		return -EBUSY;
	for (size_t i = 0; i < NG_AGG_WINDOWS; i++) {
		due[i] = is_due(&agg->windows[i], now_ns);
		is_any |= due[i];
		if (due[i])
			advance(&agg->windows[i], now_ns);
	}
	if (is_any) {
		ng_rcu_enter();
		urcu_memb_read_lock();
		mark_entry(agg, agg->overflow, due);
		cds_lfht_for_each_entry(agg->table, &at, entry, node) mark_entry(agg, entry, due);
		urcu_memb_read_unlock();
		ng_rcu_leave();
	}
	pthread_mutex_unlock(&agg->control);
	return 0;
}

/* Unlinks a target's entries. @return the first, each with the next one */
static struct ng_agg_entry *unlink_entries(struct ng_agg *agg, uint32_t target)
{
	struct ng_agg_entry *entry, *removed = NULL;
	struct cds_lfht_iter at;

	urcu_memb_read_lock();
	cds_lfht_for_each_entry(agg->table, &at, entry, node)
	{
		(void)ng_agg_entry_depth(entry); /* acquires its key */
		if (target != NG_AGG_ALL_TARGETS && entry->target != target)
			continue;
		if (cds_lfht_del(agg->table, &entry->node))
			continue; /* cannot be: only here, by the control lock, are any removed */
		entry->next_removed = removed;
		removed = entry;
	}
	urcu_memb_read_unlock();
	return removed;
}

/* Moves an entry's sums to the removed ones. Nobody can find it any more. */
static void take_sums(struct ng_agg *agg, const struct ng_agg_entry *entry)
{
	for (size_t i = 0; i < agg->readers_max; i++) {
		struct ng_agg_sum *sum = &agg->readers[i].sums[entry->number];

		ng_agg_sum_gather(&agg->removed, sum);
		*sum = (struct ng_agg_sum){.hits = 0};
	}
}

void ng_agg_remove_target(struct ng_agg *agg, uint32_t target)
{
	struct ng_agg_entry *removed;

	pthread_mutex_lock(&agg->control);
	ng_rcu_enter();
	removed = unlink_entries(agg, target);
	if (removed)
		urcu_memb_synchronize_rcu();
	ng_rcu_leave();
	for (size_t i = 0; i < agg->readers_max; i++)
		(void)__atomic_load_n(&agg->readers[i].taken.hits, __ATOMIC_ACQUIRE);
	while (removed) {
		struct ng_agg_entry *next = removed->next_removed;

		take_sums(agg, removed);
		ng_agg_entry_free(agg, removed);
		removed = next;
	}
	pthread_mutex_unlock(&agg->control);
}

struct ng_agg_totals ng_agg_totals(struct ng_agg *agg)
{
	struct ng_agg_totals totals = {.stacks = 0};

	pthread_mutex_lock(&agg->control);
	for (size_t i = 0; i < agg->readers_max; i++)
		ng_agg_sum_gather(&totals.taken, &agg->readers[i].taken);
	totals.overflow = ng_agg_entry_sum(agg, agg->overflow);
	totals.removed = agg->removed;
	totals.stacks = __atomic_load_n(&agg->stacks, __ATOMIC_RELAXED);
	totals.bytes = __atomic_load_n(&agg->bytes, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&agg->control);
	return totals;
}
