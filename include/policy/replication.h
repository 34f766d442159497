/*
 * replication.h - who may connect for replication.
 *
 * Replication connections (pg_basebackup, pg_receivewal, standbys, logical
 * subscribers) come before a database is known. The policy of the database
 * named by biometric_audit.replication_database serves them (serving.h), as
 * its worker has published it or, right after a restart, as kept.h remembers
 * it. Neither there means refuse. A standby, which cannot append to the
 * ledger, goes by biometric_audit.replication_networks alone, whatever it
 * has a copy of, and records nothing but a line in the server's log.
 *
 * Where the ledger itself waits for a synchronous standby, that standby's entry
 * could become durable only when it is connected. One of a name in
 * synchronous_standby_names that may have replication is therefore let in after
 * a second, when its entry is in the ring, with a line in the server's log.
 */
#ifndef BIOMETRIC_POLICY_REPLICATION_H
#define BIOMETRIC_POLICY_REPLICATION_H

#include "postgres.h"

#include "libpq/libpq-be.h"

/* replication_define_settings: the two settings named above; from policy_define_settings. */
extern void replication_define_settings(void);

/*
 * replication_check_client refuses an authenticated connection (FATAL, 42501,
 * with DETAIL and HINT) that wants replication and whose network is not
 * registered, whose party's contract is over or quarantined, or which has no
 * permit, of any delivery but refuse, for every kind and every table; records
 * it (`replication`, or `refused`) durably in the ledger of the replication
 * database, and refuses what that ledger cannot record within
 * biometric_audit.ledger_timeout.
 * Returns at once for other connections. From ClientAuthentication_hook, after
 * authentication succeeded. Any doubt refuses; only on a primary server where
 * no database has a ledger, and none is named, everything passes.
 */
extern void replication_check_client(Port *port, int status);

#endif
