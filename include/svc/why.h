/* Why a task waits, as the engine's memory has it now; what the tables have of it comes from the caller. */
#ifndef SVC_WHY_H
#define SVC_WHY_H
#include "engine/why.h"
#include "svc/svc.h"

/* @row is that of read_replayable(), @rank and @lane those of its queue_item when it waits in a tail.  false: the engine does not have it,
 * so what the tables said is just changing (ERR_OK), or there is no engine here (UNAVAILABLE). */
bool svc_why(struct svc *s, const struct live_row *row, bool in_tail, int16_t rank, int64_t lane, struct eng_why *ret, struct err *err) MUST_USE;
#endif
