/*
 * named.h - places that permits name, and moves out of them.
 *
 * An image that is moved on keeps as its origin the first place that it was
 * in, or the first that matters to the policy: one that a permit names, or one whose
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
 * home_lineage_restricted tells whether a permit in force, of any party, says
 * sealed or refuse of one of some relations, as relation_lineage() has them.
 */
extern bool home_lineage_restricted(const List *lineage);

/*
 * home_lineage_widens tells whether the client of this session, by its own
 * permits, has images of a kind sealed or refused where they are, and would
 * get more of them where they go. Lineages as relation_lineage().
 */
extern bool home_lineage_widens(List *from, List *to, ImageKind kind);

#endif
