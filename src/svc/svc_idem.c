/* Idempotency: of the runs with one key, one.
 *
 * A key's row is the truth; memory has only the claims that are on their way into it.  Before a run with a key may claim it, the
 * rows of all keys of its call are read.  One such read is on its way at a time, and what it finds is used in the very moment it
 * comes, so nobody can claim between a look and a claim.  A claim is dropped when it is stored and no read that may have begun
 * before is on its way.  A released key that a read still shows as held refuses only calls that came before the release. */
#include "svc_int.h"

#include "base/uuid.h"

#include <stdlib.h>

/* Keys of the engine's own. */
#define RESERVED "hatchet_internal_"
enum { PROGS_BYTES_MAX = 1 << 20, EVAL_BYTES_MAX = 128 << 20, LOOK_MAX = 20000 };

struct claim {
	struct list node;		/* idem.settled */
	struct str name;		/* tenant and key */
	int64_t run_id, expires_at;
	bool is_status, is_settled;	/* settled: stored, or void */
	struct str key;			/* part of name */
	int32_t tenant_no;
	char bytes[];
};

/* Some keys that somebody wants to know about. */
struct ask {
	struct list node;
	struct idem_look *looks;
	uint32_t n;
	struct op *op;
};

struct version_prog {
	struct arena *a;
	const struct cel_prog *key;
};

struct idem {
	struct smap claims;
	struct imap by_run;		/* of replays: run id -> struct claim */
	struct list settled;
	struct list asks;		/* that wait */
	struct list reading;		/* of the read in flight */
	bool is_reading;
	uint64_t engine_no;		/* who began it */
	struct arena *a;
	struct op op;
	struct imap progs;		/* version_no -> struct version_prog */
};

static struct str name_of(int32_t tenant_no, struct str key, char buf[sizeof(int32_t) + CONF_KEY_BYTES_MAX])
{
	memcpy(buf, &tenant_no, sizeof(tenant_no));
	if (key.n)
		memcpy(buf + sizeof(tenant_no), key.p, key.n);
	return (struct str){buf, sizeof(tenant_no) + key.n};
}

/* --- claims -------------------------------------------------------------------------------------------------------------- */

static struct claim *claim_get(const struct idem *d, int32_t tenant_no, struct str key)
{
	char buf[sizeof(int32_t) + CONF_KEY_BYTES_MAX];

	return smap_get(&d->claims, name_of(tenant_no, key, buf));
}

static void claim_free(struct idem *d, struct claim *c)
{
	if (c->is_settled)
		list_del(&c->node);
	(void)smap_del(&d->claims, c->name);
	if (imap_get(&d->by_run, c->run_id) == c)
		(void)imap_del(&d->by_run, c->run_id);
	free(c);
}

static struct claim *claim_new(struct svc *s, int32_t tenant_no, struct str key, int64_t run_id, const struct cat_idempotency *how)
{
	char buf[sizeof(int32_t) + CONF_KEY_BYTES_MAX];
	struct str name = name_of(tenant_no, key, buf);
	struct claim *old = smap_get(&s->idem->claims, name), *c = xmalloc(sizeof(*c) + name.n);

	if (old)	/* expired, or stored a moment ago by a run that has ended since */
		claim_free(s->idem, old);
	*c = (struct claim){.run_id = run_id, .is_status = how->is_status, .tenant_no = tenant_no,
		.expires_at = loop_now(s->loop).wall_us + how->ttl_ms * 1000};
	memcpy(c->bytes, name.p, name.n);
	c->name = (struct str){c->bytes, name.n};
	c->key = (struct str){c->bytes + sizeof(tenant_no), key.n};
	(void)smap_put(&s->idem->claims, c->name, c);
	return c;
}

/* Its row says the same from now on, or there is none. */
static void claim_settle(struct idem *d, struct claim *c)
{
	if (!d->is_reading) {
		claim_free(d, c);
		return;
	}
	c->is_settled = true;
	list_push_back(&d->settled, &c->node);
}

static void put_row(struct svc *s, const struct claim *c)
{
	flush_claim(s->flush, &(struct flush_claim){.tenant_no = c->tenant_no, .key = c->key, .run_id = c->run_id,
		.is_status = c->is_status, .expires_at = c->expires_at});
}

/* --- looking ------------------------------------------------------------------------------------------------------------- */

int64_t idem_holder(const struct svc *s, const struct idem_look *l)
{
	const struct claim *c = claim_get(s->idem, l->of.tenant_no, l->of.key);

	if (c)
		return c->run_id;
	return l->of.run_id && l->of.expires_at > loop_now(s->loop).wall_us ? l->of.run_id : 0;
}

static void read_next(struct svc *s);

static void looked(struct op *op, const struct err *err)
{
	static const struct err other = {ERR_UNAVAILABLE, "this server is no longer the active engine; try again"};
	struct svc *s = op->arg;
	struct idem *d = s->idem;

	if (!err && (d->engine_no != s->engine_no || !s->loaded))
		err = &other;
	while (!list_empty(&d->reading)) {
		struct ask *k = LIST_ENTRY(d->reading.next, struct ask, node);
		struct idem_look *looks = k->looks;
		struct op *user = k->op;
		uint32_t n = k->n;

		list_del(&k->node);
		free(k);
		for (uint32_t i = 0; i < n; i++)
			looks[i].is_fresh = !err;
		op_done(user, err);
	}
	d->is_reading = false;
	while (!list_empty(&d->settled))
		claim_free(d, LIST_ENTRY(d->settled.next, struct claim, node));
	read_next(s);
}

static void read_next(struct svc *s)
{
	struct idem *d = s->idem;
	struct idem_holder **p;
	uint32_t n = 0;

	if (d->is_reading || list_empty(&d->asks))
		return;
	while (!list_empty(&d->asks)) {
		struct ask *k = LIST_ENTRY(d->asks.next, struct ask, node);

		if (n > 0 && n + k->n > LOOK_MAX)
			break;
		n += k->n;
		list_del(&k->node);
		list_push_back(&d->reading, &k->node);
	}
	arena_reset(d->a);
	p = ARENA_ARRAY(d->a, struct idem_holder *, n);
	n = 0;
	LIST_FOREACH(it, &d->reading) {
		struct ask *k = LIST_ENTRY(it, struct ask, node);

		for (uint32_t i = 0; i < k->n; i++)
			p[n++] = &k->looks[i].of;
	}
	d->is_reading = true;
	d->engine_no = s->engine_no;
	d->op = (struct op){.fn = looked, .arg = s};
	read_idem_holders(s->db, d->a, p, n, &d->op);
}

void idem_look(struct svc *s, struct idem_look *looks, uint32_t n, struct op *op)
{
	struct ask *k = xcalloc(1, sizeof(*k));

	*k = (struct ask){.looks = looks, .n = n, .op = op};
	list_push_back(&s->idem->asks, &k->node);
	read_next(s);
}

/* --- keys of new runs ---------------------------------------------------------------------------------------------------- */

static const struct cel_prog *prog_of(struct idem *d, const struct cat_version *v)
{
	struct version_prog *p = imap_get(&d->progs, v->version_no);
	struct cel_err err;

	if (p)
		return p->key;
	p = xcalloc(1, sizeof(*p));
	p->a = arena_new(PROGS_BYTES_MAX + 64 * v->idempotency.expression.n);
	p->key = cel_compile(p->a, cel_env(CEL_IDEMPOTENCY), v->idempotency.expression, NULL, &err);
	(void)imap_put(&d->progs, v->version_no, p);
	return p->key;
}

static bool key_eval(struct svc *s, struct svc_trigger_item *it, struct err *err)
{
	struct eval e = {.s = s, .a = it->arena, .scratch = arena_new(EVAL_BYTES_MAX)};
	struct str expression = it->version->idempotency.expression, key;
	bool ok = eval_objects(&e, it) && eval_key(&e, prog_of(s->idem, it->version), expression, &key);

	arena_free(e.scratch);
	if (!ok)
		return err_set(err, ERR_INVALID, "idempotency key: %s", e.why);
	if (str_starts(key, STR(RESERVED)))
		return err_set(err, ERR_INVALID, "idempotency key: must not begin with \"%s\"", RESERVED);
	it->idempotency_key = key.n ? key : STR("");
	return true;
}

struct looking {
	struct svc *s;
	struct op op, *user;
	int32_t tenant_no;
	struct svc_trigger_item *items;
	uint32_t n;
};

/* What was found counts now: the call goes on in this moment. */
static void items_looked(struct op *op, const struct err *err)
{
	const struct looking *l = op->arg;

	if (err)
		op_done(l->user, err);
	else
		svc_trigger(l->s, l->tenant_no, l->items, l->n, l->user);
	for (uint32_t i = 0; i < l->n && !err; i++)
		if (l->items[i].look)
			l->items[i].look->is_fresh = false;
}

static bool has_key(struct svc *s, const struct svc_trigger_item *it)
{
	return it->version->idempotency.expression.n && !child_find(s, it) && !child_is_orphan(s, it);
}

bool idem_known(struct svc *s, int32_t tenant_no, struct svc_trigger_item *items, uint32_t n, struct op *op)
{
	struct looking *l;
	struct idem_look *looks;
	uint32_t n_stale = 0, n_looks = 0;
	struct err err;

	for (uint32_t i = 0; i < n; i++) {
		if (!has_key(s, &items[i]))
			continue;
		if (!items[i].idempotency_key.p && !key_eval(s, &items[i], &err)) {
			svc_fail_later(s, op, &err);
			return false;
		}
		n_looks++;
		n_stale += !items[i].look || !items[i].look->is_fresh;
	}
	if (!n_stale)
		return true;
	l = ARENA_NEW(items[0].arena, struct looking);
	looks = ARENA_ARRAY(items[0].arena, struct idem_look, n_looks);
	*l = (struct looking){.s = s, .user = op, .tenant_no = tenant_no, .items = items, .n = n, .op = {.fn = items_looked, .arg = l}};
	n_looks = 0;
	for (uint32_t i = 0; i < n; i++) {
		items[i].look = NULL;
		if (!has_key(s, &items[i]))
			continue;
		items[i].look = &looks[n_looks++];
		*items[i].look = (struct idem_look){.of = {.tenant_no = tenant_no, .key = items[i].idempotency_key}};
	}
	idem_look(s, looks, n_looks, &l->op);
	return false;
}

bool idem_collides(struct svc *s, struct svc_trigger_item *it)
{
	it->holder_id = it->look ? idem_holder(s, it->look) : 0;
	return it->holder_id != 0;
}

void svc_collision(const struct svc *s, int64_t holder_id, struct err *err)
{
	char text[UUID_TEXT + 1];
	struct uuid u;

	id_to_uuid(catalog_id_secret(s->catalog), holder_id, &u);
	uuid_format(&u, text);
	err_set(err, ERR_EXISTS, "idempotency key collision: run %s holds the key", text);
}

void idem_claim(struct svc *s, int32_t tenant_no, const struct svc_trigger_item *it)
{
	if (it->look)
		(void)claim_new(s, tenant_no, it->idempotency_key, it->id, &it->version->idempotency);
}

void idem_row(struct svc *s, int32_t tenant_no, const struct svc_trigger_item *it)
{
	const struct claim *c = it->look ? claim_get(s->idem, tenant_no, it->idempotency_key) : NULL;

	if (c && c->run_id == it->id)
		put_row(s, c);
}

void idem_stored(struct svc *s, int32_t tenant_no, const struct svc_trigger_item *it, bool ok)
{
	struct claim *c = it->look ? claim_get(s->idem, tenant_no, it->idempotency_key) : NULL;

	if (!c || c->run_id != it->id)
		return;
	if (ok)
		claim_settle(s->idem, c);
	else
		claim_free(s->idem, c);
}

/* --- replays ------------------------------------------------------------------------------------------------------------- */

void idem_reclaim(struct svc *s, int32_t tenant_no, struct str key, int64_t run_id, const struct cat_idempotency *how)
{
	struct claim *c = claim_new(s, tenant_no, key, run_id, how);

	(void)imap_put(&s->idem->by_run, run_id, c);
}

void idem_reclaim_row(struct svc *s, int64_t run_id)
{
	const struct claim *c = imap_get(&s->idem->by_run, run_id);

	if (c)
		put_row(s, c);
}

void idem_reclaim_end(struct svc *s, int64_t run_id, bool ok)
{
	struct claim *c = imap_get(&s->idem->by_run, run_id);

	if (!c)
		return;
	(void)imap_del(&s->idem->by_run, run_id);
	if (ok)
		claim_settle(s->idem, c);
	else
		claim_free(s->idem, c);
}

/* --- life ---------------------------------------------------------------------------------------------------------------- */

void idem_clear(struct svc *s)
{
	struct idem *d = s->idem;
	size_t it = 0;
	void *c;

	while ((c = smap_next(&d->claims, &it, NULL)))
		free(c);
	smap_fini(&d->claims);
	imap_fini(&d->by_run);
	list_init(&d->settled);
}

void idem_init(struct svc *s)
{
	struct idem *d = xcalloc(1, sizeof(*d));

	list_init(&d->settled);
	list_init(&d->asks);
	list_init(&d->reading);
	d->a = arena_new((size_t)1 << 30);
	s->idem = d;
}

void idem_fini(struct svc *s)
{
	struct idem *d = s->idem;
	struct list *lists[] = {&d->asks, &d->reading};
	size_t it = 0;
	struct version_prog *p;

	idem_clear(s);
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		LIST_FOREACH_SAFE(node, lists[i])	/* whose calls have ended with the server */
			free(LIST_ENTRY(node, struct ask, node));
	while ((p = imap_next(&d->progs, &it, NULL))) {
		arena_free(p->a);
		free(p);
	}
	imap_fini(&d->progs);
	arena_free(d->a);
	free(d);
}
