/*-------------------------------------------------------------------------
 *
 * work_arrive.c
 *		What follows for an item from where it goes.
 *
 * IDENTIFICATION
 *		src/work_arrive.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_enum.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "compat.h"
#include "work_find.h"

PG_FUNCTION_INFO_V1(arrival);
PG_FUNCTION_INFO_V1(work_item_arrives);

/* The span of transactions that ours is in. */
static Datum
current_arrival(void)
{
	return UInt64GetDatum(arrival_span(U64FromFullTransactionId(GetTopFullTransactionId())));
}

/* arrival() returns xid8 */
Datum
arrival(PG_FUNCTION_ARGS)
{
	return current_arrival();
}

/* Is an item of that status free to be claimed?  And was it handed over? */
static bool
is_waiting(HeapTuple tuple, Relation rel, bool *is_handed_over)
{
	bool		isnull;
	Datum		status = heap_getattr(tuple, SPI_fnumber(RelationGetDescr(rel), "status"),
									  RelationGetDescr(rel), &isnull);
	HeapTuple	label = SearchSysCache1(ENUMOID, status);
	bool		is_ready;

	if (!HeapTupleIsValid(label))
		elog(ERROR, "cache lookup failed for enum %u", DatumGetObjectId(status));
	is_ready = strcmp(NameStr(((Form_pg_enum) GETSTRUCT(label))->enumlabel), "ready") == 0;
	*is_handed_over = strcmp(NameStr(((Form_pg_enum) GETSTRUCT(label))->enumlabel), "requested") == 0;
	ReleaseSysCache(label);
	return is_ready || *is_handed_over;
}

static HeapTuple
with_column(HeapTuple tuple, Relation rel, const char *column, Datum value, bool isnull)
{
	int			attno = SPI_fnumber(RelationGetDescr(rel), column);

	return heap_modify_tuple_by_cols(tuple, RelationGetDescr(rel), 1, &attno, &value, &isnull);
}

/*
 * work_item_arrives(): BEFORE UPDATE row trigger of referral.work_item, where its
 * status, score or queue may change.  Without a condition in SQL, which would be
 * read anew for each statement: every claim is one.
 */
Datum
work_item_arrives(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	Relation	rel;
	HeapTuple	tuple;
	bool		was_handed_over;
	bool		is_handed_over;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(trigdata->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigdata->tg_event) || !TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("work_item_arrives must be called as a BEFORE UPDATE row trigger")));
	rel = trigdata->tg_relation;
	tuple = trigdata->tg_newtuple;
	(void) is_waiting(trigdata->tg_trigtuple, rel, &was_handed_over);
	if (is_waiting(tuple, rel, &is_handed_over))
		tuple = with_column(tuple, rel, "arrived", current_arrival(), false);
	if (was_handed_over && !is_handed_over)
		tuple = with_column(tuple, rel, "handed_over_by", (Datum) 0, true);
	return PointerGetDatum(tuple);
}
