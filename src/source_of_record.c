/*-------------------------------------------------------------------------
 *
 * source_of_record.c
 *		Which system keeps which attribute, and what becomes of the writes of
 *		others.
 *
 * source_guard() is a BEFORE UPDATE row trigger whose name sorts before the
 * guard's: what is set back here, guard and journal never see.  A table that
 * no rule names costs a look into the cache.
 *
 * IDENTIFICATION
 *		src/source_of_record.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "compat.h"
#include "entity.h"
#include "errors.h"
#include "rule.h"
#include "security.h"
#include "source_of_record.h"
#include "workflow.h"

/* The owner of what people and applications enter here. */
#define LOCAL_SYSTEM	"local"

typedef struct SourceRule
{
	const char *attribute;		/* NULL: every one without a rule of its own */
	const char *owner;
	bool		quarantine;
	int64		scope_org_id;	/* 0: all */
	int64		rule_version_id;
} SourceRule;

/* A column with its rules, the one that counts first. */
typedef struct OwnedColumn
{
	AttrNumber	attno;
	int			nrules;
	SourceRule **rules;
} OwnedColumn;

typedef struct OwnedRel
{
	Oid			relid;			/* hash key */
	int			ncolumns;
	OwnedColumn *columns;
} OwnedRel;

/* A system whose changes come by certain logins only. */
typedef struct BoundSource
{
	int64		org_id;
	const char *source;
	bool		is_active;		/* else nothing comes from it, by whomever */
	bool		is_ours;		/* of the session's login */
} BoundSource;

struct SourceRules
{
	HTAB	   *relations;		/* OwnedRel */
	char		login[NAMEDATALEN];	/* whom is_ours was asked for */
	int			nbound;
	BoundSource *bound;
};

typedef struct SourceRules SourceRules;

static bool setting_override = false;
static Oid	override_by = InvalidOid;	/* who set it */

/* Who sets a value goes with it: it comes back with the value when a SET clause ends. */
static bool
note_who_overrides(bool *newval, void **extra, GucSource source)
{
	Oid		   *by = compat_guc_malloc(sizeof(Oid));
	int			sec_context;

	if (by == NULL)
		return false;
	GetUserIdAndSecContext(by, &sec_context);
	*extra = by;
	return true;
}

static void
take_who_overrides(bool newval, void *extra)
{
	override_by = *(Oid *) extra;
}

/* Only our own functions mean it: see is_override().  In a session it says nothing. */
void
source_of_record_init(void)
{
	DefineCustomBoolVariable("referral.source_override",
							 "Set by our own functions that change what other systems keep.",
							 "Without effect anywhere else.", &setting_override, false,
							 PGC_USERSET, GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE,
							 note_who_overrides, take_who_overrides, NULL);
}

/* ---------- The rules of a table ---------- */

/* Columns that the engine keeps: no system owns them. */
static bool
is_engine_column(TrackedRel *rel, AttrNumber attno)
{
	AttrNumber	kept[] = {rel->id, rel->org_id, rel->workflow_id, rel->step, rel->status_reason,
	rel->entered_at, rel->version, rel->transition_id};

	for (int i = 0; i < lengthof(kept); i++)
		if (kept[i] == attno)
			return true;
	return false;
}

static bool
rule_names(SourceRule *rule, TrackedRel *rel, Form_pg_attribute att)
{
	if (rule->attribute != NULL)
		return strcmp(rule->attribute, NameStr(att->attname)) == 0;
	/* a step is not a value: it has to be named */
	return att->attnum != rel->state;
}

static void
find_owned_columns(MemoryContext context, TrackedRel *rel, OwnedRel *owned,
				   SourceRule *rules, int nrules)
{
	owned->columns = MemoryContextAllocZero(context, sizeof(OwnedColumn) * rel->desc->natts);
	for (int i = 0; i < rel->desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(rel->desc, i);
		OwnedColumn *column = &owned->columns[owned->ncolumns];

		if (att->attisdropped || att->attgenerated || is_engine_column(rel, att->attnum))
			continue;
		column->attno = att->attnum;
		column->nrules = 0;
		column->rules = MemoryContextAlloc(context, sizeof(SourceRule *) * nrules);
		for (int r = 0; r < nrules; r++)
			if (rule_names(&rules[r], rel, att))
				column->rules[column->nrules++] = &rules[r];
		if (column->nrules > 0)
			owned->ncolumns++;
	}
}

/*
 * Those of one's own organisation count before those of all, those of a column
 * before those of the rest.
 */
static void
load_rules(RuleCache *cache, TrackedRel *rel, OwnedRel *owned)
{
	OwnerScope	scope;
	SourceRule *rules;
	int			nrules;

	security_begin_read(&scope, cache->owner);
	security_read("SELECT s.attribute, s.owner_system, s.policy = 'quarantine', s.scope_org_id,"
				  "  s.rule_version_id"
				  " FROM referral.source_of_record s"
				  " JOIN referral.rule_version v USING (rule_version_id)"
				  " WHERE s.entity = $1 AND v.status = 'active'"
				  " ORDER BY s.scope_org_id IS NULL, s.attribute IS NULL, s.rule_version_id",
				  TEXTOID, CStringGetTextDatum(rel->entity));
	nrules = (int) SPI_processed;
	if (nrules > 0)
	{
		rules = MemoryContextAlloc(cache->context, sizeof(SourceRule) * nrules);
		for (int i = 0; i < nrules; i++)
		{
			rules[i].attribute = rule_read_string(cache, i, 1);
			rules[i].owner = rule_read_string(cache, i, 2);
			rules[i].quarantine = rule_read_bool(i, 3);
			rules[i].scope_org_id = rule_read_int64(i, 4);
			rules[i].rule_version_id = rule_read_int64(i, 5);
		}
		find_owned_columns(cache->context, rel, owned, rules, nrules);
	}
	security_end_read(&scope);
}

static SourceRules *
source_rules(RuleCache *cache)
{
	if (cache->sources == NULL)
	{
		SourceRules *rules = MemoryContextAllocZero(cache->context, sizeof(SourceRules));

		rules->relations = rule_cache_table(cache, "referral owned relations", sizeof(Oid),
											sizeof(OwnedRel), HASH_BLOBS);
		cache->sources = rules;
	}
	return cache->sources;
}

static OwnedRel *
owned_relation(RuleCache *cache, TrackedRel *rel)
{
	SourceRules *rules = source_rules(cache);
	OwnedRel	owned = {.relid = rel->relid};
	OwnedRel   *entry = hash_search(rules->relations, &rel->relid, HASH_FIND, NULL);

	if (entry != NULL)
		return entry;
	if (OidIsValid(get_relname_relid("source_of_record", cache->namespace_id)))
		load_rules(cache, rel, &owned);
	entry = hash_search(rules->relations, &rel->relid, HASH_ENTER, NULL);
	*entry = owned;
	return entry;
}

/* The rule that counts for a column in an organisation; NULL when there is none. */
static SourceRule *
rule_in_org(OwnedColumn *column, int64 org_id)
{
	for (int i = 0; i < column->nrules; i++)
		if (column->rules[i]->scope_org_id == 0 || column->rules[i]->scope_org_id == org_id)
			return column->rules[i];
	return NULL;
}

/* ---------- Who writes ---------- */

static void
load_bound_sources(RuleCache *cache, SourceRules *rules, const char *login)
{
	OwnerScope	scope;

	rules->nbound = 0;
	if (OidIsValid(get_relname_relid("source_system", cache->namespace_id)))
	{
		security_begin_read(&scope, cache->owner);
		security_read("SELECT s.org_id, s.source, s.active, coalesce($1 = ANY (s.logins), false)"
					  " FROM referral.source_system s"
					  " WHERE s.logins IS NOT NULL OR NOT s.active",
					  TEXTOID, CStringGetTextDatum(login));
		rules->bound = MemoryContextAlloc(cache->context,
										  sizeof(BoundSource) * Max(SPI_processed, 1));
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			rules->bound[i].org_id = rule_read_int64(i, 1);
			rules->bound[i].source = rule_read_string(cache, i, 2);
			rules->bound[i].is_active = rule_read_bool(i, 3);
			rules->bound[i].is_ours = rule_read_bool(i, 4);
		}
		rules->nbound = (int) SPI_processed;
		security_end_read(&scope);
	}
	strlcpy(rules->login, login, NAMEDATALEN);
}

/*
 * Does the session write for the system?  The origin is a setting that anybody
 * may set, so a system with logins of its own is believed to those only, and
 * such a login is never taken for a person here: without an origin it writes
 * for its own systems.  Nobody writes for a system that is not active.
 */
static bool
writes_for(RuleCache *cache, int64 org_id, const char *system)
{
	SourceRules *rules = source_rules(cache);
	const char *origin = security_origin();
	const char *login = security_login_name();
	bool		is_bound_login = false;

	if (strcmp(rules->login, login) != 0)
		load_bound_sources(cache, rules, login);
	if (origin != NULL && strcmp(origin, LOCAL_SYSTEM) == 0)
		origin = NULL;
	if (origin != NULL && strcmp(origin, system) != 0)
		return false;
	for (int i = 0; i < rules->nbound; i++)
	{
		BoundSource *bound = &rules->bound[i];

		if (bound->org_id != org_id)
			continue;
		if (strcmp(bound->source, system) == 0)
			return bound->is_active && bound->is_ours;
		is_bound_login = is_bound_login || bound->is_ours;
	}
	return origin != NULL || (!is_bound_login && strcmp(system, LOCAL_SYSTEM) == 0);
}

static const char *
origin_or_local(void)
{
	return security_origin() == NULL ? LOCAL_SYSTEM : security_origin();
}

/*
 * A function that runs with the rights of the owner of the model says so in its
 * SET clause.  What others have set, in a session or in functions of theirs,
 * is not believed.
 */
static bool
is_override(RuleCache *cache, Relation relation)
{
	return setting_override && InLocalUserIdChange() &&
		has_privs_of_role(override_by, cache->owner) &&
		has_privs_of_role(GetUserId(), relation->rd_rel->relowner);
}

/* ---------- What becomes of it ---------- */

static void
refuse(TriggerData *trigdata, TrackedRel *rel, int64 id, const char *column, SourceRule *rule)
{
	ereport(ERROR,
			(errcode(ERRCODE_RF_SOURCE),
			 errmsg("%s of %s " INT64_FORMAT " is kept by another system", column, rel->entity, id),
			 strcmp(origin_or_local(), rule->owner) == 0
			 ? errdetail("Attribute %s.%s belongs to \"%s\", whose changes come by other logins"
							 " (source_system.logins).",
							 rel->entity, column, rule->owner)
			 : errdetail("Attribute %s.%s belongs to \"%s\"; the change comes from \"%s\".",
						 rel->entity, column, rule->owner, origin_or_local()),
			 errhint("Have it changed in \"%s\", or leave the attribute out.", rule->owner),
			 errtablecolname(trigdata->tg_relation, column)));
}

static void
note_rejected(RuleCache *cache, TriggerData *trigdata, TrackedRel *rel, int64 org_id, int64 id,
			  const char *column, SourceRule *rule)
{
	TupleDesc	desc = RelationGetDescr(trigdata->tg_relation);
	Oid			argtypes[] = {INT8OID, TEXTOID, INT8OID, TEXTOID, desc->tdtypeid,
		TEXTOID, TEXTOID, INT8OID};
	Datum		args[] = {Int64GetDatum(org_id), CStringGetTextDatum(rel->entity),
		Int64GetDatum(id), CStringGetTextDatum(column),
		heap_copy_tuple_as_datum(trigdata->tg_newtuple, desc),
		CStringGetTextDatum(origin_or_local()), CStringGetTextDatum(rule->owner),
	Int64GetDatum(rule->rule_version_id)};
	OwnerScope	scope;

	security_begin_read(&scope, cache->owner);
	if (SPI_execute_with_args("SELECT referral.note_rejected_write($1, $2, $3, $4,"
							  "  pg_catalog.to_jsonb($5) -> $4, $6, $7, $8)",
							  lengthof(args), argtypes, args, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not note a rejected write");
	security_end_read(&scope);
	/* a person would take the row for changed; of a message it is a finding */
	if (strcmp(origin_or_local(), LOCAL_SYSTEM) == 0)
		ereport(NOTICE,
				(errmsg("%s of %s " INT64_FORMAT " is kept by another system: it was not changed",
						column, rel->entity, id),
				 errdetail("The change waits in referral.rejected_write for a person to decide."),
				 errhint("Have it changed in \"%s\".", rule->owner)));
}

/* A row whose step is owned may not change it, by whichever of its two columns. */
static bool
is_changed(TrackedRel *rel, AttrNumber attno, TupleTableSlot *oldslot, TupleTableSlot *newslot)
{
	return entity_column_changed(rel, attno - 1, oldslot, newslot) ||
		(attno == rel->state && entity_column_changed(rel, rel->step - 1, oldslot, newslot));
}

static HeapTuple
keep_owned(TriggerData *trigdata, RuleCache *cache, TrackedRel *rel, OwnedRel *owned)
{
	TupleTableSlot *oldslot = trigdata->tg_trigslot;
	TupleTableSlot *newslot = trigdata->tg_newslot;
	int		   *attnos = palloc(sizeof(int) * owned->ncolumns);
	Datum	   *values = palloc(sizeof(Datum) * owned->ncolumns);
	bool	   *nulls = palloc(sizeof(bool) * owned->ncolumns);
	int			nkept = 0;
	int64		org_id;
	int64		id;

	slot_getallattrs(oldslot);
	slot_getallattrs(newslot);
	org_id = rel->org_id == 0 ? 0 : DatumGetInt64(oldslot->tts_values[rel->org_id - 1]);
	id = entity_get_int64(rel, rel->id, oldslot->tts_values[rel->id - 1]);
	for (int i = 0; i < owned->ncolumns; i++)
	{
		AttrNumber	attno = owned->columns[i].attno;
		const char *name = NameStr(TupleDescAttr(rel->desc, attno - 1)->attname);
		SourceRule *rule;

		if (!is_changed(rel, attno, oldslot, newslot))
			continue;
		rule = rule_in_org(&owned->columns[i], org_id);
		if (rule == NULL || writes_for(cache, org_id, rule->owner))
			continue;
		if (!rule->quarantine || attno == rel->state || rel->org_id == 0)
			refuse(trigdata, rel, id, name, rule);
		note_rejected(cache, trigdata, rel, org_id, id, name, rule);
		attnos[nkept] = attno;
		values[nkept] = oldslot->tts_values[attno - 1];
		nulls[nkept++] = oldslot->tts_isnull[attno - 1];
	}
	if (nkept == 0)
		return trigdata->tg_newtuple;
	return heap_modify_tuple_by_cols(trigdata->tg_newtuple, RelationGetDescr(trigdata->tg_relation),
									 nkept, attnos, values, nulls);
}

/* ---------- SQL ---------- */

PG_FUNCTION_INFO_V1(source_guard);
PG_FUNCTION_INFO_V1(foreign_attributes);

/* source_guard(entity, id_column): BEFORE UPDATE row trigger.  RF009. */
Datum
source_guard(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	RuleCache  *cache;
	TrackedRel *rel;
	OwnedRel   *owned;
	HeapTuple	result = NULL;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(trigdata->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigdata->tg_event) || !TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("source_guard must be called as a BEFORE UPDATE row trigger")));
	rel = entity_of_trigger(trigdata, &cache, fcinfo->flinfo);
	cache->pins++;
	PG_TRY();
	{
		owned = owned_relation(cache, rel);
		result = trigdata->tg_newtuple;
		if (owned->ncolumns > 0 && !is_override(cache, trigdata->tg_relation))
			result = keep_owned(trigdata, cache, rel, owned);
	}
	PG_FINALLY();
	{
		cache->pins--;
	}
	PG_END_TRY();
	return PointerGetDatum(result);
}

static void
put_foreign_attributes(ReturnSetInfo *rsinfo, RuleCache *cache, int64 org_id, const char *entity)
{
	EntityRules *entity_rules = workflow_entity_rules(cache, entity);
	Relation	table;
	TrackedRel *rel;
	OwnedRel   *owned;

	if (!OidIsValid(entity_rules->relid))
		return;
	table = table_open(entity_rules->relid, AccessShareLock);
	rel = entity_tracked(cache, table, entity, entity_rules->id_column);
	owned = owned_relation(cache, rel);
	for (int i = 0; i < owned->ncolumns; i++)
	{
		SourceRule *rule = rule_in_org(&owned->columns[i], org_id);
		AttrNumber	attno = owned->columns[i].attno;
		Datum		values[3];
		bool		nulls[3] = {false};

		if (rule == NULL || writes_for(cache, org_id, rule->owner))
			continue;
		values[0] = CStringGetTextDatum(NameStr(TupleDescAttr(rel->desc, attno - 1)->attname));
		values[1] = CStringGetTextDatum(rule->owner);
		values[2] = CStringGetTextDatum(rule->quarantine ? "quarantine" : "refuse");
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	table_close(table, AccessShareLock);
}

/* foreign_attributes(org_id bigint, entity text) returns setof (attribute, owner_system, policy) */
Datum
foreign_attributes(PG_FUNCTION_ARGS)
{
	int64		org_id = PG_GETARG_INT64(0);
	char	   *entity = text_to_cstring(PG_GETARG_TEXT_PP(1));
	RuleCache  *cache = rule_cache(true);

	InitMaterializedSRF(fcinfo, 0);
	cache->pins++;
	PG_TRY();
	{
		put_foreign_attributes((ReturnSetInfo *) fcinfo->resultinfo, cache, org_id, entity);
	}
	PG_FINALLY();
	{
		cache->pins--;
	}
	PG_END_TRY();
	return (Datum) 0;
}
