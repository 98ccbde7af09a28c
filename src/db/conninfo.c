/* Connection parameters: the user's conninfo or URI, host names resolved here so that libpq never does (it would block),
 * and what we add: keepalives that end a dead peer within 4 s, a writable server when several are named.
 * What the user wrote wins over what we add.  Does not connect. */
#include "base/err.h"
#include "db_int.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#define HOSTS_BYTES_MAX 8192

static bool is_literal(const char *host)
{
	unsigned char b[16];

	return host[0] == '\0' || host[0] == '/' || host[0] == '@' || inet_pton(AF_INET, host, b) == 1 ||
	       inet_pton(AF_INET6, host, b) == 1;
}

/* That name and all below it are this machine (RFC 6761), whatever /etc/hosts says or a name server would. */
static bool is_localhost(const char *name)
{
	static const char local[] = "localhost";
	size_t n = strlen(name), k = sizeof(local) - 1;

	if (n && name[n - 1] == '.')
		n--;
	return n >= k && strncasecmp(name + n - k, local, k) == 0 && (n == k || name[n - k - 1] == '.');
}

static PQconninfoOption *parse(const char *url, struct err *err)
{
	char *why = NULL;
	PQconninfoOption *o = PQconninfoParse(url, &why);

	if (!o) {
		/* libpq's text may quote the URL, which may hold the password */
		err_set(err, ERR_INVALID, "the database URL cannot be understood; expected "
			"postgres://user:password@host:port/database or key=value pairs");
		PQfreemem(why);
	}
	return o;
}

static char *find(PQconninfoOption *o, const char *key)
{
	for (; o->keyword; o++)
		if (strcmp(o->keyword, key) == 0)
			return o->val && o->val[0] ? o->val : NULL;
	return NULL;
}

/* Where to find the server, with libpq's own order: the URL, then the environment. */
static const char *host_of(PQconninfoOption *o)
{
	const char *host = find(o, "host"), *addr = getenv("PGHOSTADDR");

	if (find(o, "hostaddr") || (addr && addr[0]))
		return NULL;
	return host ? host : getenv("PGHOST");
}

bool conninfo_has_names(const char *url)
{
	PQconninfoOption *o = parse(url, NULL);
	bool found = false;
	char *hosts, *save = NULL;

	if (!o)
		return false;
	if (host_of(o)) {
		hosts = xstrndup(str_c(host_of(o)));
		for (char *h = strtok_r(hosts, ",", &save); h; h = strtok_r(NULL, ",", &save))
			found = found || !is_literal(h);
		free(hosts);
	}
	PQconninfoFree(o);
	return found;
}

static void add(struct conninfo *ci, const char *key, const char *value)
{
	if (!value || ci->n >= ARRAY_LEN(ci->keys) - 1)
		return;
	for (unsigned i = 0; i < ci->n; i++)
		if (strcmp(ci->keys[i], key) == 0)
			return;
	ci->keys[ci->n] = key;
	ci->values[ci->n++] = xstrndup(str_c(value));
}

void conninfo_fini(struct conninfo *ci)
{
	for (unsigned i = 0; i < ci->n; i++) {
		explicit_bzero(ci->values[i], strlen(ci->values[i]));
		free(ci->values[i]);
	}
	ci->n = 0;
}

struct lists {
	struct strb hosts, addrs, ports;
	unsigned n;
};

static void add_host(struct lists *l, struct str host, const char *addr, struct str port)
{
	const char *sep = l->n++ ? "," : "";

	strb_putf(&l->hosts, "%s%.*s", sep, STR_FMT(host));
	strb_putf(&l->addrs, "%s%s", sep, addr);
	strb_putf(&l->ports, "%s%.*s", sep, STR_FMT(port));
}

static void resolve_host(struct lists *l, struct str host, struct str port)
{
	struct addrinfo hint = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *all = NULL;
	char name[256], addr[NI_MAXHOST];

	if (host.n >= sizeof(name))
		return;
	memcpy(name, host.p, host.n);
	name[host.n] = '\0';
	if (is_literal(name)) {
		add_host(l, host, name[0] == '/' || name[0] == '@' ? "" : name, port);
		return;
	}
	if (is_localhost(name)) {
		add_host(l, host, "127.0.0.1", port);
		add_host(l, host, "::1", port);
		return;
	}
	if (getaddrinfo(name, NULL, &hint, &all) != 0)
		return;
	for (struct addrinfo *ai = all; ai && l->n < 64; ai = ai->ai_next)
		if (getnameinfo(ai->ai_addr, ai->ai_addrlen, addr, sizeof(addr), NULL, 0, NI_NUMERICHOST) == 0)
			add_host(l, host, addr, port);
	freeaddrinfo(all);
}

static struct str next_of(struct str *list)
{
	const char *comma = list->n ? memchr(list->p, ',', list->n) : NULL;
	struct str s = {list->p, comma ? (size_t)(comma - list->p) : list->n};

	*list = comma ? (struct str){comma + 1, list->n - s.n - 1} : (struct str){list->p + list->n, 0};
	return s;
}

/* host and port lists go in parallel; one port counts for all hosts; a name with several addresses becomes several hosts */
static bool add_hosts(struct conninfo *ci, PQconninfoOption *o, struct err *err)
{
	struct str hosts = str_c(host_of(o)), ports = str_c(find(o, "port"));
	bool one_port = !ports.n || !memchr(ports.p, ',', ports.n), done = false, several = false;
	struct lists l = {.n = 0};

	if (!hosts.n)
		return true;
	strb_init(&l.hosts, HOSTS_BYTES_MAX);
	strb_init(&l.addrs, HOSTS_BYTES_MAX);
	strb_init(&l.ports, HOSTS_BYTES_MAX);
	several = memchr(hosts.p, ',', hosts.n) != NULL;
	while (!done) {
		struct str host = next_of(&hosts), port = one_port ? ports : next_of(&ports);

		done = hosts.n == 0;
		resolve_host(&l, host, port);
	}
	bool ok = l.n > 0 && !l.hosts.overflow && !l.addrs.overflow && !l.ports.overflow;
	if (ok) {
		add(ci, "host", l.hosts.p);
		add(ci, "hostaddr", l.addrs.n ? l.addrs.p : NULL);
		if (ports.n)
			add(ci, "port", l.ports.p);
		if (several)
			add(ci, "target_session_attrs", "read-write");
	} else {
		err_set(err, ERR_UNAVAILABLE, "the host name of the database URL cannot be resolved");
	}
	strb_fini(&l.hosts);
	strb_fini(&l.addrs);
	strb_fini(&l.ports);
	return ok;
}

/* libpq refuses to connect without a user and asks the password file for one; a container may have no line for its uid. */
static void add_user(struct conninfo *ci, PQconninfoOption *o)
{
	const char *env = getenv("PGUSER");
	struct passwd pw, *found = NULL;
	char buf[2048];

	if (find(o, "user") || (env && env[0]) || find(o, "service"))
		return;
	if (getpwuid_r(geteuid(), &pw, buf, sizeof(buf), &found) == 0 && found)
		add(ci, "user", pw.pw_name);
	else
		add(ci, "user", "postgres");
}

bool conninfo_make(const char *url, const char *app_name, struct conninfo *ret, struct err *err)
{
	static const char *const ours[][2] = {
		{"client_encoding", "UTF8"},   {"gssencmode", "disable"},    {"keepalives", "1"},
		{"keepalives_idle", "2"},      {"keepalives_interval", "1"}, {"keepalives_count", "2"},
		{"tcp_user_timeout", "4000"},
	};
	PQconninfoOption *o = parse(url, err);
	struct conninfo ci = {.n = 0};
	bool ok;

	if (!o)
		return false;
	/* the user's target_session_attrs before ours */
	add(&ci, "target_session_attrs", find(o, "target_session_attrs"));
	ok = add_hosts(&ci, o, err);
	for (PQconninfoOption *p = o; ok && p->keyword; p++)
		if (p->val && p->val[0])
			add(&ci, p->keyword, p->val);
	add_user(&ci, o);
	for (size_t i = 0; ok && i < ARRAY_LEN(ours); i++)
		add(&ci, ours[i][0], ours[i][1]);
	add(&ci, "application_name", app_name);
	/* the keywords are libpq's own constants: they outlive the options */
	PQconninfoFree(o);
	if (!ok) {
		conninfo_fini(&ci);
		return false;
	}
	*ret = ci;
	return true;
}

void pgmsg_split(const char *msg, char state[6], char *text, size_t text_max)
{
	const char *end = strchr(msg, '\n'), *p;
	size_t n = end ? (size_t)(end - msg) : strlen(msg);

	state[0] = '\0';
	/* "...: FATAL:  28P01: password authentication failed ..." */
	for (p = msg; n > 8 && p + 8 < msg + n; p++) {
		size_t k = strspn(p, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ");

		/* "FATAL" has five capitals too, but no digit */
		if (k == 5 && strcspn(p, "0123456789") < 5 && p[5] == ':' && p[6] == ' ' && p > msg && p[-1] == ' ') {
			memcpy(state, p, 5);
			state[5] = '\0';
			n -= (size_t)(p + 7 - msg);
			msg = p + 7;
			break;
		}
	}
	snprintf(text, text_max, "%.*s", (int)n, msg);
}

void conninfo_explain(const char *libpq_msg, const char *sqlstate, struct err *err)
{
	char state[6], text[200];

	pgmsg_split(libpq_msg && libpq_msg[0] ? libpq_msg : "no answer", state, text, sizeof(text));
	if (sqlstate && sqlstate[0])
		memcpy(state, sqlstate, strnlen(sqlstate, 5) + 1);
	if (strcmp(state, "28P01") == 0)
		err_set(err, ERR_DENIED, "the database refused the password (%s)", text);
	else if (strncmp(state, "28", 2) == 0)
		err_set(err, ERR_DENIED, "the database refused the user (%s)", text);
	else if (strcmp(state, "3D000") == 0)
		err_set(err, ERR_NOT_FOUND, "the database is missing: %s; create it first", text);
	else if (strcmp(state, "53300") == 0)
		err_set(err, ERR_EXHAUSTED, "the database server has no free connection (%s)", text);
	else if (strncmp(state, "57P", 3) == 0)
		err_set(err, ERR_UNAVAILABLE, "the database is starting or stopping (%s)", text);
	else if (strstr(text, "no password supplied"))
		err_set(err, ERR_DENIED, "the database asks for a password and the URL has none");
	else if (strncmp(text, "invalid ", 8) == 0)	/* libpq's own words about a setting of the URL */
		err_set(err, ERR_INVALID, "the database URL cannot be used: %s", text);
	else
		err_set(err, ERR_UNAVAILABLE, "the database cannot be reached (%s)", text);
}
