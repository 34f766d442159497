/*
 * internal.h - marks the short stretches in which our own code writes to the
 * extension's tables, which everybody else is refused.
 *
 * A counter of the backend, reset when a transaction ends: an error between
 * begin and end cannot leave the door ajar. Never nested over user code.
 */
#ifndef BIOMETRIC_BASE_INTERNAL_H
#define BIOMETRIC_BASE_INTERNAL_H

#include "postgres.h"

/* internal_init registers the transaction callback; from _PG_init. */
extern void internal_init(void);

/* internal_write_begin opens a stretch; internal_write_end closes it. */
extern void internal_write_begin(void);
extern void internal_write_end(void);

/* internal_write_active tells whether the statement being run is our own. */
extern bool internal_write_active(void);

/*
 * extension_oid returns this database's biometric_audit extension, or
 * InvalidOid when it is not installed here (or its installation is being
 * undone). Needs a transaction; cached until pg_extension changes.
 */
extern Oid extension_oid(void);

/*
 * extension_created_here tells whether the current transaction itself created
 * the extension, so that no other process can see its tables yet.
 */
extern bool extension_created_here(void);

/*
 * extension_relation returns the OID of one of the extension's own relations
 * in schema biometric, or InvalidOid. Needs a transaction; one syscache probe.
 */
extern Oid extension_relation(const char *name);

#endif
