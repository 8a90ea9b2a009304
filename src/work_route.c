/*-------------------------------------------------------------------------
 *
 * work_route.c
 *		Where the work on a row goes.
 *
 * Every referral that comes in is sent to a queue, so this is done with few
 * statements, prepared once.  Which routing rule fits is found before, by
 * rule_match.c.
 *
 * IDENTIFICATION
 *		src/work_route.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "rule.h"
#include "security.h"
#include "work_queue.h"
#include "work_route.h"

/* ---------- The decision ---------- */

static WorkStatement pick_member =
	WORK_STATEMENT("SELECT referral.pick_member($1, $2,"
	" (SELECT referral.patient_language(r.org_id, r.patient_id) FROM referral.referral r"
	"  WHERE r.org_id = $1 AND r.referral_id = $3))",
				   3, INT8OID, INT8OID, INT8OID);

static WorkStatement record_decision =
	WORK_STATEMENT("INSERT INTO referral.routing_decision AS d (org_id, entity, entity_id,"
				   " referral_id, reason, routing_rule_id, rule_version, rule, target_queue,"
				   " queue_id, owner, healthcare_service, explanation)"
				   " VALUES ($2, $1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
				   " RETURNING d.routing_decision_id, d",
				   13, TEXTOID, INT8OID, INT8OID, INT8OID, TEXTOID, INT8OID, INT8OID, TEXTOID,
				   TEXTOID, INT8OID, TEXTOID, TEXTOID, TEXTOID);

static Maybe
record(const RouteRequest *request, const char *queue, const RouteDecision *decision)
{
	static WorkRoute none = {.explanation = "No routing rule fits."};
	WorkRoute  *route = request->route == NULL ? &none : request->route;
	Maybe		rule_id = route == &none ? no_value : some(Int64GetDatum(route->routing_rule_id));
	Maybe		version_id = route == &none ? no_value
		: some(Int64GetDatum(route->rule_version_id));

	(void) work_run(&record_decision,
					(Maybe[]) {request->entity, request->org_id, request->id, request->referral_id,
							   some_text(route == &none ? "fallback" : "rule"), rule_id, version_id,
							   some_text(route->name), some_text(queue), decision->queue_id,
							   decision->owner, some_text(route->healthcare_service),
							   some_text(route->explanation)});
	return work_column(1);
}

/* The queue for rows of an entity that no routing rule fits. */
static const char *
queue_without_rule(RuleCache *cache, const char *entity)
{
	WorkSource *source = work_source_of_entity(cache, entity);

	return source == NULL || source->queue == NULL ? "manual_triage" : source->queue;
}

RouteDecision
work_route_decide(RuleCache *cache, const RouteRequest *request)
{
	WorkRoute  *route = request->route;
	const char *queue = route != NULL ? route->queue
		: queue_without_rule(cache, TextDatumGetCString(request->entity.value));
	RouteDecision decision = {.owner = no_value};

	decision.queue_id = work_queue_for(cache, request->org_id, some_text(queue));
	if (route != NULL && route->assigns && request->with_owner)
	{
		work_set_planner();
		(void) work_run(&pick_member,
						(Maybe[]) {request->org_id, decision.queue_id, request->referral_id});
		decision.owner = work_column(1);
	}
	decision.routing_decision_id = record(request, queue, &decision);
	return decision;
}

/* ---------- SQL ---------- */

static void
begin(OwnerScope *scope)
{
	security_begin_read(scope, rule_cache(true)->owner);
	work_set_planner();
}

static Datum
end(OwnerScope *scope, FunctionCallInfo fcinfo, Maybe result)
{
	security_end_read(scope);
	fcinfo->isnull = result.isnull;
	return result.value;
}

PG_FUNCTION_INFO_V1(effective_queue);

/* effective_queue(org_id bigint, queue_id bigint, at timestamptz) returns bigint */
Datum
effective_queue(PG_FUNCTION_ARGS)
{
	OwnerScope	scope;

	begin(&scope);
	return end(&scope, fcinfo, work_queue_effective(some(PG_GETARG_DATUM(0)),
													some(PG_GETARG_DATUM(1)),
													PG_GETARG_TIMESTAMPTZ(2)));
}

static Maybe
argument(FunctionCallInfo fcinfo, int i)
{
	return (Maybe) {PG_GETARG_DATUM(i), PG_ARGISNULL(i)};
}

PG_FUNCTION_INFO_V1(queue_for);

/* queue_for(org_id bigint, queue text) returns bigint */
Datum
queue_for(PG_FUNCTION_ARGS)
{
	OwnerScope	scope;

	begin(&scope);
	return end(&scope, fcinfo, work_queue_for(rule_cache(false), argument(fcinfo, 0),
											  argument(fcinfo, 1)));
}

PG_FUNCTION_INFO_V1(decide_route);

/*
 * decide_route(entity text, org_id bigint, id bigint, referral_id bigint,
 *		routing_rule_id bigint, with_owner boolean) returns record
 */
Datum
decide_route(PG_FUNCTION_ARGS)
{
	RouteRequest request = {argument(fcinfo, 0), argument(fcinfo, 1), argument(fcinfo, 2),
	argument(fcinfo, 3), NULL, !PG_ARGISNULL(5) && PG_GETARG_BOOL(5)};
	RuleCache  *cache;
	OwnerScope	scope;
	Maybe		row;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	begin(&scope);
	cache = rule_cache(false);
	cache->pins++;
	PG_TRY();
	{
		if (!PG_ARGISNULL(4))
			request.route = work_route(cache, PG_GETARG_INT64(4));
		(void) work_route_decide(cache, &request);
	}
	PG_FINALLY();
	{
		cache->pins--;
	}
	PG_END_TRY();
	row = work_column(2);
	row.value = SPI_datumTransfer(row.value, false, -1);
	return end(&scope, fcinfo, row);
}

PG_FUNCTION_INFO_V1(fallback_queue);

/* fallback_queue(entity text) returns text */
Datum
fallback_queue(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(queue_without_rule(rule_cache(true),
														text_to_cstring(PG_GETARG_TEXT_PP(0)))));
}
