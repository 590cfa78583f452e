#include "control/plane/losses.h"

static const struct {
	const char *key, *text;
} losses[NG_LOSSES] = {
	[NG_LOST_COUNTS_FULL] = {"counts_full",
		"calls not counted: too many processes at one time"},
	[NG_LOST_TARGETS_FULL] = {"targets_full",
		"children not followed: too many processes at one time"},
	[NG_LOST_EVENTS_FULL] = {"events_full", "process events missed: too many at one time"},
	[NG_LOST_WINDOW_FULL] = {"window_full",
		"calls missing from windows: too many threads at one time"},
	[NG_LOST_RECORDS_FULL] = {"records_full",
		"calls without their stack: the reader could not keep up"},
	[NG_LOSS_STACKS_FULL] = {"stacks_full",
		"calls without their stack: too many different ones"},
	[NG_LOSS_WINDOW_WAITING_FULL] = {"window_waiting_full",
		"calls without their stack: too many waited for the end of their window"},
	[NG_LOSS_WINDOW_UNWEIGHED] = {"window_unweighed",
		"calls without their stack: what they stand for is not known"},
};

const char *ng_loss_key(size_t cause)
{
	return losses[cause].key;
}

const char *ng_loss_text(size_t cause)
{
	return losses[cause].text;
}

json_t *ng_losses_json(const uint64_t *lost, size_t count)
{
	json_t *object = json_object();

	for (size_t i = 0; i < count && object; i++) {
		if (json_object_set_new(object, losses[i].key, json_integer((json_int_t)lost[i]))) {
			json_decref(object);
			object = NULL;
		}
	}
	return object;
}
