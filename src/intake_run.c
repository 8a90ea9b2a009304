/*-------------------------------------------------------------------------
 *
 * intake_run.c
 *		Statements and settings of intake.
 *
 * Everything runs with the rights of the caller.  Plans are kept per backend
 * and made for any values: all queries look rows up by keys, and have to be
 * good also when tables that were small have grown.
 *
 * IDENTIFICATION
 *		src/intake_run.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "compat.h"
#include "intake_message.h"
#include "statement.h"

/*
 * How many rows came back, or were written.  SPI would leave the caller in its
 * own memory, which lasts until the end of the whole call.
 */
uint64
intake_run(IntakeStatement *statement, Datum *args, const char *nulls)
{
	MemoryContext caller = CurrentMemoryContext;

	statement_keep(&statement->plan, statement->sql, statement->nargs, statement->argtypes,
				   CURSOR_OPT_GENERIC_PLAN);
	if (SPI_execute_plan(statement->plan, args, nulls, false, 0) < 0)
		elog(ERROR, "could not run: %s", statement->sql);
	MemoryContextSwitchTo(caller);
	return SPI_processed;
}

/* Where nothing that comes back is of interest. */
void
intake_do(IntakeStatement *statement, Datum *args, const char *nulls)
{
	(void) intake_run(statement, args, nulls);
	SPI_freetuptable(SPI_tuptable);
}

/* A column of the first row that came back; false when it is null. */
bool
intake_returned(int column, Datum *value)
{
	bool		isnull;

	*value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, &isnull);
	return !isnull;
}

/* 0 for null */
int64
intake_returned_id(int column)
{
	Datum		value;

	return intake_returned(column, &value) ? DatumGetInt64(value) : 0;
}

/* NULL for null */
char *
intake_returned_text(int column)
{
	Datum		value;

	return intake_returned(column, &value) ? TextDatumGetCString(value) : NULL;
}

/* Until intake_end() of the level that comes back. */
void
intake_set(const char *setting, const char *value)
{
	const char *current = GetConfigOption(setting, true, false);

	if (current == NULL || strcmp(current, value) != 0)
		(void) set_config_option(setting, value, PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, 0, false);
}

/* What all of intake runs with: functions that it calls plan under these, too. */
int
intake_begin(void)
{
	int			level = NewGUCNestLevel();

	intake_set("search_path", "pg_catalog, pg_temp");
	intake_set("plan_cache_mode", "force_generic_plan");
	intake_set("enable_seqscan", "off");
	intake_set("jit", "off");
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	return level;
}

void
intake_end(int level)
{
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
	AtEOXact_GUC(false, level);
}
