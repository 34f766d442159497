/*
 * settings.c - the settings of the audit room.
 */
#include "postgres.h"

#include "utils/guc.h"

#include "audit/anchor.h"
#include "audit/audit.h"
#include "audit/checkpoint.h"
#include "base/compat.h"

#define WITNESSES_MAX 32
#define SEPARATORS ", \t\r\n"

/* The keys that a value of biometric_audit.witnesses lists. */
typedef struct Witnesses
{
	int count;
	NoteKey keys[WITNESSES_MAX];
} Witnesses;

static char *witnesses_text = NULL;
static const Witnesses *witnesses = NULL;

/* Reads one key; the name becomes part of rows in any encoding, so that it must be ASCII. */
static bool
read_witness(const char *text, Size length, NoteKey *key)
{
	for (Size i = 0; i < length; i++)
		if (text[i] < ' ' || text[i] > '~')
			return false;
	return note_key_parse(text, length, key) == CORE_OK && key->algorithm == NOTE_COSIGNATURE;
}

/*
 * Whether the key behind the last one is among those before it, be it under
 * another name: a key is one witness.
 */
static bool
is_listed(const Witnesses *read)
{
	for (int i = 0; i < read->count; i++)
		if (memcmp(read->keys[i].public_key, read->keys[read->count].public_key,
				   SIGN_PUBLIC_SIZE) == 0)
			return true;
	return false;
}

static bool
check_witnesses(char **value, void **extra, GucSource source)
{
	Witnesses *read = guc_malloc(LOG, sizeof(Witnesses));
	const char *at = *value;

	if (read == NULL)
		return false;
	memset(read, 0, sizeof(*read));
	*extra = read;
	while (*(at += strspn(at, SEPARATORS)) != '\0')
	{
		Size length = strcspn(at, SEPARATORS);

		if (read->count == WITNESSES_MAX)
		{
			GUC_check_errdetail("At most %d witnesses can be known.", WITNESSES_MAX);
			return false;
		}
		if (!read_witness(at, length, &read->keys[read->count]))
		{
			GUC_check_errdetail("\"%.*s\" is no verifier key of a witness.", (int) length, at);
			GUC_check_errhint("It is name+id+base64 of an Ed25519 key for cosignatures, algorithm "
							  "4 of C2SP signed-note, as the witness publishes it.");
			return false;
		}
		if (!is_listed(read))
			read->count++;
		at += length;
	}
	return true;
}

static void
assign_witnesses(const char *value, void *extra)
{
	witnesses = extra;
}

void
audit_define_settings(void)
{
	DefineCustomStringVariable(
		"biometric_audit.witnesses", "Verifier keys of the witnesses that cosign checkpoints.",
		"name+id+base64, separated by spaces or commas. Only their cosignatures are taken in; "
		"a key counts once, under the first of its names.",
		&witnesses_text, "", PGC_SIGHUP, GUC_LIST_INPUT, check_witnesses, assign_witnesses, NULL);
	anchor_define_settings();
}

int
audit_witness_count(void)
{
	return witnesses != NULL ? witnesses->count : 0;
}

const NoteKey *
audit_witness(int index)
{
	return &witnesses->keys[index];
}
