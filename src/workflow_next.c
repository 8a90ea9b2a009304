/*-------------------------------------------------------------------------
 *
 * workflow_next.c
 *		next_transitions(): what could be done with a row now.
 *
 * Asks the guard's own questions (workflow_check.c) and changes nothing.
 *
 * IDENTIFICATION
 *		src/workflow_next.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "compat.h"
#include "entity.h"
#include "errors.h"
#include "rule.h"
#include "workflow_move.h"

static Datum
text_array(List *obstacles, bool unblock)
{
	ArrayBuildState *state = initArrayResult(TEXTOID, CurrentMemoryContext, false);
	ListCell   *lc;

	foreach(lc, obstacles)
	{
		Obstacle	   *obstacle = lfirst(lc);
		const char *value = unblock ? obstacle->unblock : obstacle->message;

		state = accumArrayResult(state, value == NULL ? (Datum) 0 : CStringGetTextDatum(value),
								 value == NULL, TEXTOID, CurrentMemoryContext);
	}
	return makeArrayResult(state, CurrentMemoryContext);
}

/*
 * The row as the caller may see it, in a slot of its own.  "*" leaves dropped
 * columns out, so the others are put in their places one by one.
 */
static TupleTableSlot *
fetch_row(TrackedRel *rel, Relation relation, const char *id_column, int64 org_id, int64 id)
{
	MemoryContext caller = CurrentMemoryContext;
	TupleTableSlot *slot = MakeSingleTupleTableSlot(rel->desc, &TTSOpsVirtual);
	Oid			argtypes[2] = {INT8OID, INT8OID};
	Datum		args[2] = {Int64GetDatum(org_id), Int64GetDatum(id)};
	char	   *sql;

	sql = psprintf("SELECT * FROM %s WHERE org_id OPERATOR(pg_catalog.=) $1"
				   " AND %s OPERATOR(pg_catalog.=) $2",
				   quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)),
											  RelationGetRelationName(relation)),
				   quote_identifier(id_column));
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute_with_args(sql, 2, argtypes, args, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read entity \"%s\"", rel->entity);
	if (SPI_processed > 0)
	{
		MemoryContext spi = MemoryContextSwitchTo(caller);
		HeapTuple	tuple = heap_copytuple(SPI_tuptable->vals[0]);
		int			column = 0;

		for (int i = 0; i < rel->desc->natts; i++)
		{
			slot->tts_isnull[i] = true;
			slot->tts_values[i] = (Datum) 0;
			if (!TupleDescAttr(rel->desc, i)->attisdropped)
				slot->tts_values[i] = heap_getattr(tuple, ++column, SPI_tuptable->tupdesc,
												   &slot->tts_isnull[i]);
		}
		ExecStoreVirtualTuple(slot);
		MemoryContextSwitchTo(spi);
	}
	SPI_finish();
	return slot;
}

/* Fill the result of next_transitions(). */
static void
explain_row(RuleCache *cache, const char *entity, int64 org_id, int64 id, ReturnSetInfo *rsinfo)
{
	EntityRules *rules = workflow_entity_rules(cache, entity);
	Relation	relation = OidIsValid(rules->relid)
		? try_relation_open(rules->relid, AccessShareLock) : NULL;
	Move		move = {.cache = cache,.org_id = org_id,.id = id};

	if (relation != NULL)
	{
		move.relation = relation;
		move.rel = entity_tracked(cache, relation, entity, rules->id_column);
		if (move.rel->workflow_id != 0 && move.rel->org_id != 0)
			move.oldslot = fetch_row(move.rel, relation, rules->id_column, org_id, id);
	}
	if (move.oldslot == NULL || TTS_EMPTY(move.oldslot))
		ereport(ERROR,
				(errcode(ERRCODE_RF_NO_SUCH_ROW),
				 errmsg("there is no row " INT64_FORMAT " of entity \"%s\" in organisation " INT64_FORMAT,
						id, entity, org_id),
				 errdetail("The entity is not attached with a workflow, or the row does not exist or is not visible to the session."),
				 errhint("See referral.entity for the entities.")));

	move.newslot = MakeSingleTupleTableSlot(move.rel->desc, &TTSOpsVirtual);
	row_copy_all(move.newslot, move.oldslot);
	workflow_locate(&move);
	for (WorkflowTransition *t = move.workflow->by_from[move.from->number];
		 t != NULL; t = t->next_same_from)
	{
		List	   *obstacles = NIL;
		Datum		values[6];
		bool		nulls[6] = {0};

		values[3] = BoolGetDatum(workflow_is_open(&move, t, &obstacles));
		values[0] = CStringGetTextDatum(t->transition);
		values[1] = PointerGetDatum(t->to->step_text);
		values[2] = ObjectIdGetDatum(t->to->state);
		values[4] = text_array(obstacles, false);
		values[5] = text_array(obstacles, true);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	relation_close(relation, AccessShareLock);
}

PG_FUNCTION_INFO_V1(next_transitions);

/*
 * next_transitions(entity text, org_id bigint, id bigint): every transition
 * from the row's step, whether the caller could take it now, and if not, why
 * and what would help.  Changes nothing.
 */
Datum
next_transitions(PG_FUNCTION_ARGS)
{
	RuleCache  *cache = rule_cache(true);

	InitMaterializedSRF(fcinfo, 0);
	cache->pins++;
	PG_TRY();
	{
		explain_row(cache, text_to_cstring(PG_GETARG_TEXT_PP(0)), PG_GETARG_INT64(1),
					PG_GETARG_INT64(2), (ReturnSetInfo *) fcinfo->resultinfo);
	}
	PG_FINALLY();
	{
		cache->pins--;
	}
	PG_END_TRY();
	return (Datum) 0;
}
