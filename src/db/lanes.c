/* struct db: which unit goes to which connection, and what the loss of one means.
 *
 * The writer and the listener are kept connected for ever (backoff 20 ms .. 1 s).  The connections of the other lanes open
 * when there is work and close when there was none for a while: an idle process holds two connections and sends nothing.
 * A unit waits for one attempt to connect, no longer.  Ends of units are told from one deferred call, in the order in which
 * they happened, so no owner is ever called from inside its own call, and a loss is told after the unit it hit. */
#include "base/log.h"

#include "base/config.h"
#include "db_int.h"

#include <stdlib.h>

#define BACKOFF_US_MIN 20000
#define BACKOFF_US_MAX 1000000

struct lane {
	struct db *db;
	int no;
	struct pgconn conns[CONF_READERS_MAX];
	unsigned n_conns;
	struct list queue;		/* unit.node */
	unsigned n_queue;
	struct timer *timer;		/* end of backoff, or of idleness */
	int64_t idle_us_max, retry_at_us, backoff_us;
};

struct db {
	struct db_conf conf;
	char *url, *app_name;
	struct lane lanes[DB_LANES];
	struct pgconn listen;
	struct timer *listen_timer;
	int64_t listen_backoff_us;
	struct list done;		/* unit.node: op to be told */
	struct defer defer;
	struct list notes;		/* struct note */
	unsigned n_notes;
	bool notes_missed;
	unsigned writer_gen, told_gen;	/* +1 per loss */
	bool writer_told_up;
	bool is_started;
	char last_error[300];
};
struct note {
	struct list node;
	size_t n;
	char p[];
};
#define NOTES_MAX 1024

static void lane_pump(struct lane *l);

static struct pgconn *writer(struct db *db)
{
	return &db->lanes[DB_WRITER].conns[0];
}

/* --- telling ------------------------------------------------------------------------------------------------------------- */

static void tell_writer(struct db *db)
{
	bool is_up = writer(db)->state == PGCONN_READY;

	if (db->told_gen != db->writer_gen) {
		db->told_gen = db->writer_gen;
		if (db->writer_told_up) {
			db->writer_told_up = false;
			if (db->conf.on_writer)
				db->conf.on_writer(db->conf.arg, false);
		}
	}
	is_up = writer(db)->state == PGCONN_READY;
	if (is_up && !db->writer_told_up) {
		db->writer_told_up = true;
		if (db->conf.on_writer)
			db->conf.on_writer(db->conf.arg, true);
	}
}

static void tell(void *arg)
{
	struct db *db = arg;

	while (!list_empty(&db->done)) {
		struct unit *u = LIST_ENTRY(db->done.next, struct unit, node);
		struct op *op = u->op;
		bool has_err = u->has_err;
		struct err err = u->err;

		list_del(&u->node);
		/* the unit may be gone once its owner knows */
		op_done(op, has_err ? &err : NULL);
	}
	tell_writer(db);
	if (db->notes_missed) {
		db->notes_missed = false;
		if (db->conf.on_notify)
			db->conf.on_notify(db->conf.arg, STR_NULL);
	}
	while (!list_empty(&db->notes)) {
		struct note *n = LIST_ENTRY(db->notes.next, struct note, node);

		list_del(&n->node);
		db->n_notes--;
		if (db->conf.on_notify)
			db->conf.on_notify(db->conf.arg, (struct str){n->p, n->n});
		free(n);
	}
}

static void tell_soon(struct db *db)
{
	loop_defer(db->conf.loop, &db->defer, tell, db);
}

static void finished(struct db *db, struct unit *u)
{
	list_push_back(&db->done, &u->node);
	tell_soon(db);
}

/* --- connections of the lanes -------------------------------------------------------------------------------------------- */

static void note_error(struct db *db, const char *msg, const char *sqlstate)
{
	struct err err;

	conninfo_explain(msg, sqlstate, &err);
	memcpy(db->last_error, err.msg, sizeof(db->last_error));
}

static void conn_up(struct pgconn *c)
{
	struct lane *l = c->arg;

	l->backoff_us = 0;
	l->db->last_error[0] = '\0';
	if (l->no == DB_WRITER)
		tell_soon(l->db);
	lane_pump(l);
}

static void fail_queue(struct lane *l)
{
	while (!list_empty(&l->queue)) {
		struct unit *u = LIST_ENTRY(l->queue.next, struct unit, node);

		list_del(&u->node);
		l->n_queue--;
		unit_fail(u, ERR_UNAVAILABLE, "08001", "the database is not available");
		finished(l->db, u);
	}
}

static bool has_hope(const struct lane *l)
{
	for (unsigned i = 0; i < l->n_conns; i++)
		if (l->conns[i].state != PGCONN_OFF)
			return true;
	return false;
}

static void unit_lost(struct lane *l, struct unit *u)
{
	if (l->no != DB_WRITER && !u->is_again && (l->no == DB_READ || !u->is_sent)) {
		/* nothing was changed: once more on another connection */
		u->is_again = true;
		u->has_err = false;
		list_push_front(&l->queue, &u->node);
		l->n_queue++;
		return;
	}
	u->has_err = false;	/* a refusal is certain only with the whole answer */
	if (l->no == DB_READ || !u->is_sent)
		unit_fail(u, ERR_UNAVAILABLE, "08006", "the database is not available");
	else
		unit_fail(u, ERR_UNCERTAIN, "08006", "the connection to the database was lost");
	finished(l->db, u);
}

static void conn_down(struct pgconn *c, struct unit *u, bool was_up, const char *msg, const char *sqlstate)
{
	struct lane *l = c->arg;
	struct db *db = l->db;

	note_error(db, msg, sqlstate);
	if (u)
		unit_lost(l, u);
	if (was_up) {
		l->retry_at_us = 0;
		log_debug("database connection lost", F_I64("lane", l->no), F_C("why", db->last_error));
	} else {
		l->backoff_us = MIN(MAX(l->backoff_us * 2, BACKOFF_US_MIN), BACKOFF_US_MAX);
		l->retry_at_us = loop_now(db->conf.loop).mono_us + l->backoff_us;
		if (!has_hope(l))
			fail_queue(l);
	}
	if (l->no == DB_WRITER) {
		if (was_up)
			db->writer_gen++;
		tell_soon(db);
	}
	lane_pump(l);
}

static void conn_done(struct pgconn *c, struct unit *u)
{
	struct lane *l = c->arg;

	/* the server forgot or changed what we think is prepared */
	if (strcmp(u->sqlstate, "26000") == 0 || strcmp(u->sqlstate, "0A000") == 0)
		memset(c->prepared, 0, sizeof(c->prepared));
	finished(l->db, u);
	lane_pump(l);
}

/* --- lanes --------------------------------------------------------------------------------------------------------------- */

static struct pgconn *idle_conn(struct lane *l)
{
	for (unsigned i = 0; i < l->n_conns; i++)
		if (l->conns[i].state == PGCONN_READY && !l->conns[i].unit)
			return &l->conns[i];
	return NULL;
}

/* Connections are opened for what waits, one per waiting unit. */
static void open_more(struct lane *l)
{
	struct db *db = l->db;
	unsigned opening = 0, want = l->no == DB_WRITER ? 1 : l->n_queue;

	for (unsigned i = 0; i < l->n_conns; i++)
		opening += l->conns[i].state != PGCONN_OFF && l->conns[i].state != PGCONN_READY;
	for (unsigned i = 0; i < l->n_conns && opening < want; i++) {
		if (l->conns[i].state != PGCONN_OFF)
			continue;
		if (loop_now(db->conf.loop).mono_us < l->retry_at_us) {
			timer_set(l->timer, l->retry_at_us);
			return;
		}
		pgconn_open(&l->conns[i]);
		opening++;
	}
}

static void lane_pump(struct lane *l)
{
	struct pgconn *c;

	if (!l->db->is_started)
		return;
	while (!list_empty(&l->queue) && (c = idle_conn(l)) != NULL) {
		struct unit *u = LIST_ENTRY(l->queue.next, struct unit, node);

		list_del(&u->node);
		l->n_queue--;
		pgconn_send(c, u);
	}
	if (!list_empty(&l->queue) || (l->no == DB_WRITER && writer(l->db)->state == PGCONN_OFF))
		open_more(l);
	else if (l->idle_us_max && has_hope(l))
		timer_set(l->timer, loop_now(l->db->conf.loop).mono_us + l->idle_us_max);
}

static void lane_timer(void *arg)
{
	struct lane *l = arg;
	int64_t now = loop_now(l->db->conf.loop).mono_us;

	for (unsigned i = 0; l->idle_us_max && i < l->n_conns; i++) {
		struct pgconn *c = &l->conns[i];

		if (c->state == PGCONN_READY && !c->unit && now - c->idle_since_us >= l->idle_us_max && list_empty(&l->queue))
			pgconn_close(c);
	}
	lane_pump(l);
}

/* --- listener ------------------------------------------------------------------------------------------------------------ */

static void listen_up(struct pgconn *c)
{
	struct db *db = c->arg;

	db->listen_backoff_us = 0;
	db->notes_missed = true;
	tell_soon(db);
}

static void listen_down(struct pgconn *c, struct unit *u, bool was_up, const char *msg, const char *sqlstate)
{
	struct db *db = c->arg;

	assert(!u);
	note_error(db, msg, sqlstate);
	db->listen_backoff_us = was_up ? BACKOFF_US_MIN : MIN(MAX(db->listen_backoff_us * 2, BACKOFF_US_MIN), BACKOFF_US_MAX);
	timer_set(db->listen_timer, loop_now(db->conf.loop).mono_us + db->listen_backoff_us);
}

static void listen_notify(struct pgconn *c, struct str payload)
{
	struct db *db = c->arg;
	struct note *n;

	if (db->n_notes >= NOTES_MAX) {
		db->notes_missed = true;
		return;
	}
	n = xmalloc(sizeof(*n) + payload.n + 1);
	n->node = (struct list){NULL, NULL};
	n->n = payload.n;
	if (payload.n)
		memcpy(n->p, payload.p, payload.n);
	list_push_back(&db->notes, &n->node);
	db->n_notes++;
	tell_soon(db);
}

static void listen_timer(void *arg)
{
	struct db *db = arg;

	if (db->listen.state == PGCONN_OFF)
		pgconn_open(&db->listen);
}

/* --- struct db ----------------------------------------------------------------------------------------------------------- */

static void lane_init(struct db *db, int no, unsigned n_conns, int setup_id, int64_t idle_us_max)
{
	struct lane *l = &db->lanes[no];

	*l = (struct lane){.db = db, .no = no, .n_conns = n_conns, .idle_us_max = idle_us_max};
	list_init(&l->queue);
	l->timer = timer_new(db->conf.loop, lane_timer, l);
	for (unsigned i = 0; i < n_conns; i++) {
		struct pgconn *c = &l->conns[i];

		pgconn_init(c, db->conf.loop, &db->conf, setup_id);
		c->on_up = conn_up;
		c->on_down = conn_down;
		c->on_done = conn_done;
		c->arg = l;
	}
}

struct db *db_new(const struct db_conf *conf)
{
	struct db *db = xcalloc(1, sizeof(*db));

	db->conf = *conf;
	db->conf.url = db->url = xstrndup(str_c(conf->url));
	db->conf.app_name = db->app_name = xstrndup(str_c(conf->app_name ? conf->app_name : "hatchet"));
	if (!db->conf.queue_max)
		db->conf.queue_max = 10000;
	list_init(&db->done);
	list_init(&db->notes);
	lane_init(db, DB_WRITER, 1, SQL_SESSION_WRITER, 0);
	lane_init(db, DB_READ, MIN(MAX(conf->readers, 1), CONF_READERS_MAX), SQL_SESSION_READ, 60000000);
	lane_init(db, DB_WRITE, 1, SQL_SESSION_WRITE, 300000000);
	lane_init(db, DB_MAINT, 1, SQL_SESSION_MAINT, 2000000);
	pgconn_init(&db->listen, conf->loop, &db->conf, SQL_SESSION_LISTEN);
	db->listen.on_up = listen_up;
	db->listen.on_down = listen_down;
	db->listen.on_notify = listen_notify;
	db->listen.arg = db;
	db->listen_timer = timer_new(conf->loop, listen_timer, db);
	return db;
}

void db_start(struct db *db)
{
	db->is_started = true;
	for (int i = 0; i < DB_LANES; i++)
		lane_pump(&db->lanes[i]);
	pgconn_open(&db->listen);
}

void db_free(struct db *db)
{
	if (!db)
		return;
	defer_cancel(&db->defer);
	for (int i = 0; i < DB_LANES; i++) {
		for (unsigned k = 0; k < db->lanes[i].n_conns; k++)
			pgconn_fini(&db->lanes[i].conns[k]);
		timer_free(db->lanes[i].timer);
	}
	pgconn_fini(&db->listen);
	timer_free(db->listen_timer);
	LIST_FOREACH_SAFE(it, &db->notes)
		free(LIST_ENTRY(it, struct note, node));
	explicit_bzero(db->url, strlen(db->url));
	free(db->url);
	free(db->app_name);
	free(db);
}

struct loop *db_loop(const struct db *db)
{
	return db->conf.loop;
}

bool db_writer_is_up(const struct db *db)
{
	return db->lanes[DB_WRITER].conns[0].state == PGCONN_READY;
}

void db_submit(struct db *db, enum db_lane lane, struct db_query *q, struct op *op)
{
	struct lane *l = &db->lanes[lane];
	struct unit *u = &q->unit;

	assert(lane != DB_WRITER && !q->is_running);
	q->is_running = true;
	unit_init(u, lane);
	u->op = op;
	list_push_back(&u->queries, &q->node);
	u->n = 1;
	if (l->n_queue >= db->conf.queue_max) {
		unit_fail(u, ERR_EXHAUSTED, "", "too many requests wait for the database");
		finished(db, u);
		return;
	}
	list_push_back(&l->queue, &u->node);
	l->n_queue++;
	lane_pump(l);
}

/* --- transactions -------------------------------------------------------------------------------------------------------- */

struct db_tx *db_tx_new(struct db *db, struct arena *a)
{
	struct db_tx *tx = ARENA_NEW(a, struct db_tx);

	tx->db = db;
	unit_init(&tx->unit, DB_WRITER);
	return tx;
}

void db_tx_add(struct db_tx *tx, struct db_query *q)
{
	assert(!q->is_running);
	q->is_running = true;
	list_push_back(&tx->unit.queries, &q->node);
	tx->unit.n++;
}

void db_tx_submit(struct db_tx *tx, struct op *op)
{
	struct db *db = tx->db;
	struct pgconn *c = writer(db);

	tx->unit.op = op;
	assert(!c->unit);
	/* until its owner knows of a loss, a new connection is not for it */
	if (c->state != PGCONN_READY || db->writer_gen != db->told_gen) {
		unit_fail(&tx->unit, ERR_UNAVAILABLE, "08001", "the database is not available");
		finished(db, &tx->unit);
		return;
	}
	pgconn_send(c, &tx->unit);
}

const char *db_tx_sqlstate(const struct db_tx *tx)
{
	return tx->unit.sqlstate;
}
