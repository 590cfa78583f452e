#include "core/image/joins.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/cleanup.h"
#include "core/image/sites.h"
#include "core/image/symbols.h"

#define COLD ".cold" /* and perhaps a number: gcc's name for the part of a function */
/* Of one function; what looks like more of them counts as an entry. */
#define CANDIDATES_MAX 64
/* Within which code that is decoded from anywhere falls into step. */
#define FALL_IN_BYTES  96
#define INSN_BYTES_MAX 15
#define FUNCTIONS_BACK 16  /* that may overlap, looked at for one address */
#define EXITS_MAX      64  /* jumps out of one function */
#define EXIT_BYTES_MAX 512 /* of what one of them leads to */

/** A name of one of the functions: it may have others than the one that was asked for. */
struct alias {
	const char *name; /* borrowed from the image */
	size_t length;
	size_t function; /* index */
};

/** Code of one of the functions that stands elsewhere. */
struct part {
	uint64_t start;
	uint64_t end;
	size_t function; /* index */
};

/** What looks like a jump or call into a function's midst. */
struct candidate {
	uint64_t from;
	uint64_t to;
	size_t function; /* index */
};

struct search {
	const struct ng_image *image;
	const struct ng_functions *functions;
	struct ng_sites *sites;
	struct ng_joins *joins;
	uint64_t first, last; /* of all functions' addresses */
	struct alias *aliases;
	size_t alias_count;
	struct part *parts;
	size_t part_count;
	struct candidate *candidates;
	size_t candidate_count;
	uint8_t *seen_counts; /* candidates of each function */
};

/* Makes room for one more, doubling at each power of two. @return whether there is */
static bool grow(void **items, size_t count, size_t item_bytes)
{
	void *grown;

	if (count & (count - 1))
		return true;
	grown = reallocarray(*items, count ? 2 * count : 1, item_bytes);
	if (grown)
		*items = grown;
	return grown;
}

static int add_offset(struct ng_joins *joins, uint64_t offset)
{
	if (!grow((void **)&joins->offsets, joins->count, sizeof(*joins->offsets)))
		return -ENOMEM;
	joins->offsets[joins->count++] = (uint32_t)offset;
	return 0;
}

/* The last function that begins at or before an address; SIZE_MAX where there is none. */
static size_t function_before(const struct ng_functions *functions, uint64_t address)
{
	size_t low = 0, high = functions->count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;

		if (functions->items[middle].address <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low - 1;
}

static bool holds(const struct ng_function *function, uint64_t address)
{
	return address - function->address < function->size_bytes;
}

/* Calls for each function that holds an address, which may be few of those before it. */
static int for_each_holder(struct search *search, uint64_t from, uint64_t to,
	int (*on_holder)(struct search *search, size_t function, uint64_t from, uint64_t to))
{
	size_t index = function_before(search->functions, to);
	int error = 0;

	for (int i = 0; !error && i < FUNCTIONS_BACK && index != SIZE_MAX; i++, index--) {
		if (holds(&search->functions->items[index], to))
			error = on_holder(search, index, from, to);
	}
	return error;
}

static int take_name_within(struct search *search, size_t function, uint64_t from, uint64_t to)
{
	const uint64_t offset = to - search->functions->items[function].address;

	(void)from;
	return offset ? add_offset(&search->joins[function], offset) : 0;
}

static int take_name(const struct ng_symbol *symbol, void *context)
{
	struct search *search = context;
	size_t index;

	if (symbol->address < search->first || symbol->address > search->last)
		return 0;
	index = function_before(search->functions, symbol->address);
	if (index != SIZE_MAX && search->functions->items[index].address == symbol->address) {
		if (!grow((void **)&search->aliases, search->alias_count, sizeof(*search->aliases)))
			return -ENOMEM;
		search->aliases[search->alias_count++] = (struct alias){
			.name = symbol->name, .length = strlen(symbol->name), .function = index};
	}
	return for_each_holder(search, 0, symbol->address, take_name_within);
}

static int compare_aliases(const void *left, const void *right)
{
	const struct alias *a = left, *b = right;
	const int order = memcmp(a->name, b->name, a->length < b->length ? a->length : b->length);

	if (order)
		return order;
	return (a->length > b->length) - (a->length < b->length);
}

static int take_part(const struct ng_symbol *symbol, void *context)
{
	struct search *search = context;
	const char *suffix = strstr(symbol->name, COLD);
	const struct alias *alias;
	struct alias key;

	if (!suffix || !symbol->size_bytes)
		return 0;
	key = (struct alias){.name = symbol->name, .length = (size_t)(suffix - symbol->name)};
	alias = bsearch(&key, search->aliases, search->alias_count, sizeof(key), compare_aliases);
	if (!alias)
		return 0;
	if (!grow((void **)&search->parts, search->part_count, sizeof(*search->parts)))
		return -ENOMEM;
	search->parts[search->part_count++] = (struct part){.start = symbol->address,
		.end = symbol->address + symbol->size_bytes,
		.function = alias->function};
	return 0;
}

static int find_parts(struct search *search)
{
	int error = ng_symbols_walk(search->image, take_name, search);

	if (error || !search->alias_count)
		return error;
	qsort(search->aliases, search->alias_count, sizeof(*search->aliases), compare_aliases);
	return ng_symbols_walk(search->image, take_part, search);
}

/* Where a part leads back to. */
static int read_part(struct search *search, const struct part *part)
{
	const struct ng_function *whole = &search->functions->items[part->function];
	const struct ng_function code = {
		.address = part->start, .size_bytes = part->end - part->start};
	struct ng_joins *joins = &search->joins[part->function];
	NG_CLEANUP_FREE uint8_t *bytes = NULL;
	size_t offset = 0;
	int error = 0;

	if (code.size_bytes > NG_FLOW_CODE_MAX ||
		!ng_sites_spend(search->sites, NG_SITES_CODE_WORK * code.size_bytes)) {
		joins->wanders = true;
		return 0;
	}
	bytes = ng_sites_read_code(search->image, &code, &error);
	while (!error && offset < code.size_bytes) {
		struct ng_insn insn;

		if (ng_insn_decode(bytes + offset, (size_t)code.size_bytes - offset,
			    code.address + offset, &insn)) {
			offset++;
			continue;
		}
		offset += insn.length;
		joins->wanders |= insn.flow == NG_INSN_INDIRECT_JUMP;
		if ((insn.flow == NG_INSN_JUMP || insn.flow == NG_INSN_BRANCH) &&
			holds(whole, insn.target))
			error = add_offset(joins, insn.target - whole->address);
	}
	return error;
}

static bool is_own(const struct search *search, size_t function, uint64_t address)
{
	if (holds(&search->functions->items[function], address))
		return true;
	for (size_t i = 0; i < search->part_count; i++) {
		const struct part *part = &search->parts[i];

		if (part->function == function && address >= part->start && address < part->end)
			return true;
	}
	return false;
}

static int take_transfer(struct search *search, size_t function, uint64_t from, uint64_t to)
{
	if (to == search->functions->items[function].address || is_own(search, function, from))
		return 0;
	if (search->seen_counts[function] == CANDIDATES_MAX) {
		search->joins[function].is_entered = true;
		return 0;
	}
	if (!grow((void **)&search->candidates, search->candidate_count,
		    sizeof(*search->candidates)))
		return -ENOMEM;
	search->seen_counts[function]++;
	search->candidates[search->candidate_count++] =
		(struct candidate){.from = from, .to = to, .function = function};
	return 0;
}

/* Reads what may be a direct jump or call, without its prefixes. @return its length; 0: none */
static size_t transfer_at(const uint8_t *bytes, size_t size_bytes, int64_t *ret_distance)
{
	/* jcc, loop and jmp with 8 bits; call and jmp with 32; jcc with 32 */
	static const uint8_t lengths[256] = {[0x70 ... 0x7f] = 2,
		[0xe0 ... 0xe3] = 2,
		[0xeb] = 2,
		[0xe8 ... 0xe9] = 5,
		[0x0f] = 6};
	const size_t length = lengths[bytes[0]];
	int32_t distance;

	if (!length || length > size_bytes || (length == 6 && (bytes[1] & 0xf0) != 0x80))
		return 0;
	if (length == 2) {
		*ret_distance = (int8_t)bytes[1];
		return length;
	}
	memcpy(&distance, bytes + length - sizeof(distance), sizeof(distance));
	*ret_distance = distance;
	return length;
}

static int find_transfers(const uint8_t *bytes, size_t size_bytes, uint64_t address, void *context)
{
	struct search *search = context;
	int error = 0;

	for (size_t at = 0; !error && at < size_bytes; at++) {
		int64_t distance;
		const size_t length = transfer_at(bytes + at, size_bytes - at, &distance);
		const uint64_t to = address + at + length + (uint64_t)distance;

		if (length && to >= search->first && to <= search->last)
			error = for_each_holder(search, address + at, to, take_transfer);
	}
	return error;
}

/** Code from before a candidate to behind it. */
struct stretch {
	uint8_t *bytes;
	size_t size_bytes;
	uint64_t address;
};

/* Does decoding from an offset on come by the candidate? */
static bool comes_by(
	const struct stretch *stretch, size_t offset, const struct candidate *candidate)
{
	while (stretch->address + offset <= candidate->from && offset < stretch->size_bytes) {
		struct ng_insn insn;

		if (ng_insn_decode(stretch->bytes + offset, stretch->size_bytes - offset,
			    stretch->address + offset, &insn)) {
			offset++;
			continue;
		}
		offset += insn.length;
		if (stretch->address + offset > candidate->from && insn.target == candidate->to)
			return true;
	}
	return false;
}

/*
 * Is the candidate an instruction? Known from the start of its function on. Where that is not
 * known, code that is decoded from anywhere falls into step with it; of all ways to begin, one is
 * enough.
 *
 * @param where the function that it stands in, perhaps without a name
 * @return 1 unless it is proven to be none; 0; -ENOMEM; what reading gave
 */
static int is_transfer(
	struct search *search, const struct candidate *candidate, const struct ng_function *where)
{
	const struct ng_segment *segment =
		ng_elf_text_segment(&search->image->elf, candidate->from);
	const uint64_t before = candidate->from - segment->address;
	NG_CLEANUP_FREE uint8_t *bytes = NULL;
	struct stretch stretch = {.address = where->address};
	int64_t length;
	bool is = false;

	if (!where->name)
		stretch.address =
			candidate->from - (before < FALL_IN_BYTES ? before : FALL_IN_BYTES);
	stretch.size_bytes = (size_t)(candidate->from - stretch.address) + INSN_BYTES_MAX;
	if (stretch.size_bytes > NG_FLOW_CODE_MAX ||
		!ng_sites_spend(search->sites, NG_SITES_CODE_WORK * stretch.size_bytes))
		return 1;
	stretch.bytes = bytes = malloc(stretch.size_bytes);
	if (!bytes)
		return -ENOMEM;
	length = ng_image_read(search->image, stretch.address, bytes, stretch.size_bytes);
	if (length < 0)
		return (int)length;
	stretch.size_bytes = (size_t)length;
	for (size_t way = 0; !is && way < (where->name ? 1 : INSN_BYTES_MAX); way++)
		is = comes_by(&stretch, way, candidate);
	return is;
}

static int prove(
	struct search *search, const struct candidate *candidate, const struct ng_function *where)
{
	struct ng_joins *joins = &search->joins[candidate->function];
	const struct ng_function *function = &search->functions->items[candidate->function];
	const int is = is_transfer(search, candidate, where);

	if (is <= 0)
		return is;
	joins->is_entered = true;
	return add_offset(joins, candidate->to - function->address);
}

static int by_from(const void *left, const void *right)
{
	const struct candidate *a = left, *b = right;

	return (a->from > b->from) - (a->from < b->from);
}

static int prove_all(struct search *search)
{
	const size_t count = search->candidate_count;
	NG_CLEANUP_FREE struct ng_function *where = calloc(count + 1, sizeof(*where));
	NG_CLEANUP_FREE uint64_t *addresses = calloc(count + 1, sizeof(*addresses));
	int error = where && addresses ? 0 : -ENOMEM;

	if (error || !count)
		return error;
	qsort(search->candidates, count, sizeof(*search->candidates), by_from);
	for (size_t i = 0; i < count; i++)
		addresses[i] = search->candidates[i].from;
	error = ng_image_functions_at(search->image, addresses, count, where);
	if (error)
		return error;
	for (size_t i = 0; i < count; i++) {
		const struct candidate *candidate = &search->candidates[i];

		if (!error)
			error = prove(search, candidate, &where[i]);
		free(where[i].name);
	}
	return error;
}

/* Does straight code from an address on end with a jump, or have a branch, to a function's entry?
 */
static bool leads_to(const struct ng_image *image, uint64_t address, uint64_t entry)
{
	uint8_t bytes[EXIT_BYTES_MAX];
	const int64_t length = ng_image_read(image, address, bytes, sizeof(bytes));
	struct ng_insn insn;

	for (size_t at = 0; length > 0 && at < (size_t)length; at += insn.length) {
		if (ng_insn_decode(bytes + at, (size_t)length - at, address + at, &insn))
			return false;
		if (insn.flow == NG_INSN_JUMP || insn.flow == NG_INSN_BRANCH) {
			if (insn.target == entry)
				return true;
		}
		if (insn.flow == NG_INSN_JUMP || insn.flow == NG_INSN_INDIRECT_JUMP ||
			insn.flow == NG_INSN_STOP)
			return false;
	}
	return false;
}

/* Without the names of its parts: a function whose jump elsewhere leads back to its entry may loop.
 * Or two functions end by calling each other; what it is cannot be told. */
static int read_exits(struct search *search, size_t function)
{
	const struct ng_function *whole = &search->functions->items[function];
	NG_CLEANUP_FREE uint8_t *bytes = NULL;
	size_t size_bytes = (size_t)whole->size_bytes, exits = 0;
	struct ng_insn insn;
	int error = 0;

	if (whole->size_bytes > NG_FLOW_CODE_MAX ||
		!ng_sites_spend(search->sites, NG_SITES_CODE_WORK * whole->size_bytes))
		return 0; /* nothing will be proven of it */
	bytes = ng_sites_read_code(search->image, whole, &error);
	for (size_t at = 0; !error && at < size_bytes && exits < EXITS_MAX; at += insn.length) {
		if (ng_insn_decode(bytes + at, size_bytes - at, whole->address + at, &insn)) {
			insn.length = 1;
			continue;
		}
		if ((insn.flow != NG_INSN_JUMP && insn.flow != NG_INSN_BRANCH) ||
			holds(whole, insn.target))
			continue;
		exits++;
		if (leads_to(search->image, insn.target, whole->address))
			return add_offset(&search->joins[function], 0);
	}
	return error;
}

static int run_search(struct search *search)
{
	int error;

	search->seen_counts = calloc(search->functions->count, 1);
	if (!search->seen_counts)
		return -ENOMEM;
	error = find_parts(search);
	for (size_t i = 0; !error && i < search->part_count; i++)
		error = read_part(search, &search->parts[i]);
	if (!search->image->info.has_symtab && !search->image->info.has_pclntab) {
		for (size_t i = 0; !error && i < search->functions->count; i++)
			error = read_exits(search, i);
	}
	if (!error)
		error = ng_sites_walk_code(search->image, find_transfers, search);
	return error ? error : prove_all(search);
}

int ng_joins_find(const struct ng_image *image, const struct ng_functions *functions,
	struct ng_sites *sites, struct ng_joins *ret_joins)
{
	struct search search = {
		.image = image, .functions = functions, .sites = sites, .joins = ret_joins};
	int error;

	memset(ret_joins, 0, functions->count * sizeof(*ret_joins));
	if (!functions->count)
		return 0;
	search.first = functions->items[0].address;
	for (size_t i = 0; i < functions->count; i++) {
		const struct ng_function *function = &functions->items[i];
		const uint64_t last = function->address + (function->size_bytes - 1);

		if (last > search.last)
			search.last = last;
	}
	error = run_search(&search);
	free(search.aliases);
	free(search.parts);
	free(search.candidates);
	free(search.seen_counts);
	return error;
}

void ng_joins_release(struct ng_joins *joins, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(joins[i].offsets);
}
