/* The service WorkflowService: runs are started here, one or many; a bulk call is all or nothing and keeps its order. */
#include "api_int.h"

static struct trigger_args args_of(const V1__TriggerWorkflowRequest *m)
{
	struct trigger_args t = {.name = pb_raw(m->name), .input = pb_raw(m->input), .child_index = -1};

	if (PB_HAS(m, additional_metadata))
		t.metadata = pb_raw(m->additional_metadata);
	t.has_priority = PB_HAS(m, priority);
	t.priority = t.has_priority ? m->priority : 0;
	if (PB_HAS(m, parent_task_run_external_id))
		t.parent_task = pb_raw(m->parent_task_run_external_id);
	if (PB_HAS(m, parent_id))
		t.parent_run = pb_raw(m->parent_id);
	if (PB_HAS(m, child_index))
		t.child_index = m->child_index;
	if (PB_HAS(m, child_key))
		t.child_key = pb_raw(m->child_key);
	if (PB_HAS(m, desired_worker_id))
		t.desired_worker = pb_raw(m->desired_worker_id);
	t.labels = m->desired_worker_labels;
	t.n_labels = m->n_desired_worker_labels;
	return t;
}

static struct step *triggered(struct req *r)
{
	const struct svc_trigger_item *item = REQ_STATE(r, struct svc_trigger_item);
	Hw__TriggerWorkflowResponse out = HW__TRIGGER_WORKFLOW_RESPONSE__INIT;

	if (item->holder_id)
		return collision_reply(r, item, 1, false);
	out.workflow_run_id = api_pb_id(r, item->id);
	return api_reply_msg(r, PB_MSG(&out));
}

struct step *rpc_trigger_workflow(struct req *r)
{
	struct svc_trigger_item *item = REQ_STATE(r, struct svc_trigger_item);
	const V1__TriggerWorkflowRequest *m;
	struct trigger_args t;
	struct err err;

	m = api_msg(r, &v1__trigger_workflow_request__descriptor, &err);
	if (!m)
		return req_fail_err(r, &err);
	t = args_of(m);
	if (!trigger_check(r, &t, item, &err))
		return req_fail_err(r, &err);
	svc_trigger(svc_of(r), tenant_of(r)->tenant_no, item, 1, req_op(r, triggered));
	return req_await(r);
}

struct bulk {
	struct svc_trigger_item *items;
	uint32_t n;
};

static struct step *bulk_triggered(struct req *r)
{
	struct bulk *b = REQ_STATE(r, struct bulk);
	Hw__BulkTriggerWorkflowResponse out = HW__BULK_TRIGGER_WORKFLOW_RESPONSE__INIT;

	for (uint32_t i = 0; i < b->n; i++)
		if (b->items[i].holder_id)
			return collision_reply(r, b->items, b->n, true);
	out.n_workflow_run_ids = b->n;
	out.workflow_run_ids = ARENA_ARRAY(req_arena(r), ProtobufCBinaryData, b->n + 1);
	for (uint32_t i = 0; i < b->n; i++)
		out.workflow_run_ids[i] = api_pb_id(r, b->items[i].id);
	return api_reply_msg(r, PB_MSG(&out));
}

struct step *rpc_bulk_trigger_workflow(struct req *r)
{
	struct bulk *b = REQ_STATE(r, struct bulk);
	const Hw__BulkTriggerWorkflowRequest *m;
	struct err err;

	m = api_msg(r, &hw__bulk_trigger_workflow_request__descriptor, &err);
	if (!m)
		return req_fail_err(r, &err);
	if (m->n_workflows > CONF_BULK_TRIGGER_MAX)
		return req_fail(r, ERR_INVALID, "workflows: %zu given, at most %d in one call", m->n_workflows, CONF_BULK_TRIGGER_MAX);
	b->n = (uint32_t)m->n_workflows;
	b->items = ARENA_ARRAY(req_arena(r), struct svc_trigger_item, b->n + 1);
	for (uint32_t i = 0; i < b->n; i++) {
		struct trigger_args t = args_of(m->workflows[i]);

		if (!trigger_check(r, &t, &b->items[i], &err))
			return req_fail(r, err.code, "workflows[%u]: %.270s", i, err.msg);
	}
	if (b->n == 0)
		return bulk_triggered(r);
	svc_trigger(svc_of(r), tenant_of(r)->tenant_no, b->items, b->n, req_op(r, bulk_triggered));
	return req_await(r);
}
