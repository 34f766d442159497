/*
 * collection.h - which columns of a table say whom its images show, and where
 * and when they were taken.
 *
 * biometric.collection has a row a described table, written by
 * describe_collection(). Rows of this database's own logs count by (relation,
 * attribute numbers), restored ones by (relation, column names), and only if
 * fork_ledger() has adopted their log; as biometric.home.
 *
 * What the columns of a row say goes into its `stored` and `replaced` entries,
 * compact, its members in this order, each only if one of its columns is not null:
 *
 *   {"of":"schema.table","subject":{"column":value,...},"place":{...},
 *    "time":"2026-05-01T12:00:00Z","for":{"purpose":"...","legal_basis":"..."}}
 *
 * of is the relation that was described: the table, or an ancestor of it, so that a
 * subject is one in all of its partitions; it never stands alone, and stands wherever one of the
 * next three does. for is what collect() declared for the image's column; it may stand alone.
 * subject and place have the columns in the order in which they were named, values as to_jsonb()
 * of built-in types. Equal members, in whatever order, are the same subject, or place: see
 * collected_sorted. time is UTC, with six digits of a second's fraction if it is not zero.
 */
#ifndef BIOMETRIC_REPORT_COLLECTION_H
#define BIOMETRIC_REPORT_COLLECTION_H

#include "postgres.h"

#include "access/attnum.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"

#include "core/entry.h"
#include "policy/change.h"

/* So many columns a subject or a place may have. */
#define COLLECTION_MAX_COLUMNS 16

/* What is collected of one row takes at most so many bytes. */
#define COLLECTION_MAX_SIZE 4096

/* The columns of one table, by their numbers in it. */
typedef struct Collection
{
	Oid of; /* the table itself, or the ancestor of it, that was described */
	int subjects;
	AttrNumber subject[COLLECTION_MAX_COLUMNS];
	int places;
	AttrNumber place[COLLECTION_MAX_COLUMNS];
	AttrNumber time; /* InvalidAttrNumber: none */
} Collection;

/*
 * collection_find finds what a table's images are described by: its own
 * description, or that of its nearest ancestor that has one, matched by names of columns;
 * columns that it does not have are left out. lineage: as relation_lineage(); set to it.
 * False: nobody has described it. Needs a transaction.
 */
extern bool collection_find(Oid relation, List **lineage, Collection *collection);

/* collection_table returns the OID of biometric.collection, InvalidOid when it is not there. */
extern Oid collection_table(void);

/*
 * collection_describe replaces the description of a table, or removes it if there is
 * nothing in the new one, and queues its entry, policy_changed. Between
 * change_begin_checked and change_end. Returns false when there was, and is, none.
 */
extern bool collection_describe(const PolicyChange *change, Oid relation,
								const Collection *collection);

/*
 * collection_sync brings biometric.collection in line with the catalogs: rows of
 * relations that are gone are deleted, columns that are gone are taken out, names renewed.
 */
extern void collection_sync(void);

/*
 * What is collected of a row, taken apart; bytes NULL: not recorded. Points into the entry's text.
 */
typedef struct Collected
{
	EntryText of;		/* without its quotes, escapes as they are */
	EntryText subject;	/* a JSON object */
	EntryText place;	/* a JSON object */
	EntryText time;		/* without its quotes */
	EntryText declared; /* a JSON object: what the image was collected for */
} Collected;

/*
 * collected_parse takes tag 27 of an entry apart, trusting nothing; what cannot be read is absent.
 */
extern void collected_parse(EntryText collected, Collected *parsed);

/* collected_unquoted appends what a JSON string stands for, which is given without its quotes. */
extern void collected_unquoted(EntryText string, StringInfo text);

/*
 * collected_sorted appends a JSON object as jsonb prints it: its members by the length of
 * their names, then by their bytes, with one blank behind each colon and comma. What is no
 * object, or has more than 63 members, keeps its order.
 */
extern void collected_sorted(EntryText object, StringInfo text);

#endif
