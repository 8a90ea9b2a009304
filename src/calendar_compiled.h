/*-------------------------------------------------------------------------
 *
 * calendar_compiled.h
 *		The compiled form of a calendar, and how it is searched.
 *
 * Times are microseconds since 2000-01-01 as in TimestampTz; "local" ones are
 * what a clock in the calendar's zone shows, counted in the same way.  Days
 * are numbered from CALENDAR_FIRST_DATE, a Monday, on.
 *
 * IDENTIFICATION
 *		src/calendar_compiled.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_CALENDAR_COMPILED_H
#define REFERRAL_CALENDAR_COMPILED_H

#include "lib/ilist.h"

#include "calendar_value.h"

/* 1899-12-25; instants of 1900 to 2399 are answered, with a week to spare. */
#define CALENDAR_FIRST_DATE		(-36531)
#define CALENDAR_LAST_DAY		(146104 - CALENDAR_FIRST_DATE)
#define CALENDAR_MIN_INSTANT	(-36524 * USECS_PER_DAY)
#define CALENDAR_END_INSTANT	(146097 * USECS_PER_DAY)

/* A zone between two changes of its offset. */
typedef struct ZoneSegment
{
	int64		starts;			/* PG_INT64_MIN for the first */
	int64		offset;			/* local time minus UTC */
	int64		reached;		/* the latest local time shown by its end, exclusive */
	uint64		history;		/* hash of the offsets up to this one */
} ZoneSegment;

typedef struct CalendarZone
{
	char		name[TZ_STRLEN_MAX + 1];	/* key of the hash table */
	int			nsegments;
	ZoneSegment *segments;
} CalendarZone;

typedef struct Stretch
{
	TimestampTz opens;
	TimestampTz closes;
} Stretch;

/*
 * A sum over days, such as of open time: what a regular day adds depends on its
 * weekday only, all others are listed.  Sums begin at day 0.
 */
typedef struct DayLedger
{
	int64		week;			/* that of a regular week */
	int64		before_weekday[8];	/* that of a regular week's days before */
	int			n;
	int32	   *day;			/* the irregular days, in order */
	int64	   *before;			/* sum of all days before it */
	int64	   *own;			/* what it adds itself */
} DayLedger;

struct CompiledCalendar
{
	/* the cache */
	dlist_node	recency;
	CompiledCalendar *next;		/* with the same hash, perhaps */
	MemoryContext context;
	Size		size;

	const Calendar *value;
	const CalendarZone *zone;
	DayLedger	work;			/* open microseconds */
	int		   *stretch_end;	/* where those of an irregular day end */
	Stretch    *stretches;		/* of the irregular days of work */
	bool		overnight;		/* some interval runs past midnight */
	DayLedger	business;		/* business dates */
	TimestampTz horizon;		/* the end of valid_until; PG_INT64_MAX: none */
};

/* calendar_compile.c */
extern CompiledCalendar *calendar_compiled_datum(Datum value);
extern int64 zone_to_utc(const CalendarZone *zone, int64 local);

/* The segment in which an instant lies. */
static inline int
zone_segment(const CalendarZone *zone, TimestampTz at)
{
	int			low = 0;
	int			high = zone->nsegments - 1;

	while (low < high)
	{
		int			middle = (low + high + 1) / 2;

		if (zone->segments[middle].starts <= at)
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

static inline int64
calendar_day_start(int day)
{
	return (CALENDAR_FIRST_DATE + day) * USECS_PER_DAY;
}

static inline int
calendar_day_at(int64 local)
{
	return (int) (local / USECS_PER_DAY - CALENDAR_FIRST_DATE -
				  (local % USECS_PER_DAY < 0 ? 1 : 0));
}

/* The place of a day among the irregular ones: the first that is not before it. */
static inline int
ledger_place(const DayLedger *ledger, int day)
{
	return calendar_find_date(ledger->day, ledger->n, day);
}

/* The sum of regular days from day 0 up to this one, exclusive. */
static inline int64
ledger_regular(const DayLedger *ledger, int day)
{
	return day / 7 * ledger->week + ledger->before_weekday[day % 7];
}

/* The sum of all days before one, whose place is given. */
static inline int64
ledger_before(const DayLedger *ledger, int day, int place)
{
	if (place < ledger->n && ledger->day[place] == day)
		return ledger->before[place];
	if (place == 0)
		return ledger_regular(ledger, day);
	place--;
	return ledger->before[place] + ledger->own[place] +
		ledger_regular(ledger, day) - ledger_regular(ledger, ledger->day[place] + 1);
}

/* The day that brings the sum above a position, or -1; and the position within that day. */
extern int	ledger_find(const DayLedger *ledger, int64 position, int64 *within);

/* The stretches of a day, in order; the buffer has room for one day's. */
extern int	calendar_stretches(const CompiledCalendar *c, int day, const Stretch **stretches,
							   Stretch buffer[CALENDAR_MAX_SPANS]);

typedef enum Outcome
{
	ANSWERED,
	BEYOND_HORIZON,				/* it depends on dates after valid_until */
	NOTHING_AFTER,				/* no weekly hours, and no date is left */
	NOTHING_BEFORE,
	OUT_OF_RANGE				/* of the years that calendars answer for */
} Outcome;

typedef struct OpenUnit
{
	TimestampTz at;				/* when an open microsecond begins, or ends */
	int			day;			/* the day that owns it */
} OpenUnit;

/* calendar_walk.c */
pg_noreturn extern void calendar_refuse_range(void);
pg_noreturn extern void calendar_refuse_outcome(const CompiledCalendar *c, Outcome outcome);
extern void calendar_check_instant(TimestampTz at);
extern int	calendar_reached_day(const CompiledCalendar *c, TimestampTz at);
extern int64 calendar_position(const CompiledCalendar *c, TimestampTz at);
extern Outcome calendar_exhausted(const CompiledCalendar *c, bool after);
extern Outcome calendar_find_day(const CompiledCalendar *c, const DayLedger *ledger, int64 number,
								 int *day, int64 *within);
extern Outcome calendar_latest_at(const CompiledCalendar *c, int64 position, OpenUnit *unit);
extern Outcome calendar_earliest_at(const CompiledCalendar *c, int64 position, OpenUnit *unit);

/* calendar_near.c */
extern bool calendar_is_open(CompiledCalendar *c, TimestampTz at);
extern bool calendar_next_open(CompiledCalendar *c, TimestampTz at, TimestampTz *opens);
extern bool calendar_next_close(CompiledCalendar *c, TimestampTz at, TimestampTz *closes);
extern bool calendar_prev_close(CompiledCalendar *c, TimestampTz at, TimestampTz *closes);
extern void calendar_walk(CompiledCalendar *c, TimestampTz from, TimestampTz to,
						  void (*found) (void *state, TimestampTz opens, TimestampTz closes),
						  void *state);
extern int64 calendar_count_dates(CompiledCalendar *c, DateADT from, DateADT to);
extern DateADT calendar_add_dates(CompiledCalendar *c, DateADT date, int32 n);

#endif							/* REFERRAL_CALENDAR_COMPILED_H */
