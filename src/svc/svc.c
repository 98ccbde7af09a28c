/* The shell round the engine: construction, readiness, the way down, and calls that need no engine.
 *
 * The story of a turn: handlers (api) and completions (db, streams) append events; at the turn's end the engine consumes
 * them and gives effects; storing effects fill a flush, releasing ones wait in it (svc_turn.c).  Streams live in
 * svc_worker.c (pushes), svc_subs.c (results) and svc_watch.c (run events). */
#include "svc_int.h"

#include "base/log.h"
#include "store/maint.h"

#include <stdlib.h>

static void noop(struct op *op, const struct err *err)
{
	(void)op;
	(void)err;
}
struct op svc_noop = {.fn = noop};

static void clear_streams(struct svc *s)
{
	svc_worker_clear(s);
	subs_clear(s);
	watch_clear(s);
	input_clear(s);
	child_clear(s);
	idem_clear(s);
}

static void on_state(void *arg, enum owner_state state)
{
	struct svc *s = arg;

	if (state == OWNER_ACTIVE) {
		svc_load(s);
		return;
	}
	if (state == OWNER_ENDED)
		return;
	if (s->loaded || s->engine) {
		log_warn("no longer the active engine; everything in memory is dropped");
		svc_drop_engine(s, "this server is no longer the active engine; try again");
		clear_streams(s);
	}
}

static void on_writer(void *arg, bool is_up)
{
	struct svc *s = arg;

	if (s->owner)
		owner_on_writer(s->owner, is_up);
}

static void on_notify(void *arg, struct str payload)
{
	static const struct str inbox = STR("inbox ");
	struct svc *s = arg;

	if (s->front && str_starts(payload, inbox)) {
		front_wake(s->front, (struct str){payload.p + inbox.n, payload.n - inbox.n});
		return;
	}
	if (s->front && !payload.p)
		front_wake(s->front, payload);
	if (s->catalog)
		catalog_on_notify(s->catalog, payload);
}

struct svc *svc_new(const struct svc_conf *conf)
{
	struct svc *s = xcalloc(1, sizeof(*s));
	struct db_conf db = {.loop = conf->loop, .url = conf->database_url, .app_name = "hatchet", .readers = 3,
		.queue_max = 20000, .on_writer = on_writer, .on_notify = on_notify, .arg = s};
	struct owner_conf owner = {.loop = conf->loop, .address = conf->address, .on_state = on_state, .arg = s};

	s->conf = *conf;
	s->loop = conf->loop;
	list_init(&s->need_input);
	list_init(&s->fetching);
	list_init(&s->listeners);
	list_init(&s->families_used);
	list_init(&s->run_streams);
	list_init(&s->event_streams);
	list_init(&s->lookups);
	s->db = db_new(&db);
	s->catalog = catalog_new(s->db);
	owner.db = s->db;
	s->owner = owner_new(&owner);
	s->logs = log_writer_new(s->db);
	s->events = event_writer_new(s->db);
	limits_init(s);
	idem_init(s);
	batches_init(s);
	svc_turn_init(s);
	svc_worker_init(s);
	s->front = front_new(s);
	s->maint = maint_new(conf->loop, s->db);
	return s;
}

void svc_start(struct svc *s)
{
	db_start(s->db);
}

bool svc_is_ready(const struct svc *s, struct err *err)
{
	const char *address = s->owner ? owner_active_address(s->owner) : "";

	if (s->loaded && !s->stopping)
		return true;
	if (s->stopping)
		return err_set(err, ERR_UNAVAILABLE, "the server is going away");
	if (owner_state(s->owner) == OWNER_STANDBY)
		return err_set(err, ERR_UNAVAILABLE, "standby; the active server is %s", address[0] ? address : "unknown");
	if (!db_writer_is_up(s->db))
		return err_set(err, ERR_UNAVAILABLE, "the database is away");
	return err_set(err, ERR_UNAVAILABLE, "starting");
}

const char *svc_active_address(const struct svc *s)
{
	return owner_state(s->owner) == OWNER_STANDBY ? owner_active_address(s->owner) : "";
}

bool svc_is_healthy(const struct svc *s, struct err *err)
{
	if (!svc_is_ready(s, err))
		return false;
	return db_writer_is_up(s->db) || err_set(err, ERR_UNAVAILABLE, "the database is away");
}

void svc_stop(struct svc *s, struct op *op)
{
	bool was_active = s->loaded;

	s->stopping = true;
	LIST_FOREACH_SAFE(it, &s->listeners)
		stream_end(LIST_ENTRY(it, struct listener, node)->st, ERR_UNAVAILABLE, "the server is going away; connect again");
	subs_clear(s);
	watch_clear(s);
	if (was_active)
		s->stop_op = op;	/* the turn that finds nothing left to commit ends the ownership */
	else
		owner_end(s->owner, op);
}

void svc_free(struct svc *s)
{
	if (s->engine)
		svc_drop_engine(s, "the server has ended");
	input_clear(s);
	svc_worker_fini(s);
	maint_free(s->maint);
	log_writer_free(s->logs);
	event_writer_free(s->events);
	owner_free(s->owner);
	catalog_free(s->catalog);
	db_free(s->db);
	smap_fini(&s->request_subs);
	imap_fini(&s->run_subs);
	imap_fini(&s->event_subs);
	child_fini(s);
	idem_fini(s);
	verify_fini(s);
	front_free(s->front);
	svc_turn_fini(s);
	keys_fini(s);
	batches_fini(s);
	limits_fini(s);
	imap_fini(&s->replaying);
	if (s->load_timer)
		timer_free(s->load_timer);
	free(s);
}

struct loop *svc_loop(const struct svc *s)
{
	return s->loop;
}

struct db *svc_db(const struct svc *s)
{
	return s->db;
}

struct catalog *svc_catalog(const struct svc *s)
{
	return s->catalog;
}

uint32_t svc_msg_bytes_max(const struct svc *s)
{
	return s->conf.msg_bytes_max;
}

/* --- definitions ------------------------------------------------------------------------------------------------------------ */

struct putting {
	struct svc *s;
	struct cat_version **ret;
	bool *ret_is_new;
	struct op op, *outer;
};

static void put_stored(struct op *op, const struct err *err)
{
	struct putting *p = op->arg;

	if (!err && p->s->loaded)
		svc_version_event(p->s, *p->ret);
	op_done(p->outer, err);
	free(p);
}

void svc_put_workflow(struct svc *s, const struct cat_put *put, struct cat_version **ret, bool *ret_is_new, struct op *op)
{
	struct putting *p = xcalloc(1, sizeof(*p));

	*p = (struct putting){.s = s, .ret = ret, .ret_is_new = ret_is_new, .outer = op};
	p->op = (struct op){.fn = put_stored, .arg = p};
	cat_put_workflow(s->catalog, put, ret, ret_is_new, &p->op);
}

/* --- logs and events --------------------------------------------------------------------------------------------------------- */

void svc_put_log(struct svc *s, const struct log_row *row, struct op *op)
{
	log_writer_put(s->logs, row, op);
}

void svc_push_events(struct svc *s, int32_t tenant_no, struct event_row *rows, uint32_t n, struct op *op)
{
	struct err err;

	if (!svc_accepts(s, &err)) {
		svc_fail_later(s, op, &err);
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		rows[i].tenant_no = tenant_no;
		rows[i].id = engine_next_id(s->engine, loop_now(s->loop), tenant_no);
	}
	event_writer_put(s->events, rows, n, op);
}

/* --- present state ------------------------------------------------------------------------------------------------------------ */

bool svc_task(const struct svc *s, int64_t id, struct eng_task_view *ret)
{
	return s->engine && engine_task(s->engine, id, ret);
}

static struct svc_figures figures(const struct svc *s)
{
	struct svc_figures f = s->figures;

	if (s->engine)
		f.eng = engine_stats(s->engine);
	return f;
}

void svc_metrics(const struct svc *s, struct strb *out)
{
	struct svc_figures f = figures(s);
	const struct {
		const char *name, *type;
		uint64_t v;
	} rows[] = {
		{"hatchet_created_tasks_total", "counter", f.created},
		{"hatchet_succeeded_tasks_total", "counter", f.succeeded},
		{"hatchet_failed_tasks_total", "counter", f.failed},
		{"hatchet_cancelled_tasks_total", "counter", f.cancelled},
		{"hatchet_retried_tasks_total", "counter", f.retried},
		{"hatchet_sql_requests_taken_total", "counter", f.requests_taken},
		{"hatchet_sql_requests_refused_total", "counter", f.requests_refused},
		{"hatchet_flushes_total", "counter", f.flushes},
		{"hatchet_flush_rows_total", "counter", f.flush_rows},
		{"hatchet_payload_bytes_waiting", "gauge", s->bytes_waiting},
		{"hatchet_tasks_queued", "gauge", f.eng.queued},
		{"hatchet_tasks_running", "gauge", f.eng.running},
		{"hatchet_tasks_backoff", "gauge", f.eng.backoff},
		{"hatchet_workers", "gauge", f.eng.workers},
		{"hatchet_queue_tails", "gauge", f.eng.tails},
		{"hatchet_active", "gauge", s->loaded ? 1u : 0u},
		{"hatchet_verify_last_seconds", "gauge", (uint64_t)s->verified_at / 1000000},
		{"hatchet_verify_checked", "gauge", s->n_verified},
		{"hatchet_verify_differences", "gauge", s->n_differences},
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		strb_putf(out, "# TYPE %s %s\n%s %llu\n", rows[i].name, rows[i].type, rows[i].name, (unsigned long long)rows[i].v);
}
