/* The Postgres carried in this file: a zstd archive of its programs and of a ready-made cluster with our schema.
 *
 * tools/deps/payload.sh makes the archive: a tar of plain files and folders with short names, below postgres/ and cluster/.
 * What is unpacked lies beside its place until it is whole; a server killed on the way leaves nothing that counts. */
#include "app_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <zstd.h>

extern const unsigned char hatchet_pg_payload[], hatchet_pg_payload_end[];

enum { BLOCK = 512, ROOM_MB = 64 };

struct unpack {
	const struct embedpg_place *places;
	size_t n_places;
	const struct embedpg_place *at;	/* of the present file */
	struct err *err;
	uint64_t left;			/* of the present file, 0: a header comes */
	unsigned pad;			/* up to the next block, after it */
	int fd;				/* of the present file, -1: it is not wanted */
	unsigned n;			/* bytes of the header that are here */
	bool ended;
	unsigned char header[BLOCK];
};

static size_t payload_bytes(void)
{
	return (size_t)(hatchet_pg_payload_end - hatchet_pg_payload);
}

bool embedpg_is_here(void)
{
	return payload_bytes() > 0;
}

/* The last bytes of a zstd frame are the checksum of what is in it: the name of this very archive. */
uint32_t embedpg_key(void)
{
	const unsigned char *p = hatchet_pg_payload + payload_bytes() - 4;

	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static bool failed(struct unpack *u, const char *what)
{
	return err_set(u->err, errno == ENOSPC || errno == EDQUOT ? ERR_EXHAUSTED : ERR_INTERNAL, "cannot unpack Postgres into %s: %s: %s",
		       u->at->to, what, strerror(errno));
}

static uint64_t octal(const unsigned char *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n && p[i] >= '0' && p[i] <= '7'; i++)
		v = v * 8 + (uint64_t)(p[i] - '0');
	return v;
}

static bool give(const struct unpack *u, const char *path)
{
	return u->at->uid == geteuid() || lchown(path, u->at->uid, u->at->gid) == 0;
}

/* The place that wants what the archive has under @name; NULL: none.  @rest: the path there. */
static const struct embedpg_place *place_of(const struct unpack *u, const char *name, const char **rest)
{
	for (size_t i = 0; i < u->n_places; i++) {
		size_t n = strlen(u->places[i].wanted);

		*rest = name + n;
		if (strncmp(name, u->places[i].wanted, n) == 0 && name[n] == '/')
			return &u->places[i];
	}
	return NULL;
}

/* One header of the archive: makes the folder, opens the file. */
static bool begin(struct unpack *u)
{
	const unsigned char *h = u->header;
	char name[101], path[600];
	const char *rest;
	mode_t mode = (mode_t)octal(h + 100, 8) & 0755;

	(void)snprintf(name, sizeof(name), "%.100s", (const char *)h);
	if (name[0] == '\0') {
		u->ended = true;
		return true;
	}
	u->left = octal(h + 124, 12);
	u->pad = (unsigned)((BLOCK - u->left % BLOCK) % BLOCK);
	u->fd = -1;
	u->at = place_of(u, name, &rest);
	if (!u->at)
		return true;
	(void)snprintf(path, sizeof(path), "%.450s%.100s", u->at->to, rest);
	if (h[156] == '5')
		return ((mkdir(path, mode) == 0 || errno == EEXIST) && chmod(path, mode) == 0 && give(u, path)) || failed(u, name);
	u->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	return (u->fd >= 0 && fchmod(u->fd, mode) == 0 && give(u, path)) || failed(u, name);
}

static bool finish(struct unpack *u)
{
	int fd = u->fd;

	u->fd = -1;
	return fd < 0 || close(fd) == 0 || failed(u, "closing a file");
}

static bool take(struct unpack *u, const unsigned char *p, size_t n)
{
	while (n > 0 && !u->ended) {
		size_t part = n;

		if (u->left > 0) {
			part = MIN(part, u->left);
			if (u->fd >= 0) {
				ssize_t wrote = write(u->fd, p, part);

				if (wrote < 0)
					return failed(u, "writing");
				part = (size_t)wrote;
			}
			u->left -= part;
			if (u->left == 0 && !finish(u))
				return false;
		} else if (u->pad > 0) {
			part = MIN(part, u->pad);
			u->pad -= (unsigned)part;
		} else {
			part = MIN(part, BLOCK - u->n);
			memcpy(u->header + u->n, p, part);
			u->n += (unsigned)part;
			if (u->n == BLOCK) {
				u->n = 0;
				if (!begin(u) || (u->left == 0 && !finish(u)))
					return false;
			}
		}
		p += part;
		n -= part;
	}
	return true;
}

static bool decompress(struct unpack *u)
{
	ZSTD_DStream *z = ZSTD_createDStream();
	ZSTD_inBuffer in = {hatchet_pg_payload, payload_bytes(), 0};
	size_t room = ZSTD_DStreamOutSize(), rest = 1;
	unsigned char *out = xmalloc(room);
	bool ok = true;

	while (ok && rest > 0 && in.pos < in.size) {
		ZSTD_outBuffer o = {out, room, 0};

		rest = ZSTD_decompressStream(z, &o, &in);
		ok = !ZSTD_isError(rest) ? take(u, out, o.pos) :
			err_set(u->err, ERR_INTERNAL, "the Postgres inside this file is damaged (%s): install hatchet again", ZSTD_getErrorName(rest));
	}
	if (u->fd >= 0)
		(void)close(u->fd);
	(void)ZSTD_freeDStream(z);
	free(out);
	return ok;
}

static bool has_room(const char *dir, struct err *err)
{
	struct statvfs v;
	uint64_t mb;

	if (statvfs(dir, &v) != 0)
		return err_set(err, ERR_INTERNAL, "cannot look at %s: %s", dir, strerror(errno));
	mb = (uint64_t)v.f_bavail * v.f_frsize >> 20;
	return mb >= ROOM_MB || err_set(err, ERR_EXHAUSTED, "%s has %llu MB of free space, and a database needs %d to begin with", dir,
					(unsigned long long)mb, ROOM_MB);
}

bool embedpg_unpack(const struct embedpg_place *places, size_t n, struct err *err)
{
	struct unpack u = {.places = places, .n_places = n, .at = places, .err = err, .fd = -1};

	if (!has_room(places[0].to, err) || !decompress(&u))
		return false;
	return u.ended || err_set(err, ERR_INTERNAL, "the Postgres inside this file is cut short: install hatchet again");
}
