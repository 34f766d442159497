/*
 * table.c - biometric.key_pin, read and written by the ledger's worker.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "keys/parts.h"
#include "policy/change.h"

/* The columns of table_read's result, by number. */
enum
{
	COLUMN_LOG_ID = 1,
	COLUMN_KEY_ID,
	COLUMN_CHECK,
	COLUMN_HOME,
	COLUMN_FROM,
	COLUMN_UNTIL,
	COLUMN_STATE,
	COLUMN_GONE,
	COLUMN_OWED,
	COLUMN_PROBLEM,
	COLUMN_OWN
};

static const char *const read_pins =
	"SELECT p.log_id, p.key_id, p.key_check, p.home, "
	"(extract(epoch FROM lower(p.period)) * 1000)::int8, "
	"(extract(epoch FROM upper(p.period)) * 1000)::int8, p.state, "
	"EXISTS (SELECT FROM ONLY biometric.key_pin AS o "
	"WHERE o.key_check = p.key_check AND o.state <> 'usable'), p.owed, p.problem, "
	"p.home IS NOT NULL AND (EXISTS (SELECT FROM ONLY biometric.home AS h WHERE h.home = p.home) "
	"OR EXISTS (SELECT FROM ONLY biometric.held AS d WHERE d.key_id = p.key_id)) "
	"FROM (SELECT DISTINCT ON (q.key_id) q.* FROM ONLY biometric.key_pin AS q "
	"JOIN ONLY biometric.log AS l ON l.log_id = q.log_id WHERE l.ordinal IS NOT NULL "
	"ORDER BY q.key_id, l.ordinal DESC) AS p ORDER BY p.key_id";

static Datum
pin_value(HeapTuple tuple, int column, bool *null)
{
	return SPI_getbinval(tuple, SPI_tuptable->tupdesc, column, null);
}

static char *
pin_text(HeapTuple tuple, int column)
{
	return SPI_getvalue(tuple, SPI_tuptable->tupdesc, column);
}

/* Reads one row; what is no key is passed over. */
static PinRow *
pin_from_tuple(HeapTuple tuple)
{
	PinRow *row = palloc0(sizeof(PinRow));
	const char *state = pin_text(tuple, COLUMN_STATE);
	bytea *check;
	Datum home;
	bool null;

	memcpy(row->log_id, DatumGetUUIDP(pin_value(tuple, COLUMN_LOG_ID, &null))->data,
		   sizeof(row->log_id));
	row->pin.id = (uint32) DatumGetInt64(pin_value(tuple, COLUMN_KEY_ID, &null));
	check = DatumGetByteaPP(pin_value(tuple, COLUMN_CHECK, &null));
	if (VARSIZE_ANY_EXHDR(check) != SEAL_CHECK_SIZE)
		elog(ERROR, "the check value of key %u has a wrong length", row->pin.id);
	memcpy(row->pin.check, VARDATA_ANY(check), SEAL_CHECK_SIZE);
	home = pin_value(tuple, COLUMN_HOME, &null);
	if (!null)
	{
		row->pin.scope.bound = true;
		memcpy(row->pin.scope.home, DatumGetUUIDP(home)->data, ENVELOPE_HOME_SIZE);
		row->pin.scope.from_ms = DatumGetInt64(pin_value(tuple, COLUMN_FROM, &null));
		row->pin.scope.until_ms = DatumGetInt64(pin_value(tuple, COLUMN_UNTIL, &null));
	}
	row->shredding = strcmp(state, "shredding") == 0;
	row->shredded = strcmp(state, "shredded") == 0;
	row->pin.state = PIN_SHREDDED;
	if (row->shredding)
		row->pin.state = PIN_SHREDDING;
	else if (!DatumGetBool(pin_value(tuple, COLUMN_GONE, &null)))
		row->pin.state = PIN_USABLE;
	row->owed = pin_text(tuple, COLUMN_OWED);
	row->problem = pin_text(tuple, COLUMN_PROBLEM);
	row->pin.own = DatumGetBool(pin_value(tuple, COLUMN_OWN, &null));
	return row;
}

List *
table_read(void)
{
	List *rows = NIL;

	if (SPI_execute(read_pins, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "cannot read biometric.key_pin");
	for (uint64 i = 0; i < SPI_processed; i++)
		rows = lappend(rows, pin_from_tuple(SPI_tuptable->vals[i]));
	SPI_freetuptable(SPI_tuptable);
	return rows;
}

static Datum
check_datum(const uint8 *check)
{
	bytea *value = palloc(VARHDRSZ + SEAL_CHECK_SIZE);

	SET_VARSIZE(value, VARHDRSZ + SEAL_CHECK_SIZE);
	memcpy(VARDATA(value), check, SEAL_CHECK_SIZE);
	return PointerGetDatum(value);
}

bool
table_insert(const KeyPin *pin)
{
	ChangeArguments arguments = {0};
	const KeyScope *scope = &pin->scope;

	change_add(&arguments, INT8OID, Int64GetDatum(pin->id), false);
	change_add(&arguments, BYTEAOID, check_datum(pin->check), false);
	change_add(&arguments, UUIDOID, UUIDPGetDatum((pg_uuid_t *) scope->home), !scope->bound);
	change_add(&arguments, INT8OID, Int64GetDatum(scope->from_ms), !scope->bound);
	change_add(&arguments, INT8OID, Int64GetDatum(scope->until_ms), !scope->bound);
	return change_execute("INSERT INTO biometric.key_pin (log_id, key_id, key_check, home, period, "
						  "pinned_at, state, owed) "
						  "SELECT l.log_id, $1, $2, $3, CASE WHEN $3 IS NOT NULL THEN "
						  "tstzrange('epoch'::timestamptz + $4 * interval '1 ms', "
						  "'epoch'::timestamptz + $5 * interval '1 ms') END, "
						  "clock_timestamp(), 'usable', 'pin_key' "
						  "FROM ONLY biometric.log AS l WHERE l.ordinal IS NOT NULL "
						  "ORDER BY l.ordinal DESC LIMIT 1",
						  &arguments) > 0;
}

/* Changes a row, unless somebody else is about to: $1 and $2 are its key, $3 a text. */
static bool
table_update(const PinRow *row, const char *set, const char *text)
{
	ChangeArguments arguments = {0};

	change_add(&arguments, UUIDOID, UUIDPGetDatum((pg_uuid_t *) row->log_id), false);
	change_add(&arguments, INT8OID, Int64GetDatum(row->pin.id), false);
	change_add_text(&arguments, text);
	return change_execute(psprintf("UPDATE ONLY biometric.key_pin AS p SET %s FROM "
								   "(SELECT q.log_id, q.key_id FROM ONLY biometric.key_pin AS q "
								   "WHERE q.log_id = $1 AND q.key_id = $2 "
								   "FOR UPDATE SKIP LOCKED) AS free "
								   "WHERE p.log_id = free.log_id AND p.key_id = free.key_id "
								   "AND ($3::text IS NULL OR true)",
								   set),
						  &arguments) > 0;
}

bool
table_settle(const PinRow *row)
{
	return table_update(row, "owed = NULL", NULL);
}

bool
table_finish(const PinRow *row)
{
	return table_update(row,
						"state = 'shredded', shredded_at = clock_timestamp(), problem = NULL, "
						"owed = 'key_shredded'",
						NULL);
}

bool
table_follow(const PinRow *row)
{
	return table_update(row,
						"state = 'shredded', shredded_at = clock_timestamp(), reason = $3, "
						"owed = 'key_shredded'",
						"by the database to a column of which it was bound");
}

bool
table_problem(const PinRow *row, const char *problem)
{
	return table_update(row, "problem = $3", problem);
}
