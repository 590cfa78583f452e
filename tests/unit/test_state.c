/* control/daemon/state: what is stored is given back, nothing else is believed, nothing is lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control/daemon/state.h"
#include "core/base/clock.h"

static const struct ng_state_clock now = {
	.boot_id = "boot", .boot_ns = 5000 * NG_NS_PER_S, .wall_ns = 1800000000 * NG_NS_PER_S};

static int parse(const char *text, const struct ng_state_clock *clock, struct ng_state *ret_state,
	struct ng_diag *diag)
{
	const size_t length = strlen(text);
	char *copy = malloc(length ? length : 1); /* its own, so that ASan sees its end */
	int error;

	memcpy(copy, text, length);
	error = ng_state_parse(copy, length, clock, ret_state, diag);
	free(copy);
	return error;
}

/* Three: an attachment by exe, one by pid that is full for 30 s, a change of mode for 60 s. */
static struct ng_state example(void)
{
	struct ng_state state = {0};
	struct ng_state_entry entry = {.op = NG_OP_ATTACH,
		.select.exe = strdup("/opt/*"),
		.owner = 1000,
		.wish = {.settings = {.mode = NG_MODE_COUNT, .budget_ratio = 0.02, .exact = true},
			.has_mode = true,
			.has_budget = true,
			.has_exact = true}};

	assert_int_equal(ng_names_add(&entry.functions, "time.Now"), 0);
	assert_int_equal(ng_state_add(&state, &entry), 0);
	assert_true(ng_selector_is_empty(&entry.select)); /* taken */
	entry = (struct ng_state_entry){.op = NG_OP_ATTACH,
		.select.pid = 77,
		.start_ticks = 123456789,
		.wish = {.settings = {.mode = NG_MODE_FULL, .budget_ratio = 0.03},
			.has_mode = true,
			.has_budget = true}};
	ng_state_entry_set_lease(&entry, 30 * NG_NS_PER_S, &now);
	assert_int_equal(ng_state_add(&state, &entry), 0);
	entry = (struct ng_state_entry){.op = NG_OP_MODE,
		.select.all = true,
		.wish = {.settings = {.mode = NG_MODE_OFF}, .has_mode = true}};
	ng_state_entry_set_lease(&entry, 60 * NG_NS_PER_S, &now);
	assert_int_equal(ng_state_add(&state, &entry), 0);
	return state;
}

static char *example_text(void)
{
	struct ng_state state = example();
	char *text;

	assert_int_equal(ng_state_format(&state, &now, &text, NULL), 0);
	ng_state_release(&state);
	return text;
}

static void refuses_what_is_no_state(void **state)
{
	static const char *const texts[] = {"", "{", "[]", "null", "{}", "{\"v\":\"1\"}",
		"{\"v\":1}", "{\"v\":1,\"boot_id\":1,\"entries\":[]}",
		"{\"v\":1,\"boot_id\":\"boot\"}", "{\"v\":1,\"boot_id\":\"boot\",\"entries\":{}}",
		"{\"v\":1,\"boot_id\":\"boot\",\"entries\":[1]}",
		"{\"v\":1,\"boot_id\":\"boot\",\"entries\":[{}]}",
		"{\"v\":1,\"boot_id\":\"boot\",\"entries\":[],\"x\":1}",
		"{\"v\":1,\"v\":1,\"boot_id\":\"boot\",\"entries\":[]}"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct ng_state loaded = {.count = 7};
		struct ng_diag diag = NG_DIAG_INIT;

		if (parse(texts[i], &now, &loaded, &diag) != -EINVAL || !diag.text[0])
			fail_msg("%s: %s", texts[i], diag.text);
		assert_int_equal(loaded.count, 7);
	}
}

static void refuses_every_cut(void **state)
{
	char *text = example_text();

	(void)state;
	for (size_t length = 0; length < strlen(text); length++) {
		char *cut = strndup(text, length);
		struct ng_state loaded = {0};

		assert_int_equal(parse(cut, &now, &loaded, NULL), -EINVAL);
		free(cut);
	}
	free(text);
}

/* Replaces the first `from` in the text, which must be there. */
static char *replace(const char *text, const char *from, const char *to)
{
	const char *place = strstr(text, from);
	char *changed = calloc(1, strlen(text) + strlen(to) + 1);

	if (!place)
		fail_msg("%s is not in %s", from, text);
	memcpy(changed, text, (size_t)(place - text));
	strcat(changed, to);
	strcat(changed, place + strlen(from));
	return changed;
}

static void refuses_what_cannot_be(void **state)
{
	static const struct {
		const char *from, *to;
		int error;
	} changes[] = {
		{"\"v\": 1", "\"v\": 2", -EPROTONOSUPPORT},
		{"\"op\": \"attach\"", "\"op\": \"status\"", -EINVAL},
		{"\"op\": \"attach\"", "\"op\": 1", -EINVAL},
		{"\"exe\": \"/opt/*\"", "\"exe\": 1", -EINVAL},
		{"\"exe\": \"/opt/*\"", "\"exes\": \"/opt/*\"", -EINVAL},
		{"\"exe\": \"/opt/*\"", "\"all\": true", -EINVAL},
		{"\"pid\": 77", "\"pid\": -77", -ERANGE},
		{"\"owner\": 1000", "\"owner\": -1", -ERANGE},
		{"\"owner\": 1000", "\"own\": 1000", -EINVAL},
		{"\"start_ticks\": 123456789", "\"start_ticks\": 1.5", -EINVAL},
		{"\"budget_ratio\": 0.02", "\"budget_ratio\": 0", -ERANGE},
		{"\"mode\": \"count\"", "\"mode\": \"sampled\"", -EINVAL}, /* exact */
		{"\"mode\": \"count\"", "\"mode\": \"full\"", -EINVAL},
		{"\"exact\": true", "\"follow_forks\": true, \"rate_ratio\": 0.1", -EINVAL},
		{"\"boot_ns\": 5030000000000", "\"boot_ns\": -1", -ERANGE},
		{"\"boot_ns\": 5030000000000", "\"boots_ns\": 1", -EINVAL},
		{"\"boot_ns\": 5030000000000,", "", -EINVAL},
		{"[\n    \"time.Now\"\n   ]", "[]", -EINVAL},
	};
	char *text = example_text();

	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		struct ng_state loaded = {.count = 7};
		struct ng_diag diag = NG_DIAG_INIT;
		char *changed = replace(text, changes[i].from, changes[i].to);
		const int error = parse(changed, &now, &loaded, &diag);

		if (error != changes[i].error || !diag.text[0])
			fail_msg("%s -> %s: %d, %s", changes[i].from, changes[i].to, error,
				diag.text);
		assert_int_equal(loaded.count, 7);
		free(changed);
	}
	free(text);
}

static void gives_back_what_was_stored(void **state)
{
	char *text = example_text();
	struct ng_state loaded;
	struct ng_diag diag = NG_DIAG_INIT;
	const struct ng_state_entry *entry;

	(void)state;
	if (parse(text, &now, &loaded, &diag))
		fail_msg("%s", diag.text);
	assert_int_equal(loaded.count, 3);
	entry = &loaded.entries[0];
	assert_int_equal(entry->op, NG_OP_ATTACH);
	assert_string_equal(entry->select.exe, "/opt/*");
	assert_string_equal(entry->functions.items[0], "time.Now");
	assert_int_equal(entry->owner, 1000);
	assert_int_equal(entry->wish.settings.mode, NG_MODE_COUNT);
	assert_true(entry->wish.settings.budget_ratio == 0.02 && entry->wish.settings.exact);
	assert_false(entry->has_lease || entry->wish.has_lease || entry->wish.has_follow_forks);
	entry = &loaded.entries[1];
	assert_int_equal(entry->select.pid, 77);
	assert_int_equal(entry->start_ticks, 123456789);
	assert_int_equal(entry->wish.settings.mode, NG_MODE_FULL);
	assert_true(entry->has_lease && entry->wish.has_lease);
	assert_true(entry->wish.settings.lease_ns == 30 * NG_NS_PER_S);
	assert_true(entry->lease_boot_ns == now.boot_ns + 30 * NG_NS_PER_S);
	assert_true(entry->lease_wall_ns == now.wall_ns + 30 * NG_NS_PER_S);
	entry = &loaded.entries[2];
	assert_int_equal(entry->op, NG_OP_MODE);
	assert_true(entry->select.all && entry->wish.settings.lease_ns == 60 * NG_NS_PER_S);
	ng_state_remove(&loaded, 1);
	assert_int_equal(loaded.count, 2);
	assert_int_equal(loaded.entries[1].op, NG_OP_MODE);
	ng_state_release(&loaded);
	free(text);
}

static struct ng_state later(uint64_t boot_s, int64_t wall_s)
{
	struct ng_state_clock clock = now;
	char *text = example_text();
	struct ng_state loaded;

	clock.boot_ns += boot_s * NG_NS_PER_S;
	clock.wall_ns += (uint64_t)wall_s * NG_NS_PER_S;
	assert_int_equal(parse(text, &clock, &loaded, NULL), 0);
	free(text);
	return loaded;
}

static void leases_go_on_and_end(void **state)
{
	struct ng_state loaded = later(10, 10);

	(void)state;
	assert_int_equal(loaded.count, 3);
	assert_true(loaded.entries[1].wish.settings.lease_ns == 20 * NG_NS_PER_S);
	ng_state_release(&loaded);
	loaded = later(30, 30); /* the attachment stays, its mode goes; the budget is its own */
	assert_int_equal(loaded.count, 3);
	assert_int_equal(loaded.entries[1].select.pid, 77);
	assert_false(loaded.entries[1].has_lease || loaded.entries[1].wish.has_mode ||
		     loaded.entries[1].wish.has_lease);
	assert_true(loaded.entries[1].wish.has_budget);
	assert_true(loaded.entries[2].wish.settings.lease_ns == 30 * NG_NS_PER_S);
	ng_state_release(&loaded);
	loaded = later(60, 60); /* the change of mode is over */
	assert_int_equal(loaded.count, 2);
	ng_state_release(&loaded);
}

static void the_clock_that_is_further_decides(void **state)
{
	struct ng_state loaded = later(10, -100000); /* the wall clock was set back */

	(void)state;
	assert_true(loaded.entries[1].wish.settings.lease_ns == 20 * NG_NS_PER_S);
	ng_state_release(&loaded);
	loaded = later(10, 25);
	assert_true(loaded.entries[1].wish.settings.lease_ns == 5 * NG_NS_PER_S);
	ng_state_release(&loaded);
	loaded = later(10, 100000);
	assert_int_equal(loaded.count, 2);
	ng_state_release(&loaded);
}

static void another_boot_takes_leases_and_pids_away(void **state)
{
	struct ng_state_clock clock = now;
	struct ng_diag diag = NG_DIAG_INIT;
	char *text = example_text();
	struct ng_state loaded;

	(void)state;
	strcpy(clock.boot_id, "other");
	assert_int_equal(parse(text, &clock, &loaded, &diag), -ESTALE);
	assert_non_null(strstr(diag.text, "before the machine's last start"));
	assert_int_equal(loaded.count, 1);
	assert_string_equal(loaded.entries[0].select.exe, "/opt/*");
	ng_state_release(&loaded);
	free(text);
}

static void there_can_be_so_many(void **state)
{
	struct ng_state full = {0};
	struct ng_state_entry entry = {0};

	(void)state;
	for (int i = 0; i < NG_STATE_OWNERS_MAX; i++) {
		entry = (struct ng_state_entry){
			.op = NG_OP_ATTACH, .select.pid = i + 1, .owner = 1000};
		assert_int_equal(ng_state_add(&full, &entry), 0);
	}
	entry = (struct ng_state_entry){.op = NG_OP_ATTACH, .select.pid = 1, .owner = 1000};
	assert_int_equal(ng_state_add(&full, &entry), -E2BIG); /* others than root have less */
	entry.owner = 1001;
	assert_int_equal(ng_state_add(&full, &entry), 0);
	while (full.count < NG_STATE_ENTRIES_MAX) {
		entry = (struct ng_state_entry){.op = NG_OP_ATTACH, .select.pid = 2};
		assert_int_equal(ng_state_add(&full, &entry), 0);
	}
	entry = (struct ng_state_entry){.op = NG_OP_ATTACH, .select.pid = 1};
	assert_int_equal(ng_state_add(&full, &entry), -E2BIG);
	assert_int_equal(entry.select.pid, 1); /* not taken */
	ng_state_release(&full);
}

/* --- the file ----------------------------------------------------------------------------------
 */

static char folder[64];

static int make_folder(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/nowgate-state-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	char command[128];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command);
}

static bool has_file(const char *name)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	return !access(path, F_OK);
}

static void put_file(const char *text, mode_t mode)
{
	char path[128];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/state.json", folder);
	file = fopen(path, "w");
	fputs(text, file);
	fclose(file);
	assert_int_equal(chmod(path, mode), 0);
}

static void a_file_is_written_and_read(void **state)
{
	struct ng_state stored = {0}, loaded;
	struct ng_state_entry entry = {.op = NG_OP_ATTACH, .select.pid = 7};
	char path[128];
	struct stat facts;

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/new", folder); /* it is made */
	assert_int_equal(ng_state_load(path, &loaded, NULL), 0);
	assert_int_equal(loaded.count, 0);
	assert_int_equal(ng_state_add(&stored, &entry), 0);
	assert_int_equal(ng_state_save(path, &stored, NULL), 0);
	assert_int_equal(ng_state_save(path, &stored, NULL), 0);
	assert_int_equal(ng_state_load(path, &loaded, NULL), 0);
	assert_int_equal(loaded.count, 1);
	assert_int_equal(loaded.entries[0].select.pid, 7);
	assert_false(has_file("new/state.json.new"));
	strcat(path, "/state.json");
	assert_int_equal(stat(path, &facts), 0);
	assert_int_equal(facts.st_mode & 0777, 0600);
	ng_state_release(&stored);
	ng_state_release(&loaded);
}

static void what_is_refused_is_set_aside(void **state)
{
	static const struct {
		const char *text;
		mode_t mode;
		int error;
		const char *wanted;
	} cases[] = {
		{"{\"v\":1,", 0600, -EINVAL, "it is damaged"},
		{"", 0600, -EINVAL, "it is damaged"},
		{"{\"v\":7}", 0600, -EPROTONOSUPPORT, "it is of version 7, not 1"},
		{"{\"v\":1,\"boot_id\":\"\",\"entries\":[]}", 0600, -ESTALE,
			"before the machine's"},
		{"{\"v\":1,\"boot_id\":\"\",\"entries\":[]}", 0666, -EPERM, "others could have"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ng_diag diag = NG_DIAG_INIT;
		struct ng_state loaded = {0};
		int error;

		put_file(cases[i].text, cases[i].mode);
		error = ng_state_load(folder, &loaded, &diag);
		if (error != cases[i].error || !strstr(diag.text, cases[i].wanted) ||
			!strstr(diag.text, "/state.json is not taken: ") ||
			!strstr(diag.text, "; it is set aside as state.json.bad"))
			fail_msg("case %zu: %d, %s", i, error, diag.text);
		assert_true(has_file("state.json.bad") && !has_file("state.json"));
		assert_int_equal(loaded.count, 0);
		assert_int_equal(ng_state_load(folder, &loaded, NULL), 0); /* not again */
	}
}

static void a_link_is_not_followed(void **state)
{
	struct ng_diag diag = NG_DIAG_INIT;
	struct ng_state loaded;
	char path[128];

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/state.json", folder);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(ng_state_load(folder, &loaded, &diag), -EPERM);
	assert_non_null(strstr(diag.text, "it is a link"));
	assert_int_equal(access("/etc/passwd", F_OK), 0);
}

static void a_folder_that_cannot_be_is_told(void **state)
{
	struct ng_state none = {0};
	struct ng_diag diag = NG_DIAG_INIT;

	(void)state;
	assert_int_equal(ng_state_save("/proc/nowgate", &none, &diag), -ENOENT);
	assert_non_null(strstr(diag.text, "/proc/nowgate cannot be made"));
}

/* In a mount namespace of its own. @return 0; -1 where it may not make one; else the line that
 * failed */
static int fill_the_disk(void)
{
	struct ng_state small = {0}, large = {0}, loaded;
	struct ng_diag diag = NG_DIAG_INIT;
	struct ng_state_entry entry = {.op = NG_OP_ATTACH, .select.pid = 7};

	if (unshare(CLONE_NEWNS) && (unshare(CLONE_NEWUSER | CLONE_NEWNS)))
		return -1;
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		mount("tmpfs", folder, "tmpfs", 0, "size=16k"))
		return -1;
	if (ng_state_add(&small, &entry) || ng_state_save(folder, &small, &diag))
		return __LINE__;
	for (int i = 0; i < 500; i++) {
		entry = (struct ng_state_entry){.op = NG_OP_ATTACH, .select.pid = i + 1};
		if (ng_state_add(&large, &entry))
			return __LINE__;
	}
	if (ng_state_save(folder, &large, &diag) != -ENOSPC)
		return __LINE__;
	if (!strstr(diag.text, "/state.json cannot be written: No space left on device; the one "
			       "before is kept"))
		return __LINE__;
	if (has_file("state.json.new"))
		return __LINE__;
	/* The old one stays, and the next one that fits is taken again. */
	if (ng_state_load(folder, &loaded, NULL) || loaded.count != 1)
		return __LINE__;
	if (ng_state_save(folder, &small, NULL))
		return __LINE__;
	ng_state_release(&small);
	ng_state_release(&large);
	ng_state_release(&loaded);
	return 0;
}

static void a_full_disk_keeps_the_file_before(void **state)
{
	int status;
	pid_t child = fork();

	(void)state;
	if (child == 0) {
		const int line = fill_the_disk();

		if (line > 0)
			fprintf(stderr, "test_state.c:%d\n", line);
		_exit(line < 0 ? 77 : line > 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip(); /* no mount namespaces here */
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_what_is_no_state),
		cmocka_unit_test(refuses_every_cut),
		cmocka_unit_test(refuses_what_cannot_be),
		cmocka_unit_test(gives_back_what_was_stored),
		cmocka_unit_test(leases_go_on_and_end),
		cmocka_unit_test(the_clock_that_is_further_decides),
		cmocka_unit_test(another_boot_takes_leases_and_pids_away),
		cmocka_unit_test(there_can_be_so_many),
		cmocka_unit_test_setup_teardown(
			a_file_is_written_and_read, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(
			what_is_refused_is_set_aside, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(a_link_is_not_followed, make_folder, remove_folder),
		cmocka_unit_test(a_folder_that_cannot_be_is_told),
		cmocka_unit_test_setup_teardown(
			a_full_disk_keeps_the_file_before, make_folder, remove_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
