/*
 * The daemon's configuration: one INI file, and a folder of more that are read in the order of
 * their names. A later file may set a key of [daemon] anew; everything else can stand once.
 *
 * Strict: an unknown section or key, a repeated one, a bad value is an error with file and line.
 */
#ifndef NG_CONTROL_DAEMON_CONFIG_H
#define NG_CONTROL_DAEMON_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "control/daemon/wire.h"
#include "control/plane/selector.h"
#include "control/plane/wish.h"
#include "core/base/diag.h"

#define NG_CONFIG_PATH	       "/etc/nowgate/nowgate.conf"
#define NG_CONFIG_FOLDER       "/etc/nowgate/conf.d" /* NAME.conf; other names are not read */
#define NG_CONFIG_BYTES_MAX    (1u << 20)	     /* a file */
#define NG_CONFIG_FILES_MAX    256
#define NG_CONFIG_SECTIONS_MAX 256 /* attach sections, and trigger sections */
#define NG_CONFIG_NAME_MAX     64  /* bytes of a section's name, with the NUL */

#define NG_METRICS_TARGETS_MAX (NG_GATES_MAX - 1) /* as many as there can be */

#define NG_FLIGHT_BYTES_MIN  (4u << 10)
#define NG_FLIGHT_BYTES_MAX  (16u << 20) /* more would not fit into an answer */
#define NG_FLIGHTS_BYTES_MAX (16ull << 30)

#define NG_TRIGGER_FIRINGS_MAX 64 /* of a trigger and a target, an hour */

enum ng_log_level {
	NG_LOG_ERROR = 0,
	NG_LOG_WARNING = 1,
	NG_LOG_INFO = 2,
	NG_LOG_DEBUG = 3,
	NG_LOG_LEVELS = 4,
};

const char *ng_log_level_name(enum ng_log_level level);

/** Where a section begins, for messages about it. */
struct ng_config_place {
	char *file;
	unsigned int line;
};

/** [attach NAME]: processes to be traced from the start. */
struct ng_config_attach {
	char name[NG_CONFIG_NAME_MAX];
	struct ng_selector select;
	struct ng_names functions;   /* none: the daemon's default */
	struct ng_settings settings; /* never burst or full: those end with their lease */
	struct ng_wish wish;	     /* what stands there; `settings` is what comes of it */
	struct ng_config_place place;
};

/** [trigger NAME]: when a target's rate does this, it goes into burst. */
struct ng_config_trigger {
	char name[NG_CONFIG_NAME_MAX];
	char *attach;	 /* the attach section whose targets it watches; NULL: all targets */
	double above_hz; /* calls a second; 0: not asked for */
	double below_hz; /* likewise */
	double factor;	 /* times, or one such part of, the last minute's rate; 0: not asked for */
	uint64_t lease_ns;     /* how long the burst lasts … */
	uint64_t events;       /* … or after how many calls it ends; 0: no such end */
	uint64_t cool_down_ns; /* from one burst's end to the next */
	uint64_t max_per_hour;
	struct ng_config_place place;
};

struct ng_config {
	char *socket_path;
	char *state_dir;
	double budget_ratio;	 /* of a target, where none is asked for */
	double max_budget_ratio; /* of others' than root's; 0: they may only look */
	bool inline_allowed;	 /* may the engine `inline` be asked for? */
	char *metrics;		 /* where they are scraped, for ng_address_parse(); NULL: nowhere */
	uint64_t metrics_targets; /* that have series of their own, at the most */
	uint64_t flight_bytes;	  /* of memory, for the newest calls of one target … */
	uint64_t flights_bytes;	  /* … and for those of all; 0: none are kept */
	enum ng_log_level log_level;
	struct ng_config_attach *attaches;
	size_t attach_count;
	struct ng_config_trigger *triggers; /* in the order of their names */
	size_t trigger_count;
};

/** The defaults. @return 0; -ENOMEM */
int ng_config_init(struct ng_config *ret_config);
void ng_config_release(struct ng_config *config);

/**
 * Adds a file's text. Pure.
 *
 * @param file its name, for messages
 * @return 0; -EINVAL, with "FILE:LINE: …"; -ENOMEM. After an error the configuration is of no use
 */
int ng_config_add(struct ng_config *config, const char *file, const char *text, size_t length,
	struct ng_diag *diag);

/** Checks what only the whole can tell, and works out each section's settings. After the last
 * ng_config_add(). Pure. @return 0; -EINVAL; -ENOMEM */
int ng_config_finish(struct ng_config *config, struct ng_diag *diag);

/**
 * Reads a file and a folder.
 *
 * @param must_exist else a file that is not there stands for the defaults
 * @param folder NULL: none; one that is not there is empty
 * @return 0; -EINVAL; -E2BIG too large, or too many; what reading gave: with the text
 */
int ng_config_load(const char *path, bool must_exist, const char *folder,
	struct ng_config *ret_config, struct ng_diag *diag);

/** Prints every key with its default or an example, commented: a file to begin with. */
void ng_config_print(FILE *file);

enum ng_config_change_kind {
	NG_CONFIG_REMOVED = 0,
	NG_CONFIG_CHANGED = 1,
	NG_CONFIG_ADDED = 2,
};

struct ng_config_change {
	enum ng_config_change_kind kind;
	const struct ng_config_attach *before; /* of the old one; NULL where it was added */
	const struct ng_config_attach *after;  /* of the new one; NULL where it was removed */
	bool is_settings_only; /* changed, but the same processes and functions: nothing to re-arm
				*/
};

/** What a reload changes. Sections that did not change are not in it. */
struct ng_config_diff {
	struct ng_config_change *changes; /* removed, then changed, then added ones */
	size_t change_count;
	bool triggers;	    /* some trigger was added, removed or changed */
	bool limits;	    /* budget or max_budget; their effect on sections is in `changes` */
	bool needs_restart; /* socket, state_dir or metrics: they hold until the daemon is restarted
			     */
};

/** Compares two; the diff points into both of them. @return 0; -ENOMEM */
int ng_config_diff(const struct ng_config *before, const struct ng_config *after,
	struct ng_config_diff *ret_diff);
void ng_config_diff_release(struct ng_config_diff *diff);

#endif
