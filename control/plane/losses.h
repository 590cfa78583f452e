/* All that can be lost: each cause with the key that machines read, and what people are told. */
#ifndef NG_CONTROL_PLANE_LOSSES_H
#define NG_CONTROL_PLANE_LOSSES_H

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "bpf/abi.h"

/** What user space itself loses; the causes before are those of enum ng_loss_cause. */
enum ng_loss {
	NG_LOSS_STACKS_FULL = NG_LOST_CAUSES, /* a call: no room for another stack */
	NG_LOSS_WINDOW_WAITING_FULL,	      /* a call: no room to wait for its window's end */
	NG_LOSS_WINDOW_UNWEIGHED,	      /* a call: of a window that says nothing of it */
	NG_LOSSES,
};

/** Stable. @param cause of enum ng_loss_cause or ng_loss */
const char *ng_loss_key(size_t cause);

/** To stand behind a number. @param cause likewise */
const char *ng_loss_text(size_t cause);

/** An object with what was lost, by key. @param count of causes @return NULL: no memory */
json_t *ng_losses_json(const uint64_t *lost, size_t count);

#endif
