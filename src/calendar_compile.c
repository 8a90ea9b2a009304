/*-------------------------------------------------------------------------
 *
 * calendar_compile.c
 *		Compiling calendars, and the backend's cache of compiled ones.
 *
 * Compiling finds the days whose open time is not what the week's hours and
 * one offset from UTC make of it: closed and dated ones, those that the night
 * before reaches into, and those with a clock change in their hours.  Sums up
 * to each of them make any question one of binary search and week arithmetic.
 *
 * A local time means the first instant at which the clock shows it or a later
 * one.  So of a time that comes twice the first counts, and one that is skipped
 * means the instant of the change.  This never runs backwards, which is why
 * the stretches of a day need no care about clock changes.
 *
 * IDENTIFICATION
 *		src/calendar_compile.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/datetime.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "calendar_compiled.h"
#include "errors.h"

/* The cache holds that many calendars, fewer when these are large. */
#define CACHE_ENTRIES		256
#define CACHE_BYTES			(16 * 1024 * 1024)
#define CACHE_BUCKETS		512

static CompiledCalendar *buckets[CACHE_BUCKETS];
static dlist_head recency = DLIST_STATIC_INIT(recency);
static int	ncached = 0;
static Size cached_bytes = 0;

/* Zones, for as long as the backend lives, as PostgreSQL keeps them itself. */
static HTAB *zones = NULL;

#define UNIX_EPOCH_OFFSET \
	((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * (int64) SECS_PER_DAY)

static void
add_segment(CalendarZone *zone, int *room, int64 starts, int64 offset)
{
	if (zone->nsegments == *room)
	{
		*room *= 2;
		zone->segments = repalloc(zone->segments, *room * sizeof(ZoneSegment));
	}
	zone->segments[zone->nsegments].starts = starts;
	zone->segments[zone->nsegments++].offset = offset;
}

/* Reads the changes of a zone's offset out of the server's zone data. */
static void
read_zone(CalendarZone *zone, const pg_tz *tz)
{
	pg_time_t	at = calendar_day_start(0) / USECS_PER_SEC + UNIX_EPOCH_OFFSET;
	pg_time_t	last = calendar_day_start(CALENDAR_LAST_DAY) / USECS_PER_SEC + UNIX_EPOCH_OFFSET;
	int			room = 64;
	long int	before;
	long int	after;
	pg_time_t	boundary;
	int			isdst;
	int			found;
	int64		reached = PG_INT64_MIN;
	uint64		history = 0;

	zone->segments = palloc(room * sizeof(ZoneSegment));
	zone->nsegments = 0;
	found = pg_next_dst_boundary(&at, &before, &isdst, &boundary, &after, &isdst, tz);
	if (found < 0)
		elog(ERROR, "could not read time zone \"%s\"", zone->name);
	add_segment(zone, &room, PG_INT64_MIN, before * USECS_PER_SEC);
	while (found > 0 && boundary > at && boundary < last)
	{
		int64		offset = after * USECS_PER_SEC;

		if (offset != zone->segments[zone->nsegments - 1].offset)
			add_segment(zone, &room, (boundary - UNIX_EPOCH_OFFSET) * USECS_PER_SEC, offset);
		at = boundary;
		found = pg_next_dst_boundary(&at, &before, &isdst, &boundary, &after, &isdst, tz);
	}
	for (int i = 0; i < zone->nsegments; i++)
	{
		if (i + 1 < zone->nsegments)
			reached = Max(reached, zone->segments[i + 1].starts + zone->segments[i].offset);
		else
			reached = PG_INT64_MAX;
		zone->segments[i].reached = reached;
		history = hash_combine64(history, hash_bytes_extended((unsigned char *) &zone->segments[i],
															  offsetof(ZoneSegment, reached), 0));
		zone->segments[i].history = history;
	}
}

static const CalendarZone *
find_zone(const char *name)
{
	CalendarZone read;
	CalendarZone *zone;
	ZoneSegment *kept;
	pg_tz	   *tz;

	if (zones == NULL)
	{
		HASHCTL		ctl = { 0 };

		ctl.keysize = TZ_STRLEN_MAX + 1;
		ctl.entrysize = sizeof(CalendarZone);
		ctl.hcxt = TopMemoryContext;
		zones = hash_create("referral time zones", 32, &ctl,
							HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	}
	zone = hash_search(zones, name, HASH_FIND, NULL);
	if (zone != NULL)
		return zone;

	tz = pg_tzset(name);
	if (tz == NULL || !pg_tz_acceptable(tz))
		calendar_refuse("Install the zone data that the calendar was made with.",
						"timezone: %s is not known to this server.", calendar_quote(name));
	strlcpy(read.name, name, sizeof(read.name));
	read_zone(&read, tz);
	kept = MemoryContextAlloc(TopMemoryContext, read.nsegments * sizeof(ZoneSegment));
	memcpy(kept, read.segments, read.nsegments * sizeof(ZoneSegment));
	pfree(read.segments);
	zone = hash_search(zones, name, HASH_ENTER, NULL);
	zone->nsegments = read.nsegments;
	zone->segments = kept;
	return zone;
}

/* The segment in which a local time is reached. */
static int
zone_segment_reaching(const CalendarZone *zone, int64 local)
{
	int			low = 0;
	int			high = zone->nsegments - 1;

	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (zone->segments[middle].reached > local)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* The first instant at which the clock shows this local time or a later one. */
int64
zone_to_utc(const CalendarZone *zone, int64 local)
{
	const ZoneSegment *segment = &zone->segments[zone_segment_reaching(zone, local)];

	return Max(segment->starts, local - segment->offset);
}

/*
 * The offset of the segment in which a local time is reached, which serves for
 * all of a regular day.
 */
static inline int64
zone_offset_of(const CalendarZone *zone, int64 local)
{
	return zone->segments[zone_segment_reaching(zone, local)].offset;
}

/* The stretches of a day with one offset from UTC and the hours of its weekday. */
static int
regular_stretches(const Calendar *value, const CalendarZone *zone, int day, Stretch *out)
{
	const CalendarSpan *spans;
	int			n = calendar_weekday(value, day % 7, &spans);
	int64		start = calendar_day_start(day);

	if (n == 0)
		return 0;
	start -= zone_offset_of(zone, start + spans[0].opens * USECS_PER_SEC);
	for (int i = 0; i < n; i++)
	{
		out[i].opens = start + spans[i].opens * USECS_PER_SEC;
		out[i].closes = start + spans[i].closes * USECS_PER_SEC;
	}
	return n;
}

/*
 * The stretches of any day.  What the day before covers already is left out:
 * its last interval may run past midnight, and then covers all up to its end.
 */
static int
any_stretches(const Calendar *value, const CalendarZone *zone, int day, Stretch *out)
{
	const CalendarSpan *spans;
	DateADT		date = CALENDAR_FIRST_DATE + day;
	TimestampTz covered = PG_INT64_MIN;
	int64		start = calendar_day_start(day);
	int			n = calendar_own_hours(value, date - 1, &spans);
	int			kept = 0;

	if (n > 0)
		covered = zone_to_utc(zone, start + (spans[n - 1].closes - SECS_PER_DAY) * USECS_PER_SEC);
	n = calendar_own_hours(value, date, &spans);
	for (int i = 0; i < n; i++)
	{
		Stretch		stretch;

		stretch.opens = Max(covered, zone_to_utc(zone, start + spans[i].opens * USECS_PER_SEC));
		stretch.closes = zone_to_utc(zone, start + spans[i].closes * USECS_PER_SEC);
		if (stretch.opens < stretch.closes)
			out[kept++] = stretch;
	}
	return kept;
}

int
calendar_stretches(const CompiledCalendar *c, int day, const Stretch **stretches,
				   Stretch buffer[CALENDAR_MAX_SPANS])
{
	int			place = ledger_place(&c->work, day);

	if (place < c->work.n && c->work.day[place] == day)
	{
		int			first = place == 0 ? 0 : c->stretch_end[place - 1];

		*stretches = c->stretches + first;
		return c->stretch_end[place] - first;
	}
	*stretches = buffer;
	return regular_stretches(c->value, c->zone, day, buffer);
}

static void
ledger_begin(DayLedger *ledger, const int64 weekday[7], int room)
{
	ledger->before_weekday[0] = 0;
	for (int i = 0; i < 7; i++)
		ledger->before_weekday[i + 1] = ledger->before_weekday[i] + weekday[i];
	ledger->week = ledger->before_weekday[7];
	ledger->n = 0;
	ledger->day = palloc(Max(room, 1) * sizeof(int32));
	ledger->before = palloc(Max(room, 1) * sizeof(int64));
	ledger->own = palloc(Max(room, 1) * sizeof(int64));
}

/* Days must come in order. */
static void
ledger_add(DayLedger *ledger, int day, int64 own)
{
	ledger->before[ledger->n] = ledger_before(ledger, day, ledger->n);
	ledger->own[ledger->n] = own;
	ledger->day[ledger->n++] = day;
}

int
ledger_find(const DayLedger *ledger, int64 position, int64 *within)
{
	int			low = -1;
	int			high = ledger->n - 1;
	int			day;

	if (position < 0)
		return -1;
	while (low < high)			/* the last irregular day that starts at the position or before */
	{
		int			middle = (low + high + 1) / 2;

		if (ledger->before[middle] <= position)
			low = middle;
		else
			high = middle - 1;
	}
	if (low >= 0)
	{
		position -= ledger->before[low];
		if (position < ledger->own[low])
		{
			*within = position;
			return ledger->day[low];
		}
		/* as if all days had been regular up to here */
		position += ledger_regular(ledger, ledger->day[low] + 1) - ledger->own[low];
	}
	if (ledger->week == 0 || position / ledger->week > CALENDAR_LAST_DAY / 7)
		return ledger->week == 0 ? -1 : CALENDAR_LAST_DAY + 1;
	day = (int) (position / ledger->week) * 7;
	position %= ledger->week;
	for (int i = 1; i < 7 && ledger->before_weekday[i] <= position; i++)
		day++;
	*within = position - ledger->before_weekday[day % 7];
	return day;
}

static int
compare_days(const void *a, const void *b)
{
	int32		x = *(const int32 *) a;
	int32		y = *(const int32 *) b;

	return (x > y) - (x < y);
}

/* May a change of the clock between two local times matter for a day? */
static bool
day_touches(const Calendar *value, int day, int64 from, int64 to)
{
	const CalendarSpan *spans;
	int			n = calendar_weekday(value, day % 7, &spans);
	int64		start = calendar_day_start(day);

	return n > 0 && start + spans[0].opens * USECS_PER_SEC <= to &&
		start + spans[n - 1].closes * USECS_PER_SEC >= from;
}

/* All days that may be irregular, in order; some are there twice. */
static int
find_candidates(const Calendar *value, const CalendarZone *zone, int32 **days)
{
	int32	   *found;
	int			n = 0;

	found = palloc((value->nclosed + 2 * value->ndated + 4 * zone->nsegments + 1) * sizeof(int32));
	for (int i = 0; i < value->nclosed; i++)
		found[n++] = calendar_closed(value)[i] - CALENDAR_FIRST_DATE;
	for (int i = 0; i < value->ndated; i++)
	{
		const CalendarSpan *spans;
		int			nspans = calendar_dated_day(value, i, &spans);
		int			day = calendar_dated(value)[i] - CALENDAR_FIRST_DATE;

		found[n++] = day;
		if (spans[nspans - 1].closes > SECS_PER_DAY)
			found[n++] = day + 1;
	}
	for (int i = 1; i < zone->nsegments; i++)
	{
		int64		before = zone->segments[i].starts + zone->segments[i - 1].offset;
		int64		after = zone->segments[i].starts + zone->segments[i].offset;
		int			last = calendar_day_at(Max(before, after));

		for (int day = Max(0, calendar_day_at(Min(before, after)) - 1); day <= last; day++)
		{
			if (day_touches(value, day, Min(before, after), Max(before, after)))
				found[n++] = day;
		}
	}
	qsort(found, n, sizeof(int32), compare_days);
	*days = found;
	return n;
}

static int64
total(const Stretch *stretches, int n)
{
	int64		sum = 0;

	for (int i = 0; i < n; i++)
		sum += stretches[i].closes - stretches[i].opens;
	return sum;
}

static void
compile_work(CompiledCalendar *c)
{
	const Calendar *value = c->value;
	int64		weekday[7] = { 0 };
	int32	   *days;
	int			ndays = find_candidates(value, c->zone, &days);
	int			room = ndays + 16;
	int			nstretches = 0;

	for (int i = 0; i < 7; i++)
	{
		const CalendarSpan *spans;
		int			n = calendar_weekday(value, i, &spans);

		for (int j = 0; j < n; j++)
			weekday[i] += (spans[j].closes - spans[j].opens) * USECS_PER_SEC;
	}
	ledger_begin(&c->work, weekday, ndays);
	c->stretch_end = palloc(Max(ndays, 1) * sizeof(int));
	c->stretches = palloc(room * sizeof(Stretch));
	for (int i = 0; i < ndays; i++)
	{
		Stretch		is[CALENDAR_MAX_SPANS];
		Stretch		regular[CALENDAR_MAX_SPANS];
		int			n;

		if (i > 0 && days[i] == days[i - 1])
			continue;
		CHECK_FOR_INTERRUPTS();
		n = any_stretches(value, c->zone, days[i], is);
		if (n == regular_stretches(value, c->zone, days[i], regular) &&
			memcmp(is, regular, n * sizeof(Stretch)) == 0)
			continue;
		if (nstretches + n > room)
		{
			room = 2 * room + n;
			c->stretches = repalloc(c->stretches, room * sizeof(Stretch));
		}
		memcpy(c->stretches + nstretches, is, n * sizeof(Stretch));
		nstretches += n;
		c->stretch_end[c->work.n] = nstretches;
		ledger_add(&c->work, days[i], total(is, n));
	}
	pfree(days);
}

/* A business date is one with hours of its own. */
static void
compile_business(CompiledCalendar *c)
{
	const Calendar *value = c->value;
	const CalendarSpan *spans;
	int64		weekday[7];
	int			closed = 0;
	int			dated = 0;

	for (int i = 0; i < 7; i++)
		weekday[i] = calendar_weekday(value, i, &spans) > 0 ? 1 : 0;
	ledger_begin(&c->business, weekday, value->nclosed + value->ndated);
	while (closed < value->nclosed || dated < value->ndated)
	{
		bool		is_closed = dated == value->ndated ||
			(closed < value->nclosed &&
			 calendar_closed(value)[closed] < calendar_dated(value)[dated]);
		int			day = (is_closed ? calendar_closed(value)[closed++] :
						   calendar_dated(value)[dated++]) - CALENDAR_FIRST_DATE;

		if (weekday[day % 7] == is_closed)
			ledger_add(&c->business, day, is_closed ? 0 : 1);
	}
}

static CompiledCalendar *
compile(const char *content, Size length)
{
	MemoryContext context;
	MemoryContext caller;
	CompiledCalendar *c;
	Calendar   *value;

	context = AllocSetContextCreate(CurrentMemoryContext, "referral calendar",
									ALLOCSET_SMALL_SIZES);
	caller = MemoryContextSwitchTo(context);
	c = palloc0(sizeof(CompiledCalendar));
	c->context = context;
	value = palloc(length + VARHDRSZ);
	SET_VARSIZE(value, length + VARHDRSZ);
	memcpy(VARDATA(value), content, length);
	c->value = value;
	c->zone = find_zone(calendar_zone(value));
	compile_work(c);
	compile_business(c);
	for (int i = 0; i < value->nspans; i++)
		c->overnight |= calendar_spans(value)[i].closes > SECS_PER_DAY;
	c->horizon = value->valid_until == DATEVAL_NOEND ? PG_INT64_MAX :
		zone_to_utc(c->zone, (value->valid_until + 1) * USECS_PER_DAY);
	c->size = MemoryContextMemAllocated(context, true);
	MemoryContextSwitchTo(caller);
	return c;
}

static void
forget(CompiledCalendar *c)
{
	CompiledCalendar **link = &buckets[c->value->hash % CACHE_BUCKETS];

	while (*link != c)
		link = &(*link)->next;
	*link = c->next;
	dlist_delete(&c->recency);
	ncached--;
	cached_bytes -= c->size;
	MemoryContextDelete(c->context);
}

/* The compiled form of the content of a value (what follows its length). */
static CompiledCalendar *
lookup(const char *content, Size length)
{
	CompiledCalendar **bucket;
	CompiledCalendar *c;
	uint64		hash;

	memcpy(&hash, content + offsetof(Calendar, hash) - VARHDRSZ, sizeof(hash));
	bucket = &buckets[hash % CACHE_BUCKETS];
	for (c = *bucket; c != NULL; c = c->next)
	{
		if (c->value->hash == hash && VARSIZE(c->value) == length + VARHDRSZ &&
			memcmp(VARDATA(c->value), content, length) == 0)
		{
			dlist_move_head(&recency, &c->recency);
			return c;
		}
	}
	c = compile(content, length);
	MemoryContextSetParent(c->context, CacheMemoryContext);
	c->next = *bucket;
	*bucket = c;
	dlist_push_head(&recency, &c->recency);
	cached_bytes += c->size;
	for (ncached++; ncached > CACHE_ENTRIES || (cached_bytes > CACHE_BYTES && ncached > 1);)
		forget(dlist_tail_element(CompiledCalendar, recency, &recency));
	return c;
}

CompiledCalendar *
calendar_compiled(const Calendar *value)
{
	return lookup(VARDATA(value), VARSIZE(value) - VARHDRSZ);
}

/* The same for an argument; one that is stored inline is not even copied. */
CompiledCalendar *
calendar_compiled_datum(Datum value)
{
	struct varlena *packed = PG_DETOAST_DATUM_PACKED(value);
	CompiledCalendar *c = lookup(VARDATA_ANY(packed), VARSIZE_ANY_EXHDR(packed));

	if ((Pointer) packed != DatumGetPointer(value))
		pfree(packed);
	return c;
}
