/*
 * anchor.h - delivers checkpoints outside of the server.
 *
 * One process for the whole server, connected to no database. For each slot
 * it runs biometric_audit.checkpoint_command with the newest checkpoint that the slot's
 * worker has published: at least once, the newest first, one at a time, and again after a
 * growing pause when it fails. What has been delivered is known in shared memory
 * only (ledger/anchor.h), so that after a restart the newest is delivered again.
 * On a standby there is no such process.
 *
 * Exit status 3 of the command, with a first line of output that begins with
 * "superseded", says that somebody else continues the log: its worker is asked
 * to close this copy (ledger_fence).
 */
#ifndef BIOMETRIC_AUDIT_ANCHOR_H
#define BIOMETRIC_AUDIT_ANCHOR_H

#include "postgres.h"

/* anchor_define_settings: checkpoint_command, checkpoint_command_timeout; part of audit_define_settings. */
extern void anchor_define_settings(void);

#endif
