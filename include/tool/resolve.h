/*
 * resolve.h - the statement and the session that an entry refers to, looked up in
 * the archive that it is from.
 */
#ifndef BIOMETRIC_TOOL_RESOLVE_H
#define BIOMETRIC_TOOL_RESOLVE_H

#include "tool/archive.h"
#include "tool/print.h"

/* Entries of each kind that are remembered: those that many others refer to. */
#define RESOLVE_SLOTS 1024

/* An entry that was referred to. */
typedef struct ResolvedEntry
{
	bool known; /* the rest is set */
	bool found; /* the archive has it, and it can be read */
	uint64_t sequence;
	Buffer bytes;
	EntryFields fields; /* point into bytes */
} ResolvedEntry;

/* Zero-initialise, then set the first two. */
typedef struct Resolver
{
	Archive *archive;
	uint64_t size;			/* entries that the archive has */
	Buffer bundle;			/* read last */
	uint64_t bundle_number; /* its number, plus 1; 0: none was read */
	int bundle_width;		/* how many of its entries are the archive's; 0: it cannot be read */
	ResolvedEntry statements[RESOLVE_SLOTS];
	ResolvedEntry sessions[RESOLVE_SLOTS];
} Resolver;

/*
 * resolve_entry finds what an entry refers to, as far as the archive has it;
 * origin points into the resolver until it is asked for another entry. Reports nothing.
 */
extern void resolve_entry(Resolver *resolver, const EntryFields *fields, PrintOrigin *origin);

/*
 * resolve_learn takes note of an entry that others may refer to, so that it need not be
 * read again: for who reads all entries in order anyway. Any entry may be given.
 */
extern void resolve_learn(Resolver *resolver, uint64_t sequence, const EntryFields *fields,
						  const uint8_t *entry, size_t length);

/* resolve_free gives its memory back. */
extern void resolve_free(Resolver *resolver);

#endif
