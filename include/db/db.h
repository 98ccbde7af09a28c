/* Postgres by libpq, never blocking the loop.  Sole includer of <libpq-fe.h> is src/db.
 *
 * Statements are named in the .sql files of src/store/sql and generated into "sql.h" (enum sql_id, sql_text[]): no SQL in C.
 * Lanes are pools of connections with their own statement_timeout and bounded queue; the writer lane is one connection that
 * carries whole transactions (db_tx).  All use pipeline mode, binary parameters and binary results, statements prepared once
 * per connection on first use. */
#ifndef DB_DB_H
#define DB_DB_H
#include "base/arena.h"
#include "base/op.h"
#include "base/uuid.h"
#include "io/loop.h"

struct db;
struct db_query;
struct db_rows;
enum db_lane {
	DB_WRITER,	/* W: one connection, transactions of the fence's owner only (db_tx_*) */
	DB_READ,	/* R: 2..4 connections, reads for the API */
	DB_WRITE,	/* U: one connection, unfenced writes (definitions, workers, logs, events); each query its own transaction */
	DB_MAINT,	/* M: opened when needed, closed after */
	DB_LANES
};

struct db_conf {
	struct loop *loop;
	const char *url;		/* conninfo or URI; multi-host allowed */
	const char *app_name;
	unsigned readers;		/* DB_READ connections, 2..4 */
	unsigned queue_max;		/* queries waiting per lane; beyond: ERR_UNAVAILABLE */
	/* @is_up true: (re)connected, session set up.  false: connection lost (once per loss).  Writer lane and listen only. */
	void (*on_writer)(void *arg, bool is_up);
	/* NOTIFY on channel hatchet_cfg; also called with payload NULL after a reconnect ("you may have missed some") */
	void (*on_notify)(void *arg, struct str payload);
	void *arg;
};
struct db *db_new(const struct db_conf *conf) MUST_USE;
void db_start(struct db *db);		/* connects; retries with backoff for ever; names resolved off the loop */
void db_free(struct db *db);			/* what is in flight is dropped: its ops do not fire */
struct loop *db_loop(const struct db *db);
bool db_writer_is_up(const struct db *db);

/* Blocking, for start-up, CLI and tests only: one connection, checks done, error one clear sentence. */
struct db_sync;
struct db_sync *db_sync_open(const char *url, struct err *err) MUST_USE;
/* Text protocol, several statements allowed, result of the last one.  PGresult rows readable by db_rows_*_text. */
bool db_sync_exec(struct db_sync *c, const char *sql, struct err *err) MUST_USE;
/* One statement with text parameters; *ret_rows on @a, cells by db_rows_text. */
bool db_sync_query(struct db_sync *c, struct arena *a, const char *sql, const char *const *params, unsigned n_params,
		   const struct db_rows **ret_rows, struct err *err) MUST_USE;
/* COPY ... TO STDOUT: @take gets the bytes as they come; COPY ... FROM STDIN: @give sets *ret, empty when there is no more.
 * Either may fail, which fails the whole.  *ret_rows as the server counted them. */
typedef bool db_take_fn(void *arg, struct str bytes, struct err *err);
typedef bool db_give_fn(void *arg, struct str *ret, struct err *err);
bool db_sync_copy_out(struct db_sync *c, const char *sql, db_take_fn *take, void *arg, int64_t *ret_rows, struct err *err) MUST_USE;
bool db_sync_copy_in(struct db_sync *c, const char *sql, db_give_fn *give, void *arg, int64_t *ret_rows, struct err *err) MUST_USE;
int db_sync_version(struct db_sync *c);	/* 150020 */
/* Whether a pooler gives each transaction another server connection (found with a second connection, if there is a pooler). */
bool db_sync_is_pooled(struct db_sync *c, bool *ret, struct err *err) MUST_USE;
void db_sync_close(struct db_sync *c);
struct str db_rows_text(const struct db_rows *rows, unsigned row, unsigned col);

/* Queries.  Built on an arena; parameters bound in order; bytes are borrowed until the query is done. */
struct db_query *db_query_new(struct arena *a, int sql_id) MUST_USE;
/* A command without parameters, not prepared: for what the schema's own functions plan (maintenance), never made in C. */
struct db_query *db_query_text(struct arena *a, struct str command) MUST_USE;
void db_bind_null(struct db_query *q);
void db_bind_bool(struct db_query *q, bool v);
void db_bind_i16(struct db_query *q, int16_t v);
void db_bind_i32(struct db_query *q, int32_t v);
void db_bind_i64(struct db_query *q, int64_t v);
void db_bind_text(struct db_query *q, struct str v);	/* p NULL: SQL null; also for bytea */
void db_bind_uuid(struct db_query *q, const struct uuid *v);
void db_bind_time(struct db_query *q, int64_t wall_us);	/* timestamptz; INT64_MIN: null */
void db_bind_raw(struct db_query *q, struct str binary);	/* already in Postgres' binary form, e.g. a db_col */
/* Starts @q; @op fires when it is done.  Result in db_query_rows(q), valid until the arena ends.
 * Errors: UNAVAILABLE (not sent), UNCERTAIN (connection lost after sending, DB_WRITE), EXISTS (unique violation),
 * EXHAUSTED (queue full), DEADLINE (statement_timeout), INVALID (data refused), INTERNAL. */
void db_submit(struct db *db, enum db_lane lane, struct db_query *q, struct op *op);
const struct db_rows *db_query_rows(const struct db_query *q);

unsigned db_rows_n(const struct db_rows *rows);
bool db_is_null(const struct db_rows *rows, unsigned row, unsigned col);
bool db_get_bool(const struct db_rows *rows, unsigned row, unsigned col);	/* null: false/0/empty in all of these */
int64_t db_get_int(const struct db_rows *rows, unsigned row, unsigned col);	/* int2, int4, int8 */
struct str db_get_text(const struct db_rows *rows, unsigned row, unsigned col);	/* text, bytea; jsonb without its version byte */
struct uuid db_get_uuid(const struct db_rows *rows, unsigned row, unsigned col);
int64_t db_get_time(const struct db_rows *rows, unsigned row, unsigned col);	/* wall_us; null: INT64_MIN */
/* int4[] or int8[]: count, values copied to the arena */
size_t db_get_ints(const struct db_rows *rows, unsigned row, unsigned col, struct arena *a, int64_t **ret);

/* A column of values in binary array form, for unnest: grows, is bound without a copy, can be reset and used again. */
enum db_type { DB_INT2, DB_INT4, DB_INT8, DB_TEXT, DB_BYTEA, DB_TIME, DB_UUID, DB_JSONB, DB_BOOL };
struct db_col;
struct db_col *db_col_new(enum db_type type) MUST_USE;
void db_col_free(struct db_col *c);
void db_col_reset(struct db_col *c);
size_t db_col_n(const struct db_col *c);
void db_col_int(struct db_col *c, int64_t v);
void db_col_text(struct db_col *c, struct str v);	/* TEXT, BYTEA, JSONB; p NULL: null */
void db_col_time(struct db_col *c, int64_t wall_us);	/* INT64_MIN: null */
void db_col_uuid(struct db_col *c, const struct uuid *u);
void db_col_null(struct db_col *c);
void db_bind_col(struct db_query *q, const struct db_col *c);	/* borrowed until done */

/* A transaction on the writer: all its queries go out as one pipeline segment with one Sync, so it is one implicit transaction.
 * One at a time: submitting while another is in flight is a bug.  @op: NULL committed; UNCERTAIN connection lost after anything
 * was sent; UNAVAILABLE writer down, nothing sent; INVALID/EXISTS data refused, rolled back; INTERNAL otherwise;
 * db_tx_sqlstate() tells more (e.g. "22012" division_by_zero: the fence). */
struct db_tx;
struct db_tx *db_tx_new(struct db *db, struct arena *a) MUST_USE;
void db_tx_add(struct db_tx *tx, struct db_query *q);
void db_tx_submit(struct db_tx *tx, struct op *op);
const char *db_tx_sqlstate(const struct db_tx *tx);
#endif
