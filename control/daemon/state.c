#include "control/daemon/state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "core/base/cleanup.h"
#include "core/base/clock.h"

#define FORMAT_VERSION 1

static uint64_t read_clock(clockid_t id)
{
	struct timespec now;

	clock_gettime(id, &now); /* cannot fail for these clocks */
	return (uint64_t)now.tv_sec * NG_NS_PER_S + (uint64_t)now.tv_nsec;
}

int ng_state_clock_read(struct ng_state_clock *ret_clock)
{
	struct ng_state_clock clock = {0};
	NG_CLEANUP_FCLOSE FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (!file)
		return -errno;
	if (fscanf(file, "%39s", clock.boot_id) != 1)
		return -ENODATA;
	clock.boot_ns = read_clock(CLOCK_BOOTTIME);
	clock.wall_ns = read_clock(CLOCK_REALTIME);
	*ret_clock = clock;
	return 0;
}

static void release_entry(struct ng_state_entry *entry)
{
	ng_selector_release(&entry->select);
	ng_names_release(&entry->functions);
}

void ng_state_release(struct ng_state *state)
{
	for (size_t i = 0; i < state->count; i++)
		release_entry(&state->entries[i]);
	free(state->entries);
	*state = (struct ng_state){0};
}

static size_t count_of_owner(const struct ng_state *state, uid_t owner)
{
	size_t count = 0;

	for (size_t i = 0; i < state->count; i++)
		count += state->entries[i].owner == owner;
	return count;
}

int ng_state_add(struct ng_state *state, struct ng_state_entry *entry)
{
	struct ng_state_entry *entries;

	if (state->count == NG_STATE_ENTRIES_MAX ||
		(entry->owner && count_of_owner(state, entry->owner) >= NG_STATE_OWNERS_MAX))
		return -E2BIG;
	entries = realloc(state->entries, (state->count + 1) * sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	state->entries = entries;
	entries[state->count++] = *entry;
	*entry = (struct ng_state_entry){0};
	return 0;
}

void ng_state_remove(struct ng_state *state, size_t index)
{
	release_entry(&state->entries[index]);
	state->count--;
	memmove(&state->entries[index], &state->entries[index + 1],
		(state->count - index) * sizeof(*state->entries));
}

void ng_state_entry_set_lease(
	struct ng_state_entry *entry, uint64_t lease_ns, const struct ng_state_clock *clock)
{
	entry->has_lease = true;
	entry->lease_boot_ns = clock->boot_ns + lease_ns;
	entry->lease_wall_ns = clock->wall_ns + lease_ns;
}

/* --- writing -----------------------------------------------------------------------------------
 */

static json_t *format_entry(const struct ng_state_entry *entry)
{
	json_t *object = json_pack("{s:s, s:o, s:o, s:I, s:I}", "op", ng_op_name(entry->op),
		"select", ng_wire_selector(&entry->select), "settings", ng_wire_wish(&entry->wish),
		"owner", (json_int_t)entry->owner, "start_ticks", (json_int_t)entry->start_ticks);
	int error = !object;

	if (!error && entry->functions.count)
		error = json_object_set_new(
			object, "functions", ng_wire_functions(&entry->functions));
	if (!error && entry->has_lease)
		error = json_object_set_new(object, "lease",
			json_pack("{s:I, s:I}", "boot_ns", (json_int_t)entry->lease_boot_ns,
				"wall_ns", (json_int_t)entry->lease_wall_ns));
	if (!error)
		return object;
	json_decref(object);
	return NULL;
}

int ng_state_format(const struct ng_state *state, const struct ng_state_clock *clock,
	char **ret_text, struct ng_diag *diag)
{
	json_t *entries = json_array(), *root;
	char *text;

	for (size_t i = 0; i < state->count; i++) {
		if (json_array_append_new(entries, format_entry(&state->entries[i]))) {
			json_decref(entries);
			return ng_diag_set(diag, -EINVAL, "state: entry %zu cannot be written", i);
		}
	}
	root = json_pack("{s:i, s:s, s:o}", "v", FORMAT_VERSION, "boot_id", clock->boot_id,
		"entries", entries);
	text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
	json_decref(root);
	if (!text)
		return -ENOMEM;
	if (strlen(text) > NG_STATE_BYTES_MAX) {
		free(text);
		return ng_diag_set(diag, -E2BIG, "state: more than %u bytes", NG_STATE_BYTES_MAX);
	}
	*ret_text = text;
	return 0;
}

/* --- reading -----------------------------------------------------------------------------------
 */

static int parse_lease(json_t *lease, struct ng_state_entry *entry, struct ng_diag *diag)
{
	static const char *const keys[] = {"boot_ns", "wall_ns", NULL};
	static const struct ng_range any = {0, INT64_MAX};
	bool has_boot = false, has_wall = false;
	int error = ng_wire_check_keys(lease, "lease", keys, diag);

	if (!error)
		error = ng_wire_get_integer(
			lease, "boot_ns", any, &entry->lease_boot_ns, &has_boot, diag);
	if (!error)
		error = ng_wire_get_integer(
			lease, "wall_ns", any, &entry->lease_wall_ns, &has_wall, diag);
	if (!error && (!has_boot || !has_wall || !entry->wish.has_mode))
		error = ng_diag_set(diag, -EINVAL, "the lease is not whole");
	entry->has_lease = !error;
	return error;
}

static int parse_op(json_t *object, struct ng_state_entry *entry, struct ng_diag *diag)
{
	const char *op = json_string_value(json_object_get(object, "op"));

	if (op && !strcmp(op, ng_op_name(NG_OP_ATTACH)))
		entry->op = NG_OP_ATTACH;
	else if (op && !strcmp(op, ng_op_name(NG_OP_MODE)))
		entry->op = NG_OP_MODE;
	else
		return ng_diag_set(diag, -EINVAL, "op is neither attach nor mode");
	return 0;
}

/* What the members' readers cannot know. */
static int check_entry(const struct ng_state_entry *entry, struct ng_diag *diag)
{
	const enum ng_mode mode = entry->wish.settings.mode;

	if (entry->op == NG_OP_ATTACH && entry->select.all)
		return ng_diag_set(diag, -EINVAL, "attach cannot have all");
	if (entry->op == NG_OP_MODE && !entry->wish.has_mode)
		return ng_diag_set(diag, -EINVAL, "mode is missing");
	if (entry->wish.has_mode && (mode == NG_MODE_BURST || mode == NG_MODE_FULL) &&
		!entry->has_lease)
		return ng_diag_set(diag, -EINVAL, "%s has no lease", ng_mode_name(mode));
	return 0;
}

static int parse_entry(json_t *object, struct ng_state_entry *entry, struct ng_diag *diag)
{
	static const char *const keys[] = {
		"op", "select", "functions", "settings", "owner", "start_ticks", "lease", NULL};
	json_t *functions = json_object_get(object, "functions");
	json_t *lease = json_object_get(object, "lease");
	bool has_owner = false, has_ticks = false;
	uint64_t owner = 0;
	int error = ng_wire_check_keys(object, "an entry", keys, diag);

	if (!error)
		error = parse_op(object, entry, diag);
	if (!error)
		error = ng_wire_get_selector(
			json_object_get(object, "select"), &entry->select, diag);
	if (!error && functions)
		error = ng_wire_get_functions(functions, &entry->functions, diag);
	if (!error)
		error = ng_wire_get_wish(json_object_get(object, "settings"), &entry->wish, diag);
	if (!error)
		error = ng_wire_get_integer(object, "owner", (struct ng_range){0, UINT32_MAX - 1},
			&owner, &has_owner, diag);
	if (!error)
		error = ng_wire_get_integer(object, "start_ticks", (struct ng_range){0, INT64_MAX},
			&entry->start_ticks, &has_ticks, diag);
	if (!error && (!has_owner || !has_ticks))
		error = ng_diag_set(diag, -EINVAL, "owner or start_ticks is missing");
	if (!error && lease)
		error = parse_lease(lease, entry, diag);
	entry->owner = (uid_t)owner;
	return error ? error : check_entry(entry, diag);
}

/* What is left of a lease: by the clock that has come closer to its end, for the wall clock may
 * have been set, and a container's checkpoint takes the boot clock back. */
static uint64_t left_of(const struct ng_state_entry *entry, const struct ng_state_clock *clock)
{
	uint64_t left_ns = NG_LEASE_MAX_NS;

	if (entry->lease_boot_ns <= clock->boot_ns || entry->lease_wall_ns <= clock->wall_ns)
		return 0;
	if (entry->lease_boot_ns - clock->boot_ns < left_ns)
		left_ns = entry->lease_boot_ns - clock->boot_ns;
	if (entry->lease_wall_ns - clock->wall_ns < left_ns)
		left_ns = entry->lease_wall_ns - clock->wall_ns;
	return left_ns;
}

/* Brings an entry to the present. @return whether anything of it holds still */
static bool renew(struct ng_state_entry *entry, const struct ng_state_clock *clock, bool is_stale)
{
	const bool has_lease = entry->has_lease;
	const uint64_t left_ns = has_lease && !is_stale ? left_of(entry, clock) : 0;

	if (is_stale && (entry->op != NG_OP_ATTACH || entry->select.pid))
		return false;
	if (left_ns) {
		entry->wish.has_lease = true;
		entry->wish.settings.lease_ns = left_ns;
	} else if (has_lease) {
		if (entry->op == NG_OP_MODE)
			return false;
		entry->has_lease = false;
		entry->wish.has_mode = entry->wish.has_lease = entry->wish.has_events = false;
		entry->wish.has_rate = entry->wish.has_exact = false;
	}
	return true;
}

static int parse_entries(json_t *array, const struct ng_state_clock *clock, bool is_stale,
	struct ng_state *state, struct ng_diag *diag)
{
	json_t *object;
	size_t i;

	if (!json_is_array(array) || json_array_size(array) > NG_STATE_ENTRIES_MAX)
		return ng_diag_set(diag, -EINVAL, "entries are missing, or too many");
	json_array_foreach(array, i, object)
	{
		struct ng_state_entry entry = {0};
		int error = parse_entry(object, &entry, diag);

		if (!error && renew(&entry, clock, is_stale))
			error = ng_state_add(state, &entry);
		release_entry(&entry); /* empty, if it was added */
		if (error)
			return error;
	}
	return 0;
}

int ng_state_parse(const char *text, size_t length, const struct ng_state_clock *clock,
	struct ng_state *ret_state, struct ng_diag *diag)
{
	static const char *const keys[] = {"v", "boot_id", "entries", NULL};
	struct ng_state state = {0};
	json_t *root = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
	json_t *version = json_object_get(root, "v");
	const char *boot_id = json_string_value(json_object_get(root, "boot_id"));
	bool is_stale = false;
	int error = 0;

	if (!json_is_integer(version))
		error = ng_diag_set(diag, -EINVAL, "it is damaged: not JSON, or without a version");
	else if (json_integer_value(version) != FORMAT_VERSION)
		error = ng_diag_set(diag, -EPROTONOSUPPORT, "it is of version %lld, not %d",
			(long long)json_integer_value(version), FORMAT_VERSION);
	else
		error = ng_wire_check_keys(root, "it", keys, diag);
	if (!error && !boot_id)
		error = ng_diag_set(diag, -EINVAL, "it is damaged: boot_id is missing");
	if (!error) {
		is_stale = strcmp(boot_id, clock->boot_id) != 0;
		error = parse_entries(
			json_object_get(root, "entries"), clock, is_stale, &state, diag);
	}
	json_decref(root);
	if (error) {
		ng_state_release(&state);
		return error;
	}
	*ret_state = state;
	return is_stale
		       ? ng_diag_set(diag, -ESTALE,
				 "it is from before the machine's last start: leases are over, and "
				 "so are attachments by pid")
		       : 0;
}
