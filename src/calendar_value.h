/*-------------------------------------------------------------------------
 *
 * calendar_value.h
 *		What a calendar is made of, and how one is built.
 *
 * IDENTIFICATION
 *		src/calendar_value.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_CALENDAR_VALUE_H
#define REFERRAL_CALENDAR_VALUE_H

#include "utils/date.h"

#include "calendar.h"

#define CALENDAR_MAX_SPANS		48		/* intervals a day */
#define CALENDAR_MAX_DATES		10000	/* closed and dated ones together */

/* 1900-01-01, 2200-12-31: the dates that a calendar may name */
#define CALENDAR_MIN_DATE		(-36524)
#define CALENDAR_MAX_DATE		73413

/*
 * Seconds since the midnight at which the day begins that owns the interval:
 * opens < 24 h, opens < closes <= opens + 24 h.
 */
typedef struct CalendarSpan
{
	int32		opens;
	int32		closes;
} CalendarSpan;

/*
 * The value is canonical: two calendars that are equal have equal bytes.  Spans
 * of a day are in order and do not touch; the week's come first, in the order
 * of the days, then those of the dated days.  What begins with hash is what
 * the hash covers and what is compared, hash aside.
 */
struct Calendar
{
	int32		vl_len_;		/* varlena header */
	DateADT		valid_until;	/* DATEVAL_NOEND: no end */
	uint64		hash;
	uint16		week_end[7];	/* where the spans of mon to sun end */
	uint16		nclosed;
	uint16		ndated;
	uint16		zone_length;
	uint32		nspans;
	int32		numbers[FLEXIBLE_ARRAY_MEMBER];

	/*
	 * numbers: closed dates, dated dates, where the spans of each dated date
	 * end, spans; then the bytes of the zone's name, with a closing NUL.
	 */
};

static inline const DateADT *
calendar_closed(const Calendar *value)
{
	return value->numbers;
}

static inline const DateADT *
calendar_dated(const Calendar *value)
{
	return value->numbers + value->nclosed;
}

static inline const int32 *
calendar_dated_end(const Calendar *value)
{
	return value->numbers + value->nclosed + value->ndated;
}

static inline const CalendarSpan *
calendar_spans(const Calendar *value)
{
	return (const CalendarSpan *) (value->numbers + value->nclosed + 2 * value->ndated);
}

static inline const char *
calendar_zone(const Calendar *value)
{
	return (const char *) (calendar_spans(value) + value->nspans);
}

/* The spans of a weekday (0 is Monday); returns their number. */
static inline int
calendar_weekday(const Calendar *value, int weekday, const CalendarSpan **spans)
{
	int			first = weekday == 0 ? 0 : value->week_end[weekday - 1];

	*spans = calendar_spans(value) + first;
	return value->week_end[weekday] - first;
}

/* The spans of the i-th dated date. */
static inline int
calendar_dated_day(const Calendar *value, int i, const CalendarSpan **spans)
{
	int			first = i == 0 ? value->week_end[6] : calendar_dated_end(value)[i - 1];

	*spans = calendar_spans(value) + first;
	return calendar_dated_end(value)[i] - first;
}

/* 0 is Monday; 2000-01-01 was a Saturday */
static inline int
calendar_day_of_week(DateADT date)
{
	return ((date % 7) + 7 + 5) % 7;
}

/* The place of a date in a sorted list: the first that is not before it. */
static inline int
calendar_find_date(const DateADT *dates, int n, DateADT date)
{
	int			low = 0;

	while (n > 0)
	{
		int			half = n / 2;

		if (dates[low + half] < date)
		{
			low += half + 1;
			n -= half + 1;
		}
		else
			n = half;
	}
	return low;
}

extern int	calendar_own_hours(const Calendar *value, DateADT date, const CalendarSpan **spans);

/* A calendar in the making. */
typedef struct DayHours
{
	int			n;
	CalendarSpan span[CALENDAR_MAX_SPANS];
} DayHours;

typedef struct DraftDate
{
	DateADT		date;
	bool		dated;			/* given with hours, be it none */
	DayHours   *hours;			/* NULL: closed */
} DraftDate;

typedef struct CalendarDraft
{
	const char *zone;
	DateADT		valid_until;
	DayHours	week[7];
	DraftDate  *dates;			/* in any order */
	int			ndates;
	int			maxdates;
} CalendarDraft;

extern const char *const calendar_day_names[7];

extern void draft_begin(CalendarDraft *draft);
extern void draft_zone(CalendarDraft *draft, const char *name);
extern void draft_valid_until(CalendarDraft *draft, DateADT date);
extern void draft_date(CalendarDraft *draft, DateADT date, const DayHours *hours);
extern void draft_span(DayHours *hours, int opens, int closes, const char *where);
extern Calendar *draft_finish(CalendarDraft *draft);

/* Raises RF010; the text says which part of the calendar it is about. */
pg_noreturn extern void calendar_refuse(const char *hint, const char *detail,...)
			pg_attribute_printf(2, 3);

/* Part of a message: quoted, and no longer than a message needs. */
extern const char *calendar_quote(const char *text);

extern Calendar *calendar_from_json(const char *json);
extern char *calendar_to_json(const Calendar *value);
extern const char *calendar_date_text(DateADT date);

#endif							/* REFERRAL_CALENDAR_VALUE_H */
