/* Queries and what becomes of them: parameters, results, the code of a refusal.
 * A query lives on its arena; so do its results, cleared when the arena ends.
 * What the server says in words is logged here, once: it may hold data or SQL and so never enters struct err. */
#include "base/log.h"
#include "db_int.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>

static struct db_query *query_new(struct arena *a, int sql_id, const char *text, int n_params)
{
	struct db_query *q = ARENA_NEW(a, struct db_query);

	q->a = a;
	q->sql_id = sql_id;
	q->text = text;
	q->cap = n_params;
	q->values = ARENA_ARRAY(a, const char *, (size_t)n_params + 1);
	q->lengths = ARENA_ARRAY(a, int, (size_t)n_params + 1);
	return q;
}

struct db_query *db_query_new(struct arena *a, int sql_id)
{
	assert(sql_id > SQL_NONE && sql_id < SQL_IDS);
	return query_new(a, sql_id, NULL, sql_stmts[sql_id].n_params);
}

struct db_query *db_query_text(struct arena *a, struct str command)
{
	return query_new(a, SQL_NONE, arena_strz(a, command), 0);
}

static void bind(struct db_query *q, const void *p, size_t n)
{
	assert(q->n < q->cap && n <= INT32_MAX);
	q->values[q->n] = p;
	q->lengths[q->n++] = (int)n;
}

static void bind_copy(struct db_query *q, const void *p, size_t n)
{
	void *copy = arena_alloc(q->a, n);

	memcpy(copy, p, n);
	bind(q, copy, n);
}

void db_bind_null(struct db_query *q)
{
	bind(q, NULL, 0);
}

void db_bind_bool(struct db_query *q, bool v)
{
	bind(q, v ? "\1" : "\0", 1);
}

void db_bind_i16(struct db_query *q, int16_t v)
{
	uint16_t be = htobe16((uint16_t)v);

	bind_copy(q, &be, sizeof(be));
}

void db_bind_i32(struct db_query *q, int32_t v)
{
	uint32_t be = htobe32((uint32_t)v);

	bind_copy(q, &be, sizeof(be));
}

void db_bind_i64(struct db_query *q, int64_t v)
{
	uint64_t be = htobe64((uint64_t)v);

	bind_copy(q, &be, sizeof(be));
}

void db_bind_text(struct db_query *q, struct str v)
{
	bind(q, v.p, v.n);
}

void db_bind_raw(struct db_query *q, struct str binary)
{
	bind(q, binary.p, binary.n);
}

void db_bind_uuid(struct db_query *q, const struct uuid *v)
{
	bind_copy(q, v->b, sizeof(v->b));
}

void db_bind_time(struct db_query *q, int64_t wall_us)
{
	if (wall_us == INT64_MIN)
		db_bind_null(q);
	else
		db_bind_i64(q, wall_us - PG_EPOCH_US);
}

const struct db_rows *db_query_rows(const struct db_query *q)
{
	return &q->rows;
}

static void clear_result(void *res)
{
	PQclear(res);
}

void query_set_result(struct db_query *q, PGresult *res)
{
	q->rows.res = res;
	arena_own(q->a, res, clear_result);
}

void unit_init(struct unit *u, int lane)
{
	*u = (struct unit){.lane = lane};
	list_init(&u->queries);
}

void unit_fail(struct unit *u, enum err_code code, const char *sqlstate, const char *msg)
{
	if (u->has_err)
		return;
	u->has_err = true;
	(void)snprintf(u->sqlstate, sizeof(u->sqlstate), "%s", sqlstate ? sqlstate : "");
	err_set(&u->err, code, "%s", msg);
}

enum err_code sqlstate_code(const char *s)
{
	static const struct {
		const char *prefix;
		enum err_code code;
	} t[] = {
		{"23505", ERR_EXISTS},	    {"22", ERR_INVALID},      {"23", ERR_INVALID},
		{"54", ERR_INVALID},	    {"57014", ERR_DEADLINE},  {"55P03", ERR_DEADLINE},
		{"53", ERR_EXHAUSTED},	    {"25006", ERR_EXHAUSTED}, {"40", ERR_ABORTED},
		{"57P", ERR_UNAVAILABLE},   {"08", ERR_UNAVAILABLE},
	};

	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		if (strncmp(s, t[i].prefix, strlen(t[i].prefix)) == 0)
			return t[i].code;
	return ERR_INTERNAL;
}

static const char *code_text(enum err_code code, const char *sqlstate)
{
	if (strcmp(sqlstate, "53100") == 0)
		return "the database's disk is full";
	if (strcmp(sqlstate, "25006") == 0)
		return "the database is read-only";
	if (strcmp(sqlstate, "53300") == 0)
		return "the database has too many connections";
	if (code == ERR_EXISTS)
		return "it exists already";
	if (code == ERR_INVALID)
		return "the database refused the data";
	if (code == ERR_DEADLINE)
		return "the database took too long";
	if (code == ERR_EXHAUSTED)
		return "the database is out of resources";
	if (code == ERR_ABORTED)
		return "the database asks to try again";
	if (code == ERR_UNAVAILABLE)
		return "the database is not available";
	return "the database reported an error";
}

void unit_refused(struct unit *u, const struct db_query *q, const PGresult *res)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	enum err_code code = sqlstate_code(state ? state : "");

	if (u->has_err)
		return;
	unit_fail(u, code, state, code_text(code, state ? state : ""));
	/* The only place that knows the server's words.  A lost fence is the owner's to tell. */
	if (code == ERR_INTERNAL || code == ERR_EXHAUSTED || code == ERR_INVALID)
		log_warn("database error", F_C("statement", q && q->sql_id ? sql_stmts[q->sql_id].name : "command"),
			 F_C("sqlstate", state), F_C("error", PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY)));
}
