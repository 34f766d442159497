/*
 * policy_sql.c - what all SQL of this room is run under.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "policy/policy_sql.h"

static void
sql_set(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
							 false);
}

int
policy_sql_settings(void)
{
	int level = NewGUCNestLevel();

	sql_set("search_path", "pg_catalog, pg_temp");
	sql_set("TimeZone", "UTC");
	sql_set("DateStyle", "ISO, YMD");
	sql_set("IntervalStyle", "postgres");
	return level;
}

void
policy_sql_settings_end(int level)
{
	AtEOXact_GUC(false, level);
}

char *
policy_text(Datum value)
{
	return TextDatumGetCString(value);
}

void
policy_text_array(Datum array, Datum **values, bool **nulls, int *count)
{
	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, values, nulls,
					  count);
}

const char *
delivery_name(Delivery delivery)
{
	switch (delivery)
	{
		case DELIVERY_OPEN:
			return "open";
		case DELIVERY_OBSERVE:
			return "observe";
		case DELIVERY_SEALED:
			return "sealed";
		case DELIVERY_REFUSE:
		default:
			return "refuse";
	}
}

Delivery
delivery_lookup(const char *name, bool *found)
{
	for (Delivery delivery = DELIVERY_REFUSE; delivery <= DELIVERY_OPEN; delivery++)
		if (strcmp(name, delivery_name(delivery)) == 0)
		{
			*found = true;
			return delivery;
		}
	*found = false;
	return DELIVERY_REFUSE;
}

Delivery
delivery_from_name(const char *name)
{
	bool found;

	return delivery_lookup(name, &found);
}
