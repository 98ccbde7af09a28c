/* Tasks that a task has spawned: they are cancelled with it.
 *
 * Those in memory end in the step that ends their parent, before anybody is answered.  Those in the tail cannot start: what a
 * load brings is an orphan by what the database says, or by `cancelled` when that read came too early; the shell finds and ends
 * them.  A child that is spawned after the end of its parent is born cancelled. */
#include "eng_int.h"

/* Longer than any answer of the database takes. */
enum { READ_MAX_US = 60000000 };

void recent_add(struct engine *e, struct recent *r, int64_t id)
{
	size_t n = r->order.n;

	while (r->first < n && r->order.p[r->first].at < e->now.mono_us - READ_MAX_US) {
		const struct happened *h = &r->order.p[r->first++];

		if ((int64_t)(intptr_t)imap_get(&r->ids, h->id) == h->at)	/* not once more since */
			(void)imap_del(&r->ids, h->id);
	}
	if (r->first > n / 2) {
		memmove(r->order.p, r->order.p + r->first, (n - r->first) * sizeof(r->order.p[0]));
		r->order.n -= r->first;
		r->first = 0;
	}
	vec_push(&r->order, ((struct happened){id, e->now.mono_us}));
	(void)imap_put(&r->ids, id, (void *)(intptr_t)e->now.mono_us);
}

bool recent_has(const struct recent *r, int64_t id)
{
	return imap_get(&r->ids, id) != NULL;
}

void recent_del(struct recent *r, int64_t id)
{
	(void)imap_del(&r->ids, id);
}

void recent_fini(struct recent *r)
{
	vec_fini(&r->order);
	imap_fini(&r->ids);
}

void family_join(struct engine *e, struct task *t, int64_t parent_id)
{
	struct family *f;

	t->parent_id = parent_id;
	if (!parent_id)
		return;
	f = imap_get(&e->families, parent_id);
	if (!f) {
		f = xcalloc(1, sizeof(*f));
		f->parent_id = parent_id;
		list_init(&f->children);
		(void)imap_put(&e->families, parent_id, f);
	}
	list_push_back(&f->children, &t->sibling);
}

void family_leave(struct engine *e, struct task *t)
{
	struct family *f;

	if (!list_linked(&t->sibling))
		return;
	list_del(&t->sibling);
	f = imap_get(&e->families, t->parent_id);
	if (list_empty(&f->children)) {
		(void)imap_del(&e->families, t->parent_id);
		free(f);
	}
}

void family_orphan(struct engine *e, const struct task *t)
{
	if (t->attempt == 0 && t->assigned_at == INT64_MIN)
		return;		/* it never ran */
	recent_add(e, &e->cancelled, t->id);
	if (imap_get(&e->families, t->id))
		vec_push(&e->orphaned, t->id);
}

bool family_is_orphan(const struct engine *e, int64_t parent_id)
{
	return parent_id && recent_has(&e->cancelled, parent_id) && !imap_get(&e->tasks, parent_id);
}

void family_run(struct engine *e)
{
	while (e->orphaned.n > 0) {
		int64_t parent_id = e->orphaned.p[--e->orphaned.n];
		struct family *f;

		while ((f = imap_get(&e->families, parent_id)))
			task_cancel(e, LIST_ENTRY(f->children.next, struct task, sibling), CANCEL_BY_PARENT);
	}
}
