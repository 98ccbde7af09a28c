/* Paths to handlers: RPCs by a hash of their path, REST by pattern; first match wins. */
#include "net_int.h"

#include "base/map.h"
#include "base/text.h"

enum { PARAMS_MAX = 8 };

struct routes {
	struct smap rpcs;
	const struct rest_route *rests;
};

struct routes *routes_new(const struct rpc_method *rpcs, const struct rest_route *rests)
{
	struct routes *t = xcalloc(1, sizeof(*t));

	for (; rpcs && rpcs->path; rpcs++)
		(void)smap_put(&t->rpcs, str_c(rpcs->path), (void *)(uintptr_t)rpcs);
	t->rests = rests;
	return t;
}

void routes_free(struct routes *t)
{
	smap_fini(&t->rpcs);
	free(t);
}

const struct rpc_method *route_rpc(const struct routes *t, struct str path)
{
	return smap_get(&t->rpcs, path);
}

static struct str segment(struct str *rest)
{
	const char *slash = rest->n ? memchr(rest->p, '/', rest->n) : NULL;
	struct str seg = {rest->p, slash ? (size_t)(slash - rest->p) : rest->n};

	rest->p += seg.n + (slash ? 1 : 0);
	rest->n -= seg.n + (slash ? 1 : 0);
	return seg;
}

/* Both begin with '/'. {name} takes one non-empty segment, {name*} the rest. */
static bool match(struct arena *a, struct str pat, struct str path, struct header *params, size_t *n)
{
	*n = 0;
	if (!path.n || path.p[0] != '/')
		return false;
	pat = (struct str){pat.p + 1, pat.n - 1};
	path = (struct str){path.p + 1, path.n - 1};
	while (pat.n) {
		bool more = path.n > 0;
		struct str p = segment(&pat), s;

		if (p.n > 2 && p.p[0] == '{' && p.p[p.n - 2] == '*') {
			params[(*n)++] = (struct header){{p.p + 1, p.n - 3}, percent_decode(a, path, false)};
			return true;
		}
		s = segment(&path);
		if (!more)
			return false;
		if (p.n > 1 && p.p[0] == '{') {
			if (!s.n || *n == PARAMS_MAX)
				return false;
			params[(*n)++] = (struct header){{p.p + 1, p.n - 2}, percent_decode(a, s, false)};
		} else if (!str_eq(p, s)) {
			return false;
		}
	}
	return path.n == 0;
}

const struct rest_route *route_rest(const struct routes *t, struct arena *a, struct str method, struct str path,
				    struct header **ret_params, size_t *ret_n, bool *ret_other_method)
{
	struct header *params = ARENA_ARRAY(a, struct header, PARAMS_MAX);
	struct str want = str_eq(method, STR("HEAD")) ? STR("GET") : method;

	for (const struct rest_route *r = t->rests; r && r->pattern; r++) {
		if (!match(a, str_c(r->pattern), path, params, ret_n))
			continue;
		if (str_eq(str_c(r->method), want)) {
			*ret_params = params;
			return r;
		}
		*ret_other_method = true;
	}
	return NULL;
}
