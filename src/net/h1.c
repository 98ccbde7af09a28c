/* HTTP/1.1: one request at a time per connection; pipelined ones wait in the buffer.
 *
 * Strict where leniency is a hole: one Content-Length or chunked but never both, no folded lines, no space before the colon. */
#include "net_int.h"

#include <stdio.h>
#include <stdlib.h>

enum { LINE_SLACK = 8192, OUT_WAIT = 256 << 10 /* unsent replies at which pipelined requests wait */ };
enum h1_state { H1_HEAD, H1_BODY, H1_CHUNK_SIZE, H1_CHUNK_DATA, H1_CHUNK_END, H1_TRAILER, H1_BUSY, H1_CLOSED };

struct h1 {
	struct exchange x;
	struct conn *c;
	enum h1_state state;
	struct strb in;
	size_t off;			/* of in: consumed, dropped at once after parsing */
	struct strb body;
	size_t body_left, trailer_bytes;
	struct arena *a;
	struct req_start rs;
	struct header *headers;
	bool keep, is_1_0, head, draining, reading, waiting;
	struct defer go_on;
};

static void h1_parse(struct h1 *h);

static const char *reason(unsigned status)
{
	switch (status) {
	case 200: return "OK";
	case 201: return "Created";
	case 204: return "No Content";
	case 206: return "Partial Content";
	case 304: return "Not Modified";
	case 400: return "Bad Request";
	case 403: return "Forbidden";
	case 404: return "Not Found";
	case 405: return "Method Not Allowed";
	case 408: return "Request Timeout";
	case 413: return "Content Too Large";
	case 416: return "Range Not Satisfiable";
	case 429: return "Too Many Requests";
	case 431: return "Request Header Fields Too Large";
	case 500: return "Internal Server Error";
	case 501: return "Not Implemented";
	case 503: return "Service Unavailable";
	case 505: return "HTTP Version Not Supported";
	default: return "Status";
	}
}

static void arm(struct h1 *h, uint32_t ms)
{
	timer_set(h->c->timer, loop_now(h->c->server->conf.loop).mono_us + (int64_t)ms * 1000);
}

static struct str left(const struct h1 *h)
{
	return (struct str){h->in.p ? h->in.p + h->off : "", h->in.n - h->off};
}

static void consume(struct h1 *h, size_t n)
{
	h->off += n;
}

static void drop_consumed(struct h1 *h)
{
	if (!h->off)
		return;
	h->in.n -= h->off;
	memmove(h->in.p, h->in.p + h->off, h->in.n);
	h->off = 0;
}

/* A request that cannot be understood: say so and close, nothing after it can be trusted. */
static void refuse(struct h1 *h, unsigned status, const char *why)
{
	struct strb *o = &h->c->out;

	h->state = H1_CLOSED;
	h->c->linger = status != 0;
	conn_finish(h->c);
	if (!status)
		return;
	strb_putf(o, "HTTP/1.1 %u %s\r\ndate: %s\r\nserver: %s\r\ncontent-type: application/json\r\nconnection: close\r\n", status,
		  reason(status), server_date(h->c->server), h->c->server->conf.server_header);
	strb_putf(o, "content-length: %zu\r\n\r\n{\"errors\":[{\"description\":\"%s\"}]}", strlen(why) + 31, why);
}

static void next_request(struct h1 *h)
{
	arena_free(h->a);
	h->a = NULL;
	strb_fini(&h->body);
	strb_init(&h->body, h->c->server->conf.limits.http_body_bytes_max);
	arm(h, h->c->server->conf.limits.idle_timeout_ms);
	if (!h->keep || h->draining) {
		h->state = H1_CLOSED;
		conn_finish(h->c);
		return;
	}
	h->state = H1_HEAD;
	conn_pause(h->c, false);
	if (!h->reading && left(h).n)
		h1_parse(h);
}

static void x_http(struct exchange *x, struct req *r, const struct reply *rep)
{
	struct h1 *h = container_of(x, struct h1, x);
	struct strb *o = &h->c->out;
	struct http_out out;
	size_t extra;
	struct header *hs = req_reply_headers(r, &extra);

	http_decide(req_arena(r), r, rep, &out);
	strb_putf(o, "HTTP/1.1 %u %s\r\ndate: %s\r\nserver: %s\r\n", out.status, reason(out.status), server_date(h->c->server),
		  h->c->server->conf.server_header);
	if (rep->content_type && out.status != 304)
		strb_putf(o, "content-type: %s\r\n", rep->content_type);
	if (out.status != 304 && out.status != 204)
		strb_putf(o, "content-length: %zu\r\n", out.body.n);
	for (size_t i = 0; i < out.n_extra; i++)
		strb_putf(o, "%.*s: %.*s\r\n", STR_FMT(out.extra[i].name), STR_FMT(out.extra[i].value));
	for (size_t i = 0; i < extra; i++)
		strb_putf(o, "%.*s: %.*s\r\n", STR_FMT(hs[i].name), STR_FMT(hs[i].value));
	if (!h->keep || h->draining)
		strb_puts(o, STR("connection: close\r\n"));
	else if (h->is_1_0)
		strb_puts(o, STR("connection: keep-alive\r\n"));
	strb_puts(o, STR("\r\n"));
	if (!h->head)
		strb_puts(o, out.body);
	buf_unref(rep->own);
	conn_dirty(h->c);
	next_request(h);
}

static void x_grpc(struct exchange *x, struct req *r, struct str msg)
{
	assert(false && "gRPC needs HTTP/2");
}

static void x_grpc_fail(struct exchange *x, struct req *r, unsigned status, const char *msg, struct str details)
{
	assert(false && "gRPC needs HTTP/2");
}

static bool x_open(struct exchange *x, struct req *r, struct stream *st)
{
	return false;
}

static const struct exchange_ops h1_ops = {x_http, x_grpc, x_grpc_fail, x_open};

struct h1 *h1_new(struct conn *c)
{
	struct h1 *h = xcalloc(1, sizeof(*h));

	h->c = c;
	h->x.ops = &h1_ops;
	strb_init(&h->in, (size_t)c->server->conf.limits.header_list_bytes_max + FEED_BYTES_MAX + LINE_SLACK);
	strb_init(&h->body, c->server->conf.limits.http_body_bytes_max);
	return h;
}

void h1_free(struct h1 *h)
{
	if (h->x.req)
		req_gone(h->x.req);
	defer_cancel(&h->go_on);
	strb_fini(&h->in);
	strb_fini(&h->body);
	arena_free(h->a);
	free(h);
}

static bool is_token(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c <= 0x20 || c >= 0x7f || strchr("()<>@,;:\\\"/[]?={}", c))
			return false;
	}
	return s.n > 0;
}

static bool has_ctl(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return true;
	}
	return false;
}

static bool parse_target(struct h1 *h, struct str target)
{
	const char *q;

	if (str_starts(target, STR("http://")) || str_starts(target, STR("https://"))) {	/* absolute form */
		size_t scheme = target.p[4] == 's' ? 8 : 7;
		const char *slash = memchr(target.p + scheme, '/', target.n - scheme);

		if (!slash)
			return false;
		target = (struct str){slash, target.n - (size_t)(slash - target.p)};
	}
	if (!target.n || target.p[0] != '/' || has_ctl(target) || memchr(target.p, ' ', target.n))
		return false;
	q = memchr(target.p, '?', target.n);
	h->rs.path = target;
	if (q) {
		h->rs.query = (struct str){q + 1, target.n - (size_t)(q + 1 - target.p)};
		h->rs.path.n = (size_t)(q - target.p);
	}
	return true;
}

/* *status 0: this is not HTTP at all, and gets no HTTP answer. */
static bool parse_line(struct h1 *h, struct str line, unsigned *status)
{
	const char *sp1 = memchr(line.p, ' ', line.n), *sp2;
	struct str version;

	*status = 400;
	if (!sp1)
		return false;
	sp2 = memchr(sp1 + 1, ' ', line.n - (size_t)(sp1 + 1 - line.p));
	if (!sp2)
		return false;
	h->rs.method = (struct str){line.p, (size_t)(sp1 - line.p)};
	version = (struct str){sp2 + 1, line.n - (size_t)(sp2 + 1 - line.p)};
	if (!is_token(h->rs.method))
		return false;
	if (!str_eq(version, STR("HTTP/1.1")) && !str_eq(version, STR("HTTP/1.0"))) {
		*status = str_starts(version, STR("HTTP/")) ? 505 : 0;
		return false;
	}
	h->is_1_0 = str_eq(version, STR("HTTP/1.0"));
	h->keep = !h->is_1_0;
	return parse_target(h, (struct str){sp1 + 1, (size_t)(sp2 - sp1 - 1)});
}

static bool parse_header(struct h1 *h, struct str line)
{
	const char *colon = memchr(line.p, ':', line.n);
	struct str name, value;
	char *lower;

	if (!colon || line.p[0] == ' ' || line.p[0] == '\t')
		return false;
	name = (struct str){line.p, (size_t)(colon - line.p)};
	value = (struct str){colon + 1, line.n - name.n - 1};
	if (!is_token(name) || has_ctl(value))
		return false;
	value = http_trim(value);
	lower = arena_strz(h->a, name);
	for (char *p = lower; *p; p++)
		*p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
	h->headers[h->rs.n_headers++] = (struct header){{lower, name.n}, value};
	return true;
}

static void connection(struct h1 *h, struct str list)
{
	while (list.n) {
		const char *comma = memchr(list.p, ',', list.n);
		struct str one = {list.p, comma ? (size_t)(comma - list.p) : list.n};

		list.p += one.n + (comma ? 1 : 0);
		list.n -= one.n + (comma ? 1 : 0);
		one = http_trim(one);
		if (str_ieq(one, STR("close")))
			h->keep = false;
		else if (str_ieq(one, STR("keep-alive")))
			h->keep = true;
	}
}

/* What the headers say about the body and the connection. false: ambiguous or not understood. */
static bool framing(struct h1 *h, bool *chunked, size_t *length, unsigned *status)
{
	bool has_length = false, has_host = false, expects = false;

	*chunked = false;
	*length = 0;
	*status = 400;
	for (size_t i = 0; i < h->rs.n_headers; i++) {
		struct header hd = h->headers[i];
		int64_t v;

		if (str_eq(hd.name, STR("content-length"))) {
			if (has_length || hd.value.n > 15 || !str_to_i64(hd.value, &v) || hd.value.p[0] == '-')
				return false;
			has_length = true;
			*length = (size_t)v;
		} else if (str_eq(hd.name, STR("transfer-encoding"))) {
			if (*chunked || !str_ieq(hd.value, STR("chunked"))) {
				*status = 501;
				return false;
			}
			*chunked = true;
		} else if (str_eq(hd.name, STR("connection"))) {
			connection(h, hd.value);
		} else if (str_eq(hd.name, STR("host"))) {
			if (has_host)
				return false;
			has_host = true;
		} else if (str_eq(hd.name, STR("expect")) && str_ieq(hd.value, STR("100-continue"))) {
			expects = true;
		}
	}
	if (*chunked && (has_length || h->is_1_0))
		return false;
	if (!has_host && !h->is_1_0)
		return false;
	if (*length > h->c->server->conf.limits.http_body_bytes_max) {
		*status = 413;
		return false;
	}
	if (expects && !h->is_1_0 && (*chunked || *length)) {
		strb_puts(&h->c->out, STR("HTTP/1.1 100 Continue\r\n\r\n"));
		conn_dirty(h->c);
	}
	return true;
}

/* While a request runs nothing is parsed: stop reading before what waits could pass its bound. */
static void pause_if_full(struct h1 *h)
{
	if (left(h).n + FEED_BYTES_MAX > h->in.max)
		conn_pause(h->c, true);
}

static void begin(struct h1 *h)
{
	struct req_start rs;

	h->state = H1_BUSY;
	timer_clear(h->c->timer);
	h->rs.body = arena_dup(h->a, strb_str(&h->body));
	h->rs.server = h->c->server;
	h->rs.x = &h->x;
	h->rs.headers = h->headers;
	h->rs.bar = h->c->bar;
	h->rs.arena = h->a;
	h->head = str_eq(h->rs.method, STR("HEAD"));
	rs = h->rs;
	h->a = NULL;
	pause_if_full(h);
	req_begin(&rs);
}

/* One line up to CRLF from the buffer; *ret borrowed until the next consume.  false: not there yet. */
static bool line_at(const struct str in, struct str *ret, bool *bad)
{
	const char *nl = in.n ? memchr(in.p, '\n', in.n) : NULL;

	if (!nl)
		return false;
	if (nl == in.p || nl[-1] != '\r') {
		*bad = true;
		return true;
	}
	*ret = (struct str){in.p, (size_t)(nl - 1 - in.p)};
	return true;
}

static bool parse_head(struct h1 *h)
{
	uint32_t max = h->c->server->conf.limits.header_list_bytes_max;
	struct str in, all, line = STR_NULL;
	const char *end;
	bool chunked, first = true;
	unsigned status = 400;
	size_t length;

	while (str_starts(left(h), STR("\r\n")))
		consume(h, 2);	/* empty lines before a request are allowed */
	in = left(h);
	/* a handshake of TLS, say: no use in waiting for more of it */
	if (in.n && in.p[0] != '\r' && !is_token((struct str){in.p, 1})) {
		refuse(h, 0, NULL);
		return false;
	}
	end = in.n ? memmem(in.p, in.n, "\r\n\r\n", 4) : NULL;
	if (!end) {
		if (in.n > max)
			refuse(h, 431, "request header is too large");
		return false;
	}
	if ((size_t)(end - in.p) > max) {
		refuse(h, 431, "request header is too large");
		return false;
	}
	h->a = arena_new((size_t)h->c->server->conf.limits.http_body_bytes_max * 40 + (4 << 20));
	h->rs = (struct req_start){0};
	h->trailer_bytes = 0;
	h->headers = ARENA_ARRAY(h->a, struct header, CONF_H1_HEADERS_MAX);
	all = arena_dup(h->a, (struct str){in.p, (size_t)(end + 2 - in.p)});
	consume(h, all.n + 2);
	while (all.n) {
		bool bad = false;

		(void)line_at(all, &line, &bad);
		if (bad || (first ? !parse_line(h, line, &status)
				  : (h->rs.n_headers == CONF_H1_HEADERS_MAX ? (status = 431, true) : !parse_header(h, line)))) {
			refuse(h, status, "malformed request");
			return false;
		}
		first = false;
		all.p += line.n + 2;
		all.n -= line.n + 2;
	}
	if (!framing(h, &chunked, &length, &status)) {
		refuse(h, status, status == 413 ? "request body is too large" : "malformed request");
		return false;
	}
	arm(h, h->c->server->conf.limits.body_timeout_ms);
	h->body_left = length;
	h->state = chunked ? H1_CHUNK_SIZE : H1_BODY;
	return true;
}

static bool take_body(struct h1 *h)
{
	struct str in = left(h);
	size_t n = MIN(h->body_left, in.n);

	strb_put(&h->body, in.p, n);
	h->body_left -= n;
	consume(h, n);
	if (h->body.overflow) {
		refuse(h, 413, "request body is too large");
		return false;
	}
	return h->body_left == 0;
}

static bool chunk_size(struct h1 *h)
{
	struct str line;
	bool bad = false;
	size_t n = 0, i;

	if (!line_at(left(h), &line, &bad)) {
		if (left(h).n > LINE_SLACK)
			refuse(h, 400, "malformed chunk");
		return false;
	}
	for (i = 0; !bad && i < line.n && line.p[i] != ';'; i++) {
		char c = line.p[i];
		int d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;

		if (d < 0 || i >= 8)
			bad = true;
		n = n * 16 + (size_t)MAX(d, 0);
	}
	if (bad || i == 0) {
		refuse(h, 400, "malformed chunk");
		return false;
	}
	consume(h, line.n + 2);
	if (h->body.n + n > h->c->server->conf.limits.http_body_bytes_max) {
		refuse(h, 413, "request body is too large");
		return false;
	}
	h->body_left = n;
	h->state = n ? H1_CHUNK_DATA : H1_TRAILER;
	return true;
}

static bool chunk_end(struct h1 *h)
{
	struct str in = left(h);

	if (in.n < 2)
		return false;
	if (!str_starts(in, STR("\r\n"))) {
		refuse(h, 400, "malformed chunk");
		return false;
	}
	consume(h, 2);
	h->state = H1_CHUNK_SIZE;
	return true;
}

static bool trailer(struct h1 *h)
{
	struct str line = STR_NULL;
	bool bad = false;

	if (!line_at(left(h), &line, &bad)) {
		if (left(h).n > LINE_SLACK)
			refuse(h, 400, "malformed trailer");
		return false;
	}
	if (bad) {
		refuse(h, 400, "malformed trailer");
		return false;
	}
	consume(h, line.n + 2);
	h->trailer_bytes += line.n;
	if (h->trailer_bytes > h->c->server->conf.limits.header_list_bytes_max) {
		refuse(h, 431, "trailer is too large");
		return false;
	}
	if (line.n == 0)
		begin(h);
	return line.n > 0;
}

static void h1_parse(struct h1 *h)
{
	bool more = true;

	h->reading = true;
	while (more) {
		switch (h->state) {
		case H1_HEAD:
			if (conn_queued(h->c) > OUT_WAIT) {
				h->waiting = true;
				conn_pause(h->c, true);
				more = false;
				break;
			}
			more = parse_head(h);
			break;
		case H1_BODY:
			more = take_body(h);
			if (more)
				begin(h);
			more = h->state == H1_HEAD;
			break;
		case H1_CHUNK_SIZE:
			more = chunk_size(h);
			break;
		case H1_CHUNK_DATA:
			more = take_body(h);
			if (more)
				h->state = H1_CHUNK_END;
			break;
		case H1_CHUNK_END:
			more = chunk_end(h);
			break;
		case H1_TRAILER:
			more = trailer(h) || h->state == H1_HEAD;
			break;
		case H1_BUSY:
		case H1_CLOSED:
			more = false;
			break;
		}
	}
	h->reading = false;
	drop_consumed(h);
}

void h1_data(struct h1 *h, struct str in)
{
	if (h->state == H1_CLOSED)
		return;
	if (h->state >= H1_BODY && h->state <= H1_TRAILER)
		arm(h, h->c->server->conf.limits.body_timeout_ms);
	else if (h->state == H1_HEAD && left(h).n == 0)
		arm(h, h->c->server->conf.limits.header_timeout_ms);
	strb_puts(&h->in, in);
	if (h->in.overflow) {
		refuse(h, 431, "too much at once");
		return;
	}
	if (h->state == H1_BUSY)
		pause_if_full(h);
	else
		h1_parse(h);
}

static void go_on(void *arg)
{
	struct h1 *h = arg;

	if (h->c->is_dead || h->state != H1_HEAD)
		return;
	conn_pause(h->c, false);
	h1_parse(h);
}

void h1_flushed(struct h1 *h)
{
	if (!h->waiting)
		return;
	h->waiting = false;
	loop_defer(h->c->server->conf.loop, &h->go_on, go_on, h);
}

void h1_timer(struct h1 *h)
{
	const struct server_limits *lim = &h->c->server->conf.limits;

	/* a reply is on its way: what counts is that the peer goes on reading */
	if ((h->state == H1_HEAD || h->state == H1_CLOSED) && conn_queued(h->c)) {
		int64_t until = h->c->last_out_us + (int64_t)lim->idle_timeout_ms * 1000;

		if (until <= loop_now(h->c->server->conf.loop).mono_us)
			conn_close(h->c);
		else
			timer_set(h->c->timer, until);
		return;
	}
	if (h->state == H1_HEAD && left(h).n == 0)
		conn_close(h->c);	/* idle keep-alive */
	else if (h->state != H1_BUSY && h->state != H1_CLOSED)
		refuse(h, 408, "the request took too long");
	else if (h->state == H1_CLOSED)
		conn_close(h->c);
}

void h1_drain(struct h1 *h)
{
	h->draining = true;
	if (h->state == H1_HEAD && left(h).n == 0)
		conn_finish(h->c);
}
