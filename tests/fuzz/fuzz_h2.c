/* HTTP/2: a whole session after the preface, frames that may be anything. */
#include "session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (n < 65536)
		session_run(STR("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"), data, n);
	return 0;
}
