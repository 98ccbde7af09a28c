/* Liveness, readiness, figures, versions, and the files carried inside the binary.  None of these asks for a token.
 * Liveness never looks at the database; readiness is what svc says. */
#include "api_int.h"

#include "crypto/hash.h"
#include "embed.h"

enum { METRICS_MAX = 16 << 20 };

struct step *rest_live(struct req *r)
{
	return req_reply_http(r, 200, "application/json", STR("{}"));
}

struct step *rest_ready(struct req *r)
{
	struct err why;

	return svc_is_healthy(svc_of(r), &why) ? req_reply_http(r, 200, "application/json", STR("{}")) : req_fail_err(r, &why);
}

struct step *rest_metrics(struct req *r)
{
	struct strb b;
	struct step *s;

	strb_init(&b, METRICS_MAX);
	svc_metrics(svc_of(r), &b);
	strb_putf(&b, "# TYPE hatchet_otlp_resource_spans_received_total counter\nhatchet_otlp_resource_spans_received_total %llu\n",
		  (unsigned long long)api_of(r)->spans_received);
	s = req_reply_http(r, 200, "text/plain; version=0.0.4; charset=utf-8", strb_str(&b));
	strb_fini(&b);
	return s;
}

struct step *rest_version(struct req *r)
{
	return req_reply_http(r, 200, "application/json", STR("{\"version\":\"" WIRE_VERSION "\"}"));
}

/* There are no users yet: no way to sign in is offered. */
struct step *rest_meta(struct req *r)
{
	static const char *const no[] = {"allowSignup", "allowInvites", "allowCreateTenant", "allowChangePassword",
		"observabilityEnabled", "prometheusServerEnabled"};
	struct reply_json j;

	json_begin(&j);
	jw_obj_begin(&j.w);
	jw_key(&j.w, "auth");
	jw_obj_begin(&j.w);
	jw_key(&j.w, "schemes");
	jw_arr_begin(&j.w);
	jw_arr_end(&j.w);
	jw_obj_end(&j.w);
	for (size_t i = 0; i < ARRAY_LEN(no); i++)
		jw_kv_bool(&j.w, no[i], false);
	jw_kv_bool(&j.w, "authDisabled", api_of(r)->conf.auth_disabled);
	jw_obj_end(&j.w);
	return json_end(r, 200, &j);
}

struct step *rest_cloud_metadata(struct req *r)
{
	return req_reply_http(r, 200, "application/json", STR("{\"errors\":[{\"description\":\"oss\"}]}"));
}

/* --- files ------------------------------------------------------------ */

static const char *content_type(struct str name)
{
	static const struct {
		const char *end, *type;
	} types[] = {
		{".html", "text/html; charset=utf-8"}, {".css", "text/css; charset=utf-8"}, {".js", "text/javascript; charset=utf-8"},
		{".svg", "image/svg+xml"}, {".png", "image/png"}, {".ico", "image/x-icon"}, {".json", "application/json"},
		{".woff2", "font/woff2"}, {".txt", "text/plain; charset=utf-8"},
	};

	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		size_t n = strlen(types[i].end);

		if (name.n >= n && memcmp(name.p + name.n - n, types[i].end, n) == 0)
			return types[i].type;
	}
	return "application/octet-stream";
}

/* The page names our own version, which is known at run time only. */
static struct buf *index_page(struct api *api, struct str html)
{
	static const struct str mark = {"@VERSION@", 9};
	struct strb b;

	if (api->index_page)
		return api->index_page;
	strb_init(&b, html.n + 4096);
	for (size_t i = 0; i < html.n;) {
		if (i + mark.n <= html.n && memcmp(html.p + i, mark.p, mark.n) == 0) {
			strb_puts(&b, str_c(api->conf.server_version));
			i += mark.n;
		} else {
			strb_putc(&b, html.p[i++]);
		}
	}
	api->index_page = buf_copy(strb_str(&b));
	strb_fini(&b);
	return api->index_page;
}

static struct str etag_of(struct req *r, struct str body)
{
	uint8_t sum[SHA256_BYTES];

	sha256(body, sum);
	return arena_strf(req_arena(r), "\"%02x%02x%02x%02x%02x%02x%02x%02x\"", sum[0], sum[1], sum[2], sum[3], sum[4], sum[5], sum[6],
			  sum[7]);
}

struct step *rest_static(struct req *r)
{
	struct str path = req_param(r, "path"), name;

	if (str_starts(path, STR("api/")))
		return req_fail(r, ERR_NOT_FOUND, "there is no such route");
	name = path.n ? arena_strf(req_arena(r), "web/%.*s", STR_FMT(path)) : STR("web/index.html");
	for (const struct embed_file *f = embed_files; f->name; f++) {
		struct str body = {f->p, f->n};
		struct buf *page = NULL;

		if (!str_eq(str_c(f->name), name))
			continue;
		if (str_eq(name, STR("web/index.html"))) {
			page = buf_ref(index_page(api_of(r), body));
			body = buf_str(page);
			req_set_header(r, "content-security-policy", STR("default-src 'none'; style-src 'unsafe-inline'"));
		}
		return req_reply_file(r, content_type(name), body, page, etag_of(r, body), false);
	}
	return req_fail(r, ERR_NOT_FOUND, "there is no such page");
}
