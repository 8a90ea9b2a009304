/*-------------------------------------------------------------------------
 *
 * statement.h
 *		Statements whose plans are kept.
 *
 * IDENTIFICATION
 *		src/statement.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_STATEMENT_H
#define REFERRAL_STATEMENT_H

#include "executor/spi.h"

extern void statement_keep(SPIPlanPtr *plan, const char *sql, int nargs, const Oid *types,
						   int options);

#endif							/* REFERRAL_STATEMENT_H */
