/*
 * retained.c - which column of a table the retention of its images counts from.
 */
#include "postgres.h"

#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "retention/retention.h"
#include "trigger/table.h"

void
table_describe_retention(Relation relation, const List *lineage, TriggerTable *table)
{
	Oid oid = RelationGetRelid(relation);

	for (int i = 0; i < table->columns; i++)
	{
		TriggerColumn *column = &table->column[i];
		RetentionRule rule;

		if (!retention_rule_of(lineage, column->name, &rule) ||
			NameStr(rule.time_column)[0] == '\0')
			continue;
		column->time = get_attnum(oid, NameStr(rule.time_column));
		if (column->time > 0)
			column->time_type = getBaseType(get_atttype(oid, column->time));
		else
			column->time = InvalidAttrNumber;
	}
}
