/* The life of a request: steps, operations, reply.
 *
 * The arena goes when the reply is out (or the peer gone) and the last operation has come back; req_release() is the only
 * place that frees.  A step's return value is proof for the compiler only. */
#include "net_int.h"

#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>

struct step {
	int unused;
};
static struct step done_step;
#define DONE (&done_step)

struct req_op {
	struct op op;
	struct req *r;
};

struct req {
	struct req_start s;
	struct exchange *x;		/* NULL: gone or answered */
	const struct header *params;
	size_t n_params;
	void *user, *state;
	size_t state_bytes;
	VEC(struct header) headers;	/* of the reply */
	req_fn *next;
	unsigned n_ops, hold;	/* hold: a step is running */
	bool awaiting, over;
	bool has_err;
	struct err err;
	struct timer *deadline;
	struct header *query;
	size_t n_query;
	bool query_parsed;
};

struct arena *req_arena(struct req *r)
{
	return r->s.arena;
}

void *req_app(struct req *r)
{
	return r->s.server->conf.app;
}

bool req_is_grpc(const struct req *r)
{
	return r->s.is_grpc;
}

bool req_is_head(const struct req *r)
{
	return str_eq(r->s.method, STR("HEAD"));
}

struct str req_body(const struct req *r)
{
	return r->s.body;
}

bool req_header(const struct req *r, const char *lower_name, struct str *ret)
{
	for (size_t i = 0; i < r->s.n_headers; i++)
		if (str_eq(r->s.headers[i].name, str_c(lower_name))) {
			*ret = r->s.headers[i].value;
			return true;
		}
	return false;
}

void req_set_params(struct req *r, struct header *params, size_t n)
{
	r->params = params;
	r->n_params = n;
}

struct str req_param(const struct req *r, const char *name)
{
	for (size_t i = 0; i < r->n_params; i++)
		if (str_eq(r->params[i].name, str_c(name)))
			return r->params[i].value;
	return STR_NULL;
}

static void parse_query(struct req *r)
{
	struct str q = r->s.query;
	size_t max = 1;

	r->query_parsed = true;
	for (size_t i = 0; i < q.n; i++)
		max += q.p[i] == '&';
	r->query = ARENA_ARRAY(r->s.arena, struct header, max);
	while (q.n) {
		const char *amp = memchr(q.p, '&', q.n);
		struct str pair = {q.p, amp ? (size_t)(amp - q.p) : q.n};
		const char *eq = pair.n ? memchr(pair.p, '=', pair.n) : NULL;
		struct str name = {pair.p, eq ? (size_t)(eq - pair.p) : pair.n};
		struct str value = eq ? (struct str){eq + 1, pair.n - name.n - 1} : STR_NULL;

		q.p += pair.n + (amp ? 1 : 0);
		q.n -= pair.n + (amp ? 1 : 0);
		r->query[r->n_query++] = (struct header){percent_decode(r->s.arena, name, true), percent_decode(r->s.arena, value, true)};
	}
}

bool req_query(const struct req *r, const char *name, unsigned nth, struct str *ret)
{
	if (!r->query_parsed)
		parse_query((struct req *)(uintptr_t)r);	/* a cache */
	for (size_t i = 0; i < r->n_query; i++)
		if (str_eq(r->query[i].name, str_c(name)) && nth-- == 0) {
			*ret = r->query[i].value;
			return true;
		}
	return false;
}

void req_set_user(struct req *r, void *user)
{
	r->user = user;
}

void *req_user(const struct req *r)
{
	return r->user;
}

void *req_state_(struct req *r, size_t bytes)
{
	if (!r->state) {
		r->state = arena_zalloc(r->s.arena, bytes);
		r->state_bytes = bytes;
	}
	assert(r->state_bytes == bytes);
	return r->state;
}

struct header *req_reply_headers(struct req *r, size_t *n)
{
	*n = r->headers.n;
	return r->headers.p;
}

void req_set_header(struct req *r, const char *name, struct str value)
{
	struct str n = arena_dup(r->s.arena, str_c(name)), v = arena_dup(r->s.arena, value);

	vec_push(&r->headers, ((struct header){n, v}));
}

static void req_release(struct req *r)
{
	struct arena *a = r->s.arena;

	if (!r->over || r->n_ops > 0 || r->hold > 0)
		return;
	timer_free(r->deadline);
	vec_fini(&r->headers);
	arena_free(a);
}

/* The reply is out, or nobody is there to get one. */
static void req_over(struct req *r)
{
	r->over = true;
	if (r->x)
		r->x->req = NULL;
	r->x = NULL;
	if (r->deadline)
		timer_clear(r->deadline);
}

void req_gone(struct req *r)
{
	req_over(r);
	req_release(r);
}

static void op_came_back(struct op *op, const struct err *err)
{
	struct req_op *o = op->arg;
	struct req *r = o->r;
	req_fn *next = r->next;
	struct step *step;

	r->n_ops--;
	if (err && !r->has_err) {
		r->has_err = true;
		r->err = *err;
	}
	if (r->n_ops > 0)
		return;
	if (r->over) {
		req_release(r);
		return;
	}
	assert(r->awaiting);
	r->awaiting = false;
	r->hold++;
	if (r->has_err)
		step = req_fail_err(r, &r->err);
	else
		step = next(r);
	assert(step);
	r->hold--;
	req_release(r);
}

struct op *req_op(struct req *r, req_fn *next)
{
	struct req_op *o = arena_alloc(r->s.arena, sizeof(*o));

	if (r->n_ops == 0) {
		r->has_err = false;
		r->next = next;
	}
	o->op = (struct op){.fn = op_came_back, .arg = o};
	o->r = r;
	r->n_ops++;
	return &o->op;
}

struct step *req_await(struct req *r)
{
	r->awaiting = true;
	return DONE;
}

struct step *req_reply(struct req *r, struct str msg)
{
	if (r->x)
		r->x->ops->grpc(r->x, r, msg);
	req_over(r);
	return DONE;
}

static struct step *reply_http(struct req *r, const struct reply *rep)
{
	if (r->x)
		r->x->ops->http(r->x, r, rep);
	else if (rep->own)
		buf_unref(rep->own);
	req_over(r);
	return DONE;
}

struct step *req_reply_http(struct req *r, unsigned status, const char *content_type, struct str body)
{
	return reply_http(r, &(struct reply){.status = status, .content_type = content_type, .body = body});
}

struct step *req_reply_file(struct req *r, const char *content_type, struct str body, struct buf *own, struct str etag, bool is_gzip)
{
	return reply_http(r, &(struct reply){.status = 200, .content_type = content_type, .body = body, .own = own,
		.is_static = !own, .etag = etag, .is_gzip = is_gzip});
}

struct step *req_fail_details(struct req *r, const struct err *err, struct str status_proto)
{
	struct strb b;
	struct step *s;

	if (r->s.is_grpc) {
		if (r->x)
			r->x->ops->grpc_fail(r->x, r, err_grpc_status(err->code), err->msg, status_proto);
		req_over(r);
		return DONE;
	}
	strb_init(&b, 8192);
	strb_puts(&b, STR("{\"errors\":[{\"description\":"));
	strb_json(&b, str_c(err->msg));
	strb_puts(&b, STR("}]}"));
	if (err->code == ERR_EXHAUSTED || err->code == ERR_UNAVAILABLE)
		req_set_header(r, "Retry-After", STR("1"));
	s = req_reply_http(r, err_http_status(err->code), "application/json", strb_str(&b));
	strb_fini(&b);
	return s;
}

struct step *req_fail_err(struct req *r, const struct err *err)
{
	return req_fail_details(r, err, STR_NULL);
}

struct step *req_fail(struct req *r, enum err_code code, const char *fmt, ...)
{
	struct err err = {.code = code};
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(err.msg, sizeof(err.msg), fmt, ap);
	va_end(ap);
	return req_fail_err(r, &err);
}

struct step *req_open_stream(struct req *r, const struct stream_ops *ops, void *arg, struct stream **ret)
{
	struct stream *st = stream_make(r->s.server, ops, arg);

	*ret = st;
	if (!r->x || !r->x->ops->open(r->x, r, st))
		stream_gone(st);
	req_over(r);
	return DONE;
}

static void deadline_passed(void *arg)
{
	struct req *r = arg;
	struct step *step;

	r->hold++;
	step = req_fail(r, ERR_DEADLINE, "the call's deadline has passed");
	assert(step);
	r->hold--;
	req_release(r);
}

static struct step *not_built(struct req *r)
{
	return req_fail(r, ERR_UNIMPLEMENTED, "not implemented by this server yet");
}

static struct step *not_found(struct req *r)
{
	if (r->s.is_grpc)
		return req_fail(r, ERR_UNIMPLEMENTED, "unknown method %.*s", STR_FMT(r->s.path));
	return req_fail(r, ERR_NOT_FOUND, "no such path");
}

static struct step *other_method(struct req *r)
{
	return req_reply_http(r, 405, "application/json", STR("{\"errors\":[{\"description\":\"method not allowed\"}]}"));
}

static struct step *barred(struct req *r)
{
	if (r->s.bar == BAR_NO_CERT)
		return req_fail(r, ERR_UNAUTHENTICATED, "this server needs a client certificate: set HATCHET_CLIENT_TLS_STRATEGY=mtls");
	if (r->s.is_grpc)
		return req_fail(r, ERR_UNAUTHENTICATED, "this server speaks TLS: set HATCHET_CLIENT_TLS_STRATEGY=tls");
	return req_reply_http(r, 400, "application/json",
			      STR("{\"errors\":[{\"description\":\"this server speaks TLS: use https://\"}]}"));
}

void req_begin(const struct req_start *s)
{
	struct req *r = ARENA_NEW(s->arena, struct req);
	const struct rest_route *rest = NULL;
	req_fn *fn = not_found;
	bool is_public = true, other = false;
	struct header *params = NULL;
	size_t n_params = 0;

	r->s = *s;
	r->x = s->x;
	s->x->req = r;
	s->server->stats.requests++;
	if (s->is_grpc) {
		if (s->rpc) {
			fn = s->rpc->fn ? s->rpc->fn : not_built;
			is_public = false;
		}
	} else {
		rest = route_rest(s->server->routes, s->arena, s->method, s->path, &params, &n_params, &other);
		if (rest) {
			fn = rest->fn ? rest->fn : not_built;
			is_public = rest->is_public;
			req_set_params(r, params, n_params);
		} else if (other) {
			fn = other_method;
		}
	}
	/* with mutual TLS it is the workers that show who they are; people and probes have other means */
	if (s->bar != BAR_NONE && (s->bar == BAR_NO_CERT ? s->is_grpc : !rest || !rest->in_clear)) {
		fn = barred;
		is_public = true;
	}
	if (s->timeout_us > 0) {
		r->deadline = timer_new(s->server->conf.loop, deadline_passed, r);
		timer_set(r->deadline, loop_now(s->server->conf.loop).mono_us + s->timeout_us);
	}
	r->hold++;
	if (is_public || !s->server->conf.gate)
		(void)fn(r);
	else
		(void)s->server->conf.gate(r, fn);
	r->hold--;
	req_release(r);
}

/* --- streams ----------------------------------------------------------------------------------------------------------------- */

struct stream *stream_make(struct server *s, const struct stream_ops *ops, void *arg)
{
	struct stream *st = xcalloc(1, sizeof(*st));

	st->ops = ops;
	st->arg = arg;
	st->loop = s->conf.loop;
	return st;
}

static void stream_closed(void *arg)
{
	struct stream *st = arg;

	st->is_closed = true;
	st->ops->on_close(st, st->arg);
	free(st);
}

void stream_gone(struct stream *st)
{
	st->x = NULL;
	loop_defer(st->loop, &st->closing, stream_closed, st);
}

void stream_msg(struct stream *st, struct str msg)
{
	if (!st->is_ended && st->ops->on_msg)
		st->ops->on_msg(st, msg, st->arg);
}

void stream_half_closed(struct stream *st)
{
	if (!st->is_ended && st->ops->on_half_close)
		st->ops->on_half_close(st, st->arg);
}

void stream_drained(struct stream *st)
{
	if (!st->is_full)
		return;
	st->is_full = false;
	if (!st->is_ended && st->ops->on_drain)
		st->ops->on_drain(st, st->arg);
}

enum stream_sent stream_send(struct stream *st, struct buf *msg)
{
	enum stream_sent sent;

	if (!st->x || st->is_ended)
		return STREAM_GONE;
	sent = st->send(st->x, msg);
	if (sent == STREAM_FULL)
		st->is_full = true;
	return sent;
}

void stream_end(struct stream *st, enum err_code code, const char *msg)
{
	if (!st->x || st->is_ended)
		return;
	st->is_ended = true;
	st->end(st->x, err_grpc_status(code), msg);
}
