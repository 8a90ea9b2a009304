/*-------------------------------------------------------------------------
 *
 * calendar_walk.c
 *		Answers of a compiled calendar.
 *
 * The open microseconds since day 0 are numbered.  position() counts those
 * before an instant, find_unit() tells when one of them begins; all else is
 * said with these two.  Of the instants with one position, the earliest is the
 * end of open microsecond position - 1 (a close, if there are several), the
 * latest the start of open microsecond "position" (an opening).
 *
 * IDENTIFICATION
 *		src/calendar_walk.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "common/int.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "calendar_compiled.h"
#include "errors.h"

void
calendar_refuse_range(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
			 errmsg("time out of the range of calendars"),
			 errdetail("Calendars answer for the years 1900 to 2399."),
			 errhint("Ask about a time of these years, or for a shorter target.")));
}

void
calendar_refuse_outcome(const CompiledCalendar *c, Outcome outcome)
{
	const Calendar *value = c->value;
	const char *detail;
	DateADT		date;

	if (outcome == OUT_OF_RANGE)
		calendar_refuse_range();
	if (outcome == BEYOND_HORIZON)
	{
		detail = "The calendar is valid until %s.";
		date = value->valid_until;
	}
	else if (outcome == NOTHING_AFTER)
	{
		detail = "The calendar has no weekly hours, and its last date with hours is %s.";
		date = calendar_dated(value)[value->ndated - 1];
	}
	else
	{
		detail = "The calendar has no weekly hours, and its first date with hours is %s.";
		date = calendar_dated(value)[0];
	}
	ereport(ERROR,
			(errcode(ERRCODE_RF_BEYOND_HORIZON),
			 errmsg("the answer lies beyond the calendar's horizon"),
			 errdetail(detail, calendar_date_text(date)),
			 errhint("Extend the calendar by the dates that follow, and by a later valid_until.")));
}

static bool
is_in_range(TimestampTz at)
{
	return at >= CALENDAR_MIN_INSTANT && at < CALENDAR_END_INSTANT;
}

static void
check_finite(TimestampTz at)
{
	if (TIMESTAMP_NOT_FINITE(at))
		ereport(ERROR,
				(errcode(ERRCODE_RF_INVALID_ARGUMENT),
				 errmsg("a calendar does not answer for infinity"),
				 errdetail("A time is infinite."),
				 errhint("Ask about a time of the years 1900 to 2399.")));
}

void
calendar_check_instant(TimestampTz at)
{
	check_finite(at);
	if (!is_in_range(at))
		calendar_refuse_range();
}

/*
 * The latest day that the clock has shown up to an instant.  What days before
 * it own has begun, and ends by the midnight that ends it; what later ones own
 * is still to come.
 */
int
calendar_reached_day(const CompiledCalendar *c, TimestampTz at)
{
	const ZoneSegment *segments = c->zone->segments;
	int			i = zone_segment(c->zone, at);
	int64		local = at + segments[i].offset;

	if (i > 0)
		local = Max(local, segments[i - 1].reached - 1);
	return (int) ((local - calendar_day_start(0)) / USECS_PER_DAY);
}

/* Open microseconds before an instant. */
int64
calendar_position(const CompiledCalendar *c, TimestampTz at)
{
	Stretch		buffer[CALENDAR_MAX_SPANS];
	const Stretch *stretches;
	int			day = calendar_reached_day(c, at);
	int64		sum = ledger_before(&c->work, day, ledger_place(&c->work, day));
	int			n = calendar_stretches(c, day, &stretches, buffer);

	for (int i = 0; i < n && stretches[i].opens < at; i++)
		sum += Min(at, stretches[i].closes) - stretches[i].opens;
	if (c->overnight)
	{
		n = calendar_stretches(c, day - 1, &stretches, buffer);
		for (int i = n - 1; i >= 0 && stretches[i].closes > at; i--)
			sum -= stretches[i].closes - Max(at, stretches[i].opens);
	}
	return sum;
}

/* What it means that a calendar has no open time left on one side. */
Outcome
calendar_exhausted(const CompiledCalendar *c, bool after)
{
	if (!after)
		return NOTHING_BEFORE;
	return c->horizon == PG_INT64_MAX ? NOTHING_AFTER : BEYOND_HORIZON;
}

/* Finds the day of a number in a ledger. */
Outcome
calendar_find_day(const CompiledCalendar *c, const DayLedger *ledger, int64 number,
				  int *day, int64 *within)
{
	Outcome		outcome;

	*day = ledger_find(ledger, number, within);
	if (*day >= 0 && *day <= CALENDAR_LAST_DAY)
		return ANSWERED;
	outcome = calendar_exhausted(c, number >= 0);
	return outcome != BEYOND_HORIZON && ledger->week > 0 ? OUT_OF_RANGE : outcome;
}

/* When an open microsecond begins. */
static Outcome
find_unit(const CompiledCalendar *c, int64 number, OpenUnit *unit)
{
	Stretch		buffer[CALENDAR_MAX_SPANS];
	const Stretch *stretches;
	Outcome		outcome;
	int64		within;
	int			n;

	outcome = calendar_find_day(c, &c->work, number, &unit->day, &within);
	if (outcome != ANSWERED)
		return outcome;
	n = calendar_stretches(c, unit->day, &stretches, buffer);
	for (int i = 0; i < n; i++)
	{
		unit->at = stretches[i].opens + within;
		if (unit->at < stretches[i].closes)
			return ANSWERED;
		within -= stretches[i].closes - stretches[i].opens;
	}
	elog(ERROR, "calendar: open time of day %d is less than its sum", unit->day);
}

/* The latest instant with a position. */
Outcome
calendar_latest_at(const CompiledCalendar *c, int64 position, OpenUnit *unit)
{
	Outcome		outcome = find_unit(c, position, unit);

	return outcome == ANSWERED && unit->at >= c->horizon ? BEYOND_HORIZON : outcome;
}

/* The earliest instant with a position; unit->day is that of the microsecond before. */
Outcome
calendar_earliest_at(const CompiledCalendar *c, int64 position, OpenUnit *unit)
{
	Outcome		outcome = find_unit(c, position - 1, unit);

	if (outcome != ANSWERED)
		return outcome;
	unit->at++;
	return unit->at > c->horizon ? BEYOND_HORIZON : ANSWERED;
}

static Outcome
find_elapsed(const CompiledCalendar *c, TimestampTz from, TimestampTz to, int64 *result)
{
	check_finite(from);
	check_finite(to);
	*result = 0;
	if (!is_in_range(from) || !is_in_range(to))
		return OUT_OF_RANGE;
	if (from == to)
		return ANSWERED;
	if (Max(from, to) > c->horizon)
		return BEYOND_HORIZON;
	*result = calendar_position(c, to) - calendar_position(c, from);
	return ANSWERED;
}

static Outcome
find_due(const CompiledCalendar *c, TimestampTz start, int64 target, bool next_open,
		 TimestampTz *result)
{
	bool		latest = target < 0 ? !next_open : next_open;
	Outcome		outcome;
	OpenUnit	unit;
	int64		sought;

	check_finite(start);
	*result = start;
	if (!is_in_range(start))
		return OUT_OF_RANGE;
	if (target == 0 && !next_open)
		return ANSWERED;
	if (start > c->horizon)
		return BEYOND_HORIZON;
	if (pg_add_s64_overflow(calendar_position(c, start), target, &sought))
		sought = PG_INT64_MAX;	/* a start is above 0, so it is a target above 0 */
	outcome = latest ? calendar_latest_at(c, sought, &unit) :
		calendar_earliest_at(c, sought, &unit);
	if (outcome != ANSWERED)
		return outcome;
	*result = unit.at;
	return is_in_range(unit.at) ? ANSWERED : OUT_OF_RANGE;
}

static void
check_target(const Interval *target)
{
	const char *detail = NULL;
	const char *hint = NULL;

	if (target->month != 0)
	{
		detail = "A target in months or years has no fixed number of business days.";
		hint = "Give it in days, or in hours and below.";
	}
	else if ((target->day > 0 && target->time < 0) || (target->day < 0 && target->time > 0))
	{
		detail = "Its days and its hours have different signs.";
		hint = "Give both the same sign.";
	}
	if (detail != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_RF_INVALID_ARGUMENT),
				 errmsg("a calendar cannot count this target"),
				 errdetail("%s", detail),
				 errhint("%s", hint)));
}

/*
 * Days are business days: the same time of day, that many business dates after
 * the one that owns the start.  A start outside of hours counts as the next
 * opening, or for a negative target as the close before.
 */
static Outcome
find_target(const CompiledCalendar *c, TimestampTz start, const Interval *target, int64 *result)
{
	const DayLedger *business = &c->business;
	bool		forward = target->day > 0;
	Outcome		outcome;
	OpenUnit	unit;
	TimestampTz candidate;
	int64		from;
	int64		within;
	int64		time_of_day;
	int			day;

	check_target(target);
	check_finite(start);
	*result = target->time;
	if (!is_in_range(start))
		return OUT_OF_RANGE;
	if (target->day == 0)
		return ANSWERED;
	if (start > c->horizon)
		return BEYOND_HORIZON;

	from = calendar_position(c, start);
	outcome = forward ? calendar_latest_at(c, from, &unit) : calendar_earliest_at(c, from, &unit);
	if (outcome != ANSWERED)
		return outcome;
	time_of_day = unit.at + c->zone->segments[zone_segment(c->zone, unit.at)].offset -
		calendar_day_start(unit.day);
	outcome = calendar_find_day(c, business,
								ledger_before(business, unit.day,
											  ledger_place(business, unit.day)) + target->day,
								&day, &within);
	if (outcome != ANSWERED)
		return outcome;
	candidate = zone_to_utc(c->zone, calendar_day_start(day) + time_of_day);
	if (candidate > c->horizon)
		return BEYOND_HORIZON;
	if (!is_in_range(candidate) ||
		pg_add_s64_overflow(calendar_position(c, candidate) - from, target->time, result))
		return OUT_OF_RANGE;
	return ANSWERED;
}

bool
calendar_try_elapsed(CompiledCalendar *c, TimestampTz from, TimestampTz to, int64 *result)
{
	return find_elapsed(c, from, to, result) == ANSWERED;
}

bool
calendar_try_due(CompiledCalendar *c, TimestampTz start, int64 target, bool next_open,
				 TimestampTz *result)
{
	return find_due(c, start, target, next_open, result) == ANSWERED;
}

bool
calendar_try_target(CompiledCalendar *c, TimestampTz start, const Interval *target,
					int64 *result)
{
	return find_target(c, start, target, result) == ANSWERED;
}

static void
require(const CompiledCalendar *c, Outcome outcome)
{
	if (outcome != ANSWERED)
		calendar_refuse_outcome(c, outcome);
}

int64
calendar_elapsed(CompiledCalendar *c, TimestampTz from, TimestampTz to)
{
	int64		result;

	require(c, find_elapsed(c, from, to, &result));
	return result;
}

TimestampTz
calendar_due(CompiledCalendar *c, TimestampTz start, int64 target, bool next_open)
{
	TimestampTz result;

	require(c, find_due(c, start, target, next_open, &result));
	return result;
}

int64
calendar_target(CompiledCalendar *c, TimestampTz start, const Interval *target)
{
	int64		result;

	require(c, find_target(c, start, target, &result));
	return result;
}

int64
calendar_fingerprint(CompiledCalendar *c, TimestampTz until)
{
	calendar_check_instant(until);
	return (int64) hash_combine64(c->value->hash,
								  c->zone->segments[zone_segment(c->zone, until)].history);
}
