/* The audit: memory against the tables, and the tables against themselves, while everything goes on. */
#ifndef SVC_VERIFY_H
#define SVC_VERIFY_H
#include "store/verify.h"
#include "svc/svc.h"

/* Of one tenant; @ret is initialised by this and lives until @op.  One at a time: PRECONDITION.  UNAVAILABLE: not active, or no longer. */
void svc_verify(struct svc *s, struct arena *a, int32_t tenant_no, struct verify_report *ret, struct op *op);
#endif
