/*
 * derived.h - the rows of biometric.activity and biometric.traced: in and out.
 *
 * Private to the ledger; activity.h and traced.h are what others read them by.
 */
#ifndef BIOMETRIC_LEDGER_DERIVED_H
#define BIOMETRIC_LEDGER_DERIVED_H

#include "ledger/derive.h"

/*
 * derived_add writes the rows of each block that count entries, numbered from
 * sequence on and in their tables already, have filled. Keeps what is known of the
 * block that is not full; where that is not known, as in a process that has
 * just begun, the block's earlier entries are read. Needs a transaction that writes.
 * Error 42P01 when a table is gone.
 */
extern void derived_add(const uint8 *log_id, int64 segment_size, int64 sequence,
						const StoreEntry *entries, int count);

/* derived_forget forgets that, for processes that write no more. */
extern void derived_forget(void);

/* A look at a row of biometric.traced. Borrowed bytes, valid during the call. */
typedef void (*DerivedTracedLook)(int64 block, const uint8 *stored, Size stored_size,
								  const uint8 *disclosed, Size disclosed_size, void *context);

/*
 * derived_traced looks at a log's rows of biometric.traced, ascending by block.
 * want_stored, want_disclosed: which of the columns to read; the other one comes empty.
 */
extern void derived_traced(const LedgerReader *reader, bool want_stored, bool want_disclosed,
						   DerivedTracedLook look, void *context);

/* A look at a row of biometric.activity; party and user are not filled in. */
typedef void (*DerivedActivityLook)(int64 block, const DerivedActivity *row, void *context);

/*
 * derived_activity looks at a party's rows of a log in biometric.activity, of the blocks from
 * first to last, both included, ascending by block; of NULL: at those of all parties and of all
 * blocks, in no order. party: as derive_name returns it.
 */
extern void derived_activity(const LedgerReader *reader, const char *party, int64 first, int64 last,
							 DerivedActivityLook look, void *context);

#endif
