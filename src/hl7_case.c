/*-------------------------------------------------------------------------
 *
 * hl7_case.c
 *		Cases of intake from HL7 messages: REF and RRI, and what all types share.
 *
 * hl7_map.c says which message is read here; other types are read in SQL, which
 * calls hl7_parts() and hl7_case().
 *
 * IDENTIFICATION
 *		src/hl7_case.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/typcache.h"

#include "compat.h"
#include "hl7_content.h"

/* A REF or RRI that is being read. */
typedef struct Referral
{
	Hl7Slice	type;			/* REF or RRI */
	Hl7Slice	event;			/* I12 and so on */
	const char *kind;			/* of the case */
	Hl7Slice	status;			/* RF1-1, in capitals */
	Hl7Slice	answer;			/* MSA-1, in capitals */
	JsonbValue *findings;
	JsonbValue	outcome;		/* what goes before all else in the request */
} Referral;

static Hl7Template request_template = {
	.text = "{'referral': {"
	"  'identifiers': [{'type': '=PLAC', 'value': 'RF1-6', 'system': 'RF1-6:authority'},"
	"                  {'type': '=FILL', 'value': 'RF1-11', 'system': 'RF1-11:authority'}],"
	"  'placer_order_number': 'RF1-6', 'placer_order_system': 'RF1-6:authority',"
	"  'filler_order_number': 'RF1-11', 'filler_order_system': 'RF1-11:authority',"
	"  'urgency': 'RF1-2.1:urgency', 'specialty': 'RF1-3.2:lower|RF1-3.1:lower',"
	"  'authored_at': 'RF1-9:time|RF1-7:time', 'expires_on': 'RF1-8:date',"
	"  'reason_text': 'RF1-14:raw', 'comment': 'RF1-24:raw',"
	"  'performing_organization': 'RF1-19:organization', 'performer': 'RF1-20:person',"
	"  'requester': 'PV1-8:person'},"
	" 'extra': {'referral_status': 'RF1-1:code', 'referral_type': 'RF1-3:code',"
	"  'disposition': 'RF1-4:code', 'category': 'RF1-5:code', 'referral_reason': 'RF1-10:code',"
	"  'acknowledgement': 'MSA-1', 'acknowledges': 'MSA-2'}}"
};

PG_FUNCTION_INFO_V1(hl7_head);
PG_FUNCTION_INFO_V1(hl7_request);
PG_FUNCTION_INFO_V1(hl7_parts);
PG_FUNCTION_INFO_V1(hl7_referral_parts);
PG_FUNCTION_INFO_V1(hl7_case);

/* ---------- the content as a value of SQL ---------- */

static Datum
content_datum(FunctionCallInfo fcinfo, Hl7Content *content)
{
	TupleDesc	row;
	Datum		values[HL7_PARTS];
	bool		nulls[HL7_PARTS];

	if (get_call_result_type(fcinfo, NULL, &row) != TYPEFUNC_COMPOSITE || row->natts != HL7_PARTS)
		elog(ERROR, "type hl7_content is not what hl7_content.h says");
	for (int i = 0; i < HL7_PARTS; i++)
	{
		JsonbValue *part = &content->parts[i];

		nulls[i] = part->type == jbvNull;
		if (nulls[i])
			values[i] = (Datum) 0;
		else if (i == HL7_COMMENT)
			values[i] = PointerGetDatum(cstring_to_text_with_len(part->val.string.val,
																 part->val.string.len));
		else
			values[i] = JsonbPGetDatum(JsonbValueToJsonb(part));
	}
	return HeapTupleGetDatum(heap_form_tuple(row, values, nulls));
}

static void
content_from_datum(HeapTupleHeader header, Hl7Content *content)
{
	TupleDesc	row = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(header),
											 HeapTupleHeaderGetTypMod(header));
	HeapTupleData tuple;
	Datum		values[HL7_PARTS];
	bool		nulls[HL7_PARTS];

	if (row->natts != HL7_PARTS)
		elog(ERROR, "type hl7_content is not what hl7_content.h says");
	memset(content, 0, sizeof(*content));
	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	tuple.t_data = header;
	heap_deform_tuple(&tuple, row, values, nulls);
	ReleaseTupleDesc(row);
	for (int i = 0; i < HL7_PARTS; i++)
	{
		JsonbValue	part;

		if (nulls[i])
			continue;
		if (i == HL7_COMMENT)
		{
			part.type = jbvString;
			part.val.string.val = TextDatumGetCString(values[i]);
			part.val.string.len = strlen(part.val.string.val);
		}
		else
		{
			part.type = jbvBinary;
			part.val.binary.data = &DatumGetJsonbP(values[i])->root;
		}
		hl7_expand(&part, &content->parts[i]);
	}
}

/* ---------- cases ---------- */

/* The referral of a case has the comment and the visit, if it tells anything else. */
static void
complete_request(JsonbValue *request, const JsonbValue *comment, const JsonbValue *encounter)
{
	StringInfoData lines;

	if (request->type != jbvObject || hl7_is_empty(request))
		return;
	initStringInfo(&lines);
	hl7_add_line(&lines, hl7_find_text(request, "comment"));
	if (comment->type == jbvString)
		hl7_add_line(&lines, (Hl7Slice) {comment->val.string.val, comment->val.string.len});
	if (lines.len > 0)
		hl7_add_slice(request, "comment", (Hl7Slice) {lines.data, lines.len});
	if (encounter->type != jbvNull)
		hl7_put(request, "encounter", encounter);
}

/* The case of intake of that kind with what a message says */
static Datum
make_case(Hl7Slice kind, Hl7Content *content)
{
	static const char *const keys[HL7_PARTS] = {
		[HL7_MESSAGE] = "message", [HL7_PATIENT] = "patient", [HL7_COVERAGES] = "coverages",
		[HL7_REQUEST] = "referral", [HL7_APPOINTMENTS] = "appointments",
		[HL7_REPORTS] = "reports", [HL7_DOCUMENTS] = "documents",
		[HL7_AUTHORIZATIONS] = "authorizations", [HL7_FINDINGS] = "findings",
		[HL7_EXTRA] = "extra"
	};
	JsonbValue	result;
	JsonbValue	encounters;

	complete_request(&content->parts[HL7_REQUEST], &content->parts[HL7_COMMENT],
					 &content->parts[HL7_ENCOUNTER]);
	hl7_new_object(&result);
	hl7_add_slice(&result, "kind", kind);
	for (int i = 0; i < HL7_PARTS; i++)
	{
		const JsonbValue *part = &content->parts[i];
		bool		may_be_empty = i != HL7_REQUEST && i != HL7_EXTRA;

		if (keys[i] != NULL && part->type != jbvNull && (may_be_empty || !hl7_is_empty(part)))
			hl7_put(&result, keys[i], part);
	}
	if (content->parts[HL7_ENCOUNTER].type != jbvNull)
	{
		hl7_new_array(&encounters);
		hl7_push(&encounters, &content->parts[HL7_ENCOUNTER]);
		hl7_put(&result, "encounters", &encounters);
	}
	return JsonbPGetDatum(JsonbValueToJsonb(&result));
}

/* ---------- referrals ---------- */

/* RF1 and MSA; what RF1-1 means depends on the message. */
static void
read_request(JsonbContainer *message, const text *zone, JsonbValue *told, JsonbValue *findings)
{
	JsonbValue *type;
	JsonbValue *request;

	hl7_fill_in(&request_template, message, zone, told, findings);
	type = hl7_find(hl7_find(told, "extra"), "referral_type");
	request = hl7_find(told, "referral");
	/* medical care of any kind is no specialty */
	if (request != NULL && hl7_is(hl7_in_capitals(hl7_find_text(type, "code")), "MED"))
		hl7_remove(request, "specialty");
}

static const char *
referral_kind(const Referral *referral)
{
	if (hl7_is(referral->type, "RRI"))
		return "referral_status";
	if (hl7_is(referral->event, "I15"))
		return "status_request";
	if (hl7_is(referral->event, "I14") || hl7_is(referral->status, "C"))
		return "referral_cancel";
	return "referral";
}

static void
add_finding(const Referral *referral, const char *code, const char *severity, const char *attribute,
	 Hl7Slice value, const char *position, const char *detail)
{
	JsonbValue *finding = hl7_new_finding(referral->findings, code, severity,
										  hl7_slice(attribute), hl7_slice(position), detail);

	hl7_add_slice(finding, "value", value);
}

/*
 * The state and decision that a message says.  A request that says pending or
 * accepted asks for no state.
 */
static void
tell_outcome(Referral *referral)
{
	static const char *const refusals[] = {"AE", "AR", "CE", "CR"};
	bool		takes_back = hl7_is(referral->event, "I14");
	const char *state = NULL;
	const char *decision = NULL;

	if (hl7_is_one_of(referral->answer, refusals, lengthof(refusals)))
		add_finding(referral, "message_refused", "error", "referral.state", referral->answer, "MSA-1",
			 "the other side could not use our message");
	else if (strcmp(referral->kind, "referral_cancel") == 0 || hl7_is(referral->status, "C") ||
			 (takes_back && (referral->status.text == NULL || hl7_is(referral->status, "A"))))
		state = "cancelled";
	else if (hl7_is(referral->status, "R") && !takes_back)
		state = decision = "declined";
	else if (hl7_is(referral->status, "E"))
		state = "expired";
	else if (hl7_is(referral->status, "A") && hl7_is(referral->type, "RRI"))
	{
		state = "validated";
		decision = "accepted";
	}
	if (state != NULL)
		hl7_put_text(&referral->outcome, "state", state);
	if (decision != NULL)
		hl7_put_text(&referral->outcome, "decision", decision);
}

static void
check_request(const Referral *referral, const JsonbValue *request)
{
	static const char *const states[] = {"P", "A", "R", "E", "C"};
	const Hl7Slice none = {NULL, 0};

	if (referral->status.text != NULL && !hl7_is_one_of(referral->status, states, lengthof(states)))
		add_finding(referral, "invalid_code", "warning", "referral.state", referral->status, "RF1-1",
			 "no code of table 0283");
	if (hl7_find(request, "identifiers") == NULL)
		add_finding(referral, "missing", "warning", "referral.placer_order_number", none, "RF1-6",
			 "the referral has no number");
}

/* Reads a REF or RRI, without the report that an RRI may carry. */
static void
read_referral(JsonbContainer *message, const text *zone, Referral *referral, Hl7Content *content)
{
	JsonbValue	told;
	JsonbValue	request;
	JsonbValue	extra;
	const JsonbValue *rf1;
	const Hl7Slice none = {NULL, 0};

	hl7_read_content(message, true, zone, content);
	referral->findings = &content->parts[HL7_FINDINGS];
	read_request(message, zone, &told, referral->findings);
	rf1 = hl7_find(&told, "referral");
	hl7_new_object(&extra);
	hl7_merge(&extra, hl7_find(&told, "extra"));
	hl7_new_object(&request);
	hl7_merge(&request, rf1);
	hl7_merge(&request, &content->parts[HL7_REQUEST]);
	referral->status = hl7_in_capitals(hl7_find_text(hl7_find(&extra, "referral_status"), "code"));
	referral->answer = hl7_in_capitals(hl7_find_text(&extra, "acknowledgement"));
	referral->kind = referral_kind(referral);
	/* what RF1 says of the reason goes before a name of the diagnosis */
	hl7_new_object(&referral->outcome);
	hl7_put(&referral->outcome, "reason_text", hl7_find(rf1, "reason_text"));
	check_request(referral, &request);
	tell_outcome(referral);
	if (strcmp(referral->kind, "referral") == 0 && hl7_find(&request, "requester") == NULL)
		add_finding(referral, "missing", "warning", "referral.requester", none, "PRD",
			 "no referring provider");
	hl7_merge(&request, &referral->outcome);
	hl7_merge(&extra, &content->parts[HL7_EXTRA]);
	content->parts[HL7_REQUEST] = request;
	content->parts[HL7_EXTRA] = extra;
}

/* The case of a REF, or of an RRI without a report */
Datum
hl7_make_referral_case(JsonbContainer *message, Hl7Slice type, Hl7Slice event, const text *zone)
{
	Referral	referral = {0};
	Hl7Content	content;

	referral.type = type;
	referral.event = event;
	read_referral(message, zone, &referral, &content);
	return make_case(hl7_slice(referral.kind), &content);
}

/* ---------- functions of SQL ---------- */

/* An object that was filled in, with its findings when there are any */
static Datum
told_datum(JsonbValue *told, const JsonbValue *findings)
{
	if (!hl7_is_empty(findings))
		hl7_put(told, "findings", findings);
	return JsonbPGetDatum(JsonbValueToJsonb(told));
}

/* hl7_head(message jsonb, zone text) */
Datum
hl7_head(PG_FUNCTION_ARGS)
{
	JsonbValue	told;
	JsonbValue	findings;

	hl7_new_array(&findings);
	hl7_read_head(&PG_GETARG_JSONB_P(0)->root, PG_GETARG_TEXT_PP(1), &told, &findings);
	PG_RETURN_DATUM(told_datum(&told, &findings));
}

/* hl7_request(message jsonb, zone text) */
Datum
hl7_request(PG_FUNCTION_ARGS)
{
	JsonbValue	told;
	JsonbValue	findings;

	hl7_new_array(&findings);
	read_request(&PG_GETARG_JSONB_P(0)->root, PG_GETARG_TEXT_PP(1), &told, &findings);
	PG_RETURN_DATUM(told_datum(&told, &findings));
}

/* hl7_parts(message jsonb, results boolean, zone text) */
Datum
hl7_parts(PG_FUNCTION_ARGS)
{
	Hl7Content	content;

	hl7_read_content(&PG_GETARG_JSONB_P(0)->root, PG_GETARG_BOOL(1), PG_GETARG_TEXT_PP(2),
					 &content);
	PG_RETURN_DATUM(content_datum(fcinfo, &content));
}

/* hl7_referral_parts(message jsonb, type text, event text, zone text) */
Datum
hl7_referral_parts(PG_FUNCTION_ARGS)
{
	Referral	referral = {0};
	Hl7Content	content;

	referral.type = hl7_slice(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	referral.event = hl7_slice(text_to_cstring(PG_GETARG_TEXT_PP(2)));
	read_referral(&PG_GETARG_JSONB_P(0)->root, PG_GETARG_TEXT_PP(3), &referral, &content);
	PG_RETURN_DATUM(content_datum(fcinfo, &content));
}

/* hl7_case(kind text, parts hl7_content) */
Datum
hl7_case(PG_FUNCTION_ARGS)
{
	Hl7Content	content;

	content_from_datum(PG_GETARG_HEAPTUPLEHEADER(1), &content);
	PG_RETURN_DATUM(make_case(hl7_slice(text_to_cstring(PG_GETARG_TEXT_PP(0))), &content));
}
