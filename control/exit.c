#include "control/exit.h"

#include <errno.h>

int ng_exit_code(int error)
{
	switch (error) {
	case 0:
		return NG_EXIT_DONE;
	case -ECONNREFUSED:
		return NG_EXIT_NO_DAEMON;
	case -EPERM:
	case -EACCES:
		return NG_EXIT_DENIED;
	case -EBUSY:
		return NG_EXIT_REFUSED;
	case -ENOENT:
	case -ESRCH:
		return NG_EXIT_NOT_FOUND;
	default:
		return NG_EXIT_FAILED;
	}
}
