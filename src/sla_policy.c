/*-------------------------------------------------------------------------
 *
 * sla_policy.c
 *		Service level policies and business calendars, as loaded from the rule
 *		tables, and what a policy says of a row.
 *
 * Clocks keep the policy and the calendar they began with, so both are found
 * by id too, whether their version is still active or not.
 *
 * IDENTIFICATION
 *		src/sla_policy.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "errors.h"
#include "security.h"
#include "sla.h"

/* A calendar in force, and the rows it is for. */
typedef struct ActiveCalendar
{
	const char *name;
	int64		org_id;			/* 0: any */
	int64		site_id;		/* 0: any */
	SlaCalendar *calendar;
} ActiveCalendar;

struct SlaRules
{
	HTAB	   *entities;		/* entity name -> SlaEntity */
	HTAB	   *policies;		/* sla_policy_id -> SlaPolicy */
	HTAB	   *calendars;		/* business_calendar_id -> SlaCalendar */
	ActiveCalendar *active;		/* the most specific first; NULL: not loaded */
	int			nactive;
};

static struct SlaRules *
sla_rules(RuleCache *cache)
{
	if (cache->sla == NULL)
	{
		struct SlaRules *rules = MemoryContextAllocZero(cache->context, sizeof(struct SlaRules));

		rules->entities = rule_cache_table(cache, "referral sla entities", NAMEDATALEN,
										   sizeof(SlaEntity), HASH_STRINGS);
		rules->policies = rule_cache_table(cache, "referral sla policies", sizeof(int64),
										   sizeof(SlaPolicy), HASH_BLOBS);
		rules->calendars = rule_cache_table(cache, "referral sla calendars", sizeof(int64),
											sizeof(SlaCalendar), HASH_BLOBS);
		cache->sla = rules;
	}
	return cache->sla;
}

/* ---------- Calendars ---------- */

static SlaCalendar *
remember_calendar(RuleCache *cache, uint64 row, int id_column, int value_column)
{
	int64		id = rule_read_int64(row, id_column);
	bool		found;
	bool		isnull;
	Datum		value;
	SlaCalendar *calendar;

	calendar = hash_search(sla_rules(cache)->calendars, &id, HASH_FIND, NULL);
	if (calendar != NULL)
		return calendar;
	value = rule_read_datum(row, value_column, &isnull);
	value = PointerGetDatum(PG_DETOAST_DATUM(value));
	calendar = hash_search(sla_rules(cache)->calendars, &id, HASH_ENTER, &found);
	calendar->value = MemoryContextAlloc(cache->context, VARSIZE(DatumGetPointer(value)));
	memcpy(calendar->value, DatumGetPointer(value), VARSIZE(DatumGetPointer(value)));
	return calendar;
}

/* NULL when there is none of that id. */
SlaCalendar *
sla_calendar(RuleCache *cache, int64 business_calendar_id)
{
	SlaCalendar *calendar;
	OwnerScope	scope;

	calendar = hash_search(sla_rules(cache)->calendars, &business_calendar_id, HASH_FIND, NULL);
	if (calendar != NULL)
		return calendar;
	security_begin_read(&scope, cache->owner);
	security_read("SELECT business_calendar_id, calendar FROM referral.business_calendar"
				  " WHERE business_calendar_id = $1",
				  INT8OID, Int64GetDatum(business_calendar_id));
	if (SPI_processed > 0)
		calendar = remember_calendar(cache, 0, 1, 2);
	security_end_read(&scope);
	return calendar;
}

static void
load_active_calendars(RuleCache *cache)
{
	struct SlaRules *rules = sla_rules(cache);
	OwnerScope	scope;

	security_begin_read(&scope, cache->owner);
	security_read("SELECT b.name, b.scope_org_id, b.scope_site_id, b.business_calendar_id, b.calendar"
				  " FROM referral.business_calendar b JOIN referral.rule_version v USING (rule_version_id)"
				  " WHERE v.status = 'active' AND $1"
				  " ORDER BY (b.scope_site_id IS NOT NULL)::int + (b.scope_org_id IS NOT NULL)::int DESC,"
				  "  b.scope_site_id, b.scope_org_id, b.business_calendar_id",
				  BOOLOID, BoolGetDatum(true));
	rules->nactive = (int) SPI_processed;
	rules->active = MemoryContextAlloc(cache->context,
									   sizeof(ActiveCalendar) * Max(rules->nactive, 1));
	for (int i = 0; i < rules->nactive; i++)
	{
		ActiveCalendar *active = &rules->active[i];

		active->name = rule_read_string(cache, i, 1);
		active->org_id = rule_read_int64(i, 2);
		active->site_id = rule_read_int64(i, 3);
		active->calendar = remember_calendar(cache, i, 4, 5);
	}
	security_end_read(&scope);
}

/* The most specific active calendar of the name that is for the row; NULL without one. */
SlaCalendar *
sla_find_calendar(RuleCache *cache, const char *name, int64 org_id, int64 site_id)
{
	struct SlaRules *rules = sla_rules(cache);

	if (rules->active == NULL)
		load_active_calendars(cache);
	for (int i = 0; i < rules->nactive; i++)
	{
		ActiveCalendar *active = &rules->active[i];

		if (strcmp(active->name, name) == 0 &&
			(active->org_id == 0 || active->org_id == org_id) &&
			(active->site_id == 0 || active->site_id == site_id))
			return active->calendar;
	}
	return NULL;
}

/* The same; RF012 without one. */
SlaCalendar *
sla_choose_calendar(RuleCache *cache, const char *name, int64 org_id, int64 site_id)
{
	SlaCalendar *calendar = sla_find_calendar(cache, name, org_id, site_id);

	if (calendar != NULL)
		return calendar;
	ereport(ERROR,
			(errcode(ERRCODE_RF_NOT_DEPLOYED),
			 errmsg("there is no active business calendar \"%s\" for the row", name),
			 errdetail("A service level policy counts on it."),
			 errhint("Activate a version of the rule set that has it; see referral.business_calendar.")));
}

/* ---------- Policies ---------- */

#define POLICY_COLUMNS \
	"p.sla_policy_id, p.rule_version_id, p.name, p.kind, p.calendar, p.scope_org_id," \
	" p.pause_counts, p.reopen, p.target, p.applies_when, p.start_when, p.stop_when," \
	" p.pause_when, p.cancel_when," \
	" (SELECT array_agg(l.level ORDER BY l.level) FROM referral.sla_level l WHERE l.sla_policy_id = p.sla_policy_id)," \
	" (SELECT array_agg(l.percent::float8 ORDER BY l.level) FROM referral.sla_level l WHERE l.sla_policy_id = p.sla_policy_id)," \
	" (SELECT array_agg((extract(epoch FROM l.after) * 1000000)::bigint ORDER BY l.level) FROM referral.sla_level l WHERE l.sla_policy_id = p.sla_policy_id)"

static void
read_levels(RuleCache *cache, uint64 row, int first_column, SlaPolicy *policy)
{
	static const Oid types[] = {INT4OID, FLOAT8OID, INT8OID};
	static const int16 lengths[] = {4, 8, 8};
	Datum	   *values[3];
	int			count = 0;

	for (int c = 0; c < 3; c++)
	{
		bool		isnull;
		Datum		array = rule_read_datum(row, first_column + c, &isnull);

		if (isnull)
			return;				/* no levels */
		deconstruct_array(DatumGetArrayTypeP(array), types[c], lengths[c], true,
						  types[c] == INT4OID ? TYPALIGN_INT : TYPALIGN_DOUBLE,
						  &values[c], NULL, &count);
	}
	policy->levels = MemoryContextAlloc(cache->context, sizeof(SlaLevel) * count);
	policy->nlevels = count;
	for (int i = 0; i < count; i++)
	{
		policy->levels[i].level = DatumGetInt32(values[0][i]);
		policy->levels[i].percent = DatumGetFloat8(values[1][i]);
		policy->levels[i].after = DatumGetInt64(values[2][i]);
	}
}

static SlaPolicy *
read_policy(RuleCache *cache, uint64 row)
{
	static const char *const conditions[] = {
		"applies_when", "start_when", "stop_when", "pause_when", "cancel_when"
	};
	RulePredicate *predicates[lengthof(conditions)];
	int64		id = rule_read_int64(row, 1);
	SlaPolicy  *policy = hash_search(sla_rules(cache)->policies, &id, HASH_FIND, NULL);
	char	   *name = rule_read_string(cache, row, 3);
	char	   *reopen;
	bool		isnull;
	MemoryContext caller;

	if (policy != NULL)
		return policy;
	reopen = rule_read_string(cache, row, 8);
	for (int i = 0; i < lengthof(conditions); i++)
	{
		char	   *label;

		caller = MemoryContextSwitchTo(cache->context);
		label = psprintf("%s of service level policy \"%s\"", conditions[i], name);
		MemoryContextSwitchTo(caller);
		predicates[i] = rule_read_predicate(cache, row, 10 + i, label);
	}
	policy = hash_search(sla_rules(cache)->policies, &id, HASH_ENTER, NULL);
	memset((char *) policy + sizeof(int64), 0, sizeof(SlaPolicy) - sizeof(int64));
	policy->rule_version_id = rule_read_int64(row, 2);
	policy->name = name;
	policy->kind = rule_read_string(cache, row, 4);
	policy->calendar = rule_read_string(cache, row, 5);
	policy->scope_org_id = rule_read_int64(row, 6);
	policy->pause_counts = rule_read_bool(row, 7);
	policy->reopen = strcmp(reopen, "resume") == 0 ? SLA_REOPEN_RESUME
		: strcmp(reopen, "ignore") == 0 ? SLA_REOPEN_IGNORE : SLA_REOPEN_NEW_CYCLE;
	policy->target = *DatumGetIntervalP(rule_read_datum(row, 9, &isnull));
	policy->applies_when = predicates[0];
	policy->start_when = predicates[1];
	policy->stop_when = predicates[2];
	policy->pause_when = predicates[3];
	policy->cancel_when = predicates[4];
	read_levels(cache, row, 15, policy);
	return policy;
}

/* The policy a clock is judged by.  RF012 when it is gone. */
SlaPolicy *
sla_policy(RuleCache *cache, int64 sla_policy_id)
{
	SlaPolicy  *policy = hash_search(sla_rules(cache)->policies, &sla_policy_id, HASH_FIND, NULL);
	OwnerScope	scope;

	if (policy != NULL)
		return policy;
	security_begin_read(&scope, cache->owner);
	security_read("SELECT " POLICY_COLUMNS " FROM referral.sla_policy p WHERE p.sla_policy_id = $1",
				  INT8OID, Int64GetDatum(sla_policy_id));
	if (SPI_processed > 0)
		policy = read_policy(cache, 0);
	security_end_read(&scope);
	if (policy == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_RF_NOT_DEPLOYED),
				 errmsg("there is no service level policy " INT64_FORMAT, sla_policy_id),
				 errdetail("referral.sla_policy has no row for it."),
				 errhint("Restore the rule tables.")));
	return policy;
}

static void
add_to_group(RuleCache *cache, SlaEntity *entity, SlaPolicy *policy)
{
	SlaGroup  **group;
	SlaPolicy **tail;

	for (group = &entity->groups; *group != NULL; group = &(*group)->next)
		if (strcmp((*group)->name, policy->name) == 0)
			break;
	if (*group == NULL)
	{
		*group = MemoryContextAllocZero(cache->context, sizeof(SlaGroup));
		(*group)->name = policy->name;
	}
	for (tail = &(*group)->first; *tail != NULL; tail = &(*tail)->next);
	policy->next = NULL;
	*tail = policy;
}

/* The policies of an entity, the active ones by name. */
SlaEntity *
sla_entity(RuleCache *cache, const char *name)
{
	struct SlaRules *rules = sla_rules(cache);
	SlaEntity  *entity = hash_search(rules->entities, name, HASH_FIND, NULL);
	SlaEntity	found = {.groups = NULL};
	OwnerScope	scope;

	if (entity != NULL)
		return entity;
	security_begin_read(&scope, cache->owner);
	security_read("SELECT " POLICY_COLUMNS
				  " FROM referral.sla_policy p JOIN referral.rule_version v USING (rule_version_id)"
				  " WHERE p.entity = $1 AND v.status = 'active'"
				  " ORDER BY p.name, (p.scope_org_id IS NOT NULL) DESC, p.priority, p.sla_policy_id",
				  TEXTOID, CStringGetTextDatum(name));
	for (uint64 i = 0; i < SPI_processed; i++)
		add_to_group(cache, &found, read_policy(cache, i));
	security_read("SELECT DISTINCT x.condition"
				  " FROM referral.sla_policy p JOIN referral.rule_version v USING (rule_version_id)"
				  " CROSS JOIN LATERAL unnest(ARRAY[p.applies_when, p.start_when, p.stop_when, p.pause_when, p.cancel_when]) x (condition)"
				  " WHERE p.entity = $1 AND v.status = 'retired' AND x.condition IS NOT NULL",
				  TEXTOID, CStringGetTextDatum(name));
	found.former = NIL;
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		MemoryContext caller = MemoryContextSwitchTo(cache->context);

		found.former = lappend(found.former,
							   rule_read_predicate(cache, i, 1, "condition of a retired service level policy"));
		MemoryContextSwitchTo(caller);
	}
	security_end_read(&scope);
	entity = hash_search(rules->entities, name, HASH_ENTER, NULL);
	entity->groups = found.groups;
	entity->former = found.former;
	entity->relid = InvalidOid;
	return entity;
}

/*
 * Does a retired condition depend on columns of the row alone?  It may be so
 * old that it does not compile any more; whoever is still under it is told
 * when it is asked.
 */
static bool
former_reads_row_alone(RulePredicate *predicate, Relation relation, Bitmapset **columns)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool row_alone = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(caller);
	PG_TRY();
	{
		row_alone = rule_reads_row_alone(predicate, relation, columns);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	CurrentResourceOwner = owner;
	return row_alone;
}

static void
learn_columns(RuleCache *cache, SlaEntity *entity, Relation relation)
{
	MemoryContext caller = MemoryContextSwitchTo(cache->context);
	ListCell   *lc;

	entity->row_alone = true;
	entity->columns = NULL;
	for (SlaGroup *group = entity->groups; group != NULL; group = group->next)
		for (SlaPolicy *policy = group->first; policy != NULL; policy = policy->next)
		{
			RulePredicate *predicates[] = {policy->applies_when, policy->start_when,
			policy->stop_when, policy->pause_when, policy->cancel_when};

			for (int i = 0; i < lengthof(predicates); i++)
				if (predicates[i] != NULL &&
					!rule_reads_row_alone(predicates[i], relation, &entity->columns))
					entity->row_alone = false;
		}
	foreach(lc, entity->former)
		if (!former_reads_row_alone(lfirst(lc), relation, &entity->columns))
			entity->row_alone = false;
	MemoryContextSwitchTo(caller);
	entity->relid = RelationGetRelid(relation);
}

/*
 * Could an UPDATE change what the policies say?  Not when they ask only for
 * columns of the row, and those are what they were.
 */
bool
sla_could_matter(RuleCache *cache, SlaEntity *entity, TrackedRel *rel, Relation relation,
				 TupleTableSlot *oldslot, TupleTableSlot *newslot)
{
	int			attno = -1;

	if (entity->relid != RelationGetRelid(relation))
		learn_columns(cache, entity, relation);
	if (!entity->row_alone)
		return true;
	/* a pause is by its reason */
	if (rel->status_reason != 0 &&
		entity_column_changed(rel, rel->status_reason - 1, oldslot, newslot))
		return true;
	while ((attno = bms_next_member(entity->columns, attno)) >= 0)
		if (entity_column_changed(rel, attno - 1, oldslot, newslot))
			return true;
	return false;
}

/* What has_clocks() knows, for as long as no rule changes. */
typedef struct HasClocks
{
	uint64		generation;
	bool		answer;
} HasClocks;

PG_FUNCTION_INFO_V1(has_clocks);

/* has_clocks(entity text) returns boolean: is there a policy, or was there one? */
Datum
has_clocks(PG_FUNCTION_ARGS)
{
	HasClocks  *known = fcinfo->flinfo->fn_extra;

	if (known == NULL || known->generation != rule_generation)
	{
		RuleCache  *cache = rule_cache(known == NULL);
		char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
		SlaEntity  *entity = strlen(name) < NAMEDATALEN ? sla_entity(cache, name) : NULL;

		if (known == NULL)
			known = fcinfo->flinfo->fn_extra = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt,
																  sizeof(HasClocks));
		known->answer = entity != NULL && (entity->groups != NULL || entity->former != NIL);
		known->generation = cache->generation;
	}
	PG_RETURN_BOOL(known->answer);
}

/* ---------- What a policy says of a row ---------- */

/* The policy of the group that the row falls under; NULL when there is none. */
SlaPolicy *
sla_choose(SlaGroup *group, Relation rel, int64 org_id,
		   TupleTableSlot *newslot, TupleTableSlot *oldslot)
{
	for (SlaPolicy *policy = group->first; policy != NULL; policy = policy->next)
		if ((policy->scope_org_id == 0 || policy->scope_org_id == org_id) &&
			(policy->applies_when == NULL ||
			 rule_holds(policy->applies_when, rel, newslot, oldslot)))
			return policy;
	return NULL;
}

SlaPhase
sla_phase(SlaPolicy *policy, Relation rel, TupleTableSlot *newslot, TupleTableSlot *oldslot)
{
	if (policy->cancel_when != NULL && rule_holds(policy->cancel_when, rel, newslot, oldslot))
		return SLA_CANCELLED;
	if (rule_holds(policy->stop_when, rel, newslot, oldslot))
		return SLA_STOPPED;
	if (policy->pause_when != NULL && rule_holds(policy->pause_when, rel, newslot, oldslot))
		return SLA_PAUSED;
	return SLA_OTHER;
}

/* Would a row that has no open clock start one?  And in which phase? */
bool
sla_starts(SlaPolicy *policy, Relation rel, TupleTableSlot *newslot, TupleTableSlot *oldslot,
		   SlaPhase *phase)
{
	SlaPhase	found;

	if (!rule_holds(policy->start_when, rel, newslot, oldslot))
		return false;
	found = sla_phase(policy, rel, newslot, oldslot);
	if (phase != NULL)
		*phase = found;
	return found >= SLA_PAUSED;
}
