/* backup_file.c: the form of a backup, a gzip stream of
 *
 *	hatchet backup 1 SCHEMA-VERSION MADE-AT-US
 *	day YYYYMMDD			for each day that has partitions
 *	table NAME COLUMN,COLUMN,...	for each table, then the bytes of its binary COPY in pieces: 4 bytes length, big end first,
 *	...				and bytes, ended by a length of 0
 *	rows N
 *	end ROWS
 */
#ifndef STORE_BACKUP_INT_H
#define STORE_BACKUP_INT_H
#include "store/backup.h"

enum { BACKUP_LINE_MAX = 4000, BACKUP_PIECE_MAX = 512 << 20 };

struct bfile;
struct bfile *bfile_create(const char *path, struct err *err);	/* beside it until bfile_commit */
bool bfile_commit(struct bfile *f, uint64_t *ret_bytes, struct err *err);
struct bfile *bfile_open(const char *path, struct err *err);
void bfile_close(struct bfile *f);	/* what was created and not committed is gone */

bool bfile_put_line(struct bfile *f, struct err *err, const char *fmt, ...) PRINTF(3, 4);
bool bfile_put_piece(struct bfile *f, struct str bytes, struct err *err);	/* empty: the last */
bool bfile_line(struct bfile *f, char line[BACKUP_LINE_MAX], struct err *err);
bool bfile_piece(struct bfile *f, struct str *ret, struct err *err);	/* valid until the next call; empty: there is no more */
bool bfile_end(struct bfile *f, struct err *err);	/* nothing follows, and the checksum is right */
bool bfile_damaged(const struct bfile *f, struct err *err);
#endif
