/* The file of --env-file: what a client's environment needs, in lines a shell can read. */
#include "app_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

bool envfile_check(const char *path, struct err *err)
{
	char dir[1024];
	const char *slash = strrchr(path, '/');
	struct stat st;

	(void)snprintf(dir, sizeof(dir), "%.*s", slash ? (int)MAX(slash - path, 1) : 1, slash ? path : ".");
	if (strlen(path) > 1000)
		return err_set(err, ERR_INVALID, "the path of the env file is too long");
	if (access(dir, W_OK | X_OK) != 0)
		return err_set(err, ERR_INVALID, "cannot write the env file %s: %s", path, strerror(errno));
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return err_set(err, ERR_INVALID, "cannot write the env file %s: it is no regular file", path);
	return true;
}

/* The new file is made by us alone, so that nobody who put one there before us owns or reads it. */
bool envfile_write(const char *path, struct str token, const char *url, const char *grpc, struct err *err)
{
	char tmp[1100];
	int fd;
	FILE *f;

	(void)snprintf(tmp, sizeof(tmp), "%s.%d.new", path, (int)getpid());
	(void)unlink(tmp);
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	f = fd < 0 ? NULL : fdopen(fd, "w");
	if (!f)
		return err_set(err, ERR_INTERNAL, "cannot write %s: %s", tmp, strerror(errno));
	(void)fprintf(f, "HATCHET_CLIENT_TOKEN=%.*s\nHATCHET_CLIENT_HOST_PORT=%s\nHATCHET_CLIENT_TLS_STRATEGY=none\n"
		      "HATCHET_CLIENT_SERVER_URL=%s\nHATCHET_CLIENT_API_URL=%s\n", STR_FMT(token), grpc, url, url);
	if (fclose(f) != 0 || rename(tmp, path) != 0) {
		(void)err_set(err, ERR_INTERNAL, "cannot write %s: %s", path, strerror(errno));
		(void)unlink(tmp);
		return false;
	}
	return true;
}
