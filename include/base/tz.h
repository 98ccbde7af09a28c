/* Time zones carried in the file: the offset from UTC of a zone at an instant.  No file of the host is read. */
#ifndef BASE_TZ_H
#define BASE_TZ_H
#include "base/base.h"

struct tz {
	const unsigned char *p;	/* TZif data, NULL: no zone */
	uint32_t n;
};
bool tz_find(struct str name, struct tz *ret) MUST_USE;	/* exact IANA name, links too: "Europe/Berlin", "UTC" */
int32_t tz_offset(struct tz z, int64_t unix_s);			/* seconds east of UTC */
const char *tz_version(void);					/* "2026b" */
unsigned tz_count(void);
const char *tz_name(unsigned i);				/* sorted by bytes */
#endif
