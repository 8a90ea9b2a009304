/*-------------------------------------------------------------------------
 *
 * work_rules.c
 *		Loading what the trigger work has to know of its rules beside their
 *		conditions, which rule_match.c keeps.
 *
 * IDENTIFICATION
 *		src/work_rules.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "compat.h"
#include "security.h"
#include "work.h"

static void
load_sources(RuleCache *cache, WorkRules *rules)
{
	security_read("SELECT s.work_source_id, s.entity, s.referral_column, s.due_column, s.is_primary,"
				  "  s.kind, s.title, s.queue"
				  " FROM referral.work_source s JOIN referral.rule_version v USING (rule_version_id)"
				  " WHERE v.status = 'active' AND $1",
				  BOOLOID, BoolGetDatum(true));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		WorkSource *source = MemoryContextAllocZero(cache->context, sizeof(WorkSource));

		source->work_source_id = rule_read_int64(i, 1);
		source->entity = rule_read_string(cache, i, 2);
		source->referral_column = rule_read_string(cache, i, 3);
		source->due_column = rule_read_string(cache, i, 4);
		source->is_primary = rule_read_bool(i, 5);
		source->kind = rule_read_string(cache, i, 6);
		source->title = rule_read_string(cache, i, 7);
		source->queue = rule_read_string(cache, i, 8);
		source->next = rules->sources;
		rules->sources = source;
	}
}

static void
load_routes(RuleCache *cache, WorkRules *rules)
{
	security_read("SELECT r.routing_rule_id, r.rule_version_id, r.name, r.queue,"
				  "  r.healthcare_service, r.explanation, r.assign IS NOT NULL"
				  " FROM referral.routing_rule r"
				  " JOIN referral.rule_version v USING (rule_version_id)"
				  " WHERE v.status = 'active' AND $1 ORDER BY 1",
				  BOOLOID, BoolGetDatum(true));
	rules->nroutes = (int) SPI_processed;
	rules->routes = MemoryContextAllocZero(cache->context,
										   sizeof(WorkRoute) * Max(rules->nroutes, 1));
	for (int i = 0; i < rules->nroutes; i++)
	{
		WorkRoute  *route = &rules->routes[i];

		route->routing_rule_id = rule_read_int64(i, 1);
		route->rule_version_id = rule_read_int64(i, 2);
		route->name = rule_read_string(cache, i, 3);
		route->queue = rule_read_string(cache, i, 4);
		route->healthcare_service = rule_read_string(cache, i, 5);
		route->explanation = rule_read_string(cache, i, 6);
		route->assigns = rule_read_bool(i, 7);
	}
}

static void
load_tasks(RuleCache *cache, WorkRules *rules)
{
	security_read("SELECT t.task_template_id, t.on_state, t.on_step"
				  " FROM referral.task_template t JOIN referral.rule_version v USING (rule_version_id)"
				  " WHERE v.status = 'active' AND $1",
				  BOOLOID, BoolGetDatum(true));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		WorkTask   *task = MemoryContextAllocZero(cache->context, sizeof(WorkTask));
		bool		isnull;

		task->task_template_id = rule_read_int64(i, 1);
		task->on_state = DatumGetObjectId(rule_read_datum(i, 2, &isnull));
		task->on_step = rule_read_string(cache, i, 3);
		task->next = rules->tasks;
		rules->tasks = task;
	}
}

/* Of all versions: tasks that are open may come from rules that are retired by now. */
static void
load_task_ends(RuleCache *cache, WorkRules *rules)
{
	security_read("SELECT DISTINCT t.entity, t.until_when, 'until_when of a task template'"
				  " FROM referral.task_template t JOIN referral.rule_version v USING (rule_version_id)"
				  " WHERE v.status IN ('active', 'retired') AND $1",
				  BOOLOID, BoolGetDatum(true));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		TaskEnd    *end = MemoryContextAllocZero(cache->context, sizeof(TaskEnd));

		end->entity = rule_read_string(cache, i, 1);
		end->until_when = rule_read_predicate(cache, i, 2, rule_read_string(cache, i, 3));
		end->next = rules->task_ends;
		rules->task_ends = end;
	}
}

WorkRules *
work_rules(RuleCache *cache)
{
	WorkRules  *rules;
	OwnerScope	scope;

	if (cache->work != NULL)
		return cache->work;
	rules = MemoryContextAllocZero(cache->context, sizeof(WorkRules));
	security_begin_read(&scope, cache->owner);
	load_sources(cache, rules);
	if (OidIsValid(get_relname_relid("routing_rule", cache->namespace_id)))
		load_routes(cache, rules);
	load_tasks(cache, rules);
	load_task_ends(cache, rules);
	security_end_read(&scope);
	cache->work = rules;
	return rules;
}

/* NULL when no active version has it. */
WorkSource *
work_source(RuleCache *cache, int64 work_source_id)
{
	WorkSource *source = work_rules(cache)->sources;

	while (source != NULL && source->work_source_id != work_source_id)
		source = source->next;
	return source;
}

/* The one that says where work on the entity goes by default; NULL when there is none. */
WorkSource *
work_source_of_entity(RuleCache *cache, const char *entity)
{
	WorkSource *found = NULL;

	for (WorkSource *source = work_rules(cache)->sources; source != NULL; source = source->next)
	{
		if (strcmp(source->entity, entity) != 0)
			continue;
		if (found == NULL || source->is_primary > found->is_primary ||
			(source->is_primary == found->is_primary &&
			 source->work_source_id < found->work_source_id))
			found = source;
	}
	return found;
}

static int
compare_routes(const void *a, const void *b)
{
	int64		left = ((const WorkRoute *) a)->routing_rule_id;
	int64		right = ((const WorkRoute *) b)->routing_rule_id;

	return left < right ? -1 : left > right;
}

/* NULL when no active version has it. */
WorkRoute *
work_route(RuleCache *cache, int64 routing_rule_id)
{
	WorkRules  *rules = work_rules(cache);
	WorkRoute	key = {.routing_rule_id = routing_rule_id};

	return bsearch(&key, rules->routes, rules->nroutes, sizeof(WorkRoute), compare_routes);
}

WorkTask *
work_task(RuleCache *cache, int64 task_template_id)
{
	WorkTask   *task = work_rules(cache)->tasks;

	while (task != NULL && task->task_template_id != task_template_id)
		task = task->next;
	return task;
}

/* Has a rule that is or was in force ever asked for tasks about the entity? */
bool
work_has_tasks(RuleCache *cache, const char *entity)
{
	for (TaskEnd *end = work_rules(cache)->task_ends; end != NULL; end = end->next)
		if (strcmp(end->entity, entity) == 0)
			return true;
	return false;
}

typedef struct EndAndTable
{
	TaskEnd    *end;
	Relation	rel;
} EndAndTable;

static void
learn_end(void *arg)
{
	EndAndTable *x = arg;

	x->end->row_alone = rule_reads_row_alone(x->end->until_when, x->rel, &x->end->columns);
}

/* One that does not compile any more depends on nothing: it never holds. */
bool
work_task_end_reads_row_alone(RuleCache *cache, TaskEnd *end, Relation rel)
{
	EndAndTable x = {end, rel};
	MemoryContext caller;
	int			sqlstate;

	if (end->relid != RelationGetRelid(rel))
	{
		end->row_alone = true;
		end->columns = NULL;
		caller = MemoryContextSwitchTo(cache->context);
		if (end->until_when != NULL && !rule_try(learn_end, &x, &sqlstate))
			end->row_alone = true;
		MemoryContextSwitchTo(caller);
		end->relid = RelationGetRelid(rel);
	}
	return end->row_alone;
}
