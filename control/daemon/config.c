#include "control/daemon/config.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ini.h>

#include "control/daemon/config_keys.h"
#include "core/base/cleanup.h"

#define SPACE "\t\n\v\f\r "

/* A pass over one file's text. */
struct reader {
	struct ng_config *config;
	const char *file;
	const char *text; /* what is left */
	size_t length;
	unsigned int line;
	enum ng_config_section section;
	bool has_daemon;
	bool seen[NG_CONFIG_KEYS_MAX]; /* in this section, by the key's place in the table */
	int error;
	struct ng_diag *diag;
};

int ng_config_init(struct ng_config *ret_config)
{
	struct ng_config config = {0};
	int error = ng_config_set_defaults(NG_SECTION_DAEMON, &config);

	if (error) {
		ng_config_release(&config);
		return error;
	}
	*ret_config = config;
	return 0;
}

void ng_config_release(struct ng_config *config)
{
	for (size_t i = 0; i < config->attach_count; i++) {
		ng_selector_release(&config->attaches[i].select);
		ng_names_release(&config->attaches[i].functions);
		free(config->attaches[i].place.file);
	}
	for (size_t i = 0; i < config->trigger_count; i++) {
		free(config->triggers[i].attach);
		free(config->triggers[i].place.file);
	}
	free(config->attaches);
	free(config->triggers);
	free(config->socket_path);
	free(config->state_dir);
	free(config->metrics);
	*config = (struct ng_config){0};
}

/* Notes an error at the line; the first one ends the pass. */
static void complain(struct reader *reader, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void complain(struct reader *reader, int error, const char *format, ...)
{
	char text[NG_DIAG_SIZE];
	va_list args;

	if (reader->error)
		return;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	reader->error =
		ng_diag_set(reader->diag, error, "%s:%u: %s", reader->file, reader->line, text);
}

/* --- sections ----------------------------------------------------------------------------------
 */

/* One more element at the array's end, zeroed. NULL: too many, or no memory; that is noted. */
static void *add_section(struct reader *reader, void *array, size_t *count, size_t size,
	struct ng_config_place *ret_place)
{
	char *grown;

	if (*count == NG_CONFIG_SECTIONS_MAX) {
		complain(reader, -E2BIG, "there are more than %d sections of a kind",
			NG_CONFIG_SECTIONS_MAX);
		return NULL;
	}
	*ret_place = (struct ng_config_place){strdup(reader->file), reader->line};
	grown = ret_place->file ? realloc(array, (*count + 1) * size) : NULL;
	if (!grown) {
		free(ret_place->file);
		complain(reader, -ENOMEM, "out of memory");
		return NULL;
	}
	memset(grown + *count * size, 0, size);
	return grown;
}

static bool is_taken(struct reader *reader, const char *name, const char *other,
	const struct ng_config_place *place)
{
	if (strcmp(name, other))
		return false;
	complain(reader, -EINVAL, "there is a section '%s' already, at %s:%u", name, place->file,
		place->line);
	return true;
}

static void begin_attach(struct reader *reader, const char *name)
{
	struct ng_config *config = reader->config;
	struct ng_config_attach *attaches;
	struct ng_config_place place;

	for (size_t i = 0; i < config->attach_count; i++) {
		if (is_taken(reader, name, config->attaches[i].name, &config->attaches[i].place))
			return;
	}
	attaches = add_section(
		reader, config->attaches, &config->attach_count, sizeof(*attaches), &place);
	if (!attaches)
		return;
	config->attaches = attaches;
	attaches += config->attach_count++;
	attaches->place = place;
	(void)snprintf(attaches->name, sizeof(attaches->name), "%s", name);
	reader->section = NG_SECTION_ATTACH;
}

static void begin_trigger(struct reader *reader, const char *name)
{
	struct ng_config *config = reader->config;
	struct ng_config_trigger *triggers;
	struct ng_config_place place;

	for (size_t i = 0; i < config->trigger_count; i++) {
		if (is_taken(reader, name, config->triggers[i].name, &config->triggers[i].place))
			return;
	}
	triggers = add_section(
		reader, config->triggers, &config->trigger_count, sizeof(*triggers), &place);
	if (!triggers)
		return;
	config->triggers = triggers;
	triggers += config->trigger_count++;
	triggers->place = place;
	(void)snprintf(triggers->name, sizeof(triggers->name), "%s", name);
	if (ng_config_set_defaults(NG_SECTION_TRIGGER, triggers))
		complain(reader, -ENOMEM, "out of memory");
	reader->section = NG_SECTION_TRIGGER;
}

static void begin_daemon(struct reader *reader)
{
	if (reader->has_daemon) {
		complain(reader, -EINVAL, "there is a section [daemon] already in this file");
		return;
	}
	reader->has_daemon = true;
	reader->section = NG_SECTION_DAEMON;
}

static const char *after(const char *text, const char *prefix)
{
	const size_t length = strlen(prefix);

	return strncmp(text, prefix, length) ? NULL : text + length;
}

/* A section's name, for people and for [trigger NAME]'s attach. */
static bool is_name(const char *text)
{
	const size_t length = strlen(text);

	if (!length || length >= NG_CONFIG_NAME_MAX)
		return false;
	for (size_t i = 0; i < length; i++) {
		if (!isalnum((unsigned char)text[i]) && !strchr("_.-", text[i]))
			return false;
	}
	return true;
}

/* inih tells no handler of a section, and cuts its name at 49 bytes; so it is read here. */
static void begin_section(struct reader *reader, char *line)
{
	char *end = strchr(line, ']'), *title = line + 1;
	const char *name;

	if (!end) {
		complain(reader, -EINVAL, "a section needs a ']' at its end");
		return;
	}
	if (end[1 + strspn(end + 1, SPACE)] && !strchr(";#", end[1 + strspn(end + 1, SPACE)])) {
		complain(reader, -EINVAL, "something stands behind the section's ']'");
		return;
	}
	*end = '\0';
	memset(reader->seen, 0, sizeof(reader->seen));
	if (!strcmp(title, "daemon"))
		begin_daemon(reader);
	else if ((name = after(title, "attach ")) && is_name(name))
		begin_attach(reader, name);
	else if ((name = after(title, "trigger ")) && is_name(name))
		begin_trigger(reader, name);
	else
		complain(reader, -EINVAL,
			"there is no section [%.64s]: it can be [daemon], [attach NAME] or "
			"[trigger "
			"NAME], with a name of letters, digits, '_', '.' and '-'",
			title);
	*end = ']';
}

/* --- lines -------------------------------------------------------------------------------------
 */

/* Is there a '=' or ':', before a comment begins? */
static bool has_value(const char *line)
{
	for (size_t i = 0; line[i]; i++) {
		if (line[i] == '=' || line[i] == ':')
			return true;
		if (line[i] == ';' && i && strchr(SPACE, line[i - 1]))
			return false;
	}
	return false;
}

/* What inih would pass over, take for something else, or tell at the very end only. */
static bool check_line(struct reader *reader, const char *line, size_t length)
{
	const size_t blank = strspn(line, SPACE);

	for (size_t i = 0; i < length; i++) {
		if (((unsigned char)line[i] < ' ' && !strchr("\t\r\n", line[i])) || !line[i] ||
			line[i] == 0x7f) {
			complain(reader, -EINVAL, "there is a control character in the line");
			return false;
		}
	}
	if (!line[blank] || strchr(";#", line[blank]))
		return true;
	if (blank) /* it would continue the value of the line before */
		complain(reader, -EINVAL, "the line begins with a space");
	else if (line[0] != '[' && !has_value(line))
		complain(reader, -EINVAL, "the line is neither [SECTION] nor KEY = VALUE");
	return !reader->error;
}

/* Gives inih the next line. It is called once a line, so it can count them; inih's handler is not
 * told the number in Debian's build. */
static char *next_line(char *line, int size, void *context)
{
	struct reader *reader = context;
	const char *newline;
	size_t length;

	if (reader->error || !reader->length)
		return NULL;
	newline = memchr(reader->text, '\n', reader->length);
	length = newline ? (size_t)(newline - reader->text) + 1 : reader->length;
	reader->line++;
	if (length > (size_t)size - 2) {
		complain(reader, -EINVAL, "the line is too long: %d bytes at most", size - 2);
		return NULL;
	}
	memcpy(line, reader->text, length);
	line[length] = '\0';
	reader->text += length;
	reader->length -= length;
	if (!check_line(reader, line, length))
		return NULL;
	if (line[0] == '[')
		begin_section(reader, line);
	return reader->error ? NULL : line;
}

static void *section_of(const struct reader *reader)
{
	struct ng_config *config = reader->config;

	switch (reader->section) {
	case NG_SECTION_ATTACH:
		return &config->attaches[config->attach_count - 1];
	case NG_SECTION_TRIGGER:
		return &config->triggers[config->trigger_count - 1];
	default:
		return config;
	}
}

static int take_pair(void *context, const char *section, const char *name, const char *value)
{
	struct reader *reader = context;
	const struct ng_config_key *key = ng_config_keys;
	struct ng_diag diag = NG_DIAG_INIT;
	int error;

	(void)section; /* cut; begin_section() knows */
	if (reader->section == NG_SECTION_NONE)
		complain(reader, -EINVAL, "'%.64s' stands before any section", name);
	while (key->name && (key->section != reader->section || strcmp(key->name, name)))
		key++;
	if (!key->name)
		complain(reader, -EINVAL, "there is no key '%.64s' in this section", name);
	else if (reader->seen[key - ng_config_keys] && !key->repeats)
		complain(reader, -EINVAL, "'%s' is given twice", name);
	else if (!value[0])
		complain(reader, -EINVAL, "'%s' has no value", name);
	if (reader->error)
		return 0;
	reader->seen[key - ng_config_keys] = true;
	error = key->take(key, section_of(reader), value, &diag);
	if (error)
		complain(reader, error == -ENOMEM ? error : -EINVAL, "%s: %s", name,
			diag.text[0] ? diag.text : strerror(-error));
	return !error;
}

int ng_config_add(struct ng_config *config, const char *file, const char *text, size_t length,
	struct ng_diag *diag)
{
	static const char mark[] = "\xef\xbb\xbf"; /* some editors put it before UTF-8 */
	struct reader reader = {
		.config = config, .file = file, .text = text, .length = length, .diag = diag};
	int line;

	if (length >= 3 && !memcmp(text, mark, 3)) {
		reader.text += 3;
		reader.length -= 3;
	}
#ifdef NG_INIH_AT_RUN_TIME /* Debian's build: else lines end at 200 bytes */
	ini_use_stack = false;
	ini_initial_alloc = 2 * NG_WIRE_TEXT_MAX;
	ini_max_line = 2 * NG_WIRE_TEXT_MAX;
#endif
	line = ini_parse_stream(next_line, &reader, take_pair, &reader);
	if (line < 0)
		return -ENOMEM;
	if (line > 0 && !reader.error) { /* not by what we know of inih */
		reader.line = (unsigned int)line;
		complain(&reader, -EINVAL, "the line cannot be read");
	}
	return reader.error;
}

/* --- the whole ---------------------------------------------------------------------------------
 */

static int complain_at(const struct ng_config_place *place, struct ng_diag *diag, const char *kind,
	const char *name, const char *text)
{
	return ng_diag_set(
		diag, -EINVAL, "%s:%u: [%s %s]: %s", place->file, place->line, kind, name, text);
}

static int finish_attach(
	const struct ng_config *config, struct ng_config_attach *attach, struct ng_diag *diag)
{
	const struct ng_settings base = {
		.mode = NG_MODE_SAMPLED, .budget_ratio = config->budget_ratio};
	struct ng_diag why = NG_DIAG_INIT;
	struct ng_wish *wish = &attach->wish;

	if (ng_selector_is_empty(&attach->select))
		return complain_at(&attach->place, diag, "attach", attach->name,
			"it names no processes: it needs exe, comm, cgroup, uid or pid");
	if (!wish->has_mode) {
		wish->has_mode = true;
		wish->settings.mode = NG_MODE_SAMPLED;
	}
	if (ng_wish_check(wish, &why))
		return complain_at(&attach->place, diag, "attach", attach->name, why.text);
	attach->settings = ng_wish_apply(wish, &base);
	return 0;
}

static int finish_trigger(const struct ng_config *config, const struct ng_config_trigger *trigger,
	struct ng_diag *diag)
{
	bool is_found = !trigger->attach;

	if (trigger->above_hz <= 0 && trigger->below_hz <= 0 && trigger->factor <= 0)
		return complain_at(&trigger->place, diag, "trigger", trigger->name,
			"it names no rate: it needs above, below or factor");
	if (trigger->above_hz > 0 && trigger->below_hz > trigger->above_hz)
		return complain_at(&trigger->place, diag, "trigger", trigger->name,
			"every rate is above the one or below the other");
	for (size_t i = 0; i < config->attach_count && !is_found; i++)
		is_found = !strcmp(trigger->attach, config->attaches[i].name);
	return is_found ? 0
			: complain_at(&trigger->place, diag, "trigger", trigger->name,
				  "there is no section [attach NAME] with the name in 'attach'");
}

static int compare_triggers(const void *a, const void *b)
{
	const struct ng_config_trigger *left = a, *right = b;

	return strcmp(left->name, right->name);
}

int ng_config_finish(struct ng_config *config, struct ng_diag *diag)
{
	int error = 0;

	for (size_t i = 0; i < config->attach_count && !error; i++)
		error = finish_attach(config, &config->attaches[i], diag);
	for (size_t i = 0; i < config->trigger_count && !error; i++)
		error = finish_trigger(config, &config->triggers[i], diag);
	/* Their order in the files does not matter: what is remembered of one goes by its place. */
	if (config->trigger_count)
		qsort(config->triggers, config->trigger_count, sizeof(*config->triggers),
			compare_triggers);
	return error;
}

static int add_file(struct ng_config *config, const char *path, struct ng_diag *diag)
{
	/* Not blocking: a FIFO would make us wait. */
	NG_CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	NG_CLEANUP_FREE char *text = NULL;
	size_t length = 0;
	struct stat facts;
	ssize_t got;

	if (fd < 0 || fstat(fd, &facts))
		return ng_diag_set(diag, -errno, "%s: %s", path, strerror(errno));
	if (!S_ISREG(facts.st_mode))
		return ng_diag_set(diag, -EINVAL, "%s is not a file", path);
	text = malloc(NG_CONFIG_BYTES_MAX + 1);
	if (!text)
		return -ENOMEM;
	do {
		got = read(fd, text + length, NG_CONFIG_BYTES_MAX + 1 - length);
		if (got < 0)
			return ng_diag_set(diag, -errno, "%s: %s", path, strerror(errno));
		length += (size_t)got;
	} while (got);
	if (length > NG_CONFIG_BYTES_MAX)
		return ng_diag_set(diag, -E2BIG, "%s is too large: %u bytes at most", path,
			NG_CONFIG_BYTES_MAX);
	return ng_config_add(config, path, text, length, diag);
}

static int is_config_name(const struct dirent *entry)
{
	const size_t length = strlen(entry->d_name);

	return entry->d_name[0] != '.' && length > 5 &&
	       !strcmp(entry->d_name + length - 5, ".conf");
}

/* alphasort() would go by the locale. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int add_folder(struct ng_config *config, const char *folder, struct ng_diag *diag)
{
	struct dirent **entries;
	int count = scandir(folder, &entries, is_config_name, by_name);
	int error = 0;

	if (count < 0)
		return errno == ENOENT
			       ? 0
			       : ng_diag_set(diag, -errno, "%s: %s", folder, strerror(errno));
	if (count > NG_CONFIG_FILES_MAX)
		error = ng_diag_set(diag, -E2BIG, "%s has %d files, %d at most", folder, count,
			NG_CONFIG_FILES_MAX);
	for (int i = 0; i < count; i++) {
		char path[PATH_MAX];

		if (!error && snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name) >=
				      (int)sizeof(path))
			error = ng_diag_set(
				diag, -ENAMETOOLONG, "%s: the path is too long", folder);
		if (!error)
			error = add_file(config, path, diag);
		free(entries[i]);
	}
	free(entries);
	return error;
}

int ng_config_load(const char *path, bool must_exist, const char *folder,
	struct ng_config *ret_config, struct ng_diag *diag)
{
	struct ng_config config;
	int error = ng_config_init(&config);

	if (error)
		return error;
	if (must_exist || !access(path, F_OK) || errno != ENOENT)
		error = add_file(&config, path, diag);
	if (!error && folder)
		error = add_folder(&config, folder, diag);
	if (!error)
		error = ng_config_finish(&config, diag);
	if (error)
		ng_config_release(&config);
	else
		*ret_config = config;
	return error;
}
