/*
 * follow.h - follows each transaction that entries name to its end.
 *
 * Private to the ledger. An entry of a change says "about to be committed",
 * with the full id of its top-level transaction. The worker watches these
 * transactions and, when one has not committed, appends an entry of event
 * aborted: {"entries": n}, and "outcome": "unknown" when the server no longer
 * knows. Prepared transactions are waited for. What is known is written to
 * the head row with each edge, so that the next worker, also after a crash,
 * reads only the entries behind it.
 *
 * Only a database's worker calls these, follow_outcome excepted. Memory: a
 * few words for each transaction that has not been seen to end.
 */
#ifndef BIOMETRIC_LEDGER_FOLLOW_H
#define BIOMETRIC_LEDGER_FOLLOW_H

#include "postgres.h"

#include "core/entry.h"

typedef enum TransactionOutcome
{
	OUTCOME_UNKNOWN = 0, /* too long ago, or never there */
	OUTCOME_RUNNING = 1, /* also: prepared */
	OUTCOME_COMMITTED = 2,
	OUTCOME_ABORTED = 3
} TransactionOutcome;

/*
 * follow_outcome asks the server's transaction status. transaction: full id.
 * Needs a transaction with a snapshot. Does not raise.
 */
extern TransactionOutcome follow_outcome(uint64 transaction);

/*
 * follow_load forgets everything and reads what is unsettled of a log of size
 * entries. Needs a transaction with an active snapshot.
 */
extern void follow_load(const uint8 *log_id, int64 size);

/* follow_note takes an entry into account that is being written. */
extern void follow_note(const EntryFields *fields);

/* follow_write puts what is known into the head row of a log of size entries. */
extern void follow_write(const uint8 *log_id, int64 size);

/* follow_wait_ms returns in how many ms to look at the transactions again; -1: none is open. */
extern long follow_wait_ms(void);

/*
 * follow_check looks which transactions have ended, and puts the entries of
 * those that have not committed into the slot's ring. May be called only once
 * all is written that was in the ring when follow_load ran. Needs a
 * transaction with a snapshot. generation: that of the worker.
 */
extern void follow_check(int number, uint32 generation);

/*
 * follow_append puts one entry of the worker's own into the ring, as an
 * appender does. sequence: set to its number. False when there is no room, or
 * the generation is over.
 */
extern bool follow_append(int number, uint32 generation, const uint8 *bytes, Size length,
						  int64 *sequence);

#endif
