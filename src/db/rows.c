/* Cells of a result: binary from pipelined queries, text from the blocking connection.
 * Invariant: bytes handed out live as long as the PGresult, which its arena clears. */
#include "db_int.h"

#include <endian.h>
#include <stdlib.h>

unsigned db_rows_n(const struct db_rows *rows)
{
	return rows && rows->res ? (unsigned)PQntuples(rows->res) : 0;
}

bool db_is_null(const struct db_rows *rows, unsigned row, unsigned col)
{
	return PQgetisnull(rows->res, (int)row, (int)col) != 0;
}

static struct str cell(const struct db_rows *rows, unsigned row, unsigned col)
{
	if (db_is_null(rows, row, col))
		return STR_NULL;
	return (struct str){PQgetvalue(rows->res, (int)row, (int)col), (size_t)PQgetlength(rows->res, (int)row, (int)col)};
}

static int64_t read_int(const char *p, size_t n)
{
	uint64_t v8;
	uint32_t v4;
	uint16_t v2;

	switch (n) {
	case 1:
		return *p;
	case 2:
		memcpy(&v2, p, 2);
		return (int16_t)be16toh(v2);
	case 4:
		memcpy(&v4, p, 4);
		return (int32_t)be32toh(v4);
	case 8:
		memcpy(&v8, p, 8);
		return (int64_t)be64toh(v8);
	default:
		return 0;
	}
}

bool db_get_bool(const struct db_rows *rows, unsigned row, unsigned col)
{
	struct str s = cell(rows, row, col);

	return s.n == 1 && s.p[0] == 1;
}

int64_t db_get_int(const struct db_rows *rows, unsigned row, unsigned col)
{
	struct str s = cell(rows, row, col);

	return read_int(s.p, s.n);
}

#define OID_JSONB 3802
struct str db_get_text(const struct db_rows *rows, unsigned row, unsigned col)
{
	struct str s = cell(rows, row, col);

	if (s.n && PQftype(rows->res, (int)col) == OID_JSONB)
		s = (struct str){s.p + 1, s.n - 1};
	return s;
}

struct str db_rows_text(const struct db_rows *rows, unsigned row, unsigned col)
{
	return cell(rows, row, col);
}

struct uuid db_get_uuid(const struct db_rows *rows, unsigned row, unsigned col)
{
	struct str s = cell(rows, row, col);
	struct uuid u = {0};

	if (s.n == sizeof(u.b))
		memcpy(u.b, s.p, sizeof(u.b));
	return u;
}

int64_t db_get_time(const struct db_rows *rows, unsigned row, unsigned col)
{
	struct str s = cell(rows, row, col);

	return s.n == 8 ? read_int(s.p, 8) + PG_EPOCH_US : INT64_MIN;
}

/* binary array: dimensions, has-null, element type, then per dimension size and lower bound, then elements */
size_t db_get_ints(const struct db_rows *rows, unsigned row, unsigned col, struct arena *a, int64_t **ret)
{
	struct str s = cell(rows, row, col);
	size_t n, at = 20;

	*ret = NULL;
	if (s.n < 20 || read_int(s.p, 4) != 1)
		return 0;
	n = (size_t)read_int(s.p + 12, 4);
	if (n > s.n / 4)
		return 0;
	*ret = ARENA_ARRAY(a, int64_t, n + 1);
	for (size_t i = 0; i < n && at + 4 <= s.n; i++) {
		int64_t len = read_int(s.p + at, 4);

		at += 4;
		if (len < 0)
			continue;
		if (at + (size_t)len > s.n)
			return 0;
		(*ret)[i] = read_int(s.p + at, (size_t)len);
		at += (size_t)len;
	}
	return n;
}
