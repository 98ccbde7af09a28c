/* Certificates, revocation lists and keys out of files. */
#include "pqtls.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mbedtls/error.h>
#include <mbedtls/platform_util.h>

static bool fail(struct pqtls_why *why, const char *text)
{
	snprintf(why->text, sizeof(why->text), "%s", text);
	return false;
}

static bool fail_tls(struct pqtls_why *why, const char *what, int rc)
{
	char text[160];

	mbedtls_strerror(rc, text, sizeof(text));
	snprintf(why->text, sizeof(why->text), "%s (%s)", what, text);
	return false;
}

/* a pipe or a device is none, and is not waited for */
static int open_file(int dir, const char *path, struct stat *st, struct pqtls_why *why)
{
	int fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0 || fstat(fd, st) < 0)
		fail(why, strerror(errno));
	else if (!S_ISREG(st->st_mode))
		fail(why, "not a file");
	else if (st->st_size > PQTLS_FILE_MAX)
		fail(why, "too large");
	else
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* the bytes and a zero behind them, to be freed; closes fd */
static unsigned char *slurp(int fd, size_t size, size_t *n, struct pqtls_why *why)
{
	unsigned char *text = malloc(size + 1);
	ssize_t got = 1;

	*n = 0;
	if (!text)
		fail(why, "out of memory");
	while (text && got && *n < size) {
		got = read(fd, text + *n, size - *n);
		if (got > 0) {
			*n += (size_t)got;
		} else if (got < 0 && errno != EINTR) {
			fail(why, strerror(errno));
			free(text);
			text = NULL;
		}
	}
	if (text)
		text[*n] = 0;
	close(fd);
	return text;
}

static bool has(const unsigned char *text, size_t n, const char *mark)
{
	return memmem(text, n, mark, strlen(mark)) != NULL;
}

/* how much the parsers are told: PEM with the zero, DER without */
static size_t given(const unsigned char *text, size_t n)
{
	return has(text, n, "-----BEGIN ") ? n + 1 : n;
}

bool pqtls_certs_parse(mbedtls_x509_crt *to, const unsigned char *text, size_t n, struct pqtls_why *why)
{
	int rc = mbedtls_x509_crt_parse(to, text, given(text, n));

	/* above 0 is the number of those left out: one that uses what mbedTLS does not know spoils no bundle */
	return rc >= 0 || fail_tls(why, "no certificate can be read from it", rc);
}

bool pqtls_crls_parse(mbedtls_x509_crl *to, const unsigned char *text, size_t n, struct pqtls_why *why)
{
	int rc = mbedtls_x509_crl_parse(to, text, given(text, n));

	return rc == 0 || fail_tls(why, "no revocation list can be read from it", rc);
}

bool pqtls_certs_file(mbedtls_x509_crt *to, const char *path, struct pqtls_why *why)
{
	struct stat st;
	size_t n;
	int fd = open_file(AT_FDCWD, path, &st, why);
	unsigned char *text = fd < 0 ? NULL : slurp(fd, (size_t)st.st_size, &n, why);
	bool ok = text && pqtls_certs_parse(to, text, n, why);

	free(text);
	return ok;
}

bool pqtls_crls_file(mbedtls_x509_crl *to, const char *path, struct pqtls_why *why)
{
	struct stat st;
	size_t n;
	int fd = open_file(AT_FDCWD, path, &st, why);
	unsigned char *text = fd < 0 ? NULL : slurp(fd, (size_t)st.st_size, &n, why);
	bool ok = text && pqtls_crls_parse(to, text, n, why);

	free(text);
	return ok;
}

/* Named as OpenSSL's folders have it (1a2b3c4d.r0), or by the usual ending; others show by what they hold. */
static bool named_as_list(const char *name)
{
	size_t n = strlen(name);

	return (strspn(name, "0123456789abcdef") == 8 && name[8] == '.' && name[9] == 'r' && n > 10 &&
		strspn(name + 10, "0123456789") == n - 10) ||
	       (n > 4 && strcmp(name + n - 4, ".crl") == 0);
}

bool pqtls_crls_dir(mbedtls_x509_crl *to, const char *path, struct pqtls_why *why)
{
	struct pqtls_why sub;
	DIR *d = opendir(path);
	bool ok = true;

	if (!d)
		return fail(why, strerror(errno));
	for (struct dirent *e; ok && (e = readdir(d));) {
		struct stat st;
		size_t n;
		bool named = named_as_list(e->d_name);

		if (e->d_name[0] == '.')
			continue;
		int fd = open_file(dirfd(d), e->d_name, &st, &sub);
		unsigned char *text = fd < 0 ? NULL : slurp(fd, (size_t)st.st_size, &n, &sub);

		if (!text)
			ok = !named;
		else if (named || has(text, n, "-----BEGIN X509 CRL-----"))
			ok = pqtls_crls_parse(to, text, n, &sub);
		if (!ok)
			snprintf(why->text, sizeof(why->text), "%.200s: %.250s", e->d_name, sub.text);
		free(text);
	}
	closedir(d);
	return ok;
}

bool pqtls_crl_covers(const mbedtls_x509_crl *crl, const mbedtls_x509_crt *crt)
{
	for (; crl; crl = crl->next)
		if (crl->version && crl->issuer_raw.len == crt->issuer_raw.len &&
		    memcmp(crl->issuer_raw.p, crt->issuer_raw.p, crt->issuer_raw.len) == 0)
			return true;
	return false;
}

/* As libpq wants it: nobody else reads the key, or it is root's and a group may. */
static bool private_enough(const struct stat *st, struct pqtls_why *why)
{
	mode_t others = st->st_uid == 0 ? S_IWGRP | S_IXGRP | S_IRWXO : S_IRWXG | S_IRWXO;

	if (!(st->st_mode & others))
		return true;
	return fail(why, "others may read or change it: its mode must be 0600, or 0640 when it is root's");
}

bool pqtls_key_file(mbedtls_pk_context *to, const char *path, const char *password, struct pqtls_why *why)
{
	struct stat st;
	size_t n, len = password ? strlen(password) : 0;
	int fd = open_file(AT_FDCWD, path, &st, why);

	if (fd >= 0 && !private_enough(&st, why)) {
		close(fd);
		return false;
	}
	unsigned char *text = fd < 0 ? NULL : slurp(fd, (size_t)st.st_size, &n, why);

	if (!text)
		return false;
	int rc = mbedtls_pk_parse_key(to, text, given(text, n), (const unsigned char *)password, len, pqtls_random, NULL);

	mbedtls_platform_zeroize(text, n);
	free(text);
	if (rc == 0)
		return true;
	if (rc == MBEDTLS_ERR_PK_PASSWORD_REQUIRED || (rc == MBEDTLS_ERR_PK_PASSWORD_MISMATCH && !len))
		return fail(why, "it is encrypted and no sslpassword was given");
	if (rc == MBEDTLS_ERR_PK_PASSWORD_MISMATCH)
		return fail(why, "sslpassword does not open it");
	return fail_tls(why, "no private key can be read from it", rc);
}
