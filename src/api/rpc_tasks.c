/* The service Dispatcher, second half: what workers report and ask about the tasks they run.
 * Invariant: an output that is stored is JSON without U+0000; anything else ends the attempt FAILED with a text that says so
 * (rules 1.11).  The worker_id of a report is never looked at. */
#include "api_int.h"

#include "base/text.h"

/* Empty text and null mean that there is no output. */
static bool is_nothing(struct str s)
{
	while (s.n && (s.p[0] == ' ' || s.p[0] == '\n' || s.p[0] == '\r' || s.p[0] == '\t'))
		s = (struct str){s.p + 1, s.n - 1};
	while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\n' || s.p[s.n - 1] == '\r' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s.n == 0 || str_eq(s, STR("null"));
}

struct report {
	ProtobufCBinaryData worker_id;	/* echoed */
	enum svc_report_kind kind;
	struct str payload;
};

static struct step *reported(struct req *r)
{
	struct report *p = REQ_STATE(r, struct report);
	Hw__ActionEventResponse out = HW__ACTION_EVENT_RESPONSE__INIT;

	out.tenant_id = pb_set_uuid(req_arena(r), &tenant_of(r)->uuid);
	out.worker_id = p->worker_id;
	return api_reply_msg(r, PB_MSG(&out));
}

static void completed(struct req *r, struct report *p, struct str out)
{
	struct err err;

	p->kind = SVC_COMPLETED;
	if (is_nothing(out))
		return;
	p->payload = out;
	if (json_check(out, JSON_F_NO_NUL, "event_payload", &err))
		return;
	p->kind = SVC_FAILED;
	p->payload = arena_strf(req_arena(r), "invalid json in field %s", err.msg);
}

/* false: @err is the answer; *ret_skip: nothing to report, answered OK. */
static bool read_report(struct req *r, Hw__StepActionEventType type, struct str payload, struct report *p, bool *ret_skip, struct err *err)
{
	*ret_skip = false;
	p->payload = STR_NULL;
	switch (type) {
	case HW__STEP_ACTION_EVENT_TYPE__STEP_EVENT_TYPE_STARTED:
		p->kind = SVC_STARTED;
		return true;
	case HW__STEP_ACTION_EVENT_TYPE__STEP_EVENT_TYPE_COMPLETED:
		completed(r, p, payload);
		return true;
	case HW__STEP_ACTION_EVENT_TYPE__STEP_EVENT_TYPE_FAILED:
		p->kind = SVC_FAILED;
		return api_clean_text(req_arena(r), payload, &p->payload) ||
		       err_set(err, ERR_INVALID, "event_payload: is not UTF-8");
	case HW__STEP_ACTION_EVENT_TYPE__STEP_EVENT_TYPE_ACKNOWLEDGED:
		*ret_skip = true;
		return true;
	case HW__STEP_ACTION_EVENT_TYPE__STEP_EVENT_TYPE_CANCELLED:
		p->kind = SVC_CANCELLED;
		return true;
	case HW__STEP_ACTION_EVENT_TYPE__STEP_EVENT_TYPE_UNKNOWN:
	case _HW__STEP_ACTION_EVENT_TYPE_IS_INT_SIZE:
	default:
		return err_set(err, ERR_INVALID, "event_type: %d is not known", (int)type);
	}
}

struct step *rpc_send_step_action_event(struct req *r)
{
	struct report *p = REQ_STATE(r, struct report);
	const Hw__StepActionEvent *m;
	struct err err;
	int64_t id;
	bool skip;

	m = api_msg(r, &hw__step_action_event__descriptor, &err);
	if (!m)
		return req_fail_err(r, &err);
	p->worker_id = m->worker_id;
	if (!api_id(r, pb_raw(m->task_run_external_id), "task_run_external_id", &id, &err))
		return req_fail(r, ERR_INVALID, "%s", err.msg);	/* unknown too: never retried */
	if (PB_HAS(m, retry_count) && (m->retry_count < 0 || m->retry_count > INT16_MAX))
		return req_fail(r, ERR_INVALID, "retry_count: must be 0 to %d", INT16_MAX);
	if (!read_report(r, m->event_type, pb_raw(m->event_payload), p, &skip, &err))
		return req_fail_err(r, &err);
	if (skip)
		return reported(r);
	svc_report(svc_of(r), tenant_of(r)->tenant_no, id, PB_HAS(m, retry_count) ? m->retry_count : -1, p->kind, p->payload,
		   PB_HAS(m, should_not_retry) && m->should_not_retry, req_op(r, reported));
	return req_await(r);
}

/* What a worker says of members of a batch.  Without a batch id, or with one that no batch has had, attempts count as in any report. */
struct step *rpc_send_batch_action_event(struct req *r)
{
	struct report *p = REQ_STATE(r, struct report);
	const Hw__BatchActionEvent *m;
	struct err err;
	int64_t batch_id = 0, *ids;
	bool skip = false;

	m = api_msg(r, &hw__batch_action_event__descriptor, &err);
	if (!m)
		return req_fail_err(r, &err);
	p->worker_id = m->worker_id;
	if (PB_HAS(m, batch_id) && m->batch_id.len && !api_id(r, pb_raw(m->batch_id), "batch_id", &batch_id, &err))
		return req_fail(r, ERR_INVALID, "%s", err.msg);
	ids = ARENA_ARRAY(req_arena(r), int64_t, m->n_items + 1);
	for (size_t i = 0; i < m->n_items; i++) {
		const Hw__BatchActionEventItem *it = m->items[i];

		if (!api_id(r, pb_raw(it->task_run_external_id), "task_run_external_id", &ids[i], &err) ||
		    !read_report(r, m->event_type, pb_raw(it->event_payload), p, &skip, &err))
			return req_fail(r, ERR_INVALID, "items[%zu]: %.270s", i, err.msg);
		if (PB_HAS(it, retry_count) && (it->retry_count < 0 || it->retry_count > INT16_MAX))
			return req_fail(r, ERR_INVALID, "items[%zu].retry_count: must be 0 to %d", i, INT16_MAX);
	}
	if (m->n_items == 0 || skip)
		return reported(r);
	for (size_t i = 0; i < m->n_items; i++) {
		const Hw__BatchActionEventItem *it = m->items[i];

		(void)read_report(r, m->event_type, pb_raw(it->event_payload), p, &skip, &err);
		svc_report_member(svc_of(r), tenant_of(r)->tenant_no, batch_id, ids[i], PB_HAS(it, retry_count) ? it->retry_count : -1,
				  p->kind, p->payload, PB_HAS(it, should_not_retry) && it->should_not_retry, req_op(r, reported));
	}
	return req_await(r);
}

static struct step *released(struct req *r)
{
	Hw__ReleaseSlotResponse out = HW__RELEASE_SLOT_RESPONSE__INIT;

	return api_reply_msg(r, PB_MSG(&out));
}

struct step *rpc_release_slot(struct req *r)
{
	struct err err;
	const Hw__ReleaseSlotRequest *m = api_msg(r, &hw__release_slot_request__descriptor, &err);
	int64_t id;

	if (!m || !api_id(r, pb_raw(m->task_run_external_id), "task_run_external_id", &id, &err))
		return req_fail_err(r, &err);
	svc_release_slot(svc_of(r), tenant_of(r)->tenant_no, id, req_op(r, released));
	return req_await(r);
}

struct refresh {
	int64_t timeout_at_us;
};

static struct step *refreshed(struct req *r)
{
	Hw__RefreshTimeoutResponse out = HW__REFRESH_TIMEOUT_RESPONSE__INIT;

	out.timeout_at = pb_set_time(req_arena(r), REQ_STATE(r, struct refresh)->timeout_at_us);
	return api_reply_msg(r, PB_MSG(&out));
}

struct step *rpc_refresh_timeout(struct req *r)
{
	struct err err, why;
	const Hw__RefreshTimeoutRequest *m = api_msg(r, &hw__refresh_timeout_request__descriptor, &err);
	int64_t id, ms;

	if (!m || !api_id(r, pb_raw(m->task_run_external_id), "task_run_external_id", &id, &err))
		return req_fail_err(r, &err);
	if (!duration_parse(pb_raw(m->increment_timeout_by), &ms, &why))
		return req_fail(r, ERR_INVALID, "increment_timeout_by: %s", why.msg);
	svc_refresh_timeout(svc_of(r), tenant_of(r)->tenant_no, id, ms, &REQ_STATE(r, struct refresh)->timeout_at_us,
			    req_op(r, refreshed));
	return req_await(r);
}
