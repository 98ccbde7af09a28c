/* The service EventsService: events and log lines, and the trace export that is only counted.
 * Invariant: an answered event or line is committed; a bulk of events is stored whole or not at all. */
#include "api_int.h"

#include "base/text.h"
#include "pb/trace.pb-c.h"

/* --- events ------------------------------------------------------------ */

struct pushing {
	struct event_row *rows;
	uint32_t n;
};

static bool event_check(const Hw__PushEventRequest *m, struct event_row *row, struct err *err)
{
	*row = (struct event_row){0};
	if (!pb_str(m->key, "key", &row->key, err))
		return false;
	if (!row->key.n || row->key.n > CONF_EVENT_KEY_BYTES_MAX)
		return err_set(err, ERR_INVALID, "key: must have 1 to %d bytes", CONF_EVENT_KEY_BYTES_MAX);
	row->payload = m->payload.len ? pb_raw(m->payload) : STR("{}");
	if (!json_check(row->payload, JSON_F_NO_NUL, "payload", err))
		return false;
	if (PB_HAS(m, additional_metadata) && m->additional_metadata.len && !str_eq(pb_raw(m->additional_metadata), STR("null"))) {
		row->metadata = pb_raw(m->additional_metadata);
		if (!json_check(row->metadata, JSON_F_OBJECT | JSON_F_DB, "additional_metadata", err))
			return false;
	}
	if (PB_HAS(m, scope) && !pb_str(m->scope, "scope", &row->scope, err))
		return false;
	if (row->scope.n > CONF_EVENT_KEY_BYTES_MAX)
		return err_set(err, ERR_INVALID, "scope: at most %d bytes", CONF_EVENT_KEY_BYTES_MAX);
	if (PB_HAS(m, priority) && (m->priority < 1 || m->priority > 3))
		return err_set(err, ERR_INVALID, "priority: must be 1 to 3");
	return true;
}

static void event_fill(struct req *r, const struct event_row *row, Hw__Event *e)
{
	hw__event__init(e);
	e->tenant_id = pb_set_uuid(req_arena(r), &tenant_of(r)->uuid);
	e->event_id = api_pb_id(r, row->id);
	e->key = pb_set(row->key);
	e->payload = pb_set(row->payload);
	e->event_timestamp = pb_set_time(req_arena(r), id_unix_ms(row->id) * 1000);
	if (row->metadata.p)
		PB_OPT(e, additional_metadata, HW__EVENT__HAS_ADDITIONAL_METADATA_ADDITIONAL_METADATA, pb_set(row->metadata));
	if (row->scope.n)
		PB_OPT(e, scope, HW__EVENT__HAS_SCOPE_SCOPE, pb_set(row->scope));
}

static struct step *pushed(struct req *r)
{
	struct pushing *p = REQ_STATE(r, struct pushing);
	Hw__Event out;

	event_fill(r, p->rows, &out);
	return api_reply_msg(r, PB_MSG(&out));
}

struct step *rpc_push(struct req *r)
{
	struct pushing *p = REQ_STATE(r, struct pushing);
	const Hw__PushEventRequest *m;
	struct err err;

	m = api_msg(r, &hw__push_event_request__descriptor, &err);
	p->n = 1;
	p->rows = ARENA_NEW(req_arena(r), struct event_row);
	if (!m || !event_check(m, p->rows, &err))
		return req_fail_err(r, &err);
	svc_push_events(svc_of(r), tenant_of(r)->tenant_no, p->rows, p->n, req_op(r, pushed));
	return req_await(r);
}

static struct step *bulk_pushed(struct req *r)
{
	struct pushing *p = REQ_STATE(r, struct pushing);
	Hw__Event *events = ARENA_ARRAY(req_arena(r), Hw__Event, p->n);
	Hw__Events out = HW__EVENTS__INIT;

	out.n_events = p->n;
	out.events = ARENA_ARRAY(req_arena(r), Hw__Event *, p->n);
	for (uint32_t i = 0; i < p->n; i++) {
		event_fill(r, &p->rows[i], &events[i]);
		out.events[i] = &events[i];
	}
	return api_reply_msg(r, PB_MSG(&out));
}

struct step *rpc_bulk_push(struct req *r)
{
	struct pushing *p = REQ_STATE(r, struct pushing);
	const Hw__BulkPushEventRequest *m;
	struct err err;

	m = api_msg(r, &hw__bulk_push_event_request__descriptor, &err);
	if (!m)
		return req_fail_err(r, &err);
	if (m->n_events < 1 || m->n_events > CONF_BULK_EVENTS_MAX)
		return req_fail(r, ERR_INVALID, "events: must be 1 to %d", CONF_BULK_EVENTS_MAX);
	p->n = (uint32_t)m->n_events;
	p->rows = ARENA_ARRAY(req_arena(r), struct event_row, p->n);
	for (uint32_t i = 0; i < p->n; i++)
		if (!event_check(m->events[i], &p->rows[i], &err))
			return req_fail(r, err.code, "events[%u]: %.270s", i, err.msg);
	svc_push_events(svc_of(r), tenant_of(r)->tenant_no, p->rows, p->n, req_op(r, bulk_pushed));
	return req_await(r);
}

/* --- logs ------------------------------------------------------------ */

struct logging {
	struct log_row row;
	struct read_tasks got;
	bool has_attempt;
};

static struct step *logged(struct req *r)
{
	Hw__PutLogResponse out = HW__PUT_LOG_RESPONSE__INIT;

	return api_reply_msg(r, PB_MSG(&out));
}

static struct step *log_write_row(struct req *r)
{
	svc_put_log(svc_of(r), &REQ_STATE(r, struct logging)->row, req_op(r, logged));
	return req_await(r);
}

static struct step *log_task_read(struct req *r)
{
	struct logging *l = REQ_STATE(r, struct logging);
	const struct task_view *t = l->got.tasks;

	if (l->got.n == 0)
		return req_fail(r, ERR_NOT_FOUND, "task_run_external_id: there is no such task");
	if (!l->has_attempt)
		l->row.attempt = t->n_attempts ? t->attempts[t->n_attempts - 1].attempt : t->live_attempt;
	return log_write_row(r);
}

static bool log_level_ok(struct str s)
{
	return str_eq(s, STR("DEBUG")) || str_eq(s, STR("INFO")) || str_eq(s, STR("WARN")) || str_eq(s, STR("ERROR"));
}

static bool log_read(struct req *r, const Hw__PutLogRequest *m, struct logging *l, struct err *err)
{
	struct log_row *row = &l->row;

	row->tenant_no = tenant_of(r)->tenant_no;
	if (!api_id(r, pb_raw(m->task_run_external_id), "task_run_external_id", &row->task_id, err))
		return false;
	if (!pb_time(m->created_at, &row->at))
		row->at = api_now(r).wall_us;
	if (m->message.len > CONF_LOG_LINE_BYTES_MAX)
		return err_set(err, ERR_INVALID, "message: has %zu bytes, at most %d are allowed", m->message.len, CONF_LOG_LINE_BYTES_MAX);
	if (!api_clean_text(req_arena(r), pb_raw(m->message), &row->body))
		return err_set(err, ERR_INVALID, "message: is not UTF-8");
	row->level = PB_HAS(m, level) && m->level.len ? pb_raw(m->level) : STR("INFO");
	if (!log_level_ok(row->level))
		return err_set(err, ERR_INVALID, "level: must be DEBUG, INFO, WARN or ERROR");
	if (m->metadata.len && !str_eq(pb_raw(m->metadata), STR("null"))) {
		row->metadata = pb_raw(m->metadata);
		if (!json_check(row->metadata, JSON_F_OBJECT | JSON_F_NO_NUL, "metadata", err))
			return false;
	}
	l->has_attempt = PB_HAS(m, task_retry_count);
	if (l->has_attempt && (m->task_retry_count < 0 || m->task_retry_count > INT16_MAX))
		return err_set(err, ERR_INVALID, "task_retry_count: must be 0 to %d", INT16_MAX);
	row->attempt = (int16_t)(l->has_attempt ? m->task_retry_count : 0);
	return true;
}

struct step *rpc_put_log(struct req *r)
{
	struct logging *l = REQ_STATE(r, struct logging);
	const Hw__PutLogRequest *m;
	struct eng_task_view live;
	struct err err;

	m = api_msg(r, &hw__put_log_request__descriptor, &err);
	if (!m || !log_read(r, m, l, &err))
		return req_fail_err(r, &err);
	if (svc_task(svc_of(r), l->row.task_id, &live) && live.tenant_no == l->row.tenant_no) {
		if (!l->has_attempt)
			l->row.attempt = live.attempt;
		return log_write_row(r);
	}
	read_tasks(svc_db(svc_of(r)), req_arena(r), l->row.tenant_no, &l->row.task_id, 1, 0, &l->got, req_op(r, log_task_read));
	return req_await(r);
}

/* --- traces ------------------------------------------------------------ */

struct step *rpc_trace_export(struct req *r)
{
	const Otlp__ExportTraceServiceRequest *m;
	Otlp__ExportTraceServiceResponse out = OTLP__EXPORT_TRACE_SERVICE_RESPONSE__INIT;
	struct err err;

	m = api_msg(r, &otlp__export_trace_service_request__descriptor, &err);
	if (!m)
		return req_fail_err(r, &err);
	api_of(r)->spans_received += m->n_resource_spans;
	return api_reply_msg(r, PB_MSG(&out));
}
