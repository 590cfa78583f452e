/*
 * Userspace RCU as nowgate uses it: liburcu's flavour `memb`, and threads that register once.
 *
 * Why memb: its read lock is two plain stores (the grace period pays, by membarrier()), and a
 * reader may sleep anywhere outside of it. `mb` pays two full fences a section; `qsbr` pays
 * nothing, but every wait of a reader would have to be told.
 */
#ifndef NG_CORE_BASE_RCU_H
#define NG_CORE_BASE_RCU_H

#include <urcu/urcu-memb.h>

/**
 * Registers the calling thread as one that may take the read lock, unless it is. These nest: the
 * last ng_rcu_leave() unregisters it. Nobody may register threads past them.
 *
 * Threads: any, outside of the read lock. Takes a lock of liburcu's, which a grace period holds
 * only while it looks, not while it waits.
 */
void ng_rcu_enter(void);
void ng_rcu_leave(void);

#endif
