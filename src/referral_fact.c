/*-------------------------------------------------------------------------
 *
 * referral_fact.c
 *		What rules ask about a referral that is not in its row.
 *
 * A list asks for many rows, so each question is one statement, prepared once
 * in a session, and run with the caller's rights.
 *
 * IDENTIFICATION
 *		src/referral_fact.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"

#include "compat.h"
#include "statement.h"

#define OF_REFERRAL "org_id = $1 AND referral_id = $2"

typedef struct Fact
{
	const char *sql;			/* about organisation $1, referral $2 */
	SPIPlanPtr	plan;			/* made when it is asked first */
} Fact;

/* Rows of the statement, "max" at most; the caller calls SPI_finish(). */
static uint64
ask(Fact *fact, FunctionCallInfo fcinfo, long max)
{
	static const Oid types[] = {INT8OID, INT8OID};
	Datum		args[] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)};

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	statement_keep(&fact->plan, fact->sql, lengthof(types), types, CURSOR_OPT_GENERIC_PLAN);
	if (SPI_execute_plan(fact->plan, args, NULL, true, max) < 0)
		elog(ERROR, "could not run: %s", fact->sql);
	return SPI_processed;
}

static Datum
is_there(Fact *fact, FunctionCallInfo fcinfo)
{
	bool		found = ask(fact, fcinfo, 1) > 0;

	SPI_finish();
	return BoolGetDatum(found);
}

PG_FUNCTION_INFO_V1(has_blocking_exception);
PG_FUNCTION_INFO_V1(has_pending_approval);
PG_FUNCTION_INFO_V1(is_handed_over);
PG_FUNCTION_INFO_V1(is_overdue);
PG_FUNCTION_INFO_V1(has_final_report);
PG_FUNCTION_INFO_V1(contact_attempts);

/* has_blocking_exception(org_id bigint, referral_id bigint) returns boolean */
Datum
has_blocking_exception(PG_FUNCTION_ARGS)
{
	static Fact fact = {.sql = "SELECT FROM referral.exception_item e"
		" JOIN referral.referral r ON r.org_id = e.org_id AND r.referral_id = e.referral_id"
		" WHERE e.org_id = $1 AND e.referral_id = $2 AND e.blocking"
		"  AND e.status IN ('open', 'in_progress')"
		"  AND EXISTS (SELECT FROM referral.workflow_transition t"
		"              WHERE t.workflow_id = r.workflow_id AND t.from_step = r.step"
		"                AND t.transition = ANY (e.blocks))"};

	return is_there(&fact, fcinfo);
}

/* has_pending_approval(org_id bigint, referral_id bigint) returns boolean */
Datum
has_pending_approval(PG_FUNCTION_ARGS)
{
	static Fact fact = {.sql = "SELECT FROM referral.work_item WHERE " OF_REFERRAL
	" AND kind = 'approval' AND closed_at IS NULL"};

	return is_there(&fact, fcinfo);
}

/* is_handed_over(org_id bigint, referral_id bigint) returns boolean */
Datum
is_handed_over(PG_FUNCTION_ARGS)
{
	static Fact fact = {.sql = "SELECT FROM referral.work_item WHERE " OF_REFERRAL
	" AND is_primary AND closed_at IS NULL AND status = 'requested'"};

	return is_there(&fact, fcinfo);
}

/* is_overdue(org_id bigint, referral_id bigint) returns boolean */
Datum
is_overdue(PG_FUNCTION_ARGS)
{
	static Fact fact = {.sql = "SELECT FROM referral.work_item WHERE " OF_REFERRAL
	" AND is_primary AND closed_at IS NULL AND due_at < referral.as_of()"};

	return is_there(&fact, fcinfo);
}

/* has_final_report(org_id bigint, referral_id bigint) returns boolean */
Datum
has_final_report(PG_FUNCTION_ARGS)
{
	static Fact fact = {.sql = "SELECT FROM referral.consult_report WHERE " OF_REFERRAL
	" AND status IN ('final', 'amended')"};

	return is_there(&fact, fcinfo);
}

/* contact_attempts(org_id bigint, referral_id bigint) returns integer */
Datum
contact_attempts(PG_FUNCTION_ARGS)
{
	static Fact fact = {.sql = "SELECT FROM referral.contact_attempt WHERE " OF_REFERRAL
	" AND outcome <> 'reached'"};
	uint64		attempts = ask(&fact, fcinfo, 0);

	SPI_finish();
	PG_RETURN_INT32((int32) attempts);
}
