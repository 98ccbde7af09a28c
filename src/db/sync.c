/* The blocking connection of start-up, command line and tests: text results, errors in one clear sentence.
 * Never used once the loop has work to do. */
#include "db_int.h"

#include <poll.h>
#include <stdlib.h>

struct db_sync {
	PGconn *pg;
	char *url;
};
#define OPEN_MS_MAX 5000

static void no_notice(void *arg, const char *msg)
{
	(void)arg;
	(void)msg;
}

/* by hand instead of PQconnectdb: only so can the verbosity, which makes a refusal carry its state, be set in time */
static bool connect_wait(PGconn *pg)
{
	PostgresPollingStatusType st = PGRES_POLLING_WRITING;

	while (st != PGRES_POLLING_OK) {
		struct pollfd p = {.fd = PQsocket(pg), .events = st == PGRES_POLLING_READING ? POLLIN : POLLOUT};

		if (st == PGRES_POLLING_FAILED || poll(&p, 1, OPEN_MS_MAX) <= 0)
			return false;
		st = PQconnectPoll(pg);
	}
	return true;
}

struct db_sync *db_sync_open(const char *url, struct err *err)
{
	const char *keys[65], *values[65];
	struct conninfo ci;
	struct db_sync *c;
	PGconn *pg;

	if (!conninfo_make(url, "hatchet", &ci, err))
		return NULL;
	for (unsigned i = 0; i < ci.n; i++) {
		keys[i] = ci.keys[i];
		values[i] = ci.values[i];
	}
	keys[ci.n] = values[ci.n] = NULL;
	pg = PQconnectStartParams(keys, values, 0);
	conninfo_fini(&ci);
	if (!pg || PQstatus(pg) == CONNECTION_BAD) {
		conninfo_explain(pg ? PQerrorMessage(pg) : "out of memory", NULL, err);
		PQfinish(pg);
		return NULL;
	}
	PQsetErrorVerbosity(pg, PQERRORS_VERBOSE);
	PQsetNoticeProcessor(pg, no_notice, NULL);
	if (!connect_wait(pg)) {
		conninfo_explain(PQerrorMessage(pg), NULL, err);
		PQfinish(pg);
		return NULL;
	}
	c = xcalloc(1, sizeof(*c));
	c->pg = pg;
	c->url = xstrndup(str_c(url));
	return c;
}

void db_sync_close(struct db_sync *c)
{
	if (!c)
		return;
	PQfinish(c->pg);
	explicit_bzero(c->url, strlen(c->url));
	free(c->url);
	free(c);
}

int db_sync_version(struct db_sync *c)
{
	return PQserverVersion(c->pg);
}

/* Start-up and command line only, so the server's words may be shown to whoever runs it. */
static bool refused(struct db_sync *c, const PGresult *res, struct err *err)
{
	const char *state = res ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
	const char *text = res ? PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY) : NULL;

	if (!state || !text)
		return err_set(err, ERR_UNAVAILABLE, "the connection to the database was lost");
	return err_set(err, sqlstate_code(state), "the database answered: %s (%s)", text, state);
}

bool db_sync_exec(struct db_sync *c, const char *sql, struct err *err)
{
	PGresult *res = PQexec(c->pg, sql);
	ExecStatusType st = PQresultStatus(res);
	bool ok = st == PGRES_COMMAND_OK || st == PGRES_TUPLES_OK;

	if (!ok)
		refused(c, res, err);
	PQclear(res);
	return ok;
}

static void clear_rows(void *arg)
{
	PQclear(((struct db_rows *)arg)->res);
}

bool db_sync_query(struct db_sync *c, struct arena *a, const char *sql, const char *const *params, unsigned n_params,
		   const struct db_rows **ret_rows, struct err *err)
{
	PGresult *res = PQexecParams(c->pg, sql, (int)n_params, NULL, params, NULL, NULL, 0);
	ExecStatusType st = PQresultStatus(res);
	struct db_rows *rows;

	if (st != PGRES_COMMAND_OK && st != PGRES_TUPLES_OK) {
		refused(c, res, err);
		PQclear(res);
		return false;
	}
	rows = ARENA_NEW(a, struct db_rows);
	rows->res = res;
	arena_own(a, rows, clear_rows);
	if (ret_rows)
		*ret_rows = rows;
	return true;
}

/* What the server says when a COPY is over; @ok: whether we think it went well. */
static bool copy_end(struct db_sync *c, bool ok, int64_t *ret_rows, struct err *err)
{
	PGresult *res;

	while ((res = PQgetResult(c->pg))) {
		if (PQresultStatus(res) == PGRES_COMMAND_OK)
			ok = str_to_i64(str_c(PQcmdTuples(res)), ret_rows) && ok;
		else if (ok)
			ok = refused(c, res, err);
		PQclear(res);
	}
	return ok;
}

static bool copy_begin(struct db_sync *c, const char *sql, ExecStatusType want, struct err *err)
{
	PGresult *res = PQexec(c->pg, sql);
	bool ok = PQresultStatus(res) == want || refused(c, res, err);

	PQclear(res);
	return ok;
}

bool db_sync_copy_out(struct db_sync *c, const char *sql, db_take_fn *take, void *arg, int64_t *ret_rows, struct err *err)
{
	bool ok = true;
	char *bytes;
	int n;

	*ret_rows = 0;
	if (!copy_begin(c, sql, PGRES_COPY_OUT, err))
		return false;
	while ((n = PQgetCopyData(c->pg, &bytes, 0)) > 0) {	/* all of it, or the connection is of no more use */
		ok = ok && take(arg, (struct str){bytes, (size_t)n}, err);
		PQfreemem(bytes);
	}
	return copy_end(c, ok, ret_rows, err);
}

bool db_sync_copy_in(struct db_sync *c, const char *sql, db_give_fn *give, void *arg, int64_t *ret_rows, struct err *err)
{
	struct str bytes = STR("");
	bool given = true, sent = true;

	*ret_rows = 0;
	if (!copy_begin(c, sql, PGRES_COPY_IN, err))
		return false;
	while (sent && (given = give(arg, &bytes, err)) && bytes.n > 0)
		sent = PQputCopyData(c->pg, bytes.p, (int)bytes.n) == 1;
	(void)PQputCopyEnd(c->pg, given ? NULL : "given up by the client");
	return copy_end(c, given, ret_rows, err) && (sent || err_set(err, ERR_UNAVAILABLE, "the connection to the database was lost"));
}

static int backend_pid(struct db_sync *c)
{
	PGresult *res = PQexec(c->pg, sql_stmts[SQL_BACKEND_PID].text);
	int pid = PQresultStatus(res) == PGRES_TUPLES_OK ? (int)strtol(PQgetvalue(res, 0, 0), NULL, 10) : 0;

	PQclear(res);
	return pid;
}

/* A server's own answer to the start carries its process number; a pooler makes one up.  If there is one: a second client
 * that begins a transaction takes the server connection the first one has just used, unless it belongs to a session. */
bool db_sync_is_pooled(struct db_sync *c, bool *ret, struct err *err)
{
	int pid = backend_pid(c), second_pid;
	struct db_sync *other;

	if (!pid)
		return err_set(err, ERR_UNAVAILABLE, "the connection to the database was lost");
	*ret = false;
	if (pid == PQbackendPID(c->pg))
		return true;
	other = db_sync_open(c->url, err);
	if (!other)
		return false;
	if (db_sync_exec(other, "begin", err)) {
		second_pid = backend_pid(other);
		*ret = second_pid == pid || backend_pid(c) != pid;
	}
	db_sync_close(other);
	return true;
}
