/* Workers: what goes before what, that disarming waits for no window, and that no job is lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <semaphore.h>

#include "control/plane/workers.h"

#define BOUND_MS 60000 /* of what happens at once, unless something is wrong */
#define WINDOWS	 4
#define RESERVED 2
#define JOBS	 5000

struct step {
	struct ng_job job; /* first: a step is found by its job */
	sem_t *begun;	   /* posted when it runs … */
	sem_t *go;	   /* … and then waited for; NULL: not */
	uint32_t *turn;	   /* shared by all of them … */
	uint32_t ran_at;   /* … and when it was this one's */
	uint32_t runs;
};

static void run_step(struct ng_job *job)
{
	struct step *step = (struct step *)job;

	if (step->begun)
		(void)sem_post(step->begun);
	if (step->go) {
		while (sem_wait(step->go))
			continue;
	}
	if (step->turn)
		step->ran_at = __atomic_add_fetch(step->turn, 1, __ATOMIC_RELAXED);
	step->runs++;
}

static struct step step_of(enum ng_job_kind kind)
{
	return (struct step){.job = {.kind = kind, .run = run_step}};
}

static struct step *collect(struct ng_workers *workers)
{
	struct pollfd done = {.fd = ng_workers_event_fd(workers), .events = POLLIN};
	struct ng_job *job;

	for (;;) {
		job = ng_workers_collect(workers);
		if (job)
			return (struct step *)job;
		assert_int_equal(poll(&done, 1, BOUND_MS), 1);
	}
}

static struct ng_workers *workers_of(size_t window_count)
{
	struct ng_workers *workers;

	assert_int_equal(ng_workers_start(window_count, &workers), 0);
	return workers;
}

static void disarming_comes_first_and_windows_last(void **state)
{
	struct ng_workers *workers = workers_of(1);
	struct step busy[1 + RESERVED], steps[NG_JOB_KINDS];
	uint32_t turn = 0;
	sem_t begun, go;

	(void)state;
	assert_int_equal(sem_init(&begun, 0, 0) || sem_init(&go, 0, 0), 0);
	for (int i = 0; i < 1 + RESERVED; i++) { /* all of them */
		busy[i] = step_of(NG_JOB_ARM);
		busy[i].begun = &begun;
		busy[i].go = &go;
		ng_workers_post(workers, &busy[i].job);
		assert_int_equal(sem_wait(&begun), 0);
	}
	for (int kind = NG_JOB_KINDS - 1; kind >= 0; kind--) {
		steps[kind] = step_of((enum ng_job_kind)kind);
		steps[kind].turn = &turn;
		ng_workers_post(workers, &steps[kind].job);
	}
	assert_null(ng_workers_collect(workers));
	(void)sem_post(
		&go); /* one of them goes on: with all three, or if it is reserved with two */
	assert_true(collect(workers)->begun != NULL);
	assert_ptr_equal(collect(workers), &steps[NG_JOB_DISARM]);
	assert_ptr_equal(collect(workers), &steps[NG_JOB_ARM]);
	for (int i = 0; i < RESERVED; i++)
		(void)sem_post(&go);
	for (int i = 0; i < RESERVED + 1; i++)
		(void)collect(workers);
	assert_int_equal(steps[NG_JOB_WINDOW].runs, 1);
	assert_int_equal(steps[NG_JOB_WINDOW].ran_at, NG_JOB_KINDS);
	ng_workers_stop(workers);
}

static void disarming_waits_for_no_window(void **state)
{
	struct ng_workers *workers = workers_of(WINDOWS);
	struct step windows[3 * WINDOWS], disarm = step_of(NG_JOB_DISARM);
	sem_t begun, go;

	(void)state;
	assert_int_equal(sem_init(&begun, 0, 0) || sem_init(&go, 0, 0), 0);
	for (int i = 0; i < 3 * WINDOWS; i++) {
		windows[i] = step_of(NG_JOB_WINDOW);
		windows[i].begun = &begun;
		windows[i].go = &go;
		ng_workers_post(workers, &windows[i].job);
	}
	for (int i = 0; i < WINDOWS; i++)
		assert_int_equal(sem_wait(&begun), 0);
	assert_int_equal(sem_trywait(&begun), -1); /* no more than that at a time */
	for (int i = 0; i < 10; i++) {
		ng_workers_post(workers, &disarm.job);
		assert_ptr_equal(collect(workers), &disarm);
	}
	for (int i = 0; i < 3 * WINDOWS; i++)
		(void)sem_post(&go);
	for (int i = 0; i < 3 * WINDOWS; i++)
		(void)collect(workers);
	ng_workers_stop(workers);
}

static void no_job_is_lost(void **state)
{
	static struct step steps[JOBS];
	struct ng_workers *workers = workers_of(WINDOWS);
	uint32_t collected = 0, random = 1;

	(void)state;
	for (uint32_t i = 0; i < JOBS; i++) {
		random = random * 1664525 + 1013904223;
		steps[i] = step_of((enum ng_job_kind)(random >> 16) % NG_JOB_KINDS);
		ng_workers_post(workers, &steps[i].job);
		while (random >> 30 == 0 && ng_workers_collect(workers))
			collected++;
	}
	for (; collected < JOBS; collected++)
		(void)collect(workers);
	assert_null(ng_workers_collect(workers));
	for (uint32_t i = 0; i < JOBS; i++)
		assert_int_equal(steps[i].runs, 1);
	ng_workers_stop(workers);
}

static void what_is_posted_runs_before_they_end(void **state)
{
	static struct step steps[JOBS];
	struct ng_workers *workers = workers_of(1);

	(void)state;
	for (uint32_t i = 0; i < JOBS; i++) {
		steps[i] = step_of((enum ng_job_kind)i % NG_JOB_KINDS);
		ng_workers_post(workers, &steps[i].job);
	}
	ng_workers_stop(workers);
	for (uint32_t i = 0; i < JOBS; i++)
		assert_int_equal(steps[i].runs, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(disarming_comes_first_and_windows_last),
		cmocka_unit_test(disarming_waits_for_no_window),
		cmocka_unit_test(no_job_is_lost),
		cmocka_unit_test(what_is_posted_runs_before_they_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
