/* Construction, and the few things every handler uses.
 * Invariant: a handler owns nothing that outlives its request; what lasts is in svc and in the catalog. */
#include "api_int.h"

#include "base/text.h"

#include <stdlib.h>

struct api *api_new(const struct api_conf *conf)
{
	struct api *a = xcalloc(1, sizeof(*a));

	a->conf = *conf;
	a->svc = conf->svc;
	a->auth = auth_new();
	return a;
}

void api_free(struct api *a)
{
	if (!a)
		return;
	auth_free(a->auth);
	buf_unref(a->index_page);
	free(a->marks);
	free(a);
}

struct now api_now(struct req *r)
{
	return loop_now(svc_loop(svc_of(r)));
}

void *api_msg(struct req *r, const ProtobufCMessageDescriptor *type, struct err *err)
{
	return pb_unpack(req_arena(r), type, req_body(r), err);
}

struct step *api_reply_msg(struct req *r, const ProtobufCMessage *msg)
{
	return req_reply(r, pb_pack(req_arena(r), msg));
}

bool api_clean_text(struct arena *a, struct str in, struct str *ret)
{
	char *p;
	size_t n = 0;

	if (!utf8_valid(in))
		return false;
	*ret = in;
	if (!in.n || !memchr(in.p, '\0', in.n))
		return true;
	p = arena_alloc(a, in.n);
	for (size_t i = 0; i < in.n; i++)
		if (in.p[i])
			p[n++] = in.p[i];
	*ret = (struct str){p, n};
	return true;
}

struct str api_lower(struct arena *a, struct str in)
{
	char *p = arena_strz(a, in);

	for (size_t i = 0; i < in.n; i++)
		if (p[i] >= 'A' && p[i] <= 'Z')
			p[i] = (char)(p[i] + ('a' - 'A'));
	return (struct str){p, in.n};
}
