#include "core/image/symbols.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "core/image/cxxname.h"

#define DISTANCE_TEXT_MAX 64 /* bytes; the tables of an edit distance have this size */

/* A walk's callback, and how many bytes of names it may still see: the names of a true image sum to
 * no more than its string tables, those of a hostile one may all be the same. */
struct walk {
	ng_symbols_on_symbol on_symbol;
	void *context;
	size_t name_bytes;
};

static int visit(struct walk *walk, const struct ng_symbol *symbol)
{
	const size_t length = strnlen(symbol->name, NG_IMAGE_NAME_MAX + 1);

	if (length > walk->name_bytes)
		return -EINVAL;
	walk->name_bytes -= length;
	if (!length || length > NG_IMAGE_NAME_MAX)
		return 0;
	return walk->on_symbol(symbol, walk->context);
}

static int walk_table(const struct ng_image *image, struct walk *walk)
{
	const size_t count = image->symbols.size_bytes / sizeof(Elf64_Sym);
	int error = 0;

	for (size_t i = 0; !error && i < count; i++) {
		struct ng_symbol symbol = {.source = image->source};
		const struct ng_segment *segment;
		unsigned char type;
		Elf64_Sym entry;
		uint64_t rest;

		memcpy(&entry, image->symbols.bytes + i * sizeof(entry), sizeof(entry));
		type = ELF64_ST_TYPE(entry.st_info);
		if ((type != STT_FUNC && type != STT_GNU_IFUNC) || entry.st_shndx == SHN_UNDEF ||
			entry.st_name >= image->names.size_bytes)
			continue;
		segment = ng_elf_text_segment(&image->elf, entry.st_value);
		if (!segment)
			continue;
		rest = segment->file_bytes - (entry.st_value - segment->address);
		symbol.name = (const char *)image->names.bytes + entry.st_name;
		symbol.address = entry.st_value;
		symbol.size_bytes = entry.st_size < rest ? entry.st_size : rest;
		symbol.is_ifunc = type == STT_GNU_IFUNC;
		error = visit(walk, &symbol);
	}
	return error;
}

static int walk_pclntab(const struct ng_image *image, struct walk *walk)
{
	int error = 0;

	for (uint32_t i = 0; !error && i < image->pclntab.function_count; i++) {
		struct ng_pclntab_function function;
		struct ng_symbol symbol = {.source = NG_NAME_PCLNTAB};

		if (!ng_pclntab_function(&image->pclntab, i, &function))
			continue;
		symbol.name = function.name;
		symbol.address = function.entry;
		symbol.size_bytes = function.end - function.entry;
		error = visit(walk, &symbol);
	}
	return error;
}

int ng_symbols_walk(const struct ng_image *image, ng_symbols_on_symbol on_symbol, void *context)
{
	struct walk walk = {
		.on_symbol = on_symbol, .context = context, .name_bytes = NG_IMAGE_MEMORY_MAX};
	int error = 0;

	if (!image->info.has_symtab && image->info.has_pclntab)
		error = walk_pclntab(image, &walk);
	/* A stripped plugin still exports some C functions of its own. */
	return error ? error : walk_table(image, &walk);
}

/* The length of a name without what the linker appends: a symbol version, or Go's ABI suffix. */
static size_t plain_length(const char *name)
{
	static const char suffix[] = ".abi0";
	size_t length = strlen(name);
	const char *version = strchr(name, '@');

	if (version && version > name)
		return (size_t)(version - name);
	if (length > sizeof(suffix) - 1 && !strcmp(name + length - (sizeof(suffix) - 1), suffix))
		return length - (sizeof(suffix) - 1);
	return length;
}

/* Compares with any bracketed type arguments of the name for the pattern's "[...]". */
static bool match_instance(const char *name, size_t length, const char *pattern)
{
	const char *end = name + length;

	while (name < end && *pattern) {
		int depth = 0;

		if (strncmp(pattern, "[...]", 5)) {
			if (*name++ != *pattern++)
				return false;
			continue;
		}
		if (*name != '[')
			return false;
		do {
			depth += *name == '[';
			depth -= *name == ']';
		} while (++name < end && depth);
		pattern += 5;
	}
	return name == end && !*pattern;
}

bool ng_symbols_match(const char *name, const char *pattern)
{
	size_t length;

	if (name[0] == '_' && name[1] == 'Z' && ng_cxxname_match(name, pattern))
		return true;
	if (name[0] != pattern[0])
		return false; /* nearly always; spares the rest */
	if (!strcmp(name, pattern))
		return true;
	length = plain_length(name);
	if (strstr(pattern, "[...]"))
		return match_instance(name, length, pattern);
	return strlen(pattern) == length && !strncmp(name, pattern, length);
}

static bool is_star(const char *pattern, const char *start)
{
	return *pattern == '*' && !(pattern > start && pattern[-1] == '(');
}

bool ng_symbols_is_glob(const char *pattern)
{
	for (const char *at = pattern; *at; at++) {
		if (*at == '?' || is_star(at, pattern))
			return true;
	}
	return false;
}

bool ng_symbols_match_glob(const char *name, const char *pattern)
{
	const char *start = pattern, *end = name + plain_length(name);
	const char *star = NULL, *retry = NULL;

	/* On a mismatch the last star takes one character more: linear for one star, and at worst
	 * the product of the lengths. */
	while (name < end) {
		if (is_star(pattern, start)) {
			star = pattern++;
			retry = name;
		} else if (*pattern == '?' || (*pattern && *pattern == *name)) {
			pattern++;
			name++;
		} else if (star) {
			pattern = star + 1;
			name = ++retry;
		} else {
			return false;
		}
	}
	while (is_star(pattern, start))
		pattern++;
	return !*pattern;
}

static unsigned int least(unsigned int a, unsigned int b)
{
	return a < b ? a : b;
}

/* Levenshtein's, without regard to case. */
static unsigned int edit_distance(const char *a, const char *b)
{
	unsigned int row[DISTANCE_TEXT_MAX + 1];
	size_t b_length = strlen(b);

	if (strlen(a) > DISTANCE_TEXT_MAX || b_length > DISTANCE_TEXT_MAX)
		return NG_SYMBOLS_FAR;
	for (unsigned int i = 0; i <= b_length; i++)
		row[i] = i;
	for (unsigned int i = 1; *a; a++, i++) {
		unsigned int diagonal = row[0];

		row[0] = i;
		for (size_t k = 1; k <= b_length; k++) {
			unsigned int above = row[k];
			bool same = tolower((unsigned char)*a) == tolower((unsigned char)b[k - 1]);

			row[k] = least(least(above, row[k - 1]) + 1, diagonal + !same);
			diagonal = above;
		}
	}
	return row[b_length];
}

static const char *last_part(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot && dot[1] ? dot + 1 : name;
}

unsigned int ng_symbols_distance(const char *name, const char *pattern, uint64_t *work)
{
	size_t name_length = strlen(name), length = strlen(pattern);
	unsigned int distance;

	if (!strcasecmp(name, pattern))
		return 0;
	if (length >= 3 && name_length > length &&
		!strcasecmp(name + name_length - length, pattern) &&
		!isalnum((unsigned char)name[name_length - length - 1]))
		return 1; /* its end: the package or receiver was left out */
	if (name_length > length && name[length] == '[' && !strncasecmp(name, pattern, length))
		return 1; /* the type arguments were left out */
	if (name_length > length + 3 || length > name_length + 3)
		return NG_SYMBOLS_FAR;
	*work += name_length * length;
	distance = edit_distance(name, pattern);
	if (distance <= 1 + length / 5)
		return 1 + distance;
	if (!strcasecmp(last_part(name), last_part(pattern)) && strlen(last_part(name)) >= 3)
		return 10;
	return NG_SYMBOLS_FAR;
}
