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

/* what goes into an index has to fit on its page */
#define LONGEST_TEXT	500

#define NPI_SYSTEM		"http://hl7.org/fhir/sid/us-npi"
#define SSN_SYSTEM		"http://hl7.org/fhir/sid/us-ssn"

/* The text without the blanks around it, cut off; null when nothing is left. */
static text *
short_text(const char *s, int len)
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
	return cstring_to_text_with_len(s, pg_mbcharcliplen(s, len, LONGEST_TEXT));
}

/* A text, a number or a truth value as a short text; null for anything else. */
text *
intake_value_text(const JsonbValue *v)
{
	switch (v->type)
	{
		case jbvString:
			return short_text(v->val.string.val, v->val.string.len);
		case jbvNumeric:
			{
				char	   *number = DatumGetCString(DirectFunctionCall1(numeric_out,
																		  NumericGetDatum(v->val.numeric)));

				return short_text(number, strlen(number));
			}
		case jbvBool:
			return cstring_to_text(v->val.boolean ? "true" : "false");
		default:
			return NULL;
	}
}

/* A member of an object as such a text. */
text *
intake_member_text(JsonbContainer *object, const char *key)
{
	JsonbValue	v;

	if (getKeyJsonValueFromContainer(object, key, strlen(key), &v) == NULL)
		return NULL;
	return intake_value_text(&v);
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
static text *
system_of(text *type, text *system, text *source, bool is_ours)
{
	if (intake_text_is(type, "NPI") || intake_text_is(system, "NPI") || intake_text_is(system, "urn:oid:2.16.840.1.113883.4.6"))
		return cstring_to_text(NPI_SYSTEM);
	if (intake_text_is(type, "SS") || intake_text_is(system, "SSN") || intake_text_is(system, "urn:oid:2.16.840.1.113883.4.1"))
		return cstring_to_text(SSN_SYSTEM);
	if (system == NULL)
		system = source;
	if (!is_ours && intake_text_is(system, INTAKE_OWN_SYSTEM))
		return cstring_to_text(INTAKE_OWN_SYSTEM " (sent)");
	return system;
}

/* Did we put this identifier into the case?  No mapper writes such a member. */
static bool
is_own(JsonbContainer *object)
{
	JsonbValue	v;

	return getKeyJsonValueFromContainer(object, "own", strlen("own"), &v) != NULL &&
		v.type == jbvBool && v.val.boolean;
}

PG_FUNCTION_INFO_V1(intake_system);
Datum
intake_system(PG_FUNCTION_ARGS)
{
	text	   *source = PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1);
	text	   *type = NULL;
	text	   *system = NULL;
	bool		is_ours = false;

	if (!PG_ARGISNULL(0))
	{
		Jsonb	   *identifier = PG_GETARG_JSONB_P(0);

		if (JB_ROOT_IS_OBJECT(identifier))
		{
			type = intake_member_text(&identifier->root, "type");
			system = intake_member_text(&identifier->root, "system");
			is_ours = is_own(&identifier->root);
		}
	}
	system = system_of(type, system, source, is_ours);
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
	value[ID_SYSTEM] = system_of(value[ID_TYPE], intake_member_text(object, "system"), source,
								 is_own(object));
	value[ID_ASSIGNER] = intake_member_text(object, "assigner");
	if (value[ID_NUMBER] == NULL || value[ID_SYSTEM] == NULL ||
		is_listed(ids, value[ID_NUMBER], value[ID_SYSTEM]))
		return;
	intake_add_identifier(ids, value);
}

void
intake_begin_identifiers(IntakeIdentifiers *ids, int room)
{
	ids->count = 0;
	for (int i = 0; i < ID_NFIELDS; i++)
	{
		ids->fields[i] = palloc(room * sizeof(Datum));
		ids->nulls[i] = palloc(room * sizeof(bool));
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
		JsonbValue *v = getIthJsonbValueFromContainer(list, i);

		if (v->type == jbvBinary && JsonContainerIsObject(v->val.binary.data))
			put_identifier(ids, v->val.binary.data, source);
	}
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
	{
		int			count = ids->count;
		int			lower = 1;

		values[i] = PointerGetDatum(count == 0 ? construct_empty_array(TEXTOID) :
									construct_md_array(ids->fields[i], ids->nulls[i], 1, &count, &lower,
													   TEXTOID, -1, false, TYPALIGN_INT));
	}
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
	intake_read_identifiers(&ids, &PG_GETARG_JSONB_P(0)->root, PG_GETARG_TEXT_PP(1), 1);
	PG_RETURN_DATUM(intake_identifiers_row(&ids, BlessTupleDesc(desc)));
}

/* ---------- Rows ---------- */

/* The row with the texts of the object in its text columns of the same names. */
static HeapTuple
filled(HeapTupleHeader row, TupleDesc desc, JsonbContainer *object)
{
	Datum	   *values = palloc(desc->natts * sizeof(Datum));
	bool	   *nulls = palloc(desc->natts * sizeof(bool));

	if (row != NULL)
	{
		HeapTupleData tuple;

		tuple.t_len = HeapTupleHeaderGetDatumLength(row);
		ItemPointerSetInvalid(&tuple.t_self);
		tuple.t_tableOid = InvalidOid;
		tuple.t_data = row;
		heap_deform_tuple(&tuple, desc, values, nulls);
	}
	else
		memset(nulls, true, desc->natts);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute a = TupleDescAttr(desc, i);
		text	   *told = a->atttypid == TEXTOID && !a->attisdropped ? intake_member_text(object, NameStr(a->attname)) : NULL;

		if (told != NULL)
		{
			values[i] = PointerGetDatum(told);
			nulls[i] = false;
		}
	}
	return heap_form_tuple(desc, values, nulls);
}

PG_FUNCTION_INFO_V1(intake_fill);
Datum
intake_fill(PG_FUNCTION_ARGS)
{
	HeapTupleHeader row = PG_ARGISNULL(0) ? NULL : PG_GETARG_HEAPTUPLEHEADER(0);
	Jsonb	   *object = PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1);
	TupleDesc	desc;
	HeapTuple	result;

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
		Oid			type = get_fn_expr_argtype(fcinfo->flinfo, 0);

		if (!type_is_rowtype(type) || type == RECORDOID)
			elog(ERROR, "intake_fill() needs a row of a named type");
		desc = lookup_rowtype_tupdesc(type, -1);
	}
	result = filled(row, desc, &object->root);
	ReleaseTupleDesc(desc);
	PG_RETURN_DATUM(HeapTupleGetDatum(result));
}
