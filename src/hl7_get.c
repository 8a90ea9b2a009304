/*-------------------------------------------------------------------------
 *
 * hl7_get.c
 *		Values of HL7 messages by their paths: PID-3(2).4.1.
 *
 * From text only the line, and in it the field, that the path names is read.
 * Both forms of a message give the same for the same path.
 *
 * IDENTIFICATION
 *		src/hl7_get.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "compat.h"
#include "errors.h"
#include "hl7.h"

/* Numbers from 1; 0 where the path names none. */
typedef struct Path
{
	const char *segment;
	int			occurrence;		/* of the segment */
	int			field;
	int			repetition;
	int			component;
	int			subcomponent;
} Path;

PG_FUNCTION_INFO_V1(hl7_get_jsonb);
PG_FUNCTION_INFO_V1(hl7_get_text);
PG_FUNCTION_INFO_V1(hl7_count);
PG_FUNCTION_INFO_V1(hl7_segments);

pg_noreturn static void
refuse_path(const char *problem)
{
	ereport(ERROR,
			(errcode(ERRCODE_RF_INVALID_ARGUMENT),
			 errmsg("invalid path into an HL7 message"),
			 errdetail("%s", problem),
			 errhint("Write paths as PID-5.1, PID-3(2).4.1 or PRD(2)-2; numbers start at 1.")));
}

/* A number without sign or leading zero; 0 when there is none. */
static int
read_number(const char **at, const char *end)
{
	int			number = 0;

	if (*at < end && **at == '0')
		return 0;
	while (*at < end && **at >= '0' && **at <= '9')
	{
		number = number * 10 + (*(*at)++ - '0');
		if (number > HL7_MAX_VALUES)
			refuse_path("A number is greater than 1,000,000.");
	}
	return number;
}

/* "(2)" if it is there; 0 when it is not */
static int
read_in_parentheses(const char **at, const char *end)
{
	int			number;

	if (*at == end || **at != '(')
		return 0;
	(*at)++;
	number = read_number(at, end);
	if (number == 0 || *at == end || **at != ')')
		refuse_path("There is no number in parentheses after the segment or the field.");
	(*at)++;
	return number;
}

/* What follows a mark such as "-" or "."; 0 when the mark is not there */
static int
read_after(const char **at, const char *end, char mark)
{
	int			number;

	if (*at == end || **at != mark)
		return 0;
	(*at)++;
	number = read_number(at, end);
	if (number == 0)
		refuse_path("There is no number after \"-\" or \".\".");
	return number;
}

static void
read_path(const text *value, Path *path)
{
	const char *at = VARDATA_ANY(value);
	const char *end = at + VARSIZE_ANY_EXHDR(value);

	memset(path, 0, sizeof(*path));
	path->segment = at;
	if (!hl7_is_name(at, Min(end - at, HL7_NAME_LENGTH)))
		refuse_path("The path does not start with the name of a segment.");
	at += HL7_NAME_LENGTH;
	path->occurrence = read_in_parentheses(&at, end);
	path->field = read_after(&at, end, '-');
	if (path->field > 0)
	{
		path->repetition = read_in_parentheses(&at, end);
		path->component = read_after(&at, end, '.');
	}
	if (path->component > 0)
		path->subcomponent = read_after(&at, end, '.');
	if (at != end)
		refuse_path("Something follows that is no part of a path.");
}

static void
read_path_to_value(const text *value, Path *path)
{
	read_path(value, path);
	if (path->field == 0)
		refuse_path("The path names no field.");
	path->occurrence = Max(path->occurrence, 1);
	path->repetition = Max(path->repetition, 1);
}

/* ---------- in jsonb ---------- */

static JsonbValue *
find_key(JsonbContainer *object, const char *key, int length, JsonbValue *value)
{
	return JsonContainerIsObject(object) ?
		getKeyJsonValueFromContainer(object, key, length, value) : NULL;
}

static JsonbValue *
find_number(JsonbContainer *object, int number, JsonbValue *value)
{
	char		key[12];

	return find_key(object, key, pg_ltoa(number, key), value);
}

/*
 * Whether an object is a segment of that name.  The name is the last value of an
 * object that has no other keys than numbers: found there without a search.
 */
static bool
is_segment(JsonbContainer *object, const char *name)
{
	int			n = JsonContainerIsObject(object) ? JsonContainerSize(object) : 0;
	const char *base = (const char *) (object->children + 2 * n);

	return n > 0 &&
		getJsonbLength(object, n - 1) == 7 &&
		memcmp(base + getJsonbOffset(object, n - 1), "segment", 7) == 0 &&
		JBE_ISSTRING(object->children[2 * n - 1]) &&
		getJsonbLength(object, 2 * n - 1) == HL7_NAME_LENGTH &&
		memcmp(base + getJsonbOffset(object, 2 * n - 1), name, HL7_NAME_LENGTH) == 0;
}

/* The array of segments, or NULL */
static JsonbContainer *
find_segments(Jsonb *message)
{
	JsonbValue	segments;

	if (find_key(&message->root, "segments", 8, &segments) == NULL ||
		segments.type != jbvBinary || !JsonContainerIsArray(segments.val.binary.data))
		return NULL;
	return segments.val.binary.data;
}

/*
 * The next segment of that name from an index on, or NULL.  offset is the one of
 * the element at the index, which spares adding up lengths for each.
 */
static JsonbContainer *
next_segment(JsonbContainer *segments, const char *name, int *index, uint32 *offset,
			 uint32 *length)
{
	int			n = JsonContainerSize(segments);
	char	   *base = (char *) (segments->children + n);

	while (*index < n)
	{
		JEntry		entry = segments->children[*index];
		JsonbContainer *segment = (JsonbContainer *) (base + INTALIGN(*offset));
		uint32		end = *offset;

		JBE_ADVANCE_OFFSET(end, entry);
		*length = end - INTALIGN(*offset);
		(*index)++;
		*offset = end;
		if (JBE_ISCONTAINER(entry) && is_segment(segment, name))
			return segment;
	}
	return NULL;
}

/* The segment that a path names; a segment by itself is the first of its name. */
static JsonbContainer *
find_segment(Jsonb *message, const Path *path)
{
	JsonbContainer *segments = find_segments(message);
	JsonbContainer *segment = NULL;
	int			index = 0;
	uint32		offset = 0;
	uint32		length;

	if (segments == NULL)
		return path->occurrence == 1 && JB_ROOT_IS_OBJECT(message) &&
			is_segment(&message->root, path->segment) ? &message->root : NULL;
	for (int i = 0; i < path->occurrence; i++)
	{
		segment = next_segment(segments, path->segment, &index, &offset, &length);
		if (segment == NULL)
			break;
	}
	return segment;
}

/* The array of a field's repetitions, or NULL */
static JsonbContainer *
find_field(Jsonb *message, const Path *path)
{
	JsonbContainer *segment = find_segment(message, path);
	JsonbValue	field;

	if (segment == NULL || find_number(segment, path->field, &field) == NULL ||
		field.type != jbvBinary || !JsonContainerIsArray(field.val.binary.data))
		return NULL;
	return field.val.binary.data;
}

/* A part of a value by its number; a text is its own only part. */
static bool
find_part(JsonbValue *value, int number)
{
	JsonbValue	part;

	if (value->type == jbvString)
		return number == 1;
	if (value->type != jbvBinary ||
		find_number(value->val.binary.data, number, &part) == NULL)
		return false;
	*value = part;
	return true;
}

/* A plain text as it is, other values as a message has them; false for an empty one. */
static bool
value_datum(const JsonbValue *value, const Hl7Separators *separators, bool is_component,
			Datum *result)
{
	StringInfoData out;

	if (value->type == jbvString)
	{
		*result = PointerGetDatum(cstring_to_text_with_len(value->val.string.val,
														   value->val.string.len));
		return value->val.string.len > 0;
	}
	initStringInfo(&out);
	hl7_write_value(&out, separators, value, is_component);
	*result = PointerGetDatum(cstring_to_text_with_len(out.data, out.len));
	return out.len > 0;
}

/* hl7_get(message jsonb, path text) */
Datum
hl7_get_jsonb(PG_FUNCTION_ARGS)
{
	Jsonb	   *message = PG_GETARG_JSONB_P(0);
	JsonbContainer *field;
	JsonbValue *value;
	Path		path;
	Hl7Separators separators = hl7_default_separators;
	Datum		result;

	read_path_to_value(PG_GETARG_TEXT_PP(1), &path);
	field = find_field(message, &path);
	value = field == NULL ? NULL : getIthJsonbValueFromContainer(field, path.repetition - 1);
	if (value == NULL ||
		(path.component > 0 && !find_part(value, path.component)) ||
		(path.subcomponent > 0 && !find_part(value, path.subcomponent)))
		PG_RETURN_NULL();
	if (value->type == jbvBinary)
		hl7_get_separators(&message->root, &separators);
	if (!value_datum(value, &separators, path.component > 0, &result))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(result);
}

/* hl7_count(message jsonb, path text) */
Datum
hl7_count(PG_FUNCTION_ARGS)
{
	Jsonb	   *message = PG_GETARG_JSONB_P(0);
	JsonbContainer *container;
	Path		path;
	int			index = 0;
	int			n = 0;
	uint32		offset = 0;
	uint32		length;

	read_path(PG_GETARG_TEXT_PP(1), &path);
	if (path.repetition > 0 || path.component > 0 || (path.occurrence > 0 && path.field == 0))
		refuse_path("What is counted is segments, as PRD, or repetitions of a field, as PID-3.");
	if (path.field > 0)
	{
		path.occurrence = Max(path.occurrence, 1);
		container = find_field(message, &path);
		PG_RETURN_INT32(container == NULL ? 0 : JsonContainerSize(container));
	}
	container = find_segments(message);
	while (container != NULL &&
		   next_segment(container, path.segment, &index, &offset, &length) != NULL)
		n++;
	PG_RETURN_INT32(n);
}

/* hl7_segments(message jsonb, segment text) */
Datum
hl7_segments(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	JsonbContainer *segments = find_segments(PG_GETARG_JSONB_P(0));
	JsonbContainer *segment;
	Path		path;
	int			index = 0;
	uint32		offset = 0;
	uint32		length;

	read_path(PG_GETARG_TEXT_PP(1), &path);
	if (path.field > 0 || path.occurrence > 0)
		refuse_path("More than the name of a segment is given.");
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	while (segments != NULL &&
		   (segment = next_segment(segments, path.segment, &index, &offset, &length)) != NULL)
	{
		Jsonb	   *copy = palloc(VARHDRSZ + length);
		Datum		value = PointerGetDatum(copy);
		bool		null = false;

		CHECK_FOR_INTERRUPTS();
		SET_VARSIZE(copy, VARHDRSZ + length);
		memcpy(&copy->root, segment, length);
		tuplestore_putvalues(result->setResult, result->setDesc, &value, &null);
		pfree(copy);
	}
	return (Datum) 0;
}

/* ---------- in text ---------- */

/* The part of that number between separators, or false */
static bool
take_part(const char **at, const char **end, int number, char separator)
{
	const char *next;

	for (int i = 1; i < number; i++)
	{
		next = memchr(*at, separator, *end - *at);
		if (next == NULL)
			return false;
		*at = next + 1;
	}
	next = memchr(*at, separator, *end - *at);
	if (next != NULL)
		*end = next;
	return true;
}

/* Whether a line is a segment of that name, with or without fields. */
static bool
is_line(const char *at, const char *end, const char *name, char separator)
{
	return end - at >= HL7_NAME_LENGTH && memcmp(at, name, HL7_NAME_LENGTH) == 0 &&
		(end - at == HL7_NAME_LENGTH || at[HL7_NAME_LENGTH] == separator) &&
		!hl7_is_envelope(at, end, separator);
}

/* The fields of the line of a path's segment, or false */
static bool
find_line(const Path *path, const Hl7Separators *separators, const char **at, const char **end)
{
	int			occurrence = 0;

	while (*at < *end)
	{
		const char *line_end = hl7_line_end(*at, *end);

		CHECK_FOR_INTERRUPTS();
		if (is_line(*at, line_end, path->segment, separators->field) &&
			++occurrence == path->occurrence)
		{
			*at = Min(*at + HL7_NAME_LENGTH + 1, line_end);
			*end = line_end;
			return true;
		}
		*at = line_end + 1;
	}
	return false;
}

/* The header of a message; what is wrong with it is refused. */
static const char *
find_header(const char *text, const char **end, Hl7Separators *separators)
{
	const char *at = hl7_skip_frame(text, *end);
	const char *problem;
	const char *rest;

	while (hl7_is_envelope(at, *end, '\0'))
		at = hl7_skip_frame(hl7_line_end(at, *end), *end);
	*end = hl7_skip_frame_end(at, *end);
	rest = hl7_read_header(at, *end, separators, &problem);
	if (problem != NULL)
	{
		Hl7Place	place = {1, 0, pg_mbstrlen_with_len(text, rest - text) + 1};

		hl7_refuse(&place, problem, HL7_HEADER_HINT);
	}
	return at;
}

/* MSH-1 and MSH-2, which are the separators themselves. */
static Datum
separators_datum(const Hl7Separators *separators, int field)
{
	int			length;
	const char *text = hl7_separators_text(separators, &length);

	return PointerGetDatum(field == 1 ? cstring_to_text_with_len(text, 1) :
						   cstring_to_text_with_len(text + 1, length - 1));
}

/* The text that a path names, or false */
static bool
find_text(const Path *path, const Hl7Separators *separators, const char **at, const char **end)
{
	/* the separator after MSH is itself a field */
	int			field = path->field - (memcmp(path->segment, "MSH", HL7_NAME_LENGTH) == 0);

	return find_line(path, separators, at, end) &&
		take_part(at, end, field, separators->field) &&
		take_part(at, end, path->repetition, separators->repetition) &&
		(path->component == 0 || take_part(at, end, path->component, separators->component)) &&
		(path->subcomponent == 0 ||
		 take_part(at, end, path->subcomponent, separators->subcomponent));
}

/* hl7_get(message text, path text) */
Datum
hl7_get_text(PG_FUNCTION_ARGS)
{
	text	   *message = PG_GETARG_TEXT_PP(0);
	const char *at = VARDATA_ANY(message);
	const char *end = at + VARSIZE_ANY_EXHDR(message);
	Path		path;
	Hl7Separators separators;
	JsonbValue	value;
	Datum		result;

	read_path_to_value(PG_GETARG_TEXT_PP(1), &path);
	at = find_header(at, &end, &separators);
	if (memcmp(path.segment, "MSH", HL7_NAME_LENGTH) == 0 && path.field <= 2)
	{
		if (path.occurrence > 1 || path.repetition > 1 || path.component > 1 ||
			path.subcomponent > 1)
			PG_RETURN_NULL();
		PG_RETURN_DATUM(separators_datum(&separators, path.field));
	}
	if (!find_text(&path, &separators, &at, &end))
		PG_RETURN_NULL();
	hl7_read_repetition(&separators, at, end - at, &value);
	if (!value_datum(&value, &separators, false, &result))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(result);
}
