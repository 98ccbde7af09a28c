/* One connection to Postgres on the loop: resolve, connect, first statement, then units in pipeline mode.
 *
 * Invariant: at most one unit in flight; `expects` says which answers are still to come, in order.  A statement is prepared
 * in the same segment as its first use; only the server's yes counts, so a failed segment leaves no false memory of it.
 * The socket may change while connecting: it is asked for after every call of libpq.
 * Does not retry and does not decide what a loss means: that is the owner's (lanes.c). */
#include "db_int.h"

#include <stdio.h>
#include <stdlib.h>

#define CONNECT_US_MAX 10000000

/* Names are resolved on the offload pool; the job outlives the connection if it must. */
struct resolve {
	struct pgconn *c;	/* NULL: nobody waits any more */
	struct op op;
	char *url, *app_name;
	struct conninfo ci;
	struct err err;
	bool ok;
};

static void lost(struct pgconn *c, const char *msg);

void pgconn_init(struct pgconn *c, struct loop *loop, const struct db_conf *conf, int setup_id)
{
	*c = (struct pgconn){.loop = loop, .conf = conf, .setup_id = setup_id};
}

static void close_socket(struct pgconn *c)
{
	if (c->resolve) {
		c->resolve->c = NULL;
		c->resolve = NULL;
	}
	if (c->watch)
		watch_set(c->watch, -1, 0);
	if (c->timer)
		timer_clear(c->timer);
	if (c->pg)
		PQfinish(c->pg);
	c->pg = NULL;
	c->state = PGCONN_OFF;
	vec_clear(&c->expects);
	c->at = 0;
	c->has_result = false;
	memset(c->prepared, 0, sizeof(c->prepared));
}

void pgconn_close(struct pgconn *c)
{
	assert(!c->unit);
	close_socket(c);
}

void pgconn_fini(struct pgconn *c)
{
	c->unit = NULL;
	close_socket(c);
	if (c->watch)
		watch_free(c->watch);
	if (c->timer)
		timer_free(c->timer);
	c->watch = NULL;
	c->timer = NULL;
	vec_fini(&c->expects);
}

static void lost_as(struct pgconn *c, const char *msg, const char *sqlstate)
{
	struct unit *u = c->unit;
	bool was_up = c->state == PGCONN_READY;
	char copy[300], state[6] = "";

	/* @msg may belong to what is closed now */
	(void)snprintf(copy, sizeof(copy), "%s", msg ? msg : "");
	(void)snprintf(state, sizeof(state), "%s", sqlstate ? sqlstate : "");
	c->unit = NULL;
	close_socket(c);
	c->on_down(c, u, was_up, copy, state);
}

static void lost(struct pgconn *c, const char *msg)
{
	lost_as(c, msg, NULL);
}

static void wait_for(struct pgconn *c, int events)
{
	watch_set(c->watch, PQsocket(c->pg), events);
}

/* --- units --------------------------------------------------------------------------------------------------------------- */

static void flush(struct pgconn *c)
{
	int rc = PQflush(c->pg);

	if (rc < 0)
		lost(c, PQerrorMessage(c->pg));
	else
		wait_for(c, rc ? WATCH_READ | WATCH_WRITE : WATCH_READ);
}

static bool send_query(struct pgconn *c, struct db_query *q)
{
	static const int binary[64] = {
		1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
		1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
	};
	const struct sql_stmt *s = &sql_stmts[q->sql_id];

	assert(q->n == q->cap && q->n <= (int)ARRAY_LEN(binary));
	if (q->sql_id == SQL_NONE) {
		if (!PQsendQueryParams(c->pg, q->text, 0, NULL, NULL, NULL, NULL, 1))
			return false;
	} else if (s->plan_each) {
		if (!PQsendQueryParams(c->pg, s->text, q->n, NULL, q->values, q->lengths, binary, 1))
			return false;
	} else {
		if (!c->prepared[q->sql_id] && !c->asked[q->sql_id]) {
			if (!PQsendPrepare(c->pg, s->name, s->text, s->types ? s->n_params : 0, s->types))
				return false;
			c->asked[q->sql_id] = 1;
			vec_push(&c->expects, ((struct expect){EXPECT_PREPARE, q->sql_id, q}));
		}
		if (!PQsendQueryPrepared(c->pg, s->name, q->n, q->values, q->lengths, binary, 1))
			return false;
	}
	vec_push(&c->expects, ((struct expect){EXPECT_QUERY, q->sql_id, q}));
	return true;
}

void pgconn_send(struct pgconn *c, struct unit *u)
{
	assert(c->state == PGCONN_READY && !c->unit);
	c->unit = u;
	u->is_sent = false;
	vec_clear(&c->expects);
	c->at = 0;
	c->has_result = false;
	memset(c->asked, 0, sizeof(c->asked));
	/* libpq writes early when its buffer fills, but not the Sync, so until then nothing can commit */
	LIST_FOREACH(it, &u->queries) {
		if (!send_query(c, LIST_ENTRY(it, struct db_query, node))) {
			lost(c, PQerrorMessage(c->pg));
			return;
		}
	}
	vec_push(&c->expects, ((struct expect){EXPECT_SYNC, 0, NULL}));
	u->is_sent = true;
	if (!PQpipelineSync(c->pg)) {
		lost(c, PQerrorMessage(c->pg));
		return;
	}
	flush(c);
}

/* false: the connection is gone */
static bool take_error(struct pgconn *c, PGresult *res, struct db_query *q)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);
	char copy[6] = "", msg[300];

	if (state && !(severity && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0))) {
		unit_refused(c->unit, q, res);
		PQclear(res);
		return true;
	}
	(void)snprintf(copy, sizeof(copy), "%s", state ? state : "");
	(void)snprintf(msg, sizeof(msg), "%s", PQresultErrorMessage(res));
	PQclear(res);
	lost_as(c, msg, copy);
	return false;
}

/* false: stop reading (connection gone, or the unit is complete and its owner was told) */
static bool take_result(struct pgconn *c, PGresult *res)
{
	struct expect *e = &c->expects.p[c->at];
	struct unit *u = c->unit;

	switch ((int)PQresultStatus(res)) {	/* an int: newer libpq has more values */
	case PGRES_PIPELINE_SYNC:
		PQclear(res);
		assert(e->kind == EXPECT_SYNC);
		c->unit = NULL;
		c->idle_since_us = loop_now(c->loop).mono_us;
		c->on_done(c, u);
		return false;
	case PGRES_COMMAND_OK:
	case PGRES_TUPLES_OK:
	case PGRES_EMPTY_QUERY:
		if (e->kind == EXPECT_PREPARE) {
			c->prepared[e->sql_id] = 1;
			PQclear(res);
		} else {
			query_set_result(e->q, res);
		}
		break;
	case PGRES_PIPELINE_ABORTED:
		PQclear(res);
		break;
	case PGRES_FATAL_ERROR:
	case PGRES_BAD_RESPONSE:
	case PGRES_NONFATAL_ERROR:
	case PGRES_COPY_IN:
	case PGRES_COPY_OUT:
	case PGRES_COPY_BOTH:
	case PGRES_SINGLE_TUPLE:
	default:
		if (!take_error(c, res, e->q))
			return false;
		break;
	}
	c->has_result = true;
	return true;
}

static void read_results(struct pgconn *c)
{
	unsigned idle = 0;

	while (c->unit && !PQisBusy(c->pg)) {
		PGresult *res = PQgetResult(c->pg);

		if (!res) {
			/* the end mark of one query's results; two at once: nothing there yet */
			if (c->has_result)
				c->at++;
			else if (++idle > 1)
				return;
			c->has_result = false;
			continue;
		}
		idle = 0;
		if (!take_result(c, res))
			return;
	}
}

static void read_notifies(struct pgconn *c)
{
	PGnotify *n;

	while (c->pg && (n = PQnotifies(c->pg)) != NULL) {
		if (c->on_notify)
			c->on_notify(c, str_c(n->extra));
		PQfreemem(n);
	}
}

static void ready_io(struct pgconn *c, int events)
{
	bool alive = true;
	char msg[300] = "";

	if (events & WATCH_READ) {
		alive = PQconsumeInput(c->pg) != 0;
		if (!alive)
			(void)snprintf(msg, sizeof(msg), "%s", PQerrorMessage(c->pg));
		/* what had arrived before a loss still counts */
		read_results(c);
		if (c->state != PGCONN_READY)
			return;
		read_notifies(c);
	}
	if (!alive || PQstatus(c->pg) == CONNECTION_BAD)
		lost(c, msg);
	else if (c->state == PGCONN_READY)
		flush(c);
}

/* --- connecting ---------------------------------------------------------------------------------------------------------- */

static void setup_start(struct pgconn *c)
{
	c->state = PGCONN_SETUP;
	if (PQsetnonblocking(c->pg, 1) != 0 || !PQsendQuery(c->pg, sql_stmts[c->setup_id].text)) {
		lost(c, PQerrorMessage(c->pg));
		return;
	}
	flush(c);
}

static void setup_io(struct pgconn *c)
{
	if (!PQconsumeInput(c->pg)) {
		lost(c, PQerrorMessage(c->pg));
		return;
	}
	while (!PQisBusy(c->pg)) {
		PGresult *res = PQgetResult(c->pg);
		ExecStatusType st = PQresultStatus(res);

		if (!res) {
			if (!PQenterPipelineMode(c->pg)) {
				lost(c, PQerrorMessage(c->pg));
				return;
			}
			timer_clear(c->timer);
			c->state = PGCONN_READY;
			c->idle_since_us = loop_now(c->loop).mono_us;
			wait_for(c, WATCH_READ);
			c->on_up(c);
			return;
		}
		PQclear(res);
		if (st != PGRES_COMMAND_OK && st != PGRES_TUPLES_OK) {
			lost(c, PQerrorMessage(c->pg));
			return;
		}
	}
	flush(c);
}

static void connect_poll(struct pgconn *c)
{
	switch (PQconnectPoll(c->pg)) {
	case PGRES_POLLING_READING:
		wait_for(c, WATCH_READ);
		break;
	case PGRES_POLLING_WRITING:
		wait_for(c, WATCH_WRITE);
		break;
	case PGRES_POLLING_OK:
		setup_start(c);
		break;
	case PGRES_POLLING_FAILED:
	case PGRES_POLLING_ACTIVE:
		lost(c, PQerrorMessage(c->pg));
		break;
	}
}

static void on_io(void *arg, int events)
{
	struct pgconn *c = arg;

	switch (c->state) {
	case PGCONN_CONNECTING:
		connect_poll(c);
		break;
	case PGCONN_SETUP:
		setup_io(c);
		break;
	case PGCONN_READY:
		ready_io(c, events);
		break;
	case PGCONN_OFF:
	case PGCONN_RESOLVING:
		break;
	}
}

static void on_timeout(void *arg)
{
	lost(arg, "no answer within 10 s");
}

static void no_notice(void *arg, const char *msg)
{
	(void)arg;
	(void)msg;
}

static void connect_with(struct pgconn *c, struct conninfo *ci)
{
	const char *keys[ARRAY_LEN(ci->keys) + 1], *values[ARRAY_LEN(ci->keys) + 1];

	for (unsigned i = 0; i < ci->n; i++) {
		keys[i] = ci->keys[i];
		values[i] = ci->values[i];
	}
	keys[ci->n] = values[ci->n] = NULL;
	c->pg = PQconnectStartParams(keys, values, 0);
	c->state = PGCONN_CONNECTING;
	if (!c->pg || PQstatus(c->pg) == CONNECTION_BAD) {
		lost(c, c->pg ? PQerrorMessage(c->pg) : "out of memory");
		return;
	}
	PQsetErrorVerbosity(c->pg, PQERRORS_VERBOSE);	/* so that the text carries the state */
	PQsetNoticeProcessor(c->pg, no_notice, NULL);
	wait_for(c, WATCH_WRITE);
}

static void resolve_work(void *arg)
{
	struct resolve *r = arg;

	r->ok = conninfo_make(r->url, r->app_name, &r->ci, &r->err);
}

static void resolve_done(struct op *op, const struct err *err)
{
	struct resolve *r = op->arg;
	struct pgconn *c = r->c;

	if (c) {
		c->resolve = NULL;
		if (r->ok)
			connect_with(c, &r->ci);
		else
			lost(c, r->err.msg);
	}
	if (r->ok)
		conninfo_fini(&r->ci);
	explicit_bzero(r->url, strlen(r->url));
	free(r->url);
	free(r->app_name);
	free(r);
}

static void start_resolved(void *arg)
{
	struct pgconn *c = arg;
	struct conninfo ci;
	struct err err;

	if (!conninfo_make(c->conf->url, c->conf->app_name, &ci, &err)) {
		lost(c, err.msg);
		return;
	}
	connect_with(c, &ci);
	conninfo_fini(&ci);
}

/* Even an attempt that fails at once is told from the timer, not from inside the call. */
static void on_timer(void *arg)
{
	struct pgconn *c = arg;
	struct resolve *r;

	if (c->state != PGCONN_RESOLVING || c->resolve) {
		on_timeout(c);
		return;
	}
	timer_set(c->timer, loop_now(c->loop).mono_us + CONNECT_US_MAX);
	if (!conninfo_has_names(c->conf->url)) {
		start_resolved(c);
		return;
	}
	r = xcalloc(1, sizeof(*r));
	*r = (struct resolve){.c = c, .op = {resolve_done, r}, .url = xstrndup(str_c(c->conf->url)),
			      .app_name = xstrndup(str_c(c->conf->app_name))};
	c->resolve = r;
	if (!loop_offload(c->loop, resolve_work, r, &r->op)) {
		c->resolve = NULL;
		free(r->url);
		free(r->app_name);
		free(r);
		lost(c, "too many names being resolved");
	}
}

void pgconn_open(struct pgconn *c)
{
	assert(c->state == PGCONN_OFF && !c->unit);
	if (!c->watch)
		c->watch = watch_new(c->loop, on_io, c);
	if (!c->timer)
		c->timer = timer_new(c->loop, on_timer, c);
	c->state = PGCONN_RESOLVING;
	timer_set(c->timer, 0);
}
