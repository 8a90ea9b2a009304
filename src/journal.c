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

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/tupconvert.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteHandler.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "compat.h"
#include "entity.h"
#include "errors.h"
#include "journal.h"
#include "rule.h"
#include "security.h"
#include "workflow.h"

/* The columns of referral.journal, in the order of journal_columns. */
enum
{
	J_ORG_ID, J_JOURNAL_ID, J_ENTITY, J_ENTITY_ID, J_VERSION, J_ACTION, J_TRANSITION,
	J_FROM_STEP, J_TO_STEP, J_FROM_STATE, J_TO_STATE, J_ACTOR, J_ACTOR_KIND, J_DB_USER,
	J_APPLICATION_NAME, J_REASON, J_ORIGIN, J_CORRELATION_ID, J_RULE_VERSION,
	J_OCCURRED_AT, J_RECORDED_AT, J_XID_EPOCH, J_XID, J_CHANGES,
	J_NCOLUMNS
};

static const char *const journal_columns[J_NCOLUMNS] = {
	"org_id", "journal_id", "entity", "entity_id", "version", "action", "transition",
	"from_step", "to_step", "from_state", "to_state", "actor", "actor_kind", "db_user",
	"application_name", "reason", "origin", "correlation_id", "rule_version",
	"occurred_at", "recorded_at", "xid_epoch", "xid", "changes"
};

/* Where the journal is; kept while the rule cache is. */
static struct
{
	uint64		generation;
	Oid			relid;
	Oid			sequence;
	int32		epoch;
	bool		epoch_is_new;	/* begun by this transaction */
	AttrNumber	attno[J_NCOLUMNS];
	List	   *added;			/* AddedColumn: columns of the user's own with defaults */
}			target;

typedef struct AddedColumn
{
	AttrNumber	attno;
	Expr	   *value;
} AddedColumn;

/*
 * Rows of this transaction on their way to another partition.  "old" is filled
 * in by the DELETE and taken out by the INSERT that follows it.
 */
typedef struct MovedKey
{
	int64		org_id;
	int64		id;
	int64		version;		/* after the update */
	char		entity[NAMEDATALEN];
} MovedKey;

typedef struct MovedRow
{
	MovedKey	key;
	SubTransactionId subid;		/* by which it was noted */
	HeapTuple	old;
	TupleDesc	old_desc;
} MovedRow;

static HTAB *moved_rows = NULL;

/* The layout of the partition that rows left last. */
static Oid	moved_relid = InvalidOid;
static TupleDesc moved_desc = NULL;

/* One journal row in the making. */
typedef struct JournalRow
{
	Datum		values[J_NCOLUMNS];
	bool		nulls[J_NCOLUMNS];
} JournalRow;

/* ---------- Transaction ends ---------- */

static void
journal_end_of_xact(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_ABORT && event != XACT_EVENT_COMMIT && event != XACT_EVENT_PREPARE)
		return;
	/* an aborted transaction takes its new epoch back, a prepared one may */
	if (target.epoch_is_new && event != XACT_EVENT_COMMIT)
		target.generation = 0;
	target.epoch_is_new = false;
	moved_rows = NULL;			/* its memory goes with the transaction */
	moved_relid = InvalidOid;
}

/* Only what the aborted subtransaction noted is undone. */
static void
journal_end_of_subxact(SubXactEvent event, SubTransactionId mine,
					   SubTransactionId parent, void *arg)
{
	HASH_SEQ_STATUS status;
	MovedRow   *moved;

	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	if (target.epoch_is_new)
		target.generation = 0;
	if (moved_rows == NULL)
		return;
	hash_seq_init(&status, moved_rows);
	while ((moved = hash_seq_search(&status)) != NULL)
		if (moved->subid >= mine)
			hash_search(moved_rows, &moved->key, HASH_REMOVE, NULL);
}

void
journal_init(void)
{
	RegisterXactCallback(journal_end_of_xact, NULL);
	RegisterSubXactCallback(journal_end_of_subxact, NULL);
}

/* ---------- Rows that move to another partition ---------- */

static MovedRow *
find_moved(TrackedRel *rel, int64 org_id, int64 id, int64 version, HASHACTION action)
{
	MovedKey	key = {.org_id = org_id,.id = id,.version = version};

	strlcpy(key.entity, rel->entity, NAMEDATALEN);
	return hash_search(moved_rows, &key, action, NULL);
}

void
journal_note_moved(TrackedRel *rel, int64 org_id, int64 id, int64 version)
{
	MovedRow   *moved;

	if (moved_rows == NULL)
	{
		HASHCTL		ctl = {0};

		ctl.keysize = sizeof(MovedKey);
		ctl.entrysize = sizeof(MovedRow);
		ctl.hcxt = TopTransactionContext;
		moved_rows = hash_create("referral moved rows", 256, &ctl,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	moved = find_moved(rel, org_id, id, version, HASH_ENTER);
	moved->subid = GetCurrentSubTransactionId();
	moved->old = NULL;
}

static void
keep_old_row(MovedRow *moved, TrackedRel *rel, HeapTuple old)
{
	MemoryContext caller = MemoryContextSwitchTo(TopTransactionContext);

	moved->old = heap_copytuple(old);
	if (moved_relid != rel->relid)
	{
		moved_desc = CreateTupleDescCopyConstr(rel->desc);
		moved_relid = rel->relid;
	}
	moved->old_desc = moved_desc;
	MemoryContextSwitchTo(caller);
}

/* The former row, in the layout of the partition it has come to. */
static TupleTableSlot *
take_old_row(MovedRow *moved, TrackedRel *rel)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(rel->desc, &TTSOpsHeapTuple);
	TupleConversionMap *map = convert_tuples_by_name(moved->old_desc, rel->desc);

	ExecStoreHeapTuple(map == NULL ? heap_copytuple(moved->old)
					   : execute_attr_map_tuple(moved->old, map),
					   slot, false);
	if (map != NULL)
		free_conversion_map(map);
	heap_freetuple(moved->old);
	hash_search(moved_rows, &moved->key, HASH_REMOVE, NULL);
	return slot;
}

/* ---------- Where to write ---------- */

/*
 * The epoch the cluster is in.  Transaction ids start anew in a restored
 * cluster, so readers order by (epoch, xid); a cluster with another system
 * identifier is another epoch, begun by its first write.
 */
static int32
journal_epoch(RuleCache *cache)
{
	OwnerScope	scope;
	Oid			argtypes[1] = {TEXTOID};
	Datum		args[1];
	int32		epoch;
	bool		isnull;

	args[0] = CStringGetTextDatum(psprintf(UINT64_FORMAT, GetSystemIdentifier()));
	security_begin_read(&scope, cache->owner);
	security_read("SELECT e.xid_epoch FROM referral.journal_epoch e"
				  " WHERE e.system_identifier = $1"
				  "   AND e.xid_epoch = (SELECT max(l.xid_epoch) FROM referral.journal_epoch l)",
				  TEXTOID, args[0]);
	if (SPI_processed == 0)
	{
		if (SPI_execute_with_args(
				"INSERT INTO referral.journal_epoch (xid_epoch, system_identifier)"
				" SELECT coalesce(max(xid_epoch), 0) + 1, $1 FROM referral.journal_epoch"
				" ON CONFLICT (xid_epoch) DO UPDATE SET system_identifier = excluded.system_identifier"
				" RETURNING xid_epoch",
				1, argtypes, args, NULL, false, 1) != SPI_OK_INSERT_RETURNING)
			elog(ERROR, "could not write referral.journal_epoch");
		target.epoch_is_new = true;
	}
	epoch = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	security_end_read(&scope);
	return epoch;
}

/* Columns that the user added to the journal get their defaults. */
static void
find_added_columns(RuleCache *cache, Relation journal)
{
	TupleDesc	desc = RelationGetDescr(journal);

	target.added = NIL;
	for (int i = 1; i <= desc->natts; i++)
	{
		Node	   *value;
		AddedColumn *added;
		MemoryContext caller;
		bool		ours = TupleDescAttr(desc, i - 1)->attisdropped ||
			TupleDescAttr(desc, i - 1)->attgenerated;

		for (int c = 0; c < J_NCOLUMNS && !ours; c++)
			ours = target.attno[c] == i;
		if (ours || (value = build_column_default(journal, i)) == NULL)
			continue;
		caller = MemoryContextSwitchTo(cache->context);
		added = palloc(sizeof(AddedColumn));
		added->attno = i;
		added->value = expression_planner((Expr *) copyObject(value));
		target.added = lappend(target.added, added);
		MemoryContextSwitchTo(caller);
	}
}

static void
find_target(RuleCache *cache)
{
	Relation	journal;

	if (target.generation == cache->generation)
		return;
	target.generation = 0;
	target.relid = get_relname_relid("journal", cache->namespace_id);
	target.sequence = get_relname_relid("journal_journal_id_seq", cache->namespace_id);
	if (!OidIsValid(target.relid) || !OidIsValid(target.sequence))
		ereport(ERROR,
				(errcode(ERRCODE_RF_NOT_DEPLOYED),
				 errmsg("the referral model is not deployed in this database"),
				 errdetail("Table referral.journal does not exist."),
				 errhint("Run SELECT * FROM referral.deploy().")));
	rule_cache_watch(target.relid);
	target.epoch = journal_epoch(cache);

	journal = table_open(target.relid, RowExclusiveLock);
	for (int c = 0; c < J_NCOLUMNS; c++)
	{
		target.attno[c] = get_attnum(target.relid, journal_columns[c]);
		if (target.attno[c] == InvalidAttrNumber)
			ereport(ERROR,
					(errcode(ERRCODE_RF_NOT_DEPLOYED),
					 errmsg("referral.journal has no column \"%s\"", journal_columns[c]),
					 errhint("Run SELECT * FROM referral.deploy().")));
	}
	find_added_columns(cache, journal);
	table_close(journal, NoLock);
	target.generation = cache->generation;
}

/* Insert as the executor would: constraints, indexes and triggers included. */
static void
journal_write(JournalRow *row)
{
	Relation	journal = table_open(target.relid, RowExclusiveLock);
	EState	   *estate = CreateExecutorState();
	ResultRelInfo *rri = makeNode(ResultRelInfo);
	TupleTableSlot *slot = ExecInitExtraTupleSlot(estate, RelationGetDescr(journal),
												  &TTSOpsVirtual);
	ListCell   *lc;

	InitResultRelInfo(rri, journal, 0, NULL, 0);
	ExecOpenIndices(rri, false);

	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, slot->tts_tupleDescriptor->natts);
	for (int c = 0; c < J_NCOLUMNS; c++)
	{
		slot->tts_values[target.attno[c] - 1] = row->values[c];
		slot->tts_isnull[target.attno[c] - 1] = row->nulls[c];
	}
	foreach(lc, target.added)
	{
		AddedColumn *added = lfirst(lc);

		slot->tts_values[added->attno - 1] =
			ExecEvalExpr(ExecInitExpr(added->value, NULL), GetPerTupleExprContext(estate),
						 &slot->tts_isnull[added->attno - 1]);
	}
	ExecStoreVirtualTuple(slot);
	ItemPointerSetInvalid(&slot->tts_tid);
	ExecSimpleRelationInsert(rri, estate, slot);
	if (!ItemPointerIsValid(&slot->tts_tid))
		ereport(ERROR,
				(errcode(ERRCODE_RF_APPEND_ONLY),
				 errmsg("a journal row was not written"),
				 errdetail("A trigger on referral.journal left it out, so the change cannot stand."),
				 errhint("Let BEFORE INSERT triggers on the journal return NEW.")));

	ExecCloseIndices(rri);
	ExecResetTupleTable(estate->es_tupleTable, false);
	FreeExecutorState(estate);
	table_close(journal, NoLock);
}

/* ---------- One journal row ---------- */

static inline void
put(JournalRow *row, int column, Datum value)
{
	row->values[column] = value;
	row->nulls[column] = false;
}

static inline void
put_text(JournalRow *row, int column, const char *value)
{
	if (value != NULL)
		put(row, column, CStringGetTextDatum(value));
}

static inline void
put_column(JournalRow *row, int column, TupleTableSlot *slot, AttrNumber attno)
{
	if (attno != 0 && !slot->tts_isnull[attno - 1])
		put(row, column, slot->tts_values[attno - 1]);
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
	put(row, J_RULE_VERSION, Int64GetDatum(workflow->rule_version_id));
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

static void
put_circumstances(JournalRow *row, int64 org_id)
{
	TimestampTz occurred_at;

	if (!security_occurred_at(&occurred_at))
		occurred_at = GetCurrentTransactionStartTimestamp();
	put_text(row, J_ACTOR, security_actor());
	put_text(row, J_ACTOR_KIND, security_actor_kind_name(security_actor_kind(org_id)));
	put_text(row, J_DB_USER, security_login_name());
	if (application_name != NULL && *application_name != '\0')
		put_text(row, J_APPLICATION_NAME, application_name);
	put_text(row, J_REASON, security_reason());
	put_text(row, J_ORIGIN, security_origin());
	put_text(row, J_CORRELATION_ID, security_correlation_id());
	put(row, J_OCCURRED_AT, TimestampTzGetDatum(occurred_at));
	put(row, J_RECORDED_AT, TimestampTzGetDatum(GetCurrentTimestamp()));
	put(row, J_XID_EPOCH, Int32GetDatum(target.epoch));
	put(row, J_XID, FullTransactionIdGetDatum(GetTopFullTransactionId()));
}

/*
 * The row before and after the change, all attributes at hand.  False when
 * this is the DELETE half of a move to another partition.
 */
static bool
choose_slots(TriggerData *trigdata, TrackedRel *rel,
			 TupleTableSlot **oldslot, TupleTableSlot **newslot)
{
	MovedRow   *moved = NULL;
	bool		is_insert = TRIGGER_FIRED_BY_INSERT(trigdata->tg_event);

	*oldslot = is_insert ? rel->nullslot : trigdata->tg_trigslot;
	*newslot = is_insert ? trigdata->tg_trigslot :
		TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event) ? trigdata->tg_newslot : rel->nullslot;
	slot_getallattrs(*oldslot);
	slot_getallattrs(*newslot);
	if (moved_rows == NULL || TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
		return true;

	moved = find_moved(rel, column_int64(trigdata->tg_trigslot, rel->org_id),
					   entity_get_int64(rel, rel->id, trigdata->tg_trigslot->tts_values[rel->id - 1]),
					   column_int64(trigdata->tg_trigslot, rel->version) + (is_insert ? 0 : 1),
					   HASH_FIND);
	if (moved != NULL && !is_insert && moved->old == NULL)
	{
		keep_old_row(moved, rel, trigdata->tg_trigtuple);
		return false;
	}
	if (moved != NULL && is_insert && moved->old != NULL)
	{
		*oldslot = take_old_row(moved, rel);
		slot_getallattrs(*oldslot);
	}
	return true;
}

/* Did a column change that the journal row carries in one of its own? */
static bool
carried_changed(TrackedRel *rel, TupleTableSlot *oldslot, TupleTableSlot *newslot)
{
	for (int i = 0; i < rel->desc->natts; i++)
		if (rel->columns[i].kind == JOURNAL_SKIP &&
			!TupleDescAttr(rel->desc, i)->attisdropped &&
			entity_column_changed(rel, i, oldslot, newslot))
			return true;
	return false;
}

/* Write the journal row of one event, if it changed anything. */
static void
record_change(TriggerData *trigdata, RuleCache *cache, TrackedRel *rel)
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
	changes = journal_changes(rel, oldslot, newslot);
	if (changes == NULL && !carried_changed(rel, oldslot, newslot))
		return;

	check_version_counted(rel, oldslot, newslot);
	memset(row.nulls, true, sizeof(row.nulls));
	org_id = column_int64(liveslot, rel->org_id);
	put(&row, J_ORG_ID, Int64GetDatum(org_id));
	put(&row, J_JOURNAL_ID, Int64GetDatum(nextval_internal(target.sequence, false)));
	put_text(&row, J_ENTITY, rel->entity);
	put(&row, J_ENTITY_ID,
		Int64GetDatum(entity_get_int64(rel, rel->id, liveslot->tts_values[rel->id - 1])));
	put_column(&row, J_VERSION, liveslot, rel->version);
	put_text(&row, J_ACTION, oldslot == rel->nullslot ? "insert" :
			 newslot == rel->nullslot ? "delete" : "update");
	if (rel->workflow_id != 0 && newslot != rel->nullslot)
		put_transition(&row, cache, rel, oldslot, newslot);
	put_circumstances(&row, org_id);
	if (changes != NULL)
		put(&row, J_CHANGES, JsonbPGetDatum(changes));
	journal_write(&row);
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
	PG_TRY();
	{
		find_target(cache);
		record_change(trigdata, cache, rel);
	}
	PG_FINALLY();
	{
		cache->pins--;
	}
	PG_END_TRY();
	return PointerGetDatum(NULL);
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
			 ? errmsg("table \"%s\" cannot be truncated", RelationGetRelationName(trigdata->tg_relation))
			 : errmsg("table \"%s\" is append-only", RelationGetRelationName(trigdata->tg_relation)),
			 TRIGGER_FIRED_BY_TRUNCATE(trigdata->tg_event)
			 ? errdetail("TRUNCATE would leave no record in the journal.")
			 : errdetail("What is recorded stays recorded."),
			 TRIGGER_FIRED_BY_TRUNCATE(trigdata->tg_event)
			 ? errhint("DELETE rows, where that is allowed: each leaves a journal row.")
			 : errhint("Record a correction as a new change.")));
}
