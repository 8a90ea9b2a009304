/*-------------------------------------------------------------------------
 *
 * sla_clock.c
 *		Clocks follow the rows they are about.
 *
 * sla_clock() is an AFTER row trigger of tracked tables.  For each policy it
 * compares what the row says of its clock with the clock there is, and starts,
 * pauses, resumes, stops or nullifies it, at the time of the event and in the
 * same transaction.  Starting and stopping are done here; what is rare is left
 * to functions in SQL, which people's own verbs use as well.
 *
 * Clocks are read after the row itself was locked by its change, and whoever
 * changes a clock in another way than tick() locks the row first.  So only
 * what tick() writes (next_fire_at, breached_at) can change under us.
 *
 * IDENTIFICATION
 *		src/sla_clock.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "entity.h"
#include "journal.h"
#include "security.h"
#include "sla.h"
#include "sla_clock.h"
#include "statement.h"
#include "workflow_move.h"

/* ---------- Statements, as the owner of the model ---------- */

typedef enum ClockStatement
{
	STOP_CLOCK, STOP_BY_LEDGER, FIRE_CLOCK, HOLD_CLOCK, RELEASE_CLOCK, NULLIFY_CLOCK,
	REOPEN_CLOCK, REJUDGE_CLOCK, FORGET_ROW,
	NSTATEMENTS
} ClockStatement;

#define MAX_ARGS 5

static const struct
{
	const char *sql;
	int			nargs;
	Oid			argtypes[MAX_ARGS];
}			statements[NSTATEMENTS] = {
	[STOP_CLOCK] = {
		"UPDATE referral.sla_clock SET stopped_at = $3, breached_at = $4, next_fire_at = NULL"
		" WHERE org_id = $1 AND clock_id = $2",
	4, {INT8OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID}},
	[STOP_BY_LEDGER] = {
		"SELECT referral.stop_by_ledger($1, $2, $3)",
	3, {INT8OID, INT8OID, TIMESTAMPTZOID}},
	[FIRE_CLOCK] = {
		"SELECT referral.fire_clocks(ARRAY[$1], ARRAY[$2], $3, true)",
	3, {INT8OID, INT8OID, TIMESTAMPTZOID}},
	[HOLD_CLOCK] = {
		"SELECT referral.hold_clock($1, $2, $3, 'rule', $4)",
	4, {INT8OID, INT8OID, TIMESTAMPTZOID, TEXTOID}},
	[RELEASE_CLOCK] = {
		"SELECT referral.release_clock($1, $2, $3)",
	3, {INT8OID, INT8OID, TIMESTAMPTZOID}},
	[NULLIFY_CLOCK] = {
		"SELECT referral.cancel_clock($1, $2, $3)",
	3, {INT8OID, INT8OID, TIMESTAMPTZOID}},
	[REOPEN_CLOCK] = {
		"SELECT referral.reopen_clock($1, $2, $3)",
	3, {INT8OID, INT8OID, TIMESTAMPTZOID}},
	[REJUDGE_CLOCK] = {
		"SELECT referral.rejudge_clock($1, $2, $3, $4, $5, NULL)",
	5, {INT8OID, INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID}},
	[FORGET_ROW] = {
		"SELECT referral.forget_clocks($1, $2, $3, $4)",
	4, {INT8OID, INT8OID, TEXTOID, TIMESTAMPTZOID}},
};

static SPIPlanPtr plans[NSTATEMENTS];

static void
run(Change *change, ClockStatement which, Datum *args, const char *nulls)
{
	OwnerScope	scope;

	security_begin_read(&scope, change->cache->owner);
	statement_keep(&plans[which], statements[which].sql, statements[which].nargs,
				   statements[which].argtypes, 0);
	if (SPI_execute_plan(plans[which], args, nulls, false, 0) < 0)
		elog(ERROR, "could not run: %s", statements[which].sql);
	security_end_read(&scope);
}

/* Of one clock at the time of the change, with one more argument or none. */
static void
run_on_clock(ClockStatement which, Change *change, Clock *clock)
{
	Datum		args[] = {Int64GetDatum(change->org_id), Int64GetDatum(clock->clock_id),
	TimestampTzGetDatum(change->at)};

	run(change, which, args, NULL);
	ItemPointerSetInvalid(&clock->tid);
}

/* The clock of the last cycle under a policy's name; NULL when there was none yet. */
static Clock *
last_clock(Change *change, const char *policy)
{
	Clock	   *last = NULL;
	ListCell   *lc;

	foreach(lc, change->clocks)
	{
		Clock	   *clock = lfirst(lc);

		if (strcmp(clock->policy, policy) == 0)
			last = clock;
	}
	return last;
}

/* ---------- What happens to a clock ---------- */

/* Levels reached before the change are recorded first, whoever is late. */
static void
fire_reached(Change *change, Clock *clock)
{
	if (clock->next_fire_at <= change->at)
		run_on_clock(FIRE_CLOCK, change, clock);
}

static void
hold(Change *change, Clock *clock)
{
	Datum		args[] = {Int64GetDatum(change->org_id), Int64GetDatum(clock->clock_id),
	TimestampTzGetDatum(change->at), (Datum) 0};
	char		nulls[] = "   n";

	if (!row_isnull(change->newslot, change->rel->status_reason))
	{
		args[3] = row_value(change->newslot, change->rel->status_reason);
		nulls[3] = ' ';
	}
	run(change, HOLD_CLOCK, args, nulls);
}

/*
 * Judged by the open time used up to the event.  A breach that was noted
 * before a stop in time came to be known is taken back.
 */
static void
stop(Change *change, Clock *clock)
{
	Datum		args[] = {Int64GetDatum(change->org_id), Int64GetDatum(clock->clock_id),
	TimestampTzGetDatum(Max(change->at, clock->started_at)), (Datum) 0};
	char		nulls[] = "    ";
	SlaCalendar *calendar;
	SlaTimes	times;
	bool		breached = clock->is_breached;

	fire_reached(change, clock);
	if (clock->is_paused)
		run_on_clock(RELEASE_CLOCK, change, clock);
	if (!clock->is_running || change->at < clock->running_since)
	{
		/* pauses have come between, or even after it */
		run_on_clock(STOP_BY_LEDGER, change, clock);
		return;
	}
	calendar = sla_calendar(change->cache, clock->business_calendar_id);
	if (clock->is_known && calendar != NULL)
	{
		sla_times(sla_policy(change->cache, clock->sla_policy_id), calendar_compiled(calendar->value),
				  clock->running_since, clock->target, clock->consumed, &times);
		if (times.breach_at != DT_NOEND)
		{
			breached = clock->consumed > clock->target || change->at > times.breach_at;
			if (!clock->is_breached)
				clock->breached_at = Max(times.breach_at, clock->judged_since);
		}
	}
	if (clock_stop(change, clock, Max(change->at, clock->started_at), breached, clock->breached_at))
		return;
	args[3] = TimestampTzGetDatum(clock->breached_at);
	if (!breached)
		nulls[3] = 'n';
	run(change, STOP_CLOCK, args, nulls);
}

/* Its times are known as far as the calendar reaches. */
static void
start(Change *change, SlaPolicy *policy, int32 cycle, bool paused)
{
	SlaCalendar *calendar = sla_choose_calendar(change->cache, policy->calendar, change->org_id,
												row_int64(change->newslot, change->rel->site_id));
	CompiledCalendar *compiled = calendar_compiled(calendar->value);
	ClockStart	start = {.policy = policy,.cycle = cycle,
		.business_calendar_id = calendar->business_calendar_id,.next_fire_at = DT_NOEND};
	Clock		clock = {.next_fire_at = DT_NOEND};

	start.has_target = calendar_try_target(compiled, change->at, &policy->target, &start.target);
	if (start.has_target)
	{
		SlaTimes	times;

		sla_times(policy, compiled, change->at, start.target, 0, &times);
		start.next_fire_at = times.next_fire_at;
		start.has_due = times.known;
		start.due_at = times.due_at;
		if (start.has_due)
			start.fingerprint = calendar_fingerprint(compiled, start.due_at);
	}
	clock.clock_id = clock_insert(change, &start);
	if (paused)
		hold(change, &clock);
}

/* ---------- Deciding ---------- */

typedef enum Verdict
{
	LEAVE, START, START_PAUSED, HOLD, HOLD_ANEW, RELEASE, STOP, NULLIFY, REOPEN, REJUDGE
} Verdict;

/* The row before the change; all null for a new one. */
static TupleTableSlot *
former_row(Change *change)
{
	return change->oldslot != NULL ? change->oldslot : change->rel->nullslot;
}

/* Waiting for something else is another pause. */
static bool
reason_changed(Change *change)
{
	AttrNumber	attno = change->rel->status_reason;

	return attno != 0 && change->oldslot != NULL &&
		entity_column_changed(change->rel, attno - 1, change->oldslot, change->newslot);
}

static Verdict
judge_by(Change *change, SlaPolicy *policy, Clock *clock)
{
	switch (sla_phase(policy, change->relation, change->newslot, former_row(change)))
	{
		case SLA_CANCELLED:
			return NULLIFY;
		case SLA_STOPPED:
			return STOP;
		case SLA_PAUSED:
			if (clock->is_paused_by_rule && reason_changed(change))
				return HOLD_ANEW;
			return clock->is_paused ? LEAVE : HOLD;
		case SLA_OTHER:
			return clock->is_paused_by_rule ? RELEASE : LEAVE;
	}
	return LEAVE;				/* keep compiler quiet */
}

/*
 * An open clock stays with the policy it is under.  It goes to another one, or
 * out, only because the row has changed so that another applies, or none;
 * new versions of the rules have to be asked for.
 */
static Verdict
judge_open(Change *change, SlaGroup *group, SlaPolicy *policy, Clock *clock)
{
	if (policy != NULL && clock->sla_policy_id == policy->sla_policy_id)
		return judge_by(change, policy, clock);
	if (change->oldslot != NULL &&
		sla_choose(group, change->relation, change->org_id, change->oldslot, change->oldslot) != policy)
		return policy == NULL ? NULLIFY : REJUDGE;
	return judge_by(change, sla_policy(change->cache, clock->sla_policy_id), clock);
}

/* A clock starts when its condition comes to hold, not while it goes on to. */
static Verdict
judge_closed(Change *change, SlaGroup *group, SlaPolicy *policy, Clock *last)
{
	SlaPhase	phase;

	if (policy == NULL ||
		!sla_starts(policy, change->relation, change->newslot, former_row(change), &phase))
		return LEAVE;
	if (change->oldslot != NULL)
	{
		SlaPolicy  *before = sla_choose(group, change->relation, change->org_id,
										change->oldslot, change->oldslot);

		if (before != NULL &&
			sla_starts(before, change->relation, change->oldslot, change->oldslot, NULL))
			return LEAVE;
	}
	if (last == NULL || last->is_nullified || policy->reopen == SLA_REOPEN_NEW_CYCLE)
		return phase == SLA_PAUSED ? START_PAUSED : START;
	return policy->reopen == SLA_REOPEN_RESUME ? REOPEN : LEAVE;
}

/* ---------- The trigger ---------- */

static void
carry_out(Change *change, Verdict verdict, SlaPolicy *policy, Clock *clock)
{
	switch (verdict)
	{
		case LEAVE:
			break;
		case START:
		case START_PAUSED:
			start(change, policy, clock == NULL ? 1 : clock->cycle + 1, verdict == START_PAUSED);
			break;
		case HOLD_ANEW:
			run_on_clock(RELEASE_CLOCK, change, clock);
			hold(change, clock);
			break;
		case HOLD:
			hold(change, clock);
			break;
		case RELEASE:
			run_on_clock(RELEASE_CLOCK, change, clock);
			break;
		case STOP:
			stop(change, clock);
			break;
		case NULLIFY:
			run_on_clock(NULLIFY_CLOCK, change, clock);
			break;
		case REOPEN:
			run_on_clock(REOPEN_CLOCK, change, clock);
			break;
		case REJUDGE:
			{
				SlaCalendar *calendar =
					sla_choose_calendar(change->cache, policy->calendar, change->org_id,
										row_int64(change->newslot, change->rel->site_id));
				Datum		args[] = {Int64GetDatum(change->org_id), Int64GetDatum(clock->clock_id),
					Int64GetDatum(policy->sla_policy_id), Int64GetDatum(calendar->business_calendar_id),
				TimestampTzGetDatum(change->at)};

				run(change, REJUDGE_CLOCK, args, NULL);
				break;
			}
	}
}

static void
follow_group(Change *change, SlaGroup *group)
{
	SlaPolicy  *policy = sla_choose(group, change->relation, change->org_id, change->newslot,
									former_row(change));
	Clock	   *clock = last_clock(change, group->name);
	Verdict		verdict;

	verdict = clock != NULL && clock->is_open ? judge_open(change, group, policy, clock)
		: judge_closed(change, group, policy, clock);
	carry_out(change, verdict, policy, clock);
	if (verdict == REOPEN)
	{
		clock_read(change);
		clock = last_clock(change, group->name);
		if (clock->sla_policy_id != policy->sla_policy_id)
		{
			/* as one that starts, it is under the policy of now */
			carry_out(change, REJUDGE, policy, clock);
			clock_read(change);
			clock = last_clock(change, group->name);
		}
		carry_out(change, judge_by(change, policy, clock), policy, clock);
	}
	else if (verdict == REJUDGE)
	{
		clock_read(change);
		clock = last_clock(change, group->name);
		carry_out(change, judge_by(change, policy, clock), policy, clock);
	}
}

/* An open clock whose policy's name no active policy has goes on as it began. */
static void
follow_former(Change *change, SlaEntity *entity)
{
	ListCell   *lc;

	foreach(lc, change->clocks)
	{
		Clock	   *clock = lfirst(lc);
		SlaPolicy  *policy;
		SlaGroup   *group;

		for (group = entity->groups; group != NULL; group = group->next)
			if (strcmp(group->name, clock->policy) == 0)
				break;
		if (group != NULL || !clock->is_open)
			continue;
		policy = sla_policy(change->cache, clock->sla_policy_id);
		carry_out(change, judge_by(change, policy, clock), policy, clock);
	}
}

/* The row before an INSERT that is a move from another partition. */
static TupleTableSlot *
row_moved(TriggerData *trigdata, Change *change)
{
	if (!trigdata->tg_relation->rd_rel->relispartition)
		return NULL;
	return journal_row_arrived(change->rel, change->org_id, change->id,
							   row_int64(change->newslot, change->rel->version));
}

/*
 * When the message came that a new row was made of, where one is named; else
 * now.  Everybody may name one: nobody can write when it came, and an earlier
 * start only means that more of the time is used.
 */
static TimestampTz
row_waits_since(Change *change)
{
	TimestampTz now = GetCurrentTransactionStartTimestamp();
	Oid			argtypes[] = {INT8OID, INT8OID};
	Datum		args[] = {Int64GetDatum(change->org_id), Int64GetDatum(security_inbox_message())};
	TimestampTz came = now;
	OwnerScope	scope;

	if (security_inbox_message() == 0)
		return now;
	security_begin_read(&scope, change->cache->owner);
	if (SPI_execute_with_args("SELECT received_at FROM referral.inbox_message WHERE org_id = $1 AND message_id = $2",
							  lengthof(args), argtypes, args, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read when a message came");
	if (SPI_processed > 0)
	{
		bool		isnull;

		came = DatumGetTimestampTz(rule_read_datum(0, 1, &isnull));
	}
	security_end_read(&scope);
	return Min(now, came);
}

static void
follow(TriggerData *trigdata, RuleCache *cache, TrackedRel *rel, FmgrInfo *flinfo)
{
	SlaEntity  *entity = sla_entity(cache, rel->entity);
	bool		is_update = TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event);
	Change		change = {.cache = cache,.rel = rel,.relation = trigdata->tg_relation,
		.oldslot = is_update ? trigdata->tg_trigslot : NULL,
		.newslot = is_update ? trigdata->tg_newslot : trigdata->tg_trigslot,
	.writer = (TableWriter **) entity_trigger_extra(flinfo),.lifetime = flinfo->fn_mcxt};

	if ((entity->groups == NULL && entity->former == NIL) || rel->org_id == 0)
		return;
	slot_getallattrs(change.newslot);
	change.org_id = row_int64(change.newslot, rel->org_id);
	change.id = entity_get_int64(rel, rel->id, row_value(change.newslot, rel->id));
	if (!security_occurred_at(&change.at))
		change.at = TRIGGER_FIRED_BY_INSERT(trigdata->tg_event) ? row_waits_since(&change) :
			GetCurrentTransactionStartTimestamp();

	if (TRIGGER_FIRED_BY_DELETE(trigdata->tg_event))
	{
		Datum		args[] = {Int64GetDatum(change.org_id), Int64GetDatum(change.id),
		CStringGetTextDatum(rel->entity), TimestampTzGetDatum(change.at)};

		run(&change, FORGET_ROW, args, NULL);
		return;
	}
	if (!is_update)
		change.oldslot = row_moved(trigdata, &change);
	if (change.oldslot != NULL)
	{
		slot_getallattrs(change.oldslot);
		if (!sla_could_matter(cache, entity, rel, change.relation, change.oldslot, change.newslot))
			return;
	}
	/* a new row may have clocks too: those of a deleted row */
	clock_read(&change);
	for (SlaGroup *group = entity->groups; group != NULL; group = group->next)
		follow_group(&change, group);
	follow_former(&change, entity);
	CommandCounterIncrement();	/* later triggers of the statement see it */
}

PG_FUNCTION_INFO_V1(sla_clock);

/* sla_clock(entity, id_column): AFTER INSERT OR UPDATE OR DELETE row trigger. */
Datum
sla_clock(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	RuleCache  *cache;
	TrackedRel *rel;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigdata->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigdata->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("sla_clock must be called as an AFTER row trigger")));
	rel = entity_of_trigger(trigdata, &cache, fcinfo->flinfo);
	cache->pins++;
	PG_TRY();
	{
		follow(trigdata, cache, rel, fcinfo->flinfo);
	}
	PG_FINALLY();
	{
		cache->pins--;
	}
	PG_END_TRY();
	return PointerGetDatum(NULL);
}
