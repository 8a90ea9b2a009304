/*-------------------------------------------------------------------------
 *
 * source_mapping.c
 *		Records of flat files and portals, mapped to intake cases by declared
 *		rules.
 *
 * A mapping is compiled once per backend: its fields, and the tree of keys
 * that the paths of their attributes make.  A value that cannot be used
 * becomes a finding; it never stops the record.
 *
 * IDENTIFICATION
 *		src/source_mapping.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "canonical.h"
#include "compat.h"
#include "errors.h"
#include "intake_message.h"
#include "rule.h"
#include "security.h"
#include "source_date.h"

typedef struct Code
{
	const char *from;			/* lower case; "*": any other */
	const char *to;				/* empty: leave the attribute out */
} Code;

typedef struct Translation
{
	const char *name;
	Code	   *codes;			/* in order of from */
	int			n;
	const char *otherwise;		/* of "*", or NULL */
	struct Translation *next;
} Translation;

/* A column, or a constant, that gives an attribute. */
typedef struct MapField
{
	const CanonicalAttribute *attribute;
	const char *column;
	const char *constant;		/* when there is no column, or nothing in it */
	const char *format;
	const Translation *translation;
	int			slot;			/* of the attribute among those of the mapping */
} MapField;

/* A key of the case, with what is below it. */
typedef struct MapNode
{
	const char *key;
	int			length;
	bool		is_element;		/* of an array */
	bool		is_array;		/* its children are elements */
	int			slot;			/* of the attribute that stands here, or -1 */
	struct MapNode *child;
	struct MapNode *next;
} MapNode;

typedef struct SourceMapping
{
	const char *name;
	const char *kind;
	int64		id;
	int64		rule_version;
	const char *type;			/* "record/<name>" */
	pg_tz	   *zone;
	MapField   *fields;
	int			nfields;
	int			nslots;
	MapNode		root;
	struct SourceMapping *next;
} SourceMapping;

/* What became of an attribute of the record at hand. */
typedef struct Slot
{
	bool		present;
	bool		is_constant;
	JsonbValue	value;
} Slot;

typedef struct MapState
{
	const SourceMapping *mapping;
	Slot	   *slots;
	const char *line;			/* where the record stands in its file; NULL when that is not told */
	JsonbParseState *findings;
	int			nfindings;
} MapState;

/* ---------- Compiling ---------- */

static MapNode *
child_of(MemoryContext context, MapNode *parent, const char *key, int length)
{
	MapNode    *node;
	MapNode   **last = &parent->child;

	for (; *last != NULL; last = &(*last)->next)
		if ((*last)->length == length && memcmp((*last)->key, key, length) == 0)
			return *last;
	node = MemoryContextAllocZero(context, sizeof(MapNode));
	node->key = key;
	node->length = length;
	node->slot = -1;
	node->is_element = isdigit((unsigned char) *key);
	parent->is_array = node->is_element;
	*last = node;
	return node;
}

/* The slot of an attribute; its path is laid out where it is new. */
static int
slot_of(RuleCache *cache, SourceMapping *mapping, const CanonicalAttribute *attribute)
{
	MapNode    *node = &mapping->root;

	for (const char *at = attribute->path;;)
	{
		const char *end = strchrnul(at, '.');

		node = child_of(cache->context, node, at, end - at);
		if (*end == '\0')
			break;
		at = end + 1;
	}
	if (node->slot < 0)
		node->slot = mapping->nslots++;
	return node->slot;
}

static const Translation *
translation_of(const Translation *list, const char *name)
{
	for (; name != NULL && list != NULL; list = list->next)
		if (strcmp(list->name, name) == 0)
			return list;
	return NULL;
}

static char *
lower_copy(MemoryContext context, const char *text)
{
	char	   *result = MemoryContextStrdup(context, text);

	for (char *c = result; *c != '\0'; c++)
		*c = pg_ascii_tolower((unsigned char) *c);
	return result;
}

static int
compare_codes(const void *a, const void *b)
{
	return strcmp(((const Code *) a)->from, ((const Code *) b)->from);
}

/* The translations of a version of rules. */
static Translation *
load_translations(RuleCache *cache, int64 rule_version)
{
	Translation *list = NULL;

	security_read("SELECT t.translation, btrim(t.source_code), t.target_code,"
				  " count(*) OVER (PARTITION BY t.translation) FROM referral.code_translation t"
				  " WHERE t.rule_version_id = $1 ORDER BY t.translation",
				  INT8OID, Int64GetDatum(rule_version));
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		char	   *name = rule_read_string(cache, row, 1);
		char	   *from = lower_copy(cache->context, rule_read_string(cache, row, 2));
		char	   *to = rule_read_string(cache, row, 3);

		if (list == NULL || strcmp(list->name, name) != 0)
		{
			Translation *translation = MemoryContextAllocZero(cache->context, sizeof(Translation));

			translation->name = name;
			translation->codes = MemoryContextAlloc(cache->context,
													sizeof(Code) * rule_read_int64(row, 4));
			translation->next = list;
			list = translation;
		}
		if (strcmp(from, "*") == 0)
			list->otherwise = to;
		else
			list->codes[list->n++] = (Code) {from, to};
	}
	for (Translation *t = list; t != NULL; t = t->next)
		qsort(t->codes, t->n, sizeof(Code), compare_codes);
	return list;
}

static void
load_fields(RuleCache *cache, SourceMapping *mapping, const Translation *translations)
{
	security_read("SELECT f.attribute, f.column_name, f.constant, f.format, f.translation"
				  " FROM referral.source_mapping_field f"
				  " JOIN referral.source_mapping m USING (rule_version_id, mapping)"
				  " WHERE m.source_mapping_id = $1 ORDER BY f.sort, f.source_mapping_field_id",
				  INT8OID, Int64GetDatum(mapping->id));
	mapping->fields = MemoryContextAllocZero(cache->context, sizeof(MapField) * Max(SPI_processed, 1));
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		MapField   *field = &mapping->fields[mapping->nfields];

		field->attribute = canonical_attribute_find(rule_read_string(cache, row, 1));
		/* one that this version of the library does not know */
		if (field->attribute == NULL)
			continue;
		field->column = rule_read_string(cache, row, 2);
		field->constant = rule_read_string(cache, row, 3);
		field->format = rule_read_string(cache, row, 4);
		field->translation = translation_of(translations, rule_read_string(cache, row, 5));
		field->slot = slot_of(cache, mapping, field->attribute);
		mapping->nfields++;
	}
}

/* All mappings of a version of rules; 0: of active ones. */
static SourceMapping *
load_mappings(RuleCache *cache, int64 rule_version)
{
	OwnerScope	scope;
	SourceMapping *list = NULL;
	Translation *translations = NULL;
	int64		translated = 0;

	security_begin_read(&scope, cache->owner);
	security_read("SELECT m.mapping, m.kind, m.source_mapping_id, m.zone, m.rule_version_id"
				  " FROM referral.source_mapping m JOIN referral.rule_version v USING (rule_version_id)"
				  " WHERE CASE $1 WHEN 0 THEN v.status = 'active' ELSE v.rule_version_id = $1 END"
				  " ORDER BY m.rule_version_id",
				  INT8OID, Int64GetDatum(rule_version));
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		SourceMapping *mapping = MemoryContextAllocZero(cache->context, sizeof(SourceMapping));

		mapping->name = rule_read_string(cache, row, 1);
		mapping->kind = rule_read_string(cache, row, 2);
		mapping->id = rule_read_int64(row, 3);
		mapping->zone = pg_tzset(rule_read_string(cache, row, 4));
		mapping->rule_version = rule_read_int64(row, 5);
		mapping->type = MemoryContextStrdup(cache->context, psprintf("record/%s", mapping->name));
		mapping->root.slot = -1;
		mapping->next = list;
		list = mapping;
	}
	for (SourceMapping *mapping = list; mapping != NULL; mapping = mapping->next)
	{
		/* those of one version stand together */
		if (mapping == list || mapping->rule_version != translated)
			translations = load_translations(cache, mapping->rule_version);
		translated = mapping->rule_version;
		load_fields(cache, mapping, translations);
	}
	security_end_read(&scope);
	return list;
}

/* It was known where the row was written: a restore or another server may know fewer. */
pg_noreturn static void
refuse_zone(const SourceMapping *mapping)
{
	ereport(ERROR,
			(errcode(ERRCODE_RF_INVALID_RULE),
			 errmsg("the time zone of source mapping \"%s\" is not known to this server", mapping->name),
			 errdetail("Times without a zone of their own cannot be read."),
			 errhint("Activate a version of its rules with a name of pg_timezone_names, then call"
					 " referral.reprocess_errors().")));
}

/* NULL when there is none. */
static const SourceMapping *
mapping_of_name(const SourceMapping *list, const char *name)
{
	for (; list != NULL; list = list->next)
		if (strcmp(list->name, name) == 0)
		{
			if (list->zone == NULL)
				refuse_zone(list);
			return list;
		}
	return NULL;
}

static const char *
names_of(const SourceMapping *list)
{
	StringInfoData names;

	initStringInfo(&names);
	for (; list != NULL; list = list->next)
		appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "", list->name);
	return names.len > 0 ? names.data : "none";
}

/* Of the active rules. */
static const SourceMapping *
find_mapping(RuleCache *cache, const char *name)
{
	const SourceMapping *mapping;

	if (cache->mappings == NULL)
		cache->mappings = load_mappings(cache, 0);
	mapping = mapping_of_name(cache->mappings, name);
	if (mapping == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_RF_NO_SUCH_ROW),
				 errmsg("there is no source mapping \"%s\"", name),
				 errdetail("No active version of rules has it."),
				 errhint("Active ones: %s. See referral.source_mapping and referral.rule_version.",
						 names_of(cache->mappings))));
	return mapping;
}

/* Of a version of rules that may be a draft still: for the statement at hand, and not kept. */
static const SourceMapping *
try_mapping(const RuleCache *cache, const char *name, int64 rule_version)
{
	RuleCache	trial = *cache;
	SourceMapping *list;
	const SourceMapping *mapping;

	trial.context = CurrentMemoryContext;
	list = load_mappings(&trial, rule_version);
	mapping = mapping_of_name(list, name);
	if (mapping == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_RF_NO_SUCH_ROW),
				 errmsg("there is no source mapping \"%s\"", name),
				 errdetail("Version " INT64_FORMAT " of the rules does not have it.", rule_version),
				 errhint("It has: %s. See referral.source_mapping and referral.rule_version.", names_of(list))));
	return mapping;
}

/* Refuses the name of a mapping that no active rules have. */
void
source_mapping_check_name(text *name)
{
	(void) find_mapping(rule_cache(true), text_to_cstring(name));
}

/* ---------- Reading the record ---------- */

/* The value of a key; where there is none, a.b means b within a. */
static JsonbValue *
record_value(JsonbContainer *record, const char *column, JsonbValue *value)
{
	const char *point;

	if (JsonContainerIsArray(record))
	{
		char	   *end;
		long		index = strtol(column, &end, 10);
		JsonbValue *element;

		if (end == column || index < 0 || index > INT_MAX || (*end != '\0' && *end != '.'))
			return NULL;
		element = getIthJsonbValueFromContainer(record, (uint32) index);
		if (element == NULL || *end == '\0')
			return element;
		return element->type == jbvBinary ? record_value(element->val.binary.data, end + 1, value) : NULL;
	}
	if (!JsonContainerIsObject(record))
		return NULL;
	if (getKeyJsonValueFromContainer(record, column, strlen(column), value) != NULL)
		return value;
	for (point = strchr(column, '.'); point != NULL; point = strchr(point + 1, '.'))
		if (getKeyJsonValueFromContainer(record, column, point - column, value) != NULL &&
			value->type == jbvBinary)
			return record_value(value->val.binary.data, point + 1, value);
	return NULL;
}

/* A scalar as a text without spaces around it; NULL: nothing is given. */
static const char *
scalar_text(JsonbValue *value, int *length)
{
	const char *text;

	switch (value->type)
	{
		case jbvString:
			text = value->val.string.val;
			*length = value->val.string.len;
			break;
		case jbvNumeric:
			text = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
			*length = strlen(text);
			break;
		case jbvBool:
			text = value->val.boolean ? "true" : "false";
			*length = strlen(text);
			break;
		default:
			return NULL;
	}
	while (*length > 0 && isspace((unsigned char) text[*length - 1]))
		(*length)--;
	while (*length > 0 && isspace((unsigned char) *text))
	{
		text++;
		(*length)--;
	}
	return *length > 0 ? text : NULL;
}

/* ---------- Findings ---------- */

static void
push_pair(JsonbParseState **state, const char *key, const char *text, int length)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = (char *) key;
	value.val.string.len = strlen(key);
	pushJsonbValue(state, WJB_KEY, &value);
	value.val.string.val = (char *) text;
	value.val.string.len = length;
	pushJsonbValue(state, WJB_VALUE, &value);
}

static void
push_key(JsonbParseState **state, const char *key, int length)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = (char *) key;
	value.val.string.len = length;
	pushJsonbValue(state, WJB_KEY, &value);
}

/* attribute, column and text may be NULL */
static void
add_finding(MapState *state, const char *attribute, const char *column, const char *code,
			const char *text, int length, const char *detail)
{
	JsonbParseState **findings = &state->findings;
	const char *position = state->line == NULL ? column :
		column == NULL ? psprintf("line %s", state->line) : psprintf("line %s, %s", state->line, column);

	if (state->nfindings++ == 0)
		pushJsonbValue(findings, WJB_BEGIN_ARRAY, NULL);
	pushJsonbValue(findings, WJB_BEGIN_OBJECT, NULL);
	push_pair(findings, "code", code, strlen(code));
	push_pair(findings, "severity", "warning", strlen("warning"));
	if (attribute != NULL)
		push_pair(findings, "attribute", attribute, strlen(attribute));
	if (text != NULL)
		push_pair(findings, "value", text, length);
	if (position != NULL)
		push_pair(findings, "position", position, strlen(position));
	push_pair(findings, "detail", detail, strlen(detail));
	pushJsonbValue(findings, WJB_END_OBJECT, NULL);
}

/* Is there anything in the file that gives the attribute? */
static bool
is_given(const SourceMapping *mapping, int slot, JsonbContainer *columns)
{
	for (int i = 0; i < mapping->nfields; i++)
	{
		const MapField *field = &mapping->fields[i];
		JsonbValue	name;

		if (field->slot != slot)
			continue;
		if (field->constant != NULL)
			return true;
		name.type = jbvString;
		name.val.string.val = (char *) field->column;
		name.val.string.len = strlen(field->column);
		if (findJsonbValueFromContainer(columns, JB_FARRAY, &name) != NULL)
			return true;
	}
	return false;
}

/* What is wrong with the line and the file that the record is from, as payload_records() noted it. */
static void
look_at_file(MapState *state, JsonbContainer *record)
{
	JsonbValue	value;
	int			length = 0;
	const char *line;

	if (getKeyJsonValueFromContainer(record, "_line", strlen("_line"), &value) != NULL &&
		value.type == jbvNumeric)
	{
		line = scalar_text(&value, &length);
		state->line = pnstrdup(line, length);
	}
	if (getKeyJsonValueFromContainer(record, "_columns", strlen("_columns"), &value) != NULL &&
		value.type == jbvBinary && JsonContainerIsArray(value.val.binary.data))
		for (int i = 0; i < state->mapping->nfields; i++)
		{
			const MapField *field = &state->mapping->fields[i];

			if (!is_given(state->mapping, field->slot, value.val.binary.data))
				add_finding(state, field->attribute->name, field->column, "missing", NULL, 0,
							"The file has no such column.");
		}
	if (getKeyJsonValueFromContainer(record, "_fault", strlen("_fault"), &value) != NULL &&
		value.type == jbvString)
		add_finding(state, NULL, NULL, "invalid_value", NULL, 0,
					psprintf("The line has %.*s.", value.val.string.len, value.val.string.val));
}

/* ---------- Conversion ---------- */

static bool
set_text(JsonbValue *value, const char *text, int length)
{
	value->type = jbvString;
	value->val.string.val = (char *) text;
	value->val.string.len = length;
	return true;
}

static bool
set_date(const MapField *field, const char *text, int length, JsonbValue *value)
{
	SourceDate	date;
	char	   *iso;

	if (!source_date_parse(field->format, text, length,
						   strcmp(field->attribute->name, "patient.birth_date") == 0, &date))
		return false;
	iso = psprintf("%04d-%02d-%02d", date.tm.tm_year, date.tm.tm_mon, date.tm.tm_mday);
	return set_text(value, iso, strlen(iso));
}

/* Without a zone of its own, a time is of the mapping's zone. */
static bool
set_time(const MapState *state, const MapField *field, const char *text, int length, JsonbValue *value)
{
	SourceDate	date;
	int			west;
	char	   *iso;

	if (!source_date_parse(field->format, text, length, false, &date))
		return false;
	date.tm.tm_isdst = -1;
	west = date.has_zone ? -date.zone : DetermineTimeZoneOffset(&date.tm, state->mapping->zone);
	iso = psprintf("%04d-%02d-%02dT%02d:%02d:%02d.%06d%c%02d:%02d", date.tm.tm_year, date.tm.tm_mon,
				   date.tm.tm_mday, date.tm.tm_hour, date.tm.tm_min, date.tm.tm_sec, (int) date.fsec,
				   west > 0 ? '-' : '+', abs(west) / SECS_PER_HOUR, abs(west) / SECS_PER_MINUTE % MINS_PER_HOUR);
	return set_text(value, iso, strlen(iso));
}

/* Digits, with a sign and one point at most. */
static bool
set_number(const char *text, int length, bool is_integer, JsonbValue *value)
{
	int			points = 0;
	int			digits = 0;

	if (length > 30)
		return false;
	for (int i = 0; i < length; i++)
	{
		if (isdigit((unsigned char) text[i]))
			digits++;
		else if (text[i] == '.' && !is_integer && points == 0)
			points++;
		else if (i > 0 || (text[i] != '-' && text[i] != '+'))
			return false;
	}
	if (digits == 0 || (is_integer && digits > 9))
		return false;
	value->type = jbvNumeric;
	value->val.numeric = DatumGetNumeric(DirectFunctionCall3(numeric_in,
															 CStringGetDatum(pnstrdup(text, length)),
															 ObjectIdGetDatum(InvalidOid),
															 Int32GetDatum(-1)));
	return true;
}

static bool
set_code(const MapField *field, const char *text, int length, JsonbValue *value)
{
	char	   *lower = pnstrdup(text, length);

	for (char *c = lower; *c != '\0'; c++)
		*c = pg_ascii_tolower((unsigned char) *c);
	return canonical_code_is_valid(field->attribute, lower, length) && set_text(value, lower, length);
}

static bool
set_boolean(const char *text, int length, JsonbValue *value)
{
	value->type = jbvBool;
	return parse_bool_with_len(text, length, &value->val.boolean);
}

static bool
convert(MapState *state, const MapField *field, const char *text, int length, JsonbValue *value)
{
	switch (field->attribute->type)
	{
		case CANONICAL_TEXT:
			return set_text(value, text, length);
		case CANONICAL_CODE:
			return set_code(field, text, length, value);
		case CANONICAL_DATE:
			return set_date(field, text, length, value);
		case CANONICAL_TIME:
			return set_time(state, field, text, length, value);
		case CANONICAL_INTEGER:
			return set_number(text, length, true, value);
		case CANONICAL_NUMBER:
			return set_number(text, length, false, value);
		case CANONICAL_BOOLEAN:
			return set_boolean(text, length, value);
	}
	return false;
}

static const char *const invalid_codes[] = {
	[CANONICAL_TEXT] = "invalid_value",[CANONICAL_CODE] = "invalid_code",[CANONICAL_DATE] = "invalid_date",
	[CANONICAL_TIME] = "invalid_time",[CANONICAL_INTEGER] = "invalid_value",
	[CANONICAL_NUMBER] = "invalid_value",[CANONICAL_BOOLEAN] = "invalid_value"
};

/* What a text means; NULL when the translation does not know it. */
static const char *
code_meaning(const Translation *translation, const char *text, int *length)
{
	Code		key;
	Code	   *found;
	char	   *lower = pnstrdup(text, *length);
	const char *meaning;

	for (char *c = lower; *c != '\0'; c++)
		*c = pg_ascii_tolower((unsigned char) *c);
	key.from = lower;
	found = bsearch(&key, translation->codes, translation->n, sizeof(Code), compare_codes);
	meaning = found != NULL ? found->to : translation->otherwise;
	if (meaning != NULL)
		*length = strlen(meaning);
	return meaning;
}

/* Why a value could not be converted. */
static const char *
conversion_fault(const MapField *field, const char *text, int length)
{
	CanonicalType type = field->attribute->type;
	SourceDate	date;

	if (type == CANONICAL_CODE)
		return "Not one of the codes of the attribute.";
	if (type != CANONICAL_DATE && type != CANONICAL_TIME)
		return "It is not of the type of the attribute.";
	if (!source_date_parse(field->format, text, length, false, &date) && date.is_written)
		return "There is no such day or time.";
	return field->format != NULL ? "It is not of the format of the mapping." :
		"It is not written as ISO 8601 has it.";
}

static void
map_column(MapState *state, const MapField *field, JsonbValue *given, Slot *slot)
{
	int			length;
	const char *text = scalar_text(given, &length);
	const char *meaning = text;

	if (text == NULL)
	{
		if (given->type == jbvBinary)
			add_finding(state, field->attribute->name, field->column, "invalid_value", NULL, 0, "An object or an array where one value is expected.");
		return;
	}
	if (field->translation != NULL)
	{
		int			sent = length;

		meaning = code_meaning(field->translation, text, &length);
		if (meaning == NULL)
			add_finding(state, field->attribute->name, field->column, "invalid_code", text, sent, "The translation of the mapping does not know the code.");
		if (meaning == NULL || length == 0)
			return;
	}
	slot->present = convert(state, field, meaning, length, &slot->value);
	if (!slot->present)
		add_finding(state, field->attribute->name, field->column, invalid_codes[field->attribute->type], text, length,
					conversion_fault(field, meaning, length));
	slot->is_constant = false;
}

/* Where several fields give one attribute, the first that has something counts. */
static void
map_fields(MapState *state, JsonbContainer *record)
{
	for (int i = 0; i < state->mapping->nfields; i++)
	{
		const MapField *field = &state->mapping->fields[i];
		Slot	   *slot = &state->slots[field->slot];
		JsonbValue	held;
		JsonbValue *given;

		if (slot->present)
			continue;
		given = field->column == NULL ? NULL : record_value(record, field->column, &held);
		if (given != NULL)
			map_column(state, field, given, slot);
		if (!slot->present && field->constant != NULL)
		{
			slot->present = convert(state, field, field->constant, strlen(field->constant), &slot->value);
			slot->is_constant = true;
		}
	}
}

/* ---------- The case ---------- */

/* An element of an array that only constants tell of is none. */
static bool
node_is_present(const MapState *state, const MapNode *node, bool with_constants)
{
	if (node->slot >= 0)
		return state->slots[node->slot].present &&
			(with_constants || !state->slots[node->slot].is_constant);
	for (const MapNode *child = node->child; child != NULL; child = child->next)
		if (node_is_present(state, child, with_constants && !child->is_element))
			return true;
	return false;
}

static void
push_node(const MapState *state, const MapNode *node, JsonbParseState **result)
{
	if (node->slot >= 0)
	{
		pushJsonbValue(result, node->is_element ? WJB_ELEM : WJB_VALUE, &state->slots[node->slot].value);
		return;
	}
	pushJsonbValue(result, node->is_array ? WJB_BEGIN_ARRAY : WJB_BEGIN_OBJECT, NULL);
	for (const MapNode *child = node->child; child != NULL; child = child->next)
	{
		if (!node_is_present(state, child, !child->is_element))
			continue;
		if (!child->is_element)
			push_key(result, child->key, child->length);
		push_node(state, child, result);
	}
	pushJsonbValue(result, node->is_array ? WJB_END_ARRAY : WJB_END_OBJECT, NULL);
}

static void
push_message(const MapState *state, JsonbParseState **result)
{
	const SourceMapping *mapping = state->mapping;
	JsonbValue	version;

	push_pair(result, "kind", mapping->kind, strlen(mapping->kind));
	push_key(result, "message", strlen("message"));
	pushJsonbValue(result, WJB_BEGIN_OBJECT, NULL);
	push_pair(result, "type", mapping->type, strlen(mapping->type));
	push_key(result, "mapping_version", strlen("mapping_version"));
	version.type = jbvNumeric;
	version.val.numeric = int64_to_numeric(mapping->rule_version);
	pushJsonbValue(result, WJB_VALUE, &version);
	/* for what is found when the case is written */
	if (state->line != NULL)
		push_pair(result, "line", state->line, strlen(state->line));
	pushJsonbValue(result, WJB_END_OBJECT, NULL);
}

/* The case that a mapping makes of a record. */
static Jsonb *
case_of(const SourceMapping *mapping, Jsonb *record)
{
	MapState	state = {.mapping = mapping};
	JsonbParseState *result = NULL;
	JsonbValue *whole;

	state.slots = palloc0(sizeof(Slot) * Max(state.mapping->nslots, 1));
	look_at_file(&state, &record->root);
	map_fields(&state, &record->root);

	pushJsonbValue(&result, WJB_BEGIN_OBJECT, NULL);
	push_message(&state, &result);
	for (const MapNode *node = state.mapping->root.child; node != NULL; node = node->next)
		if (node_is_present(&state, node, true))
		{
			push_key(&result, node->key, node->length);
			push_node(&state, node, &result);
		}
	if (state.nfindings > 0)
	{
		push_key(&result, "findings", strlen("findings"));
		pushJsonbValue(&result, WJB_VALUE, pushJsonbValue(&state.findings, WJB_END_ARRAY, NULL));
	}
	whole = pushJsonbValue(&result, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(whole);
}

static Jsonb *
checked_record(Jsonb *record)
{
	if (!JB_ROOT_IS_OBJECT(record))
		ereport(ERROR,
				(errcode(ERRCODE_RF_INVALID_MESSAGE),
				 errmsg("a record is a JSON object"),
				 errdetail("The value is an array or a scalar."),
				 errhint("Send one object for each referral.")));
	return record;
}

PG_FUNCTION_INFO_V1(map_record);

Datum
map_record(PG_FUNCTION_ARGS)
{
	Jsonb	   *record = checked_record(PG_GETARG_JSONB_P(0));

	PG_RETURN_JSONB_P(case_of(find_mapping(rule_cache(true), text_to_cstring(PG_GETARG_TEXT_PP(1))), record));
}

PG_FUNCTION_INFO_V1(map_record_by_version);

Datum
map_record_by_version(PG_FUNCTION_ARGS)
{
	Jsonb	   *record = checked_record(PG_GETARG_JSONB_P(0));

	PG_RETURN_JSONB_P(case_of(try_mapping(rule_cache(true), text_to_cstring(PG_GETARG_TEXT_PP(1)), PG_GETARG_INT64(2)),
							  record));
}
