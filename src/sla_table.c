/*-------------------------------------------------------------------------
 *
 * sla_table.c
 *		Reading, starting and stopping clocks in referral.sla_clock.
 *
 * Every change of a row with policies comes here, so it is done on the table
 * itself, without statements.  No role needs rights on it.
 *
 * IDENTIFICATION
 *		src/sla_table.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_trigger.h"
#include "commands/sequence.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "errors.h"
#include "sla_clock.h"

typedef enum ClockColumn
{
	C_ORG_ID, C_CLOCK_ID, C_ENTITY_ID, C_SLA_POLICY_ID, C_RULE_VERSION, C_BUSINESS_CALENDAR_ID,
	C_CALENDAR_FINGERPRINT, C_CYCLE, C_ENTITY, C_POLICY, C_KIND, C_TARGET, C_CONSUMED,
	C_STARTED_AT, C_JUDGED_SINCE, C_RUNNING_SINCE, C_DUE_AT, C_NEXT_FIRE_AT, C_BREACHED_AT,
	C_STOPPED_AT, C_NULLIFIED_AT, C_PAUSED_BY,
	C_NCOLUMNS
} ClockColumn;

static const char *const clock_columns[C_NCOLUMNS] = {
	"org_id", "clock_id", "entity_id", "sla_policy_id", "rule_version", "business_calendar_id",
	"calendar_fingerprint", "cycle", "entity", "policy", "kind", "target", "consumed",
	"started_at", "judged_since", "running_since", "due_at", "next_fire_at", "breached_at",
	"stopped_at", "nullified_at", "pause_kind"
};

/* Where the clocks are, as long as no relation that matters changes. */
static struct
{
	MemoryContext context;
	uint64		generation;
	Oid			relid;
	Oid			by_row;			/* index on (org_id, entity_id, entity, …) */
	Oid			sequence;
	AttrNumber	attno[C_NCOLUMNS];
	bool		has_update_triggers;
	List	   *added;			/* columns that the user added */
}			target;

/* ---------- The table ---------- */

static bool
find_index(Relation rel)
{
	ListCell   *lc;
	List	   *indexes = RelationGetIndexList(rel);

	target.by_row = InvalidOid;
	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);
		Form_pg_index form = index->rd_index;

		if (form->indisvalid && form->indnkeyatts >= 3 &&
			form->indkey.values[0] == target.attno[C_ORG_ID] &&
			form->indkey.values[1] == target.attno[C_ENTITY_ID] &&
			form->indkey.values[2] == target.attno[C_ENTITY] &&
			RelationGetIndexPredicate(index) == NIL)
			target.by_row = RelationGetRelid(index);
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	return OidIsValid(target.by_row);
}

/* Is it for an UPDATE of other columns than those that clock_stop() writes? */
static bool
is_for_other_columns(Trigger *trigger)
{
	for (int i = 0; i < trigger->tgnattr; i++)
		if (trigger->tgattr[i] == target.attno[C_STOPPED_AT] ||
			trigger->tgattr[i] == target.attno[C_BREACHED_AT] ||
			trigger->tgattr[i] == target.attno[C_NEXT_FIRE_AT])
			return false;
	return trigger->tgnattr > 0;
}

/* Of a stop.  Foreign keys to a clock look only at its identity, which stays. */
static bool
has_update_triggers(Relation rel)
{
	TriggerDesc *triggers = rel->trigdesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
		if ((triggers->triggers[i].tgtype & TRIGGER_TYPE_UPDATE) != 0 &&
			RI_FKey_trigger_type(triggers->triggers[i].tgfoid) == RI_TRIGGER_NONE &&
			!is_for_other_columns(&triggers->triggers[i]))
			return true;
	return false;
}

static void
find_target(RuleCache *cache)
{
	Relation	rel;
	bool		complete = true;

	if (target.generation == rule_generation)
		return;
	target.generation = 0;
	if (target.context == NULL)
		target.context = AllocSetContextCreate(CacheMemoryContext, "referral clocks",
											   ALLOCSET_SMALL_SIZES);
	target.relid = get_relname_relid("sla_clock", cache->namespace_id);
	target.sequence = get_relname_relid("sla_clock_clock_id_seq", cache->namespace_id);
	if (OidIsValid(target.relid))
	{
		rule_cache_watch(target.relid);
		rel = table_open(target.relid, AccessShareLock);
		for (int c = 0; c < C_NCOLUMNS; c++)
		{
			target.attno[c] = get_attnum(target.relid, clock_columns[c]);
			if (target.attno[c] == InvalidAttrNumber)
				complete = false;
		}
		complete = complete && find_index(rel);
		target.has_update_triggers = has_update_triggers(rel);
		if (complete)
		{
			MemoryContextReset(target.context);
			target.added = table_added_columns(rel, target.attno, C_NCOLUMNS, target.context);
		}
		table_close(rel, AccessShareLock);
	}
	if (!OidIsValid(target.relid) || !OidIsValid(target.sequence) || !complete)
		ereport(ERROR,
				(errcode(ERRCODE_RF_NOT_DEPLOYED),
				 errmsg("the referral model is not deployed in this database"),
				 errdetail("There is no table referral.sla_clock with all its columns and indexes."),
				 errhint("Run SELECT * FROM referral.deploy().")));
	target.generation = rule_generation;
}

/* ---------- Reading ---------- */

static Datum
column(TupleTableSlot *slot, ClockColumn which, bool *isnull)
{
	*isnull = slot->tts_isnull[target.attno[which] - 1];
	return slot->tts_values[target.attno[which] - 1];
}

static int64
column_int64(TupleTableSlot *slot, ClockColumn which)
{
	bool		isnull;
	Datum		value = column(slot, which, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

/* Is it set?  DT_NOEND when it is not. */
static bool
column_time(TupleTableSlot *slot, ClockColumn which, TimestampTz *at)
{
	bool		isnull;
	Datum		value = column(slot, which, &isnull);

	*at = isnull ? DT_NOEND : DatumGetTimestampTz(value);
	return !isnull;
}

static bool
column_open_time(TupleTableSlot *slot, ClockColumn which, int64 *time)
{
	bool		isnull;
	Datum		value = column(slot, which, &isnull);

	*time = isnull ? 0 : DatumGetIntervalP(value)->time;
	return !isnull;
}

static Clock *
clock_of_slot(TupleTableSlot *slot)
{
	Clock	   *clock = palloc0(sizeof(Clock));
	TimestampTz at;
	bool		isnull;
	Datum		pause_kind;
	bool		has_target,
				has_consumed;

	slot_getallattrs(slot);
	clock->tid = slot->tts_tid;
	clock->clock_id = column_int64(slot, C_CLOCK_ID);
	clock->cycle = DatumGetInt32(column(slot, C_CYCLE, &isnull));
	clock->sla_policy_id = column_int64(slot, C_SLA_POLICY_ID);
	clock->business_calendar_id = column_int64(slot, C_BUSINESS_CALENDAR_ID);
	clock->policy = TextDatumGetCString(column(slot, C_POLICY, &isnull));
	pause_kind = column(slot, C_PAUSED_BY, &isnull);
	clock->is_paused = !isnull;
	clock->is_paused_by_rule = !isnull && strcmp(TextDatumGetCString(pause_kind), "rule") == 0;
	clock->is_running = column_time(slot, C_RUNNING_SINCE, &clock->running_since);
	clock->has_due = column_time(slot, C_DUE_AT, &clock->due_at);
	(void) column_time(slot, C_STARTED_AT, &clock->started_at);
	(void) column_time(slot, C_JUDGED_SINCE, &clock->judged_since);
	clock->is_nullified = column_time(slot, C_NULLIFIED_AT, &at);
	clock->is_open = !column_time(slot, C_STOPPED_AT, &at) && !clock->is_nullified;
	has_target = column_open_time(slot, C_TARGET, &clock->target);
	has_consumed = column_open_time(slot, C_CONSUMED, &clock->consumed);
	clock->is_known = has_target && has_consumed;
	(void) column_time(slot, C_NEXT_FIRE_AT, &clock->next_fire_at);
	clock->is_breached = column_time(slot, C_BREACHED_AT, &clock->breached_at);
	return clock;
}

static int
compare_clocks(const ListCell *a, const ListCell *b)
{
	return ((Clock *) lfirst(a))->cycle - ((Clock *) lfirst(b))->cycle;
}

/* All clocks of the row, as they are now; those of a policy in order of their cycles. */
void
clock_read(Change *change)
{
	ScanKeyData keys[3];
	Relation	rel;
	Snapshot	snapshot;
	SysScanDesc scan;
	HeapTuple	tuple;
	TupleTableSlot *slot;

	find_target(change->cache);
	rel = table_open(target.relid, AccessShareLock);
	ScanKeyInit(&keys[0], target.attno[C_ORG_ID], BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(change->org_id));
	ScanKeyInit(&keys[1], target.attno[C_ENTITY_ID], BTEqualStrategyNumber, F_INT8EQ,
				Int64GetDatum(change->id));
	ScanKeyEntryInitialize(&keys[2], 0, target.attno[C_ENTITY], BTEqualStrategyNumber, InvalidOid,
						   DEFAULT_COLLATION_OID, F_TEXTEQ,
						   CStringGetTextDatum(change->rel->entity));
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan = systable_beginscan(rel, target.by_row, true, snapshot, lengthof(keys), keys);
	slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsHeapTuple);
	change->clocks = NIL;
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		ExecStoreHeapTuple(tuple, slot, false);
		change->clocks = lappend(change->clocks, clock_of_slot(slot));
	}
	list_sort(change->clocks, compare_clocks);
	ExecDropSingleTupleTableSlot(slot);
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
}

/* ---------- Writing ---------- */

static TableWriter *
get_writer(Change *change)
{
	find_target(change->cache);
	return table_writer_get(change->writer, change->lifetime, target.relid, target.generation);
}

/* Start a clock at the time of the change; returns its id. */
int64
clock_insert(Change *change, ClockStart *start)
{
	TableWriter *writer = get_writer(change);
	Datum		values[C_NCOLUMNS] = {0};
	bool		nulls[C_NCOLUMNS];
	Interval	allowed = {0};
	Interval	none = {0};
	int64		clock_id = nextval_internal(target.sequence, false);

#define PUT(which, value) (values[which] = (value), nulls[which] = false)

	memset(nulls, true, sizeof(nulls));
	PUT(C_ORG_ID, Int64GetDatum(change->org_id));
	PUT(C_CLOCK_ID, Int64GetDatum(clock_id));
	PUT(C_ENTITY_ID, Int64GetDatum(change->id));
	PUT(C_SLA_POLICY_ID, Int64GetDatum(start->policy->sla_policy_id));
	PUT(C_RULE_VERSION, Int64GetDatum(start->policy->rule_version_id));
	PUT(C_BUSINESS_CALENDAR_ID, Int64GetDatum(start->business_calendar_id));
	PUT(C_CYCLE, Int32GetDatum(start->cycle));
	PUT(C_ENTITY, CStringGetTextDatum(change->rel->entity));
	PUT(C_POLICY, CStringGetTextDatum(start->policy->name));
	PUT(C_KIND, CStringGetTextDatum(start->policy->kind));
	PUT(C_CONSUMED, IntervalPGetDatum(&none));
	PUT(C_STARTED_AT, TimestampTzGetDatum(change->at));
	PUT(C_JUDGED_SINCE, TimestampTzGetDatum(change->at));
	PUT(C_RUNNING_SINCE, TimestampTzGetDatum(change->at));
	if (start->has_target)
	{
		allowed.time = start->target;
		PUT(C_TARGET, IntervalPGetDatum(&allowed));
	}
	if (start->has_due)
	{
		PUT(C_DUE_AT, TimestampTzGetDatum(start->due_at));
		PUT(C_CALENDAR_FINGERPRINT, Int64GetDatum(start->fingerprint));
	}
	PUT(C_NEXT_FIRE_AT, TimestampTzGetDatum(start->next_fire_at));
	table_writer_fill(writer, target.attno, values, nulls, C_NCOLUMNS, target.added);
	if (!table_writer_insert(writer))
		ereport(ERROR,
				(errcode(ERRCODE_RF_NOT_DEPLOYED),
				 errmsg("a clock was not started"),
				 errdetail("A trigger on referral.sla_clock left it out."),
				 errhint("Let BEFORE INSERT triggers on referral.sla_clock return NEW.")));
	return clock_id;
}

static void
set_time(TupleTableSlot *slot, ClockColumn which, bool has, TimestampTz at)
{
	slot->tts_values[target.attno[which] - 1] = TimestampTzGetDatum(at);
	slot->tts_isnull[target.attno[which] - 1] = !has;
}

/*
 * Stop a clock as it was read.  False when that takes a statement: it was
 * changed since by this very transaction, or has triggers.
 */
bool
clock_stop(Change *change, Clock *clock, TimestampTz stopped_at, bool breached,
		   TimestampTz breached_at)
{
	TableWriter *writer = get_writer(change);
	Relation	rel = writer->rri->ri_RelationDesc;
	TupleTableSlot *stored;
	TM_FailureData failure;
	bool		done = false;

	if (!ItemPointerIsValid(&clock->tid) || target.has_update_triggers)
		return false;
	stored = table_slot_create(rel, NULL);
	PushActiveSnapshot(GetLatestSnapshot());
	/* tick() may have it, and leave another version behind */
	if (table_tuple_lock(rel, &clock->tid, GetActiveSnapshot(), stored, GetCurrentCommandId(false),
						 LockTupleNoKeyExclusive, LockWaitBlock, TUPLE_LOCK_FLAG_FIND_LAST_VERSION,
						 &failure) == TM_Ok)
	{
		TupleTableSlot *slot = writer->slot;

		slot_getallattrs(stored);
		ExecClearTuple(slot);
		memcpy(slot->tts_values, stored->tts_values, sizeof(Datum) * rel->rd_att->natts);
		memcpy(slot->tts_isnull, stored->tts_isnull, sizeof(bool) * rel->rd_att->natts);
		set_time(slot, C_STOPPED_AT, true, stopped_at);
		set_time(slot, C_BREACHED_AT, breached, breached_at);
		/* tick() clears it when it comes to it; what it never comes to is cleared now */
		if (clock->next_fire_at == DT_NOEND)
			set_time(slot, C_NEXT_FIRE_AT, false, 0);
		ExecStoreVirtualTuple(slot);
		table_writer_update(writer, &stored->tts_tid);
		done = true;
	}
	PopActiveSnapshot();
	ExecDropSingleTupleTableSlot(stored);
	return done;
}
