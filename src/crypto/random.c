/* Random bytes from the kernel.  No state of our own, so nothing to seed or to leak. */
#include "crypto/random.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

void random_bytes(void *p, size_t n)
{
	uint8_t *at = p;

	while (n) {
		ssize_t got = getrandom(at, n, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			/* guessable keys would be worse than no server */
			perror("getrandom");
			abort();
		}
		at += got;
		n -= (size_t)got;
	}
}

void random_uuid(struct uuid *ret)
{
	random_bytes(ret->b, sizeof(ret->b));
	ret->b[6] = (uint8_t)((ret->b[6] & 0x0f) | 0x40);
	ret->b[8] = (uint8_t)((ret->b[8] & 0x3f) | 0x80);
}
