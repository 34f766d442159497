/*
 * checkpoint.h - the checkpoints that are handed out, and what witnesses sign.
 *
 * Private to the audit room. Client backends only; everything needs a transaction.
 */
#ifndef BIOMETRIC_AUDIT_CHECKPOINT_H
#define BIOMETRIC_AUDIT_CHECKPOINT_H

#include "postgres.h"

#include "utils/snapshot.h"

#include "core/note.h"
#include "ledger/store.h"

/* A checkpoint with the signatures of witnesses below its own. */
typedef struct CosignedCheckpoint
{
	uint8 log_id[LEDGER_LOG_ID_SIZE];
	int64 size; /* entries */
	char *note; /* palloc'd, UTF-8, NUL-terminated */
	Size length;
} CosignedCheckpoint;

/*
 * cosigned_newest returns the newest checkpoint of the present log, and waits for one
 * that covers size entries where a worker signs; size -1: all that are durable now. Errors:
 * 55000 when there is none; 57014 on cancel.
 */
extern void cosigned_newest(int64 size, CosignedCheckpoint *newest);

/* cosigned_stored returns the earliest that covers size entries; false: none. */
extern bool cosigned_stored(int64 size, CosignedCheckpoint *stored);

/* audit_snapshot returns a registered snapshot of what is committed now. */
extern Snapshot audit_snapshot(void);

/* audit_present_log returns the id of the present log. Error 55000 when there is none. */
extern void audit_present_log(uint8 *log_id);

/*
 * audit_text makes a text of UTF-8, in the database's encoding; utf8 is NUL-terminated. Error
 * 22P05 when that does not have all of its characters.
 */
extern text *audit_text(const char *utf8, Size length);

/* audit_bytes makes a bytea. */
extern bytea *audit_bytes(const char *bytes, Size length);

/* audit_witness_count and audit_witness give the keys of biometric_audit.witnesses, from 0. */
extern int audit_witness_count(void);
extern const NoteKey *audit_witness(int index);

#endif
