/*-------------------------------------------------------------------------
 *
 * hl7_insurance.c
 *		What IN1, IN2 and AUT say: coverages and authorizations.
 *
 * IDENTIFICATION
 *		src/hl7_insurance.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "hl7_content.h"

/* of a coverage, from 1 */
#define LAST_PRIORITY		99

static Hl7Template coverage_template = {
	.text = "{'coverage': {'priority': 'IN1-22:integer|IN1-1:integer',"
	"  'payer': {'identifier': 'IN1-3', 'name': 'IN1-4'},"
	"  'plan': {'identifier': 'IN1-2.1', 'name': 'IN1-2.2|IN1-9', 'kind': 'IN1-15.1'},"
	"  'subscriber_id': 'IN1-36|IN1-49', 'group_number': 'IN1-8',"
	"  'relationship': 'IN1-17:relationship', 'start': 'IN1-12:date', 'end': 'IN1-13:date',"
	"  'identifiers': ['IN1-49:ids']}}"
};

static Hl7Template subscriber_template = {
	.text = "{'subscriber_id': 'IN2-61', 'identifiers': ['IN2-61:ids']}"
};

static Hl7Template authorization_template = {
	.text = "{'authorization': {"
	"  'identifiers': [{'type': '=AUTH', 'value': 'AUT-6', 'system': 'AUT-6:authority|AUT-2.1'}],"
	"  'authorization_number': 'AUT-6', 'valid_from': 'AUT-4:date', 'valid_to': 'AUT-5:date',"
	"  'decided_at': 'AUT-10:time', 'disposition': 'AUT-28:raw', 'quantity': 'AUT-8:number',"
	"  'authorized_quantity': 'AUT-9:number'}}"
};

static JsonbValue
number(int64 n)
{
	JsonbValue	value;

	value.type = jbvNumeric;
	value.val.numeric = int64_to_numeric(n);
	return value;
}

/* Less than, equal or greater than 0 as a is less, equal or greater than b */
static int
compare_numbers(const JsonbValue *a, const JsonbValue *b)
{
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(a->val.numeric),
											 NumericGetDatum(b->val.numeric)));
}

/* A period that ends before it starts has no end.  Dates are of one length. */
static void
check_period(JsonbValue *object, const char *start, const char *end, const char *attribute,
			 const char *position, JsonbValue *findings)
{
	Hl7Slice	first = hl7_find_text(object, start);
	Hl7Slice	last = hl7_find_text(object, end);
	JsonbValue *finding;

	if (first.text == NULL || last.text == NULL ||
		memcmp(last.text, first.text, Min(first.length, last.length)) >= 0)
		return;
	finding = hl7_new_finding(findings, "invalid_date", "warning", hl7_slice(attribute),
							  hl7_slice(position), "ends before it starts");
	hl7_add_slice(finding, "value", last);
	hl7_remove(object, end);
}

/* Adds the coverage of an IN1, if anything of it can be used. */
void
hl7_read_coverage(JsonbContainer *in1, const text *zone, JsonbValue *coverages,
				  JsonbValue *findings)
{
	JsonbValue	first = number(1);
	JsonbValue	last = number(LAST_PRIORITY);
	JsonbValue	ordinal = number(coverages->val.array.nElems + 1);
	JsonbValue	told;
	JsonbValue	none;
	JsonbValue *coverage;
	JsonbValue *priority;

	hl7_fill_in(&coverage_template, in1, zone, &told, findings);
	coverage = hl7_find(&told, "coverage");
	if (coverage == NULL)
	{
		hl7_new_object(&none);
		coverage = &none;
	}
	priority = hl7_find(coverage, "priority");
	if (priority == NULL || compare_numbers(priority, &first) < 0 ||
		compare_numbers(priority, &last) > 0)
		hl7_put(coverage, "priority", &ordinal);
	check_period(coverage, "start", "end", "coverage.end", "IN1-13", findings);
	if (hl7_find(coverage, "payer") == NULL)
		hl7_new_finding(findings, "missing", "warning", hl7_slice("coverage.payer"),
						hl7_slice("IN1-3"), "insurance without a payer");
	/* besides its priority */
	if (coverage->val.object.nPairs > 1)
		hl7_push(coverages, coverage);
}

/* An IN2 goes with the IN1 before it, which has told the same better. */
void
hl7_read_subscriber(JsonbContainer *in2, const text *zone, JsonbValue *coverages,
					JsonbValue *findings)
{
	JsonbValue	told;
	JsonbValue	identifiers;
	JsonbValue *coverage;

	hl7_fill_in(&subscriber_template, in2, zone, &told, findings);
	if (coverages->val.array.nElems == 0 || hl7_is_empty(&told))
		return;
	coverage = &coverages->val.array.elems[coverages->val.array.nElems - 1];
	hl7_new_array(&identifiers);
	hl7_concat(&identifiers, hl7_find(coverage, "identifiers"));
	hl7_concat(&identifiers, hl7_find(&told, "identifiers"));
	hl7_put_new(coverage, "subscriber_id", hl7_find(&told, "subscriber_id"));
	hl7_put(coverage, "identifiers", &identifiers);
}

/* What a payer has done with an item, in the codes of X12; NULL when AUT does not say. */
static const char *
review_action(const JsonbValue *told)
{
	JsonbValue	zero = number(0);
	JsonbValue *asked = hl7_find(told, "quantity");
	JsonbValue *given = hl7_find(told, "authorized_quantity");

	if (given != NULL && compare_numbers(given, &zero) == 0)
		return "A3";
	if (given != NULL && asked != NULL && compare_numbers(given, asked) < 0)
		return "A2";
	return given != NULL || hl7_find(told, "authorization_number") != NULL ? "A1" : NULL;
}

/* Adds the authorization of an AUT, about a procedure when it follows one. */
void
hl7_read_authorization(JsonbContainer *aut, const JsonbValue *procedure, const text *zone,
					   JsonbValue *authorizations, JsonbValue *findings)
{
	JsonbValue	told;
	JsonbValue	authorization;
	JsonbValue	item;
	JsonbValue	items;
	JsonbValue	first = number(1);
	JsonbValue *authorized;
	const char *action;

	hl7_fill_in(&authorization_template, aut, zone, &told, findings);
	authorized = hl7_find(&told, "authorization");
	hl7_new_object(&authorization);
	hl7_new_object(&item);
	if (authorized != NULL)
		check_period(authorized, "valid_from", "valid_to", "authorization.valid_to", "AUT-5",
					 findings);
	action = review_action(authorized);
	hl7_merge(&item, authorized);
	hl7_remove(&item, "identifiers");
	hl7_remove(&item, "decided_at");
	hl7_remove(&item, "disposition");
	hl7_put(&item, "sequence", &first);
	hl7_put(&item, "code", hl7_find(procedure, "code"));
	hl7_put(&item, "code_system", hl7_find(procedure, "system"));
	hl7_put(&item, "display", hl7_find(procedure, "display"));
	if (action != NULL)
		hl7_put_text(&item, "review_action", action);
	hl7_new_array(&items);
	hl7_push(&items, &item);
	hl7_merge(&authorization, authorized);
	hl7_remove(&authorization, "quantity");
	hl7_remove(&authorization, "authorized_quantity");
	hl7_put(&authorization, "items", &items);
	hl7_put_text(&authorization, "status", hl7_find(authorized, "authorization_number") == NULL &&
				 hl7_find(authorized, "authorized_quantity") == NULL ? "requested" : "decided");
	hl7_push(authorizations, &authorization);
}
