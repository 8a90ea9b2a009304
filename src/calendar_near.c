/*-------------------------------------------------------------------------
 *
 * calendar_near.c
 *		Where the stretches of open time begin and end, and business dates.
 *
 * Stretches are told apart by real time: hours that touch are one, also across
 * midnight, over a skipped day, or from a dated day into a regular one.
 *
 * IDENTIFICATION
 *		src/calendar_near.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "calendar_compiled.h"
#include "errors.h"

/* True when there is an answer, false when there is nothing of the kind. */
static bool
answered(const CompiledCalendar *c, Outcome outcome)
{
	if (outcome == BEYOND_HORIZON)
		calendar_refuse_outcome(c, outcome);
	return outcome == ANSWERED;
}

/* For what is about the time up to an instant. */
static void
check_until(const CompiledCalendar *c, TimestampTz at)
{
	calendar_check_instant(at);
	if (at > c->horizon)
		calendar_refuse_outcome(c, BEYOND_HORIZON);
}

/* For what is about the time from an instant on. */
static void
check_from(const CompiledCalendar *c, TimestampTz at)
{
	check_until(c, at);
	if (at == c->horizon)
		calendar_refuse_outcome(c, BEYOND_HORIZON);
}

bool
calendar_is_open(CompiledCalendar *c, TimestampTz at)
{
	Stretch		buffer[CALENDAR_MAX_SPANS];
	const Stretch *stretches;
	int			day;

	check_from(c, at);
	day = calendar_reached_day(c, at);
	for (int back = 0; back <= (c->overnight ? 1 : 0); back++)
	{
		int			n = calendar_stretches(c, day - back, &stretches, buffer);

		for (int i = 0; i < n; i++)
		{
			if (stretches[i].opens <= at && at < stretches[i].closes)
				return true;
		}
	}
	return false;
}

/* The first open instant that is not before "at"; false when it never opens again. */
bool
calendar_next_open(CompiledCalendar *c, TimestampTz at, TimestampTz *opens)
{
	OpenUnit	unit;

	check_from(c, at);
	if (!answered(c, calendar_latest_at(c, calendar_position(c, at), &unit)))
		return false;
	calendar_check_instant(unit.at);
	*opens = unit.at;
	return true;
}

/*
 * A week without a gap, on whose regular days nothing closes: the day before
 * the next irregular one, or "day" if that is closer.
 */
static int
skip_open_days(const CompiledCalendar *c, int day)
{
	int			place = ledger_place(&c->work, day);

	if (c->work.week < 7 * USECS_PER_DAY)
		return day;
	return Max(day, place < c->work.n ? c->work.day[place] - 1 : CALENDAR_LAST_DAY);
}

/* The end of the stretch in which an open instant lies. */
static Outcome
find_close(const CompiledCalendar *c, OpenUnit unit, TimestampTz *closes)
{
	Stretch		buffer[CALENDAR_MAX_SPANS];
	const Stretch *stretches;
	int			n;

	*closes = unit.at;
	for (int day = unit.day; day <= CALENDAR_LAST_DAY; day++)
	{
		CHECK_FOR_INTERRUPTS();
		n = calendar_stretches(c, day, &stretches, buffer);
		for (int i = 0; i < n; i++)
		{
			if (stretches[i].opens > *closes)
				return *closes >= c->horizon ? BEYOND_HORIZON : ANSWERED;
			*closes = Max(*closes, stretches[i].closes);
		}
		if (*closes >= c->horizon)
			return BEYOND_HORIZON;
		if (zone_to_utc(c->zone, calendar_day_start(day + 1)) > *closes)
			return ANSWERED;
		if (n > 0 && skip_open_days(c, day) > day)
		{
			day = skip_open_days(c, day);
			n = calendar_stretches(c, day, &stretches, buffer);
			*closes = stretches[n - 1].closes;
		}
	}
	return calendar_exhausted(c, true);
}

/* The end of the stretch that is open, or opens next; false when it does not end. */
bool
calendar_next_close(CompiledCalendar *c, TimestampTz at, TimestampTz *closes)
{
	OpenUnit	unit;

	check_from(c, at);
	if (!answered(c, calendar_latest_at(c, calendar_position(c, at), &unit)) ||
		!answered(c, find_close(c, unit, closes)))
		return false;
	calendar_check_instant(*closes);
	return true;
}

/* The start of the stretch in which the microsecond before an instant lies; false: none. */
static bool
find_open(const CompiledCalendar *c, OpenUnit unit, TimestampTz *opens)
{
	Stretch		buffer[CALENDAR_MAX_SPANS];
	const Stretch *stretches;
	TimestampTz start = unit.at;
	int			place;
	int			n;

	for (int day = unit.day; day > 0; day--)
	{
		CHECK_FOR_INTERRUPTS();
		n = calendar_stretches(c, day, &stretches, buffer);
		for (int i = n - 1; i >= 0; i--)
		{
			if (stretches[i].closes < start)
			{
				*opens = start;
				return true;
			}
			start = Min(start, stretches[i].opens);
		}
		/* what days before this one own, ends here or earlier */
		if (zone_to_utc(c->zone, calendar_day_start(day + 1)) < start)
		{
			*opens = start;
			return true;
		}
		place = ledger_place(&c->work, day);
		if (c->work.week == 7 * USECS_PER_DAY &&
			(place == c->work.n || c->work.day[place] != day))
		{
			/* no regular day opens: on to the first of them after an irregular one */
			day = place == 0 ? 1 : c->work.day[place - 1] + 1;
			n = calendar_stretches(c, day, &stretches, buffer);
			start = stretches[0].opens;
		}
	}
	return false;
}

/* The last end of a stretch that is not after "at"; false when there is none. */
bool
calendar_prev_close(CompiledCalendar *c, TimestampTz at, TimestampTz *closes)
{
	OpenUnit	earliest;
	OpenUnit	latest;
	TimestampTz opens;
	int64		before;

	check_until(c, at);
	before = calendar_position(c, at);
	if (before == 0 || !answered(c, calendar_earliest_at(c, before, &earliest)))
		return false;
	if (earliest.at == c->horizon)
		calendar_refuse_outcome(c, BEYOND_HORIZON);
	if (earliest.at == at && calendar_latest_at(c, before, &latest) == ANSWERED && latest.at == at)
	{
		/* open before and after: the close is the one before this stretch */
		if (!find_open(c, earliest, &opens))
			return false;
		before = calendar_position(c, opens);
		if (before == 0 || !answered(c, calendar_earliest_at(c, before, &earliest)))
			return false;
	}
	calendar_check_instant(earliest.at);
	*closes = earliest.at;
	return true;
}

/* Calls back for each stretch between two instants, clipped to them, in order. */
void
calendar_walk(CompiledCalendar *c, TimestampTz from, TimestampTz to,
			  void (*found) (void *state, TimestampTz opens, TimestampTz closes), void *state)
{
	Stretch		buffer[CALENDAR_MAX_SPANS];
	const Stretch *stretches;
	Stretch		pending = { 0, 0 };
	int			last;

	calendar_check_instant(from);
	calendar_check_instant(to);
	if (from >= to)
		return;
	check_until(c, to);
	last = calendar_reached_day(c, to);
	for (int day = calendar_reached_day(c, from) - 1; day <= last; day++)
	{
		int			n = calendar_stretches(c, day, &stretches, buffer);

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < n; i++)
		{
			TimestampTz opens = Max(stretches[i].opens, from);
			TimestampTz closes = Min(stretches[i].closes, to);

			if (opens >= closes)
				continue;
			if (pending.opens < pending.closes && pending.closes == opens)
			{
				pending.closes = closes;
				continue;
			}
			if (pending.opens < pending.closes)
				found(state, pending.opens, pending.closes);
			pending.opens = opens;
			pending.closes = closes;
		}
	}
	if (pending.opens < pending.closes)
		found(state, pending.opens, pending.closes);
}

/* The number of a date's day. */
static int
checked_day(DateADT date)
{
	if (DATE_NOT_FINITE(date))
		ereport(ERROR,
				(errcode(ERRCODE_RF_INVALID_ARGUMENT),
				 errmsg("a calendar does not answer for infinity"),
				 errdetail("A date is infinite."),
				 errhint("Ask about a date of the years 1900 to 2399.")));
	if (date < CALENDAR_MIN_INSTANT / USECS_PER_DAY || date > CALENDAR_END_INSTANT / USECS_PER_DAY)
		calendar_refuse_range();
	return date - CALENDAR_FIRST_DATE;
}

/* Business dates before a day. */
static int64
business_before(const CompiledCalendar *c, int day)
{
	return ledger_before(&c->business, day, ledger_place(&c->business, day));
}

/* The first day that is not known any more. */
static int
unknown_day(const CompiledCalendar *c)
{
	return c->value->valid_until == DATEVAL_NOEND ? PG_INT32_MAX :
		c->value->valid_until + 1 - CALENDAR_FIRST_DATE;
}

/* Business dates from one date up to another, exclusive; negative when reversed. */
int64
calendar_count_dates(CompiledCalendar *c, DateADT from, DateADT to)
{
	int			first = checked_day(from);
	int			end = checked_day(to);

	if (first != end && Max(first, end) > unknown_day(c))
		calendar_refuse_outcome(c, BEYOND_HORIZON);
	return business_before(c, end) - business_before(c, first);
}

DateADT
calendar_add_dates(CompiledCalendar *c, DateADT date, int32 n)
{
	int			day = checked_day(date);
	int64		number = n > 0 ? business_before(c, day + 1) + n - 1 : business_before(c, day) + n;
	Outcome		outcome;
	int64		within;
	int			found;

	if (n < 0 && day > unknown_day(c))
		calendar_refuse_outcome(c, BEYOND_HORIZON);
	outcome = calendar_find_day(c, &c->business, number, &found, &within);
	if (outcome != ANSWERED)
		calendar_refuse_outcome(c, outcome);
	if (found >= unknown_day(c))
		calendar_refuse_outcome(c, BEYOND_HORIZON);
	(void) checked_day(CALENDAR_FIRST_DATE + found);
	return CALENDAR_FIRST_DATE + found;
}
