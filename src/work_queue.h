/*-------------------------------------------------------------------------
 *
 * work_queue.h
 *		Which queue takes the work that is meant for one.
 *
 * IDENTIFICATION
 *		src/work_queue.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_WORK_QUEUE_H
#define REFERRAL_WORK_QUEUE_H

#include "rule.h"
#include "work_sql.h"

extern void work_queue_init(void);
extern uint64 work_queue_generation(RuleCache *cache);
extern Maybe work_queue_effective(Maybe org_id, Maybe queue_id, TimestampTz at);
extern Maybe work_queue_for(RuleCache *cache, Maybe org_id, Maybe name);

#endif							/* REFERRAL_WORK_QUEUE_H */
