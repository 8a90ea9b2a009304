/*-------------------------------------------------------------------------
 *
 * work_refresh.c
 *		Bringing work items up to date: when they are due, and their score.
 *
 * A bulk change of referrals comes here once for each, so this is done with few
 * statements, prepared once, as the owner of the model.  Only what is another
 * than before is written.
 *
 * IDENTIFICATION
 *		src/work_refresh.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "security.h"
#include "work.h"
#include "work_rank.h"
#include "work_sql.h"

static WorkStatement items_of_referral =
	WORK_STATEMENT("SELECT w FROM referral.work_item w WHERE org_id = $1 AND referral_id = $2"
				   " AND closed_at IS NULL ORDER BY work_item_id",
				   2, INT8OID, INT8OID);
static WorkStatement items_of_row =
	WORK_STATEMENT("SELECT w FROM referral.work_item w WHERE org_id = $1 AND entity_id = $2"
				   " AND entity = $3 AND closed_at IS NULL ORDER BY work_item_id",
				   3, INT8OID, INT8OID, TEXTOID);

/* somebody else may have written it meanwhile */
static WorkStatement write_item =
	WORK_STATEMENT("UPDATE referral.work_item SET due_at = $3, score = $4"
				   " WHERE org_id = $1 AND work_item_id = $2 AND closed_at IS NULL"
				   " AND (due_at, score) IS DISTINCT FROM ($3, $4)",
				   4, INT8OID, INT8OID, TIMESTAMPTZOID, FLOAT8OID);

/* ---------- When it is due ---------- */

static const char *
due_column(RuleCache *cache, const char *entity, const char *kind)
{
	for (WorkSource *source = work_rules(cache)->sources; source != NULL; source = source->next)
		if (strcmp(source->entity, entity) == 0 && strcmp(source->kind, kind) == 0 &&
			source->due_column != NULL)
			return source->due_column;
	return NULL;
}

/* As its row says, where the rule that it is work by names a column of it. */
static void
take_stated(RuleCache *cache, RankItem *item, const char *kind)
{
	const char *column = due_column(cache, item->entity, kind);
	HeapTupleHeader row = column == NULL ? NULL
		: entity_read_row(cache, item->entity, item->org_id, item->entity_id);
	bool		isnull;
	Datum		value;

	if (row == NULL ||
		get_atttype(get_typ_typrelid(HeapTupleHeaderGetTypeId(row)),
					get_attnum(get_typ_typrelid(HeapTupleHeaderGetTypeId(row)), column)) != TIMESTAMPTZOID)
		return;
	value = GetAttributeByName(row, column, &isnull);
	item->known[RANK_DUE_AT] = !isnull;
	item->dates[RANK_DUE_AT] = isnull ? 0 : DatumGetTimestampTz(value);
}

/* A task has its own time; else the first clock of the row says it, or the row. */
static void
take_due(RuleCache *cache, RankItem *item, const char *kind)
{
	RankClocks	clocks;

	if (strcmp(kind, "task") == 0)
		return;
	clocks = rank_read_clocks(cache, item->org_id, item->entity, item->entity_id);
	if (strcmp(item->entity, "referral") == 0)
	{
		rank_take_payer_deadline(item, clocks);
		item->known[RANK_DUE_AT] = clocks.has_due;
	}
	else if (!clocks.has_due)
		take_stated(cache, item, kind);
	if (clocks.has_due)
	{
		item->known[RANK_DUE_AT] = true;
		item->dates[RANK_DUE_AT] = clocks.due_at;
	}
}

/* ---------- Writing ---------- */

/* Was it another?  The caller has pinned the cache. */
static bool
refresh(RuleCache *cache, HeapTupleHeader row)
{
	RankItem	item;
	Maybe		due;
	double		score;
	bool		isnull;
	bool		was_due;
	TimestampTz due_before;
	bool		written = false;
	OwnerScope	scope;

	rank_take_item(cache, row, &item);
	was_due = item.known[RANK_DUE_AT];
	due_before = item.dates[RANK_DUE_AT];
	take_due(cache, &item, TextDatumGetCString(rank_item_value(row, "kind")));
	score = rank_item(cache, &item);
	if (score == DatumGetFloat8(rank_item_value(row, "score")) &&
		was_due == item.known[RANK_DUE_AT] && (!was_due || due_before == item.dates[RANK_DUE_AT]))
		return false;
	due = item.known[RANK_DUE_AT] ? some(TimestampTzGetDatum(item.dates[RANK_DUE_AT])) : no_value;
	security_begin_read(&scope, cache->owner);
	work_set_planner();
	written = work_run(&write_item,
					   (Maybe[]) {some(Int64GetDatum(item.org_id)),
								  some(GetAttributeByName(row, "work_item_id", &isnull)),
								  due, some(Float8GetDatum(score))}) > 0;
	security_end_read(&scope);
	return written;
}

/* HeapTupleHeader, of the open items of a row; of a referral, of all that serve it. */
static List *
read_items(WorkRow *row)
{
	MemoryContext caller = CurrentMemoryContext;
	bool		is_referral = strcmp(row->rel->entity, "referral") == 0;
	List	   *items = NIL;
	OwnerScope	scope;

	security_begin_read(&scope, row->cache->owner);
	work_set_planner();
	(void) work_run(is_referral ? &items_of_referral : &items_of_row,
					(Maybe[]) {some(Int64GetDatum(row->org_id)), some(Int64GetDatum(row->id)),
							   some_text(row->rel->entity)});
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Datum		item = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);
		MemoryContext scoped = MemoryContextSwitchTo(caller);

		items = lappend(items, DatumGetHeapTupleHeaderCopy(item));
		MemoryContextSwitchTo(scoped);
	}
	security_end_read(&scope);
	return items;
}

/* Something that the ranking goes by has changed. */
void
work_refresh_row(WorkRow *row)
{
	ListCell   *lc;

	foreach(lc, read_items(row))
		(void) refresh(row->cache, lfirst(lc));
}

PG_FUNCTION_INFO_V1(refresh_item);

/* refresh_item(item record) returns boolean */
Datum
refresh_item(PG_FUNCTION_ARGS)
{
	RuleCache  *cache = rule_cache(true);
	bool		written = false;

	cache->pins++;
	PG_TRY();
	{
		written = refresh(cache, PG_GETARG_HEAPTUPLEHEADER(0));
	}
	PG_FINALLY();
	{
		cache->pins--;
	}
	PG_END_TRY();
	PG_RETURN_BOOL(written);
}
