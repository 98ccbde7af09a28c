/* The service Dispatcher, first half: workers as such.  What they report about tasks is in rpc_tasks.c.
 * Does not know streams: svc opens and feeds them. */
#include "api_int.h"

enum { NAME_MAX_BYTES = 1024, TEXT_MAX_BYTES = 4096 };

struct step *rpc_get_version(struct req *r)
{
	Hw__GetVersionResponse out = HW__GET_VERSION_RESPONSE__INIT;

	out.version = pb_set(STR(WIRE_VERSION));
	return api_reply_msg(r, PB_MSG(&out));
}

/* --- Register ------------------------------------------------------------ */

static bool short_text(ProtobufCBinaryData in, const char *field, size_t max, struct str *ret, struct err *err)
{
	if (!pb_str(in, field, ret, err))
		return false;
	return ret->n <= max || err_set(err, ERR_INVALID, "%s: at most %zu bytes", field, max);
}

static bool read_labels(struct arena *a, Hw__WorkerLabelsEntry **in, size_t n, const struct cat_label **ret, uint32_t *ret_n,
			struct err *err)
{
	struct cat_label *l;

	if (n > CONF_WORKER_LABELS_MAX)
		return err_set(err, ERR_INVALID, "labels: at most %d", CONF_WORKER_LABELS_MAX);
	l = ARENA_ARRAY(a, struct cat_label, n + 1);
	for (size_t i = 0; i < n; i++) {
		const Hw__WorkerLabels *v = in[i]->value;

		if (!short_text(in[i]->key, "labels: key", NAME_MAX_BYTES, &l[i].key, err))
			return false;
		if (!v || PB_HAS(v, str_value) == PB_HAS(v, int_value))
			return err_set(err, ERR_INVALID, "labels: %.*s needs either str_value or int_value", STR_FMT(l[i].key));
		l[i].is_int = PB_HAS(v, int_value);
		if (l[i].is_int)
			l[i].int_value = v->int_value;
		else if (!short_text(v->str_value, "labels: str_value", TEXT_MAX_BYTES, &l[i].str_value, err))
			return false;
	}
	*ret = l;
	*ret_n = (uint32_t)n;
	return true;
}

static bool read_slots(const Hw__WorkerRegisterRequest *m, struct cat_worker_new *n, struct err *err)
{
	size_t k = 0;

	if (PB_HAS(m, slots) && m->n_slot_config)
		return err_set(err, ERR_INVALID, "slots: must not be set together with slot_config");
	if (!m->n_slot_config) {
		if (PB_HAS(m, slots) && m->slots <= 0)
			return err_set(err, ERR_INVALID, "slots: must be at least 1");
		n->slot_names[0] = STR("default");
		n->slot_units[0] = PB_HAS(m, slots) ? m->slots : 100;
		return true;
	}
	for (size_t i = 0; i < m->n_slot_config; i++) {
		const Hw__Int32Entry *e = m->slot_config[i];
		struct str name;
		size_t at = 0;

		if (!short_text(e->key, "slot_config: key", NAME_MAX_BYTES, &name, err))
			return false;
		if (!name.n || e->value < 0)
			return err_set(err, ERR_INVALID, "slot_config: needs a name and units of at least 0");
		while (at < k && !str_eq(n->slot_names[at], name))
			at++;
		if (at == CAT_SLOTS)
			return err_set(err, ERR_INVALID, "slot_config: at most %d types", CAT_SLOTS);
		n->slot_names[at] = name;
		n->slot_units[at] = e->value;
		k = MAX(k, at + 1);
	}
	for (size_t i = 0; i < k;) {	/* 0 units end the list for readers: types without units are left out */
		if (n->slot_units[i] > 0) {
			i++;
			continue;
		}
		k--;
		n->slot_names[i] = n->slot_names[k];
		n->slot_units[i] = n->slot_units[k];
		n->slot_names[k] = STR_NULL;
		n->slot_units[k] = 0;
	}
	return k > 0 || err_set(err, ERR_INVALID, "slot_config: all types have 0 units");
}

static bool read_runtime(const Hw__RuntimeInfo *i, struct cat_worker_new *n, struct err *err)
{
	if (!i)
		return true;
	n->language = PB_HAS(i, language) ? (int32_t)i->language : 0;
	return (!PB_HAS(i, sdk_version) ||
		short_text(i->sdk_version, "runtime_info: sdk_version", TEXT_MAX_BYTES, &n->sdk_version, err)) &&
	       (!PB_HAS(i, language_version) ||
		short_text(i->language_version, "runtime_info: language_version", TEXT_MAX_BYTES, &n->language_version, err)) &&
	       (!PB_HAS(i, os) || short_text(i->os, "runtime_info: os", TEXT_MAX_BYTES, &n->os, err)) &&
	       (!PB_HAS(i, extra) || short_text(i->extra, "runtime_info: extra", TEXT_MAX_BYTES, &n->extra, err));
}

static bool read_register(struct arena *a, const Hw__WorkerRegisterRequest *m, struct cat_worker_new *n, struct err *err)
{
	struct str *actions;

	if (!short_text(m->worker_name, "worker_name", NAME_MAX_BYTES, &n->name, err))
		return false;
	if (!n->name.n)
		return err_set(err, ERR_INVALID, "worker_name: must not be empty");
	if (m->n_actions > CONF_WORKER_ACTIONS_MAX)
		return err_set(err, ERR_INVALID, "actions: at most %d", CONF_WORKER_ACTIONS_MAX);
	actions = ARENA_ARRAY(a, struct str, m->n_actions + 1);
	for (size_t i = 0; i < m->n_actions; i++) {
		if (!short_text(m->actions[i], "actions", NAME_MAX_BYTES, &actions[i], err))
			return false;
		if (!actions[i].n)
			return err_set(err, ERR_INVALID, "actions: must not be empty");
		actions[i] = api_lower(a, actions[i]);
	}
	n->actions = actions;
	n->n_actions = (uint32_t)m->n_actions;
	return read_slots(m, n, err) && read_runtime(m->runtime_info, n, err) &&
	       read_labels(a, m->labels, m->n_labels, &n->labels, &n->n_labels, err);
}

struct registering {
	struct cat_worker_new n;
	struct cat_worker *worker;
};

static struct step *registered(struct req *r)
{
	struct registering *g = REQ_STATE(r, struct registering);
	Hw__WorkerRegisterResponse out = HW__WORKER_REGISTER_RESPONSE__INIT;

	out.tenant_id = pb_set_uuid(req_arena(r), &tenant_of(r)->uuid);
	out.worker_id = pb_set_uuid(req_arena(r), &g->worker->uuid);
	out.worker_name = pb_set(g->worker->name);
	return api_reply_msg(r, PB_MSG(&out));
}

struct step *rpc_register(struct req *r)
{
	struct registering *g = REQ_STATE(r, struct registering);
	const Hw__WorkerRegisterRequest *m;
	struct err err;

	m = api_msg(r, &hw__worker_register_request__descriptor, &err);
	g->n.tenant_no = tenant_of(r)->tenant_no;
	if (!m || !read_register(req_arena(r), m, &g->n, &err))
		return req_fail_err(r, &err);
	svc_register(svc_of(r), &g->n, &g->worker, req_op(r, registered));
	return req_await(r);
}

/* --- Listen, Heartbeat, Unsubscribe ------------------------------------------------------------ */

static struct step *listen(struct req *r, bool beats)
{
	struct err err;
	const Hw__WorkerListenRequest *m = api_msg(r, &hw__worker_listen_request__descriptor, &err);
	struct cat_worker *w = m ? api_worker(r, pb_raw(m->worker_id), "worker_id", &err) : NULL;

	if (!w)
		return req_fail_err(r, &err);
	return svc_listen(svc_of(r), r, w, beats);
}

struct step *rpc_listen(struct req *r)
{
	return listen(r, true);
}

struct step *rpc_listen_v2(struct req *r)
{
	return listen(r, false);
}

struct step *rpc_heartbeat(struct req *r)
{
	struct err err;
	const Hw__HeartbeatRequest *m = api_msg(r, &hw__heartbeat_request__descriptor, &err);
	struct cat_worker *w = m ? api_worker(r, pb_raw(m->worker_id), "worker_id", &err) : NULL;
	Hw__HeartbeatResponse out = HW__HEARTBEAT_RESPONSE__INIT;

	if (!w || !svc_heartbeat(svc_of(r), w, &err))
		return req_fail_err(r, &err);
	return api_reply_msg(r, PB_MSG(&out));
}

static struct step *unsubscribed(struct req *r)
{
	struct cat_worker **w = REQ_STATE(r, struct cat_worker *);
	Hw__WorkerUnsubscribeResponse out = HW__WORKER_UNSUBSCRIBE_RESPONSE__INIT;

	out.tenant_id = pb_set_uuid(req_arena(r), &tenant_of(r)->uuid);
	out.worker_id = pb_set_uuid(req_arena(r), &(*w)->uuid);
	return api_reply_msg(r, PB_MSG(&out));
}

struct step *rpc_unsubscribe(struct req *r)
{
	struct err err;
	const Hw__WorkerUnsubscribeRequest *m = api_msg(r, &hw__worker_unsubscribe_request__descriptor, &err);
	struct cat_worker **w = REQ_STATE(r, struct cat_worker *);

	*w = m ? api_worker(r, pb_raw(m->worker_id), "worker_id", &err) : NULL;
	if (!*w)
		return req_fail_err(r, &err);
	svc_unsubscribe(svc_of(r), *w, req_op(r, unsubscribed));
	return req_await(r);
}

/* --- labels ------------------------------------------------------------ */

static struct step *labelled(struct req *r)
{
	struct cat_worker **w = REQ_STATE(r, struct cat_worker *);
	Hw__UpsertWorkerLabelsResponse out = HW__UPSERT_WORKER_LABELS_RESPONSE__INIT;

	out.tenant_id = pb_set_uuid(req_arena(r), &tenant_of(r)->uuid);
	out.worker_id = pb_set_uuid(req_arena(r), &(*w)->uuid);
	return api_reply_msg(r, PB_MSG(&out));
}

struct step *rpc_upsert_worker_labels(struct req *r)
{
	struct err err;
	const Hw__UpsertWorkerLabelsRequest *m = api_msg(r, &hw__upsert_worker_labels_request__descriptor, &err);
	struct cat_worker **w = REQ_STATE(r, struct cat_worker *);
	const struct cat_label *labels;
	uint32_t n;

	*w = m ? api_worker(r, pb_raw(m->worker_id), "worker_id", &err) : NULL;
	if (!*w || !read_labels(req_arena(r), m->labels, m->n_labels, &labels, &n, &err))
		return req_fail_err(r, &err);
	svc_label_worker(svc_of(r), *w, labels, n, req_op(r, labelled));
	return req_await(r);
}

/* --- subscriptions ------------------------------------------------------------ */

struct step *rpc_subscribe_runs(struct req *r)
{
	return svc_subscribe_runs(svc_of(r), r, tenant_of(r)->tenant_no);
}

struct watching {
	struct str run;
};

static struct step *watch_known(struct req *r)
{
	struct err err;
	int64_t id;

	if (!api_id(r, REQ_STATE(r, struct watching)->run, "workflow_run_id", &id, &err))
		return req_fail_err(r, &err);
	return svc_subscribe_events(svc_of(r), r, tenant_of(r)->tenant_no, id);
}

struct step *rpc_subscribe_events(struct req *r)
{
	struct watching *w = REQ_STATE(r, struct watching);
	struct err err;
	const Hw__SubscribeToWorkflowEventsRequest *m = api_msg(r, &hw__subscribe_to_workflow_events_request__descriptor, &err);

	if (!m)
		return req_fail_err(r, &err);
	if (!PB_HAS(m, workflow_run_id) || !m->workflow_run_id.len) {
		if (PB_HAS(m, additional_meta_key) && PB_HAS(m, additional_meta_value))
			return req_fail(r, ERR_UNIMPLEMENTED, "additional_meta_key: subscribing by metadata is not built yet");
		return req_fail(r, ERR_INVALID, "workflow_run_id: must be set, or both metadata fields");
	}
	w->run = pb_raw(m->workflow_run_id);
	return alias_settled(r, &w->run, 1, watch_known);
}
