/*
 * internal.h - marks the short stretches in which our own code writes to the
 * extension's tables, which everybody else is refused.
 *
 * A mark of the backend, taken back when a transaction ends: an error between
 * begin and end cannot leave the door ajar.
 */
#ifndef BIOMETRIC_BASE_INTERNAL_H
#define BIOMETRIC_BASE_INTERNAL_H

#include "postgres.h"

/* internal_init registers the transaction callback; from _PG_init. */
extern void internal_init(void);

/* Which tables a stretch is for: a trigger on one sort must not write the other. */
typedef enum InternalTables
{
	INTERNAL_NONE = 0,
	INTERNAL_LEDGER = 1, /* what the ledger is made of: entries, tree, checkpoints, logs */
	INTERNAL_POLICY = 2	 /* all others */
} InternalTables;

/* internal_write_begin opens a stretch; internal_write_end closes it. Stretches do not nest. */
extern void internal_write_begin(InternalTables tables);
extern void internal_write_end(void);

/*
 * How deep the backend is in statements run by statements, or by the planner:
 * 0 is what the client sent. Counted by the hooks alone.
 */
extern void internal_depth_enter(void);
extern void internal_depth_leave(void);
extern int internal_depth(void);

/*
 * internal_write_depth returns the depth at which our own code opened the
 * stretch: what runs deeper is a trigger's, not ours.
 */
extern int internal_write_depth(void);

/* internal_write_tables returns which tables our own code is writing to, or INTERNAL_NONE. */
extern InternalTables internal_write_tables(void);

/*
 * internal_ddl_begin opens a stretch in which our own code changes catalogs:
 * attaches triggers, drops or keeps up its objects; internal_ddl_end closes
 * it. Stretches nest; an error ends them all with its (sub)transaction.
 * internal_ddl tells whether one is open.
 */
extern void internal_ddl_begin(void);
extern void internal_ddl_end(void);
extern bool internal_ddl(void);

/*
 * internal_tables_of returns which sort a relation is: INTERNAL_NONE unless it
 * is a table of the extension. Needs a transaction.
 */
extern InternalTables internal_tables_of(Oid relation);

/*
 * internal_some_table tells whether something is so of any of the extension's
 * tables of a sort. Needs a transaction.
 */
extern bool internal_some_table(InternalTables tables, bool (*is_so)(Oid relation));

/*
 * extension_oid returns this database's biometric_audit extension, or
 * InvalidOid when it is not installed here (or its installation is being
 * undone). Needs a transaction; cached until pg_extension changes.
 */
extern Oid extension_oid(void);

/*
 * extension_forget empties the cache, when an extension is about to be
 * deleted: its types, whose invalidations do this otherwise, go before it.
 */
extern void extension_forget(void);

/*
 * extension_may_be_here is false in a process without a database, and where it
 * is known that the extension is not installed in this one. Looks nothing
 * up: for code that runs outside of transactions.
 */
extern bool extension_may_be_here(void);

/*
 * extension_created_here tells whether the current transaction itself created
 * the extension, so that no other process can see its tables yet.
 */
extern bool extension_created_here(void);

/*
 * extension_relation returns the OID of one of the extension's own tables, by
 * name in schema biometric, or InvalidOid. Needs a transaction.
 */
extern Oid extension_relation(const char *name);

#endif
