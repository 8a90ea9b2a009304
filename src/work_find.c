/*-------------------------------------------------------------------------
 *
 * work_find.c
 *		The items of a queue that can be claimed, by their rank and as they come.
 *
 * Each claim looks, and finds one item.  So this reads the two indexes that are
 * for it directly: to start a statement takes longer than all that is done here.
 * What a snapshot sees through such an index can be claimed, as its predicate says.
 *
 * IDENTIFICATION
 *		src/work_find.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "errors.h"
#include "work_find.h"

/* Columns of the indexes: work_item_claim, and work_item_arrived. */
#define BY_ORG_ID		1
#define BY_QUEUE_ID		2
#define BY_SCORE		3
#define BY_WORK_ITEM_ID	4
#define BY_ARRIVED		3
#define BY_ARRIVAL_SCORE 4
#define BY_ARRIVAL_ID	5
#define NKEYS			4

/* ---------- The table and its indexes ---------- */

static Relation
open_index(RuleCache *cache, Relation rel, const char *name, int ncolumns)
{
	Oid			relid = get_relname_relid(name, cache->namespace_id);
	Relation	index = OidIsValid(relid) ? index_open(relid, RowExclusiveLock) : NULL;

	if (index == NULL || !index->rd_index->indisvalid ||
		index->rd_index->indrelid != RelationGetRelid(rel) || index->rd_index->indnatts != ncolumns)
		ereport(ERROR,
				(errcode(ERRCODE_RF_NOT_DEPLOYED),
				 errmsg("the referral model is not deployed in this database"),
				 errdetail("There is no index referral.%s as it has to be.", name),
				 errhint("Drop it if there is one, and run SELECT * FROM referral.deploy().")));
	return index;
}

void
work_find_open(RuleCache *cache, int64 org_id, int64 queue_id, ItemTable *items)
{
	Oid			relid = get_relname_relid("work_item", cache->namespace_id);

	items->org_id = Int64GetDatum(org_id);
	items->queue_id = Int64GetDatum(queue_id);
	items->rel = table_open(relid, RowExclusiveLock);
	items->by_rank = open_index(cache, items->rel, "work_item_claim", BY_WORK_ITEM_ID);
	items->by_arrival = open_index(cache, items->rel, "work_item_arrived", BY_ARRIVAL_ID);
	items->arrivals = compat_index_beginscan(items->rel, items->by_arrival, GetActiveSnapshot(), NKEYS);
	items->slot = table_slot_create(items->rel, NULL);
}

/* Its locks stay until the end of the transaction. */
void
work_find_close(ItemTable *items)
{
	ExecDropSingleTupleTableSlot(items->slot);
	index_endscan(items->arrivals);
	index_close(items->by_arrival, NoLock);
	index_close(items->by_rank, NoLock);
	table_close(items->rel, NoLock);
}

static void
begin_keys(ItemTable *items, ScanKey keys)
{
	ScanKeyInit(&keys[0], BY_ORG_ID, BTEqualStrategyNumber, F_INT8EQ, items->org_id);
	ScanKeyInit(&keys[1], BY_QUEUE_ID, BTEqualStrategyNumber, F_INT8EQ, items->queue_id);
}

/* Where the item in the slot stands. */
static ItemPlace
place_of(ItemTable *items)
{
	int2vector *columns = &items->by_rank->rd_index->indkey;
	bool		isnull;

	return (ItemPlace) {
		DatumGetFloat8(slot_getattr(items->slot, columns->values[BY_SCORE - 1], &isnull)),
			DatumGetInt64(slot_getattr(items->slot, columns->values[BY_WORK_ITEM_ID - 1], &isnull))
	};
}

static bool
is_before(ItemPlace a, ItemPlace b)
{
	return a.score > b.score || (a.score == b.score && a.work_item_id < b.work_item_id);
}

/* ---------- By rank ---------- */

typedef struct RankScan
{
	IndexScanDesc scan;
	ItemPlace	from;
	bool		is_below;		/* past those that have the score of "from" */
} RankScan;

/* First those of the same score, then those of lower ones: so nothing before "from" is visited. */
static void
position(ItemTable *items, RankScan *ranks, bool is_below)
{
	ScanKeyData keys[NKEYS];

	begin_keys(items, keys);
	ScanKeyInit(&keys[2], BY_SCORE, is_below ? BTLessStrategyNumber : BTEqualStrategyNumber,
				is_below ? F_FLOAT8LT : F_FLOAT8EQ, Float8GetDatum(ranks->from.score));
	ScanKeyInit(&keys[3], BY_WORK_ITEM_ID, BTGreaterEqualStrategyNumber, F_INT8GE,
				Int64GetDatum(is_below ? PG_INT64_MIN : ranks->from.work_item_id));
	index_rescan(ranks->scan, keys, NKEYS, NULL, 0);
	ranks->is_below = is_below;
}

static void
begin_ranks(ItemTable *items, RankScan *ranks, ItemPlace from)
{
	ranks->scan = compat_index_beginscan(items->rel, items->by_rank, GetActiveSnapshot(), NKEYS);
	ranks->from = from;
	position(items, ranks, false);
}

/* The next one, into the slot. */
static bool
next_of_ranks(ItemTable *items, RankScan *ranks)
{
	if (index_getnext_slot(ranks->scan, ForwardScanDirection, items->slot))
		return true;
	if (ranks->is_below)
		return false;
	position(items, ranks, true);
	return index_getnext_slot(ranks->scan, ForwardScanDirection, items->slot);
}

/* The first one at a place or after it, whoever has locked it. */
bool
work_find_first(ItemTable *items, ItemPlace from, ItemPlace *found)
{
	RankScan	ranks;
	bool		is_found;

	begin_ranks(items, &ranks, from);
	is_found = next_of_ranks(items, &ranks);
	if (is_found)
		*found = place_of(items);
	index_endscan(ranks.scan);
	return is_found;
}

/* ---------- As they come ---------- */

/* The place of the first of those that came in a span, if it is before "place". */
void
work_find_arrival(ItemTable *items, uint64 span, ItemPlace *place)
{
	ScanKeyData keys[NKEYS];
	ItemPlace	arrival;

	begin_keys(items, keys);
	ScanKeyInit(&keys[2], BY_ARRIVED, BTEqualStrategyNumber, F_XID8EQ, UInt64GetDatum(span));
	ScanKeyInit(&keys[3], BY_ARRIVAL_SCORE, BTGreaterEqualStrategyNumber, F_FLOAT8GE,
				Float8GetDatum(place->score));
	index_rescan(items->arrivals, keys, NKEYS, NULL, 0);
	if (!index_getnext_slot(items->arrivals, ForwardScanDirection, items->slot))
		return;
	arrival = place_of(items);
	if (is_before(arrival, *place))
		*place = arrival;
}

/* ---------- Locking ---------- */

/* Locks the item in the slot, unless somebody else has it, or has changed it since the snapshot. */
static TM_Result
lock_item(ItemTable *items, TupleTableSlot *locked)
{
	ItemPointerData tid = items->slot->tts_tid;
	TM_FailureData failure;
	TM_Result	result = table_tuple_lock(items->rel, &tid, GetActiveSnapshot(), locked,
										  GetCurrentCommandId(false), LockTupleNoKeyExclusive,
										  LockWaitSkip, 0, &failure);

	if ((result == TM_Updated || result == TM_Deleted) && IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent update")));
	return result;
}

/*
 * Locks the first n at a place or after it, without waiting for anybody, and
 * tells where they are: tid[], NULL when there are none.  When the first one was
 * changed since the snapshot, none is locked: it may still be the first, so
 * another snapshot is to be asked.
 */
ArrayType *
work_find_and_lock(ItemTable *items, ItemPlace from, int64 n, bool *is_stale)
{
	TupleTableSlot *locked = table_slot_create(items->rel, NULL);
	ArrayBuildState *tids = NULL;
	RankScan	ranks;

	*is_stale = false;
	begin_ranks(items, &ranks, from);
	for (int64 taken = 0; taken < n && !*is_stale && next_of_ranks(items, &ranks);)
	{
		TM_Result	result = lock_item(items, locked);

		CHECK_FOR_INTERRUPTS();
		*is_stale = taken == 0 && (result == TM_Updated || result == TM_Deleted);
		if (result != TM_Ok)
			continue;
		tids = accumArrayResult(tids, PointerGetDatum(&locked->tts_tid), false, TIDOID,
								CurrentMemoryContext);
		taken++;
	}
	index_endscan(ranks.scan);
	ExecDropSingleTupleTableSlot(locked);
	return tids == NULL ? NULL
		: DatumGetArrayTypeP(makeArrayResult(tids, CurrentMemoryContext));
}
