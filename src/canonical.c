/*-------------------------------------------------------------------------
 *
 * canonical.c
 *		The list of canonical attributes.
 *
 * IDENTIFICATION
 *		src/canonical.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "canonical.h"
#include "compat.h"

#define SEXES		"male,female,other,unknown"
#define URGENCIES	"routine,urgent,asap,stat"
#define INTENTS		"proposal,plan,directive,order,original-order,reflex-order,filler-order,instance-order,option"
#define STATES		"received,validated,pending_authorization,ready_to_schedule,scheduled,no_show," \
	"appointment_cancelled,completed,closed_loop,on_hold,cancellation_requested,declined,cancelled," \
	"expired,entered_in_error"
#define DECISIONS	"accepted,declined,returned,redirected"
#define BOOKINGS	"proposed,pending,booked,arrived,checked-in,fulfilled,cancelled,noshow,waitlist,entered-in-error"
#define REPORTS		"preliminary,final,amended,failed,entered-in-error"
#define DOCUMENTS	"current,superseded,entered-in-error"

/* A person, and the organisation that he works for, below a path. */
#define PERSON(name, path, who) \
	{name ".identifier", path ".identifiers.0.value", CANONICAL_TEXT, NULL, "Identifier of " who ", such as the NPI"}, \
	{name ".identifier_system", path ".identifiers.0.system", CANONICAL_TEXT, NULL, "Who gave that identifier"}, \
	{name ".name", path ".name", CANONICAL_TEXT, NULL, "Name of " who ", as shown"}, \
	{name ".family", path ".family", CANONICAL_TEXT, NULL, "Family name of " who}, \
	{name ".given", path ".given", CANONICAL_TEXT, NULL, "First name of " who}, \
	{name ".specialty", path ".specialty", CANONICAL_TEXT, NULL, "Specialty of " who}, \
	{name ".phone", path ".phone", CANONICAL_TEXT, NULL, "Phone of " who}, \
	{name ".organization", path ".organization.name", CANONICAL_TEXT, NULL, "Organisation of " who}, \
	{name ".organization_identifier", path ".organization.identifiers.0.value", CANONICAL_TEXT, NULL, \
	"Identifier of that organisation"}, \
	{name ".organization_identifier_system", path ".organization.identifiers.0.system", CANONICAL_TEXT, NULL, \
	"Who gave that identifier"}

#define CODED(name, path, what) \
	{name "_code", path ".code", CANONICAL_TEXT, NULL, "Code of " what}, \
	{name "_system", path ".system", CANONICAL_TEXT, NULL, "Code system of " what}, \
	{name "_text", path ".display", CANONICAL_TEXT, NULL, "What " what " says"}

#define COVERAGE(name, path, which) \
	{name ".payer_identifier", path ".payer.identifier", CANONICAL_TEXT, NULL, "The payer's number, " which}, \
	{name ".payer_name", path ".payer.name", CANONICAL_TEXT, NULL, "The payer's name, " which}, \
	{name ".plan_identifier", path ".plan.identifier", CANONICAL_TEXT, NULL, "The plan's number, " which}, \
	{name ".plan_name", path ".plan.name", CANONICAL_TEXT, NULL, "The plan's name, " which}, \
	{name ".plan_kind", path ".plan.kind", CANONICAL_TEXT, NULL, "HMO, PPO and so on, " which}, \
	{name ".subscriber_id", path ".subscriber_id", CANONICAL_TEXT, NULL, "The member's number, " which}, \
	{name ".group_number", path ".group_number", CANONICAL_TEXT, NULL, "Number of the group, " which}, \
	{name ".relationship", path ".relationship", CANONICAL_TEXT, NULL, "Of the patient to the subscriber, " which}, \
	{name ".start", path ".start", CANONICAL_DATE, NULL, "First day, " which}, \
	{name ".end", path ".end", CANONICAL_DATE, NULL, "Last day, " which}, \
	{name ".priority", path ".priority", CANONICAL_INTEGER, NULL, "Order of payment, 1 is the first, " which}

static const CanonicalAttribute attributes[] = {
	{"patient.identifier", "patient.identifiers.0.value", CANONICAL_TEXT, NULL, "Identifier of the patient, such as the MRN"},
	{"patient.identifier_system", "patient.identifiers.0.system", CANONICAL_TEXT, NULL, "Who gave it"},
	{"patient.identifier_type", "patient.identifiers.0.type", CANONICAL_TEXT, NULL, "Its type, of HL7 table 0203"},
	{"patient.identifier2", "patient.identifiers.1.value", CANONICAL_TEXT, NULL, "Another identifier"},
	{"patient.identifier2_system", "patient.identifiers.1.system", CANONICAL_TEXT, NULL, "Who gave it"},
	{"patient.identifier2_type", "patient.identifiers.1.type", CANONICAL_TEXT, NULL, "Its type, of HL7 table 0203"},
	{"patient.family", "patient.family", CANONICAL_TEXT, NULL, "Family name"},
	{"patient.given", "patient.given", CANONICAL_TEXT, NULL, "First names"},
	{"patient.middle", "patient.middle", CANONICAL_TEXT, NULL, "Middle names or initials"},
	{"patient.suffix", "patient.suffix", CANONICAL_TEXT, NULL, "Jr, Sr, II, III, IV or V"},
	{"patient.previous_family", "patient.previous_family.0", CANONICAL_TEXT, NULL, "Maiden or other former family name"},
	{"patient.alias", "patient.alias.0", CANONICAL_TEXT, NULL, "Another first name that the patient goes by"},
	{"patient.mother_maiden_name", "patient.mother_maiden_name", CANONICAL_TEXT, NULL, "Family name of the mother at her birth"},
	{"patient.birth_date", "patient.birth_date", CANONICAL_DATE, NULL, "Birth date"},
	{"patient.sex", "patient.sex", CANONICAL_CODE, SEXES, "Sex (FHIR administrative gender)"},
	{"patient.multiple_birth", "patient.multiple_birth", CANONICAL_BOOLEAN, NULL, "A twin or one of more"},
	{"patient.birth_order", "patient.birth_order", CANONICAL_INTEGER, NULL, "Which one of them"},
	{"patient.phone", "patient.phone", CANONICAL_TEXT, NULL, "Phone"},
	{"patient.other_phone", "patient.other_phones.0", CANONICAL_TEXT, NULL, "Another phone"},
	{"patient.email", "patient.email", CANONICAL_TEXT, NULL, "Mail address"},
	{"patient.address", "patient.address", CANONICAL_TEXT, NULL, "Number, street and unit"},
	{"patient.city", "patient.city", CANONICAL_TEXT, NULL, "City"},
	{"patient.state", "patient.state", CANONICAL_TEXT, NULL, "State or province"},
	{"patient.postal_code", "patient.postal_code", CANONICAL_TEXT, NULL, "Postal code"},
	{"patient.language", "patient.language", CANONICAL_TEXT, NULL, "Language"},
	COVERAGE("coverage", "coverages.0", "of the first coverage"),
	COVERAGE("coverage2", "coverages.1", "of the second coverage"),
	{"referral.identifier", "referral.identifiers.0.value", CANONICAL_TEXT, NULL, "The sender's identifier of the referral, when it is no order number"},
	{"referral.identifier_system", "referral.identifiers.0.system", CANONICAL_TEXT, NULL, "Who gave it"},
	{"referral.placer_order_number", "referral.placer_order_number", CANONICAL_TEXT, NULL, "The requester's order number: a later message with the same one is about the same referral"},
	{"referral.placer_order_system", "referral.placer_order_system", CANONICAL_TEXT, NULL, "Who gave it"},
	{"referral.filler_order_number", "referral.filler_order_number", CANONICAL_TEXT, NULL, "The performer's order number"},
	{"referral.filler_order_system", "referral.filler_order_system", CANONICAL_TEXT, NULL, "Who gave it"},
	{"referral.urgency", "referral.urgency", CANONICAL_CODE, URGENCIES, "Clinical priority"},
	{"referral.intent", "referral.intent", CANONICAL_CODE, INTENTS, "FHIR request intent"},
	{"referral.referral_type", "referral.referral_type", CANONICAL_TEXT, NULL, "Chooses the workflow"},
	{"referral.specialty", "referral.specialty", CANONICAL_TEXT, NULL, "Specialty asked for"},
	{"referral.service_line", "referral.service_line", CANONICAL_TEXT, NULL, "Line of service"},
	{"referral.region", "referral.region", CANONICAL_TEXT, NULL, "Region"},
	{"referral.site", "referral.site", CANONICAL_TEXT, NULL, "Site, by name or identifier"},
	{"referral.service_code", "referral.service_code", CANONICAL_TEXT, NULL, "Code of what is asked for"},
	{"referral.service_code_system", "referral.service_code_system", CANONICAL_TEXT, NULL, "Its code system"},
	{"referral.service_text", "referral.service_text", CANONICAL_TEXT, NULL, "What is asked for, in words"},
	{"referral.reason_code", "referral.reason_code", CANONICAL_TEXT, NULL, "Code of the clinical reason"},
	{"referral.reason_code_system", "referral.reason_code_system", CANONICAL_TEXT, NULL, "Its code system"},
	{"referral.reason_text", "referral.reason_text", CANONICAL_TEXT, NULL, "The clinical reason, in words"},
	CODED("referral.diagnosis1", "referral.diagnoses.0", "the first diagnosis"),
	CODED("referral.diagnosis2", "referral.diagnoses.1", "the second diagnosis"),
	CODED("referral.diagnosis3", "referral.diagnoses.2", "the third diagnosis"),
	CODED("referral.procedure1", "referral.procedures.0", "the first procedure"),
	CODED("referral.procedure2", "referral.procedures.1", "the second procedure"),
	{"referral.authored_at", "referral.authored_at", CANONICAL_TIME, NULL, "When it was written"},
	{"referral.received_at", "referral.received_at", CANONICAL_TIME, NULL, "When it came in, if earlier than now, as for a fax"},
	{"referral.expires_on", "referral.expires_on", CANONICAL_DATE, NULL, "Last day it is good for"},
	{"referral.authorization_required", "referral.authorization_required", CANONICAL_BOOLEAN, NULL, "Does the payer require an authorization?"},
	{"referral.authorization_number", "referral.authorization_number", CANONICAL_TEXT, NULL, "The payer's authorization"},
	{"referral.expected_value", "referral.expected_value", CANONICAL_NUMBER, NULL, "What it is expected to bring in"},
	{"referral.state", "referral.state", CANONICAL_CODE, STATES, "State that the message asks for or tells of"},
	{"referral.decision", "referral.decision", CANONICAL_CODE, DECISIONS, "What the performer decided"},
	{"referral.status_reason", "referral.status_reason", CANONICAL_TEXT, NULL, "Code of the reason for it"},
	{"referral.comment", "referral.comment", CANONICAL_TEXT, NULL, "Comment on it"},
	PERSON("requester", "referral.requester", "who refers"),
	PERSON("performer", "referral.performer", "who is referred to"),
	{"appointment.placer_appointment_id", "appointments.0.placer_appointment_id", CANONICAL_TEXT, NULL, "Number of who asked for the appointment"},
	{"appointment.filler_appointment_id", "appointments.0.filler_appointment_id", CANONICAL_TEXT, NULL, "Number in the book it stands in"},
	{"appointment.status", "appointments.0.status", CANONICAL_CODE, BOOKINGS, "FHIR status of the appointment"},
	{"appointment.starts_at", "appointments.0.starts_at", CANONICAL_TIME, NULL, "When it begins"},
	{"appointment.ends_at", "appointments.0.ends_at", CANONICAL_TIME, NULL, "When it ends"},
	{"appointment.location", "appointments.0.location", CANONICAL_TEXT, NULL, "Where"},
	{"appointment.service_code", "appointments.0.service_code", CANONICAL_TEXT, NULL, "Code of what was booked"},
	{"appointment.service_text", "appointments.0.service_text", CANONICAL_TEXT, NULL, "What was booked, in words"},
	{"appointment.placer_order_number", "appointments.0.placer_order_number", CANONICAL_TEXT, NULL, "Order number of the referral it is for"},
	{"appointment.comment", "appointments.0.comment", CANONICAL_TEXT, NULL, "Comment on it"},
	{"encounter.kind", "encounters.0.kind", CANONICAL_CODE, "encounter,procedure", "Visit or procedure"},
	{"encounter.identifier", "encounters.0.identifier", CANONICAL_TEXT, NULL, "Its number with the sender"},
	{"encounter.status", "encounters.0.status", CANONICAL_TEXT, NULL, "FHIR status of it, such as finished"},
	{"encounter.class", "encounters.0.class", CANONICAL_TEXT, NULL, "Ambulatory, inpatient and so on"},
	{"encounter.code", "encounters.0.code", CANONICAL_TEXT, NULL, "Code of its type"},
	{"encounter.code_system", "encounters.0.code_system", CANONICAL_TEXT, NULL, "System of that code"},
	{"encounter.display", "encounters.0.display", CANONICAL_TEXT, NULL, "Its type, in words"},
	{"encounter.started_at", "encounters.0.started_at", CANONICAL_TIME, NULL, "When it began"},
	{"encounter.ended_at", "encounters.0.ended_at", CANONICAL_TIME, NULL, "When it ended"},
	{"organization.identifier", "directory.organizations.0.identifiers.0.value", CANONICAL_TEXT, NULL, "Identifier of a provider organisation, for lists of them"},
	{"organization.identifier_system", "directory.organizations.0.identifiers.0.system", CANONICAL_TEXT, NULL, "Who gave it"},
	{"organization.name", "directory.organizations.0.name", CANONICAL_TEXT, NULL, "Its name"},
	{"organization.phone", "directory.organizations.0.phone", CANONICAL_TEXT, NULL, "Its phone"},
	{"organization.address", "directory.organizations.0.address", CANONICAL_TEXT, NULL, "Its street"},
	{"organization.city", "directory.organizations.0.city", CANONICAL_TEXT, NULL, "Its city"},
	{"organization.state", "directory.organizations.0.state", CANONICAL_TEXT, NULL, "Its state or province"},
	{"organization.postal_code", "directory.organizations.0.postal_code", CANONICAL_TEXT, NULL, "Its postal code"},
	PERSON("practitioner", "directory.practitioners.0", "a practitioner, for lists of them"),
	{"payer.identifier", "directory.payers.0.identifier", CANONICAL_TEXT, NULL, "Number of a payer, for lists of them"},
	{"payer.name", "directory.payers.0.name", CANONICAL_TEXT, NULL, "Its name"},
	{"document.type", "documents.0.type", CANONICAL_TEXT, NULL, "Type of a document that came along"},
	{"document.title", "documents.0.title", CANONICAL_TEXT, NULL, "Its title"},
	{"document.identifier", "documents.0.identifier", CANONICAL_TEXT, NULL, "Its number with who sent it"},
	{"document.url", "documents.0.url", CANONICAL_TEXT, NULL, "Where its content is"},
	{"document.content_type", "documents.0.content_type", CANONICAL_TEXT, NULL, "Media type of its content"},
	{"document.status", "documents.0.status", CANONICAL_CODE, DOCUMENTS, "FHIR status of the document"},
	{"report.status", "reports.0.status", CANONICAL_CODE, REPORTS, "FHIR status of the performer's report"},
	{"report.identifier", "reports.0.identifier", CANONICAL_TEXT, NULL, "Its number with the performer"},
	{"report.ended_at", "reports.0.ended_at", CANONICAL_TIME, NULL, "When it was finished"},
	{"report.acknowledged_at", "reports.0.acknowledged_at", CANONICAL_TIME, NULL, "When the referring provider said that he has it"},
	{"report.told_patient_at", "reports.0.told_patient_at", CANONICAL_TIME, NULL, "When the patient was told"},
};

const CanonicalAttribute *
canonical_attribute_find(const char *name)
{
	for (int i = 0; i < lengthof(attributes); i++)
		if (strcmp(attributes[i].name, name) == 0)
			return &attributes[i];
	return NULL;
}

/* Is the code one of those that the attribute takes? */
bool
canonical_code_is_valid(const CanonicalAttribute *attribute, const char *code, int length)
{
	const char *at = attribute->codes;

	for (;;)
	{
		const char *end = strchrnul(at, ',');

		if (end - at == length && memcmp(at, code, length) == 0)
			return true;
		if (*end == '\0')
			return false;
		at = end + 1;
	}
}

/* The parts of a text, as text[]. */
static Datum
parts_of(const char *joined, char separator)
{
	Datum		parts[32];
	int			n = 0;

	for (const char *at = joined;; at++)
	{
		const char *end = strchrnul(at, separator);

		Assert(n < (int) lengthof(parts));
		parts[n++] = PointerGetDatum(cstring_to_text_with_len(at, end - at));
		if (*end == '\0')
			break;
		at = end;
	}
	return PointerGetDatum(construct_array(parts, n, TEXTOID, -1, false, TYPALIGN_INT));
}

PG_FUNCTION_INFO_V1(canonical_attribute);

Datum
canonical_attribute(PG_FUNCTION_ARGS)
{
	static const char *const type_names[] = {
		[CANONICAL_TEXT] = "text",[CANONICAL_CODE] = "code",[CANONICAL_DATE] = "date",
		[CANONICAL_TIME] = "timestamptz",[CANONICAL_INTEGER] = "integer",
		[CANONICAL_NUMBER] = "numeric",[CANONICAL_BOOLEAN] = "boolean"
	};
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < lengthof(attributes); i++)
	{
		const CanonicalAttribute *attribute = &attributes[i];
		Datum		values[5];
		bool		nulls[5] = {false};

		values[0] = CStringGetTextDatum(attribute->name);
		values[1] = parts_of(attribute->path, '.');
		values[2] = CStringGetTextDatum(type_names[attribute->type]);
		nulls[3] = attribute->codes == NULL;
		values[3] = nulls[3] ? (Datum) 0 : parts_of(attribute->codes, ',');
		values[4] = CStringGetTextDatum(attribute->description);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
