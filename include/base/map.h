/* Hash maps to borrowed pointers: from int64 (ids) and from bytes (names, UUIDs).  Open addressing.
 * Iteration order depends on history: never let it decide anything the engine does. */
#ifndef BASE_MAP_H
#define BASE_MAP_H
#include "base/base.h"

struct imap_slot { int64_t key; void *val; };
struct imap {
	struct imap_slot *slots;
	size_t n, cap;	/* cap is a power of two or 0 */
};
void imap_fini(struct imap *m);					/* not the values */
void *imap_get(const struct imap *m, int64_t key);		/* NULL: absent */
void *imap_put(struct imap *m, int64_t key, void *val);		/* returns the value replaced or NULL; val not NULL */
void *imap_del(struct imap *m, int64_t key);			/* returns the value or NULL */
/* size_t it = 0; while ((val = imap_next(m, &it, &key))) ...; no put/del inside the loop */
void *imap_next(const struct imap *m, size_t *it, int64_t *key);

struct smap_slot { uint64_t hash; struct str key; void *val; };
struct smap {
	struct smap_slot *slots;
	size_t n, cap;
};
void smap_fini(struct smap *m);
void *smap_get(const struct smap *m, struct str key);
void *smap_put(struct smap *m, struct str key, void *val);	/* copies the key */
void *smap_del(struct smap *m, struct str key);
void *smap_next(const struct smap *m, size_t *it, struct str *key);
#endif
