/*-------------------------------------------------------------------------
 *
 * fhir.c
 *		The small readers of FHIR: texts, numbers, dates, codes, contact points.
 *
 * A sender may have written anything of any type, so every reader takes any
 * jsonb and answers null for what it cannot use.  None of them raises an
 * error for what it reads.
 *
 * IDENTIFICATION
 *		src/fhir.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

#include "fhir.h"
#include "plain_value.h"

/* characters of a value that a finding shows */
#define MAX_SENT		200

PG_FUNCTION_INFO_V1(fhir_text);
PG_FUNCTION_INFO_V1(fhir_list);
PG_FUNCTION_INFO_V1(fhir_first);
PG_FUNCTION_INFO_V1(fhir_join);
PG_FUNCTION_INFO_V1(fhir_telecom);
PG_FUNCTION_INFO_V1(fhir_number);
PG_FUNCTION_INFO_V1(fhir_date);
PG_FUNCTION_INFO_V1(fhir_time);
PG_FUNCTION_INFO_V1(fhir_coding);
PG_FUNCTION_INFO_V1(fhir_concept);
PG_FUNCTION_INFO_V1(fhir_concept_name);
PG_FUNCTION_INFO_V1(fhir_extension_text);
PG_FUNCTION_INFO_V1(fhir_finding);

/* ---------- primitives ---------- */

Datum
fhir_text(PG_FUNCTION_ARGS)
{
	JsonbValue	value;

	value_of(PG_GETARG_JSONB_P(0), &value);
	return piece_datum(fcinfo, text_of(&value));
}

Datum
fhir_list(PG_FUNCTION_ARGS)
{
	JsonbParseState *state = NULL;
	JsonbValue *list;

	if (!PG_ARGISNULL(0))
	{
		Jsonb	   *jb = PG_GETARG_JSONB_P(0);
		JsonbValue	value;

		value_of(jb, &value);
		if (is_array(&value))
			PG_RETURN_JSONB_P(jb);
		if (is_object(&value) || value.type == jbvString)
		{
			pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
			pushJsonbValue(&state, WJB_ELEM, &value);
			list = pushJsonbValue(&state, WJB_END_ARRAY, NULL);
			PG_RETURN_JSONB_P(JsonbValueToJsonb(list));
		}
	}
	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	list = pushJsonbValue(&state, WJB_END_ARRAY, NULL);
	PG_RETURN_JSONB_P(JsonbValueToJsonb(list));
}

Datum
fhir_first(PG_FUNCTION_ARGS)
{
	Jsonb	   *jb = PG_GETARG_JSONB_P(0);
	JsonbValue	value;
	JsonbValue *first;

	value_of(jb, &value);
	if (!is_array(&value))
		PG_RETURN_JSONB_P(jb);
	first = element(&value, 0);
	if (first == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(JsonbValueToJsonb(first));
}

Datum
fhir_join(PG_FUNCTION_ARGS)
{
	JsonbValue	list;
	Piece		separator = argument_text(fcinfo, 1);
	StringInfoData joined;

	value_of(PG_GETARG_JSONB_P(0), &list);
	initStringInfo(&joined);
	for (uint32 i = 0; i < MAX_TEXTS; i++)
	{
		JsonbValue *value = element(&list, i);
		Piece		piece = text_of(value);

		if (value == NULL)
			break;
		if (piece.text == NULL)
			continue;
		if (joined.len > 0)
			appendBinaryStringInfo(&joined, separator.text, separator.length);
		appendBinaryStringInfo(&joined, piece.text, piece.length);
	}
	if (joined.len == 0)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text_with_len(joined.data, joined.len));
}

/* Digits, which a sign may go before */
static bool
is_plain_number(Piece piece)
{
	bool		negative = piece.length > 0 && piece.text[0] == '-';

	return plain_number(piece.text + negative, piece.length - negative, 15, 9);
}

Datum
fhir_number(PG_FUNCTION_ARGS)
{
	JsonbValue	value;
	Piece		piece;

	value_of(PG_GETARG_JSONB_P(0), &value);
	piece = text_of(&value);
	if (piece.text == NULL || !is_plain_number(piece))
		PG_RETURN_NULL();
	return DirectFunctionCall3(numeric_in, CStringGetDatum(pnstrdup(piece.text, piece.length)),
							   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
}

/* Two digits as a number; -1 when they are none. */
static int
two_digits(const char *text)
{
	if (!IS_DIGIT(text[0]) || !IS_DIGIT(text[1]))
		return -1;
	return (text[0] - '0') * 10 + (text[1] - '0');
}

/* Do the first ten characters name a day of the calendar? */
static bool
starts_with_day(Piece piece)
{
	const char *at = piece.text;
	int			year;
	int			month;
	int			day;

	return piece.length >= 10 && plain_digits(&at, at + 4, 4, 4, &year) && *at++ == '-' &&
		plain_digits(&at, at + 2, 2, 2, &month) && *at++ == '-' &&
		plain_digits(&at, at + 2, 2, 2, &day) && is_day(year, month, day);
}

Datum
fhir_date(PG_FUNCTION_ARGS)
{
	Piece		piece = argument_text(fcinfo, 0);

	if (!starts_with_day(piece) || (piece.length > 10 && piece.text[10] != 'T'))
		PG_RETURN_NULL();
	piece.length = 10;
	return piece_datum(fcinfo, piece);
}

/* The end of "10:00", "10:00:59" or "10:00:59.123" from position 11 on; -1 when it is none. */
static int
end_of_time(Piece piece)
{
	const char *text = piece.text;
	int			i = 16;

	if (piece.length < 16 || (text[10] != 'T' && text[10] != ' ') || text[13] != ':' ||
		two_digits(text + 11) < 0 || two_digits(text + 11) > 23 ||
		two_digits(text + 14) < 0 || two_digits(text + 14) > 59)
		return -1;
	if (piece.length >= 19 && text[16] == ':')
	{
		if (two_digits(text + 17) < 0 || two_digits(text + 17) > 60)
			return -1;
		i = 19;
		if (i < piece.length && text[i] == '.')
		{
			for (i++; i < piece.length && IS_DIGIT(text[i]); i++)
				 /* sub-second digits */ ;
			/* a leap second has no parts */
			if (i == 20 || i > 32 || two_digits(text + 17) == 60)
				return -1;
		}
	}
	return i;
}

Datum
fhir_time(PG_FUNCTION_ARGS)
{
	Piece		piece = argument_text(fcinfo, 0);
	const char *zone;
	int			end;

	if (!starts_with_day(piece))
		PG_RETURN_NULL();
	if (piece.length == 10)
		PG_RETURN_TEXT_P(cstring_to_text(psprintf("%.10sT00:00:00Z", piece.text)));
	end = end_of_time(piece);
	if (end < 0)
		PG_RETURN_NULL();
	zone = piece.text + end;
	if (piece.length == end)
		zone = "Z";
	else if (piece.length == end + 1 && zone[0] == 'Z')
		 /* UTC */ ;
	else if (piece.length != end + 6 || (zone[0] != '+' && zone[0] != '-') || zone[3] != ':' ||
			 two_digits(zone + 1) < 0 || two_digits(zone + 1) > 14 ||
			 two_digits(zone + 4) < 0 || two_digits(zone + 4) > 59)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("%.10sT%.*s%.*s", piece.text, end - 11,
											  piece.text + 11,
											  piece.length > end ? piece.length - end : 1,
											  zone)));
}

/* ---------- codes ---------- */

/* The URI by which the model knows a code system that may be named by its OID. */
static Piece
code_system(Piece system)
{
	static const char *const names[][2] = {
		{"urn:oid:2.16.840.1.113883.6.90", "http://hl7.org/fhir/sid/icd-10-cm"},
		{"urn:oid:2.16.840.1.113883.6.103", "http://hl7.org/fhir/sid/icd-9-cm"},
		{"http://hl7.org/fhir/sid/icd-9-cm/diagnosis", "http://hl7.org/fhir/sid/icd-9-cm"},
		{"urn:oid:2.16.840.1.113883.6.96", "http://snomed.info/sct"},
		{"urn:oid:2.16.840.1.113883.6.1", "http://loinc.org"},
		{"urn:oid:2.16.840.1.113883.6.12", "http://www.ama-assn.org/go/cpt"},
	};

	for (int i = 0; i < lengthof(names); i++)
	{
		if (is_text(system, names[i][0]))
			return constant(names[i][1]);
	}
	return system;
}

/* A coding as system, code and display; null when nothing can be read. */
static Datum
coding_datum(FunctionCallInfo fcinfo, const JsonbValue *coding, Piece shown)
{
	JsonbParseState *state = NULL;
	Piece		system = code_system(text_member(coding, "system"));
	Piece		code = text_member(coding, "code");
	Piece		display = text_member(coding, "display");

	if (display.text == NULL)
		display = shown;
	if (system.text == NULL && code.text == NULL && display.text == NULL)
		PG_RETURN_NULL();
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	put(&state, "system", system);
	put(&state, "code", code);
	put(&state, "display", display);
	PG_RETURN_JSONB_P(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

/* The coding that a person chose, else the first. */
static JsonbValue *
chosen_coding(const JsonbValue *concept)
{
	JsonbValue *codings = member(concept, "coding");
	JsonbValue *first = codings == NULL ? NULL : element(codings, 0);

	for (uint32 i = 0; is_array(codings) && i < MAX_TEXTS; i++)
	{
		JsonbValue *coding = element(codings, i);
		JsonbValue *chosen = member(coding, "userSelected");

		if (coding == NULL)
			break;
		if (chosen != NULL && chosen->type == jbvBool && chosen->val.boolean)
			return coding;
	}
	return first;
}

Datum
fhir_coding(PG_FUNCTION_ARGS)
{
	JsonbValue	coding;

	if (PG_ARGISNULL(0))
		return coding_datum(fcinfo, NULL, argument_text(fcinfo, 1));
	value_of(PG_GETARG_JSONB_P(0), &coding);
	return coding_datum(fcinfo, &coding, argument_text(fcinfo, 1));
}

Datum
fhir_concept(PG_FUNCTION_ARGS)
{
	JsonbValue	concept;

	/* a text where a concept belongs is its text */
	value_of(PG_GETARG_JSONB_P(0), &concept);
	return coding_datum(fcinfo, chosen_coding(&concept),
						is_object(&concept) ? text_member(&concept, "text") : text_of(&concept));
}

Datum
fhir_concept_name(PG_FUNCTION_ARGS)
{
	JsonbValue	value;
	JsonbValue *concept;
	JsonbValue *coding;
	Piece		name;

	value_of(PG_GETARG_JSONB_P(0), &value);
	concept = element(&value, 0);
	coding = chosen_coding(concept);
	name = text_member(coding, "code");
	if (name.text == NULL)
		name = text_member(coding, "display");
	if (name.text == NULL)
		name = is_object(concept) ? text_member(concept, "text") : text_of(concept);
	return piece_datum(fcinfo, name);
}

/* ---------- contact points ---------- */

Datum
fhir_telecom(PG_FUNCTION_ARGS)
{
	JsonbParseState *state = NULL;
	JsonbValue	list;
	Piece		wanted = argument_text(fcinfo, 1);

	value_of(PG_GETARG_JSONB_P(0), &list);
	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (uint32 i = 0; i < MAX_TEXTS; i++)
	{
		JsonbValue *point = element(&list, i);
		Piece		system = text_member(point, "system");
		Piece		piece = text_member(point, "value");
		JsonbValue	value;

		if (point == NULL)
			break;
		/* who can be texted can be called */
		if (is_text(system, "sms"))
			system = constant("phone");
		if (piece.text == NULL || system.length != wanted.length ||
			memcmp(system.text, wanted.text, wanted.length) != 0 ||
			is_text(text_member(point, "use"), "old"))
			continue;
		value.type = jbvString;
		value.val.string.val = unconstify(char *, piece.text);
		value.val.string.len = piece.length;
		pushJsonbValue(&state, WJB_ELEM, &value);
	}
	return array_datum(fcinfo, &state);
}

/* ---------- extensions ---------- */

/* A code or a text, whichever way it is written */
Datum
fhir_extension_text(PG_FUNCTION_ARGS)
{
	JsonbValue	extension;
	JsonbValue *concept;
	JsonbValue *codings;
	Piece		text;

	value_of(PG_GETARG_JSONB_P(0), &extension);
	concept = member(&extension, "valueCodeableConcept");
	codings = member(concept, "coding");
	text = text_member(&extension, "valueCode");
	if (text.text == NULL)
		text = text_member(&extension, "valueString");
	if (text.text == NULL && is_array(codings))
		text = text_member(element(codings, 0), "code");
	if (text.text == NULL)
		text = text_member(member(&extension, "valueCoding"), "code");
	if (text.text == NULL)
		text = text_member(concept, "text");
	if (text.text == NULL)
		text = text_member(member(&extension, "valueIdentifier"), "value");
	return piece_datum(fcinfo, text);
}

/* ---------- findings ---------- */

/* The value that was sent, cut where it is long; none of an object or an array */
static Piece
sent_value(Jsonb *sent)
{
	JsonbValue	value;
	Piece		piece;

	value_of(sent, &value);
	if (value.type == jbvBool)
		return constant(value.val.boolean ? "true" : "false");
	if (value.type != jbvString)
		return text_of(&value);
	piece.text = value.val.string.val;
	piece.length = pg_mbcharcliplen(piece.text, value.val.string.len, MAX_SENT);
	return piece;
}

/* fhir_finding(code, severity, attribute, position, detail text, value jsonb) */
Datum
fhir_finding(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"code", "severity", "attribute", "position", "detail"};
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (size_t i = 0; i < lengthof(names); i++)
		put_text(&state, names[i], argument_text(fcinfo, i));
	if (!PG_ARGISNULL(lengthof(names)))
		put_text(&state, "value", sent_value(PG_GETARG_JSONB_P(lengthof(names))));
	PG_RETURN_JSONB_P(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}
