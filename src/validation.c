/*-------------------------------------------------------------------------
 *
 * validation.c
 *		Is a referral complete?
 *
 * validate() judges one by the rules, with the caller's rights.
 * check_referral() does the same and records it: it reads and writes as the
 * owner of the model, so that nobody else needs the right to write results,
 * and asks the rules with the caller's rights.  What follows from a result is
 * in validation_settle.c.
 *
 * IDENTIFICATION
 *		src/validation.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

#include "compat.h"
#include "errors.h"
#include "security.h"
#include "validation.h"

/* A referral, as it stands. */
typedef struct Judged
{
	int64		org_id;
	int64		referral_id;
	bool		as_owner;
	RuleRow		rows[ROW_NKINDS];	/* without a table: there is none */
	const char *specialty;		/* in lower case */
	const char *referral_type;
	int64		payer_id;		/* 0: none */
	bool		is_ours;		/* this transaction wrote it */
	bool		is_over;		/* in a terminal state */
	bool		has_documents;	/* they have been read */
	List	   *documents;		/* types of those that are current */
	bool		was_checked;
	bool		former_passed;
	Jsonb	   *former;			/* findings of its last check */
	ArrayType  *former_versions;
} Judged;

typedef struct Verdict
{
	List	   *lacking;		/* ValidationRule */
	int			counts[SEVERITY_NKINDS];
	bool		asks;
	Jsonb	   *findings;
} Verdict;

/* ---------- Reading a referral ---------- */

/* Columns of READ_REFERRAL; the rows come first, in the order of ValidatedRow. */
enum
{
	C_SPECIALTY = ROW_NKINDS + 1, C_REFERRAL_TYPE, C_PAYER_ID, C_XMIN, C_IS_OVER, C_FINDINGS,
	C_RULE_VERSIONS, C_PASSED
};

static void
begin(RuleCache *cache, bool as_owner, OwnerScope *scope)
{
	if (as_owner)
		security_begin_read(scope, cache->owner);
	else if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

static void
end(bool as_owner, OwnerScope *scope)
{
	if (as_owner)
		security_end_read(scope);
	else
		SPI_finish();
}

static void
no_such_referral(Judged *judged)
{
	ereport(ERROR,
			(errcode(ERRCODE_RF_NO_SUCH_ROW),
			 errmsg("there is no referral " INT64_FORMAT " in organisation " INT64_FORMAT,
					judged->referral_id, judged->org_id),
			 errdetail("It does not exist or is not visible to the session."),
			 errhint("Check org_id and referral_id.")));
}

static char *
text_column(HeapTuple tuple, TupleDesc desc, int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(tuple, desc, column, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

static void
read_former(Judged *judged, HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;
	Datum		value = SPI_getbinval(tuple, desc, C_FINDINGS, &isnull);

	judged->was_checked = !isnull;
	if (isnull)
		return;
	judged->former = DatumGetJsonbP(value);
	value = SPI_getbinval(tuple, desc, C_RULE_VERSIONS, &isnull);
	judged->former_versions = DatumGetArrayTypeP(value);
	judged->former_passed = DatumGetBool(SPI_getbinval(tuple, desc, C_PASSED, &isnull));
}

/* What the row that was read says; it lives as long as the caller's memory. */
static void
take_row(Judged *judged, HeapTuple tuple, TupleDesc desc, HeapTupleHeader *rows)
{
	bool		isnull;
	Datum		value;

	for (int i = 0; i < ROW_NKINDS; i++)
	{
		value = SPI_getbinval(tuple, desc, i + 1, &isnull);
		rows[i] = isnull ? NULL : DatumGetHeapTupleHeader(value);
	}
	judged->specialty = text_column(tuple, desc, C_SPECIALTY);
	judged->referral_type = text_column(tuple, desc, C_REFERRAL_TYPE);
	value = SPI_getbinval(tuple, desc, C_PAYER_ID, &isnull);
	judged->payer_id = isnull ? 0 : DatumGetInt64(value);
	value = SPI_getbinval(tuple, desc, C_XMIN, &isnull);
	judged->is_ours = TransactionIdIsCurrentTransactionId(DatumGetTransactionId(value));
	judged->is_over = DatumGetBool(SPI_getbinval(tuple, desc, C_IS_OVER, &isnull));
	read_former(judged, tuple, desc);
}

static void
read_once(RuleCache *cache, Judged *judged, HeapTupleHeader *rows)
{
	Datum		args[] = {Int64GetDatum(judged->org_id), Int64GetDatum(judged->referral_id),
	BoolGetDatum(judged->as_owner)};
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext spi;
	OwnerScope	scope;

	begin(cache, judged->as_owner, &scope);
	validation_run(judged->as_owner, READ_REFERRAL, args, NULL);
	if (SPI_processed == 0)
		no_such_referral(judged);
	spi = MemoryContextSwitchTo(caller);
	take_row(judged, heap_copytuple(SPI_tuptable->vals[0]), SPI_tuptable->tupdesc, rows);
	MemoryContextSwitchTo(spi);
	end(judged->as_owner, &scope);
}

/*
 * Two checks of one referral come one after the other.  What this transaction
 * wrote is locked already.
 */
static void
read_locked(RuleCache *cache, Judged *judged, HeapTupleHeader *rows)
{
	Datum		args[] = {Int64GetDatum(judged->org_id), Int64GetDatum(judged->referral_id)};
	OwnerScope	scope;

	read_once(cache, judged, rows);
	if (judged->is_ours)
		return;
	begin(cache, true, &scope);
	validation_run(true, LOCK_REFERRAL, args, NULL);
	end(true, &scope);
	read_once(cache, judged, rows);
}

static void
read_documents(RuleCache *cache, Judged *judged)
{
	Datum		args[] = {Int64GetDatum(judged->org_id), Int64GetDatum(judged->referral_id)};
	MemoryContext caller = CurrentMemoryContext;
	OwnerScope	scope;

	begin(cache, judged->as_owner, &scope);
	validation_run(judged->as_owner, READ_DOCUMENTS, args, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		MemoryContext spi = MemoryContextSwitchTo(caller);

		judged->documents = lappend(judged->documents,
									SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1));
		MemoryContextSwitchTo(spi);
	}
	end(judged->as_owner, &scope);
	judged->has_documents = true;
}

/* ---------- Judging it ---------- */

static bool
is_in_scope(ValidationRule *rule, Judged *judged)
{
	return (rule->scope_org_id == 0 || rule->scope_org_id == judged->org_id) &&
		(rule->scope_payer_id == 0 || rule->scope_payer_id == judged->payer_id) &&
		(rule->scope_specialty == NULL ||
		 (judged->specialty != NULL && strcmp(rule->scope_specialty, judged->specialty) == 0)) &&
		(rule->scope_referral_type == NULL ||
		 (judged->referral_type != NULL &&
		  strcmp(rule->scope_referral_type, judged->referral_type) == 0));
}

static bool
has_document(RuleCache *cache, Judged *judged, const char *type)
{
	ListCell   *lc;

	if (!judged->has_documents)
		read_documents(cache, judged);
	foreach(lc, judged->documents)
		if (strcmp(lfirst(lc), type) == 0)
			return true;
	return false;
}

static bool
is_lacking(RuleCache *cache, ValidationRule *rule, Judged *judged)
{
	RuleRow    *row = &judged->rows[rule->row];

	if (!is_in_scope(rule, judged) ||
		(rule->applies_when != NULL &&
		 !rule_row_matches(&judged->rows[ROW_REFERRAL], rule->applies_when)))
		return false;
	if (rule->document_type != NULL)
		return !has_document(cache, judged, rule->document_type);
	if (row->table == NULL)
		return rule->wants_row;
	return !rule_row_matches(row, rule->tested);
}

static Jsonb *
findings_of(List *lacking)
{
	JsonbParseState *state = NULL;
	ListCell   *lc;

	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	foreach(lc, lacking)
	{
		Jsonb	   *finding = ((ValidationRule *) lfirst(lc))->finding;
		JsonbValue	value;

		value.type = jbvBinary;
		value.val.binary.data = &finding->root;
		value.val.binary.len = VARSIZE_ANY_EXHDR(finding);
		pushJsonbValue(&state, WJB_ELEM, &value);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL));
}

/* By the rules of the cache, which the caller has pinned. */
static void
judge(RuleCache *cache, Judged *judged, HeapTupleHeader *rows, Verdict *verdict)
{
	ValidationRules *rules = validation_rules(cache);

	memset(verdict, 0, sizeof(Verdict));
	for (int i = 0; i < ROW_NKINDS; i++)
		if (rows[i] != NULL)
			rule_row_open(&judged->rows[i], rows[i]);
	for (int i = 0; i < rules->nrules; i++)
	{
		ValidationRule *rule = &rules->rules[i];

		if (!is_lacking(cache, rule, judged))
			continue;
		verdict->lacking = lappend(verdict->lacking, rule);
		verdict->counts[rule->severity]++;
		verdict->asks = verdict->asks || rule->asks;
	}
	for (int i = 0; i < ROW_NKINDS; i++)
		if (rows[i] != NULL)
			rule_row_close(&judged->rows[i]);
}

/* ---------- What comes of it ---------- */

/* Results of the past are compared as they were stored. */
static bool
is_known(Judged *judged, Jsonb *findings, ArrayType *versions)
{
	return judged->was_checked &&
		VARSIZE_ANY(judged->former_versions) == VARSIZE_ANY(versions) &&
		memcmp(judged->former_versions, versions, VARSIZE_ANY(versions)) == 0 &&
		compareJsonbContainers(&judged->former->root, &findings->root) == 0;
}

static void
record(RuleCache *cache, Judged *judged, Verdict *verdict, ArrayType *versions)
{
	int			faults = verdict->counts[SEVERITY_MISSING] + verdict->counts[SEVERITY_INVALID];
	Datum		result[] = {
		Int64GetDatum(judged->org_id), Int64GetDatum(judged->referral_id),
		BoolGetDatum(!judged->was_checked), BoolGetDatum(faults == 0),
		Int32GetDatum(verdict->counts[SEVERITY_MISSING]),
		Int32GetDatum(verdict->counts[SEVERITY_INVALID]),
		Int32GetDatum(verdict->counts[SEVERITY_WARNING]),
		JsonbPGetDatum(verdict->findings), PointerGetDatum(versions)
	};
	OwnerScope	scope;

	security_begin_read(&scope, cache->owner);
	validation_run(true, WRITE_RESULT, result, NULL);
	/* of warnings alone nothing follows, where they ask nobody */
	if (faults > 0 || verdict->asks || (judged->was_checked && JB_ROOT_COUNT(judged->former) > 0))
		validation_settle(cache, judged->org_id, judged->referral_id, judged->former,
						  verdict->findings);
	security_end_read(&scope);
}

/* A referral at its end wants nothing; a check after a reopening finds everything anew. */
static void
record_end(RuleCache *cache, Judged *judged)
{
	Verdict		nothing = {0};

	nothing.findings = findings_of(NIL);
	if (judged->was_checked && JB_ROOT_COUNT(judged->former) > 0)
		record(cache, judged, &nothing, construct_empty_array(INT8OID));
}

/* ---------- SQL ---------- */

/* The rows of an organisation are there for those whom row-level security shows them. */
static bool
sees_org(RuleCache *cache, int64 org_id)
{
	return has_privs_of_role(GetUserId(), cache->owner) ||
		has_bypassrls_privilege(GetUserId()) || security_sees_org(org_id);
}

PG_FUNCTION_INFO_V1(validate);
PG_FUNCTION_INFO_V1(is_complete);

/* With the caller's rights; the findings go to "result", where there is one. */
static void
judge_referral(FunctionCallInfo fcinfo, ReturnSetInfo *result, Verdict *verdict)
{
	RuleCache  *cache = rule_cache(true);
	Judged		judged = {.org_id = PG_GETARG_INT64(0),.referral_id = PG_GETARG_INT64(1)};
	HeapTupleHeader rows[ROW_NKINDS];
	ListCell   *lc;

	cache->pins++;
	PG_TRY();
	{
		read_once(cache, &judged, rows);
		judge(cache, &judged, rows, verdict);
		foreach(lc, result != NULL ? verdict->lacking : NIL)
		{
			ValidationRule *rule = lfirst(lc);

			tuplestore_putvalues(result->setResult, result->setDesc, rule->columns, rule->nulls);
		}
	}
	PG_FINALLY();
	{
		cache->pins--;
	}
	PG_END_TRY();
}

/* validate(org_id bigint, referral_id bigint) returns setof finding */
Datum
validate(PG_FUNCTION_ARGS)
{
	Verdict		verdict;

	InitMaterializedSRF(fcinfo, 0);
	judge_referral(fcinfo, (ReturnSetInfo *) fcinfo->resultinfo, &verdict);
	return (Datum) 0;
}

/* is_complete(org_id bigint, referral_id bigint) returns boolean */
Datum
is_complete(PG_FUNCTION_ARGS)
{
	Verdict		verdict;

	judge_referral(fcinfo, NULL, &verdict);
	PG_RETURN_BOOL(verdict.counts[SEVERITY_MISSING] + verdict.counts[SEVERITY_INVALID] == 0);
}

PG_FUNCTION_INFO_V1(check_referral);

/* check_referral(org_id bigint, referral_id bigint) returns boolean */
Datum
check_referral(PG_FUNCTION_ARGS)
{
	RuleCache  *cache = rule_cache(true);
	Judged		judged = {.org_id = PG_GETARG_INT64(0),.referral_id = PG_GETARG_INT64(1),
	.as_owner = true};
	HeapTupleHeader rows[ROW_NKINDS];
	Verdict		verdict;
	ArrayType  *versions;
	bool		passed = false;

	if (!sees_org(cache, judged.org_id))
		no_such_referral(&judged);
	cache->pins++;
	PG_TRY();
	{
		read_locked(cache, &judged, rows);
		if (judged.is_over)
		{
			record_end(cache, &judged);
			fcinfo->isnull = !judged.was_checked;
			passed = judged.former_passed;
		}
		else
		{
			judge(cache, &judged, rows, &verdict);
			verdict.findings = findings_of(verdict.lacking);
			versions = validation_rules(cache)->versions;
			if (is_known(&judged, verdict.findings, versions))
				passed = judged.former_passed;
			else
			{
				record(cache, &judged, &verdict, versions);
				passed = verdict.counts[SEVERITY_MISSING] + verdict.counts[SEVERITY_INVALID] == 0;
			}
		}
	}
	PG_FINALLY();
	{
		cache->pins--;
	}
	PG_END_TRY();
	return BoolGetDatum(passed);
}
