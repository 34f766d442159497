/*
 * keys.c - the room's beginning, rotate_key(), and the view's look into the keyring.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "base/internal.h"
#include "keys/binding.h"
#include "keys/keys.h"
#include "keys/parts.h"
#include "ledger/worker.h"
#include "policy/change.h"

PGDLLEXPORT PG_FUNCTION_INFO_V1(biometric_rotate_key);
PGDLLEXPORT PG_FUNCTION_INFO_V1(biometric_keyring_state);

void
keys_publish_init(void)
{
	pin_init();
}

void
keys_init(void)
{
	shred_init();
	stored_init();
	period_init();
	pins_set_reader(binding_read_pins);
}

void
keys_shmem_request(void)
{
	pin_shmem_request();
}

void
keys_shmem_init(void)
{
	pin_shmem_init();
}

/* Whether a setting has "%d" in it, which "%%d" is not. */
static bool
names_database(const char *setting)
{
	const char *value = GetConfigOption(setting, true, false);

	for (; value && *value; value++)
	{
		if (*value != '%')
			continue;
		if (value[1] == 'd')
			return true;
		if (value[1] != '\0')
			value++;
	}
	return false;
}

bool
keys_keyring_is_shared(void)
{
	const char *file = GetConfigOption("biometric_audit.keyring", true, false);

	return !names_database(file && file[0] ? "biometric_audit.keyring"
										   : "biometric_audit.keyring_command");
}

uint32
keys_above(uint32 known)
{
	return keys_keyring_is_shared() ? Max(known, pins_highest()) : known;
}

/* The highest id that this database has known, 0: none. Needs SPI. */
static uint32
highest_known(void)
{
	ChangeArguments arguments = {0};
	bool null;
	Datum id;

	change_execute("SELECT max(key_id) FROM ONLY biometric.key_pin", &arguments);
	id = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null);
	return null ? 0 : (uint32) DatumGetInt64(id);
}

uint32
keys_general_active(const KeyringEntry *entries, int count)
{
	uint32 active = 0;

	for (int i = 0; i < count; i++)
	{
		KeyPin pin;

		/* as keyring_active() chooses */
		if (entries[i].scope.bound ||
			(pins_find(entries[i].id, &pin) && (pin.state != PIN_USABLE || pin.scope.bound) &&
			 memcmp(pin.check, entries[i].check, SEAL_CHECK_SIZE) == 0))
			continue;
		active = entries[i].id;
	}
	return active;
}

int
keys_list(KeyringEntry **entries)
{
	const char *problem = NULL;
	int count = keyring_list(entries, &problem);

	if (count < 0)
		ereport(ERROR, (errcode(ERRCODE_CONFIG_FILE_ERROR),
						errmsg("the keys of the keyring cannot be changed"),
						errdetail("%s", problem ? problem : "The keyring cannot be read."),
						errhint("Make the keyring readable, then try again.")));
	return count;
}

void
keys_require_pinned(uint32 id)
{
	if (pin_await(id))
		return;
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("key %u was made, but is not known to the database in time", id),
					errdetail("The ledger's worker notes each key before anything is sealed with "
							  "it."),
					errhint("See biometric.ledger_status() and the server's log, then try "
							"again.")));
}

/* biometric_rotate_key() returns int4 */
Datum
biometric_rotate_key(PG_FUNCTION_ARGS)
{
	PolicyChange change;
	KeyringEntry *entries;
	uint32 previous;
	uint32 id;
	int count;

	change_begin_policy(&change);
	count = keys_list(&entries);
	previous = keys_general_active(entries, count);
	id = keyring_add(NULL, keys_above(highest_known()));
	ledger_request_tasks_everywhere();
	keys_require_pinned(id);
	change_record_key(
		&change,
		psprintf("{\"action\": \"rotate_key\", \"key\": %u, \"previous\": %u}", id, previous));
	change_end(&change);
	ereport(NOTICE, (errmsg("new images are sealed under key %u", id),
					 errdetail("Images that are there keep the keys that they have."),
					 errhint("biometric.reseal() seals them anew, table by table; back up the "
							 "keyring.")));
	PG_RETURN_INT32((int32) id);
}

/*
 * biometric_keyring_state() returns a row a key (key_id bigint, key_check bytea, active boolean,
 * problem text)
 */
Datum
biometric_keyring_state(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum values[4] = {0};
	bool nulls[4] = {true, true, true, false};
	const char *problem = NULL;
	KeyringEntry *entries;
	uint32 active;
	int count;

	InitMaterializedSRF(fcinfo, 0);
	count = keyring_list(&entries, &problem);
	if (count < 0)
	{
		values[3] = CStringGetTextDatum(problem ? problem : "The keyring cannot be read.");
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		return (Datum) 0;
	}
	active = keys_general_active(entries, count);
	for (int i = 0; i < count; i++)
	{
		bytea *check = palloc(VARHDRSZ + SEAL_CHECK_SIZE);

		SET_VARSIZE(check, VARHDRSZ + SEAL_CHECK_SIZE);
		memcpy(VARDATA(check), entries[i].check, SEAL_CHECK_SIZE);
		values[0] = Int64GetDatum(entries[i].id);
		values[1] = PointerGetDatum(check);
		values[2] = BoolGetDatum(entries[i].id == active);
		memset(nulls, false, sizeof(nulls));
		nulls[3] = true;
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
