/* Randomness for mbedTLS: getrandom(2).  Its own way on other C libraries than glibc is /dev/urandom, which a container may lack. */
#include <mbedtls/entropy.h>

#include <errno.h>
#include <stddef.h>
#include <sys/random.h>

int mbedtls_hardware_poll(void *data, unsigned char *to, size_t len, size_t *got)
{
	ssize_t n;

	(void)data;
	do
		n = getrandom(to, len, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return MBEDTLS_ERR_ENTROPY_SOURCE_FAILED;
	*got = (size_t)n;
	return 0;
}
