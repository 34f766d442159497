/*
 * statement.h - what the gate remembers of a top-level statement between the
 * calls of the executor that run it: a portal may be run in several goes.
 *
 * A GateStatement lives in its query's es_query_cxt and vanishes with it.
 */
#ifndef BIOMETRIC_GATE_STATEMENT_H
#define BIOMETRIC_GATE_STATEMENT_H

#include "postgres.h"

#include "executor/execdesc.h"
#include "lib/ilist.h"
#include "nodes/pg_list.h"

#include "gate/gate.h"
#include "ledger/append.h"
#include "policy/policy.h"

/* A relation with image columns that the statement reads. */
typedef struct GateRelation
{
	Oid relation;
	uint32 kinds;  /* of the selected columns; bit 1 << ImageKind */
	List *lineage; /* OIDs: self, then ancestors */
	char *name;	   /* qualified and quoted */
} GateRelation;

struct GateStatement
{
	dlist_node node;
	MemoryContextCallback vanish;
	QueryDesc *query;
	MemoryContext context;
	uint64 number;	 /* for the cast's stamp; never 0, never reused in this backend */
	bool listed;	 /* relations holds those of the statement itself */
	List *relations; /* GateRelation *, the statement's own, then those its functions read */
	char *names;	 /* what ledger.relations points to */
	char *party;
	char *network;
	char *purpose;
	LedgerStatement ledger;
};

/* gate_statement_relations lists the relations that the statement itself reads, at first use. */
extern void gate_statement_relations(GateStatement *statement);

/*
 * gate_statement_note_read adds a relation that something inside the running
 * statement reads (a function, a trigger), so that an image of unknown origin
 * is judged by it, too.
 */
extern void gate_statement_note_read(Oid relation, uint32 kinds);

/*
 * gate_statement_describe brings the statement's ledger entry in line with a
 * decision: party, network, purpose, relations. A change makes the next
 * append write a new statement entry.
 */
extern void gate_statement_describe(GateStatement *statement, const Decision *decision);

/* gate_command returns the command tag of the statement that the client sent. */
extern const char *gate_command(void);

#endif
