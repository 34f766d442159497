/*
 * resolve.h - from an entry to the statement and the session that it refers to.
 *
 * Private to the ledger. Whoever goes through a log's entries shows each to
 * resolver_note; session and statement entries are kept for a while, a few
 * thousand at most, and what is no longer kept is read again. References
 * lead back, and never out of a segment: what they lead to otherwise does not
 * count.
 */
#ifndef BIOMETRIC_LEDGER_RESOLVE_H
#define BIOMETRIC_LEDGER_RESOLVE_H

#include "postgres.h"

#include "core/entry.h"
#include "ledger/store.h"

typedef struct Resolver Resolver;

/* Reads an entry that is not kept: palloc'd in the present memory context, or NULL. */
typedef bytea *(*ResolveRead)(int64 sequence, void *context);

/* What an entry refers to. Valid until the next call with the same resolver. */
typedef struct Resolved
{
	const EntryFields *statement; /* NULL: none */
	const EntryFields *session;	  /* NULL: none */
	int64 session_sequence;		  /* -1: none */
} Resolved;

/*
 * resolver_make makes a resolver for one log in a child of the present memory
 * context; context is handed to read. resolver_free frees it.
 */
extern Resolver *resolver_make(int64 segment_size, ResolveRead read, void *context);
extern void resolver_free(Resolver *resolver);

/* resolver_note keeps a copy of an entry, if others can refer to it. fields: what bytes say. */
extern void resolver_note(Resolver *resolver, int64 sequence, const EntryFields *fields,
						  const uint8 *bytes, Size length);

/* resolver_find finds the statement and the session of an entry. */
extern void resolver_find(Resolver *resolver, int64 sequence, const EntryFields *fields,
						  Resolved *resolved);

/* resolver_read is a ResolveRead whose context is a LedgerReader. */
extern bytea *resolver_read(int64 sequence, void *reader);

#endif
