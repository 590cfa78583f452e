#include "control/engine/stand.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/clock.h"
#include "core/stat/quartiles.h"

/* An order takes tens of milliseconds; a machine that gives the child no time for this long cannot
 * be measured. */
#define PATIENCE_MS 3000

/* The median of so many batches is one that was not interrupted. */
#define UNARMED_BATCHES 64
#define UNARMED_NS	NG_NS_PER_MS

enum order_kind {
	ORDER_BATCHES = 1,
	ORDER_WATCH = 2,
};

struct order {
	uint32_t kind;
	uint32_t loop;
	uint32_t iterations;
	uint32_t batches;
	uint32_t time_ns;
	uint32_t threshold_ns;
};

/* Written by the child, read by the parent once the child's answer has come through the socket, but
 * for `stop`. */
struct shared {
	uint32_t stop;	/* writer: the parent; relaxed, it orders nothing else */
	uint32_t count; /* of the entries below */
	uint32_t ns[NG_STAND_TIMES_MAX];
	uint32_t index[NG_STAND_TIMES_MAX];
};

struct ng_stand {
	pid_t pid;
	int socket_fd;
	struct shared *shared;
};

static uint32_t clamp_ns(uint64_t ns)
{
	return ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
}

static void child_run_batches(const struct order *order, struct shared *shared)
{
	const struct ng_loop *loop = ng_loop_get(order->loop);
	const uint64_t start = ng_clock_ns();
	uint64_t before = start;

	shared->count = 0;
	while (shared->count < order->batches && before - start <= order->time_ns) {
		uint64_t after;

		loop->run(order->iterations);
		after = ng_clock_ns();
		shared->ns[shared->count] = clamp_ns(after - before);
		shared->index[shared->count] = shared->count;
		shared->count++;
		before = after;
	}
}

static void child_watch(const struct order *order, struct shared *shared)
{
	const struct ng_loop *loop = ng_loop_get(order->loop);
	uint64_t before = ng_clock_ns();

	shared->count = 0;
	for (uint32_t i = 0; !__atomic_load_n(&shared->stop, __ATOMIC_RELAXED); i++) {
		uint64_t after;

		loop->run(1);
		after = ng_clock_ns();
		if (after - before > order->threshold_ns && shared->count < NG_STAND_TIMES_MAX) {
			shared->ns[shared->count] = clamp_ns(after - before);
			shared->index[shared->count] = i;
			shared->count++;
		}
		before = after;
	}
}

/* Obeys until the socket closes. Never returns to the caller's code: it owns none of its state. */
static void __attribute__((noreturn)) child_main(int socket_fd, pid_t parent, struct shared *shared)
{
	struct order order;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* else the socket's end does it */
	if (getppid() != parent)
		_exit(0); /* it was gone before we asked to be told */
	while (recv(socket_fd, &order, sizeof(order), 0) == (ssize_t)sizeof(order)) {
		if (order.kind == ORDER_WATCH) {
			/* The first answer says that the loop is about to run. */
			if (send(socket_fd, &order.kind, sizeof(order.kind), MSG_NOSIGNAL) < 0)
				break;
			child_watch(&order, shared);
		} else {
			child_run_batches(&order, shared);
		}
		if (send(socket_fd, &order.kind, sizeof(order.kind), MSG_NOSIGNAL) < 0)
			break;
	}
	_exit(0);
}

int ng_stand_new(struct ng_stand **ret_stand, struct ng_diag *diag)
{
	struct ng_stand *stand = calloc(1, sizeof(*stand));
	const pid_t parent = getpid();
	int sockets[2], error;

	if (!stand)
		return -ENOMEM;
	/* Populated: page faults would be timed too. */
	stand->shared = mmap(NULL, sizeof(*stand->shared), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (stand->shared == MAP_FAILED) {
		error = -errno;
		goto free_stand;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets)) {
		error = -errno;
		goto unmap;
	}
	stand->pid = fork();
	if (stand->pid < 0) {
		error = -errno;
		goto close_sockets;
	}
	if (!stand->pid) {
		close(sockets[0]);
		child_main(sockets[1], parent, stand->shared);
	}
	close(sockets[1]);
	stand->socket_fd = sockets[0];
	*ret_stand = stand;
	return 0;

close_sockets:
	close(sockets[0]);
	close(sockets[1]);
unmap:
	munmap(stand->shared, sizeof(*stand->shared));
free_stand:
	free(stand);
	return ng_diag_set(diag, error, "no child process to calibrate with: %s", strerror(-error));
}

void ng_stand_free(struct ng_stand *stand)
{
	if (!stand)
		return;
	close(stand->socket_fd);
	(void)kill(stand->pid, SIGKILL); /* ours until it is waited for, so it cannot fail */
	while (waitpid(stand->pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	munmap(stand->shared, sizeof(*stand->shared));
	free(stand);
}

pid_t ng_stand_pid(const struct ng_stand *stand)
{
	return stand->pid;
}

static int say_gone(struct ng_diag *diag)
{
	return ng_diag_set(diag, -ECHILD, "the child process that calibrates was killed");
}

static int send_order(struct ng_stand *stand, const struct order *order, struct ng_diag *diag)
{
	if (send(stand->socket_fd, order, sizeof(*order), MSG_NOSIGNAL) < 0)
		return say_gone(diag);
	return 0;
}

static int await_answer(struct ng_stand *stand, struct ng_diag *diag)
{
	const uint64_t deadline = ng_clock_ns() + PATIENCE_MS * NG_NS_PER_MS;
	struct pollfd answer = {.fd = stand->socket_fd, .events = POLLIN};
	uint32_t kind;

	for (;;) {
		uint64_t now = ng_clock_ns();
		int ready;

		if (now >= deadline)
			return ng_diag_set(diag, -ETIMEDOUT,
				"the child process that calibrates had no answer for %d ms: is the "
				"machine overloaded?",
				PATIENCE_MS);
		ready = poll(&answer, 1, (int)((deadline - now) / NG_NS_PER_MS) + 1);
		if (ready < 0 && errno != EINTR)
			return ng_diag_set(diag, -errno, "poll: %s", strerror(errno));
		if (ready <= 0)
			continue; /* a signal, or the time is up */
		if (recv(stand->socket_fd, &kind, sizeof(kind), 0) != (ssize_t)sizeof(kind))
			return say_gone(diag);
		return 0;
	}
}

static void get_times(const struct ng_stand *stand, struct ng_times *ret_times)
{
	*ret_times = (struct ng_times){
		.ns = stand->shared->ns,
		.index = stand->shared->index,
		.count = stand->shared->count,
	};
}

int ng_stand_run(struct ng_stand *stand, const struct ng_batches *batches,
	struct ng_times *ret_times, struct ng_diag *diag)
{
	const struct order order = {
		.kind = ORDER_BATCHES,
		.loop = batches->loop,
		.iterations = batches->iterations,
		.batches = batches->batches < NG_STAND_TIMES_MAX ? batches->batches
								 : NG_STAND_TIMES_MAX,
		.time_ns = batches->time_ns,
	};
	int error = send_order(stand, &order, diag);

	if (!error)
		error = await_answer(stand, diag);
	if (!error)
		get_times(stand, ret_times);
	return error;
}

int ng_stand_watch(struct ng_stand *stand, const struct ng_watch *watch, struct ng_diag *diag)
{
	const struct order order = {
		.kind = ORDER_WATCH,
		.loop = watch->loop,
		.threshold_ns = watch->threshold_ns,
	};
	int error;

	__atomic_store_n(&stand->shared->stop, 0, __ATOMIC_RELAXED); /* the socket orders it */
	error = send_order(stand, &order, diag);
	return error ? error : await_answer(stand, diag);
}

int ng_stand_unwatch(struct ng_stand *stand, struct ng_times *ret_times, struct ng_diag *diag)
{
	int error;

	__atomic_store_n(&stand->shared->stop, 1, __ATOMIC_RELAXED);
	error = await_answer(stand, diag);
	if (!error)
		get_times(stand, ret_times);
	return error;
}

int ng_stand_unarmed(struct ng_stand *stand, enum ng_loop_number loop, uint32_t iterations,
	double *ret_ns, struct ng_diag *diag)
{
	const struct ng_batches batches = {.loop = loop,
		.iterations = iterations,
		.batches = UNARMED_BATCHES,
		.time_ns = UNARMED_NS};
	double values[UNARMED_BATCHES];
	struct ng_times times;
	int error = ng_stand_run(stand, &batches, &times, diag);

	if (error)
		return error;
	for (size_t i = 0; i < times.count; i++)
		values[i] = (double)times.ns[i] / iterations;
	*ret_ns = ng_quartiles_of(values, times.count).median;
	return 0;
}
