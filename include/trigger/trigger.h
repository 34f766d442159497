/*
 * trigger.h - row triggers: binding images to their homes and putting every
 * change of them on record.
 *
 * Each table that holds rows and has a column of an image type has three
 * internal triggers, enabled ALWAYS (PostgreSQL neither dumps nor clones
 * them): ~biometric_bind, BEFORE ROW INSERT OR UPDATE; biometric_record,
 * AFTER ROW INSERT OR UPDATE OR DELETE; biometric_truncate, BEFORE TRUNCATE.
 * Partitioned tables have none, their partitions do.
 */
#ifndef BIOMETRIC_TRIGGER_TRIGGER_H
#define BIOMETRIC_TRIGGER_TRIGGER_H

#include "base/compat.h"
#include "catalog/objectaccess.h"
#include "core/envelope.h"
#include "executor/execdesc.h"
#include "utils/relcache.h"

/* trigger_init: transaction callbacks and caches; from _PG_init. */
extern void trigger_init(void);

/*
 * The trigger functions are biometric.bind_trigger(), biometric.record_trigger() and
 * biometric.truncate_trigger(). The name of the first trigger begins with "~", since BEFORE
 * triggers fire in the order of their names and it is to see what the others made of the row.
 */

/* ---- bind.c: what the other files of the room share with the triggers */

/*
 * trigger_bind_value returns an image as it is to be stored in a column: bound to its home,
 * imported cleared if whoever stores it may (home_may_import), and stamped with the time that its
 * retention counts from by its row. counts_from: as row_counts_from; NULL: it keeps what it
 * has. The very Datum if nothing changes. Result: in the current memory context. Errors: as image_bind, home_of_column.
 */
extern Datum trigger_bind_value(const uint8 *home, ImageKind kind, Datum value,
								const int64 *counts_from);

/*
 * trigger_seal_value returns an image that has been bound to a home sealed under the key that
 * the home wants for its time (keys_for_home); the very Datum when that is the one it has, or
 * cannot be opened here.
 * header: of the image, as it was before it was bound. counts_from_ms: as it is now.
 * Result: in the current memory context. Errors: as image_reseal, keys_for_home.
 */
extern Datum trigger_seal_value(const uint8 *home, ImageKind kind, const EnvelopeHeader *header,
								uint64 counts_from_ms, Datum value);

/* ---- attach.c: triggers come and go with columns */

/*
 * attach_object_access notes relations that a command makes, changes or
 * drops; counts the images of those that are dropped and queues `dropped`.
 * Arguments as object_access_hook's.
 */
extern void attach_object_access(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id,
								 void *arg);

/* A utility command that is running; nests as commands do. */
typedef struct AttachCommand
{
	Node *statement;
	int depth;
	struct AttachCommand *outer;
} AttachCommand;

/*
 * attach_enter makes a utility command the running one, at the depth that internal_depth() says;
 * attach_leave makes the outer one that again, also after an error. Neither raises. command: the
 * caller's, until attach_leave.
 */
extern void attach_enter(AttachCommand *command, Node *statement);
extern void attach_leave(const AttachCommand *command);

/*
 * attach_utility_end attaches triggers to, and binds and records the images
 * of, the relations that were noted, once the utility command that changed
 * them has succeeded. Called by the utility hook at every depth.
 * Errors: 0A000 for columns that hold images inside arrays, composites or
 * ranges, for generated columns of an image type.
 */
extern void attach_utility_end(Node *statement);

/*
 * attach_check_lineage refuses ALTER TABLE, by others than custodians, and by a custodian alone
 * while two persons are asked for, that takes a table out of one that a permit restricts
 * (DETACH PARTITION, NO INHERIT), or into one of which some party may have more than
 * of itself (ATTACH PARTITION, INHERIT). Called before the command. command: command tag. Errors: 42501, recorded.
 */
extern void attach_check_lineage(Node *statement, const char *command);

/*
 * attach_check_writes refuses a statement that writes to a table with image
 * columns that lacks its triggers (made while the library was not loaded).
 * Returns false or raises 55000 according to abort_on_violation.
 */
extern bool attach_check_writes(List *permission_infos, bool abort_on_violation);

/* ---- receiver.c: rows that are stored without row triggers */

/*
 * binder_wanted tells whether a query's rows go into a table that CREATE
 * TABLE AS or REFRESH MATERIALIZED VIEW fills, and have image columns.
 * binder_create puts a destination before query->dest that binds their
 * images to the new table's homes and records them; binder_free ends it.
 * As gate_create and gate_free.
 */
extern bool binder_wanted(QueryDesc *query);
extern DestReceiver *binder_create(QueryDesc *query);
extern void binder_free(DestReceiver *binder);

#endif
