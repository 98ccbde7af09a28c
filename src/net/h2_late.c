/* nghttp2 ignores frames on streams that are closed, without a word.  A frame after the peer's own end, or a stream opened
 * below one that was opened before, is a broken peer: the connection ends (RFC 9113, 5.1).  After our RST_STREAM late frames
 * are normal. */
#include "h2_late.h"

void h2_late_closed(struct h2_late *l, int32_t id, bool by_peer)
{
	size_t at = (size_t)(id / 2) & (H2_CLOSED_KEPT - 1);

	l->closed[at].id = id;
	l->closed[at].by_peer = by_peer;
}

void h2_late_check(struct h2_late *l, nghttp2_session *ng, uint8_t type, int32_t id)
{
	size_t at = (size_t)(id / 2) & (H2_CLOSED_KEPT - 1);
	uint32_t error = NGHTTP2_NO_ERROR;

	if (id <= 0 || (type != NGHTTP2_HEADERS && type != NGHTTP2_DATA))
		return;
	if (id > l->max_id) {
		if (type == NGHTTP2_HEADERS)
			l->max_id = id;
		return;
	}
	if (nghttp2_session_get_stream_remote_close(ng, id) >= 0)
		return;	/* open: nghttp2 knows */
	if (l->closed[at].id == id)
		error = l->closed[at].by_peer ? NGHTTP2_STREAM_CLOSED : NGHTTP2_NO_ERROR;
	else if (type == NGHTTP2_HEADERS && id > l->max_id - H2_CLOSED_KEPT)
		error = NGHTTP2_PROTOCOL_ERROR;
	if (error != NGHTTP2_NO_ERROR)
		(void)nghttp2_session_terminate_session(ng, error);
}
