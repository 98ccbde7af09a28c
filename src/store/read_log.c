/* Log lines and user events: written in batches, read by filter.
 *
 * A writer collects what arrives while its insert is in flight, so a busy moment costs few transactions and an idle one costs
 * no delay.  An insert whose reply was lost is sent again in a form that adds only what is missing.  A batch refused for its
 * data is split until the bad row stands alone.  Bounded: beyond the limits a put fails at once with EXHAUSTED. */
#include "store/read.h"

#include "base/config.h"
#include "base/vec.h"
#include "io/loop.h"
#include "model/id.h"
#include "sql.h"

#include <stdlib.h>

#define TRIES 3

/* One call of put: its rows stay together. */
struct put {
	struct op *user;
	struct defer defer;	/* refused at once */
	uint32_t n;
	size_t bytes;
	struct log_row *logs;	/* one of the two */
	struct event_row *events;
	/* texts follow */
};

struct writer {
	struct db *db;
	VEC(struct put *) waiting;
	size_t at;		/* waiting[at] is the next */
	size_t n_rows, n_bytes;
	VEC(struct put *) flying;
	size_t half;		/* puts of @flying in the present insert, from its start; all unless a batch was refused */
	struct arena *a;
	struct db_col *cols[7];
	const char *types;
	int sql_id, again_id;
	struct op op;
	struct defer defer;
	bool is_flying;
	unsigned tries;
};
struct log_writer {
	struct writer w;
};
struct event_writer {
	struct writer w;
};

static void send(struct writer *w);

static enum db_type type_of(char c)
{
	switch (c) {
	case '2':
		return DB_INT2;
	case '4':
		return DB_INT4;
	case '8':
		return DB_INT8;
	case 'w':
		return DB_TIME;
	case 'y':
		return DB_BYTEA;
	case 'j':
		return DB_JSONB;
	default:
		return DB_TEXT;
	}
}

static struct str or_empty(struct str s)
{
	return s.p ? s : STR("");
}

static void log_cols(struct writer *w, const struct log_row *r)
{
	db_col_int(w->cols[0], r->tenant_no);
	db_col_int(w->cols[1], r->task_id);
	db_col_int(w->cols[2], r->attempt);
	db_col_time(w->cols[3], r->at);
	db_col_text(w->cols[4], or_empty(r->level));
	db_col_text(w->cols[5], or_empty(r->body));
	db_col_text(w->cols[6], r->metadata);
}

static void event_cols(struct writer *w, const struct event_row *r)
{
	db_col_int(w->cols[0], r->tenant_no);
	db_col_int(w->cols[1], r->id);
	db_col_text(w->cols[2], or_empty(r->key));
	db_col_text(w->cols[3], or_empty(r->scope));
	db_col_text(w->cols[4], r->payload);
	db_col_text(w->cols[5], r->metadata.n ? r->metadata : STR_NULL);
}

static void end_put(struct put *p, const struct err *err)
{
	struct op *user = p->user;

	free(p);
	if (user)
		op_done(user, err);
}

/* the first @half puts of @flying have their answer */
static void settle(struct writer *w, const struct err *err)
{
	size_t n = w->half;
	VEC(struct put *) done = {0};

	for (size_t i = 0; i < n; i++)
		vec_push(&done, w->flying.p[i]);
	memmove(w->flying.p, w->flying.p + n, (w->flying.n - n) * sizeof(w->flying.p[0]));
	w->flying.n -= n;
	w->half = w->flying.n;
	w->tries = 0;
	for (size_t i = 0; i < done.n; i++)
		end_put(done.p[i], err);
	vec_fini(&done);
}

static void sent(struct op *op, const struct err *err)
{
	struct writer *w = op->arg;
	struct err out;

	w->is_flying = false;
	if (err && (err->code == ERR_UNCERTAIN || err->code == ERR_ABORTED) && ++w->tries < TRIES) {
		send(w);
		return;
	}
	if (err && (err->code == ERR_INVALID || err->code == ERR_EXISTS) && w->half > 1) {
		w->half /= 2;
		send(w);
		return;
	}
	if (err) {
		out = *err;
		if (out.code == ERR_UNCERTAIN || out.code == ERR_ABORTED)
			out.code = ERR_UNAVAILABLE;
	}
	settle(w, err ? &out : NULL);
	send(w);
}

static void take_waiting(struct writer *w)
{
	uint32_t rows = 0;
	size_t bytes = 0;

	while (w->at < w->waiting.n && (rows == 0 || (rows < CONF_LOG_ROWS_PER_INSERT && bytes < CONF_LOG_INSERT_BYTES))) {
		struct put *p = w->waiting.p[w->at++];

		rows += p->n;
		bytes += p->bytes;
		vec_push(&w->flying, p);
	}
	if (w->at == w->waiting.n) {
		vec_clear(&w->waiting);
		w->at = 0;
	}
	w->n_rows -= rows;
	w->n_bytes -= bytes;
	w->half = w->flying.n;
}

static void send(struct writer *w)
{
	struct db_query *q;

	if (w->is_flying)
		return;
	if (!w->flying.n)
		take_waiting(w);
	if (!w->flying.n)
		return;
	arena_reset(w->a);
	for (int i = 0; w->types[i]; i++)
		db_col_reset(w->cols[i]);
	for (size_t i = 0; i < w->half; i++) {
		struct put *p = w->flying.p[i];

		for (uint32_t k = 0; k < p->n; k++) {
			if (p->logs)
				log_cols(w, &p->logs[k]);
			else
				event_cols(w, &p->events[k]);
		}
	}
	q = db_query_new(w->a, w->tries ? w->again_id : w->sql_id);
	for (int i = 0; w->types[i]; i++)
		db_bind_col(q, w->cols[i]);
	w->is_flying = true;
	db_submit(w->db, DB_WRITE, q, &w->op);
}

static void send_arg(void *arg)
{
	send(arg);
}

static void writer_init(struct writer *w, struct db *db, const char *types, int sql_id, int again_id)
{
	w->db = db;
	w->types = types;
	w->sql_id = sql_id;
	w->again_id = again_id;
	w->a = arena_new(1u << 20);
	w->op = (struct op){sent, w};
	for (int i = 0; types[i]; i++)
		w->cols[i] = db_col_new(type_of(types[i]));
}

static void writer_fini(struct writer *w)
{
	defer_cancel(&w->defer);
	for (size_t i = w->at; i < w->waiting.n; i++)
		free(w->waiting.p[i]);
	for (size_t i = 0; i < w->flying.n; i++)
		free(w->flying.p[i]);
	vec_fini(&w->waiting);
	vec_fini(&w->flying);
	for (int i = 0; w->types[i]; i++)
		db_col_free(w->cols[i]);
	arena_free(w->a);
}

static void refuse(void *arg)
{
	struct err err;

	err_set(&err, ERR_EXHAUSTED, "too much waits to be written; try again later");
	end_put(arg, &err);
}

static void writer_put(struct writer *w, struct put *p)
{
	if (w->n_rows + p->n > CONF_LOG_WAITING_MAX || w->n_bytes + p->bytes > CONF_LOG_WAITING_BYTES_MAX) {
		loop_defer(db_loop(w->db), &p->defer, refuse, p);
		return;
	}
	vec_push(&w->waiting, p);
	w->n_rows += p->n;
	w->n_bytes += p->bytes;
	loop_defer(db_loop(w->db), &w->defer, send_arg, w);
}

static struct str copy_to(char **at, struct str s)
{
	struct str c = {*at, s.n};

	if (!s.p)
		return STR_NULL;
	memcpy(*at, s.p, s.n);
	*at += s.n;
	return c;
}

/* --- logs ---------------------------------------------------------------------------------------------------------------- */

struct log_writer *log_writer_new(struct db *db)
{
	struct log_writer *w = xcalloc(1, sizeof(*w));

	writer_init(&w->w, db, "482wttt", SQL_LOG_INSERT, SQL_LOG_INSERT_AGAIN);
	return w;
}

void log_writer_free(struct log_writer *w)
{
	if (!w)
		return;
	writer_fini(&w->w);
	free(w);
}

void log_writer_put(struct log_writer *w, const struct log_row *row, struct op *op)
{
	size_t bytes = row->level.n + row->body.n + row->metadata.n;
	struct put *p = xcalloc(1, sizeof(*p) + sizeof(*row) + bytes + 1);
	char *at;

	p->user = op;
	p->n = 1;
	p->bytes = bytes + 64;
	p->logs = (struct log_row *)(p + 1);
	at = (char *)(p->logs + 1);
	p->logs[0] = *row;
	p->logs[0].level = copy_to(&at, row->level);
	p->logs[0].body = copy_to(&at, row->body);
	p->logs[0].metadata = copy_to(&at, row->metadata);
	writer_put(&w->w, p);
}

struct reading {
	struct arena *a;
	struct db_query *q;
	struct op op;
	struct op *user;
	void *ret;
};

static struct reading *reading_new(struct arena *a, int sql_id, op_fn *fn, void *ret, struct op *user)
{
	struct reading *r = ARENA_NEW(a, struct reading);

	*r = (struct reading){.a = a, .q = db_query_new(a, sql_id), .op = {fn, r}, .user = user, .ret = ret};
	return r;
}

static void free_col(void *col)
{
	db_col_free(col);
}

static void bind_texts(struct reading *r, const struct str *v, uint32_t n)
{
	struct db_col *c;

	if (!n) {
		db_bind_null(r->q);
		return;
	}
	c = db_col_new(DB_TEXT);
	arena_own(r->a, c, free_col);
	for (uint32_t i = 0; i < n; i++)
		db_col_text(c, or_empty(v[i]));
	db_bind_col(r->q, c);
}

#define TIME_US_MAX 4102444800000000LL	/* year 2100 */
static int64_t bounded_time(int64_t us)
{
	return us < 0 ? 0 : us > TIME_US_MAX ? TIME_US_MAX : us;
}

static void logs_done(struct op *op, const struct err *err)
{
	struct reading *r = op->arg;
	const struct db_rows *rows = db_query_rows(r->q);
	struct read_logs *ret = r->ret;

	if (!err) {
		ret->n = db_rows_n(rows);
		ret->p = ARENA_ARRAY(r->a, struct log_row, ret->n + 1);
		for (unsigned i = 0; i < ret->n; i++)
			ret->p[i] = (struct log_row){
				.tenant_no = (int32_t)db_get_int(rows, i, 0), .task_id = db_get_int(rows, i, 1),
				.attempt = (int16_t)db_get_int(rows, i, 2), .at = db_get_time(rows, i, 3),
				.level = db_get_text(rows, i, 4), .body = db_get_text(rows, i, 5),
				.metadata = db_get_text(rows, i, 6)};
	}
	op_done(r->user, err);
}

void read_logs(struct db *db, struct arena *a, const struct log_filter *f, struct read_logs *ret, struct op *op)
{
	struct reading *r = reading_new(a, f->descending ? SQL_LOGS_DOWN : SQL_LOGS_UP, logs_done, ret, op);

	db_bind_i32(r->q, f->tenant_no);
	db_bind_i64(r->q, f->task_id);
	db_bind_time(r->q, bounded_time(f->since_us));
	db_bind_time(r->q, bounded_time(f->until_us));
	db_bind_text(r->q, f->search.n ? f->search : STR_NULL);
	bind_texts(r, f->levels, f->n_levels);
	db_bind_i16(r->q, (int16_t)f->attempt);
	db_bind_i32(r->q, (int32_t)f->limit);
	db_submit(db, DB_READ, r->q, &r->op);
}

/* --- events -------------------------------------------------------------------------------------------------------------- */

struct event_writer *event_writer_new(struct db *db)
{
	struct event_writer *w = xcalloc(1, sizeof(*w));

	writer_init(&w->w, db, "48ttyj", SQL_EVENT_INSERT, SQL_EVENT_INSERT);
	return w;
}

void event_writer_free(struct event_writer *w)
{
	if (!w)
		return;
	writer_fini(&w->w);
	free(w);
}

void event_writer_put(struct event_writer *w, const struct event_row *rows, uint32_t n, struct op *op)
{
	size_t bytes = 0;
	struct put *p;
	char *at;

	for (uint32_t i = 0; i < n; i++)
		bytes += rows[i].key.n + rows[i].scope.n + rows[i].payload.n + rows[i].metadata.n;
	p = xcalloc(1, sizeof(*p) + sizeof(*rows) * n + bytes + 1);
	p->user = op;
	p->n = n;
	p->bytes = bytes + 64 * (size_t)n;
	p->events = (struct event_row *)(p + 1);
	at = (char *)(p->events + n);
	for (uint32_t i = 0; i < n; i++) {
		struct event_row *e = &p->events[i];

		*e = rows[i];
		e->key = copy_to(&at, rows[i].key);
		e->scope = copy_to(&at, rows[i].scope);
		e->payload = copy_to(&at, rows[i].payload);
		e->metadata = copy_to(&at, rows[i].metadata);
	}
	writer_put(&w->w, p);
}

static void events_done(struct op *op, const struct err *err)
{
	struct reading *r = op->arg;
	const struct db_rows *rows = db_query_rows(r->q);
	struct read_events *ret = r->ret;

	if (!err) {
		ret->n = db_rows_n(rows);
		ret->p = ARENA_ARRAY(r->a, struct event_row, ret->n + 1);
		for (unsigned i = 0; i < ret->n; i++)
			ret->p[i] = (struct event_row){
				.tenant_no = (int32_t)db_get_int(rows, i, 0), .id = db_get_int(rows, i, 1),
				.key = db_get_text(rows, i, 2), .scope = db_get_text(rows, i, 3),
				.payload = db_get_text(rows, i, 4), .metadata = db_get_text(rows, i, 5)};
	}
	op_done(r->user, err);
}

static int64_t id_at(int64_t wall_us)
{
	int64_t ms = wall_us / 1000 - ID_EPOCH_MS;

	return ms <= 0 ? 0 : ms >= (int64_t)1 << 41 ? INT64_MAX : ms << 22;
}

static void bind_event_meta(struct reading *r, const struct event_filter *f)
{
	struct str *keys = ARENA_ARRAY(r->a, struct str, f->n_meta + 1), *values = ARENA_ARRAY(r->a, struct str, f->n_meta + 1);

	for (uint32_t i = 0; i < f->n_meta; i++) {
		struct str s = f->meta_pairs[i];
		const char *colon = s.n ? memchr(s.p, ':', s.n) : NULL;

		keys[i] = (struct str){s.p, colon ? (size_t)(colon - s.p) : s.n};
		values[i] = colon ? (struct str){colon + 1, s.n - keys[i].n - 1} : STR_NULL;
	}
	bind_texts(r, keys, f->n_meta);
	bind_texts(r, values, f->n_meta);
}

void read_events(struct db *db, struct arena *a, const struct event_filter *f, struct read_events *ret, struct op *op)
{
	struct reading *r = reading_new(a, SQL_EVENTS, events_done, ret, op);

	db_bind_i32(r->q, f->tenant_no);
	db_bind_i64(r->q, id_at(f->since_us));
	db_bind_i64(r->q, f->until_us >= INT64_MAX - 1000 ? INT64_MAX : id_at(f->until_us + 1000));
	bind_texts(r, f->keys, f->n_keys);
	if (f->n_ids) {
		struct db_col *c = db_col_new(DB_INT8);

		arena_own(a, c, free_col);
		for (uint32_t i = 0; i < f->n_ids; i++)
			db_col_int(c, f->ids[i]);
		db_bind_col(r->q, c);
	} else {
		db_bind_null(r->q);
	}
	bind_texts(r, f->scopes, f->n_scopes);
	bind_event_meta(r, f);
	db_bind_i32(r->q, (int32_t)f->offset);
	db_bind_i32(r->q, (int32_t)f->limit);
	db_submit(db, DB_READ, r->q, &r->op);
}
