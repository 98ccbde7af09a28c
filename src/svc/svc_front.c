/* The front door for SQL: requests that hatchet.enqueue() left in the inbox become runs, each in one flush with the end of its row.
 *
 * One batch at a time: read, trigger, wait for the commits.  So nothing is read that is already on its way, a batch bounds the
 * memory, and every flush has room for the triggers of others.  Where to read is told by notifications: each transaction sends
 * the lowest id it made for a tenant, so that rows which are committed later than younger ones are found, and rows that were
 * taken long ago are not walked over.  Whenever a notification may have been missed, at the start, after a reconnect, every
 * tenant's inbox is read from its beginning.
 * What fails for a reason of its own is refused: the request keeps the reason.  What fails because the database or the ownership
 * is away stays where it is. */
#include "svc_int.h"

#include "base/log.h"
#include "base/text.h"
#include "json/json.h"
#include "store/inbox.h"

#include <stdlib.h>

enum { TENANTS_MAX = 64, BUSY_US = 100000, AWAY_US = 1000000 };

/* A tenant whose inbox is to be read from an id on. */
struct lane {
	struct list node;
	struct inbox_from from;
};

/* What one tenant has in a batch: one call. */
struct part {
	struct front *f;
	struct op op;
	struct inbox_from from;
	struct uuid last;		/* of its rows */
	uint32_t n_rows;		/* refused ones too */
	struct svc_trigger_item *items;
	uint32_t n;
};

struct front {
	struct svc *s;
	bool scan;			/* which tenants have any is to be asked first */
	struct imap lanes;		/* tenant_no -> struct lane */
	struct list ready;		/* the same, whose turn is next first */
	bool busy;			/* with a scan or a batch */
	struct list waiters;		/* for the end of it */
	struct defer trim;
	bool waits;			/* for the timer */
	struct timer *timer;
	uint64_t engine_no;		/* who began it; another one now: its answers are void */
	struct arena *a;		/* of the scan or batch */
	struct op op;
	struct read_tenants tenants;
	struct read_inbox rows;
	struct part parts[TENANTS_MAX];
	uint32_t n_parts, limit;
	uint32_t left;			/* answers still to come */
	int64_t pause_us;		/* something stays to be done again, after this time; 0: no */
	bool looked_again;		/* the catalog has been read for this batch */
	uint32_t careful;		/* batches to come with one row a tenant: one of them fails its call */
	struct arena *start_a;
	struct op start_op;
	bool starting;
};

static void next(struct front *f);

/* --- what is to be read ---------------------------------------------------------------------------------------------------- */

static void want(struct front *f, int32_t tenant_no, const struct uuid *low)
{
	struct lane *l = imap_get(&f->lanes, tenant_no);

	if (!l) {
		l = xcalloc(1, sizeof(*l));
		l->from = (struct inbox_from){.tenant_no = tenant_no, .low = *low};
		(void)imap_put(&f->lanes, tenant_no, l);
		list_push_back(&f->ready, &l->node);
	} else if (memcmp(low->b, l->from.low.b, sizeof(low->b)) < 0) {
		l->from.low = *low;
	}
}

static struct inbox_from take_lane(struct front *f)
{
	struct lane *l = LIST_ENTRY(f->ready.next, struct lane, node);
	struct inbox_from from = l->from;

	list_del(&l->node);
	(void)imap_del(&f->lanes, from.tenant_no);
	free(l);
	return from;
}

static void later(struct front *f, int64_t us)
{
	f->waits = true;
	timer_set(f->timer, loop_now(f->s->loop).mono_us + us);
}

static void on_timer(void *arg)
{
	struct front *f = arg;

	f->waits = false;
	next(f);
}

struct waiter {
	struct list node;
	struct op *op;
};

static void waiter_told(struct front *f)
{
	struct waiter *w = LIST_ENTRY(f->waiters.next, struct waiter, node);
	struct op *op = w->op;

	list_del(&w->node);
	free(w);
	op_done(op, NULL);
}

static bool is_stale(const struct front *f)
{
	return f->engine_no != f->s->engine_no || !f->s->loaded;
}

static void begin(struct front *f, op_fn *fn)
{
	f->busy = true;
	f->pause_us = 0;
	f->engine_no = f->s->engine_no;
	f->op = (struct op){.fn = fn, .arg = f};
	arena_reset(f->a);
}

static void end(struct front *f)
{
	f->busy = false;
	if (f->pause_us)
		later(f, f->pause_us);
	while (!list_empty(&f->waiters))
		waiter_told(f);
	next(f);
}

/* --- a batch --------------------------------------------------------------------------------------------------------------- */

static void part_again(struct front *f, const struct part *p, int64_t pause_us)
{
	want(f, p->from.tenant_no, &p->from.low);
	f->pause_us = MAX(f->pause_us, pause_us);
}

static void batch_ended(struct front *f)
{
	for (uint32_t i = 0; i < f->n_parts; i++) {
		const struct part *p = &f->parts[i];

		if (p->n_rows == f->limit || f->rows.is_cut)
			want(f, p->from.tenant_no, p->n_rows ? &p->last : &p->from.low);
	}
	end(f);
}

static void answer(struct front *f)
{
	if (--f->left == 0)
		batch_ended(f);
}

struct refusing {
	struct front *f;
	struct op op;
	const struct inbox_refusal *p;
	uint32_t n;
};

static void refused(struct op *op, const struct err *err)
{
	const struct refusing *r = op->arg;
	struct front *f = r->f;

	for (uint32_t i = 0; err && i < f->n_parts; i++)
		part_again(f, &f->parts[i], AWAY_US);
	if (!err)
		f->s->figures.requests_refused += r->n;
	for (uint32_t i = 0; !err && i < r->n; i++)
		subs_on_request(f->s, r->p[i].tenant_no, &r->p[i].id, 0);
	answer(f);
}

static void refuse(struct front *f, const struct inbox_refusal *r, uint32_t n)
{
	struct refusing *k = ARENA_NEW(f->a, struct refusing);

	*k = (struct refusing){.f = f, .op = {.fn = refused, .arg = k}, .p = r, .n = n};
	f->left++;
	inbox_refuse(f->s->db, f->a, r, n, &k->op);
}

static struct inbox_refusal refusal(struct front *f, int32_t tenant_no, const struct uuid *id, const struct err *why)
{
	return (struct inbox_refusal){.tenant_no = tenant_no, .id = *id, .code = why->code, .why = arena_dup(f->a, str_c(why->msg)),
		.run_id = engine_next_id(f->s->engine, loop_now(f->s->loop), tenant_no)};
}

static void part_failed(struct front *f, struct part *p, const struct err *err)
{
	struct inbox_refusal *r;

	if (is_stale(f) || err->code == ERR_UNAVAILABLE || err->code == ERR_ABORTED) {
		part_again(f, p, AWAY_US);
	} else if (p->n == 1) {
		r = ARENA_NEW(f->a, struct inbox_refusal);
		*r = refusal(f, p->from.tenant_no, p->items[0].request, err);
		refuse(f, r, 1);
		f->careful = 0;
	} else {
		want(f, p->from.tenant_no, &p->from.low);
		f->careful = p->n;
	}
}

/* Those whose key is held are no runs. */
static void part_taken(struct front *f, const struct part *p)
{
	struct inbox_refusal *r = ARENA_ARRAY(f->a, struct inbox_refusal, p->n);
	uint32_t n = 0;
	struct err err;

	for (uint32_t i = 0; i < p->n; i++) {
		const struct svc_trigger_item *it = &p->items[i];

		if (!it->holder_id)
			continue;
		svc_collision(f->s, it->holder_id, &err);
		r[n++] = refusal(f, p->from.tenant_no, it->request, &err);
	}
	f->s->figures.requests_taken += p->n - n;
	if (n)
		refuse(f, r, n);
}

/* The commit is certain, or the call failed as a whole.  Rows of a failed call that are stored all the same have left the inbox. */
static void part_done(struct op *op, const struct err *err)
{
	struct part *p = op->arg;
	struct front *f = p->f;

	for (uint32_t i = 0; i < p->n; i++)
		subs_on_request(f->s, p->from.tenant_no, p->items[i].request, err || p->items[i].holder_id ? 0 : p->items[i].id);
	if (err)
		part_failed(f, p, err);
	else
		part_taken(f, p);
	answer(f);
}

static bool check_texts(const struct front *f, const struct inbox_row *row, struct err *err)
{
	size_t room = f->s->conf.msg_bytes_max - CONF_ENVELOPE_BYTES, n = row->input.n + row->metadata.n;

	if (n > room)
		return err_set(err, ERR_EXHAUSTED, "input: has %zu bytes together with additional_metadata, at most %zu are allowed", n, room);
	return json_check(row->input, JSON_F_OBJECT | JSON_F_NO_NUL, "input", err) &&
	       (!row->metadata.p || json_check(row->metadata, JSON_F_OBJECT | JSON_F_DB, "additional_metadata", err));
}

static struct part *part_of(struct front *f, int32_t tenant_no)
{
	struct part *p = f->parts;

	while (p->from.tenant_no != tenant_no)
		p++;
	return p;
}

static void batch_take(struct front *f)
{
	struct inbox_refusal *r = ARENA_ARRAY(f->a, struct inbox_refusal, f->rows.n + 1);
	uint32_t n = 0;
	struct err err;

	for (uint32_t i = 0; i < f->rows.n; i++)
		part_of(f, f->rows.p[i].tenant_no)->n_rows++;
	for (uint32_t i = 0; i < f->n_parts; i++)
		f->parts[i].items = ARENA_ARRAY(f->a, struct svc_trigger_item, f->parts[i].n_rows + 1);
	for (uint32_t i = 0; i < f->rows.n; i++) {
		const struct inbox_row *row = &f->rows.p[i];
		struct part *p = part_of(f, row->tenant_no);
		struct svc_trigger_item *it = &p->items[p->n];

		p->last = row->id;
		*it = (struct svc_trigger_item){.arena = f->a, .input = row->input, .metadata = row->metadata, .priority = row->priority,
			.child_index = -1, .request = &row->id};
		if (check_texts(f, row, &err) && svc_find_version(f->s, row->tenant_no, row->workflow, &it->version, &err))
			p->n++;
		else
			r[n++] = refusal(f, row->tenant_no, &row->id, &err);
	}
	f->left = 1;
	if (n)
		refuse(f, r, n);
	for (uint32_t i = 0; i < f->n_parts; i++) {
		struct part *p = &f->parts[i];

		if (!p->n)
			continue;
		f->left++;
		p->op = (struct op){.fn = part_done, .arg = p};
		svc_trigger(f->s, p->from.tenant_no, p->items, p->n, &p->op);
	}
	answer(f);
}

static void batch_give_back(struct front *f, int64_t pause_us)
{
	for (uint32_t i = 0; i < f->n_parts; i++)
		part_again(f, &f->parts[i], pause_us);
	end(f);
}

/* A workflow that enqueue() has seen and we have not: its announcement may still be on the way. */
static bool is_all_known(const struct front *f)
{
	for (uint32_t i = 0; i < f->rows.n; i++)
		if (!cat_workflow_by_name(f->s->catalog, f->rows.p[i].tenant_no, f->rows.p[i].workflow))
			return false;
	return true;
}

static void batch_read(struct op *op, const struct err *err)
{
	struct front *f = op->arg;
	struct err busy;

	if (err || is_stale(f)) {
		batch_give_back(f, AWAY_US);
	} else if (!svc_accepts(f->s, &busy)) {
		batch_give_back(f, BUSY_US);
	} else if (!f->looked_again && !is_all_known(f)) {
		f->looked_again = true;
		catalog_load(f->s->catalog, &f->op);
	} else {
		batch_take(f);
	}
}

static void batch(struct front *f)
{
	struct inbox_from from[TENANTS_MAX];

	begin(f, batch_read);
	f->looked_again = false;
	for (f->n_parts = 0; f->n_parts < TENANTS_MAX && !list_empty(&f->ready); f->n_parts++) {
		from[f->n_parts] = take_lane(f);
		f->parts[f->n_parts] = (struct part){.f = f, .from = from[f->n_parts]};
	}
	f->limit = f->careful ? 1 : CONF_INBOX_ROWS / f->n_parts;
	if (f->careful)
		f->careful--;
	f->rows = (struct read_inbox){0};
	read_inbox(f->s->db, f->a, from, f->n_parts, f->limit, CONF_INBOX_BYTES, &f->rows, &f->op);
}

/* --- when ------------------------------------------------------------------------------------------------------------------ */

static void scanned(struct op *op, const struct err *err)
{
	static const struct uuid lowest;
	struct front *f = op->arg;

	if (err || is_stale(f)) {
		f->scan = true;
		f->pause_us = AWAY_US;
	} else {
		for (uint32_t i = 0; i < f->tenants.n; i++)
			want(f, f->tenants.p[i], &lowest);
	}
	end(f);
}

/* nothing is kept of a batch when there is nothing to do */
static void trim(void *arg)
{
	struct front *f = arg;

	if (!f->busy)
		arena_reset(f->a);
}

static void next(struct front *f)
{
	struct err err;

	if (f->busy || f->waits || !svc_is_ready(f->s, &err))
		return;
	if (f->scan) {
		begin(f, scanned);
		f->scan = false;
		read_inbox_tenants(f->s->db, f->a, &f->tenants, &f->op);
	} else if (!list_empty(&f->ready)) {
		if (svc_accepts(f->s, &err))
			batch(f);
		else
			later(f, BUSY_US);
	} else {
		loop_defer(f->s->loop, &f->trim, trim, f);
	}
}

void svc_front_wait(struct svc *s, struct op *op)
{
	struct front *f = s->front;
	struct waiter *w;
	struct err err;

	if (!svc_is_ready(s, &err)) {
		svc_fail_later(s, op, &err);
		return;
	}
	w = xcalloc(1, sizeof(*w));
	w->op = op;
	f->scan = true;
	next(f);
	list_push_back(&f->waiters, &w->node);	/* behind next(), which tells nobody before it has returned */
}

void front_wake(struct front *f, struct str words)
{
	const char *space = words.n ? memchr(words.p, ' ', words.n) : NULL;
	struct uuid low;
	int64_t no;

	if (space && str_to_i64((struct str){words.p, (size_t)(space - words.p)}, &no) && no > 0 && no <= INT32_MAX &&
	    cat_tenant(f->s->catalog, (int32_t)no) && uuid_parse((struct str){space + 1, words.n - (size_t)(space + 1 - words.p)}, &low))
		want(f, (int32_t)no, &low);
	else
		f->scan = true;
	next(f);
}

static void started(struct op *op, const struct err *err)
{
	struct front *f = op->arg;

	if (err)
		log_warn("enqueue() was not told how much is taken", F_C("why", err->msg));
	f->starting = false;
}

void front_start(struct front *f)
{
	f->scan = true;
	if (!f->starting) {
		f->starting = true;
		arena_reset(f->start_a);
		inbox_bytes(f->s->db, f->start_a, f->s->conf.msg_bytes_max - CONF_ENVELOPE_BYTES, &f->start_op);
	}
	next(f);
}

struct front *front_new(struct svc *s)
{
	struct front *f = xcalloc(1, sizeof(*f));

	f->s = s;
	list_init(&f->ready);
	list_init(&f->waiters);
	f->timer = timer_new(s->loop, on_timer, f);
	f->a = arena_new((size_t)1 << 30);	/* keys of a batch, at their longest */
	f->start_a = arena_new(64u << 10);
	f->start_op = (struct op){.fn = started, .arg = f};
	return f;
}

void front_free(struct front *f)
{
	while (!list_empty(&f->ready))
		(void)take_lane(f);
	LIST_FOREACH_SAFE(it, &f->waiters)
		free(LIST_ENTRY(it, struct waiter, node));
	imap_fini(&f->lanes);
	defer_cancel(&f->trim);
	timer_free(f->timer);
	arena_free(f->a);
	arena_free(f->start_a);
	free(f);
}
