/* Randomness from getrandom(2) alone: libpq without OpenSSL would open /dev/urandom, which an empty chroot lacks. */
#include "pqtls.h"

#include <errno.h>
#include <sys/random.h>

/* libpq's own, declared in port.h */
void pg_strong_random_init(void);
bool pg_strong_random(void *to, size_t n);

void pg_strong_random_init(void)
{
}

bool pg_strong_random(void *to, size_t n)
{
	unsigned char *p = to;

	while (n) {
		ssize_t got = getrandom(p, n, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return false;
		p += got;
		n -= (size_t)got;
	}
	return true;
}

int pqtls_random(void *ctx, unsigned char *to, size_t n)
{
	return pg_strong_random(to, n) ? 0 : MBEDTLS_ERR_PK_BAD_INPUT_DATA;
}
