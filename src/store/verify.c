/* The audit of the tables: runs what src/store/sql/verify.sql computes and makes sentences of what differs. */
#include "store/verify.h"

#include "base/strb.h"
#include "base/text.h"
#include "sql.h"

#include <stdio.h>
#include <string.h>

/* kind, sentence; %m what is stored, %s what it should be */
static const struct {
	const char *kind, *text;
} sentences[] = {
	{"TASK_TWICE", "%id waits or runs in %m places"},
	{"TASK_LOST", "%id has not ended, and neither waits nor runs (last attempt: %m)"},
	{"TASK_STATUS", "%id ended with status %m, its last attempt says %s"},
	{"TASK_WORKFLOW", "%id ended as one of workflow %m, and is of %s"},
	{"TASK_ATTEMPT", "%id is in attempt %m, its attempts that have ended say %s"},
	{"TASK_STEP", "%id is of step %m in live, and of %s"},
	{"COUNT_MADE", "of the tasks made in %min, %t, %m are counted and %s are there"},
	{"LIVE_ORPHAN", "%id has a row in live and none in task"},
	{"LIVE_WORKER", "%id has worker %m (0: none) in state %s"},
	{"SLOTS_OVER", "worker %n has %m slots of type %t in use, and %s in all"},
	{"QUEUED_ORPHAN", "%id has a row in queue_item and none in task"},
	{"COUNT_TAIL", "of step %n, %m tasks are counted in the tail and %s are there"},
	{"COUNT_ENDED", "of the ends in %min, %t, %m are counted and %s are there"},
	{"TIME_RUN", "the ends in %min, %t, ran for %m us as counted, %s by their rows"},
	{"KEY_LEFT", "idempotency key \"%t\" is held by %id, which has ended"},
	{"REQUEST_TWICE", "request %n waits and has been answered"},
	{"REQUEST_RUN", "request %n was made run %t, which is not there"},
};
static const int stages[] = {SQL_VERIFY_TASKS, SQL_VERIFY_LIVE, SQL_VERIFY_TAILS, SQL_VERIFY_ENDS, SQL_VERIFY_REQUESTS,
				SQL_VERIFY_KEYS};

void verify_report_init(struct verify_report *r, struct arena *a, const struct id_secret *secret)
{
	*r = (struct verify_report){.a = a, .secret = secret, .diffs = ARENA_ARRAY(a, struct verify_diff, VERIFY_DIFFS)};
}

static void put_id(struct strb *b, const struct id_secret *secret, int64_t id)
{
	char text[UUID_TEXT + 1];
	struct uuid u;

	id_to_uuid(secret, id, &u);
	uuid_format(&u, text);
	strb_putf(b, "task %s", text);
}

void verify_add(struct verify_report *r, const char *kind, const char *sentence, const struct verify_words *w)
{
	char time[RFC3339_MAX];
	struct strb b;

	if (r->n_diffs++ >= VERIFY_DIFFS)
		return;
	strb_init(&b, 4096);
	for (const char *p = sentence; *p; p++) {
		if (strncmp(p, "%id", 3) == 0) {
			put_id(&b, r->secret, w->id);
			p += 2;
		} else if (strncmp(p, "%min", 4) == 0) {
			strb_put(&b, time, rfc3339_format((ID_EPOCH_MS + w->minute * 60000) * 1000, time));
			p += 3;
		} else if (*p == '%') {
			p++;
			strb_puts(&b, *p == 'w' || *p == 'n' ? w->worker : *p == 't' ? w->more : *p == 'a' ? w->action : *p == 'm' ? w->m : w->s);
		} else {
			strb_putc(&b, *p);
		}
	}
	r->diffs[r->n_diffs - 1] = (struct verify_diff){.kind = kind, .text = arena_dup(r->a, strb_str(&b)),
		.id = strstr(sentence, "%id") ? w->id : 0};
	strb_fini(&b);
}

/* --- the walk ------------------------------------------------------------------------------------------------------------------ */

int verify_walk_sql(const struct verify_walk *w)
{
	return w->stage < (int)ARRAY_LEN(stages) ? stages[w->stage] : 0;
}

bool verify_walk_sliced(const struct verify_walk *w)
{
	return verify_walk_sql(w) == SQL_VERIFY_TASKS;
}

static void add_row(struct verify_report *r, struct str kind, const struct verify_words *words)
{
	for (size_t i = 0; i < ARRAY_LEN(sentences); i++)
		if (str_eq(kind, str_c(sentences[i].kind)))
			verify_add(r, sentences[i].kind, sentences[i].text, words);
}

void verify_walk_take(struct verify_walk *w, const struct db_rows *rows, verify_cell_fn *cell, struct verify_report *r)
{
	bool is_done = true;
	int64_t v = 0;

	if (db_rows_n(rows) > 1 && !w->is_second) {
		w->is_second = true;
		return;
	}
	w->is_second = false;
	for (unsigned i = 0; i < db_rows_n(rows); i++) {
		struct str kind = cell(rows, i, 0), id = cell(rows, i, 1);
		struct verify_words words = {.worker = arena_dup(r->a, id), .more = cell(rows, i, 2), .m = cell(rows, i, 3), .s = cell(rows, i, 4)};

		if (kind.n) {
			if (str_to_i64(id, &v))
				words.id = words.minute = v;
			add_row(r, kind, &words);
			continue;
		}
		if (str_to_i64(words.m, &v))
			r->n_checked += (uint64_t)v;
		if (id.n && str_to_i64(id, &v)) {
			w->lo = v;
			is_done = false;
		}
	}
	if (is_done) {
		w->stage++;
		w->lo = 0;
	}
}

/* --- a command ----------------------------------------------------------------------------------------------------------------- */

static bool walk_tenant(struct db_sync *db, const char *tenant, struct verify_report *r, struct err *err)
{
	struct verify_walk w = {0};
	bool ok = true;

	while (ok && verify_walk_sql(&w)) {
		struct arena *a = arena_new((size_t)1 << 30);
		char lo[24], slice[16];
		const char *params[] = {tenant, lo, slice};
		const struct db_rows *rows;

		(void)snprintf(lo, sizeof(lo), "%lld", (long long)w.lo);
		(void)snprintf(slice, sizeof(slice), "%d", VERIFY_SLICE);
		ok = db_sync_query(db, a, sql_stmts[verify_walk_sql(&w)].text, params, verify_walk_sliced(&w) ? 3 : 1, &rows, err);
		if (ok)
			verify_walk_take(&w, rows, db_rows_text, r);
		arena_free(a);
	}
	return ok;
}

static bool read_secret(struct db_sync *db, struct verify_report *r, struct err *err)
{
	struct id_secret *secret = ARENA_NEW(r->a, struct id_secret);
	const struct db_rows *rows;
	struct str hex;

	if (!db_sync_query(db, r->a, sql_stmts[SQL_VERIFY_SECRET].text, NULL, 0, &rows, err))
		return false;
	hex = db_rows_n(rows) ? db_rows_text(rows, 0, 0) : STR_NULL;
	for (size_t i = 0; i < sizeof(secret->key) && 2 * i + 1 < hex.n; i++) {
		unsigned hi = (unsigned)hex.p[2 * i], lo = (unsigned)hex.p[2 * i + 1];

		secret->key[i] = (uint8_t)((hi > '9' ? hi - 'a' + 10 : hi - '0') << 4 | (lo > '9' ? lo - 'a' + 10 : lo - '0'));
	}
	r->secret = secret;
	return true;
}

bool verify_database(struct db_sync *db, struct verify_report *r, struct err *err)
{
	const struct db_rows *rows;
	bool ok = db_sync_exec(db, sql_stmts[SQL_SESSION_MAINT].text, err) && read_secret(db, r, err) && db_sync_query(db, r->a, sql_stmts[SQL_VERIFY_TENANTS].text, NULL, 0, &rows, err);

	for (unsigned i = 0; ok && i < db_rows_n(rows); i++)
		ok = walk_tenant(db, arena_strz(r->a, db_rows_text(rows, i, 0)), r, err);
	return ok;
}
