/* Why a task waits: its rows made into what the engine can be asked.  Changes nothing, and adds no events. */
#include "svc/why.h"

#include "svc_int.h"

#include <stdlib.h>

bool svc_why(struct svc *s, const struct live_row *row, bool in_tail, int16_t rank, int64_t lane, struct eng_why *ret, struct err *err)
{
	struct eng_why_row ask = {.step_no = row->step_no, .rank = (int8_t)rank, .has_turn = lane != 0};
	size_t n = s->turn_memory.n;
	bool ok;

	*err = (struct err){.code = ERR_OK};
	if (!svc_is_ready(s, err))
		return false;
	if (in_tail) {
		ask.place = svc_place_stored(s, row->desired_no, row->labels);
		keys_stored(cat_step(s->catalog, row->step_no), row->keys, row->key_limits, row->n_key_limits, ask.entries);
		limits_stored(s, cat_step(s->catalog, row->step_no), row->limits, &ask.limits, &ask.n_limits);
	}
	ok = engine_why(s->engine, row->id, in_tail ? &ask : NULL, ret);
	while (s->turn_memory.n > n)	/* borrowed for this call only, and no event of this turn has it */
		free(s->turn_memory.p[--s->turn_memory.n]);
	return ok;
}
