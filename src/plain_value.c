/*-------------------------------------------------------------------------
 *
 * plain_value.c
 *		Digits, numbers and days of the calendar as texts have them.
 *
 * IDENTIFICATION
 *		src/plain_value.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "pgtime.h"
#include "utils/datetime.h"

#include "plain_value.h"

/* more than any zone has */
#define OFFSET_HOURS	16

static bool
is_digit(const char *at, const char *end)
{
	return at < end && *at >= '0' && *at <= '9';
}

/* Takes digits, as many as there are up to most (9); false when there are less than least. */
bool
plain_digits(const char **at, const char *end, int least, int most, int *value)
{
	int			n = 0;

	*value = 0;
	for (; n < most && is_digit(*at, end); n++)
		*value = *value * 10 + (*(*at)++ - '0');
	return n >= least;
}

/* Takes the fraction of a second, cut to the microsecond; how many digits there were. */
int
plain_fraction(const char **at, const char *end, int most, fsec_t *fraction)
{
	int			unit = USECS_PER_SEC;
	int			n = 0;

	*fraction = 0;
	for (; n < most && is_digit(*at, end); n++)
	{
		unit /= 10;
		*fraction += (*(*at)++ - '0') * unit;
	}
	return n;
}

/*
 * Takes an offset from UTC, in seconds: Z, +HH, +HHMM or +HH:MM; after hours alone
 * nothing may follow.
 */
bool
plain_offset(const char **at, const char *end, int *east)
{
	int			sign;
	int			hours;
	int			minutes = 0;

	*east = 0;
	if (*at == end)
		return false;
	sign = **at == '-' ? -1 : 1;
	if (**at == 'Z' || **at == 'z')
	{
		(*at)++;
		return true;
	}
	if (*(*at)++ != '+' && sign > 0)
		return false;
	if (!plain_digits(at, end, 2, 2, &hours))
		return false;
	if (*at < end)
	{
		if (**at == ':')
			(*at)++;
		if (!plain_digits(at, end, 2, 2, &minutes))
			return false;
	}
	*east = sign * (hours * SECS_PER_HOUR + minutes * SECS_PER_MINUTE);
	return hours < OFFSET_HOURS && minutes < MINS_PER_HOUR;
}

/* Is it digits, up to so many before and after a point, and some on either side of it? */
bool
plain_number(const char *text, int length, int before, int after)
{
	const char *at = text;
	const char *end = text + length;
	const char *point;

	while (is_digit(at, end))
		at++;
	if (at == text || at - text > before)
		return false;
	if (at == end)
		return true;
	if (*at != '.')
		return false;
	for (point = at++; is_digit(at, end); at++)
		;
	return at == end && at > point + 1 && at - point - 1 <= after;
}

/* Is there such a day in the calendar? */
bool
is_day(int year, int month, int day)
{
	return year >= 1 && month >= 1 && month <= MONTHS_PER_YEAR && day >= 1 &&
		day <= day_tab[isleap(year)][month - 1];
}
