/*-------------------------------------------------------------------------
 *
 * workflow_guard.c
 *		The guard: decides whether a row may change its step, and explains.
 *
 * guard() is the BEFORE INSERT OR UPDATE row trigger of every tracked table
 * with a version column.  It resolves step and state, finds the transition,
 * checks it, and fills in the columns it owns.  What stands in the way is in
 * workflow_check.c.
 *
 * The row carries what the journal needs to know: transition_id is the
 * transition that the last write took, or null when it took none.
 *
 * IDENTIFICATION
 *		src/workflow_guard.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "commands/trigger.h"
#include "utils/builtins.h"
#include "utils/formatting.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "entity.h"
#include "errors.h"
#include "journal.h"
#include "rule.h"
#include "security.h"
#include "workflow_move.h"

/* What names a row, and what the guard gives it. */
typedef struct GuardedRow
{
	int64		org_id;
	int64		id;
	int64		version;
	int64		workflow_id;
	int64		transition_id;
	TimestampTz entered_at;
	Oid			state;
	char		step[NAMEDATALEN];
} GuardedRow;

/*
 * An UPDATE that moves a row to another partition comes back to the guard as
 * DELETE of the same tuple and INSERT of the new one.  That INSERT has been
 * judged already.  Nothing else may slip through: the DELETE must come from the
 * same statement and hit the very tuple, and the INSERT carry what the guard
 * gave the row.
 */
static struct
{
	enum
	{
		PASSED_NOTHING,
		PASSED_UPDATE,
		PASSED_DELETE
	}			stage;
	uint64		serial;			/* of the trigger in its statement */
	SubTransactionId subid;
	Oid			relid;			/* where the former tuple is */
	ItemPointerData tid;
	GuardedRow	row;			/* after the update */
}			last_passed;

static void
forget_last_passed(XactEvent event, void *arg)
{
	last_passed.stage = PASSED_NOTHING;
}

/* What was judged and then undone does not count. */
static void
forget_undone(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB && last_passed.subid >= mine)
		last_passed.stage = PASSED_NOTHING;
}

void
workflow_init(void)
{
	RegisterXactCallback(forget_last_passed, NULL);
	RegisterSubXactCallback(forget_undone, NULL);
}

static bool
row_text_differs(TupleTableSlot *a, TupleTableSlot *b, AttrNumber attno)
{
	text	   *x,
			   *y;

	if (row_isnull(a, attno) || row_isnull(b, attno))
		return row_isnull(a, attno) != row_isnull(b, attno);
	x = DatumGetTextPP(row_value(a, attno));
	y = DatumGetTextPP(row_value(b, attno));
	return VARSIZE_ANY_EXHDR(x) != VARSIZE_ANY_EXHDR(y) ||
		memcmp(VARDATA_ANY(x), VARDATA_ANY(y), VARSIZE_ANY_EXHDR(x)) != 0;
}

static HeapTuple
row_form(TrackedRel *rel, TupleTableSlot *row)
{
	return heap_form_tuple(rel->desc, row->tts_values, row->tts_isnull);
}

/* ---------- INSERT ---------- */

/* as lower() of SQL has it, by which the specialty of the candidate was read */
static char *
lower_text(text *t)
{
	return str_tolower(VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t), DEFAULT_COLLATION_OID);
}

static bool
candidate_matches(Move *move, WorkflowCandidate *candidate)
{
	TrackedRel *rel = move->rel;
	TupleTableSlot *row = move->newslot;

#define TEXT_IS(attno, wanted) \
	(!row_isnull(row, attno) && \
	 strcmp(TextDatumGetCString(row_value(row, attno)), (wanted)) == 0)

	if (candidate->has_org && candidate->org_id != move->org_id)
		return false;
	if (candidate->has_site && candidate->site_id != row_int64(row, rel->site_id))
		return false;
	if (candidate->has_region && !TEXT_IS(rel->region, candidate->region))
		return false;
	if (candidate->has_specialty &&
		(row_isnull(row, rel->specialty) ||
		 strcmp(lower_text(DatumGetTextPP(row_value(row, rel->specialty))), candidate->specialty) != 0))
		return false;
	return candidate->applies_when == NULL ||
		rule_holds(candidate->applies_when, move->relation, row, move->oldslot);
}

/* The workflow for a new row: the most specific one that applies. */
static Workflow *
choose_workflow(Move *move)
{
	EntityRules *rules = workflow_entity_rules(move->cache, move->rel->entity);
	bool		named = !row_isnull(move->newslot, move->rel->workflow_id);
	int64		wanted = row_int64(move->newslot, move->rel->workflow_id);

	for (WorkflowCandidate *c = rules->candidates; c != NULL; c = c->next)
		if ((!named || c->workflow_id == wanted) && candidate_matches(move, c))
			return workflow_get(move->cache, c->workflow_id);
	ereport(ERROR,
			(errcode(ERRCODE_RF_NOT_DEPLOYED),
			 named
			 ? errmsg("workflow " INT64_FORMAT " does not apply to this row of entity \"%s\"",
					  wanted, move->rel->entity)
			 : errmsg("no active workflow applies to this row of entity \"%s\"", move->rel->entity),
			 errdetail("A workflow applies when its version is active, its scope fits the row and its applies_when holds."),
			 errhint("See referral.workflow and referral.rule_version for what is active.")));
}

static const char *
first_step_name(Workflow *workflow)
{
	WorkflowStep *step = workflow_initial_step(workflow);

	return step == NULL ? "" : step->step;
}

/* The step a new row asks for; by default the initial one. */
static WorkflowStep *
choose_first_step(Move *move)
{
	TrackedRel *rel = move->rel;
	TupleTableSlot *row = move->newslot;
	WorkflowStep *step;

	if (!row_isnull(row, rel->step))
		step = workflow_step(move->workflow, DatumGetTextPP(row_value(row, rel->step)));
	else if (!row_isnull(row, rel->state))
		step = workflow_entry_step(move->workflow, DatumGetObjectId(row_value(row, rel->state)));
	else
		step = workflow_initial_step(move->workflow);

	if (step == NULL ||
		(!row_isnull(row, rel->state) &&
		 DatumGetObjectId(row_value(row, rel->state)) != step->state))
		ereport(ERROR,
				(errcode(ERRCODE_RF_NO_TRANSITION),
				 errmsg("workflow \"%s\" has no step for the new row's step and state",
						move->workflow->name),
				 errdetail("Step and state must agree, and be known to the workflow."),
				 errhint("Leave both out: a new row then starts at step \"%s\".",
						 first_step_name(move->workflow))));
	return step;
}

static TimestampTz
event_time(bool *imported)
{
	TimestampTz at;

	*imported = security_occurred_at(&at);
	return *imported ? at : GetCurrentTransactionStartTimestamp();
}

/* Null and absent columns count as zero; every byte up to the padding is set. */
static GuardedRow
guarded_row(TrackedRel *rel, TupleTableSlot *slot)
{
	GuardedRow	row;

	memset(&row, 0, sizeof(row));
	row.org_id = row_int64(slot, rel->org_id);
	row.id = entity_get_int64(rel, rel->id, row_value(slot, rel->id));
	row.version = row_int64(slot, rel->version);
	row.workflow_id = row_int64(slot, rel->workflow_id);
	row.transition_id = row_int64(slot, rel->transition_id);
	row.entered_at = row_int64(slot, rel->entered_at);
	if (!row_isnull(slot, rel->state))
		row.state = DatumGetObjectId(row_value(slot, rel->state));
	if (!row_isnull(slot, rel->step))
		text_to_cstring_buffer(DatumGetTextPP(row_value(slot, rel->step)), row.step, NAMEDATALEN);
	return row;
}

static void
remember_passed(TriggerData *trigdata, Move *move, uint64 serial)
{
	last_passed.stage = PASSED_UPDATE;
	last_passed.serial = serial;
	last_passed.subid = GetCurrentSubTransactionId();
	last_passed.relid = RelationGetRelid(trigdata->tg_relation);
	last_passed.tid = trigdata->tg_trigtuple->t_self;
	last_passed.row = guarded_row(move->rel, move->newslot);
}

static bool
is_what_passed(TriggerData *trigdata, TrackedRel *rel, TupleTableSlot *slot)
{
	GuardedRow	row;

	if (last_passed.stage != PASSED_DELETE || !trigdata->tg_relation->rd_rel->relispartition)
		return false;
	row = guarded_row(rel, slot);
	return memcmp(&row, &last_passed.row, offsetof(GuardedRow, step) + NAMEDATALEN) == 0;
}

/* A DELETE is nobody's transition; it only may be half of a move. */
static HeapTuple
guard_delete(TriggerData *trigdata, uint64 serial)
{
	last_passed.stage = last_passed.stage == PASSED_UPDATE &&
		last_passed.serial == serial &&
		last_passed.relid == RelationGetRelid(trigdata->tg_relation) &&
		ItemPointerEquals(&last_passed.tid, &trigdata->tg_trigtuple->t_self)
		? PASSED_DELETE : PASSED_NOTHING;
	return trigdata->tg_trigtuple;
}

static HeapTuple
guard_insert(TriggerData *trigdata, RuleCache *cache, TrackedRel *rel)
{
	Move		move = {.cache = cache,.rel = rel,.relation = trigdata->tg_relation,
		.oldslot = rel->nullslot,
		.newslot = MakeSingleTupleTableSlot(rel->desc, &TTSOpsVirtual)};
	TupleTableSlot *row = move.newslot;

	row_copy_all(row, trigdata->tg_trigslot);
	if (row_isnull(row, rel->id) || (rel->org_id != 0 && row_isnull(row, rel->org_id)))
		ereport(ERROR,
				(errcode(ERRCODE_NOT_NULL_VIOLATION),
				 errmsg("a row of entity \"%s\" needs org_id and %s", rel->entity,
						NameStr(TupleDescAttr(rel->desc, rel->id - 1)->attname)),
				 errdetail("They name the row in the journal."),
				 errhint("Leave the columns out to get their defaults.")));
	move.org_id = row_int64(row, rel->org_id);
	move.id = entity_get_int64(rel, rel->id, row_value(row, rel->id));

	if (is_what_passed(trigdata, rel, row))
	{
		last_passed.stage = PASSED_NOTHING;
		journal_note_moved(rel, move.org_id, move.id, last_passed.row.version);
		return trigdata->tg_trigtuple;
	}
	last_passed.stage = PASSED_NOTHING;

	row_set(row, rel->version, Int64GetDatum(1));
	if (rel->workflow_id != 0)
	{
		WorkflowStep *step;
		bool		imported;
		TimestampTz at = event_time(&imported);

		move.workflow = choose_workflow(&move);
		step = choose_first_step(&move);
		if (!step->is_initial && !imported)
			ereport(ERROR,
					(errcode(ERRCODE_RF_NO_TRANSITION),
					 errmsg("a new row of entity \"%s\" cannot start at step \"%s\"",
							rel->entity, step->step),
					 errdetail("Workflow \"%s\" starts at step \"%s\".", move.workflow->name,
							   first_step_name(move.workflow)),
					 errhint("Leave step and state out; history is imported by members of referral_integration with referral.occurred_at set.")));
		row_set_step(&move, step);
		row_set(row, rel->workflow_id, Int64GetDatum(move.workflow->workflow_id));
		row_set(row, rel->entered_at, TimestampTzGetDatum(at));
		row_set_null(row, rel->transition_id);
	}
	return row_form(rel, row);
}

/* ---------- UPDATE ---------- */

/*
 * An UPDATE may say which version it read: either that version itself, or,
 * as object mappers do, that version plus one.
 */
static void
check_version(Move *move)
{
	int64		stored = row_int64(move->oldslot, move->rel->version);
	int64		given = row_int64(move->newslot, move->rel->version);

	if (given == stored || given == stored + 1)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_RF_STALE),
			 errmsg("%s " INT64_FORMAT " has changed since it was read", move->rel->entity, move->id),
			 row_isnull(move->newslot, move->rel->version)
			 ? errdetail("The UPDATE sets version to null, the row is at version " INT64_FORMAT ".", stored)
			 : errdetail("The UPDATE carries version " INT64_FORMAT ", the row is at version " INT64_FORMAT ".",
						 given, stored),
			 errhint("Read the row again and repeat the change if it still applies.")));
}

static bool
is_assigned(TriggerData *trigdata, AttrNumber attno)
{
	return bms_is_member(attno - FirstLowInvalidHeapAttributeNumber, trigdata->tg_updatedcols);
}

/* The step an UPDATE asks for; NULL when it asks for none. */
static WorkflowStep *
wanted_step(TriggerData *trigdata, Move *move)
{
	TrackedRel *rel = move->rel;
	bool		state_changed = row_isnull(move->newslot, rel->state) ||
		row_value(move->newslot, rel->state) != row_value(move->oldslot, rel->state);
	WorkflowStep *to;

	if (row_text_differs(move->newslot, move->oldslot, rel->step))
	{
		text	   *name = row_isnull(move->newslot, rel->step) ? cstring_to_text("(none)")
			: DatumGetTextPP(row_value(move->newslot, rel->step));

		to = workflow_step(move->workflow, name);
		if (to == NULL)
			workflow_refuse_step(move, text_to_cstring(name), NULL);
		if (state_changed && (row_isnull(move->newslot, rel->state) ||
							  DatumGetObjectId(row_value(move->newslot, rel->state)) != to->state))
			ereport(ERROR,
					(errcode(ERRCODE_RF_NO_TRANSITION),
					 errmsg("step and state given for %s " INT64_FORMAT " do not agree",
							rel->entity, move->id),
					 errdetail("Step \"%s\" belongs to state \"%s\".", to->step, to->state_name),
					 errhint("Give only one of them: the other follows.")));
		return to;
	}
	if (state_changed)
	{
		to = row_isnull(move->newslot, rel->state) ? NULL
			: workflow_entry_step(move->workflow,
								  DatumGetObjectId(row_value(move->newslot, rel->state)));
		if (to == NULL)
			workflow_refuse_step(move, row_isnull(move->newslot, rel->state) ? "(none)"
						: OidOutputFunctionCall(F_ENUM_OUT,
																  row_value(move->newslot, rel->state)),
						NULL);
		return to;
	}
	/* the same step again: only by name, or every UPDATE would be one */
	if (security_transition() != NULL)
	{
		for (WorkflowTransition *t = workflow_first_transition(move->workflow, move->from, move->from);
			 t != NULL; t = t->next_same_pair)
			if (strcmp(t->transition, security_transition()) == 0)
				return move->from;
		if (is_assigned(trigdata, rel->step) || is_assigned(trigdata, rel->state))
			workflow_refuse_step(move, move->from->step, security_transition());
	}
	return NULL;
}

static WorkflowTransition *
find_transition(Move *move, WorkflowStep *to)
{
	WorkflowTransition *first = workflow_first_transition(move->workflow, move->from, to);
	const char *named = security_transition();
	bool		seen = false;

	for (WorkflowTransition *t = first; t != NULL; t = t->next_same_pair)
	{
		if (named != NULL && strcmp(t->transition, named) != 0)
			continue;
		seen = true;
		if (workflow_is_open(move, t, NULL))
			return t;
	}
	if (!seen)
		workflow_refuse_step(move, to->step, named);
	workflow_refuse_blocked(move, first, named);
}

/* migrate_workflow(): an administrator moves a row to another version. */
static void
guard_migration(TriggerData *trigdata, Move *move)
{
	TrackedRel *rel = move->rel;
	bool		exists;
	Workflow   *target;
	WorkflowStep *step;

	if (!security_has_role("referral_admin", &exists))
		ereport(ERROR,
				(errcode(ERRCODE_RF_ROLE),
				 errmsg("only referral_admin may move a row to another workflow"),
				 errdetail("A row stays on the workflow version it started with."),
				 errhint("Use referral.migrate_workflow() as a member of referral_admin.")));
	target = workflow_get(move->cache, row_int64(move->newslot, rel->workflow_id));
	step = row_isnull(move->newslot, rel->step) ? NULL
		: workflow_step(target, DatumGetTextPP(row_value(move->newslot, rel->step)));
	if (!target->was_active || strcmp(target->entity, rel->entity) != 0 || step == NULL ||
		step->state != move->from->state || security_reason() == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_RF_NO_TRANSITION),
				 errmsg("%s " INT64_FORMAT " cannot be moved to workflow \"%s\"",
						rel->entity, move->id, target->name),
				 errdetail("The workflow must be or have been active, serve the same entity, have the row's step with state \"%s\", and the move needs referral.reason.",
						   move->from->state_name),
				 errhint("Give referral.migrate_workflow() a step map and a reason.")));
	row_set_step(move, step);
	row_set_null(move->newslot, rel->transition_id);
	row_copy(move->newslot, move->oldslot, rel->entered_at);
}

static bool
row_is_unchanged(Move *move)
{
	TrackedRel *rel = move->rel;

	for (int i = 0; i < rel->desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(rel->desc, i);

		if (att->attisdropped || att->attgenerated ||
			att->attnum == rel->transition_id || att->attnum == rel->version)
			continue;
		if (entity_column_changed(rel, i, move->oldslot, move->newslot))
			return false;
	}
	return true;
}

/* Returns true when the row takes a transition or is migrated. */
static bool
guard_step(TriggerData *trigdata, Move *move)
{
	TrackedRel *rel = move->rel;
	WorkflowStep *to;
	bool		imported;

	row_copy(move->newslot, move->oldslot, rel->entered_at);
	row_set_null(move->newslot, rel->transition_id);

	workflow_locate(move);
	if (row_int64(move->newslot, rel->workflow_id) != row_int64(move->oldslot, rel->workflow_id))
	{
		guard_migration(trigdata, move);
		return true;
	}

	to = wanted_step(trigdata, move);
	if (to == NULL)
		return false;

	if ((is_assigned(trigdata, rel->status_reason) ||
		 row_text_differs(move->newslot, move->oldslot, rel->status_reason)) &&
		!row_isnull(move->newslot, rel->status_reason))
		move->reason_code = TextDatumGetCString(row_value(move->newslot, rel->status_reason));
	else
		row_set_null(move->newslot, rel->status_reason);
	row_set(move->newslot, rel->transition_id,
			Int64GetDatum(find_transition(move, to)->transition_id));
	row_set(move->newslot, rel->entered_at, TimestampTzGetDatum(event_time(&imported)));
	return true;
}

static HeapTuple
guard_update(TriggerData *trigdata, RuleCache *cache, TrackedRel *rel, uint64 serial)
{
	Move		move = {.cache = cache,.rel = rel,.relation = trigdata->tg_relation,
		.oldslot = trigdata->tg_trigslot,.serial = serial,
		.newslot = MakeSingleTupleTableSlot(rel->desc, &TTSOpsVirtual)};
	bool		moved = false;

	last_passed.stage = PASSED_NOTHING;
	row_copy_all(move.newslot, trigdata->tg_newslot);
	slot_getallattrs(move.oldslot);
	entity_check_identity(rel, move.oldslot, move.newslot);
	move.org_id = row_int64(move.oldslot, rel->org_id);
	move.id = entity_get_int64(rel, rel->id, row_value(move.oldslot, rel->id));
	if (rel->version == 0)
		return trigdata->tg_newtuple;

	check_version(&move);
	if (rel->workflow_id != 0)
		moved = guard_step(trigdata, &move);
	if (!moved && row_is_unchanged(&move) &&
		row_int64(move.newslot, rel->version) == row_int64(move.oldslot, rel->version))
	{
		/* nothing to record: the row keeps its version */
		row_copy(move.newslot, move.oldslot, rel->version);
		row_copy(move.newslot, move.oldslot, rel->transition_id);
		return row_form(rel, move.newslot);
	}

	row_set(move.newslot, rel->version,
			Int64GetDatum(row_int64(move.oldslot, rel->version) + 1));
	if (trigdata->tg_relation->rd_rel->relispartition)
		remember_passed(trigdata, &move, serial);
	return row_form(rel, move.newslot);
}

/* ---------- The trigger ---------- */

PG_FUNCTION_INFO_V1(guard);

/*
 * guard(entity, id_column): BEFORE INSERT OR UPDATE row trigger, on partitioned
 * tables also BEFORE DELETE.  Errors RF001 to RF006, RF012, RF017, and those a
 * guard names itself.
 */
Datum
guard(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	RuleCache  *cache;
	TrackedRel *rel;
	uint64		serial;
	HeapTuple	result = NULL;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(trigdata->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigdata->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("guard must be called as a BEFORE row trigger")));
	rel = entity_of_trigger(trigdata, &cache, fcinfo->flinfo);
	serial = entity_trigger_serial(fcinfo->flinfo);
	cache->pins++;
	PG_TRY();
	{
		if (TRIGGER_FIRED_BY_INSERT(trigdata->tg_event))
			result = guard_insert(trigdata, cache, rel);
		else if (TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
			result = guard_update(trigdata, cache, rel, serial);
		else
			result = guard_delete(trigdata, serial);
	}
	PG_FINALLY();
	{
		cache->pins--;
	}
	PG_END_TRY();
	return PointerGetDatum(result);
}
