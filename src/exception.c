/*-------------------------------------------------------------------------
 *
 * exception.c
 *		Reading referral.exception_item: what holds a row up, and what a rule
 *		has opened about it.
 *
 * Every move of a row asks the first, every change of one the second, and
 * hardly ever is there anything.  So both are looked up by hand, in partial
 * indexes that hold little more than what is open.  No role needs rights on
 * the table: a blocking exception counts for who may not see it, too.
 *
 * IDENTIFICATION
 *		src/exception.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "errors.h"
#include "exception.h"

typedef enum ExceptionColumn
{
	E_ORG_ID, E_EXCEPTION_ID, E_CATEGORY, E_CODE, E_ENTITY, E_ENTITY_ID, E_REFERRAL_ID,
	E_STATUS, E_BLOCKING, E_BLOCKS, E_RULE_HOLDS,
	E_NCOLUMNS
} ExceptionColumn;

static const char *const exception_columns[E_NCOLUMNS] = {
	"org_id", "exception_id", "category", "code", "entity", "entity_id", "referral_id",
	"status", "blocking", "blocks", "rule_holds"
};

typedef enum ExceptionIndex
{
	I_BLOCKING_REFERRAL, I_BLOCKING_ROW, I_BY_RULE,
	I_NINDEXES
} ExceptionIndex;

static const char *const exception_indexes[I_NINDEXES] = {
	"exception_item_blocking_referral", "exception_item_blocking_row", "exception_item_by_rule"
};

/* Where the exceptions are, as long as no relation that matters changes. */
static struct
{
	uint64		generation;
	Oid			relid;
	Oid			index[I_NINDEXES];	/* invalid: the table is read */
	AttrNumber	attno[E_NCOLUMNS];
}			target;

/*
 * The statement that asked last, and once it has asked about many rows, those
 * that are held up.  What is opened while it runs, it need not see.
 */
#define MANY_ASKED	1000
#define MAX_HELD	10000

static struct
{
	uint64		serial;			/* of the trigger in its statement; 0: none */
	int64		org_id;
	int			asked;
	HTAB	   *held;			/* ids; NULL: not known */
	MemoryContext context;
}			statement;

typedef struct ExceptionScan
{
	Relation	rel;
	Snapshot	snapshot;
	SysScanDesc scan;
} ExceptionScan;

static void
find_indexes(Relation rel)
{
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *lc;

	memset(target.index, 0, sizeof(target.index));
	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);

		for (int i = 0; i < I_NINDEXES; i++)
			if (index->rd_index->indisvalid &&
				strcmp(RelationGetRelationName(index), exception_indexes[i]) == 0)
				target.index[i] = RelationGetRelid(index);
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
}

static void
find_target(RuleCache *cache)
{
	Relation	rel;
	bool		complete = true;

	if (target.generation == rule_generation)
		return;
	target.generation = 0;
	target.relid = get_relname_relid("exception_item", cache->namespace_id);
	for (int c = 0; c < E_NCOLUMNS && OidIsValid(target.relid); c++)
	{
		target.attno[c] = get_attnum(target.relid, exception_columns[c]);
		complete &= target.attno[c] != InvalidAttrNumber;
	}
	if (!OidIsValid(target.relid) || !complete)
		ereport(ERROR,
				(errcode(ERRCODE_RF_NOT_DEPLOYED),
				 errmsg("the referral model is not deployed in this database"),
				 errdetail("There is no table referral.exception_item with all its columns."),
				 errhint("Run SELECT * FROM referral.deploy().")));
	rule_cache_watch(target.relid);
	rel = table_open(target.relid, AccessShareLock);
	find_indexes(rel);
	table_close(rel, AccessShareLock);
	target.generation = rule_generation;
}

/* ---------- Scanning ---------- */

/*
 * Keys for the exceptions about a row, or those that hold up a referral.  The
 * first one alone is for all of the organisation.
 */
static int
make_keys(ScanKey keys, ExceptionIndex index, const char *entity, int64 org_id, int64 id)
{
	AttrNumber	by = target.attno[index == I_BLOCKING_REFERRAL ? E_REFERRAL_ID : E_ENTITY_ID];

	ScanKeyInit(&keys[0], target.attno[E_ORG_ID], BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(org_id));
	ScanKeyInit(&keys[1], by, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	if (index == I_BLOCKING_REFERRAL)
		return 2;
	ScanKeyEntryInitialize(&keys[2], 0, target.attno[E_ENTITY], BTEqualStrategyNumber, InvalidOid,
						   DEFAULT_COLLATION_OID, F_TEXTEQ, CStringGetTextDatum(entity));
	return 3;
}

static void
begin_scan(ExceptionScan *scan, ExceptionIndex index, int nkeys, ScanKey keys)
{
	scan->rel = table_open(target.relid, AccessShareLock);
	scan->snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan->scan = systable_beginscan(scan->rel, target.index[index],
									OidIsValid(target.index[index]), scan->snapshot, nkeys, keys);
}

static void
end_scan(ExceptionScan *scan)
{
	systable_endscan(scan->scan);
	UnregisterSnapshot(scan->snapshot);
	table_close(scan->rel, AccessShareLock);
}

static Datum
column(ExceptionScan *scan, HeapTuple tuple, ExceptionColumn which, bool *isnull)
{
	return heap_getattr(tuple, target.attno[which], RelationGetDescr(scan->rel), isnull);
}

static bool
column_is_true(ExceptionScan *scan, HeapTuple tuple, ExceptionColumn which)
{
	bool		isnull;
	Datum		value = column(scan, tuple, which, &isnull);

	return !isnull && DatumGetBool(value);
}

/* The index tells as much, but it may have been dropped. */
static bool
is_blocking(ExceptionScan *scan, HeapTuple tuple)
{
	bool		isnull;
	char	   *status = TextDatumGetCString(column(scan, tuple, E_STATUS, &isnull));

	return column_is_true(scan, tuple, E_BLOCKING) &&
		(strcmp(status, "open") == 0 || strcmp(status, "in_progress") == 0);
}

static Exception *
exception_of_tuple(ExceptionScan *scan, HeapTuple tuple)
{
	Exception  *exception = palloc0(sizeof(Exception));
	bool		isnull;
	Datum		category;
	Datum		blocks = column(scan, tuple, E_BLOCKS, &isnull);

	if (!isnull)
		exception->blocks = rule_list_of_texts(blocks);
	exception->exception_id = DatumGetInt64(column(scan, tuple, E_EXCEPTION_ID, &isnull));
	category = column(scan, tuple, E_CATEGORY, &isnull);
	exception->category = DatumGetCString(DirectFunctionCall1(enum_out, category));
	exception->code = TextDatumGetCString(column(scan, tuple, E_CODE, &isnull));
	return exception;
}

/* ---------- What is asked ---------- */

static int
compare_exceptions(const ListCell *a, const ListCell *b)
{
	const Exception *x = lfirst(a);
	const Exception *y = lfirst(b);

	return x->exception_id < y->exception_id ? -1 : x->exception_id > y->exception_id;
}

static List *
read_blocking(ExceptionIndex index, const char *entity, int64 org_id, int64 id)
{
	ScanKeyData keys[3];
	ExceptionScan scan;
	HeapTuple	tuple;
	List	   *exceptions = NIL;

	begin_scan(&scan, index, make_keys(keys, index, entity, org_id, id), keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan.scan)))
		if (is_blocking(&scan, tuple))
			exceptions = lappend(exceptions, exception_of_tuple(&scan, tuple));
	end_scan(&scan);
	list_sort(exceptions, compare_exceptions);
	return exceptions;
}

/* The rows of the statement's organisation that are held up, unless there are too many. */
static void
read_held(ExceptionIndex index, const char *entity)
{
	HASHCTL		ctl = {.keysize = sizeof(int64),.entrysize = sizeof(int64)};
	ScanKeyData keys[3];
	ExceptionScan scan;
	HeapTuple	tuple;
	HTAB	   *held;
	bool		isnull;

	if (statement.context == NULL)
		statement.context = AllocSetContextCreate(CacheMemoryContext, "referral held rows",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(statement.context);
	ctl.hcxt = statement.context;
	held = hash_create("referral held rows", 256, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	(void) make_keys(keys, index, entity, statement.org_id, 0);
	begin_scan(&scan, index, 1, keys);
	while (hash_get_num_entries(held) < MAX_HELD &&
		   HeapTupleIsValid(tuple = systable_getnext(scan.scan)))
	{
		Datum		id = column(&scan, tuple, index == I_BLOCKING_REFERRAL ? E_REFERRAL_ID
								: E_ENTITY_ID, &isnull);

		if (!isnull && is_blocking(&scan, tuple))
			(void) hash_search(held, &id, HASH_ENTER, NULL);
	}
	end_scan(&scan);
	statement.held = hash_get_num_entries(held) < MAX_HELD ? held : NULL;
}

/*
 * Is it known that nothing holds the row up?  A statement that has asked about
 * many rows reads once which ones are held up, and asks no more about others.
 */
static bool
is_known_free(ExceptionIndex index, const char *entity, int64 org_id, int64 id, uint64 serial)
{
	if (serial == 0)
		return false;
	if (statement.serial != serial || statement.org_id != org_id)
	{
		statement.serial = serial;
		statement.org_id = org_id;
		statement.asked = 0;
		statement.held = NULL;
	}
	if (++statement.asked == MANY_ASKED)
		read_held(index, entity);
	return statement.held != NULL && hash_search(statement.held, &id, HASH_FIND, NULL) == NULL;
}

/*
 * The open exceptions that block something of a row, the oldest first.  serial:
 * of the statement that asks about one row after the other; 0: of none.
 */
List *
exceptions_blocking(RuleCache *cache, const char *entity, int64 org_id, int64 id, uint64 serial)
{
	ExceptionIndex index = strcmp(entity, "referral") == 0 ? I_BLOCKING_REFERRAL : I_BLOCKING_ROW;

	find_target(cache);
	if (is_known_free(index, entity, org_id, id, serial))
		return NIL;
	return read_blocking(index, entity, org_id, id);
}

/* Is there an exception about a row whose rule holds, as far as was last seen? */
bool
exceptions_by_rule(RuleCache *cache, const char *entity, int64 org_id, int64 id)
{
	ScanKeyData keys[3];
	ExceptionScan scan;
	HeapTuple	tuple;
	bool		found = false;

	find_target(cache);
	begin_scan(&scan, I_BY_RULE, make_keys(keys, I_BY_RULE, entity, org_id, id), keys);
	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan.scan)))
		found = column_is_true(&scan, tuple, E_RULE_HOLDS);
	end_scan(&scan);
	return found;
}

PG_FUNCTION_INFO_V1(has_rule_exception);

/* has_rule_exception(entity text, org_id bigint, id bigint) returns boolean */
Datum
has_rule_exception(PG_FUNCTION_ARGS)
{
	char	   *entity = text_to_cstring(PG_GETARG_TEXT_PP(0));
	RuleCache  *cache = rule_cache(fcinfo->flinfo->fn_extra == NULL);

	fcinfo->flinfo->fn_extra = cache;	/* not used: news are accepted once per query */
	PG_RETURN_BOOL(exceptions_by_rule(cache, entity, PG_GETARG_INT64(1), PG_GETARG_INT64(2)));
}
