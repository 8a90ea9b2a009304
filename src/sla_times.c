/*-------------------------------------------------------------------------
 *
 * sla_times.c
 *		When a clock that runs on reaches its levels, its target, and breach.
 *
 * All of it is one question to the calendar: when has so much open time gone
 * by?  The trigger, tick() and the views ask here, so they cannot disagree.
 *
 * IDENTIFICATION
 *		src/sla_times.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/table.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "errors.h"
#include "rule.h"
#include "security.h"
#include "sla.h"
#include "workflow_move.h"

/* When "used" open time will have been used; false when the calendar ends before. */
static bool
time_of(CompiledCalendar *calendar, TimestampTz running_since, int64 used, int64 consumed,
		bool next_open, TimestampTz *at)
{
	if (used < consumed)
	{
		*at = running_since;	/* it was before that */
		return true;
	}
	return calendar_try_due(calendar, running_since, used - consumed, next_open, at);
}

/* Elapsed time: a day has 24 hours, a month 30 days.  False when there is no such time. */
static bool
elapsed_due(TimestampTz start, const Interval *target, TimestampTz *due_at)
{
	double		due = (double) start + target->time +
		((double) target->month * DAYS_PER_MONTH + target->day) * USECS_PER_DAY;

	if (TIMESTAMP_NOT_FINITE(start) || due < (double) MIN_TIMESTAMP || due >= (double) END_TIMESTAMP)
		return false;
	*due_at = start + target->time +
		((int64) target->month * DAYS_PER_MONTH + target->day) * USECS_PER_DAY;
	return true;
}

/*
 * When a target from start on is used up, on the active calendar of that name;
 * in elapsed time without one.  False where the calendar ends before.
 */
bool
sla_due_by(RuleCache *cache, const char *calendar, int64 org_id, TimestampTz start,
		   const Interval *target, TimestampTz *due_at)
{
	SlaCalendar *hours = calendar == NULL ? NULL : sla_find_calendar(cache, calendar, org_id, 0);
	CompiledCalendar *compiled;
	int64		open_time;

	if (hours == NULL)
		return elapsed_due(start, target, due_at);
	compiled = calendar_compiled(hours->value);
	return calendar_try_target(compiled, start, target, &open_time) &&
		calendar_try_due(compiled, start, open_time, false, due_at);
}

PG_FUNCTION_INFO_V1(due_by);

/* due_by(calendar text, org_id bigint, start timestamptz, target interval) returns timestamptz */
Datum
due_by(PG_FUNCTION_ARGS)
{
	RuleCache  *cache = rule_cache(true);
	char	   *calendar = PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0));
	TimestampTz due_at = 0;
	bool		known = false;

	if (PG_ARGISNULL(2) || PG_ARGISNULL(3))
		PG_RETURN_NULL();
	cache->pins++;
	PG_TRY();
	{
		known = sla_due_by(cache, calendar, PG_ARGISNULL(1) ? 0 : PG_GETARG_INT64(1),
						   PG_GETARG_TIMESTAMPTZ(2), PG_GETARG_INTERVAL_P(3), &due_at);
	}
	PG_FINALLY();
	{
		cache->pins--;
	}
	PG_END_TRY();
	if (!known)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(due_at);
}

/* False when the calendar ends before. */
bool
sla_level_time(SlaPolicy *policy, CompiledCalendar *calendar, int index,
			   TimestampTz running_since, int64 target, int64 consumed,
			   TimestampTz *planned_at)
{
	SlaLevel   *level = &policy->levels[index];
	double		used = rint(target * (level->percent / 100.0)) + level->after;

	if (used >= (double) PG_INT64_MAX / 2)
		return false;
	return time_of(calendar, running_since, Max((int64) used, 0), consumed, false, planned_at);
}

/* What lies before the end of the calendar is known all the same. */
void
sla_times(SlaPolicy *policy, CompiledCalendar *calendar, TimestampTz running_since,
		  int64 target, int64 consumed, SlaTimes *times)
{
	times->known = time_of(calendar, running_since, target, consumed, false, &times->due_at);
	if (!time_of(calendar, running_since, target, consumed, true, &times->breach_at))
		times->breach_at = DT_NOEND;
	times->next_fire_at = times->breach_at == DT_NOEND ? DT_NOEND : times->breach_at + 1;
	for (int i = 0; i < policy->nlevels; i++)
	{
		TimestampTz planned_at;

		if (sla_level_time(policy, calendar, i, running_since, target, consumed, &planned_at))
			times->next_fire_at = Min(times->next_fire_at, planned_at);
	}
}

static const char *const phases[] = {"cancelled", "stopped", "paused", "other"};

static void
put_level(ReturnSetInfo *rsinfo, int32 level, TimestampTz planned_at, bool known)
{
	Datum		values[] = {Int32GetDatum(level), TimestampTzGetDatum(planned_at)};
	bool		nulls[] = {false, false};

	if (known)
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(clock_levels);

/*
 * clock_levels(sla_policy_id bigint, business_calendar_id bigint, running_since
 * timestamptz, target interval, consumed interval) returns setof (level
 * integer, planned_at timestamptz).  Level -1 is the due time, 0 the breach.
 */
Datum
clock_levels(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	TimestampTz running_since = PG_GETARG_TIMESTAMPTZ(2);
	Interval   *target = PG_GETARG_INTERVAL_P(3);
	Interval   *consumed = PG_GETARG_INTERVAL_P(4);
	RuleCache  *cache = rule_cache(false);

	InitMaterializedSRF(fcinfo, 0);
	cache->pins++;
	PG_TRY();
	{
		SlaPolicy  *policy = sla_policy(cache, PG_GETARG_INT64(0));
		SlaCalendar *stored = sla_calendar(cache, PG_GETARG_INT64(1));
		CompiledCalendar *calendar;
		SlaTimes	times;

		if (stored == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_RF_NOT_DEPLOYED),
					 errmsg("there is no business calendar " INT64_FORMAT, PG_GETARG_INT64(1)),
					 errdetail("referral.business_calendar has no row for it."),
					 errhint("Restore the rule tables.")));
		calendar = calendar_compiled(stored->value);
		sla_times(policy, calendar, running_since, target->time, consumed->time, &times);
		put_level(rsinfo, -1, times.due_at, times.known);
		put_level(rsinfo, 0, times.breach_at, times.breach_at != DT_NOEND);
		for (int i = 0; i < policy->nlevels; i++)
		{
			TimestampTz planned_at;
			bool		known = sla_level_time(policy, calendar, i, running_since, target->time,
											   consumed->time, &planned_at);

			put_level(rsinfo, policy->levels[i].level, planned_at, known);
		}
	}
	PG_FINALLY();
	{
		cache->pins--;
	}
	PG_END_TRY();
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(policies_of);

/*
 * policies_of(entity text, org_id bigint, id bigint) returns setof (policy
 * text, sla_policy_id bigint, business_calendar_id bigint, phase text, starts
 * boolean): what the active policies say of a row, as the trigger asks them.
 */
Datum
policies_of(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *entity = text_to_cstring(PG_GETARG_TEXT_PP(0));
	RuleCache  *cache = rule_cache(true);
	HeapTupleHeader row;
	TupleTableSlot *slot;
	TrackedRel *rel;
	Relation	table;
	OwnerScope	scope;

	InitMaterializedSRF(fcinfo, 0);
	row = entity_read_row(cache, entity, PG_GETARG_INT64(1), PG_GETARG_INT64(2));
	if (row == NULL)
		return (Datum) 0;
	cache->pins++;
	PG_TRY();
	{
		rel = entity_of_record(cache, entity, row, &slot);
		table = table_open(rel->relid, AccessShareLock);
		/* types of the table's owner may come with code of his */
		security_begin_owner(&scope, rel->owner);
		for (SlaGroup *group = sla_entity(cache, entity)->groups; group != NULL; group = group->next)
		{
			int64		org_id = row_int64(slot, rel->org_id);
			SlaPolicy  *policy = sla_choose(group, table, org_id, slot, slot);
			SlaPhase	phase;
			Datum		values[5];
			bool		nulls[5] = {false, policy == NULL, policy == NULL, policy == NULL, policy == NULL};

			values[0] = CStringGetTextDatum(group->name);
			if (policy != NULL)
			{
				values[1] = Int64GetDatum(policy->sla_policy_id);
				values[2] = Int64GetDatum(sla_choose_calendar(cache, policy->calendar, org_id,
															  row_int64(slot, rel->site_id))->business_calendar_id);
				values[4] = BoolGetDatum(sla_starts(policy, table, slot, slot, NULL));
				phase = sla_phase(policy, table, slot, slot);
				values[3] = CStringGetTextDatum(phases[phase]);
			}
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		}
		security_end_read(&scope);
		table_close(table, AccessShareLock);
		ExecDropSingleTupleTableSlot(slot);
	}
	PG_FINALLY();
	{
		cache->pins--;
	}
	PG_END_TRY();
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(phase_under);

/*
 * phase_under(sla_policy_id bigint, entity text, org_id bigint, id bigint)
 * returns text: what a policy, active or not, says of a row's clock.
 */
Datum
phase_under(PG_FUNCTION_ARGS)
{
	char	   *entity = text_to_cstring(PG_GETARG_TEXT_PP(1));
	RuleCache  *cache = rule_cache(true);
	HeapTupleHeader row = entity_read_row(cache, entity, PG_GETARG_INT64(2), PG_GETARG_INT64(3));
	TupleTableSlot *slot;
	TrackedRel *rel;
	Relation	table;
	const char *phase = NULL;
	OwnerScope	scope;

	if (row == NULL)
		PG_RETURN_NULL();
	cache->pins++;
	PG_TRY();
	{
		rel = entity_of_record(cache, entity, row, &slot);
		table = table_open(rel->relid, AccessShareLock);
		security_begin_owner(&scope, rel->owner);
		phase = phases[sla_phase(sla_policy(cache, PG_GETARG_INT64(0)), table, slot, slot)];
		security_end_read(&scope);
		table_close(table, AccessShareLock);
		ExecDropSingleTupleTableSlot(slot);
	}
	PG_FINALLY();
	{
		cache->pins--;
	}
	PG_END_TRY();
	PG_RETURN_TEXT_P(cstring_to_text(phase));
}

PG_FUNCTION_INFO_V1(row_reason);

/* row_reason(entity text, org_id bigint, id bigint) returns text: its status_reason. */
Datum
row_reason(PG_FUNCTION_ARGS)
{
	char	   *entity = text_to_cstring(PG_GETARG_TEXT_PP(0));
	RuleCache  *cache = rule_cache(true);
	HeapTupleHeader row = entity_read_row(cache, entity, PG_GETARG_INT64(1), PG_GETARG_INT64(2));
	TupleTableSlot *slot;
	TrackedRel *rel;

	if (row == NULL)
		PG_RETURN_NULL();
	rel = entity_of_record(cache, entity, row, &slot);
	if (row_isnull(slot, rel->status_reason))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(row_value(slot, rel->status_reason));
}
