/*
 * limits.c - judges images on their way into columns that collect() has declared.
 */
#include "base/compat.h"

#include "access/htup_details.h"
#include "replication/logicalworker.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "base/lineage.h"
#include "home/home.h"
#include "image/bind.h"
#include "trigger/limits.h"

/* An image that has been collected already, as the BEFORE trigger has found, for the AFTER one. */
typedef struct KeptKey
{
	uint8 image_id[ENVELOPE_ID_SIZE];
	Oid relation;
	int32 attribute;
} KeptKey;

typedef struct KeptImage
{
	KeptKey key;
	uint32 limits; /* bit n: by declaration n */
} KeptImage;

/* Of one transaction, in its memory. */
static HTAB *kept = NULL;
static LocalTransactionId kept_transaction = InvalidLocalTransactionId;

/* ---- what a column is under ---- */

/* The columns that tell subjects apart where the declaration was made, by name. */
static void
describe_subject(Relation relation, TriggerLimit *limit)
{
	Oid of = limit->limit.relation;
	Collection collection;
	List *lineage;

	if (limit->limit.max_per_day == 0 || !collection_find(of, &lineage, &collection))
		return;
	limit->subject = palloc0_array(TriggerKey, Max(collection.subjects, 1));
	for (int i = 0; i < collection.subjects; i++)
	{
		AttrNumber number =
			get_attnum(RelationGetRelid(relation), get_attname(of, collection.subject[i], false));

		if (number <= 0)
			continue;
		limit->pins_settings |=
			table_describe_key(TupleDescAttr(RelationGetDescr(relation), number - 1),
							   &limit->subject[limit->subjects++]);
	}
}

static void
append_declared(StringInfo json, const char *member, const char *text)
{
	if (text == NULL)
		return;
	appendStringInfo(json, "%s\"%s\":", json->data[json->len - 1] == '{' ? "" : ",", member);
	escape_json(json, text);
}

/* The nearest declaration that says what images are for. */
static char *
describe_declared(const TriggerLimits *limits)
{
	StringInfoData json;

	for (int i = 0; i < limits->count; i++)
	{
		const CollectionLimit *limit = &limits->limit[i].limit;

		if (limit->purpose == NULL && limit->legal_basis == NULL)
			continue;
		initStringInfo(&json);
		appendStringInfoString(&json, "\"for\":{");
		append_declared(&json, "purpose", limit->purpose);
		append_declared(&json, "legal_basis", limit->legal_basis);
		appendStringInfoChar(&json, '}');
		return json.data;
	}
	return NULL;
}

TriggerLimits *
limits_describe(Relation relation, const char *column)
{
	List *found;
	TriggerLimits *limits;
	ListCell *cell;

	if (!OidIsValid(limit_table()))
		return NULL;
	found = limit_find(relation_lineage(RelationGetRelid(relation)), column);
	if (found == NIL)
		return NULL;
	if (list_length(found) > LIMITS_MAX)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("column \"%s\" of table \"%s\" is under more than %d declarations",
							   column, RelationGetRelationName(relation), LIMITS_MAX),
						errhint("End some of them with biometric.collect().")));
	limits = palloc0_object(TriggerLimits);
	limits->limit = palloc0_array(TriggerLimit, list_length(found));
	foreach(cell, found)
	{
		TriggerLimit *limit = &limits->limit[limits->count++];

		limit->limit = *(CollectionLimit *) lfirst(cell);
		limits->any |= limit->limit.max_width != 0 || limit->limit.max_height != 0 ||
					   limit->limit.formats != 0 || limit->limit.max_per_day != 0;
		describe_subject(relation, limit);
	}
	limits->declared = describe_declared(limits);
	return limits;
}

const char *
limits_collected(const TriggerColumn *column, const char *collected)
{
	const char *declared = column->limits != NULL ? column->limits->declared : NULL;

	if (declared == NULL)
		return collected;
	if (collected == NULL)
		return psprintf("{%s}", declared);
	return psprintf("%.*s,%s}", (int) strlen(collected) - 1, collected, declared);
}

/* ---- images that have been collected already ---- */

/* By which declarations an image has been collected: those that hold where it was. */
static uint32
collected_at(const TriggerLimits *limits, const uint8 *home)
{
	HomeColumn place;
	List *lineage;
	char *name;
	uint32 found = 0;

	if (!home_find(home, &place) || place.attribute == InvalidAttrNumber)
		return 0;
	name = get_attname(place.relation, place.attribute, true);
	lineage = relation_lineage(place.relation);
	for (int i = 0; name != NULL && i < limits->count; i++)
		if (list_member_oid(lineage, limits->limit[i].limit.relation) &&
			strcmp(name, NameStr(limits->limit[i].limit.column)) == 0)
			found |= 1u << i;
	return found;
}

static KeptKey
kept_key(const uint8 *image_id, Oid relation, AttrNumber attribute)
{
	KeptKey key;

	memset(&key, 0, sizeof(key));
	memcpy(key.image_id, image_id, ENVELOPE_ID_SIZE);
	key.relation = relation;
	key.attribute = attribute;
	return key;
}

static void
keep_image(const KeptKey *key, uint32 limits)
{
	HASHCTL info = {
		.keysize = sizeof(KeptKey), .entrysize = sizeof(KeptImage), .hcxt = TopTransactionContext};
	KeptImage *image;

	if (kept_transaction != local_transaction_id())
	{
		kept = hash_create("biometric images collected before", 64, &info,
						   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		kept_transaction = local_transaction_id();
	}
	image = hash_search(kept, key, HASH_ENTER, NULL);
	image->limits = limits;
}

static uint32
kept_limits(const KeptKey *key)
{
	const KeptImage *image =
		kept_transaction == local_transaction_id() ? hash_search(kept, key, HASH_FIND, NULL) : NULL;

	return image != NULL ? image->limits : 0;
}

/*
 * An image that an UPDATE brings is bound to the row's partition before the row moves to another
 * one: that it comes from there says nothing until it has been judged.
 */
static KeptKey
pending_key(const uint8 *image_id)
{
	return kept_key(image_id, InvalidOid, InvalidAttrNumber);
}

static void
judged(const uint8 *image_id)
{
	const KeptKey key = pending_key(image_id);

	if (kept_transaction == local_transaction_id())
		(void) hash_search(kept, &key, HASH_REMOVE, NULL);
}

/* ---- judging ---- */

/*
 * Whether an image that has arrived may say where it comes from. What was given from outside may
 * have been exported by a transaction that then rolled back: only of who restores all is it
 * believed.
 */
static bool
may_claim(const TriggerColumn *column, const EnvelopeHeader *header, Datum bound)
{
	EnvelopeHeader stored;

	if ((header->flags & ENVELOPE_FLAG_IMPORTED) == 0)
		return true;
	if (!home_may_restore())
		return false;
	image_read_header(column->kind, bound, &stored);
	return (stored.flags & ENVELOPE_FLAG_IMPORTED) == 0;
}

/*
 * What the row had before may be bound anew, or sealed under another key: it is not collected
 * again.
 */
static void
keep_same(Relation relation, const TriggerColumn *column, const EnvelopeHeader *old, Datum value)
{
	KeptKey key = kept_key(old->image_id, RelationGetRelid(relation), column->attribute);
	ImageFacts facts;

	image_read_facts(column->kind, value, &facts);
	if (facts.authentic && memcmp(old->digest, facts.header.digest, ENVELOPE_DIGEST_SIZE) == 0)
		keep_image(&key, PG_UINT32_MAX);
}

/* Whether some declaration that has not had an image counts it. */
static bool
is_to_be_counted(const TriggerLimits *limits, uint32 known)
{
	for (int i = 0; i < limits->count && !IsLogicalWorker(); i++)
		if (limits->limit[i].limit.max_per_day != 0 && (known & (1u << i)) == 0)
			return true;
	return false;
}

void
limits_arriving(Relation relation, const TriggerColumn *column, bool update, const Datum *before,
				Datum value, Datum bound)
{
	static const uint8 nowhere[ENVELOPE_HOME_SIZE];
	const TriggerLimits *limits = column->limits;
	EnvelopeHeader old;
	ImageFacts facts;
	KeptKey pending;
	uint32 known = 0;

	if (!limits->any)
		return;
	image_read_header(column->kind, value, &facts.header);
	if (before != NULL)
	{
		image_read_header(column->kind, *before, &old);
		if (memcmp(old.image_id, facts.header.image_id, ENVELOPE_ID_SIZE) == 0)
		{
			keep_same(relation, column, &old, value);
			return;
		}
	}
	if (memcmp(facts.header.home, nowhere, ENVELOPE_HOME_SIZE) != 0)
	{
		KeptKey key =
			kept_key(facts.header.image_id, RelationGetRelid(relation), column->attribute);

		pending = pending_key(facts.header.image_id);
		image_read_facts(column->kind, value, &facts);
		if (facts.authentic && kept_limits(&pending) == 0 &&
			!limits_not_counted(facts.header.image_id) && may_claim(column, &facts.header, bound))
			known = collected_at(limits, facts.header.home);
		keep_image(&key, known);
	}
	for (int i = 0; i < limits->count; i++)
		if ((known & (1u << i)) == 0)
			limit_check(&limits->limit[i].limit, RelationGetRelid(relation), &facts.header);
	if (is_to_be_counted(limits, known))
		limits_note_bound(facts.header.image_id);
	pending = pending_key(facts.header.image_id);
	if (update && known == 0)
		keep_image(&pending, PG_UINT32_MAX);
}

/* What tells the subject of a row from others; NULL: the row has none. */
static char *
subject_of(const TriggerLimit *limit, Relation relation, HeapTuple row)
{
	StringInfoData json;
	bool any = false;
	int level = limit->pins_settings ? NewGUCNestLevel() : 0;

	if (limit->pins_settings)
		table_pin_settings();
	initStringInfo(&json);
	for (int i = 0; i < limit->subjects; i++)
	{
		TriggerKey *key = &limit->subject[i];
		bool isnull;
		Datum value = heap_getattr(row, key->attribute, RelationGetDescr(relation), &isnull);

		any |= !isnull;
		appendStringInfoChar(&json, i == 0 ? '[' : ',');
		if (isnull)
			appendStringInfoString(&json, "null");
		else
			table_append_value(&json, key, value);
	}
	if (limit->pins_settings)
		AtEOXact_GUC(false, level);
	return any ? json.data : NULL;
}

pg_noreturn static void
refuse_nobody(const TriggerLimit *limit, Relation relation)
{
	ereport(ERROR,
			(errcode(ERRCODE_NOT_NULL_VIOLATION),
			 errmsg("row of table \"%s\" has an image in column \"%s\", but no subject",
					RelationGetRelationName(relation), NameStr(limit->limit.column)),
			 errdetail("biometric.collect() declared for table \"%s\": at most %d images a subject "
					   "and day; the columns that biometric.describe_collection() named are NULL.",
					   get_rel_name(limit->limit.relation), limit->limit.max_per_day),
			 errhint("Say whom the image shows when it is enrolled.")));
}

pg_noreturn static void
refuse_unknown(Relation relation, const TriggerColumn *column)
{
	ereport(ERROR,
			(errcode(ERRCODE_CHECK_VIOLATION),
			 errmsg("it is not known what image is to be stored in column \"%s\" of table \"%s\"",
					column->name, RelationGetRelationName(relation)),
			 errdetail("biometric.collect() declared limits for it, and the header of the image "
					   "cannot be authenticated: its key is not at hand, or it was changed."),
			 errhint("Store it where its key is in the keyring.")));
}

/* Judges an authenticated image by all declarations but those that have had it already. */
static void
judge(Relation relation, const TriggerColumn *column, HeapTuple row, const EnvelopeHeader *header,
	  uint32 known)
{
	for (int i = 0; i < column->limits->count; i++)
	{
		const TriggerLimit *limit = &column->limits->limit[i];
		char *subject;

		if ((known & (1u << i)) != 0)
			continue;
		limit_check(&limit->limit, RelationGetRelid(relation), header);
		if (limit->limit.max_per_day == 0 || IsLogicalWorker())
			continue;
		subject = subject_of(limit, relation, row);
		if (subject == NULL)
			refuse_nobody(limit, relation);
		limit_count(&limit->limit, RelationGetRelid(relation), subject);
		limits_note_counted(header->image_id);
	}
}

void
limits_stored(Relation relation, const TriggerColumn *column, HeapTuple row,
			  const EnvelopeHeader *before, const ImageFacts *facts)
{
	const KeptKey key =
		kept_key(facts->header.image_id, RelationGetRelid(relation), column->attribute);
	const EnvelopeHeader *header = &facts->header;

	if (!column->limits->any)
		return;
	if (!facts->authentic)
		refuse_unknown(relation, column);
	if (before != NULL && memcmp(before->image_id, header->image_id, ENVELOPE_ID_SIZE) == 0 &&
		memcmp(before->digest, header->digest, ENVELOPE_DIGEST_SIZE) == 0)
		return;
	judge(relation, column, row, header, kept_limits(&key));
	judged(header->image_id);
}

void
limits_rewritten(Relation relation, const TriggerColumn *column, HeapTuple row,
				 const ImageFacts *facts)
{
	uint32 known;

	if (!column->limits->any)
		return;
	if (!facts->authentic)
		refuse_unknown(relation, column);
	known = (facts->header.flags & ENVELOPE_FLAG_IMPORTED) != 0 ||
					limits_not_counted(facts->header.image_id)
				? 0
				: collected_at(column->limits, facts->header.home);
	judge(relation, column, row, &facts->header, known);
}
