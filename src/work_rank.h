/*-------------------------------------------------------------------------
 *
 * work_rank.h
 *		Where a work item stands in its queue.
 *
 * IDENTIFICATION
 *		src/work_rank.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_WORK_RANK_H
#define REFERRAL_WORK_RANK_H

#include "datatype/timestamp.h"

#include "entity.h"
#include "rule.h"

/* What rules of kind per_day go by. */
typedef enum RankDate
{
	RANK_OPENED_AT, RANK_RECEIVED_AT, RANK_DUE_AT, RANK_SCHEDULED_FOR, RANK_EXPIRES_ON,
	RANK_PAYER_DEADLINE,
	RANK_NDATES
} RankDate;

typedef struct RankFactor
{
	int64		ranking_factor_id;
	bool		per_day;
	double		points;
	RankDate	date;
	int64		horizon;		/* microseconds */
	int64		scope_org_id;	/* 0: any */
	struct RankFactor *next;
} RankFactor;

/* The item that is ranked. */
typedef struct RankItem
{
	int64		org_id;
	const char *entity;
	int64		entity_id;
	int64		referral_id;	/* 0: none */
	TimestampTz dates[RANK_NDATES];
	bool		known[RANK_NDATES];
	bool		asked_payer_deadline;	/* of the clocks */
} RankItem;

/* What open clocks of a row say. */
typedef struct RankClocks
{
	bool		has_due;
	TimestampTz due_at;			/* of the first of them */
	bool		has_payer_deadline;
	TimestampTz payer_deadline; /* when the clock payer_decision is due */
} RankClocks;

extern RankClocks rank_read_clocks(RuleCache *cache, int64 org_id, const char *entity, int64 id);
extern void rank_take_payer_deadline(RankItem *item, RankClocks clocks);
extern Datum rank_item_value(HeapTupleHeader header, const char *column);
extern void rank_take_item(RuleCache *cache, HeapTupleHeader header, RankItem *item);
extern double rank_item(RuleCache *cache, RankItem *item);
extern double rank_row(RuleCache *cache, RankItem *item, TrackedRel *rel, Relation relation,
					   TupleTableSlot *slot);

#endif							/* REFERRAL_WORK_RANK_H */
