/*-------------------------------------------------------------------------
 *
 * hl7_fill.c
 *		Templates of jsonb that are filled in from HL7 messages.
 *
 * A template is jsonb whose strings are paths into a message, PID-7:date, each
 * with the type in which its value is read.  Filled in, it has the values in
 * their places, and nothing in the place of what the message does not have.
 * What the message has there and is no value of the type becomes a finding.
 *
 * The result is a tree of JsonbValue.  Keys of templates come in the order of
 * jsonb and stay in it.
 *
 * IDENTIFICATION
 *		src/hl7_fill.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "compat.h"
#include "errors.h"
#include "hl7.h"
#include "hl7_fill.h"

#define MAX_TEMPLATE_DEPTH	16
#define FIRST_SIZE			8

/* A template that is being filled in. */
typedef struct Filling
{
	Jsonb	   *message;
	const text *zone;
	JsonbValue	findings;
	char		last_name[HL7_NAME_LENGTH];
	JsonbContainer *last_segment;	/* the one of that name, found last */
	int			depth;
	Hl7Slice	names[MAX_TEMPLATE_DEPTH];	/* keys from the root to here */
} Filling;

PG_FUNCTION_INFO_V1(hl7_fill);

static bool fill(Filling *filling, const JsonbValue *template, JsonbValue *value, bool *told);

/* ---------- trees of JsonbValue ---------- */

void
hl7_new_object(JsonbValue *object)
{
	object->type = jbvObject;
	object->val.object.nPairs = 0;
	object->val.object.pairs = palloc(FIRST_SIZE * sizeof(JsonbPair));
}

void
hl7_new_array(JsonbValue *array)
{
	array->type = jbvArray;
	array->val.array.nElems = 0;
	array->val.array.rawScalar = false;
	array->val.array.elems = palloc(FIRST_SIZE * sizeof(JsonbValue));
}

/* Whether n elements fill an array that starts with FIRST_SIZE and doubles. */
static bool
is_full(int n)
{
	return n >= FIRST_SIZE && (n & (n - 1)) == 0;
}

static int
compare_keys(const JsonbValue *key, const char *other, int length)
{
	if (key->val.string.len != length)
		return key->val.string.len > length ? 1 : -1;
	return memcmp(key->val.string.val, other, length);
}

/* Adds a member in the order of jsonb: shorter keys first, then by their bytes. */
void
hl7_add(JsonbValue *object, const char *key, int length, const JsonbValue *value)
{
	int			n = object->val.object.nPairs;
	JsonbPair  *pairs;

	if (is_full(n))
		object->val.object.pairs = repalloc(object->val.object.pairs, 2 * n * sizeof(JsonbPair));
	pairs = object->val.object.pairs;
	while (n > 0 && compare_keys(&pairs[n - 1].key, key, length) > 0)
	{
		pairs[n] = pairs[n - 1];
		n--;
	}
	pairs[n].key.type = jbvString;
	pairs[n].key.val.string.val = unconstify(char *, key);
	pairs[n].key.val.string.len = length;
	pairs[n].value = *value;
	object->val.object.nPairs++;
}

/* Adds a text, unless it is none. */
void
hl7_add_slice(JsonbValue *object, const char *key, Hl7Slice slice)
{
	JsonbValue	value;

	if (slice.text == NULL)
		return;
	value.type = jbvString;
	value.val.string.val = unconstify(char *, slice.text);
	value.val.string.len = slice.length;
	hl7_add(object, key, strlen(key), &value);
}

static bool
same_string(const JsonbValue *a, const JsonbValue *b)
{
	return a->type == jbvString && b->type == jbvString &&
		a->val.string.len == b->val.string.len &&
		memcmp(a->val.string.val, b->val.string.val, a->val.string.len) == 0;
}

/* Appends a value to an array that is not full, a text only when it is not there yet. */
void
hl7_append(JsonbValue *array, const JsonbValue *value)
{
	int			n = array->val.array.nElems;

	CHECK_FOR_INTERRUPTS();
	if (n >= HL7_MAX_LIST)
		return;
	for (int i = 0; i < n; i++)
		if (same_string(&array->val.array.elems[i], value))
			return;
	if (is_full(n))
		array->val.array.elems = repalloc(array->val.array.elems, 2 * n * sizeof(JsonbValue));
	array->val.array.elems[n] = *value;
	array->val.array.nElems++;
}

/* ---------- paths ---------- */

pg_noreturn static void
refuse_template(const char *problem)
{
	ereport(ERROR,
			(errcode(ERRCODE_RF_INVALID_ARGUMENT),
			 errmsg("invalid template for an HL7 message"),
			 errdetail("%s", problem),
			 errhint("Write values as PID-5.1, PID-7:date or PID-3:ids|PID-2:ids, "
					 "constants as =MR.")));
}

/* A number after a mark; 0 when the mark is not there */
static int
read_after(const char **at, const char *end, char mark)
{
	int			number = 0;

	if (*at == end || **at != mark)
		return 0;
	for ((*at)++; *at < end && **at >= '0' && **at <= '9' && number <= HL7_MAX_NUMBER; (*at)++)
		number = number * 10 + (**at - '0');
	if (number == 0 || number > HL7_MAX_NUMBER)
		refuse_template("A path has no number, or too great a one, after \"-\", \".\" or \"(\".");
	return number;
}

static JsonbContainer *
find_container(JsonbContainer *object, const char *key, int length)
{
	JsonbValue	found;

	if (!JsonContainerIsObject(object) ||
		getKeyJsonValueFromContainer(object, key, length, &found) == NULL ||
		found.type != jbvBinary)
		return NULL;
	return found.val.binary.data;
}

static bool
is_segment(JsonbContainer *object, const char *name)
{
	JsonbValue	found;

	return JsonContainerIsObject(object) &&
		getKeyJsonValueFromContainer(object, "segment", 7, &found) != NULL &&
		found.type == jbvString && found.val.string.len == HL7_NAME_LENGTH &&
		memcmp(found.val.string.val, name, HL7_NAME_LENGTH) == 0;
}

/* A segment by its name: of a message the first one, or the segment that is given. */
static JsonbContainer *
find_segment(Jsonb *message, const char *name)
{
	JsonbContainer *segments = find_container(&message->root, "segments", 8);

	if (segments == NULL)
		return is_segment(&message->root, name) ? &message->root : NULL;
	if (!JsonContainerIsArray(segments))
		return NULL;
	for (uint32 i = 0; i < JsonContainerSize(segments); i++)
	{
		JsonbValue *segment = getIthJsonbValueFromContainer(segments, i);

		CHECK_FOR_INTERRUPTS();
		if (segment->type == jbvBinary && is_segment(segment->val.binary.data, name))
			return segment->val.binary.data;
	}
	return NULL;
}

/* Reads a path up to its type; false when the message has no such field. */
static bool
read_path(Filling *filling, const char **at, const char *end, Hl7Source *source)
{
	const char *name = *at;
	JsonbContainer *segment;
	char		key[12];
	int			field;

	if (!hl7_is_name(name, Min(end - name, HL7_NAME_LENGTH)))
		refuse_template("A path does not start with the name of a segment.");
	*at += HL7_NAME_LENGTH;
	field = read_after(at, end, '-');
	if (field == 0)
		refuse_template("A path names no field.");
	memset(source, 0, sizeof(*source));
	source->message = filling->message;
	source->zone = filling->zone;
	source->repetition = read_after(at, end, '(');
	if (source->repetition > 0)
	{
		if (*at == end || **at != ')')
			refuse_template("A \")\" is missing.");
		(*at)++;
		source->repetition--;
	}
	source->component = read_after(at, end, '.');
	if (source->component > 0)
		source->subcomponent = read_after(at, end, '.');
	if (memcmp(name, filling->last_name, HL7_NAME_LENGTH) != 0)
	{
		filling->last_segment = find_segment(filling->message, name);
		memcpy(filling->last_name, name, HL7_NAME_LENGTH);
	}
	segment = filling->last_segment;
	if (segment == NULL)
		return false;
	source->field = find_container(segment, key, pg_ltoa(field, key));
	return source->field != NULL && JsonContainerIsArray(source->field);
}

/* ---------- findings ---------- */

static Hl7Slice
attribute_name(Filling *filling)
{
	StringInfoData name;

	initStringInfo(&name);
	for (int i = 0; i < filling->depth; i++)
	{
		if (i > 0)
			appendStringInfoChar(&name, '.');
		appendBinaryStringInfo(&name, filling->names[i].text, filling->names[i].length);
	}
	return (Hl7Slice) {name.data, name.len};
}

static Hl7Slice
constant(const char *text)
{
	return (Hl7Slice) {text, strlen(text)};
}

static void
add_finding(Filling *filling, const Hl7Source *source, Hl7Slice path)
{
	JsonbValue	finding;

	hl7_new_object(&finding);
	hl7_add_slice(&finding, "code", constant(source->problem));
	hl7_add_slice(&finding, "value", source->sent);
	hl7_add_slice(&finding, "detail", constant("not a value of its type"));
	hl7_add_slice(&finding, "position", path);
	hl7_add_slice(&finding, "severity", constant("warning"));
	hl7_add_slice(&finding, "attribute", attribute_name(filling));
	hl7_append(&filling->findings, &finding);
}

/* ---------- filling in ---------- */

/* The first value among PATH[:type]|PATH[:type]... */
static bool
fill_path(Filling *filling, const char *at, const char *end, JsonbValue *value)
{
	if (at == end)
		refuse_template("A path is empty.");
	while (at < end)
	{
		const char *next = memchr(at, '|', end - at);
		const char *path = at;
		const char *type = "text";
		int			length = 4;
		Hl7Source	source;
		Hl7Reader	reader;
		bool		present;

		next = next == NULL ? end : next;
		present = read_path(filling, &at, next, &source);
		length = at < next ? next - at - 1 : length;
		type = at < next ? at + 1 : type;
		if (at < next && *at != ':')
			refuse_template("Something follows a path that is no type.");
		reader = hl7_find_reader(type, length);
		if (reader == NULL)
			refuse_template("There is no such type.");
		if (present && reader(&source, value))
			return true;
		if (present && source.problem != NULL)
			add_finding(filling, &source, (Hl7Slice) {path, at - path});
		at = next < end ? next + 1 : end;
	}
	return false;
}

static bool
fill_object(Filling *filling, JsonbContainer *template, JsonbValue *value, bool *told)
{
	JsonbIterator *iterator = JsonbIteratorInit(template);
	JsonbValue	key;
	JsonbValue	part;
	JsonbValue	filled;
	bool		part_told;

	hl7_new_object(value);
	if (filling->depth == MAX_TEMPLATE_DEPTH)
		refuse_template("It is too deep.");
	(void) JsonbIteratorNext(&iterator, &key, true);
	while (JsonbIteratorNext(&iterator, &key, true) == WJB_KEY)
	{
		(void) JsonbIteratorNext(&iterator, &part, true);
		filling->names[filling->depth].text = key.val.string.val;
		filling->names[filling->depth].length = key.val.string.len;
		filling->depth++;
		if (fill(filling, &part, &filled, &part_told))
		{
			hl7_add(value, key.val.string.val, key.val.string.len, &filled);
			*told = *told || part_told;
		}
		filling->depth--;
	}
	return *told;
}

static bool
fill_array(Filling *filling, JsonbContainer *template, JsonbValue *value, bool *told)
{
	JsonbIterator *iterator = JsonbIteratorInit(template);
	JsonbValue	part;
	JsonbValue	filled;
	bool		part_told;

	hl7_new_array(value);
	(void) JsonbIteratorNext(&iterator, &part, true);
	while (JsonbIteratorNext(&iterator, &part, true) == WJB_ELEM)
	{
		if (!fill(filling, &part, &filled, &part_told) || !part_told)
			continue;
		*told = true;
		if (filled.type != jbvArray)
			hl7_append(value, &filled);
		else
			for (int i = 0; i < filled.val.array.nElems; i++)
				hl7_append(value, &filled.val.array.elems[i]);
	}
	return *told;
}

/*
 * Fills in a part of a template; false when nothing is left of it.  told: whether
 * the message has said any of it.
 */
static bool
fill(Filling *filling, const JsonbValue *template, JsonbValue *value, bool *told)
{
	*told = false;
	if (template->type == jbvBinary)
	{
		JsonbContainer *container = template->val.binary.data;

		return JsonContainerIsObject(container) ?
			fill_object(filling, container, value, told) :
			fill_array(filling, container, value, told);
	}
	if (template->type != jbvString)
		refuse_template("It has a value that is no string.");
	if (template->val.string.len > 0 && template->val.string.val[0] == '=')
	{
		*value = *template;
		value->val.string.val++;
		value->val.string.len--;
		return true;
	}
	*told = fill_path(filling, template->val.string.val,
					  template->val.string.val + template->val.string.len, value);
	return *told;
}

/* hl7_fill(message jsonb, template jsonb, zone text) */
Datum
hl7_fill(PG_FUNCTION_ARGS)
{
	Jsonb	   *template = PG_GETARG_JSONB_P(1);
	Filling		filling;
	JsonbValue	result;
	bool		told = false;

	if (!JB_ROOT_IS_OBJECT(template))
		refuse_template("It is no object.");
	filling.message = PG_GETARG_JSONB_P(0);
	filling.zone = PG_GETARG_TEXT_PP(2);
	memset(filling.last_name, 0, HL7_NAME_LENGTH);
	filling.depth = 0;
	hl7_new_array(&filling.findings);
	(void) fill_object(&filling, &template->root, &result, &told);
	if (filling.findings.val.array.nElems > 0)
		hl7_add(&result, "findings", 8, &filling.findings);
	PG_RETURN_JSONB_P(JsonbValueToJsonb(&result));
}
