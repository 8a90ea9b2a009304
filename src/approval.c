/*-------------------------------------------------------------------------
 *
 * approval.c
 *		Which approvals a row needs, and how far they are.
 *
 * The guard asks this before a move, approval_needs() for everybody else.  A
 * policy is about the row where it stands, with the values that it is to have.
 * An approval counts for the values that it was given for: it carries digests
 * of the columns that the policy watches.
 *
 * IDENTIFICATION
 *		src/approval.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "approval.h"
#include "compat.h"
#include "security.h"
#include "statement.h"
#include "workflow_move.h"

static const char *const status_names[] = {
	[APPROVAL_NOT_REQUESTED] = "not_requested",
	[APPROVAL_PENDING] = "pending",
	[APPROVAL_APPROVED] = "approved",
	[APPROVAL_REJECTED] = "rejected",
	[APPROVAL_EXPIRED] = "expired",
	[APPROVAL_WITHDRAWN] = "withdrawn",
	[APPROVAL_OTHER_VALUES] = "other_values",
	[APPROVAL_OTHER_RULE] = "other_rule"
};

const char *
approval_status_name(ApprovalStatus status)
{
	return status_names[status];
}

/* ---------- Is an approval needed? ---------- */

typedef struct PolicyTry
{
	ApprovalRow *row;
	ApprovalPolicy *policy;
	bool		holds;
} PolicyTry;

static void
try_policy(void *arg)
{
	PolicyTry  *try = arg;

	try->holds = rule_holds(try->policy->applies_when, try->row->relation, try->row->slot,
							try->row->rel->nullslot);
}

/* A condition that raises an error does not let anybody pass. */
static bool
policy_applies(ApprovalRow *row, ApprovalPolicy *policy, bool explain, ApprovalAnswer *answer)
{
	PolicyTry	try = {.row = row,.policy = policy};
	int			sqlstate;

	if (policy->applies_when == NULL)
		return true;
	if (!explain)
		try_policy(&try);
	else if (!rule_try(try_policy, &try, &sqlstate))
	{
		answer->error = pstrdup(unpack_sql_state(sqlstate));
		return true;
	}
	return try.holds;
}

/*
 * Does the row need an approval at the gate?  With "explain", an error in a
 * condition is part of the answer; without, it is raised.
 */
bool
approval_needed(ApprovalRow *row, ApprovalGate *gate, bool explain, ApprovalAnswer *answer)
{
	memset(answer, 0, sizeof(ApprovalAnswer));
	answer->gate = gate;
	for (ApprovalPolicy *policy = gate->variants; policy != NULL && !answer->needed;
		 policy = policy->next)
	{
		if (policy->has_org && policy->scope_org_id != row->org_id)
			continue;
		answer->needed = policy_applies(row, policy, explain, answer);
		if (answer->needed || answer->policy == NULL)
			answer->policy = policy;
	}
	return answer->needed;
}

/* ---------- What an approval is about ---------- */

static JsonbValue
json_string(char *s)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = s;
	value.val.string.len = strlen(s);
	return value;
}

/* Of one value of one row: 32 hexadecimal digits. */
static JsonbValue
digest_of(ApprovalRow *row, const char *column, int attno)
{
	Oid			output;
	bool		is_varlena;
	char	   *text;
	Datum		digest;
	char	   *hex;

	getTypeOutputInfo(TupleDescAttr(row->rel->desc, attno - 1)->atttypid, &output, &is_varlena);
	text = psprintf("%s " INT64_FORMAT " " INT64_FORMAT " %s %s", row->rel->entity, row->org_id,
					row->id, column, OidOutputFunctionCall(output, row_value(row->slot, attno)));
	digest = DirectFunctionCall1(sha256_bytea, CStringGetTextDatum(text));
	hex = palloc(33);
	hex_encode(VARDATA_ANY(DatumGetByteaPP(digest)), 16, hex);
	hex[32] = '\0';
	return json_string(hex);
}

static Jsonb *
subject_of(ApprovalRow *row, ApprovalPolicy *policy)
{
	JsonbParseState *state = NULL;
	JsonbValue *object;
	ListCell   *lc;
	int			guc_level;

	if (policy->watched == NIL)
		return NULL;
	guc_level = security_neutral_settings();
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	foreach(lc, policy->watched)
	{
		char	   *column = lfirst(lc);
		int			attno = SPI_fnumber(row->rel->desc, column);
		JsonbValue	key = json_string(column);
		JsonbValue	value;

		if (attno <= 0 || row_isnull(row->slot, attno))
			value.type = jbvNull;
		else
			value = digest_of(row, column, attno);
		pushJsonbValue(&state, WJB_KEY, &key);
		pushJsonbValue(&state, WJB_VALUE, &value);
	}
	object = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	AtEOXact_GUC(false, guc_level);
	return JsonbValueToJsonb(object);
}

static bool
same_subject(Jsonb *a, Jsonb *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return compareJsonbContainers(&a->root, &b->root) == 0;
}

/* ---------- What was asked for ---------- */

static char *
string_at(uint64 row, int column)
{
	bool		isnull;
	Datum		value = rule_read_datum(row, column, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

static ApprovalRequest *
read_request(uint64 row)
{
	ApprovalRequest *request = palloc0(sizeof(ApprovalRequest));
	bool		isnull;
	Datum		subject;

	request->approval_request_id = rule_read_int64(row, 1);
	request->policy = string_at(row, 2);
	request->level = DatumGetInt32(rule_read_datum(row, 3, &isnull));
	request->status = string_at(row, 4);
	request->approver_role = string_at(row, 5);
	request->quorum = DatumGetInt32(rule_read_datum(row, 6, &isnull));
	subject = rule_read_datum(row, 7, &isnull);
	if (!isnull)
		request->subject = DatumGetJsonbPCopy(subject);
	request->expires_at = DatumGetTimestampTz(rule_read_datum(row, 8, &isnull));
	request->expires = !isnull;
	request->by_person = rule_read_bool(row, 9);
	return request;
}

static const char last_requests[] =
"SELECT DISTINCT ON (policy, level) approval_request_id, policy, level, status,"
" approver_role::text, quorum, subject, expires_at, withdrawn_by IS NOT NULL"
" FROM referral.approval_request WHERE org_id = $1 AND entity_id = $2 AND entity = $3"
" ORDER BY policy, level, approval_request_id DESC";

/* The last one at each gate, read once for a row, as the owner of the model. */
static void
read_requests(ApprovalRow *row)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[3] = {INT8OID, INT8OID, TEXTOID};
	Datum		args[3] = {Int64GetDatum(row->org_id), Int64GetDatum(row->id),
	CStringGetTextDatum(row->rel->entity)};
	MemoryContext caller = CurrentMemoryContext;
	OwnerScope	scope;

	if (row->requests_read)
		return;
	security_begin_read(&scope, row->cache->owner);
	statement_keep(&plan, last_requests, lengthof(types), types, 0);
	if (SPI_execute_plan(plan, args, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the approvals");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		MemoryContext spi = MemoryContextSwitchTo(caller);

		row->requests = lappend(row->requests, read_request(i));
		MemoryContextSwitchTo(spi);
	}
	security_end_read(&scope);
	row->requests_read = true;
}

static ApprovalRequest *
find_request(ApprovalRow *row, ApprovalGate *gate)
{
	ListCell   *lc;

	read_requests(row);
	foreach(lc, row->requests)
	{
		ApprovalRequest *request = lfirst(lc);

		if (request->level == gate->level && strcmp(request->policy, gate->policy) == 0)
			return request;
	}
	return NULL;
}

/* Is it what the policy asks for today, or more? */
static bool
is_by_rule(ApprovalRequest *request, ApprovalPolicy *policy)
{
	return request->quorum >= policy->quorum &&
		strcmp(request->approver_role, policy->approver_role) == 0;
}

/* Approvals lapse by the clock; of imported history, by when it happened. */
static bool
has_lapsed(ApprovalRequest *request)
{
	TimestampTz at;

	if (!request->expires)
		return false;
	if (!security_occurred_at(&at))
		at = GetCurrentTimestamp();
	return request->expires_at <= at;
}

static ApprovalStatus
status_of(ApprovalRequest *request, ApprovalPolicy *policy, Jsonb *subject)
{
	bool		is_withdrawn;

	if (request == NULL)
		return APPROVAL_NOT_REQUESTED;
	is_withdrawn = strcmp(request->status, "withdrawn") == 0;
	if (is_withdrawn && !request->by_person)
		return APPROVAL_NOT_REQUESTED;
	if (!same_subject(request->subject, subject))
		return APPROVAL_OTHER_VALUES;
	if (is_withdrawn)
		return APPROVAL_WITHDRAWN;
	if (strcmp(request->status, "rejected") == 0)
		return APPROVAL_REJECTED;
	if (strcmp(request->status, "expired") == 0 || has_lapsed(request))
		return APPROVAL_EXPIRED;
	if (!is_by_rule(request, policy))
		return APPROVAL_OTHER_RULE;
	return strcmp(request->status, "approved") == 0 ? APPROVAL_APPROVED : APPROVAL_PENDING;
}

/* How far is the approval at the gate that the answer is about? */
void
approval_look(ApprovalRow *row, ApprovalAnswer *answer)
{
	answer->request = find_request(row, answer->gate);
	if (answer->policy == NULL)
		return;
	answer->subject = subject_of(row, answer->policy);
	answer->status = status_of(answer->request, answer->policy, answer->subject);
}

/* ---------- For SQL ---------- */

static void
put_answer(ReturnSetInfo *rsinfo, ApprovalAnswer *answer, bool waiting)
{
	Datum		values[9];
	bool		nulls[9] = {0};

	values[0] = CStringGetTextDatum(answer->gate->policy);
	values[1] = Int32GetDatum(answer->gate->level);
	values[2] = Int64GetDatum(answer->policy->approval_policy_id);
	values[3] = BoolGetDatum(answer->needed);
	values[4] = BoolGetDatum(waiting);
	values[5] = CStringGetTextDatum(approval_status_name(answer->status));
	nulls[6] = answer->request == NULL;
	if (!nulls[6])
		values[6] = Int64GetDatum(answer->request->approval_request_id);
	nulls[7] = answer->subject == NULL;
	if (!nulls[7])
		values[7] = JsonbPGetDatum(answer->subject);
	nulls[8] = answer->error == NULL;
	if (!nulls[8])
		values[8] = CStringGetTextDatum(answer->error);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

static void
answer_all(ApprovalRow *row, ReturnSetInfo *rsinfo)
{
	Move		move = {.cache = row->cache,.rel = row->rel,.relation = row->relation,
		.org_id = row->org_id,.id = row->id,.oldslot = row->slot};

	if (row->rel->workflow_id != 0)
		workflow_locate(&move);
	for (ApprovalGate *gate = approval_gates(row->cache); gate != NULL; gate = gate->next)
	{
		ApprovalAnswer answer;

		if (strcmp(gate->entity, row->rel->entity) != 0)
			continue;
		(void) approval_needed(row, gate, true, &answer);
		if (answer.policy == NULL)
			continue;
		approval_look(row, &answer);
		put_answer(rsinfo, &answer, move.workflow != NULL &&
				   approval_waits_at(answer.policy, move.workflow, move.from));
	}
}

PG_FUNCTION_INFO_V1(approval_needs);

/* approval_needs(entity text, org_id bigint, id bigint): a row for each gate of the entity. */
Datum
approval_needs(PG_FUNCTION_ARGS)
{
	char	   *entity = text_to_cstring(PG_GETARG_TEXT_PP(0));
	ApprovalRow row = {.cache = rule_cache(true),.org_id = PG_GETARG_INT64(1),
		.id = PG_GETARG_INT64(2)};
	HeapTupleHeader header;

	InitMaterializedSRF(fcinfo, 0);
	header = entity_read_row(row.cache, entity, row.org_id, row.id);
	if (header == NULL)
		return (Datum) 0;
	row.cache->pins++;
	PG_TRY();
	{
		row.rel = entity_of_record(row.cache, entity, header, &row.slot);
		row.relation = table_open(row.rel->relid, AccessShareLock);
		answer_all(&row, (ReturnSetInfo *) fcinfo->resultinfo);
		table_close(row.relation, AccessShareLock);
		ExecDropSingleTupleTableSlot(row.slot);
	}
	PG_FINALLY();
	{
		row.cache->pins--;
	}
	PG_END_TRY();
	return (Datum) 0;
}
