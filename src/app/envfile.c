/* Files with a token in them: that of --env-file, what a client's environment needs in lines a shell can read, and a sidecar's handshake. */
#include "app_int.h"

#include "base/strb.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TEXT_MAX = 16384 };

bool private_file_check(const char *path, const char *what, struct err *err)
{
	char dir[1024];
	const char *slash = strrchr(path, '/');
	struct stat st;

	(void)snprintf(dir, sizeof(dir), "%.*s", slash ? (int)MAX(slash - path, 1) : 1, slash ? path : ".");
	if (strlen(path) > 1000)
		return err_set(err, ERR_INVALID, "the path of the %s is too long", what);
	if (access(dir, W_OK | X_OK) != 0)
		return err_set(err, ERR_INVALID, "cannot write the %s %s: %s", what, path, strerror(errno));
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return err_set(err, ERR_INVALID, "cannot write the %s %s: it is no regular file", what, path);
	return true;
}

/* The new file is made by us alone, so that nobody who put one there before us owns or reads it. */
bool private_file_write(const char *path, struct str text, struct err *err)
{
	char tmp[1100];
	int fd;
	FILE *f;
	bool ok;

	(void)snprintf(tmp, sizeof(tmp), "%s.%d.new", path, (int)getpid());
	(void)unlink(tmp);
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	f = fd < 0 ? NULL : fdopen(fd, "w");
	if (!f)
		return err_set(err, ERR_INTERNAL, "cannot write %s: %s", tmp, strerror(errno));
	ok = fwrite(text.p, 1, text.n, f) == text.n;
	if (fclose(f) != 0 || !ok || rename(tmp, path) != 0) {
		(void)err_set(err, ERR_INTERNAL, "cannot write %s: %s", path, strerror(errno));
		(void)unlink(tmp);
		return false;
	}
	return true;
}

/* The name in the certificate; the Go SDK with mutual TLS knows no other. */
static struct str host_of(const char *address)
{
	struct str s = str_c(address);
	const char *colon = strrchr(address, ':');

	if (colon)
		s.n = (size_t)(colon - address);
	if (s.n > 2 && s.p[0] == '[' && s.p[s.n - 1] == ']')
		s = (struct str){s.p + 1, s.n - 2};
	return s;
}

bool envfile_write(const char *path, const struct env *env, struct err *err)
{
	struct strb b;
	bool ok;

	strb_init(&b, TEXT_MAX);
	strb_putf(&b, "HATCHET_CLIENT_TOKEN=%.*s\nHATCHET_CLIENT_HOST_PORT=%s\nHATCHET_CLIENT_TLS_STRATEGY=%s\n", STR_FMT(env->token),
		  env->grpc, env->tls);
	strb_putf(&b, "HATCHET_CLIENT_SERVER_URL=%s\nHATCHET_CLIENT_API_URL=%s\n", env->url, env->url);
	if (strcmp(env->tls, "none") != 0)
		strb_putf(&b, "HATCHET_CLIENT_TLS_SERVER_NAME=%.*s\n", STR_FMT(host_of(env->grpc)));
	if (env->ca_file)	/* Node takes no other for REST */
		strb_putf(&b, "HATCHET_CLIENT_TLS_ROOT_CA_FILE=%s\nNODE_EXTRA_CA_CERTS=%s\n", env->ca_file, env->ca_file);
	ok = private_file_write(path, strb_str(&b), err);
	strb_fini(&b);
	return ok;
}
