/*
 * promise.h - a batch of rows is decided, counted and put on record before it
 * is sent.
 *
 * Private to the gate: release.c collects rows into batches and sends them,
 * this promises them. Memory of a promise is taken from the batch's context.
 */
#ifndef BIOMETRIC_GATE_PROMISE_H
#define BIOMETRIC_GATE_PROMISE_H

#include "postgres.h"

#include "access/htup.h"

#include "gate/datarow.h"
#include "gate/statement.h"
#include "ledger/append.h"
#include "policy/policy.h"

/* What a result column can hold. */
typedef struct GateColumn
{
	ImageKind kind;				  /* IMAGE_KIND_NONE: no image type */
	bool stampable;				  /* bytea */
	const GateRelation *relation; /* that it plainly is of; NULL: not known */
} GateColumn;

typedef struct GateRow
{
	MinimalTuple others; /* the row, image columns NULL */
	GateImage *images;
	int count;
	struct PromiseAnswer *answers; /* of the images, by promise_make; NULL: not decided */
} GateRow;

typedef struct GateBatch
{
	MemoryContext context;
	GateRow *rows;
	int count;
	Size size; /* bytes */
	/* set by promise_make: */
	uint64 generation; /* of the policy that it was decided by */
	uint64 rules;	   /* of the rules of retention, likewise */
	LedgerTicket ticket;
	bool complete;		 /* nothing that is sendable is missing in the ledger */
	List *quotas;		 /* what was taken of which; promise.c's */
	const char *party;	 /* what its entries' statement says; of the GateStatement */
	const char *network; /* likewise */
	const char *purpose; /* likewise */
	int sendable; /* how many rows may be sent; fewer than count: the next goes over a quota */
	/* if so, what holds for the image that does: */
	Decision over;
	ImageKind over_kind;
	const char *over_relation; /* NULL: not known */
} GateBatch;

/* What a promise needs to know of the gate. */
typedef struct PromiseGate
{
	GateStatement *statement;
	GateColumn *columns;
	int width; /* of columns */
} PromiseGate;

/* promise_subject returns what is known of an image besides its kind. */
extern GateSubject promise_subject(const PromiseGate *gate, const GateImage *image);

/*
 * promise_make decides a batch, takes the quotas that it needs, and appends its
 * disclosures to the ledger, without waiting for the last of them. What was taken and not
 * appended is given back, also on errors. Errors: policy_refuse's, ledger_append's.
 */
extern void promise_make(const PromiseGate *gate, GateBatch *batch);

/* promise_is_current tells whether no policy and no period has changed since a batch was promised. */
extern bool promise_is_current(const GateBatch *batch);

/*
 * promise_renew decides a batch once more, because one of these has changed since it was promised.
 * When each of its images gets the very answer that it got, by the same permit with the
 * same quota, what was promised holds, and nothing is appended or counted. Else all of it is
 * promised again, and what was promised before stays on record and counted. Errors: as promise_make.
 */
extern void promise_renew(const PromiseGate *gate, GateBatch *batch);

/* promise_refuse_rest raises the refusal of the first row of a batch that is not sendable. */
pg_noreturn extern void promise_refuse_rest(const GateBatch *batch);

#endif
