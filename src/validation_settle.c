/*-------------------------------------------------------------------------
 *
 * validation_settle.c
 *		What follows from a check of a referral: exceptions and drafts.
 *
 * IDENTIFICATION
 *		src/validation_settle.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"

#include "compat.h"
#include "security.h"
#include "validation.h"

static char *
member(JsonbContainer *object, const char *name)
{
	JsonbValue	value;

	if (getKeyJsonValueFromContainer(object, name, strlen(name), &value) == NULL ||
		value.type != jbvString)
		return NULL;
	return pnstrdup(value.val.string.val, value.val.string.len);
}

static const char *
text_of(JsonbContainer *object, const char *name)
{
	const char *text = member(object, name);

	return text == NULL ? "" : text;
}

/* Of the exception that a finding opens. */
static const char *
category_of(Finding *finding)
{
	if (strcmp(finding->kind, "document") == 0)
		return "missing_document";
	if (strncmp(finding->field, "coverage", 8) == 0 &&
		(finding->field[8] == '\0' || finding->field[8] == '.'))
		return "eligibility";
	return "policy";
}

/* The findings of a result, as validate() returned them; none for NULL. */
static List *
read_findings(Jsonb *findings)
{
	List	   *list = NIL;
	int			n = findings == NULL ? 0 : JB_ROOT_COUNT(findings);

	for (int i = 0; i < n; i++)
	{
		JsonbValue *value = getIthJsonbValueFromContainer(&findings->root, i);
		JsonbContainer *object;
		Finding    *finding;
		const char *severity;

		if (value == NULL || value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
			continue;			/* no finding of validate() */
		object = value->val.binary.data;
		finding = palloc0(sizeof(Finding));
		severity = member(object, "severity");
		finding->is_fault = severity != NULL && strcmp(severity, "warning") != 0;
		finding->kind = text_of(object, "kind");
		finding->code = text_of(object, "code");
		finding->field = text_of(object, "field_or_document");
		finding->message = text_of(object, "message");
		finding->template = member(object, "template");
		finding->category = category_of(finding);
		list = lappend(list, finding);
	}
	return list;
}

/* The first fault that opens the same exception; NULL when there is none. */
static Finding *
same_fault(List *findings, Finding *wanted)
{
	ListCell   *lc;

	foreach(lc, findings)
	{
		Finding    *finding = lfirst(lc);

		if (finding->is_fault && strcmp(finding->code, wanted->code) == 0 &&
			strcmp(finding->category, wanted->category) == 0)
			return finding;
	}
	return NULL;
}

/* Faults among the findings that the others do not have, each once. */
static List *
faults_without(List *findings, List *others)
{
	List	   *faults = NIL;
	ListCell   *lc;

	foreach(lc, findings)
	{
		Finding    *finding = lfirst(lc);

		if (finding->is_fault && same_fault(findings, finding) == finding &&
			same_fault(others, finding) == NULL)
			faults = lappend(faults, finding);
	}
	return faults;
}

typedef const char *(*FindingMember) (Finding *finding);

static const char *
get_category(Finding *finding)
{
	return finding->category;
}

static const char *
get_code(Finding *finding)
{
	return finding->code;
}

static const char *
get_message(Finding *finding)
{
	return finding->message;
}

static const char *
get_field(Finding *finding)
{
	return finding->field;
}

static Datum
text_array(List *findings, FindingMember get)
{
	Datum	   *texts = palloc(sizeof(Datum) * (list_length(findings) + 1));
	int			n = 0;
	ListCell   *lc;

	foreach(lc, findings)
		texts[n++] = CStringGetTextDatum(get(lfirst(lc)));
	return PointerGetDatum(construct_array(texts, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/* One that a person dismissed stays so while the finding stands. */
static void
open_exceptions(int64 org_id, int64 referral_id, List *faults)
{
	Datum		args[] = {Int64GetDatum(org_id), Int64GetDatum(referral_id),
		text_array(faults, get_category), text_array(faults, get_code),
	text_array(faults, get_message)};

	validation_run(true, OPEN_NEW_EXCEPTIONS, args, NULL);
	/* what was there before is brought up to date, or opened again */
	if (SPI_processed < list_length(faults))
		validation_run(true, OPEN_EXCEPTIONS, args, NULL);
}

static void
close_exceptions(int64 org_id, int64 referral_id, List *faults)
{
	Datum		args[] = {Int64GetDatum(org_id), Int64GetDatum(referral_id),
	text_array(faults, get_category), text_array(faults, get_code)};

	validation_run(true, CLOSE_EXCEPTIONS, args, NULL);
}

static bool
is_about(List *findings, const char *field)
{
	ListCell   *lc;

	foreach(lc, findings)
		if (strcmp(((Finding *) lfirst(lc))->field, field) == 0)
			return true;
	return false;
}

static void
close_untold(int64 org_id, int64 referral_id, List *former, List *present)
{
	List	   *told = NIL;
	ListCell   *lc;
	Datum		args[] = {Int64GetDatum(org_id), Int64GetDatum(referral_id), (Datum) 0};

	foreach(lc, former)
		if (!is_about(present, ((Finding *) lfirst(lc))->field))
			told = lappend(told, lfirst(lc));
	if (told == NIL)
		return;
	args[2] = text_array(told, get_field);
	validation_run(true, CLOSE_UNTOLD, args, NULL);
}

/*
 * By what the check before found (NULL: there was none), and what this one did.
 * Within a scope of the owner.
 */
void
validation_settle(RuleCache *cache, int64 org_id, int64 referral_id, Jsonb *former, Jsonb *present)
{
	List	   *found_before = read_findings(former);
	List	   *found = read_findings(present);
	List	   *appeared = faults_without(found, found_before);
	List	   *gone = faults_without(found_before, found);

	if (appeared != NIL)
		open_exceptions(org_id, referral_id, appeared);
	if (gone != NIL)
		close_exceptions(org_id, referral_id, gone);
	close_untold(org_id, referral_id, found_before, found);
	validation_draft(cache, org_id, referral_id, found_before, found);
}

PG_FUNCTION_INFO_V1(draft_outreach);

/* draft_outreach(org_id bigint, referral_id bigint, former jsonb, present jsonb) returns void */
Datum
draft_outreach(PG_FUNCTION_ARGS)
{
	RuleCache  *cache = rule_cache(true);
	OwnerScope	scope;

	cache->pins++;
	PG_TRY();
	{
		security_begin_read(&scope, cache->owner);
		validation_draft(cache, PG_GETARG_INT64(0), PG_GETARG_INT64(1),
						 read_findings(PG_GETARG_JSONB_P(2)), read_findings(PG_GETARG_JSONB_P(3)));
		security_end_read(&scope);
	}
	PG_FINALLY();
	{
		cache->pins--;
	}
	PG_END_TRY();
	PG_RETURN_VOID();
}
