/*
 * count.h - counts an archive's entries: what a party received in a period, of whom,
 * and what else the ledger says of that party.
 *
 * A second way to the figures of biometric.breach_report(), from the entries' bytes
 * alone; nothing of the server's code is in it. What counts:
 *
 * - a disclosure: an entry disclosed or observed, of a session of the party, made in
 *   the period;
 * - the rows that it was of: those (relation, row key) that entries stored or replaced
 *   below it put its image into, unless their transaction aborted. Of these, the first of
 *   three sets that tells as much as any: those of the disclosure's own relation that
 *   were not rid of the image by an entry below its statement; all that were not; all.
 *   A row with a subject tells more than one with a key, which tells more than others.
 *   Without any entry below, the row of the first entry behind counts;
 * - where, when and of whom a row's image was collected: what the latest entry stored
 *   or replaced of that image and row, below the disclosure, says that says anything, or
 *   else the first behind it; what it was collected for, of the same entry. One that says only
 *   what for counts where no other says more. Objects with equal members are equal, in whatever order
 *   these are. A subject is one of the relation that the entry says was described.
 *
 * The archive is read three times, each time hashed again and compared with the signed
 * root: for the party's images, for their rows, and for everything about them. Memory
 * goes by what is found, not by the archive: about 840 bytes an image.
 */
#ifndef BIOMETRIC_REPORTER_COUNT_H
#define BIOMETRIC_REPORTER_COUNT_H

#include "reporter/declared.h"
#include "reporter/figures.h"
#include "tool/keys.h"
#include "tool/print.h"
#include "tool/resolve.h"

/* Something that was counted already: in which figure of each dimension first, plus 1. */
typedef struct Sight
{
	uint32_t first[DIMENSION_COUNTED];
} Sight;

typedef struct CountedImage
{
	uint32_t held; /* the last row known to hold it, plus 1; 0: none */
	ImageKind kind;
	Sight sight;
} CountedImage;

typedef struct CountedRow
{
	uint32_t relation;
	uint32_t key; /* 0: none: a table without a key, or no row is known */
	Sight sight;
} CountedRow;

/*
 * What an entry says of an image and a row. Numbers of texts, objects as jsonb has them; 0: none.
 */
typedef struct Change
{
	uint64_t sequence;
	uint32_t next; /* of the same row, plus 1 */
	bool put;	   /* the row has it; else it has no more */
	unsigned told; /* it says what was collected: 2; what for, and nothing else: 1; nothing: 0 */
	uint32_t of;
	uint32_t subject;
	uint32_t place;
	uint32_t collected_on;
	uint32_t collected_for;
} Change;

/* That a row holds an image, or did. */
typedef struct Holding
{
	uint32_t next; /* of the same image, plus 1 */
	uint32_t row;
	uint32_t first; /* its changes, plus 1 */
	uint32_t last;
} Holding;

/* A row that a disclosure counts for. */
typedef struct HeldRow
{
	uint32_t row;
	uint32_t of; /* the relation whose subject it is */
	uint32_t subject;
	uint32_t place;
	uint32_t collected_on;
	uint32_t collected_for;
	unsigned set;	/* the smallest of the three that it is in: 0 to 2 */
	unsigned tells; /* 2: a subject; 1: a key; 0: nothing */
} HeldRow;

/* An image in a row, released: what biometric.affected() has a row for. */
typedef struct Affected
{
	uint32_t image;
	uint32_t row;
	uint64_t times;
	int64_t first;
	int64_t last;
} Affected;

/* Somebody to be notified: who was recorded as a row's subject, else the row itself. */
typedef struct Person
{
	uint32_t relation;
	uint32_t subject; /* or the row's key; 0: not even that is known */
	bool recorded;	  /* it is a subject */
	unsigned kinds;	  /* bit n: kind n */
	uint32_t images;
	uint32_t rows; /* the last of the rows, plus 1 */
	int64_t first;
	int64_t last;
	int64_t notified_at; /* INT64_MIN: not, as far as is known */
	uint32_t means;
} Person;

typedef struct PersonRow
{
	uint32_t next; /* plus 1 */
	uint32_t key;
} PersonRow;

/* A subject of a relation's rows, to be counted once. */
typedef struct CountedSubject
{
	Sight sight;
} CountedSubject;

typedef struct CountedDay
{
	int64_t day;
	uint64_t disclosures;
	uint64_t refusals;
} CountedDay;

/* Requests that were refused for one reason. */
typedef struct Refusal
{
	uint32_t reason; /* as text */
	uint32_t network;
	uint64_t times;
	int64_t first;
	int64_t last;
} Refusal;

/* Something that happened: a change of the policy, an incident's step, a connection. */
typedef struct Notable
{
	uint64_t sequence;
	int64_t at;
	EntryEvent event;
	uint32_t detail; /* JSON */
	uint32_t by;	 /* the login */
} Notable;

/* What to count; set before the rest, which is zero at first. */
typedef struct CountWanted
{
	Span party;
	int64_t from; /* microseconds since 1970; the period ends before `to` */
	int64_t to;
	uint64_t begin;	   /* entries before this one do not count, but say who is who */
	uint64_t in_doubt; /* from here on the server may or may not have counted */
	uint64_t incident; /* 0: none */
	bool pruned;	   /* begin where the archive does */
} CountWanted;

/* Called for each disclosure and refusal of the party, in order. False: it could not be written. */
typedef bool (*CountEvent)(void *context, uint64_t sequence, const EntryFields *fields,
						   const PrintOrigin *origin);

typedef struct Count
{
	CountWanted wanted;
	Texts *texts; /* shared with whoever compares */
	CountEvent on_event;
	void *context;

	Resolver *resolver;
	FigureList figures;
	Texts image_ids; /* 16 bytes each; the number minus 1 is the index in images */
	CountedImage *images;
	uint32_t images_capacity;
	CountedRow *rows;
	uint32_t row_count;
	uint32_t row_capacity;
	NumberMap row_index; /* by relation and key */
	CountedSubject *subjects;
	uint32_t subject_count;
	uint32_t subject_capacity;
	NumberMap subject_index; /* by relation and subject */
	Holding *holdings;
	uint32_t holding_count;
	uint32_t holding_capacity;
	Change *changes;
	uint32_t change_count;
	uint32_t change_capacity;
	HeldRow *held; /* of the disclosure at hand */
	uint32_t held_count;
	uint32_t held_capacity;
	NumberMap seen;	   /* counted in a further figure of a dimension */
	NumberMap aborted; /* transactions, folded */
	Affected *affected;
	uint32_t affected_count;
	uint32_t affected_capacity;
	NumberMap affected_index; /* by image and row */
	Person *people;
	uint32_t people_count;
	uint32_t people_capacity;
	NumberMap people_index; /* by relation and subject */
	NumberMap people_images;
	NumberMap people_rows;
	PersonRow *people_row;
	uint32_t people_row_count;
	uint32_t people_row_capacity;
	CountedDay *days;
	uint32_t day_count;
	uint32_t day_capacity;
	NumberMap day_index;
	Refusal *refusals;
	uint32_t refusal_count;
	uint32_t refusal_capacity;
	NumberMap refusal_index;
	Notable *notables;
	uint32_t notable_count;
	uint32_t notable_capacity;
	DeclaredList declared; /* by entries of collect() */
	NumberMap own_permits; /* that were granted to the party */

	uint64_t refused;	  /* refusals in the period */
	uint64_t exports;	  /* of sealed images */
	uint64_t replication; /* connections */
	uint64_t rows_without_place;
	uint64_t doubtful; /* entries that count, describe what does, or aborted, from in_doubt on */
	bool named;		   /* a session is of the party, or an entry names it */
	bool forked;	   /* an entry says that there are earlier logs */
	uint64_t from;	   /* the first entry that was read */
	uint64_t detached; /* entries before it were detached from the server, as an entry says */
	Buffer scratch;
	Buffer collected;
} Count;

/*
 * count_run reads and counts the archive's entries up to its verified head. Reports
 * what does not verify, and returns the code; the figures are worth nothing then.
 */
extern ToolExit count_run(Count *count, Archive *archive, const Head *head);

/* count_free gives all memory back but the shared texts. */
extern void count_free(Count *count);

/* ---- between the files that count ---- */

/* count_relation returns the number of the relation that an entry is about. */
extern uint32_t count_relation(Count *count, const EntryFields *fields, const PrintOrigin *origin);

/*
 * count_change takes note of an entry that put an image of the party's into a row, or took
 * it out.
 */
extern void count_change(Count *count, uint64_t sequence, const EntryFields *fields,
						 const PrintOrigin *origin, uint32_t image, bool put);

/*
 * count_held lists in held the rows that an image of the party's was released from. sequence,
 * statement: of the disclosure and of its statement; relation: that was read.
 */
extern void count_held(Count *count, uint32_t image, uint32_t relation, uint64_t sequence,
					   uint64_t statement);

/* count_disclosure counts a disclosure of an image into all figures. */
extern void count_disclosure(Count *count, uint64_t sequence, const EntryFields *fields,
							 const PrintOrigin *origin, uint32_t image);

/* count_person counts the release of an image in a row for whoever it shows. */
extern void count_person(Count *count, const HeldRow *held, uint32_t image, int64_t at);

/* count_affected counts the release of an image in a row. */
extern void count_affected(Count *count, uint32_t image, uint32_t row, int64_t at);

/* count_row returns the index of a row, which is added if it is new. */
extern uint32_t count_row(Count *count, uint32_t relation, uint32_t key);

/* count_day returns the day that a moment is in. */
extern CountedDay *count_day(Count *count, int64_t at);

/* count_beside takes note of everything else that an entry may say of the party. */
extern ToolExit count_beside(Count *count, uint64_t sequence, const EntryFields *fields);

#endif
