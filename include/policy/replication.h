/*
 * replication.h - who may connect for replication.
 *
 * Replication connections (pg_basebackup, pg_receivewal, standbys, logical
 * subscribers) come before a database is known. The policy of the database
 * named by biometric_audit.replication_database serves them, as its worker
 * has published it or, right after a restart, as kept.h remembers it. Neither
 * there means refuse. A standby, which cannot append to the ledger, goes by
 * biometric_audit.replication_networks and records nothing but a line in
 * the server's log.
 */
#ifndef BIOMETRIC_POLICY_REPLICATION_H
#define BIOMETRIC_POLICY_REPLICATION_H

#include "postgres.h"

#include "libpq/libpq-be.h"

/* replication_define_settings: the two settings named above; from policy_define_settings. */
extern void replication_define_settings(void);

/* replication_is_served_by tells whether a database is the one that serves replication; name may be NULL. */
extern bool replication_is_served_by(const char *name);

/*
 * replication_check_client refuses an authenticated connection (FATAL, 42501,
 * with DETAIL and HINT) that wants replication and whose network is not
 * registered, whose party's contract is over or quarantined, or which has no
 * permit, of any delivery but refuse, for every kind and every table; records
 * it (`replication`, or `refused`) durably in the ledger of the replication
 * database, and refuses what that ledger cannot record within
 * biometric_audit.ledger_timeout.
 * Returns at once for other connections. From ClientAuthentication_hook, after
 * authentication succeeded. Any doubt refuses; only where no database of the
 * cluster has a ledger, and none is named, everything passes.
 */
extern void replication_check_client(Port *port, int status);

#endif
