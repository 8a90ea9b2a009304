/*-------------------------------------------------------------------------
 *
 * fhir_reference.c
 *		The small readers of FHIR: identifiers and references.
 *
 * Null is what cannot be used, as in fhir.c.
 *
 * IDENTIFICATION
 *		src/fhir_reference.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fhir.h"

PG_FUNCTION_INFO_V1(fhir_identifier);
PG_FUNCTION_INFO_V1(fhir_identifiers);
PG_FUNCTION_INFO_V1(fhir_reference_key);
PG_FUNCTION_INFO_V1(fhir_reference_type);
PG_FUNCTION_INFO_V1(fhir_reference_ids);
PG_FUNCTION_INFO_V1(fhir_target);

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
		put_id(&state,
			   id_system(argument_text(fcinfo, 1), text_member(&resource, "resourceType")), id);
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
	if (slash + 1 >= history_length &&
		memcmp(key.text + slash + 1 - history_length, history, history_length) == 0)
		key.length = slash + 1 - history_length;
	for (slash = key.length - 1; slash >= 0 && IS_ID(key.text[slash]); slash--)
		 /* the id */ ;
	if (slash < 2 || key.text[slash] != '/' ||
		key.length - slash - 1 < 1 || key.length - slash - 1 > 64)
		return name;
	for (start = slash; start > 0 && IS_LETTER(key.text[start - 1]); start--)
		 /* the type */ ;
	if (slash - start < 2 || key.text[start] < 'A' || key.text[start] > 'Z' ||
		(start > 0 && key.text[start - 1] != '/'))
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

	type.length = 0;
	while (type.length < key.length && IS_LETTER(key.text[type.length]))
		type.length++;
	if (type.length < 2 || type.length + 1 >= key.length ||
		key.text[type.length] != '/' || type.text[0] > 'Z')
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
		if ((name.text[i - 1] == '?' || name.text[i - 1] == '&') &&
			memcmp(name.text + i, parameter, parameter_length) == 0)
		{
			Piece		system = no_piece;
			Piece		value = {name.text + i + parameter_length, 0};

			while (value.text + value.length < name.text + name.length &&
				   value.text[value.length] != '&')
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
		if (type.text == NULL)
			type = argument_text(fcinfo, 2);
		put_id(&state, id_system(source, type), name);
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
		if (type.text == NULL)
			type = argument_text(fcinfo, 2);
		put_id(&state, id_system(source, type), name);
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
	static const char *const types[] = {"Patient", "Practitioner", "Organization", "Location",
		"ServiceRequest", "Claim", "PractitionerRole"};
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
		char *key = psprintf("%.*s|%.*s|%.*s", wanted.length, wanted.text, system.length,
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
	{
		if (!PG_ARGISNULL(2))
			found = lookup(&keys, constant(psprintf("%d%.*s", PG_GETARG_INT32(2),
													name.length, name.text)));
	}
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
