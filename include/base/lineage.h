/*
 * lineage.h - a relation and what it inherits from.
 */
#ifndef BIOMETRIC_BASE_LINEAGE_H
#define BIOMETRIC_BASE_LINEAGE_H

#include "postgres.h"

#include "nodes/pg_list.h"

/*
 * relation_lineage returns the OIDs of a relation and then of all relations
 * that it inherits from or is a partition of, nearest first, each once, with
 * an InvalidOid between a generation and the one before it; NIL for
 * InvalidOid. Reads pg_inherits: needs a transaction. Result: in the current
 * memory context.
 */
extern List *relation_lineage(Oid relation);

#endif
