/* Inputs of tasks that have yet to be pushed.
 *
 * A born-assigned task's input stays until its push.  A waiting task's stays while there is room (the oldest, which start
 * first, keep theirs); the others are read from the database, in batches, when they are pushed. */
#include "svc_int.h"

#include <stdlib.h>

static void fetch_next(struct svc *s);

static size_t input_bytes(const struct input *in)
{
	return sizeof(*in) + in->n_input + (in->n_meta == UINT32_MAX ? 0 : in->n_meta) + in->n_child_key + in->n_batch_key;
}

static struct input *input_new(int64_t id, struct str input, struct str meta, struct str key, struct str batch_key)
{
	size_t n = input.n + meta.n + key.n + batch_key.n;
	struct input *in = xmalloc(sizeof(*in) + n);
	char *p = in->bytes;

	*in = (struct input){.id = id, .n_input = (uint32_t)input.n, .n_meta = meta.p ? (uint32_t)meta.n : UINT32_MAX,
		.n_child_key = (uint32_t)key.n, .n_batch_key = (uint32_t)batch_key.n};
	if (input.n)
		memcpy(p, input.p, input.n);
	if (meta.n)
		memcpy(p + input.n, meta.p, meta.n);
	if (key.n)
		memcpy(p + input.n + meta.n, key.p, key.n);
	if (batch_key.n)
		memcpy(p + input.n + meta.n + key.n, batch_key.p, batch_key.n);
	return in;
}

void input_put(struct svc *s, const struct svc_trigger_item *it, bool must)
{
	struct input *in;

	if (!must && s->input_bytes > s->conf.input_cache_bytes_max)
		return;
	in = input_new(it->id, it->input, it->metadata, it->child_key, it->batch_key);
	in->priority = it->priority ? it->priority : it->version->default_priority;
	in->child_index = it->child_index;
	in->parent_id = it->parent_id;
	s->input_bytes += input_bytes(in);
	(void)imap_put(&s->inputs, it->id, in);
}

void input_put_loaded(struct svc *s, const struct loaded_row *r)
{
	struct input *in;

	if (!r->has_payload || s->input_bytes > s->conf.input_cache_bytes_max)
		return;
	in = input_new(r->id, r->input, r->metadata, r->child_key, r->batch_key);
	in->priority = r->priority;
	in->child_index = r->child_index;
	in->parent_id = r->parent_id;
	input_drop(s, r->id);
	s->input_bytes += input_bytes(in);
	(void)imap_put(&s->inputs, r->id, in);
}

void input_drop(struct svc *s, int64_t id)
{
	struct input *in = imap_del(&s->inputs, id);

	if (!in)
		return;
	s->input_bytes -= input_bytes(in);
	free(in);
}

static void fetched(struct op *op, const struct err *err)
{
	struct svc *s = op->arg;

	bool is_ours = s->loaded && s->fetch_engine_no == s->engine_no;

	for (uint32_t i = 0; !err && is_ours && i < s->input_rows.n; i++) {
		const struct input_row *r = &s->input_rows.p[i];
		struct input *in;

		if (r->is_cut) {
			(void)imap_put(&s->cut, r->id, s);
			continue;
		}
		in = input_new(r->id, r->input, r->metadata, r->child_key, r->batch_key);
		in->priority = (int16_t)r->priority;
		in->child_index = r->child_index;
		in->parent_id = r->parent_id;
		input_drop(s, r->id);
		s->input_bytes += input_bytes(in);
		(void)imap_put(&s->inputs, r->id, in);
	}
	while (!list_empty(&s->fetching)) {
		struct push *p = LIST_ENTRY(s->fetching.next, struct push, node);
		struct input *in = imap_get(&s->inputs, p->fx.id);

		list_del(&p->node);
		if (!is_ours) {
			if (p->batch)
				batch_push_ready(s, p);
			else
				free(p);
		} else if (imap_get(&s->cut, p->fx.id)) {
			list_push_back(&s->need_input, &p->node);
		} else if (in) {
			svc_push_with(s, p, in);
		} else if (p->batch) {
			batch_push_ready(s, p);
		} else {
			/* read failed: as a stream that is gone, the attempt is given back */
			struct ev *ev = svc_event(s, EV_PUSH_FAILED);

			ev->id = p->fx.id;
			ev->attempt = p->fx.attempt;
			ev->tenant_no = p->fx.tenant_no;
			ev->worker_no = p->fx.worker_no;
			free(p);
		}
	}
	imap_fini(&s->cut);
	s->cut = (struct imap){0};
	arena_free(s->input_arena);
	s->input_arena = NULL;
	s->is_fetching = false;
	fetch_next(s);
}

static void fetch_next(struct svc *s)
{
	int64_t *ids;
	int32_t *tenants;
	uint32_t n = 0;

	if (s->is_fetching || list_empty(&s->need_input))
		return;
	s->is_fetching = true;
	s->fetch_engine_no = s->engine_no;
	s->input_arena = arena_new(1u << 30);
	ids = ARENA_ARRAY(s->input_arena, int64_t, CONF_INPUT_FETCH_MAX);
	tenants = ARENA_ARRAY(s->input_arena, int32_t, CONF_INPUT_FETCH_MAX);
	while (n < CONF_INPUT_FETCH_MAX && !list_empty(&s->need_input)) {
		struct push *p = LIST_ENTRY(s->need_input.next, struct push, node);

		list_del(&p->node);
		list_push_back(&s->fetching, &p->node);
		ids[n] = p->fx.id;
		tenants[n++] = p->fx.tenant_no;
	}
	s->input_op = (struct op){.fn = fetched, .arg = s};
	read_inputs(s->db, s->input_arena, ids, tenants, n, &s->input_rows, &s->input_op);
}

void svc_push(struct svc *s, const struct fx *fx)
{
	struct push *p = xmalloc(sizeof(*p));

	*p = (struct push){.worker_no = fx->worker_no, .fx = *fx};
	p->fx.text = NULL;
	push_start(s, p);
}

void push_start(struct svc *s, struct push *p)
{
	struct input *in = imap_get(&s->inputs, p->fx.id);

	if (in) {
		svc_push_with(s, p, in);
		return;
	}
	list_push_back(&s->need_input, &p->node);
	fetch_next(s);
}

void input_clear(struct svc *s)
{
	size_t it = 0;
	int64_t id;
	struct input *in;

	while ((in = imap_next(&s->inputs, &it, &id)))
		free(in);
	imap_fini(&s->inputs);
	s->inputs = (struct imap){0};
	s->input_bytes = 0;
	while (!list_empty(&s->need_input)) {
		struct push *p = LIST_ENTRY(s->need_input.next, struct push, node);

		list_del(&p->node);
		if (p->batch)
			batch_push_ready(s, p);
		else
			free(p);
	}
}
