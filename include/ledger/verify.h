/*
 * verify.h - what verify_ledger() knows of one log while it checks it.
 *
 * Private to the ledger. Two passes: the heaps of entries, in whatever order,
 * which make up a hash for each group of MERKLE_TILE_WIDTH entries
 * (verify_entries.c); then the tree above these, against the tiles, bottom up,
 * the known edge, the head row and the checkpoints (verify_tree.c,
 * verify_checkpoint.c). In between the heaps of tiles, heads, image_entry, activity
 * and traced, for rows that belong to nothing (verify.c, verify_images.c,
 * verify_derived.c), and at the end whether the rows of log and segment say what
 * the entries do (verify_log.c). The first problem, by the entry it touches
 * first, is what is reported.
 *
 * A group is one hash of tile level 1. Where it is not what the tree says,
 * leaf_hint of its entries tells which one was changed.
 */
#ifndef BIOMETRIC_LEDGER_VERIFY_H
#define BIOMETRIC_LEDGER_VERIFY_H

#include "postgres.h"

#include "fmgr.h"

#include "core/entry.h"
#include "ledger/signer.h"
#include "ledger/store.h"
#include "utils/hsearch.h"

/* A group whose entries have not all been found yet; the key is its number. */
typedef struct VerifyGroup
{
	int64 index;
	uint32 found; /* a bit an entry */
	MerkleHash leaves[MERKLE_TILE_WIDTH];
} VerifyGroup;

/* The entries of a group whose leaf_hint is not that of their bytes; the key is its number. */
typedef struct VerifyDoubt
{
	int64 index;
	uint32 entries; /* a bit an entry */
} VerifyDoubt;

/* An entry that says something about a log as a whole. */
typedef struct VerifyNotice
{
	int64 sequence;
	char *detail;
} VerifyNotice;

/* A row of biometric.segment. */
typedef struct VerifySegment
{
	int64 segment;
	MerkleHash root;
	char *reason;
} VerifySegment;

/* What is known of biometric.activity and biometric.traced; in verify_derived.c. */
typedef struct VerifyDerived VerifyDerived;

typedef struct LogCheck
{
	const LedgerLog *log;
	bool newest;
	LedgerReader reader;

	/* What the log must be. */
	int64 size;
	bool root_known;
	MerkleHash root;			/* if root_known */
	const MerkleFrontier *edge; /* of size entries; NULL: not known */
	bool has_head;
	LedgerHead head;
	int64 first;			   /* entries before it were detached, in whole segments */
	MerkleHash *segment_roots; /* first / segment_size of them, from biometric.segment */

	/* What its entries are. */
	uint64 *seen;		/* a bit an entry: its row was found */
	int64 seen_limit;	/* bits */
	int64 highest;		/* highest sequence number found, -1 for none */
	MerkleHash *groups; /* size / MERKLE_TILE_WIDTH hashes of tile level 1, */
	uint64 *complete;	/* where a bit is set */
	VerifyGroup current;
	HTAB *incomplete; /* of VerifyGroup; NULL: none */
	HTAB *doubted;	  /* of VerifyDoubt; NULL: none */
	List *notices;	  /* of VerifyNotice */
	List *segments;	  /* of VerifySegment */

	/* Whether biometric.image_entry agrees with them. */
	uint64 image_seed;
	uint64 *images;		/* a sum for each group, up to seen_limit: 0 where it does */
	int64 stray_images; /* rows that lead nowhere */

	/* Whether biometric.activity and biometric.traced do. */
	VerifyDerived *derived;

	/* What its tree is. */
	bool computed;						 /* all hashes were there: frontier is complete */
	MerkleFrontier frontier;			 /* computed from the entries */
	int64 tiles[MERKLE_MAX_TILE_LEVELS]; /* rows of each level */
	int heads;							 /* head rows */

	/* The first problem: of the entry with the lowest sequence number. */
	int64 problem_at;
	char *problem; /* NULL: none so far */
} LogCheck;

/*
 * verify_restored verifies a log that came from a dump. Returns NULL, or what
 * is wrong; size (-1 when not known) and root: what its entries make up.
 * Error 22023 when no such log was restored.
 */
extern char *verify_restored(const uint8 *log_id, int64 *size, MerkleHash *root);

/*
 * verify_present verifies this database's own logs. Returns NULL, or what is
 * wrong; size (-1 when not known) and root: what the present log's entries make up.
 */
extern char *verify_present(int64 *size, MerkleHash *root);

/* verify_answer makes the row that verify_ledger() returns. size -1: neither size nor root are known. */
extern Datum verify_answer(FunctionCallInfo fcinfo, int64 size, const MerkleHash *root,
						   const char *problem);

/*
 * verify_checkpoints checks the checkpoints of a log, the keys that signed
 * them and the cosignatures. published: what the worker published of it before the
 * snapshot was taken; NULL: nothing.
 */
extern void verify_checkpoints(LogCheck *check, const LedgerSigned *published);

/*
 * verify_given_text and verify_given_bytes return a checkpoint that somebody gave,
 * palloc'd: in UTF-8, in which the bytes must be, and without the white space that it came
 * in, but for one newline at its end. Bytes that are no text become an empty one.
 */
extern char *verify_given_text(const text *given);
extern char *verify_given_bytes(const bytea *given);

/* verify_problem keeps a problem if it concerns an earlier entry than the one that is known. */
extern void verify_problem(LogCheck *check, int64 at, const char *format, ...)
	pg_attribute_printf(3, 4);

/* verify_entries_begin gets ready for a log's entries; size, first and edge are known. */
extern void verify_entries_begin(LogCheck *check);

/*
 * verify_entry takes a row of the log, once each, in any order. slice: the table
 * that it was found in. entry: as stored, in or out of line.
 */
extern void verify_entry(LogCheck *check, int slice, int64 sequence, int32 hint, Datum entry);

/* verify_group returns the hash of a full group, computed from its entries; NULL: some are missing. */
extern const MerkleHash *verify_group(const LogCheck *check, int64 index);

/* verify_leaves returns what was found of a group that is not full or complete, or NULL. */
extern const VerifyGroup *verify_leaves(const LogCheck *check, int64 index);

/* verify_missing finds the first entry below size that has no row. */
extern void verify_missing(LogCheck *check, int64 size);

/*
 * verify_images_begin gets ready to compare biometric.image_entry with a log's
 * entries; seen_limit is known. verify_images_of_entry takes an entry, at or
 * behind first and before seen_limit, and verify_image_row a row; each once, in
 * any order. verify_images tells whether they agree. It says nothing when
 * another problem is known.
 */
extern void verify_images_begin(LogCheck *check);
extern void verify_images_of_entry(LogCheck *check, int64 sequence, const EntryFields *fields);
extern void verify_image_row(LogCheck *check, const uint8 *image_id, int64 sequence);
extern void verify_images(LogCheck *check);

/*
 * verify_derived_begin gets ready to compare biometric.activity and
 * biometric.traced with a log's entries; seen_limit is known, and
 * verify_images_begin came before. verify_derived_of_entry takes an entry, at or behind first and before
 * seen_limit, verify_activity_row and verify_traced_row the values of a row, none of
 * them null; each once, in any order. verify_derived tells whether they agree.
 * It says nothing when another problem is known.
 */
extern void verify_derived_begin(LogCheck *check);
extern void verify_derived_of_entry(LogCheck *check, int64 sequence, const EntryFields *fields,
									const uint8 *bytes, Size length);
extern void verify_activity_row(LogCheck *check, const Datum *values);
extern void verify_traced_row(LogCheck *check, const Datum *values);
extern void verify_derived(LogCheck *check);

/*
 * verify_fetch fetches a value that is stored compressed or out of line, palloc'd;
 * NULL, with a problem noted, when that fails. at: the entry that it touches;
 * what: the value's name in the problem.
 */
extern struct varlena *verify_fetch(LogCheck *check, int64 at, const char *what, Datum value);

/*
 * verify_notice keeps an entry that says something about the log as a whole, and
 * verify_segment_row a row of biometric.segment. verify_log compares a log's
 * row and its segments with these; verify_lineage the logs, ascending by
 * ordinal, with one another and with restored, a list of LedgerLog. Both say nothing when
 * another problem is known.
 */
extern void verify_notice(LogCheck *check, int64 sequence, const EntryFields *fields);
extern void verify_segment_row(LogCheck *check, int64 segment, const MerkleHash *root,
							   const char *reason);
extern void verify_log(LogCheck *check);
extern void verify_lineage(LogCheck *checks, int count, List *restored);

/* verify_tree checks what the entries make up against all that is known of the log's tree. */
extern void verify_tree(LogCheck *check);

/* verify_head checks a log's head row against its entries and tiles. */
extern void verify_head(LogCheck *check);

#endif
