/*-------------------------------------------------------------------------
 *
 * work_claimer.h
 *		Who may claim in a queue, and how many.
 *
 * IDENTIFICATION
 *		src/work_claimer.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_WORK_CLAIMER_H
#define REFERRAL_WORK_CLAIMER_H

#include "datatype/timestamp.h"

#include "rule.h"

typedef struct Claimer
{
	int64		queue_id;
	Interval	lease;
	int64		n;				/* so many items at most */
} Claimer;

extern Claimer work_claimer(RuleCache *cache, int64 org_id, Datum queue, int64 n);

#endif							/* REFERRAL_WORK_CLAIMER_H */
