/* The file of a backup: lines and pieces in a gzip stream, whose checksum tells damage. */
#include "backup_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

struct bfile {
	gzFile z;
	int fd;
	char *path, *part;	/* part: the name until it is whole; NULL when reading */
	char *piece;
	size_t piece_max;
};

static struct bfile *open_at(const char *path, const char *name, int flags, const char *mode, struct err *err)
{
	struct bfile *f = xcalloc(1, sizeof(*f));

	f->path = xstrndup(str_c(path));
	f->fd = open(name, flags | O_CLOEXEC, 0600);
	f->z = f->fd >= 0 ? gzdopen(dup(f->fd), mode) : NULL;
	if (f->z)
		return f;
	err_set(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_INTERNAL, "cannot open %s: %s", name, strerror(errno));
	bfile_close(f);
	return NULL;
}

struct bfile *bfile_create(const char *path, struct err *err)
{
	char part[4200];
	struct bfile *f;

	if (access(path, F_OK) == 0) {
		err_set(err, ERR_EXISTS, "%s exists already", path);
		return NULL;
	}
	if (snprintf(part, sizeof(part), "%s.part", path) >= (int)sizeof(part)) {
		err_set(err, ERR_INVALID, "the name of the file is too long");
		return NULL;
	}
	f = open_at(path, part, O_WRONLY | O_CREAT | O_TRUNC, "wb3", err);
	if (f)
		f->part = xstrndup(str_c(part));
	return f;
}

struct bfile *bfile_open(const char *path, struct err *err)
{
	struct bfile *f = open_at(path, path, O_RDONLY, "rb", err);

	if (f && (gzbuffer(f->z, 1u << 18) != 0 || gzdirect(f->z))) {
		err_set(err, ERR_INVALID, "%s is no backup of hatchet", path);
		bfile_close(f);
		f = NULL;
	}
	return f;
}

static bool wrong(const struct bfile *f, struct err *err)
{
	return err_set(err, ERR_INTERNAL, "cannot write %s: %s", f->path, strerror(errno ? errno : EIO));
}

bool bfile_commit(struct bfile *f, uint64_t *ret_bytes, struct err *err)
{
	struct stat st;
	int rc;

	errno = 0;
	rc = gzclose(f->z);
	f->z = NULL;
	if (rc != Z_OK || fsync(f->fd) != 0 || fstat(f->fd, &st) != 0 || rename(f->part, f->path) != 0)
		return wrong(f, err);
	free(f->part);
	f->part = NULL;
	*ret_bytes = (uint64_t)st.st_size;
	return true;
}

void bfile_close(struct bfile *f)
{
	if (f->z)
		(void)gzclose(f->z);
	if (f->fd >= 0)
		(void)close(f->fd);
	if (f->part)
		(void)unlink(f->part);
	free(f->part);
	free(f->path);
	free(f->piece);
	free(f);
}

static bool put(struct bfile *f, const void *p, size_t n, struct err *err)
{
	errno = 0;
	return n == 0 || gzwrite(f->z, p, (unsigned)n) == (int)n || wrong(f, err);
}

bool bfile_put_line(struct bfile *f, struct err *err, const char *fmt, ...)
{
	char line[BACKUP_LINE_MAX];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	assert(n < BACKUP_LINE_MAX - 1);
	line[n] = '\n';
	return put(f, line, (size_t)n + 1, err);
}

bool bfile_put_piece(struct bfile *f, struct str bytes, struct err *err)
{
	unsigned char head[4] = {(unsigned char)(bytes.n >> 24), (unsigned char)(bytes.n >> 16), (unsigned char)(bytes.n >> 8),
		(unsigned char)bytes.n};

	if (bytes.n > BACKUP_PIECE_MAX)
		return err_set(err, ERR_INTERNAL, "a row of %zu bytes is too long for a backup", bytes.n);
	return put(f, head, sizeof(head), err) && put(f, bytes.p, bytes.n, err);
}

bool bfile_damaged(const struct bfile *f, struct err *err)
{
	return err_set(err, ERR_INVALID, "%s is damaged or cut short; nothing was restored", f->path);
}

bool bfile_line(struct bfile *f, char line[BACKUP_LINE_MAX], struct err *err)
{
	size_t n;

	if (!gzgets(f->z, line, BACKUP_LINE_MAX))
		return bfile_damaged(f, err);
	n = strlen(line);
	if (n == 0 || line[n - 1] != '\n')
		return bfile_damaged(f, err);
	line[n - 1] = '\0';
	return true;
}

bool bfile_piece(struct bfile *f, struct str *ret, struct err *err)
{
	unsigned char head[4];
	size_t n;

	if (gzread(f->z, head, sizeof(head)) != (int)sizeof(head))
		return bfile_damaged(f, err);
	n = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
	if (n > BACKUP_PIECE_MAX)
		return bfile_damaged(f, err);
	if (n > f->piece_max) {
		free(f->piece);
		f->piece = xmalloc(n);
		f->piece_max = n;
	}
	if (n > 0 && gzread(f->z, f->piece, (unsigned)n) != (int)n)
		return bfile_damaged(f, err);
	*ret = (struct str){f->piece ? f->piece : "", n};
	return true;
}

bool bfile_end(struct bfile *f, struct err *err)
{
	int rc = Z_OK;
	char more;
	bool is_end = gzread(f->z, &more, 1) == 0;

	(void)gzerror(f->z, &rc);	/* the end of a file that lost its checksum is an end too */
	return (is_end && rc == Z_OK) || bfile_damaged(f, err);
}
