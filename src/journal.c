/*-------------------------------------------------------------------------
 *
 * journal.c
 *		The journal: one row per change of a tracked row.
 *
 * journal() is the AFTER row trigger of every tracked table.  It writes to
 * referral.journal directly, with nobody's rights but its own: no role needs,
 * or has, INSERT on the journal, so none can forge a row or leave one out.  A
 * failed write fails the change.
 *
 * Columns the journal row carries anyway (identity, version, step, state and
 * what follows from them) are left out of "changes"; of the others, only the
 * changed ones are in.
 *
 * IDENTIFICATION
 *		src/journal.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/partition.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "entity.h"
#include "errors.h"
#include "journal.h"
#include "rule.h"
#include "security.h"
#include "workflow.h"

/* ---------- One journal row ---------- */

static inline void
put_text(JournalRow *row, int column, const char *value)
{
	if (value != NULL)
		journal_put(row, column, CStringGetTextDatum(value));
}

static inline void
put_column(JournalRow *row, int column, TupleTableSlot *slot, AttrNumber attno)
{
	if (attno != 0 && !slot->tts_isnull[attno - 1])
		journal_put(row, column, slot->tts_values[attno - 1]);
}

static inline int64
column_int64(TupleTableSlot *slot, AttrNumber attno)
{
	return attno == 0 || slot->tts_isnull[attno - 1] ? 0
		: DatumGetInt64(slot->tts_values[attno - 1]);
}

/*
 * Is what the row says of its step what the guard would have let it say?  A
 * BEFORE trigger that sorts after the guard could have changed it.
 */
static bool
step_is_guarded(TrackedRel *rel, Workflow *workflow, WorkflowTransition *transition,
				TupleTableSlot *oldslot, TupleTableSlot *newslot)
{
	WorkflowStep *from,
			   *to;
	int64		former_workflow = column_int64(oldslot, rel->workflow_id);
	TimestampTz at;
	bool		exists;

	if (!workflow->was_active || strcmp(workflow->entity, rel->entity) != 0 ||
		newslot->tts_isnull[rel->step - 1] || newslot->tts_isnull[rel->state - 1])
		return false;
	to = workflow_step(workflow, DatumGetTextPP(newslot->tts_values[rel->step - 1]));
	if (to == NULL || DatumGetObjectId(newslot->tts_values[rel->state - 1]) != to->state)
		return false;
	if (oldslot == rel->nullslot)
		return transition == NULL && (to->is_initial || security_occurred_at(&at));
	if (former_workflow != workflow->workflow_id)
		return transition == NULL &&
			(former_workflow == 0 ||
			 (security_reason() != NULL && security_has_role("referral_admin", &exists) &&
			  to->state == DatumGetObjectId(oldslot->tts_values[rel->state - 1])));
	from = workflow_step(workflow, DatumGetTextPP(oldslot->tts_values[rel->step - 1]));
	return transition == NULL ? from == to : transition->from == from && transition->to == to;
}

/* Step, state, transition and rule version of a change. */
static void
put_transition(JournalRow *row, RuleCache *cache, TrackedRel *rel,
			   TupleTableSlot *oldslot, TupleTableSlot *newslot)
{
	int64		former_workflow = column_int64(oldslot, rel->workflow_id);
	int64		workflow_id = column_int64(newslot, rel->workflow_id);
	int64		transition_id = column_int64(newslot, rel->transition_id);
	bool		is_update = oldslot != rel->nullslot;
	Workflow   *workflow;
	WorkflowTransition *transition;

	if (workflow_id == 0 && former_workflow == 0 && is_update)
		return;					/* attached, but without a workflow yet */
	workflow = workflow_get(cache, workflow_id);
	transition = transition_id == 0 ? NULL : workflow_transition(workflow, transition_id);
	if ((transition_id != 0 && transition == NULL) ||
		!step_is_guarded(rel, workflow, transition, oldslot, newslot))
		ereport(ERROR,
				(errcode(ERRCODE_RF_NO_TRANSITION),
				 errmsg("the step of a row of entity \"%s\" was changed behind the guard's back",
						rel->entity),
				 errdetail("Another trigger changed step, state, workflow_id or transition_id after the guard had run."),
				 errhint("Let that trigger leave them alone, or give it a name that sorts before the guard's.")));

	if (transition != NULL)
		put_text(row, J_TRANSITION, transition->transition);
	else if (is_update && former_workflow != workflow_id)
		put_text(row, J_TRANSITION, former_workflow == 0 ? "attach" : "migrate_workflow");
	else if (is_update)
		return;
	journal_put(row, J_RULE_VERSION, Int64GetDatum(workflow->rule_version_id));
	if (is_update)
	{
		put_column(row, J_FROM_STEP, oldslot, rel->step);
		put_column(row, J_FROM_STATE, oldslot, rel->state);
	}
	put_column(row, J_TO_STEP, newslot, rel->step);
	put_column(row, J_TO_STATE, newslot, rel->state);
}

/* The guard counts versions one by one; a trigger after it may not. */
static void
check_version_counted(TrackedRel *rel, TupleTableSlot *oldslot, TupleTableSlot *newslot)
{
	if (rel->version == 0 || oldslot == rel->nullslot || newslot == rel->nullslot ||
		column_int64(newslot, rel->version) == column_int64(oldslot, rel->version) + 1)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_RF_STALE),
			 errmsg("the version of a row of entity \"%s\" was changed behind the guard's back",
					rel->entity),
			 errdetail("Every change raises version by one."),
			 errhint("Let other triggers leave version alone, or give them names that sort before the guard's.")));
}

/* Who, in whose name, when and why. */
void
journal_put_circumstances(JournalRow *row, int64 org_id)
{
	put_text(row, J_ACTOR, security_actor());
	put_text(row, J_ACTOR_KIND, security_actor_kind_name(security_actor_kind(org_id)));
	put_text(row, J_DB_USER, security_login_name());
	if (application_name != NULL && *application_name != '\0')
		put_text(row, J_APPLICATION_NAME, application_name);
	put_text(row, J_REASON, security_reason());
	put_text(row, J_ORIGIN, security_origin());
	put_text(row, J_CORRELATION_ID, security_correlation_id());
	journal_put(row, J_OCCURRED_AT, TimestampTzGetDatum(security_event_time()));
}

/*
 * The row before and after the change, all attributes at hand.  False when
 * this is the DELETE half of a move to another partition.
 */
static bool
choose_slots(TriggerData *trigdata, TrackedRel *rel,
			 TupleTableSlot **oldslot, TupleTableSlot **newslot)
{
	TupleTableSlot *former;
	int64		org_id,
				id,
				version;
	bool		is_insert = TRIGGER_FIRED_BY_INSERT(trigdata->tg_event);

	*oldslot = is_insert ? rel->nullslot : trigdata->tg_trigslot;
	*newslot = is_insert ? trigdata->tg_trigslot :
		TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event) ? trigdata->tg_newslot : rel->nullslot;
	slot_getallattrs(*oldslot);
	slot_getallattrs(*newslot);
	if (TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
		return true;

	org_id = column_int64(trigdata->tg_trigslot, rel->org_id);
	id = entity_get_int64(rel, rel->id, trigdata->tg_trigslot->tts_values[rel->id - 1]);
	version = column_int64(trigdata->tg_trigslot, rel->version);
	if (!is_insert)
		return !journal_row_leaves(rel, org_id, id, version, trigdata->tg_trigtuple);
	former = journal_row_arrives(rel, org_id, id, version);
	if (former != NULL)
	{
		*oldslot = former;
		slot_getallattrs(*oldslot);
	}
	return true;
}

/* Did a column change that the journal row carries in one of its own? */
static bool
carried_changed(TrackedRel *rel, TupleTableSlot *oldslot, TupleTableSlot *newslot)
{
	for (int i = 0; i < rel->desc->natts; i++)
		if (rel->columns[i].treatment == JOURNAL_CARRIED &&
			!TupleDescAttr(rel->desc, i)->attisdropped &&
			entity_column_changed(rel, i, oldslot, newslot))
			return true;
	return false;
}

/*
 * Is this how attach() takes in a row that was there before?  Then the record
 * holds all of it, or nobody could tell later what it was.
 */
static bool
is_adopted(TrackedRel *rel, TupleTableSlot *oldslot, TupleTableSlot *newslot)
{
	if (oldslot == rel->nullslot || newslot == rel->nullslot || rel->version == 0)
		return false;
	return oldslot->tts_isnull[rel->version - 1] ||
		(rel->workflow_id != 0 && column_int64(oldslot, rel->workflow_id) == 0 &&
		 column_int64(newslot, rel->workflow_id) != 0);
}

/* Write the journal row of one event, if it changed anything. */
static void
record_change(TriggerData *trigdata, RuleCache *cache, TrackedRel *rel, FmgrInfo *flinfo)
{
	TupleTableSlot *oldslot,
			   *newslot,
			   *liveslot;
	JournalRow	row;
	Jsonb	   *changes;
	int64		org_id;

	if (!choose_slots(trigdata, rel, &oldslot, &newslot))
		return;
	liveslot = newslot == rel->nullslot ? oldslot : newslot;
	/* the guard sees to it where there is one; other tables are tracked too */
	if (oldslot != rel->nullslot && newslot != rel->nullslot)
		entity_check_identity(rel, oldslot, newslot);
	changes = journal_changes(rel, oldslot, newslot,
							  is_adopted(rel, oldslot, newslot) ? JOURNAL_ALL : JOURNAL_CHANGED);
	if (changes == NULL && !carried_changed(rel, oldslot, newslot))
		return;

	check_version_counted(rel, oldslot, newslot);
	memset(row.nulls, true, sizeof(row.nulls));
	org_id = column_int64(liveslot, rel->org_id);
	journal_put(&row, J_ORG_ID, Int64GetDatum(org_id));
	put_text(&row, J_ENTITY, rel->entity);
	journal_put(&row, J_ENTITY_ID,
		Int64GetDatum(entity_get_int64(rel, rel->id, liveslot->tts_values[rel->id - 1])));
	put_column(&row, J_VERSION, liveslot, rel->version);
	put_text(&row, J_ACTION, oldslot == rel->nullslot ? "insert" :
			 newslot == rel->nullslot ? "delete" : "update");
	if (rel->workflow_id != 0 && newslot != rel->nullslot)
		put_transition(&row, cache, rel, oldslot, newslot);
	journal_put_circumstances(&row, org_id);
	if (changes != NULL)
		journal_put(&row, J_CHANGES, JsonbPGetDatum(changes));
	journal_write(cache, &row, (TableWriter **) entity_trigger_extra(flinfo), flinfo->fn_mcxt);
}

PG_FUNCTION_INFO_V1(journal);

/*
 * journal(entity, id_column): AFTER INSERT OR UPDATE OR DELETE row trigger.
 * An UPDATE that changes nothing writes nothing.
 */
Datum
journal(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	RuleCache  *cache;
	TrackedRel *rel;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigdata->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigdata->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("journal must be called as an AFTER row trigger")));
	rel = entity_of_trigger(trigdata, &cache, fcinfo->flinfo);
	cache->pins++;
	journal_depth++;
	PG_TRY();
	{
		record_change(trigdata, cache, rel, fcinfo->flinfo);
	}
	PG_FINALLY();
	{
		cache->pins--;
		journal_depth--;
	}
	PG_END_TRY();
	return PointerGetDatum(NULL);
}

/* A partition is not worth naming: the table is what people know. */
static const char *
name_of_whole(Relation rel)
{
	return get_rel_name(rel->rd_rel->relispartition
						? llast_oid(get_partition_ancestors(RelationGetRelid(rel)))
						: RelationGetRelid(rel));
}

PG_FUNCTION_INFO_V1(append_only);

/*
 * append_only(): BEFORE UPDATE OR DELETE OR TRUNCATE trigger of tables that
 * only grow.  Always refuses.
 */
Datum
append_only(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("append_only must be called as a trigger")));
	ereport(ERROR,
			(errcode(ERRCODE_RF_APPEND_ONLY),
			 TRIGGER_FIRED_BY_TRUNCATE(trigdata->tg_event)
			 ? errmsg("table \"%s\" cannot be truncated", name_of_whole(trigdata->tg_relation))
			 : errmsg("table \"%s\" is append-only", name_of_whole(trigdata->tg_relation)),
			 TRIGGER_FIRED_BY_TRUNCATE(trigdata->tg_event)
			 ? errdetail("TRUNCATE would leave no record in the journal.")
			 : errdetail("What is recorded stays recorded."),
			 TRIGGER_FIRED_BY_TRUNCATE(trigdata->tg_event)
			 ? errhint("DELETE rows, where that is allowed: each leaves a journal row.")
			 : errhint("Record a correction as a new change.")));
}
