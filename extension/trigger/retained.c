/*
 * retained.c - which column of a table the retention of its images counts from.
 */
#include "postgres.h"

#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "retention/retention.h"
#include "trigger/row.h"
#include "trigger/table.h"

void
table_describe_retention(Relation relation, const List *lineage, TriggerTable *table)
{
	Oid oid = RelationGetRelid(relation);

	for (int i = 0; i < table->columns; i++)
	{
		TriggerColumn *column = &table->column[i];
		RetentionRule rule;

		if (!retention_rule_of(lineage, column->name, &rule))
			continue;
		column->from_sealing = NameStr(rule.time_column)[0] == '\0';
		if (column->from_sealing)
			continue;
		column->time = get_attnum(oid, NameStr(rule.time_column));
		if (column->time > 0)
			column->time_type = getBaseType(get_atttype(oid, column->time));
		else
			column->time = InvalidAttrNumber;
	}
}

bool
row_counts_from_sealing(const TriggerColumn *column, const EnvelopeHeader *header)
{
	static const uint8 nowhere[ENVELOPE_HOME_SIZE];

	return column->from_sealing && (int64) header->counts_from_ms > 0 &&
		   header->counts_from_ms > envelope_sealed_at_ms(header) &&
		   memcmp(header->home, nowhere, ENVELOPE_HOME_SIZE) != 0 &&
		   memcmp(header->home, column->home, ENVELOPE_HOME_SIZE) != 0;
}
