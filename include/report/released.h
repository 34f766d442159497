/*
 * released.h - what was released to a party in some period, image by image and
 * row by row: what affected(), breach_report() and the list for notification are made of.
 *
 * Texts, images and rows are numbered from 0, each once, so that whoever counts
 * different ones counts numbers. A row that held an image when it was released is what
 * entries of all logs say of it, whatever has become of it since: those that `stored` and
 * `replaced` entries below the release put the image into, unless an entry `aborted`
 * names their transaction. Of these, the first of three sets counts that has a row with a
 * subject, if any row has one, else with a key, if any has, else any: those of the relation
 * that was read that were not rid of the image by an entry below the statement; all
 * of that kind; all. Without any entry below the release, the first behind it counts:
 * entries of changes come when their transaction ends.
 *
 * What was collected of a row is what the latest of its entries below the release says
 * that says anything, or else the first behind it: a table that is described later
 * tells whom its images show, and takes back nothing. So it is with what an image was collected for
 * (collect()), of the same entry; an entry that says nothing else counts where none says more.
 */
#ifndef BIOMETRIC_REPORT_RELEASED_H
#define BIOMETRIC_REPORT_RELEASED_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/snapshot.h"

#include "core/entry.h"

#define RELEASED_NONE (-1)

/* A row of some table. */
typedef struct ReleasedRow
{
	int relation; /* text: its qualified name; RELEASED_NONE */
	int key;	  /* text: a JSON object as jsonb prints it; RELEASED_NONE: the table has no key */
} ReleasedRow;

/* A row with what was collected of it. Each number is of a text, or RELEASED_NONE: not recorded. */
typedef struct ReleasedState
{
	int row;
	int subject;	  /* a JSON object as jsonb prints it */
	int place;		  /* a JSON object as jsonb prints it */
	int collected_on; /* "2026-05-01", UTC */
	int declared;	  /* what it was collected for: a JSON object as jsonb prints it */
	int of;			  /* the relation whose columns they are: the row's, or an ancestor of it */
	int person;		  /* different pairs of that and subject; RELEASED_NONE without a subject */
} ReleasedState;

/* An image, with the rows that held it at some time. */
typedef struct ReleasedHeld
{
	int image;
	int states; /* 0: it is not known which row held it */
	int *state; /* ascending, each once; no two of one row */
} ReleasedHeld;

/* Under what circumstances something was released. Numbers of texts, or RELEASED_NONE. */
typedef struct ReleasedHow
{
	int relation;
	ImageKind kind;
	/* the others are RELEASED_NONE, or 0, unless asked for */
	int purpose;
	int network;
	int login;
	int32 day; /* since 2000-01-01, UTC */
	uint64 permit;
} ReleasedHow;

/* Releases of one image, held in the same way, under the same circumstances. */
typedef struct ReleasedCell
{
	int held;
	int how;
	int64 disclosures; /* how many; at least 1 */
	TimestampTz first;
	TimestampTz last;
} ReleasedCell;

typedef struct ReleasedText
{
	const char *bytes; /* ends with a zero byte, too */
	Size length;
} ReleasedText;

typedef struct ReleasedImage
{
	uint8 id[ENTRY_IMAGE_ID_SIZE];
	ImageKind kind;
} ReleasedImage;

typedef struct ReleasedQuestion
{
	const char *party;	/* "": clients that belong to no party */
	TimestampTz from;	/* inclusive; DT_NOBEGIN: any */
	TimestampTz until;	/* exclusive; DT_NOEND: any */
	bool circumstances; /* purpose, network, login, day and permit are asked for */
} ReleasedQuestion;

/* The answer. Arrays of so many, in the memory context that was current. */
typedef struct Released
{
	int texts;
	ReleasedText *text;
	int images;
	ReleasedImage *image;
	int rows;
	ReleasedRow *row;
	int states;
	ReleasedState *state;
	int persons;
	int helds;
	ReleasedHeld *held;
	int hows;
	ReleasedHow *how;
	int cells;
	ReleasedCell *cell;
	/* in segments that were detached: */
	int64 detached; /* entries of the party that may count */
	int64 lost;		/* of so many images of the answer, entries that say in which rows they were */
} Released;

/*
 * released_collect reads what was released from all logs that count, as a snapshot sees
 * them. Interruptible. Memory: in proportion to the answer's cells, images and rows.
 * Errors: 42704 for a party that is neither registered nor in any log; 42P01 when a table is
 * gone; 54000 for more than 2^31 - 1 of anything.
 */
extern Released *released_collect(const ReleasedQuestion *question, Snapshot snapshot);

/* released_text returns a text as a C string; NULL for RELEASED_NONE. */
extern const char *released_text(const Released *released, int text);

/*
 * released_question checks the arguments that affected(), breach_report() and their
 * like have: the party (NULL and '': no party) and the period. Errors: 22023 for a period that is
 * NULL or empty.
 */
extern void released_question(Datum party, bool no_party, Datum during, bool no_during,
							  ReleasedQuestion *question);

#endif
