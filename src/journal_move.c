/*-------------------------------------------------------------------------
 *
 * journal_move.c
 *		Rows on their way to another partition.
 *
 * An UPDATE that changes the partition key fires as a DELETE here and an
 * INSERT there.  The guard notes the row, and the journal records one update.
 *
 * IDENTIFICATION
 *		src/journal_move.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tupconvert.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "entity.h"
#include "journal.h"

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

/* The row that arrived last, as it was before, for triggers that come after the journal's. */
static struct
{
	MovedKey	key;
	Oid			relid;			/* where it is now */
	HeapTuple	old;
}			arrived;

/* ---------- Transaction ends ---------- */

static void
move_end_of_xact(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_ABORT && event != XACT_EVENT_COMMIT && event != XACT_EVENT_PREPARE)
		return;
	moved_rows = NULL;			/* its memory goes with the transaction */
	moved_relid = InvalidOid;
	arrived.old = NULL;
}

/* Only what the aborted subtransaction noted is undone. */
static void
move_end_of_subxact(SubXactEvent event, SubTransactionId mine,
					SubTransactionId parent, void *arg)
{
	HASH_SEQ_STATUS status;
	MovedRow   *moved;

	if (event != SUBXACT_EVENT_ABORT_SUB || moved_rows == NULL)
		return;
	arrived.old = NULL;
	hash_seq_init(&status, moved_rows);
	while ((moved = hash_seq_search(&status)) != NULL)
		if (moved->subid >= mine)
			hash_search(moved_rows, &moved->key, HASH_REMOVE, NULL);
}

void
journal_move_init(void)
{
	RegisterXactCallback(move_end_of_xact, NULL);
	RegisterSubXactCallback(move_end_of_subxact, NULL);
}

/* ---------- Leaving and arriving ---------- */

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
	MemoryContext caller = MemoryContextSwitchTo(TopTransactionContext);

	if (arrived.old != NULL)
		heap_freetuple(arrived.old);
	arrived.old = moved->old;
	if (map != NULL)
	{
		arrived.old = execute_attr_map_tuple(moved->old, map);
		heap_freetuple(moved->old);
		free_conversion_map(map);
	}
	arrived.key = moved->key;
	arrived.relid = rel->relid;
	MemoryContextSwitchTo(caller);
	ExecStoreHeapTuple(heap_copytuple(arrived.old), slot, false);
	hash_search(moved_rows, &moved->key, HASH_REMOVE, NULL);
	return slot;
}

/* Is this DELETE the first half of a move?  Then the row is kept until it arrives. */
bool
journal_row_leaves(TrackedRel *rel, int64 org_id, int64 id, int64 version, HeapTuple row)
{
	MovedRow   *moved;

	if (moved_rows == NULL)
		return false;
	moved = find_moved(rel, org_id, id, version + 1, HASH_FIND);
	if (moved == NULL || moved->old != NULL)
		return false;
	keep_old_row(moved, rel, row);
	return true;
}

/* The row as it was before it moved here; NULL when this INSERT is no move. */
TupleTableSlot *
journal_row_arrives(TrackedRel *rel, int64 org_id, int64 id, int64 version)
{
	MovedRow   *moved;

	if (moved_rows == NULL)
		return NULL;
	moved = find_moved(rel, org_id, id, version, HASH_FIND);
	return moved == NULL || moved->old == NULL ? NULL : take_old_row(moved, rel);
}

/* The same for a trigger that fires after the journal's; NULL when it was no move. */
TupleTableSlot *
journal_row_arrived(TrackedRel *rel, int64 org_id, int64 id, int64 version)
{
	TupleTableSlot *slot;

	if (arrived.old == NULL || arrived.relid != rel->relid || arrived.key.org_id != org_id ||
		arrived.key.id != id || arrived.key.version != version ||
		strcmp(arrived.key.entity, rel->entity) != 0)
		return NULL;
	slot = MakeSingleTupleTableSlot(rel->desc, &TTSOpsHeapTuple);
	ExecStoreHeapTuple(arrived.old, slot, false);
	return slot;
}
