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

/* A rule of referral.work_source: what an item about a row is like. */
typedef struct WorkSource
{
	int64		work_source_id;
	const char *entity;
	const char *referral_column;	/* NULL: none */
	const char *due_column;		/* NULL: none */
	bool		is_primary;
	struct WorkSource *next;
} WorkSource;

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
	TaskEnd    *task_ends;
} WorkRules;

extern WorkRules *work_rules(RuleCache *cache);
extern WorkSource *work_source(RuleCache *cache, int64 work_source_id);
extern bool work_has_tasks(RuleCache *cache, const char *entity);
extern bool work_task_end_reads_row_alone(RuleCache *cache, TaskEnd *end, Relation rel);

#endif							/* REFERRAL_WORK_H */
