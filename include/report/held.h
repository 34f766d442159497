/*
 * held.h - which rows held an image, as the entries of all logs say. For extension/report only.
 */
#ifndef BIOMETRIC_REPORT_HELD_H
#define BIOMETRIC_REPORT_HELD_H

#include "postgres.h"

#include "nodes/pg_list.h"

#include "ledger/store.h"
#include "report/released.h"

/*
 * Things that have been numbered, from 0: a hash table by their keys. Slots are
 * as small as can be, and looked at one behind the other, since there are
 * hundreds of thousands of things, and each look elsewhere in memory costs more than
 * all else.
 */
typedef struct NumberingSlot
{
	uint32 hash;
	int number; /* -1: free */
} NumberingSlot;

typedef struct Numbering
{
	MemoryContext context;
	Size key_size; /* 0: keys are ReleasedText, compared by their bytes */
	int count;
	int capacity; /* of the array that the numbers lead into */
	char *keys;	  /* by number */
	int keys_capacity;
	NumberingSlot *slots;
	uint32 slot_count; /* a power of 2, more than count */
} Numbering;

/* An answer that is being made. */
typedef struct ReleasedBuilder
{
	Released *answer;
	MemoryContext context; /* of the answer */
	MemoryContext working; /* for what is not needed once it is made */
	Numbering texts;
	Numbering images;
	Numbering rows;
	Numbering states;
	Numbering persons;
	Numbering helds;
	Numbering hows;
	Numbering cells;
} ReleasedBuilder;

/* ---- numbering.c */

/* numbering_begin makes an empty numbering of keys of a size, 0: texts, in a memory context. */
extern void numbering_begin(Numbering *numbering, Size key_size, MemoryContext context);

/*
 * numbering_number returns the number of a key, which is copied; known: whether it had one
 * before. A text's bytes are borrowed. Error 54000.
 */
extern int numbering_number(Numbering *numbering, const void *key, bool *known);

/* numbering_find returns the number of a key, -1 when it has none. */
extern int numbering_find(const Numbering *numbering, const void *key);

/* numbering_key returns where a key stands, until the next is numbered. */
extern void *numbering_key(const Numbering *numbering, int number);

/*
 * numbering_grow makes room for the thing numbered last in the array that numbers lead into.
 * Returns the array, which is in a memory context of the caller's.
 */
extern void *numbering_grow(Numbering *numbering, void *array, Size width, MemoryContext context);

/* ---- released.c and held.c */

/*
 * builder_text returns the number of an entry's text, kept in the database's encoding;
 * RELEASED_NONE for one that is absent. json: it is a JSON object.
 */
extern int builder_text(ReleasedBuilder *builder, EntryText text, bool json);

/* entry_line returns the relation that an entry is about: its own, or of its statement's list. */
extern EntryText entry_line(const EntryFields *entry, const EntryFields *statement);

/* What the entries of some logs say of images, looked up as it is asked for. */
typedef struct Held Held;

/* A release, as far as it matters for which rows it was of. */
typedef struct HeldRelease
{
	int log;		 /* its place in the list of logs */
	int relation;	 /* that was read: a text, or RELEASED_NONE */
	int64 sequence;	 /* of its entry, */
	int64 statement; /* and of its statement's */
} HeldRelease;

/*
 * held_begin prepares to look up images in logs, a list of LedgerLog: the entries of one
 * count as below those of the next. held_number returns the number, in the answer, of how an
 * image was held that was released. Error 42P01 when a table is gone.
 */
extern Held *held_begin(ReleasedBuilder *builder, const List *logs, Snapshot snapshot);
extern int held_number(Held *held, int image, const HeldRelease *release);

/*
 * held_count_lost counts the images of the answer of which entries that put them into rows
 * were detached, as far as biometric.traced tells: those that had a digest.
 */
extern int64 held_count_lost(Held *held);
extern void held_end(Held *held);

/* ---- between held.c and held_rows.c */

/* What an entry says of what was collected. */
typedef enum HeldSays
{
	SAYS_NOTHING = 0,
	SAYS_DECLARED,	/* what for, and nothing else */
	SAYS_COLLECTED, /* of whom, where or when */
	SAYS_LAST = SAYS_COLLECTED
} HeldSays;

/* An entry that put an image into a row, or took it out. */
typedef struct HeldChange
{
	int log;
	int row;
	int64 sequence;
	int state; /* what this entry says of the row */
	bool put;  /* into it; else out of it */
	HeldSays says;
} HeldChange;

/* All of an image, by logs and sequences. */
typedef struct HeldChanges
{
	int count;
	HeldChange *change;
	int *by_row; /* their numbers, by rows and in their order */
} HeldChanges;

/* When something was released, in numbers of an image's changes. */
typedef struct HeldMoment
{
	int relation;
	int below; /* so many came before the release, */
	int begun; /* so many before its statement */
} HeldMoment;

/* held_sort fills in by_row, in the current memory context. */
extern void held_sort(HeldChanges *changes);

/* held_below returns how many changes come before an entry. */
extern int held_below(const HeldChanges *changes, int log, int64 sequence);

/*
 * held_choose decides which rows held an image. state: set to their states, ascending;
 * room for as many as there are changes. Returns how many.
 */
extern int held_choose(const Released *answer, const HeldChanges *changes, const HeldMoment *moment,
					   int *state);

#endif
