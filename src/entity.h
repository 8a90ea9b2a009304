/*-------------------------------------------------------------------------
 *
 * entity.h
 *		A tracked relation: where the engine's columns are in its rows.
 *
 * IDENTIFICATION
 *		src/entity.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_ENTITY_H
#define REFERRAL_ENTITY_H

#include "commands/trigger.h"
#include "executor/tuptable.h"
#include "fmgr.h"

#include "rule.h"

/* How a column's value becomes JSON; see journal_changes.c. */
typedef enum JournalKind
{
	JOURNAL_BOOL,
	JOURNAL_INTEGER,
	JOURNAL_NUMERIC,
	JOURNAL_TEXT,
	JOURNAL_OUTPUT,				/* as its output function says */
	JOURNAL_DATETIME,
	JOURNAL_JSONB,
	JOURNAL_OTHER
} JournalKind;

/* Whether the journal's "changes" tell of a column. */
typedef enum JournalTreatment
{
	JOURNAL_CARRIED,			/* no: the row has a column of its own for it */
	JOURNAL_TOLD,
	JOURNAL_SENSITIVE,			/* by digest, says journal_column */
	JOURNAL_IGNORED				/* no, says journal_column */
} JournalTreatment;

typedef struct TrackedColumn
{
	JournalKind kind;
	JournalTreatment treatment;
	FmgrInfo	function;		/* JOURNAL_OUTPUT: of the type; JOURNAL_OTHER: to_jsonb */
} TrackedColumn;

#define DIGEST_KEY_LENGTH	32

typedef struct TrackedRel
{
	Oid			relid;
	Oid			owner;
	const char *entity;			/* name, from the trigger's first argument */
	TupleDesc	desc;			/* a copy without reference count */

	/* Attribute numbers; 0 when the table has no such column. */
	AttrNumber	id;
	AttrNumber	org_id;
	AttrNumber	workflow_id;
	AttrNumber	step;
	AttrNumber	state;
	AttrNumber	status_reason;
	AttrNumber	entered_at;
	AttrNumber	version;
	AttrNumber	transition_id;
	AttrNumber	region;
	AttrNumber	site_id;
	AttrNumber	specialty;

	TupleTableSlot *nullslot;	/* the former row of an INSERT */
	TrackedColumn *columns;
	const uint8 *digest_key;	/* of sensitive columns, 32 bytes */
} TrackedRel;

typedef struct TrackedRelEntry
{
	Oid			relid;			/* hash key */
	TrackedRel *rel;
} TrackedRelEntry;

extern Oid	entity_owner(Oid relid);
extern HeapTupleHeader entity_read_row(RuleCache *cache, const char *entity, int64 org_id, int64 id);
extern TrackedRel *entity_tracked(RuleCache *cache, Relation rel,
								  const char *entity, const char *id_column);
extern void entity_init(void);
extern uint64 entity_trigger_serial(FmgrInfo *flinfo);
extern void **entity_trigger_extra(FmgrInfo *flinfo);
extern TrackedRel *entity_of_trigger(TriggerData *trigdata, RuleCache **cache,
									 FmgrInfo *flinfo);

extern TrackedRel *entity_of_record(RuleCache *cache, const char *entity,
									HeapTupleHeader record, TupleTableSlot **slot);

/* Has the column another value?  Unchanged toasted values stay toasted. */
extern bool entity_column_changed(TrackedRel *rel, int index,
								  TupleTableSlot *oldslot, TupleTableSlot *newslot);

extern void entity_check_identity(TrackedRel *rel, TupleTableSlot *oldslot,
								  TupleTableSlot *newslot);

/* Integer columns of any width. */
extern int64 entity_get_int64(TrackedRel *rel, AttrNumber attno, Datum value);

#endif							/* REFERRAL_ENTITY_H */
