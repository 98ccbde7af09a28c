/* Requests of SQL clients: one statement a call, results on the caller's arena.
 *
 * Invariant: whether a request is taken, refused or still waits is decided by the delete of its row in hatchet.inbox, which
 * happens once, whoever does it; everything here may be repeated.
 * Decides nothing itself: what to take, and why to refuse, is the caller's. */
#include "store/inbox.h"

#include "model/id.h"
#include "sql.h"

/* A request may carry the time of another clock than the ids of runs: by this much an id may be older than its request. */
#define CLOCKS_APART_MS 3600000LL

struct asking {
	struct arena *a;
	struct db_query *q;
	struct op op, *user;
	void *ret;
};

static struct asking *asking_new(struct arena *a, int sql_id, op_fn *fn, void *ret, struct op *user)
{
	struct asking *k = ARENA_NEW(a, struct asking);

	*k = (struct asking){.a = a, .q = db_query_new(a, sql_id), .op = {fn, k}, .user = user, .ret = ret};
	return k;
}

static void free_col(void *col)
{
	db_col_free(col);
}

static struct db_col *col_on(struct asking *k, enum db_type type)
{
	struct db_col *c = db_col_new(type);

	arena_own(k->a, c, free_col);
	return c;
}

static void done(struct op *op, const struct err *err)
{
	op_done(((struct asking *)op->arg)->user, err);
}

static enum err_code code_of(int64_t grpc_status)
{
	int code = ERR_OK;

	while (code < ERR_UNCERTAIN && err_grpc_status((enum err_code)code) != (unsigned)grpc_status)
		code++;
	return code == ERR_UNCERTAIN ? ERR_INTERNAL : (enum err_code)code;
}

static void tenants_done(struct op *op, const struct err *err)
{
	struct asking *k = op->arg;
	struct read_tenants *ret = k->ret;

	if (!err) {
		const struct db_rows *rows = db_query_rows(k->q);

		ret->n = db_rows_n(rows);
		ret->p = ARENA_ARRAY(k->a, int32_t, ret->n + 1);
		for (unsigned i = 0; i < ret->n; i++)
			ret->p[i] = (int32_t)db_get_int(rows, i, 0);
	}
	op_done(k->user, err);
}

void read_inbox_tenants(struct db *db, struct arena *a, struct read_tenants *ret, struct op *op)
{
	struct asking *k = asking_new(a, SQL_INBOX_TENANTS, tenants_done, ret, op);

	db_submit(db, DB_READ, k->q, &k->op);
}

static void inbox_done(struct op *op, const struct err *err)
{
	struct asking *k = op->arg;
	struct read_inbox *ret = k->ret;

	if (!err) {
		const struct db_rows *rows = db_query_rows(k->q);

		ret->n = db_rows_n(rows);
		ret->p = ARENA_ARRAY(k->a, struct inbox_row, ret->n + 1);
		for (unsigned i = 0; i < ret->n; i++)
			ret->p[i] = (struct inbox_row){.tenant_no = (int32_t)db_get_int(rows, i, 0), .id = db_get_uuid(rows, i, 1),
				.priority = (int16_t)db_get_int(rows, i, 2), .workflow = db_get_text(rows, i, 3),
				.input = db_get_text(rows, i, 4), .metadata = db_get_text(rows, i, 5)};
		ret->is_cut = ret->n && db_get_int(rows, 0, 6) > ret->n;
	}
	op_done(k->user, err);
}

void read_inbox(struct db *db, struct arena *a, const struct inbox_from *from, uint32_t n, uint32_t limit, uint64_t bytes_max,
		struct read_inbox *ret, struct op *op)
{
	struct asking *k = asking_new(a, SQL_INBOX_READ, inbox_done, ret, op);
	struct db_col *tenants = col_on(k, DB_INT4), *lows = col_on(k, DB_UUID);

	for (uint32_t i = 0; i < n; i++) {
		db_col_int(tenants, from[i].tenant_no);
		db_col_uuid(lows, &from[i].low);
	}
	db_bind_col(k->q, tenants);
	db_bind_col(k->q, lows);
	db_bind_i32(k->q, (int32_t)limit);
	db_bind_i64(k->q, (int64_t)bytes_max);
	db_submit(db, DB_READ, k->q, &k->op);
}

void inbox_refuse(struct db *db, struct arena *a, const struct inbox_refusal *p, uint32_t n, struct op *op)
{
	struct asking *k = asking_new(a, SQL_INBOX_REFUSE, done, NULL, op);
	struct db_col *tenants = col_on(k, DB_INT4), *ids = col_on(k, DB_UUID), *runs = col_on(k, DB_INT8), *codes = col_on(k, DB_INT2),
		      *texts = col_on(k, DB_TEXT);

	for (uint32_t i = 0; i < n; i++) {
		db_col_int(tenants, p[i].tenant_no);
		db_col_uuid(ids, &p[i].id);
		db_col_int(runs, p[i].run_id);
		db_col_int(codes, err_grpc_status(p[i].code));
		db_col_text(texts, p[i].why);
	}
	db_bind_col(k->q, tenants);
	db_bind_col(k->q, ids);
	db_bind_col(k->q, runs);
	db_bind_col(k->q, codes);
	db_bind_col(k->q, texts);
	db_submit(db, DB_WRITE, k->q, &k->op);
}

static void requests_done(struct op *op, const struct err *err)
{
	struct asking *k = op->arg;
	struct read_requests *ret = k->ret;

	if (!err) {
		const struct db_rows *rows = db_query_rows(k->q);

		ret->n = db_rows_n(rows);
		ret->p = ARENA_ARRAY(k->a, struct request_view, ret->n + 1);
		for (unsigned i = 0; i < ret->n; i++)
			ret->p[i] = (struct request_view){.id = db_get_uuid(rows, i, 0), .run_id = db_get_int(rows, i, 1),
				.state = db_is_null(rows, i, 1) ? REQUEST_WAITS : db_is_null(rows, i, 3) ? REQUEST_TAKEN : REQUEST_REFUSED,
				.priority = (int16_t)db_get_int(rows, i, 2), .code = code_of(db_get_int(rows, i, 3)),
				.why = db_get_text(rows, i, 4), .workflow = db_get_text(rows, i, 5), .input = db_get_text(rows, i, 6),
				.metadata = db_get_text(rows, i, 7)};
	}
	op_done(k->user, err);
}

void read_requests(struct db *db, struct arena *a, int32_t tenant_no, const struct uuid *ids, uint32_t n, struct read_requests *ret,
		   struct op *op)
{
	struct asking *k = asking_new(a, SQL_REQUESTS, requests_done, ret, op);
	struct db_col *col = col_on(k, DB_UUID);
	int64_t oldest = ID_EPOCH_MS + (1LL << 41) - 1;

	for (uint32_t i = 0; i < n; i++) {
		db_col_uuid(col, &ids[i]);
		oldest = MIN(oldest, request_unix_ms(&ids[i]));
	}
	db_bind_i32(k->q, tenant_no);
	db_bind_col(k->q, col);
	db_bind_i64(k->q, oldest - CLOCKS_APART_MS <= ID_EPOCH_MS ? 0 : id_make(oldest - CLOCKS_APART_MS, 0, 0));
	db_submit(db, DB_READ, k->q, &k->op);
}

void inbox_bytes(struct db *db, struct arena *a, uint64_t bytes, struct op *op)
{
	struct asking *k = asking_new(a, SQL_INBOX_BYTES, done, NULL, op);

	db_bind_i64(k->q, (int64_t)bytes);
	db_submit(db, DB_WRITE, k->q, &k->op);
}
