/*-------------------------------------------------------------------------
 *
 * workflow_move.h
 *		One attempt to bring one row to a step, and what stands in its way.
 *
 * Shared by the guard, which refuses, and next_transitions(), which explains.
 *
 * IDENTIFICATION
 *		src/workflow_move.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_WORKFLOW_MOVE_H
#define REFERRAL_WORKFLOW_MOVE_H

#include "compat.h"
#include "workflow.h"

typedef struct Move
{
	RuleCache  *cache;
	TrackedRel *rel;
	Relation	relation;
	Workflow   *workflow;
	WorkflowStep *from;
	int64		org_id;
	int64		id;
	uint64		serial;			/* of the trigger in its statement; 0 in none */
	TupleTableSlot *oldslot;
	TupleTableSlot *newslot;	/* virtual; step and state as they would be */
	const char *reason_code;	/* status_reason given with this change */
	bool		exceptions_read;
	List	   *exceptions;		/* Exception; what is open and blocks something */
	struct ApprovalRow *approvals;	/* what was asked for so far; NULL: not looked yet */
} Move;

/* One reason why a transition cannot be taken now. */
typedef struct Obstacle
{
	int			sqlstate;
	const char *message;		/* what is in the way, for people */
	const char *rule;			/* which rule says so */
	const char *unblock;		/* what would satisfy it */
} Obstacle;

extern void workflow_locate(Move *move);
extern bool workflow_is_open(Move *move, WorkflowTransition *transition, List **obstacles);
pg_noreturn extern void workflow_refuse_step(Move *move, const char *to, const char *named);
pg_noreturn extern void workflow_refuse_blocked(Move *move, WorkflowTransition *first,
									const char *named);

/* Access to the row in a slot; a column the table lacks (0) reads as null. */

static inline bool
row_isnull(TupleTableSlot *slot, AttrNumber attno)
{
	return attno == 0 || slot->tts_isnull[attno - 1];
}

static inline Datum
row_value(TupleTableSlot *slot, AttrNumber attno)
{
	return slot->tts_values[attno - 1];
}

static inline int64
row_int64(TupleTableSlot *slot, AttrNumber attno)
{
	return row_isnull(slot, attno) ? 0 : DatumGetInt64(row_value(slot, attno));
}

static inline void
row_set(TupleTableSlot *slot, AttrNumber attno, Datum value)
{
	if (attno == 0)
		return;
	slot->tts_values[attno - 1] = value;
	slot->tts_isnull[attno - 1] = false;
}

static inline void
row_set_null(TupleTableSlot *slot, AttrNumber attno)
{
	if (attno == 0)
		return;
	slot->tts_values[attno - 1] = (Datum) 0;
	slot->tts_isnull[attno - 1] = true;
}

static inline void
row_copy(TupleTableSlot *to, TupleTableSlot *from, AttrNumber attno)
{
	if (attno == 0)
		return;
	to->tts_values[attno - 1] = from->tts_values[attno - 1];
	to->tts_isnull[attno - 1] = from->tts_isnull[attno - 1];
}

static inline void
row_set_step(Move *move, WorkflowStep *step)
{
	row_set(move->newslot, move->rel->step, PointerGetDatum(step->step_text));
	row_set(move->newslot, move->rel->state, ObjectIdGetDatum(step->state));
}

/* A virtual copy of "from" in "to", to be changed freely. */
static inline void
row_copy_all(TupleTableSlot *to, TupleTableSlot *from)
{
	int			natts = to->tts_tupleDescriptor->natts;

	slot_getallattrs(from);
	ExecClearTuple(to);
	memcpy(to->tts_values, from->tts_values, natts * sizeof(Datum));
	memcpy(to->tts_isnull, from->tts_isnull, natts * sizeof(bool));
	ExecStoreVirtualTuple(to);
}

#endif							/* REFERRAL_WORKFLOW_MOVE_H */
