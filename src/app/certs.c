/* The server's certificates: read from files, from the environment, or of its own making; and noticed when they change.
 *
 * Nothing polls: before a handshake, at most once a second, the files' times are compared, so an idle server sleeps on and a
 * renewed certificate is in use with the next connection.  SIGHUP looks at once.  What cannot be used is said in one line and
 * leaves the old one in place.
 *
 * `self` keeps an authority in the data directory; the server's own certificate lives in memory and is made at every start, so
 * it always knows the names in use and never gets old. */
#include "app_int.h"

#include "base/log.h"
#include "crypto/cert.h"
#include "net/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FILE_BYTES_MAX = 1 << 20, DAY = 86400, CA_DAYS = 3650, CA_DAYS_LEFT = 400, CERT_DAYS = 90, CERT_DAYS_LEFT = 30, NAMES_MAX = 8,
       EXPIRY_WARN_DAYS = 14, CHECK_US = 1000000 };

struct stamp {		/* of a file as it was when it was read */
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec changed;
};

struct certs {
	struct certs_conf conf;
	bool is_self;
	struct server *server;
	struct tls_ctx *ctx;
	struct stamp seen[3];
	int64_t looked_us, ends_s, warned_day;
	char dir[450], ca_file[480], host[256];
	char named[3][256];		/* host parts of conf.names */
	struct str ca_cert, ca_key;
	struct arena *arena;		/* of the authority */
};

static int64_t now_s(void)
{
	return (int64_t)time(NULL);
}

/* --- reading ------------------------------------------------------------------------------------------------------------------- */

static bool read_file(struct arena *a, const char *path, const char *what, struct str *ret, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *p;
	ssize_t n;

	if (fd < 0)
		return err_set(err, ERR_INVALID, "the %s %s cannot be read: %s", what, path, strerror(errno));
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_BYTES_MAX) {
		(void)close(fd);
		return err_set(err, ERR_INVALID, "the %s %s is no file of a reasonable size", what, path);
	}
	p = arena_alloc(a, (size_t)st.st_size + 1);
	n = read(fd, p, (size_t)st.st_size);
	(void)close(fd);
	if (n != st.st_size)
		return err_set(err, ERR_INVALID, "the %s %s changed while it was read", what, path);
	p[n] = '\0';
	*ret = (struct str){p, (size_t)n};
	return true;
}

/* @pem, if given, stands for the file; neither is an empty text. */
static bool get_text(struct arena *a, const char *pem, const char *variable, const char *path, const char *what, struct tls_text *ret,
		     struct err *err)
{
	*ret = (struct tls_text){STR(""), pem ? variable : path};
	if (pem) {
		ret->pem = str_c(pem);
		return true;
	}
	return !path || read_file(a, path, what, &ret->pem, err);
}

static void stamp(const char *path, struct stamp *ret)
{
	struct stat st;

	*ret = (struct stamp){0};
	if (path && stat(path, &st) == 0)
		*ret = (struct stamp){st.st_dev, st.st_ino, st.st_size, st.st_mtim};
}

static bool same(const struct stamp *a, const struct stamp *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size && a->changed.tv_sec == b->changed.tv_sec &&
	       a->changed.tv_nsec == b->changed.tv_nsec;
}

static bool files_changed(struct certs *c)
{
	const char *const paths[] = {c->conf.cert_pem ? NULL : c->conf.cert_file, c->conf.key_pem ? NULL : c->conf.key_file,
		c->conf.ca_pem ? NULL : c->conf.ca_file};
	struct stamp now;
	bool changed = false;

	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		stamp(paths[i], &now);
		changed |= !same(&now, &c->seen[i]);
		c->seen[i] = now;
	}
	return changed;
}

/* --- an authority of our own ------------------------------------------------------------------------------------------------- */

static bool write_whole(const char *path, struct str text, unsigned mode, bool only_first, struct err *err)
{
	char tmp[500];
	bool ok;
	int fd;

	(void)snprintf(tmp, sizeof(tmp), "%s.%d.new", path, (int)getpid());
	(void)unlink(tmp);
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd < 0)
		return err_set(err, ERR_INTERNAL, "cannot write %s: %s", tmp, strerror(errno));
	ok = write(fd, text.p, text.n) == (ssize_t)text.n && fchmod(fd, mode) == 0 && fsync(fd) == 0;
	ok &= close(fd) == 0;
	if (ok && only_first)
		ok = link(tmp, path) == 0 || errno == EEXIST;	/* the first of several that start at once */
	else
		ok = ok && rename(tmp, path) == 0;
	if (!ok)
		(void)err_set(err, ERR_INTERNAL, "cannot write %s: %s", path, strerror(errno));
	(void)unlink(tmp);
	return ok;
}

/* Key first, then certificate: one file, so that they always belong together. */
static bool split(struct certs *c, struct str both, int64_t *ret_ends)
{
	static const char begin[] = "-----BEGIN CERTIFICATE-----";
	const char *p = memmem(both.p, both.n, begin, sizeof(begin) - 1);

	if (!p)
		return false;
	c->ca_key = arena_dup(c->arena, (struct str){both.p, (size_t)(p - both.p)});
	c->ca_cert = arena_dup(c->arena, (struct str){p, both.n - (size_t)(p - both.p)});
	return cert_ends(c->ca_cert, ret_ends);
}

static bool authority(struct certs *c, struct err *err)
{
	char path[480], name[300];
	struct str cert, key, both = STR_NULL;
	int64_t ends = 0;

	(void)snprintf(path, sizeof(path), "%s/authority.pem", c->dir);
	if (!mkdirs(c->dir, 0700, err))
		return false;
	for (int tries = 0; tries < 2; tries++) {
		if (access(path, F_OK) == 0 || errno != ENOENT) {
			if (!read_file(c->arena, path, "certificate authority", &both, err))
				return false;
			if (!split(c, both, &ends))
				return err_set(err, ERR_INVALID, "the certificate authority %s is damaged: remove it, and a new one is made", path);
			if (ends - now_s() > (int64_t)CA_DAYS_LEFT * DAY)
				break;
			log_warn("the certificate authority of --tls self was near its end and is a new one now", F_C("file", path));
			(void)unlink(path);
		}
		(void)snprintf(name, sizeof(name), "local authority of %s", c->host);
		cert_make_authority(c->arena, name, now_s() - DAY, now_s() + (int64_t)CA_DAYS * DAY, &cert, &key);
		if (!write_whole(path, arena_strf(c->arena, "%.*s%.*s", STR_FMT(key), STR_FMT(cert)), 0600, true, err))
			return false;
	}
	return write_whole(c->ca_file, c->ca_cert, 0644, false, err);
}

/* The host of "https://host:port/path", "host:port" or "host"; not of an address that means all of them. */
static void host_part(const char *s, char out[256])
{
	const char *p = strstr(s, "://");
	size_t n;

	s = p ? p + 3 : s;
	if (*s == '[') {
		s++;
		n = strcspn(s, "]");
	} else {
		n = strcspn(s, "/");
		p = memchr(s, ':', n);
		if (p && !memchr(p + 1, ':', n - (size_t)(p + 1 - s)))
			n = (size_t)(p - s);
	}
	(void)snprintf(out, 256, "%.*s", (int)MIN(n, (size_t)255), s);
	if (strcmp(out, "0.0.0.0") == 0 || strcmp(out, "::") == 0)
		out[0] = '\0';
}

static bool make_own(struct certs *c, struct arena *a, struct tls_conf *conf, struct err *err)
{
	const char *names[NAMES_MAX] = {"localhost", "127.0.0.1", "::1"}, *more[] = {c->host, c->named[0], c->named[1], c->named[2]};
	size_t n = 3;

	for (size_t i = 0; i < ARRAY_LEN(more); i++) {
		bool known = !more[i][0];

		for (size_t k = 0; k < n; k++)
			known |= strcmp(names[k], more[i]) == 0;
		if (!known)
			names[n++] = more[i];
	}
	conf->cert.from = conf->key.from = "the certificate of the server's own making";
	return cert_make_server(a, c->ca_cert, c->ca_key, names, n, now_s() - DAY, now_s() + (int64_t)CERT_DAYS * DAY, &conf->cert.pem,
				&conf->key.pem, err);
}

/* --- use ----------------------------------------------------------------------------------------------------------------------- */

static void tell_expiry(struct certs *c)
{
	int64_t left = c->ends_s - now_s();

	if (c->is_self || left >= (int64_t)EXPIRY_WARN_DAYS * DAY || c->warned_day == now_s() / DAY)
		return;
	c->warned_day = now_s() / DAY;
	if (left < 0)
		log_warn("the certificate has expired: clients refuse to connect", F_C("from", c->conf.cert_pem ? "SERVER_TLS_CERT" : c->conf.cert_file));
	else
		log_warn("the certificate expires soon", F_I64("days_left", left / DAY),
			 F_C("from", c->conf.cert_pem ? "SERVER_TLS_CERT" : c->conf.cert_file));
}

static bool load(struct certs *c, struct err *err)
{
	const struct certs_conf *f = &c->conf;
	struct arena *a = arena_new(8u << 20);
	struct tls_conf conf = {.need_client_cert = strcmp(f->strategy, "mtls") == 0, .only_13 = f->only_13};
	struct tls_ctx *ctx = NULL;

	(void)files_changed(c);		/* first: what changes while it is read is read again */
	if ((c->is_self ? make_own(c, a, &conf, err)
			: get_text(a, f->cert_pem, "SERVER_TLS_CERT", f->cert_file, "certificate file", &conf.cert, err) &&
			  get_text(a, f->key_pem, "SERVER_TLS_KEY", f->key_file, "private key file", &conf.key, err)) &&
	    get_text(a, f->ca_pem, "SERVER_TLS_ROOT_CA", f->ca_file, "file of the clients' authority", &conf.client_ca, err))
		ctx = tls_ctx_new(&conf, err);
	if (ctx) {
		tls_ctx_unref(c->ctx);
		c->ctx = ctx;
		if (!cert_ends(conf.cert.pem, &c->ends_s))
			c->ends_s = INT64_MAX;
		c->warned_day = -1;
		tell_expiry(c);
	}
	arena_free(a);
	return ctx != NULL;
}

void certs_reload(struct certs *c)
{
	struct err err;

	if (load(c, &err)) {
		server_set_tls(c->server, c->ctx, c->conf.clear_too);
		log_info("certificates loaded anew");
	} else {
		log_error("the new certificates cannot be used, the old ones stay", F_C("why", err.msg));
	}
}

static void look(void *arg)
{
	struct certs *c = arg;
	int64_t now = loop_mono_us();

	if (now - c->looked_us < CHECK_US)
		return;
	c->looked_us = now;
	if (c->is_self ? c->ends_s - now_s() < (int64_t)CERT_DAYS_LEFT * DAY || files_changed(c) : files_changed(c))
		certs_reload(c);
	else
		tell_expiry(c);
}

void certs_use(struct certs *c, struct server *s)
{
	c->server = s;
	server_set_tls(s, c->ctx, c->conf.clear_too);
	server_on_handshake(s, look, c);
}

static bool check(struct certs_conf *f, struct err *err)
{
	bool has_cert = f->cert_file || f->cert_pem, has_key = f->key_file || f->key_pem, has_ca = f->ca_file || f->ca_pem;

	if (!f->strategy)
		f->strategy = has_cert || has_key ? "tls" : "none";
	if (strcmp(f->strategy, "none") == 0)
		return true;
	if (strcmp(f->strategy, "self") == 0)
		return !has_cert && !has_key ? true : err_set(err, ERR_INVALID, "--tls self makes a certificate; --tls-cert and --tls-key are for --tls tls");
	if (!has_cert || !has_key)
		return err_set(err, ERR_INVALID, "--tls %s needs --tls-cert and --tls-key (SERVER_TLS_CERT_FILE, SERVER_TLS_KEY_FILE); %s", f->strategy,
			       "--tls self makes a certificate for local use");
	if (strcmp(f->strategy, "mtls") != 0)
		return true;
	if (!has_ca)
		return err_set(err, ERR_INVALID, "--tls mtls needs --tls-root-ca (SERVER_TLS_ROOT_CA_FILE): the authority of the workers' certificates");
	return !f->clear_too || err_set(err, ERR_INVALID, "--tls mtls and --tls-optional (SERVER_GRPC_INSECURE) exclude each other");
}

bool certs_new(const struct certs_conf *conf, struct certs **ret, struct err *err)
{
	struct certs_conf f = *conf;
	struct certs *c;
	bool ok = true;

	*ret = NULL;
	f.cert_pem = f.cert_pem && *f.cert_pem ? f.cert_pem : NULL;
	f.key_pem = f.key_pem && *f.key_pem ? f.key_pem : NULL;
	f.ca_pem = f.ca_pem && *f.ca_pem ? f.ca_pem : NULL;
	if (!check(&f, err) || strcmp(f.strategy, "none") == 0)
		return strcmp(f.strategy, "none") == 0;
	c = xcalloc(1, sizeof(*c));
	c->conf = f;
	c->is_self = strcmp(f.strategy, "self") == 0;
	c->arena = arena_new(4u << 20);
	if (c->is_self) {
		(void)snprintf(c->dir, sizeof(c->dir), "%s/tls", f.dir);
		(void)snprintf(c->ca_file, sizeof(c->ca_file), "%s/ca.pem", c->dir);
		if (gethostname(c->host, sizeof(c->host) - 1) != 0 || !c->host[0])
			(void)snprintf(c->host, sizeof(c->host), "localhost");
		for (size_t i = 0; i < ARRAY_LEN(f.names); i++)
			if (f.names[i])
				host_part(f.names[i], c->named[i]);
		ok = mkdirs(f.dir, 0755, err) && authority(c, err);
	}
	if (ok && load(c, err)) {
		*ret = c;
		return true;
	}
	certs_free(c);
	return false;
}

void certs_free(struct certs *c)
{
	if (!c)
		return;
	tls_ctx_unref(c->ctx);
	arena_free(c->arena);
	free(c);
}

const char *certs_ca_file(const struct certs *c)
{
	return c && c->is_self ? c->ca_file : NULL;
}

const char *certs_strategy(const struct certs *c)
{
	return !c ? "none" : c->is_self ? "tls" : c->conf.strategy;
}
