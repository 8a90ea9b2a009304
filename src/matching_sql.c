/*-------------------------------------------------------------------------
 *
 * matching_sql.c
 *		Making demographics of columns.
 *
 * What is not known, or cannot be read, is left out: bad data must not keep a
 * patient from being entered, or from being found by the rest.
 *
 * IDENTIFICATION
 *		src/matching_sql.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/date.h"
#include "utils/datetime.h"

#include "compat.h"
#include "matching_draft.h"

/* ---------- Parts of a person that are no items ---------- */

void
demographics_set_sex(DemographicsDraft *draft, const char *text, int length)
{
	static const WordMap names[] = {
		{"1", "m"}, {"2", "f"}, {"f", "f"}, {"female", "f"}, {"m", "m"}, {"male", "m"},
		{"o", "o"}, {"other", "o"}, {"x", "o"},
	};
	NormalWords w;
	const char *name = NULL;

	normalize_words(text, length, &w);
	if (w.n == 1)
		name = normalize_map(names, lengthof(names), w.data, w.word[0].length);
	draft->sex = name == NULL ? DEMO_SEX_UNKNOWN :
		*name == 'm' ? DEMO_SEX_MALE : *name == 'f' ? DEMO_SEX_FEMALE : DEMO_SEX_OTHER;
}

void
demographics_set_multiple_birth(DemographicsDraft *draft, bool multiple)
{
	draft->multiple_birth = multiple ? 2 : 1;
}

void
demographics_set_birth_order(DemographicsDraft *draft, int order)
{
	draft->birth_order = order >= 1 && order <= DEMO_MAX_BIRTH_ORDER ? order : 0;
}

void
demographics_set_birth_date(DemographicsDraft *draft, DateADT date)
{
	int			year;
	int			month;
	int			day;

	if (DATE_NOT_FINITE(date))
		return;
	j2date(date + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	if (year < 1 || year > 9999)
		return;
	draft->birth_year = year;
	draft->birth_month = month;
	draft->birth_day = day;
}

/* ---------- Arguments ---------- */

typedef void (*TextReader) (DemographicsDraft *, const char *, int);

static void
read_text(FunctionCallInfo fcinfo, int argument, DemographicsDraft *draft, TextReader reader)
{
	text	   *value;

	if (PG_ARGISNULL(argument))
		return;
	value = PG_GETARG_TEXT_PP(argument);
	reader(draft, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
	PG_FREE_IF_COPY(value, argument);
}

static void
read_texts(FunctionCallInfo fcinfo, int argument, DemographicsDraft *draft, DemographicsKind kind)
{
	Datum	   *values;
	bool	   *nulls;
	int			n;

	if (PG_ARGISNULL(argument))
		return;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(argument), TEXTOID, -1, false, TYPALIGN_INT,
					  &values, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		text	   *value;

		CHECK_FOR_INTERRUPTS();
		if (nulls[i])
			continue;
		value = DatumGetTextPP(values[i]);
		demographics_add(draft, kind, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
	}
}

static void
read_mother(DemographicsDraft *draft, const char *text, int length)
{
	draft_names(draft, DEMO_MOTHER_MAIDEN, text, length);
}

/* family, given, birth_date, sex, phone, email, address, city, postal_code, identifiers */
static Datum
from_columns(FunctionCallInfo fcinfo, bool date)
{
	DemographicsDraft *draft = demographics_begin();

	read_text(fcinfo, 0, draft, draft_family);
	read_text(fcinfo, 1, draft, draft_given);
	if (!date)
		read_text(fcinfo, 2, draft, demographics_set_birth_text);
	else if (!PG_ARGISNULL(2))
		demographics_set_birth_date(draft, PG_GETARG_DATEADT(2));
	read_text(fcinfo, 3, draft, demographics_set_sex);
	read_text(fcinfo, 4, draft, draft_phone);
	read_text(fcinfo, 5, draft, draft_email);
	read_text(fcinfo, 6, draft, demographics_add_address);
	read_text(fcinfo, 7, draft, draft_city);
	read_text(fcinfo, 8, draft, draft_postal);
	read_texts(fcinfo, 9, draft, DEMO_IDENTIFIER);
	PG_RETURN_POINTER(demographics_finish(draft));
}

PG_FUNCTION_INFO_V1(demographics_of_texts);

Datum
demographics_of_texts(PG_FUNCTION_ARGS)
{
	return from_columns(fcinfo, false);
}

PG_FUNCTION_INFO_V1(demographics_of_date);

Datum
demographics_of_date(PG_FUNCTION_ARGS)
{
	return from_columns(fcinfo, true);
}

PG_FUNCTION_INFO_V1(patient_demographics);

/*
 * family, given, middle, suffix, alias[], previous_family[], mother_maiden_name,
 * birth_date, sex, multiple_birth, birth_order, phone, email, other_phones[],
 * address, city, state, postal_code, identifier_system, identifier,
 * other_identifiers[]
 */
Datum
patient_demographics(PG_FUNCTION_ARGS)
{
	DemographicsDraft *draft = demographics_begin();

	read_text(fcinfo, 0, draft, draft_family);
	read_text(fcinfo, 1, draft, draft_given);
	read_text(fcinfo, 2, draft, draft_middle);
	read_text(fcinfo, 3, draft, draft_suffix);
	read_texts(fcinfo, 4, draft, DEMO_ALIAS);
	read_texts(fcinfo, 5, draft, DEMO_PREVIOUS);
	read_text(fcinfo, 6, draft, read_mother);
	if (!PG_ARGISNULL(7))
		demographics_set_birth_date(draft, PG_GETARG_DATEADT(7));
	read_text(fcinfo, 8, draft, demographics_set_sex);
	if (!PG_ARGISNULL(9))
		demographics_set_multiple_birth(draft, PG_GETARG_BOOL(9));
	if (!PG_ARGISNULL(10))
		demographics_set_birth_order(draft, PG_GETARG_INT32(10));
	read_text(fcinfo, 11, draft, draft_phone);
	read_text(fcinfo, 12, draft, draft_email);
	read_texts(fcinfo, 13, draft, DEMO_PHONE);
	read_text(fcinfo, 14, draft, demographics_add_address);
	read_text(fcinfo, 15, draft, draft_city);
	read_text(fcinfo, 16, draft, draft_state);
	read_text(fcinfo, 17, draft, draft_postal);
	if (!PG_ARGISNULL(19))
	{
		text	   *system = PG_ARGISNULL(18) ? NULL : PG_GETARG_TEXT_PP(18);
		text	   *value = PG_GETARG_TEXT_PP(19);

		demographics_add_identifier(draft, system == NULL ? "" : VARDATA_ANY(system),
									system == NULL ? 0 : VARSIZE_ANY_EXHDR(system),
									VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
	}
	read_texts(fcinfo, 20, draft, DEMO_IDENTIFIER);
	PG_RETURN_POINTER(demographics_finish(draft));
}
