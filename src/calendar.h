/*-------------------------------------------------------------------------
 *
 * calendar.h
 *		The type calendar: the hours during which time counts.
 *
 * A calendar is a value.  Its open time is real elapsed time, in microseconds.
 * Whoever computes with it takes the compiled form, which a backend keeps for
 * the calendars that it used last.
 *
 * IDENTIFICATION
 *		src/calendar.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_CALENDAR_H
#define REFERRAL_CALENDAR_H

#include "datatype/timestamp.h"

typedef struct Calendar Calendar;	/* the value, a varlena */
typedef struct CompiledCalendar CompiledCalendar;

/* The compiled form; valid until the next call. */
extern CompiledCalendar *calendar_compiled(const Calendar *value);

/* Open time from one instant to another; negative when reversed. */
extern int64 calendar_elapsed(CompiledCalendar *c, TimestampTz from, TimestampTz to);

/*
 * When open time since start reaches target: the close, or with next_open the
 * opening that follows, when it is reached where a stretch ends.  A negative
 * target mirrors this.
 */
extern TimestampTz calendar_due(CompiledCalendar *c, TimestampTz start, int64 target,
								bool next_open);

/* The open time that a target means when it is counted from start. */
extern int64 calendar_target(CompiledCalendar *c, TimestampTz start, const Interval *target);

/*
 * The same, but instead of raising RF022 they return false when the answer
 * lies beyond the calendar's horizon.
 */
extern bool calendar_try_elapsed(CompiledCalendar *c, TimestampTz from, TimestampTz to,
								 int64 *result);
extern bool calendar_try_due(CompiledCalendar *c, TimestampTz start, int64 target, bool next_open,
							 TimestampTz *result);
extern bool calendar_try_target(CompiledCalendar *c, TimestampTz start, const Interval *target,
								int64 *result);

/* Changes when the calendar or its zone's offsets from UTC at any time up to "until" do. */
extern int64 calendar_fingerprint(CompiledCalendar *c, TimestampTz until);

/* The hash that the value carries. */
extern uint64 calendar_hash(const Calendar *value);

#endif							/* REFERRAL_CALENDAR_H */
