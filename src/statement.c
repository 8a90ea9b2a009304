/*-------------------------------------------------------------------------
 *
 * statement.c
 *		Statements whose plans are kept.
 *
 * IDENTIFICATION
 *		src/statement.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "statement.h"

/*
 * Prepares a statement, once in a session.  "options" as of a cursor:
 * CURSOR_OPT_GENERIC_PLAN where it is to be planned once, too, or 0.
 */
void
statement_keep(SPIPlanPtr *plan, const char *sql, int nargs, const Oid *types, int options)
{
	SPIPlanPtr	made;

	if (*plan != NULL)
		return;
	made = SPI_prepare_cursor(sql, nargs, (Oid *) types, options);
	if (made == NULL || SPI_keepplan(made) != 0)
		elog(ERROR, "could not prepare: %s", sql);
	*plan = made;
}
