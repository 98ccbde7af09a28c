/* The audit, asked for by a client: of its own tenant, while everything goes on. */
#include "api_int.h"

#include "svc/verify.h"

static struct step *verified(struct req *r)
{
	const struct verify_report *v = REQ_STATE(r, struct verify_report);
	struct reply_json j;

	json_begin(&j);
	jw_obj_begin(&j.w);
	jw_kv_i64(&j.w, "checked", (int64_t)v->n_checked);
	jw_kv_i64(&j.w, "unsettled", (int64_t)v->n_unsettled);
	jw_kv_i64(&j.w, "differences", (int64_t)v->n_diffs);
	jw_key(&j.w, "rows");
	jw_arr_begin(&j.w);
	for (size_t i = 0; i < MIN(v->n_diffs, (uint64_t)VERIFY_DIFFS); i++) {
		jw_obj_begin(&j.w);
		jw_kv_c(&j.w, "kind", v->diffs[i].kind);
		jw_kv_str(&j.w, "text", v->diffs[i].text);
		if (v->diffs[i].id > 0)
			json_id(r, &j.w, "taskId", v->diffs[i].id);
		jw_obj_end(&j.w);
	}
	jw_arr_end(&j.w);
	jw_obj_end(&j.w);
	return json_end(r, 200, &j);
}

struct step *rest_verify(struct req *r)
{
	svc_verify(svc_of(r), req_arena(r), tenant_of(r)->tenant_no, REQ_STATE(r, struct verify_report), req_op(r, verified));
	return req_await(r);
}
