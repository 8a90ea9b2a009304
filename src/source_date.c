/*-------------------------------------------------------------------------
 *
 * source_date.c
 *		Dates and times as other systems write them.
 *
 * A format is made of YYYY, YY, MM, DD, Mon, HH24, HH12, MI, SS, AM and TZ;
 * every other character stands for itself.  Formats joined by | are tried in
 * turn.  Unlike to_date(), nothing is guessed: a text that does not fit to its
 * end, or names a day that is not in the calendar, is no date.
 *
 * IDENTIFICATION
 *		src/source_date.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>
#include <time.h>

#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/datetime.h"

#include "plain_value.h"
#include "source_date.h"

typedef enum Token
{
	TOKEN_YEAR, TOKEN_SHORT_YEAR, TOKEN_MONTH, TOKEN_MONTH_NAME, TOKEN_DAY, TOKEN_HOUR,
	TOKEN_HOUR12, TOKEN_MINUTE, TOKEN_SECOND, TOKEN_HALF, TOKEN_ZONE, TOKEN_LITERAL
} Token;

/* Longer ones first, where one begins another. */
static const struct
{
	const char *text;
	Token		token;
	int			digits;
}			tokens[] = {
	{"YYYY", TOKEN_YEAR, 4}, {"YY", TOKEN_SHORT_YEAR, 2}, {"Mon", TOKEN_MONTH_NAME, 0},
	{"MM", TOKEN_MONTH, 2}, {"MI", TOKEN_MINUTE, 2}, {"DD", TOKEN_DAY, 2},
	{"HH24", TOKEN_HOUR, 2}, {"HH12", TOKEN_HOUR12, 2}, {"SS", TOKEN_SECOND, 2},
	{"AM", TOKEN_HALF, 0}, {"PM", TOKEN_HALF, 0}, {"TZ", TOKEN_ZONE, 0}
};

/* Formats of ISO 8601, where none is declared. */
#define ISO_FORMATS \
	"YYYY-MM-DD|YYYY-MM-DDTHH24:MI:SSTZ|YYYY-MM-DD HH24:MI:SSTZ|YYYY-MM-DDTHH24:MITZ|" \
	"YYYY-MM-DD HH24:MITZ|YYYY-MM-DDTHH24:MI:SS|YYYY-MM-DD HH24:MI:SS|YYYY-MM-DDTHH24:MI|" \
	"YYYY-MM-DD HH24:MI|YYYYMMDD"

static const char *const month_names[] = {
	"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"
};

/* The token at *format, which moves behind it; digits: how many it may have. */
static Token
next_token(const char **format, int *digits)
{
	for (int i = 0; i < lengthof(tokens); i++)
	{
		int			length = strlen(tokens[i].text);

		if (strncmp(*format, tokens[i].text, length) == 0)
		{
			*format += length;
			*digits = tokens[i].digits;
			return tokens[i].token;
		}
	}
	(*format)++;
	*digits = 0;
	return TOKEN_LITERAL;
}

static bool
read_month_name(const char **text, const char *end, int *month)
{
	for (int i = 0; i < lengthof(month_names); i++)
		if (end - *text >= 3 && pg_strncasecmp(*text, month_names[i], 3) == 0)
		{
			*text += 3;
			*month = i + 1;
			return true;
		}
	return false;
}

/* A space may go before. */
static bool
read_zone(const char **text, const char *end, SourceDate *date)
{
	if (*text < end && **text == ' ')
		(*text)++;
	date->has_zone = plain_offset(text, end, &date->zone);
	return date->has_zone;
}

/* Seconds may have a fraction, which counts to the microsecond. */
static bool
read_seconds(const char **text, const char *end, SourceDate *date)
{
	if (!plain_digits(text, end, 2, 2, &date->tm.tm_sec))
		return false;
	if (*text < end && (**text == '.' || **text == ','))
	{
		(*text)++;
		(void) plain_fraction(text, end, INT_MAX, &date->fsec);
	}
	return true;
}

/* Of two digits: what is past lies in the past, all else around now. */
static int
full_year(int year, bool past)
{
	pg_time_t	now = (pg_time_t) time(NULL);
	int			this_year = pg_gmtime(&now)->tm_year + 1900;
	int			result = this_year - this_year % 100 + year;

	if (result > this_year + (past ? 0 : 30))
		result -= 100;
	return result;
}

static bool
read_half(const char **text, const char *end, bool *afternoon)
{
	if (end - *text < 2 || pg_tolower((*text)[1]) != 'm')
		return false;
	*afternoon = pg_tolower(**text) == 'p';
	if (!*afternoon && pg_tolower(**text) != 'a')
		return false;
	*text += 2;
	return true;
}

/* Twelve hours and a half of the day make a day of 24. */
static bool
settle_hour(SourceDate *date, bool twelve, bool afternoon)
{
	if (!twelve)
		return true;
	if (date->tm.tm_hour < 1 || date->tm.tm_hour > 12)
		return false;
	date->tm.tm_hour = date->tm.tm_hour % 12 + (afternoon ? 12 : 0);
	return true;
}

static bool
is_in_calendar(const SourceDate *date)
{
	const struct pg_tm *tm = &date->tm;

	return is_day(tm->tm_year, tm->tm_mon, tm->tm_mday) &&
		tm->tm_hour < HOURS_PER_DAY && tm->tm_min < MINS_PER_HOUR && tm->tm_sec < SECS_PER_MINUTE;
}

/* By one format, up to its end or to a |. */
static bool
parse_one(const char *format, const char *text, const char *end, bool past, SourceDate *date)
{
	bool		twelve = false;
	bool		afternoon = false;

	memset(date, 0, sizeof(SourceDate));
	while (*format != '\0' && *format != '|')
	{
		const char *literal = format;
		int			digits;
		Token		token = next_token(&format, &digits);
		/* what a digit follows at once has no room to be short */
		int			least = digits > 0 && strchr("YMDHS", *format) && *format ? digits : 1;
		bool		fits = true;

		switch (token)
		{
			case TOKEN_YEAR:
				fits = plain_digits(&text, end, 4, 4, &date->tm.tm_year);
				break;
			case TOKEN_SHORT_YEAR:
				fits = plain_digits(&text, end, 2, 2, &date->tm.tm_year);
				date->tm.tm_year = full_year(date->tm.tm_year, past);
				break;
			case TOKEN_MONTH:
				fits = plain_digits(&text, end, least, 2, &date->tm.tm_mon);
				break;
			case TOKEN_MONTH_NAME:
				fits = read_month_name(&text, end, &date->tm.tm_mon);
				break;
			case TOKEN_DAY:
				fits = plain_digits(&text, end, least, 2, &date->tm.tm_mday);
				break;
			case TOKEN_HOUR:
			case TOKEN_HOUR12:
				fits = plain_digits(&text, end, least, 2, &date->tm.tm_hour);
				twelve |= token == TOKEN_HOUR12;
				date->has_time = true;
				break;
			case TOKEN_MINUTE:
				fits = plain_digits(&text, end, 2, 2, &date->tm.tm_min);
				break;
			case TOKEN_SECOND:
				fits = read_seconds(&text, end, date);
				break;
			case TOKEN_HALF:
				fits = read_half(&text, end, &afternoon);
				break;
			case TOKEN_ZONE:
				fits = read_zone(&text, end, date);
				break;
			case TOKEN_LITERAL:
				fits = text < end && *text++ == *literal;
				break;
		}
		if (!fits)
			return false;
	}
	date->is_written = text == end;
	return date->is_written && settle_hour(date, twelve, afternoon) && is_in_calendar(date);
}

/*
 * Reads a text by a format; NULL: ISO 8601.  past: a year of two digits is not
 * after this one, as of a birth.  When it is none, is_written of the result
 * tells whether it is of one of the formats all the same.
 */
bool
source_date_parse(const char *format, const char *text, int length, bool past, SourceDate *result)
{
	bool		is_written = false;

	if (format == NULL)
		format = ISO_FORMATS;
	for (;;)
	{
		if (parse_one(format, text, text + length, past, result))
			return true;
		is_written |= result->is_written;
		format = strchr(format, '|');
		if (format == NULL)
			break;
		format++;
	}
	result->is_written = is_written;
	return false;
}

/* Is it a format? Each of its alternatives needs year, month and day. */
bool
source_format_check(const char *format, const char **problem)
{
	for (;;)
	{
		int			seen = 0;
		bool		twelve = false;
		bool		half = false;

		while (*format != '\0' && *format != '|')
		{
			int			digits;
			Token		token = next_token(&format, &digits);

			if (token == TOKEN_LITERAL && isalpha((unsigned char) format[-1]) && format[-1] != 'T')
			{
				*problem = "It has a letter that is no part of a date.";
				return false;
			}
			seen |= token == TOKEN_YEAR || token == TOKEN_SHORT_YEAR ? 1 :
				token == TOKEN_MONTH || token == TOKEN_MONTH_NAME ? 2 : token == TOKEN_DAY ? 4 : 0;
			twelve |= token == TOKEN_HOUR12;
			half |= token == TOKEN_HALF;
		}
		if (seen != 7)
		{
			*problem = "It needs a year, a month and a day.";
			return false;
		}
		if (twelve != half)
		{
			*problem = "HH12 and AM go together.";
			return false;
		}
		if (*format == '\0')
			return true;
		format++;
	}
}

PG_FUNCTION_INFO_V1(source_format_problem);

Datum
source_format_problem(PG_FUNCTION_ARGS)
{
	const char *problem;

	if (source_format_check(text_to_cstring(PG_GETARG_TEXT_PP(0)), &problem))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(problem));
}
