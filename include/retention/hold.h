/*
 * hold.h - images that must be kept, whatever else says that they go.
 *
 * biometric.hold has a row a hold; biometric.held a row an image under it with the key that it
 * is sealed under, until it is released. Rows count whatever log they are of, so that what was held
 * is held after a restore, before fork_ledger() as well. An image is held by its id: none of
 * its copies in tables and materialized views goes, temporary tables excepted, which the server
 * empties without asking. The key of the copy that the hold found is not shredded.
 *
 * Whoever is about to lose an image asks here first, and so takes ROW EXCLUSIVE on biometric.held
 * until its transaction ends; legal_hold() takes SHARE ROW EXCLUSIVE there before it looks for
 * images. So it waits for all that is about to lose one and then sees what they left; who comes
 * later
 * waits for it and then sees the hold.
 */
#ifndef BIOMETRIC_RETENTION_HOLD_H
#define BIOMETRIC_RETENTION_HOLD_H

#include "base/compat.h"

#include "core/envelope.h"
#include "utils/relcache.h"

/*
 * hold_any tells, for next to nothing, whether any image of this database may be held. From then
 * on, until the transaction ends, no hold is placed. Needs a transaction; false without the
 * extension.
 */
extern bool hold_any(void);

/*
 * hold_of returns a hold (its id) that an image is under, as committed by now or of this
 * transaction, whatever its snapshot shows; 0: none. Asks hold_any first.
 */
extern int64 hold_of(const uint8 image_id[ENVELOPE_ID_SIZE]);

/* hold_of_value is hold_of for an image Datum. Errors: image_read_header's. */
extern int64 hold_of_value(ImageKind kind, Datum image);

/* hold_of_key returns a hold that an image sealed under a key is under; 0: none. As hold_of. */
extern int64 hold_of_key(uint32 key_id);

/*
 * hold_first returns any hold; 0: there is none. Reads the table alone, whose indexes may be
 * gone.
 */
extern int64 hold_first(void);

/*
 * hold_keeps tells whether the images of a relation are kept for holds: false for temporary
 * tables, and as long as there is no hold (hold_any). relation: open and locked.
 */
extern bool hold_keeps(Relation relation);

/*
 * hold_refuse raises 55006 for a statement that would lose a held image; what: "replace",
 * "erase", "truncate", "drop" and the like. Names the hold; HINT release_hold().
 */
pg_noreturn extern void hold_refuse(int64 hold, const char *what);

/*
 * hold_resealed writes down that an image of a permanent table, which is under some hold, was
 * sealed
 * again under another key, in the same transaction. relation: where. The old key is kept, too,
 * unless the hold was placed on that relation or an ancestor: another copy may have it. Does
 * nothing for an image that is not held.
 */
extern void hold_resealed(Oid relation, const uint8 image_id[ENVELOPE_ID_SIZE], uint32 old_key,
						  uint32 new_key);

#endif
