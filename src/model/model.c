/* Words of the model and the one definition of a status. */
#include "model/model.h"

const char *run_status_name(enum run_status s)
{
	switch (s) {
#define RUN_X(n, v)     \
	case RUN_##n:   \
		return #n;
		RUN_STATUS_TABLE(RUN_X)
#undef RUN_X
	}
	return "FAILED";
}

bool run_status_parse(struct str s, enum run_status *ret)
{
#define RUN_X(n, v)                     \
	if (str_ieq(s, STR(#n))) {      \
		*ret = RUN_##n;         \
		return true;            \
	}
	RUN_STATUS_TABLE(RUN_X)
#undef RUN_X
	return false;
}

enum run_status run_status_of(int live_state, bool in_tail, int last_attempt_status)
{
	if (live_state == LIVE_ASSIGNED || live_state == LIVE_STARTED)
		return RUN_RUNNING;
	if (live_state >= 0 || in_tail)
		return RUN_QUEUED;
	if (last_attempt_status == ATTEMPT_COMPLETED)
		return RUN_COMPLETED;
	if (last_attempt_status == ATTEMPT_CANCELLED)
		return RUN_CANCELLED;
	return RUN_FAILED;
}

const char *sdk_language_name(int sdks_enum)
{
	static const char *const t[] = {[1] = "GOLANG", [2] = "PYTHON", [3] = "TYPESCRIPT", [4] = "RUBY"};

	return sdks_enum > 0 && (size_t)sdks_enum < ARRAY_LEN(t) ? t[sdks_enum] : NULL;
}
