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
 * A template is compiled to a tree of nodes; those of hl7_content.c and the like
 * once in a backend.  The result is a tree of JsonbValue.
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
#include "utils/memutils.h"

#include "compat.h"
#include "errors.h"
#include "hl7.h"
#include "hl7_fill.h"

#define MAX_TEMPLATE_DEPTH	16

/* PATH[:type] */
typedef struct Path
{
	Hl7Slice	text;			/* without the type */
	char		segment[HL7_NAME_LENGTH];
	char		field[12];		/* its key in a segment */
	int			field_length;
	int			repetition;		/* from 0 */
	int			component;
	int			subcomponent;
	Hl7Reader	reader;
} Path;

typedef enum NodeKind
{
	NODE_OBJECT, NODE_ARRAY, NODE_CONSTANT, NODE_PATHS
} NodeKind;

/* A part of a template */
typedef struct Hl7Node
{
	NodeKind	kind;
	Hl7Slice	key;			/* in an object */
	Hl7Slice	constant;
	int			n;
	struct Hl7Node *nodes;		/* of an object or array */
	Path	   *paths;			/* the first one that has a value counts */
} Hl7Node;

/* A template that is being filled in. */
typedef struct Filling
{
	JsonbContainer *message;
	const text *zone;
	JsonbValue *findings;
	char		last_name[HL7_NAME_LENGTH];
	JsonbContainer *last_segment;	/* the one of that name, found last */
	int			depth;
	Hl7Slice	names[MAX_TEMPLATE_DEPTH];	/* keys from the root to here */
} Filling;

PG_FUNCTION_INFO_V1(hl7_fill);

static void compile(const JsonbValue *template, int depth, Hl7Node *node);
static bool fill(Filling *filling, const Hl7Node *node, JsonbValue *value, bool *told);

/* ---------- templates ---------- */

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

/* Reads a path up to its type. */
static void
read_path(const char **at, const char *end, Path *path)
{
	const char *start = *at;
	int			field;

	if (!hl7_is_name(start, Min(end - start, HL7_NAME_LENGTH)))
		refuse_template("A path does not start with the name of a segment.");
	memcpy(path->segment, start, HL7_NAME_LENGTH);
	*at += HL7_NAME_LENGTH;
	field = read_after(at, end, '-');
	if (field == 0)
		refuse_template("A path names no field.");
	path->field_length = pg_ltoa(field, path->field);
	path->repetition = read_after(at, end, '(');
	if (path->repetition > 0)
	{
		if (*at == end || **at != ')')
			refuse_template("A \")\" is missing.");
		(*at)++;
		path->repetition--;
	}
	path->component = read_after(at, end, '.');
	path->subcomponent = path->component > 0 ? read_after(at, end, '.') : 0;
	path->text = (Hl7Slice) {start, *at - start};
}

/* PATH[:type] */
static void
compile_path(const char *at, const char *end, Path *path)
{
	const char *type = "text";
	int			length = 4;

	if (at == end)
		refuse_template("A path is empty.");
	read_path(&at, end, path);
	if (at < end && *at != ':')
		refuse_template("Something follows a path that is no type.");
	if (at < end)
	{
		type = at + 1;
		length = end - type;
	}
	path->reader = hl7_find_reader(type, length);
	if (path->reader == NULL)
		refuse_template("There is no such type.");
}

/* PATH[:type]|PATH[:type]... */
static void
compile_paths(const char *at, int length, Hl7Node *node)
{
	const char *end = at + length;
	const char *next;

	node->kind = NODE_PATHS;
	for (const char *c = at; c < end; c++)
		node->n += *c == '|';
	node->n++;
	node->paths = palloc(node->n * sizeof(Path));
	for (int i = 0; i < node->n; i++)
	{
		next = memchr(at, '|', end - at);
		next = next == NULL ? end : next;
		compile_path(at, next, &node->paths[i]);
		at = next + 1;
	}
}

static void
compile_container(JsonbContainer *template, int depth, Hl7Node *node)
{
	JsonbIterator *iterator = JsonbIteratorInit(template);
	JsonbIteratorToken token;
	JsonbValue	part;

	if (depth == MAX_TEMPLATE_DEPTH)
		refuse_template("It is too deep.");
	node->kind = JsonContainerIsObject(template) ? NODE_OBJECT : NODE_ARRAY;
	node->nodes = palloc0(Max(JsonContainerSize(template), 1) * sizeof(Hl7Node));
	while ((token = JsonbIteratorNext(&iterator, &part, true)) != WJB_DONE)
	{
		Hl7Node    *next = &node->nodes[node->n];

		if (token == WJB_KEY)
			next->key = (Hl7Slice) {part.val.string.val, part.val.string.len};
		else if (token == WJB_VALUE || token == WJB_ELEM)
		{
			compile(&part, depth + 1, next);
			node->n++;
		}
	}
}

static void
compile(const JsonbValue *template, int depth, Hl7Node *node)
{
	const char *text = template->val.string.val;
	int			length = template->val.string.len;

	if (template->type == jbvBinary)
		compile_container(template->val.binary.data, depth, node);
	else if (template->type != jbvString)
		refuse_template("It has a value that is no string.");
	else if (length > 0 && text[0] == '=')
	{
		node->kind = NODE_CONSTANT;
		node->constant = (Hl7Slice) {text + 1, length - 1};
	}
	else
		compile_paths(text, length, node);
}

/* Compiles a template of ours, for as long as the backend lives. */
static Hl7Node *
compile_own(const char *text)
{
	MemoryContext context = MemoryContextSwitchTo(TopMemoryContext);
	char	   *json = pstrdup(text);
	Hl7Node    *root = palloc0(sizeof(Hl7Node));
	Datum		template;

	for (char *c = json; *c != '\0'; c++)
		if (*c == '\'')
			*c = '"';
	template = DirectFunctionCall1(jsonb_in, CStringGetDatum(json));
	compile_container(&DatumGetJsonbP(template)->root, 0, root);
	pfree(json);
	MemoryContextSwitchTo(context);
	return root;
}

/* ---------- segments ---------- */

JsonbContainer *
hl7_find_container(JsonbContainer *object, const char *key, int length)
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

/* A segment by its name: of a message the first one, or the segment that is given; or NULL */
JsonbContainer *
hl7_find_segment(JsonbContainer *message, const char *name)
{
	JsonbContainer *segments = hl7_find_container(message, "segments", 8);

	if (segments == NULL)
		return is_segment(message, name) ? message : NULL;
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

/* Finds the field of a path; false when the message has none. */
static bool
find_field(Filling *filling, const Path *path, Hl7Source *source)
{
	if (memcmp(path->segment, filling->last_name, HL7_NAME_LENGTH) != 0)
	{
		filling->last_segment = hl7_find_segment(filling->message, path->segment);
		memcpy(filling->last_name, path->segment, HL7_NAME_LENGTH);
	}
	if (filling->last_segment == NULL)
		return false;
	memset(source, 0, sizeof(*source));
	source->message = filling->message;
	source->zone = filling->zone;
	source->repetition = path->repetition;
	source->component = path->component;
	source->subcomponent = path->subcomponent;
	source->field = hl7_find_container(filling->last_segment, path->field, path->field_length);
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

/* Appends a finding of intake, to which the value that was sent may be added. */
JsonbValue *
hl7_new_finding(JsonbValue *findings, const char *code, const char *severity,
				Hl7Slice attribute, Hl7Slice position, const char *detail)
{
	JsonbValue	finding;

	hl7_new_object(&finding);
	hl7_put_text(&finding, "code", code);
	hl7_put_text(&finding, "severity", severity);
	hl7_put_text(&finding, "detail", detail);
	hl7_add_slice(&finding, "position", position);
	hl7_add_slice(&finding, "attribute", attribute);
	hl7_push(findings, &finding);
	return &findings->val.array.elems[findings->val.array.nElems - 1];
}

/* ---------- filling in ---------- */

/* The first value among the paths */
static bool
fill_paths(Filling *filling, const Hl7Node *node, JsonbValue *value)
{
	for (int i = 0; i < node->n; i++)
	{
		const Path *path = &node->paths[i];
		Hl7Source	source;
		JsonbValue *finding;

		if (!find_field(filling, path, &source))
			continue;
		if (path->reader(&source, value))
			return true;
		if (source.problem == NULL)
			continue;
		finding = hl7_new_finding(filling->findings, source.problem, "warning",
								  attribute_name(filling), path->text, "not a value of its type");
		hl7_add_slice(finding, "value", source.sent);
	}
	return false;
}

static bool
fill_object(Filling *filling, const Hl7Node *node, JsonbValue *value, bool *told)
{
	JsonbValue	filled;
	bool		part_told;

	hl7_new_object(value);
	for (int i = 0; i < node->n; i++)
	{
		Hl7Slice	key = node->nodes[i].key;

		filling->names[filling->depth++] = key;
		if (fill(filling, &node->nodes[i], &filled, &part_told))
		{
			hl7_add(value, key.text, key.length, &filled);
			*told = *told || part_told;
		}
		filling->depth--;
	}
	return *told;
}

static bool
fill_array(Filling *filling, const Hl7Node *node, JsonbValue *value, bool *told)
{
	JsonbValue	filled;
	bool		part_told;

	hl7_new_array(value);
	for (int i = 0; i < node->n; i++)
	{
		if (!fill(filling, &node->nodes[i], &filled, &part_told) || !part_told)
			continue;
		*told = true;
		if (filled.type != jbvArray)
			hl7_append(value, &filled);
		else
			for (int j = 0; j < filled.val.array.nElems; j++)
				hl7_append(value, &filled.val.array.elems[j]);
	}
	return *told;
}

/*
 * Fills in a part of a template; false when nothing is left of it.  told: whether
 * the message has said any of it.
 */
static bool
fill(Filling *filling, const Hl7Node *node, JsonbValue *value, bool *told)
{
	*told = false;
	switch (node->kind)
	{
		case NODE_OBJECT:
			return fill_object(filling, node, value, told);
		case NODE_ARRAY:
			return fill_array(filling, node, value, told);
		case NODE_CONSTANT:
			value->type = jbvString;
			value->val.string.val = unconstify(char *, node->constant.text);
			value->val.string.len = node->constant.length;
			return true;
		case NODE_PATHS:
			*told = fill_paths(filling, node, value);
			return *told;
	}
	return false;
}

static void
fill_root(const Hl7Node *root, JsonbContainer *message, const text *zone, JsonbValue *result,
		  JsonbValue *findings)
{
	Filling		filling = {0};
	bool		told = false;

	filling.message = message;
	filling.zone = zone;
	filling.findings = findings;
	(void) fill_object(&filling, root, result, &told);
}

/*
 * What a message, or a segment, has at the paths of a template, as an object; what
 * is no value of its type is appended to the findings.
 */
void
hl7_fill_in(Hl7Template *template, JsonbContainer *message, const text *zone, JsonbValue *told,
			JsonbValue *findings)
{
	if (template->root == NULL)
		template->root = compile_own(template->text);
	fill_root(template->root, message, zone, told, findings);
}

/* hl7_fill(message jsonb, template jsonb, zone text) */
Datum
hl7_fill(PG_FUNCTION_ARGS)
{
	Jsonb	   *template = PG_GETARG_JSONB_P(1);
	Hl7Node		root = {0};
	JsonbValue	findings;
	JsonbValue	result;

	if (!JB_ROOT_IS_OBJECT(template))
		refuse_template("It is no object.");
	compile_container(&template->root, 0, &root);
	hl7_new_array(&findings);
	fill_root(&root, &PG_GETARG_JSONB_P(0)->root, PG_GETARG_TEXT_PP(2), &result, &findings);
	if (findings.val.array.nElems > 0)
		hl7_put(&result, "findings", &findings);
	PG_RETURN_JSONB_P(JsonbValueToJsonb(&result));
}
