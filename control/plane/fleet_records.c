#include "control/plane/fleet_records.h"

#include <errno.h>
#include <sys/epoll.h>

#include "core/base/clock.h"

static void on_call(const struct ng_call *call, void *context)
{
	const struct ng_fleet *fleet = context;

	ng_weigher_call(fleet->weigher, call);
}

static void on_look(bool is_last, void *context)
{
	const struct ng_fleet *fleet = context;

	ng_weigher_turn(fleet->weigher, ng_clock_ns(), is_last);
	if (is_last && fleet->options.on_last_call)
		fleet->options.on_last_call(fleet->options.call_context);
}

int ng_fleet_open_records(struct ng_fleet *fleet, struct ng_diag *diag)
{
	struct ng_records_options options = {.on_call = on_call, .on_look = on_look};

	fleet->weigher = ng_weigher_new(fleet->options.on_call, fleet->options.call_context);
	if (!fleet->weigher)
		return -ENOMEM;
	options.context = fleet;
	return ng_records_open(fleet->engine, &options, &fleet->records, diag);
}

void ng_fleet_close_records(struct ng_fleet *fleet)
{
	if (!fleet->records)
		return;
	fleet->reader_cpu_ns = ng_records_cpu_ns(fleet->records);
	(void)ng_records_close(fleet->records); /* strangers: none, or the abi is broken */
	fleet->records = NULL;
}

void ng_fleet_catch_up(struct ng_fleet *fleet)
{
	if (fleet->records)
		ng_records_catch_up(fleet->records);
}

static bool is_idle(const struct ng_fleet *fleet)
{
	for (size_t i = 0; i < fleet->entry_count; i++) {
		if (!ng_member_is_idle(fleet->entries[i].member))
			return false;
	}
	return true;
}

void ng_fleet_stop(struct ng_fleet *fleet)
{
	for (size_t i = 0; i < fleet->entry_count; i++) {
		struct ng_settings off = *ng_member_settings(fleet->entries[i].member);

		off.mode = NG_MODE_OFF;
		off.lease_ns = 0;
		ng_member_set(fleet->entries[i].member, &off, ng_clock_ns());
	}
	while (!is_idle(fleet)) {
		struct epoll_event event;

		(void)ng_fleet_turn(fleet);
		if (!is_idle(fleet))
			(void)epoll_wait(fleet->epoll_fd, &event, 1, 100);
	}
	ng_fleet_close_records(fleet);
}

/* The images of all that is attached: a file is in each catalog that looked at it. */
static bool find(const struct ng_fleet *fleet, const struct ng_mappings *mappings, uint64_t address,
	struct ng_place *ret_place)
{
	for (size_t i = 0; i < fleet->catalogs.count; i++) {
		if (ng_place_find(&fleet->catalogs.items[i]->images, mappings, address, ret_place))
			return true;
	}
	return false;
}

bool ng_fleet_locate(const struct ng_count_key *process, uint64_t address, const void *context,
	struct ng_place *ret_place)
{
	const struct ng_fleet *fleet = context;

	for (size_t i = 0; i < fleet->entry_count; i++) {
		const struct fleet_entry *entry = &fleet->entries[i];

		if (ng_member_owns(entry->member, process))
			return find(fleet, &entry->mappings, address, ret_place);
	}
	return false;
}

const struct ng_site *ng_fleet_site(uint32_t number, const void *context)
{
	const struct ng_fleet *fleet = context;
	const struct ng_site *site = NULL;

	for (size_t i = 0; !site && i < fleet->catalogs.count; i++)
		site = ng_place_site(&fleet->catalogs.items[i]->images, number);
	return site;
}

bool ng_fleet_find_function(const struct ng_fleet *fleet, const struct ng_count_key *call,
	size_t *ret_member, uint32_t *ret_function)
{
	for (size_t i = 0; i < fleet->entry_count; i++) {
		const struct ng_member *member = fleet->entries[i].member;

		if (!ng_member_owns(member, call))
			continue;
		*ret_member = i;
		*ret_function = ng_member_function_at(member, call->site);
		return true;
	}
	return false;
}

bool ng_fleet_find_process(
	const struct ng_fleet *fleet, const struct ng_count_key *process, size_t *ret_member)
{
	for (size_t i = fleet->entry_count; i > 0; i--) {
		if (!ng_member_is_of(fleet->entries[i - 1].member, process))
			continue;
		*ret_member = i - 1;
		return true;
	}
	return false;
}

uint64_t ng_fleet_reader_cpu_ns(const struct ng_fleet *fleet)
{
	return fleet->reader_cpu_ns;
}
