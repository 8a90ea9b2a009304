/*-------------------------------------------------------------------------
 *
 * rule_match.c
 *		Rules for SQL: does this row satisfy that predicate, and which rules of
 *		a rule table fit it?
 *
 * Predicates that are not read with the rule tables (filters of consumers,
 * conditions of event types) are kept in the same cache, by their text.  Of a
 * rule table all rules of active versions are kept, in the order they are asked.
 *
 * IDENTIFICATION
 *		src/rule_match.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rangetypes.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "compat.h"
#include "errors.h"
#include "rule.h"
#include "security.h"

typedef struct MatchKey
{
	uint64		hash;			/* of the text */
	Oid			relid;
} MatchKey;

typedef struct MatchEntry
{
	MatchKey	key;
	List	   *predicates;		/* RulePredicate; of the same hash */
} MatchEntry;

/* A rule of a rule table: when it holds. */
typedef struct TableRule
{
	int64		id;
	bool		has_org;
	int64		org_id;
	RangeType  *valid_during;	/* NULL: always */
	RulePredicate *applies_when;	/* NULL: always */
	bool		broken;			/* it does not compile, as was told */
} TableRule;

/* The rules about one entity, in the order of priority. */
typedef struct RuleGroup
{
	const char *entity;			/* NULL: the table does not tell entities apart */
	TableRule  *rules;
	int			n;
	Oid			relid;			/* what is known of all of them over it: */
	bool		row_alone;		/* they depend on these columns of the row only */
	Bitmapset  *columns;
	struct RuleGroup *next;
} RuleGroup;

typedef struct RuleTable
{
	char		name[NAMEDATALEN];	/* hash key */
	RuleGroup  *groups;
} RuleTable;

/* One question to a group of rules. */
typedef struct RuleRun
{
	RuleGroup  *group;
	int			next;			/* the rule that is asked, or is to be asked */
	int64		org_id;
	Relation	rel;
	TupleTableSlot *newslot;
	TupleTableSlot *oldslot;
	bool		only_first;
	int64	   *ids;
	int			n;
} RuleRun;

/* ---------- One predicate ---------- */

static RulePredicate *
find_predicate(RuleCache *cache, Oid relid, const char *source)
{
	MatchKey	key;
	MatchEntry *entry;
	RulePredicate *predicate;
	MemoryContext caller;
	ListCell   *lc;
	bool		found;

	memset(&key, 0, sizeof(key));
	key.hash = hash_bytes_extended((const unsigned char *) source, strlen(source), 0);
	key.relid = relid;
	if (cache->matches == NULL)
		cache->matches = rule_cache_table(cache, "referral matches", sizeof(MatchKey),
										  sizeof(MatchEntry), HASH_BLOBS);
	entry = hash_search(cache->matches, &key, HASH_ENTER, &found);
	if (!found)
		entry->predicates = NIL;
	foreach(lc, entry->predicates)
	{
		predicate = lfirst(lc);
		if (strcmp(predicate->source, source) == 0)
			return predicate;
	}
	rule_cache_watch(relid);
	caller = MemoryContextSwitchTo(cache->context);
	predicate = palloc0(sizeof(RulePredicate));
	predicate->source = pstrdup(source);
	predicate->label = predicate->source;
	predicate->context = cache->context;
	entry->predicates = lappend(entry->predicates, predicate);
	MemoryContextSwitchTo(caller);
	return predicate;
}

/* The table whose rows the record is one of. */
static Oid
relation_of_record(HeapTupleHeader header)
{
	TypeCacheEntry *type = lookup_type_cache(HeapTupleHeaderGetTypeId(header), 0);

	if (!OidIsValid(type->typrelid))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("a rule is about a row of a table"),
				 errdetail("The value is a record of no table."),
				 errhint("Give the whole row: FROM a_table t … rule_matches(…, t).")));
	return type->typrelid;
}

/* A row that predicates are asked about, with its table, until rule_row_close(). */
void
rule_row_open(RuleRow *row, HeapTupleHeader header)
{
	row->table = table_open(relation_of_record(header), AccessShareLock);
	row->slot = MakeSingleTupleTableSlot(RelationGetDescr(row->table), &TTSOpsHeapTuple);
	row->former = MakeSingleTupleTableSlot(RelationGetDescr(row->table), &TTSOpsVirtual);
	memset(&row->tuple, 0, sizeof(HeapTupleData));
	row->tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	row->tuple.t_data = header;
	ExecStoreHeapTuple(&row->tuple, row->slot, false);
	slot_getallattrs(row->slot);
	ExecStoreAllNullTuple(row->former);
}

/* There is no former row. */
bool
rule_row_matches(RuleRow *row, RulePredicate *predicate)
{
	return rule_holds(predicate, row->table, row->slot, row->former);
}

void
rule_row_close(RuleRow *row)
{
	ExecDropSingleTupleTableSlot(row->slot);
	ExecDropSingleTupleTableSlot(row->former);
	table_close(row->table, AccessShareLock);
}

/* The message of the error may hold values of the row, so it is not told. */
static void
warn_of_error(const char *label, int sqlstate)
{
	ereport(WARNING,
			(errmsg("%s raises an error and counts as not holding", label),
			 sqlstate == ERRCODE_RF_INVALID_RULE
			 ? errdetail("It does not compile any more.")
			 : errdetail("Its SQLSTATE is %s.", unpack_sql_state(sqlstate)),
			 sqlstate == ERRCODE_RF_INVALID_RULE
			 ? errhint("SELECT * FROM referral.broken_rules().")
			 : errhint("Write the rule so that every row has an answer to it.")));
}

/* One question to one predicate. */
typedef struct Question
{
	RuleRow		row;
	RulePredicate *predicate;
	bool		holds;
	bool		is_answered;
} Question;

static void
ask(void *arg)
{
	Question   *question = arg;

	question->holds = rule_row_matches(&question->row, question->predicate);
	question->is_answered = true;
}

/*
 * Is there an answer?  There is none from a rule that raises an error; "label"
 * names it in the warning, or is NULL where errors are to be raised.
 */
static bool
ask_predicate(FunctionCallInfo fcinfo, const char *label, bool *holds)
{
	char	   *source = text_to_cstring(PG_GETARG_TEXT_PP(0));
	RuleCache  *cache = rule_cache(fcinfo->flinfo->fn_extra == NULL);
	Question	question = {.is_answered = false};
	int			sqlstate;

	fcinfo->flinfo->fn_extra = cache;	/* not used: news are accepted once per query */
	rule_row_open(&question.row, PG_GETARG_HEAPTUPLEHEADER(1));
	cache->pins++;
	PG_TRY();
	{
		question.predicate = find_predicate(cache, RelationGetRelid(question.row.table), source);
		if (label == NULL)
			ask(&question);
		else if (!rule_try(ask, &question, &sqlstate))
			warn_of_error(label, sqlstate);
	}
	PG_FINALLY();
	{
		cache->pins--;
	}
	PG_END_TRY();
	rule_row_close(&question.row);
	*holds = question.holds;
	return question.is_answered;
}

PG_FUNCTION_INFO_V1(rule_matches);
PG_FUNCTION_INFO_V1(rule_fits);

/* rule_matches(expression text, candidate record) returns boolean */
Datum
rule_matches(PG_FUNCTION_ARGS)
{
	bool		holds;

	(void) ask_predicate(fcinfo, NULL, &holds);
	PG_RETURN_BOOL(holds);
}

/* rule_fits(expression text, candidate record, rule text) returns boolean */
Datum
rule_fits(PG_FUNCTION_ARGS)
{
	bool		holds;

	if (!ask_predicate(fcinfo, text_to_cstring(PG_GETARG_TEXT_PP(2)), &holds))
		PG_RETURN_NULL();
	PG_RETURN_BOOL(holds);
}

/* ---------- The rules of a table ---------- */

/* The table with that name in our schema; RF012 when it is no governed one with numbered rules. */
static Oid
governed_table(RuleCache *cache, const char *name, char *id_column)
{
	Oid			relid = get_relname_relid(name, cache->namespace_id);
	bool		governed = false;

	snprintf(id_column, NAMEDATALEN, "%s_id", name);
	if (OidIsValid(relid) && get_attnum(relid, id_column) != InvalidAttrNumber)
	{
		Relation	rel = table_open(relid, AccessShareLock);

		for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
			governed |= strcmp(rel->trigdesc->triggers[i].tgname, "rule_row") == 0;
		table_close(rel, AccessShareLock);
	}
	if (!governed)
		ereport(ERROR,
				(errcode(ERRCODE_RF_NOT_DEPLOYED),
				 errmsg("there is no rule table \"%s\"", name),
				 errdetail("It is a table of schema referral that govern_table() has seen, with a column \"%s\".",
						   id_column),
				 errhint("Check the name, or run SELECT * FROM referral.deploy().")));
	return relid;
}

/* What a rule table need not have is read as null. */
static const char *
column_or_null(Oid relid, const char *column, const char *type)
{
	return get_attnum(relid, column) != InvalidAttrNumber ? psprintf("r.%s::%s", column, type)
		: psprintf("NULL::%s", type);
}

static void
read_rules(RuleCache *cache, const char *name)
{
	char		id_column[NAMEDATALEN];
	Oid			relid = governed_table(cache, name, id_column);
	bool		by_entity = get_attnum(relid, "entity") != InvalidAttrNumber;
	StringInfoData sql;

	rule_cache_watch(relid);
	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT r.%s::int8, %s, %s, %s, %s,"
					 " pg_catalog.format('rule %%s of %%s', r.%s, $1)"
					 " FROM referral.%s r JOIN referral.rule_version v USING (rule_version_id)"
					 " WHERE v.status = 'active'%s ORDER BY ",
					 quote_identifier(id_column),
					 column_or_null(relid, "entity", "text"),
					 column_or_null(relid, "scope_org_id", "int8"),
					 column_or_null(relid, "valid_during", "tstzrange"),
					 column_or_null(relid, "applies_when", "text"),
					 quote_identifier(id_column), quote_identifier(name),
					 by_entity ? " AND r.entity IS NOT NULL" : "");
	if (by_entity)
		appendStringInfoString(&sql, "r.entity COLLATE \"C\", ");
	if (get_attnum(relid, "priority") != InvalidAttrNumber)
		appendStringInfoString(&sql, "r.priority, ");
	appendStringInfoString(&sql, "1");
	security_read(sql.data, TEXTOID, CStringGetTextDatum(name));
}

static TableRule
read_rule(RuleCache *cache, uint64 row)
{
	TableRule	rule = {0};
	bool		isnull;
	Datum		range;

	rule.id = rule_read_int64(row, 1);
	rule.org_id = DatumGetInt64(rule_read_datum(row, 3, &isnull));
	rule.has_org = !isnull;
	range = rule_read_datum(row, 4, &isnull);
	if (!isnull)
	{
		MemoryContext caller = MemoryContextSwitchTo(cache->context);

		rule.valid_during = DatumGetRangeTypePCopy(range);
		MemoryContextSwitchTo(caller);
	}
	rule.applies_when = rule_read_predicate(cache, row, 5, rule_read_string(cache, row, 6));
	return rule;
}

/* Rows arrive by entity: one group after the other. */
static RuleGroup *
read_groups(RuleCache *cache)
{
	RuleGroup  *groups = NULL;

	for (uint64 row = 0; row < SPI_processed; row++)
	{
		char	   *entity = rule_read_string(cache, row, 2);

		if (groups == NULL || (entity != NULL && strcmp(groups->entity, entity) != 0))
		{
			RuleGroup  *group = MemoryContextAllocZero(cache->context, sizeof(RuleGroup));

			group->entity = entity;
			group->rules = MemoryContextAllocZero(cache->context,
												  sizeof(TableRule) * (SPI_processed - row));
			group->next = groups;
			groups = group;
		}
		groups->rules[groups->n++] = read_rule(cache, row);
	}
	return groups;
}

static RuleTable *
load_rule_table(RuleCache *cache, const char *name)
{
	RuleGroup  *groups;
	RuleTable  *table;
	OwnerScope	scope;

	security_begin_read(&scope, cache->owner);
	read_rules(cache, name);
	groups = read_groups(cache);
	security_end_read(&scope);
	table = hash_search(cache->rule_tables, name, HASH_ENTER, NULL);
	table->groups = groups;
	return table;
}

static RuleGroup *
find_group(RuleCache *cache, const char *name, const char *entity)
{
	RuleTable  *table;
	RuleGroup  *group;

	if (cache->rule_tables == NULL)
		cache->rule_tables = rule_cache_table(cache, "referral rule tables", NAMEDATALEN,
											  sizeof(RuleTable), HASH_STRINGS);
	table = hash_search(cache->rule_tables, name, HASH_FIND, NULL);
	if (table == NULL)
		table = load_rule_table(cache, name);
	for (group = table->groups; group != NULL; group = group->next)
		if (group->entity == NULL || strcmp(group->entity, entity) == 0)
			break;
	return group;
}

static bool
is_valid_now(TableRule *rule)
{
	TypeCacheEntry *type;

	if (rule->valid_during == NULL)
		return true;
	type = lookup_type_cache(TSTZRANGEOID, TYPECACHE_RANGE_INFO);
	return range_contains_elem_internal(type, rule->valid_during,
										TimestampTzGetDatum(GetCurrentTransactionStartTimestamp()));
}

/* Ask the rules from run->next on. */
static void
run_rules(void *arg)
{
	RuleRun    *run = arg;

	for (; run->next < run->group->n; run->next++)
	{
		TableRule  *rule = &run->group->rules[run->next];

		if (rule->broken || (rule->has_org && rule->org_id != run->org_id) || !is_valid_now(rule))
			continue;
		if (rule->applies_when != NULL &&
			!rule_holds(rule->applies_when, run->rel, run->newslot, run->oldslot))
			continue;
		run->ids[run->n++] = rule->id;
		if (run->only_first)
			return;
	}
}

static void
warn_of_rule(TableRule *rule, int sqlstate)
{
	rule->broken = sqlstate == ERRCODE_RF_INVALID_RULE;
	warn_of_error(rule->applies_when->label, sqlstate);
}

/*
 * All rules share one subtransaction as long as none raises an error; after
 * one that does, the rest is asked in another.
 */
int
rule_table_matches(RuleCache *cache, const char *table, const char *entity, int64 org_id,
				   Relation rel, TupleTableSlot *newslot, TupleTableSlot *oldslot,
				   bool only_first, int64 **ids, bool *failed)
{
	RuleRun		run = {.org_id = org_id,.rel = rel,.newslot = newslot,.oldslot = oldslot,
		.only_first = only_first};
	int			sqlstate;

	run.group = find_group(cache, table, entity);
	if (run.group == NULL)
		return 0;
	run.ids = palloc(sizeof(int64) * run.group->n);
	while (!rule_try(run_rules, &run, &sqlstate))
	{
		warn_of_rule(&run.group->rules[run.next], sqlstate);
		run.next++;
		*failed = true;
	}
	*ids = run.ids;
	return run.n;
}

/* Learn of one rule, the next one, which columns it asks for. */
static void
learn_rule(void *arg)
{
	RuleRun    *run = arg;
	TableRule  *rule = &run->group->rules[run->next];

	if (rule->applies_when != NULL && !rule->broken &&
		!rule_reads_row_alone(rule->applies_when, run->rel, &run->group->columns))
		run->group->row_alone = false;
}

static void
learn_columns(RuleCache *cache, RuleGroup *group, Relation rel)
{
	RuleRun		run = {.group = group,.rel = rel};
	MemoryContext caller = MemoryContextSwitchTo(cache->context);
	int			sqlstate;

	group->row_alone = true;
	group->columns = NULL;
	for (run.next = 0; run.next < group->n; run.next++)
		if (!rule_try(learn_rule, &run, &sqlstate))
			warn_of_rule(&group->rules[run.next], sqlstate);
	MemoryContextSwitchTo(caller);
	group->relid = RelationGetRelid(rel);
}

/*
 * Do the rules about an entity depend on columns of the row alone?  "columns"
 * are those; empty without any rules.
 */
bool
rule_table_reads_row_alone(RuleCache *cache, const char *table, const char *entity,
						   Relation rel, Bitmapset **columns)
{
	RuleGroup  *group = find_group(cache, table, entity);

	*columns = NULL;
	if (group == NULL)
		return true;
	if (group->relid != RelationGetRelid(rel))
		learn_columns(cache, group, rel);
	*columns = group->columns;
	return group->row_alone;
}

ArrayType *
rule_ids_array(int64 *ids, int n)
{
	Datum	   *values;

	if (n == 0)
		return construct_empty_array(INT8OID);
	values = palloc(sizeof(Datum) * n);
	for (int i = 0; i < n; i++)
		values[i] = Int64GetDatum(ids[i]);
	return construct_array(values, n, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
}

PG_FUNCTION_INFO_V1(matching_rules);

/*
 * matching_rules(rule_table text, entity text, org_id bigint, "row" record,
 * only_first boolean) returns bigint[]
 */
Datum
matching_rules(PG_FUNCTION_ARGS)
{
	char		table[NAMEDATALEN];
	char	   *entity = text_to_cstring(PG_GETARG_TEXT_PP(1));
	RuleCache  *cache = rule_cache(fcinfo->flinfo->fn_extra == NULL);
	RuleRow		row;
	int64	   *ids = NULL;
	bool		failed = false;
	int			n = 0;

	fcinfo->flinfo->fn_extra = cache;	/* not used: news are accepted once per query */
	text_to_cstring_buffer(PG_GETARG_TEXT_PP(0), table, NAMEDATALEN);
	rule_row_open(&row, PG_GETARG_HEAPTUPLEHEADER(3));
	cache->pins++;
	PG_TRY();
	{
		n = rule_table_matches(cache, table, entity, PG_GETARG_INT64(2), row.table, row.slot,
							   row.former, PG_GETARG_BOOL(4), &ids, &failed);
	}
	PG_FINALLY();
	{
		cache->pins--;
	}
	PG_END_TRY();
	rule_row_close(&row);
	PG_RETURN_ARRAYTYPE_P(rule_ids_array(ids, n));
}
