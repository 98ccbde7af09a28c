/* HTTP/2 on nghttp2: one session per connection, one struct h2s per stream.
 *
 * gRPC streams feed a message framer; other requests collect a body and go the way of HTTP/1.1.  Data is pulled by flow
 * control: a stream's queue is read by nghttp2 when its window allows, nothing is pushed. */
#include "h2_late.h"
#include "net_int.h"

#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>

enum { FRAME_HEAD = 9, PREFACE = 24 };
enum { PULL_MAX = 256 << 10, WINDOW = 1 << 20, CONN_WINDOW = 16 << 20 };

struct h2 {
	struct conn *c;
	nghttp2_session *ng;
	struct list streams;
	uint32_t n_streams;
	bool draining, ping_out, failed;
	size_t held;			/* by all streams */
	int64_t resets_from_us;
	uint32_t resets;
	uint32_t preface_left, frame_left;	/* where in the peer's bytes we are */
	uint8_t head[FRAME_HEAD];
	size_t head_n;
	struct h2_late late;
};

struct h2s {			/* one stream; freed when nghttp2 closes it */
	struct exchange x;
	struct list node;
	struct h2 *h;
	int32_t id;
	struct arena *a;	/* until the request takes it */
	VEC(struct header) headers;
	size_t header_bytes, held;	/* held: bytes of a request that is not yet whole */
	struct str method, path, content_type;
	bool is_grpc, headers_done, begun, responded, in_ended, peer_reset, counted;
	const struct rpc_method *rpc;
	struct grpc_in in;
	struct strb body;
	struct str first;	/* unary: the message */
	bool has_first;
	struct stream *st;
	/* out */
	VEC(struct buf *) q;	/* messages of a stream, with prefix written on the fly */
	size_t q_head, q_off, q_bytes;
	struct strb out;	/* a reply's bytes */
	size_t out_off;
	struct buf *own;
	struct str body_out;	/* static or owned body of a file */
	bool ended, deferred, want_drain;
	unsigned status;	/* grpc-status for the trailers */
	char *message;
	char *details;
};

static void respond_error(struct h2s *s, unsigned status, const char *msg);

static nghttp2_nv nv(const char *name, struct str value)
{
	return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)(value.p ? value.p : ""), strlen(name), value.n,
		NGHTTP2_NV_FLAG_NONE};
}

/* --- out ------------------------------------------------------------------------------------------------------------------- */

static size_t put_trailers(struct h2s *s, nghttp2_nv *nvs, char num[8])
{
	size_t n = 0;

	(void)snprintf(num, 8, "%u", s->status);
	nvs[n++] = nv("grpc-status", str_c(num));
	if (s->message && s->message[0])
		nvs[n++] = nv("grpc-message", str_c(s->message));
	if (s->details)
		nvs[n++] = nv("grpc-status-details-bin", str_c(s->details));
	return n;
}

static size_t read_queue(struct h2s *s, uint8_t *buf, size_t room)
{
	size_t n = 0;

	while (n < room && s->q_head < s->q.n) {
		struct buf *b = s->q.p[s->q_head];
		uint8_t prefix[5] = {0, (uint8_t)(b->n >> 24), (uint8_t)(b->n >> 16), (uint8_t)(b->n >> 8), (uint8_t)b->n};
		size_t take;

		if (s->q_off < 5) {
			take = MIN(room - n, 5 - s->q_off);
			memcpy(buf + n, prefix + s->q_off, take);
		} else {
			take = MIN(room - n, b->n - (s->q_off - 5));
			memcpy(buf + n, b->p + (s->q_off - 5), take);
		}
		s->q_off += take;
		n += take;
		if (s->q_off < 5 + (size_t)b->n)
			continue;
		s->q_bytes -= 5 + (size_t)b->n;
		buf_unref(b);
		s->q_off = 0;
		if (++s->q_head == s->q.n)
			s->q_head = s->q.n = 0;
	}
	return n;
}

static ssize_t read_data(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t room, uint32_t *flags, nghttp2_data_source *src,
			 void *arg)
{
	struct h2s *s = src->ptr;
	size_t n = 0, take;

	if (s->out_off < s->out.n) {
		take = MIN(room, s->out.n - s->out_off);
		memcpy(buf, s->out.p + s->out_off, take);
		s->out_off += take;
		n += take;
	}
	if (n < room && s->body_out.n) {
		take = MIN(room - n, s->body_out.n);
		memcpy(buf + n, s->body_out.p, take);
		s->body_out.p += take;
		s->body_out.n -= take;
		n += take;
	}
	n += read_queue(s, buf + n, room - n);
	if (s->st && s->want_drain && s->q_bytes * 2 < s->h->c->server->conf.limits.stream_send_bytes_max) {
		s->want_drain = false;
		stream_drained(s->st);
	}
	if (s->out_off == s->out.n && !s->body_out.n && s->q.n == 0) {
		if (s->ended) {
			*flags |= NGHTTP2_DATA_FLAG_EOF;
			if (s->is_grpc) {
				nghttp2_nv nvs[3];
				char num[8];
				size_t nn = put_trailers(s, nvs, num);

				*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
				(void)nghttp2_submit_trailer(ng, id, nvs, nn);
			}
		} else if (n == 0) {
			s->deferred = true;
			return NGHTTP2_ERR_DEFERRED;
		}
	}
	return (ssize_t)n;
}

static void wake_out(struct h2s *s)
{
	if (s->deferred) {
		s->deferred = false;
		(void)nghttp2_session_resume_data(s->h->ng, s->id);
	}
	conn_dirty(s->h->c);
}

static void submit(struct h2s *s, nghttp2_nv *nvs, size_t n, bool with_data)
{
	nghttp2_data_provider dp = {.source.ptr = s, .read_callback = read_data};

	s->responded = true;
	(void)nghttp2_submit_response(s->h->ng, s->id, nvs, n, with_data ? &dp : NULL);
	conn_dirty(s->h->c);
}

static size_t grpc_headers(struct h2s *s, struct req *r, nghttp2_nv *nvs, size_t max)
{
	size_t n = 0, extra = 0;
	struct header *h = r ? req_reply_headers(r, &extra) : NULL;

	nvs[n++] = nv(":status", STR("200"));
	nvs[n++] = nv("content-type", STR("application/grpc"));
	nvs[n++] = nv("grpc-accept-encoding", STR("identity,gzip"));
	for (size_t i = 0; i < extra && n < max; i++)
		nvs[n++] = nv(h[i].name.p, h[i].value);
	return n;
}

static void x_grpc(struct exchange *x, struct req *r, struct str msg)
{
	struct h2s *s = container_of(x, struct h2s, x);
	nghttp2_nv nvs[12];
	size_t n = grpc_headers(s, r, nvs, ARRAY_LEN(nvs));

	strb_putc(&s->out, 0);
	strb_be32(&s->out, (uint32_t)msg.n);
	strb_puts(&s->out, msg);
	s->ended = true;
	s->status = 0;
	submit(s, nvs, n, true);
}

static void set_status(struct h2s *s, unsigned status, const char *msg, struct str details)
{
	struct arena *a = arena_new(1 << 20);

	s->status = status;
	free(s->message);
	s->message = msg && msg[0] ? xstrndup(grpc_message_encode(a, str_c(msg))) : NULL;
	free(s->details);
	s->details = details.n ? xstrndup(base64_encode(a, details, false)) : NULL;
	arena_free(a);
}

static void x_grpc_fail(struct exchange *x, struct req *r, unsigned status, const char *msg, struct str details)
{
	struct h2s *s = container_of(x, struct h2s, x);
	nghttp2_nv nvs[16];
	char num[8];
	size_t n = grpc_headers(s, r, nvs, 12);

	set_status(s, status, msg, details);
	n += put_trailers(s, nvs + n, num);
	submit(s, nvs, n, false);
}

static void respond_error(struct h2s *s, unsigned status, const char *msg)
{
	if (s->x.req) {
		struct req *r = s->x.req;

		s->x.req = NULL;
		req_gone(r);
	}
	if (s->st) {
		struct stream *st = s->st;

		set_status(s, status, msg, STR_NULL);
		s->ended = true;
		s->st = NULL;
		stream_gone(st);
		wake_out(s);
		return;
	}
	if (!s->responded)
		x_grpc_fail(&s->x, NULL, status, msg, STR_NULL);
}

static void x_http(struct exchange *x, struct req *r, const struct reply *rep)
{
	struct h2s *s = container_of(x, struct h2s, x);
	struct arena *a = req_arena(r);
	struct http_out o;
	nghttp2_nv nvs[24];
	size_t n = 0, extra;
	struct header *h = req_reply_headers(r, &extra);
	char status[8], length[24];
	bool head = req_is_head(r);

	http_decide(a, r, rep, &o);
	(void)snprintf(status, sizeof(status), "%u", o.status);
	(void)snprintf(length, sizeof(length), "%zu", o.body.n);
	nvs[n++] = nv(":status", str_c(status));
	nvs[n++] = nv("date", str_c(server_date(s->h->c->server)));
	nvs[n++] = nv("server", str_c(s->h->c->server->conf.server_header));
	if (rep->content_type && o.status != 304)
		nvs[n++] = nv("content-type", str_c(rep->content_type));
	if (o.status != 304 && o.status != 204)
		nvs[n++] = nv("content-length", str_c(length));
	for (size_t i = 0; i < o.n_extra; i++)
		nvs[n++] = nv(o.extra[i].name.p, o.extra[i].value);
	for (size_t i = 0; i < extra && n < ARRAY_LEN(nvs); i++) {
		char *lower = arena_strz(a, h[i].name);

		for (char *p = lower; *p; p++)
			*p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
		nvs[n++] = nv(lower, h[i].value);
	}
	if (!head && !o.is_packed && (rep->own || rep->is_static)) {
		s->own = rep->own;
		s->body_out = o.body;
	} else {
		buf_unref(rep->own);
		if (!head)
			strb_puts(&s->out, o.body);
	}
	s->ended = true;
	submit(s, nvs, n, s->out.n > 0 || s->body_out.n > 0);
}

static enum stream_sent x_send(struct exchange *x, struct buf *msg)
{
	struct h2s *s = container_of(x, struct h2s, x);

	if ((s->q_bytes && s->q_bytes + msg->n > s->h->c->server->conf.limits.stream_send_bytes_max) ||
	    s->q.n - s->q_head >= CONF_STREAM_OUT_MESSAGES_MAX) {
		s->want_drain = true;
		return STREAM_FULL;
	}
	vec_push(&s->q, buf_ref(msg));
	s->q_bytes += 5 + (size_t)msg->n;
	wake_out(s);
	return STREAM_SENT;
}

static void x_end(struct exchange *x, unsigned status, const char *msg)
{
	struct h2s *s = container_of(x, struct h2s, x);
	struct stream *st = s->st;

	set_status(s, status, msg, STR_NULL);
	s->ended = true;
	s->st = NULL;
	stream_gone(st);
	wake_out(s);
}

static bool x_open(struct exchange *x, struct req *r, struct stream *st)
{
	struct h2s *s = container_of(x, struct h2s, x);
	nghttp2_nv nvs[12];
	size_t n = grpc_headers(s, r, nvs, ARRAY_LEN(nvs));

	s->st = st;
	st->x = x;
	st->send = x_send;
	st->end = x_end;
	submit(s, nvs, n, true);
	return true;
}

static const struct exchange_ops h2_ops = {x_http, x_grpc, x_grpc_fail, x_open};

/* --- in -------------------------------------------------------------------------------------------------------------------- */

static struct str find(const struct h2s *s, const char *name)
{
	for (size_t i = 0; i < s->headers.n; i++)
		if (str_eq(s->headers.p[i].name, str_c(name)))
			return s->headers.p[i].value;
	return STR_NULL;
}

static void begin(struct h2s *s, struct str body)
{
	struct req_start rs = {.server = s->h->c->server, .x = &s->x, .is_grpc = s->is_grpc, .method = s->method, .path = s->path,
		.body = body, .rpc = s->rpc, .bar = s->h->c->bar};
	const char *q = s->path.n ? memchr(s->path.p, '?', s->path.n) : NULL;
	struct str timeout = find(s, "grpc-timeout");
	struct header *hs = ARENA_ARRAY(s->a, struct header, s->headers.n + 1);

	if (q) {
		rs.query = (struct str){q + 1, s->path.n - (size_t)(q + 1 - s->path.p)};
		rs.path.n = (size_t)(q - s->path.p);
	}
	memcpy(hs, s->headers.p, s->headers.n * sizeof(*hs));
	rs.headers = hs;
	rs.n_headers = s->headers.n;
	if (s->is_grpc && timeout.n && !grpc_timeout_parse(timeout, &rs.timeout_us)) {
		respond_error(s, 3, "bad grpc-timeout");
		return;
	}
	s->begun = true;
	rs.arena = s->a;
	s->a = NULL;
	req_begin(&rs);
}

static void start_grpc(struct h2s *s)
{
	struct str enc = find(s, "grpc-encoding");

	if (!str_eq(s->method, STR("POST"))) {
		respond_error(s, 12, "gRPC calls are POST");
		return;
	}
	s->rpc = route_rpc(s->h->c->server->routes, s->path);
	if (enc.n && !str_eq(enc, STR("identity")) && !str_eq(enc, STR("gzip"))) {
		respond_error(s, 12, "unknown grpc-encoding; this server takes identity and gzip");
		return;
	}
	s->in.gzip = str_eq(enc, STR("gzip"));
	if (!s->rpc || s->rpc->kind == RPC_BIDI)
		begin(s, STR_NULL);
}

static void headers_done(struct h2s *s)
{
	struct str ct = find(s, "content-type");

	s->headers_done = true;
	s->is_grpc = str_starts(ct, STR("application/grpc"));
	if (s->is_grpc) {
		start_grpc(s);
	}
}

/* Unary and server streaming: exactly one message, then the end. */
static void on_message(struct h2s *s, struct str msg)
{
	if (s->rpc && s->rpc->kind == RPC_BIDI) {
		if (s->st)
			stream_msg(s->st, msg);
		return;
	}
	if (s->has_first) {
		respond_error(s, 13, "more than one message in a unary call");
		return;
	}
	s->has_first = true;
	s->first = msg;
}

static void grpc_data(struct h2s *s, struct str in)
{
	struct err err;
	struct str msg;

	while (!s->ended && !(s->responded && !s->st)) {
		bool bidi = s->rpc && s->rpc->kind == RPC_BIDI;
		struct arena *a = bidi ? arena_new((size_t)s->h->c->server->conf.limits.msg_bytes_max + 65536) : s->a;
		enum grpc_got got;

		if (!a)
			return;
		got = grpc_in_next(&s->in, a, in, &msg, &err);
		in = STR_NULL;
		if (got == GRPC_MSG)
			on_message(s, msg);
		if (bidi)
			arena_free(a);
		if (got == GRPC_BAD)
			respond_error(s, err_grpc_status(err.code), err.msg);
		if (got != GRPC_MSG)
			return;
	}
}

static void refuse_http(struct h2s *s, const char *status)
{
	nghttp2_nv nvs[] = {nv(":status", str_c(status))};

	submit(s, nvs, 1, false);
}

/* Few streams may bring large requests, many may bring small ones; but not all of them the largest at a time. */
static void hold(struct h2s *s)
{
	size_t now = grpc_in_left(&s->in) + s->body.n + (s->begun ? 0 : s->first.n);
	struct h2 *h = s->h;

	h->held += now - s->held;
	s->held = now;
	if (h->held <= h->c->server->conf.limits.conn_in_bytes_max || s->responded)
		return;
	if (s->is_grpc)
		respond_error(s, 8, "too much in unfinished calls on this connection");
	else
		refuse_http(s, "429");
}

static void http_data(struct h2s *s, struct str in)
{
	uint32_t max = s->h->c->server->conf.limits.http_body_bytes_max;

	if (s->responded)
		return;
	if (s->body.n + in.n > max) {
		refuse_http(s, "413");
		return;
	}
	strb_puts(&s->body, in);
}

static void in_end(struct h2s *s)
{
	if (s->in_ended)
		return;
	s->in_ended = true;
	if (!s->is_grpc) {
		if (!s->begun && !s->responded)
			begin(s, arena_dup(s->a, strb_str(&s->body)));
		strb_fini(&s->body);
		hold(s);
		return;
	}
	if (s->rpc && s->rpc->kind == RPC_BIDI) {
		if (s->st)
			stream_half_closed(s->st);
		return;
	}
	if (s->begun || s->responded)
		return;
	if (!s->has_first || grpc_in_left(&s->in)) {
		respond_error(s, 13, grpc_in_left(&s->in) ? "the last message is cut short" : "no message in a unary call");
		return;
	}
	begin(s, s->first);
	strb_fini(&s->in.buf);
	s->in.off = 0;
	hold(s);
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct h2 *h = arg;
	struct h2s *s;

	if (f->hd.type != NGHTTP2_HEADERS || f->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	s = xcalloc(1, sizeof(*s));
	s->h = h;
	s->id = f->hd.stream_id;
	s->x.ops = &h2_ops;
	s->a = arena_new((size_t)h->c->server->conf.limits.msg_bytes_max * 40 + (1 << 20));
	strb_init(&s->out, (size_t)1 << 30);
	strb_init(&s->body, h->c->server->conf.limits.http_body_bytes_max);
	grpc_in_init(&s->in, h->c->server->conf.limits.msg_bytes_max);
	list_push_back(&h->streams, &s->node);
	h->n_streams++;
	h->c->server->stats.streams++;
	(void)nghttp2_session_set_stream_user_data(ng, s->id, s);
	return 0;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *f, const uint8_t *name, size_t nn, const uint8_t *value, size_t vn,
		     uint8_t flags, void *arg)
{
	struct h2 *h = arg;
	struct h2s *s = nghttp2_session_get_stream_user_data(ng, f->hd.stream_id);
	struct header hd;

	if (!s || s->headers_done)
		return 0;
	s->header_bytes += nn + vn + 32;
	if (s->header_bytes > h->c->server->conf.limits.header_list_bytes_max)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	hd.name = arena_dup(s->a, (struct str){(const char *)name, nn});
	hd.value = arena_dup(s->a, (struct str){(const char *)value, vn});
	if (str_eq(hd.name, STR(":method")))
		s->method = hd.value;
	else if (str_eq(hd.name, STR(":path")))
		s->path = hd.value;
	vec_push(&s->headers, hd);
	return 0;
}

/* Begun work that is thrown away, again and again, is an attack whoever says so (CVE-2023-44487, CVE-2025-8671). */
static void count_reset(struct h2 *h)
{
	int64_t now = loop_now(h->c->server->conf.loop).mono_us;

	if (now - h->resets_from_us > 1000000) {
		h->resets_from_us = now;
		h->resets = 0;
	}
	if (++h->resets > h->c->server->conf.limits.resets_per_s_max)
		(void)nghttp2_session_terminate_session(h->ng, NGHTTP2_ENHANCE_YOUR_CALM);
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct h2 *h = arg;
	struct h2s *s = nghttp2_session_get_stream_user_data(ng, f->hd.stream_id);

	if (f->hd.type == NGHTTP2_PING && (f->hd.flags & NGHTTP2_FLAG_ACK))
		h->ping_out = false;
	if (f->hd.type == NGHTTP2_RST_STREAM)
		count_reset(h);
	if (!s)
		return 0;
	if (f->hd.type == NGHTTP2_RST_STREAM)
		s->peer_reset = true;
	if (f->hd.type == NGHTTP2_HEADERS && !s->headers_done)
		headers_done(s);
	if ((f->hd.type == NGHTTP2_HEADERS || f->hd.type == NGHTTP2_DATA) && (f->hd.flags & NGHTTP2_FLAG_END_STREAM))
		in_end(s);
	return 0;
}

/* Answered before the request has ended: the peer need not send the rest.  Only after our own last frame, for RST_STREAM drops
 * what of the stream is still queued. */
static int on_frame_sent(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct h2s *s = nghttp2_session_get_stream_user_data(ng, f->hd.stream_id);

	/* the peer's fault: neither ours after an early answer, nor a stream too many, which began nothing */
	if (f->hd.type == NGHTTP2_RST_STREAM && f->rst_stream.error_code != NGHTTP2_NO_ERROR &&
	    f->rst_stream.error_code != NGHTTP2_REFUSED_STREAM)
		count_reset(arg);
	if (s && !s->in_ended && (f->hd.type == NGHTTP2_HEADERS || f->hd.type == NGHTTP2_DATA) && (f->hd.flags & NGHTTP2_FLAG_END_STREAM))
		(void)nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_NO_ERROR);
	return 0;
}

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *data, size_t n, void *arg)
{
	struct h2s *s = nghttp2_session_get_stream_user_data(ng, id);

	if (!s)
		return 0;
	if (s->is_grpc)
		grpc_data(s, (struct str){(const char *)data, n});
	else
		http_data(s, (struct str){(const char *)data, n});
	hold(s);
	return 0;
}

static void h2s_free(struct h2s *s)
{
	list_del(&s->node);
	s->h->n_streams--;
	s->h->held -= s->held;
	if (s->x.req)
		req_gone(s->x.req);
	if (s->st)
		stream_gone(s->st);
	while (s->q_head < s->q.n)
		buf_unref(s->q.p[s->q_head++]);
	vec_fini(&s->q);
	vec_fini(&s->headers);
	strb_fini(&s->out);
	strb_fini(&s->body);
	grpc_in_fini(&s->in);
	buf_unref(s->own);
	free(s->message);
	free(s->details);
	arena_free(s->a);
	free(s);
}

static int on_close(nghttp2_session *ng, int32_t id, uint32_t code, void *arg)
{
	struct h2 *h = arg;
	struct h2s *s = nghttp2_session_get_stream_user_data(ng, id);

	if (!s)
		return 0;
	h2_late_closed(&h->late, id, s->in_ended || s->peer_reset);
	(void)nghttp2_session_set_stream_user_data(ng, id, NULL);
	h2s_free(s);
	if (h->draining && h->n_streams == 0)
		conn_finish(h->c);
	return 0;
}

struct h2 *h2_new(struct conn *c)
{
	const struct server_limits *lim = &c->server->conf.limits;
	struct h2 *h = xcalloc(1, sizeof(*h));
	nghttp2_session_callbacks *cb;
	nghttp2_option *opt;
	nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, lim->streams_per_conn_max},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, lim->header_list_bytes_max},
	};

	h->c = c;
	h->preface_left = PREFACE;
	list_init(&h->streams);
	if (nghttp2_session_callbacks_new(&cb) || nghttp2_option_new(&opt))
		abort();
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_sent);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
	nghttp2_option_set_no_closed_streams(opt, 1);
	/* "Bearer " without a token: a client in error, to be told so, not a broken connection */
	nghttp2_option_set_no_rfc9113_leading_and_trailing_ws_validation(opt, 1);
	if (nghttp2_session_server_new2(&h->ng, cb, h, opt))
		abort();
	nghttp2_option_del(opt);
	nghttp2_session_callbacks_del(cb);
	(void)nghttp2_submit_settings(h->ng, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings));
	(void)nghttp2_session_set_local_window_size(h->ng, NGHTTP2_FLAG_NONE, 0, CONN_WINDOW);
	timer_set(c->timer, c->last_in_us + (int64_t)lim->ping_after_ms * 1000);
	conn_dirty(c);
	return h;
}

void h2_free(struct h2 *h)
{
	nghttp2_session_del(h->ng);	/* calls nobody */
	while (!list_empty(&h->streams))
		h2s_free(LIST_ENTRY(h->streams.next, struct h2s, node));
	free(h);
}

static bool feed(struct h2 *h, const void *p, size_t n)
{
	if (n == 0 || nghttp2_session_mem_recv(h->ng, p, n) >= 0)
		return true;
	h->failed = true;
	conn_finish(h->c);
	return false;
}

/* Frame by frame, each looked at before nghttp2 gets it. */
void h2_data(struct h2 *h, struct str in)
{
	conn_dirty(h->c);
	while (in.n && !h->failed) {
		size_t n = MIN(in.n, h->preface_left ? h->preface_left : h->frame_left);

		if (n) {
			if (h->preface_left)
				h->preface_left -= (uint32_t)n;
			else
				h->frame_left -= (uint32_t)n;
			if (!feed(h, in.p, n))
				return;
		} else {
			n = MIN(in.n, FRAME_HEAD - h->head_n);
			memcpy(h->head + h->head_n, in.p, n);
			h->head_n += n;
			if (h->head_n == FRAME_HEAD) {
				const uint8_t *p = h->head;

				h->head_n = 0;
				h->frame_left = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
				h2_late_check(&h->late, h->ng, p[3], (int32_t)(((uint32_t)p[5] & 127) << 24 | (uint32_t)p[6] << 16 |
							      (uint32_t)p[7] << 8 | p[8]));
				if (!feed(h, p, FRAME_HEAD))
					return;
			}
		}
		in.p += n;
		in.n -= n;
	}
}

void h2_pull(struct h2 *h)
{
	while (conn_queued(h->c) < PULL_MAX) {
		const uint8_t *p;
		ssize_t n = nghttp2_session_mem_send(h->ng, &p);

		if (n <= 0)
			break;
		strb_put(&h->c->out, p, (size_t)n);
	}
	if (!nghttp2_session_want_read(h->ng) && !nghttp2_session_want_write(h->ng)) {
		h->c->linger = true;
		h->c->want_close = true;
	}
}

/* Silence: ping; no answer: the peer is gone.  One that is to be closed and does not read what is left for it, too. */
void h2_timer(struct h2 *h)
{
	struct conn *c = h->c;
	const struct server_limits *lim = &c->server->conf.limits;
	int64_t now = loop_now(c->server->conf.loop).mono_us, answer = (int64_t)lim->ping_answer_ms * 1000;
	int64_t silent = now - c->last_in_us, after = (int64_t)lim->ping_after_ms * 1000;

	if (c->want_close) {
		if (now - c->last_out_us >= answer)
			conn_close(c);
		else
			timer_set(c->timer, c->last_out_us + answer);
	} else if (silent < after) {
		h->ping_out = false;
		timer_set(c->timer, c->last_in_us + after);
	} else if (h->ping_out) {
		conn_close(c);
	} else {
		h->ping_out = true;
		(void)nghttp2_submit_ping(h->ng, NGHTTP2_FLAG_NONE, NULL);
		conn_dirty(c);
		timer_set(c->timer, now + answer);
	}
}

void h2_drain(struct h2 *h)
{
	h->draining = true;
	h->c->linger = true;	/* a client whose write fails takes that for the reason, and does not read ours */
	(void)nghttp2_submit_goaway(h->ng, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h->ng), NGHTTP2_NO_ERROR, NULL, 0);
	if (h->n_streams == 0)
		conn_finish(h->c);
	conn_dirty(h->c);
}
