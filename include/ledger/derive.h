/*
 * derive.h - from the entries of a block to its rows in biometric.activity
 * and biometric.traced.
 *
 * Private to the ledger. A function of the entries and of the sessions that
 * they refer to, and of nothing else: the worker writes what it makes of them,
 * verification compares with what it makes of them.
 */
#ifndef BIOMETRIC_LEDGER_DERIVE_H
#define BIOMETRIC_LEDGER_DERIVE_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "ledger/resolve.h"
#include "ledger/traced.h"

/* One row of biometric.activity. */
typedef struct DerivedActivity
{
	const char *party;
	const char *user;
	int32 entries;
	int32 disclosures;
	TimestampTz first_at;
	TimestampTz last_at;
} DerivedActivity;

/* What is known of a block so far. */
typedef struct DerivedBlock
{
	int64 block; /* -1: none */
	int next;	 /* place of the entry that comes next; ACTIVITY_BLOCK: the block is full */

	/* The rows of biometric.activity, in the order in which the parties appear. */
	int rows;
	DerivedActivity *activity; /* in context, as are its texts */
	MemoryContext context;
	int64 last_session; /* sequence number of a session, -1 for none, whose row is: */
	int last_row;

	/* The row of biometric.traced; none when both are empty. In bytes. */
	int stored_size;
	int disclosed_size;
	uint8 stored[ACTIVITY_BLOCK * TRACED_STORED_SIZE];
	uint8 disclosed[ACTIVITY_BLOCK * TRACED_DISCLOSED_SIZE];
} DerivedBlock;

/* derive_make allocates one, with a child of the present memory context, for one block after another. */
extern DerivedBlock *derive_make(void);

/* derive_begin begins a block anew. */
extern void derive_begin(DerivedBlock *block, int64 number);

/*
 * derive_add takes the block's next entry; fields NULL: one that cannot be read. Shows
 * it to the resolver, too.
 */
extern void derive_add(DerivedBlock *block, Resolver *resolver, const EntryFields *fields,
					   const uint8 *bytes, Size length);

/*
 * derive_at returns an entry's time as a timestamptz. derive_name returns a
 * text of an entry, palloc'd, "" for none: as the tables have it, in the
 * database's encoding (ledger/encoding.h). A dump takes it to another encoding as the server
 * converts texts, and there it is again what this function makes of the entry. derive_key
 * cuts such a text, in place, to the length that an index has room for.
 */
extern TimestampTz derive_at(const EntryFields *fields);
extern char *derive_name(EntryText text);
extern void derive_key(char *name);

#endif
