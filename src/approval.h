/*-------------------------------------------------------------------------
 *
 * approval.h
 *		Which approvals a row needs, and how far they are.
 *
 * IDENTIFICATION
 *		src/approval.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_APPROVAL_H
#define REFERRAL_APPROVAL_H

#include "nodes/pg_list.h"
#include "utils/jsonb.h"

#include "entity.h"
#include "workflow.h"

typedef struct ApprovalPolicy
{
	int64		approval_policy_id;
	bool		has_org;
	int64		scope_org_id;
	const char *approver_role;
	int			quorum;
	List	   *transitions;	/* those that wait, char * */
	List	   *watched;		/* columns whose values an approval is about, char * */
	RulePredicate *applies_when;	/* NULL: always */
	struct ApprovalPolicy *next;	/* the variant that is asked next */
} ApprovalPolicy;

/* A level of a policy: the first of its variants that fits a row counts. */
typedef struct ApprovalGate
{
	const char *entity;
	const char *policy;
	int			level;
	ApprovalPolicy *variants;
	struct ApprovalGate *next;
} ApprovalGate;

/* What was asked for last about a row at a gate. */
typedef struct ApprovalRequest
{
	int64		approval_request_id;
	const char *policy;
	int			level;
	const char *status;
	const char *approver_role;
	int			quorum;
	Jsonb	   *subject;		/* NULL: about no values */
	bool		expires;
	TimestampTz expires_at;
	bool		by_person;		/* somebody has withdrawn it */
} ApprovalRequest;

typedef enum ApprovalStatus
{
	APPROVAL_NOT_REQUESTED, APPROVAL_PENDING, APPROVAL_APPROVED, APPROVAL_REJECTED,
	APPROVAL_EXPIRED, APPROVAL_WITHDRAWN,
	APPROVAL_OTHER_VALUES,		/* the row has others than it is about */
	APPROVAL_OTHER_RULE			/* the policy asks for more by now */
} ApprovalStatus;

/* The row that is asked about. */
typedef struct ApprovalRow
{
	RuleCache  *cache;
	TrackedRel *rel;
	Relation	relation;
	TupleTableSlot *slot;
	int64		org_id;
	int64		id;
	bool		requests_read;
	List	   *requests;		/* ApprovalRequest */
} ApprovalRow;

/* What came of it at one gate. */
typedef struct ApprovalAnswer
{
	ApprovalGate *gate;
	ApprovalPolicy *policy;		/* the variant that counts; NULL: none of the organisation's */
	bool		needed;
	const char *error;			/* SQLSTATE that its condition raises; NULL: none */
	ApprovalStatus status;
	ApprovalRequest *request;	/* NULL: none */
	Jsonb	   *subject;		/* what an approval would be about now */
} ApprovalAnswer;

extern ApprovalGate *approval_gates(RuleCache *cache);
extern List *approval_gates_of(RuleCache *cache, const char *entity,
							   WorkflowTransition *transition);
extern Bitmapset *approval_watched(RuleCache *cache, TrackedRel *rel);
extern bool approval_waits(RuleCache *cache, TrackedRel *rel, TupleTableSlot *slot,
						   int64 *ids, int n);
extern bool approval_waits_at(ApprovalPolicy *policy, Workflow *workflow, WorkflowStep *step);
extern bool approval_names(ApprovalPolicy *policy, const char *transition);
extern bool approval_needed(ApprovalRow *row, ApprovalGate *gate, bool explain,
							ApprovalAnswer *answer);
extern void approval_look(ApprovalRow *row, ApprovalAnswer *answer);
extern const char *approval_status_name(ApprovalStatus status);

#endif							/* REFERRAL_APPROVAL_H */
