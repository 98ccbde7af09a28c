/* Frames that come for streams of the past. */
#ifndef NET_H2_LATE_H
#define NET_H2_LATE_H
#include "base/base.h"

#include <nghttp2/nghttp2.h>

enum { H2_CLOSED_KEPT = 256 };	/* streams of the past that a late frame can be told for; power of two */
struct h2_late {
	int32_t max_id;			/* highest stream the peer opened */
	struct {
		int32_t id;
		bool by_peer;		/* the peer had ended its side */
	} closed[H2_CLOSED_KEPT];
};
void h2_late_closed(struct h2_late *l, int32_t id, bool by_peer);
void h2_late_check(struct h2_late *l, nghttp2_session *ng, uint8_t type, int32_t id);	/* before nghttp2 gets the frame */
#endif
