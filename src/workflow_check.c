/*-------------------------------------------------------------------------
 *
 * workflow_check.c
 *		What is in the way of a transition: role, person, reason, guards, open
 *		exceptions, outstanding approvals.
 *
 * IDENTIFICATION
 *		src/workflow_check.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "approval.h"
#include "compat.h"
#include "errors.h"
#include "exception.h"
#include "rule.h"
#include "security.h"
#include "workflow_move.h"

/* The workflow the row is pinned to, and where it stands in it; RF012 when nowhere. */
void
workflow_locate(Move *move)
{
	TrackedRel *rel = move->rel;

	if (row_isnull(move->oldslot, rel->workflow_id) || row_isnull(move->oldslot, rel->step))
		ereport(ERROR,
				(errcode(ERRCODE_RF_NOT_DEPLOYED),
				 errmsg("%s " INT64_FORMAT " is in no workflow yet", rel->entity, move->id),
				 errdetail("Its table was attached before a workflow for the entity was active."),
				 errhint("Activate a workflow for the entity, then call referral.attach() again.")));
	move->workflow = workflow_get(move->cache, row_int64(move->oldslot, rel->workflow_id));
	move->from = workflow_step(move->workflow, DatumGetTextPP(row_value(move->oldslot, rel->step)));
	if (move->from == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_RF_NOT_DEPLOYED),
				 errmsg("workflow \"%s\" does not know the step of %s " INT64_FORMAT,
						move->workflow->name, rel->entity, move->id),
				 errdetail("The row is at step \"%s\".",
						   TextDatumGetCString(row_value(move->oldslot, rel->step))),
				 errhint("Move the row with referral.migrate_workflow().")));
}

static bool
add_obstacle(List **obstacles, int sqlstate, const char *message, const char *rule,
		  const char *unblock)
{
	Obstacle	   *obstacle;

	if (obstacles == NULL)
		return false;
	obstacle = palloc(sizeof(Obstacle));
	obstacle->sqlstate = sqlstate;
	obstacle->message = message;
	obstacle->rule = rule;
	obstacle->unblock = unblock;
	*obstacles = lappend(*obstacles, obstacle);
	return false;
}

static bool
check_role(WorkflowTransition *transition, List **obstacles)
{
	bool		exists;

	if (transition->required_role == NULL ||
		security_has_role(transition->required_role, &exists))
		return true;
	return add_obstacle(obstacles, ERRCODE_RF_ROLE,
					 psprintf("it needs role %s", transition->required_role),
					 psprintf("required_role of transition " INT64_FORMAT, transition->transition_id),
					 exists
					 ? psprintf("Ask a member of %s to make the change.", transition->required_role)
					 : psprintf("Create role %s: it does not exist.", transition->required_role));
}

static bool
check_human(Move *move, WorkflowTransition *transition, List **obstacles)
{
	ActorKind	kind;

	if (!transition->human_only)
		return true;
	kind = security_actor_kind(move->org_id);
	if (kind == ACTOR_USER)
		return true;
	return add_obstacle(obstacles, ERRCODE_RF_ROLE,
					 psprintf("only a person may take it, the actor is of kind \"%s\"",
							  security_actor_kind_name(kind)),
					 psprintf("human_only of transition " INT64_FORMAT, transition->transition_id),
					 "Let a person make the change; an application names the person in referral.actor.");
}

static bool
check_reason(Move *move, WorkflowTransition *transition, List **obstacles)
{
	const char *comment = security_reason();
	const char *domain = transition->reason_domain;
	const char *code = move->reason_code;
	bool		comment_required = transition->comment_required;
	bool		open = true;
	char	   *rule;

	if (!transition->reason_required && !comment_required && (domain == NULL || code == NULL))
		return true;

	rule = obstacles == NULL ? NULL :
		psprintf("reason rules of transition " INT64_FORMAT, transition->transition_id);
	if (domain != NULL)
	{
		ReasonCode *reason = code == NULL ? NULL : workflow_reason(move->cache, domain, code);

		if (reason != NULL)
			comment_required |= reason->comment_required;
		else if (code != NULL || transition->reason_required)
			open = add_obstacle(obstacles, ERRCODE_RF_REASON,
							 code == NULL ? psprintf("a reason code of domain \"%s\" is required", domain)
							 : psprintf("the status_reason given is no active code of domain \"%s\"", domain),
							 rule,
							 psprintf("SET status_reason to one of: %s.",
									  workflow_reason_codes(move->cache, domain)));
	}
	else if (transition->reason_required && code == NULL && comment == NULL)
		open = add_obstacle(obstacles, ERRCODE_RF_REASON, "a reason is required", rule,
						 "SET status_reason in the UPDATE, or SET LOCAL referral.reason.");
	if (comment_required && comment == NULL)
		open = add_obstacle(obstacles, ERRCODE_RF_REASON, "a comment is required", rule,
						 "SET LOCAL referral.reason to a sentence that explains the change.");
	return open;
}

typedef struct GuardTry
{
	Move	   *move;
	WorkflowGuard *guard;
	bool		holds;
} GuardTry;

static void
try_guard(void *arg)
{
	GuardTry   *try = arg;

	try->holds = rule_holds(&try->guard->predicate, try->move->relation,
							try->move->newslot, try->move->oldslot);
}

/*
 * The guard's answer while we explain: one that raises an error must neither
 * count as plain "no" nor hide the rest of the explanation.  "error" gets its
 * SQLSTATE; its message may hold values of the row.
 */
static bool
guard_holds(Move *move, WorkflowGuard *guard, const char **error)
{
	GuardTry	try = {.move = move,.guard = guard};
	int			sqlstate;

	*error = rule_try(try_guard, &try, &sqlstate) ? NULL : pstrdup(unpack_sql_state(sqlstate));
	return try.holds;
}

static bool
check_guards(Move *move, WorkflowTransition *transition, List **obstacles)
{
	bool		open = true;

	for (WorkflowGuard *guard = transition->guards; guard != NULL; guard = guard->next)
	{
		const char *error = NULL;

		if (obstacles == NULL
			? rule_holds(&guard->predicate, move->relation, move->newslot, move->oldslot)
			: guard_holds(move, guard, &error))
			continue;
		open = false;
		if (obstacles == NULL)
			break;
		add_obstacle(obstacles, guard->sqlstate,
					 error == NULL ? guard->message
					 : psprintf("%s (its rule raises error %s)", guard->message, error),
				  psprintf("guard " INT64_FORMAT " (%s)", guard->guard_id, guard->predicate.source),
				  guard->unblock);
	}
	return open;
}

/* Read once for a row, however many transitions are asked about. */
static List *
blocking_exceptions(Move *move)
{
	if (!move->exceptions_read)
		move->exceptions = exceptions_blocking(move->cache, move->rel->entity,
											   move->org_id, move->id, move->serial);
	move->exceptions_read = true;
	return move->exceptions;
}

static bool
exception_blocks(Exception *exception, WorkflowTransition *transition)
{
	ListCell   *lc;

	foreach(lc, exception->blocks)
		if (strcmp(lfirst(lc), transition->transition) == 0)
			return true;
	return false;
}

static bool
check_exceptions(Move *move, WorkflowTransition *transition, List **obstacles)
{
	bool		open = true;
	ListCell   *lc;

	foreach(lc, blocking_exceptions(move))
	{
		Exception  *exception = lfirst(lc);

		if (!exception_blocks(exception, transition))
			continue;
		if (obstacles == NULL)
			return false;
		open = add_obstacle(obstacles, ERRCODE_RF_EXCEPTION,
							psprintf("an exception is open (%s: %s)", exception->category,
									 exception->code),
							psprintf("exception " INT64_FORMAT, exception->exception_id),
							psprintf("Settle it, then SELECT referral.close_exception(" INT64_FORMAT ", "
									 INT64_FORMAT ", 'how it was settled').",
									 move->org_id, exception->exception_id));
	}
	return open;
}

/* ---------- Approvals ---------- */

/* The row as it would be, at the step where it is: that is what policies are about. */
static ApprovalRow *
row_to_approve(Move *move)
{
	if (move->approvals == NULL)
	{
		move->approvals = palloc0(sizeof(ApprovalRow));
		move->approvals->cache = move->cache;
		move->approvals->rel = move->rel;
		move->approvals->relation = move->relation;
		move->approvals->slot = move->newslot;
		move->approvals->org_id = move->org_id;
		move->approvals->id = move->id;
	}
	row_set_step(move, move->from);
	return move->approvals;
}

static const char *
approval_message(ApprovalAnswer *answer)
{
	static const char *const words[] = {
		[APPROVAL_NOT_REQUESTED] = "has not been asked for yet",
		[APPROVAL_PENDING] = "is not given yet",
		[APPROVAL_APPROVED] = "is given",
		[APPROVAL_REJECTED] = "was refused",
		[APPROVAL_EXPIRED] = "has lapsed",
		[APPROVAL_WITHDRAWN] = "was withdrawn",
		[APPROVAL_OTHER_VALUES] = "is about other values than the row has",
		[APPROVAL_OTHER_RULE] = "is less than the policy asks for by now"
	};

	return psprintf("approval \"%s\" %s%s%s", answer->gate->policy,
					answer->gate->level == 1 ? "" : psprintf("(level %d) ", answer->gate->level),
					words[answer->status],
					answer->error == NULL ? "" :
					psprintf(" (its rule raises error %s)", answer->error));
}

static const char *
approval_unblock(Move *move, ApprovalAnswer *answer)
{
	if (answer->status == APPROVAL_PENDING)
		return psprintf("Have a member of %s who did not ask for it SELECT referral.approve("
						INT64_FORMAT ", " INT64_FORMAT ").", answer->policy->approver_role,
						move->org_id, answer->request->approval_request_id);
	if (answer->status == APPROVAL_OTHER_VALUES)
		return "Write the new values in an UPDATE of its own, which has the approval asked for anew; "
			"then have it approved.";
	if (answer->status == APPROVAL_NOT_REQUESTED && answer->gate->level > 1)
		return "It is asked for as soon as the level below it is given.";
	return psprintf("SELECT referral.request_approval(%s, " INT64_FORMAT ", " INT64_FORMAT
					", %s, 'why'), then have it approved.",
					quote_literal_cstr(move->rel->entity), move->org_id, move->id,
					quote_literal_cstr(answer->gate->policy));
}

static bool
check_gate(Move *move, WorkflowTransition *transition, ApprovalGate *gate, List **obstacles)
{
	ApprovalRow *row = row_to_approve(move);
	ApprovalAnswer answer;
	bool		needed = approval_needed(row, gate, obstacles != NULL, &answer) &&
		approval_names(answer.policy, transition->transition);

	if (needed)
		approval_look(row, &answer);
	row_set_step(move, transition->to);
	if (!needed || answer.status == APPROVAL_APPROVED)
		return true;
	if (obstacles == NULL)
		return false;
	return add_obstacle(obstacles, ERRCODE_RF_APPROVAL, approval_message(&answer),
						psprintf("approval policy " INT64_FORMAT, answer.policy->approval_policy_id),
						approval_unblock(move, &answer));
}

static bool
check_approvals(Move *move, WorkflowTransition *transition, List **obstacles)
{
	bool		open = true;
	ListCell   *lc;

	foreach(lc, approval_gates_of(move->cache, move->rel->entity, transition))
	{
		open &= check_gate(move, transition, lfirst(lc), obstacles);
		if (!open && obstacles == NULL)
			break;
	}
	return open;
}

/*
 * May the transition be taken now?  With "obstacles", everything in its way is
 * collected; without, the first obstacle ends the search.
 */
bool
workflow_is_open(Move *move, WorkflowTransition *transition, List **obstacles)
{
	bool		open;

	row_set_step(move, transition->to);
	open = check_role(transition, obstacles);
	if (open || obstacles != NULL)
		open &= check_human(move, transition, obstacles);
	if (open || obstacles != NULL)
		open &= check_reason(move, transition, obstacles);
	if (open || obstacles != NULL)
		open &= check_guards(move, transition, obstacles);
	if (open || obstacles != NULL)
		open &= check_exceptions(move, transition, obstacles);
	if (open || obstacles != NULL)
		open &= check_approvals(move, transition, obstacles);
	return open;
}

/* ---------- Refusals ---------- */

/*
 * "validated (validate); cancelled (cancel: blocked, a reason is required)":
 * what is open first.  A reason given for another move does not count here.
 */
static char *
describe_next_steps(Move *move)
{
	StringInfoData open,
				blocked;

	move->reason_code = NULL;
	initStringInfo(&open);
	initStringInfo(&blocked);
	for (WorkflowTransition *t = move->workflow->by_from[move->from->number];
		 t != NULL; t = t->next_same_from)
	{
		List	   *obstacles = NIL;
		ListCell   *lc;

		if (workflow_is_open(move, t, &obstacles))
		{
			appendStringInfo(&open, "%s%s (%s)", open.len > 0 ? "; " : "",
							 t->to->step, t->transition);
			continue;
		}
		appendStringInfo(&blocked, "; %s (%s: blocked", t->to->step, t->transition);
		foreach(lc, obstacles)
			appendStringInfo(&blocked, ", %s", ((Obstacle *) lfirst(lc))->message);
		appendStringInfoChar(&blocked, ')');
	}
	if (open.len + blocked.len == 0)
		return psprintf("Step \"%s\" is final: it has no next steps.", move->from->step);
	return psprintf("Legal next steps from \"%s\": %s%s.", move->from->step, open.data,
					open.len > 0 ? blocked.data : blocked.data + 2);
}

void
workflow_refuse_step(Move *move, const char *to, const char *named)
{
	char	   *next_steps = describe_next_steps(move); /* may catch errors, so not inside ereport */

	ereport(ERROR,
			(errcode(ERRCODE_RF_NO_TRANSITION),
			 named == NULL
			 ? errmsg("%s " INT64_FORMAT " cannot go from step \"%s\" to \"%s\"",
					  move->rel->entity, move->id, move->from->step, to)
			 : errmsg("%s " INT64_FORMAT " has no transition \"%s\" from step \"%s\" to \"%s\"",
					  move->rel->entity, move->id, named, move->from->step, to),
			 errdetail("%s", next_steps),
			 move->workflow->by_from[move->from->number] == NULL
			 ? errhint("Nothing can be done with it in this workflow.")
			 : errhint("Take one of the legal steps; SELECT * FROM referral.next_transitions('%s', "
					 INT64_FORMAT ", " INT64_FORMAT ") explains each.",
					 move->rel->entity, move->org_id, move->id)));
}

void
workflow_refuse_blocked(Move *move, WorkflowTransition *first, const char *named)
{
	List	   *all = NIL;
	ListCell   *lc;
	char	   *next_steps;
	StringInfoData detail,
				hint;

	for (WorkflowTransition *t = first; t != NULL; t = t->next_same_pair)
		if (named == NULL || strcmp(t->transition, named) == 0)
		{
			List	   *obstacles = NIL;

			(void) workflow_is_open(move, t, &obstacles);
			if (all == NIL)
				first = t;
			all = list_concat(all, obstacles);
		}
	if (all == NIL)
		elog(ERROR, "a refused transition has nothing in its way");

	next_steps = describe_next_steps(move);
	initStringInfo(&detail);
	initStringInfo(&hint);
	foreach(lc, all)
	{
		Obstacle	   *obstacle = lfirst(lc);

		appendStringInfo(&detail, "%s%s: %s.", detail.len > 0 ? " " : "",
						 obstacle->rule, obstacle->message);
		if (obstacle->unblock != NULL)
			appendStringInfo(&hint, "%s%s", hint.len > 0 ? " " : "", obstacle->unblock);
	}
	ereport(ERROR,
			(errcode(((Obstacle *) linitial(all))->sqlstate),
			 errmsg("transition \"%s\" of %s " INT64_FORMAT " is blocked: %s",
					first->transition, move->rel->entity, move->id,
					((Obstacle *) linitial(all))->message),
			 errdetail("%s %s", detail.data, next_steps),
			 errhint("%s", hint.data)));
}
