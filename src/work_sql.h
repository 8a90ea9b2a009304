/*-------------------------------------------------------------------------
 *
 * work_sql.h
 *		Statements about work, prepared once per session.
 *
 * IDENTIFICATION
 *		src/work_sql.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_WORK_SQL_H
#define REFERRAL_WORK_SQL_H

#include "executor/spi.h"

#define WORK_MAX_ARGS 13

typedef struct WorkStatement
{
	const char *sql;
	int			nargs;
	Oid			argtypes[WORK_MAX_ARGS];
	SPIPlanPtr	plan;			/* made when it is run first */
} WorkStatement;

#define WORK_STATEMENT(sql, nargs, ...) {sql, nargs, {__VA_ARGS__}, NULL}

/* A value of SQL that may be null. */
typedef struct Maybe
{
	Datum		value;
	bool		isnull;
} Maybe;

extern const Maybe no_value;

extern Maybe some(Datum value);
extern Maybe some_text(const char *value);
extern void work_set_planner(void);
extern uint64 work_run(WorkStatement *statement, const Maybe *given);
extern Maybe work_column(int column);

#endif							/* REFERRAL_WORK_SQL_H */
