/* What the commands that ask a server have in common: where it is, who asks, and what its answer says. */
#include "app_int.h"

#include "base/text.h"
#include "net/fetch.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TIMEOUT_S = 3600 };	/* an audit of a large database takes its time */

static const char *ca_of(const struct command *c, const char *dir, bool is_own)
{
	static char path[600];
	const char *given = flag_get(c, "ca-file");

	if (given || !is_own)
		return given;
	(void)snprintf(path, sizeof(path), "%s/tls/ca.pem", dir);	/* of --tls self */
	return access(path, R_OK) == 0 ? path : NULL;
}

bool client_call(const struct command *c, struct arena *a, const char *method, const char *path, const struct jv **ret, struct str *ret_text,
		 struct err *err)
{
	struct fetch f = {.method = method, .path = path, .url = flag_get(c, "url"), .token = flag_get(c, "token"), .timeout_s = TIMEOUT_S};
	struct running r;
	const char *dir;
	unsigned status;
	struct str why;
	bool on;

	if (!data_dir_of(c, &dir, err))
		return false;
	on = runfile_read(dir, &r);
	if (!f.url && !on)
		return err_set(err, ERR_PRECONDITION, "no server runs on %s; name one by --url (or HATCHET_CLIENT_SERVER_URL)", dir);
	if (!f.url)
		f.url = r.url;
	f.ca_file = ca_of(c, dir, on && strcmp(f.url, r.url) == 0);
	if (!http_fetch(&f, a, &status, ret_text, err))
		return false;
	*ret = json_parse(a, *ret_text, err);
	if (status == 200 && *ret)
		return true;
	why = jv_str(jv_get(jv_at(jv_get(*ret, "errors"), 0), "description"));
	if (status == 403 && !f.token)
		return err_set(err, ERR_UNAUTHENTICATED, "the server wants a token: --token (or HATCHET_CLIENT_TOKEN); \"hatchet token create\" makes one");
	if (why.n)
		return err_set(err, ERR_INTERNAL, "%.*s", (int)MIN(why.n, 400u), why.p);
	return err_set(err, ERR_INTERNAL, "what answers at %s is no hatchet server (status %u)", f.url, status);
}

bool client_tenant(const struct command *c, struct arena *a, const char **ret, struct err *err)
{
	const char *token = flag_get(c, "token"), *dot = token ? strchr(token, '.') : NULL, *end = dot ? strchr(dot + 1, '.') : NULL;
	struct str claims, sub = STR_NULL;

	if (!token)
		return err_set(err, ERR_UNAUTHENTICATED, "the server wants a token: --token (or HATCHET_CLIENT_TOKEN); \"hatchet token create\" makes one");
	if (end && base64_decode(a, (struct str){dot + 1, (size_t)(end - dot - 1)}, true, &claims))
		sub = jv_str(jv_get(json_parse(a, claims, err), "sub"));
	*ret = arena_strz(a, sub);
	return sub.n == UUID_TEXT || err_set(err, ERR_INVALID, "--token: is no API token");
}
