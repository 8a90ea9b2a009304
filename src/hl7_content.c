/*-------------------------------------------------------------------------
 *
 * hl7_content.c
 *		What the segments of an HL7 message say, whatever its type.
 *
 * Templates say which field goes where in a case of intake; the functions here
 * what follows from several fields, or from the order of the segments.
 *
 * IDENTIFICATION
 *		src/hl7_content.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/formatting.h"

#include "compat.h"
#include "hl7.h"
#include "hl7_content.h"

/* A message that is being read, segment by segment. */
typedef struct Reading
{
	const text *zone;
	bool		results;		/* an OBR is a result that comes with the message */
	JsonbValue *request;
	JsonbValue *findings;
	JsonbValue	coverages;
	JsonbValue	authorizations;
	JsonbValue	diagnoses;
	JsonbValue	procedures;
	JsonbValue	documents;
	JsonbValue	observations;
	JsonbValue	notes;
	JsonbValue	procedure;		/* of the last PR1, which an AUT is about */
	Hl7Slice	owner;			/* segment that a note is about */
	StringInfoData comment;		/* notes about the message itself, as lines */
	int			patients;
} Reading;

typedef void (*SegmentReader) (Reading *reading, JsonbContainer *segment);

static Hl7Template head_template = {
	.text = "{'message': {'type': 'MSH-9:event', 'control_id': 'MSH-10', 'sent_at': 'MSH-7:time',"
	"  'sender': 'MSH-3|MSH-4', 'facility': 'MSH-4', 'originator': 'MSH-3'}}"
};

static Hl7Template encounter_template = {
	.text = "{'encounter': {'kind': '=encounter', 'class': 'PV1-2:class', 'identifier': 'PV1-19',"
	"  'identifier_system': 'PV1-19.4|PV1-19.4.2|PV1-19.6', 'started_at': 'PV1-44:time',"
	"  'ended_at': 'PV1-45:time'}}"
};

static Hl7Template patient_template = {
	.text = "{'patient': {"
	"  'identifiers': ['PID-3:ids', 'PID-2:ids', 'PID-4:ids',"
	"    {'system': '=http://hl7.org/fhir/sid/us-ssn', 'type': '=SS', 'value': 'PID-19'},"
	"    'PID-20:driver'],"
	"  'family': 'PID-5.1', 'given': 'PID-5.2', 'middle': 'PID-5.3', 'suffix': 'PID-5.4',"
	"  'previous_family': ['PID-5.1.3', 'PID-5(2):families', 'PID-9:families'],"
	"  'alias': ['PID-5(2):givens', 'PID-9:givens'], 'mother_maiden_name': 'PID-6.1',"
	"  'birth_date': 'PID-7:date', 'sex': 'PID-8:gender',"
	"  'address': 'PID-11:street', 'city': 'PID-11.3', 'state': 'PID-11.4',"
	"  'postal_code': 'PID-11.5', 'phone': 'PID-13:phone|PID-14:phone|PID-40:phone',"
	"  'other_phones': ['PID-13:phones', 'PID-14:phones', 'PID-40:phones'],"
	"  'email': 'PID-13:email|PID-14:email|PID-40:email', 'language': 'PID-15.1:lower',"
	"  'multiple_birth': 'PID-24:boolean', 'birth_order': 'PID-25:integer',"
	"  'deceased': 'PID-30:boolean', 'died': 'PID-29'}}"
};

static Hl7Template party_template = {
	.text = "{'roles': ['PRD-1(1).1:raw', 'PRD-1(2).1:raw', 'PRD-1(3).1:raw'],"
	" 'person': {'identifiers': ['PRD-7:licences'], 'name': 'PRD-2:name', 'family': 'PRD-2.1',"
	"   'given': 'PRD-2.2', 'phone': 'PRD-5:phone'},"
	" 'organization': 'PRD-10:organization',"
	" 'place': {'phone': 'PRD-13:phone', 'address': 'PRD-11:street', 'city': 'PRD-11.3',"
	"   'state': 'PRD-11.4', 'postal_code': 'PRD-11.5'}}"
};

static Hl7Template diagnosis_template = {
	.text = "{'display': 'DG1-4:raw', 'code': 'DG1-3:code', 'action': 'DG1-21'}"
};

static Hl7Template procedure_template = {.text = "{'display': 'PR1-4:raw', 'code': 'PR1-3:code'}"};

static Hl7Template observation_type_template = {.text = "{'type': 'OBX-2:raw'}"};

static Hl7Template observation_template = {
	.text = "{'what': 'OBX-3:code', 'value': 'OBX-5:lines', 'unit': 'OBX-6.1', 'status': 'OBX-11',"
	" 'at': 'OBX-14'}"
};

/* "of" is not of the document, but says how to read it. */
static Hl7Template document_template = {
	.text = "{'title': 'OBX-3.2|OBX-3.1', 'content': 'OBX-5.5',"
	" 'of': {'status': 'OBX-11:raw', 'type': 'OBX-5.2:raw', 'subtype': 'OBX-5.3:raw'}}"
};

static Hl7Template pointer_template = {
	.text = "{'title': 'OBX-3.2|OBX-3.1', 'url': 'OBX-5.1',"
	" 'of': {'status': 'OBX-11:raw', 'type': 'OBX-5.3:raw', 'subtype': 'OBX-5.4:raw'}}"
};

static Hl7Template note_template = {.text = "{'text': 'NTE-3:lines'}"};

static const Hl7Slice none = {NULL, 0};

/* ---------- what there is once ---------- */

/* {"message": ...}: what a message says about itself */
void
hl7_read_head(JsonbContainer *message, const text *zone, JsonbValue *told, JsonbValue *findings)
{
	hl7_fill_in(&head_template, message, zone, told, findings);
}

static void
keep_part(Hl7Content *content, Hl7Part part, const JsonbValue *value)
{
	if (value != NULL)
		content->parts[part] = *value;
}

/* Keeps an object or array that is not empty. */
static void
keep_full(Hl7Content *content, Hl7Part part, const JsonbValue *value)
{
	if (!hl7_is_empty(value))
		content->parts[part] = *value;
}

static void
read_encounter(JsonbContainer *message, const text *zone, Hl7Content *content)
{
	JsonbValue	told;
	JsonbValue *encounter;

	hl7_fill_in(&encounter_template, message, zone, &told, &content->parts[HL7_FINDINGS]);
	encounter = hl7_find(&told, "encounter");
	if (encounter == NULL)
		return;
	hl7_put_text(encounter, "status",
				 hl7_find(encounter, "ended_at") != NULL ? "finished" : "in-progress");
	keep_part(content, HL7_ENCOUNTER, encounter);
}

/* Takes a text out of a list, which goes when nothing is left. */
static void
remove_known(JsonbValue *object, const char *list, Hl7Slice known)
{
	JsonbValue *found = hl7_find(object, list);
	JsonbValue	others;

	if (found == NULL)
		return;
	hl7_new_array(&others);
	for (int i = 0; i < found->val.array.nElems; i++)
	{
		JsonbValue *text = &found->val.array.elems[i];

		if (text->val.string.len != known.length ||
			memcmp(text->val.string.val, known.text, known.length) != 0)
			hl7_push(&others, text);
	}
	if (hl7_is_empty(&others))
		hl7_remove(object, list);
	else
		*found = others;
}

static void
read_patient(JsonbContainer *message, const text *zone, Hl7Content *content)
{
	JsonbValue	told;
	JsonbValue	yes;
	JsonbValue *patient;

	hl7_fill_in(&patient_template, message, zone, &told, &content->parts[HL7_FINDINGS]);
	patient = hl7_find(&told, "patient");
	if (patient == NULL)
		return;
	remove_known(patient, "previous_family", hl7_find_text(patient, "family"));
	remove_known(patient, "alias", hl7_find_text(patient, "given"));
	remove_known(patient, "other_phones", hl7_find_text(patient, "phone"));
	if (hl7_find(patient, "died") != NULL)
	{
		yes.type = jbvBool;
		yes.val.boolean = true;
		hl7_put(patient, "deceased", &yes);
		hl7_remove(patient, "died");
	}
	keep_part(content, HL7_PATIENT, patient);
}

/* ---------- segments that repeat ---------- */

static void
read_another_patient(Reading *reading, JsonbContainer *segment)
{
	reading->patients++;
}

static bool
has_role(const JsonbValue *told, const char *role)
{
	const JsonbValue *roles = hl7_find(told, "roles");

	for (int i = 0; roles != NULL && i < roles->val.array.nElems; i++)
	{
		const JsonbValue *text = &roles->val.array.elems[i];

		if (hl7_is((Hl7Slice) {text->val.string.val, text->val.string.len}, role))
			return true;
	}
	return false;
}

/* Who refers (RP), or to whom (RT); others are not kept. */
static void
read_party(Reading *reading, JsonbContainer *segment)
{
	JsonbValue	told;
	JsonbValue *person;
	JsonbValue *organization;
	bool		refers;

	hl7_fill_in(&party_template, segment, reading->zone, &told, reading->findings);
	refers = has_role(&told, "RP");
	if (!refers && !has_role(&told, "RT"))
		return;
	organization = hl7_find(&told, "organization");
	if (organization != NULL)
		hl7_merge(organization, hl7_find(&told, "place"));
	hl7_put(reading->request, refers ? "requesting_organization" : "performing_organization",
			organization);
	person = hl7_find(&told, "person");
	if (hl7_find(person, "identifiers") == NULL && hl7_find(person, "name") == NULL)
		return;
	hl7_put(person, "organization", organization);
	hl7_put(reading->request, refers ? "requester" : "performer", person);
}

static void
read_coverage(Reading *reading, JsonbContainer *segment)
{
	hl7_read_coverage(segment, reading->zone, &reading->coverages, reading->findings);
}

static void
read_subscriber(Reading *reading, JsonbContainer *segment)
{
	hl7_read_subscriber(segment, reading->zone, &reading->coverages, reading->findings);
}

static void
read_authorization(Reading *reading, JsonbContainer *segment)
{
	hl7_read_authorization(segment, &reading->procedure, reading->zone, &reading->authorizations,
						   reading->findings);
}

/* A code with its text; the text that stands apart counts when the code has none. */
static void
flatten_code(const JsonbValue *told, JsonbValue *coded)
{
	hl7_new_object(coded);
	hl7_put(coded, "display", hl7_find(told, "display"));
	hl7_merge(coded, hl7_find(told, "code"));
}

static void
read_diagnosis(Reading *reading, JsonbContainer *segment)
{
	JsonbValue	told;
	JsonbValue	diagnosis;

	hl7_fill_in(&diagnosis_template, segment, reading->zone, &told, reading->findings);
	flatten_code(&told, &diagnosis);
	if (!hl7_is(hl7_find_text(&told, "action"), "D") && !hl7_is_empty(&diagnosis))
		hl7_push(&reading->diagnoses, &diagnosis);
}

static void
read_procedure(Reading *reading, JsonbContainer *segment)
{
	JsonbValue	told;

	hl7_fill_in(&procedure_template, segment, reading->zone, &told, reading->findings);
	flatten_code(&told, &reading->procedure);
	if (!hl7_is_empty(&reading->procedure))
		hl7_push(&reading->procedures, &reading->procedure);
}

/* The MIME type for a type of data and a subtype of tables 0191 and 0291 */
static Hl7Slice
content_type(Hl7Slice type, Hl7Slice subtype)
{
	static const struct
	{
		const char *type;
		const char *media;
	}			media[] = {
		{"IM", "image"}, {"IMAGE", "image"}, {"AU", "audio"}, {"AUDIO", "audio"},
		{"TEXT", "text"}, {"MULTIPART", "multipart"}, {"VIDEO", "video"}
	};
	char	   *kind = type.text == NULL ? "" : pnstrdup(type.text, type.length);
	char	   *detail = subtype.text == NULL ? NULL :
		str_tolower(subtype.text, subtype.length, DEFAULT_COLLATION_OID);
	const char *first = "application";

	if (detail == NULL)
		return pg_strcasecmp(kind, "TEXT") == 0 ? hl7_slice("text/plain") :
			pg_strcasecmp(kind, "PDF") == 0 ? hl7_slice("application/pdf") : none;
	if (strcmp(detail, "pdf") == 0)
		return hl7_slice("application/pdf");
	for (size_t i = 0; i < lengthof(media); i++)
		if (pg_strcasecmp(kind, media[i].type) == 0)
			first = media[i].media;
	return hl7_slice(psprintf("%s/%s", first, detail));
}

/* A document that an OBX carries (ED) or points to (RP) */
static void
read_document(Reading *reading, JsonbContainer *segment, bool pointer)
{
	JsonbValue	document;
	const JsonbValue *of;
	Hl7Slice	status;

	hl7_fill_in(pointer ? &pointer_template : &document_template, segment, reading->zone,
				&document, reading->findings);
	of = hl7_find(&document, "of");
	status = hl7_find_text(of, "status");
	hl7_put_text(&document, "type", "attachment");
	hl7_put_text(&document, "status",
				 hl7_is(status, "D") || hl7_is(status, "W") ? "entered-in-error" : "current");
	hl7_add_slice(&document, "content_type",
				  content_type(hl7_find_text(of, "type"), hl7_find_text(of, "subtype")));
	hl7_remove(&document, "of");
	hl7_push(&reading->documents, &document);
}

static void
read_observation(Reading *reading, JsonbContainer *segment)
{
	JsonbValue	told;
	Hl7Slice	type;

	hl7_fill_in(&observation_type_template, segment, reading->zone, &told, reading->findings);
	type = hl7_find_text(&told, "type");
	if (hl7_is(type, "ED") || hl7_is(type, "RP"))
	{
		read_document(reading, segment, hl7_is(type, "RP"));
		return;
	}
	hl7_fill_in(&observation_template, segment, reading->zone, &told, reading->findings);
	hl7_push(&reading->observations, &told);
}

/* Whether a note is about a segment, not about the message */
static bool
is_owner(const Reading *reading)
{
	static const char *const owners[] = {"OBX", "AIS", "AIG", "AIL", "AIP", "PR1", "DG1"};

	return hl7_is_one_of(reading->owner, owners, lengthof(owners)) ||
		(reading->results && hl7_is(reading->owner, "OBR"));
}

/* Adds a line, unless it is none. */
void
hl7_add_line(StringInfo lines, Hl7Slice line)
{
	if (line.text == NULL)
		return;
	if (lines->len > 0)
		appendStringInfoChar(lines, '\n');
	appendBinaryStringInfo(lines, line.text, line.length);
}

static void
read_note(Reading *reading, JsonbContainer *segment)
{
	JsonbValue	note;

	hl7_fill_in(&note_template, segment, reading->zone, &note, reading->findings);
	if (!is_owner(reading))
	{
		hl7_add_line(&reading->comment, hl7_find_text(&note, "text"));
		return;
	}
	hl7_add_slice(&note, "segment", reading->owner);
	hl7_push(&reading->notes, &note);
}

static const struct
{
	const char *segment;
	SegmentReader reader;
}			segment_readers[] = {
	{"PID", read_another_patient}, {"PRD", read_party}, {"IN1", read_coverage},
	{"IN2", read_subscriber}, {"AUT", read_authorization}, {"DG1", read_diagnosis},
	{"PR1", read_procedure}, {"OBX", read_observation}, {"NTE", read_note}
};

static void
read_segment(Reading *reading, JsonbContainer *segment)
{
	JsonbValue	found;
	Hl7Slice	name;

	if (!JsonContainerIsObject(segment) ||
		getKeyJsonValueFromContainer(segment, "segment", 7, &found) == NULL ||
		found.type != jbvString)
		return;
	name = (Hl7Slice) {found.val.string.val, found.val.string.len};
	for (size_t i = 0; i < lengthof(segment_readers); i++)
		if (hl7_is(name, segment_readers[i].segment))
			segment_readers[i].reader(reading, segment);
	/* these do not come between a note and what it is about */
	if (!hl7_is(name, "NTE") && !hl7_is(name, "PRT") && !hl7_is(name, "TQ1"))
		reading->owner = name;
}

static void
read_segments(Reading *reading, JsonbContainer *message)
{
	JsonbContainer *segments = hl7_find_container(message, "segments", 8);
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	segment;

	if (segments == NULL || !JsonContainerIsArray(segments))
		return;
	iterator = JsonbIteratorInit(segments);
	while ((token = JsonbIteratorNext(&iterator, &segment, true)) != WJB_DONE)
	{
		CHECK_FOR_INTERRUPTS();
		if (token == WJB_ELEM && segment.type == jbvBinary)
			read_segment(reading, segment.val.binary.data);
	}
}

/* ---------- together ---------- */

/* The first of several codes stands for the others, unless the request tells its own. */
static void
tell_codes(JsonbValue *request, const JsonbValue *codes, const char *all, const char *code,
		   const char *system, const char *display)
{
	const JsonbValue *first;

	if (hl7_is_empty(codes))
		return;
	first = &codes->val.array.elems[0];
	hl7_put_new(request, all, codes);
	hl7_put_new(request, code, hl7_find(first, "code"));
	hl7_put_new(request, system, hl7_find(first, "system"));
	hl7_put_new(request, display, hl7_find(first, "display"));
}

static void
tell_authorization(JsonbValue *request, const JsonbValue *authorizations)
{
	JsonbValue	yes;

	if (hl7_is_empty(authorizations))
		return;
	yes.type = jbvBool;
	yes.val.boolean = true;
	hl7_put_new(request, "authorization_required", &yes);
	hl7_put_new(request, "authorization_number",
				hl7_find(&authorizations->val.array.elems[0], "authorization_number"));
}

static void
tell_extra(const Reading *reading, JsonbValue *extra)
{
	hl7_new_object(extra);
	if (!hl7_is_empty(&reading->observations))
		hl7_put(extra, "observations", &reading->observations);
	if (!hl7_is_empty(&reading->notes))
		hl7_put(extra, "notes", &reading->notes);
}

/*
 * What a parsed message says, whatever its type: of the referral PRD, DG1, PR1 and
 * AUT.
 */
void
hl7_read_content(JsonbContainer *message, bool results, const text *zone, Hl7Content *content)
{
	Reading		reading = {0};
	JsonbValue	told;
	JsonbValue *lists[] = {
		&reading.coverages, &reading.authorizations, &reading.diagnoses, &reading.procedures,
		&reading.documents, &reading.observations, &reading.notes
	};

	memset(content, 0, sizeof(*content));	/* jbvNull is 0 */
	for (size_t i = 0; i < lengthof(lists); i++)
		hl7_new_array(lists[i]);
	hl7_new_object(&content->parts[HL7_REQUEST]);
	hl7_new_array(&content->parts[HL7_FINDINGS]);
	initStringInfo(&reading.comment);
	reading.zone = zone;
	reading.results = results;
	reading.request = &content->parts[HL7_REQUEST];
	reading.findings = &content->parts[HL7_FINDINGS];
	hl7_read_head(message, zone, &told, reading.findings);
	keep_part(content, HL7_MESSAGE, hl7_find(&told, "message"));
	read_encounter(message, zone, content);
	read_patient(message, zone, content);
	read_segments(&reading, message);
	if (reading.patients > 1)
		hl7_new_finding(reading.findings, "invalid_value", "error", hl7_slice("patient"),
						hl7_slice("PID"), "several patients in one message");
	tell_codes(reading.request, &reading.diagnoses, "diagnoses", "reason_code",
			   "reason_code_system", "reason_text");
	tell_codes(reading.request, &reading.procedures, "procedures", "service_code",
			   "service_code_system", "service_text");
	tell_authorization(reading.request, &reading.authorizations);
	keep_full(content, HL7_COVERAGES, &reading.coverages);
	keep_full(content, HL7_DOCUMENTS, &reading.documents);
	keep_full(content, HL7_AUTHORIZATIONS, &reading.authorizations);
	if (reading.comment.len > 0)
	{
		content->parts[HL7_COMMENT].type = jbvString;
		content->parts[HL7_COMMENT].val.string.val = reading.comment.data;
		content->parts[HL7_COMMENT].val.string.len = reading.comment.len;
	}
	tell_extra(&reading, &content->parts[HL7_EXTRA]);
}
