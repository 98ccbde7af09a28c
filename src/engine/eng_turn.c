/* Whose turn is it: inside a rank, keys take turns; tasks that have none form one key together.
 *
 * A turn is a number that only grows.  A key that gets work goes to the end, and so does one of which a task was assigned: between
 * two tasks of a key with work, no other key of its rank gets more than one. */
#include "eng_int.h"

#include <stdlib.h>

/* The key by which the task takes turns: that of the first strategy in its chain which lets tasks wait. */
static struct key *key_of(const struct task *t)
{
	for (int i = 0; i < t->n_places; i++)
		if (t->places[i].key->strategy->def.kind == CONC_GROUP_ROUND_ROBIN)
			return t->places[i].key;
	return NULL;
}

static void place_lane(struct lane *l)
{
	struct list *lanes = &l->need->lanes[l->rank], *at = lanes->prev;

	while (at != lanes && LIST_ENTRY(at, struct lane, node)->turn > l->turn)
		at = at->prev;
	list_insert_after(at, &l->node);
}

static struct lane *lane_get(struct engine *e, struct key *k, struct need *n, int rank)
{
	struct lane *sibling = NULL, *l;

	LIST_FOREACH(it, &k->lanes) {
		l = LIST_ENTRY(it, struct lane, of_key);
		if (l->rank != rank || l->need->queue != n->queue)
			continue;
		if (l->need == n)
			return l;
		sibling = l;
	}
	l = xcalloc(1, sizeof(*l));
	*l = (struct lane){.need = n, .key = k, .rank = rank, .turn = sibling ? sibling->turn : ++e->turn};
	list_init(&l->ready);
	list_push_back(&k->lanes, &l->of_key);
	k->refs++;
	place_lane(l);
	return l;
}

static void insert(struct list *ready, struct task *t)
{
	struct list *at = ready->prev;

	while (at != ready && LIST_ENTRY(at, struct task, qnode)->id > t->id)
		at = at->prev;
	list_insert_after(at, &t->qnode);
}

void turn_join(struct engine *e, struct task *t)
{
	struct rank *r = &t->queue->ranks[t->rank];
	struct key *k = key_of(t);

	if (k) {
		t->lane = lane_get(e, k, t->need, t->rank);
		insert(&t->lane->ready, t);
	} else {
		if (r->n_plain++ == 0)
			r->turn = ++e->turn;
		insert(&t->need->ready[t->rank], t);
	}
	r->n++;
}

void turn_leave(struct engine *e, struct task *t)
{
	struct rank *r = &t->queue->ranks[t->rank];
	struct lane *l = t->lane;

	list_del(&t->qnode);
	r->n--;
	r->n_plain -= !l;
	t->lane = NULL;
	if (l && list_empty(&l->ready)) {
		list_del(&l->node);
		list_del(&l->of_key);
		key_put(e, l->key);
		free(l);
	}
}

void turn_taken(struct engine *e, struct task *t)
{
	uint64_t turn = ++e->turn;

	if (!t->lane) {
		t->queue->ranks[t->rank].turn = turn;
		return;
	}
	LIST_FOREACH(it, &t->lane->key->lanes) {
		struct lane *l = LIST_ENTRY(it, struct lane, of_key);

		if (l->rank != t->rank || l->need->queue != t->queue)
			continue;
		list_del(&l->node);
		l->turn = turn;
		place_lane(l);
	}
}

struct task *turn_next(const struct need *n, int rank, uint64_t *ret_turn)
{
	const struct lane *l = list_empty(&n->lanes[rank]) ? NULL : LIST_ENTRY(n->lanes[rank].next, const struct lane, node);
	uint64_t plain = n->queue->ranks[rank].turn;

	if (!list_empty(&n->ready[rank]) && (!l || plain < l->turn)) {
		*ret_turn = plain;
		return LIST_ENTRY(n->ready[rank].next, struct task, qnode);
	}
	if (!l)
		return NULL;
	*ret_turn = l->turn;
	return LIST_ENTRY(l->ready.next, struct task, qnode);
}
