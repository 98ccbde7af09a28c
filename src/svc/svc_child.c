/* Children of a task: one for each key, and none outlives a cancel.  A parent that runs again finds what it has spawned instead
 * of spawning it twice; what a cancelled parent still spawns is born cancelled.
 *
 * A family is the keys of one parent: read from the database when one of its children is triggered, kept while the parent
 * lives and is in use.  Every child passes here before the engine hears of it, so that a family knows also those that are not
 * yet stored; it is forgotten only when there are none. */
#include "svc_int.h"

#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>

struct family {
	struct list used;		/* svc.families_used, least recently first */
	struct svc *s;
	int64_t parent_id;
	int32_t tenant_no;
	bool is_loaded, is_cancelled;	/* cancelled: the parent */
	uint64_t engine_no;		/* what was read for another engine says nothing */
	uint32_t n_pending;		/* children that are not stored yet */
	size_t bytes;
	struct smap keys;		/* to ids */
	VEC(struct spawn *) waiting;	/* for the load */
	struct arena *a;		/* of the load */
	struct read_children rows;
	struct op op;
};

/* A call that waits until all families of its items are known. */
struct spawn {
	struct svc *s;
	int32_t tenant_no;
	struct svc_trigger_item *items;
	uint32_t n, left;
	struct op *op;
	struct err err;
};

/* The key counts, and without one the index. */
static struct str key_of(struct str child_key, int32_t child_index, char buf[16])
{
	if (child_key.p && child_key.n)
		return child_key;
	buf[0] = '\0';		/* a key of the user's holds no zero byte */
	return (struct str){buf, 1 + (size_t)snprintf(buf + 1, 15, "%d", child_index)};
}

static bool is_keyed(const struct svc_trigger_item *it)
{
	return it->parent_id && (it->child_index >= 0 || it->child_key.n);
}

static size_t cost(struct str key)
{
	return key.n + sizeof(struct smap_slot) * 2;
}

static void family_add(struct family *f, struct str key, int64_t id)
{
	(void)smap_put(&f->keys, key, (void *)(intptr_t)id);
	f->bytes += cost(key);
	f->s->family_bytes += cost(key);
}

static void family_free(struct family *f)
{
	f->s->family_bytes -= f->bytes;
	list_del(&f->used);
	(void)imap_del(&f->s->families, f->parent_id);
	smap_fini(&f->keys);
	vec_fini(&f->waiting);
	free(f);
}

static void spawn_end(struct spawn *w)
{
	if (--w->left > 0)
		return;
	if (w->err.code == ERR_OK)
		svc_trigger(w->s, w->tenant_no, w->items, w->n, w->op);
	else
		op_done(w->op, &w->err);
	free(w);
}

static void loaded(struct op *op, const struct err *err)
{
	static const struct err other = {ERR_UNAVAILABLE, "this server is no longer the active engine; try again"};
	struct family *f = op->arg;
	VEC(struct spawn *) waiting = {f->waiting.p, f->waiting.n, f->waiting.cap};
	char buf[16];

	if (!err && f->engine_no != f->s->engine_no)
		err = &other;
	for (uint32_t i = 0; !err && i < f->rows.n; i++) {
		struct str key = key_of(f->rows.p[i].child_key, f->rows.p[i].child_index, buf);

		if (!smap_get(&f->keys, key))	/* the first one counts */
			family_add(f, key, f->rows.p[i].id);
	}
	arena_free(f->a);
	f->a = NULL;
	f->is_loaded = !err;
	f->is_cancelled = !err && f->rows.parent_is_cancelled;
	memset(&f->waiting, 0, sizeof(f->waiting));
	for (size_t i = 0; i < waiting.n; i++)
		if (err)
			waiting.p[i]->err = *err;
	if (err)
		family_free(f);
	for (size_t i = 0; i < waiting.n; i++)
		spawn_end(waiting.p[i]);
	vec_fini(&waiting);
}

/* Room for more: families that nobody has used for long and the database knows whole. */
static void make_room(struct svc *s)
{
	LIST_FOREACH_SAFE(it, &s->families_used) {
		struct family *f = LIST_ENTRY(it, struct family, used);

		if (s->family_bytes <= CONF_FAMILIES_BYTES_MAX)
			return;
		if (f->is_loaded && f->n_pending == 0)
			family_free(f);
	}
}

static struct family *family_get(struct svc *s, int32_t tenant_no, int64_t parent_id)
{
	struct family *f = imap_get(&s->families, parent_id);

	if (f) {
		list_del(&f->used);
		list_push_back(&s->families_used, &f->used);
		return f;
	}
	make_room(s);
	f = xcalloc(1, sizeof(*f));
	f->s = s;
	f->parent_id = parent_id;
	f->tenant_no = tenant_no;
	f->engine_no = s->engine_no;
	f->bytes = sizeof(*f);
	s->family_bytes += f->bytes;
	f->op = (struct op){.fn = loaded, .arg = f};
	f->a = arena_new((size_t)1 << 30);
	(void)imap_put(&s->families, parent_id, f);
	list_push_back(&s->families_used, &f->used);
	read_children(s->db, f->a, tenant_no, parent_id, &f->rows, &f->op);
	return f;
}

static bool is_alive(const struct svc *s, int64_t parent_id)
{
	struct eng_task_view v;

	return engine_task(s->engine, parent_id, &v);
}

bool child_families_known(struct svc *s, int32_t tenant_no, struct svc_trigger_item *items, uint32_t n, struct op *op)
{
	struct spawn *w = NULL;

	for (uint32_t i = 0; i < n; i++) {
		bool asks = is_keyed(&items[i]) || (items[i].parent_id && !is_alive(s, items[i].parent_id));
		struct family *f = asks ? family_get(s, tenant_no, items[i].parent_id) : NULL;

		if (!f || f->is_loaded)
			continue;
		if (!w) {
			w = xcalloc(1, sizeof(*w));
			*w = (struct spawn){.s = s, .tenant_no = tenant_no, .items = items, .n = n, .op = op};
		}
		if (f->waiting.n > 0 && f->waiting.p[f->waiting.n - 1] == w)
			continue;
		vec_push(&f->waiting, w);
		w->left++;
	}
	return !w;
}

int64_t child_find(struct svc *s, const struct svc_trigger_item *it)
{
	const struct family *f = is_keyed(it) ? imap_get(&s->families, it->parent_id) : NULL;
	char buf[16];

	return f ? (int64_t)(intptr_t)smap_get(&f->keys, key_of(it->child_key, it->child_index, buf)) : 0;
}

bool child_is_orphan(struct svc *s, const struct svc_trigger_item *it)
{
	const struct family *f = it->parent_id && !is_alive(s, it->parent_id) ? imap_get(&s->families, it->parent_id) : NULL;

	return f && f->is_cancelled;
}

void child_add(struct svc *s, const struct svc_trigger_item *it)
{
	struct family *f = is_keyed(it) ? imap_get(&s->families, it->parent_id) : NULL;
	char buf[16];

	if (!f)
		return;
	family_add(f, key_of(it->child_key, it->child_index, buf), it->id);
	f->n_pending++;
}

void child_stored(struct svc *s, const struct svc_trigger_item *it, bool ok)
{
	struct family *f = is_keyed(it) ? imap_get(&s->families, it->parent_id) : NULL;
	char buf[16];

	if (!f || f->n_pending == 0)
		return;
	f->n_pending--;
	if (!ok)
		(void)smap_del(&f->keys, key_of(it->child_key, it->child_index, buf));
}

/* --- children of the cancelled that wait in a tail: found and ended, some at a time --------------------------------------- */

enum { PARENTS_MAX = 1000, TAIL_CHILDREN_MAX = 1000 };

struct orphaning {
	struct svc *s;
	struct arena *a;
	struct op op;
	uint64_t engine_no;
	struct read_live rows;
	int32_t tenant_nos[PARENTS_MAX];
	int64_t ids[PARENTS_MAX];
	uint32_t n;
};

static void orphans_next(struct svc *s, struct orphaning *o);

/* What this round found has ended: is there more? */
static void orphans_ended(struct op *op, const struct err *err)
{
	struct orphaning *o = op->arg;

	(void)err;
	orphans_next(o->s, o);
}

static void orphans_found(struct op *op, const struct err *err)
{
	struct orphaning *o = op->arg;
	struct svc *s = o->s;
	struct ev *ev;

	if (err || o->engine_no != s->engine_no || !s->loaded || o->rows.n == 0) {
		o->n = 0;	/* whatever is left cannot start: a load sees whose children they are */
		orphans_next(s, o);
		return;
	}
	for (uint32_t i = 0; i < o->rows.n; i++) {
		const struct live_row *r = &o->rows.p[i];

		ev = svc_event(s, EV_CANCEL);
		ev->id = r->id;
		ev->tenant_no = r->tenant_no;
		ev->attempt = -1;
		ev->text = CANCEL_BY_PARENT;
		ev->tail = true;
		ev->action_no = r->action_no;
		ev->rank = (int8_t)r->rank;
		ev->lane = r->lane;
		ev->restore = (struct ev_restore){.id = r->id, .tenant_no = r->tenant_no, .step_no = r->step_no, .state = LIVE_QUEUED,
			.rank = (int8_t)r->rank, .attempt = r->attempt, .app_retries = r->app_retries,
			.internal_retries = r->internal_retries, .queued_at = r->queued_at, .assigned_at = INT64_MIN,
			.started_at = INT64_MIN, .due_at = r->due_at};
	}
	o->op = (struct op){.fn = orphans_ended, .arg = o};
	ev = svc_event(s, EV_ECHO);
	ev->ref = call_new(s, CALL_CANCEL, &o->op);
}

static void orphans_next(struct svc *s, struct orphaning *o)
{
	if (o->n == 0) {
		size_t n = MIN(s->orphaned.n, PARENTS_MAX);

		for (size_t i = 0; i < n; i++) {
			o->tenant_nos[i] = s->orphaned.p[s->orphaned.n - n + i].tenant_no;
			o->ids[i] = s->orphaned.p[s->orphaned.n - n + i].id;
		}
		s->orphaned.n -= n;
		o->n = (uint32_t)n;
	}
	if (o->n == 0 || !s->loaded || engine_stats(s->engine).tails == 0) {
		vec_clear(&s->orphaned);
		s->is_orphaning = false;
		arena_free(o->a);
		free(o);
		return;
	}
	arena_reset(o->a);
	o->engine_no = s->engine_no;
	o->op = (struct op){.fn = orphans_found, .arg = o};
	read_children_in_tail(s->db, o->a, o->tenant_nos, o->ids, o->n, TAIL_CHILDREN_MAX, &o->rows, &o->op);
}

static void orphan_tail(struct svc *s, const struct fx *fx)
{
	struct orphaning *o;

	if (engine_stats(s->engine).tails == 0)
		return;
	vec_push(&s->orphaned, ((struct orphaned){fx->id, fx->tenant_no}));
	if (s->is_orphaning)
		return;
	s->is_orphaning = true;
	o = xcalloc(1, sizeof(*o));
	o->s = s;
	o->a = arena_new(16u << 20);
	orphans_next(s, o);
}

void child_parent_ended(struct svc *s, const struct fx *fx)
{
	struct family *f = imap_get(&s->families, fx->id);
	bool has_run = fx->attempt > 0 || fx->assigned_at != INT64_MIN;

	if (f)
		f->is_cancelled = fx->status == ATTEMPT_CANCELLED;
	if (f && f->is_loaded && f->n_pending == 0)
		family_free(f);
	if (fx->status == ATTEMPT_CANCELLED && has_run)
		orphan_tail(s, fx);
}

void child_fini(struct svc *s)
{
	LIST_FOREACH_SAFE(it, &s->families_used) {
		struct family *f = LIST_ENTRY(it, struct family, used);

		for (size_t i = 0; i < f->waiting.n; i++)
			if (--f->waiting.p[i]->left == 0)	/* its request has ended with the server */
				free(f->waiting.p[i]);
		if (f->a)
			arena_free(f->a);
		family_free(f);
	}
	imap_fini(&s->families);
	vec_fini(&s->orphaned);
}

void child_clear(struct svc *s)
{
	LIST_FOREACH_SAFE(it, &s->families_used) {
		struct family *f = LIST_ENTRY(it, struct family, used);

		/* one that is being read is forgotten when its answer comes: it is empty, and waited for */
		if (f->is_loaded)
			family_free(f);
	}
}
