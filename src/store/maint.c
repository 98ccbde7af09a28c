/* Runs what hatchet.maint_plan() lists, one command after the other, each by itself (VACUUM and DETACH CONCURRENTLY are not
 * allowed inside functions).
 *
 * Commands are harmless to repeat: one that fails (a lock was not free in time) is tried again with a new plan later, the rest
 * of the plan still runs.  Any number of processes may do this at once; the functions serialise themselves. */
#include "store/maint.h"

#include "base/log.h"
#include "io/loop.h"
#include "sql.h"

#include <stdlib.h>

#define START_US 15000000LL		/* not while a server is becoming ready */
#define AGAIN_US 60000000LL
#define DAY_US 86400000000LL
#define AFTER_MIDNIGHT_US 120000000LL	/* ids of the old day have been made by then */
#define DAYS_AHEAD_MIN 2

struct maint {
	struct loop *loop;
	struct db *db;
	struct timer *timer;
	struct arena *a, *cmd_a;
	struct db_query *plan, *q;
	struct op op;
	enum { MAINT_IDLE, MAINT_PLAN, MAINT_COMMAND, MAINT_AHEAD } phase;
	unsigned at;
	bool has_failed;
	int64_t ahead;		/* -1: not known yet */
};

static void next_command(struct maint *m);

static void ask(struct maint *m, int phase, struct db_query *q)
{
	m->phase = phase;
	m->q = q;
	db_submit(m->db, DB_MAINT, q, &m->op);
}

static void finish(struct maint *m)
{
	struct now now = loop_now(m->loop);
	int64_t in = DAY_US - now.wall_us % DAY_US + AFTER_MIDNIGHT_US;

	m->phase = MAINT_IDLE;
	timer_set(m->timer, now.mono_us + (m->has_failed ? AGAIN_US : in));
	if (m->ahead >= 0 && m->ahead < DAYS_AHEAD_MIN)
		log_error("partitions for the next days are missing", F_I64("days_ahead", m->ahead));
}

static void done(struct op *op, const struct err *err)
{
	struct maint *m = op->arg;

	if (err && m->phase != MAINT_COMMAND) {
		m->has_failed = true;
		finish(m);
	} else if (m->phase == MAINT_PLAN) {
		m->plan = m->q;
		m->at = 0;
		next_command(m);
	} else if (m->phase == MAINT_COMMAND) {
		if (err)
			log_debug("maintenance command failed, tried again later", F_C("why", err->msg));
		m->has_failed = m->has_failed || err;
		next_command(m);
	} else {
		m->ahead = db_get_int(db_query_rows(m->q), 0, 0);
		finish(m);
	}
}

static void next_command(struct maint *m)
{
	const struct db_rows *rows = db_query_rows(m->plan);

	arena_reset(m->cmd_a);
	if (m->at < db_rows_n(rows))
		ask(m, MAINT_COMMAND, db_query_text(m->cmd_a, db_get_text(rows, m->at++, 0)));
	else
		ask(m, MAINT_AHEAD, db_query_new(m->cmd_a, SQL_MAINT_AHEAD));
}

void maint_run_now(struct maint *m)
{
	if (m->phase != MAINT_IDLE)
		return;
	m->has_failed = false;
	arena_reset(m->a);
	ask(m, MAINT_PLAN, db_query_new(m->a, SQL_MAINT_PLAN));
}

static void on_timer(void *arg)
{
	maint_run_now(arg);
}

struct maint *maint_new(struct loop *l, struct db *db)
{
	struct maint *m = xcalloc(1, sizeof(*m));

	m->loop = l;
	m->db = db;
	m->a = arena_new(8u << 20);
	m->cmd_a = arena_new(1u << 20);
	m->op = (struct op){done, m};
	m->ahead = -1;
	m->timer = timer_new(l, on_timer, m);
	timer_set(m->timer, loop_mono_us() + START_US);
	return m;
}

void maint_free(struct maint *m)
{
	if (!m)
		return;
	timer_free(m->timer);
	arena_free(m->a);
	arena_free(m->cmd_a);
	free(m);
}

bool maint_is_ok(const struct maint *m, struct err *why)
{
	if (m->ahead < 0 || m->ahead >= DAYS_AHEAD_MIN)
		return true;
	return err_set(why, ERR_UNAVAILABLE, "partitions exist for %d days ahead, at least %d are needed", (int)m->ahead, DAYS_AHEAD_MIN);
}

bool maint_is_running(const struct maint *m)
{
	return m->phase != MAINT_IDLE;
}
