/*-------------------------------------------------------------------------
 *
 * work_route.h
 *		Where the work on a row goes.
 *
 * IDENTIFICATION
 *		src/work_route.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_WORK_ROUTE_H
#define REFERRAL_WORK_ROUTE_H

#include "work.h"
#include "work_sql.h"

typedef struct RouteRequest
{
	Maybe		entity;
	Maybe		org_id;
	Maybe		id;
	Maybe		referral_id;
	WorkRoute  *route;			/* NULL: no rule fits */
	bool		with_owner;		/* also who gets it, where the rule says so */
} RouteRequest;

typedef struct RouteDecision
{
	Maybe		routing_decision_id;
	Maybe		queue_id;
	Maybe		owner;
} RouteDecision;

/* Between security_begin_read() and security_end_read(). */
extern RouteDecision work_route_decide(RuleCache *cache, const RouteRequest *request);

#endif							/* REFERRAL_WORK_ROUTE_H */
