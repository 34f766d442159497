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

/* A relation with image columns that is read. */
typedef struct GateRelation
{
	Oid relation;
	uint32 kinds;	 /* of the selected columns; bit 1 << ImageKind */
	List *lineage;	 /* as relation_lineage() */
	List *heirs;	 /* OIDs of the relations that are read with it, because they inherit from it */
	List *relatives; /* as RelationImages.relatives */
	char *name;		 /* as gate_relation_name() */
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
	char *declared;	 /* the purpose, as it was when the statement began to run */
	char *names;	 /* what ledger.relations points to */
	char *party;
	char *network;
	char *purpose;
	LedgerStatement ledger;
};

/* gate_statement_relations lists the relations that the statement itself reads, at first use. */
extern void gate_statement_relations(GateStatement *statement);

/*
 * gate_statement_note_read notes a relation that something inside of another
 * statement reads: a function, a trigger, a cursor, a utility command, or the
 * planner. An image whose origin does not show is judged by it, too. A cursor
 * or a plan may outlive the statement and bring the image up in any later one,
 * so the note is kept for the session.
 */
extern void gate_statement_note_read(const PermissionInfo *info, uint32 kinds);

/* gate_statement_purpose returns the purpose of the current statement, else of the session. */
extern const char *gate_statement_purpose(void);

/*
 * gate_statement_decide_by decides on an image of a relation that the current
 * statement reads, or that something else in this session has read: the most
 * restrictive of what holds for it and for those heirs that have permits of
 * their own.
 */
extern Decision gate_statement_decide_by(const GateStatement *statement,
										 const GateRelation *relation, ImageKind kind);

/*
 * gate_statement_decide decides on an image whose relation is not known: by
 * every relation it may be of; the most restrictive answer counts.
 */
extern Decision gate_statement_decide(const GateStatement *statement, ImageKind kind);

/*
 * gate_statement_only_relation returns the number (1-based) of the only
 * relation that an image of a kind can be of, 0 when there is none or more.
 */
extern int gate_statement_only_relation(const GateStatement *statement, ImageKind kind);

/*
 * gate_statement_describe brings the statement's ledger entry in line with a
 * decision: party, network, purpose, relations. A change makes the next
 * append write a new statement entry.
 */
extern void gate_statement_describe(GateStatement *statement, const Decision *decision);

/*
 * gate_relation_name returns a relation's name for the ledger: qualified,
 * quoted, and with line feeds and backslashes as \n and \\, since names
 * stand one a line in a statement entry. palloc'd.
 */
extern char *gate_relation_name(Oid relation);

/* gate_command returns the command tag of the statement that the client sent. */
extern const char *gate_command(void);

#endif
