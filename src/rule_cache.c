/*-------------------------------------------------------------------------
 *
 * rule_cache.c
 *		The per-backend cache of everything read from rule tables, and what
 *		makes it stale.
 *
 * Triggers on the rule tables (rules_changed) send a relcache
 * invalidation for their table; so do ALTER TABLE and friends for the tracked
 * tables, and pg_proc changes arrive through the syscache.  Every callback
 * only counts up rule_generation; the next look-up retires the stale cache.
 *
 * IDENTIFICATION
 *		src/rule_cache.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "entity.h"
#include "errors.h"
#include "rule.h"
#include "workflow.h"

uint64		rule_generation = 1;

static RuleCache *current_cache = NULL;

/* Relations whose invalidation makes the cache stale; lives for the backend. */
static HTAB *watched = NULL;

/* What has been read by the snapshot of a query in parallel goes with it. */
static bool is_provisional = false;
static TransactionId provisional_xmin;
static TransactionId provisional_xmax;
static uint32 provisional_xcnt;

/* Tables whose rows the cache holds. */
static const char *const rule_tables[] = {
	"entity", "rule_version", "rule_function", "workflow", "workflow_step",
	"workflow_transition", "workflow_guard", "reason_code", "organization",
	"organization_member", "journal_column", "business_calendar", "sla_policy", "sla_level",
	"match_model", "match_level", "match_nickname", "match_placeholder", "match_frequency",
	"source_mapping", "source_mapping_field", "code_translation", "source_of_record",
	"source_system", "required_field_rule", "document_requirement",
	"outreach_template", "exception_policy", "approval_policy"
};

static void
rule_relcache_callback(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || hash_search(watched, &relid, HASH_FIND, NULL) != NULL)
		rule_generation++;
}

static void
rule_syscache_callback(Datum arg, int cacheid, uint32 hashvalue)
{
	rule_generation++;
}

void
rule_cache_init(void)
{
	HASHCTL		ctl = {0};

	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(Oid);
	watched = hash_create("referral watched relations", 64, &ctl,
						  HASH_ELEM | HASH_BLOBS);
	CacheRegisterRelcacheCallback(rule_relcache_callback, (Datum) 0);
	CacheRegisterSyscacheCallback(PROCOID, rule_syscache_callback, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, rule_syscache_callback, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, rule_syscache_callback, (Datum) 0);
}

void
rule_cache_watch(Oid relid)
{
	(void) hash_search(watched, &relid, HASH_ENTER, NULL);
}

/* A hash table that lives as long as the cache. */
HTAB *
rule_cache_table(RuleCache *cache, const char *name, Size keysize, Size entrysize, int flags)
{
	HASHCTL		ctl = {0};

	ctl.keysize = keysize;
	ctl.entrysize = entrysize;
	ctl.hcxt = cache->context;
	return hash_create(name, 64, &ctl, HASH_ELEM | HASH_CONTEXT | flags);
}

static RuleCache *
rule_cache_build(void)
{
	MemoryContext context;
	RuleCache  *cache;
	Oid			workflow_id;

	context = AllocSetContextCreate(CacheMemoryContext, "referral rules",
									ALLOCSET_DEFAULT_SIZES);
	cache = MemoryContextAllocZero(context, sizeof(RuleCache));
	cache->context = context;
	cache->generation = rule_generation;
	cache->namespace_id = get_namespace_oid("referral", false);

	for (int i = 0; i < lengthof(rule_tables); i++)
	{
		Oid			relid = get_relname_relid(rule_tables[i], cache->namespace_id);

		if (OidIsValid(relid))
			rule_cache_watch(relid);
	}
	workflow_id = get_relname_relid("workflow", cache->namespace_id);
	if (OidIsValid(workflow_id))
	{
		HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(workflow_id));

		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "cache lookup failed for relation %u", workflow_id);
		cache->owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
		ReleaseSysCache(tuple);
	}
	if (!OidIsValid(cache->owner))
	{
		MemoryContextDelete(context);
		ereport(ERROR,
				(errcode(ERRCODE_RF_NOT_DEPLOYED),
				 errmsg("the referral model is not deployed in this database"),
				 errdetail("Table referral.workflow does not exist."),
				 errhint("Run SELECT * FROM referral.deploy().")));
	}

	cache->workflows = rule_cache_table(cache, "referral workflows", sizeof(int64),
										sizeof(WorkflowEntry), HASH_BLOBS);
	cache->entities = rule_cache_table(cache, "referral entities", NAMEDATALEN,
									   sizeof(EntityRules), HASH_STRINGS);
	cache->relations = rule_cache_table(cache, "referral relations", sizeof(Oid),
										sizeof(TrackedRelEntry), HASH_BLOBS);
	cache->reasons = NULL;
	return cache;
}

/*
 * A query in parallel reads rules by its snapshot, so that all of its workers
 * go by the same ones.  The leader must not keep them for other queries.
 */
void
rule_cache_is_provisional(Snapshot snapshot)
{
	is_provisional = true;
	provisional_xmin = snapshot->xmin;
	provisional_xmax = snapshot->xmax;
	provisional_xcnt = snapshot->xcnt;
}

/* To be called before rule_generation is compared with. */
void
rule_cache_settle(void)
{
	Snapshot	snapshot;

	if (!is_provisional)
		return;
	if (IsInParallelMode())
	{
		snapshot = GetActiveSnapshot();
		if (snapshot->xmin == provisional_xmin && snapshot->xmax == provisional_xmax &&
			snapshot->xcnt == provisional_xcnt)
			return;				/* the same query, or nothing has happened since */
	}
	is_provisional = false;
	rule_generation++;
}

/*
 * The valid cache.  With accept_invalidations, what other sessions committed
 * since is taken note of first: needed once per statement, because an open
 * transaction that already holds its locks is told nothing otherwise.
 */
RuleCache *
rule_cache(bool accept_invalidations)
{
	if (accept_invalidations)
		AcceptInvalidationMessages();
	rule_cache_settle();
	if (current_cache != NULL && current_cache->generation != rule_generation)
	{
		if (current_cache->pins > 0)
			MemoryContextSetParent(current_cache->context, TopTransactionContext);
		else
			MemoryContextDelete(current_cache->context);
		current_cache = NULL;
	}
	if (current_cache == NULL)
		current_cache = rule_cache_build();
	return current_cache;
}

/* ---------- Reading rows of rule tables, after security_read() ---------- */

char *
rule_read_string(RuleCache *cache, uint64 row, int column)
{
	char	   *value = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);

	return value == NULL ? NULL : MemoryContextStrdup(cache->context, value);
}

Datum
rule_read_datum(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}

int64
rule_read_int64(uint64 row, int column)
{
	bool		isnull;
	Datum		value = rule_read_datum(row, column, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

bool
rule_read_bool(uint64 row, int column)
{
	bool		isnull;
	Datum		value = rule_read_datum(row, column, &isnull);

	return !isnull && DatumGetBool(value);
}

/* The texts of an array that are not null, in the current memory context. */
List *
rule_list_of_texts(Datum array)
{
	List	   *list = NIL;
	Datum	   *values;
	bool	   *nulls;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT,
					  &values, &nulls, &n);
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			list = lappend(list, TextDatumGetCString(values[i]));
	return list;
}

/* None for NULL. */
List *
rule_read_texts(uint64 row, int column)
{
	bool		isnull;
	Datum		array = rule_read_datum(row, column, &isnull);

	return isnull ? NIL : rule_list_of_texts(array);
}

/*
 * A predicate, to be compiled when it is first asked; NULL for NULL.  The label
 * has to live as long as the cache.
 */
RulePredicate *
rule_read_predicate(RuleCache *cache, uint64 row, int column, const char *label)
{
	char	   *source = rule_read_string(cache, row, column);
	RulePredicate *predicate;

	if (source == NULL)
		return NULL;
	predicate = MemoryContextAllocZero(cache->context, sizeof(RulePredicate));
	predicate->context = cache->context;
	predicate->source = source;
	predicate->label = label;
	return predicate;
}

PG_FUNCTION_INFO_V1(rules_changed);

/*
 * rules_changed(): AFTER trigger of every rule table, for each row (all that
 * logical replication fires) and for TRUNCATE; tells every backend, at commit,
 * that its cached rules are stale.  It writes nothing.
 */
Datum
rules_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigdata->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("rules_changed must be called as an AFTER trigger")));
	CacheInvalidateRelcache(trigdata->tg_relation);
	return PointerGetDatum(NULL);
}
