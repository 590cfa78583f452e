#include "core/image/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/cleanup.h"
#include "core/image/gobuild.h"
#include "core/image/symbols.h"

#define MATCHES_MAX 4096
#define NEAR_MAX    4 /* names that an error suggests */
#define CALLERS_MAX 3 /* callers that an error names */

void ng_functions_release(struct ng_functions *functions)
{
	for (size_t i = 0; i < functions->count; i++)
		free(functions->items[i].name);
	free(functions->items);
	*functions = (struct ng_functions)NG_FUNCTIONS_INIT;
}

/* A symbol table with its strings. */
static int load_symbols(struct ng_image *image, const char *name, enum ng_name_source source)
{
	const struct ng_section *table = ng_elf_section(&image->elf, name);
	int error;

	if (!table || table->link >= image->elf.section_count)
		return -ENOENT;
	error = ng_elf_load(&image->elf, table, &image->symbols);
	if (!error)
		error = ng_elf_load(&image->elf, &image->elf.sections[table->link], &image->names);
	image->source = source;
	return error;
}

static int load_names(struct ng_image *image)
{
	int error = load_symbols(image, ".symtab", NG_NAME_SYMTAB);

	image->info.has_symtab = !error;
	return error == -ENOENT ? load_symbols(image, ".dynsym", NG_NAME_DYNSYM) : error;
}

/* What Go's build notes and function table say. Not a Go image, or one of a kind we do not know:
 * then its symbols have to do. */
static int load_go(struct ng_image *image)
{
	struct ng_gobuild build = {0};
	int error = ng_gobuild_read(&image->elf, &build);

	if (error == -ENOMEM || error == -EIO)
		return error;
	image->info.is_go = !error;
	if (!error) {
		memcpy(image->go_version, build.version, sizeof(build.version));
		memcpy(image->module_path, build.module_path, sizeof(build.module_path));
		image->info.is_pgo = build.has_profile;
	}
	if (!image->info.is_go && image->elf.section_count &&
		!ng_elf_section(&image->elf, ".gopclntab") &&
		!ng_elf_section(&image->elf, ".note.go.buildid"))
		return 0; /* or the search would read all data of each C program */
	error = ng_pclntab_open(
		&image->pclntab, &image->elf, ng_gobuild_minor(image->go_version), NULL);
	image->info.has_pclntab = !error;
	image->info.is_go |= !error;
	return error == -ENOMEM || error == -E2BIG || error == -EIO ? error : 0;
}

int ng_image_open(int fd, struct ng_image **ret_image, struct ng_diag *diag)
{
	struct ng_image *image = calloc(1, sizeof(*image));
	int own_fd, error;

	if (!image)
		return -ENOMEM;
	image->elf.fd = -1;
	own_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (own_fd < 0) {
		error = ng_diag_set(diag, -errno, "it cannot be read: %s", strerror(errno));
		free(image);
		return error;
	}
	error = ng_elf_open(&image->elf, own_fd, diag);
	if (error) {
		close(own_fd);
		free(image);
		return error;
	}
	image->info.is_pie = image->elf.is_dynamic;
	image->info.go_version = image->go_version;
	image->info.module_path = image->module_path;
	image->info.build_id = image->build_id;
	ng_build_id_read(&image->elf, image->build_id);
	error = load_names(image);
	if (!error || error == -ENOENT)
		error = load_go(image);
	if (error) {
		ng_image_free(image);
		return ng_diag_set(diag, error, "its tables cannot be read: %s",
			error == -E2BIG ? "they are too large to be true" : strerror(-error));
	}
	*ret_image = image;
	return 0;
}

void ng_image_free(struct ng_image *image)
{
	if (!image)
		return;
	ng_pclntab_close(&image->pclntab);
	ng_blob_release(&image->symbols);
	ng_blob_release(&image->names);
	ng_elf_close(&image->elf);
	free(image);
}

const struct ng_image_info *ng_image_info(const struct ng_image *image)
{
	return &image->info;
}

int ng_image_fd(const struct ng_image *image)
{
	return image->elf.fd;
}

int64_t ng_image_read(
	const struct ng_image *image, uint64_t address, void *buffer, size_t size_bytes)
{
	return ng_elf_read(&image->elf, address, buffer, size_bytes);
}

int64_t ng_image_text_offset(const struct ng_image *image, uint64_t address)
{
	const struct ng_segment *segment = ng_elf_text_segment(&image->elf, address);

	return segment ? (int64_t)(segment->offset + (address - segment->address)) : -EFAULT;
}

size_t ng_image_texts(const struct ng_image *image, struct ng_text *ret_texts, size_t max)
{
	size_t count = 0;

	for (size_t i = 0; i < image->elf.segment_count; i++) {
		const struct ng_segment *segment = &image->elf.segments[i];

		if (!segment->executable || !segment->file_bytes)
			continue;
		if (count < max)
			ret_texts[count] = (struct ng_text){
				.start = segment->address, .size_bytes = segment->file_bytes};
		count++;
	}
	return count;
}

/* A search by name. */
struct search {
	const char *pattern;
	bool glob;
	bool saw_ifunc;
	size_t room;
	struct ng_functions found;
};

static int collect(const struct ng_symbol *symbol, void *context)
{
	struct search *search = context;
	struct ng_function *function;
	bool matches = search->glob ? ng_symbols_match_glob(symbol->name, search->pattern)
				    : ng_symbols_match(symbol->name, search->pattern);

	if (!matches)
		return 0;
	if (symbol->is_ifunc) {
		search->saw_ifunc = true;
		return 0;
	}
	if (search->found.count == MATCHES_MAX)
		return -E2BIG;
	if (search->found.count == search->room) {
		size_t room = search->room ? 2 * search->room : 4;
		struct ng_function *grown = reallocarray(search->found.items, room, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		search->found.items = grown;
		search->room = room;
	}
	function = &search->found.items[search->found.count];
	*function = (struct ng_function){.name = strndup(symbol->name, NG_IMAGE_NAME_MAX),
		.address = symbol->address,
		.size_bytes = symbol->size_bytes,
		.source = symbol->source};
	if (!function->name)
		return -ENOMEM;
	search->found.count++;
	return 0;
}

static int by_address(const void *a, const void *b)
{
	const struct ng_function *first = a, *second = b;

	if (first->address != second->address)
		return first->address < second->address ? -1 : 1;
	return strcmp(first->name, second->name);
}

/* Sorts by address and drops aliases: a function counts once, by the first of its names. */
static void sort_functions(struct ng_functions *functions)
{
	size_t kept = 0;

	if (!functions->count)
		return;
	qsort(functions->items, functions->count, sizeof(*functions->items), by_address);
	for (size_t i = 1; i < functions->count; i++) {
		if (functions->items[i].address == functions->items[kept].address)
			free(functions->items[i].name);
		else
			functions->items[++kept] = functions->items[i];
	}
	functions->count = kept + 1;
}

/* Functions, by address, and which of them the table gave no size for. */
struct unsized {
	struct ng_functions *functions;
	bool *is_unsized;
};

/* The last function that begins before an address; SIZE_MAX where there is none. */
static size_t function_before(const struct ng_functions *functions, uint64_t address)
{
	size_t low = 0, high = functions->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (functions->items[middle].address < address)
			low = middle + 1;
		else
			high = middle;
	}
	return low - 1;
}

static int bound_by(const struct ng_symbol *symbol, void *context)
{
	struct unsized *unsized = context;
	const size_t index = function_before(unsized->functions, symbol->address);
	struct ng_function *function;

	if (index == SIZE_MAX || !unsized->is_unsized[index])
		return 0;
	function = &unsized->functions->items[index];
	if (symbol->address - function->address < function->size_bytes)
		function->size_bytes = symbol->address - function->address;
	return 0;
}

/* Sizes that the table does not give reach to the next function; none beyond its segment. */
static int bound_sizes(const struct ng_image *image, struct ng_functions *functions)
{
	NG_CLEANUP_FREE bool *is_unsized = calloc(functions->count + 1, sizeof(*is_unsized));
	struct unsized unsized = {.functions = functions, .is_unsized = is_unsized};
	bool any = false;

	if (!is_unsized)
		return -ENOMEM;
	for (size_t i = 0; i < functions->count; i++) {
		struct ng_function *function = &functions->items[i];
		const struct ng_segment *segment =
			ng_elf_text_segment(&image->elf, function->address);

		if (function->size_bytes)
			continue;
		is_unsized[i] = any = true;
		function->size_bytes = segment->file_bytes - (function->address - segment->address);
	}
	return any ? ng_symbols_walk(image, bound_by, &unsized) : 0;
}

static int search_for(const struct ng_image *image, struct search *search)
{
	int error = ng_symbols_walk(image, collect, search);

	if (!error) {
		sort_functions(&search->found);
		error = bound_sizes(image, &search->found);
	}
	if (error)
		ng_functions_release(&search->found);
	return error;
}

#define NEAR_WORK_MAX (64u << 20) /* byte pairs to compare; 0.2 s */

/* The names nearest to one that is not there. */
struct near_names {
	const char *pattern;
	const char *names[NEAR_MAX];
	unsigned int distances[NEAR_MAX];
	size_t count;
	uint64_t work; /* byte pairs compared */
};

static int collect_near(const struct ng_symbol *symbol, void *context)
{
	struct near_names *near = context;
	unsigned int distance;
	size_t at;

	if (near->work > NEAR_WORK_MAX)
		return 0; /* what is near so far has to do */
	distance = ng_symbols_distance(symbol->name, near->pattern, &near->work);
	if (distance >= NG_SYMBOLS_FAR ||
		(near->count == NEAR_MAX && distance >= near->distances[NEAR_MAX - 1]))
		return 0;
	for (size_t i = 0; i < near->count; i++) {
		if (!strcmp(near->names[i], symbol->name))
			return 0; /* of another version, or a wrapper */
	}
	if (near->count < NEAR_MAX)
		near->count++;
	for (at = near->count - 1; at > 0 && near->distances[at - 1] > distance; at--) {
		near->names[at] = near->names[at - 1];
		near->distances[at] = near->distances[at - 1];
	}
	near->names[at] = symbol->name;
	near->distances[at] = distance;
	return 0;
}

/* "…, inlined into a, b and 3 more": where a function's calls went. */
static void list_callers(const struct ng_inlined *inlined, char *text, size_t text_bytes)
{
	size_t shown = 0, used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < inlined->count && shown < CALLERS_MAX; i++) {
		const char *name = inlined->items[i].caller.name;

		if (strstr(text, name))
			continue;
		used += (size_t)snprintf(
			text + used, text_bytes - used, "%s%.80s", shown++ ? ", " : "", name);
	}
	if (inlined->copy_count > shown)
		(void)snprintf(
			text + used, text_bytes - used, " … (%zu copies)", inlined->copy_count);
}

static int explain_absence(const struct ng_image *image, const char *pattern, struct ng_diag *diag)
{
	struct near_names near = {.pattern = pattern};
	struct ng_inlined inlined = NG_INLINED_INIT;
	char text[512];
	size_t used = 0;

	if (image->info.has_pclntab && !ng_image_inlined(image, pattern, &inlined, NULL) &&
		inlined.count) {
		list_callers(&inlined, text, sizeof(text));
		ng_inlined_release(&inlined);
		return ng_diag_set(diag, -ENOENT,
			"%s has no code of its own: it was inlined everywhere, into %s. Trace its "
			"callers, or build with -gcflags=-l",
			pattern, text);
	}
	(void)ng_symbols_walk(image, collect_near, &near); /* a damaged table has shown itself */
	if (!image->symbols.size_bytes && !image->info.has_pclntab)
		return ng_diag_set(diag, -ENOENT,
			"there is no function %s: the file has no symbols at all (stripped)%s",
			pattern,
			image->info.is_go ? ", and Go's function table cannot be read" : "");
	if (!near.count)
		return ng_diag_set(diag, -ENOENT,
			"there is no function %s, and none with a name like it", pattern);
	for (size_t i = 0; i < near.count && used < sizeof(text); i++)
		used += (size_t)snprintf(
			text + used, sizeof(text) - used, "%s%.100s", i ? ", " : "", near.names[i]);
	return ng_diag_set(diag, -ENOENT, "there is no function %s. Near it: %s", pattern, text);
}

int ng_image_find(const struct ng_image *image, const char *pattern,
	struct ng_functions *ret_functions, struct ng_diag *diag)
{
	struct search search = {.pattern = pattern, .found = NG_FUNCTIONS_INIT};
	int error = search_for(image, &search);

	if (!error && !search.found.count && !search.saw_ifunc && ng_symbols_is_glob(pattern)) {
		search.glob = true;
		error = search_for(image, &search);
	}
	if (error == -E2BIG)
		return ng_diag_set(diag, error, "'%s' names more than %d functions: name fewer",
			pattern, MATCHES_MAX);
	if (error == -EINVAL)
		return ng_diag_set(diag, error,
			"its symbol table is damaged: the names in it add up to more than the file "
			"holds");
	if (error)
		return error;
	if (search.found.count) {
		*ret_functions = search.found;
		return 0;
	}
	ng_functions_release(&search.found);
	if (search.saw_ifunc)
		return ng_diag_set(diag, -ENOTSUP,
			"%s is an indirect function (IFUNC): its symbol is a resolver that runs "
			"once, and "
			"the code behind it is chosen at load time, for time and gettimeofday in "
			"the "
			"vDSO, which cannot be probed. Trace clock_gettime, or the callers",
			pattern);
	return explain_absence(image, pattern, diag);
}

/* A search by addresses. */
struct place {
	uint64_t address;
	struct ng_symbol best; /* the last function that begins at or before it */
	uint64_t next;	       /* start of the first one behind it */
};

struct places {
	struct place *items; /* by address */
	size_t count;
};

/* Each symbol is noted at the two places around its address; the others take it over later. */
static int collect_at(const struct ng_symbol *symbol, void *context)
{
	const struct places *places = context;
	size_t low = 0, high = places->count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;

		if (places->items[middle].address < symbol->address)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < places->count) {
		struct ng_symbol *best = &places->items[low].best;

		if (!best->name || symbol->address > best->address)
			*best = *symbol;
	}
	if (low > 0 && symbol->address < places->items[low - 1].next)
		places->items[low - 1].next = symbol->address;
	return 0;
}

static void take_over(const struct places *places)
{
	for (size_t i = 1; i < places->count; i++) {
		const struct place *before = &places->items[i - 1];
		struct place *place = &places->items[i];

		if (before->best.name &&
			(!place->best.name || before->best.address > place->best.address))
			place->best = before->best;
	}
	for (size_t i = places->count; i-- > 1;) {
		if (places->items[i].next < places->items[i - 1].next)
			places->items[i - 1].next = places->items[i].next;
	}
}

/* @return 0, also where there is none; -ENOMEM */
static int take_function(
	const struct ng_image *image, const struct place *place, struct ng_function *ret_function)
{
	const struct ng_segment *segment = ng_elf_text_segment(&image->elf, place->address);
	const struct ng_symbol *best = &place->best;
	uint64_t size_bytes = best->size_bytes;

	*ret_function = (struct ng_function){.name = NULL};
	if (!segment || !best->name || best->address < segment->address)
		return 0;
	if (!size_bytes) {
		const uint64_t end = segment->address + segment->file_bytes;

		size_bytes = (place->next < end ? place->next : end) - best->address;
	}
	if (place->address - best->address >= size_bytes)
		return 0;
	*ret_function = (struct ng_function){.name = strndup(best->name, NG_IMAGE_NAME_MAX),
		.address = best->address,
		.size_bytes = size_bytes,
		.source = best->source};
	return ret_function->name ? 0 : -ENOMEM;
}

int ng_image_functions_at(const struct ng_image *image, const uint64_t *addresses, size_t count,
	struct ng_function *ret_functions)
{
	NG_CLEANUP_FREE struct place *items = calloc(count + 1, sizeof(*items));
	struct places places = {.items = items, .count = count};
	int error;

	if (!items)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		items[i].address = addresses[i];
		items[i].next = UINT64_MAX;
	}
	error = ng_symbols_walk(image, collect_at, &places);
	if (error)
		return error;
	take_over(&places);
	for (size_t i = 0; i < count; i++) {
		error = take_function(image, &items[i], &ret_functions[i]);
		if (!error)
			continue;
		while (i > 0)
			free(ret_functions[--i].name);
		return error;
	}
	return 0;
}

int ng_image_function_at(
	const struct ng_image *image, uint64_t address, struct ng_function *ret_function)
{
	struct ng_function function;
	const int error = ng_image_functions_at(image, &address, 1, &function);

	if (error)
		return error;
	if (!function.name)
		return -ENOENT;
	*ret_function = function;
	return 0;
}
