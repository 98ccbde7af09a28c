/* sim SEED STEPS: one run.  sim for SECONDS: new seeds for so long.  sim: the fixed seeds and one from the clock, as many as fit into the time box; SIM_TRACE=1 tells
 * everything that happens.  A run ends with calm: the faults stop, and then everything has to come to its end. */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FIXED_SEEDS = 250, FIXED_STEPS = 10000, BOX_S = 240 };

static const char *const cover_names[] = {
#define COVER_X(n) #n,
	COVER_TABLE(COVER_X)
#undef COVER_X
};

void sim_fail(struct sim *s, const char *fmt, ...)
{
	va_list ap;

	printf("seed %llu, step %llu, at %.6f s: ", (unsigned long long)s->seed, (unsigned long long)s->n_steps,
	       (double)s->now.mono_us / 1e6);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	_exit(1);
}

void sim_trace(struct sim *s, const char *fmt, ...)
{
	va_list ap;

	printf("%6llu %12.6f ", (unsigned long long)s->n_steps, (double)s->now.mono_us / 1e6);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

uint64_t below(struct sim *s, uint64_t n)
{
	return rand_range(&s->rnd, n);
}

bool chance(struct sim *s, unsigned per_mille)
{
	return rand_chance(&s->rnd, per_mille);
}

/* Short mostly, long at times: the range is halved as long as a coin says so. */
int64_t between(struct sim *s, int64_t lo, int64_t hi)
{
	while (hi - lo > 16 && chance(s, 500))
		hi = lo + (hi - lo) / 4;
	return hi > lo ? lo + (int64_t)below(s, (uint64_t)(hi - lo)) : lo;
}

struct timer *timer_in(struct sim *s, int64_t us, void (*fn)(struct sim *, struct timer *))
{
	struct timer *t = xcalloc(1, sizeof(*t));

	t->fn = fn;
	t->it.tie = ++s->n_timers;
	heap_set(&s->timers, &t->it, s->now.mono_us + us);
	return t;
}

struct worker_model *worker_of(struct sim *s, int32_t worker_no)
{
	return worker_no >= 1 && worker_no <= s->n_workers ? &s->workers[worker_no - 1] : NULL;
}

/* --- faults of the world ---------------------------------------------------------------------------------------------------- */

static void server_start(struct sim *s, struct timer *t)
{
	if (!s->is_up)
		shell_start(s);
}

static void fault(struct sim *s, struct timer *t)
{
	if (s->calm)
		return;
	(void)timer_in(s, between(s, SEC, 60 * SEC), fault);
	if (!chance(s, s->fault_pm * 5))
		return;
	if (chance(s, 400) && s->is_up) {
		shell_kill(s);
		(void)timer_in(s, between(s, 50 * MS, 20 * SEC), server_start);
	} else if (chance(s, 700)) {
		s->db_down_until = s->now.mono_us + between(s, 10 * MS, 10 * SEC);
	} else if (s->wall_jumps) {
		s->now.wall_us += (int64_t)below(s, 4 * SEC) - 2 * SEC;
	}
}

/* --- one run ---------------------------------------------------------------------------------------------------------------- */

/* Few keys, few values, so that they meet now and then. */
struct eng_label some_label(struct sim *s, int key)
{
	bool is_text = chance(s, 500);

	return (struct eng_label){.key = 1 + (uint64_t)key, .is_text = is_text, .text = is_text ? 1 + below(s, 2) : 0,
		.number = is_text ? 0 : (int32_t)below(s, 3)};
}

uint32_t some_wants(struct sim *s, struct eng_want *ret)
{
	uint32_t n = (uint32_t)(1 + below(s, WANTS_MAX));

	for (uint32_t i = 0; i < n; i++) {
		struct eng_label l = some_label(s, (int)below(s, LABELS_MAX));

		ret[i] = (struct eng_want){.key = l.key, .text = l.text, .number = l.number, .is_text = l.is_text, .required = chance(s, 400),
			.weight = (int32_t)below(s, 200) - (chance(s, 100) ? 150 : 0), .op = (uint8_t)below(s, 6)};
	}
	return n;
}

static void choose_strategies(struct sim *s)
{
	static const enum conc kinds[] = {CONC_CANCEL_IN_PROGRESS, CONC_CANCEL_NEWEST, CONC_CANCEL_QUEUED_EXCEPT_NEWEST,
		CONC_CANCEL_QUEUED_EXCEPT_OLDEST};

	s->keys = (unsigned)(1 + below(s, chance(s, 300) ? 40 : 4));
	s->limits_change = chance(s, 300);
	for (int i = 0; i < STRATEGIES_MAX; i++) {
		s->strategies[i] = (struct ev_strategy){.strategy_no = 90 + i,
			.kind = chance(s, 600) ? CONC_GROUP_ROUND_ROBIN : kinds[below(s, ARRAY_LEN(kinds))],
			.max_runs = chance(s, 10) ? 0 : (int32_t)(1 + below(s, 3))};
		s->peak[i] = s->strategies[i].max_runs;
	}
}

static void choose_chain(struct sim *s, struct ev_step *step)
{
	if (chance(s, 500))
		return;
	step->n_strategies = chance(s, 600) ? 1 : 2;
	step->strategies[0] = 90 + (int32_t)below(s, STRATEGIES_MAX);
	step->strategies[1] = 90 + (step->strategies[0] - 90 + 1 + (int32_t)below(s, STRATEGIES_MAX - 1)) % STRATEGIES_MAX;
	if (step->n_strategies == 2 && step->strategies[0] > step->strategies[1]) {	/* one order for all, or they wait for each other */
		int32_t first = step->strategies[1];

		step->strategies[1] = step->strategies[0];
		step->strategies[0] = first;
	}
}

const struct ev_step *step_of(const struct sim *s, const struct rec *r)
{
	return &s->steps[r->step_no - 50];
}

const struct ev_strategy *strategy_of(const struct sim *s, const struct rec *r, uint32_t entry)
{
	return &s->strategies[step_of(s, r)->strategies[entry] - 90];
}

int64_t lane_of(const struct sim *s, const struct rec *r)
{
	return step_of(s, r)->n_strategies && strategy_of(s, r, 0)->kind == CONC_GROUP_ROUND_ROBIN ? (int64_t)r->entries[0].key : 0;
}

static void choose(struct sim *s)
{
	s->conf = eng_conf_default;
	s->conf.heads_max = (uint32_t)(2 + below(s, chance(s, 300) ? 200 : 30));
	s->conf.load_max = MAX(1, s->conf.heads_max / 4);
	s->conf.head_low = s->conf.load_max;
	s->conf.scan_max = (uint32_t)(4 + below(s, SCAN_MAX - 3));
	s->conf.internal_retries_max = chance(s, 300) ? 1 : 10;
	s->n_workers = (int)(2 + below(s, WORKERS_MAX - 1));
	s->n_actions = (int)(2 + below(s, ACTIONS_MAX - 1));
	s->n_steps_def = STEPS_MAX;
	s->cap = (unsigned)(10 + below(s, 150));
	s->fault_pm = (unsigned)(chance(s, 150) ? 0 : 5 + below(s, 150));
	s->trigger_ms = (unsigned)(20 + below(s, 2000));
	s->is_slow_db = chance(s, 300);
	s->wall_jumps = chance(s, 250);
	choose_strategies(s);
	limits_choose(s);
	s->has_pauses = chance(s, 400);
	for (int i = 0; i < FLOWS_MAX; i++)
		s->flows[i] = (struct ev_flow){.workflow_no = 1 + i, .paused_at = INT64_MIN, .unpaused_at = INT64_MIN};
	for (int i = 0; i < STEPS_MAX; i++) {
		int32_t action = (int32_t)(i < s->n_actions ? i : (int)below(s, (uint64_t)s->n_actions));

		s->steps[i] = (struct ev_step){.step_no = 50 + i, .tenant_no = 1 + (action & 1), .action_no = 40 + action,
			.retries = (int32_t)below(s, 4), .backoff_milli = chance(s, 400) ? (int32_t)(1000 + below(s, 2000)) : 0,
			.backoff_max_s = 8, .schedule_ms = between(s, 1000, 120000), .exec_ms = between(s, 1000, 60000)};
		s->steps[i].workflow_no = 1 + i % FLOWS_MAX;
		s->steps[i].slots[0] = (struct eng_slot){1, chance(s, 200) ? 2 : 1};
		if (chance(s, 150))
			s->steps[i].slots[1] = (struct eng_slot){2, 1};
		else if (chance(s, 100))
			s->steps[i].slots[0].type_no = 2;
		s->steps[i].sticky = chance(s, 600) ? STICKY_NONE : chance(s, 500) ? STICKY_SOFT : STICKY_HARD;
		choose_chain(s, &s->steps[i]);
		if (chance(s, 300)) {
			s->steps[i].wants = s->wants[i];
			s->steps[i].n_wants = some_wants(s, s->wants[i]);
		}
	}
	batches_choose(s);
}

/* To the next thing that happens, and what happens about the same time with it. */
static void advance(struct sim *s)
{
	struct heap_item *it = heap_min(&s->timers);
	int64_t at = it ? it->at : INT64_MAX, lag = chance(s, 300) ? (int64_t)below(s, 3 * MS) : 0;

	if (s->is_up)
		at = MIN(at, engine_next_deadline_us(s->e));
	at = MAX(at, s->now.mono_us) + lag;
	s->now.wall_us += at - s->now.mono_us;
	s->now.mono_us = at;
	while ((it = heap_min(&s->timers)) && it->at <= s->now.mono_us) {
		struct timer *t = container_of(it, struct timer, it);

		heap_del(&s->timers, it);
		if (!t->gen || t->gen == s->gen) {
			if (!t->gen || s->is_up)
				t->fn(s, t);
		}
		if (t->gen)
			free(t->p);
		free(t);
	}
	if (s->is_up)
		shell_turn(s);
}

static bool all_over(const struct sim *s)
{
	return s->open.n == 0 && shell_is_idle(s);
}

static void calm_down(struct sim *s)
{
	int64_t until;

	s->calm = true;
	s->db_down_until = 0;
	if (!s->is_up)
		shell_start(s);
	actors_calm(s);
	TRACE(s, "calm");
	until = s->now.mono_us + 1800 * (int64_t)SEC;
	while (s->now.mono_us < until && !all_over(s))
		advance(s);
	until = s->now.mono_us + 20 * SEC;	/* answers that are read from the database */
	while (s->now.mono_us < until)
		advance(s);
}

static void sim_end(struct sim *s)
{
	struct heap_item *it;

	while ((it = heap_min(&s->timers))) {
		struct timer *t = container_of(it, struct timer, it);

		heap_del(&s->timers, it);
		if (t->gen)
			free(t->p);
		free(t);
	}
	engine_free(s->e);
	arena_free(s->fxs.arena);
	for (size_t i = 0; i < s->all.n; i++)
		free(s->all.p[i]);
	for (size_t i = 0; i < s->calls.n; i++)
		free(s->calls.p[i]);
	for (size_t i = 0; i < s->pends.n; i++)
		free(s->pends.p[i]);
	for (int i = 0; i < s->n_workers; i++) {
		vec_fini(&s->workers[i].runs);
		vec_fini(&s->workers[i].pushes);
		vec_fini(&s->workers[i].ups);
	}
	vec_fini(&s->dispatches);
	vec_fini(&s->all);
	vec_fini(&s->open);
	vec_fini(&s->calls);
	vec_fini(&s->pends);
	vec_fini(&s->evs);
	vec_fini(&s->fxs.v);
	imap_fini(&s->recs);
	heap_fini(&s->timers);
}

static uint64_t run(uint64_t seed, uint64_t steps, uint64_t cover[COVERS], bool tell)
{
	struct sim *s = xcalloc(1, sizeof(*s));
	uint64_t digest;

	s->seed = seed;
	s->trace = getenv("SIM_TRACE") != NULL;
	s->now = (struct now){.mono_us = 1000 * (int64_t)SEC, .wall_us = 1800000000LL * SEC};
	s->fxs.arena = arena_new(16u << 20);
	rand_seed(&s->rnd, seed);
	choose(s);
	shell_start(s);
	actors_init(s);
	(void)timer_in(s, SEC, fault);
	while (s->n_steps < steps)
		advance(s);
	calm_down(s);
	check_end(s);
	if (tell)
		printf("seed %llu: %llu steps, %llu flushes, %zu tasks, %llu kills, %.0f s of their time\n",
		       (unsigned long long)seed, (unsigned long long)s->n_steps, (unsigned long long)s->n_flush, s->all.n,
		       (unsigned long long)s->cover[C_kill], (double)s->now.mono_us / 1e6 - 1000);
	for (int i = 0; i < COVERS; i++)
		cover[i] += s->cover[i];
	digest = s->digest;
	sim_end(s);
	free(s);
	return digest;
}

/* --- many runs -------------------------------------------------------------------------------------------------------------- */

struct result {
	uint64_t digest, cover[COVERS];
};

/* In a process of its own, so that a failed assertion is one failed seed. */
static bool run_apart(uint64_t seed, uint64_t steps, struct result *ret)
{
	int fds[2], status = 0;
	bool ok;
	pid_t pid;

	fflush(stdout);
	if (pipe(fds) != 0)
		return false;
	pid = fork();
	if (pid == 0) {
		struct result mine = {0};

		close(fds[0]);
		alarm(BOX_S * 2);
		mine.digest = run(seed, steps, mine.cover, false);
		fflush(stdout);
		_exit(write(fds[1], &mine, sizeof(mine)) == (ssize_t)sizeof(mine) ? 0 : 1);
	}
	close(fds[1]);
	ok = pid > 0 && read(fds[0], ret, sizeof(*ret)) == (ssize_t)sizeof(*ret);
	close(fds[0]);
	ok = pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0 && ok;
	if (!ok)
		printf("FAILED: sim %llu %llu\n", (unsigned long long)seed, (unsigned long long)steps);
	return ok;
}

static int64_t seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static int run_all(void)
{
	int64_t end = seconds() + BOX_S;
	unsigned passed = 0, failed = 0, skipped = 0;
	uint64_t cover[COVERS] = {0}, now = (uint64_t)time(NULL);
	struct result first = {0};

	for (uint64_t i = 0; i <= FIXED_SEEDS + 1; i++) {
		/* the fixed ones, the first once more, and a new one */
		uint64_t seed = i == 0 ? now : i == FIXED_SEEDS + 1 ? 1 : i;
		struct result r = {0};

		if (i > 1 && seconds() >= end && i <= FIXED_SEEDS) {
			skipped++;
			continue;
		}
		if (!run_apart(seed, FIXED_STEPS, &r)) {
			failed++;
			continue;
		}
		passed++;
		if (i == 1)
			first = r;
		if (i == FIXED_SEEDS + 1 && first.digest && first.digest != r.digest) {
			printf("FAILED: seed 1 went another way the second time\n");
			failed++;
		}
		for (int k = 0; k < COVERS; k++)
			cover[k] += r.cover[k];
	}
	printf("%u runs of %d steps, from seeds 1 to %d and %llu; met:", passed + failed, FIXED_STEPS, FIXED_SEEDS,
	       (unsigned long long)now);
	for (int k = 0; k < COVERS; k++)
		printf(" %s %llu", cover_names[k], (unsigned long long)cover[k]);
	printf("\n");
	for (int k = 0; k < COVERS; k++)
		if (!cover[k]) {
			printf("FAILED: %s was never met\n", cover_names[k]);
			failed++;
		}
	printf("%u passed, %u failed, %u skipped\n", passed, failed, skipped);
	return failed ? 1 : 0;
}

/* New seeds, as many as fit in that time; each failing one is named. */
static int run_for(int64_t s)
{
	uint64_t seed = (uint64_t)time(NULL) * 1000000, n = 0, failed = 0;
	int64_t end = seconds() + s;
	struct result r;

	while (seconds() < end) {
		failed += !run_apart(++seed, FIXED_STEPS, &r);
		if (++n % 500 == 0) {
			printf("# %llu runs, %llu failed, %lld s left\n", (unsigned long long)n, (unsigned long long)failed, (long long)(end - seconds()));
			fflush(stdout);
		}
	}
	printf("%llu passed, %llu failed, 0 skipped\n", (unsigned long long)(n - failed), (unsigned long long)failed);
	return failed ? 1 : 0;
}

int main(int argc, char **argv)
{
	uint64_t cover[COVERS] = {0};

	if (argc == 1)
		return run_all();
	if (argc == 3 && strcmp(argv[1], "for") == 0)
		return run_for(atoll(argv[2]));
	if (argc != 3) {
		fprintf(stderr, "usage: sim [SEED STEPS | for SECONDS]\n");
		return 2;
	}
	(void)run(strtoull(argv[1], NULL, 10), strtoull(argv[2], NULL, 10), cover, true);
	return 0;
}
