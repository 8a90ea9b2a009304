/*-------------------------------------------------------------------------
 *
 * calendar_json.c
 *		The text form of a calendar: JSON.
 *
 * Read by the server's JSON parser, which calls back for each token, because
 * jsonb would lose keys that are there twice.
 *
 * IDENTIFICATION
 *		src/calendar_json.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/jsonapi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"

#include "compat.h"
#include "calendar_value.h"

/* Callbacks return a result since 16. */
#if PG_VERSION_NUM >= 160000
#define CALLBACK			static JsonParseErrorType
#define CALLBACK_DONE		return JSON_SUCCESS
#else
#define CALLBACK			static void
#define CALLBACK_DONE		return
#endif

typedef enum Part
{
	PART_TIMEZONE,
	PART_HOURS,
	PART_CLOSED,
	PART_DATES,
	PART_VALID_UNTIL,
	PART_NONE
} Part;

static const char *const part_names[] = {
	"timezone", "hours", "closed", "dates", "valid_until", "calendar"
};

typedef struct Reader
{
	CalendarDraft *draft;
	Part		part;			/* the key of the calendar that is being read */
	int			seen;			/* bits: parts */
	int			seen_days;		/* bits: weekdays */
	int			objects;		/* braces that are open */
	bool		in_array;
	int			weekday;		/* of hours */
	DateADT		date;			/* of dates */
	DayHours	hours;			/* of date */
	const char *where;			/* "hours.mon", for messages */
} Reader;

static int
digits(const char *text, int n)
{
	int			value = 0;

	for (int i = 0; i < n; i++)
	{
		if (text[i] < '0' || text[i] > '9')
			return -1;
		value = value * 10 + (text[i] - '0');
	}
	return value;
}

/* "2026-12-24", nothing else */
static DateADT
read_date(const char *text, const char *where)
{
	int			year = -1;
	int			month = -1;
	int			day = -1;

	if (strlen(text) == 10 && text[4] == '-' && text[7] == '-')
	{
		year = digits(text, 4);
		month = digits(text + 5, 2);
		day = digits(text + 8, 2);
	}
	if (year < 1 || month < 1 || month > MONTHS_PER_YEAR || day < 1 ||
		day > day_tab[isleap(year)][month - 1])
		calendar_refuse("Write dates as \"2026-12-24\".",
						"%s: %s is not a date.", where, calendar_quote(text));
	return date2j(year, month, day) - POSTGRES_EPOCH_JDATE;
}

/* "08:00" or "08:00:30", up to "24:00"; seconds, and where the text goes on; -1 */
static int
read_time(const char *text, const char **rest)
{
	int			length = strnlen(text, 9);
	int			hour = length < 5 || text[2] != ':' ? -1 : digits(text, 2);
	int			minute = hour < 0 ? -1 : digits(text + 3, 2);
	int			second = 0;

	*rest = text + Min(length, 5);
	if (minute >= 0 && text[5] == ':')
	{
		second = length < 8 ? -1 : digits(text + 6, 2);
		*rest = text + Min(length, 8);
	}
	if (hour < 0 || minute < 0 || minute > 59 || second < 0 || second > 59 ||
		hour * SECS_PER_HOUR + minute * SECS_PER_MINUTE + second > SECS_PER_DAY)
		return -1;
	return hour * SECS_PER_HOUR + minute * SECS_PER_MINUTE + second;
}

/* "08:00-17:00"; an end that is not after the start is one of the next day. */
static void
read_span(DayHours *hours, const char *text, const char *where)
{
	const char *rest;
	int			opens = read_time(text, &rest);
	int			closes = opens < 0 || *rest != '-' ? -1 : read_time(rest + 1, &rest);

	if (closes < 0 || *rest != '\0' || opens == SECS_PER_DAY)
		calendar_refuse("Write intervals as \"08:00-17:00\", with the hours 00:00 to 24:00.",
						"%s: %s is not an interval.", where, calendar_quote(text));
	draft_span(hours, opens, closes <= opens ? closes + SECS_PER_DAY : closes, where);
}

static void
refuse_type(Reader *reader)
{
	static const char *const wanted[] = {
		"a string", "an object with the keys mon to sun", "an array of dates",
		"an object with dates as keys", "a string", "an object"
	};

	if (reader->in_array)
		calendar_refuse(reader->part == PART_CLOSED ? "Write dates as \"2026-12-24\"." :
						"Write intervals as \"08:00-17:00\".",
						"%s: an element is not a string.", reader->where);
	if (reader->objects == 2)
		calendar_refuse("Give an array of intervals, such as [\"08:00-12:00\", \"13:00-17:00\"].",
						"%s is not an array.", reader->where);
	calendar_refuse("See docs/calendar.md for what a calendar is made of.",
					"%s is not %s.", part_names[reader->part], wanted[reader->part]);
}

CALLBACK
object_start(void *state)
{
	Reader	   *reader = state;

	if (reader->in_array || reader->objects == 2 ||
		(reader->objects == 1 && reader->part != PART_HOURS && reader->part != PART_DATES))
		refuse_type(reader);
	reader->objects++;
	CALLBACK_DONE;
}

CALLBACK
object_end(void *state)
{
	((Reader *) state)->objects--;
	CALLBACK_DONE;
}

CALLBACK
array_start(void *state)
{
	Reader	   *reader = state;

	if (reader->in_array || reader->objects == 0 ||
		(reader->objects == 1 && reader->part != PART_CLOSED))
		refuse_type(reader);
	reader->in_array = true;
	CALLBACK_DONE;
}

CALLBACK
array_end(void *state)
{
	Reader	   *reader = state;

	reader->in_array = false;
	if (reader->part == PART_DATES)
		draft_date(reader->draft, reader->date, &reader->hours);
	CALLBACK_DONE;
}

static void
refuse_twice(const char *where)
{
	calendar_refuse("Join the two.", "%s is there twice.", where);
}

static void
start_part(Reader *reader, const char *name)
{
	reader->part = PART_TIMEZONE;
	while (reader->part < PART_NONE && strcmp(name, part_names[reader->part]) != 0)
		reader->part++;
	if (reader->part == PART_NONE)
		calendar_refuse("The keys are timezone, hours, closed, dates and valid_until.",
						"%s is not a key of a calendar.", calendar_quote(name));
	reader->where = part_names[reader->part];
	if (reader->seen & (1 << reader->part))
		refuse_twice(reader->where);
	reader->seen |= 1 << reader->part;
}

static void
start_weekday(Reader *reader, const char *name)
{
	int			day = 0;

	while (day < 7 && strcmp(name, calendar_day_names[day]) != 0)
		day++;
	if (day == 7)
		calendar_refuse("The days are mon, tue, wed, thu, fri, sat and sun.",
						"hours: %s is not a weekday.", calendar_quote(name));
	reader->weekday = day;
	reader->where = psprintf("hours.%s", name);
	if (reader->seen_days & (1 << day))
		refuse_twice(reader->where);
	reader->seen_days |= 1 << day;
}

CALLBACK
field_start(void *state, char *name, bool isnull)
{
	Reader	   *reader = state;

	if (reader->objects == 1)
		start_part(reader, name);
	else if (reader->part == PART_HOURS)
		start_weekday(reader, name);
	else
	{
		reader->date = read_date(name, "dates");
		reader->where = psprintf("dates.%s", name);
		reader->hours.n = 0;
	}
	CALLBACK_DONE;
}

CALLBACK
scalar(void *state, char *token, JsonTokenType type)
{
	Reader	   *reader = state;
	CalendarDraft *draft = reader->draft;

	if (type != JSON_TOKEN_STRING ||
		(!reader->in_array && (reader->objects != 1 || (reader->part != PART_TIMEZONE &&
														reader->part != PART_VALID_UNTIL))))
		refuse_type(reader);
	switch (reader->part)
	{
		case PART_TIMEZONE:
			draft_zone(draft, token);
			break;
		case PART_HOURS:
			read_span(&draft->week[reader->weekday], token, reader->where);
			break;
		case PART_CLOSED:
			draft_date(draft, read_date(token, reader->where), NULL);
			break;
		case PART_DATES:
			read_span(&reader->hours, token, reader->where);
			break;
		case PART_VALID_UNTIL:
			draft_valid_until(draft, read_date(token, reader->where));
			break;
		case PART_NONE:
			break;
	}
	pfree(token);
	CALLBACK_DONE;
}

Calendar *
calendar_from_json(const char *json)
{
	CalendarDraft draft;
	Reader		reader = { 0 };
	JsonSemAction actions = { 0 };
	JsonLexContext *lexer;
	JsonParseErrorType result;

	draft_begin(&draft);
	reader.draft = &draft;
	reader.part = PART_NONE;
	actions.semstate = &reader;
	actions.object_start = object_start;
	actions.object_end = object_end;
	actions.array_start = array_start;
	actions.array_end = array_end;
	actions.object_field_start = field_start;
	actions.scalar = scalar;
#if PG_VERSION_NUM >= 170000
	lexer = makeJsonLexContextCstringLen(NULL, json, strlen(json), GetDatabaseEncoding(), true);
#else
	lexer = makeJsonLexContextCstringLen((char *) json, strlen(json), GetDatabaseEncoding(), true);
#endif
	result = pg_parse_json(lexer, &actions);
	if (result != JSON_SUCCESS)
		calendar_refuse("Write the calendar as JSON; see docs/calendar.md.",
						"%s", json_errdetail(result, lexer));
	return draft_finish(&draft);
}

static void
write_time(StringInfo out, int seconds)
{
	appendStringInfo(out, "%02d:%02d", seconds / SECS_PER_HOUR,
					 seconds % SECS_PER_HOUR / SECS_PER_MINUTE);
	if (seconds % SECS_PER_MINUTE != 0)
		appendStringInfo(out, ":%02d", seconds % SECS_PER_MINUTE);
}

static void
write_hours(StringInfo out, const char *key, const CalendarSpan *spans, int n)
{
	appendStringInfo(out, "\"%s\":[", key);
	for (int i = 0; i < n; i++)
	{
		int			closes = spans[i].closes;

		appendStringInfoString(out, i == 0 ? "\"" : ",\"");
		write_time(out, spans[i].opens);
		appendStringInfoChar(out, '-');
		write_time(out, closes > SECS_PER_DAY ? closes - SECS_PER_DAY : closes);
		appendStringInfoChar(out, '"');
	}
	appendStringInfoChar(out, ']');
}

char *
calendar_to_json(const Calendar *value)
{
	const CalendarSpan *spans;
	const char *comma = "";
	StringInfoData out;
	int			n;

	initStringInfo(&out);
	appendStringInfoString(&out, "{\"timezone\":");
	escape_json(&out, calendar_zone(value));
	if (value->week_end[6] > 0)
	{
		appendStringInfoString(&out, ",\"hours\":{");
		for (int i = 0; i < 7; i++)
		{
			n = calendar_weekday(value, i, &spans);
			if (n == 0)
				continue;
			appendStringInfoString(&out, comma);
			write_hours(&out, calendar_day_names[i], spans, n);
			comma = ",";
		}
		appendStringInfoChar(&out, '}');
	}
	if (value->nclosed > 0)
	{
		for (int i = 0; i < value->nclosed; i++)
			appendStringInfo(&out, "%s\"%s\"", i == 0 ? ",\"closed\":[" : ",",
							 calendar_date_text(calendar_closed(value)[i]));
		appendStringInfoChar(&out, ']');
	}
	if (value->ndated > 0)
	{
		for (int i = 0; i < value->ndated; i++)
		{
			appendStringInfoString(&out, i == 0 ? ",\"dates\":{" : ",");
			n = calendar_dated_day(value, i, &spans);
			write_hours(&out, calendar_date_text(calendar_dated(value)[i]), spans, n);
		}
		appendStringInfoChar(&out, '}');
	}
	if (value->valid_until != DATEVAL_NOEND)
		appendStringInfo(&out, ",\"valid_until\":\"%s\"", calendar_date_text(value->valid_until));
	appendStringInfoChar(&out, '}');
	return out.data;
}
