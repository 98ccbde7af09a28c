/* Messages to workers and subscribers, encoded once and shared by all who get them. */
#include "svc_int.h"

#include "pb/dispatcher.pb-c.h"
#include "pb/pb.h"

#include <stdlib.h>

/* Room a result message leaves for its envelope: ids, names, framing. */
enum { ENVELOPE_BYTES = 1024 };

struct names {			/* texts of ids, borrowed by one message */
	char tenant[UUID_TEXT + 1], task[UUID_TEXT + 1], step[UUID_TEXT + 1], workflow[UUID_TEXT + 1], version[UUID_TEXT + 1];
	char parent[UUID_TEXT + 1];
};

static ProtobufCBinaryData text(const char *c)
{
	return pb_set(str_c(c));
}

static void id_text(struct svc *s, int64_t id, char out[UUID_TEXT + 1])
{
	struct uuid u;

	id_to_uuid(catalog_id_secret(s->catalog), id, &u);
	uuid_format(&u, out);
}

static void fill_time(struct svc *s, Hw__Timestamp *t)
{
	int64_t us = loop_now(s->loop).wall_us;

	t->seconds = us / 1000000;
	t->nanos = (int32_t)(us % 1000000) * 1000;
}

static void fill_action(struct svc *s, Hw__AssignedAction *m, struct names *n, const struct fx *fx)
{
	const struct cat_step *step = cat_step(s->catalog, fx->step_no);
	const struct cat_workflow *wf = step->version->workflow;

	uuid_format(&cat_tenant(s->catalog, fx->tenant_no)->uuid, n->tenant);
	id_text(s, fx->id, n->task);
	uuid_format(&step->uuid, n->step);
	uuid_format(&wf->uuid, n->workflow);
	uuid_format(&step->version->uuid, n->version);
	m->tenant_id = text(n->tenant);
	m->workflow_run_id = text(n->task);
	m->job_id = m->task_id = text(n->step);
	m->job_name = m->task_name = pb_set(step->readable_id);
	m->job_run_id = m->task_run_external_id = text(n->task);
	m->action_id = pb_set(step->action->name);
	m->retry_count = fx->attempt;
	PB_OPT(m, workflow_id, HW__ASSIGNED_ACTION__HAS_WORKFLOW_ID_WORKFLOW_ID, text(n->workflow));
	PB_OPT(m, workflow_version_id, HW__ASSIGNED_ACTION__HAS_WORKFLOW_VERSION_ID_WORKFLOW_VERSION_ID, text(n->version));
}

static const char head[] = "{\"input\":", tail[] = ",\"triggered_by\":\"manual\",\"parents\":{},"
	"\"triggers\":{\"filter_payload\":null},\"user_data\":null,\"overrides\":null}";

struct buf *encode_start(struct svc *s, const struct fx *fx, const struct input *in)
{
	Hw__AssignedAction m = HW__ASSIGNED_ACTION__INIT;
	Hw__Timestamp created = HW__TIMESTAMP__INIT;
	struct names n;
	struct str input = in->n_input ? (struct str){in->bytes, in->n_input} : STR("{}");
	size_t payload_n = sizeof(head) - 1 + input.n + sizeof(tail) - 1;
	char small[2048], *payload = payload_n <= sizeof(small) ? small : xmalloc(payload_n);
	int64_t ms = id_unix_ms(fx->id);
	struct buf *b;

	memcpy(payload, head, sizeof(head) - 1);
	memcpy(payload + sizeof(head) - 1, input.p, input.n);
	memcpy(payload + sizeof(head) - 1 + input.n, tail, sizeof(tail) - 1);
	fill_action(s, &m, &n, fx);
	m.action_type = HW__ACTION_TYPE__START_STEP_RUN;
	m.action_payload = pb_set((struct str){payload, payload_n});
	m.priority = in->priority;
	if (in->n_meta != UINT32_MAX && in->n_meta > 0)
		PB_OPT(&m, additional_metadata, HW__ASSIGNED_ACTION__HAS_ADDITIONAL_METADATA_ADDITIONAL_METADATA,
		       pb_set((struct str){in->bytes + in->n_input, in->n_meta}));
	if (in->parent_id) {
		id_text(s, in->parent_id, n.parent);
		PB_OPT(&m, parent_workflow_run_id, HW__ASSIGNED_ACTION__HAS_PARENT_WORKFLOW_RUN_ID_PARENT_WORKFLOW_RUN_ID,
		       text(n.parent));
		if (in->child_index >= 0)
			PB_OPT(&m, child_workflow_index, HW__ASSIGNED_ACTION__HAS_CHILD_WORKFLOW_INDEX_CHILD_WORKFLOW_INDEX,
			       in->child_index);
		if (in->n_child_key)
			PB_OPT(&m, child_workflow_key, HW__ASSIGNED_ACTION__HAS_CHILD_WORKFLOW_KEY_CHILD_WORKFLOW_KEY,
			       pb_set((struct str){in->bytes + in->n_input + (in->n_meta == UINT32_MAX ? 0 : in->n_meta),
						   in->n_child_key}));
	}
	created.seconds = ms / 1000;
	created.nanos = (int32_t)(ms % 1000) * 1000000;
	m.task_inserted_at = &created;
	b = pb_pack_buf(PB_MSG(&m));
	if (payload != small)
		free(payload);
	return b;
}

static struct str batch_key_of(const struct input *in)
{
	return (struct str){in->bytes + in->n_input + (in->n_meta == UINT32_MAX ? 0 : in->n_meta) + in->n_child_key, in->n_batch_key};
}

/* Members by their ids; no task of its own. */
struct buf *encode_batch(struct svc *s, const struct fx *first, const struct batch_member *members, uint32_t n)
{
	const struct cat_step *step = cat_step(s->catalog, first->step_no);
	Hw__AssignedAction m = HW__ASSIGNED_ACTION__INIT;
	Hw__BatchStartPayload start = HW__BATCH_START_PAYLOAD__INIT;
	Hw__Timestamp at = HW__TIMESTAMP__INIT;
	struct names names;
	struct strb payload;
	struct buf *b;

	strb_init(&payload, (size_t)1 << 30);
	for (uint32_t i = 0; i < n; i++) {
		const struct input *in = members[i].in;

		id_text(s, members[i].id, names.task);
		strb_putf(&payload, "%c\"%s\":{\"payload\":%s", i ? ',' : '{', names.task, head);
		if (in->n_input)
			strb_put(&payload, in->bytes, in->n_input);
		else
			strb_put(&payload, "{}", 2);
		strb_putf(&payload, "%s,\"workflow_run_id\":\"%s\"}", tail, names.task);
	}
	strb_putc(&payload, '}');
	uuid_format(&cat_tenant(s->catalog, first->tenant_no)->uuid, names.tenant);
	uuid_format(&step->version->workflow->uuid, names.workflow);
	uuid_format(&step->version->uuid, names.version);
	id_text(s, first->batch_id, names.parent);
	fill_time(s, &at);
	m.tenant_id = text(names.tenant);
	m.action_id = pb_set(step->action->name);
	m.action_type = HW__ACTION_TYPE__START_BATCH;
	m.action_payload = pb_set(strb_str(&payload));
	m.task_name = pb_set(step->readable_id);
	PB_OPT(&m, workflow_id, HW__ASSIGNED_ACTION__HAS_WORKFLOW_ID_WORKFLOW_ID, text(names.workflow));
	PB_OPT(&m, workflow_version_id, HW__ASSIGNED_ACTION__HAS_WORKFLOW_VERSION_ID_WORKFLOW_VERSION_ID, text(names.version));
	PB_OPT(&m, batch_id, HW__ASSIGNED_ACTION__HAS_BATCH_ID_BATCH_ID, text(names.parent));
	if (members[0].in->n_batch_key)
		PB_OPT(&m, batch_key, HW__ASSIGNED_ACTION__HAS_BATCH_KEY_BATCH_KEY, pb_set(batch_key_of(members[0].in)));
	start.trigger_reason = pb_set((int64_t)n >= step->batch.max_size ? STR("max_size") : STR("max_interval"));
	start.trigger_time = &at;
	start.expected_size = (int32_t)n;
	m.batch_start_payload = &start;
	b = pb_pack_buf(PB_MSG(&m));
	strb_fini(&payload);
	return b;
}

struct buf *encode_cancel(struct svc *s, const struct fx *fx)
{
	Hw__AssignedAction m = HW__ASSIGNED_ACTION__INIT;
	struct names n;

	fill_action(s, &m, &n, fx);
	m.action_type = HW__ACTION_TYPE__CANCEL_STEP_RUN;
	return pb_pack_buf(PB_MSG(&m));
}

/* A result that does not fit one message: the error's text is replaced, an output leaves the results empty. */
struct buf *encode_run_finished(struct svc *s, const struct run_result *r)
{
	static const struct str too_large = STR("the error text is too large to be sent");
	const struct cat_step *step = cat_step(s->catalog, r->step_no);
	size_t room = s->conf.msg_bytes_max - ENVELOPE_BYTES;
	Hw__WorkflowRunEvent m = HW__WORKFLOW_RUN_EVENT__INIT;
	Hw__StepRunResult res = HW__STEP_RUN_RESULT__INIT, *all[] = {&res};
	Hw__Timestamp at = HW__TIMESTAMP__INIT;
	struct str error = r->error.n > room ? too_large : r->error;
	char id[UUID_TEXT + 1];

	if (r->alias)
		uuid_format(r->alias, id);
	else
		id_text(s, r->id, id);
	fill_time(s, &at);
	m.workflow_run_id = text(id);
	m.event_timestamp = &at;
	m.results = all;
	m.n_results = r->status == RUN_COMPLETED && r->output.n > room ? 0 : 1;
	res.task_run_external_id = res.job_run_id = text(id);
	if (step)
		res.task_name = pb_set(step->readable_id);
	if (r->status == RUN_COMPLETED)
		PB_OPT(&res, output, HW__STEP_RUN_RESULT__HAS_OUTPUT_OUTPUT, pb_set(r->output));
	else
		PB_OPT(&res, error, HW__STEP_RUN_RESULT__HAS_ERROR_ERROR,
		       r->status == RUN_CANCELLED ? pb_set(STR_NULL) : pb_set(error));
	return pb_pack_buf(PB_MSG(&m));
}

struct buf *encode_watch(struct svc *s, enum watch_event what, const struct run_result *r, int32_t attempt)
{
	static const Hw__ResourceEventType ended[] = {
		[RUN_COMPLETED] = HW__RESOURCE_EVENT_TYPE__RESOURCE_EVENT_TYPE_COMPLETED,
		[RUN_FAILED] = HW__RESOURCE_EVENT_TYPE__RESOURCE_EVENT_TYPE_FAILED,
		[RUN_CANCELLED] = HW__RESOURCE_EVENT_TYPE__RESOURCE_EVENT_TYPE_CANCELLED,
	};
	size_t room = s->conf.msg_bytes_max - ENVELOPE_BYTES;
	Hw__WorkflowEvent m = HW__WORKFLOW_EVENT__INIT;
	Hw__Timestamp at = HW__TIMESTAMP__INIT;
	char id[UUID_TEXT + 1];

	id_text(s, r->id, id);
	fill_time(s, &at);
	m.workflow_run_id = m.resource_id = text(id);
	m.event_timestamp = &at;
	m.resource_type = what == WATCH_RUN_ENDED ? HW__RESOURCE_TYPE__RESOURCE_TYPE_WORKFLOW_RUN
						  : HW__RESOURCE_TYPE__RESOURCE_TYPE_STEP_RUN;
	m.event_type = what == WATCH_TASK_STARTED ? HW__RESOURCE_EVENT_TYPE__RESOURCE_EVENT_TYPE_STARTED : ended[r->status];
	m.hangup = what == WATCH_RUN_ENDED;
	if (what == WATCH_TASK_ENDED && r->status == RUN_COMPLETED && r->output.n <= room)
		m.event_payload = pb_set(r->output);
	if (what == WATCH_TASK_ENDED && r->status == RUN_FAILED && r->error.n <= room)
		m.event_payload = pb_set(r->error);
	if (what != WATCH_RUN_ENDED)
		PB_OPT(&m, retry_count, HW__WORKFLOW_EVENT__HAS_RETRY_COUNT_RETRY_COUNT, attempt);
	return pb_pack_buf(PB_MSG(&m));
}
