/* What the tables know of a waiting task that no other read tells. */
#include "read_int.h"

static void ahead_done(struct op *op, const struct err *err)
{
	struct reading *r = op->arg;

	if (!err)
		*(int64_t *)r->ret = db_get_int(db_query_rows(r->q), 0, 0);
	op_done(r->user, err);
}

void read_tail_ahead(struct db *db, struct arena *a, int32_t tenant_no, int32_t action_no, int16_t rank, int64_t id, uint32_t limit,
		     int64_t *ret, struct op *op)
{
	struct reading *r = reading_new(a, SQL_TAIL_AHEAD, ahead_done, ret, op);

	db_bind_i32(r->q, tenant_no);
	db_bind_i32(r->q, action_no);
	db_bind_i16(r->q, rank);
	db_bind_i64(r->q, id);
	db_bind_i32(r->q, (int32_t)limit);
	db_submit(db, DB_READ, r->q, &r->op);
}
