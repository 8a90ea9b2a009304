/*-------------------------------------------------------------------------
 *
 * table_writer.c
 *		Writing rows into our own tables without a statement for each.
 *
 * A statement that changes many rows writes as many journal rows and clocks.
 * What it takes to do so is opened once and kept until the statement's memory
 * goes, or its transaction ends.  It has a resource owner of its own, because
 * that of the statement may go before its memory does.
 *
 * IDENTIFICATION
 *		src/table_writer.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteHandler.h"
#include "storage/lmgr.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "table_writer.h"

/* A column that the user added to the table. */
typedef struct AddedColumn
{
	AttrNumber	attno;
	Expr	   *value;			/* its default */
} AddedColumn;

static dlist_head open_writers = DLIST_STATIC_INIT(open_writers);

/* ---------- Opening and closing ---------- */

static void
close_writer(TableWriter *writer)
{
	Relation	rel = writer->rri->ri_RelationDesc;
	ResourceOwner caller = CurrentResourceOwner;

	dlist_delete(&writer->node);
	writer->relid = InvalidOid;
	CurrentResourceOwner = writer->owner;
	ExecCloseIndices(writer->rri);
	ExecResetTupleTable(writer->estate->es_tupleTable, false);
	table_close(rel, NoLock);
	CurrentResourceOwner = caller;
	FreeExecutorState(writer->estate);
	/* its locks go to the transaction */
	ResourceOwnerRelease(writer->owner, RESOURCE_RELEASE_BEFORE_LOCKS, true, false);
	ResourceOwnerRelease(writer->owner, RESOURCE_RELEASE_LOCKS, true, false);
	ResourceOwnerRelease(writer->owner, RESOURCE_RELEASE_AFTER_LOCKS, true, false);
	ResourceOwnerDelete(writer->owner);
}

/* Those opened in this subtransaction or within it. */
static void
close_writers(SubTransactionId subid)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &open_writers)
	{
		TableWriter *writer = dlist_container(TableWriter, node, iter.cur);

		if (writer->subid >= subid)
			close_writer(writer);
	}
}

static void
end_of_statement(void *arg)
{
	TableWriter *writer = arg;

	if (OidIsValid(writer->relid))
		close_writer(writer);
}

static void
end_of_xact(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PRE_COMMIT || event == XACT_EVENT_PRE_PREPARE)
		close_writers(TopSubTransactionId);
}

static void
end_of_subxact(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_PRE_COMMIT_SUB || event == SUBXACT_EVENT_ABORT_SUB)
		close_writers(mine);
}

void
table_writer_init(void)
{
	RegisterXactCallback(end_of_xact, NULL);
	RegisterSubXactCallback(end_of_subxact, NULL);
}

static void
open_writer(TableWriter *writer, Oid relid, uint64 generation)
{
	Relation	rel;
	MemoryContext caller = MemoryContextSwitchTo(TopTransactionContext);
	ResourceOwner caller_owner = CurrentResourceOwner;

	LockRelationOid(relid, RowExclusiveLock);
	writer->owner = ResourceOwnerCreate(CurTransactionResourceOwner, "referral table writer");
	CurrentResourceOwner = writer->owner;
	rel = table_open(relid, NoLock);
	/* not below the statement's memory, whose children go before it calls back */
	writer->estate = CreateExecutorState();
	MemoryContextSwitchTo(writer->estate->es_query_cxt);
	writer->rri = makeNode(ResultRelInfo);
	writer->slot = ExecInitExtraTupleSlot(writer->estate, RelationGetDescr(rel), &TTSOpsVirtual);
	InitResultRelInfo(writer->rri, rel, 0, NULL, 0);
	ExecOpenIndices(writer->rri, false);
	CurrentResourceOwner = caller_owner;
	writer->subid = GetCurrentSubTransactionId();
	writer->generation = generation;
	writer->relid = relid;
	dlist_push_tail(&open_writers, &writer->node);
	MemoryContextSwitchTo(caller);
}

/*
 * The writer for the table, from the rows before if it still fits; kept in
 * *kept until "lifetime" ends.  Another generation means that the table may
 * have changed.
 */
TableWriter *
table_writer_get(TableWriter **kept, MemoryContext lifetime, Oid relid, uint64 generation)
{
	TableWriter *writer = *kept;

	if (writer == NULL)
	{
		*kept = writer = MemoryContextAllocZero(lifetime, sizeof(TableWriter));
		writer->callback.func = end_of_statement;
		writer->callback.arg = writer;
		MemoryContextRegisterResetCallback(lifetime, &writer->callback);
	}
	if (OidIsValid(writer->relid) && (writer->relid != relid || writer->generation != generation))
		close_writer(writer);
	if (!OidIsValid(writer->relid))
		open_writer(writer, relid, generation);
	return writer;
}

/* ---------- Rows ---------- */

/* Columns that the user added to a table of ours get their defaults. */
List *
table_added_columns(Relation rel, const AttrNumber *ours, int nours, MemoryContext context)
{
	TupleDesc	desc = RelationGetDescr(rel);
	List	   *columns = NIL;

	for (int i = 1; i <= desc->natts; i++)
	{
		Node	   *value;
		AddedColumn *added;
		MemoryContext caller;
		bool		is_ours = TupleDescAttr(desc, i - 1)->attisdropped ||
			TupleDescAttr(desc, i - 1)->attgenerated;

		for (int c = 0; c < nours && !is_ours; c++)
			is_ours = ours[c] == i;
		if (is_ours || (value = build_column_default(rel, i)) == NULL)
			continue;
		caller = MemoryContextSwitchTo(context);
		added = palloc(sizeof(AddedColumn));
		added->attno = i;
		added->value = expression_planner((Expr *) copyObject(value));
		columns = lappend(columns, added);
		MemoryContextSwitchTo(caller);
	}
	return columns;
}

/* A new row in the writer's slot: ours by their numbers, the others by default. */
void
table_writer_fill(TableWriter *writer, const AttrNumber *attnos, const Datum *values,
				  const bool *nulls, int ncolumns, List *added)
{
	TupleTableSlot *slot = writer->slot;
	ListCell   *lc;

	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, slot->tts_tupleDescriptor->natts);
	for (int c = 0; c < ncolumns; c++)
	{
		slot->tts_values[attnos[c] - 1] = values[c];
		slot->tts_isnull[attnos[c] - 1] = nulls[c];
	}
	foreach(lc, added)
	{
		AddedColumn *column = lfirst(lc);

		slot->tts_values[column->attno - 1] =
			ExecEvalExpr(ExecInitExpr(column->value, NULL), GetPerTupleExprContext(writer->estate),
						 &slot->tts_isnull[column->attno - 1]);
	}
	ExecStoreVirtualTuple(slot);
	ItemPointerSetInvalid(&slot->tts_tid);
}

static void
compute_and_check(TableWriter *writer, CmdType command)
{
	Relation	rel = writer->rri->ri_RelationDesc;

	if (rel->rd_att->constr == NULL)
		return;
	if (rel->rd_att->constr->has_generated_stored)
		ExecComputeStoredGenerated(writer->rri, writer->estate, writer->slot, command);
	ExecConstraints(writer->rri, writer->slot, writer->estate);
}

static List *
insert_index_tuples(TableWriter *writer, bool is_update)
{
	if (writer->rri->ri_NumIndices == 0)
		return NIL;
	return ExecInsertIndexTuples(writer->rri, writer->slot, writer->estate, is_update, false,
								 NULL, NIL
#if PG_VERSION_NUM >= 160000
								 ,false
#endif
		);
}

/*
 * Insert what is in the slot as the executor would: triggers, constraints and
 * indexes included.  A partition's own constraint holds by choice of the
 * partition, unless a trigger had a hand in it.  False when a trigger left the
 * row out.
 */
bool
table_writer_insert(TableWriter *writer)
{
	ResultRelInfo *rri = writer->rri;
	Relation	rel = rri->ri_RelationDesc;
	bool		has_before = rri->ri_TrigDesc != NULL && rri->ri_TrigDesc->trig_insert_before_row;
	List	   *recheck;

	if (has_before && !ExecBRInsertTriggers(writer->estate, rri, writer->slot))
		return false;
	compute_and_check(writer, CMD_INSERT);
	if (has_before && rel->rd_rel->relispartition)
		ExecPartitionCheck(rri, writer->slot, writer->estate, true);
	simple_table_tuple_insert(rel, writer->slot);
	recheck = insert_index_tuples(writer, false);
	ExecARInsertTriggers(writer->estate, rri, writer->slot, recheck, NULL);
	list_free(recheck);
	ResetPerTupleExprContext(writer->estate);
	return true;
}

/*
 * Put what is in the slot in place of the row version at tid, which the
 * transaction has locked.  For tables without UPDATE triggers but those of
 * foreign keys, on columns that stay.
 */
void
table_writer_update(TableWriter *writer, ItemPointer tid)
{
	Relation	rel = writer->rri->ri_RelationDesc;
#if PG_VERSION_NUM >= 160000
	TU_UpdateIndexes indexes;
#else
	bool		indexes;
#endif

	compute_and_check(writer, CMD_UPDATE);
	simple_table_tuple_update(rel, tid, writer->slot, GetActiveSnapshot(), &indexes);
#if PG_VERSION_NUM >= 160000
	if (indexes != TU_None)
		list_free(ExecInsertIndexTuples(writer->rri, writer->slot, writer->estate, true, false,
										NULL, NIL, indexes == TU_Summarizing));
#else
	if (indexes)
		list_free(insert_index_tuples(writer, true));
#endif
	ResetPerTupleExprContext(writer->estate);
}
