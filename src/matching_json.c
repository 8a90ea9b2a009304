/*-------------------------------------------------------------------------
 *
 * matching_json.c
 *		The text form of demographics: JSON.
 *
 * Messages name keys, never what they hold.
 *
 * IDENTIFICATION
 *		src/matching_json.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/jsonapi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"

#include "compat.h"
#include "errors.h"
#include "matching_draft.h"

#define KEY_BIRTH_DATE		(-1)
#define KEY_SEX				(-2)
#define KEY_MULTIPLE_BIRTH	(-3)
#define KEY_BIRTH_ORDER		(-4)
#define KEY_ADDRESS			(-5)

typedef struct Key
{
	const char *name;
	int			kind;			/* DemographicsKind or KEY_* */
} Key;

/* In the order in which they are written, and read in whatever order they stand. */
static const Key keys[] = {
	{"family", DEMO_FAMILY},
	{"given", DEMO_GIVEN},
	{"middle", DEMO_MIDDLE},
	{"suffix", DEMO_SUFFIX},
	{"alias", DEMO_ALIAS},
	{"previous_family", DEMO_PREVIOUS},
	{"mother_maiden_name", DEMO_MOTHER_MAIDEN},
	{"birth_date", KEY_BIRTH_DATE},
	{"sex", KEY_SEX},
	{"multiple_birth", KEY_MULTIPLE_BIRTH},
	{"birth_order", KEY_BIRTH_ORDER},
	{"phone", DEMO_PHONE},
	{"email", DEMO_EMAIL},
	{"address", KEY_ADDRESS},
	{"street_number", DEMO_STREET_NUMBER},
	{"street", DEMO_STREET},
	{"unit", DEMO_UNIT},
	{"city", DEMO_CITY},
	{"state", DEMO_STATE},
	{"postal_code", DEMO_POSTAL},
	{"identifiers", DEMO_IDENTIFIER},
};

static void pg_attribute_printf(2, 3)
refuse_json(const char *hint, const char *detail,...)
{
	char		text[256];
	va_list		args;

	va_start(args, detail);
	vsnprintf(text, sizeof(text), detail, args);
	va_end(args);
	ereport(ERROR,
			(errcode(ERRCODE_RF_INVALID_ARGUMENT),
			 errmsg("invalid demographics"),
			 errdetail_internal("%s", text),
			 errhint("%s", hint)));
}

static void
read_item(DemographicsDraft *draft, int kind, const char *text, int length)
{
	switch (kind)
	{
		case KEY_BIRTH_DATE:
			demographics_set_birth_text(draft, text, length);
			break;
		case KEY_SEX:
			demographics_set_sex(draft, text, length);
			break;
		case KEY_BIRTH_ORDER:
			demographics_set_birth_order(draft, length == 1 || length == 2 ?
										 atoi(pnstrdup(text, length)) : 0);
			break;
		case KEY_ADDRESS:
			demographics_add_address(draft, text, length);
			break;
		default:
			demographics_add(draft, kind, text, length);
	}
}

/* A string, or a number as it is written; null is not known. */
static void
read_scalar(DemographicsDraft *draft, const Key *key, const JsonbValue *value)
{
	char	   *number;

	if (value->type == jbvNull)
		return;
	if (key->kind == KEY_MULTIPLE_BIRTH)
	{
		if (value->type != jbvBool)
			refuse_json("Give true for one of several children, false for a single one.",
						"%s is neither true nor false.", key->name);
		demographics_set_multiple_birth(draft, value->val.boolean);
	}
	else if (value->type == jbvString)
		read_item(draft, key->kind, value->val.string.val, value->val.string.len);
	else if (value->type == jbvNumeric)
	{
		number = DatumGetCString(DirectFunctionCall1(numeric_out,
													 NumericGetDatum(value->val.numeric)));
		read_item(draft, key->kind, number, strlen(number));
		pfree(number);
	}
	else
		refuse_json("Give a string, or an array of strings where there are several.",
					"%s is not a string.", key->name);
}

static inline bool
is_single(int kind)
{
	return kind < 0 && kind != KEY_ADDRESS;
}

static void
read_value(DemographicsDraft *draft, const Key *key, const JsonbValue *value)
{
	JsonbContainer *array;
	int			n;

	if (value->type != jbvBinary)
	{
		read_scalar(draft, key, value);
		return;
	}
	array = value->val.binary.data;
	if (!JsonContainerIsArray(array) || is_single(key->kind))
		refuse_json("Give a string, or for what one may have several of an array of strings.",
					"%s is an object or an array.", key->name);
	n = JsonContainerSize(array);
	for (int i = 0; i < n; i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(array, i);

		CHECK_FOR_INTERRUPTS();
		if (element->type == jbvBinary)
			refuse_json("Give an array of strings.", "%s has an element that is not a string.",
						key->name);
		read_scalar(draft, key, element);
		pfree(element);
	}
}

static Demographics *
from_jsonb(Jsonb *json)
{
	DemographicsDraft *draft = demographics_begin();
	JsonbContainer *root = &json->root;
	int			known = 0;

	if (!JsonContainerIsObject(root))
		refuse_json("Write {\"family\": \"...\", \"given\": \"...\"}; see docs/matching_value.md.",
					"It is not a JSON object.");
	for (int i = 0; i < lengthof(keys); i++)
	{
		JsonbValue	buffer;
		JsonbValue *value = getKeyJsonValueFromContainer(root, keys[i].name,
														 strlen(keys[i].name), &buffer);

		if (value == NULL)
			continue;
		known++;
		read_value(draft, &keys[i], value);
	}
	if (known < JsonContainerSize(root))
	{
		JsonbValue	value;
		JsonbIterator *it = JsonbIteratorInit(root);
		JsonbIteratorToken token;

		while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
		{
			int			i = 0;

			if (token != WJB_KEY)
				continue;
			while (i < lengthof(keys) &&
				   (strlen(keys[i].name) != value.val.string.len ||
					memcmp(keys[i].name, value.val.string.val, value.val.string.len) != 0))
				i++;
			if (i == lengthof(keys))
				refuse_json("See docs/matching_value.md for the keys.",
							"There is no key %s.",
							quote_identifier(pnstrdup(value.val.string.val,
													  normalize_clip(value.val.string.val,
																	 value.val.string.len, 40))));
		}
	}
	return demographics_finish(draft);
}

/* The parser's own messages would repeat what it read. */
static void
check_json(const char *text)
{
	JsonLexContext *lexer;

#if PG_VERSION_NUM >= 170000
	lexer = makeJsonLexContextCstringLen(NULL, text, strlen(text), GetDatabaseEncoding(), true);
#else
	lexer = makeJsonLexContextCstringLen((char *) text, strlen(text), GetDatabaseEncoding(), true);
#endif
	if (pg_parse_json(lexer, &nullSemAction) != JSON_SUCCESS)
		refuse_json("Write {\"family\": \"...\", \"given\": \"...\"}; see docs/matching_value.md.",
					"It is not JSON.");
}

Demographics *
demographics_from_json(const char *json)
{
	check_json(json);
	return from_jsonb(DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json))));
}

PG_FUNCTION_INFO_V1(demographics_of_jsonb);

Datum
demographics_of_jsonb(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(from_jsonb(PG_GETARG_JSONB_P(0)));
}

/* ---------- Writing ---------- */

static void
write_key(StringInfo out, const char *name)
{
	if (out->len > 1)
		appendStringInfoChar(out, ',');
	appendStringInfo(out, "\"%s\":", name);
}

static void
write_items(StringInfo out, const Demographics *d, const Key *key)
{
	const DemographicsItem *items = demographics_items(d, key->kind);
	int			n = demographics_count(d, key->kind);
	char		shown[PG_UINT8_MAX + 1];

	if (n == 0)
		return;
	write_key(out, key->name);
	if (n > 1)
		appendStringInfoChar(out, '[');
	for (int i = 0; i < n; i++)
	{
		shown[demographics_shown(d, &items[i], key->kind, shown)] = '\0';
		if (i > 0)
			appendStringInfoChar(out, ',');
		escape_json(out, shown);
	}
	if (n > 1)
		appendStringInfoChar(out, ']');
}

static void
write_birth_date(StringInfo out, const Demographics *d)
{
	if (d->birth_year == 0 && d->birth_month == 0 && d->birth_day == 0)
		return;
	write_key(out, "birth_date");
	appendStringInfo(out, "\"%04d", d->birth_year);
	if (d->birth_month != 0 || d->birth_day != 0)
		appendStringInfo(out, "-%02d", d->birth_month);
	if (d->birth_day != 0)
		appendStringInfo(out, "-%02d", d->birth_day);
	appendStringInfoChar(out, '"');
}

static void
write_part(StringInfo out, const Demographics *d, const Key *key)
{
	static const char *const sexes[] = {NULL, "\"male\"", "\"female\"", "\"other\""};

	switch (key->kind)
	{
		case KEY_BIRTH_DATE:
			write_birth_date(out, d);
			break;
		case KEY_SEX:
			if (d->sex != DEMO_SEX_UNKNOWN)
			{
				write_key(out, key->name);
				appendStringInfoString(out, sexes[d->sex]);
			}
			break;
		case KEY_MULTIPLE_BIRTH:
			if (d->multiple_birth != 0)
			{
				write_key(out, key->name);
				appendStringInfoString(out, d->multiple_birth == 2 ? "true" : "false");
			}
			break;
		case KEY_BIRTH_ORDER:
			if (d->birth_order != 0)
			{
				write_key(out, key->name);
				appendStringInfo(out, "%d", d->birth_order);
			}
			break;
		case KEY_ADDRESS:
			break;				/* written as number, street and unit */
		default:
			write_items(out, d, key);
	}
}

char *
demographics_to_json(const Demographics *d)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	for (int i = 0; i < lengthof(keys); i++)
		write_part(&out, d, &keys[i]);
	appendStringInfoChar(&out, '}');
	return out.data;
}

PG_FUNCTION_INFO_V1(demographics_to_jsonb);

Datum
demographics_to_jsonb(PG_FUNCTION_ARGS)
{
	char	   *json = demographics_to_json(demographics_checked(PG_GETARG_DATUM(0)));

	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json));
}
