/* Who may write the fenced tables, and the fate of every flush.
 *
 * Each start of a process has its own engine row; its session advisory lock proves that it lives.  The row's flush_no counts
 * committed flushes, so a lost reply has an exact answer: on the next connection epoch+1 returning flush_no tells whether the
 * flush is in, and if not the same rows go out again.  A row that was ended by another engine means ownership is gone.
 *
 * Invariant: one query or flush of ours in flight; everything else waits for `kick`.  Losing the connection alone never
 * leaves ACTIVE: as long as our row is not ended nobody else can have written.
 * The phase says what is in flight or waited for; the state is what the outside is told. */
#include "store/owner.h"

#include "base/log.h"
#include "flush_int.h"
#include "sql.h"

#include <stdio.h>
#include <stdlib.h>

#define STANDBY_US 1000000	/* a standby tries once a second */
#define LOCK_US 100000		/* our own old session still holds our lock */
#define ERROR_US 1000000
#define AGAIN_MAX 3

enum phase {
	PHASE_DOWN,	/* no connection */
	PHASE_OPEN,	/* own row being inserted */
	PHASE_RESUME,	/* epoch+1 asked */
	PHASE_CLAIM,
	PHASE_WAIT,	/* standby, or an error: until the timer */
	PHASE_IDLE,	/* owner, nothing in flight */
	PHASE_LOCK,
	PHASE_FLUSH,
	PHASE_LOADED,	/* asking what the loads of a flush moved whose reply was lost */
	PHASE_END,
	PHASE_ENDED,
};

struct owner {
	struct owner_conf conf;
	enum owner_state state;
	enum phase phase;
	bool is_up;
	int32_t engine_id;		/* 0: no row */
	int64_t epoch, flush_no;	/* flush_no: the last one that is committed for certain */
	bool has_lock, has_shards;
	bool must_resume;		/* a connection was lost since flush_no was last known for certain */
	struct arena *arena, *flush_arena;
	struct db_query *q;		/* in flight in phases other than FLUSH */
	struct db_tx *tx;
	struct op op;			/* of whatever is in flight */
	struct timer *timer, *lock_timer;
	struct flush *flush;		/* from owner_flush until its op */
	struct op *flush_op;
	unsigned again;
	struct op *end_op;
	struct defer end_defer;
	char address[256];
};

static void kick(struct owner *o);

static void set_state(struct owner *o, enum owner_state s)
{
	if (o->state == s)
		return;
	o->state = s;
	o->conf.on_state(o->conf.arg, s);
}

static int64_t now_us(const struct owner *o)
{
	return loop_now(o->conf.loop).mono_us;
}

static void wait_us(struct owner *o, int64_t us)
{
	o->phase = PHASE_WAIT;
	timer_set(o->timer, now_us(o) + us);
}

/* The query of @phase alone, as its own transaction. */
static void ask(struct owner *o, enum phase phase, struct db_query *q)
{
	o->phase = phase;
	o->q = q;
	o->tx = db_tx_new(o->conf.db, o->arena);
	db_tx_add(o->tx, q);
	db_tx_submit(o->tx, &o->op);
}

static struct db_query *query_for(struct owner *o, int sql_id)
{
	struct db_query *q;

	arena_reset(o->arena);
	q = db_query_new(o->arena, sql_id);
	if (sql_id != SQL_ENGINE_OPEN)
		db_bind_i32(q, o->engine_id);
	return q;
}

static void flush_done(struct owner *o, const struct err *err)
{
	struct op *op = o->flush_op;

	o->flush = NULL;
	o->flush_op = NULL;
	o->again = 0;
	if (op)
		op_done(op, err);
}

/* Our row was ended: whatever memory says is void.  A new row, and the queue of those who wait. */
static void lose(struct owner *o)
{
	struct err err;

	log_warn("ownership lost", F_I64("engine", o->engine_id));
	o->engine_id = 0;
	o->has_lock = o->has_shards = o->must_resume = false;
	o->address[0] = '\0';		/* no longer ours; the next claim tells whose */
	timer_clear(o->lock_timer);
	o->phase = o->is_up ? PHASE_WAIT : PHASE_DOWN;
	err_set(&err, ERR_ABORTED, "another server has taken over");
	flush_done(o, &err);
	set_state(o, OWNER_STANDBY);
	if (o->phase == PHASE_WAIT)
		timer_set(o->timer, 0);
}

static void end_now(struct owner *o, const struct err *err)
{
	struct op *op = o->end_op;

	o->phase = PHASE_ENDED;
	timer_clear(o->timer);
	timer_clear(o->lock_timer);
	o->end_op = NULL;
	set_state(o, OWNER_ENDED);
	if (op)
		op_done(op, err);
}

static void send_flush(struct owner *o)
{
	arena_reset(o->flush_arena);
	o->phase = PHASE_FLUSH;
	o->tx = db_tx_new(o->conf.db, o->flush_arena);
	flush_add_to(o->flush, o->flush_arena, o->tx, o->engine_id, o->epoch, o->flush_no + 1);
	db_tx_submit(o->tx, &o->op);
}

/* What to do next when nothing is in flight. */
static void kick(struct owner *o)
{
	struct db_query *q;

	if (o->phase == PHASE_ENDED)
		return;
	if (!o->is_up) {
		o->phase = PHASE_DOWN;
		/* a flush whose fate is open is settled first, if the database comes back in time */
		if (o->end_op && !o->flush)
			end_now(o, NULL);
	} else if (!o->engine_id) {
		if (o->end_op) {
			end_now(o, NULL);
			return;
		}
		q = query_for(o, SQL_ENGINE_OPEN);
		db_bind_text(q, str_c(o->conf.address ? o->conf.address : ""));
		ask(o, PHASE_OPEN, q);
	} else if (o->must_resume) {
		ask(o, PHASE_RESUME, query_for(o, SQL_ENGINE_RESUME));
	} else if (o->flush && o->has_shards) {
		send_flush(o);
	} else if (o->end_op) {
		ask(o, PHASE_END, query_for(o, SQL_ENGINE_END));
	} else if (!o->has_shards) {
		ask(o, PHASE_CLAIM, query_for(o, SQL_CLAIM_SHARDS));
	} else {
		o->phase = PHASE_IDLE;
		set_state(o, OWNER_ACTIVE);
	}
}

/* --- answers ------------------------------------------------------------------------------------------------------------- */

static void opened(struct owner *o, const struct db_rows *rows)
{
	o->engine_id = (int32_t)db_get_int(rows, 0, 0);
	o->epoch = db_get_int(rows, 0, 1);
	o->flush_no = 0;
	o->has_lock = db_get_bool(rows, 0, 2);
	kick(o);
}

static void claimed(struct owner *o, const struct db_rows *rows)
{
	if (db_get_bool(rows, 0, 0)) {
		o->has_shards = true;
		snprintf(o->address, sizeof(o->address), "%s", o->conf.address ? o->conf.address : "");
		kick(o);
		return;
	}
	snprintf(o->address, sizeof(o->address), "%.*s", STR_FMT(db_get_text(rows, 0, 1)));
	wait_us(o, STANDBY_US);
	set_state(o, OWNER_STANDBY);
}

static void resumed(struct owner *o, const struct db_rows *rows)
{
	int64_t flush_no;
	struct db_query *q;

	if (db_rows_n(rows) == 0) {
		lose(o);
		return;
	}
	o->epoch = db_get_int(rows, 0, 0);
	flush_no = db_get_int(rows, 0, 1);
	o->has_lock = db_get_bool(rows, 0, 2);
	if (!o->has_lock)
		timer_set(o->lock_timer, now_us(o) + LOCK_US);
	o->must_resume = false;
	if (o->flush && flush_no == o->flush_no + 1) {
		arena_reset(o->arena);
		q = flush_ask_loaded(o->flush, o->arena, flush_no);
		if (q) {
			ask(o, PHASE_LOADED, q);
			return;
		}
		o->flush_no = flush_no;
		flush_done(o, NULL);
	} else if (flush_no != o->flush_no) {
		/* nobody but us counts here: do not guess */
		log_error("flush number of our engine row is not ours", F_I64("have", o->flush_no), F_I64("found", flush_no));
		lose(o);
		return;
	}
	if (o->phase == PHASE_RESUME)
		kick(o);
}

static void flush_refused(struct owner *o, const struct err *err)
{
	struct err out = *err;

	if (strcmp(db_tx_sqlstate(o->tx), "22012") == 0) {
		lose(o);
		return;
	}
	if (err->code == ERR_ABORTED && ++o->again <= AGAIN_MAX) {
		kick(o);
		return;
	}
	if (err->code == ERR_ABORTED || err->code == ERR_DEADLINE || err->code == ERR_UNAVAILABLE)
		out.code = ERR_EXHAUSTED;
	else if (err->code != ERR_EXISTS && err->code != ERR_EXHAUSTED)
		out.code = ERR_INVALID;
	o->phase = PHASE_IDLE;
	flush_done(o, &out);
	if (o->phase == PHASE_IDLE)
		kick(o);
}

/* @err of a connection: what is pending waits for on_writer.  Told before the loss itself is. */
static bool is_loss(const struct owner *o, const struct err *err)
{
	return err->code == ERR_UNCERTAIN ||
	       (err->code == ERR_UNAVAILABLE && strncmp(db_tx_sqlstate(o->tx), "08", 2) == 0);
}

static void answered_ok(struct owner *o)
{
	const struct db_rows *rows = o->q ? db_query_rows(o->q) : NULL;

	switch (o->phase) {
	case PHASE_OPEN:
		opened(o, rows);
		break;
	case PHASE_RESUME:
		resumed(o, rows);
		break;
	case PHASE_CLAIM:
		claimed(o, rows);
		break;
	case PHASE_LOCK:
		o->has_lock = db_get_bool(rows, 0, 0);
		if (!o->has_lock)
			timer_set(o->lock_timer, now_us(o) + LOCK_US);
		kick(o);
		break;
	case PHASE_LOADED:
		o->flush_no++;
		flush_take_loaded(o->flush, rows);
		o->phase = PHASE_IDLE;
		flush_done(o, NULL);
		if (o->phase == PHASE_IDLE)
			kick(o);
		break;
	case PHASE_FLUSH:
		o->flush_no++;
		o->phase = PHASE_IDLE;
		flush_done(o, NULL);
		if (o->phase == PHASE_IDLE)
			kick(o);
		break;
	case PHASE_END:
		end_now(o, NULL);
		break;
	case PHASE_DOWN:
	case PHASE_WAIT:
	case PHASE_IDLE:
	case PHASE_ENDED:
		break;
	}
}

static void answered(struct op *op, const struct err *err)
{
	struct owner *o = op->arg;

	if (!err) {
		answered_ok(o);
	} else if (is_loss(o, err)) {
		o->phase = PHASE_DOWN;
		/* not our connection's loss but a call that came before we were told: the news is on its way */
		o->is_up = false;
	} else if (o->phase == PHASE_FLUSH) {
		flush_refused(o, err);
	} else if (o->phase == PHASE_END) {
		end_now(o, err);
	} else {
		o->must_resume = o->must_resume || o->phase == PHASE_LOADED;
		wait_us(o, ERROR_US);
	}
}

static void on_timer(void *arg)
{
	struct owner *o = arg;

	if (o->phase == PHASE_WAIT && o->is_up)
		kick(o);
}

static void on_lock_timer(void *arg)
{
	struct owner *o = arg;

	if (o->phase == PHASE_IDLE && o->is_up)
		ask(o, PHASE_LOCK, query_for(o, SQL_ENGINE_LOCK));
	else if (o->phase != PHASE_DOWN && o->phase != PHASE_ENDED)
		timer_set(o->lock_timer, now_us(o) + LOCK_US / 10);
}

void owner_on_writer(struct owner *o, bool is_up)
{
	if (o->phase == PHASE_ENDED)
		return;
	o->is_up = is_up;
	if (!is_up) {
		o->has_lock = false;
		timer_clear(o->timer);
		timer_clear(o->lock_timer);
	}
	o->must_resume = o->engine_id != 0;
	kick(o);
}

/* --- the outside --------------------------------------------------------------------------------------------------------- */

struct owner *owner_new(const struct owner_conf *conf)
{
	struct owner *o = xcalloc(1, sizeof(*o));

	o->conf = *conf;
	o->state = OWNER_DOWN;
	o->op = (struct op){answered, o};
	o->arena = arena_new(4u << 20);
	o->flush_arena = arena_new(4u << 20);
	o->timer = timer_new(conf->loop, on_timer, o);
	o->lock_timer = timer_new(conf->loop, on_lock_timer, o);
	return o;
}

void owner_free(struct owner *o)
{
	if (!o)
		return;
	defer_cancel(&o->end_defer);
	timer_free(o->timer);
	timer_free(o->lock_timer);
	arena_free(o->arena);
	arena_free(o->flush_arena);
	free(o);
}

enum owner_state owner_state(const struct owner *o)
{
	return o->state;
}

const char *owner_active_address(const struct owner *o)
{
	return o->address;
}

void owner_flush(struct owner *o, struct flush *f, struct op *op)
{
	assert(!o->flush && o->state == OWNER_ACTIVE);
	o->flush = f;
	o->flush_op = op;
	o->again = 0;
	if (o->phase == PHASE_IDLE)
		kick(o);
}

static void end_deferred(void *arg)
{
	struct owner *o = arg;

	if (o->end_op && (o->phase == PHASE_IDLE || o->phase == PHASE_WAIT || o->phase == PHASE_DOWN))
		kick(o);
}

void owner_end(struct owner *o, struct op *op)
{
	assert(!o->end_op);
	o->end_op = op;
	loop_defer(o->conf.loop, &o->end_defer, end_deferred, o);
}
