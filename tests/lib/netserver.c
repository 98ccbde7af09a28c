#include "netserver.h"

#include "../../src/net/net_int.h"

#include <fcntl.h>
#include <sys/socket.h>

static const char page[] = "<!doctype html><title>A page</title><p>0123456789</p>";

static struct step *gate(struct req *r, req_fn *next)
{
	return next(r);
}

static struct step *file(struct req *r)
{
	return req_reply_file(r, "text/html", str_c(page), NULL, STR("\"tag\""), false);
}

static struct step *echo(struct req *r)
{
	return req_reply_http(r, 200, "application/octet-stream", req_body(r));
}

static struct step *big(struct req *r)
{
	char *p = arena_alloc(req_arena(r), 1 << 20);

	memset(p, 'x', 1 << 20);
	return req_reply_http(r, 200, "text/plain", (struct str){p, 1 << 20});
}

/* What the route and the query say. */
static struct step *say(struct req *r)
{
	struct str one = STR(""), two = STR("");

	(void)req_query(r, "q", 0, &one);
	(void)req_query(r, "q", 1, &two);
	return req_reply_http(r, 200, "application/octet-stream",
			      arena_strf(req_arena(r), "%.*s|%.*s|%.*s|", STR_FMT(req_param(r, "what")), STR_FMT(one), STR_FMT(two)));
}

static struct step *waited_http(struct req *r)
{
	return req_reply_http(r, 200, "text/plain", STR("late"));
}

static struct step *wait_http(struct req *r)
{
	struct netserver *n = req_app(r);

	vec_push(&n->waits, req_op(r, waited_http));
	return req_await(r);
}

static struct step *rpc_echo(struct req *r)
{
	return req_reply(r, req_body(r));
}

static struct step *rpc_fail(struct req *r)
{
	struct err err;

	(void)err_set(&err, ERR_PRECONDITION, "no \xe2\x80\x93 100%%\n");
	return req_fail_details(r, &err, STR("\x08\x09" "details"));
}

static struct step *waited(struct req *r)
{
	return req_reply(r, STR("late"));
}

static struct step *rpc_wait(struct req *r)
{
	struct netserver *n = req_app(r);

	vec_push(&n->waits, req_op(r, waited));
	return req_await(r);
}

struct flow {
	struct netserver *n;
	struct stream *st;
};

static void pump(struct flow *f)
{
	struct buf *b = buf_new(1000);

	memset(b->p, 'm', 1000);
	while (stream_send(f->st, b) == STREAM_SENT)
		f->n->sent++;
	buf_unref(b);
}

static void many_drain(struct stream *st, void *arg)
{
	pump(arg);
}

static void flow_close(struct stream *st, void *arg)
{
	struct flow *f = arg;

	f->n->closed++;
	free(f);
}

static void bidi_msg(struct stream *st, struct str msg, void *arg)
{
	struct buf *b = buf_copy(msg);

	if (stream_send(st, b) == STREAM_FULL)
		stream_end(st, ERR_EXHAUSTED, "read faster");
	buf_unref(b);
}

static void bidi_half_close(struct stream *st, void *arg)
{
	stream_end(st, ERR_OK, "");
}

static struct step *open_stream(struct req *r, const struct stream_ops *ops, struct flow **ret)
{
	struct flow *f = xcalloc(1, sizeof(*f));

	f->n = req_app(r);
	*ret = f;
	return req_open_stream(r, ops, f, &f->st);
}

static struct step *rpc_many(struct req *r)
{
	static const struct stream_ops ops = {.on_drain = many_drain, .on_close = flow_close};
	struct flow *f;
	struct step *s = open_stream(r, &ops, &f);

	f->n->many = f->st;
	pump(f);
	return s;
}

static struct step *rpc_bidi(struct req *r)
{
	static const struct stream_ops ops = {.on_msg = bidi_msg, .on_half_close = bidi_half_close, .on_close = flow_close};
	struct flow *f;

	return open_stream(r, &ops, &f);
}

static const struct rpc_method rpcs[] = {{"/t.S/Echo", RPC_UNARY, rpc_echo, DONE, NULL}, {"/t.S/Fail", RPC_UNARY, rpc_fail, DONE, NULL},
	{"/t.S/Wait", RPC_UNARY, rpc_wait, DONE, NULL}, {"/t.S/Many", RPC_SERVER_STREAM, rpc_many, DONE, NULL},
	{"/t.S/Bidi", RPC_BIDI, rpc_bidi, DONE, NULL}, {"/t.S/None", RPC_UNARY, NULL, NOT_YET, NULL}, {0}};
static const struct rest_route rests[] = {{"GET", "/file", file, DONE, NULL, true}, {"POST", "/echo", echo, DONE, NULL, true},
	{"GET", "/big", big, DONE, NULL, true}, {"GET", "/wait", wait_http, DONE, NULL, true},
	{"GET", "/say/{what}", say, DONE, NULL, true}, {"GET", "/rest/{what*}", say, DONE, NULL, true},
	{"GET", "/unbuilt", NULL, NOT_YET, NULL, true}, {0}};

struct netserver *netserver_new(const struct server_limits *limits)
{
	struct netserver *n = xcalloc(1, sizeof(*n));
	struct server_conf conf = {.app = n, .rpcs = rpcs, .rests = rests, .gate = gate, .server_header = "test", .limits = *limits};

	n->loop = conf.loop = loop_new();
	n->server = server_new(&conf);
	return n;
}

int netserver_connect(struct netserver *n)
{
	int fd[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) != 0)
		abort();
	conn_new(n->server, fd[0]);
	return fd[1];
}

static void stop(void *arg)
{
	loop_stop(arg);
}

void netserver_turns(struct netserver *n, int64_t us)
{
	struct timer *t = timer_new(n->loop, stop, n->loop);

	timer_set(t, loop_mono_us() + us);
	loop_run(n->loop);
	timer_free(t);
	if (n->holding)
		return;
	for (size_t i = 0; i < n->waits.n; i++)
		op_done(n->waits.p[i], NULL);
	vec_clear(&n->waits);
}

void netserver_hold(struct netserver *n, bool on)
{
	n->holding = on;
}

void netserver_free(struct netserver *n)
{
	n->holding = false;
	for (int i = 0; i < 1000 && n->server->n_conns > 0; i++)
		netserver_turns(n, 1000);
	netserver_turns(n, 1000);	/* what was closed is freed at the end of the next turn */
	vec_fini(&n->waits);
	server_free(n->server);
	loop_free(n->loop);
	free(n);
}
