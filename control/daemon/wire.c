#include "control/daemon/wire.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

void ng_names_release(struct ng_names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->items[i]);
	free(names->items);
	*names = (struct ng_names){0};
}

int ng_names_add(struct ng_names *names, const char *name)
{
	char **items;

	if (names->count == NG_NAMES_MAX)
		return -E2BIG;
	items = realloc(names->items, (names->count + 1) * sizeof(*items));
	if (!items)
		return -ENOMEM;
	names->items = items;
	items[names->count] = strdup(name);
	if (!items[names->count])
		return -ENOMEM;
	names->count++;
	return 0;
}

int ng_names_copy(const struct ng_names *names, struct ng_names *ret_names)
{
	struct ng_names copy = {0};

	for (size_t i = 0; i < names->count; i++) {
		int error = ng_names_add(&copy, names->items[i]);

		if (error) {
			ng_names_release(&copy);
			return error;
		}
	}
	*ret_names = copy;
	return 0;
}

bool ng_names_equal(const struct ng_names *a, const struct ng_names *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		if (strcmp(a->items[i], b->items[i]))
			return false;
	}
	return true;
}

int ng_wire_check_text(const char *key, const char *text, struct ng_diag *diag)
{
	const size_t length = strlen(text);
	json_t *string;

	if (!length)
		return ng_diag_set(diag, -EINVAL, "%s is empty", key);
	if (length > NG_WIRE_TEXT_MAX)
		return ng_diag_set(diag, -EINVAL, "%s is too long: %zu bytes, %d at most", key,
			length, NG_WIRE_TEXT_MAX);
	for (size_t i = 0; i < length; i++) {
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			return ng_diag_set(diag, -EINVAL, "%s has a control character in it", key);
	}
	string = json_string(text);
	json_decref(string);
	return string ? 0 : ng_diag_set(diag, -EINVAL, "%s is not UTF-8", key);
}

int ng_wire_check_keys(
	json_t *object, const char *name, const char *const *keys, struct ng_diag *diag)
{
	const char *key;
	json_t *value;

	if (!json_is_object(object))
		return ng_diag_set(diag, -EINVAL, "%s is not an object", name);
	json_object_foreach(object, key, value)
	{
		size_t i = 0;

		(void)value;
		while (keys[i] && strcmp(keys[i], key))
			i++;
		if (!keys[i])
			return ng_diag_set(diag, -EINVAL, "%s has no key '%.64s'", name, key);
	}
	return 0;
}

int ng_wire_get_integer(json_t *object, const char *key, struct ng_range range, uint64_t *ret_value,
	bool *ret_is_given, struct ng_diag *diag)
{
	json_t *value = json_object_get(object, key);

	if (!value)
		return 0;
	if (!json_is_integer(value))
		return ng_diag_set(diag, -EINVAL, "%s is not an integer", key);
	if (json_integer_value(value) < 0 || (uint64_t)json_integer_value(value) < range.min ||
		(uint64_t)json_integer_value(value) > range.max)
		return ng_diag_set(diag, -ERANGE,
			"%s is out of range: %lld, can be %" PRIu64 " to %" PRIu64, key,
			(long long)json_integer_value(value), range.min, range.max);
	*ret_value = (uint64_t)json_integer_value(value);
	*ret_is_given = true;
	return 0;
}

static int get_number(json_t *object, const char *key, double *ret_value, bool *ret_is_given,
	struct ng_diag *diag)
{
	json_t *value = json_object_get(object, key);

	if (!value)
		return 0;
	if (!json_is_number(value))
		return ng_diag_set(diag, -EINVAL, "%s is not a number", key);
	*ret_value = json_number_value(value);
	*ret_is_given = true;
	return 0;
}

static int get_bool(
	json_t *object, const char *key, bool *ret_value, bool *ret_is_given, struct ng_diag *diag)
{
	json_t *value = json_object_get(object, key);

	if (!value)
		return 0;
	if (!json_is_boolean(value))
		return ng_diag_set(diag, -EINVAL, "%s is neither true nor false", key);
	*ret_value = json_is_true(value);
	*ret_is_given = true;
	return 0;
}

static int get_text(json_t *object, const char *key, char **ret_text, struct ng_diag *diag)
{
	json_t *value = json_object_get(object, key);
	int error;

	if (!value)
		return 0;
	if (!json_is_string(value))
		return ng_diag_set(diag, -EINVAL, "%s is not a string", key);
	error = ng_wire_check_text(key, json_string_value(value), diag);
	if (error)
		return error;
	*ret_text = strdup(json_string_value(value));
	return *ret_text ? 0 : -ENOMEM;
}

int ng_wire_get_selector(json_t *value, struct ng_selector *ret_selector, struct ng_diag *diag)
{
	static const char *const keys[] = {"pid", "exe", "comm", "cgroup", "uid", "all", NULL};
	struct ng_selector selector = {0};
	uint64_t pid = 0, uid = 0;
	bool is_given = false;
	int error = ng_wire_check_keys(value, "select", keys, diag);

	if (!error)
		error = ng_wire_get_integer(
			value, "pid", (struct ng_range){1, INT_MAX}, &pid, &is_given, diag);
	/* The last one, UINT32_MAX, is no uid: it says "unchanged" to the kernel. */
	if (!error)
		error = ng_wire_get_integer(value, "uid", (struct ng_range){0, UINT32_MAX - 1},
			&uid, &selector.has_uid, diag);
	if (!error)
		error = get_bool(value, "all", &selector.all, &is_given, diag);
	if (!error)
		error = get_text(value, "exe", &selector.exe, diag);
	if (!error)
		error = get_text(value, "comm", &selector.comm, diag);
	if (!error)
		error = get_text(value, "cgroup", &selector.cgroup, diag);
	selector.pid = (pid_t)pid;
	selector.uid = (uid_t)uid;
	if (!error && ng_selector_is_empty(&selector))
		error = ng_diag_set(diag, -EINVAL,
			"select is empty: it needs pid, exe, comm, cgroup, uid or all");
	if (error) {
		ng_selector_release(&selector);
		return error;
	}
	*ret_selector = selector;
	return 0;
}

int ng_wire_get_functions(json_t *value, struct ng_names *ret_functions, struct ng_diag *diag)
{
	struct ng_names functions = {0};
	json_t *name;
	size_t i;
	int error = 0;

	if (!json_is_array(value) || !json_array_size(value))
		return ng_diag_set(diag, -EINVAL, "functions is not a list of names");
	json_array_foreach(value, i, name)
	{
		if (!json_is_string(name))
			error = ng_diag_set(diag, -EINVAL, "functions[%zu] is not a string", i);
		else
			error = ng_wire_check_text("functions", json_string_value(name), diag);
		if (!error)
			error = ng_names_add(&functions, json_string_value(name));
		if (error == -E2BIG)
			error = ng_diag_set(diag, -EINVAL, "functions has %zu names, %d at most",
				json_array_size(value), NG_NAMES_MAX);
		if (error) {
			ng_names_release(&functions);
			return error;
		}
	}
	*ret_functions = functions;
	return 0;
}

static int get_mode(json_t *object, struct ng_wish *wish, struct ng_diag *diag)
{
	json_t *value = json_object_get(object, "mode");

	if (!value)
		return 0;
	if (!json_is_string(value))
		return ng_diag_set(diag, -EINVAL, "mode is not a string");
	if (ng_mode_parse(json_string_value(value), &wish->settings.mode))
		return ng_diag_set(diag, -EINVAL,
			"mode is '%.64s', can be off, count, sampled, burst or full",
			json_string_value(value));
	wish->has_mode = true;
	return 0;
}

int ng_wire_get_wish(json_t *value, struct ng_wish *ret_wish, struct ng_diag *diag)
{
	static const char *const keys[] = {"mode", "budget_ratio", "lease_ns", "events",
		"rate_ratio", "exact", "record", "follow_forks", NULL};
	static const struct ng_range any = {0, INT64_MAX}; /* ng_wish_check() knows the bounds */
	struct ng_wish wish = {0};
	struct ng_settings *settings = &wish.settings;
	int error = ng_wire_check_keys(value, "settings", keys, diag);

	if (!error)
		error = get_mode(value, &wish, diag);
	if (!error)
		error = get_number(
			value, "budget_ratio", &settings->budget_ratio, &wish.has_budget, diag);
	if (!error)
		error = get_number(
			value, "rate_ratio", &settings->rate_ratio, &wish.has_rate, diag);
	if (!error)
		error = ng_wire_get_integer(
			value, "lease_ns", any, &settings->lease_ns, &wish.has_lease, diag);
	if (!error)
		error = ng_wire_get_integer(
			value, "events", any, &settings->events, &wish.has_events, diag);
	if (!error)
		error = get_bool(value, "exact", &settings->exact, &wish.has_exact, diag);
	if (!error)
		error = get_bool(value, "record", &settings->record, &wish.has_record, diag);
	if (!error)
		error = get_bool(value, "follow_forks", &settings->follow_forks,
			&wish.has_follow_forks, diag);
	if (!error)
		error = ng_wish_check(&wish, diag);
	if (!error)
		*ret_wish = wish;
	return error;
}

/* Sets a member where it is wanted. @return whether it went well; a value of NULL did not. */
static bool put(json_t *object, bool is_wanted, const char *key, json_t *value)
{
	if (!is_wanted) {
		json_decref(value);
		return true;
	}
	return !json_object_set_new(object, key, value);
}

static bool put_text(json_t *object, const char *key, const char *text)
{
	return !text || !json_object_set_new(object, key, json_string(text));
}

static json_t *finish(json_t *object, bool is_good)
{
	if (is_good)
		return object;
	json_decref(object);
	return NULL;
}

json_t *ng_wire_selector(const struct ng_selector *selector)
{
	json_t *object = json_object();

	return finish(object,
		put(object, selector->pid, "pid", json_integer(selector->pid)) &&
			put_text(object, "exe", selector->exe) &&
			put_text(object, "comm", selector->comm) &&
			put_text(object, "cgroup", selector->cgroup) &&
			put(object, selector->has_uid, "uid", json_integer(selector->uid)) &&
			put(object, selector->all, "all", json_true()));
}

json_t *ng_wire_functions(const struct ng_names *functions)
{
	json_t *array = json_array();

	for (size_t i = 0; i < functions->count; i++) {
		if (json_array_append_new(array, json_string(functions->items[i])))
			return finish(array, false);
	}
	return array;
}

json_t *ng_wire_wish(const struct ng_wish *wish)
{
	const struct ng_settings *settings = &wish->settings;
	json_t *object = json_object();

	return finish(object,
		put(object, wish->has_mode, "mode", json_string(ng_mode_name(settings->mode))) &&
			put(object, wish->has_budget, "budget_ratio",
				json_real(settings->budget_ratio)) &&
			put(object, wish->has_lease, "lease_ns",
				json_integer((json_int_t)settings->lease_ns)) &&
			put(object, wish->has_events, "events",
				json_integer((json_int_t)settings->events)) &&
			put(object, wish->has_rate, "rate_ratio",
				json_real(settings->rate_ratio)) &&
			put(object, wish->has_exact, "exact", json_boolean(settings->exact)) &&
			put(object, wish->has_record, "record", json_boolean(settings->record)) &&
			put(object, wish->has_follow_forks, "follow_forks",
				json_boolean(settings->follow_forks)));
}
