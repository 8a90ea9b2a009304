/*-------------------------------------------------------------------------
 *
 * merge.c
 *		Who may merge which patients, and rows that name one who was merged.
 *
 * IDENTIFICATION
 *		src/merge.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "compat.h"
#include "entity.h"
#include "errors.h"
#include "rule.h"
#include "security.h"
#include "statement.h"

typedef enum MergeStatement
{
	MERGE_NEXT,
	MERGE_NOTE,
	NMERGESTATEMENTS
} MergeStatement;

static const struct
{
	const char *sql;
	int			nargs;
	Oid			argtypes[5];
}			statements[NMERGESTATEMENTS] = {
	/* whoever is merging or unmerging the patient is waited for */
	[MERGE_NEXT] = {
		"SELECT merged_into FROM referral.patient WHERE org_id = $1 AND patient_id = $2"
		" FOR KEY SHARE",
		2, {INT8OID, INT8OID}
	},
	[MERGE_NOTE] = {
		"INSERT INTO referral.merge_reattribution"
		" (org_id, merge_id, kind, reference, row_key, status)"
		" SELECT $1, m.merge_id, 'row', referral.reference_name(e.relation, $4::pg_catalog.name),"
		" pg_catalog.jsonb_build_object(e.id_column::pg_catalog.text, $3), 'redirected'"
		" FROM referral.patient_merge m, referral.entity e"
		" WHERE m.org_id = $1 AND m.duplicate_id = $2 AND m.unmerged_at IS NULL AND e.entity = $5"
		" ON CONFLICT DO NOTHING",
		5, {INT8OID, INT8OID, INT8OID, TEXTOID, TEXTOID}
	},
};

static SPIPlanPtr plans[NMERGESTATEMENTS];

/* May the role that the session acts as read the column, by a grant on it or on the table? */
static bool
may_select(Oid relid, const char *column)
{
	return pg_class_aclcheck(relid, GetOuterUserId(), ACL_SELECT) == ACLCHECK_OK ||
		pg_attribute_aclcheck(relid, get_attnum(relid, column), GetOuterUserId(),
							  ACL_SELECT) == ACLCHECK_OK;
}

PG_FUNCTION_INFO_V1(sees_patient);

/*
 * sees_patient(org_id bigint, patient_id bigint) returns boolean: is the row
 * visible, by whatever policies there are, to the role that the session acts
 * as, outside of all functions with other rights?  One that may not read
 * whose rows they are came here by a function that answers for it.
 */
Datum
sees_patient(PG_FUNCTION_ARGS)
{
	Oid			argtypes[] = {INT8OID, INT8OID};
	Datum		args[] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)};
	RuleCache  *cache = rule_cache(true);
	Oid			relid = get_relname_relid("patient", cache->namespace_id);
	OwnerScope	scope;
	bool		found;

	if (!may_select(relid, "org_id") || !may_select(relid, "patient_id"))
		PG_RETURN_BOOL(true);
	security_begin_read(&scope, GetOuterUserId());
	if (SPI_execute_with_args("SELECT FROM referral.patient WHERE org_id = $1 AND patient_id = $2",
							  2, argtypes, args, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look for a patient");
	found = SPI_processed > 0;
	security_end_read(&scope);
	PG_RETURN_BOOL(found);
}

static void
run(MergeStatement which, Datum *args)
{
	statement_keep(&plans[which], statements[which].sql, statements[which].nargs,
				   statements[which].argtypes, 0);
	if (SPI_execute_plan(plans[which], args, NULL, false, 0) < 0)
		elog(ERROR, "could not run: %s", statements[which].sql);
}

/*
 * Whom was the patient merged into?  0 when into nobody.  Locks the row, which
 * fails with a serialization failure in a transaction that looks at a time
 * before the merge: merge_patient() has locked it as if it changed its key.
 */
static int64
next_survivor(int64 org_id, int64 patient_id)
{
	Datum		args[] = {Int64GetDatum(org_id), Int64GetDatum(patient_id)};
	bool		isnull = true;
	Datum		next = 0;

	run(MERGE_NEXT, args);
	if (SPI_processed > 0)
		next = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	return isnull ? 0 : DatumGetInt64(next);
}

/*
 * The patient who survived of the one that a row names.  Each merge on the way
 * notes the row, so that it is given back when the merge is undone.
 */
static int64
last_survivor(TrackedRel *rel, const char *column, int64 org_id, int64 id, int64 patient_id)
{
	int64		next;

	while ((next = next_survivor(org_id, patient_id)) != 0)
	{
		Datum		args[] = {Int64GetDatum(org_id), Int64GetDatum(patient_id), Int64GetDatum(id),
		CStringGetTextDatum(column), CStringGetTextDatum(rel->entity)};

		run(MERGE_NOTE, args);
		patient_id = next;
	}
	return patient_id;
}

/* An integer of a row; false when it is null. */
static bool
get_integer(TrackedRel *rel, HeapTuple tuple, AttrNumber attno, int64 *value)
{
	bool		isnull;
	Datum		datum = heap_getattr(tuple, attno, rel->desc, &isnull);

	if (!isnull)
		*value = entity_get_int64(rel, attno, datum);
	return !isnull;
}

/* The column that names the patient, the trigger's third argument. */
static AttrNumber
patient_column(TriggerData *trigdata, TrackedRel *rel)
{
	int			attno = trigdata->tg_trigger->tgnargs < 3 ? 0 :
		SPI_fnumber(rel->desc, trigdata->tg_trigger->tgargs[2]);

	if (attno <= 0 || TupleDescAttr(rel->desc, attno - 1)->atttypid != INT8OID ||
		rel->org_id == 0 || rel->id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_RF_NOT_DEPLOYED),
				 errmsg("table of entity \"%s\" has no column that names a patient", rel->entity),
				 errdetail("follow_merge() needs a bigint column as its third argument."),
				 errhint("CREATE TRIGGER … follow_merge(entity, id column, patient column).")));
	return attno;
}

static HeapTuple
follow(TriggerData *trigdata, RuleCache *cache, TrackedRel *rel)
{
	bool		is_update = TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event);
	HeapTuple	tuple = is_update ? trigdata->tg_newtuple : trigdata->tg_trigtuple;
	int			attno = patient_column(trigdata, rel);
	int64		org_id;
	int64		id;
	int64		named;
	int64		former;
	int64		survivor;
	OwnerScope	scope;
	Datum		value;
	bool		isnull = false;

	if (!get_integer(rel, tuple, attno, &named) ||
		!get_integer(rel, tuple, rel->org_id, &org_id) ||
		!get_integer(rel, tuple, rel->id, &id))
		return tuple;
	if (is_update && get_integer(rel, trigdata->tg_trigtuple, attno, &former) && former == named)
		return tuple;
	security_begin_read(&scope, cache->owner);
	survivor = last_survivor(rel, trigdata->tg_trigger->tgargs[2], org_id, id, named);
	security_end_read(&scope);
	if (survivor == named)
		return tuple;
	value = Int64GetDatum(survivor);
	return heap_modify_tuple_by_cols(tuple, RelationGetDescr(trigdata->tg_relation), 1, &attno,
									 &value, &isnull);
}

PG_FUNCTION_INFO_V1(follow_merge);

/* follow_merge(entity, id column, patient column) returns trigger. */
Datum
follow_merge(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	RuleCache  *cache;
	TrackedRel *rel;
	HeapTuple	result = NULL;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(trigdata->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigdata->tg_event) || TRIGGER_FIRED_BY_DELETE(trigdata->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("follow_merge must be called as a BEFORE INSERT OR UPDATE row trigger")));
	rel = entity_of_trigger(trigdata, &cache, fcinfo->flinfo);
	cache->pins++;
	PG_TRY();
	{
		result = follow(trigdata, cache, rel);
	}
	PG_FINALLY();
	{
		cache->pins--;
	}
	PG_END_TRY();
	return PointerGetDatum(result);
}
