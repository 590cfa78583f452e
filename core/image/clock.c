/* The sites that see every read of the clock: names and callers, or the bytes of two bodies. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/image/clockbody.h"
#include "core/image/flow.h"
#include "core/image/sites.h"

#define CALLERS_MAX 4096 /* direct calls of one function; programs have tens */

_Static_assert(NG_CLOCKBODY_SIGNATURE_BYTES <= NG_SITES_OVERLAP_BYTES, "seen in one chunk");

/* @return whether the name is there: 1, 0 or a negative errno */
static int add_by_name(const struct ng_image *image, const char *name, struct ng_sites *sites)
{
	struct ng_functions functions = NG_FUNCTIONS_INIT;
	int error = ng_image_find(image, name, &functions, NULL);

	if (error)
		return error == -ENOMEM ? error : 0;
	ng_sites_drop_wrappers(image, &functions);
	for (size_t i = 0; !error && i < functions.count; i++) {
		error = ng_sites_add_function(image, &functions.items[i], NULL, name, sites, NULL);
		if (error && error != -ENOMEM) {
			error = ng_sites_miss(sites, NULL, "%s cannot be probed", name);
		} else if (!error) {
			sites->items[sites->count - 1].source = name;
		}
	}
	ng_functions_release(&functions);
	return error ? error : 1;
}

/* One function by its name; its own name in *ret_function is to be freed. */
static bool find_one(
	const struct ng_image *image, const char *name, struct ng_function *ret_function)
{
	struct ng_functions functions = NG_FUNCTIONS_INIT;

	if (ng_image_find(image, name, &functions, NULL))
		return false;
	ng_sites_drop_wrappers(image, &functions);
	*ret_function = functions.items[0];
	functions.items[0].name = NULL;
	ng_functions_release(&functions);
	return true;
}

/* Does the runtime, or a package that it lends its clock to for purposes of its own, call from
 * here? Of package time only these read the clock for their caller. */
static bool is_runtime_internal(const char *name)
{
	static const char *const internal[] = {
		"runtime.", "runtime/", "internal/", "sync.", "sync/"};
	static const char *const of_time[] = {"time.Since", "time.Until", "time.when", "time.init",
		"time.Time.", "time.(*Timer)", "time.(*Ticker)", "time.NewT", "time.AfterFunc",
		"time.After", "time.Tick"};

	for (size_t i = 0; i < sizeof(internal) / sizeof(internal[0]); i++) {
		if (!strncmp(name, internal[i], strlen(internal[i])))
			return true;
	}
	if (strncmp(name, "time.", 5))
		return false;
	for (size_t i = 0; i < sizeof(of_time) / sizeof(of_time[0]); i++) {
		if (!strncmp(name, of_time[i], strlen(of_time[i])))
			return false;
	}
	return true;
}

/* The direct calls of one function, from anywhere in the image. */
struct callers {
	uint64_t addresses[CALLERS_MAX];	   /* ascending */
	struct ng_function functions[CALLERS_MAX]; /* that the calls stand in; a name may be NULL */
	size_t count;
	bool has_more;
};

static int by_value(const void *a, const void *b)
{
	const uint64_t first = *(const uint64_t *)a, second = *(const uint64_t *)b;

	return (first > second) - (first < second);
}

static int name_callers(const struct ng_image *image, struct callers *callers)
{
	int error;

	qsort(callers->addresses, callers->count, sizeof(callers->addresses[0]), by_value);
	error = ng_image_functions_at(
		image, callers->addresses, callers->count, callers->functions);
	if (error)
		callers->count = 0;
	return error;
}

static void release_callers(struct callers *callers)
{
	for (size_t i = 0; i < callers->count; i++)
		free(callers->functions[i].name);
	free(callers);
}

/* What looks like `call rel32` to the target. Whether it is an instruction is proven later. */
struct call_search {
	uint64_t target;
	struct callers *callers;
};

static int find_calls(const uint8_t *bytes, size_t size_bytes, uint64_t address, void *context)
{
	struct call_search *search = context;
	struct callers *callers = search->callers;

	for (size_t at = 0; at + 5 <= size_bytes; at++) {
		int32_t displacement;

		if (bytes[at] != 0xe8)
			continue;
		memcpy(&displacement, bytes + at + 1, sizeof(displacement));
		if (address + at + 5 + (uint64_t)(int64_t)displacement != search->target)
			continue;
		if (callers->count && callers->addresses[callers->count - 1] >= address + at)
			continue; /* seen in the chunk before */
		callers->has_more = callers->count == CALLERS_MAX;
		if (callers->has_more)
			return 0;
		callers->addresses[callers->count++] = address + at;
	}
	return 0;
}

static int add_outside_callers(const struct ng_image *image, const struct callers *callers,
	const char *name, struct ng_sites *sites)
{
	int error = 0;

	for (size_t i = 0; !error && i < callers->count; i++) {
		const struct ng_function *caller = &callers->functions[i];
		struct ng_call_site call = {.caller = caller,
			.address = callers->addresses[i],
			.name = name,
			.exact = true,
			.why = "a call from outside of the runtime, which calls the function as "
			       "well"};

		if (!caller->name || is_runtime_internal(caller->name))
			continue;
		error = ng_sites_add_call(image, NULL, &call, sites);
		if (error == -ENOEXEC)
			error = 0; /* no instruction begins there: bytes that look like one */
		else if (!error)
			sites->items[sites->count - 1].source = name;
	}
	return error;
}

static bool has_runtime_caller(const struct callers *callers)
{
	for (size_t i = 0; i < callers->count; i++) {
		const char *name = callers->functions[i].name;

		if (name && is_runtime_internal(name))
			return true;
	}
	return false;
}

/*
 * runtime.nanotime: what the program reads by time.Since, up to Go 1.23, and by linkname. The
 * runtime inlines it into its own readers, but not in builds without inlining (-gcflags=all=-l):
 * there only the calls from outside of the runtime count, and not those of time.runtimeNano, which
 * counts itself.
 */
static int add_nanotime(const struct ng_image *image, struct ng_sites *sites)
{
	static const char name[] = "runtime.nanotime";
	struct call_search search = {.callers = calloc(1, sizeof(*search.callers))};
	struct ng_function function, nano;
	bool passed_on = false;
	int error;

	if (!search.callers)
		return -ENOMEM;
	if (!find_one(image, name, &function)) {
		free(search.callers);
		return 0;
	}
	if (find_one(image, "time.runtimeNano", &nano)) {
		passed_on = ng_sites_calls(image, &nano, function.address);
		free(nano.name);
	}
	search.target = function.address;
	error = ng_sites_walk_code(image, find_calls, &search);
	if (!error)
		error = name_callers(image, search.callers);
	if (!error && search.callers->has_more)
		error = ng_sites_miss(
			sites, NULL, "%s is called in more than %d places", name, CALLERS_MAX);
	if (!error && (passed_on || has_runtime_caller(search.callers)))
		error = add_outside_callers(image, search.callers, name, sites);
	else if (!error)
		error = add_by_name(image, name, sites);
	release_callers(search.callers);
	free(function.name);
	return error < 0 ? error : 0;
}

/* The entries of bodies found by their bytes. */
struct body_search {
	const struct ng_image *image;
	uint64_t now;	    /* 0: not found */
	uint64_t nanotime1; /* 0: not found */
	bool ambiguous;
};

static void take_entry(struct body_search *search, uint64_t *entry, uint64_t address)
{
	uint64_t found = ng_clockbody_entry_before(search->image, address);

	search->ambiguous |= *entry && found && found != *entry;
	if (found)
		*entry = found;
}

static int find_bodies(const uint8_t *bytes, size_t size_bytes, uint64_t address, void *context)
{
	struct body_search *search = context;

	for (size_t at = 0; at + NG_CLOCKBODY_SIGNATURE_BYTES <= size_bytes; at++) {
		if (bytes[at] != 0xbf)
			continue;
		if (ng_clockbody_is_now(bytes + at, size_bytes - at))
			take_entry(search, &search->now, address + at);
		else if (ng_clockbody_is_nanotime1(bytes + at, size_bytes - at))
			take_entry(search, &search->nanotime1, address + at);
	}
	return 0;
}

/* @return 0, also where it cannot be probed, which is noted; -ENOMEM */
static int add_body(
	const struct ng_image *image, uint64_t entry, const char *source, struct ng_sites *sites)
{
	struct ng_function function = {.address = entry, .size_bytes = NG_CLOCKBODY_BYTES_MAX};
	uint8_t bytes[NG_CLOCKBODY_BYTES_MAX];
	int64_t length;
	int error;

	if (!entry)
		return 0;
	length = ng_image_read(image, entry, bytes, sizeof(bytes));
	function.size_bytes = length > 0 ? (uint64_t)length : 0;
	error = ng_sites_add_function(image, &function, NULL, source, sites, NULL);
	if (!error)
		sites->items[sites->count - 1].source = source;
	else if (error != -ENOMEM)
		return ng_sites_miss(sites, NULL, "%s cannot be probed", source);
	return error;
}

/* Where names are gone (garble), perhaps with all else that tells a Go program: the bytes say which
 * function it is. */
static int add_by_signature(
	const struct ng_image *image, enum ng_clock_set set, struct ng_sites *sites)
{
	struct body_search search = {.image = image};
	int error = ng_sites_walk_code(image, find_bodies, &search);

	if (error || (!search.now && !search.nanotime1))
		return error;
	if (search.ambiguous)
		return ng_sites_miss(sites, NULL,
			"names are gone, and more than one function has the bytes of time.now or "
			"nanotime1");
	error = add_body(image, search.now, "time.now", sites);
	if (!error && set == NG_CLOCK_ALL)
		error = add_body(image, search.nanotime1, "runtime.nanotime1", sites);
	if (!error && set == NG_CLOCK_ALL)
		error = ng_sites_miss(
			sites, NULL, "names are gone: syscall.gettimeofday cannot be found");
	else if (!error)
		error = ng_sites_miss(sites, NULL,
			"names are gone: monotonic reads (time.Since) cannot be told from the "
			"runtime's own, --clock=all counts both; syscall.gettimeofday cannot be "
			"found");
	return error;
}

static int add_go(const struct ng_image *image, enum ng_clock_set set, struct ng_sites *sites)
{
	int found = add_by_name(image, "time.now", sites);
	int error = 0;

	if (found < 0)
		return found;
	if (!found)
		return add_by_signature(image, set, sites);
	if (set == NG_CLOCK_ALL) {
		error = add_by_name(image, "runtime.nanotime1", sites);
	} else {
		error = add_by_name(image, "time.runtimeNano", sites);
		if (error >= 0)
			error = add_nanotime(image, sites);
	}
	if (error >= 0)
		error = add_by_name(image, "syscall.gettimeofday", sites);
	return error < 0 ? error : 0;
}

/* glibc's time and gettimeofday are resolved to the vDSO, past its clock_gettime. */
static void explain_libc(const struct ng_image *image, struct ng_sites *sites)
{
	struct ng_functions functions = NG_FUNCTIONS_INIT;
	struct ng_site *site = &sites->items[sites->count - 1];
	const int error = ng_image_find(image, "gettimeofday", &functions, NULL);
	const size_t used = strlen(site->why);

	if (error == -ENOTSUP)
		(void)snprintf(site->why + used, sizeof(site->why) - used,
			"; time() and gettimeofday() go past it, into the vDSO, unseen");
	ng_functions_release(&functions);
}

static int add_libc(const struct ng_image *image, struct ng_sites *sites)
{
	const size_t old_count = sites->count;
	const int error = add_by_name(image, "clock_gettime", sites);

	if (error > 0 && sites->count > old_count)
		explain_libc(image, sites);
	return error;
}

int ng_sites_clock(const struct ng_image *image, enum ng_clock_set set, struct ng_sites *ret_sites,
	struct ng_diag *diag)
{
	int error;

	if (ng_image_info(image)->is_go)
		error = add_go(image, set, ret_sites);
	else
		error = add_by_signature(image, set, ret_sites);
	if (error >= 0)
		error = add_libc(image, ret_sites);
	if (error < 0)
		return ng_diag_set(diag, error, "its code cannot be read: %s", strerror(-error));
	return 0;
}
