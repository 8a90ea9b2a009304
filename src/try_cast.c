/*-------------------------------------------------------------------------
 *
 * try_cast.c
 *		Text that others sent as a date, a time, a number or a truth value:
 *		null where it is none, never an error.
 *
 * Only what is written the ISO way counts as a date or time, so that the
 * answer does not depend on DateStyle.
 *
 * IDENTIFICATION
 *		src/try_cast.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "fmgr.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "plain_value.h"

/* more digits than anybody means, and few enough for type numeric */
#define MAX_NUMBER_LENGTH	200
#define MAX_EXPONENT		200

typedef struct Cursor
{
	const char *at;
	const char *end;
} Cursor;

/* The text of an argument, without the space around it. */
static Cursor
trimmed(text *t)
{
	Cursor		c;

	c.at = VARDATA_ANY(t);
	c.end = c.at + VARSIZE_ANY_EXHDR(t);
	while (c.at < c.end && isspace((unsigned char) *c.at))
		c.at++;
	while (c.end > c.at && isspace((unsigned char) c.end[-1]))
		c.end--;
	return c;
}

static bool
take(Cursor *c, char wanted)
{
	if (c->at == c->end || *c->at != wanted)
		return false;
	c->at++;
	return true;
}

static bool
take_digits(Cursor *c, int count, int *value)
{
	return plain_digits(&c->at, c->end, count, count, value);
}

/* YYYY-MM-DD or YYYYMMDD, of a day that there was */
static bool
take_date(Cursor *c, struct pg_tm *tm)
{
	bool		dashes;

	if (!take_digits(c, 4, &tm->tm_year))
		return false;
	dashes = take(c, '-');
	if (!take_digits(c, 2, &tm->tm_mon) || take(c, '-') != dashes || !take_digits(c, 2, &tm->tm_mday))
		return false;
	return is_day(tm->tm_year, tm->tm_mon, tm->tm_mday);
}

/* HH:MM[:SS[.fraction]], with or without the colons */
static bool
take_time(Cursor *c, struct pg_tm *tm, fsec_t *fsec)
{
	bool		colons;

	if (!take_digits(c, 2, &tm->tm_hour))
		return false;
	colons = take(c, ':');
	if (!take_digits(c, 2, &tm->tm_min))
		return false;
	if (colons ? take(c, ':') : c->at < c->end && isdigit((unsigned char) *c->at))
	{
		if (!take_digits(c, 2, &tm->tm_sec))
			return false;
		if ((take(c, '.') || take(c, ',')) &&
			plain_fraction(&c->at, c->end, INT_MAX, fsec) == 0)
			return false;
	}
	if (tm->tm_hour == HOURS_PER_DAY)
		return tm->tm_min == 0 && tm->tm_sec == 0 && *fsec == 0;
	return tm->tm_hour < HOURS_PER_DAY && tm->tm_min < MINS_PER_HOUR &&
		tm->tm_sec <= SECS_PER_MINUTE;
}

/* A date, and what follows it: nothing, or a time with or without its zone. */
static bool
take_date_and_time(Cursor *c, struct pg_tm *tm, fsec_t *fsec, bool *zoned, int *east)
{
	*fsec = 0;
	*zoned = false;
	if (!take_date(c, tm))
		return false;
	if (c->at == c->end)
		return true;
	if (!take(c, 'T') && !take(c, ' '))
		return false;
	while (take(c, ' '))
		;
	if (!take_time(c, tm, fsec))
		return false;
	while (take(c, ' '))
		;
	if (c->at == c->end)
		return true;
	*zoned = plain_offset(&c->at, c->end, east);
	return *zoned && c->at == c->end;
}

PG_FUNCTION_INFO_V1(try_date);

Datum
try_date(PG_FUNCTION_ARGS)
{
	Cursor		c = trimmed(PG_GETARG_TEXT_PP(0));
	struct pg_tm tm = {0};
	fsec_t		fsec;
	bool		zoned;
	int			east;

	/* of a time it is the day as written, wherever that was */
	if (!take_date_and_time(&c, &tm, &fsec, &zoned, &east))
		PG_RETURN_NULL();
	PG_RETURN_DATEADT(date2j(tm.tm_year, tm.tm_mon, tm.tm_mday) - POSTGRES_EPOCH_JDATE);
}

/* The zone of a time that does not tell its own; null when there is none of the name. */
static pg_tz *
zone_of(FunctionCallInfo fcinfo)
{
	char		name[TZ_STRLEN_MAX + 1];
	text	   *zone;

	if (PG_ARGISNULL(1))
		return session_timezone;
	zone = PG_GETARG_TEXT_PP(1);
	if (VARSIZE_ANY_EXHDR(zone) > TZ_STRLEN_MAX)
		return NULL;
	text_to_cstring_buffer(zone, name, sizeof(name));
	return pg_tzset(name);
}

PG_FUNCTION_INFO_V1(try_timestamp);

Datum
try_timestamp(PG_FUNCTION_ARGS)
{
	Cursor		c;
	struct pg_tm tm = {0};
	fsec_t		fsec;
	bool		zoned;
	int			east;
	int			west;
	Timestamp	result;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	c = trimmed(PG_GETARG_TEXT_PP(0));
	if (!take_date_and_time(&c, &tm, &fsec, &zoned, &east))
		PG_RETURN_NULL();
	west = -east;
	if (!zoned)
	{
		pg_tz	   *zone = zone_of(fcinfo);

		if (zone == NULL)
			PG_RETURN_NULL();
		west = DetermineTimeZoneOffset(&tm, zone);
	}
	if (tm2timestamp(&tm, fsec, &west, &result) != 0)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(result);
}

/* Is it digits with at most one point, and at most one exponent that is not absurd? */
static bool
is_number(Cursor c)
{
	int			digits = 0;
	int			exponent = 0;

	if (c.end - c.at > MAX_NUMBER_LENGTH)
		return false;
	if (!take(&c, '-'))
		take(&c, '+');
	for (; c.at < c.end && isdigit((unsigned char) *c.at); c.at++)
		digits++;
	if (take(&c, '.'))
		for (; c.at < c.end && isdigit((unsigned char) *c.at); c.at++)
			digits++;
	if (digits == 0)
		return false;
	if (take(&c, 'e') || take(&c, 'E'))
	{
		if (!take(&c, '-'))
			take(&c, '+');
		if (c.at == c.end || c.end - c.at > 3)
			return false;
		for (; c.at < c.end && isdigit((unsigned char) *c.at); c.at++)
			exponent = exponent * 10 + (*c.at - '0');
	}
	return c.at == c.end && exponent <= MAX_EXPONENT;
}

PG_FUNCTION_INFO_V1(try_numeric);

Datum
try_numeric(PG_FUNCTION_ARGS)
{
	Cursor		c = trimmed(PG_GETARG_TEXT_PP(0));

	if (!is_number(c))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(DirectFunctionCall3(numeric_in,
										CStringGetDatum(pnstrdup(c.at, c.end - c.at)),
										ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

PG_FUNCTION_INFO_V1(try_integer);

Datum
try_integer(PG_FUNCTION_ARGS)
{
	Cursor		c = trimmed(PG_GETARG_TEXT_PP(0));
	bool		negative = take(&c, '-');
	int64		value = 0;

	if (!negative)
		take(&c, '+');
	if (c.at == c.end)
		PG_RETURN_NULL();
	for (; c.at < c.end; c.at++)
	{
		if (!isdigit((unsigned char) *c.at))
			PG_RETURN_NULL();
		value = value * 10 + (*c.at - '0');
		if (value > (int64) INT_MAX + 1)
			PG_RETURN_NULL();
	}
	if (negative)
		value = -value;
	if (value > INT_MAX)
		PG_RETURN_NULL();
	PG_RETURN_INT32((int32) value);
}

PG_FUNCTION_INFO_V1(try_boolean);

Datum
try_boolean(PG_FUNCTION_ARGS)
{
	Cursor		c = trimmed(PG_GETARG_TEXT_PP(0));
	bool		value;

	/* which looks at the first character before it looks at the length */
	if (c.at == c.end || !parse_bool_with_len(c.at, c.end - c.at, &value))
		PG_RETURN_NULL();
	PG_RETURN_BOOL(value);
}
