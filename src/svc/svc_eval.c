/* Expressions of a task: evaluated once when it is made; what fails is the text of its error. */
#include "svc_int.h"

#include "base/uuid.h"

enum { EVAL_BYTES_MAX = 128 << 20 };

bool eval_fail(struct eval *e, struct str expression, const char *why)
{
	e->why = arena_strf(e->a, "failed to parse %s expression (%.*s): %s", e->what ? e->what : "step", (int)MIN(expression.n, 200u), expression.p, why).p;
	return false;
}

bool eval_run(struct eval *e, const struct cel_prog *p, struct str expression, unsigned kinds, struct cel_val *ret)
{
	struct cel_err err;

	if (!p)
		return eval_fail(e, expression, "it does not compile");
	return cel_eval_as(p, e->vars, e->scratch, NULL, kinds, ret, &err) || eval_fail(e, expression, err.msg);
}

bool eval_key(struct eval *e, const struct cel_prog *p, struct str expression, struct str *ret)
{
	struct cel_val v;

	if (!eval_run(e, p, expression, CEL_K(STRING), &v))
		return false;
	if (v.s.n > CONF_KEY_BYTES_MAX)
		return eval_fail(e, expression, arena_strf(e->a, "the key has %zu bytes, at most %d are allowed", v.s.n, CONF_KEY_BYTES_MAX).p);
	if (memchr(v.s.p ? v.s.p : "", 0, v.s.n))
		return eval_fail(e, expression, "the key holds a zero byte");
	*ret = arena_dup(e->a, v.s);
	return true;
}

bool eval_number(struct eval *e, const struct cel_prog *p, struct str expression, double *ret)
{
	struct cel_val v;

	if (!eval_run(e, p, expression, CEL_K(INT) | CEL_K(UINT) | CEL_K(DOUBLE), &v))
		return false;
	*ret = v.kind == CEL_DOUBLE ? v.d : v.kind == CEL_UINT ? (double)v.u : (double)v.i;
	return true;
}

static bool parse(struct eval *e, const char *field, struct str json, struct cel_val *ret)
{
	const struct jv *v;
	struct err err;

	v = json_parse(e->scratch, json.n ? json : STR("{}"), &err);
	if (!v || jv_type(v) != JV_OBJ) {
		e->why = arena_strf(e->a, "failed to parse step expression: %s must be a JSON object", field).p;
		return false;
	}
	*ret = cel_json(v);
	return true;
}

bool eval_objects(struct eval *e, const struct svc_trigger_item *it)
{
	return parse(e, "input", it->input, &e->vars[0]) && parse(e, "additional_metadata", it->metadata, &e->vars[1]);
}

const char *eval_task(struct svc *s, struct svc_trigger_item *it, struct made *ret)
{
	const struct cat_step *step = it->version->steps[0];
	struct eval e = {.s = s, .a = it->arena};
	char text[UUID_TEXT + 1];
	struct uuid u;

	*ret = (struct made){0};
	if (step->n_strategies == 0 && step->n_limits == 0 && step->batch.max_size == 0)
		return NULL;
	e.scratch = arena_new(EVAL_BYTES_MAX);
	id_to_uuid(catalog_id_secret(s->catalog), it->id, &u);
	uuid_format(&u, text);
	e.vars[2] = cel_string(str_c(text));
	if (eval_objects(&e, it) && batch_eval(&e, it, step) && keys_eval(&e, it, step, ret->entries))
		(void)limits_eval(&e, it, step, &ret->limits, &ret->n_limits);
	arena_free(e.scratch);
	return e.why;
}
