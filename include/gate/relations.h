/*
 * relations.h - which columns of a relation can hold images: a cache of the
 * backend, so that statements without images pay one hash probe a relation.
 *
 * Emptied as a whole by any relcache or type invalidation. An invalidation
 * only marks the cache; it is emptied at the next look-up, so a pointer that
 * relation_images returned is good until the next call.
 */
#ifndef BIOMETRIC_GATE_RELATIONS_H
#define BIOMETRIC_GATE_RELATIONS_H

#include "postgres.h"

#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"

typedef struct RelationImages
{
	Oid relation; /* hash key */
	char relkind;
	uint32 kinds;			 /* union over the columns; bit 1 << ImageKind */
	int attributes;			 /* length of attribute_kinds; 0 when kinds is 0 */
	uint32 *attribute_kinds; /* by attribute number - 1 */
	List *lineage;			 /* OIDs: the relation, then its ancestors, nearest first */
} RelationImages;

/* relations_init registers the invalidation callbacks; from gate_init. */
extern void relations_init(void);

/* relation_images looks a relation up; the caller holds a lock on it. Never NULL. */
extern const RelationImages *relation_images(Oid relation);

/*
 * relation_selected_kinds returns the kinds among selected columns, a bitmap
 * of attribute numbers offset by FirstLowInvalidHeapAttributeNumber in which
 * attribute 0 stands for the whole row.
 */
extern uint32 relation_selected_kinds(const RelationImages *images, const Bitmapset *selected);

#endif
