/*
 * The watchdog: a small process of ours beside the daemon. A lease's end disarms its target, but
 * the daemon must do that; one that hangs, or is stopped, keeps its descriptors and with them the
 * breakpoints. So the watchdog sees the daemon's heartbeat and its nearest deadline in shared
 * memory, and kills it when the heartbeat is silent while a deadline is overdue: that closes
 * everything.
 *
 * It knows its daemon by a pidfd, so it can never kill another process; it has no descriptor of the
 * daemon's; it ends when the daemon ends; no signal but SIGKILL and SIGSTOP reaches it.
 */
#ifndef NG_CONTROL_DAEMON_WATCHDOG_H
#define NG_CONTROL_DAEMON_WATCHDOG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/base/clock.h"
#include "core/base/diag.h"

/* A daemon that is stopped is dead 0.5 s to 0.75 s after the deadline: the grace, the time to
 * make sure, and one look. */
#define NG_WATCHDOG_GRACE_NS (500 * NG_NS_PER_MS) /* a deadline may be overdue … */
#define NG_WATCHDOG_SILENCE_NS                                                                     \
	(400 * NG_NS_PER_MS)			 /* … and the heartbeat may be silent for that   \
						  */
#define NG_WATCHDOG_SURE_NS (100 * NG_NS_PER_MS) /* both hold for so long before it kills */
#define NG_WATCHDOG_LOOK_NS (50 * NG_NS_PER_MS)	 /* how often it looks while something is due */
#define NG_WATCHDOG_REST_NS (250 * NG_NS_PER_MS) /* how often where nothing is */

struct ng_watchdog;

/**
 * Starts it. Best before the daemon has descriptors, mappings or threads; from one thread.
 *
 * @return 0; whatever mmap(), pidfd_open() or fork() gave, with the text
 */
int ng_watchdog_start(struct ng_watchdog **ret_watchdog, struct ng_diag *diag);

/** Ends it, and waits for its end. NULL does nothing. */
void ng_watchdog_free(struct ng_watchdog *watchdog);

/** Its pid, for the log. */
pid_t ng_watchdog_pid(const struct ng_watchdog *watchdog);

/** Readable when the watchdog has ended, which it never does by itself: then start another. */
int ng_watchdog_event_fd(const struct ng_watchdog *watchdog);

/**
 * The daemon lives. To be called by the loop that ends leases and closes windows, at least every
 * NG_WATCHDOG_SILENCE_NS / 2.
 */
void ng_watchdog_beat(struct ng_watchdog *watchdog);

/**
 * When the next thing must be disarmed: the nearest end of a lease or of an open window.
 *
 * @param deadline_ns CLOCK_MONOTONIC, absolute; 0: nothing is armed that has an end
 */
void ng_watchdog_set_deadline(struct ng_watchdog *watchdog, uint64_t deadline_ns);

/** What the watchdog remembers from look to look; zeroed at its start. */
struct ng_watchdog_eye {
	uint64_t beat_ns;    /* the heartbeat as last seen */
	uint64_t suspect_ns; /* since when it looks dead; 0: it does not */
	uint64_t looked_ns;  /* the last look */
};

/**
 * Is the daemon to be killed now? Pure.
 *
 * Suspicion has to last over looks that follow each other: when the whole machine, or the whole
 * container, was stopped, the daemon gets the time to go on before it is judged.
 *
 * @param beat_ns the last heartbeat
 * @param deadline_ns as ng_watchdog_set_deadline()
 */
bool ng_watchdog_judge(
	struct ng_watchdog_eye *eye, uint64_t now_ns, uint64_t beat_ns, uint64_t deadline_ns);

#endif
