/* Columns of values in Postgres' binary array form, built as they come, sent without another copy.
 * Invariant: the buffer always starts with a header; count and null flag are written into it when the column is bound. */
#include "db_int.h"

#include <stdlib.h>

struct db_col {
	struct strb b;
	enum db_type type;
	uint32_t n;
	bool has_null;
};
#define HEADER 20
#define COL_BYTES_MAX (1u << 29)	/* half of what one Postgres value may be; callers stop long before */

static const uint32_t oids[] = {
	[DB_INT2] = 21, [DB_INT4] = 23, [DB_INT8] = 20, [DB_TEXT] = 25, [DB_BYTEA] = 17,
	[DB_TIME] = 1184, [DB_UUID] = 2950, [DB_JSONB] = 3802, [DB_BOOL] = 16,
};

static void put_header(struct db_col *c)
{
	strb_be32(&c->b, 1);
	strb_be32(&c->b, 0);
	strb_be32(&c->b, oids[c->type]);
	strb_be32(&c->b, 0);
	strb_be32(&c->b, 1);
}

struct db_col *db_col_new(enum db_type type)
{
	struct db_col *c = xcalloc(1, sizeof(*c));

	c->type = type;
	strb_init(&c->b, COL_BYTES_MAX);
	put_header(c);
	return c;
}

void db_col_free(struct db_col *c)
{
	if (!c)
		return;
	strb_fini(&c->b);
	free(c);
}

void db_col_reset(struct db_col *c)
{
	strb_reset(&c->b);
	put_header(c);
	c->n = 0;
	c->has_null = false;
}

size_t db_col_n(const struct db_col *c)
{
	return c->n;
}

void db_col_null(struct db_col *c)
{
	strb_be32(&c->b, UINT32_MAX);
	c->has_null = true;
	c->n++;
}

void db_col_int(struct db_col *c, int64_t v)
{
	switch (c->type) {
	case DB_BOOL:
		strb_be32(&c->b, 1);
		strb_putc(&c->b, v ? 1 : 0);
		break;
	case DB_INT2:
		strb_be32(&c->b, 2);
		strb_be16(&c->b, (uint16_t)v);
		break;
	case DB_INT4:
		strb_be32(&c->b, 4);
		strb_be32(&c->b, (uint32_t)v);
		break;
	case DB_INT8:
		strb_be32(&c->b, 8);
		strb_be64(&c->b, (uint64_t)v);
		break;
	case DB_TEXT:
	case DB_BYTEA:
	case DB_TIME:
	case DB_UUID:
	case DB_JSONB:
		assert(false && "db_col_int on a column of another type");
	}
	c->n++;
}

void db_col_text(struct db_col *c, struct str v)
{
	assert(c->type == DB_TEXT || c->type == DB_BYTEA || c->type == DB_JSONB);
	if (!v.p) {
		db_col_null(c);
		return;
	}
	strb_be32(&c->b, (uint32_t)v.n + (c->type == DB_JSONB ? 1 : 0));
	if (c->type == DB_JSONB)
		strb_putc(&c->b, 1);	/* version */
	strb_puts(&c->b, v);
	c->n++;
}

void db_col_time(struct db_col *c, int64_t wall_us)
{
	assert(c->type == DB_TIME);
	if (wall_us == INT64_MIN) {
		db_col_null(c);
		return;
	}
	strb_be32(&c->b, 8);
	strb_be64(&c->b, (uint64_t)(wall_us - PG_EPOCH_US));
	c->n++;
}

void db_col_uuid(struct db_col *c, const struct uuid *u)
{
	assert(c->type == DB_UUID);
	strb_be32(&c->b, sizeof(u->b));
	strb_puts(&c->b, (struct str){(const char *)u->b, sizeof(u->b)});
	c->n++;
}

static void put_be32(char *p, uint32_t v)
{
	p[0] = (char)(v >> 24);
	p[1] = (char)(v >> 16);
	p[2] = (char)(v >> 8);
	p[3] = (char)v;
}

void db_bind_col(struct db_query *q, const struct db_col *c)
{
	assert(!c->b.overflow);
	put_be32(c->b.p + 4, c->has_null);
	put_be32(c->b.p + 12, c->n);
	db_bind_raw(q, strb_str(&c->b));
}
