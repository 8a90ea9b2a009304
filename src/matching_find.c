/*-------------------------------------------------------------------------
 *
 * matching_find.c
 *		find_matches(): the patients of an organisation who may be a person.
 *
 * Candidates are read from the index and the table without regard to who asks,
 * because that is fast; whoever asks sees of them only what a query of theirs
 * shows.  So nothing may depend on the others: they are taken out before grades
 * are given and before results are counted, and no message speaks of them.
 *
 * IDENTIFICATION
 *		src/matching_find.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "errors.h"
#include "matching_find.h"
#include "statement.h"

typedef struct Found
{
	int			n;
	int			room;
	MatchFound *items;
} Found;

int
matching_compare_found(const void *a, const void *b)
{
	const MatchFound *x = a;
	const MatchFound *y = b;

	if (x->bits != y->bits)
		return x->bits > y->bits ? -1 : 1;
	return (x->patient_id > y->patient_id) - (x->patient_id < y->patient_id);
}

static int
compare_ids(const void *a, const void *b)
{
	const MatchFound *x = a;
	const MatchFound *y = b;

	if (x->patient_id != y->patient_id)
		return x->patient_id < y->patient_id ? -1 : 1;
	return matching_compare_found(a, b);
}

/* ---------- The table ---------- */

void
matching_open_patients(MatchTable *patients)
{
	Oid			relid = get_relname_relid("patient", get_namespace_oid("referral", false));

	memset(patients, 0, sizeof(MatchTable));
	if (OidIsValid(relid))
	{
		patients->org_id = get_attnum(relid, "org_id");
		patients->patient_id = get_attnum(relid, "patient_id");
		patients->demographics = get_attnum(relid, "demographics");
	}
	if (patients->org_id == 0 || patients->patient_id == 0 || patients->demographics == 0)
		ereport(ERROR,
				(errcode(ERRCODE_RF_NOT_DEPLOYED),
				 errmsg("the referral model is not deployed in this database"),
				 errdetail("There is no table referral.patient with a column demographics."),
				 errhint("Run SELECT * FROM referral.deploy().")));
	patients->table = table_open(relid, AccessShareLock);
}

/* ---------- Scoring ---------- */

static void
put_found(Found *found, int64 patient_id, const MatchScore *score)
{
	MatchFound *item;

	if (found->n == found->room)
	{
		found->room *= 2;
		found->items = repalloc(found->items, found->room * sizeof(MatchFound));
	}
	item = &found->items[found->n++];
	item->patient_id = patient_id;
	item->bits = score->bits;
	item->probability = score->probability;
	item->grade = score->grade;
}

/* Those of the organisation's rows at some places that may be the person. */
static void
score_rows(const MatchTable *patients, int64 org_id, const Demographics *person,
		   const MatchModel *model, ItemPointerData *tids, int ntids, Found *found)
{
	Snapshot	snapshot = GetActiveSnapshot();
	TupleTableSlot *slot = table_slot_create(patients->table, NULL);
	IndexFetchTableData *fetch = table_index_fetch_begin(patients->table);
	MemoryContext row_context = AllocSetContextCreate(CurrentMemoryContext, "referral row",
													  ALLOCSET_SMALL_SIZES);

	for (int i = 0; i < ntids; i++)
	{
		bool		call_again = false;
		bool		null;
		Datum		value;

		CHECK_FOR_INTERRUPTS();
		if (!table_index_fetch_tuple(fetch, &tids[i], snapshot, slot, &call_again, NULL) ||
			DatumGetInt64(slot_getattr(slot, patients->org_id, &null)) != org_id)
			continue;
		value = slot_getattr(slot, patients->demographics, &null);
		if (!null)
		{
			MemoryContext caller = MemoryContextSwitchTo(row_context);
			MatchScore	score;

			matching_score(model, person, DatumGetDemographics(value), &score);
			MemoryContextSwitchTo(caller);
			if (score.grade > MATCH_CERTAINLY_NOT)
				put_found(found, DatumGetInt64(slot_getattr(slot, patients->patient_id, &null)),
						  &score);
			MemoryContextReset(row_context);
		}
	}
	table_index_fetch_end(fetch);
	ExecDropSingleTupleTableSlot(slot);
	MemoryContextDelete(row_context);
}

/* ---------- What the caller may see ---------- */

static const char *const visible_sql =
	"SELECT p.patient_id, p.merged_into FROM referral.patient p"
	" WHERE p.org_id OPERATOR(pg_catalog.=) $1 AND p.patient_id OPERATOR(pg_catalog.=) ANY ($2)"
	" AND p.demographics IS NOT NULL";

static SPIPlanPtr
visible_plan(void)
{
	static const Oid types[] = {INT8OID, INT8ARRAYOID};
	static SPIPlanPtr kept = NULL;

	statement_keep(&kept, visible_sql, lengthof(types), types, 0);
	return kept;
}

static ArrayType *
ids_of(const Found *found)
{
	Datum	   *ids = palloc(sizeof(Datum) * Max(found->n, 1));

	for (int i = 0; i < found->n; i++)
		ids[i] = Int64GetDatum(found->items[i].patient_id);
	return construct_array(ids, found->n, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
}

/* Sorts by id, and of each id keeps the best. */
static void
keep_best(Found *found)
{
	int			n = 0;

	qsort(found->items, found->n, sizeof(MatchFound), compare_ids);
	for (int i = 0; i < found->n; i++)
	{
		if (n == 0 || found->items[i].patient_id != found->items[n - 1].patient_id)
			found->items[n++] = found->items[i];
	}
	found->n = n;
}

static MatchFound *
find_id(const Found *found, int64 patient_id)
{
	MatchFound	key;
	int			low = 0;
	int			high = found->n;

	key.patient_id = patient_id;
	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (found->items[middle].patient_id < key.patient_id)
			low = middle + 1;
		else
			high = middle;
	}
	return &found->items[low];
}

/*
 * Asks as the caller which of those in "found" there are: these go to "visible",
 * and for those that were merged into another, that one comes back in "found".
 */
static void
ask(int64 org_id, Found *found, Found *visible)
{
	Datum		args[2];
	Found		survivors = *found;

	args[0] = Int64GetDatum(org_id);
	args[1] = PointerGetDatum(ids_of(found));
	if (SPI_execute_plan(visible_plan(), args, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not ask for visible patients");
	survivors.n = 0;
	survivors.items = palloc(found->room * sizeof(MatchFound));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		null;
		MatchFound	item = *find_id(found, DatumGetInt64(SPI_getbinval(row, desc, 1, &null)));
		Datum		survivor = SPI_getbinval(row, desc, 2, &null);

		if (null)
			visible->items[visible->n++] = item;
		else
		{
			item.patient_id = DatumGetInt64(survivor);
			survivors.items[survivors.n++] = item;
		}
	}
	SPI_freetuptable(SPI_tuptable);
	*found = survivors;
}

/* A chain of merges is followed so far; there should be none. */
#define MAX_MERGES	100

/* Of those found, whom the caller may see; each once, merged ones as the one that is left. */
static void
keep_visible(const MatchTable *patients, int64 org_id, Found *found)
{
	Found		visible = *found;
	bool		may_read_all = pg_class_aclcheck(RelationGetRelid(patients->table), GetUserId(),
												 ACL_SELECT) == ACLCHECK_OK;

	visible.n = 0;
	visible.items = palloc(found->room * sizeof(MatchFound));
	keep_best(found);
	/* who may not read patients is refused also when there is nobody */
	for (int i = 0; i < MAX_MERGES && (found->n > 0 || (i == 0 && !may_read_all)); i++)
	{
		ask(org_id, found, &visible);
		keep_best(found);
	}
	keep_best(&visible);
	*found = visible;
}

/* ---------- Lookup ---------- */

static void
leave_out(Found *found, int64 patient_id)
{
	int			n = 0;

	for (int i = 0; i < found->n; i++)
	{
		if (found->items[i].patient_id != patient_id)
			found->items[n++] = found->items[i];
	}
	found->n = n;
}

/* Best first; the first is certain only if it is far ahead of the second. */
static void
rank(Found *found, double margin)
{
	qsort(found->items, found->n, sizeof(MatchFound), matching_compare_found);
	for (int i = 0; i < found->n; i++)
	{
		MatchFound *item = &found->items[i];

		if (item->grade == MATCH_CERTAIN &&
			(i > 0 || (found->n > 1 && item->bits - found->items[1].bits < margin)))
			item->grade = MATCH_PROBABLE;
	}
}

/* All who may be the person but one, best first. */
static void
find(Found *found, int64 org_id, const Demographics *person, const int64 *other_than)
{
	MatchTable	patients;
	int32		keys[MATCHING_MAX_KEYS];
	ItemPointerData *tids;
	int			ntids;
	const MatchModel *model = matching_model(0);

	found->n = 0;
	found->room = 32;
	found->items = palloc(found->room * sizeof(MatchFound));
	matching_open_patients(&patients);
	ntids = matching_candidates(&patients, org_id, GetActiveSnapshot(), keys,
								matching_keys(person, keys), &tids);
	score_rows(&patients, org_id, person, model, tids, ntids, found);
	keep_visible(&patients, org_id, found);
	table_close(patients.table, AccessShareLock);
	if (other_than != NULL)
		leave_out(found, *other_than);
	rank(found, matching_model_margin(model));
}

PG_FUNCTION_INFO_V1(find_match);

/* find_match(org_id, demographics): the first that find_matches() would tell */
Datum
find_match(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Found		found;
	MatchFound	best = {0};
	Datum		values[2];
	bool		nulls[2];

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "unexpected result type of find_match()");
	SPI_connect();
	find(&found, PG_GETARG_INT64(0), PG_GETARG_DEMOGRAPHICS(1), NULL);
	nulls[0] = nulls[1] = found.n == 0;
	if (found.n > 0)
		best = found.items[0];
	SPI_finish();
	values[0] = Int64GetDatum(best.patient_id);
	values[1] = CStringGetTextDatum(matching_grade_name(best.grade));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

PG_FUNCTION_INFO_V1(find_matches);

/* find_matches(org_id, demographics, max, other_than) */
Datum
find_matches(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Found		found;
	int64		other_than = 0;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		return (Datum) 0;
	if (PG_GETARG_INT32(2) <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_RF_INVALID_ARGUMENT),
				 errmsg("the number of matches wanted is not positive"),
				 errdetail("max is %d.", PG_GETARG_INT32(2)),
				 errhint("Ask for one match or more.")));

	/* everything is made in SPI's own memory, and gone with it */
	SPI_connect();
	if (!PG_ARGISNULL(3))
		other_than = PG_GETARG_INT64(3);
	find(&found, PG_GETARG_INT64(0), PG_GETARG_DEMOGRAPHICS(1),
		 PG_ARGISNULL(3) ? NULL : &other_than);
	for (int i = 0; i < Min(found.n, PG_GETARG_INT32(2)); i++)
	{
		Datum		values[3];
		bool		nulls[3] = { false, false, false };

		values[0] = Int64GetDatum(found.items[i].patient_id);
		values[1] = Float8GetDatum(found.items[i].probability);
		values[2] = CStringGetTextDatum(matching_grade_name(found.items[i].grade));
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	SPI_finish();
	return (Datum) 0;
}
