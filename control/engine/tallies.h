/* Calls, as the BPF programs count them: by process and site, a share on each CPU. */
#ifndef NG_CONTROL_ENGINE_TALLIES_H
#define NG_CONTROL_ENGINE_TALLIES_H

#include <stddef.h>
#include <stdint.h>

#include "bpf/abi.h"

/** Calls of one process at one site, of all CPUs. */
struct ng_tally {
	struct ng_count_key key;
	uint64_t calls;
};

struct ng_tallies {
	struct ng_tally *items;
	size_t count;
};

#define NG_TALLIES_INIT                                                                            \
	{                                                                                          \
		.items = NULL, .count = 0                                                          \
	}

void ng_tallies_release(struct ng_tallies *tallies);

/** @return 0; -ENOMEM */
int ng_tallies_add(struct ng_tallies *tallies, const struct ng_tally *tally);

/** Reads all of the map `counts`. Cost: one system call a (process, site) pair. @return 0; -ENOMEM
 */
int ng_tallies_read(int counts_fd, struct ng_tallies *ret_tallies);

#endif
