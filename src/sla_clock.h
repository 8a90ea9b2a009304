/*-------------------------------------------------------------------------
 *
 * sla_clock.h
 *		Clocks as stored, and the change that they follow.
 *
 * IDENTIFICATION
 *		src/sla_clock.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_SLA_CLOCK_H
#define REFERRAL_SLA_CLOCK_H

#include "access/htup.h"

#include "entity.h"
#include "sla.h"
#include "table_writer.h"

/* A clock as stored. */
typedef struct Clock
{
	ItemPointerData tid;		/* invalid: changed since it was read */
	int64		clock_id;
	int32		cycle;
	int64		sla_policy_id;
	int64		business_calendar_id;
	const char *policy;
	bool		is_open;
	bool		is_nullified;
	bool		is_paused_by_rule;
	bool		is_paused;
	bool		is_running;		/* time counts */
	TimestampTz running_since;
	bool		has_due;
	TimestampTz due_at;
	TimestampTz started_at;
	TimestampTz judged_since;
	bool		is_known;		/* target and consumed are */
	int64		target;
	int64		consumed;
	TimestampTz next_fire_at;	/* DT_NOEND: never */
	bool		is_breached;
	TimestampTz breached_at;
} Clock;

/* The change that the trigger fires for. */
typedef struct Change
{
	RuleCache  *cache;
	TrackedRel *rel;
	Relation	relation;
	TupleTableSlot *oldslot;	/* NULL for an INSERT */
	TupleTableSlot *newslot;
	int64		org_id;
	int64		id;
	TimestampTz at;
	List	   *clocks;			/* of the row, by cycle */
	TableWriter **writer;		/* kept for the statement, */
	MemoryContext lifetime;		/* in this memory */
} Change;

/* What a clock that starts is to be like. */
typedef struct ClockStart
{
	SlaPolicy  *policy;
	int64		business_calendar_id;
	int32		cycle;
	bool		has_target;
	int64		target;			/* open microseconds */
	bool		has_due;
	TimestampTz due_at;
	int64		fingerprint;
	TimestampTz next_fire_at;	/* DT_NOEND: never */
} ClockStart;

extern void clock_read(Change *change);
extern int64 clock_insert(Change *change, ClockStart *start);
extern bool clock_stop(Change *change, Clock *clock, TimestampTz stopped_at, bool breached,
					   TimestampTz breached_at);

#endif							/* REFERRAL_SLA_CLOCK_H */
