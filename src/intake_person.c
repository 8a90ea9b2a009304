/*-------------------------------------------------------------------------
 *
 * intake_person.c
 *		What a case of intake says of its patient.
 *
 * All that is needed to look for somebody, and to write him down, is made in
 * one go: PL/pgSQL would set up some sixty expressions for it, in each
 * transaction anew.
 *
 * IDENTIFICATION
 *		src/intake_person.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/fmgrprotos.h"
#include "utils/formatting.h"
#include "utils/typcache.h"

#include "compat.h"
#include "intake.h"
#include "matching_draft.h"
#include "matching_model.h"

extern Datum patient_demographics(PG_FUNCTION_ARGS);

/* The columns of the type intake_person, in its order. */
enum
{
	P_FAMILY, P_GIVEN, P_MIDDLE, P_SUFFIX, P_BIRTH_DATE, P_SEX, P_PHONE, P_EMAIL, P_ADDRESS, P_CITY,
	P_STATE, P_POSTAL_CODE, P_LANGUAGE, P_MOTHER_MAIDEN_NAME, P_MULTIPLE_BIRTH, P_BIRTH_ORDER,
	P_ALIAS, P_PREVIOUS_FAMILY, P_OTHER_PHONES, P_IDENTIFIER_SYSTEM, P_IDENTIFIER, P_NCOLUMNS
};

typedef struct Person
{
	TupleDesc	desc;			/* of intake_person */
	Datum		values[P_NCOLUMNS];
	bool		nulls[P_NCOLUMNS];
	JsonbParseState *findings;	/* NULL while there are none */
} Person;

/* ---------- Values ---------- */

static void
set_value(Person *person, int column, Datum value)
{
	person->values[column] = value;
	person->nulls[column] = false;
}

static void
read_birth_date(Person *person, const text *told)
{
	Datum		date;

	if (!intake_try(try_date, told, &date))
		intake_put_finding(&person->findings, "invalid_date", "warning", "patient.birth_date",
						   "no such date", told);
	else if (DatumGetDateADT(date) > GetSQLCurrentDate() + 1)
		intake_put_finding(&person->findings, "invalid_date", "warning", "patient.birth_date",
						   "in the future", told);
	else
		set_value(person, P_BIRTH_DATE, date);
}

static void
read_sex(Person *person, const text *told)
{
	char	   *lower = str_tolower(VARDATA_ANY(told), VARSIZE_ANY_EXHDR(told),
									DEFAULT_COLLATION_OID);
	text	   *sex = cstring_to_text(lower);

	/* not known is no news */
	if (strcmp(lower, "male") == 0 || strcmp(lower, "female") == 0 || strcmp(lower, "other") == 0 ||
		(strcmp(lower, "unknown") == 0 && person->nulls[P_SEX]))
		set_value(person, P_SEX, PointerGetDatum(sex));
	else if (strcmp(lower, "unknown") != 0)
		intake_put_finding(&person->findings, "invalid_code", "warning", "patient.sex",
						   "not one of male, female, other, unknown", sex);
}

static bool
is_among(const text *t, const Datum *known, int n)
{
	for (int i = 0; i < n; i++)
	{
		text	   *k = DatumGetTextPP(known[i]);

		if (VARSIZE_ANY_EXHDR(k) == VARSIZE_ANY_EXHDR(t) &&
			memcmp(VARDATA_ANY(k), VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t)) == 0)
			return true;
	}
	return false;
}

/* Of what there may be several, those that are told are added to those that are known. */
static void
add_texts(Person *person, int column, JsonbContainer *told)
{
	uint32		size = JsonContainerIsArray(told) ? JsonContainerSize(told) : 0;
	Datum	   *known = NULL;
	bool	   *nulls = NULL;
	int			nknown = 0;
	int			n = 0;
	int			before;
	Datum	   *all;

	if (!person->nulls[column])
		deconstruct_array(DatumGetArrayTypeP(person->values[column]), TEXTOID, -1, false,
						  TYPALIGN_INT, &known, &nulls, &nknown);
	all = palloc((nknown + size) * sizeof(Datum));
	for (int i = 0; i < nknown; i++)
		if (!nulls[i])
			all[n++] = known[i];
	before = n;
	for (uint32 i = 0; i < size; i++)
	{
		text	   *t = intake_value_text(getIthJsonbValueFromContainer(told, i));

		if (t != NULL && !is_among(t, all, n))
			all[n++] = PointerGetDatum(t);
	}
	if (n > before)
		set_value(person, column,
				  PointerGetDatum(construct_array(all, n, TEXTOID, -1, false, TYPALIGN_INT)));
}

/* The column of a member that is written as it is told; the numbers are looked at elsewhere. */
static bool
is_plain(int column)
{
	return column != P_SEX && column != P_IDENTIFIER && column != P_IDENTIFIER_SYSTEM;
}

static void
note_no_value(Person *person, int column)
{
	intake_put_no_value(&person->findings,
						column == P_BIRTH_DATE ? "invalid_date" : column == P_SEX ? "invalid_code" : "invalid_value",
						psprintf("patient.%s", NameStr(TupleDescAttr(person->desc, column)->attname)));
}

/* What a case says of somebody, in place of what is known. */
static void
read_person(Person *person, JsonbContainer *p)
{
	for (int i = 0; i < P_NCOLUMNS; i++)
	{
		Form_pg_attribute att = TupleDescAttr(person->desc, i);
		JsonbValue	v;
		Datum		value;
		text	   *told;

		if (getKeyJsonValueFromContainer(p, NameStr(att->attname), strlen(NameStr(att->attname)),
										 &v) == NULL)
			continue;
		if (att->atttypid == TEXTARRAYOID && v.type == jbvBinary)
			add_texts(person, i, v.val.binary.data);
		else if (v.type == jbvBinary && i != P_IDENTIFIER && i != P_IDENTIFIER_SYSTEM)
			note_no_value(person, i);
		told = intake_value_text(&v);
		if (told == NULL)
			continue;
		if (i == P_BIRTH_DATE)
			read_birth_date(person, told);
		else if (i == P_SEX)
			read_sex(person, told);
		else if (i == P_MULTIPLE_BIRTH && intake_try(try_boolean, told, &value))
			set_value(person, i, value);
		else if (i == P_BIRTH_ORDER && intake_try(try_integer, told, &value))
			set_value(person, i, value);
		else if (att->atttypid == TEXTOID && is_plain(i))
			set_value(person, i, PointerGetDatum(told));
	}
}

/* ---------- Rows ---------- */

static void
begin_person(Person *person, TupleDesc desc, HeapTupleHeader row)
{
	if (desc->natts != P_NCOLUMNS)
		elog(ERROR, "unexpected columns of referral.intake_person");
	person->desc = desc;
	person->findings = NULL;
	intake_deform(row, desc, person->values, person->nulls);
}

/* The description of a column that is a row itself. */
static TupleDesc
column_desc(TupleDesc desc, int column)
{
	return lookup_rowtype_tupdesc_copy(TupleDescAttr(desc, column)->atttypid, -1);
}

static TupleDesc
result_desc(FunctionCallInfo fcinfo, int ncolumns)
{
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE || desc->natts != ncolumns)
		elog(ERROR, "unexpected result type of function %u", fcinfo->flinfo->fn_oid);
	return BlessTupleDesc(desc);
}

PG_FUNCTION_INFO_V1(intake_patient_values);

/* intake_patient_values(p jsonb, n INOUT intake_person, OUT findings jsonb) */
Datum
intake_patient_values(PG_FUNCTION_ARGS)
{
	TupleDesc	desc = result_desc(fcinfo, 2);
	Jsonb	   *p = intake_argument_object(fcinfo, 0);
	Person		person;
	Jsonb	   *findings;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	begin_person(&person, column_desc(desc, 0),
				 PG_ARGISNULL(1) ? NULL : PG_GETARG_HEAPTUPLEHEADER(1));
	if (p != NULL)
		read_person(&person, &p->root);
	findings = intake_findings(&person.findings);
	values[0] = HeapTupleGetDatum(heap_form_tuple(person.desc, person.values, person.nulls));
	values[1] = PointerGetDatum(findings);
	nulls[1] = findings == NULL;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}

/* ---------- Numbers ---------- */

/* One to three digits: of somebody who has few of them.  But not 9, 99, 999. */
static bool
is_small_number(const char *value, int length)
{
	bool		only_nines = true;

	if (length < 1 || length > 3 || value[0] == '0')
		return false;
	for (int i = 0; i < length; i++)
	{
		if (value[i] < '0' || value[i] > '9')
			return false;
		only_nines = only_nines && value[i] == '9';
	}
	return !only_nines;
}

static char *
numbered(const text *system, const text *value)
{
	return psprintf("%.*s|%.*s", (int) VARSIZE_ANY_EXHDR(system), VARDATA_ANY(system),
					(int) VARSIZE_ANY_EXHDR(value), VARDATA_ANY(value));
}

/* Does matching make anything of the number?  Not of what stands for "not known". */
static bool
means_something(const text *system, const text *value)
{
	char	   *number = numbered(system, value);
	DemographicsDraft *draft = demographics_begin();
	Demographics *d;
	MatchComparison comparison;

	demographics_add(draft, DEMO_IDENTIFIER, number, strlen(number));
	d = demographics_finish(draft);
	matching_compare(matching_model(0)->dictionary, d, d, &comparison);
	return comparison.level[FIELD_IDENTIFIER] != LEVEL_UNKNOWN ||
		comparison.level[FIELD_RECORD_NUMBER] != LEVEL_UNKNOWN;
}

/* Accounts, visits, and what a family shares (HL7 table 0203). */
static bool
is_no_persons(const text *type)
{
	static const char *const types[] = {"AN", "ANC", "AND", "ANON", "ANT", "VN", "MB", "SN"};

	for (int i = 0; i < lengthof(types); i++)
		if (intake_text_is(type, types[i]))
			return true;
	return false;
}

static bool
identifies(const text *system, const text *value, const text *type)
{
	if (is_no_persons(type))
		return false;
	/* these are not typed by anybody, or are of somebody who has few */
	if (intake_text_is(type, "FHIR") || intake_text_is(system, INTAKE_OWN_SYSTEM) ||
		is_small_number(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)))
		return true;
	return means_something(system, value);
}

PG_FUNCTION_INFO_V1(intake_identifies);

/* intake_identifies(system text, value text, type text) */
Datum
intake_identifies(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_BOOL(false);
	PG_RETURN_BOOL(identifies(PG_GETARG_TEXT_PP(0), PG_GETARG_TEXT_PP(1),
							  intake_argument_text(fcinfo, 2)));
}

static text *
id_text(const IntakeIdentifiers *ids, int field, int i)
{
	return ids->nulls[field][i] ? NULL : DatumGetTextPP(ids->fields[field][i]);
}

/* Those of some identifiers that say who somebody is, and room for another. */
static void
choose_personal(const IntakeIdentifiers *ids, IntakeIdentifiers *own)
{
	intake_begin_identifiers(own, ids->count + 1);
	for (int i = 0; i < ids->count; i++)
	{
		text	   *value[ID_NFIELDS];

		for (int field = 0; field < ID_NFIELDS; field++)
			value[field] = id_text(ids, field, i);
		if (identifies(value[ID_SYSTEM], value[ID_NUMBER], value[ID_TYPE]))
			intake_add_identifier(own, value);
	}
}

PG_FUNCTION_INFO_V1(intake_personal);

/* intake_personal(list jsonb, source text) */
Datum
intake_personal(PG_FUNCTION_ARGS)
{
	TupleDesc	desc = result_desc(fcinfo, ID_NFIELDS);
	IntakeIdentifiers ids;
	IntakeIdentifiers own;

	intake_read_identifiers(&ids, PG_ARGISNULL(0) ? NULL : &PG_GETARG_JSONB_P(0)->root,
							intake_argument_text(fcinfo, 1), 0);
	choose_personal(&ids, &own);
	PG_RETURN_DATUM(intake_identifiers_row(&own, desc));
}

/* "system|number" of the identifiers from one on, as matching has them; NULL for none. */
static ArrayType *
numbers_from(const IntakeIdentifiers *ids, int first)
{
	Datum	   *numbers = palloc(sizeof(Datum) * Max(ids->count, 1));

	if (first >= ids->count)
		return NULL;
	for (int i = first; i < ids->count; i++)
		numbers[i - first] = CStringGetTextDatum(numbered(id_text(ids, ID_SYSTEM, i),
														  id_text(ids, ID_NUMBER, i)));
	return construct_array(numbers, ids->count - first, TEXTOID, -1, false, TYPALIGN_INT);
}

/* ---------- Somebody ---------- */

/* What he is compared by: his values, and numbers. */
static Datum
demographics_of(const Person *person, ArrayType *numbers)
{
	/* arguments of patient_demographics(); -1 is what is not told by itself */
	static const int columns[] = {P_FAMILY, P_GIVEN, P_MIDDLE, P_SUFFIX, P_ALIAS, P_PREVIOUS_FAMILY,
		P_MOTHER_MAIDEN_NAME, P_BIRTH_DATE, P_SEX, P_MULTIPLE_BIRTH, P_BIRTH_ORDER, P_PHONE, P_EMAIL,
		P_OTHER_PHONES, P_ADDRESS, P_CITY, P_STATE, P_POSTAL_CODE, -1, -1, -1
	};
	LOCAL_FCINFO(fcinfo, lengthof(columns));

	InitFunctionCallInfoData(*fcinfo, NULL, lengthof(columns), InvalidOid, NULL, NULL);
	for (int i = 0; i < lengthof(columns); i++)
	{
		fcinfo->args[i].isnull = columns[i] < 0 || person->nulls[columns[i]];
		if (!fcinfo->args[i].isnull)
			fcinfo->args[i].value = person->values[columns[i]];
	}
	fcinfo->args[lengthof(columns) - 1].value = PointerGetDatum(numbers);
	fcinfo->args[lengthof(columns) - 1].isnull = numbers == NULL;
	return patient_demographics(fcinfo);
}

PG_FUNCTION_INFO_V1(intake_demographics);

/* intake_demographics(n intake_person) */
Datum
intake_demographics(PG_FUNCTION_ARGS)
{
	HeapTupleHeader row = PG_GETARG_HEAPTUPLEHEADER(0);
	TupleDesc	desc = lookup_rowtype_tupdesc_copy(HeapTupleHeaderGetTypeId(row),
												   HeapTupleHeaderGetTypMod(row));
	Person		person;

	begin_person(&person, desc, row);
	PG_RETURN_DATUM(demographics_of(&person, NULL));
}

/* The columns of the type intake_told. */
enum
{
	T_PERSON, T_IS_TOLD, T_OWN, T_IDENTIFIERS, T_OTHER_NUMBERS, T_DEMOGRAPHICS, T_FINDINGS,
	T_NCOLUMNS
};

/*
 * A message that brings no number of a person leaves its own, so that it can
 * be applied again.  It is no number of his: it is not the one he is known by.
 */
static void
put_message_key(IntakeIdentifiers *ids, IntakeIdentifiers *own, text *key)
{
	text	   *value[ID_NFIELDS] = {key, cstring_to_text(INTAKE_OWN_SYSTEM), NULL, NULL};

	intake_add_identifier(own, value);
	intake_add_identifier(ids, value);
}

static bool
is_told(const Person *person, const IntakeIdentifiers *ids)
{
	return ids->count > 0 || !person->nulls[P_FAMILY] || !person->nulls[P_GIVEN] ||
		!person->nulls[P_BIRTH_DATE] || !person->nulls[P_PHONE];
}

PG_FUNCTION_INFO_V1(intake_told);

/* intake_told(p jsonb, source text, message_key text) returns intake_told */
Datum
intake_told(PG_FUNCTION_ARGS)
{
	TupleDesc	desc = result_desc(fcinfo, T_NCOLUMNS);
	Jsonb	   *object = intake_argument_object(fcinfo, 0);
	JsonbContainer *p = object == NULL ? NULL : &object->root;
	text	   *key = intake_argument_text(fcinfo, 2);
	Person		person;
	IntakeIdentifiers ids;
	IntakeIdentifiers own;
	Jsonb	   *findings;
	ArrayType  *others;
	Datum		values[T_NCOLUMNS];
	bool		nulls[T_NCOLUMNS] = {false};

	begin_person(&person, column_desc(desc, T_PERSON), NULL);
	intake_read_identifiers(&ids, p == NULL ? NULL : intake_member_list(p, "identifiers"),
							intake_argument_text(fcinfo, 1), 1);
	choose_personal(&ids, &own);
	if (p != NULL)
		read_person(&person, p);
	values[T_IS_TOLD] = BoolGetDatum(is_told(&person, &ids));
	if (own.count > 0)
	{
		set_value(&person, P_IDENTIFIER, own.fields[ID_NUMBER][0]);
		set_value(&person, P_IDENTIFIER_SYSTEM, own.fields[ID_SYSTEM][0]);
	}
	else if (key != NULL && VARSIZE_ANY_EXHDR(key) > 0)
		put_message_key(&ids, &own, key);
	findings = intake_findings(&person.findings);
	others = numbers_from(&own, 1);
	values[T_PERSON] = HeapTupleGetDatum(heap_form_tuple(person.desc, person.values, person.nulls));
	values[T_OWN] = intake_identifiers_row(&own, column_desc(desc, T_OWN));
	values[T_IDENTIFIERS] = intake_identifiers_row(&ids, column_desc(desc, T_IDENTIFIERS));
	values[T_OTHER_NUMBERS] = PointerGetDatum(others);
	nulls[T_OTHER_NUMBERS] = others == NULL;
	values[T_DEMOGRAPHICS] = demographics_of(&person, numbers_from(&own, 0));
	values[T_FINDINGS] = PointerGetDatum(findings);
	nulls[T_FINDINGS] = findings == NULL;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}

/* ---------- One at a time ---------- */

static int
compare_keys(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

PG_FUNCTION_INFO_V1(intake_claim);

/*
 * intake_claim(org_id bigint, numbers text[], systems text[], wait boolean)
 *
 * The locks of some numbers, in one order, so that two who want the same ones
 * do not wait for each other.  Without waiting it ends at the first that
 * another transaction has: who then waits for them begins with that one.
 */
Datum
intake_claim(PG_FUNCTION_ARGS)
{
	Datum	   *numbers;
	Datum	   *systems;
	char	  **keys;
	int			n;
	int			nsystems;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &numbers, NULL,
					  &n);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(2), TEXTOID, -1, false, TYPALIGN_INT, &systems, NULL,
					  &nsystems);
	if (n > 0 && nsystems == 0)
		elog(ERROR, "numbers without a system");
	keys = palloc(sizeof(char *) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		text	   *system = DatumGetTextPP(systems[Min(i, nsystems - 1)]);

		keys[i] = psprintf("patient %s", numbered(system, DatumGetTextPP(numbers[i])));
	}
	qsort(keys, n, sizeof(char *), compare_keys);
	for (int i = 0; i < n; i++)
	{
		if (!intake_take_lock(PG_GETARG_INT64(0), keys[i], strlen(keys[i]), PG_GETARG_BOOL(3)))
			PG_RETURN_BOOL(false);
	}
	PG_RETURN_BOOL(true);
}

/*
 * Number by number, since for a list of them the planner may prefer to read
 * all patients; and by the index of values, not by that of patients.
 */
static const char *const number_known =
"SELECT 1 WHERE EXISTS (SELECT FROM referral.identifier t WHERE t.org_id " EQ " $1 AND t.value " EQ " $2"
"                       AND COALESCE(t.patient_id, 0) OPERATOR(pg_catalog.>) 0)"
" OR EXISTS (SELECT FROM referral.patient t WHERE t.org_id " EQ " $1 AND t.identifier " EQ " $2)";

PG_FUNCTION_INFO_V1(intake_number_known);

/* intake_number_known(org_id bigint, numbers text[]) returns boolean */
Datum
intake_number_known(PG_FUNCTION_ARGS)
{
	static SPIPlanPtr plan = NULL;
	static Oid	types[] = {INT8OID, TEXTOID};
	Datum		args[] = {PG_GETARG_DATUM(0), 0};
	Datum	   *numbers;
	bool	   *nulls;
	int			n;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &numbers, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		args[1] = numbers[i];
		if (!nulls[i] && intake_finds(&plan, number_known, lengthof(types), types, args, NULL))
			PG_RETURN_BOOL(true);
	}
	PG_RETURN_BOOL(false);
}
