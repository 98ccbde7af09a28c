/* Batches on their way: the key of a task when it is made, and the one message that starts all members.
 *
 * The members of a batch come out of one flush, one after the other; when the flush has been released and the input of each is there,
 * they leave together.  Whoever has ended meanwhile is left out; without an input a member is given back. */
#include "svc_int.h"

#include <stdlib.h>

struct batch_prog {
	struct arena *a;
	const struct cel_prog *key;
};

struct batch_push {
	struct list node;		/* in svc.batch_pushes while members may come */
	bool is_open;
	uint32_t n_ready;
	VEC(struct fx) fxs;
};

/* Room that a member's part of the message takes beside its input: its id twice and the fixed words. */
enum { PROG_BYTES_MAX = 4 << 20, MEMBER_BYTES = 256 };

/* --- keys ---------------------------------------------------------------------------------------------------------------- */

static const struct cel_prog *prog_of(struct svc *s, const struct cat_step *step)
{
	struct batch_prog *p = imap_get(&s->batch_progs, step->step_no);
	struct cel_err err;

	if (p)
		return p->key;
	p = xcalloc(1, sizeof(*p));
	p->a = arena_new(PROG_BYTES_MAX);
	p->key = cel_compile(p->a, cel_env(CEL_WORKFLOW), step->batch.expression, NULL, &err);
	(void)imap_put(&s->batch_progs, step->step_no, p);
	return p->key;
}

bool batch_eval(struct eval *e, struct svc_trigger_item *it, const struct cat_step *step)
{
	struct str key = STR("default");
	bool ok = true;

	if (step->batch.max_size == 0)
		return true;
	if (step->batch.expression.n) {
		e->what = "batch group key";
		ok = eval_key(e, prog_of(e->s, step), step->batch.expression, &key);
		e->what = NULL;
	}
	if (!ok)
		return false;
	while (key.n && (unsigned char)key.p[0] <= ' ')
		key = (struct str){key.p + 1, key.n - 1};
	while (key.n && (unsigned char)key.p[key.n - 1] <= ' ')
		key.n--;
	it->batch_key = key.n ? key : STR("");
	return true;
}

uint64_t batch_hash(const struct cat_step *step, struct str key)
{
	uint8_t seed[16] = "keys of batches";
	uint64_t h;

	if (!step || step->batch.max_size == 0)
		return 0;
	memcpy(seed, &step->step_no, sizeof(step->step_no));
	h = siphash(key.p ? key.p : "", key.n, seed);
	return h ? h : 1;
}

uint32_t batch_bytes(size_t n_input)
{
	return (uint32_t)n_input + MEMBER_BYTES;
}

/* --- pushes -------------------------------------------------------------------------------------------------------------- */

static void go(struct svc *s, struct batch_push *b)
{
	struct push *p = xmalloc(sizeof(*p));

	*p = (struct push){.worker_no = b->fxs.p[0].worker_no, .fx = b->fxs.p[0], .batch = b};
	push_batch(s, p);
}

void batch_push_add(struct svc *s, const struct fx *fx)
{
	struct batch_push *b = list_empty(&s->batch_pushes) ? NULL : LIST_ENTRY(s->batch_pushes.prev, struct batch_push, node);
	struct push *p = xmalloc(sizeof(*p));

	if (!b || b->fxs.p[0].batch_id != fx->batch_id) {
		b = xcalloc(1, sizeof(*b));
		b->is_open = true;
		list_push_back(&s->batch_pushes, &b->node);
	}
	vec_push(&b->fxs, *fx);
	b->fxs.p[b->fxs.n - 1].text = NULL;
	*p = (struct push){.worker_no = fx->worker_no, .fx = *fx, .batch = b};
	p->fx.text = NULL;
	push_start(s, p);
}

void batch_push_end(struct svc *s)
{
	while (!list_empty(&s->batch_pushes)) {
		struct batch_push *b = LIST_ENTRY(s->batch_pushes.next, struct batch_push, node);

		list_del(&b->node);
		b->is_open = false;
		if (b->n_ready == b->fxs.n)
			go(s, b);
	}
}

void batch_push_ready(struct svc *s, struct push *p)
{
	struct batch_push *b = p->batch;

	free(p);
	if (++b->n_ready == b->fxs.n && !b->is_open)
		go(s, b);
}

void batch_push_free(struct batch_push *b)
{
	vec_fini(&b->fxs);
	free(b);
}

static void give_back(struct svc *s, const struct fx *fx)
{
	struct ev *ev = svc_event(s, EV_PUSH_FAILED);

	ev->id = fx->id;
	ev->attempt = fx->attempt;
	ev->tenant_no = fx->tenant_no;
	ev->worker_no = fx->worker_no;
}

void batch_push_failed(struct svc *s, struct push *p)
{
	for (size_t i = 0; i < p->batch->fxs.n; i++)
		if (push_is_current(s, &p->batch->fxs.p[i]))
			give_back(s, &p->batch->fxs.p[i]);
	batch_push_free(p->batch);
	free(p);
}

void batch_push_sent(struct svc *s, struct push *p)
{
	for (size_t i = 0; i < p->batch->fxs.n; i++)
		input_drop(s, p->batch->fxs.p[i].id);
	batch_push_free(p->batch);
	free(p);
}

struct buf *batch_push_encode(struct svc *s, struct push *p, int64_t *ret_only)
{
	struct batch_push *b = p->batch;
	struct batch_member *members = xcalloc(b->fxs.n, sizeof(*members));
	struct buf *ret = NULL;
	uint32_t n = 0;

	for (size_t i = 0; i < b->fxs.n; i++) {
		const struct fx *fx = &b->fxs.p[i];
		const struct input *in = imap_get(&s->inputs, fx->id);

		if (!push_is_current(s, fx))
			continue;
		if (in)
			members[n++] = (struct batch_member){.id = fx->id, .in = in};
		else
			give_back(s, fx);	/* the read failed, or memory was short */
	}
	*ret_only = n == 1 ? members[0].id : 0;
	if (n)
		ret = encode_batch(s, &p->fx, members, n);
	free(members);
	return ret;
}

void batches_init(struct svc *s)
{
	list_init(&s->batch_pushes);
}

void batches_fini(struct svc *s)
{
	size_t it = 0;
	struct batch_prog *p;

	while ((p = imap_next(&s->batch_progs, &it, NULL))) {
		arena_free(p->a);
		free(p);
	}
	imap_fini(&s->batch_progs);
}
