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

#include "utils/jsonb.h"

#include "entity.h"

extern void journal_init(void);
extern Jsonb *journal_changes(TrackedRel *rel, TupleTableSlot *oldslot,
							  TupleTableSlot *newslot);

/*
 * The row is moving to another partition: what fires as DELETE and INSERT is
 * one update, to be recorded as such.
 */
extern void journal_note_moved(TrackedRel *rel, int64 org_id, int64 id, int64 version);

#endif							/* REFERRAL_JOURNAL_H */
