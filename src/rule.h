/*-------------------------------------------------------------------------
 *
 * rule.h
 *		Rules: SQL predicates over a row, compiled once per backend.
 *
 * A predicate names the columns of the new row bare and those of the former
 * row as old.column.  NULL counts as "not satisfied".
 *
 * IDENTIFICATION
 *		src/rule.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_RULE_H
#define REFERRAL_RULE_H

#include "executor/tuptable.h"
#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"
#include "utils/array.h"
#include "utils/hsearch.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

typedef struct RuleCompiled RuleCompiled;

/* One predicate as read from a rule table, with its compiled forms. */
typedef struct RulePredicate
{
	const char *source;			/* SQL text */
	const char *label;			/* names the rule in error contexts */
	MemoryContext context;		/* where compiled forms go: the rule cache's */
	RuleCompiled *compiled;		/* one per relation it was evaluated on */
} RulePredicate;

/*
 * Everything read from rule tables lives in one RuleCache.  When any rule
 * table, tracked table or function changes, the whole cache is retired and
 * built anew on demand.  A retired one that a call up the stack has pinned
 * stays readable until its transaction ends.
 */
typedef struct RuleCache
{
	MemoryContext context;
	uint64		generation;
	HTAB	   *workflows;		/* workflow_id -> Workflow */
	HTAB	   *entities;		/* entity name -> EntityRules */
	HTAB	   *relations;		/* relation oid -> TrackedRel */
	HTAB	   *reasons;		/* (domain, code) -> ReasonCode */
	HTAB	   *matches;		/* predicates of rule_matches(), by their text */
	HTAB	   *rule_tables;	/* rules of matching_rules(), by their table */
	struct WorkRules *work;		/* sources of work and tasks; see work_rules.c */
	struct RankFactor *factors; /* of ranking; see work_rank.c */
	struct SlaRules *sla;		/* policies and calendars; see sla_policy.c */
	struct MatchRules *matching;	/* models and names; see matching_model.c */
	struct SourceRules *sources;	/* who keeps what; see source_of_record.c */
	struct SourceMapping *mappings;	/* see source_mapping.c */
	struct ValidationRules *validation; /* see validation_rules.c */
	struct ExceptionPolicies *exceptions;	/* see exception_policy.c */
	struct ApprovalRules *approvals;	/* see approval_policy.c */
	Oid			namespace_id;	/* schema referral */
	Oid			owner;			/* owner of the rule tables */
	int			pins;			/* calls that hold pointers into it */
} RuleCache;

/* Counts invalidations; a cache whose generation differs is stale. */
extern uint64 rule_generation;

extern void rule_init(void);
extern void rule_cache_init(void);
extern RuleCache *rule_cache(bool accept_invalidations);
extern void rule_cache_watch(Oid relid);
extern void rule_cache_is_provisional(Snapshot snapshot);
extern void rule_cache_settle(void);
extern HTAB *rule_cache_table(RuleCache *cache, const char *name,
							  Size keysize, Size entrysize, int flags);

/* Columns of what security_read() read; strings and predicates live as long as the cache. */
extern char *rule_read_string(RuleCache *cache, uint64 row, int column);
extern Datum rule_read_datum(uint64 row, int column, bool *isnull);
extern int64 rule_read_int64(uint64 row, int column);
extern bool rule_read_bool(uint64 row, int column);
extern List *rule_list_of_texts(Datum array);
extern List *rule_read_texts(uint64 row, int column);
extern RulePredicate *rule_read_predicate(RuleCache *cache, uint64 row, int column,
										  const char *label);

extern bool rule_reads_row_alone(RulePredicate *predicate, Relation rel, Bitmapset **columns);
extern bool rule_holds(RulePredicate *predicate, Relation rel,
					   TupleTableSlot *newslot, TupleTableSlot *oldslot);
extern bool rule_try(void (*what) (void *arg), void *arg, int *sqlstate);

/*
 * The rules of a rule table that fit a row, as matching_rules() tells them; for
 * triggers.  *failed becomes true when one raises an error.  The caller has
 * pinned the cache.
 */
extern int	rule_table_matches(RuleCache *cache, const char *table, const char *entity,
							   int64 org_id, Relation rel, TupleTableSlot *newslot,
							   TupleTableSlot *oldslot, bool only_first, int64 **ids, bool *failed);
extern bool rule_table_reads_row_alone(RuleCache *cache, const char *table, const char *entity,
									   Relation rel, Bitmapset **columns);
extern ArrayType *rule_ids_array(int64 *ids, int n);

/* A row of a table that predicates are asked about, without a former one. */
typedef struct RuleRow
{
	Relation	table;
	HeapTupleData tuple;
	TupleTableSlot *slot;
	TupleTableSlot *former;
} RuleRow;

extern void rule_row_open(RuleRow *row, HeapTupleHeader header);
extern bool rule_row_matches(RuleRow *row, RulePredicate *predicate);
extern void rule_row_close(RuleRow *row);

#endif							/* REFERRAL_RULE_H */
