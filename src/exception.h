/*-------------------------------------------------------------------------
 *
 * exception.h
 *		Open exceptions that hold a row up.
 *
 * IDENTIFICATION
 *		src/exception.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_EXCEPTION_H
#define REFERRAL_EXCEPTION_H

#include "nodes/pg_list.h"

#include "rule.h"

/* An open exception that blocks, and the transitions that wait for it. */
typedef struct Exception
{
	int64		exception_id;
	const char *category;
	const char *code;
	List	   *blocks;			/* names of transitions, char * */
} Exception;

extern List *exceptions_blocking(RuleCache *cache, const char *entity, int64 org_id, int64 id,
								 uint64 serial);
extern bool exceptions_by_rule(RuleCache *cache, const char *entity, int64 org_id, int64 id);

#endif							/* REFERRAL_EXCEPTION_H */
