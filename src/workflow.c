/*-------------------------------------------------------------------------
 *
 * workflow.c
 *		Loading workflows from the rule tables, and finding things in them.
 *
 * A workflow row belongs to one rule version and never changes once that
 * version is active, so rows in flight keep the workflow they were pinned to.
 * The tables are read with their owner's rights and the newest snapshot.
 *
 * IDENTIFICATION
 *		src/workflow.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "compat.h"
#include "errors.h"
#include "rule.h"
#include "security.h"
#include "workflow.h"

typedef struct PairKey
{
	int32		from;
	int32		to;
} PairKey;

typedef struct PairEntry
{
	PairKey		key;
	WorkflowTransition *first;
} PairEntry;

typedef struct TransitionEntry
{
	int64		transition_id;
	WorkflowTransition *transition;
} TransitionEntry;

/* ---------- Loading one workflow ---------- */

static void
load_steps(RuleCache *cache, Workflow *workflow)
{
	security_read("SELECT step, state, state::text, is_initial, is_entry"
				  " FROM referral.workflow_step WHERE workflow_id = $1"
				  " ORDER BY sort, step",
				  INT8OID, Int64GetDatum(workflow->workflow_id));

	workflow->nsteps = (int) SPI_processed;
	workflow->steps = rule_cache_table(cache, "referral steps", NAMEDATALEN,
								 sizeof(WorkflowStep), HASH_STRINGS);
	workflow->by_number = MemoryContextAllocZero(cache->context,
												 sizeof(WorkflowStep *) * Max(workflow->nsteps, 1));
	workflow->by_from = MemoryContextAllocZero(cache->context,
											   sizeof(WorkflowTransition *) * Max(workflow->nsteps, 1));
	for (int i = 0; i < workflow->nsteps; i++)
	{
		char	   *name = rule_read_string(cache, i, 1);
		WorkflowStep *step = hash_search(workflow->steps, name, HASH_ENTER, NULL);
		bool		isnull;
		MemoryContext caller;

		step->number = i;
		step->state = DatumGetObjectId(rule_read_datum(i, 2, &isnull));
		step->state_name = rule_read_string(cache, i, 3);
		step->is_initial = rule_read_bool(i, 4);
		step->is_entry = rule_read_bool(i, 5);
		caller = MemoryContextSwitchTo(cache->context);
		step->step_text = cstring_to_text(name);
		MemoryContextSwitchTo(caller);
		workflow->by_number[i] = step;
	}
}

/* Append to both lists; rows arrive in priority order. */
static void
add_transition(Workflow *workflow, WorkflowTransition *transition)
{
	PairKey		key = {transition->from->number, transition->to->number};
	PairEntry  *pair;
	TransitionEntry *entry;
	WorkflowTransition **tail;
	bool		found;

	pair = hash_search(workflow->pairs, &key, HASH_ENTER, &found);
	if (!found)
		pair->first = NULL;
	for (tail = &pair->first; *tail != NULL; tail = &(*tail)->next_same_pair);
	*tail = transition;
	for (tail = &workflow->by_from[transition->from->number]; *tail != NULL;
		 tail = &(*tail)->next_same_from);
	*tail = transition;
	entry = hash_search(workflow->transitions, &transition->transition_id, HASH_ENTER, NULL);
	entry->transition = transition;
}

static void
load_transitions(RuleCache *cache, Workflow *workflow)
{
	security_read("SELECT transition_id, transition, from_step, to_step, required_role::text,"
				  " human_only, reason_required, comment_required, reason_domain"
				  " FROM referral.workflow_transition WHERE workflow_id = $1"
				  " ORDER BY priority, transition_id",
				  INT8OID, Int64GetDatum(workflow->workflow_id));

	workflow->pairs = rule_cache_table(cache, "referral pairs", sizeof(PairKey),
								 sizeof(PairEntry), HASH_BLOBS);
	workflow->transitions = rule_cache_table(cache, "referral transitions", sizeof(int64),
									   sizeof(TransitionEntry), HASH_BLOBS);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		WorkflowTransition *transition;

		transition = MemoryContextAllocZero(cache->context, sizeof(WorkflowTransition));
		transition->transition_id = rule_read_int64(i, 1);
		transition->transition = rule_read_string(cache, i, 2);
		transition->from = hash_search(workflow->steps, rule_read_string(cache, i, 3), HASH_FIND, NULL);
		transition->to = hash_search(workflow->steps, rule_read_string(cache, i, 4), HASH_FIND, NULL);
		transition->required_role = rule_read_string(cache, i, 5);
		transition->human_only = rule_read_bool(i, 6);
		transition->reason_required = rule_read_bool(i, 7);
		transition->comment_required = rule_read_bool(i, 8);
		transition->reason_domain = rule_read_string(cache, i, 9);
		if (transition->from == NULL || transition->to == NULL)
			elog(ERROR, "transition " INT64_FORMAT " lacks its steps", transition->transition_id);
		add_transition(workflow, transition);
	}
}

static void
load_guards(RuleCache *cache, Workflow *workflow)
{
	security_read("SELECT g.guard_id, g.transition_id, g.predicate, g.message, g.unblock, g.error_code,"
				  " format('guard %s of transition %I of workflow %I', g.guard_id, t.transition, w.name)"
				  " FROM referral.workflow_guard g"
				  " JOIN referral.workflow_transition t USING (transition_id)"
				  " JOIN referral.workflow w ON w.workflow_id = t.workflow_id"
				  " WHERE t.workflow_id = $1 ORDER BY g.sort, g.guard_id",
				  INT8OID, Int64GetDatum(workflow->workflow_id));

	for (uint64 i = 0; i < SPI_processed; i++)
	{
		WorkflowTransition *transition = workflow_transition(workflow, rule_read_int64(i, 2));
		WorkflowGuard *guard = MemoryContextAllocZero(cache->context, sizeof(WorkflowGuard));
		WorkflowGuard **tail;
		char	   *code = rule_read_string(cache, i, 6);

		guard->guard_id = rule_read_int64(i, 1);
		guard->predicate.context = cache->context;
		guard->predicate.source = rule_read_string(cache, i, 3);
		guard->predicate.label = rule_read_string(cache, i, 7);
		guard->message = rule_read_string(cache, i, 4);
		guard->unblock = rule_read_string(cache, i, 5);
		guard->sqlstate = MAKE_SQLSTATE(code[0], code[1], code[2], code[3], code[4]);
		for (tail = &transition->guards; *tail != NULL; tail = &(*tail)->next);
		*tail = guard;
	}
}

/*
 * The workflow a row is pinned to.  RF012 when it is gone or has no steps: a
 * guard that finds no rules refuses.
 */
Workflow *
workflow_get(RuleCache *cache, int64 workflow_id)
{
	WorkflowEntry *entry;
	Workflow   *workflow;
	OwnerScope	scope;

	entry = hash_search(cache->workflows, &workflow_id, HASH_FIND, NULL);
	if (entry != NULL)
		return entry->workflow;

	security_begin_read(&scope, cache->owner);
	security_read("SELECT w.name, w.entity, w.rule_version_id, v.status IN ('active', 'retired')"
				  " FROM referral.workflow w JOIN referral.rule_version v USING (rule_version_id)"
				  " WHERE w.workflow_id = $1",
				  INT8OID, Int64GetDatum(workflow_id));
	workflow = MemoryContextAllocZero(cache->context, sizeof(Workflow));
	workflow->workflow_id = workflow_id;
	if (SPI_processed > 0)
	{
		workflow->name = rule_read_string(cache, 0, 1);
		workflow->entity = rule_read_string(cache, 0, 2);
		workflow->rule_version_id = rule_read_int64(0, 3);
		workflow->was_active = rule_read_bool(0, 4);
		load_steps(cache, workflow);
		load_transitions(cache, workflow);
		load_guards(cache, workflow);
	}
	security_end_read(&scope);

	if (workflow->nsteps == 0)
		ereport(ERROR,
				(errcode(ERRCODE_RF_NOT_DEPLOYED),
				 errmsg("workflow " INT64_FORMAT " has no rules", workflow_id),
				 errdetail("referral.workflow or referral.workflow_step has no row for it."),
				 errhint("Restore the rule tables, or run SELECT * FROM referral.deploy().")));

	entry = hash_search(cache->workflows, &workflow_id, HASH_ENTER, NULL);
	entry->workflow = workflow;
	return workflow;
}

/* ---------- Workflows for new rows ---------- */

static void
load_candidate(RuleCache *cache, uint64 row, WorkflowCandidate ***tail)
{
	WorkflowCandidate *candidate = MemoryContextAllocZero(cache->context,
														  sizeof(WorkflowCandidate));
	bool		isnull;

	candidate->workflow_id = rule_read_int64(row, 1);
	candidate->org_id = DatumGetInt64(rule_read_datum(row, 2, &isnull));
	candidate->has_org = !isnull;
	candidate->region = rule_read_string(cache, row, 3);
	candidate->has_region = candidate->region != NULL;
	candidate->site_id = DatumGetInt64(rule_read_datum(row, 4, &isnull));
	candidate->has_site = !isnull;
	candidate->specialty = rule_read_string(cache, row, 5);
	candidate->has_specialty = candidate->specialty != NULL;
	candidate->applies_when = rule_read_predicate(cache, row, 6,
												  rule_read_string(cache, row, 7));
	**tail = candidate;
	*tail = &candidate->next;
}

/*
 * What there is for an entity: its table, and the workflows for new rows.  An
 * entity that nobody registered has neither.
 */
EntityRules *
workflow_entity_rules(RuleCache *cache, const char *entity)
{
	EntityRules *rules;
	Oid			relid = InvalidOid;
	char	   *id_column = NULL;
	WorkflowCandidate *first = NULL;
	WorkflowCandidate **tail = &first;
	OwnerScope	scope;

	if (strlen(entity) >= NAMEDATALEN)
		return palloc0(sizeof(EntityRules));
	rules = hash_search(cache->entities, entity, HASH_FIND, NULL);
	if (rules != NULL)
		return rules;

	security_begin_read(&scope, cache->owner);
	security_read("SELECT w.workflow_id, w.scope_org_id, w.scope_region, w.scope_site_id,"
				  " lower(w.scope_specialty), w.applies_when,"
				  " format('applies_when of workflow %I', w.name)"
				  " FROM referral.workflow w JOIN referral.rule_version v USING (rule_version_id)"
				  " WHERE w.entity = $1 AND v.status = 'active'"
				  " ORDER BY (w.scope_specialty IS NOT NULL)::int * 8 + (w.scope_site_id IS NOT NULL)::int * 4"
				  "  + (w.scope_region IS NOT NULL)::int * 2 + (w.scope_org_id IS NOT NULL)::int DESC,"
				  "  w.priority, w.workflow_id",
				  TEXTOID, CStringGetTextDatum(entity));
	for (uint64 i = 0; i < SPI_processed; i++)
		load_candidate(cache, i, &tail);
	security_read("SELECT relation::oid, id_column::text FROM referral.entity WHERE entity = $1",
				  TEXTOID, CStringGetTextDatum(entity));
	if (SPI_processed > 0)
	{
		bool		isnull;

		relid = DatumGetObjectId(rule_read_datum(0, 1, &isnull));
		id_column = rule_read_string(cache, 0, 2);
	}
	security_end_read(&scope);

	if (!OidIsValid(relid))
		return palloc0(sizeof(EntityRules));	/* names of nothing are not kept */
	rules = hash_search(cache->entities, entity, HASH_ENTER, NULL);
	rules->relid = relid;
	rules->id_column = id_column;
	rules->candidates = first;
	return rules;
}

/* ---------- Look-ups ---------- */

WorkflowStep *
workflow_step(Workflow *workflow, text *name)
{
	char		key[NAMEDATALEN];

	if (VARSIZE_ANY_EXHDR(name) >= NAMEDATALEN)
		return NULL;
	text_to_cstring_buffer(name, key, NAMEDATALEN);
	return hash_search(workflow->steps, key, HASH_FIND, NULL);
}

/* The step one comes to by naming only the state. */
WorkflowStep *
workflow_entry_step(Workflow *workflow, Oid state)
{
	for (int i = 0; i < workflow->nsteps; i++)
		if (workflow->by_number[i]->state == state && workflow->by_number[i]->is_entry)
			return workflow->by_number[i];
	return NULL;
}

WorkflowStep *
workflow_initial_step(Workflow *workflow)
{
	for (int i = 0; i < workflow->nsteps; i++)
		if (workflow->by_number[i]->is_initial)
			return workflow->by_number[i];
	return NULL;
}

WorkflowTransition *
workflow_first_transition(Workflow *workflow, WorkflowStep *from, WorkflowStep *to)
{
	PairKey		key = {from->number, to->number};
	PairEntry  *pair = hash_search(workflow->pairs, &key, HASH_FIND, NULL);

	return pair == NULL ? NULL : pair->first;
}

WorkflowTransition *
workflow_transition(Workflow *workflow, int64 transition_id)
{
	TransitionEntry *entry = hash_search(workflow->transitions, &transition_id,
										 HASH_FIND, NULL);

	return entry == NULL ? NULL : entry->transition;
}

/* ---------- Reason codes ---------- */

static void
load_reasons(RuleCache *cache)
{
	OwnerScope	scope;

	security_begin_read(&scope, cache->owner);
	security_read("SELECT r.domain, r.code, r.comment_required"
				  " FROM referral.reason_code r JOIN referral.rule_version v USING (rule_version_id)"
				  " WHERE v.status = 'active' AND r.active AND $1",
				  BOOLOID, BoolGetDatum(true));
	cache->reasons = rule_cache_table(cache, "referral reasons", sizeof(ReasonKey),
								sizeof(ReasonCode), HASH_BLOBS);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		ReasonKey	key = {{0}, {0}};
		ReasonCode *reason;

		strlcpy(key.domain, rule_read_string(cache, i, 1), NAMEDATALEN);
		strlcpy(key.code, rule_read_string(cache, i, 2), NAMEDATALEN);
		reason = hash_search(cache->reasons, &key, HASH_ENTER, NULL);
		reason->comment_required = rule_read_bool(i, 3);
	}
	security_end_read(&scope);
}

ReasonCode *
workflow_reason(RuleCache *cache, const char *domain, const char *code)
{
	ReasonKey	key = {{0}, {0}};

	if (cache->reasons == NULL)
		load_reasons(cache);
	if (strlen(code) >= NAMEDATALEN)
		return NULL;
	strlcpy(key.domain, domain, NAMEDATALEN);
	strlcpy(key.code, code, NAMEDATALEN);
	return hash_search(cache->reasons, &key, HASH_FIND, NULL);
}

static int
compare_strings(const ListCell *a, const ListCell *b)
{
	return strcmp(lfirst(a), lfirst(b));
}

/* "a, b, c": the codes on offer in a domain. */
char *
workflow_reason_codes(RuleCache *cache, const char *domain)
{
	HASH_SEQ_STATUS status;
	ReasonCode *reason;
	StringInfoData buf;
	List	   *codes = NIL;
	ListCell   *lc;

	if (cache->reasons == NULL)
		load_reasons(cache);
	hash_seq_init(&status, cache->reasons);
	while ((reason = hash_seq_search(&status)) != NULL)
		if (strcmp(reason->key.domain, domain) == 0)
			codes = lappend(codes, reason->key.code);
	list_sort(codes, compare_strings);
	initStringInfo(&buf);
	foreach(lc, codes)
		appendStringInfo(&buf, "%s%s", buf.len > 0 ? ", " : "", (char *) lfirst(lc));
	return buf.data;
}
