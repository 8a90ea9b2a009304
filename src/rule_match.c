/*-------------------------------------------------------------------------
 *
 * rule_match.c
 *		Rules for SQL: does this row satisfy that predicate?
 *
 * Predicates that are not read with the rule tables (filters of consumers,
 * conditions of event types) are kept in the same cache, by their text.
 *
 * IDENTIFICATION
 *		src/rule_match.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "compat.h"
#include "rule.h"

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

PG_FUNCTION_INFO_V1(rule_matches);

/* rule_matches(expression text, candidate record) returns boolean */
Datum
rule_matches(PG_FUNCTION_ARGS)
{
	char	   *source = text_to_cstring(PG_GETARG_TEXT_PP(0));
	RuleCache  *cache = rule_cache(fcinfo->flinfo->fn_extra == NULL);
	RuleRow		row;
	bool		matches = false;

	fcinfo->flinfo->fn_extra = cache;	/* not used: news are accepted once per query */
	rule_row_open(&row, PG_GETARG_HEAPTUPLEHEADER(1));
	cache->pins++;
	PG_TRY();
	{
		matches = rule_row_matches(&row, find_predicate(cache, RelationGetRelid(row.table),
														source));
	}
	PG_FINALLY();
	{
		cache->pins--;
	}
	PG_END_TRY();
	rule_row_close(&row);
	PG_RETURN_BOOL(matches);
}
