/*
 * derive.c - what a block's entries make of its derived rows.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"
#include "utils/memutils.h"

#include "ledger/derive.h"
#include "ledger/encoding.h"

#define UNIX_EPOCH_OFFSET                                                                          \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY * USECS_PER_SEC)

/* Bytes of a name that go into an index; two of them fit into one of its rows. */
#define KEY_BYTES 1024

DerivedBlock *
derive_make(void)
{
	DerivedBlock *block = palloc(sizeof(DerivedBlock));

	block->context =
		AllocSetContextCreate(CurrentMemoryContext, "biometric block", ALLOCSET_SMALL_SIZES);
	derive_begin(block, -1);
	return block;
}

void
derive_begin(DerivedBlock *block, int64 number)
{
	block->block = number;
	block->next = 0;
	block->rows = 0;
	block->activity = NULL;
	block->last_session = -1;
	block->stored_size = 0;
	block->disclosed_size = 0;
	MemoryContextReset(block->context);
}

TimestampTz
derive_at(const EntryFields *fields)
{
	/* whatever an entry says must not overflow */
	return (TimestampTz) ((uint64) fields->at - (uint64) UNIX_EPOCH_OFFSET);
}

char *
derive_name(EntryText text)
{
	return encoding_string(text, false);
}

void
derive_key(char *name)
{
	name[pg_mbcliplen(name, (int) strlen(name), KEY_BYTES)] = '\0';
}

/* The row of a session's party and login. */
static DerivedActivity *
row_of(DerivedBlock *block, const EntryFields *session, int64 sequence)
{
	MemoryContext old;
	DerivedActivity *row;
	char *party;
	char *user;

	if (sequence == block->last_session)
		return &block->activity[block->last_row];
	old = MemoryContextSwitchTo(block->context);
	party = derive_name(session->party);
	user = derive_name(session->session_user_name);
	MemoryContextSwitchTo(old);
	derive_key(party);
	derive_key(user);
	block->last_session = sequence;
	for (int i = 0; i < block->rows; i++)
		if (strcmp(block->activity[i].party, party) == 0 &&
			strcmp(block->activity[i].user, user) == 0)
		{
			block->last_row = i;
			return &block->activity[i];
		}
	if (block->activity == NULL)
		block->activity =
			MemoryContextAlloc(block->context, ACTIVITY_BLOCK * sizeof(DerivedActivity));
	block->last_row = block->rows++;
	row = &block->activity[block->last_row];
	memset(row, 0, sizeof(*row));
	row->party = party;
	row->user = user;
	row->first_at = PG_INT64_MAX;
	row->last_at = PG_INT64_MIN;
	return row;
}

static bool
is_disclosure(const EntryFields *fields)
{
	return fields->event == ENTRY_DISCLOSED || fields->event == ENTRY_OBSERVED;
}

static void
add_activity(DerivedBlock *block, Resolver *resolver, int64 sequence, const EntryFields *fields)
{
	DerivedActivity *row;
	Resolved resolved;
	TimestampTz at = derive_at(fields);

	if (fields->event == ENTRY_SESSION || fields->event == ENTRY_STATEMENT)
		return;
	resolver_find(resolver, sequence, fields, &resolved);
	if (resolved.session == NULL)
		return;
	row = row_of(block, resolved.session, resolved.session_sequence);
	row->entries++;
	if (is_disclosure(fields))
		row->disclosures++;
	row->first_at = Min(row->first_at, at);
	row->last_at = Max(row->last_at, at);
}

static void
add_stored(DerivedBlock *block, int place, const EntryFields *fields)
{
	uint8 *to = block->stored + block->stored_size;
	uint32 key_id = pg_hton32((uint32) fields->key);

	memset(to, 0, TRACED_STORED_SIZE);
	to[0] = (uint8) place;
	to[1] = fields->picture_hash != NULL ? 1 : 0;
	memcpy(to + 2, &key_id, sizeof(key_id));
	memcpy(to + 6, fields->image_id, ENTRY_IMAGE_ID_SIZE);
	memcpy(to + 22, fields->digest, TRACED_DIGEST_SIZE);
	if (fields->picture_hash != NULL)
		memcpy(to + 38, fields->picture_hash, ENTRY_HASH_SIZE);
	block->stored_size += TRACED_STORED_SIZE;
}

static void
add_traced(DerivedBlock *block, int place, const EntryFields *fields)
{
	if (fields->image_id == NULL)
		return;
	if ((fields->event == ENTRY_STORED || fields->event == ENTRY_REPLACED) &&
		fields->digest != NULL)
		add_stored(block, place, fields);
	else if (is_disclosure(fields))
	{
		uint8 *to = block->disclosed + block->disclosed_size;

		to[0] = (uint8) place;
		memcpy(to + 1, fields->image_id + ENTRY_IMAGE_ID_SIZE - 4, 4);
		block->disclosed_size += TRACED_DISCLOSED_SIZE;
	}
}

void
derive_add(DerivedBlock *block, Resolver *resolver, const EntryFields *fields, const uint8 *bytes,
		   Size length)
{
	int place = block->next++;
	int64 sequence = block->block * ACTIVITY_BLOCK + place;

	if (fields == NULL)
		return;
	resolver_note(resolver, sequence, fields, bytes, length);
	add_activity(block, resolver, sequence, fields);
	add_traced(block, place, fields);
}
