/*
 * rules.h - the rules of retention, as they are in the table and as they are published.
 *
 * For extension/retention only.
 */
#ifndef BIOMETRIC_RETENTION_RULES_H
#define BIOMETRIC_RETENTION_RULES_H

#include "postgres.h"

#include "access/attnum.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

#include "retention/retention.h"

/* A row of biometric.retention that counts; plain data, as it is published. */
typedef struct RetentionEntry
{
	Oid relation;
	AttrNumber attribute;
	AttrNumber time; /* InvalidAttrNumber: the sealing time counts */
	Interval period;
	RetentionExpiry on_expiry;
	bool in_force;
	bool stamped;
} RetentionEntry;

/* The longest period, in years. */
#define RETENTION_MAX_YEARS 1000

/*
 * rules_read returns the entries of this database's own logs, as committed now or by this
 * transaction: palloc'd, their number in count. Needs a transaction.
 */
extern RetentionEntry *rules_read(int *count);

/*
 * rules_choose returns the entry for a column (by name, in the first relation of a lineage):
 * the nearest generation's, the shortest period of these; NULL: there is none. Needs a transaction.
 */
extern const RetentionEntry *rules_choose(const RetentionEntry *entries, int count,
										  const List *lineage, const char *column);

/*
 * rules_unstamp takes back that the images of some rules (const RetentionEntry *) have their rows'
 * times: purging begins anew and stamps first. What is in force stays so.
 */
extern void rules_unstamp(const List *entries);

/*
 * rules_past finds what was in force for a column that is gone, by its home; false: nothing. timed:
 * whether it counted from a time column. Needs a transaction. rules_any_past tells whether there
 * is any such column.
 */
extern bool rules_past(const uint8 *home, Interval *period, bool *timed);
extern bool rules_any_past(void);

/* rules_past_init has transactions that drop such a column refuse to be prepared; from _PG_init. */
extern void rules_past_init(void);

/*
 * rules_note_past has the gate look for such columns from now on, in the database of a slot: said
 * before the transaction that drops one commits, and once too often is no harm.
 */
extern void rules_note_past(int slot);

/*
 * rules_add returns a time, microseconds since 2000-01-01, plus a period, in UTC. It never overflows
 * for a time that is past.
 */
extern TimestampTz rules_add(TimestampTz time, const Interval *period);

/*
 * rules_check_custodian refuses, by rule lineage, what takes a relation's images out of a rule, or
 * changes what they count from, unless one custodian decides. Errors: 42501.
 */
extern void rules_check_custodian(Oid relation);

/* rules_type_is_time tells whether images can count from a column of a type, or of a domain over one. */
extern bool rules_type_is_time(Oid type);

/* rules_table returns the OID of biometric.retention, InvalidOid when it is not there. */
extern Oid rules_table(void);

/* retention_capacity returns biometric_audit.max_retention_rules. */
extern int retention_capacity(void);

#endif
