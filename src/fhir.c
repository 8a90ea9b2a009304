/*-------------------------------------------------------------------------
 *
 * fhir.c
 *		The small readers of FHIR: texts, dates, codes, identifiers, references.
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

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "compat.h"

/* More identifiers than this of one resource are not read. */
#define MAX_IDENTIFIERS		50

/* More given names, address lines or contact points than this are not read. */
#define MAX_TEXTS			50

/* Letters of the types and of the ids of resources. */
#define IS_LETTER(c)	(((c) >= 'a' && (c) <= 'z') || ((c) >= 'A' && (c) <= 'Z'))
#define IS_DIGIT(c)		((c) >= '0' && (c) <= '9')
#define IS_ID(c)		(IS_LETTER(c) || IS_DIGIT(c) || (c) == '-' || (c) == '.')

/* A piece of text, not ended by a null character; NULL when there is none. */
typedef struct Piece
{
	const char *text;
	int			length;
} Piece;

static const Piece no_piece = {NULL, 0};

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
PG_FUNCTION_INFO_V1(fhir_identifier);
PG_FUNCTION_INFO_V1(fhir_identifiers);
PG_FUNCTION_INFO_V1(fhir_reference_key);
PG_FUNCTION_INFO_V1(fhir_reference_type);
PG_FUNCTION_INFO_V1(fhir_reference_ids);
PG_FUNCTION_INFO_V1(fhir_target);

/* ---------- values of any type ---------- */

/* The value that a jsonb is: a scalar itself, anything else as a container. */
static void
value_of(Jsonb *jb, JsonbValue *value)
{
	if (JB_ROOT_IS_SCALAR(jb))
	{
		JsonbValue *scalar = getIthJsonbValueFromContainer(&jb->root, 0);

		*value = *scalar;
		return;
	}
	value->type = jbvBinary;
	value->val.binary.data = &jb->root;
	value->val.binary.len = VARSIZE(jb) - VARHDRSZ;
}

static bool
is_array(const JsonbValue *value)
{
	return value != NULL && value->type == jbvBinary && JsonContainerIsArray(value->val.binary.data);
}

static bool
is_object(const JsonbValue *value)
{
	return value != NULL && value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data);
}

/* A member of an object; NULL when it is none, or does not have it. */
static JsonbValue *
member(const JsonbValue *value, const char *key)
{
	if (!is_object(value))
		return NULL;
	return getKeyJsonValueFromContainer(value->val.binary.data, key, strlen(key), NULL);
}

/* An element of an array; what is no array is its own only element. */
static JsonbValue *
element(JsonbValue *value, uint32 i)
{
	if (is_array(value))
		return getIthJsonbValueFromContainer(value->val.binary.data, i);
	return i == 0 ? value : NULL;
}

static Piece
trimmed(Piece piece)
{
	while (piece.length > 0 && strchr(" \t\r\n", piece.text[0]) != NULL)
		piece.text++, piece.length--;
	while (piece.length > 0 && strchr(" \t\r\n", piece.text[piece.length - 1]) != NULL)
		piece.length--;
	return piece.length > 0 ? piece : no_piece;
}

/* The text of a string or a number. */
static Piece
text_of(const JsonbValue *value)
{
	Piece		piece = no_piece;

	if (value == NULL)
		return no_piece;
	if (value->type == jbvString)
	{
		piece.text = value->val.string.val;
		piece.length = value->val.string.len;
	}
	else if (value->type == jbvNumeric)
	{
		piece.text = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
		piece.length = strlen(piece.text);
	}
	return piece.text == NULL ? no_piece : trimmed(piece);
}

static Piece
text_member(const JsonbValue *value, const char *key)
{
	return text_of(member(value, key));
}

static bool
is_text(Piece piece, const char *text)
{
	return piece.text != NULL && piece.length == strlen(text) && memcmp(piece.text, text, piece.length) == 0;
}

static Piece
argument_text(FunctionCallInfo fcinfo, int i)
{
	Piece		piece = no_piece;

	if (!PG_ARGISNULL(i))
	{
		text	   *argument = PG_GETARG_TEXT_PP(i);

		piece.text = VARDATA_ANY(argument);
		piece.length = VARSIZE_ANY_EXHDR(argument);
	}
	return piece;
}

static Piece
constant(const char *text)
{
	Piece		piece = {text, strlen(text)};

	return piece;
}

/* "source/Type", by which the ids of a system are known */
static Piece
id_system(Piece source, Piece type)
{
	Piece		system;

	system.text = psprintf("%.*s/%.*s", source.length, source.text != NULL ? source.text : "",
						   type.length, type.text != NULL ? type.text : "");
	system.length = strlen(system.text);
	return system;
}

static Datum
piece_datum(FunctionCallInfo fcinfo, Piece piece)
{
	if (piece.text == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text_with_len(piece.text, piece.length));
}

/* ---------- writing ---------- */

static void
put_key(JsonbParseState **state, const char *key)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = unconstify(char *, key);
	value.val.string.len = strlen(key);
	pushJsonbValue(state, WJB_KEY, &value);
}

/* A member of the object that is being written, when there is a text for it. */
static void
put(JsonbParseState **state, const char *key, Piece piece)
{
	JsonbValue	value;

	if (piece.text == NULL || piece.length == 0)
		return;
	put_key(state, key);
	value.type = jbvString;
	value.val.string.val = unconstify(char *, piece.text);
	value.val.string.len = piece.length;
	pushJsonbValue(state, WJB_VALUE, &value);
}

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

/* Is it digits, at most so many before and after the point? */
static bool
is_plain_number(Piece piece)
{
	int			i = 0;
	int			before = 0;
	int			after = 0;

	if (piece.length > 0 && piece.text[0] == '-')
		i++;
	for (; i < piece.length && IS_DIGIT(piece.text[i]); i++)
		before++;
	if (i < piece.length && piece.text[i] == '.')
	{
		for (i++; i < piece.length && IS_DIGIT(piece.text[i]); i++)
			after++;
		if (after == 0)
			return false;
	}
	return i == piece.length && before >= 1 && before <= 15 && after <= 9;
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
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int			century;
	int			year;
	int			month;
	int			day;
	bool		leap;

	if (piece.length < 10 || piece.text[4] != '-' || piece.text[7] != '-')
		return false;
	century = two_digits(piece.text);
	year = two_digits(piece.text + 2);
	month = two_digits(piece.text + 5);
	day = two_digits(piece.text + 8);
	if (century < 0 || year < 0 || century + year == 0 || month < 1 || month > 12 || day < 1)
		return false;
	leap = year % 4 == 0 && (year != 0 || century % 4 == 0);
	return day <= days[month - 1] + (month == 2 && leap ? 1 : 0);
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

/* The end of "10:00", "10:00:59" or "10:00:59.123", from position 11 on; -1 when it is no time of day. */
static int
end_of_time(Piece piece)
{
	const char *text = piece.text;
	int			i = 16;

	if (piece.length < 16 || (text[10] != 'T' && text[10] != ' ') || text[13] != ':' ||
		two_digits(text + 11) < 0 || two_digits(text + 11) > 23 || two_digits(text + 14) < 0 || two_digits(text + 14) > 59)
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
			 two_digits(zone + 1) < 0 || two_digits(zone + 1) > 14 || two_digits(zone + 4) < 0 || two_digits(zone + 4) > 59)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("%.10sT%.*s%.*s", piece.text, end - 11, piece.text + 11,
											  piece.length > end ? piece.length - end : 1, zone)));
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

	for (uint32 i = 0; is_array(codings) && i < Min(JsonContainerSize(codings->val.binary.data), MAX_IDENTIFIERS); i++)
	{
		JsonbValue *coding = element(codings, i);
		JsonbValue *chosen = member(coding, "userSelected");

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

/* ---------- identifiers ---------- */

/* The type of an identifier: as it is told, or known by the system. */
static Piece
identifier_type(const JsonbValue *identifier, Piece system)
{
	static const char *const known[][2] = {
		{"http://hl7.org/fhir/sid/us-ssn", "SS"}, {"urn:oid:2.16.840.1.113883.4.1", "SS"},
		{"http://hl7.org/fhir/sid/us-npi", "NPI"}, {"urn:oid:2.16.840.1.113883.4.6", "NPI"},
		{"http://hl7.org/fhir/sid/us-medicare", "MC"}, {"http://hl7.org/fhir/sid/us-mbi", "MC"},
	};
	JsonbValue *type = member(identifier, "type");
	Piece		code = text_member(element(member(type, "coding"), 0), "code");

	if (code.text != NULL)
		return code;
	for (int i = 0; i < lengthof(known); i++)
	{
		if (is_text(system, known[i][0]))
			return constant(known[i][1]);
	}
	return text_member(type, "text");
}

/* Writes an identifier into an array or as the only value; false when it has no value. */
static bool
put_identifier(JsonbParseState **state, JsonbValue **result, const JsonbValue *identifier)
{
	Piece		system = text_member(identifier, "system");
	Piece		value = text_member(identifier, "value");
	JsonbValue *assigner = member(identifier, "assigner");
	Piece		name = text_member(assigner, "display");

	if (value.text == NULL)
		return false;
	if (name.text == NULL)
		name = text_member(member(assigner, "identifier"), "value");
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	put(state, "system", system);
	put(state, "value", value);
	put(state, "type", identifier_type(identifier, system));
	put(state, "assigner", name);
	*result = pushJsonbValue(state, WJB_END_OBJECT, NULL);
	return true;
}

/* Writes the id of a resource into an array. */
static void
put_id(JsonbParseState **state, Piece system, Piece value)
{
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	put(state, "system", system);
	put(state, "value", value);
	put(state, "type", constant("FHIR"));
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

/* An array that has been written, or null when nothing is in it. */
static Datum
array_datum(FunctionCallInfo fcinfo, JsonbParseState **state)
{
	JsonbValue *array = pushJsonbValue(state, WJB_END_ARRAY, NULL);

	if (array->val.array.nElems == 0)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(JsonbValueToJsonb(array));
}

Datum
fhir_identifier(PG_FUNCTION_ARGS)
{
	JsonbParseState *state = NULL;
	JsonbValue	identifier;
	JsonbValue *result;

	value_of(PG_GETARG_JSONB_P(0), &identifier);
	if (!put_identifier(&state, &result, &identifier))
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(JsonbValueToJsonb(result));
}

Datum
fhir_identifiers(PG_FUNCTION_ARGS)
{
	JsonbParseState *state = NULL;
	JsonbValue	resource;
	JsonbValue *list;
	JsonbValue *ignored;
	Piece		id;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	value_of(PG_GETARG_JSONB_P(0), &resource);
	list = member(&resource, "identifier");
	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (uint32 i = 0; i < MAX_IDENTIFIERS; i++)
	{
		JsonbValue *identifier = list == NULL ? NULL : element(list, i);

		if (identifier == NULL)
			break;
		if (!is_text(text_member(identifier, "use"), "old"))
			put_identifier(&state, &ignored, identifier);
	}
	/* the id of a contained resource, which fhir_entries() marks, means nothing elsewhere */
	id = text_member(&resource, "id");
	if (id.text != NULL && id.text[0] != '#')
		put_id(&state, id_system(argument_text(fcinfo, 1), text_member(&resource, "resourceType")), id);
	return array_datum(fcinfo, &state);
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
			memcmp(system.text, wanted.text, wanted.length) != 0 || is_text(text_member(point, "use"), "old"))
			continue;
		value.type = jbvString;
		value.val.string.val = unconstify(char *, piece.text);
		value.val.string.len = piece.length;
		pushJsonbValue(&state, WJB_ELEM, &value);
	}
	return array_datum(fcinfo, &state);
}

/* ---------- references ---------- */

/* "Type/id" of a relative or an absolute URL, without its version; another text as it is. */
static Piece
reference_key(Piece name)
{
	static const char history[] = "/_history/";
	const int	history_length = sizeof(history) - 1;
	Piece		key = name;
	int			slash;
	int			start;

	/* the version is the last segment */
	for (slash = key.length - 1; slash >= 0 && key.text[slash] != '/'; slash--)
		 /* nothing */ ;
	if (slash + 1 >= history_length && memcmp(key.text + slash + 1 - history_length, history, history_length) == 0)
		key.length = slash + 1 - history_length;
	for (slash = key.length - 1; slash >= 0 && IS_ID(key.text[slash]); slash--)
		 /* the id */ ;
	if (slash < 2 || key.text[slash] != '/' || key.length - slash - 1 < 1 || key.length - slash - 1 > 64)
		return name;
	for (start = slash; start > 0 && IS_LETTER(key.text[start - 1]); start--)
		 /* the type */ ;
	if (slash - start < 2 || key.text[start] < 'A' || key.text[start] > 'Z' || (start > 0 && key.text[start - 1] != '/'))
		return name;
	key.text += start;
	key.length -= start;
	return key;
}

/* The type of "Type/id"; no piece for anything else. */
static Piece
key_type(Piece key)
{
	Piece		type = key;

	for (type.length = 0; type.length < key.length && IS_LETTER(key.text[type.length]); type.length++)
		 /* nothing */ ;
	if (type.length < 2 || type.length + 1 >= key.length || key.text[type.length] != '/' || type.text[0] > 'Z')
		return no_piece;
	for (int i = type.length + 1; i < key.length; i++)
	{
		if (strchr("/|?", key.text[i]) != NULL)
			return no_piece;
	}
	return type;
}

/* The text of a reference: of its member of that name, or itself. */
static Piece
reference_name(const JsonbValue *reference)
{
	return is_object(reference) ? text_member(reference, "reference") : text_of(reference);
}

static bool
starts_with(Piece piece, const char *start)
{
	return piece.length >= strlen(start) && memcmp(piece.text, start, strlen(start)) == 0;
}

Datum
fhir_reference_key(PG_FUNCTION_ARGS)
{
	return piece_datum(fcinfo, reference_key(argument_text(fcinfo, 0)));
}

Datum
fhir_reference_type(PG_FUNCTION_ARGS)
{
	JsonbValue	reference;
	Piece		type = no_piece;
	Piece		name;

	value_of(PG_GETARG_JSONB_P(0), &reference);
	name = reference_name(&reference);
	if (name.text != NULL)
		type = key_type(reference_key(name));
	if (type.text == NULL)
		type = text_member(&reference, "type");
	return piece_datum(fcinfo, type);
}

/* What "Claim?identifier=system|value" searches for. */
static void
put_searched(JsonbParseState **state, Piece name)
{
	static const char parameter[] = "identifier=";
	const int	parameter_length = sizeof(parameter) - 1;

	for (int i = 1; i + parameter_length < name.length; i++)
	{
		if ((name.text[i - 1] == '?' || name.text[i - 1] == '&') && memcmp(name.text + i, parameter, parameter_length) == 0)
		{
			Piece		system = no_piece;
			Piece		value = {name.text + i + parameter_length, 0};

			while (value.text + value.length < name.text + name.length && value.text[value.length] != '&')
			{
				if (value.text[value.length] == '|')
				{
					system = value;
					value.text += value.length + 1;
					value.length = 0;
				}
				else
					value.length++;
			}
			if (value.length > 0)
			{
				pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
				put(state, "system", system);
				put(state, "value", value);
				pushJsonbValue(state, WJB_END_OBJECT, NULL);
			}
			return;
		}
	}
}

static bool
has_character(Piece piece, char c)
{
	return piece.text != NULL && memchr(piece.text, c, piece.length) != NULL;
}

Datum
fhir_reference_ids(PG_FUNCTION_ARGS)
{
	JsonbParseState *state = NULL;
	JsonbValue	reference;
	JsonbValue *ignored;
	Piece		source = argument_text(fcinfo, 1);
	Piece		name;
	Piece		type;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	value_of(PG_GETARG_JSONB_P(0), &reference);
	name = reference_name(&reference);
	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	put_identifier(&state, &ignored, member(&reference, "identifier"));
	if (name.text == NULL || name.text[0] == '#')
		return array_datum(fcinfo, &state);

	name = reference_key(name);
	type = key_type(name);
	if (type.text != NULL)
	{
		name.text += type.length + 1;
		name.length -= type.length + 1;
		put_id(&state, id_system(source, type), name);
	}
	else if (starts_with(name, "urn:uuid:"))
	{
		/* fhir_entries() gives the resource this id when it has none */
		type = text_member(&reference, "type");
		name.text += strlen("urn:uuid:");
		name.length -= strlen("urn:uuid:");
		put_id(&state, id_system(source, type.text != NULL ? type : argument_text(fcinfo, 2)), name);
	}
	else if (starts_with(name, "urn:"))
	{
		pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		put(&state, "system", constant("urn:ietf:rfc:3986"));
		put(&state, "value", name);
		pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	}
	else if (has_character(name, '?'))
		put_searched(&state, name);
	else
	{
		type = text_member(&reference, "type");
		put_id(&state, id_system(source, type.text != NULL ? type : argument_text(fcinfo, 2)), name);
	}
	return array_datum(fcinfo, &state);
}

/* The number that a key stands for; 0 when there is no such key. */
static int
lookup(const JsonbValue *keys, Piece key)
{
	JsonbValue *found;

	if (key.text == NULL || !is_object(keys))
		return 0;
	found = getKeyJsonValueFromContainer(keys->val.binary.data, key.text, key.length, NULL);
	if (found == NULL || found->type != jbvNumeric)
		return 0;
	return DatumGetInt32(DirectFunctionCall1(numeric_int4, NumericGetDatum(found->val.numeric)));
}

/* By "Type|system|value", in the type that is told or in those that are referred to so. */
static int
lookup_identifier(const JsonbValue *keys, const JsonbValue *reference, Piece name)
{
	static const char *const types[] = {"Patient", "Practitioner", "Organization", "Location", "ServiceRequest", "Claim", "PractitionerRole"};
	JsonbValue *identifier = member(reference, "identifier");
	Piece		system = text_member(identifier, "system");
	Piece		value = text_member(identifier, "value");
	Piece		type = text_member(reference, "type");
	int			found = 0;

	if (value.text == NULL)
		return 0;
	if (type.text == NULL && name.text != NULL)
		type = key_type(reference_key(name));
	for (int i = 0; i < (type.text != NULL ? 1 : lengthof(types)) && found == 0; i++)
	{
		Piece		wanted = type.text != NULL ? type : constant(types[i]);
		char	   *key = psprintf("%.*s|%.*s|%.*s", wanted.length, wanted.text, system.length,
								   system.text != NULL ? system.text : "", value.length, value.text);

		found = lookup(keys, constant(key));
	}
	return found;
}

Datum
fhir_target(PG_FUNCTION_ARGS)
{
	JsonbValue	keys;
	JsonbValue	reference;
	Piece		name;
	int			found = 0;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	value_of(PG_GETARG_JSONB_P(0), &keys);
	value_of(PG_GETARG_JSONB_P(1), &reference);
	name = reference_name(&reference);
	if (name.text != NULL && name.text[0] == '#')
		found = PG_ARGISNULL(2) ? 0 : lookup(&keys, constant(psprintf("%d%.*s", PG_GETARG_INT32(2), name.length, name.text)));
	else if (name.text != NULL)
	{
		found = lookup(&keys, name);
		if (found == 0)
			found = lookup(&keys, reference_key(name));
	}
	if (found == 0)
		found = lookup_identifier(&keys, &reference, name);
	if (found == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT32(found);
}
