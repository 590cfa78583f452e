#include "control/engine/tallies.h"

#include <errno.h>
#include <stdlib.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "core/base/cleanup.h"

void ng_tallies_release(struct ng_tallies *tallies)
{
	free(tallies->items);
	*tallies = (struct ng_tallies)NG_TALLIES_INIT;
}

int ng_tallies_add(struct ng_tallies *tallies, const struct ng_tally *tally)
{
	/* Doubles at each power of two, so that the count alone tells the room. */
	if (!(tallies->count & (tallies->count - 1))) {
		size_t room = tallies->count ? 2 * tallies->count : 1;
		struct ng_tally *grown = reallocarray(tallies->items, room, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		tallies->items = grown;
	}
	tallies->items[tallies->count++] = *tally;
	return 0;
}

int ng_tallies_read(int counts_fd, struct ng_tallies *ret_tallies)
{
	size_t cpus = (size_t)libbpf_num_possible_cpus();
	NG_CLEANUP_FREE struct ng_count *shares = calloc(cpus, sizeof(*shares));
	struct ng_tallies tallies = NG_TALLIES_INIT;
	struct ng_count_key key, *previous = NULL;
	int error = 0;

	if (!shares)
		return -ENOMEM;
	/* Entries go only by ng_uprobe_forget(), in this thread: the walk never starts again. */
	while (!error && !bpf_map_get_next_key(counts_fd, previous, &key)) {
		struct ng_tally tally = {.key = key};

		previous = &key;
		if (bpf_map_lookup_elem(counts_fd, &key, shares))
			continue;
		for (size_t cpu = 0; cpu < cpus; cpu++)
			tally.calls += shares[cpu].calls;
		error = ng_tallies_add(&tallies, &tally);
	}
	if (error) {
		ng_tallies_release(&tallies);
		return error;
	}
	*ret_tallies = tallies;
	return 0;
}
