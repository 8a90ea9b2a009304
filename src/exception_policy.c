/*-------------------------------------------------------------------------
 *
 * exception_policy.c
 *		What referral.exception_policy says of an exception that is opened.
 *
 * IDENTIFICATION
 *		src/exception_policy.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "rule.h"
#include "security.h"
#include "sla.h"

typedef struct ExceptionPolicy
{
	int64		exception_policy_id;
	Oid			category;		/* value of the enum */
	const char *code;			/* NULL: any */
	int64		scope_org_id;	/* 0: any */
	text	   *severity;		/* NULL, as the others: nothing is said of it */
	bool		says_blocking;
	bool		blocking;
	ArrayType  *blocks;
	Interval   *due;
	const char *calendar;
} ExceptionPolicy;

/* The active ones, in the order in which they are tried. */
typedef struct ExceptionPolicies
{
	int			n;
	ExceptionPolicy policy[FLEXIBLE_ARRAY_MEMBER];
} ExceptionPolicies;

/* The new row of the trigger, and what is to become of it. */
#define MAX_CHANGES 6

typedef struct OpenedRow
{
	TupleDesc	desc;
	HeapTuple	tuple;
	HeapTuple	former;			/* NULL: a new row */
	int			n;
	int			attno[MAX_CHANGES];
	Datum		value[MAX_CHANGES];
	bool		isnull[MAX_CHANGES];
} OpenedRow;

/* ---------- Policies ---------- */

static void
read_policy(RuleCache *cache, uint64 row, ExceptionPolicy *policy)
{
	bool		isnull;
	Datum		value;

	policy->exception_policy_id = rule_read_int64(row, 1);
	policy->category = DatumGetObjectId(rule_read_datum(row, 2, &isnull));
	policy->code = rule_read_string(cache, row, 3);
	policy->scope_org_id = rule_read_int64(row, 4);
	value = rule_read_datum(row, 5, &isnull);
	policy->severity = isnull ? NULL : DatumGetTextPCopy(value);
	policy->blocking = DatumGetBool(rule_read_datum(row, 6, &isnull));
	policy->says_blocking = !isnull;
	value = rule_read_datum(row, 7, &isnull);
	policy->blocks = isnull ? NULL : DatumGetArrayTypePCopy(value);
	value = rule_read_datum(row, 8, &isnull);
	policy->due = isnull ? NULL : memcpy(palloc(sizeof(Interval)), DatumGetIntervalP(value),
										 sizeof(Interval));
	policy->calendar = rule_read_string(cache, row, 9);
}

/* For the code before for the category, the organisation's own before the one for all. */
static ExceptionPolicies *
load_policies(RuleCache *cache)
{
	OwnerScope	scope;
	MemoryContext caller;
	ExceptionPolicies *policies;

	security_begin_read(&scope, cache->owner);
	security_read("SELECT p.exception_policy_id, p.category, p.code, p.scope_org_id, p.severity,"
				  " p.blocking, p.blocks, p.due, p.calendar"
				  " FROM referral.exception_policy p"
				  " JOIN referral.rule_version v USING (rule_version_id)"
				  " WHERE v.status = 'active' AND $1"
				  " ORDER BY p.code IS NULL, p.scope_org_id IS NULL, p.exception_policy_id DESC",
				  BOOLOID, BoolGetDatum(true));
	caller = MemoryContextSwitchTo(cache->context);
	policies = palloc0(offsetof(ExceptionPolicies, policy) +
					   sizeof(ExceptionPolicy) * SPI_processed);
	policies->n = (int) SPI_processed;
	for (int i = 0; i < policies->n; i++)
		read_policy(cache, i, &policies->policy[i]);
	MemoryContextSwitchTo(caller);
	security_end_read(&scope);
	return policies;
}

static ExceptionPolicy *
find_policy(RuleCache *cache, Oid category, const char *code, int64 org_id)
{
	if (cache->exceptions == NULL)
		cache->exceptions = load_policies(cache);
	for (int i = 0; i < cache->exceptions->n; i++)
	{
		ExceptionPolicy *policy = &cache->exceptions->policy[i];

		if (policy->category == category &&
			(policy->code == NULL || strcmp(policy->code, code) == 0) &&
			(policy->scope_org_id == 0 || policy->scope_org_id == org_id))
			return policy;
	}
	return NULL;
}

/* ---------- The row ---------- */

static int
number_of(OpenedRow *row, const char *name)
{
	int			attno = SPI_fnumber(row->desc, name);

	if (attno <= 0)
		elog(ERROR, "referral.exception_item has no column \"%s\"", name);
	return attno;
}

static Datum
column(OpenedRow *row, HeapTuple tuple, const char *name, bool *isnull)
{
	return heap_getattr(tuple, number_of(row, name), row->desc, isnull);
}

static bool
text_is(OpenedRow *row, HeapTuple tuple, const char *name, const char *wanted)
{
	bool		isnull;
	Datum		value = column(row, tuple, name, &isnull);

	return !isnull && strcmp(TextDatumGetCString(value), wanted) == 0;
}

static void
change(OpenedRow *row, const char *name, Datum value, bool isnull)
{
	row->attno[row->n] = number_of(row, name);
	row->value[row->n] = value;
	row->isnull[row->n++] = isnull;
}

/* The guard of a referral looks for what holds it up by referral_id. */
static void
complete_referral(OpenedRow *row)
{
	bool		isnull;
	Datum		entity_id;

	(void) column(row, row->tuple, "referral_id", &isnull);
	if (!isnull || !text_is(row, row->tuple, "entity", "referral"))
		return;
	entity_id = column(row, row->tuple, "entity_id", &isnull);
	change(row, "referral_id", entity_id, isnull);
}

/* What somebody said stays; the due time of the last time does not count. */
static bool
wants_due_time(OpenedRow *row)
{
	bool		isnull;
	bool		was_null;
	Datum		due_at = column(row, row->tuple, "due_at", &isnull);
	Datum		was_due_at;

	if (isnull || row->former == NULL)
		return isnull;
	was_due_at = column(row, row->former, "due_at", &was_null);
	return !was_null && DatumGetTimestampTz(due_at) == DatumGetTimestampTz(was_due_at);
}

static void
set_due_time(OpenedRow *row, RuleCache *cache, ExceptionPolicy *policy, int64 org_id)
{
	bool		isnull;
	Datum		opened_at = column(row, row->tuple, "opened_at", &isnull);
	TimestampTz due_at = 0;
	bool		known = !isnull && policy != NULL && policy->due != NULL &&
		sla_due_by(cache, policy->calendar, org_id, DatumGetTimestampTz(opened_at), policy->due,
				   &due_at);

	change(row, "due_at", TimestampTzGetDatum(due_at), !known);
}

static void
apply_policy(OpenedRow *row, RuleCache *cache)
{
	ExceptionPolicy *policy = NULL;
	bool		was_closed = row->former != NULL &&
		(text_is(row, row->former, "status", "resolved") ||
		 text_is(row, row->former, "status", "dismissed"));
	bool		is_opened = row->former == NULL || was_closed;
	bool		isnull;
	bool		names_none;
	int64		org_id = DatumGetInt64(column(row, row->tuple, "org_id", &isnull));
	bool		blocking = DatumGetBool(column(row, row->tuple, "blocking", &isnull)) && !isnull;
	Datum		category = column(row, row->tuple, "category", &isnull);
	Datum		code = column(row, row->tuple, "code", &names_none);

	if (isnull || names_none)
		return;					/* refused in a moment */
	(void) column(row, row->tuple, "blocks", &names_none);
	if (is_opened || (blocking && names_none))
		policy = find_policy(cache, DatumGetObjectId(category), TextDatumGetCString(code), org_id);
	if (is_opened)
	{
		if (policy != NULL && policy->severity != NULL)
			change(row, "severity", PointerGetDatum(policy->severity), false);
		if (policy != NULL && policy->says_blocking)
			change(row, "blocking", BoolGetDatum(blocking = policy->blocking), false);
		change(row, "exception_policy_id",
			   Int64GetDatum(policy == NULL ? 0 : policy->exception_policy_id), policy == NULL);
		if (wants_due_time(row))
			set_due_time(row, cache, policy, org_id);
	}
	if (!blocking && !names_none)
		change(row, "blocks", (Datum) 0, true);
	else if (blocking && names_none && policy != NULL && policy->blocks != NULL)
		change(row, "blocks", PointerGetDatum(policy->blocks), false);
}

PG_FUNCTION_INFO_V1(exception_policy_apply);

/* exception_policy_apply(): BEFORE INSERT OR UPDATE row trigger of referral.exception_item. */
Datum
exception_policy_apply(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	RuleCache  *cache;
	OpenedRow	row = {0};

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(trigdata->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigdata->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("exception_policy_apply must be called as a BEFORE row trigger")));
	row.desc = RelationGetDescr(trigdata->tg_relation);
	row.tuple = trigdata->tg_trigtuple;
	if (TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
	{
		row.former = trigdata->tg_trigtuple;
		row.tuple = trigdata->tg_newtuple;
	}
	cache = rule_cache(true);
	cache->pins++;
	PG_TRY();
	{
		complete_referral(&row);
		apply_policy(&row, cache);
	}
	PG_FINALLY();
	{
		cache->pins--;
	}
	PG_END_TRY();
	if (row.n > 0)
		row.tuple = heap_modify_tuple_by_cols(row.tuple, row.desc, row.n, row.attno, row.value,
											  row.isnull);
	return PointerGetDatum(row.tuple);
}
