/*-------------------------------------------------------------------------
 *
 * work_sql.c
 *		Statements about work, prepared once per session.
 *
 * IDENTIFICATION
 *		src/work_sql.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/guc.h"

#include "compat.h"
#include "rule.h"
#include "statement.h"
#include "work_sql.h"

const Maybe no_value = {(Datum) 0, true};

Maybe
some(Datum value)
{
	return (Maybe) {value, false};
}

/* A text, null for NULL. */
Maybe
some_text(const char *value)
{
	return value == NULL ? no_value : some(CStringGetTextDatum(value));
}

/*
 * Plans are made once and kept, without looking at the values: statistics may be
 * missing, and the rows are found by their keys.  Holds until the end of the
 * scope that was begun.  To be called before functions that have statements of
 * their own; our statements ask for it when they are planned.
 */
void
work_set_planner(void)
{
	static const char *const settings[][2] = {
		{"plan_cache_mode", "force_generic_plan"}, {"enable_seqscan", "off"}, {"jit", "off"}
	};

	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
}

/* Between security_begin_read() and security_end_read(); returns the number of rows. */
uint64
work_run(WorkStatement *statement, const Maybe *given)
{
	Datum		args[WORK_MAX_ARGS];
	char		nulls[WORK_MAX_ARGS];

	for (int i = 0; i < statement->nargs; i++)
	{
		args[i] = given[i].value;
		nulls[i] = given[i].isnull ? 'n' : ' ';
	}
	statement_keep(&statement->plan, statement->sql, statement->nargs, statement->argtypes,
				   CURSOR_OPT_GENERIC_PLAN);
	if (!SPI_plan_is_valid(statement->plan))
		work_set_planner();
	if (SPI_execute_plan(statement->plan, args, nulls, false, 0) < 0)
		elog(ERROR, "could not run: %s", statement->sql);
	return SPI_processed;
}

/* A column of the first row; what is not passed by value lives as long as the scope. */
Maybe
work_column(int column)
{
	Maybe		result = {0};

	result.value = rule_read_datum(0, column, &result.isnull);
	return result;
}
