/*-------------------------------------------------------------------------
 *
 * work_rank.c
 *		Where a work item stands in its queue, and why.
 *
 * The score is stored without time: rules of kind per_day count the days from
 * 1970-01-01 to their date, as if it were that day.  Each of them counts for
 * every item, so that each day adds the same to all of them and the order never
 * changes by time alone; nor by the horizon of a rule, which is added only when
 * the score is told.  Points are kept in millionths, and check_ranking() bounds
 * what all rules together can add up to, so that a double holds it exactly and
 * what is explained sums up to the score.
 *
 * IDENTIFICATION
 *		src/work_rank.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "compat.h"
#include "entity.h"
#include "security.h"
#include "statement.h"
#include "work_rank.h"

#define MILLION		INT64CONST(1000000)
#define UNIX_EPOCH	((TimestampTz) (UNIX_EPOCH_JDATE - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY)

/* Dates beyond count as these: 1900-01-01 and 2200-01-01. */
#define FIRST_DATE	(UNIX_EPOCH - INT64CONST(25567) * USECS_PER_DAY)
#define LAST_DATE	(UNIX_EPOCH + INT64CONST(84006) * USECS_PER_DAY)

/* What one rule adds. */
typedef struct RankPart
{
	RankFactor *factor;
	bool		assumed;		/* the date is */
	TimestampTz at;
	int64		micropoints;
} RankPart;

/* ---------- Rules ---------- */

static RankDate
date_named(const char *name)
{
	static const char *const names[RANK_NDATES] = {
		"opened_at", "received_at", "due_at", "scheduled_for", "expires_on", "payer_deadline"
	};

	for (int i = 0; i < RANK_NDATES; i++)
		if (name != NULL && strcmp(name, names[i]) == 0)
			return i;
	return RANK_OPENED_AT;
}

/* The factors of active versions, by their numbers. */
static RankFactor *
rank_factors(RuleCache *cache)
{
	RankFactor **tail = &cache->factors;
	OwnerScope	scope;

	if (cache->factors != NULL)
		return cache->factors;
	security_begin_read(&scope, cache->owner);
	security_read("SELECT f.ranking_factor_id, f.kind = 'per_day', f.points::float8, f.date_field,"
				  "  (extract(epoch FROM f.horizon) * 1000000)::int8, coalesce(f.scope_org_id, 0)"
				  " FROM referral.ranking_factor f JOIN referral.rule_version v USING (rule_version_id)"
				  " WHERE v.status = 'active' AND $1 ORDER BY f.ranking_factor_id",
				  BOOLOID, BoolGetDatum(true));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		RankFactor *factor = MemoryContextAllocZero(cache->context, sizeof(RankFactor));
		bool		isnull;

		factor->ranking_factor_id = rule_read_int64(i, 1);
		factor->per_day = rule_read_bool(i, 2);
		factor->points = DatumGetFloat8(rule_read_datum(i, 3, &isnull));
		factor->date = date_named(rule_read_string(cache, i, 4));
		factor->horizon = rule_read_int64(i, 5);
		factor->scope_org_id = rule_read_int64(i, 6);
		*tail = factor;
		tail = &factor->next;
	}
	security_end_read(&scope);
	return cache->factors;
}

static int64
micropoints_of(double points)
{
	double		value = rint(points * MILLION);

	if (!FLOAT8_FITS_IN_INT64(value))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("so many points cannot be ranked by"),
				 errhint("See the bounds of referral.ranking_factor.")));
	return (int64) value;
}

/* Points for each day from 1970-01-01 to a time. */
static int64
micropoints_of_days(double points, TimestampTz at)
{
	TimestampTz date = Max(FIRST_DATE, Min(LAST_DATE, at));

	return micropoints_of(points * ((double) (date - UNIX_EPOCH) / USECS_PER_DAY));
}

/* ---------- The rows that the rules ask for ---------- */

/* One statement, prepared once; its first row, or none. */
static bool
read_first(RuleCache *cache, SPIPlanPtr *plan, const char *sql, int nargs, Oid *argtypes,
		   Datum *args)
{
	statement_keep(plan, sql, nargs, argtypes, 0);
	if (SPI_execute_plan(*plan, args, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not run: %s", sql);
	return SPI_processed > 0;
}

/* The referral of an item, in the memory of the caller; NULL when there is none. */
static HeapTupleHeader
read_referral(RuleCache *cache, RankItem *item)
{
	static SPIPlanPtr plan = NULL;
	Oid			argtypes[] = {INT8OID, INT8OID};
	Datum		args[] = {Int64GetDatum(item->org_id), Int64GetDatum(item->referral_id)};
	MemoryContext caller = CurrentMemoryContext;
	HeapTupleHeader row = NULL;
	OwnerScope	scope;

	security_begin_read(&scope, cache->owner);
	if (read_first(cache, &plan, "SELECT r FROM referral.referral r WHERE org_id = $1 AND referral_id = $2",
				   lengthof(args), argtypes, args))
	{
		bool		isnull;
		Datum		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);

		caller = MemoryContextSwitchTo(caller);
		row = DatumGetHeapTupleHeaderCopy(value);
		MemoryContextSwitchTo(caller);
	}
	security_end_read(&scope);
	return row;
}

/* What the open clocks of a row say. */
RankClocks
rank_read_clocks(RuleCache *cache, int64 org_id, const char *entity, int64 id)
{
	static SPIPlanPtr plan = NULL;
	Oid			argtypes[] = {INT8OID, INT8OID, TEXTOID};
	Datum		args[] = {Int64GetDatum(org_id), Int64GetDatum(id), CStringGetTextDatum(entity)};
	RankClocks	clocks = {0};
	bool		isnull;
	OwnerScope	scope;

	security_begin_read(&scope, cache->owner);
	if (read_first(cache, &plan, "SELECT pg_catalog.min(due_at), pg_catalog.min(due_at) FILTER (WHERE policy = 'payer_decision')"
				   " FROM referral.sla_clock WHERE org_id = $1 AND entity_id = $2 AND entity = $3"
				   " AND stopped_at IS NULL AND nullified_at IS NULL",
				   lengthof(args), argtypes, args))
	{
		clocks.due_at = DatumGetTimestampTz(rule_read_datum(0, 1, &isnull));
		clocks.has_due = !isnull;
		clocks.payer_deadline = DatumGetTimestampTz(rule_read_datum(0, 2, &isnull));
		clocks.has_payer_deadline = !isnull;
	}
	security_end_read(&scope);
	return clocks;
}

void
rank_take_payer_deadline(RankItem *item, RankClocks clocks)
{
	item->asked_payer_deadline = true;
	item->known[RANK_PAYER_DEADLINE] = clocks.has_payer_deadline;
	item->dates[RANK_PAYER_DEADLINE] = clocks.payer_deadline;
}

static void
take_date(RankItem *item, RankDate which, TupleTableSlot *slot, const char *column)
{
	int			attno = SPI_fnumber(slot->tts_tupleDescriptor, column);

	if (attno <= 0 || slot->tts_isnull[attno - 1])
		return;
	item->known[which] = true;
	if (TupleDescAttr(slot->tts_tupleDescriptor, attno - 1)->atttypid != DATEOID)
		item->dates[which] = DatumGetTimestampTz(slot->tts_values[attno - 1]);
	else
	{
		DateADT		day = DatumGetDateADT(slot->tts_values[attno - 1]);

		/* up to the end of the day, UTC */
		item->dates[which] = DATE_IS_NOBEGIN(day) ? DT_NOBEGIN : DATE_IS_NOEND(day) ? DT_NOEND
			: (TimestampTz) (day + 1) * USECS_PER_DAY;
	}
}

/* ---------- Ranking ---------- */

static bool
is_referral(const char *entity)
{
	return strcmp(entity, "referral") == 0;
}

static RankFactor *
find_factor(RankFactor *factor, int64 id)
{
	while (factor != NULL && factor->ranking_factor_id != id)
		factor = factor->next;
	return factor;
}

/* The rules of kind points that hold for a row, which may be the item's referral. */
static List *
add_points(RuleCache *cache, List *parts, RankItem *item, TrackedRel *rel, Relation relation,
		   TupleTableSlot *slot)
{
	int64	   *ids;
	bool		failed = false;
	int			n = rule_table_matches(cache, "ranking_factor", rel->entity, item->org_id, relation,
									   slot, rel->nullslot, false, &ids, &failed);

	if (is_referral(rel->entity))
	{
		take_date(item, RANK_RECEIVED_AT, slot, "received_at");
		take_date(item, RANK_SCHEDULED_FOR, slot, "scheduled_for");
		take_date(item, RANK_EXPIRES_ON, slot, "expires_on");
	}
	for (int i = 0; i < n; i++)
	{
		RankFactor *factor = find_factor(rank_factors(cache), ids[i]);

		if (factor != NULL && !factor->per_day)
		{
			RankPart   *part = palloc0(sizeof(RankPart));

			part->factor = factor;
			part->micropoints = micropoints_of(factor->points);
			parts = lappend(parts, part);
		}
	}
	return parts;
}

/* The same of a row as it was read; nothing when there is none. */
static List *
add_points_of_record(RuleCache *cache, List *parts, RankItem *item, const char *entity,
					 HeapTupleHeader row)
{
	TupleTableSlot *slot;
	TrackedRel *rel;
	Relation	relation;

	if (row == NULL)
		return parts;
	rel = entity_of_record(cache, entity, row, &slot);
	relation = table_open(rel->relid, AccessShareLock);
	parts = add_points(cache, parts, item, rel, relation, slot);
	table_close(relation, AccessShareLock);
	ExecDropSingleTupleTableSlot(slot);
	return parts;
}

static List *
add_days(RuleCache *cache, List *parts, RankItem *item)
{
	for (RankFactor *factor = rank_factors(cache); factor != NULL; factor = factor->next)
	{
		RankPart   *part;

		if (!factor->per_day || (factor->scope_org_id != 0 && factor->scope_org_id != item->org_id))
			continue;
		part = palloc0(sizeof(RankPart));
		part->factor = factor;
		part->assumed = !item->known[factor->date];
		part->at = part->assumed ? item->dates[RANK_OPENED_AT] + factor->horizon
			: item->dates[factor->date];
		part->micropoints = -micropoints_of_days(factor->points, part->at);
		parts = lappend(parts, part);
	}
	return parts;
}

/* What the referral of an item adds, and what its clock says. */
static List *
add_referral(RuleCache *cache, List *parts, RankItem *item)
{
	if (item->referral_id == 0)
		return parts;
	if (!item->asked_payer_deadline)
		rank_take_payer_deadline(item, rank_read_clocks(cache, item->org_id, "referral", item->referral_id));
	return add_points_of_record(cache, parts, item, "referral", read_referral(cache, item));
}

/* RankPart, of all rules that count for the item as the rows stand now. */
static List *
rank(RuleCache *cache, RankItem *item)
{
	List	   *parts = NIL;

	if (!is_referral(item->entity))
		parts = add_points_of_record(cache, parts, item, item->entity,
									 entity_read_row(cache, item->entity, item->org_id, item->entity_id));
	parts = add_referral(cache, parts, item);
	return add_days(cache, parts, item);
}

static double
score_of(List *parts)
{
	int64		sum = 0;
	ListCell   *lc;

	foreach(lc, parts)
		sum += ((RankPart *) lfirst(lc))->micropoints;
	return (double) sum / MILLION;
}

/*
 * The score of an item about a row that is at hand; of a referral, the caller
 * knows the payer's deadline too.  He has pinned the cache.
 */
double
rank_row(RuleCache *cache, RankItem *item, TrackedRel *rel, Relation relation, TupleTableSlot *slot)
{
	List	   *parts = add_points(cache, NIL, item, rel, relation, slot);

	if (!is_referral(item->entity))
		parts = add_referral(cache, parts, item);
	return score_of(add_days(cache, parts, item));
}

/* ---------- SQL ---------- */

/* The score of an item as the rows stand now.  The caller has pinned the cache. */
double
rank_item(RuleCache *cache, RankItem *item)
{
	return score_of(rank(cache, item));
}

/* A value that every item has. */
Datum
rank_item_value(HeapTupleHeader header, const char *column)
{
	bool		isnull;
	Datum		value = GetAttributeByName(header, column, &isnull);

	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("a work item without \"%s\" cannot be ranked", column),
				 errdetail("It is null in the row that was given."),
				 errhint("Give a row of referral.work_item.")));
	return value;
}

/* What the ranking has to know of a row of work_item. */
void
rank_take_item(RuleCache *cache, HeapTupleHeader header, RankItem *item)
{
	bool		isnull;
	Datum		value;

	if (get_typ_typrelid(HeapTupleHeaderGetTypeId(header)) != get_relname_relid("work_item", cache->namespace_id))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("only a work item can be ranked"),
				 errdetail("The value is no row of referral.work_item."),
				 errhint("Give the whole row: FROM referral.work_item i … rank_now(i).")));
	memset(item, 0, sizeof(RankItem));
	item->org_id = DatumGetInt64(rank_item_value(header, "org_id"));
	item->entity = TextDatumGetCString(rank_item_value(header, "entity"));
	item->entity_id = DatumGetInt64(rank_item_value(header, "entity_id"));
	value = GetAttributeByName(header, "referral_id", &isnull);
	item->referral_id = isnull ? 0 : DatumGetInt64(value);
	item->dates[RANK_OPENED_AT] = DatumGetTimestampTz(rank_item_value(header, "opened_at"));
	item->known[RANK_OPENED_AT] = true;
	value = GetAttributeByName(header, "due_at", &isnull);
	item->known[RANK_DUE_AT] = !isnull;
	if (!isnull)
		item->dates[RANK_DUE_AT] = DatumGetTimestampTz(value);
}

static Datum
numeric_of_micropoints(int64 micropoints)
{
	return NumericGetDatum(int64_div_fast_to_numeric(micropoints, 6));
}

/* The parts, of an item given as a record. */
static List *
rank_record(HeapTupleHeader header)
{
	RuleCache  *cache = rule_cache(true);
	List	   *volatile parts = NIL;
	RankItem	item;

	rank_take_item(cache, header, &item);
	cache->pins++;
	PG_TRY();
	{
		parts = rank(cache, &item);
	}
	PG_FINALLY();
	{
		cache->pins--;
	}
	PG_END_TRY();
	return parts;
}

PG_FUNCTION_INFO_V1(rank_now);
PG_FUNCTION_INFO_V1(rank_parts);
PG_FUNCTION_INFO_V1(rank_of_days);
PG_FUNCTION_INFO_V1(rank_points);
PG_FUNCTION_INFO_V1(next_xact);

/* rank_now(item record) returns float8 */
Datum
rank_now(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(score_of(rank_record(PG_GETARG_HEAPTUPLEHEADER(0))));
}

/* rank_parts(item record) returns setof (ranking_factor_id, per_day, dated, assumed, points) */
Datum
rank_parts(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, 0);
	foreach(lc, rank_record(PG_GETARG_HEAPTUPLEHEADER(0)))
	{
		RankPart   *part = lfirst(lc);
		bool		per_day = part->factor->per_day;
		Datum		values[] = {Int64GetDatum(part->factor->ranking_factor_id),
			Float8GetDatum(part->factor->points), TimestampTzGetDatum(part->at),
			BoolGetDatum(part->assumed), numeric_of_micropoints(part->micropoints)};
		bool		nulls[] = {false, !per_day, !per_day, false, false};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* rank_of_days(points float8, at timestamptz) returns numeric */
Datum
rank_of_days(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(numeric_of_micropoints(micropoints_of_days(PG_GETARG_FLOAT8(0),
															   PG_GETARG_TIMESTAMPTZ(1))));
}

/* rank_points(score float8) returns numeric */
Datum
rank_points(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(numeric_of_micropoints(micropoints_of(PG_GETARG_FLOAT8(0))));
}

/* next_xact() returns xid8 */
Datum
next_xact(PG_FUNCTION_ARGS)
{
	PG_RETURN_FULLTRANSACTIONID(ReadNextFullTransactionId());
}
