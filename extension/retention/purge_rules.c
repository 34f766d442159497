/*
 * purge_rules.c - the rules as the purger needs them, and how far it has come with each.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "base/internal.h"
#include "base/lineage.h"
#include "policy/change.h"
#include "retention/purger.h"

#define RULE_WHERE                                                                                 \
	"WHERE r.relation OPERATOR(pg_catalog.=) $1 AND r.attnum OPERATOR(pg_catalog.=) $2 "           \
	"AND r.log_id OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT l.log_id FROM ONLY biometric.log AS l " \
	"WHERE l.ordinal IS NOT NULL))"

/* What retention_sync has said of a time column that is gone, which purging does not mend. */
#define LOST_TIME                                                                                  \
	"CASE WHEN pg_catalog.starts_with(r.problem, 'time column ') "                                 \
	"THEN pg_catalog.split_part(r.problem, '; ', 1) END"

#define LONGEST_PROBLEM 1000

static void
add_rule(ChangeArguments *arguments, const RetentionEntry *entry)
{
	change_add(arguments, OIDOID, ObjectIdGetDatum(entry->relation), false);
	change_add(arguments, INT2OID, Int16GetDatum(entry->attribute), false);
}

/* Reads a rule as it is now; false when it is gone. */
static bool
rule_present(const RetentionEntry *entry, RetentionEntry *present)
{
	int count;
	RetentionEntry *entries = rules_read(&count);

	for (int i = 0; i < count; i++)
		if (entries[i].relation == entry->relation && entries[i].attribute == entry->attribute)
		{
			*present = entries[i];
			return true;
		}
	return false;
}

static Datum
rule_column(int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, isnull);
}

bool
purge_rule_take(const RetentionEntry *entry, bool calm, PurgeRule *rule)
{
	static const char select[] =
		"SELECT r.purge_block, r.purge_next, r.declared_at FROM ONLY "
		"biometric.retention AS r " RULE_WHERE " %s FOR NO KEY UPDATE OF r%s";
	static const char due[] =
		"AND (r.purge_block OPERATOR(pg_catalog.<>) 0 OR r.purge_next IS NULL "
		"OR r.purge_next OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp() "
		/* later than a pause can be: the clock has gone back since */
		"OR r.purge_next OPERATOR(pg_catalog.>) (pg_catalog.clock_timestamp() "
		"OPERATOR(pg_catalog.+) '1 day'::pg_catalog.interval))";
	ChangeArguments arguments = {0};
	bool isnull;

	add_rule(&arguments, entry);
	if (change_execute(psprintf(select, calm ? due : "", calm ? " SKIP LOCKED" : ""), &arguments) ==
		0)
		return false;
	/* read anew, now that nobody can change it: it may have been changed since it was listed */
	if (!rule_present(entry, &rule->entry))
		return false;
	rule->column = get_attname(entry->relation, entry->attribute, true);
	rule->position = (uint64) DatumGetInt64(rule_column(1, &isnull));
	rule->next = DatumGetTimestampTz(rule_column(2, &isnull));
	if (isnull)
		rule->next = DT_NOEND;
	rule->since = DatumGetTimestampTz(rule_column(3, &isnull));
	return rule->column != NULL;
}

/* What a trigger raises may be as long as its owner likes. */
static const char *
problem_clipped(const char *problem)
{
	return problem == NULL
			   ? NULL
			   : pnstrdup(problem, pg_mbcliplen(problem, (int) strlen(problem), LONGEST_PROBLEM));
}

void
purge_rule_put(const PurgeRule *rule, const PurgeProgress *progress)
{
	static const char update[] =
		"UPDATE ONLY biometric.retention AS r SET purge_block = $3, purge_next = $4, "
		"purged = r.purged OPERATOR(pg_catalog.+) $5, "
		"last_run_at = pg_catalog.clock_timestamp(), "
		"last_pass_at = CASE WHEN $6 THEN pg_catalog.clock_timestamp() ELSE r.last_pass_at END, "
		"problem = nullif(pg_catalog.concat_ws('; ', " LOST_TIME ", CASE WHEN $8 THEN NULL "
		"WHEN $7 IS NOT NULL THEN $7 "
		"WHEN pg_catalog.starts_with(r.problem, 'time column ') "
		"THEN nullif(pg_catalog.substr(r.problem, pg_catalog.length(" LOST_TIME
		") OPERATOR(pg_catalog.+) 3), '') "
		"ELSE r.problem END), '') " RULE_WHERE;
	ChangeArguments arguments = {0};

	add_rule(&arguments, &rule->entry);
	change_add(&arguments, INT8OID, Int64GetDatum((int64) progress->position), false);
	change_add(&arguments, TIMESTAMPTZOID, TimestampTzGetDatum(progress->next),
			   TIMESTAMP_IS_NOEND(progress->next));
	change_add(&arguments, INT8OID, Int64GetDatum(progress->purged), false);
	change_add(&arguments, BOOLOID, BoolGetDatum(progress->pass_ended), false);
	change_add_text(&arguments, problem_clipped(progress->problem));
	change_add(&arguments, BOOLOID, BoolGetDatum(progress->nothing_left), false);
	(void) change_execute(update, &arguments);
}

char *
purge_rule_name(const PurgeRule *rule)
{
	char *schema = get_namespace_name(get_rel_namespace(rule->entry.relation));
	char *table = get_rel_name(rule->entry.relation);

	if (schema == NULL || table == NULL)
		elog(ERROR, "relation %u has gone while its images were purged", rule->entry.relation);
	return psprintf("%s.%s", quote_qualified_identifier(schema, table),
					quote_identifier(rule->column));
}

void
purge_rule_stamped(const PurgeRule *rule)
{
	static const char update[] =
		"UPDATE ONLY biometric.retention AS r SET stamped_at = pg_catalog.clock_timestamp(), "
		"in_force_at = coalesce(r.in_force_at, pg_catalog.clock_timestamp()) " RULE_WHERE;
	ChangeArguments arguments = {0};
	PolicyChange change = {.caller_name = GetUserNameFromId(GetSessionUserId(), false)};
	StringInfoData detail;

	add_rule(&arguments, &rule->entry);
	if (change_execute(update, &arguments) == 0)
		return;
	CacheInvalidateRelcacheByRelid(rules_table());
	initStringInfo(&detail);
	appendStringInfoString(&detail, "{\"action\": \"retention_in_force\", \"rule\": ");
	escape_json(&detail, purge_rule_name(rule));
	appendStringInfoChar(&detail, '}');
	change_record(&change, detail.data, 0);
}

bool
purge_rule_of_table(const PurgeRule *rule, Oid table, RetentionEntry *chosen, bool *own)
{
	int count;
	RetentionEntry *entries = rules_read(&count);
	const RetentionEntry *found =
		rules_choose(entries, count, relation_lineage(table), rule->column);

	if (found == NULL)
		return false;
	*chosen = *found;
	*own = found->relation == rule->entry.relation && found->attribute == rule->entry.attribute;
	return true;
}

List *
purge_rule_tables(const PurgeRule *rule)
{
	List *all = find_all_inheritors(rule->entry.relation, NoLock, NULL);
	List *tables = NIL;
	ListCell *cell;

	foreach(cell, all)
		if (get_rel_relkind(lfirst_oid(cell)) == RELKIND_RELATION)
			tables = lappend_oid(tables, lfirst_oid(cell));
	list_free(all);
	list_sort(tables, list_oid_cmp);
	return tables;
}
