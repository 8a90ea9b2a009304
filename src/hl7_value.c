/*-------------------------------------------------------------------------
 *
 * hl7_value.c
 *		Dates and times as HL7 writes them.
 *
 * YYYY[MM[DD[HH[MM[SS[.S[S[S[S]]]]]]]]][+/-ZZZZ].  What is no such date is
 * null, not an error: messages are full of them.
 *
 * IDENTIFICATION
 *		src/hl7_value.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "errors.h"
#include "plain_value.h"

#define MAX_FRACTION_DIGITS		4

/* seconds before which an offset from UTC must be; more than any zone has */
#define OFFSET_LIMIT			(16 * SECS_PER_HOUR)

typedef struct Hl7Time
{
	struct pg_tm tm;
	fsec_t		fraction;
	int			precision;		/* how many of year, month, day, hour, minute, second */
	bool		has_offset;
	int			offset;			/* seconds east of UTC */
} Hl7Time;

PG_FUNCTION_INFO_V1(hl7_date);
PG_FUNCTION_INFO_V1(hl7_timestamp);

static bool
read_offset(const char **at, const char *end, Hl7Time *time)
{
	int			hours;
	int			minutes;
	char		sign;

	time->has_offset = *at < end && (**at == '+' || **at == '-');
	if (!time->has_offset)
		return true;
	sign = *(*at)++;
	if (!plain_digits(at, end, 2, 2, &hours) || !plain_digits(at, end, 2, 2, &minutes) ||
		minutes >= MINS_PER_HOUR)
		return false;
	time->offset = hours * SECS_PER_HOUR + minutes * SECS_PER_MINUTE;
	if (sign == '-')
		time->offset = -time->offset;
	return time->offset > -OFFSET_LIMIT && time->offset < OFFSET_LIMIT;
}

/* Year, month, day, hour, minute, second, as many as there are; from the left. */
static bool
read_parts(const char **at, const char *end, Hl7Time *time)
{
	int			parts[6] = {0, 1, 1, 0, 0, 0};
	int			n = 0;

	while (n < 6 && *at < end && **at >= '0' && **at <= '9')
	{
		int			digits = n == 0 ? 4 : 2;

		if (!plain_digits(at, end, digits, digits, &parts[n++]))
			return false;
	}
	time->precision = n;
	time->tm.tm_year = parts[0];
	time->tm.tm_mon = parts[1];
	time->tm.tm_mday = parts[2];
	time->tm.tm_hour = parts[3];
	time->tm.tm_min = parts[4];
	time->tm.tm_sec = parts[5];
	time->tm.tm_isdst = -1;
	return n > 0 && is_day(parts[0], parts[1], parts[2]) && parts[3] < HOURS_PER_DAY &&
		parts[4] < MINS_PER_HOUR && parts[5] < SECS_PER_MINUTE;
}

static bool
read_fraction(const char **at, const char *end, fsec_t *fraction)
{
	if (*at == end || **at != '.')
		return true;
	(*at)++;
	return plain_fraction(at, end, MAX_FRACTION_DIGITS, fraction) > 0;
}

/* Whether a text is a time, to the day at least. */
static bool
read_time(const text *value, Hl7Time *time)
{
	const char *at = VARDATA_ANY(value);
	const char *end = at + VARSIZE_ANY_EXHDR(value);

	memset(time, 0, sizeof(*time));
	return read_parts(&at, end, time) &&
		(time->precision < 6 || read_fraction(&at, end, &time->fraction)) &&
		read_offset(&at, end, time) && at == end && time->precision >= 3;
}

static pg_tz *
find_zone(const text *name)
{
	char	   *zone_name = text_to_cstring(name);
	pg_tz	   *zone = strlen(zone_name) > TZ_STRLEN_MAX ? NULL : pg_tzset(zone_name);

	if (zone == NULL || !pg_tz_acceptable(zone))
		ereport(ERROR,
				(errcode(ERRCODE_RF_INVALID_ARGUMENT),
				 errmsg("invalid time zone"),
				 errdetail("The zone is not known to this server."),
				 errhint("Name a zone of pg_timezone_names, such as America/Chicago.")));
	return zone;
}

/* hl7_date(value text) */
Datum
hl7_date(PG_FUNCTION_ARGS)
{
	Hl7Time		time;

	if (!read_time(PG_GETARG_TEXT_PP(0), &time))
		PG_RETURN_NULL();
	PG_RETURN_DATEADT(date2j(time.tm.tm_year, time.tm.tm_mon, time.tm.tm_mday) -
					  POSTGRES_EPOCH_JDATE);
}

/* hl7_timestamp(value text, zone text) */
Datum
hl7_timestamp(PG_FUNCTION_ARGS)
{
	pg_tz	   *zone = find_zone(PG_GETARG_TEXT_PP(1));
	Hl7Time		time;
	TimestampTz result;
	int			west;

	if (!read_time(PG_GETARG_TEXT_PP(0), &time))
		PG_RETURN_NULL();
	west = time.has_offset ? -time.offset : DetermineTimeZoneOffset(&time.tm, zone);
	if (tm2timestamp(&time.tm, time.fraction, &west, &result) != 0)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(result);
}
