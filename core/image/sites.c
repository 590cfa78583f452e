#include "core/image/sites.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/image/copies.h"
#include "core/image/flow.h"
#include "core/image/joins.h"
#include "core/image/symbols.h"

#define WRAPPER_BYTES_MAX                                                                          \
	512 /* Go's ABI wrappers are some tens of bytes, or 300 with many arguments */
/* 32 MiB of code, 32 MiB of sites, or 128 walks through the inline trees of prometheus. */
#define WORK_MAX (4ull << 30)

#define CHUNK_BYTES (1u << 20)
#define TEXTS_MAX   16

bool ng_sites_spend(struct ng_sites *sites, uint64_t work)
{
	const bool was_left = sites->work < WORK_MAX;

	if (work < WORK_MAX - sites->work) {
		sites->work += work;
		return true;
	}
	sites->work = WORK_MAX;
	if (was_left) /* out of memory: then whoever asked has that to tell */
		(void)ng_sites_miss(sites, NULL, NG_SITES_TOO_MUCH);
	return false;
}

uint8_t *ng_sites_read_code(
	const struct ng_image *image, const struct ng_function *function, int *ret_error)
{
	size_t size_bytes = function->size_bytes > NG_FLOW_CODE_MAX ? NG_FLOW_CODE_MAX
								    : (size_t)function->size_bytes;
	uint8_t *code = malloc(size_bytes + 1);
	int64_t length;

	if (!code) {
		*ret_error = -ENOMEM;
		return NULL;
	}
	length = ng_image_read(image, function->address, code, size_bytes);
	if (length == (int64_t)size_bytes)
		return code;
	*ret_error = length < 0 ? (int)length : -EIO;
	free(code);
	return NULL;
}

int ng_sites_walk_code(const struct ng_image *image, ng_sites_on_code on_chunk, void *context)
{
	NG_CLEANUP_FREE uint8_t *chunk = NULL;
	struct ng_text texts[TEXTS_MAX];
	size_t count = ng_image_texts(image, texts, TEXTS_MAX), chunk_bytes = 0;
	int error = 0;

	for (size_t i = 0; i < count && i < TEXTS_MAX; i++) {
		if (texts[i].size_bytes > chunk_bytes)
			chunk_bytes = texts[i].size_bytes < CHUNK_BYTES
					      ? (size_t)texts[i].size_bytes
					      : CHUNK_BYTES;
	}
	chunk = malloc(chunk_bytes + 1);
	if (!chunk)
		return -ENOMEM;

	for (size_t i = 0; !error && i < count && i < TEXTS_MAX; i++) {
		for (uint64_t at = 0; !error && at < texts[i].size_bytes;
			at += CHUNK_BYTES - NG_SITES_OVERLAP_BYTES) {
			int64_t length =
				ng_image_read(image, texts[i].start + at, chunk, chunk_bytes);

			if (length < 0)
				return (int)length;
			error = on_chunk(chunk, (size_t)length, texts[i].start + at, context);
		}
	}
	return error;
}

int ng_sites_miss(struct ng_sites *sites, const char *function, const char *format, ...)
{
	struct ng_gap *gap = reallocarray(sites->gaps, sites->gap_count + 1, sizeof(*gap));
	va_list args;

	if (!gap)
		return -ENOMEM;
	sites->gaps = gap;
	gap += sites->gap_count;
	gap->function = function ? strdup(function) : NULL;
	if (function && !gap->function)
		return -ENOMEM;
	va_start(args, format);
	(void)vsnprintf(gap->text, sizeof(gap->text), format, args); /* long: cut */
	va_end(args);
	sites->gap_count++;
	return 0;
}

/* Doubles at each power of two, so that the count alone tells the room. */
static int make_room(struct ng_sites *sites)
{
	const size_t room = sites->count ? 2 * sites->count : 1;
	struct ng_site *grown;

	if (sites->count & (sites->count - 1))
		return 0;
	grown = reallocarray(sites->items, room, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	sites->items = grown;
	return 0;
}

/* Takes the site's texts, also when it fails. */
static int add_site(struct ng_sites *sites, struct ng_site *site)
{
	int error = site->function ? 0 : -ENOMEM;

	if (!error &&
		!ng_sites_spend(sites,
			NG_SITES_MEMORY_WORK * (sizeof(*site) + strlen(site->function) +
						       (site->caller ? strlen(site->caller) : 0))))
		error = -ENOEXEC;
	if (!error)
		error = make_room(sites);
	if (error) {
		free(site->function);
		free(site->caller);
		return error;
	}
	sites->items[sites->count++] = *site;
	return 0;
}

static int64_t read_data(uint64_t address, void *buffer, size_t size_bytes, void *context)
{
	return ng_image_read(context, address, buffer, size_bytes);
}

/* A fault in Go is a panic, which may be recovered; in the runtime and its assembly it is the end.
 */
static bool is_fatal_in(const char *name)
{
	return !strncmp(name, "runtime.", 8) || !strncmp(name, "time.now", 8) ||
	       !strncmp(name, "syscall.gettimeofday", 20);
}

int ng_sites_add_function(const struct ng_image *image, const struct ng_function *function,
	const struct ng_joins *joins, const char *name, struct ng_sites *sites,
	struct ng_diag *diag)
{
	/* It only reads. */
	const struct ng_flow_data data = {
		.read = read_data, .context = (void *)image, .joins = joins};
	struct ng_site_code all = {.size_bytes = (size_t)function->size_bytes,
		.address = function->address,
		.go = ng_image_info(image)->is_go,
		.data = &data};
	struct ng_site site = {.kind = NG_SITE_FUNCTION};
	struct ng_diag why = NG_DIAG_INIT;
	NG_CLEANUP_FREE uint8_t *code = NULL;
	int64_t offset;
	int error = 0;

	if (function->size_bytes > NG_FLOW_CODE_MAX)
		return ng_diag_set(diag, -ENOEXEC, "%s is too long to prove anything of it", name);
	if (!ng_sites_spend(sites, NG_SITES_CODE_WORK * function->size_bytes))
		return ng_diag_set(diag, -ENOEXEC, NG_SITES_TOO_MUCH);
	code = ng_sites_read_code(image, function, &error);
	if (!code)
		return ng_diag_set(diag, error, "%s cannot be read: %s", name, strerror(-error));
	all.bytes = code;
	all.outlives_faults = all.go && !is_fatal_in(name);
	error = ng_site_choose_in(&all, &site, &why);
	if (error)
		return ng_diag_set(diag, error, "%s cannot be probed: %s", name, why.text);
	offset = ng_image_text_offset(image, site.address);
	if (offset < 0)
		return (int)offset;
	site.offset = (uint64_t)offset;
	site.function = strdup(name);
	error = add_site(sites, &site);
	return error == -ENOEXEC ? ng_diag_set(diag, error, NG_SITES_TOO_MUCH) : error;
}

/* @return 0; -ENOEXEC: it cannot carry a probe */
static int add_lead(const struct ng_image *image, size_t index, struct ng_sites *sites)
{
	const struct ng_site *of = &sites->items[index];
	struct ng_site lead = *of;
	struct ng_insn insn;

	lead.kind = NG_SITE_LEAD;
	lead.address -= of->lead;
	lead.offset -= of->lead;
	lead.delta -= of->lead;
	lead.lead = 0;
	lead.leads_to = (uint32_t)index;
	if (ng_image_read(image, lead.address, lead.bytes, sizeof(lead.bytes)) < 0)
		return -EIO;
	if (ng_insn_decode(lead.bytes, sizeof(lead.bytes), lead.address, &insn) || !insn.emulated ||
		insn.flow != NG_INSN_BRANCH || insn.length > of->lead)
		return -ENOEXEC; /* cannot be: it was decoded there before */
	lead.length = insn.length;
	memset(lead.bytes + insn.length, 0, sizeof(lead.bytes) - insn.length);
	memcpy(lead.insn, insn.mnemonic, sizeof(lead.insn));
	(void)snprintf(lead.why, sizeof(lead.why), "tells what a hit costs here");
	lead.function = strdup(of->function);
	return add_site(sites, &lead);
}

int ng_sites_add_leads(const struct ng_image *image, struct ng_sites *sites, size_t max)
{
	const size_t count = sites->count;
	size_t added = 0;
	int error = 0;

	for (size_t i = 0; !error && i < count && added < max; i++) {
		if (!sites->items[i].lead)
			continue;
		error = add_lead(image, i, sites);
		added += !error;
		if (error == -ENOEXEC)
			error = 0;
	}
	return error;
}

static int add_call_in(const struct ng_image *image, const struct ng_flow *flow,
	const struct ng_call_site *call, struct ng_sites *sites)
{
	struct ng_site site = {.kind = NG_SITE_INLINED_COPY, .exact = call->exact};
	const size_t delta = (size_t)(call->address - flow->address);
	const int64_t offset = ng_image_text_offset(image, call->address);
	struct ng_insn insn;

	if (offset < 0 || !ng_flow_is_start(flow, delta) || !ng_flow_insn(flow, delta, &insn) ||
		insn.flow != NG_INSN_CALL || !insn.emulated ||
		ng_flow_is_split(flow, delta, insn.length))
		return -ENOEXEC;
	site.entry = flow->address;
	site.address = call->address;
	site.offset = (uint64_t)offset;
	site.delta = (uint32_t)delta;
	site.length = insn.length;
	memcpy(site.bytes, flow->code + delta, insn.length);
	site.class = NG_SITE_EMULATED;
	memcpy(site.insn, insn.mnemonic, sizeof(site.insn));
	(void)snprintf(site.why, sizeof(site.why), "%s", call->why);
	site.function = strdup(call->name);
	site.caller = strdup(call->caller->name);
	if (!site.caller) {
		free(site.function);
		return -ENOMEM;
	}
	return add_site(sites, &site);
}

int ng_sites_add_call(const struct ng_image *image, const struct ng_flow *flow,
	const struct ng_call_site *call, struct ng_sites *sites)
{
	NG_CLEANUP_FREE uint8_t *code = NULL;
	struct ng_flow own = {.data = NULL};
	int error = 0;

	if (flow)
		return add_call_in(image, flow, call, sites);
	if (call->caller->size_bytes > NG_FLOW_CODE_MAX) {
		error = ng_sites_miss(sites, call->name,
			"%.80s is too long to prove anything of it", call->caller->name);
		return error ? error : -ENOEXEC;
	}
	if (!ng_sites_spend(sites, NG_SITES_CODE_WORK * call->caller->size_bytes))
		return -ENOEXEC;
	code = ng_sites_read_code(image, call->caller, &error);
	if (!code)
		return error;
	error = ng_flow_open(&own, code, (size_t)call->caller->size_bytes, call->caller->address);
	if (error)
		return error == -ENOMEM ? error : -ENOEXEC;
	error = add_call_in(image, &own, call, sites);
	ng_flow_close(&own);
	return error;
}

/* Sees where a direct call or jump leads. @return true to stop */
typedef bool (*on_transfer)(uint64_t target, void *context);

/* @return whether it was stopped */
static bool walk_transfers(const struct ng_image *image, const struct ng_function *function,
	on_transfer on_each, void *context)
{
	NG_CLEANUP_FREE uint8_t *code = NULL;
	size_t offset = 0;
	int error = 0;

	code = ng_sites_read_code(image, function, &error);
	while (code && offset < function->size_bytes && offset < NG_FLOW_CODE_MAX) {
		struct ng_insn insn;

		if (ng_insn_decode(code + offset, (size_t)function->size_bytes - offset,
			    function->address + offset, &insn))
			return false;
		if ((insn.flow == NG_INSN_CALL || insn.flow == NG_INSN_JUMP) &&
			on_each(insn.target, context))
			return true;
		offset += insn.length;
	}
	return false;
}

static bool is_target(uint64_t target, void *context)
{
	return target == *(const uint64_t *)context;
}

bool ng_sites_calls(
	const struct ng_image *image, const struct ng_function *function, uint64_t address)
{
	return walk_transfers(image, function, is_target, &address);
}

/* The length of a name without Go's ABI suffix. */
static size_t plain_length(const char *name)
{
	const char *suffix = strstr(name, ".abi0");

	return suffix && !suffix[5] ? (size_t)(suffix - name) : strlen(name);
}

static bool same_plain_name(const char *a, const char *b)
{
	size_t length = plain_length(a);

	return plain_length(b) == length && !strncmp(a, b, length);
}

/* A function among others, which may share its name. */
struct own_name {
	const struct ng_functions *functions; /* by address */
	size_t index;
};

static int compare_address(const void *key, const void *item)
{
	const uint64_t address = *(const uint64_t *)key;
	const struct ng_function *function = item;

	return (address > function->address) - (address < function->address);
}

static bool leads_to_own_name(uint64_t target, void *context)
{
	const struct own_name *search = context;
	const struct ng_function *own = &search->functions->items[search->index];
	const struct ng_function *other = bsearch(&target, search->functions->items,
		search->functions->count, sizeof(*other), compare_address);

	return other && other != own && same_plain_name(other->name, own->name);
}

/* Does it call or jump to another function of its own name? */
static bool is_wrapper(
	const struct ng_image *image, const struct ng_functions *functions, size_t index)
{
	const struct ng_function *function = &functions->items[index];
	struct own_name search = {.functions = functions, .index = index};

	/* Instances of a generic function share their name too, and may call one another. */
	if (function->size_bytes > WRAPPER_BYTES_MAX || strchr(function->name, '['))
		return false;
	return walk_transfers(image, function, leads_to_own_name, &search);
}

void ng_sites_drop_wrappers(const struct ng_image *image, struct ng_functions *functions)
{
	for (size_t i = 0; functions->count > 1 && i < functions->count;) {
		if (!is_wrapper(image, functions, i)) {
			i++;
			continue;
		}
		free(functions->items[i].name);
		functions->count--;
		memmove(&functions->items[i], &functions->items[i + 1],
			(functions->count - i) * sizeof(*functions->items));
	}
}

/* Is it the instance of a generic function that only passes on, with its types, to the one of a
 * shape that does the work (Go 1.18 and newer)? */
static bool is_instance_wrapper(const char *name)
{
	const char *open = strchr(name, '[');

	return open && strncmp(open, "[...]", 5) && !strstr(open, "go.shape.");
}

/* "[...]" asks for the calls of a function whatever its types; what passes them on makes none. */
static void drop_instance_wrappers(struct ng_functions *functions)
{
	size_t kept = 0;

	for (size_t i = 0; i < functions->count; i++) {
		if (is_instance_wrapper(functions->items[i].name))
			free(functions->items[i].name);
		else
			functions->items[kept++] = functions->items[i];
	}
	functions->count = kept;
}

/*
 * Adds the inlined copies of a function, or of each one that a glob or "[...]" names.
 *
 * @param label what the sites' function is called; NULL: each as the inline trees have it
 */
static int add_inlined(const struct ng_image *image, const char *pattern, const char *label,
	struct ng_sites *sites)
{
	struct ng_inlined inlined = NG_INLINED_INIT;
	struct ng_diag why = NG_DIAG_INIT;
	int error;

	if (!ng_image_info(image)->is_go)
		return 0;
	error = ng_image_inlined(image, pattern, &inlined, &why);
	if (error == -ENODATA || (error == -E2BIG && !label))
		return ng_sites_miss(
			sites, label, "inlined copies of %.200s cannot be looked for", pattern);
	if (error == -E2BIG)
		return ng_sites_miss(sites, label, "%s", why.text);
	if (error)
		return error;
	(void)ng_sites_spend(sites, NG_SITES_STEP_WORK * inlined.steps);
	if (label && inlined.count && strstr(inlined.items[0].name, "[...]"))
		error = ng_sites_miss(sites, label,
			"inlined copies of %.80s cannot be told from those of its other instances",
			label);
	else
		error = ng_sites_add_copies(image, &inlined, label, sites);
	ng_inlined_release(&inlined);
	return error;
}

/* A function that has no body of its own left may still have copies whose calls can be probed. */
static int find_copies_only(
	const struct ng_image *image, const char *pattern, struct ng_sites *sites, int find_error)
{
	size_t old_count = sites->count;
	int error;

	if (find_error != -ENOENT || !ng_image_info(image)->has_pclntab)
		return find_error;
	error = add_inlined(image, pattern, NULL, sites);
	if (error)
		return error;
	return sites->count > old_count ? 0 : find_error;
}

/* The copies of what a pattern names: by the function's name, or by the pattern where it names
 * many. */
static int add_copies(const struct ng_image *image, const char *pattern,
	const struct ng_functions *functions, struct ng_sites *sites)
{
	const char *name = functions->items[0].name;
	char plain[NG_IMAGE_NAME_MAX + 1];

	if (strstr(pattern, "[...]") || !ng_symbols_match(name, pattern))
		return add_inlined(image, pattern, NULL, sites);
	(void)snprintf(plain, sizeof(plain), "%.*s", (int)plain_length(name), name);
	return add_inlined(image, plain, name, sites);
}

static int add_bodies(const struct ng_image *image, const struct ng_functions *functions,
	struct ng_sites *sites, struct ng_diag *diag)
{
	NG_CLEANUP_FREE struct ng_joins *joins = calloc(functions->count + 1, sizeof(*joins));
	int error = joins ? ng_joins_find(image, functions, sites, joins) : -ENOMEM;

	for (size_t i = 0; !error && i < functions->count; i++) {
		const struct ng_function *function = &functions->items[i];
		struct ng_diag why = NG_DIAG_INIT;
		int refused = ng_sites_add_function(
			image, function, &joins[i], function->name, sites, &why);

		/* One function asked for by name must work; of many, the others still do. */
		if (refused && (functions->count == 1 || refused != -ENOEXEC))
			error = ng_diag_set(diag, refused, "%s", why.text);
		else if (refused)
			error = ng_sites_miss(sites, function->name, "%s", why.text);
	}
	if (joins)
		ng_joins_release(joins, functions->count);
	return error;
}

/* Of what has said nothing so far. */
static int explain_failure(int error, struct ng_diag *diag)
{
	return error ? ng_diag_set(diag, error, "its code cannot be read: %s", strerror(-error))
		     : 0;
}

int ng_sites_find(const struct ng_image *image, const char *pattern, struct ng_sites *ret_sites,
	struct ng_diag *diag)
{
	struct ng_functions functions = NG_FUNCTIONS_INIT;
	struct ng_diag why = NG_DIAG_INIT;
	int error = ng_image_find(image, pattern, &functions, &why);

	if (error) {
		const int other = find_copies_only(image, pattern, ret_sites, error);

		return other == error ? ng_diag_set(diag, error, "%s", why.text)
				      : explain_failure(other, diag);
	}
	ng_sites_drop_wrappers(image, &functions);
	error = add_copies(image, pattern, &functions, ret_sites);
	if (strstr(pattern, "[...]"))
		drop_instance_wrappers(&functions);
	if (!error)
		error = add_bodies(image, &functions, ret_sites, diag);
	ng_functions_release(&functions);
	return explain_failure(error, diag);
}
