/*
 * test_entry.c - the canonical bytes of entries: every field there and back,
 * and no second encoding of anything.
 */
#include "core/entry.h"
#include "tap.h"

static const uint8_t image_id[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
static const uint8_t old_id[16] = {0, 0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17};
static const uint8_t digest[ENTRY_DIGEST_SIZE] = {1,  2,  3,  4,  5,  6,  7,  8,		9,
												  10, 11, 12, 13, 14, 15, 16, [31] = 32};
static const uint8_t picture_hash[ENTRY_HASH_SIZE] = {0xf0, [31] = 1};

#define TEXT(s) ((EntryText){(s), sizeof(s) - 1})

static bool
same_text(EntryText a, EntryText b)
{
	if (a.bytes == NULL || b.bytes == NULL)
		return a.bytes == b.bytes;
	return a.length == b.length && memcmp(a.bytes, b.bytes, a.length) == 0;
}

static bool
same_id(const uint8_t *a, const uint8_t *b)
{
	return a == NULL || b == NULL ? a == b : memcmp(a, b, ENTRY_IMAGE_ID_SIZE) == 0;
}

static bool
same_hash(const uint8_t *a, const uint8_t *b)
{
	return a == NULL || b == NULL ? a == b : memcmp(a, b, ENTRY_HASH_SIZE) == 0;
}

static bool
same(const EntryFields *a, const EntryFields *b)
{
	return a->event == b->event && a->at == b->at && a->reference == b->reference &&
		   same_id(a->image_id, b->image_id) && a->kind == b->kind &&
		   a->relation_index == b->relation_index && a->permit == b->permit &&
		   a->reason == b->reason && same_text(a->party, b->party) &&
		   same_text(a->network, b->network) && same_text(a->client_addr, b->client_addr) &&
		   same_text(a->session_user_name, b->session_user_name) &&
		   same_text(a->current_user_name, b->current_user_name) &&
		   same_text(a->application, b->application) && same_text(a->purpose, b->purpose) &&
		   same_text(a->command, b->command) && a->query_id == b->query_id &&
		   same_text(a->relations, b->relations) && same_text(a->detail, b->detail) &&
		   a->process == b->process && same_text(a->database, b->database) && a->tls == b->tls &&
		   same_text(a->relation, b->relation) && a->operation == b->operation &&
		   same_id(a->old_image_id, b->old_image_id) && same_text(a->column, b->column) &&
		   same_text(a->row_key, b->row_key) && a->transaction == b->transaction &&
		   a->relation_oid == b->relation_oid && same_text(a->collected, b->collected) &&
		   same_hash(a->digest, b->digest) && a->key == b->key &&
		   same_hash(a->picture_hash, b->picture_hash) && a->marked == b->marked;
}

static EntryFields
plain(void)
{
	return (EntryFields){.event = ENTRY_STATEMENT, .at = -5, .reference = 77};
}

static EntryFields
full(void)
{
	EntryFields fields = {
		.event = ENTRY_DISCLOSED,
		.at = INT64_C(1735689600123456),
		.reference = INT64_MAX,
		.image_id = image_id,
		.kind = IMAGE_KIND_PLATE,
		.relation_index = 300,
		.permit = UINT64_MAX,
		.reason = REASON_IMPORTED,
		.party = TEXT("police"),
		.network = TEXT("10.0.0.0/8"),
		.client_addr = TEXT("10.1.2.3"),
		.session_user_name = TEXT("clerk"),
		.current_user_name = TEXT("owner"),
		.application = TEXT(""),
		.purpose = TEXT("border \xc3\xbc"),
		.command = TEXT("SELECT"),
		.query_id = 256,
		.relations = TEXT("public.a\npublic.b"),
		.detail = TEXT("{\"a\": 1}"),
		.process = 4711,
		.database = TEXT("db"),
		.tls = 1,
		.relation = TEXT("public.traveller"),
		.operation = OPERATION_LAST,
		.old_image_id = old_id,
		.column = TEXT("img"),
		.row_key = TEXT("{\"id\": 1}"),
		.transaction = UINT64_MAX,
		.relation_oid = UINT32_MAX,
		.collected = TEXT("{\"time\": \"2026-01-01\"}"),
		.digest = digest,
		.key = UINT32_MAX,
		.picture_hash = picture_hash,
		.marked = 1,
	};

	return fields;
}

/* Encodes, decodes, compares, encodes again. */
static bool
round_trip(const EntryFields *fields, size_t *length)
{
	static uint8_t bytes[ENTRY_MAX_SIZE];
	static uint8_t again[ENTRY_MAX_SIZE];
	EntryFields decoded;
	size_t second;
	uint8_t *copy;
	bool fine;

	if (entry_encode(fields, bytes, sizeof(bytes), length) != CORE_OK)
		return false;
	copy = tap_copy(bytes, *length);
	fine = entry_decode(copy, *length, &decoded) == CORE_OK && same(fields, &decoded) &&
		   entry_encode(&decoded, again, sizeof(again), &second) == CORE_OK && second == *length &&
		   memcmp(bytes, again, second) == 0;
	free(copy);
	return fine;
}

static void
check_one(EntryFields fields, const char *name)
{
	size_t length;

	tap_ok(round_trip(&fields, &length), "%s goes there and back", name);
}

#define CHECK_FIELD(field, value)                                                                  \
	do                                                                                             \
	{                                                                                              \
		EntryFields fields = plain();                                                              \
		fields.field = (value);                                                                    \
		check_one(fields, #field);                                                                 \
	} while (0)

static void
check_fields(void)
{
	check_one(plain(), "an entry of nothing but the fixed part");
	check_one(full(), "an entry with every field");
	CHECK_FIELD(at, INT64_MIN);
	CHECK_FIELD(reference, ENTRY_NO_REFERENCE);
	CHECK_FIELD(image_id, image_id);
	CHECK_FIELD(kind, IMAGE_KIND_IRIS);
	CHECK_FIELD(relation_index, UINT32_MAX);
	CHECK_FIELD(permit, 1);
	CHECK_FIELD(reason, REASON_PERMITTED);
	CHECK_FIELD(party, TEXT("p"));
	CHECK_FIELD(network, TEXT("local"));
	CHECK_FIELD(client_addr, TEXT("::1"));
	CHECK_FIELD(session_user_name, TEXT("s"));
	CHECK_FIELD(current_user_name, TEXT("c"));
	CHECK_FIELD(application, TEXT("psql"));
	CHECK_FIELD(purpose, TEXT(""));
	CHECK_FIELD(command, TEXT("COPY"));
	CHECK_FIELD(query_id, UINT64_C(1) << 63);
	CHECK_FIELD(relations, TEXT("a\nb"));
	CHECK_FIELD(detail, TEXT("{}"));
	CHECK_FIELD(process, 255);
	CHECK_FIELD(database, TEXT("d"));
	CHECK_FIELD(tls, 1);
	CHECK_FIELD(relation, TEXT("r"));
	CHECK_FIELD(old_image_id, old_id);
	CHECK_FIELD(column, TEXT("c"));
	CHECK_FIELD(row_key, TEXT("{}"));
	CHECK_FIELD(transaction, UINT64_C(1) << 32);
	CHECK_FIELD(relation_oid, 16384);
	CHECK_FIELD(collected, TEXT("{}"));
	CHECK_FIELD(digest, digest);
	CHECK_FIELD(key, 7);
	CHECK_FIELD(picture_hash, picture_hash);
	CHECK_FIELD(marked, 1);
	for (int operation = OPERATION_INSERT; operation <= OPERATION_LAST; operation++)
		CHECK_FIELD(operation, (EntryOperation) operation);
	for (int event = 1; event <= ENTRY_EVENT_LAST; event++)
		CHECK_FIELD(event, (EntryEvent) event);
}

static void
check_text_lengths(void)
{
	static const size_t lengths[] = {0, 1, 127, 128, 129, 16383, 16384, 16385, 65512, 65513};
	static char text[65600];
	long failed = 0;

	memset(text, 'x', sizeof(text));
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
	{
		EntryFields fields = plain();
		size_t length;
		size_t head = lengths[i] < 128 ? 2 : lengths[i] < 16384 ? 3 : 4;

		fields.detail = (EntryText){text, lengths[i]};
		failed += !round_trip(&fields, &length) || length != ENTRY_FIXED_SIZE + head + lengths[i];
	}
	tap_all(failed, 10, -1, "texts of any length go there and back");
}

static void
check_refusals(void)
{
	static uint8_t bytes[ENTRY_MAX_SIZE + 100];
	static char text[70000];
	EntryFields fields = plain();
	size_t length = 99;

	memset(text, 'x', sizeof(text));
	fields.detail = (EntryText){text, 65514};
	tap_number(entry_encode(&fields, bytes, sizeof(bytes), &length), CORE_TOO_SMALL,
			   "an entry of 65536 bytes is refused");
	tap_number((long long) length, 0, "and has no length");
	fields.detail.length = sizeof(text);
	tap_number(entry_encode(&fields, bytes, sizeof(bytes), &length), CORE_TOO_SMALL,
			   "as is a text that no entry could hold");
	fields = plain();
	fields.event = 0;
	tap_number(entry_encode(&fields, bytes, sizeof(bytes), &length), CORE_MALFORMED, "no event");
	fields.event = ENTRY_EVENT_LAST + 1;
	tap_number(entry_encode(&fields, bytes, sizeof(bytes), &length), CORE_MALFORMED,
			   "an unknown event");
	fields = plain();
	fields.kind = IMAGE_KIND_LAST + 1;
	tap_number(entry_encode(&fields, bytes, sizeof(bytes), &length), CORE_MALFORMED,
			   "an unknown kind");
	fields = plain();
	fields.reason = REASON_LAST + 1;
	tap_number(entry_encode(&fields, bytes, sizeof(bytes), &length), CORE_MALFORMED,
			   "an unknown reason");
	fields = plain();
	fields.operation = OPERATION_LAST + 1;
	tap_number(entry_encode(&fields, bytes, sizeof(bytes), &length), CORE_MALFORMED,
			   "an unknown operation");
	fields = plain();
	fields.relation_oid = UINT64_C(1) << 32;
	tap_number(entry_encode(&fields, bytes, sizeof(bytes), &length), CORE_MALFORMED,
			   "an OID of 33 bits");
	fields = plain();
	fields.tls = 2;
	tap_number(entry_encode(&fields, bytes, sizeof(bytes), &length), CORE_MALFORMED,
			   "a tls that is neither 0 nor 1");
	fields = plain();
	fields.key = UINT64_C(1) << 32;
	tap_number(entry_encode(&fields, bytes, sizeof(bytes), &length), CORE_MALFORMED,
			   "a key id of 33 bits");
	fields = plain();
	fields.marked = 2;
	tap_number(entry_encode(&fields, bytes, sizeof(bytes), &length), CORE_MALFORMED,
			   "a mark that is neither there nor not");
	fields = plain();
	fields.reference = -2;
	tap_number(entry_encode(&fields, bytes, sizeof(bytes), &length), CORE_MALFORMED,
			   "a negative reference");
	fields = plain();
	fields.party = (EntryText){"a\0b", 3};
	tap_number(entry_encode(&fields, bytes, sizeof(bytes), &length), CORE_MALFORMED,
			   "a zero byte in a text");
}

/* Whatever the room, it is never exceeded. */
static void
check_capacity(void)
{
	uint8_t reference[512];
	EntryFields fields = full();
	size_t needed;
	long failed = entry_encode(&fields, reference, sizeof(reference), &needed) != CORE_OK;

	for (size_t capacity = 0; capacity <= needed; capacity++)
	{
		uint8_t *room = tap_copy(reference, capacity);
		size_t length = 99;
		CoreStatus status = entry_encode(&fields, room, capacity, &length);

		failed += capacity < needed ? status != CORE_TOO_SMALL || length != 0
									: status != CORE_OK || memcmp(room, reference, needed) != 0;
		free(room);
	}
	tap_all(failed, (long) needed + 1, -1, "too little room is told, and not exceeded");
}

/* Cut within a field nothing decodes; cut between two, it is the shorter entry and no other. */
static void
check_cuts(void)
{
	uint8_t bytes[512];
	EntryFields fields = full();
	size_t length;
	long failed = entry_encode(&fields, bytes, sizeof(bytes), &length) != CORE_OK;
	long whole = 0;

	for (size_t cut = 0; cut < length; cut++)
	{
		uint8_t *copy = tap_copy(bytes, cut);
		uint8_t again[512];
		static const EntryFields none;
		size_t second = 0;
		CoreStatus status = entry_decode(copy, cut, &fields);

		if (status == CORE_OK)
		{
			whole++;
			failed += entry_encode(&fields, again, sizeof(again), &second) != CORE_OK ||
					  second != cut || memcmp(again, bytes, cut) != 0;
		}
		else
			failed += status != CORE_TRUNCATED || !same(&fields, &none);
		free(copy);
	}
	tap_all(failed, (long) length, -1, "an entry cut short is truncated or a shorter entry");
	tap_number(whole, 31, "the latter only where a field ends");
}

typedef struct BadBytes
{
	const char *hex; /* what follows a good fixed part */
	CoreStatus expected;
	const char *name;
} BadBytes;

static const BadBytes bad[] = {
	{"00", CORE_MALFORMED, "tag 0"},
	{"2000", CORE_MALFORMED, "an unknown tag"},
	{"ff00", CORE_MALFORMED, "tag 255"},
	{"06017007", CORE_TRUNCATED, "a field without a length"},
	{"06017006", CORE_MALFORMED, "a field that comes twice"},
	{"0701700601", CORE_MALFORMED, "fields in the wrong order"},
	{"06818000", CORE_MALFORMED, "a length not in its shortest form"},
	{"068000", CORE_MALFORMED, "a length of zero in two bytes"},
	{"0680808001", CORE_MALFORMED, "a length in four bytes"},
	{"06ffff07", CORE_MALFORMED, "a length beyond the largest entry"},
	{"06ffff03", CORE_TRUNCATED, "a length beyond the end"},
	{"0680", CORE_TRUNCATED, "a length that is cut short"},
	{"0603610062", CORE_MALFORMED, "a zero byte in a text"},
	{"010f0102030405060708090a0b0c0d0e0f", CORE_MALFORMED, "an image id of 15 bytes"},
	{"01110102030405060708090a0b0c0d0e0f1011", CORE_MALFORMED, "an image id of 17 bytes"},
	{"0100", CORE_MALFORMED, "an image id of nothing"},
	{"0200", CORE_MALFORMED, "an integer of no bytes"},
	{"020100", CORE_MALFORMED, "an integer that is zero"},
	{"02020001", CORE_MALFORMED, "an integer with a leading zero"},
	{"020106", CORE_MALFORMED, "an unknown kind"},
	{"02050100000001", CORE_MALFORMED, "a kind that is one in its low bytes only"},
	{"03050100000000", CORE_MALFORMED, "a relation index of 33 bits"},
	{"0409010000000000000000", CORE_MALFORMED, "an integer of nine bytes"},
	{"050111", CORE_MALFORMED, "an unknown reason"},
	{"130102", CORE_MALFORMED, "a tls of 2"},
	{"15010a", CORE_MALFORMED, "an unknown operation"},
	{"1600", CORE_MALFORMED, "an old image id of nothing"},
	{"1a050100000000", CORE_MALFORMED, "an OID of 33 bits"},
	{"1a0101190101", CORE_MALFORMED, "an OID before the transaction"},
	{"1c1f000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e", CORE_MALFORMED,
	 "a digest of 31 bytes"},
	{"1c00", CORE_MALFORMED, "a digest of nothing"},
	{"1d050100000000", CORE_MALFORMED, "a key id of 33 bits"},
	{"1e100102030405060708090a0b0c0d0e0f10", CORE_MALFORMED, "a picture hash of 16 bytes"},
	{"1f0102", CORE_MALFORMED, "a mark of 2"},
};

static void
check_bad_bytes(void)
{
	static const EntryFields none;
	uint8_t bytes[64];
	EntryFields fields = plain();
	size_t head;

	if (entry_encode(&fields, bytes, sizeof(bytes), &head) != CORE_OK)
		abort();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		size_t length = head + tap_unhex(bad[i].hex, bytes + head);
		uint8_t *copy = tap_copy(bytes, length);
		CoreStatus status = entry_decode(copy, length, &fields);

		if (!tap_ok(status == bad[i].expected && same(&fields, &none), "%s is refused",
					bad[i].name))
			printf("# status %d, expected %d\n", status, bad[i].expected);
		free(copy);
	}
	bytes[0] = 2;
	tap_number(entry_decode(bytes, head, &fields), CORE_BAD_VERSION, "version 2 is refused");
	bytes[0] = 1;
	bytes[1] = 0;
	tap_number(entry_decode(bytes, head, &fields), CORE_MALFORMED, "event 0 is refused");
	bytes[1] = ENTRY_EVENT_LAST + 1;
	tap_number(entry_decode(bytes, head, &fields), CORE_MALFORMED, "an unknown event is refused");
	bytes[1] = ENTRY_SESSION;
	bytes[ENTRY_REFERENCE_OFFSET] = 0x80;
	tap_number(entry_decode(bytes, head, &fields), CORE_MALFORMED,
			   "a negative reference is refused");
}

static void
check_size_limit(void)
{
	static uint8_t bytes[ENTRY_MAX_SIZE + 1];
	EntryFields fields = plain();
	size_t length;
	static char text[65513];

	memset(text, 'x', sizeof(text));
	fields.detail = (EntryText){text, sizeof(text)};
	tap_ok(entry_encode(&fields, bytes, sizeof(bytes), &length) == CORE_OK &&
			   length == ENTRY_MAX_SIZE,
		   "the largest entry has 65535 bytes");
	/* Its one field's length is in the bytes 19 to 21. */
	bytes[19]++;
	bytes[ENTRY_MAX_SIZE] = 'x';
	tap_number(entry_decode(bytes, sizeof(bytes), &fields), CORE_MALFORMED,
			   "one byte more is refused");
}

static void
check_reference(void)
{
	uint8_t bytes[512];
	EntryFields fields = full();
	EntryFields decoded;
	size_t length;

	tap_number(entry_encode(&fields, bytes, sizeof(bytes), &length), CORE_OK,
			   "an entry is encoded");
	entry_set_reference(bytes, 123456789);
	fields.reference = 123456789;
	tap_ok(entry_decode(bytes, length, &decoded) == CORE_OK && same(&fields, &decoded),
		   "its reference is patched, and nothing else");
	entry_set_reference(bytes, ENTRY_NO_REFERENCE);
	fields.reference = ENTRY_NO_REFERENCE;
	tap_ok(entry_decode(bytes, length, &decoded) == CORE_OK && same(&fields, &decoded),
		   "also to none");
}

/* Changed bytes decode to something that encodes to the same bytes, or not at all. */
static void
check_canonical(void)
{
	uint8_t bytes[512];
	uint8_t again[512];
	EntryFields fields = full();
	size_t length;
	long failed = entry_encode(&fields, bytes, sizeof(bytes), &length) != CORE_OK;
	long decoded = 0;

	for (size_t at = 0; at < length; at++)
	{
		uint8_t kept = bytes[at];

		for (int value = 0; value < 256; value++)
		{
			size_t second;

			bytes[at] = (uint8_t) value;
			if (entry_decode(bytes, length, &fields) != CORE_OK)
				continue;
			decoded++;
			failed += entry_encode(&fields, again, sizeof(again), &second) != CORE_OK ||
					  second != length || memcmp(bytes, again, length) != 0;
		}
		bytes[at] = kept;
	}
	tap_all(failed, decoded, -1, "what decodes encodes to the same bytes");
}

/* The bytes themselves, so that no later change moves what is stored. */
static void
check_stored(void)
{
	uint8_t bytes[64];
	EntryFields fields = {
		.event = ENTRY_DISCLOSED,
		.at = 1,
		.reference = 2,
		.kind = IMAGE_KIND_FACE,
		.permit = 258,
		.party = TEXT("ab"),
	};
	size_t length;

	tap_ok(entry_encode(&fields, bytes, sizeof(bytes), &length) == CORE_OK, "an entry is encoded");
	tap_hex(bytes, length,
			"0103"
			"0000000000000001"
			"0000000000000002"
			"020101"
			"04020102"
			"06026162",
			"to the bytes that the header draws");
}

/* As check_stored, of a change. */
static void
check_stored_change(void)
{
	uint8_t bytes[128];
	EntryFields fields = {
		.event = ENTRY_REPLACED,
		.at = 1,
		.reference = 2,
		.image_id = image_id,
		.relation_index = 1,
		.operation = OPERATION_UPDATE,
		.old_image_id = old_id,
		.column = TEXT("img"),
		.row_key = TEXT("{}"),
		.transaction = 258,
		.relation_oid = 16384,
	};
	size_t length;

	tap_ok(entry_encode(&fields, bytes, sizeof(bytes), &length) == CORE_OK, "a change is encoded");
	tap_hex(bytes, length,
			"0108"
			"0000000000000001"
			"0000000000000002"
			"01100102030405060708090a0b0c0d0e0f10"
			"030101"
			"150102"
			"16100000030405060708090a0b0c0d0e0f11"
			"1703696d67"
			"18027b7d"
			"19020102"
			"1a024000",
			"to the bytes that the header draws");
}

/* As check_stored, of an image that can be traced. */
static void
check_stored_traces(void)
{
	uint8_t bytes[128];
	EntryFields fields = {
		.event = ENTRY_STORED,
		.at = 1,
		.reference = 2,
		.collected = TEXT("{}"),
		.digest = digest,
		.key = 258,
		.picture_hash = picture_hash,
		.marked = 1,
	};
	size_t length;

	tap_ok(entry_encode(&fields, bytes, sizeof(bytes), &length) == CORE_OK,
		   "an image with its traces is encoded");
	tap_hex(bytes, length,
			"0107"
			"0000000000000001"
			"0000000000000002"
			"1b027b7d"
			"1c200102030405060708090a0b0c0d0e0f1000000000000000000000000000000020"
			"1d020102"
			"1e20f000000000000000000000000000000000000000000000000000000000000001"
			"1f0101",
			"to the bytes that the header draws");
}

/* Makes every text one letter: what it was told of the text. */
static EntryText
say_what(EntryText text, bool json, void *context)
{
	*(int *) context += text.length > 0;
	return (EntryText){.bytes = json ? "j" : "t", .length = 1};
}

static void
check_map(void)
{
	EntryFields fields = full();
	EntryFields none = plain();
	int seen = 0;

	entry_map_texts(&fields, say_what, &seen);
	tap_ok(seen == 14, "every text of an entry is mapped: %d", seen);
	tap_ok(fields.detail.bytes[0] == 'j' && fields.row_key.bytes[0] == 'j' &&
			   fields.collected.bytes[0] == 'j',
		   "objects are told from plain texts");
	tap_ok(fields.party.bytes[0] == 't' && fields.relations.bytes[0] == 't' &&
			   fields.column.bytes[0] == 't',
		   "and plain texts from objects");
	seen = 0;
	entry_map_texts(&none, say_what, &seen);
	tap_ok(seen == 0 && none.party.bytes == NULL, "an absent text stays absent");
}

int
main(void)
{
	check_fields();
	check_text_lengths();
	check_refusals();
	check_capacity();
	check_cuts();
	check_bad_bytes();
	check_size_limit();
	check_reference();
	check_canonical();
	check_stored();
	check_stored_change();
	check_stored_traces();
	check_map();
	return tap_done();
}
