/*-------------------------------------------------------------------------
 *
 * calendar.c
 *		Values of type calendar: building, reading and writing, comparing.
 *
 * Whatever makes a calendar (text, binary, an operator) fills a draft;
 * draft_finish() checks it and makes the one canonical value of it.
 *
 * IDENTIFICATION
 *		src/calendar.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/datetime.h"

#include "compat.h"
#include "calendar_value.h"
#include "errors.h"

#define CALENDAR_BINARY_VERSION		1

/* Bytes of the text that a message quotes, at most */
#define QUOTE_LENGTH				60

const char *const calendar_day_names[7] = { "mon", "tue", "wed", "thu", "fri", "sat", "sun" };

void
calendar_refuse(const char *hint, const char *detail,...)
{
	StringInfoData text;

	initStringInfo(&text);
	for (;;)
	{
		va_list		args;
		int			needed;

		va_start(args, detail);
		needed = appendStringInfoVA(&text, detail, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&text, needed);
	}
	ereport(ERROR,
			(errcode(ERRCODE_RF_INVALID_CALENDAR),
			 errmsg("invalid calendar"),
			 errdetail_internal("%s", text.data),
			 errhint("%s", hint)));
}

const char *
calendar_quote(const char *text)
{
	int			length = strlen(text);
	int			kept = pg_mbcliplen(text, length, QUOTE_LENGTH);

	return psprintf("\"%s%s\"", pnstrdup(text, kept), kept < length ? "..." : "");
}

const char *
calendar_date_text(DateADT date)
{
	int			year;
	int			month;
	int			day;

	j2date(date + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	return psprintf("%04d-%02d-%02d", year, month, day);
}

void
draft_begin(CalendarDraft *draft)
{
	memset(draft, 0, sizeof(CalendarDraft));
	draft->valid_until = DATEVAL_NOEND;
}

/*
 * Takes the zone by its IANA name, in any case.  Everything else that
 * PostgreSQL accepts is refused: abbreviations and POSIX rules have no
 * daylight saving time of their own or not the one that is meant, and zones
 * with leap seconds do not fit its clock.  All of these lack a lower-case
 * letter or are named here.
 */
void
draft_zone(CalendarDraft *draft, const char *name)
{
	static const char *const no_places[] = { "localtime", "posixrules", "Factory" };
	pg_tz	   *zone = strlen(name) > TZ_STRLEN_MAX ? NULL : pg_tzset(name);
	const char *canonical = zone == NULL ? NULL : pg_get_timezone_name(zone);
	bool		good;

	good = canonical != NULL && pg_tz_acceptable(zone) &&
		isalpha((unsigned char) canonical[0]) &&
		strncmp(canonical, "posix/", 6) != 0 && strncmp(canonical, "right/", 6) != 0 &&
		(strcmp(canonical, "UTC") == 0 ||
		 strpbrk(canonical, "abcdefghijklmnopqrstuvwxyz") != NULL);
	for (int i = 0; good && i < lengthof(no_places); i++)
		good = strcmp(canonical, no_places[i]) != 0;
	if (!good)
		calendar_refuse("Take the name of a place, such as America/Chicago, or UTC; "
						"see pg_timezone_names.",
						"timezone: %s is not the IANA name of a time zone.",
						calendar_quote(name));
	draft->zone = pstrdup(canonical);
}

static void
check_date(DateADT date, const char *where)
{
	if (date < CALENDAR_MIN_DATE || date > CALENDAR_MAX_DATE)
		calendar_refuse("Name dates of the years 1900 to 2200.",
						"%s: a date is outside of the years 1900 to 2200.", where);
}

void
draft_valid_until(CalendarDraft *draft, DateADT date)
{
	check_date(date, "valid_until");
	draft->valid_until = date;
}

static void
too_many_dates(void)
{
	calendar_refuse("Leave out dates that are long past.",
					"closed, dates: more than %d dates.", CALENDAR_MAX_DATES);
}

/* Adds a dated date with its hours, which are copied, or a closed one (NULL). */
void
draft_date(CalendarDraft *draft, DateADT date, const DayHours *hours)
{
	DraftDate  *added;

	check_date(date, hours != NULL ? "dates" : "closed");
	if (draft->ndates == draft->maxdates)
	{
		/* the same date may be closed twice, but a limit must be */
		if (draft->ndates >= 4 * CALENDAR_MAX_DATES)
			too_many_dates();
		draft->maxdates = Max(64, 2 * draft->maxdates);
		draft->dates = draft->dates == NULL ?
			palloc(draft->maxdates * sizeof(DraftDate)) :
			repalloc(draft->dates, draft->maxdates * sizeof(DraftDate));
	}
	added = &draft->dates[draft->ndates++];
	added->date = date;
	added->dated = hours != NULL;
	added->hours = NULL;
	if (hours != NULL && hours->n > 0)
	{
		Size		size = offsetof(DayHours, span) + hours->n * sizeof(CalendarSpan);

		added->hours = memcpy(palloc(size), hours, size);
	}
}

void
draft_span(DayHours *hours, int opens, int closes, const char *where)
{
	if (opens < 0 || opens >= SECS_PER_DAY || closes <= opens || closes > opens + SECS_PER_DAY)
		calendar_refuse("Write intervals as \"08:00-17:00\"; one whose end is not after its start "
						"ends the next day.",
						"%s: an interval is not within a day, or longer than 24 hours.", where);
	if (hours->n == CALENDAR_MAX_SPANS)
		calendar_refuse("Join intervals that follow each other.",
						"%s: more than %d intervals.", where, CALENDAR_MAX_SPANS);
	hours->span[hours->n].opens = opens;
	hours->span[hours->n++].closes = closes;
}

static int
compare_spans(const void *a, const void *b)
{
	const CalendarSpan *x = a;
	const CalendarSpan *y = b;

	return x->opens != y->opens ? (x->opens < y->opens ? -1 : 1) :
		(x->closes > y->closes) - (x->closes < y->closes);
}

/* Sorts the spans of a day and joins those that touch. */
static void
normalize_day(DayHours *hours, const char *where)
{
	int			n = 0;

	qsort(hours->span, hours->n, sizeof(CalendarSpan), compare_spans);
	for (int i = 0; i < hours->n; i++)
	{
		CalendarSpan *last = n > 0 ? &hours->span[n - 1] : NULL;

		if (last == NULL || hours->span[i].opens > last->closes)
			hours->span[n++] = hours->span[i];
		else if (hours->span[i].opens < last->closes)
			calendar_refuse("Let an interval end where the next one starts, or before.",
							"%s: intervals overlap.", where);
		else if (hours->span[i].closes > last->opens + SECS_PER_DAY)
			calendar_refuse("Give the hours after midnight to the next day.",
							"%s: intervals that touch are longer than 24 hours.", where);
		else
			last->closes = hours->span[i].closes;
	}
	hours->n = n;
}

static void
normalize_week(CalendarDraft *draft)
{
	for (int i = 0; i < 7; i++)
		normalize_day(&draft->week[i], psprintf("hours.%s", calendar_day_names[i]));
	for (int i = 0; i < 7; i++)
	{
		DayHours   *today = &draft->week[i];
		DayHours   *tomorrow = &draft->week[(i + 1) % 7];

		if (today->n > 0 && tomorrow->n > 0 &&
			today->span[today->n - 1].closes - SECS_PER_DAY > tomorrow->span[0].opens)
			calendar_refuse("Let the night end where the next day starts, or before.",
							"hours.%s: the last interval runs into those of %s.",
							calendar_day_names[i], calendar_day_names[(i + 1) % 7]);
	}
}

/* Closed dates come before dated ones of the same date. */
static int
compare_draft_dates(const void *a, const void *b)
{
	const DraftDate *x = a;
	const DraftDate *y = b;

	if (x->date != y->date)
		return x->date < y->date ? -1 : 1;
	return x->dated - y->dated;
}

/* Sorts the dates; of each, the closed one is kept if there is one. */
static void
normalize_dates(CalendarDraft *draft)
{
	bool		dated = false;	/* the date at n - 1 was given with hours */
	int			n = 0;

	if (draft->ndates > 0)
		qsort(draft->dates, draft->ndates, sizeof(DraftDate), compare_draft_dates);
	for (int i = 0; i < draft->ndates; i++)
	{
		DraftDate	date = draft->dates[i];
		bool		again = n > 0 && draft->dates[n - 1].date == date.date;

		if (again && dated && date.dated)
			calendar_refuse("Give all hours of a date at once.",
							"dates.%s: the date is there twice.", calendar_date_text(date.date));
		if (!again)
			draft->dates[n++] = date;
		dated = date.dated;
	}
	if (n > CALENDAR_MAX_DATES)
		too_many_dates();
	draft->ndates = n;
	for (int i = 0; i < n; i++)
	{
		if (draft->dates[i].hours != NULL)
			normalize_day(draft->dates[i].hours,
						  psprintf("dates.%s", calendar_date_text(draft->dates[i].date)));
	}
}

/* Where the bytes begin that make calendars different. */
static inline const char *
content(const Calendar *value, Size *length)
{
	const char *start = (const char *) value->week_end;

	*length = (const char *) value + VARSIZE(value) - start;
	return start;
}

static uint64
content_hash(const Calendar *value)
{
	Size		length;
	const char *start = content(value, &length);

	return hash_bytes_extended((const unsigned char *) start, (int) length,
							   (uint64) (uint32) value->valid_until);
}

/* The value, when the draft is a calendar; else RF010. */
Calendar *
draft_finish(CalendarDraft *draft)
{
	Calendar   *value;
	Size		size;
	DateADT    *closed;
	DateADT    *dated;
	int32	   *dated_end;
	CalendarSpan *spans;
	int			nweek = 0;
	int			nspans = 0;
	int			ndated = 0;

	if (draft->zone == NULL)
		calendar_refuse("Add \"timezone\": \"America/Chicago\", or another IANA name.",
						"timezone is missing.");
	normalize_week(draft);
	normalize_dates(draft);
	for (int i = 0; i < 7; i++)
		nweek += draft->week[i].n;
	nspans = nweek;
	for (int i = 0; i < draft->ndates; i++)
	{
		if (draft->dates[i].hours != NULL)
		{
			ndated++;
			nspans += draft->dates[i].hours->n;
		}
	}
	if (nspans == 0)
		calendar_refuse("Give hours for a weekday at least, or for a date.",
						"hours, dates: the calendar is never open.");

	size = offsetof(Calendar, numbers) + (draft->ndates + ndated) * sizeof(int32) +
		nspans * sizeof(CalendarSpan) + strlen(draft->zone) + 1;
	value = palloc0(size);
	SET_VARSIZE(value, size);
	value->valid_until = draft->valid_until;
	value->nclosed = draft->ndates - ndated;
	value->ndated = ndated;
	value->zone_length = strlen(draft->zone);
	value->nspans = nspans;
	closed = (DateADT *) calendar_closed(value);
	dated = (DateADT *) calendar_dated(value);
	dated_end = (int32 *) calendar_dated_end(value);
	spans = (CalendarSpan *) calendar_spans(value);

	nspans = 0;
	for (int i = 0; i < 7; i++)
	{
		memcpy(spans + nspans, draft->week[i].span, draft->week[i].n * sizeof(CalendarSpan));
		nspans += draft->week[i].n;
		value->week_end[i] = nspans;
	}
	for (int i = 0; i < draft->ndates; i++)
	{
		const DayHours *hours = draft->dates[i].hours;

		if (hours == NULL)
		{
			*closed++ = draft->dates[i].date;
			continue;
		}
		memcpy(spans + nspans, hours->span, hours->n * sizeof(CalendarSpan));
		nspans += hours->n;
		*dated++ = draft->dates[i].date;
		*dated_end++ = nspans;
	}
	strcpy((char *) calendar_zone(value), draft->zone);
	value->hash = content_hash(value);
	return value;
}

/* The spans that belong to a date, closed, dated or neither; returns their number. */
int
calendar_own_hours(const Calendar *value, DateADT date, const CalendarSpan **spans)
{
	int			at = calendar_find_date(calendar_closed(value), value->nclosed, date);

	if (at < value->nclosed && calendar_closed(value)[at] == date)
		return 0;
	at = calendar_find_date(calendar_dated(value), value->ndated, date);
	if (at < value->ndated && calendar_dated(value)[at] == date)
		return calendar_dated_day(value, at, spans);
	return calendar_weekday(value, calendar_day_of_week(date), spans);
}

uint64
calendar_hash(const Calendar *value)
{
	return value->hash;
}

PG_FUNCTION_INFO_V1(calendar_in);

Datum
calendar_in(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(calendar_from_json(PG_GETARG_CSTRING(0)));
}

PG_FUNCTION_INFO_V1(calendar_out);

Datum
calendar_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(calendar_to_json((Calendar *) PG_GETARG_VARLENA_P(0)));
}

/*
 * Binary form: version (1 byte), valid_until (int32, 2147483647 for none),
 * zone (int32 length, text), for mon to sun: number of spans (int32), spans;
 * number of closed dates (int32), dates (int32); number of dated dates
 * (int32), each a date (int32), number of spans, spans.  A span is two int32.
 */
static void
send_spans(StringInfo buf, const CalendarSpan *spans, int n)
{
	pq_sendint32(buf, n);
	for (int i = 0; i < n; i++)
	{
		pq_sendint32(buf, spans[i].opens);
		pq_sendint32(buf, spans[i].closes);
	}
}

PG_FUNCTION_INFO_V1(calendar_send);

Datum
calendar_send(PG_FUNCTION_ARGS)
{
	const Calendar *value = (Calendar *) PG_GETARG_VARLENA_P(0);
	const CalendarSpan *spans;
	StringInfoData buf;
	int			n;

	pq_begintypsend(&buf);
	pq_sendbyte(&buf, CALENDAR_BINARY_VERSION);
	pq_sendint32(&buf, value->valid_until);
	pq_sendint32(&buf, value->zone_length);
	pq_sendtext(&buf, calendar_zone(value), value->zone_length);
	for (int i = 0; i < 7; i++)
	{
		n = calendar_weekday(value, i, &spans);
		send_spans(&buf, spans, n);
	}
	pq_sendint32(&buf, value->nclosed);
	for (int i = 0; i < value->nclosed; i++)
		pq_sendint32(&buf, calendar_closed(value)[i]);
	pq_sendint32(&buf, value->ndated);
	for (int i = 0; i < value->ndated; i++)
	{
		pq_sendint32(&buf, calendar_dated(value)[i]);
		n = calendar_dated_day(value, i, &spans);
		send_spans(&buf, spans, n);
	}
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

static int
receive_count(StringInfo buf, int limit)
{
	int32		n = pq_getmsgint(buf, 4);

	if (n < 0 || n > limit)
		calendar_refuse("Send what calendar_send() wrote.",
						"The binary form has a count out of range.");
	return n;
}

static void
receive_spans(StringInfo buf, DayHours *hours, const char *where)
{
	int			n = receive_count(buf, CALENDAR_MAX_SPANS);

	hours->n = 0;
	for (int i = 0; i < n; i++)
	{
		int32		opens = pq_getmsgint(buf, 4);
		int32		closes = pq_getmsgint(buf, 4);

		if (opens < 0 || opens >= SECS_PER_DAY)
			opens = closes = -1;	/* draft_span() refuses it */
		draft_span(hours, opens, closes, where);
	}
}

PG_FUNCTION_INFO_V1(calendar_recv);

Datum
calendar_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buf = (StringInfo) PG_GETARG_POINTER(0);
	CalendarDraft draft;
	DateADT		valid_until;
	int			n;
	int			length;

	draft_begin(&draft);
	if (pq_getmsgbyte(buf) != CALENDAR_BINARY_VERSION)
		calendar_refuse("Send what calendar_send() wrote.",
						"The binary form has an unknown version.");
	valid_until = pq_getmsgint(buf, 4);
	if (valid_until != DATEVAL_NOEND)
		draft_valid_until(&draft, valid_until);
	length = receive_count(buf, TZ_STRLEN_MAX);
	draft_zone(&draft, pq_getmsgtext(buf, length, &length));
	for (int i = 0; i < 7; i++)
		receive_spans(buf, &draft.week[i], psprintf("hours.%s", calendar_day_names[i]));
	n = receive_count(buf, CALENDAR_MAX_DATES);
	for (int i = 0; i < n; i++)
		draft_date(&draft, (DateADT) pq_getmsgint(buf, 4), NULL);
	n = receive_count(buf, CALENDAR_MAX_DATES);
	for (int i = 0; i < n; i++)
	{
		DateADT		date = pq_getmsgint(buf, 4);
		DayHours	hours;

		receive_spans(buf, &hours, "dates");
		draft_date(&draft, date, &hours);
	}
	PG_RETURN_POINTER(draft_finish(&draft));
}

/* An order of no meaning, but a total one. */
static int
compare_calendars(FunctionCallInfo fcinfo)
{
	Calendar   *a = (Calendar *) PG_GETARG_VARLENA_P(0);
	Calendar   *b = (Calendar *) PG_GETARG_VARLENA_P(1);
	Size		a_length;
	Size		b_length;
	const char *a_start = content(a, &a_length);
	const char *b_start = content(b, &b_length);
	int			result;

	result = strcmp(calendar_zone(a), calendar_zone(b));
	if (result == 0)
		result = memcmp(a_start, b_start, Min(a_length, b_length));
	if (result == 0)
		result = (a_length > b_length) - (a_length < b_length);
	if (result == 0)
		result = (a->valid_until > b->valid_until) - (a->valid_until < b->valid_until);
	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return result;
}

#define CALENDAR_COMPARISON(name, operator) \
PG_FUNCTION_INFO_V1(name); \
Datum \
name(PG_FUNCTION_ARGS) \
{ \
	PG_RETURN_BOOL(compare_calendars(fcinfo) operator 0); \
}

CALENDAR_COMPARISON(calendar_eq, ==)
CALENDAR_COMPARISON(calendar_ne, !=)
CALENDAR_COMPARISON(calendar_lt, <)
CALENDAR_COMPARISON(calendar_le, <=)
CALENDAR_COMPARISON(calendar_gt, >)
CALENDAR_COMPARISON(calendar_ge, >=)

PG_FUNCTION_INFO_V1(calendar_cmp);

Datum
calendar_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare_calendars(fcinfo));
}

/* The hash of an argument. */
static uint64
argument_hash(FunctionCallInfo fcinfo)
{
	Calendar   *value = (Calendar *) PG_GETARG_VARLENA_P(0);
	uint64		hash = value->hash;

	PG_FREE_IF_COPY(value, 0);
	return hash;
}

PG_FUNCTION_INFO_V1(calendar_hash32);

Datum
calendar_hash32(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32((int32) argument_hash(fcinfo));
}

PG_FUNCTION_INFO_V1(calendar_hash64);

/* With seed 0, the lower half must be that of calendar_hash32(). */
Datum
calendar_hash64(PG_FUNCTION_ARGS)
{
	uint64		hash = argument_hash(fcinfo);
	int64		seed = PG_GETARG_INT64(1);

	if (seed != 0)
		hash = hash_bytes_extended((const unsigned char *) &hash, sizeof(hash), (uint64) seed);
	PG_RETURN_INT64((int64) hash);
}
