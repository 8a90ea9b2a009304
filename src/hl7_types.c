/*-------------------------------------------------------------------------
 *
 * hl7_types.c
 *		The data types of HL7 as canonical values.
 *
 * Each reader takes the field that a path names, and gives a text or what the
 * canonical model has in its place: identifiers, codes, persons, organisations.
 * Texts stay where they are in the message.  Empty values and the explicit null
 * of HL7 ("") are none.
 *
 * IDENTIFICATION
 *		src/hl7_types.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/formatting.h"
#include "utils/json.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "hl7.h"
#include "hl7_fill.h"
#include "plain_value.h"

#define MAX_DIGITS				12
#define MAX_FRACTION_DIGITS		6
#define MAX_TYPE_LENGTH			6	/* of a code of table 0203 */

#define SSN_SYSTEM		"http://hl7.org/fhir/sid/us-ssn"
#define SSN_OID			"2.16.840.1.113883.4.1"
#define NPI_SYSTEM		"http://hl7.org/fhir/sid/us-npi"
#define NPI_OID			"2.16.840.1.113883.4.6"

typedef struct Mapping
{
	const char *code;
	const char *value;
} Mapping;

static const Mapping genders[] = {
	{"M", "male"}, {"F", "female"}, {"U", "unknown"}, {"O", "other"}, {"A", "other"},
	{"N", "other"}, {"X", "other"}, {"MALE", "male"}, {"FEMALE", "female"}, {"OTHER", "other"},
	{"UNKNOWN", "unknown"}, {NULL, NULL}
};

/* tables 0280 and 0485 */
static const Mapping urgencies[] = {
	{"R", "routine"}, {"S", "stat"}, {"A", "asap"}, {"U", "urgent"}, {"UR", "urgent"},
	{"T", "urgent"}, {"E", "stat"}, {"N", "routine"}, {"ROUTINE", "routine"}, {"STAT", "stat"},
	{"ASAP", "asap"},
	{"URGENT", "urgent"}, {NULL, NULL}
};

/* table 0063, and codes of X12 */
static const Mapping relationships[] = {
	{"SEL", "self"}, {"SELF", "self"}, {"SLF", "self"}, {"18", "self"}, {"SPO", "spouse"},
	{"SPOUSE", "spouse"}, {"01", "spouse"}, {"CHD", "child"}, {"CHILD", "child"}, {"NCH", "child"},
	{"SCH", "child"}, {"FCH", "child"}, {"19", "child"}, {"PAR", "parent"}, {"FTH", "parent"},
	{"MTH", "parent"}, {"DOM", "common"}, {NULL, "other"}
};

static const Mapping visit_classes[] = {
	{"I", "IMP"}, {"O", "AMB"}, {"E", "EMER"}, {"P", "PRENC"}, {NULL, NULL}
};

/* table 0396 */
static const Mapping code_systems[] = {
	{"I10", "http://hl7.org/fhir/sid/icd-10-cm"}, {"I10C", "http://hl7.org/fhir/sid/icd-10-cm"},
	{"ICD10", "http://hl7.org/fhir/sid/icd-10-cm"}, {"ICD-10", "http://hl7.org/fhir/sid/icd-10-cm"},
	{"ICD10CM", "http://hl7.org/fhir/sid/icd-10-cm"},
	{"ICD-10-CM", "http://hl7.org/fhir/sid/icd-10-cm"},
	{"I9", "http://hl7.org/fhir/sid/icd-9-cm"}, {"I9C", "http://hl7.org/fhir/sid/icd-9-cm"},
	{"I9CDX", "http://hl7.org/fhir/sid/icd-9-cm"}, {"ICD9", "http://hl7.org/fhir/sid/icd-9-cm"},
	{"ICD9CM", "http://hl7.org/fhir/sid/icd-9-cm"},
	{"ICD-9-CM", "http://hl7.org/fhir/sid/icd-9-cm"},
	{"SCT", "http://snomed.info/sct"}, {"SNOMED", "http://snomed.info/sct"},
	{"SNOMEDCT", "http://snomed.info/sct"}, {"SNOMED-CT", "http://snomed.info/sct"},
	{"LN", "http://loinc.org"}, {"LOINC", "http://loinc.org"},
	{"C4", "http://www.ama-assn.org/go/cpt"}, {"CPT", "http://www.ama-assn.org/go/cpt"},
	{"CPT4", "http://www.ama-assn.org/go/cpt"}, {"CPT-4", "http://www.ama-assn.org/go/cpt"},
	{NULL, NULL}
};

static const Hl7Slice none = {NULL, 0};

/* ---------- pieces of a message ---------- */

static bool
has_digit(Hl7Slice slice)
{
	for (int i = 0; i < slice.length; i++)
		if (slice.text[i] >= '0' && slice.text[i] <= '9')
			return true;
	return false;
}

static Hl7Slice
trimmed(const char *text, int length)
{
	while (length > 0 && (*text == ' ' || *text == '\t' || *text == '\n'))
	{
		text++;
		length--;
	}
	while (length > 0 &&
		   (text[length - 1] == ' ' || text[length - 1] == '\t' || text[length - 1] == '\n'))
		length--;
	if (length == 0 || (length == 2 && memcmp(text, "\"\"", 2) == 0))
		return none;
	return (Hl7Slice) {text, length};
}

/* The text of a value; of one that has parts the text of its first part. */
static Hl7Slice
value_text(const JsonbValue *value)
{
	JsonbValue	part = *value;

	while (part.type == jbvBinary)
	{
		JsonbContainer *object = part.val.binary.data;

		if (!JsonContainerIsObject(object) ||
			getKeyJsonValueFromContainer(object, "1", 1, &part) == NULL)
			return none;
	}
	return part.type == jbvString ? trimmed(part.val.string.val, part.val.string.len) : none;
}

/* A part of a value by its number; a text is its own only part. */
static bool
find_part(JsonbValue *value, int number)
{
	JsonbValue	part;
	JsonbContainer *object;
	char		key[12];

	if (value->type == jbvString)
		return number == 1;
	if (value->type != jbvBinary)
		return false;
	object = value->val.binary.data;
	if (!JsonContainerIsObject(object) ||
		getKeyJsonValueFromContainer(object, key, pg_ltoa(number, key), &part) == NULL)
		return false;
	*value = part;
	return true;
}

static Hl7Slice
component(const JsonbValue *repetition, int number, int subcomponent)
{
	JsonbValue	part = *repetition;

	if (!find_part(&part, number) || (subcomponent > 0 && !find_part(&part, subcomponent)))
		return none;
	return value_text(&part);
}

static bool
find_repetition(const Hl7Source *source, int number, JsonbValue *repetition)
{
	JsonbValue *found;

	CHECK_FOR_INTERRUPTS();
	found = getIthJsonbValueFromContainer(source->field, number);

	if (found != NULL)
		*repetition = *found;
	return found != NULL;
}

/* The repetition, component or subcomponent that the path names */
static bool
find_value(const Hl7Source *source, JsonbValue *value)
{
	return find_repetition(source, source->repetition, value) &&
		(source->component == 0 || find_part(value, source->component)) &&
		(source->subcomponent == 0 || find_part(value, source->subcomponent));
}

static Hl7Slice
source_text(const Hl7Source *source)
{
	JsonbValue	value;

	return find_value(source, &value) ? value_text(&value) : none;
}

static bool
give(Hl7Slice slice, JsonbValue *value)
{
	if (slice.text == NULL)
		return false;
	value->type = jbvString;
	value->val.string.val = unconstify(char *, slice.text);
	value->val.string.len = slice.length;
	return true;
}

/* Texts one after the other, as far as there are any */
static Hl7Slice
joined(const Hl7Slice *slices, int n, const char *separator)
{
	int			gap = strlen(separator);
	int			length = 0;
	char	   *whole;
	char	   *end;

	for (int i = 0; i < n; i++)
		length += slices[i].text == NULL ? 0 : gap + slices[i].length;
	if (length == 0)
		return none;
	end = whole = palloc(length);
	for (int i = 0; i < n; i++)
	{
		if (slices[i].text == NULL)
			continue;
		if (end > whole)
		{
			memcpy(end, separator, gap);
			end += gap;
		}
		memcpy(end, slices[i].text, slices[i].length);
		end += slices[i].length;
	}
	return (Hl7Slice) {whole, end - whole};
}

/* Two components, as far as they are there */
static Hl7Slice
pair(const JsonbValue *field, int first, int second, const char *separator)
{
	return joined((Hl7Slice[]) {component(field, first, 0), component(field, second, 0)}, 2,
				  separator);
}

/* There is something that is no value of the type. */
static bool
not_a(Hl7Source *source, const char *problem, Hl7Slice sent)
{
	source->problem = problem;
	source->sent = sent;
	return false;
}

/* ---------- plain values ---------- */

static bool
read_text(Hl7Source *source, JsonbValue *value)
{
	return give(source_text(source), value);
}

static bool
read_lower(Hl7Source *source, JsonbValue *value)
{
	Hl7Slice	text = source_text(source);

	if (text.text == NULL)
		return false;
	text.text = asc_tolower(text.text, text.length);
	return give(text, value);
}

/* A value with its separators, as a message has it; what is no plain text is written to out. */
static Hl7Slice
raw_text(const Hl7Source *source, StringInfo out)
{
	JsonbValue	found;
	Hl7Separators separators;

	if (!find_value(source, &found))
		return none;
	if (found.type == jbvString)
		return trimmed(found.val.string.val, found.val.string.len);
	if (out->data == NULL)
		initStringInfo(out);
	resetStringInfo(out);
	hl7_get_separators(source->message, &separators);
	hl7_write_value(out, &separators, &found, source->component > 0);
	return trimmed(out->data, out->len);
}

static bool
read_raw(Hl7Source *source, JsonbValue *value)
{
	StringInfoData out = {0};

	return give(raw_text(source, &out), value);
}

/* MSG: type of message and event, REF^I12 */
static bool
read_event(Hl7Source *source, JsonbValue *value)
{
	JsonbValue	field;

	return find_value(source, &field) && give(pair(&field, 1, 2, "^"), value);
}

/* The texts of all repetitions, as lines */
static bool
read_lines(Hl7Source *source, JsonbValue *value)
{
	int			n = JsonContainerSize(source->field);
	StringInfoData lines = {0};
	StringInfoData scratch = {0};

	source->repetition = 0;
	if (n == 1)
		return read_raw(source, value);
	initStringInfo(&lines);
	for (; source->repetition < n; source->repetition++)
	{
		Hl7Slice	line = raw_text(source, &scratch);

		if (line.text == NULL)
			continue;
		if (lines.len > 0)
			appendStringInfoChar(&lines, '\n');
		appendBinaryStringInfo(&lines, line.text, line.length);
	}
	return lines.len > 0 && give((Hl7Slice) {lines.data, lines.len}, value);
}

/* hl7_date() and hl7_timestamp() answer null, which DirectFunctionCall refuses. */
static bool
call_with_text(PGFunction function, Hl7Slice slice, const text *zone, Datum *result)
{
	LOCAL_FCINFO(call, 2);

	InitFunctionCallInfoData(*call, NULL, 2, InvalidOid, NULL, NULL);
	call->args[0].value = PointerGetDatum(cstring_to_text_with_len(slice.text, slice.length));
	call->args[0].isnull = false;
	call->args[1].value = PointerGetDatum(zone);
	call->args[1].isnull = false;
	*result = function(call);
	return !call->isnull;
}

static bool
read_date(Hl7Source *source, JsonbValue *value)
{
	Hl7Slice	text = source_text(source);
	char	   *out;
	Datum		date;

	if (text.text == NULL)
		return false;
	if (!call_with_text(hl7_date, text, source->zone, &date))
		return not_a(source, "invalid_date", text);
	out = palloc(MAXDATELEN + 1);
	JsonEncodeDateTime(out, date, DATEOID, NULL);
	return give(hl7_slice(out), value);
}

/* In UTC, whatever the zone of the session: the same message gives the same text. */
static bool
read_time(Hl7Source *source, JsonbValue *value)
{
	Hl7Slice	text = source_text(source);
	const int	utc = 0;
	char	   *out;
	Datum		time;

	if (text.text == NULL)
		return false;
	if (!call_with_text(hl7_timestamp, text, source->zone, &time))
		return not_a(source, "invalid_time", text);
	out = palloc(MAXDATELEN + 1);
	JsonEncodeDateTime(out, time, TIMESTAMPTZOID, &utc);
	return give(hl7_slice(out), value);
}

/* Digits with a fraction, or without when it may have no digits. */
static bool
give_number(Hl7Source *source, int fraction_digits, JsonbValue *value)
{
	Hl7Slice	text = source_text(source);
	Datum		number;

	if (text.text == NULL)
		return false;
	if (!plain_number(text.text, text.length, MAX_DIGITS, fraction_digits))
		return not_a(source, "invalid_value", text);
	number = CStringGetDatum(pnstrdup(text.text, text.length));
	number = DirectFunctionCall3(numeric_in, number, ObjectIdGetDatum(InvalidOid),
								 Int32GetDatum(-1));
	value->type = jbvNumeric;
	value->val.numeric = DatumGetNumeric(number);
	return true;
}

static bool
read_number(Hl7Source *source, JsonbValue *value)
{
	return give_number(source, MAX_FRACTION_DIGITS, value);
}

static bool
read_integer(Hl7Source *source, JsonbValue *value)
{
	return give_number(source, 0, value);
}

static bool
read_boolean(Hl7Source *source, JsonbValue *value)
{
	Hl7Slice	text = source_text(source);

	if (text.text == NULL)
		return false;
	if (!hl7_is(text, "Y") && !hl7_is(text, "N"))
		return not_a(source, "invalid_code", text);
	value->type = jbvBool;
	value->val.boolean = hl7_is(text, "Y");
	return true;
}

/* ---------- codes ---------- */

/* What a code stands for; what the last entry has, when it is not known. */
static Hl7Slice
find_translation(const Mapping *mapping, Hl7Slice code)
{
	while (mapping->code != NULL &&
		   !(code.length == (int) strlen(mapping->code) &&
			 pg_strncasecmp(code.text, mapping->code, code.length) == 0))
		mapping++;
	return mapping->value == NULL ? none : hl7_slice(mapping->value);
}

static bool
give_translated(Hl7Source *source, const Mapping *mapping, JsonbValue *value)
{
	Hl7Slice	code = source_text(source);
	Hl7Slice	translated;

	if (code.text == NULL)
		return false;
	translated = find_translation(mapping, code);
	return translated.text == NULL ? not_a(source, "invalid_code", code) : give(translated, value);
}

static bool
read_gender(Hl7Source *source, JsonbValue *value)
{
	return give_translated(source, genders, value);
}

static bool
read_urgency(Hl7Source *source, JsonbValue *value)
{
	return give_translated(source, urgencies, value);
}

static bool
read_relationship(Hl7Source *source, JsonbValue *value)
{
	return give_translated(source, relationships, value);
}

/* Classes of visits are not limited to those that FHIR has. */
static bool
read_class(Hl7Source *source, JsonbValue *value)
{
	Hl7Slice	code = source_text(source);
	Hl7Slice	translated = code.text == NULL ? none : find_translation(visit_classes, code);

	return give(translated.text == NULL ? code : translated, value);
}

static Hl7Slice
code_system(Hl7Slice name)
{
	Hl7Slice	uri = name.text == NULL ? none : find_translation(code_systems, name);

	return uri.text == NULL ? name : uri;
}

/* CE, CWE: code, text, system, then the alternate ones, and in the ninth the text as it was */
static bool
read_code(Hl7Source *source, JsonbValue *value)
{
	JsonbValue	field;
	int			first = 1;
	Hl7Slice	code;
	Hl7Slice	display;

	if (!find_value(source, &field))
		return false;
	if (component(&field, 1, 0).text == NULL && component(&field, 4, 0).text != NULL)
		first = 4;
	code = component(&field, first, 0);
	display = component(&field, first + 1, 0);
	if (display.text == NULL)
		display = component(&field, first == 4 ? 2 : 9, 0);
	if (code.text == NULL && display.text == NULL)
		return false;
	hl7_new_object(value);
	hl7_add_slice(value, "code", code);
	if (code.text != NULL)
		hl7_add_slice(value, "system", code_system(component(&field, first + 2, 0)));
	hl7_add_slice(value, "display", display);
	return true;
}

/* ---------- identifiers ---------- */

/* The system of an identifier, by who assigns it and by its type */
static Hl7Slice
identifier_system(Hl7Slice space, Hl7Slice universal, Hl7Slice universal_type, Hl7Slice type)
{
	if (hl7_is(type, "SS") || hl7_is(type, "SSN") || hl7_is(space, "USSSA") ||
		hl7_is(universal, SSN_OID))
		return hl7_slice(SSN_SYSTEM);
	if (hl7_is(type, "NPI") || hl7_is(universal, NPI_OID))
		return hl7_slice(NPI_SYSTEM);
	if (space.text != NULL || universal.text == NULL || !hl7_is(universal_type, "ISO"))
		return space.text != NULL ? space : universal;
	return joined((Hl7Slice[]) {hl7_slice("urn:oid"), universal}, 2, ":");
}

static void
make_identifier(JsonbValue *value, Hl7Slice number, Hl7Slice system, Hl7Slice type,
				Hl7Slice assigner)
{
	hl7_new_object(value);
	hl7_add_slice(value, "type", type);
	hl7_add_slice(value, "value", number);
	hl7_add_slice(value, "system", system);
	hl7_add_slice(value, "assigner", assigner);
}

/* Whether it cannot be a code of table 0203: senders put the facility there. */
static bool
is_no_type(Hl7Slice type)
{
	for (int i = 0; i < type.length; i++)
	{
		char		c = type.text[i];

		if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')))
			return true;
	}
	return type.length > MAX_TYPE_LENGTH;
}

/* CX: number, check digit, its scheme, authority, type, facility */
static bool
identifier(const JsonbValue *field, JsonbValue *value)
{
	Hl7Slice	number = component(field, 1, 0);
	Hl7Slice	space = component(field, 4, 1);
	Hl7Slice	universal = component(field, 4, 2);
	Hl7Slice	type = component(field, 5, 0);
	Hl7Slice	facility = component(field, 6, 0);

	if (number.text == NULL)
		return false;
	if (is_no_type(type))
	{
		facility = facility.text == NULL ? type : facility;
		type = none;
	}
	if (space.text == NULL && universal.text == NULL)
		space = facility;
	if (type.text == NULL && hl7_is(space, "USSSA"))
		type = hl7_slice("SS");
	make_identifier(value, number,
					identifier_system(space, universal, component(field, 4, 3), type), type,
					facility.text == NULL ? space : facility);
	return true;
}

static bool
read_id(Hl7Source *source, JsonbValue *value)
{
	JsonbValue	field;

	return find_value(source, &field) && identifier(&field, value);
}

/* PLN: number, type, who issued it */
static bool
licence(const JsonbValue *field, JsonbValue *value)
{
	Hl7Slice	number = component(field, 1, 0);
	Hl7Slice	type = component(field, 2, 0);

	if (number.text == NULL)
		return false;
	make_identifier(value, number, identifier_system(none, none, none, type), type,
					component(field, 3, 0));
	return true;
}

/* DLN: number and state; some senders put a word before the number. */
static bool
read_driver(Hl7Source *source, JsonbValue *value)
{
	JsonbValue	field;
	Hl7Slice	number;
	Hl7Slice	state;

	if (!find_value(source, &field))
		return false;
	number = component(&field, 1, 0);
	state = component(&field, 2, 0);
	if (!has_digit(number))
	{
		number = has_digit(state) ? state : none;
		state = none;
	}
	if (number.text == NULL)
		return false;
	make_identifier(value, number, hl7_slice("DL"), hl7_slice("DL"), state);
	return true;
}

/* EI: number, namespace, universal id, its type: who gave the number */
static bool
read_authority(Hl7Source *source, JsonbValue *value)
{
	JsonbValue	field;

	if (!find_value(source, &field) || component(&field, 1, 0).text == NULL)
		return false;
	return give(identifier_system(component(&field, 2, 0), component(&field, 3, 0),
								  component(&field, 4, 0), none), value);
}

/* ---------- people and organisations ---------- */

static bool
make_person(JsonbValue *value, const JsonbValue *identifier, Hl7Slice family, Hl7Slice given)
{
	JsonbValue	identifiers;

	if (identifier == NULL && family.text == NULL && given.text == NULL)
		return false;
	hl7_new_object(value);
	hl7_add_slice(value, "name", joined((Hl7Slice[]) {given, family}, 2, " "));
	hl7_add_slice(value, "given", given);
	hl7_add_slice(value, "family", family);
	if (identifier != NULL)
	{
		hl7_new_array(&identifiers);
		hl7_append(&identifiers, identifier);
		hl7_add(value, "identifiers", 11, &identifiers);
	}
	return true;
}

/* XCN: number, family name, given name; authority in the ninth, type in the thirteenth */
static bool
read_person(Hl7Source *source, JsonbValue *value)
{
	JsonbValue	field;
	JsonbValue	id;
	Hl7Slice	number;
	Hl7Slice	family;
	Hl7Slice	space;
	Hl7Slice	type;

	if (!find_value(source, &field))
		return false;
	number = component(&field, 1, 0);
	family = component(&field, 2, 0);
	space = component(&field, 9, 1);
	type = component(&field, 13, 0);
	/* a name in the place of the number */
	if (number.text != NULL && family.text == NULL && !has_digit(number))
	{
		family = number;
		number = none;
	}
	if (number.text != NULL)
	{
		Hl7Slice	system = identifier_system(space, component(&field, 9, 2),
											   component(&field, 9, 3), type);

		make_identifier(&id, number, system, type, space);
	}
	return make_person(value, number.text == NULL ? NULL : &id, family, component(&field, 3, 0));
}

/* NDL: number, family name and given name are the parts of its first component. */
static bool
read_interpreter(Hl7Source *source, JsonbValue *value)
{
	JsonbValue	field;
	JsonbValue	id;
	Hl7Slice	number;

	if (!find_value(source, &field))
		return false;
	number = component(&field, 1, 1);
	if (number.text != NULL)
		make_identifier(&id, number, none, none, none);
	return make_person(value, number.text == NULL ? NULL : &id, component(&field, 1, 2),
					   component(&field, 1, 3));
}

/* XPN: family name and given name, as they are said */
static bool
read_name(Hl7Source *source, JsonbValue *value)
{
	JsonbValue	field;

	return find_value(source, &field) && give(pair(&field, 2, 1, " "), value);
}

static bool
family_name(const JsonbValue *field, JsonbValue *value)
{
	return give(component(field, 1, 0), value);
}

static bool
given_name(const JsonbValue *field, JsonbValue *value)
{
	return give(component(field, 2, 0), value);
}

/*
 * XON: name, type of name, number; authority in the sixth, type in the seventh,
 * number again in the tenth
 */
static bool
read_organization(Hl7Source *source, JsonbValue *value)
{
	JsonbValue	field;
	JsonbValue	id;
	JsonbValue	identifiers;
	Hl7Slice	name;
	Hl7Slice	number;
	Hl7Slice	space;
	Hl7Slice	system;
	Hl7Slice	type;

	if (!find_value(source, &field))
		return false;
	name = component(&field, 1, 0);
	number = component(&field, 10, 0);
	if (number.text == NULL)
		number = component(&field, 3, 0);
	type = component(&field, 7, 0);
	if (name.text == NULL && number.text == NULL)
		return false;
	hl7_new_object(value);
	hl7_add_slice(value, "name", name);
	if (number.text != NULL)
	{
		hl7_new_array(&identifiers);
		space = component(&field, 6, 1);
		system = identifier_system(space, component(&field, 6, 2), component(&field, 6, 3), type);
		make_identifier(&id, number, system, type, space);
		hl7_append(&identifiers, &id);
		hl7_add(value, "identifiers", 11, &identifiers);
	}
	return true;
}

/* ---------- telephones and places ---------- */

/* XTN: the number as one text in the first or twelfth, or as parts from the sixth on */
static bool
telephone(const JsonbValue *field, JsonbValue *value)
{
	Hl7Slice	equipment = component(field, 3, 0);
	Hl7Slice	number = component(field, 1, 0);

	if (hl7_is(equipment, "FX") || hl7_is(equipment, "BP") || hl7_is(equipment, "MD"))
		return false;
	if (number.text == NULL)
		number = pair(field, 6, 7, "-");
	if (number.text == NULL)
		number = component(field, 12, 0);
	return has_digit(number) && memchr(number.text, '@', number.length) == NULL &&
		give(number, value);
}

static bool
email(const JsonbValue *field, JsonbValue *value)
{
	const int	places[] = {4, 1, 12};

	for (int i = 0; i < 3; i++)
	{
		Hl7Slice	text = component(field, places[i], 0);

		if (text.text != NULL && memchr(text.text, '@', text.length) != NULL)
			return give(text, value);
	}
	return false;
}

/* XAD: number, street and dwelling as parts of the first, more in the second */
static bool
read_street(Hl7Source *source, JsonbValue *value)
{
	JsonbValue	field;
	Hl7Slice	parts[4];

	if (!find_value(source, &field))
		return false;
	for (int i = 0; i < 3; i++)
		parts[i] = component(&field, 1, i + 1);
	parts[3] = component(&field, 2, 0);
	return give(joined(parts, 4, " "), value);
}

/* PL: point of care, room, bed, facility; description in the ninth */
static bool
read_place(Hl7Source *source, JsonbValue *value)
{
	JsonbValue	field;
	const int	order[] = {4, 1, 2, 3, 9};
	Hl7Slice	parts[lengthof(order)];

	if (!find_value(source, &field))
		return false;
	for (size_t i = 0; i < lengthof(order); i++)
		parts[i] = component(&field, order[i], 0);
	return give(joined(parts, lengthof(order), ", "), value);
}

/* ---------- all repetitions ---------- */

typedef bool (*RepetitionReader) (const JsonbValue *field, JsonbValue *value);

/* All values of the repetitions from the one of the path on */
static bool
give_list(Hl7Source *source, RepetitionReader reader, JsonbValue *value)
{
	JsonbValue	field;
	JsonbValue	item;

	hl7_new_array(value);
	for (int i = source->repetition;
		 value->val.array.nElems < HL7_MAX_LIST && find_repetition(source, i, &field); i++)
		if (reader(&field, &item))
			hl7_append(value, &item);
	return value->val.array.nElems > 0;
}

/* The first value among them */
static bool
give_first(Hl7Source *source, RepetitionReader reader, JsonbValue *value)
{
	JsonbValue	field;

	for (int i = source->repetition; find_repetition(source, i, &field); i++)
		if (reader(&field, value))
			return true;
	return false;
}

static bool
read_ids(Hl7Source *source, JsonbValue *value)
{
	return give_list(source, identifier, value);
}

static bool
read_licences(Hl7Source *source, JsonbValue *value)
{
	return give_list(source, licence, value);
}

static bool
read_families(Hl7Source *source, JsonbValue *value)
{
	return give_list(source, family_name, value);
}

static bool
read_givens(Hl7Source *source, JsonbValue *value)
{
	return give_list(source, given_name, value);
}

static bool
read_phones(Hl7Source *source, JsonbValue *value)
{
	return give_list(source, telephone, value);
}

static bool
read_phone(Hl7Source *source, JsonbValue *value)
{
	return give_first(source, telephone, value);
}

static bool
read_email(Hl7Source *source, JsonbValue *value)
{
	return give_first(source, email, value);
}

/* in the order of how often they are asked for */
static const struct
{
	const char *name;
	Hl7Reader	reader;
}			readers[] = {
	{"text", read_text}, {"date", read_date}, {"time", read_time}, {"code", read_code},
	{"id", read_id}, {"ids", read_ids}, {"person", read_person},
	{"organization", read_organization},
	{"authority", read_authority}, {"integer", read_integer}, {"number", read_number},
	{"phone", read_phone}, {"phones", read_phones}, {"email", read_email}, {"name", read_name},
	{"street", read_street}, {"raw", read_raw}, {"lines", read_lines}, {"lower", read_lower},
	{"boolean", read_boolean}, {"gender", read_gender}, {"urgency", read_urgency},
	{"relationship", read_relationship}, {"class", read_class}, {"driver", read_driver},
	{"licences", read_licences}, {"families", read_families}, {"givens", read_givens},
	{"place", read_place}, {"interpreter", read_interpreter}, {"event", read_event}
};

/* Finds how a type is read; NULL when there is no such type. */
Hl7Reader
hl7_find_reader(const char *name, int length)
{
	for (size_t i = 0; i < lengthof(readers); i++)
		if ((int) strlen(readers[i].name) == length && memcmp(readers[i].name, name, length) == 0)
			return readers[i].reader;
	return NULL;
}
