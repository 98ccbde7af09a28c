/* Between flush.c and owner.c. */
#ifndef STORE_FLUSH_INT_H
#define STORE_FLUSH_INT_H
#include "store/flush.h"

/* The query that finds what the loads of committed flush @flush_no moved, NULL when it has none. */
struct db_query *flush_ask_loaded(const struct flush *f, struct arena *a, int64_t flush_no);
/* Its rows stand for the replies that were lost; borrowed until the flush is reset or sent. */
void flush_take_loaded(struct flush *f, const struct db_rows *rows);
#endif
