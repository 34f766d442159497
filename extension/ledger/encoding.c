/*
 * encoding.c - texts on their way into entries, and out of them.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_conversion.h"
#include "catalog/pg_namespace.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "ledger/encoding.h"

/* A conversion, found once: what it calls then works outside of transactions too. */
typedef struct Conversion
{
	bool looked_up;
	bool there;
	FmgrInfo function;
} Conversion;

static Conversion to_utf8;
static Conversion from_utf8;

/* Of the texts of one entry; reset when it is encoded. NULL: none needed any yet. */
static MemoryContext entry_context = NULL;

/* Whether this database's texts are UTF-8, or are taken for it. */
static bool
server_is_utf8(void)
{
	int encoding = GetDatabaseEncoding();

	return encoding == PG_UTF8 || encoding == PG_SQL_ASCII;
}

/* Whether a text is the same in both encodings. */
static bool
is_plain(EntryText text)
{
	if (server_is_utf8())
		return pg_encoding_verifymbstr(PG_UTF8, text.bytes, (int) text.length) == (int) text.length;
	for (size_t i = 0; i < text.length; i++)
		if (IS_HIGHBIT_SET(text.bytes[i]) || text.bytes[i] == '\0')
			return false;
	return true;
}

/* NULL: there is none, or it cannot be looked up now. Users' own conversions do not count. */
static FmgrInfo *
conversion_function(Conversion *conversion, int from, int to)
{
	if (!conversion->looked_up && OidIsValid(MyDatabaseId) && IsTransactionState())
	{
		Oid function = FindDefaultConversion(PG_CATALOG_NAMESPACE, from, to);

		if (OidIsValid(function))
			fmgr_info_cxt(function, &conversion->function, TopMemoryContext);
		conversion->there = OidIsValid(function);
		conversion->looked_up = true;
	}
	return conversion->there ? &conversion->function : NULL;
}

/* Converts as much of a text as can be; returns how many of its bytes. */
static int
convert_beginning(FmgrInfo *function, int from, int to, const char *bytes, int length,
				  StringInfo out)
{
	int done;

	if (from == to)
	{
		done = pg_encoding_verifymbstr(PG_UTF8, bytes, length);
		appendBinaryStringInfo(out, bytes, done);
		return done;
	}
	if (function == NULL)
	{
		for (done = 0; done < length && !IS_HIGHBIT_SET(bytes[done]) && bytes[done] != '\0';)
			done++;
		appendBinaryStringInfo(out, bytes, done);
		return done;
	}
	enlargeStringInfo(out, length * MAX_CONVERSION_GROWTH + 1);
	done = DatumGetInt32(FunctionCall6(
		function, Int32GetDatum(from), Int32GetDatum(to), CStringGetDatum(bytes),
		CStringGetDatum(out->data + out->len), Int32GetDatum(length), BoolGetDatum(true)));
	out->len += (int) strlen(out->data + out->len);
	return done;
}

/* Writes the bytes of the character that a text begins with as escapes; returns how many. */
static int
escape_character(int from, const char *bytes, int length, bool json, StringInfo out)
{
	int count = pg_encoding_verifymbchar(from, bytes, length);

	if (count < 1 || bytes[0] == '\0')
		count = 1;
	for (int i = 0; i < count; i++)
		appendStringInfo(out, json ? "\\\\x%02X" : "\\x%02X", (unsigned char) bytes[i]);
	return count;
}

static EntryText
convert(EntryText text, Conversion *conversion, int from, int to, bool json)
{
	FmgrInfo *function = from == to ? NULL : conversion_function(conversion, from, to);
	StringInfoData out;

	initStringInfo(&out);
	for (int at = 0; at < (int) text.length;)
	{
		at += convert_beginning(function, from, to, text.bytes + at, (int) text.length - at, &out);
		if (at < (int) text.length)
			at += escape_character(from, text.bytes + at, (int) text.length - at, json, &out);
	}
	return (EntryText){.bytes = out.data, .length = (size_t) out.len};
}

EntryText
encoding_to_utf8(EntryText text, bool json)
{
	int encoding = server_is_utf8() ? PG_UTF8 : GetDatabaseEncoding();

	if (text.bytes == NULL || is_plain(text))
		return text;
	return convert(text, &to_utf8, encoding, PG_UTF8, json);
}

EntryText
encoding_to_server(EntryText text, bool json)
{
	int encoding = server_is_utf8() ? PG_UTF8 : GetDatabaseEncoding();

	if (text.bytes == NULL || is_plain(text))
		return text;
	return convert(text, &from_utf8, PG_UTF8, encoding, json);
}

char *
encoding_string(EntryText text, bool json)
{
	EntryText converted = encoding_to_server(text, json);

	return converted.bytes == NULL ? pstrdup("") : pnstrdup(converted.bytes, converted.length);
}

char *
encoding_recorded(const char *text)
{
	EntryText given = {.bytes = text, .length = strlen(text)};

	return encoding_string(encoding_to_utf8(given, false), false);
}

/* An EntryTextMap. */
static EntryText
map_to_utf8(EntryText text, bool json, void *context)
{
	MemoryContext old;

	if (is_plain(text))
		return text;
	if (entry_context == NULL)
		entry_context = AllocSetContextCreate(TopMemoryContext, "biometric texts of an entry",
											  ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(entry_context);
	text = encoding_to_utf8(text, json);
	MemoryContextSwitchTo(old);
	return text;
}

CoreStatus
encoding_entry(const EntryFields *fields, uint8_t *out, size_t capacity, size_t *length)
{
	EntryFields said = *fields;
	CoreStatus status;

	/* what is found here serves later on, where nothing can be looked up */
	if (!server_is_utf8())
		(void) conversion_function(&to_utf8, GetDatabaseEncoding(), PG_UTF8);
	/* an entry may be encoded again: its own texts stay what they are */
	entry_map_texts(&said, map_to_utf8, NULL);
	status = entry_encode(&said, out, capacity, length);
	if (entry_context != NULL)
		MemoryContextReset(entry_context);
	return status;
}
