/* Idempotency keys: who holds them. */
#include "read_int.h"

struct asking {
	struct idem_holder **p;
	uint32_t n;
};

static void holders_done(struct op *op, const struct err *err)
{
	struct reading *r = op->arg;
	const struct db_rows *rows = db_query_rows(r->q);
	const struct asking *k = r->ret;

	for (uint32_t i = 0; !err && i < k->n; i++)
		k->p[i]->run_id = 0;
	for (unsigned i = 0; !err && i < db_rows_n(rows); i++) {
		struct idem_holder *h = k->p[db_get_int(rows, i, 0) - 1];

		h->run_id = db_get_int(rows, i, 1);
		h->expires_at = db_get_time(rows, i, 2);
	}
	op_done(r->user, err);
}

void read_idem_holders(struct db *db, struct arena *a, struct idem_holder **p, uint32_t n, struct op *op)
{
	struct asking *k = ARENA_NEW(a, struct asking);
	struct reading *r = reading_new(a, SQL_IDEMPOTENCY_HOLDERS, holders_done, k, op);
	struct db_col *tenants = reading_col(r, DB_INT4), *keys = reading_col(r, DB_TEXT);

	*k = (struct asking){.p = p, .n = n};
	for (uint32_t i = 0; i < n; i++) {
		db_col_int(tenants, p[i]->tenant_no);
		db_col_text(keys, p[i]->key.n ? p[i]->key : STR(""));
	}
	db_bind_col(r->q, tenants);
	db_bind_col(r->q, keys);
	db_submit(db, DB_READ, r->q, &r->op);
}
