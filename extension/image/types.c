/*
 * types.c - tells image types, and what contains them, from all others.
 *
 * The answers are kept in a hash table by type OID. An invalidation of any
 * type or relation only advances a generation number; an entry counts if it
 * was begun under the present one. So a callback that arrives while an answer
 * is being worked out makes that answer stale, not wrong.
 */
#include "base/compat.h"

#include "access/transam.h"
#include "catalog/dependency.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "base/internal.h"
#include "base/relcache.h"
#include "image/image.h"
#include "image/value.h"

/* Beyond this many entries the table is begun anew at the next invalidation. */
#define TYPE_CACHE_LIMIT 4096

#define TYPE_NAME_SUFFIX "_image"

typedef struct TypeEntry
{
	Oid type; /* hash key */
	uint64 generation;
	ImageKind kind;
	uint32 kinds;
} TypeEntry;

/* How many functions are remembered; two with one place take turns. */
#define FUNCTION_CACHE_SIZE 64

typedef struct FunctionEntry
{
	Oid function;
	uint64 generation; /* type_generation when it was begun; 0: none */
	uint64 definitions;
	ImageKind kind;
} FunctionEntry;

static HTAB *type_cache = NULL;
static uint64 type_generation = 1;

/*
 * Functions of the extension, each where its OID says: the executor forgets what it has looked up
 * with each statement. One that leaves the extension is what it was; to make it another
 * advances function_definitions.
 */
static FunctionEntry function_cache[FUNCTION_CACHE_SIZE];
static uint64 function_definitions = 1;

static void
types_invalidate_syscache(Datum arg, int cacheid, uint32 hashvalue)
{
	type_generation++;
}

static void
types_invalidate_relcache(Datum arg, Oid relation)
{
	type_generation++;
}

static void
functions_invalidate(Datum arg, int cacheid, uint32 hashvalue)
{
	function_definitions++;
}

void
image_init(void)
{
	CacheRegisterSyscacheCallback(PROCOID, functions_invalidate, (Datum) 0);
	CacheRegisterSyscacheCallback(TYPEOID, types_invalidate_syscache, (Datum) 0);
	relcache_watch(types_invalidate_relcache);
}

static void
type_cache_prepare(void)
{
	HASHCTL control = {0};

	if (type_cache != NULL && hash_get_num_entries(type_cache) < TYPE_CACHE_LIMIT)
		return;
	if (type_cache != NULL)
	{
		hash_destroy(type_cache);
		type_cache = NULL;
	}
	control.keysize = sizeof(Oid);
	control.entrysize = sizeof(TypeEntry);
	control.hcxt = CacheMemoryContext;
	type_cache = hash_create("biometric_audit image types", 64, &control,
							 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* "face_image" is IMAGE_KIND_FACE; any name that is not a kind's is none. */
static ImageKind
kind_from_type_name(const char *name)
{
	char kind[NAMEDATALEN];
	Size length = strlen(name);
	Size suffix = strlen(TYPE_NAME_SUFFIX);

	if (length <= suffix || strcmp(name + length - suffix, TYPE_NAME_SUFFIX) != 0)
		return IMAGE_KIND_NONE;
	strlcpy(kind, name, length - suffix + 1);
	return image_kind_from_name(kind);
}

/*
 * The kind of exactly this type. The name alone proves nothing: anybody may
 * call a type face_image. Membership of the extension does.
 */
static ImageKind
own_type_kind(Oid type)
{
	HeapTuple tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	ImageKind kind = IMAGE_KIND_NONE;
	Oid extension;

	if (!HeapTupleIsValid(tuple))
		return IMAGE_KIND_NONE;
	if (((Form_pg_type) GETSTRUCT(tuple))->typtype == TYPTYPE_BASE &&
		((Form_pg_type) GETSTRUCT(tuple))->typisdefined)
		kind = kind_from_type_name(NameStr(((Form_pg_type) GETSTRUCT(tuple))->typname));
	ReleaseSysCache(tuple);
	if (kind == IMAGE_KIND_NONE)
		return IMAGE_KIND_NONE;
	extension = extension_oid();
	if (!OidIsValid(extension) || getExtensionOfObject(TypeRelationId, type) != extension)
		return IMAGE_KIND_NONE;
	return kind;
}

static uint32
row_type_kinds(Oid type)
{
	TupleDesc descriptor = lookup_rowtype_tupdesc_noerror(type, -1, true);
	uint32 kinds = 0;

	if (descriptor == NULL)
		return 0;
	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);

		if (!attribute->attisdropped)
			kinds |= image_type_kinds(attribute->atttypid);
	}
	ReleaseTupleDesc(descriptor);
	return kinds;
}

/* What a type that is not itself an image type has inside. */
static uint32
contained_kinds(Oid type)
{
	HeapTuple tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	char category;
	Oid element;
	Oid base;

	if (!HeapTupleIsValid(tuple))
		return 0;
	category = ((Form_pg_type) GETSTRUCT(tuple))->typtype;
	element = ((Form_pg_type) GETSTRUCT(tuple))->typelem;
	base = ((Form_pg_type) GETSTRUCT(tuple))->typbasetype;
	ReleaseSysCache(tuple);

	switch (category)
	{
		case TYPTYPE_BASE:
			return OidIsValid(element) ? image_type_kinds(element) : 0;
		case TYPTYPE_DOMAIN:
			return image_type_kinds(base);
		case TYPTYPE_COMPOSITE:
			return row_type_kinds(type);
		case TYPTYPE_RANGE:
			return image_type_kinds(get_range_subtype(type));
		case TYPTYPE_MULTIRANGE:
			return image_type_kinds(get_multirange_range(type));
		default:
			/* enums and pseudo-types hold no value of a type of their own */
			return 0;
	}
}

/* Result: copied, for the table may be rebuilt by a look-up inside a look-up. */
static TypeEntry
type_look_up(Oid type)
{
	TypeEntry answer = {.type = type};
	TypeEntry *entry;

	if (type_cache != NULL)
	{
		entry = hash_search(type_cache, &type, HASH_FIND, NULL);
		if (entry != NULL && entry->generation == type_generation)
			return *entry;
	}
	check_stack_depth();
	answer.generation = type_generation;
	answer.kind = own_type_kind(getBaseType(type));
	if (answer.kind != IMAGE_KIND_NONE)
		answer.kinds = UINT32_C(1) << answer.kind;
	else
		answer.kinds = contained_kinds(type);

	type_cache_prepare();
	entry = hash_search(type_cache, &type, HASH_ENTER, NULL);
	*entry = answer;
	return answer;
}

ImageKind
image_type_kind(Oid type)
{
	if (type < FirstNormalObjectId)
		return IMAGE_KIND_NONE;
	return type_look_up(type).kind;
}

AttrNumber
image_column(Oid table, const char *column)
{
	AttrNumber attribute = get_attnum(table, column);

	if (attribute <= InvalidAttrNumber)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
						errmsg("column \"%s\" of table \"%s\" does not exist", column,
							   get_rel_name(table)),
						errhint("Name a column that holds images.")));
	if (image_type_kind(get_atttype(table, attribute)) == IMAGE_KIND_NONE)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("column \"%s\" of table \"%s\" holds no images", column,
							   get_rel_name(table)),
						errdetail("Its type is none of the image types, nor a domain over one."),
						errhint("Name a column that holds images.")));
	return attribute;
}

uint32
image_type_kinds(Oid type)
{
	if (type < FirstNormalObjectId)
		return 0;
	return type_look_up(type).kinds;
}

/* The kind that a function was declared for; IMAGE_KIND_NONE: it is none of the extension's. */
static ImageKind
function_look_up(Oid function)
{
	HeapTuple tuple = NULL;
	ImageKind kind = IMAGE_KIND_NONE;
	Oid result;
	Oid argument = InvalidOid;

	/* a function that somebody else declared on our symbols could swap the types about */
	if (OidIsValid(extension_oid()) &&
		getExtensionOfObject(ProcedureRelationId, function) == extension_oid())
		tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		return IMAGE_KIND_NONE;
	result = ((Form_pg_proc) GETSTRUCT(tuple))->prorettype;
	if (((Form_pg_proc) GETSTRUCT(tuple))->pronargs > 0)
		argument = ((Form_pg_proc) GETSTRUCT(tuple))->proargtypes.values[0];
	ReleaseSysCache(tuple);
	kind = image_type_kind(result);
	if (kind == IMAGE_KIND_NONE)
		kind = image_type_kind(argument);
	return kind;
}

static ImageKind
function_kind(Oid function)
{
	FunctionEntry *entry = &function_cache[function % FUNCTION_CACHE_SIZE];
	FunctionEntry answer = {
		.function = function, .generation = type_generation, .definitions = function_definitions};

	if (entry->function == function && entry->generation == type_generation &&
		entry->definitions == function_definitions)
		return entry->kind;
	answer.kind = function_look_up(function);
	/* what is none may be made one, which invalidates nothing */
	if (answer.kind != IMAGE_KIND_NONE)
		*entry = answer;
	return answer.kind;
}

ImageKind
image_function_kind(FunctionCallInfo fcinfo)
{
	FmgrInfo *function = fcinfo->flinfo;
	ImageKind kind;

	if (function != NULL && function->fn_extra != NULL)
		return (ImageKind) (uintptr_t) function->fn_extra;
	kind = function != NULL ? function_kind(function->fn_oid) : IMAGE_KIND_NONE;
	if (kind == IMAGE_KIND_NONE)
		ereport(
			ERROR,
			(errcode(ERRCODE_UNDEFINED_FUNCTION),
			 errmsg("function does not belong to an image type of biometric_audit"),
			 errdetail("The functions of the image types work only as the extension declares "
					   "them."),
			 errhint("Use the functions and casts that CREATE EXTENSION biometric_audit made.")));
	function->fn_extra = (void *) (uintptr_t) kind;
	return kind;
}
