/*
 * objects.h - which objects the guard looks after.
 *
 * For extension/guard and extension/trigger. All of it needs a transaction, and the extension
 * to be installed in this database.
 */
#ifndef BIOMETRIC_GUARD_OBJECTS_H
#define BIOMETRIC_GUARD_OBJECTS_H

#include "access/htup.h"
#include "base/compat.h"

/*
 * guard_in_own_script tells whether a script of the extension is running:
 * CREATE EXTENSION or ALTER EXTENSION UPDATE. Works before the extension is there, too.
 */
extern bool guard_in_own_script(void);

/*
 * guard_protects tells whether an object is a member of the extension, the
 * extension itself, its schema, or part of a member: an index, sequence, TOAST table,
 * trigger, rule, policy, constraint, default or statistics object of its tables.
 * Sees what the running command has just made, too.
 */
extern bool guard_protects(Oid class_id, Oid object_id);

/* guard_protects_relation is guard_protects for relations; false for InvalidOid. */
extern bool guard_protects_relation(Oid relation);

/*
 * guard_relation_of returns the relation that a trigger, rule, policy,
 * constraint, default, statistics object or index belongs to, or InvalidOid.
 */
extern Oid guard_relation_of(Oid class_id, Oid object_id);

/* guard_is_member tells whether an object is a direct member of the extension. */
extern bool guard_is_member(Oid class_id, Oid object_id);

/* guard_is_attached_trigger tells whether a trigger calls a function of the extension. */
extern bool guard_is_attached_trigger(Oid trigger);

/*
 * guard_new_row returns a copy of the catalog row of an object, as the running
 * command has left it; NULL when there is none. In the current memory context.
 */
extern HeapTuple guard_new_row(Oid class_id, Oid object_id);

/* guard_owns tells whether a role owns the extension or its schema. */
extern bool guard_owns(Oid role);

/*
 * guard_describe returns what an object is, with its qualified name, in the
 * current memory context; failing that, of the relation it belongs to; else NULL.
 */
extern char *guard_describe(Oid class_id, Oid object_id);

#endif
