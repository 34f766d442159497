/*
 * audit.h - what somebody outside can check the ledger by: checkpoints, proofs,
 * exports, anchors.
 *
 * ledger/signer.h signs; this room hands out, takes in and delivers.
 */
#ifndef BIOMETRIC_AUDIT_AUDIT_H
#define BIOMETRIC_AUDIT_AUDIT_H

#include "postgres.h"

/* audit_define_settings defines the room's settings; from _PG_init. */
extern void audit_define_settings(void);

/* audit_register_anchor registers the process that runs biometric_audit.checkpoint_command; from _PG_init. */
extern void audit_register_anchor(void);

#endif
