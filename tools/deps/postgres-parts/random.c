#include "c.h"
#include <errno.h>
#include <sys/random.h>

void
pg_strong_random_init(void)
{
}

bool
pg_strong_random(void *buf, size_t len)
{
	char	   *p = buf;

	while (len > 0)
	{
		ssize_t		n = getrandom(p, len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		len -= n;
	}
	return true;
}
