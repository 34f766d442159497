/*
 * relations.h - which columns of a relation can hold images: a cache of the
 * backend, so that statements without images pay one hash probe a relation.
 *
 * Emptied as a whole by any relcache or type invalidation. An invalidation
 * only marks the cache; it is emptied at the next look-up, so a pointer that
 * relation_images returned is good until the next call.
 */
#ifndef BIOMETRIC_HOME_RELATIONS_H
#define BIOMETRIC_HOME_RELATIONS_H

#include "postgres.h"

#include "base/compat.h"
#include "nodes/pg_list.h"

typedef struct RelationImages
{
	Oid relation; /* hash key */
	char relkind;
	uint32 kinds;			 /* union over the columns; bit 1 << ImageKind */
	int columns;			 /* number of columns of an image type itself, or a domain over one */
	int attributes;			 /* length of attribute_kinds; 0 when kinds is 0 */
	uint32 *attribute_kinds; /* by attribute number - 1 */
	List *lineage;			 /* as relation_lineage() */
	List *heirs;			 /* OIDs of all relations that inherit from it; NIL when kinds is 0 */
	List *relatives;		 /* OIDs of the heirs, and of what else those inherit from */
	bool guarded; /* no column holds images inside of something else; it and its heirs, as far
					 as they hold rows with images, have our row triggers, enabled always */
} RelationImages;

/*
 * relation_has_triggers tells whether a table has our three row triggers, enabled always, as
 * install_triggers makes them. Reads the catalogs; relation_images caches it as guarded.
 */
extern bool relation_has_triggers(Oid relation);

/* relations_init registers the invalidation callbacks; from home_init. */
extern void relations_init(void);

/* relation_images looks a relation up; the caller holds a lock on it. Never NULL. */
extern const RelationImages *relation_images(Oid relation);

/*
 * relations_heirs_to_judge returns the lineages (lists of OIDs) of those heirs that
 * permits may treat otherwise than the relation that they are read through:
 * because one names them, or another of their ancestors. Arguments: of the
 * relation, as in RelationImages. Result in the current memory context.
 */
extern List *relations_heirs_to_judge(const List *lineage, const List *heirs,
									  const List *relatives);

/*
 * relations_selected_kinds returns the kinds of image (bit 1 << ImageKind) that a
 * statement may read of a table, materialized view or foreign table: by the
 * columns it selects, all of them for a whole row. 0 for a view, whose images
 * come from tables that are checked themselves. The caller holds a lock.
 */
extern uint32 relations_selected_kinds(const PermissionInfo *info);

#endif
