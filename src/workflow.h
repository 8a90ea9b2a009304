/*-------------------------------------------------------------------------
 *
 * workflow.h
 *		Workflows as loaded from the rule tables.
 *
 * IDENTIFICATION
 *		src/workflow.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_WORKFLOW_H
#define REFERRAL_WORKFLOW_H

#include "nodes/pg_list.h"

#include "entity.h"
#include "rule.h"

typedef struct WorkflowStep
{
	char		step[NAMEDATALEN];	/* hash key */
	int			number;			/* dense, from 0 */
	Oid			state;			/* value of the enum referral.state */
	const char *state_name;
	bool		is_initial;
	bool		is_entry;
	text	   *step_text;
} WorkflowStep;

typedef struct WorkflowGuard
{
	int64		guard_id;
	RulePredicate predicate;
	const char *message;
	const char *unblock;
	int			sqlstate;
	struct WorkflowGuard *next;
} WorkflowGuard;

typedef struct WorkflowTransition
{
	int64		transition_id;
	const char *transition;
	WorkflowStep *from;
	WorkflowStep *to;
	const char *required_role;
	bool		human_only;
	bool		reason_required;
	bool		comment_required;
	const char *reason_domain;
	WorkflowGuard *guards;
	List	   *gates;			/* ApprovalGate, once they are known */
	bool		gates_known;
	struct WorkflowTransition *next_same_pair;	/* by priority */
	struct WorkflowTransition *next_same_from;	/* by priority */
} WorkflowTransition;

typedef struct Workflow
{
	int64		workflow_id;
	int64		rule_version_id;
	bool		was_active;		/* its version is, or was, in force */
	const char *name;
	const char *entity;
	HTAB	   *steps;			/* name -> WorkflowStep */
	int			nsteps;
	WorkflowStep **by_number;
	HTAB	   *pairs;			/* (from, to) -> first transition */
	HTAB	   *transitions;	/* transition_id -> transition */
	WorkflowTransition **by_from;	/* first transition per step */
} Workflow;

typedef struct WorkflowEntry
{
	int64		workflow_id;	/* hash key */
	Workflow   *workflow;
} WorkflowEntry;

/* A workflow that a new row of an entity may get. */
typedef struct WorkflowCandidate
{
	int64		workflow_id;
	bool		has_org, has_region, has_site, has_specialty;
	int64		org_id;
	int64		site_id;
	const char *region;
	const char *specialty;
	RulePredicate *applies_when;	/* NULL: always */
	struct WorkflowCandidate *next;	/* most specific first, then by priority */
} WorkflowCandidate;

typedef struct EntityRules
{
	char		entity[NAMEDATALEN];	/* hash key */
	Oid			relid;			/* registered table */
	const char *id_column;
	WorkflowCandidate *candidates;
} EntityRules;

typedef struct ReasonKey
{
	char		domain[NAMEDATALEN];
	char		code[NAMEDATALEN];
} ReasonKey;

typedef struct ReasonCode
{
	ReasonKey	key;
	bool		comment_required;
} ReasonCode;

extern void workflow_init(void);
extern Workflow *workflow_get(RuleCache *cache, int64 workflow_id);
extern EntityRules *workflow_entity_rules(RuleCache *cache, const char *entity);
extern WorkflowStep *workflow_step(Workflow *workflow, text *name);
extern WorkflowStep *workflow_entry_step(Workflow *workflow, Oid state);
extern WorkflowStep *workflow_initial_step(Workflow *workflow);
extern WorkflowTransition *workflow_first_transition(Workflow *workflow,
													 WorkflowStep *from, WorkflowStep *to);
extern WorkflowTransition *workflow_transition(Workflow *workflow, int64 transition_id);
extern ReasonCode *workflow_reason(RuleCache *cache, const char *domain, const char *code);
extern char *workflow_reason_codes(RuleCache *cache, const char *domain);

#endif							/* REFERRAL_WORKFLOW_H */
