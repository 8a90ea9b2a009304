/*-------------------------------------------------------------------------
 *
 * work_find.h
 *		The items of a queue that can be claimed, by their rank and as they come.
 *
 * IDENTIFICATION
 *		src/work_find.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_WORK_FIND_H
#define REFERRAL_WORK_FIND_H

#include "access/genam.h"
#include "executor/tuptable.h"
#include "utils/array.h"
#include "utils/relcache.h"

#include "rule.h"

/*
 * Arrivals are found by spans of transactions, as the column arrived tells them:
 * in the index, those of a span lie in the order of their ranks.
 */
#define ARRIVAL_SPAN	128

static inline uint64
arrival_span(uint64 xid)
{
	return xid - xid % ARRIVAL_SPAN;
}

/* Where an item stands in its queue: the higher the score, then the lower the number, the earlier. */
typedef struct ItemPlace
{
	double		score;
	int64		work_item_id;
} ItemPlace;

/* referral.work_item, as the snapshot that is active sees it, open to look at a queue. */
typedef struct ItemTable
{
	Datum		org_id;
	Datum		queue_id;
	Relation	rel;
	Relation	by_rank;
	Relation	by_arrival;
	IndexScanDesc arrivals;
	TupleTableSlot *slot;
} ItemTable;

extern void work_find_open(RuleCache *cache, int64 org_id, int64 queue_id, ItemTable *items);
extern void work_find_close(ItemTable *items);
extern bool work_find_first(ItemTable *items, ItemPlace from, ItemPlace *found);
extern void work_find_arrival(ItemTable *items, uint64 span, ItemPlace *place);
extern ArrayType *work_find_and_lock(ItemTable *items, ItemPlace from, int64 n, bool *is_stale);

#endif							/* REFERRAL_WORK_FIND_H */
