/*
 * named.h - places that permits name, and moves out of them.
 *
 * An image that is moved on keeps as its origin the first place that it was
 * in, or the first that matters to the policy: one that a permit names, one with a retention
 * period, or one whose
 * images the client that moves it may itself only have sealed, when the place that it
 * moves it to would give it more. The gate judges it by its origin, too, wherever it goes.
 */
#ifndef BIOMETRIC_HOME_NAMED_H
#define BIOMETRIC_HOME_NAMED_H

#include "postgres.h"

#include "core/envelope.h"
#include "nodes/pg_list.h"

/*
 * home_origin returns the origin that an image is to have in the column that
 * it is about to be stored in: header's own, header's home, or home. header:
 * as it was read. Borrowed from the arguments. Needs a transaction.
 */
extern const uint8 *home_origin(const uint8 *home, const EnvelopeHeader *header);

/*
 * home_lineage_restricted tells whether a permit that is not revoked, of any party,
 * restricts one of some relations, as relation_lineage() has them: delivery sealed
 * or refuse, a quota, or marking. home_restricted tells so of one relation, its ancestors
 * not counted; home_lineage_named whether any permit names one of some. All read the
 * permits as they are committed now.
 */
extern bool home_lineage_restricted(const List *lineage);
extern bool home_restricted(Oid relation);
extern bool home_lineage_named(const List *lineage);

/*
 * home_has_past tells whether a home is one of a column that was dropped while a retention period
 * was in force for it, which no custodian has ended since. Needs a transaction.
 */
extern bool home_has_past(const uint8 *home);

/*
 * home_lineage_widens tells whether any party would get more of images, where they go,
 * than its permits give it where they are: with whatever purpose, with TLS or without.
 * Images that no permit of a party speaks of where they are do not count for it.
 * Lineages as relation_lineage(); kinds: bit 1 << ImageKind. True when permits
 * name one of the relations, but no policy is in force.
 */
extern bool home_lineage_widens(List *from, List *to, uint32 kinds);

#endif
