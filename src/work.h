/*-------------------------------------------------------------------------
 *
 * work.h
 *		Which rows are work, and what their rules ask for.
 *
 * IDENTIFICATION
 *		src/work.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_WORK_H
#define REFERRAL_WORK_H

#include "entity.h"
#include "rule.h"

/* The row whose change is followed. */
typedef struct WorkRow
{
	RuleCache  *cache;
	TrackedRel *rel;
	Relation	relation;
	bool		is_new;			/* it cannot have items yet */
	TupleTableSlot *oldslot;	/* NULL: a new row, or one looked at anew */
	TupleTableSlot *newslot;
	int64		org_id;
	int64		id;
} WorkRow;

/* Those of a rule table that fit a row, in their order. */
typedef struct RuleSet
{
	int64	   *ids;
	int			n;
	bool		failed;			/* one of them raises an error, and says nothing */
} RuleSet;

/* A rule of referral.work_source: what an item about a row is like. */
typedef struct WorkSource
{
	int64		work_source_id;
	const char *entity;
	const char *kind;
	const char *title;
	const char *queue;			/* NULL: manual_triage */
	const char *referral_column;	/* NULL: none */
	const char *due_column;		/* NULL: none */
	bool		is_primary;
	struct WorkSource *next;
} WorkSource;

/* A rule of referral.routing_rule: where it sends the work. */
typedef struct WorkRoute
{
	int64		routing_rule_id;
	int64		rule_version_id;
	const char *name;
	const char *queue;
	const char *healthcare_service; /* NULL: none */
	const char *explanation;	/* NULL: none */
	bool		assigns;		/* gives it to somebody of the queue at once */
} WorkRoute;

/* A rule of referral.task_template: where it asks for its task. */
typedef struct WorkTask
{
	int64		task_template_id;
	Oid			on_state;		/* value of the enum referral.state; invalid: not by state */
	const char *on_step;		/* NULL: not by step; neither: by transition */
	struct WorkTask *next;
} WorkTask;

/* When tasks about an entity are done by themselves. */
typedef struct TaskEnd
{
	const char *entity;
	RulePredicate *until_when;	/* NULL: only people say so */
	Oid			relid;			/* what is known of it over this table: */
	bool		row_alone;		/* it depends on these columns of the row only */
	Bitmapset  *columns;
	struct TaskEnd *next;
} TaskEnd;

typedef struct WorkRules
{
	WorkSource *sources;
	WorkRoute  *routes;			/* by routing_rule_id */
	int			nroutes;
	WorkTask   *tasks;
	TaskEnd    *task_ends;
} WorkRules;

extern WorkRules *work_rules(RuleCache *cache);
extern WorkSource *work_source(RuleCache *cache, int64 work_source_id);
extern WorkRoute *work_route(RuleCache *cache, int64 routing_rule_id);
extern WorkSource *work_source_of_entity(RuleCache *cache, const char *entity);
extern WorkTask *work_task(RuleCache *cache, int64 task_template_id);
extern bool work_has_tasks(RuleCache *cache, const char *entity);
extern bool work_task_end_reads_row_alone(RuleCache *cache, TaskEnd *end, Relation rel);

extern void work_claim_init(void);
extern void work_item_open(WorkRow *row, WorkSource *source, RuleSet routing);
extern void work_refresh_row(WorkRow *row);

#endif							/* REFERRAL_WORK_H */
