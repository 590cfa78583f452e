/* A call as the BPF program records it (bpf/abi.h), read from the ring: input, whatever it holds.
 */
#ifndef NG_CORE_AGG_CALL_H
#define NG_CORE_AGG_CALL_H

#include <stddef.h>
#include <stdint.h>

struct ng_call {
	uint64_t time_ns;  /* CLOCK_MONOTONIC */
	uint64_t start_ns; /* of the process, on the boot clock */
	uint32_t tgid;
	uint32_t exec_id;
	uint32_t site;
	uint32_t tid;
	uint64_t goroutine; /* its id; 0: not known, or none */
	uint32_t window;    /* serial number of the window it was hit in; 0: in none */
	uint32_t stretch;   /* of its gate's time: of another one there may be calls between */
	const uint64_t
		*frames; /* innermost first: the site, then return addresses; in the record */
	size_t depth;	 /* 0 where the stack could not be read */
};

/** @param data 8-byte aligned @return 0; -EINVAL its length is no record's */
int ng_call_read(const void *data, size_t size_bytes, struct ng_call *ret_call);

#endif
