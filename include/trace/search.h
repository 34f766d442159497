/*
 * search.h - the images of the ledger that a file may be of.
 *
 * For extension/trace only.
 */
#ifndef BIOMETRIC_TRACE_SEARCH_H
#define BIOMETRIC_TRACE_SEARCH_H

#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/hsearch.h"
#include "utils/snapshot.h"

#include "core/entry.h"
#include "ledger/traced.h"
#include "trace/evidence.h"

/* How a file matches an image; the strongest first. */
typedef enum TraceMatch
{
	TRACE_MARK,	   /* a mark names a disclosure of it: of the image itself this says nothing */
	TRACE_EXACT,   /* the same bytes, marks left out */
	TRACE_SIMILAR, /* it looks alike */
	TRACE_NONE	   /* the ledger contradicts what pointed to it */
} TraceMatch;

/* An entry of event stored or replaced, by which an image came into a row. */
typedef struct FoundStored
{
	int log; /* 0-based, in Search.logs */
	int64 sequence;
	TraceMatch match;	/* by what this entry says of the image; TRACE_MARK: by its id alone */
	bool readable;		/* false: its segment was detached, so that nothing more is known */
	EntryText relation; /* copies; bytes NULL: not known */
	EntryText row_key;
} FoundStored;

typedef struct FoundImage
{
	uint8 id[ENTRY_IMAGE_ID_SIZE];
	ImageKind kind; /* IMAGE_KIND_NONE: not known */
	TraceMatch match;
	int distance; /* bits; -1: the file or the image has no picture hash */
	int64 stored_count;
	int64 stored_space;
	FoundStored *stored; /* ascending by log and number; those of aborted transactions left out */
	bool disclosed;		 /* a disclosure was shown */
} FoundImage;

/* A disclosure that an authentic mark names. */
typedef struct NamedDisclosure
{
	int log;
	int64 sequence;
	bool shown;
} NamedDisclosure;

typedef struct Search
{
	const Evidence *evidence;
	List *logs; /* of LedgerLog */
	Snapshot snapshot;
	int near;  /* bits that a similar image may differ in */
	int limit; /* images a match */
	int named_count;
	NamedDisclosure named[EVIDENCE_MARKS];
	int count;
	int space;
	FoundImage *images;
	int wanted; /* so many of the first images are there for a mark's sake */
	int log;	/* being searched */
	int64 compared;
	HTAB *without_key; /* images of which no entry's key is in the keyring; NULL: none */
	HTAB *found;	   /* of images; NULL when without_key is */
	int64 more;		   /* matches beyond the limit */
} Search;

/*
 * search_want_image adds an image that an authentic mark names; before search_images.
 * kind: as the disclosure says.
 */
extern void search_want_image(Search *search, const uint8 *image_id, ImageKind kind);

/*
 * search_images compares all images of all logs with the file, confirms what was found by
 * the entries themselves, and sorts it: TRACE_EXACT, then TRACE_SIMILAR, nearest first.
 * Result: in the current memory context. Interruptible. A WARNING tells of derived tables that
 * say what no entry says. Errors: 42P01 when a table is gone, XX001 when an entry is missing.
 */
extern void search_images(Search *search);

/* search_find returns the image of an id that was found, or NULL. */
extern FoundImage *search_find(const Search *search, const uint8 *image_id);

/* search_relation returns the relation that an entry is about. statement: NULL if it has none. */
extern EntryText search_relation(const EntryFields *fields, const EntryFields *statement);

/*
 * search_confirm reads the entries that images were found by: leaves out those of
 * transactions that were aborted, and what no entry confirms.
 */
extern void search_confirm(Search *search);

#endif
