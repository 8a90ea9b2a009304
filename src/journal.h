/*-------------------------------------------------------------------------
 *
 * journal.h
 *		The journal's parts, and what the guard tells it.
 *
 * IDENTIFICATION
 *		src/journal.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_JOURNAL_H
#define REFERRAL_JOURNAL_H

#include "access/transam.h"
#include "utils/jsonb.h"
#include "utils/snapshot.h"

#include "entity.h"
#include "table_writer.h"

/* The columns of referral.journal, in the order of journal_columns. */
typedef enum JournalColumn
{
	J_ORG_ID, J_JOURNAL_ID, J_ENTITY, J_ENTITY_ID, J_VERSION, J_ACTION, J_TRANSITION,
	J_FROM_STEP, J_TO_STEP, J_FROM_STATE, J_TO_STATE, J_ACTOR, J_ACTOR_KIND, J_DB_USER,
	J_APPLICATION_NAME, J_REASON, J_ORIGIN, J_CORRELATION_ID, J_RULE_VERSION,
	J_OCCURRED_AT, J_RECORDED_AT, J_XID_EPOCH, J_XID, J_CHANGES,
	J_NCOLUMNS
} JournalColumn;

extern const char *const journal_columns[J_NCOLUMNS];

/* One journal row in the making. */
typedef struct JournalRow
{
	Datum		values[J_NCOLUMNS];
	bool		nulls[J_NCOLUMNS];
} JournalRow;

static inline void
journal_put(JournalRow *row, JournalColumn column, Datum value)
{
	row->values[column] = value;
	row->nulls[column] = false;
}

extern int	journal_depth;

extern void journal_write_init(void);
extern void journal_write(RuleCache *cache, JournalRow *row, TableWriter **writer,
						  MemoryContext lifetime);
extern void journal_read_horizon(RuleCache *cache, int64 org_id, Snapshot snapshot,
								 int32 *epoch, FullTransactionId *xid);

/* Which columns a change is told of, and how. */
typedef enum JournalScope
{
	JOURNAL_CHANGED,			/* those that differ */
	JOURNAL_ALL					/* a row's first record: all that are not null */
} JournalScope;

extern Jsonb *journal_changes(TrackedRel *rel, TupleTableSlot *oldslot,
							  TupleTableSlot *newslot, JournalScope scope);

extern Jsonb *journal_unrecorded(TrackedRel *rel, TupleTableSlot *slot, Jsonb *replayed);
extern void journal_put_circumstances(JournalRow *row, int64 org_id);

extern void journal_move_init(void);

/*
 * The row is moving to another partition: what fires as DELETE and INSERT is
 * one update, to be recorded as such.
 */
extern void journal_note_moved(TrackedRel *rel, int64 org_id, int64 id, int64 version);
extern bool journal_row_leaves(TrackedRel *rel, int64 org_id, int64 id, int64 version,
							   HeapTuple row);
extern TupleTableSlot *journal_row_arrives(TrackedRel *rel, int64 org_id, int64 id,
										   int64 version);
extern TupleTableSlot *journal_row_arrived(TrackedRel *rel, int64 org_id, int64 id,
										   int64 version);

#endif							/* REFERRAL_JOURNAL_H */
