/* One run to start, whatever door it comes through: names, JSON, sizes, what is not built.
 * Invariant: nothing of a call is handed to svc before every item of it has passed here. */
#include "api_int.h"

#include "base/text.h"

/* null and empty metadata are none. */
static bool metadata_check(struct str in, struct str *ret, struct err *err)
{
	*ret = STR_NULL;
	if (!in.n || str_eq(in, STR("null")))
		return true;
	*ret = in;
	return json_check(in, JSON_F_OBJECT | JSON_F_DB, "additional_metadata", err);
}

bool trigger_check_texts(const struct trigger_args *t, size_t bytes_max, struct str *ret_input, struct str *ret_metadata,
			 struct err *err)
{
	size_t room = bytes_max - CONF_ENVELOPE_BYTES, n = t->input.n + t->metadata.n;

	*ret_input = t->input;
	if (n > room)
		return err_set(err, ERR_EXHAUSTED, "input and additional_metadata have %zu bytes, at most %zu are allowed", n, room);
	if (t->input.n && !json_check(t->input, JSON_F_NO_NUL, "input", err))
		return false;
	if (!metadata_check(t->metadata, ret_metadata, err))
		return false;
	if (t->has_priority && (t->priority < 1 || t->priority > 3))
		return err_set(err, ERR_INVALID, "priority: must be 1 to 3");
	return true;
}

/* Child fields mean something only together with the parent's task. */
static bool parent_check(struct req *r, const struct trigger_args *t, struct svc_trigger_item *ret, struct err *err)
{
	struct uuid u;
	struct err why;

	ret->child_index = -1;
	if (!t->parent_task.n)
		return true;
	if (!api_id(r, t->parent_task, "parent_task_run_external_id", &ret->parent_id, &why))
		return err_set(err, ERR_INVALID, "%s", why.msg);
	if (t->parent_run.n && !uuid_parse(t->parent_run, &u))
		return err_set(err, ERR_INVALID, "parent_id: must be a UUID of 36 characters");
	if (!text_check(t->child_key, "child_key", err))
		return false;
	if (t->child_key.n > CONF_CHILD_KEY_BYTES_MAX)
		return err_set(err, ERR_INVALID, "child_key: at most %d bytes", CONF_CHILD_KEY_BYTES_MAX);
	ret->child_index = MAX(t->child_index, -1);
	ret->child_key = t->child_key;
	return true;
}

static bool version_check(struct req *r, const struct trigger_args *t, struct cat_version **ret, struct err *err)
{
	if (!t->name.n)
		return err_set(err, ERR_INVALID, "name: must be the name of a workflow");
	if (!text_check(t->name, "name", err))
		return false;
	return svc_find_version(svc_of(r), tenant_of(r)->tenant_no, t->name, ret, err);
}

/* A worker that is not known, or is another tenant's, is one that never comes: SOFT goes elsewhere, HARD waits its time. */
static bool place_check(struct req *r, const struct trigger_args *t, struct svc_trigger_item *ret, struct err *err)
{
	const struct cat_worker *w;
	struct uuid u;

	if (t->desired_worker.n) {
		if (!uuid_parse(t->desired_worker, &u))
			return err_set(err, ERR_INVALID, "desired_worker_id: must be a UUID of 36 characters");
		w = cat_worker_by_uuid(catalog_of(r), &u);
		ret->desired_no = w && w->tenant_no == tenant_of(r)->tenant_no ? w->worker_no : -1;
	}
	if (!t->n_labels)
		return true;
	if (!labels_check(t->labels, t->n_labels, "desired_worker_labels", err))
		return false;
	ret->n_wants = labels_read(req_arena(r), t->labels, t->n_labels, &ret->wants);
	ret->labels = cat_wants_format(req_arena(r), ret->wants, ret->n_wants);
	return true;
}

bool trigger_check(struct req *r, const struct trigger_args *t, struct svc_trigger_item *ret, struct err *err)
{
	*ret = (struct svc_trigger_item){.arena = req_arena(r)};
	if (!trigger_check_texts(t, svc_msg_bytes_max(svc_of(r)), &ret->input, &ret->metadata, err) || !parent_check(r, t, ret, err))
		return false;
	if (!place_check(r, t, ret, err))
		return false;
	ret->priority = (int16_t)(t->has_priority ? t->priority : 0);
	return version_check(r, t, &ret->version, err);
}
