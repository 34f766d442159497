/*
 * attach.h - what the files that keep up with DDL share.
 *
 * For extension/trigger only.
 */
#ifndef BIOMETRIC_TRIGGER_ATTACH_H
#define BIOMETRIC_TRIGGER_ATTACH_H

#include "postgres.h"

#include "access/attnum.h"
#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"
#include "nodes/nodes.h"
#include "utils/relcache.h"

#include "core/entry.h"

/* attach_init registers the transaction callbacks of attach.c and receiver.c; from trigger_init. */
extern void attach_init(void);

/* ---- install.c: the triggers of one table */

/*
 * install_check_columns refuses what cannot be guarded: columns that hold images inside of
 * other types, and generated columns of an image type. relation: open and locked.
 * Errors: 0A000.
 */
extern void install_check_columns(Relation relation);

/*
 * install_triggers attaches the three triggers to a table that has image columns and lacks
 * any of them, and drops them from one that has none. Returns true when it attached some.
 * relation: OID of a table that holds rows; takes SHARE ROW EXCLUSIVE to attach.
 * Errors: 55000 when the extension's functions are not there.
 */
extern bool install_triggers(Oid relation);

/* ---- sweep.c: rows that were stored without row triggers */

typedef struct Sweep
{
	const Bitmapset *attributes; /* columns to look at; NULL: all */
	bool adopt;					 /* a custodian vouches for them: see adopt() */
	const Bitmapset *anew; /* columns that record also images that are bound to them already */
	bool enrol;	   /* images that have come in by a rewrite keep within what collect() declared */
	bool describe; /* all images are recorded, and left as they are: see describe_collection() */
} Sweep;

/*
 * sweep_rows looks for images of a table that are marked as imported or not bound to their
 * column, binds them (imported ones only when they are adopted), and queues `stored`. No
 * trigger of a user's fires, no rule and no row security applies; functions in indexes run as
 * the table's owner, security-restricted, with pg_catalog as their search path.
 * relation: OID of a table; takes SHARE ROW EXCLUSIVE.
 * Returns the number of images recorded. Errors: image_bind's; 55000 for a published table
 * without replica identity.
 */
extern uint64 sweep_rows(Oid relation, const Sweep *sweep);

/* ---- adopt.c: tables that come under guard after the fact */

/*
 * adopt_tables locks a table and its heirs in SHARE ROW EXCLUSIVE mode; returns the OIDs of those that hold
 * rows. Errors: 42809 for what is no table.
 */
extern List *adopt_tables(Oid relation);

/* ---- dropped.c: images that go with what holds them */

/*
 * dropped_count counts the images of a relation's columns by attribute number - 1, by a
 * scan that reads no image. columns: attribute numbers; NULL: those of image types.
 * Result: an array of natts, in the current memory context; NULL when there are no such
 * columns, nothing is stored, or the relation is another session's temporary table, which
 * only that one can read. relation: open and locked.
 */
extern uint64 *dropped_count(Relation relation, const Bitmapset *columns);

/* dropped_queue queues an event for each column with a count. attribute: one column; 0: all. */
extern void dropped_queue(Relation relation, const uint64 *images, AttrNumber attribute,
						  EntryEvent event, EntryOperation operation);

/*
 * dropped_by_server tells whether the server itself drops something: a transient heap
 * whose content lives on, or temporary tables at the end of a transaction or session,
 * when nothing can be put on record any more. flags: as ObjectAccessDrop's.
 */
extern bool dropped_by_server(int flags);

/*
 * dropped_object queues `dropped` for a relation or column that is about to be dropped.
 * attribute: 0 for the relation. flags: as ObjectAccessDrop's. Returns true when it has a home.
 */
extern bool dropped_object(Oid relation, AttrNumber attribute, int flags);

/* ---- kept.c: images that are held */

/*
 * kept_table refuses to lose a held image of a relation, or of one of its columns (0: all); what:
 * as hold_refuse's. kept_column returns the hold that one is under, or 0. Both scan the relation,
 * which is open and locked against writers, if there is any hold, and do nothing for temporary
 * tables. Errors: 55006; 22P03 for a damaged image.
 */
extern void kept_table(Relation relation, AttrNumber attribute, const char *what);
extern int64 kept_column(Relation relation, AttrNumber attribute);

/*
 * kept_images collects the held images of a relation, in the current memory context; NULL: there
 * are none. kept_found takes an image out of such a set (or does nothing, of NULL); kept_missing
 * refuses if any is left.
 */
extern struct HTAB *kept_images(Relation relation);
extern void kept_found(struct HTAB *images, const uint8 *image_id);
extern void kept_missing(struct HTAB *images, const char *what);

/*
 * kept_dropping refuses to drop a column (0: a relation) with held images. Called for each
 * relation that is about to be dropped, indexes of TOAST tables, too, and those of the
 * extension itself, which goes with no hold. flags: as ObjectAccessDrop's. Errors: as kept_table.
 */
extern void kept_dropping(Oid relation, AttrNumber column, int flags);

/* ---- receiver.c: relations that queries fill */

/* receiver_note_created notes a relation that has been made; internal: a transient heap or the like. */
extern void receiver_note_created(Oid relation, bool internal);

/* receiver_utility_end ends what was noted for a utility command, and records REFRESH WITH NO DATA. */
extern void receiver_utility_end(Node *statement);

/* receiver_forget forgets everything; at the end of a transaction. Never raises. */
extern void receiver_forget(void);

/* receiver_end_of_subtransaction hands notes to the parent, or forgets them. Never raises. */
extern void receiver_end_of_subtransaction(bool committed, SubTransactionId mine,
										   SubTransactionId parent);

/* receiver_rewritten returns the relation that a new one is the transient heap of, or InvalidOid. */
extern Oid receiver_rewritten(Oid transient);

/*
 * receiver_refreshing returns the materialized view that is being refreshed, or
 * InvalidOid. transient: set to the heap that takes its new rows, unless NULL.
 */
extern Oid receiver_refreshing(Oid *transient);

/* ---- lineage.c: permits for a table are permits for what descends from it */

/*
 * lineage_check_dropping refuses to drop a relation, or one of its columns (0: all), with
 * images that a permit restricts: one that names it, to everybody; one that names an ancestor,
 * to others than custodians, and to a custodian alone while two persons are asked for.
 * The caller holds the locks of the command. Errors: 42501, recorded.
 */
extern void lineage_check_dropping(Oid relation, AttrNumber column);

#endif
