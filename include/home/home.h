/*
 * home.h - which table column an image was stored in.
 *
 * Each image column of a table that holds rows has a home: a random id that
 * table biometric.home maps to (relation, column). An envelope carries the
 * home that it was bound to last, and its origin, the home that it was bound
 * to first. An id is never an OID, so that it means nothing in another
 * database unless its row of biometric.home was restored there, too.
 *
 * Rows of this database's own log count by (relation, attribute number).
 * Restored rows count by (relation, column name), and only if their log was
 * adopted by fork_ledger().
 */
#ifndef BIOMETRIC_HOME_HOME_H
#define BIOMETRIC_HOME_HOME_H

#include "postgres.h"

#include "access/attnum.h"

#include "core/envelope.h"

typedef struct HomeColumn
{
	Oid relation;
	AttrNumber attribute; /* InvalidAttrNumber: the column is gone */
} HomeColumn;

/* home_init registers the invalidation callbacks of this room; from _PG_init. */
extern void home_init(void);

/*
 * home_of_column returns the home of a column, which is made if there is none.
 * Needs a transaction that may write; cached. relation: OID of a table or
 * materialized view. home: ENVELOPE_HOME_SIZE bytes, filled in.
 * Errors: 55000 when the extension's table is not there.
 */
extern void home_of_column(Oid relation, AttrNumber attribute, uint8 *home);

/*
 * home_prepare_column makes the home of a column where that holds nobody up: of a table that is
 * new, or locked. Does nothing when there is one, or when homes cannot be made yet: the log has
 * no identity, or pg_upgrade is about to bring it. Arguments as home_of_column's.
 */
extern void home_prepare_column(Oid relation, AttrNumber attribute);

/*
 * home_find looks a home up; false when it is zero, unknown, of a log that
 * was not adopted, or its relation is gone. Needs a transaction; cached,
 * negative answers, too. home: ENVELOPE_HOME_SIZE bytes.
 */
extern bool home_find(const uint8 *home, HomeColumn *column);

/*
 * home_may_import tells whether a value that claims to be of a home, and was
 * given from outside, may count as that home's: each of session user, outer
 * user (SET ROLE) and current user is a custodian or a superuser, or has
 * SELECT on the home's column with no row-level security applying, there or at
 * the same column of a table that it inherits from. A backend
 * of logical replication is judged by the subscription's owner alone, who
 * must be a superuser or custodian.
 */
extern bool home_may_import(const uint8 *home);

/* home_may_restore tells whether all of these users are custodians or superusers. */
extern bool home_may_restore(void);

/*
 * home_may_open tells whether the gate may open an imported value: session,
 * outer and current user all have SELECT on the home's column, with no
 * row-level security there, or so at a table that it inherits from. Being a
 * custodian does not help.
 */
extern bool home_may_open(const uint8 *home);

/*
 * home_sync brings biometric.home in line with the catalogs: rows of relations
 * and columns that are gone are deleted, names of columns renewed. Called by
 * trigger/attach at the end of a command that dropped or renamed some.
 */
extern void home_sync(void);

#endif
