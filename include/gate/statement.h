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

#include "core/envelope.h"
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
	int number;		 /* 1-based into the statement's relations; 0: not among them */
} GateRelation;

/* A home or an origin that an image of the statement carries, looked up once. */
typedef struct GateHome
{
	uint8 home[ENVELOPE_HOME_SIZE];
	const GateRelation *relation; /* NULL: it is zero, or unknown here */
} GateHome;

/* What is known of an image besides its kind; borrowed. */
typedef struct GateSubject
{
	ImageKind kind;
	const GateRelation *shown; /* that its result column plainly is of, or NULL */
	const GateHome *home;
	const GateHome *origin;
} GateSubject;

/* A decision, and the relation whose rules it goes by; NULL: by none in particular. */
typedef struct GateVerdict
{
	Decision decision;
	const GateRelation *relation;
} GateVerdict;

struct GateStatement
{
	dlist_node node;
	MemoryContextCallback vanish;
	QueryDesc *query;
	MemoryContext context;
	uint64 number;	 /* for the cast's stamp; never 0, never reused in this backend */
	bool listed;	 /* relations holds those of the statement itself */
	List *relations; /* GateRelation *, the statement's own, those its functions read, homes */
	struct relations_seen_hash *relations_by_oid;
	struct homes_seen_hash *homes; /* as they were met */
	int homes_named;			   /* how many relations were added as homes */
	char *declared;				   /* the purpose, as it was when the statement began to run */
	char *names;				   /* what ledger.relations points to */
	char *party;
	char *network;
	char *purpose;
	LedgerStatement ledger;
};

/* gate_statement_relations lists the relations that the statement itself reads, at first use. */
extern void gate_statement_relations(GateStatement *statement);

/*
 * gate_statement_note_read notes a relation that something inside of the
 * current statement reads: a function, a trigger, or the planner. An image
 * that carries no home may be of it.
 */
extern void gate_statement_note_read(const PermissionInfo *info, uint32 kinds);

/*
 * gate_statement_home returns what a home (ENVELOPE_HOME_SIZE bytes) stands
 * for; never NULL, as lasting as the statement. Its relation is added to the
 * statement's, unless that has too many already. home: out of a header that
 * has been authenticated; NULL: of one that has not, whose home is unknown.
 */
extern const GateHome *gate_statement_home(GateStatement *statement, const uint8 *home);

/* gate_statement_purpose returns the purpose of the current statement, else of the session. */
extern const char *gate_statement_purpose(void);

/*
 * gate_statement_judge decides on an image: the most restrictive of what holds
 *  - for the relation that its column plainly shows, and for those heirs of it
 *    that have permits of their own;
 *  - for the relation that it is stored in, its home;
 *  - for the relation that it was first stored in, its origin, if the client's
 *    party has a permit that names that relation or an ancestor of it.
 * An image of which neither the first nor the second is known is judged by
 * every relation that the statement reads.
 * Of several permits that release it one with a quota is taken, and of several with a quota
 * one that names a relation; then one of delivery open; then that with the fewest images a
 * second, quota divided by window; then the oldest. Those for heirs that the image is not of do
 * not count here. It gets a mark if any of them asks for it.
 */
extern GateVerdict gate_statement_judge(const GateStatement *statement, const GateSubject *subject);

/*
 * gate_statement_relation_of returns the relation that an image is of: its
 * home, what its column shows, or the only one that can be meant; else NULL.
 */
extern const GateRelation *gate_statement_relation_of(const GateStatement *statement,
													  const GateSubject *subject);

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
