/*-------------------------------------------------------------------------
 *
 * sla.h
 *		Service levels: policies as loaded from the rule tables, and the times
 *		that follow from them.
 *
 * IDENTIFICATION
 *		src/sla.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_SLA_H
#define REFERRAL_SLA_H

#include "nodes/pg_list.h"

#include "calendar.h"
#include "entity.h"
#include "rule.h"

typedef struct SlaCalendar
{
	int64		business_calendar_id;	/* hash key */
	Calendar   *value;
} SlaCalendar;

typedef struct SlaLevel
{
	int32		level;
	double		percent;
	int64		after;			/* open microseconds */
} SlaLevel;

typedef enum SlaReopen
{
	SLA_REOPEN_NEW_CYCLE,
	SLA_REOPEN_RESUME,
	SLA_REOPEN_IGNORE
} SlaReopen;

typedef struct SlaPolicy
{
	int64		sla_policy_id;	/* hash key */
	int64		rule_version_id;
	const char *name;
	const char *kind;
	const char *calendar;		/* name */
	int64		scope_org_id;	/* 0: any */
	RulePredicate *applies_when;	/* NULL: always; the others, where NULL: never */
	RulePredicate *start_when;
	RulePredicate *stop_when;
	RulePredicate *pause_when;
	RulePredicate *cancel_when;
	bool		pause_counts;
	SlaReopen	reopen;
	Interval	target;
	SlaLevel   *levels;
	int			nlevels;
	struct SlaPolicy *next;		/* active ones: of the same name, first choice first */
} SlaPolicy;

/* The active policies of an entity, one group per name; none: no policy ever was active. */
typedef struct SlaGroup
{
	const char *name;
	SlaPolicy  *first;
	struct SlaGroup *next;
} SlaGroup;

typedef struct SlaEntity
{
	char		entity[NAMEDATALEN];	/* hash key */
	SlaGroup   *groups;
	List	   *former;			/* conditions of retired policies, which clocks may be under */
	Oid			relid;			/* what is known of all of them over it: */
	bool		row_alone;		/* they depend on these columns of the row only */
	Bitmapset  *columns;
} SlaEntity;

/* What a row says of its clock, the first that holds. */
typedef enum SlaPhase
{
	SLA_CANCELLED,
	SLA_STOPPED,
	SLA_PAUSED,
	SLA_OTHER
} SlaPhase;

/* When things happen to a clock that runs on without a break. */
typedef struct SlaTimes
{
	bool		known;			/* does the calendar reach up to the due time? */
	TimestampTz due_at;
	TimestampTz breach_at;		/* exceeded right after; DT_NOEND when unknown */
	TimestampTz next_fire_at;	/* of the breach and the levels; DT_NOEND when unknown */
} SlaTimes;

extern SlaEntity *sla_entity(RuleCache *cache, const char *entity);
extern bool sla_could_matter(RuleCache *cache, SlaEntity *entity, TrackedRel *rel,
							 Relation relation, TupleTableSlot *oldslot, TupleTableSlot *newslot);
extern SlaPolicy *sla_policy(RuleCache *cache, int64 sla_policy_id);
extern SlaCalendar *sla_calendar(RuleCache *cache, int64 business_calendar_id);
extern SlaCalendar *sla_find_calendar(RuleCache *cache, const char *name, int64 org_id,
									  int64 site_id);
extern SlaCalendar *sla_choose_calendar(RuleCache *cache, const char *name, int64 org_id,
										int64 site_id);

extern SlaPolicy *sla_choose(SlaGroup *group, Relation rel, int64 org_id,
							 TupleTableSlot *newslot, TupleTableSlot *oldslot);
extern SlaPhase sla_phase(SlaPolicy *policy, Relation rel,
						  TupleTableSlot *newslot, TupleTableSlot *oldslot);
extern bool sla_starts(SlaPolicy *policy, Relation rel,
					   TupleTableSlot *newslot, TupleTableSlot *oldslot, SlaPhase *phase);

extern bool sla_level_time(SlaPolicy *policy, CompiledCalendar *calendar, int index,
						   TimestampTz running_since, int64 target, int64 consumed,
						   TimestampTz *planned_at);
extern void sla_times(SlaPolicy *policy, CompiledCalendar *calendar, TimestampTz running_since,
					  int64 target, int64 consumed, SlaTimes *times);
extern bool sla_due_by(RuleCache *cache, const char *calendar, int64 org_id, TimestampTz start,
					   const Interval *target, TimestampTz *due_at);

#endif							/* REFERRAL_SLA_H */
