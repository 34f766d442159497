/*
 * table.h - what the row triggers must know of a table, worked out once.
 *
 * Kept in the backend by relation; a relcache invalidation of the table, or
 * of the table of homes, makes the next look-up begin anew. What a look-up
 * returned stays good until the end of the transaction.
 */
#ifndef BIOMETRIC_TRIGGER_TABLE_H
#define BIOMETRIC_TRIGGER_TABLE_H

#include "postgres.h"

#include "access/htup.h"
#include "catalog/pg_attribute.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/relcache.h"

#include "core/envelope.h"

typedef struct TriggerColumn
{
	AttrNumber attribute;
	ImageKind kind;
	uint8 home[ENVELOPE_HOME_SIZE];
	char *name;
	struct TriggerLimits *limits; /* what collect() declared: see trigger/limits.h; NULL: nothing */
	AttrNumber time;			  /* that its retention counts from; InvalidAttrNumber: none */
	Oid time_type;				  /* without domains */
	bool from_sealing;			  /* its retention counts from the sealing */
} TriggerColumn;

/* How a key column's value is written as JSON. */
typedef enum KeyForm
{
	KEY_INTEGER,
	KEY_BOOLEAN,
	KEY_TEXT,
	KEY_TIMESTAMPTZ, /* in UTC, so that a row has one key whatever the session's time zone */
	KEY_JSON,		 /* as to_jsonb() of a built-in type */
	KEY_OUTPUT		 /* as a string, by the type's output function */
} KeyForm;

typedef struct TriggerKey
{
	AttrNumber attribute;
	KeyForm form;
	Oid type; /* without domains */
	char *name;
	FmgrInfo function; /* KEY_JSON: to_jsonb(); KEY_OUTPUT: the output function */
} TriggerKey;

/* The columns that describe_collection() named; NULL in TriggerTable: none. */
typedef struct TriggerCollection
{
	Oid of; /* the relation that was described */
	int subjects;
	TriggerKey *subject;
	int places;
	TriggerKey *place;
	AttrNumber time; /* InvalidAttrNumber: none */
	Oid time_type;	 /* date, timestamp or timestamptz */
	bool pins_settings;
} TriggerCollection;

typedef struct TriggerTable
{
	int columns; /* 0: the table has no images (any more) */
	TriggerColumn *column;
	int keys; /* 0: the table has no key */
	TriggerKey *key;
	bool pins_settings; /* a key's text may depend on settings, which are fixed while it is made */
	TriggerCollection *collection;
} TriggerTable;

/* trigger_table_init registers the invalidation callback; from trigger_init. */
extern void trigger_table_init(void);

/*
 * trigger_table describes a table that is open and locked. Makes the homes of
 * its columns if there are none: errors as home_of_column's.
 */
extern const TriggerTable *trigger_table(Relation relation);

/*
 * table_row_key writes the key of a row as a JSON object; NULL when the
 * table has no key. A key longer than TABLE_ROW_KEY_MAX bytes is replaced
 * by an object with its SHA-256 as hexadecimal, member "sha256". A row has the same key
 * whatever the session's settings. Result: in the current memory context.
 */
extern char *table_row_key(const TriggerTable *table, Relation relation, HeapTuple row);

#define TABLE_ROW_KEY_MAX 8192

/*
 * table_collected writes what describe_collection() has named of a row as report/collection.h
 * says; NULL when there is nothing. Result: in the current memory context.
 * Errors: 54000 beyond COLLECTION_MAX_SIZE bytes.
 */
extern char *table_collected(const TriggerTable *table, Relation relation, HeapTuple row);

/*
 * table_describe_retention finds out which column of a table its images' retention counts from;
 * lineage: as relation_lineage(). Needs its columns described.
 */
extern void table_describe_retention(Relation relation, const List *lineage, TriggerTable *table);

/*
 * What is shared with collected.c. table_describe_key fills in how a column's value is
 * written, in the current memory context, and returns whether settings must be pinned for it;
 * table_append_value writes a value that is not null; table_pin_settings pins what such texts
 * depend on until the GUC nest level ends.
 */
extern bool table_describe_key(Form_pg_attribute attribute, TriggerKey *key);
extern void table_append_value(StringInfo json, TriggerKey *key, Datum value);
extern void table_pin_settings(void);

/*
 * table_describe_collection finds out what is collected of a table, in the current memory
 * context; NULL for nothing. lineage: set to its ancestors, on which that depends.
 */
extern TriggerCollection *table_describe_collection(Relation relation, List **lineage);

#endif
