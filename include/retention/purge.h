/*
 * purge.h - the process that purges expired images, and whether this is it.
 *
 * The ledger's launcher starts a purger for each database that has rules of retention, every
 * biometric_audit.purge_interval. It goes through the tables by blocks, a batch a transaction: rows
 * whose images have expired are emptied or deleted as the table's owner, security-restricted. Where
 * it is stands in biometric.retention, written with each batch, so that after a crash it goes on
 * from there. Rules, holds and rows are looked at anew in each batch.
 *
 * purge_expired() does the same in the caller's transaction.
 */
#ifndef BIOMETRIC_RETENTION_PURGE_H
#define BIOMETRIC_RETENTION_PURGE_H

#include "postgres.h"

#include "access/attnum.h"
#include "storage/itemptr.h"

/* From retention_define_settings, _shmem_request, _shmem_init and _init. */
extern void purge_define_settings(void);
extern void purge_shmem_request(void);
extern void purge_shmem_init(void);
extern void purge_init(void);

/*
 * purge_running tells whether this process is deleting or emptying rows whose images have
 * expired: the row triggers then record `purged` where they would record `erased`.
 */
extern bool purge_running(void);

/*
 * purge_entry returns what is put on record of an image that goes, a JSON object, and counts it as
 * purged; NULL when its row is not being purged, but goes with one that is, by a foreign key or
 * a trigger of the user's: that is `erased`. relation, attribute: its column. row: where the row
 * was.
 * Result: in the current memory context. Call it once an image, while purge_running().
 */
extern char *purge_entry(Oid relation, AttrNumber attribute, const ItemPointerData *row);

#endif
