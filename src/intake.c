/*-------------------------------------------------------------------------
 *
 * intake.c
 *		What a case of intake says, in the words of the tables: texts, and
 *		the identifiers of somebody.
 *
 * A message fills some fifty columns.  An expression of PL/pgSQL for each
 * would cost more than to write the row.
 *
 * IDENTIFICATION
 *		src/intake.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "compat.h"
#include "intake.h"
#include "statement.h"

/* In characters; and in bytes, since what goes into an index, two of them, has to fit on its page. */
#define LONGEST_TEXT	500
#define LONGEST_BYTES	1200

#define NPI_SYSTEM		"http://hl7.org/fhir/sid/us-npi"
#define SSN_SYSTEM		"http://hl7.org/fhir/sid/us-ssn"

/* The text without the blanks around it, cut off where it is short; null when nothing is left. */
static text *
stripped_text(const char *s, int len, bool is_short)
{
	while (len > 0 && s[0] == ' ')
	{
		s++;
		len--;
	}
	while (len > 0 && s[len - 1] == ' ')
		len--;
	if (len == 0)
		return NULL;
	if (is_short && len > LONGEST_TEXT)
		len = pg_mbcharcliplen(s, len, LONGEST_TEXT);
	if (is_short && len > LONGEST_BYTES)
		len = pg_mbcliplen(s, len, LONGEST_BYTES);
	return cstring_to_text_with_len(s, len);
}

/* A text, a number or a truth value as such a text; null for anything else. */
static text *
value_text(const JsonbValue *v, bool is_short)
{
	switch (v->type)
	{
		case jbvString:
			return stripped_text(v->val.string.val, v->val.string.len, is_short);
		case jbvNumeric:
			{
				char	   *number = DatumGetCString(DirectFunctionCall1(numeric_out,
																		  NumericGetDatum(v->val.numeric)));

				return stripped_text(number, strlen(number), is_short);
			}
		case jbvBool:
			return cstring_to_text(v->val.boolean ? "true" : "false");
		default:
			return NULL;
	}
}

text *
intake_value_text(const JsonbValue *v)
{
	return value_text(v, true);
}

static text *
member_text(JsonbContainer *object, const char *key, bool is_short)
{
	JsonbValue	v;

	if (getKeyJsonValueFromContainer(object, key, strlen(key), &v) == NULL)
		return NULL;
	return value_text(&v, is_short);
}

/* As intake_text() of SQL has it, of what is neither object nor list. */
text *
intake_member_text(JsonbContainer *object, const char *key)
{
	return member_text(object, key, true);
}

/* As intake_prose() has it. */
text *
intake_member_prose(JsonbContainer *object, const char *key)
{
	return member_text(object, key, false);
}

PG_FUNCTION_INFO_V1(intake_text);

/* intake_text(object jsonb, key text): of an object or a list, how it is written */
Datum
intake_text(PG_FUNCTION_ARGS)
{
	Jsonb	   *object = PG_GETARG_JSONB_P(0);
	text	   *key = PG_GETARG_TEXT_PP(1);
	text	   *told;
	JsonbValue	v;

	if (!JB_ROOT_IS_OBJECT(object) ||
		getKeyJsonValueFromContainer(&object->root, VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key), &v) == NULL)
		PG_RETURN_NULL();
	if (v.type == jbvBinary)
	{
		char	   *written = JsonbToCString(NULL, v.val.binary.data, v.val.binary.len);

		told = stripped_text(written, strlen(written), true);
	}
	else
		told = value_text(&v, true);
	if (told == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(told);
}

/* A member that is an object or a list, else null. */
static JsonbContainer *
member_container(JsonbContainer *object, const char *key)
{
	JsonbValue	v;

	if (getKeyJsonValueFromContainer(object, key, strlen(key), &v) == NULL || v.type != jbvBinary)
		return NULL;
	return v.val.binary.data;
}

/* A member that is an object itself, else null. */
JsonbContainer *
intake_member_object(JsonbContainer *object, const char *key)
{
	JsonbContainer *member = member_container(object, key);

	return member != NULL && JsonContainerIsObject(member) ? member : NULL;
}

/* A member that is a list, else null. */
JsonbContainer *
intake_member_list(JsonbContainer *object, const char *key)
{
	JsonbContainer *member = member_container(object, key);

	return member != NULL && JsonContainerIsArray(member) ? member : NULL;
}

/* An element of a list that is an object, else null. */
JsonbContainer *
intake_list_object(JsonbContainer *list, int i)
{
	JsonbValue *element = getIthJsonbValueFromContainer(list, i);

	if (element == NULL || element->type != jbvBinary || !JsonContainerIsObject(element->val.binary.data))
		return NULL;
	return element->val.binary.data;
}

text *
intake_argument_text(FunctionCallInfo fcinfo, int argument)
{
	return PG_ARGISNULL(argument) ? NULL : PG_GETARG_TEXT_PP(argument);
}

/* An argument that is an object, else null. */
Jsonb *
intake_argument_object(FunctionCallInfo fcinfo, int argument)
{
	Jsonb	   *object = PG_ARGISNULL(argument) ? NULL : PG_GETARG_JSONB_P(argument);

	return object != NULL && JB_ROOT_IS_OBJECT(object) ? object : NULL;
}

bool
intake_text_is(const text *t, const char *s)
{
	int			len = strlen(s);

	return t != NULL && VARSIZE_ANY_EXHDR(t) == len && memcmp(VARDATA_ANY(t), s, len) == 0;
}

/*
 * Numbers of a whole country have one name, whoever sends them.  A sender who
 * is called as our own system gets another name.
 */
text *
intake_system_of(const text *type, text *system, text *source)
{
	if (intake_text_is(type, "NPI") || intake_text_is(system, "NPI") ||
		intake_text_is(system, "urn:oid:2.16.840.1.113883.4.6"))
		return cstring_to_text(NPI_SYSTEM);
	if (intake_text_is(type, "SS") || intake_text_is(system, "SSN") ||
		intake_text_is(system, "urn:oid:2.16.840.1.113883.4.1"))
		return cstring_to_text(SSN_SYSTEM);
	if (system == NULL)
		system = source;
	if (intake_text_is(system, INTAKE_OWN_SYSTEM))
		return cstring_to_text(INTAKE_OWN_SYSTEM " (sent)");
	return system;
}

/* The system of an identifier of a case; ours if we put it there, which no mapper says. */
static text *
system_of_identifier(JsonbContainer *identifier, const text *type, text *source)
{
	JsonbValue	own;

	if (getKeyJsonValueFromContainer(identifier, "own", strlen("own"), &own) != NULL &&
		own.type == jbvBool && own.val.boolean)
		return cstring_to_text(INTAKE_OWN_SYSTEM);
	return intake_system_of(type, intake_member_text(identifier, "system"), source);
}

PG_FUNCTION_INFO_V1(intake_system);
Datum
intake_system(PG_FUNCTION_ARGS)
{
	Jsonb	   *identifier = intake_argument_object(fcinfo, 0);
	text	   *source = intake_argument_text(fcinfo, 1);
	text	   *system;

	if (identifier == NULL)
		system = intake_system_of(NULL, NULL, source);
	else
		system = system_of_identifier(&identifier->root,
									  intake_member_text(&identifier->root, "type"), source);
	if (system == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(system);
}

/* What one of the try_…() functions reads in a text; false when that is nothing. */
bool
intake_try(PGFunction try, const text *told, Datum *value)
{
	LOCAL_FCINFO(fcinfo, 1);

	InitFunctionCallInfoData(*fcinfo, NULL, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = PointerGetDatum(told);
	fcinfo->args[0].isnull = false;
	*value = try(fcinfo);
	return !fcinfo->isnull;
}

/* ---------- Findings ---------- */

static void
put_member(JsonbParseState **state, const char *key, const char *text, int length)
{
	JsonbValue	v;

	v.type = jbvString;
	v.val.string.val = (char *) key;
	v.val.string.len = strlen(key);
	pushJsonbValue(state, WJB_KEY, &v);
	v.val.string.val = (char *) text;
	v.val.string.len = length;
	pushJsonbValue(state, WJB_VALUE, &v);
}

/* One more, as intake_finding() has it; value may be null.  The state is NULL while there are none. */
void
intake_put_finding(JsonbParseState **findings, const char *code, const char *severity,
				   const char *attribute, const char *detail, const text *value)
{
	if (*findings == NULL)
		pushJsonbValue(findings, WJB_BEGIN_ARRAY, NULL);
	pushJsonbValue(findings, WJB_BEGIN_OBJECT, NULL);
	put_member(findings, "code", code, strlen(code));
	put_member(findings, "severity", severity, strlen(severity));
	put_member(findings, "attribute", attribute, strlen(attribute));
	put_member(findings, "detail", detail, strlen(detail));
	if (value != NULL)
		put_member(findings, "value", VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
	pushJsonbValue(findings, WJB_END_OBJECT, NULL);
}

/* About an object or a list, where there is to be one value. */
void
intake_put_no_value(JsonbParseState **findings, const char *code, const char *attribute)
{
	intake_put_finding(findings, code, "warning", attribute, "not a single value", NULL);
}

/* All of them; NULL for none. */
Jsonb *
intake_findings(JsonbParseState **findings)
{
	if (*findings == NULL)
		return NULL;
	return JsonbValueToJsonb(pushJsonbValue(findings, WJB_END_ARRAY, NULL));
}

/* ---------- Identifiers ---------- */

static bool
same_text(text *a, text *b)
{
	int			len = VARSIZE_ANY_EXHDR(a);

	return VARSIZE_ANY_EXHDR(b) == len && memcmp(VARDATA_ANY(a), VARDATA_ANY(b), len) == 0;
}

static bool
is_listed(IntakeIdentifiers *ids, text *number, text *system)
{
	for (int i = 0; i < ids->count; i++)
	{
		if (same_text(DatumGetTextPP(ids->fields[ID_NUMBER][i]), number) &&
			same_text(DatumGetTextPP(ids->fields[ID_SYSTEM][i]), system))
			return true;
	}
	return false;
}

/* Takes one more; there has to be room for it. */
void
intake_add_identifier(IntakeIdentifiers *ids, text **value)
{
	for (int i = 0; i < ID_NFIELDS; i++)
	{
		ids->fields[i][ids->count] = PointerGetDatum(value[i]);
		ids->nulls[i][ids->count] = value[i] == NULL;
	}
	ids->count++;
}

static void
put_identifier(IntakeIdentifiers *ids, JsonbContainer *object, text *source)
{
	text	   *value[ID_NFIELDS];

	value[ID_NUMBER] = intake_member_text(object, "value");
	value[ID_TYPE] = intake_member_text(object, "type");
	value[ID_SYSTEM] = system_of_identifier(object, value[ID_TYPE], source);
	value[ID_ASSIGNER] = intake_member_text(object, "assigner");
	if (value[ID_NUMBER] != NULL && value[ID_SYSTEM] != NULL &&
		!is_listed(ids, value[ID_NUMBER], value[ID_SYSTEM]))
		intake_add_identifier(ids, value);
}

void
intake_begin_identifiers(IntakeIdentifiers *ids, int room)
{
	ids->count = 0;
	for (int i = 0; i < ID_NFIELDS; i++)
	{
		ids->fields[i] = palloc(Max(room, 1) * sizeof(Datum));
		ids->nulls[i] = palloc(Max(room, 1) * sizeof(bool));
	}
}

/* The identifiers of a list, each once, and room for some more. */
void
intake_read_identifiers(IntakeIdentifiers *ids, JsonbContainer *list, text *source, int room)
{
	int			n = list != NULL && JsonContainerIsArray(list) && !JsonContainerIsScalar(list) ?
		JsonContainerSize(list) : 0;

	intake_begin_identifiers(ids, n + room);
	for (int i = 0; i < n; i++)
	{
		JsonbContainer *identifier = intake_list_object(list, i);

		if (identifier != NULL)
			put_identifier(ids, identifier, source);
	}
}

Datum
intake_text_array(Datum *texts, bool *nulls, int count)
{
	int			lower = 1;

	if (count == 0)
		return PointerGetDatum(construct_empty_array(TEXTOID));
	return PointerGetDatum(construct_md_array(texts, nulls, 1, &count, &lower,
											  TEXTOID, -1, false, TYPALIGN_INT));
}

/* As a row of the type intake_identifiers. */
Datum
intake_identifiers_row(const IntakeIdentifiers *ids, TupleDesc desc)
{
	Datum		values[ID_NFIELDS];
	bool		nulls[ID_NFIELDS] = {false};

	if (desc->natts != ID_NFIELDS)
		elog(ERROR, "unexpected columns of referral.intake_identifiers");
	for (int i = 0; i < ID_NFIELDS; i++)
		values[i] = intake_text_array(ids->fields[i], ids->nulls[i], ids->count);
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}

PG_FUNCTION_INFO_V1(intake_identifiers);
Datum
intake_identifiers(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	IntakeIdentifiers ids;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "unexpected result type of intake_identifiers()");
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	intake_read_identifiers(&ids, &PG_GETARG_JSONB_P(0)->root, PG_GETARG_TEXT_PP(1), 0);
	PG_RETURN_DATUM(intake_identifiers_row(&ids, BlessTupleDesc(desc)));
}

/* ---------- Rows ---------- */

/* The columns of a row; of a null row, nulls. */
void
intake_deform(HeapTupleHeader row, TupleDesc desc, Datum *values, bool *nulls)
{
	HeapTupleData tuple;

	if (row == NULL)
	{
		memset(nulls, true, desc->natts);
		return;
	}
	tuple.t_len = HeapTupleHeaderGetDatumLength(row);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = row;
	heap_deform_tuple(&tuple, desc, values, nulls);
}

/* The texts of the object go into the text columns of the same names. */
void
intake_fill_texts(TupleDesc desc, JsonbContainer *object, Datum *values, bool *nulls)
{
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute a = TupleDescAttr(desc, i);
		text	   *told = NULL;

		if (a->atttypid == TEXTOID && !a->attisdropped)
			told = intake_member_text(object, NameStr(a->attname));
		if (told != NULL)
		{
			values[i] = PointerGetDatum(told);
			nulls[i] = false;
		}
	}
}

PG_FUNCTION_INFO_V1(intake_fill);
Datum
intake_fill(PG_FUNCTION_ARGS)
{
	Oid			type = get_fn_expr_argtype(fcinfo->flinfo, 0);
	HeapTupleHeader row = NULL;
	Jsonb	   *object = PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1);
	TupleDesc	desc;
	HeapTuple	result;
	Datum	   *values;
	bool	   *nulls;

	if (!type_is_rowtype(type))
		elog(ERROR, "intake_fill() needs a row");
	if (!PG_ARGISNULL(0))
		row = PG_GETARG_HEAPTUPLEHEADER(0);
	if (object == NULL || !JB_ROOT_IS_OBJECT(object))
	{
		if (row == NULL)
			PG_RETURN_NULL();
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	}
	if (row != NULL)
		desc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(row), HeapTupleHeaderGetTypMod(row));
	else
	{
		if (type == RECORDOID)
			elog(ERROR, "intake_fill() needs a row of a named type");
		desc = lookup_rowtype_tupdesc(type, -1);
	}
	values = palloc(desc->natts * sizeof(Datum));
	nulls = palloc(desc->natts * sizeof(bool));
	intake_deform(row, desc, values, nulls);
	intake_fill_texts(desc, &object->root, values, nulls);
	result = heap_form_tuple(desc, values, nulls);
	ReleaseTupleDesc(desc);
	PG_RETURN_DATUM(HeapTupleGetDatum(result));
}

/* ---------- Statements ---------- */

/* Does the statement find any row?  With a new snapshot, which sees what was waited for. */
bool
intake_finds(SPIPlanPtr *plan, const char *sql, int nargs, Oid *types, Datum *args,
			 const char *nulls)
{
	bool		found;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	statement_keep(plan, sql, nargs, types, CURSOR_OPT_GENERIC_PLAN);
	if (SPI_execute_plan(*plan, args, nulls, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not run: %s", sql);
	found = SPI_processed > 0;
	SPI_finish();
	return found;
}
