/*-------------------------------------------------------------------------
 *
 * sla_view.c
 *		What the views of the service levels compute for each of their rows.
 *
 * A view must not fail as a whole because one calendar ends too early: where
 * the calendar does not reach, the answer is null.
 *
 * IDENTIFICATION
 *		src/sla_view.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "calendar.h"
#include "compat.h"
#include "errors.h"
#include "sla_view.h"

static char *setting_as_of = NULL;

void
sla_view_init(void)
{
	DefineCustomStringVariable("referral.as_of",
							   "Time that the views of the service levels tell of (timestamptz).",
							   "Empty for now.", &setting_as_of, "", PGC_USERSET, 0,
							   NULL, NULL, NULL);
}

static Datum
interval_of(int64 open_time)
{
	Interval   *result = palloc0(sizeof(Interval));

	result->time = open_time;
	PG_RETURN_INTERVAL_P(result);
}

static CompiledCalendar *
compiled_argument(FunctionCallInfo fcinfo, int n)
{
	return calendar_compiled((Calendar *) PG_DETOAST_DATUM(PG_GETARG_DATUM(n)));
}

PG_FUNCTION_INFO_V1(as_of);

/* as_of() returns timestamptz */
Datum
as_of(PG_FUNCTION_ARGS)
{
	TimestampTz at;

	if (setting_as_of == NULL || *setting_as_of == '\0')
		PG_RETURN_TIMESTAMPTZ(GetCurrentTransactionStartTimestamp());
	at = DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(setting_as_of),
												 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	if (TIMESTAMP_NOT_FINITE(at))
		ereport(ERROR,
				(errcode(ERRCODE_RF_SETTING),
				 errmsg("referral.as_of must be a finite time"),
				 errdetail("It is \"%s\".", setting_as_of),
				 errhint("SET referral.as_of to a timestamp with time zone, or RESET it.")));
	PG_RETURN_TIMESTAMPTZ(at);
}

PG_FUNCTION_INFO_V1(clock_elapsed);

/*
 * clock_elapsed(calendar, consumed interval, running_since timestamptz,
 * at timestamptz) returns interval
 */
Datum
clock_elapsed(PG_FUNCTION_ARGS)
{
	int64		open_time;

	if (!calendar_try_elapsed(compiled_argument(fcinfo, 0), PG_GETARG_TIMESTAMPTZ(2),
							  PG_GETARG_TIMESTAMPTZ(3), &open_time))
		PG_RETURN_NULL();
	return interval_of(PG_GETARG_INTERVAL_P(1)->time + open_time);
}

PG_FUNCTION_INFO_V1(clock_reaches);

/*
 * clock_reaches(calendar, start timestamptz, open_time interval) returns
 * timestamptz
 */
Datum
clock_reaches(PG_FUNCTION_ARGS)
{
	TimestampTz at;

	if (!calendar_try_due(compiled_argument(fcinfo, 0), PG_GETARG_TIMESTAMPTZ(1),
						  PG_GETARG_INTERVAL_P(2)->time, false, &at))
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(at);
}

PG_FUNCTION_INFO_V1(aging_bucket);

/* aging_bucket(age interval) returns text */
Datum
aging_bucket(PG_FUNCTION_ARGS)
{
	static const struct
	{
		int64		below;
		const char *name;
	}			buckets[] = {{4, "0-3"}, {8, "4-7"}, {15, "8-14"}, {31, "15-30"}};
	Interval   *age = PG_GETARG_INTERVAL_P(0);
	int64		days = (int64) age->month * DAYS_PER_MONTH + age->day + age->time / USECS_PER_DAY;

	for (int i = 0; i < lengthof(buckets); i++)
		if (days < buckets[i].below)
			PG_RETURN_TEXT_P(cstring_to_text(buckets[i].name));
	PG_RETURN_TEXT_P(cstring_to_text(">30"));
}
