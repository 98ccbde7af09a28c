/* What tasks ask of a worker, and which worker suits best: slots, labels, a worker they name.
 *
 * A candidate has its stream open, is not paused, has all required labels, a sum of weights that is not negative, and room for
 * every slot type.  Only then the named worker counts: HARD takes no other, else it is the first choice.  The rest by sum of
 * weights, round robin among equals. */
#include "eng_int.h"

static bool same_wants(const struct eng_want *a, const struct eng_want *b, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (a[i].key != b[i].key || a[i].text != b[i].text || a[i].number != b[i].number || a[i].weight != b[i].weight ||
		    a[i].is_text != b[i].is_text || a[i].required != b[i].required || a[i].op != b[i].op)
			return false;
	return true;
}

/* The finishing step of splitmix64. */
static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) + 0x9e3779b97f4a7c15;
	h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9;
	h = (h ^ (h >> 27)) * 0x94d049bb133111eb;
	return h ^ (h >> 31);
}

static uint64_t key_of(const struct step *s, const struct eng_place *p)
{
	uint64_t h = mix(mix(mix(0, (uint64_t)s->def.step_no), (uint64_t)(int64_t)p->desired_no), p->has_wants);

	for (uint32_t i = 0; i < p->n_wants; i++) {
		const struct eng_want *w = &p->wants[i];

		h = mix(mix(h, w->key), w->text);
		h = mix(h, (uint64_t)(uint32_t)w->number << 32 | (uint32_t)w->weight);
		h = mix(h, (uint64_t)w->is_text << 16 | (uint64_t)w->required << 8 | w->op);
	}
	return h;
}

static struct need *make(struct step *s, struct queue *q, int32_t desired_no, const struct eng_want *wants, uint32_t n_wants)
{
	struct need *n = xcalloc(1, sizeof(*n));

	n->queue = q;
	n->step = s;
	n->desired_no = desired_no;
	n->refs = 1;
	n->n_wants = n_wants;
	n->wants = n_wants ? xcalloc(n_wants, sizeof(*wants)) : NULL;
	for (uint32_t i = 0; i < n_wants; i++)
		n->wants[i] = wants[i];
	for (int i = 0; i < 4; i++) {
		list_init(&n->ready[i]);
		list_init(&n->lanes[i]);
	}
	return n;
}

struct need *need_of_step(struct engine *e, struct step *s)
{
	return make(s, queue_get(e, s->def.tenant_no, s->def.action_no), 0, s->def.wants, s->def.n_wants);
}

struct need *need_get(struct engine *e, struct step *s, const struct eng_place *p)
{
	struct need *n;
	uint64_t key;

	if (!p || (!p->desired_no && !p->has_wants)) {
		s->need->refs++;
		return s->need;
	}
	for (key = key_of(s, p); (n = imap_get(&e->needs, (int64_t)key)); key++)	/* another one with that hash: the next place */
		if (n->step == s && n->desired_no == p->desired_no && n->has_own == p->has_wants &&
		    (!p->has_wants || (n->n_wants == p->n_wants && same_wants(n->wants, p->wants, n->n_wants)))) {
			n->refs++;
			return n;
		}
	n = p->has_wants ? make(s, s->need->queue, p->desired_no, p->wants, p->n_wants) :
			   make(s, s->need->queue, p->desired_no, s->need->wants, s->need->n_wants);
	n->has_own = p->has_wants;
	n->key = key;
	(void)imap_put(&e->needs, (int64_t)key, n);
	return n;
}

void need_free(struct need *n)
{
	if (!n)
		return;
	free(n->wants);
	free(n);
}

void need_put(struct engine *e, struct need *n)
{
	if (--n->refs > 0)
		return;
	/* a need that was put at the next place because of this one is found no more, and made again: two alike do no harm */
	(void)imap_del(&e->needs, (int64_t)n->key);
	need_free(n);
}

/* --- workers ---------------------------------------------------------------------------------------------------------------- */

static bool is_met(const struct eng_want *want, const struct eng_label *l)
{
	if (want->is_text != l->is_text)
		return false;
	if (want->is_text)
		return want->op == LABEL_EQ ? l->text == want->text : want->op == LABEL_NE && l->text != want->text;
	switch ((enum label_op)want->op) {
	case LABEL_EQ:
		return l->number == want->number;
	case LABEL_NE:
		return l->number != want->number;
	case LABEL_GT:
		return l->number > want->number;
	case LABEL_GE:
		return l->number >= want->number;
	case LABEL_LT:
		return l->number < want->number;
	case LABEL_LE:
		return l->number <= want->number;
	}
	return false;
}

bool need_want_is_met(const struct eng_want *want, const struct worker *w)
{
	for (size_t i = 0; i < w->labels.n; i++)
		if (w->labels.p[i].key == want->key && is_met(want, &w->labels.p[i]))
			return true;
	return false;
}

/* false: a required label is missing or the sum is negative. */
static bool weigh(const struct need *n, const struct worker *w, int64_t *ret)
{
	int64_t sum = 0;

	for (uint32_t i = 0; i < n->n_wants; i++) {
		const struct eng_want *want = &n->wants[i];

		if (need_want_is_met(want, w))
			sum += want->weight;
		else if (want->required)
			return false;
	}
	*ret = sum;
	return sum >= 0;
}

static bool has_room(const struct worker *w, const struct step *s, bool now)
{
	for (size_t i = 0; i < ENG_STEP_SLOTS && s->def.slots[i].units > 0; i++) {
		bool fits = false;

		for (size_t j = 0; j < ENG_SLOT_TYPES && w->limit[j].units > 0 && !fits; j++)
			fits = w->limit[j].type_no == s->def.slots[i].type_no &&
			       w->limit[j].units - (now ? w->used[j].units : 0) >= s->def.slots[i].units;
		if (!fits)
			return false;
	}
	return true;
}

static bool is_candidate(const struct need *n, const struct worker *w, bool now, int64_t *ret_weight)
{
	if (!w->stream_open || w->paused || w->ended || w->is_silent || (now && w->stalled))
		return false;
	if (n->step->def.sticky == STICKY_HARD && n->desired_no && n->desired_no != w->worker_no)
		return false;
	return has_room(w, n->step, now) && weigh(n, w, ret_weight);
}

bool need_fits(const struct need *n, const struct worker *w)
{
	int64_t weight;

	return is_candidate(n, w, true, &weight);
}

bool need_ever_fits(const struct need *n, const struct worker *w)
{
	int64_t weight;

	return is_candidate(n, w, false, &weight);
}

struct worker *need_pick(struct need *n, struct worker *free_one)
{
	struct queue *q = n->queue;
	bool is_plain = !n->desired_no && !n->n_wants;
	struct worker *best = NULL;
	int64_t best_weight = 0;
	size_t best_at = 0;

	if (is_plain && free_one)
		return free_one;
	for (size_t i = 0; i < q->workers.n; i++) {
		size_t at = (q->next_worker + i) % q->workers.n;
		struct worker *w = q->workers.p[at];
		int64_t weight;

		if (!is_candidate(n, w, true, &weight))
			continue;
		if (w->worker_no == n->desired_no)
			return w;
		if (best && weight <= best_weight)
			continue;
		best = w;
		best_weight = weight;
		best_at = at;
		if (is_plain)
			break;
	}
	if (best)
		q->next_worker = (best_at + 1) % q->workers.n;
	return best;
}
