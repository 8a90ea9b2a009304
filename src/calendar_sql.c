/*-------------------------------------------------------------------------
 *
 * calendar_sql.c
 *		SQL functions that ask a calendar, and its operators & and -.
 *
 * IDENTIFICATION
 *		src/calendar_sql.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "calendar_compiled.h"
#include "errors.h"

#define ARG_CALENDAR		calendar_compiled_datum(PG_GETARG_DATUM(0))

static Interval *
open_time(int64 microseconds)
{
	Interval   *interval = palloc0(sizeof(Interval));

	interval->time = microseconds;
	return interval;
}

static TimestampTz
due(FunctionCallInfo fcinfo, bool next_open)
{
	CompiledCalendar *c = ARG_CALENDAR;
	TimestampTz start = PG_GETARG_TIMESTAMPTZ(1);

	return calendar_due(c, start, calendar_target(c, start, PG_GETARG_INTERVAL_P(2)), next_open);
}

PG_FUNCTION_INFO_V1(due_at);

Datum
due_at(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(due(fcinfo, false));
}

PG_FUNCTION_INFO_V1(due_at_next_open);

Datum
due_at_next_open(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(due(fcinfo, true));
}

PG_FUNCTION_INFO_V1(business_target);

Datum
business_target(PG_FUNCTION_ARGS)
{
	PG_RETURN_INTERVAL_P(open_time(calendar_target(ARG_CALENDAR, PG_GETARG_TIMESTAMPTZ(1),
												   PG_GETARG_INTERVAL_P(2))));
}

PG_FUNCTION_INFO_V1(business_elapsed);

Datum
business_elapsed(PG_FUNCTION_ARGS)
{
	PG_RETURN_INTERVAL_P(open_time(calendar_elapsed(ARG_CALENDAR, PG_GETARG_TIMESTAMPTZ(1),
													PG_GETARG_TIMESTAMPTZ(2))));
}

PG_FUNCTION_INFO_V1(is_open);

Datum
is_open(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(calendar_is_open(ARG_CALENDAR, PG_GETARG_TIMESTAMPTZ(1)));
}

static Datum
neighbour(FunctionCallInfo fcinfo,
		  bool (*find) (CompiledCalendar *c, TimestampTz at, TimestampTz *result))
{
	TimestampTz result;

	if (!find(ARG_CALENDAR, PG_GETARG_TIMESTAMPTZ(1), &result))
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(result);
}

PG_FUNCTION_INFO_V1(next_open);

Datum
next_open(PG_FUNCTION_ARGS)
{
	return neighbour(fcinfo, calendar_next_open);
}

PG_FUNCTION_INFO_V1(next_close);

Datum
next_close(PG_FUNCTION_ARGS)
{
	return neighbour(fcinfo, calendar_next_close);
}

PG_FUNCTION_INFO_V1(prev_close);

Datum
prev_close(PG_FUNCTION_ARGS)
{
	return neighbour(fcinfo, calendar_prev_close);
}

static void
put_stretch(void *state, TimestampTz opens, TimestampTz closes)
{
	ReturnSetInfo *result = state;
	Datum		values[2];
	bool		nulls[2] = { false, false };

	values[0] = TimestampTzGetDatum(opens);
	values[1] = TimestampTzGetDatum(closes);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(open_intervals);

Datum
open_intervals(PG_FUNCTION_ARGS)
{
	InitMaterializedSRF(fcinfo, 0);
	calendar_walk(ARG_CALENDAR, PG_GETARG_TIMESTAMPTZ(1), PG_GETARG_TIMESTAMPTZ(2),
				  put_stretch, fcinfo->resultinfo);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(business_days);

Datum
business_days(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32((int32) calendar_count_dates(ARG_CALENDAR, PG_GETARG_DATEADT(1),
												 PG_GETARG_DATEADT(2)));
}

PG_FUNCTION_INFO_V1(add_business_days);

Datum
add_business_days(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATEADT(calendar_add_dates(ARG_CALENDAR, PG_GETARG_DATEADT(1),
										 PG_GETARG_INT32(2)));
}

PG_FUNCTION_INFO_V1(is_business_day);

Datum
is_business_day(PG_FUNCTION_ARGS)
{
	CompiledCalendar *c = ARG_CALENDAR;
	DateADT		date = PG_GETARG_DATEADT(1);

	PG_RETURN_BOOL(calendar_count_dates(c, date, DATE_NOT_FINITE(date) ? date : date + 1) == 1);
}

PG_FUNCTION_INFO_V1(fingerprint);

Datum
fingerprint(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(calendar_fingerprint(ARG_CALENDAR, PG_GETARG_TIMESTAMPTZ(1)));
}

PG_FUNCTION_INFO_V1(always_open);

Datum
always_open(PG_FUNCTION_ARGS)
{
	CalendarDraft draft;

	draft_begin(&draft);
	draft_zone(&draft, text_to_cstring(PG_GETARG_TEXT_PP(0)));
	for (int i = 0; i < 7; i++)
		draft_span(&draft.week[i], 0, SECS_PER_DAY, "hours");
	PG_RETURN_POINTER(draft_finish(&draft));
}

/* A draft with everything that a calendar has. */
static void
draft_copy(CalendarDraft *draft, const Calendar *value)
{
	const CalendarSpan *spans;
	DayHours	hours;

	draft_begin(draft);
	draft->zone = calendar_zone(value);
	draft->valid_until = value->valid_until;
	for (int i = 0; i < 7; i++)
	{
		draft->week[i].n = calendar_weekday(value, i, &spans);
		memcpy(draft->week[i].span, spans, draft->week[i].n * sizeof(CalendarSpan));
	}
	for (int i = 0; i < value->nclosed; i++)
		draft_date(draft, calendar_closed(value)[i], NULL);
	for (int i = 0; i < value->ndated; i++)
	{
		hours.n = calendar_dated_day(value, i, &spans);
		memcpy(hours.span, spans, hours.n * sizeof(CalendarSpan));
		draft_date(draft, calendar_dated(value)[i], &hours);
	}
}

PG_FUNCTION_INFO_V1(calendar_minus);

/* calendar - date[] */
Datum
calendar_minus(PG_FUNCTION_ARGS)
{
	const Calendar *value = (Calendar *) PG_GETARG_VARLENA_P(0);
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(1);
	CalendarDraft draft;
	Datum	   *dates;
	bool	   *nulls;
	int			n;

	deconstruct_array(array, DATEOID, sizeof(DateADT), true, TYPALIGN_INT, &dates, &nulls, &n);
	draft_copy(&draft, value);
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_RF_INVALID_ARGUMENT),
					 errmsg("a date to close is null"),
					 errdetail("Element %d of the array is null.", i + 1),
					 errhint("Leave it out.")));
		draft_date(&draft, DatumGetDateADT(dates[i]), NULL);
	}
	PG_RETURN_POINTER(draft_finish(&draft));
}

/* Hours of a date or, without one, of a weekday; with those of the day before. */
typedef struct TwoDays
{
	const CalendarSpan *span[2];	/* the day before, the day itself */
	int			n[2];
} TwoDays;

static TwoDays
hours_of_weekday(const Calendar *value, int weekday)
{
	TwoDays		days;

	days.n[0] = calendar_weekday(value, (weekday + 6) % 7, &days.span[0]);
	days.n[1] = calendar_weekday(value, weekday, &days.span[1]);
	return days;
}

static TwoDays
hours_of_date(const Calendar *value, DateADT date)
{
	TwoDays		days;

	days.n[0] = calendar_own_hours(value, date - 1, &days.span[0]);
	days.n[1] = calendar_own_hours(value, date, &days.span[1]);
	return days;
}

/* Adds a piece of common time, joined with those there that it meets. */
static void
join_span(DayHours *hours, int opens, int closes, const char *where)
{
	for (int i = 0; i < hours->n;)
	{
		CalendarSpan *span = &hours->span[i];

		if (opens > span->closes || closes < span->opens)
		{
			i++;
			continue;
		}
		opens = Min(opens, span->opens);
		closes = Max(closes, span->closes);
		*span = hours->span[--hours->n];
		i = 0;
	}
	draft_span(hours, opens, closes, where);
}

/* For spans that do not meet. */
static int
compare_opens(const void *a, const void *b)
{
	return ((const CalendarSpan *) a)->opens - ((const CalendarSpan *) b)->opens;
}

/*
 * The time that is common to two calendars and belongs to a day: what is of the
 * same day in both, and what is of this day in one and of the night before in
 * the other, unless it is of the night before in both.
 */
static void
common_hours(TwoDays a, TwoDays b, DayHours *hours, const char *where)
{
	int			covered = 0;

	hours->n = 0;
	if (a.n[0] > 0 && b.n[0] > 0)
		covered = Min(a.span[0][a.n[0] - 1].closes, b.span[0][b.n[0] - 1].closes) - SECS_PER_DAY;
	for (int pair = 1; pair < 4; pair++)
	{
		int			x = pair & 1;
		int			y = pair >> 1;
		int			shift_x = x == 0 ? -SECS_PER_DAY : 0;
		int			shift_y = y == 0 ? -SECS_PER_DAY : 0;

		for (int i = 0; i < a.n[x]; i++)
		{
			for (int j = 0; j < b.n[y]; j++)
			{
				int			opens = Max(a.span[x][i].opens + shift_x,
										b.span[y][j].opens + shift_y);
				int			closes = Min(a.span[x][i].closes + shift_x,
										 b.span[y][j].closes + shift_y);

				if (pair != 3)
					opens = Max(opens, covered);
				if (opens < closes)
					join_span(hours, opens, closes, where);
			}
		}
	}
	qsort(hours->span, hours->n, sizeof(CalendarSpan), compare_opens);
}

static bool
is_exception(const Calendar *value, DateADT date)
{
	int			at = calendar_find_date(calendar_closed(value), value->nclosed, date);

	if (at < value->nclosed && calendar_closed(value)[at] == date)
		return true;
	at = calendar_find_date(calendar_dated(value), value->ndated, date);
	return at < value->ndated && calendar_dated(value)[at] == date;
}

static int
compare_dates(const void *a, const void *b)
{
	DateADT		x = *(const DateADT *) a;
	DateADT		y = *(const DateADT *) b;

	return (x > y) - (x < y);
}

/* All dates on which one of the calendars is not as in every week, and those after. */
static int
exceptional_dates(const Calendar *a, const Calendar *b, DateADT **dates)
{
	const Calendar *both[2] = { a, b };
	int			n = 0;

	*dates = palloc(2 * sizeof(DateADT) * (a->nclosed + a->ndated + b->nclosed + b->ndated + 1));
	for (int i = 0; i < 2; i++)
	{
		const DateADT *named = both[i]->numbers;	/* closed and dated ones */

		for (int j = 0; j < both[i]->nclosed + both[i]->ndated; j++)
		{
			(*dates)[n++] = named[j];
			if (named[j] < CALENDAR_MAX_DATE)
				(*dates)[n++] = named[j] + 1;
		}
	}
	qsort(*dates, n, sizeof(DateADT), compare_dates);
	return n;
}

PG_FUNCTION_INFO_V1(calendar_and);

/* calendar & calendar: open when both are */
Datum
calendar_and(PG_FUNCTION_ARGS)
{
	const Calendar *a = (Calendar *) PG_GETARG_VARLENA_P(0);
	const Calendar *b = (Calendar *) PG_GETARG_VARLENA_P(1);
	CalendarDraft draft;
	DateADT    *dates;
	int			n;

	if (strcmp(calendar_zone(a), calendar_zone(b)) != 0)
		calendar_refuse("Write both calendars in one time zone.",
						"timezone: %s and %s differ.",
						calendar_quote(calendar_zone(a)), calendar_quote(calendar_zone(b)));
	draft_begin(&draft);
	draft.zone = calendar_zone(a);
	draft.valid_until = Min(a->valid_until, b->valid_until);
	for (int i = 0; i < 7; i++)
		common_hours(hours_of_weekday(a, i), hours_of_weekday(b, i), &draft.week[i],
					 psprintf("hours.%s", calendar_day_names[i]));

	n = exceptional_dates(a, b, &dates);
	for (int i = 0; i < n; i++)
	{
		DayHours	hours;
		const DayHours *week = &draft.week[calendar_day_of_week(dates[i])];

		if (i > 0 && dates[i] == dates[i - 1])
			continue;
		common_hours(hours_of_date(a, dates[i]), hours_of_date(b, dates[i]), &hours, "dates");
		if (is_exception(a, dates[i]) || is_exception(b, dates[i]) || hours.n != week->n ||
			memcmp(hours.span, week->span, hours.n * sizeof(CalendarSpan)) != 0)
			draft_date(&draft, dates[i], &hours);
	}
	PG_RETURN_POINTER(draft_finish(&draft));
}
