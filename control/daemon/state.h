/*
 * What the daemon was asked for by its socket and what still holds of it, kept in a small file so
 * that a restarted daemon takes it up again. What the configuration says is not in it.
 *
 *     {"v":1,"boot_id":"…","entries":[{"op":"attach","select":{…},"functions":[…],"settings":{…},
 *      "owner":0,"start_ticks":12345,"lease":{"boot_ns":…,"wall_ns":…}},…]}
 */
#ifndef NG_CONTROL_DAEMON_STATE_H
#define NG_CONTROL_DAEMON_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "control/daemon/protocol.h"
#include "control/daemon/wire.h"
#include "control/plane/selector.h"
#include "control/plane/wish.h"
#include "core/base/diag.h"

#define NG_STATE_NAME	     "state.json"
#define NG_STATE_BYTES_MAX   (4u << 20)
#define NG_STATE_ENTRIES_MAX 1024
#define NG_STATE_OWNERS_MAX  64 /* of them one who is not root may fill */

/** The clocks that a lease's end is noted in. */
struct ng_state_clock {
	char boot_id[40];
	uint64_t boot_ns; /* CLOCK_BOOTTIME: goes on while the machine sleeps */
	uint64_t wall_ns; /* CLOCK_REALTIME */
};

/** @return 0, or a negative errno where /proc does not tell */
int ng_state_clock_read(struct ng_state_clock *ret_clock);

/** One thing that was asked for: an attachment, or a change of mode of what is attached already. */
struct ng_state_entry {
	enum ng_op op; /* NG_OP_ATTACH or NG_OP_MODE */
	struct ng_selector select;
	struct ng_names functions; /* attach: none stands for the daemon's default */
	struct ng_wish wish;	   /* its lease's length is what is left of it */
	uid_t owner;		   /* who asked */
	uint64_t start_ticks; /* select.pid: its start, as in ng_process; 0: no pid, or not known */
	bool has_lease;	      /* wish.settings.mode holds until these two, whichever is first */
	uint64_t lease_boot_ns;
	uint64_t lease_wall_ns;
};

/** In the order in which they were asked for; later ones win. */
struct ng_state {
	struct ng_state_entry *entries;
	size_t count;
};

void ng_state_release(struct ng_state *state);

/** Adds an entry. @param entry taken, if it goes well; emptied then. @return 0; -ENOMEM; -E2BIG
 * there are NG_STATE_ENTRIES_MAX, or NG_STATE_OWNERS_MAX of an owner who is not root */
int ng_state_add(struct ng_state *state, struct ng_state_entry *entry);

/** Removes an entry. */
void ng_state_remove(struct ng_state *state, size_t index);

/** Notes that an entry's mode ends in so long. */
void ng_state_entry_set_lease(
	struct ng_state_entry *entry, uint64_t lease_ns, const struct ng_state_clock *clock);

/** The text of the file. Pure. @return 0; -ENOMEM; -E2BIG; -EINVAL a text is not UTF-8 */
int ng_state_format(const struct ng_state *state, const struct ng_state_clock *clock,
	char **ret_text, struct ng_diag *diag);

/**
 * Reads the text of the file. Pure.
 *
 * Leases that are over are left out: an attachment falls back to what it would be without its mode,
 * a change of mode goes. What is left of the others is in `wish.settings.lease_ns`.
 *
 * @return 0; -ESTALE it is from before a boot: ret_state has what does not depend on one, which is
 *         attachments that name no pid, without their leases; -EPROTONOSUPPORT of another version;
 *         -EINVAL damaged; -ENOMEM. With the text
 */
int ng_state_parse(const char *text, size_t length, const struct ng_state_clock *clock,
	struct ng_state *ret_state, struct ng_diag *diag);

/**
 * Replaces the file in a folder, at once or not at all: it is written beside it, flushed to the
 * disk and renamed. The folder is made where it is missing.
 *
 * @return 0; -ENOSPC the disk is full …: with the text; the old file is then still there
 */
int ng_state_save(const char *folder, const struct ng_state *state, struct ng_diag *diag);

/**
 * Reads the file in a folder. One that is refused, or from before a boot, is set aside as
 * "state.json.bad", and so does not come again.
 *
 * @return 0, also where there is none; what ng_state_parse() gave, with what it gave; -EPERM it is
 *         not a file that only we can have written; what reading gave: with the text
 */
int ng_state_load(const char *folder, struct ng_state *ret_state, struct ng_diag *diag);

#endif
