#include "control/plane/session_inside.h"

bool ng_session_locate(const struct ng_count_key *process, uint64_t address, const void *context,
	struct ng_place *ret_place)
{
	const struct ng_session *session = context;
	const struct ng_tracked *tracked = ng_tracked_under(&session->tracked, process);

	return tracked && ng_place_find(&session->images, &tracked->mappings, address, ret_place);
}

const struct ng_site *ng_session_site(uint32_t number, const void *context)
{
	const struct ng_session *session = context;

	return ng_place_site(&session->images, number);
}
