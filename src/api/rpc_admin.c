/* The service v1.AdminService: definitions, run details, cancel, the trigger behind the REST one. */
#include "api_int.h"

#include "base/text.h"

/* --- PutWorkflow ------------------------------------------------------------ */

struct putting {
	struct def def;
	struct cat_version *version;
	bool is_new;
};

static struct step *put_done(struct req *r)
{
	struct putting *p = REQ_STATE(r, struct putting);
	V1__CreateWorkflowVersionResponse out = V1__CREATE_WORKFLOW_VERSION_RESPONSE__INIT;

	out.id = pb_set_uuid(req_arena(r), &p->version->uuid);
	out.workflow_id = pb_set_uuid(req_arena(r), &p->version->workflow->uuid);
	return api_reply_msg(r, PB_MSG(&out));
}

struct step *rpc_put_workflow(struct req *r)
{
	struct putting *p = REQ_STATE(r, struct putting);
	const V1__CreateWorkflowVersionRequest *m;
	struct err err;

	if (req_body(r).n > CONF_DEFINITION_BYTES_MAX)
		return req_fail(r, ERR_EXHAUSTED, "the definition has %zu bytes, at most %d are allowed", req_body(r).n,
				CONF_DEFINITION_BYTES_MAX);
	m = api_msg(r, &v1__create_workflow_version_request__descriptor, &err);
	if (!m || !def_make(req_arena(r), m, &p->def, &err))
		return req_fail_err(r, &err);
	p->def.put.tenant_no = tenant_of(r)->tenant_no;
	if (!def_order_of_shared(r, &p->def.put, &err))
		return req_fail_err(r, &err);
	svc_put_workflow(svc_of(r), &p->def.put, &p->version, &p->is_new, req_op(r, put_done));
	return req_await(r);
}

/* --- GetRunDetails ------------------------------------------------------------ */

struct details {
	struct str text;
	int64_t id;
	struct read_tasks got;
};

static V1__TaskRunDetail *task_detail(struct req *r, const struct task_view *t)
{
	V1__TaskRunDetail *d = arena_alloc(req_arena(r), sizeof(*d));
	const struct cat_step *step = cat_step(catalog_of(r), t->step_no);
	const struct attempt_view *last = t->n_attempts ? &t->attempts[t->n_attempts - 1] : NULL;

	v1__task_run_detail__init(d);
	d->external_id = api_pb_id(r, t->id);
	d->status = (V1__RunStatus)t->status;
	d->readable_id = pb_set(step ? step->readable_id : STR("unknown"));
	if (t->status == RUN_FAILED && last)
		PB_OPT(d, error, V1__TASK_RUN_DETAIL__HAS_ERROR_ERROR, pb_set(last->error));
	if (t->status == RUN_COMPLETED && last && last->output.n)
		PB_OPT(d, output, V1__TASK_RUN_DETAIL__HAS_OUTPUT_OUTPUT, pb_set(last->output));
	return d;
}

/* A request that is no run: no step exists, so that what is wrong with it is told in the place of one, named like the workflow. */
static struct step *details_open(struct req *r, const struct request_view *v)
{
	V1__GetRunDetailsResponse out = V1__GET_RUN_DETAILS_RESPONSE__INIT;
	V1__TaskRunDetailEntry entry = V1__TASK_RUN_DETAIL_ENTRY__INIT, *entries[] = {&entry};
	V1__TaskRunDetail detail = V1__TASK_RUN_DETAIL__INIT;

	out.input = pb_set(v->input);
	out.additional_metadata = pb_set(v->metadata.n ? v->metadata : STR("{}"));
	out.done = v->state == REQUEST_REFUSED;
	out.status = out.done ? V1__RUN_STATUS__FAILED : V1__RUN_STATUS__QUEUED;
	if (out.done) {
		detail.external_id = pb_set_uuid(req_arena(r), &v->id);
		detail.readable_id = entry.key = pb_set(v->workflow);
		detail.status = out.status;
		PB_OPT(&detail, error, V1__TASK_RUN_DETAIL__HAS_ERROR_ERROR, pb_set(v->why));
		entry.value = &detail;
		out.task_runs = entries;
		out.n_task_runs = 1;
	}
	return api_reply_msg(r, PB_MSG(&out));
}

static struct step *details_read(struct req *r)
{
	struct details *s = REQ_STATE(r, struct details);
	V1__GetRunDetailsResponse out = V1__GET_RUN_DETAILS_RESPONSE__INIT;
	V1__TaskRunDetailEntry entry = V1__TASK_RUN_DETAIL_ENTRY__INIT, *entries[] = {&entry};
	const struct task_view *t = s->got.tasks;
	struct str msg;

	if (s->got.n == 0)
		return req_fail(r, ERR_NOT_FOUND, "external_id: there is no such run");
	entry.value = task_detail(r, t);
	entry.key = entry.value->readable_id;
	out.input = pb_set(t->input.n ? t->input : STR("{}"));
	out.additional_metadata = pb_set(t->metadata.n ? t->metadata : STR("{}"));
	out.status = (V1__RunStatus)t->status;
	out.done = t->status >= RUN_COMPLETED;
	out.task_runs = entries;
	out.n_task_runs = 1;
	if (protobuf_c_message_get_packed_size(PB_MSG(&out)) > svc_msg_bytes_max(svc_of(r)))
		return req_fail(r, ERR_EXHAUSTED, "the run's input and output exceed the message limit of %u bytes",
				svc_msg_bytes_max(svc_of(r)));
	msg = pb_pack(req_arena(r), PB_MSG(&out));
	return req_reply(r, msg);
}

static struct step *details_known(struct req *r)
{
	struct details *s = REQ_STATE(r, struct details);
	const struct request_view *v = alias_find(r, s->text);
	struct err err;

	if (v && v->state != REQUEST_TAKEN)
		return details_open(r, v);
	if (!api_id(r, s->text, "external_id", &s->id, &err))
		return req_fail_err(r, &err);
	read_tasks(svc_db(svc_of(r)), req_arena(r), tenant_of(r)->tenant_no, &s->id, 1, READ_PAYLOADS, &s->got, req_op(r, details_read));
	return req_await(r);
}

struct step *rpc_get_run_details(struct req *r)
{
	struct details *s = REQ_STATE(r, struct details);
	const V1__GetRunDetailsRequest *m;
	struct err err;

	m = api_msg(r, &v1__get_run_details_request__descriptor, &err);
	if (!m)
		return req_fail_err(r, &err);
	s->text = pb_raw(m->external_id);
	return alias_ids(r, &s->text, 1, details_known);
}

/* --- CancelTasks, ReplayTasks ------------------------------------------------------------ */

static struct step *cancelled(struct req *r, const struct bulk_done *done)
{
	V1__CancelTasksResponse out = V1__CANCEL_TASKS_RESPONSE__INIT;

	out.n_cancelled_tasks = done->n;
	out.cancelled_tasks = ARENA_ARRAY(req_arena(r), ProtobufCBinaryData, done->n + 1);
	for (size_t i = 0; i < done->n; i++)
		out.cancelled_tasks[i] = api_pb_id(r, done->ids[i]);
	return api_reply_msg(r, PB_MSG(&out));
}

static bool filter_times(const V1__TasksFilter *m, struct bulk_filter *f, struct err *err)
{
	f->until_us = INT64_MAX;
	if (!pb_time(m->since, &f->since_us))
		return err_set(err, ERR_INVALID, "filter.since: must be a time");
	if (m->until && !pb_time(m->until, &f->until_us))
		return err_set(err, ERR_INVALID, "filter.until: must be a time");
	return true;
}

enum { FILTER_MAX = 1000 };

static bool filter_of(struct req *r, const V1__TasksFilter *m, struct bulk_filter *f, struct err *err)
{
	int32_t *nos;
	struct str *pairs;
	struct uuid u;

	if (!filter_times(m, f, err))
		return false;
	if (m->n_workflow_ids > FILTER_MAX || m->n_additional_metadata > FILTER_MAX || m->n_statuses > FILTER_MAX)
		return err_set(err, ERR_INVALID, "filter: at most %d entries per list", FILTER_MAX);
	for (size_t i = 0; i < m->n_statuses; i++) {
		enum run_status s;

		if (!run_status_parse(pb_raw(m->statuses[i]), &s))
			return err_set(err, ERR_INVALID, "filter.statuses[%zu]: is not a status", i);
		f->status_mask |= 1u << s;
	}
	f->workflow_nos = nos = ARENA_ARRAY(req_arena(r), int32_t, m->n_workflow_ids + 1);
	for (size_t i = 0; i < m->n_workflow_ids; i++) {
		if (!pb_uuid(m->workflow_ids[i], "filter.workflow_ids", &u, err))
			return false;
		nos[f->n_workflows++] = workflow_no_of(r, &u);
	}
	f->meta_pairs = pairs = ARENA_ARRAY(req_arena(r), struct str, m->n_additional_metadata + 1);
	for (size_t i = 0; i < m->n_additional_metadata; i++) {
		struct str s;

		if (!pb_str(m->additional_metadata[i], "filter.additional_metadata", &s, err))
			return false;
		if (!s.n || !memchr(s.p, ':', s.n))	/* dropping it would cancel more than was meant */
			return err_set(err, ERR_INVALID, "filter.additional_metadata[%zu]: must be key:value", i);
		pairs[f->n_meta++] = s;
	}
	return true;
}

static struct step *replayed(struct req *r, const struct bulk_done *done)
{
	V1__ReplayTasksResponse out = V1__REPLAY_TASKS_RESPONSE__INIT;

	out.n_replayed_tasks = done->n;
	out.replayed_tasks = ARENA_ARRAY(req_arena(r), ProtobufCBinaryData, done->n + 1);
	for (size_t i = 0; i < done->n; i++)
		out.replayed_tasks[i] = api_pb_id(r, done->ids[i]);
	return api_reply_msg(r, PB_MSG(&out));
}

static struct step *act_on(struct req *r, enum bulk_what what, const ProtobufCBinaryData *ids, size_t n, const V1__TasksFilter *filter,
			   bulk_reply_fn *reply)
{
	struct bulk_filter f = {0};
	struct str *texts;
	struct err err;

	if (filter && n)
		return req_fail(r, ERR_INVALID, "filter: must not be set together with external_ids");
	if (filter)
		return filter_of(r, filter, &f, &err) ? bulk_filtered(r, what, &f, reply) : req_fail_err(r, &err);
	if (n > CONF_BULK_IDS_MAX)
		return req_fail(r, ERR_INVALID, "external_ids: at most %d", CONF_BULK_IDS_MAX);
	texts = ARENA_ARRAY(req_arena(r), struct str, n + 1);
	for (size_t i = 0; i < n; i++)
		texts[i] = pb_raw(ids[i]);
	return bulk_listed(r, what, texts, n, "external_ids", reply);
}

struct step *rpc_cancel_tasks(struct req *r)
{
	const V1__CancelTasksRequest *m;
	struct err err;

	m = api_msg(r, &v1__cancel_tasks_request__descriptor, &err);
	if (!m)
		return req_fail_err(r, &err);
	return act_on(r, BULK_CANCEL, m->external_ids, m->n_external_ids, m->filter, cancelled);
}

struct step *rpc_replay_tasks(struct req *r)
{
	const V1__ReplayTasksRequest *m;
	struct err err;

	m = api_msg(r, &v1__replay_tasks_request__descriptor, &err);
	if (!m)
		return req_fail_err(r, &err);
	return act_on(r, BULK_REPLAY, m->external_ids, m->n_external_ids, m->filter, replayed);
}

/* --- TriggerWorkflowRun ------------------------------------------------------------ */

static struct step *triggered(struct req *r)
{
	const struct svc_trigger_item *item = REQ_STATE(r, struct svc_trigger_item);
	V1__TriggerWorkflowRunResponse out = V1__TRIGGER_WORKFLOW_RUN_RESPONSE__INIT;

	if (item->holder_id)
		return collision_reply(r, item, 1, false);
	out.external_id = api_pb_id(r, item->id);
	return api_reply_msg(r, PB_MSG(&out));
}

struct step *rpc_trigger_workflow_run(struct req *r)
{
	struct svc_trigger_item *item = REQ_STATE(r, struct svc_trigger_item);
	const V1__TriggerWorkflowRunRequest *m;
	struct trigger_args t;
	struct err err;

	m = api_msg(r, &v1__trigger_workflow_run_request__descriptor, &err);
	if (!m)
		return req_fail_err(r, &err);
	t = (struct trigger_args){.name = pb_raw(m->workflow_name), .input = pb_raw(m->input), .metadata = pb_raw(m->additional_metadata),
		.has_priority = PB_HAS(m, priority), .priority = PB_HAS(m, priority) ? m->priority : 0, .child_index = -1,
		.labels = m->desired_worker_labels, .n_labels = m->n_desired_worker_labels};
	if (!trigger_check(r, &t, item, &err))
		return req_fail_err(r, &err);
	svc_trigger(svc_of(r), tenant_of(r)->tenant_no, item, 1, req_op(r, triggered));
	return req_await(r);
}
