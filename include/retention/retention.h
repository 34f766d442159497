/*
 * retention.h - how long images are kept, and whether one has expired.
 *
 * biometric.retention has a row a column that retain() was called for; it counts for the
 * column of the same name of partitions and heirs, too, unless they have a row of their own. The
 * worker publishes the rules; the release gate asks for each image, by its home and by its origin:
 * a copy does not outlive what it is a copy of.
 *
 * An image's time is counts_from in its header (core/envelope.h), written when it is bound to a
 * column with a time column; where that is 0, its sealing time. counts_from is signed, ms since
 * 1970-01-01 UTC: times before 1970 are negative, and 1970-01-01 00:00 itself is taken for a
 * millisecond later.
 */
#ifndef BIOMETRIC_RETENTION_RETENTION_H
#define BIOMETRIC_RETENTION_RETENTION_H

#include "postgres.h"

#include "access/attnum.h"
#include "core/envelope.h"
#include "datatype/timestamp.h"
#include "nodes/nodes.h"
#include "nodes/pg_list.h"

typedef enum RetentionExpiry
{
	EXPIRY_ERASE = 1,  /* the image is set to NULL */
	EXPIRY_DELETE = 2, /* its row is deleted */
	EXPIRY_SHRED = 3   /* its key is shredded, with all images of its period */
} RetentionExpiry;

typedef struct RetentionRule
{
	Oid relation;		  /* that retain() named */
	AttrNumber attribute; /* of it */
	NameData column;
	Interval period;
	RetentionExpiry on_expiry;
	bool in_force;		  /* the gate goes by it; false: images are still being stamped */
	bool stamped;		  /* all images have their rows' times; nothing is purged before */
	NameData time_column; /* empty: the sealing time counts */
} RetentionRule;

/* retention_define_settings, retention_shmem_*, retention_init: from main.c. */
extern void retention_define_settings(void);
extern void retention_shmem_request(void);
extern void retention_shmem_init(void);
extern void retention_init(void);

/*
 * retention_publish_init registers the worker's task that publishes the rules; from _PG_init,
 * before policy_init: what is permitted is not to be published ahead of what has expired.
 */
extern void retention_publish_init(void);

/*
 * retention_rule_of finds the rule for a column of a table: its own, or its nearest ancestor's
 * (the shortest of several as near), as the table has it: committed, or changed by this
 * transaction. lineage: as relation_lineage() (base/lineage.h), the column's relation first.
 * False: there is none. Needs a transaction.
 */
extern bool retention_rule_of(const List *lineage, const char *column, RetentionRule *rule);

/*
 * retention_table returns the OID of biometric.retention, InvalidOid when it is not there. A
 * relcache invalidation of it is sent with each change of a rule, not of its progress.
 */
extern Oid retention_table(void);

/*
 * retention_over tells whether a period is over for an image, by its authenticated header
 * alone. now: microseconds since 2000-01-01 UTC. retention_time returns what its period counts
 * from, likewise; false for a time that no clock shows, which is to be taken for long ago.
 */
extern bool retention_over(const EnvelopeHeader *header, const Interval *period, TimestampTz now);
extern bool retention_time(const EnvelopeHeader *header, TimestampTz *time);

/*
 * retention_expired tells whether an image must not be opened any more: now is behind the time
 * that it counts from plus the period of a rule in force, of its home's column or of its
 * origin's. header: authenticated. Cached by home; fails closed: when the rules are not
 * published, true.
 * Needs a transaction.
 */
extern bool retention_expired(const EnvelopeHeader *header);

/* retention_generation changes with each publication of other rules. */
extern uint64 retention_generation(void);

/*
 * retention_counts_from_value returns what an image's retention counts from, by its row: the
 * value of the rule's time column, as ms since 1970-01-01 UTC (dates and timestamps are taken for
 * UTC), rounded down; 0 when it is null, infinite, or of a type that is no time.
 * type: without domains.
 */
extern int64 retention_counts_from_value(Datum value, bool isnull, Oid type);

/*
 * retention_stamp returns what counts_from of an image is to be in a column with a time column.
 * home: the column's. counts_from: as retention_counts_from_value. It is that, but for
 * an image that comes from another column with a rule: the earlier of that and of what it
 * counts from already. Needs a transaction; cached by the image's origin.
 */
extern int64 retention_stamp(const EnvelopeHeader *header, const uint8 *home, int64 counts_from);

/*
 * retention_sync brings biometric.retention in line with the catalogs: rows of relations and
 * columns that are gone are deleted, names renewed; a time column that is gone, or is no time any
 * more, is taken out. Called by trigger/attach at the end of a command that changed some. Errors:
 * 42501 unless one custodian decides, when heirs keep a column whose rule is gone.
 */
extern void retention_sync(void);

/*
 * retention_joined has purging stamp the images of a table that an ALTER TABLE has attached
 * as a partition, or has made inherit, and that has come under a rule with a time column
 * by it; and of one whose time column has got another type, for which it takes a custodian (42501).
 * After the command. Takes SHARE ROW EXCLUSIVE on the table's heirs where there is any such rule.
 */
extern void retention_joined(Node *statement);

/*
 * retention_note_dropping keeps the rule in force for a column that is about to be dropped (0: all
 * columns of the relation): copies of its images go by it still.
 */
extern void retention_note_dropping(Oid relation, AttrNumber attribute);

#endif
