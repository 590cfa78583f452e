/* control/daemon/config: what a file may say, what it comes to, and what a reload changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/daemon/config.h"
#include "core/base/clock.h"

#define WEB "[attach web]\nexe = /usr/bin/caddy\n"

/* A copy that ends where the text does, for ASan. */
static int add(struct ng_config *config, const char *file, const char *text, size_t length,
	struct ng_diag *diag)
{
	char *copy = malloc(length ? length : 1);
	int error;

	memcpy(copy, text, length);
	error = ng_config_add(config, file, copy, length, diag);
	free(copy);
	return error;
}

static int read_text(const char *text, struct ng_config *ret_config, struct ng_diag *diag)
{
	struct ng_config config;
	int error = ng_config_init(&config);

	assert_int_equal(error, 0);
	error = add(&config, "a.conf", text, strlen(text), diag);
	if (!error)
		error = ng_config_finish(&config, diag);
	if (error)
		ng_config_release(&config);
	else
		*ret_config = config;
	return error;
}

static void refuses_with_file_and_line(void **state)
{
	static const struct {
		const char *text, *wanted;
	} cases[] = {
		{"budget = 1%\n", "a.conf:1: 'budget' stands before any section"},
		{"\n; c\n[deamon]\n", "a.conf:3: there is no section [deamon]"},
		{"[attach]\n", "there is no section [attach]"},
		{"[attach ]\n", "there is no section [attach ]"},
		{"[attach a b]\n", "there is no section [attach a b]"},
		{"[attach 0123456789012345678901234567890123456789012345678901234567890123]\n",
			"there is no section [attach 0123"},
		{"[daemon\n", "a.conf:1: a section needs a ']'"},
		{"[daemon] x\n", "something stands behind"},
		{"[daemon]\n[daemon]\n", "a.conf:2: there is a section [daemon] already"},
		{WEB "[attach web]\n", "a.conf:3: there is a section 'web' already, at a.conf:1"},
		{"[trigger a]\nabove = 1\n[trigger a]\n",
			"a.conf:3: there is a section 'a' already"},
		{"[daemon]\nbudgets = 1%\n", "a.conf:2: there is no key 'budgets' in this section"},
		{"[daemon]\nexe = /a\n", "there is no key 'exe'"},
		{"[daemon]\n = /a\n", "a.conf:2: the line begins with a space"},
		{"[daemon]\n=/a\n", "a.conf:2: there is no key ''"},
		{"[daemon]\nbudget = 1%\n  2%\n", "a.conf:3: the line begins with a space"},
		{"[daemon]\nbudget\n", "a.conf:2: the line is neither"},
		{"[daemon]\nbudget ; = 1%\n", "a.conf:2: the line is neither"},
		{"[daemon]\nbudget = 1%\nbudget = 1%\n", "a.conf:3: 'budget' is given twice"},
		{"[daemon]\nbudget =\n", "a.conf:2: 'budget' has no value"},
		{"[daemon]\nbudget = ; 1%\n", "a.conf:2: 'budget' has no value"},
		{"[daemon]\nbudget = 0\n", "a.conf:2: budget: a budget of 0 % is out of range"},
		{"[daemon]\nbudget = 101%\n", "a budget of 101 % is out of range"},
		{"[daemon]\nbudget = -1%\n", "budget: '-1%' is not a share"},
		{"[daemon]\nbudget = nan\n", "'nan' is not a share"},
		{"[daemon]\nmax_budget = 0.001%\n", "max_budget: a budget of 0.001 % is out"},
		{"[daemon]\nsocket = run\n", "socket: 'run' is not an absolute path"},
		{"[daemon]\nsocket = /\xff\n", "socket is not UTF-8"},
		{"[daemon]\ninline = perhaps\n", "inline: 'perhaps' is neither yes nor no"},
		{"[daemon]\nmetrics = yes\n", "metrics: 'yes' is no numeric address with a port"},
		{"[daemon]\nmetrics = 9753\n", "a.conf:2: metrics: '9753' is no numeric"},
		{"[daemon]\nmetrics = localhost:9753\n", "write 127.0.0.1:9753 or [::1]:9753"},
		{"[daemon]\nmetrics = 127.0.0.1:65536\n", "metrics: 65536 is out of range"},
		{"[daemon]\nmetrics_targets = -1\n", "metrics_targets: '-1' is not a number"},
		{"[daemon]\nmetrics_targets = 4096\n", "metrics_targets: 4096 is out of range"},
		{"[daemon]\nlog_level = loud\n", "log_level: 'loud' is no level"},
		{"[daemon]\nlog_level = info\x01\n", "a.conf:2: there is a control character"},
		{"[attach web]\n", "a.conf:1: [attach web]: it names no processes"},
		{"[attach web]\nfunc = a\n", "a.conf:1: [attach web]: it names no processes"},
		{"[attach web]\npid = 0\n", "a.conf:2: pid: 0 is out of range"},
		{"[attach web]\npid = self\n", "pid: 'self' is not a number"},
		{"[attach web]\nuid = 4294967295\n", "uid: 4294967295 is out of range"},
		{WEB "exe = /a\n", "a.conf:3: 'exe' is given twice"},
		{WEB "mode = full\n", "a.conf:3: mode: full ends with its lease"},
		{WEB "mode = burst\n", "mode: burst ends with its lease"},
		{WEB "mode = on\n", "mode: 'on' is no mode"},
		{WEB "mode = count\nrate = 1/100\n", "a.conf:1: [attach web]: a rate goes with "
						     "mode sampled only, not with count"},
		{WEB "rate = 0\n", "a.conf:1: [attach web]: a rate of 0 is out of range"},
		{WEB "exact = yes\n", "exact goes with mode count only, not with sampled"},
		{WEB "follow_forks = 1\n", "follow_forks: '1' is neither yes nor no"},
		{WEB "budget = 2\n", "a.conf:3: budget: a budget of 200 %"},
		{"[trigger a]\n", "a.conf:1: [trigger a]: it names no rate"},
		{"[trigger a]\nabove = 0\n", "above: 0 is out of range"},
		{"[trigger a]\nabove = 1.5\n", "above: '1.5' is not a number"},
		{"[trigger a]\nabove = 5\nbelow = 6\n", "every rate is above the one or below"},
		{"[trigger a]\nfactor = 1\n", "factor: '1' is no factor"},
		{"[trigger a]\nfactor = 500%\n", "factor: '500%' is no factor"},
		{"[trigger a]\nabove = 5\nattach = web\n",
			"a.conf:1: [trigger a]: there is no section"},
		{"[trigger a]\nfor = 0\n", "for: 0 is out of range"},
		{"[trigger a]\nfor = 25h\n", "for: 25h is out of range"},
		{"[trigger a]\nfor = 10 s\n", "for: '10 s' is not a time"},
		{"[trigger a]\nevents = 0\n", "events: 0 is out of range"},
		{"[trigger a]\ncool_down = -1s\n", "cool_down: '-1s' is not a time"},
		{"[trigger a]\nmax_per_hour = 0\n", "max_per_hour: 0 is out of range"},
		{"[trigger a]\nmax_per_hour = 65\n", "max_per_hour: 65 is out of range"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ng_config config = {0};
		struct ng_diag diag = NG_DIAG_INIT;
		const int error = read_text(cases[i].text, &config, &diag);

		if (error != -EINVAL || !strstr(diag.text, cases[i].wanted))
			fail_msg("%s: %d, %s", cases[i].text, error, diag.text);
	}
}

static void the_first_error_is_told(void **state)
{
	struct ng_config config;
	struct ng_diag diag = NG_DIAG_INIT;

	(void)state;
	assert_int_equal(
		read_text("[daemon]\n\nbudget ; x = 1\nbudget = 0\nxyz = 1\n", &config, &diag),
		-EINVAL);
	assert_int_equal(strncmp(diag.text, "a.conf:3: ", 10), 0);
}

static void a_nul_or_an_endless_line_is_no_configuration(void **state)
{
	static const char nul[] = "[daemon]\nbudget = 1%\0\n";
	struct ng_config config;
	struct ng_diag diag = NG_DIAG_INIT;
	char *text = calloc(1, 100001);

	(void)state;
	assert_int_equal(ng_config_init(&config), 0);
	assert_int_equal(add(&config, "a", nul, sizeof(nul) - 1, &diag), -EINVAL);
	assert_string_equal(diag.text, "a:2: there is a control character in the line");
	ng_config_release(&config);
	memset(text, 'a', 100000);
	diag.text[0] = '\0';
	assert_int_equal(read_text(text, &config, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "a.conf:1: the line is too long"));
	free(text);
}

static void an_empty_file_is_the_defaults(void **state)
{
	static const char *const texts[] = {
		"", "\n", "# a\n;b\n\n", "[daemon]", "\xef\xbb\xbf[daemon]\n", "  # c\n\t\n"};
	struct ng_config config;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(read_text(texts[i], &config, NULL), 0);
		assert_string_equal(config.socket_path, "/run/nowgate/socket");
		assert_string_equal(config.state_dir, "/var/lib/nowgate");
		assert_true(config.budget_ratio == 0.01 && config.max_budget_ratio == 0.01);
		assert_false(config.inline_allowed);
		assert_null(config.metrics);
		assert_int_equal(config.metrics_targets, 200);
		assert_int_equal(config.log_level, NG_LOG_INFO);
		assert_int_equal(config.attach_count + config.trigger_count, 0);
		ng_config_release(&config);
	}
}

static void reads_everything(void **state)
{
	static const char text[] = "# comment\r\n"
				   "[daemon] ; comment\r\n"
				   "socket=/tmp/s\r\n"
				   "state_dir: /tmp/d\n"
				   "budget = 2% ; comment\n"
				   "max_budget = 0\n"
				   "inline = yes\n"
				   "metrics = [::1]:9753 ; comment\n"
				   "metrics_targets = 0\n"
				   "log_level = debug\n"
				   "[attach web.1]\n"
				   "exe = /usr/*;x=[a]\n"
				   "comm = caddy\n"
				   "cgroup = /a\n"
				   "uid = 0\n"
				   "pid = 7\n"
				   "func = time.Now\n"
				   "func = main.(*T[...]).Do:x\n"
				   "mode = count\n"
				   "exact = on\n"
				   "budget = 1/2\n"
				   "follow_forks = true\n"
				   "[attach other]\n"
				   "uid = 5\n"
				   "rate = 1%\n"
				   "[trigger t]\n"
				   "attach = web.1\n"
				   "above = 100000\n"
				   "below = 10\n"
				   "factor = 2.5\n"
				   "for = 500ms\n"
				   "events = 9\n"
				   "cool_down = 0\n"
				   "max_per_hour = 60"; /* no newline at the end */
	struct ng_config config;
	struct ng_diag diag = NG_DIAG_INIT;
	const struct ng_config_attach *attach;
	const struct ng_config_trigger *trigger;

	(void)state;
	if (read_text(text, &config, &diag))
		fail_msg("%s", diag.text);
	assert_string_equal(config.socket_path, "/tmp/s");
	assert_string_equal(config.state_dir, "/tmp/d");
	assert_true(config.budget_ratio == 0.02 && config.max_budget_ratio == 0);
	assert_true(config.inline_allowed);
	assert_string_equal(config.metrics, "[::1]:9753");
	assert_int_equal(config.metrics_targets, 0);
	assert_int_equal(config.log_level, NG_LOG_DEBUG);
	assert_int_equal(config.attach_count, 2);
	attach = &config.attaches[0];
	assert_string_equal(attach->name, "web.1");
	assert_string_equal(attach->select.exe, "/usr/*;x=[a]");
	assert_string_equal(attach->select.comm, "caddy");
	assert_string_equal(attach->select.cgroup, "/a");
	assert_true(attach->select.has_uid && attach->select.uid == 0 && attach->select.pid == 7);
	assert_int_equal(attach->functions.count, 2);
	assert_string_equal(attach->functions.items[1], "main.(*T[...]).Do:x");
	assert_int_equal(attach->settings.mode, NG_MODE_COUNT);
	assert_true(attach->settings.exact && attach->settings.follow_forks &&
		    attach->settings.budget_ratio == 0.5);
	attach = &config.attaches[1];
	assert_int_equal(attach->settings.mode, NG_MODE_SAMPLED);
	assert_true(attach->settings.budget_ratio == 0.02 && attach->settings.rate_ratio == 0.01 &&
		    attach->settings.lease_ns == 0 && !attach->settings.follow_forks);
	assert_int_equal(config.trigger_count, 1);
	trigger = &config.triggers[0];
	assert_string_equal(trigger->attach, "web.1");
	assert_true(trigger->above_hz == 100000 && trigger->below_hz == 10 &&
		    trigger->factor == 2.5 && trigger->lease_ns == 500 * NG_NS_PER_MS &&
		    trigger->events == 9 && trigger->cool_down_ns == 0 &&
		    trigger->max_per_hour == 60);
	ng_config_release(&config);
}

static void a_trigger_has_defaults(void **state)
{
	struct ng_config config;

	(void)state;
	assert_int_equal(read_text("[trigger t]\nabove=7\n", &config, NULL), 0);
	assert_null(config.triggers[0].attach);
	assert_true(config.triggers[0].lease_ns == 10 * NG_NS_PER_S &&
		    config.triggers[0].cool_down_ns == 60 * NG_NS_PER_S &&
		    config.triggers[0].max_per_hour == 6 && config.triggers[0].events == 0);
	ng_config_release(&config);
}

static void long_names_fit(void **state)
{
	char text[400] = "[attach a]\nexe = /x\nfunc = ";
	struct ng_config config;
	struct ng_diag diag = NG_DIAG_INIT;

	(void)state;
	memset(text + strlen(text), 'f', 300);
#ifndef NG_INIH_AT_RUN_TIME
	skip(); /* this inih takes lines of 198 bytes only */
#endif
	if (read_text(text, &config, &diag))
		fail_msg("%s", diag.text);
	assert_int_equal(strlen(config.attaches[0].functions.items[0]), 300);
	ng_config_release(&config);
}

static void too_many_sections_are_refused(void **state)
{
	char *text = calloc(1, 300 * 40), *at = text;
	struct ng_config config;
	struct ng_diag diag = NG_DIAG_INIT;

	(void)state;
	for (int i = 0; i < NG_CONFIG_SECTIONS_MAX; i++)
		at += sprintf(at, "[attach a%d]\npid = %d\n", i, i + 1);
	assert_int_equal(read_text(text, &config, &diag), 0);
	assert_int_equal(config.attach_count, NG_CONFIG_SECTIONS_MAX);
	ng_config_release(&config);
	strcpy(at, "[attach more]\npid = 1\n");
	assert_int_equal(read_text(text, &config, &diag), -E2BIG);
	assert_non_null(strstr(diag.text, "a.conf:513: there are more than 256 sections"));
	free(text);
}

/* The printed file as it is, and with every key and section uncommented. */
static void what_is_printed_can_be_read(void **state)
{
	struct ng_config config;
	struct ng_diag diag = NG_DIAG_INIT;
	char *text;
	size_t size;
	FILE *file = open_memstream(&text, &size);

	(void)state;
	ng_config_print(file);
	fclose(file);
	if (read_text(text, &config, &diag))
		fail_msg("%s", diag.text);
	assert_int_equal(config.attach_count, 0);
	ng_config_release(&config);
	for (char *at = text; at; at = strchr(at, '\n')) {
		at += *at == '\n';
		if (at[0] == '#' && at[1] != ' ')
			memmove(at, at + 1, strlen(at));
	}
	if (read_text(text, &config, &diag))
		fail_msg("%s in %s", diag.text, text);
	assert_int_equal(config.attach_count, 1);
	assert_int_equal(config.trigger_count, 1);
	assert_string_equal(config.socket_path, "/run/nowgate/socket");
	assert_true(config.triggers[0].cool_down_ns == 60 * NG_NS_PER_S);
	ng_config_release(&config);
	free(text);
}

/* --- files -------------------------------------------------------------------------------------
 */

static char folder[64];

static void put_file(const char *name, const char *text)
{
	char path[128];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "w");
	fputs(text, file);
	fclose(file);
}

static int load(bool must_exist, struct ng_config *config, struct ng_diag *diag)
{
	char path[128], more[128];

	(void)snprintf(path, sizeof(path), "%s/main.conf", folder);
	(void)snprintf(more, sizeof(more), "%s/conf.d", folder);
	return ng_config_load(path, must_exist, more, config, diag);
}

static int make_folder(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/nowgate-config-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	char command[128];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command);
}

static void make_more(void)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/conf.d", folder);
	assert_int_equal(mkdir(path, 0700), 0);
}

static void files_that_are_not_there(void **state)
{
	struct ng_config config;
	struct ng_diag diag = NG_DIAG_INIT;

	(void)state;
	assert_int_equal(load(true, &config, &diag), -ENOENT);
	assert_non_null(strstr(diag.text, "/main.conf: No such file"));
	assert_int_equal(load(false, &config, NULL), 0);
	assert_true(config.budget_ratio == 0.01);
	ng_config_release(&config);
}

static void a_folder_is_read_in_the_order_of_names(void **state)
{
	struct ng_config config;

	(void)state;
	make_more();
	put_file("main.conf", "[daemon]\nbudget = 2%\nlog_level = error\n[attach m]\npid = 1\n");
	put_file("conf.d/B.conf", "[daemon]\nbudget = 4%\n[attach b]\npid = 2\n");
	put_file("conf.d/10-a.conf", "[daemon]\nbudget = 3%\n[attach a]\npid = 3\n");
	put_file("conf.d/9-c.conf", "[trigger t]\nabove = 1\nattach = b\n");
	put_file("conf.d/x.conf~", "nonsense");
	put_file("conf.d/.conf", "nonsense");
	put_file("conf.d/.x.conf", "nonsense");
	assert_int_equal(load(true, &config, NULL), 0);
	assert_true(config.budget_ratio == 0.04); /* the last file's */
	assert_int_equal(config.log_level, NG_LOG_ERROR);
	assert_int_equal(config.attach_count, 3);
	assert_string_equal(config.attaches[0].name, "m");
	assert_string_equal(config.attaches[1].name, "a");
	assert_string_equal(config.attaches[2].name, "b");
	assert_int_equal(config.trigger_count, 1);
	ng_config_release(&config);
}

static void errors_in_a_folder_name_their_file(void **state)
{
	struct ng_config config;
	struct ng_diag diag = NG_DIAG_INIT;
	char path[128];

	(void)state;
	make_more();
	put_file("main.conf", "[attach m]\npid = 1\n");
	put_file("conf.d/a.conf", "\n[attach m]\npid = 2\n");
	assert_int_equal(load(true, &config, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "/conf.d/a.conf:2: there is a section 'm' already, at "));
	assert_non_null(strstr(diag.text, "/main.conf:1"));
	put_file("conf.d/a.conf", "");
	(void)snprintf(path, sizeof(path), "%s/conf.d/b.conf", folder);
	assert_int_equal(mkfifo(path, 0600), 0);
	diag.text[0] = '\0';
	assert_int_equal(load(true, &config, &diag), -EINVAL);
	assert_non_null(strstr(diag.text, "b.conf is not a file"));
}

static void a_huge_file_is_refused(void **state)
{
	struct ng_config config;
	struct ng_diag diag = NG_DIAG_INIT;
	char path[128];

	(void)state;
	put_file("main.conf", "");
	(void)snprintf(path, sizeof(path), "%s/main.conf", folder);
	assert_int_equal(truncate(path, NG_CONFIG_BYTES_MAX + 1), 0);
	assert_int_equal(load(true, &config, &diag), -E2BIG);
	assert_non_null(strstr(diag.text, "is too large"));
}

/* --- reload ------------------------------------------------------------------------------------
 */

static void diff(const char *before_text, const char *after_text, struct ng_config *before,
	struct ng_config *after, struct ng_config_diff *ret_diff)
{
	struct ng_diag diag = NG_DIAG_INIT;

	if (read_text(before_text, before, &diag) || read_text(after_text, after, &diag))
		fail_msg("%s", diag.text);
	assert_int_equal(ng_config_diff(before, after, ret_diff), 0);
}

static void release(
	struct ng_config *before, struct ng_config *after, struct ng_config_diff *changes)
{
	ng_config_diff_release(changes);
	ng_config_release(before);
	ng_config_release(after);
}

static void nothing_changes_where_the_same_is_said_otherwise(void **state)
{
	struct ng_config before, after;
	struct ng_config_diff changes;

	(void)state;
	diff(WEB "mode = sampled\nbudget = 1%\n[attach b]\npid = 1\n[trigger t]\nabove = 1\n"
		 "[trigger u]\nbelow = 1\n",
		"[trigger u]\nbelow = 1\n[trigger t]\nabove = 1\nfor = 10s\n[attach b]\npid=1\n"
		"[daemon]\nbudget = 0.01\n" WEB,
		&before, &after, &changes);
	assert_int_equal(changes.change_count, 0);
	assert_false(changes.triggers || changes.limits || changes.needs_restart);
	release(&before, &after, &changes);
}

static void tells_what_was_added_removed_and_changed(void **state)
{
	struct ng_config before, after;
	struct ng_config_diff changes;

	(void)state;
	diff("[attach same]\npid = 1\n[attach gone]\npid = 2\n[attach mode]\npid = 3\n"
	     "[attach func]\npid = 4\nfunc = a\n[attach pid]\npid = 5\n",
		"[attach new]\npid = 6\n[attach pid]\npid = 7\n[attach func]\npid = 4\nfunc = b\n"
		"[attach mode]\npid = 3\nmode = off\n[attach same]\npid = 1\n[trigger t]\nabove = "
		"1\n"
		"[daemon]\nsocket = /s\n",
		&before, &after, &changes);
	assert_int_equal(changes.change_count, 5);
	assert_int_equal(changes.changes[0].kind, NG_CONFIG_REMOVED);
	assert_string_equal(changes.changes[0].before->name, "gone");
	assert_null(changes.changes[0].after);
	assert_int_equal(changes.changes[1].kind, NG_CONFIG_CHANGED);
	assert_string_equal(changes.changes[1].before->name, "mode");
	assert_int_equal(changes.changes[1].after->settings.mode, NG_MODE_OFF);
	assert_true(changes.changes[1].is_settings_only);
	assert_string_equal(changes.changes[2].before->name, "func");
	assert_false(changes.changes[2].is_settings_only);
	assert_string_equal(changes.changes[3].before->name, "pid");
	assert_false(changes.changes[3].is_settings_only);
	assert_int_equal(changes.changes[4].kind, NG_CONFIG_ADDED);
	assert_string_equal(changes.changes[4].after->name, "new");
	assert_true(changes.triggers && changes.needs_restart && !changes.limits);
	release(&before, &after, &changes);
}

static void a_new_default_budget_changes_who_has_none(void **state)
{
	struct ng_config before, after;
	struct ng_config_diff changes;

	(void)state;
	diff("[attach a]\npid = 1\n[attach b]\npid = 2\nbudget = 1%\n",
		"[daemon]\nbudget = 2%\n[attach a]\npid = 1\n[attach b]\npid = 2\nbudget = 1%\n",
		&before, &after, &changes);
	assert_int_equal(changes.change_count, 1);
	assert_string_equal(changes.changes[0].after->name, "a");
	assert_true(changes.limits && changes.changes[0].is_settings_only);
	release(&before, &after, &changes);
}

static void another_address_of_metrics_needs_a_restart(void **state)
{
	static const struct {
		const char *before, *after;
		bool wanted;
	} cases[] = {
		{"", "[daemon]\nmetrics = no\n", false},
		{"[daemon]\nmetrics = [::1]:1\n", "[daemon]\nmetrics = [::1]:1\n", false},
		{"", "[daemon]\nmetrics_targets = 7\n", false},
		{"", "[daemon]\nmetrics = 127.0.0.1:1\n", true},
		{"[daemon]\nmetrics = 127.0.0.1:1\n", "", true},
		{"[daemon]\nmetrics = 127.0.0.1:1\n", "[daemon]\nmetrics = [::1]:1\n", true},
	};
	struct ng_config before, after;
	struct ng_config_diff changes;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		diff(cases[i].before, cases[i].after, &before, &after, &changes);
		assert_int_equal(changes.needs_restart, cases[i].wanted);
		release(&before, &after, &changes);
	}
}

static void a_later_file_turns_metrics_off(void **state)
{
	static const char on[] = "[daemon]\nmetrics = [::1]:1\n",
			  off[] = "[daemon]\nmetrics = no\n";
	struct ng_config config;

	(void)state;
	assert_int_equal(ng_config_init(&config), 0);
	assert_int_equal(add(&config, "a", on, strlen(on), NULL), 0);
	assert_string_equal(config.metrics, "[::1]:1");
	assert_int_equal(add(&config, "b", off, strlen(off), NULL), 0);
	assert_null(config.metrics);
	ng_config_release(&config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(another_address_of_metrics_needs_a_restart),
		cmocka_unit_test(a_later_file_turns_metrics_off),
		cmocka_unit_test(refuses_with_file_and_line),
		cmocka_unit_test(the_first_error_is_told),
		cmocka_unit_test(a_nul_or_an_endless_line_is_no_configuration),
		cmocka_unit_test(an_empty_file_is_the_defaults),
		cmocka_unit_test(reads_everything),
		cmocka_unit_test(a_trigger_has_defaults),
		cmocka_unit_test(long_names_fit),
		cmocka_unit_test(too_many_sections_are_refused),
		cmocka_unit_test(what_is_printed_can_be_read),
		cmocka_unit_test_setup_teardown(
			files_that_are_not_there, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(
			a_folder_is_read_in_the_order_of_names, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(
			errors_in_a_folder_name_their_file, make_folder, remove_folder),
		cmocka_unit_test_setup_teardown(a_huge_file_is_refused, make_folder, remove_folder),
		cmocka_unit_test(nothing_changes_where_the_same_is_said_otherwise),
		cmocka_unit_test(tells_what_was_added_removed_and_changed),
		cmocka_unit_test(a_new_default_budget_changes_who_has_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
