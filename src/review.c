/*-------------------------------------------------------------------------
 *
 * review.c
 *		What a value must look like that a model has read from a document.
 *
 * The rest of review is in sql/72_review.sql.  Unlike mappings of sources,
 * which say how a sender writes his values, models are to write one form.
 *
 * IDENTIFICATION
 *		src/review.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "parser/scansup.h"
#include "utils/builtins.h"
#include "utils/datetime.h"

#include "canonical.h"
#include "compat.h"

/* The number that n digits are; -1 when there are others, or fewer. */
static int
digits(const char *text, int n)
{
	int			number = 0;

	for (int i = 0; i < n; i++)
	{
		if (text[i] < '0' || text[i] > '9')
			return -1;
		number = number * 10 + (text[i] - '0');
	}
	return number;
}

/* 2026-11-02, at the beginning of the text */
static bool
is_date(const char *text)
{
	int			year = digits(text, 4);
	int			month;
	int			day;

	if (year < 1 || text[4] != '-')
		return false;
	month = digits(text + 5, 2);
	if (month < 1 || month > MONTHS_PER_YEAR || text[7] != '-')
		return false;
	day = digits(text + 8, 2);
	return day >= 1 && day <= day_tab[isleap(year)][month - 1];
}

/* Z, +01:00 or -0600, and nothing behind it */
static bool
is_zone(const char *text)
{
	int			hours;
	int			minutes;

	if (strcmp(text, "Z") == 0)
		return true;
	if (*text != '+' && *text != '-')
		return false;
	hours = digits(text + 1, 2);
	if (hours < 0 || hours > 14)
		return false;
	text += text[3] == ':' ? 4 : 3;
	minutes = digits(text, 2);
	return minutes >= 0 && minutes < MINS_PER_HOUR && text[2] == '\0';
}

/* T14:30Z, T14:30:00Z or T14:30:00.25Z, up to nine places */
static bool
is_time(const char *text)
{
	int			hour;
	int			minute;
	int			second;

	if (*text != 'T')
		return false;
	hour = digits(text + 1, 2);
	if (hour < 0 || hour >= HOURS_PER_DAY || text[3] != ':')
		return false;
	minute = digits(text + 4, 2);
	if (minute < 0 || minute >= MINS_PER_HOUR)
		return false;
	text += 6;
	if (*text == ':')
	{
		second = digits(text + 1, 2);
		if (second < 0 || second >= SECS_PER_MINUTE)
			return false;
		text += 3;
		if (*text == '.')
		{
			int			places = strspn(text + 1, "0123456789");

			if (places < 1 || places > 9)
				return false;
			text += places + 1;
		}
	}
	return is_zone(text);
}

/* Up to "whole" digits, and as many behind a point when there may be one. */
static bool
is_number(const char *text, int whole, bool fraction)
{
	int			n;

	if (*text == '-')
		text++;
	n = strspn(text, "0123456789");
	if (n < 1 || n > whole)
		return false;
	text += n;
	if (fraction && *text == '.')
	{
		n = strspn(text + 1, "0123456789");
		if (n < 1 || n > whole)
			return false;
		text += n + 1;
	}
	return *text == '\0';
}

static bool
is_blank(const char *text)
{
	while (scanner_isspace(*text))
		text++;
	return *text == '\0';
}

/* What is wrong with a value; NULL when nothing is. */
static const char *
fault_of(const CanonicalAttribute *attribute, const char *value)
{
	if (attribute == NULL)
		return "it is no canonical attribute";
	if (value == NULL || is_blank(value))
		return "it is empty";
	switch (attribute->type)
	{
		case CANONICAL_TEXT:
			break;
		case CANONICAL_CODE:
			if (!canonical_code_is_valid(attribute, value, strlen(value)))
				return "it is none of the codes allowed";
			break;
		case CANONICAL_DATE:
			if (!is_date(value) || value[10] != '\0')
				return "it is not written as 2026-11-02, or there is no such day";
			break;
		case CANONICAL_TIME:
			if (!is_date(value) || !is_time(value + 10))
				return "it is not written as 2026-11-02T14:30:00Z, or there is no such time";
			break;
		case CANONICAL_INTEGER:
			if (!is_number(value, 9, false))
				return "it is no integer";
			break;
		case CANONICAL_NUMBER:
			if (!is_number(value, 30, true))
				return "it is no number";
			break;
		case CANONICAL_BOOLEAN:
			if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
				return "it is neither true nor false";
			break;
	}
	return NULL;
}

PG_FUNCTION_INFO_V1(is_canonical_attribute);
PG_FUNCTION_INFO_V1(canonical_fault);

/* is_canonical_attribute(attribute text) returns boolean */
Datum
is_canonical_attribute(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));

	PG_RETURN_BOOL(canonical_attribute_find(name) != NULL);
}

/* canonical_fault(attribute text, value text) returns text */
Datum
canonical_fault(PG_FUNCTION_ARGS)
{
	const CanonicalAttribute *attribute = NULL;
	const char *value = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
	const char *fault;

	if (!PG_ARGISNULL(0))
		attribute = canonical_attribute_find(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	fault = fault_of(attribute, value);
	if (fault == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(fault));
}
