/*-------------------------------------------------------------------------
 *
 * work.c
 *		Work follows the rows it is about.
 *
 * work() is an AFTER row trigger of the tables whose rows can be work.  It asks
 * the rules which of them fit the row, before the change and after it, and calls
 * the functions of the concepts only where there is something to do: an item is
 * opened or closed, routed, ranked, tasks are spawned or done, exceptions opened
 * or closed, approvals requested.  An update that no rule asks for costs a look
 * at its changed columns.
 *
 * Rules are asked with the rights of whoever changes the row; what follows from
 * them is done with those of the owner of the model.
 *
 * IDENTIFICATION
 *		src/work.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "approval.h"
#include "compat.h"
#include "entity.h"
#include "security.h"
#include "sla.h"
#include "work.h"
#include "work_sql.h"
#include "workflow_move.h"

/* ---------- Statements, as the owner of the model ---------- */

/* $1 to $3 are always entity, organisation and id of the row. */
static WorkStatement stop_work =
	WORK_STATEMENT("SELECT referral.stop_work($1, $2, $3, $4)",
				   4, TEXTOID, INT8OID, INT8OID, TEXTOID);
static WorkStatement forget_work =
	WORK_STATEMENT("SELECT referral.forget_work($1, $2, $3)",
				   3, TEXTOID, INT8OID, INT8OID);
static WorkStatement route_row =
	WORK_STATEMENT("SELECT referral.route_row($1, $2, $3, $4)",
				   4, TEXTOID, INT8OID, INT8OID, INT8ARRAYOID);
static WorkStatement spawn_tasks =
	WORK_STATEMENT("SELECT referral.spawn_tasks($1, $2, $3, $4)",
				   4, TEXTOID, INT8OID, INT8OID, INT8ARRAYOID);
static WorkStatement settle_tasks =
	WORK_STATEMENT("SELECT referral.settle_tasks($1, $2, $3, $4)",
				   4, TEXTOID, INT8OID, INT8OID, BOOLOID);
static WorkStatement open_exceptions =
	WORK_STATEMENT("SELECT referral.open_rule_exceptions($1, $2, $3, $4)",
				   4, TEXTOID, INT8OID, INT8OID, INT8ARRAYOID);
static WorkStatement request_approvals =
	WORK_STATEMENT("SELECT referral.request_approvals($1, $2, $3, $4)",
				   4, TEXTOID, INT8OID, INT8OID, INT8ARRAYOID);

/* "more" is $4. */
static void
run(WorkRow *row, WorkStatement *statement, Datum more)
{
	OwnerScope	scope;

	security_begin_read(&scope, row->cache->owner);
	work_set_planner();
	(void) work_run(statement,
					(Maybe[]) {some_text(row->rel->entity), some(Int64GetDatum(row->org_id)),
							   some(Int64GetDatum(row->id)), some(more)});
	security_end_read(&scope);
}

static void
run_with_rules(WorkRow *row, WorkStatement *statement, RuleSet rules)
{
	run(row, statement, PointerGetDatum(rule_ids_array(rules.ids, rules.n)));
}

/* ---------- Asking the rules ---------- */

/* A concept whose rules are not laid down asks for nothing. */
static bool
is_deployed(WorkRow *row, const char *table)
{
	return OidIsValid(get_relname_relid(table, row->cache->namespace_id));
}

static RuleSet
rules_of(WorkRow *row, const char *table, TupleTableSlot *slot, bool only_first)
{
	RuleSet		rules = {0};

	if (slot != NULL && is_deployed(row, table))
		rules.n = rule_table_matches(row->cache, table, row->rel->entity, row->org_id, row->relation,
									 slot, slot == row->newslot && row->oldslot != NULL ? row->oldslot : row->rel->nullslot,
									 only_first, &rules.ids, &rules.failed);
	return rules;
}

static bool
are_same(RuleSet a, RuleSet b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.ids, b.ids, sizeof(int64) * a.n) == 0);
}

static bool
column_changed(WorkRow *row, AttrNumber attno)
{
	return attno > 0 && entity_column_changed(row->rel, attno - 1, row->oldslot, row->newslot);
}

static bool
any_changed(WorkRow *row, Bitmapset *columns)
{
	int			attno = -1;

	while ((attno = bms_next_member(columns, attno)) >= 0)
		if (column_changed(row, attno))
			return true;
	return false;
}

/* Could the change make another answer of the rules of a table? */
static bool
could_matter(WorkRow *row, const char *table)
{
	Bitmapset  *columns;

	if (row->oldslot == NULL)
		return true;
	if (!is_deployed(row, table))
		return false;
	return !rule_table_reads_row_alone(row->cache, table, row->rel->entity, row->relation, &columns) ||
		any_changed(row, columns);
}

/* Has the row taken a transition, if only to the step where it was? */
static bool
has_moved(WorkRow *row)
{
	return row->oldslot == NULL || column_changed(row, row->rel->step) ||
		!row_isnull(row->newslot, row->rel->transition_id);
}

/* Is there more to the change than what the engine itself keeps? */
static bool
is_about_the_case(WorkRow *row)
{
	TrackedRel *rel = row->rel;

	for (int i = 0; i < rel->desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(rel->desc, i);

		if (att->attisdropped || i + 1 == rel->version || i + 1 == rel->transition_id)
			continue;
		if (entity_column_changed(rel, i, row->oldslot, row->newslot))
			return true;
	}
	return false;
}

/* ---------- Items ---------- */

/* What a row has open items by: one rule for each kind. */
typedef struct Sources
{
	WorkSource **found;
	int			n;
	bool		failed;			/* a rule raises an error */
} Sources;

/* Somebody answers for each referral until its end, whatever the rules ask for. */
static WorkSource unasked = {
	.entity = "referral",.kind = "referral",.title = "Referral that no rule of work_source asks for",
	.is_primary = true
};

/* As the view unowned_referral has it. */
static bool
is_open_referral(WorkRow *row, TupleTableSlot *slot)
{
	static const char *const ends[] = {
		"closed_loop", "declined", "cancelled", "expired", "entered_in_error"
	};
	char	   *state;

	if (strcmp(row->rel->entity, "referral") != 0 || row_isnull(slot, row->rel->state))
		return false;
	state = DatumGetCString(DirectFunctionCall1(enum_out, row_value(slot, row->rel->state)));
	for (int i = 0; i < lengthof(ends); i++)
		if (strcmp(state, ends[i]) == 0)
			return false;
	return true;
}

static bool
has_kind(Sources sources, const char *kind)
{
	for (int i = 0; i < sources.n; i++)
		if (strcmp(sources.found[i]->kind, kind) == 0)
			return true;
	return false;
}

static Sources
sources_of(WorkRow *row, TupleTableSlot *slot)
{
	RuleSet		rules = rules_of(row, "work_source", slot, false);
	Sources		sources = {palloc(sizeof(WorkSource *) * (rules.n + 1)), 0, rules.failed};

	for (int i = 0; i < rules.n; i++)
	{
		WorkSource *source = work_source(row->cache, rules.ids[i]);

		if (source != NULL && !has_kind(sources, source->kind))
			sources.found[sources.n++] = source;
	}
	if (slot != NULL && !has_kind(sources, unasked.kind) && is_open_referral(row, slot))
		sources.found[sources.n++] = &unasked;
	return sources;
}

/* Opens what is asked for now and was not before. */
static void
start_items_of(WorkRow *row, Sources now, Sources before)
{
	for (int i = 0; i < now.n; i++)
		if (!has_kind(before, now.found[i]->kind))
			work_item_open(row, now.found[i], rules_of(row, "routing_rule", row->newslot, true));
}

static WorkStatement find_kinds =
	WORK_STATEMENT("SELECT DISTINCT kind FROM referral.work_item WHERE entity = $1 AND org_id = $2"
				   " AND entity_id = $3 AND kind <> 'task' AND task = '' AND closed_at IS NULL",
				   3, TEXTOID, INT8OID, INT8OID);

/* The kinds of its open items, in the memory of the caller. */
static List *
open_kinds(WorkRow *row)
{
	MemoryContext caller = CurrentMemoryContext;
	List	   *kinds = NIL;
	OwnerScope	scope;
	uint64		n;

	security_begin_read(&scope, row->cache->owner);
	n = work_run(&find_kinds, (Maybe[]) {some_text(row->rel->entity), some(Int64GetDatum(row->org_id)),
										 some(Int64GetDatum(row->id))});
	for (uint64 i = 0; i < n; i++)
	{
		char	   *kind = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
		MemoryContext spi = MemoryContextSwitchTo(caller);

		kinds = lappend(kinds, pstrdup(kind));
		MemoryContextSwitchTo(spi);
	}
	security_end_read(&scope);
	return kinds;
}

/* By the rules alone, and what is there; whatever the row was before. */
static void
settle_by(WorkRow *row, Sources now)
{
	ListCell   *lc;

	start_items_of(row, now, (Sources) {0});
	foreach(lc, open_kinds(row))
		if (!has_kind(now, lfirst(lc)))
			run(row, &stop_work, PointerGetDatum(cstring_to_text(lfirst(lc))));
}

static void
settle(WorkRow *row)
{
	settle_by(row, sources_of(row, row->newslot));
}

/* Items are there while the row is work.  Was it, and is it still? */
static bool
follow_sources(WorkRow *row, bool *is_over)
{
	Sources		now = sources_of(row, row->newslot);
	Sources		before = could_matter(row, "work_source") || column_changed(row, row->rel->state)
		? sources_of(row, row->oldslot) : now;

	/* what a rule could not tell then may be told now */
	if (before.failed)
		settle_by(row, now);
	else
		start_items_of(row, now, before);
	for (int i = 0; i < before.n && !before.failed; i++)
		if (!has_kind(now, before.found[i]->kind))
			run(row, &stop_work, PointerGetDatum(cstring_to_text(before.found[i]->kind)));
	*is_over = before.n > 0 && now.n == 0;
	return now.n > 0 && before.n > 0;
}

static void
follow_routing(WorkRow *row)
{
	RuleSet		now;

	if (!could_matter(row, "routing_rule"))
		return;
	now = rules_of(row, "routing_rule", row->newslot, true);
	if (!are_same(now, rules_of(row, "routing_rule", row->oldslot, true)))
		run_with_rules(row, &route_row, now);
}

/* Dates that rules of ranking may name; see rank_dates(). */
static const char *const rank_columns[] = {"received_at", "scheduled_for", "expires_on"};

static bool
rank_could_change(WorkRow *row)
{
	SlaEntity  *clocks = sla_entity(row->cache, row->rel->entity);

	if (could_matter(row, "ranking_factor"))
		return true;
	for (int i = 0; i < lengthof(rank_columns); i++)
		if (column_changed(row, SPI_fnumber(row->rel->desc, rank_columns[i])))
			return true;
	for (WorkSource *source = work_rules(row->cache)->sources; source != NULL; source = source->next)
		if (source->due_column != NULL && strcmp(source->entity, row->rel->entity) == 0 &&
			column_changed(row, SPI_fnumber(row->rel->desc, source->due_column)))
			return true;
	return (clocks->groups != NULL || clocks->former != NIL) &&
		sla_could_matter(row->cache, clocks, row->rel, row->relation, row->oldslot, row->newslot);
}

/* ---------- Tasks, exceptions, approvals ---------- */

/* What depends on more than the row is asked when the row moves, and by tick(). */
static bool
task_could_end(WorkRow *row)
{
	for (TaskEnd *end = work_rules(row->cache)->task_ends; end != NULL; end = end->next)
		if (end->until_when != NULL && strcmp(end->entity, row->rel->entity) == 0 &&
			(work_task_end_reads_row_alone(row->cache, end, row->relation) ?
			 any_changed(row, end->columns) : has_moved(row)))
			return true;
	return false;
}

/* Of these rules, those for the state, step or transition that the row has come to. */
static RuleSet
tasks_in_place(WorkRow *row, RuleSet rules)
{
	int			kept = 0;

	for (int i = 0; i < rules.n; i++)
	{
		WorkTask   *task = work_task(row->cache, rules.ids[i]);

		if (task != NULL &&
			(OidIsValid(task->on_state) ? !row_isnull(row->newslot, row->rel->state) &&
			 DatumGetObjectId(row_value(row->newslot, row->rel->state)) == task->on_state
			 : task->on_step != NULL ? !row_isnull(row->newslot, row->rel->step) &&
			 strcmp(TextDatumGetCString(row_value(row->newslot, row->rel->step)), task->on_step) == 0
			 : !row_isnull(row->newslot, row->rel->transition_id)))
			rules.ids[kept++] = rules.ids[i];
	}
	rules.n = kept;
	return rules;
}

static void
follow_tasks(WorkRow *row, bool is_over)
{
	RuleSet		rules;

	if (!work_has_tasks(row->cache, row->rel->entity))
		return;
	if (row->oldslot != NULL && (is_over || task_could_end(row)))
		run(row, &settle_tasks, BoolGetDatum(is_over));
	if (is_over || !(has_moved(row) || could_matter(row, "task_template")))
		return;
	rules = tasks_in_place(row, rules_of(row, "task_template", row->newslot, false));
	if (rules.n > 0)
		run_with_rules(row, &spawn_tasks, rules);
}

static void
follow_exceptions(WorkRow *row)
{
	RuleSet		now,
				before;

	if (!could_matter(row, "exception_rule"))
		return;
	now = rules_of(row, "exception_rule", row->newslot, false);
	before = rules_of(row, "exception_rule", row->oldslot, false);
	if (now.failed || before.failed || !are_same(now, before))
		run_with_rules(row, &open_exceptions, now);
}

/*
 * Approvals are asked for where a policy fits and a transition that waits for it
 * leaves from the row's step.  Other changes of values matter where a policy reads
 * or watches them, other moves only at the end.
 */
static void
follow_approvals(WorkRow *row, bool is_over)
{
	bool		by_values = row->oldslot != NULL &&
		(could_matter(row, "approval_policy") || any_changed(row, approval_watched(row->cache, row->rel)));
	RuleSet		now;
	RuleSet		before;

	if (!by_values && !has_moved(row))
		return;
	now = rules_of(row, "approval_policy", row->newslot, false);
	before = rules_of(row, "approval_policy", row->oldslot, false);
	if (now.n + before.n == 0)
		return;
	if (by_values || is_over ||
		approval_waits(row->cache, row->rel, row->newslot, now.ids, now.n) ||
		approval_waits(row->cache, row->rel, row->oldslot, before.ids, before.n))
		run_with_rules(row, &request_approvals, now);
}

/* ---------- The trigger ---------- */

static void
take_key(WorkRow *row)
{
	row->org_id = row_int64(row->newslot, row->rel->org_id);
	row->id = entity_get_int64(row->rel, row->rel->id, row_value(row->newslot, row->rel->id));
}

static void
forget(WorkRow *row)
{
	slot_getallattrs(row->newslot);
	take_key(row);
	run(row, &forget_work, (Datum) 0);
}

static void
follow(WorkRow *row)
{
	bool		goes_on;
	bool		is_over;

	slot_getallattrs(row->newslot);
	if (row->oldslot != NULL)
	{
		slot_getallattrs(row->oldslot);
		if (!is_about_the_case(row))
			return;
	}
	take_key(row);
	goes_on = follow_sources(row, &is_over);
	follow_tasks(row, is_over);
	follow_exceptions(row);
	follow_approvals(row, is_over);
	if (goes_on && row->oldslot != NULL)
	{
		follow_routing(row);
		if (rank_could_change(row))
			work_refresh_row(row);
	}
}

/* With the cache kept as it is meanwhile. */
static void
with_pinned_cache(WorkRow *row, void (*what) (WorkRow *row))
{
	row->cache->pins++;
	PG_TRY();
	{
		what(row);
	}
	PG_FINALLY();
	{
		row->cache->pins--;
	}
	PG_END_TRY();
}

PG_FUNCTION_INFO_V1(work);

/* work(entity, id_column): AFTER INSERT OR UPDATE OR DELETE row trigger. */
Datum
work(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	WorkRow		row = {0};
	bool		is_update;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigdata->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigdata->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("work must be called as an AFTER row trigger")));
	is_update = TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event);
	row.rel = entity_of_trigger(trigdata, &row.cache, fcinfo->flinfo);
	row.relation = trigdata->tg_relation;
	row.is_new = !is_update;
	row.oldslot = is_update ? trigdata->tg_trigslot : NULL;
	row.newslot = is_update ? trigdata->tg_newslot : trigdata->tg_trigslot;
	if (row.rel->org_id != 0)
		with_pinned_cache(&row, TRIGGER_FIRED_BY_DELETE(trigdata->tg_event) ? forget : follow);
	return PointerGetDatum(NULL);
}

/* ---------- A row as it is stored ---------- */

PG_FUNCTION_INFO_V1(work_row);

/* work_row(entity text, org_id bigint, id bigint) returns record */
Datum
work_row(PG_FUNCTION_ARGS)
{
	HeapTupleHeader row = entity_read_row(rule_cache(true), text_to_cstring(PG_GETARG_TEXT_PP(0)),
										  PG_GETARG_INT64(1), PG_GETARG_INT64(2));

	if (row == NULL)
		PG_RETURN_NULL();
	PG_RETURN_HEAPTUPLEHEADER(row);
}

PG_FUNCTION_INFO_V1(settle_items);

/* settle_items(entity text, org_id bigint, id bigint) returns void */
Datum
settle_items(PG_FUNCTION_ARGS)
{
	char	   *entity = text_to_cstring(PG_GETARG_TEXT_PP(0));
	WorkRow		row = {.cache = rule_cache(true),.org_id = PG_GETARG_INT64(1),.id = PG_GETARG_INT64(2)};
	HeapTupleHeader header = entity_read_row(row.cache, entity, row.org_id, row.id);

	if (header == NULL)
		PG_RETURN_VOID();
	row.rel = entity_of_record(row.cache, entity, header, &row.newslot);
	row.relation = table_open(row.rel->relid, AccessShareLock);
	with_pinned_cache(&row, settle);
	table_close(row.relation, AccessShareLock);
	ExecDropSingleTupleTableSlot(row.newslot);
	PG_RETURN_VOID();
}
