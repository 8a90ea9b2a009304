/*-------------------------------------------------------------------------
 *
 * approval_policy.c
 *		The policies of referral.approval_policy, kept compiled.
 *
 * IDENTIFICATION
 *		src/approval_policy.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "approval.h"
#include "compat.h"
#include "security.h"
#include "workflow_move.h"

/* What the policies of an entity watch, as columns of a table of it. */
typedef struct WatchedColumns
{
	Oid			relid;
	const char *entity;
	Bitmapset  *columns;
	struct WatchedColumns *next;
} WatchedColumns;

struct ApprovalRules
{
	ApprovalGate *gates;
	WatchedColumns *watched;
};

static ApprovalPolicy *
read_policy(RuleCache *cache, uint64 row)
{
	ApprovalPolicy *policy = MemoryContextAllocZero(cache->context, sizeof(ApprovalPolicy));
	MemoryContext caller = MemoryContextSwitchTo(cache->context);
	bool		isnull;

	policy->approval_policy_id = rule_read_int64(row, 1);
	policy->scope_org_id = DatumGetInt64(rule_read_datum(row, 5, &isnull));
	policy->has_org = !isnull;
	policy->approver_role = rule_read_string(cache, row, 6);
	policy->quorum = DatumGetInt32(rule_read_datum(row, 7, &isnull));
	policy->transitions = rule_read_texts(row, 8);
	policy->watched = rule_read_texts(row, 9);
	MemoryContextSwitchTo(caller);
	policy->applies_when = rule_read_predicate(cache, row, 10, rule_read_string(cache, row, 11));
	return policy;
}

/* Rows arrive in the order in which they are asked: one gate after the other. */
static ApprovalGate *
read_gates(RuleCache *cache)
{
	ApprovalGate *first = NULL;
	ApprovalGate *gate = NULL;
	ApprovalPolicy **end = NULL;

	for (uint64 row = 0; row < SPI_processed; row++)
	{
		char	   *entity = rule_read_string(cache, row, 2);
		char	   *name = rule_read_string(cache, row, 3);
		bool		isnull;
		int			level = DatumGetInt32(rule_read_datum(row, 4, &isnull));

		if (gate == NULL || strcmp(gate->entity, entity) != 0 || strcmp(gate->policy, name) != 0 ||
			gate->level != level)
		{
			ApprovalGate *next = MemoryContextAllocZero(cache->context, sizeof(ApprovalGate));

			next->entity = entity;
			next->policy = name;
			next->level = level;
			if (gate == NULL)
				first = next;
			else
				gate->next = next;
			gate = next;
			end = &gate->variants;
		}
		*end = read_policy(cache, row);
		end = &(*end)->next;
	}
	return first;
}

/* All gates of active versions, by entity, policy and level. */
ApprovalGate *
approval_gates(RuleCache *cache)
{
	struct ApprovalRules *rules;
	OwnerScope	scope;

	if (cache->approvals != NULL)
		return cache->approvals->gates;
	rules = MemoryContextAllocZero(cache->context, sizeof(struct ApprovalRules));
	if (OidIsValid(get_relname_relid("approval_policy", cache->namespace_id)))
	{
		security_begin_read(&scope, cache->owner);
		security_read("SELECT p.approval_policy_id, p.entity, p.name, p.level, p.scope_org_id,"
					  " p.approver_role::text, p.quorum, p.transitions, p.watched, p.applies_when,"
					  " format('approval policy %s (%s)', p.approval_policy_id, p.name)"
					  " FROM referral.approval_policy p JOIN referral.rule_version v USING (rule_version_id)"
					  " WHERE v.status = 'active' AND $1"
					  " ORDER BY p.entity COLLATE \"C\", p.name COLLATE \"C\", p.level,"
					  " p.scope_org_id IS NULL, p.priority, p.approval_policy_id",
					  BOOLOID, BoolGetDatum(true));
		rules->gates = read_gates(cache);
		security_end_read(&scope);
	}
	cache->approvals = rules;
	return rules->gates;
}

static Bitmapset *
find_watched(RuleCache *cache, TrackedRel *rel)
{
	Bitmapset  *columns = NULL;

	for (ApprovalGate *gate = approval_gates(cache); gate != NULL; gate = gate->next)
	{
		if (strcmp(gate->entity, rel->entity) != 0)
			continue;
		for (ApprovalPolicy *policy = gate->variants; policy != NULL; policy = policy->next)
		{
			ListCell   *lc;

			foreach(lc, policy->watched)
			{
				int			attno = SPI_fnumber(rel->desc, lfirst(lc));

				if (attno > 0)
					columns = bms_add_member(columns, attno);
			}
		}
	}
	return columns;
}

/* All columns that policies of the row's entity watch; found out once. */
Bitmapset *
approval_watched(RuleCache *cache, TrackedRel *rel)
{
	WatchedColumns *watched;
	MemoryContext caller;

	(void) approval_gates(cache);
	for (watched = cache->approvals->watched; watched != NULL; watched = watched->next)
		if (watched->relid == rel->relid && strcmp(watched->entity, rel->entity) == 0)
			return watched->columns;
	caller = MemoryContextSwitchTo(cache->context);
	watched = palloc(sizeof(WatchedColumns));
	watched->relid = rel->relid;
	watched->entity = rel->entity;
	watched->columns = find_watched(cache, rel);
	watched->next = cache->approvals->watched;
	cache->approvals->watched = watched;
	MemoryContextSwitchTo(caller);
	return watched->columns;
}

bool
approval_names(ApprovalPolicy *policy, const char *transition)
{
	ListCell   *lc;

	foreach(lc, policy->transitions)
		if (strcmp(lfirst(lc), transition) == 0)
			return true;
	return false;
}

/* Does a transition that waits for the policy leave from the step? */
bool
approval_waits_at(ApprovalPolicy *policy, Workflow *workflow, WorkflowStep *step)
{
	for (WorkflowTransition *t = workflow->by_from[step->number]; t != NULL; t = t->next_same_from)
		if (approval_names(policy, t->transition))
			return true;
	return false;
}

static ApprovalPolicy *
find_policy(RuleCache *cache, int64 approval_policy_id)
{
	for (ApprovalGate *gate = approval_gates(cache); gate != NULL; gate = gate->next)
		for (ApprovalPolicy *policy = gate->variants; policy != NULL; policy = policy->next)
			if (policy->approval_policy_id == approval_policy_id)
				return policy;
	return NULL;
}

/* Does one of these policies hold up a transition from where the row in the slot is? */
bool
approval_waits(RuleCache *cache, TrackedRel *rel, TupleTableSlot *slot, int64 *ids, int n)
{
	Workflow   *workflow;
	WorkflowStep *step;

	if (n == 0 || row_isnull(slot, rel->workflow_id) || row_isnull(slot, rel->step))
		return false;
	workflow = workflow_get(cache, row_int64(slot, rel->workflow_id));
	step = workflow_step(workflow, DatumGetTextPP(row_value(slot, rel->step)));
	for (int i = 0; i < n && step != NULL; i++)
	{
		ApprovalPolicy *policy = find_policy(cache, ids[i]);

		if (policy != NULL && approval_waits_at(policy, workflow, step))
			return true;
	}
	return false;
}

static bool
gate_names(ApprovalGate *gate, const char *transition)
{
	for (ApprovalPolicy *policy = gate->variants; policy != NULL; policy = policy->next)
		if (approval_names(policy, transition))
			return true;
	return false;
}

/* The gates that a transition may have to wait at; found out once. */
List *
approval_gates_of(RuleCache *cache, const char *entity, WorkflowTransition *transition)
{
	ApprovalGate *gate;
	MemoryContext caller;

	if (transition->gates_known)
		return transition->gates;
	gate = approval_gates(cache);
	caller = MemoryContextSwitchTo(cache->context);
	for (; gate != NULL; gate = gate->next)
		if (strcmp(gate->entity, entity) == 0 && gate_names(gate, transition->transition))
			transition->gates = lappend(transition->gates, gate);
	MemoryContextSwitchTo(caller);
	transition->gates_known = true;
	return transition->gates;
}
