#include "core/base/rcu.h"

#include <assert.h>

static _Thread_local unsigned int entered;

void ng_rcu_enter(void)
{
	if (!entered++)
		urcu_memb_register_thread();
}

void ng_rcu_leave(void)
{
	assert(entered);
	if (!--entered)
		urcu_memb_unregister_thread();
}
