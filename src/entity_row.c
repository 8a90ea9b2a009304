/*-------------------------------------------------------------------------
 *
 * entity_row.c
 *		Rows of tracked tables, for what the extension does on its own account.
 *
 * A tracked table may belong to anybody, and so may its triggers, policies
 * and defaults.  What tick() and its like do to a row they do with the rights
 * of the table's owner: never with their own.
 *
 * IDENTIFICATION
 *		src/entity_row.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "compat.h"
#include "entity.h"
#include "rule.h"
#include "security.h"
#include "workflow.h"

/* What can be done to a row; $1 and $2 name it, $3 is the argument. */
static const struct
{
	const char *verb;
	const char *sql;
}			verbs[] = {
	{"exists", "SELECT FROM %s WHERE org_id = $1 AND %s = $2"},
	{"lock", "SELECT FROM %s WHERE org_id = $1 AND %s = $2 FOR NO KEY UPDATE"},
	{"try_lock", "SELECT FROM %s WHERE org_id = $1 AND %s = $2 FOR NO KEY UPDATE SKIP LOCKED"},
	{"raise_priority", "UPDATE %s SET priority = $3::pg_catalog.int4 WHERE org_id = $1 AND %s = $2"
	" AND coalesce(priority, 0) < $3::pg_catalog.int4"},
	{"take_step", "UPDATE %s SET step = $3 WHERE org_id = $1 AND %s = $2"},
};

static const char *
find_verb(const char *verb)
{
	for (int i = 0; i < lengthof(verbs); i++)
		if (strcmp(verbs[i].verb, verb) == 0)
			return verbs[i].sql;
	elog(ERROR, "unknown verb \"%s\"", verb);
}

/* NULL when no entity has that name, or its table was dropped. */
static EntityRules *
find_entity(RuleCache *cache, const char *entity)
{
	EntityRules *rules = workflow_entity_rules(cache, entity);

	return OidIsValid(rules->relid) && get_rel_name(rules->relid) != NULL ? rules : NULL;
}

/* Run one of our statements on the entity's table with the rights of its owner. */
static void
run_as_owner(EntityRules *rules, const char *sql, int nargs, Datum *args, const char *nulls)
{
	Oid			argtypes[] = {INT8OID, INT8OID, TEXTOID};
	char	   *statement = psprintf(sql,
									 quote_qualified_identifier(get_namespace_name(get_rel_namespace(rules->relid)),
																get_rel_name(rules->relid)),
									 quote_identifier(rules->id_column));

	if (SPI_execute_with_args(statement, nargs, argtypes, args, nulls, false, 0) < 0)
		elog(ERROR, "could not run: %s", statement);
}

/*
 * A trigger may raise what looks like a cancelled query or a shutdown, which
 * callers let pass.  Only the server's own counts.
 */
static void
refuse_forged(MemoryContext caller)
{
	ErrorData  *error;

	MemoryContextSwitchTo(caller);
	error = CopyErrorData();
	if ((error->sqlerrcode != ERRCODE_QUERY_CANCELED && error->sqlerrcode != ERRCODE_ADMIN_SHUTDOWN) ||
		(error->funcname != NULL && strcmp(error->funcname, "ProcessInterrupts") == 0))
		return;
	FlushErrorState();
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
			 errmsg("code of the table's owner raised %s", unpack_sql_state(error->sqlerrcode)),
			 errdetail("It is not the server that cancels."),
			 errhint("See the triggers of the entity's table.")));
}

PG_FUNCTION_INFO_V1(row_as_owner);

/*
 * row_as_owner(entity text, org_id bigint, id bigint, verb text, argument
 * text) returns boolean: was there such a row?
 */
Datum
row_as_owner(PG_FUNCTION_ARGS)
{
	Datum		args[] = {PG_GETARG_DATUM(1), PG_GETARG_DATUM(2), PG_GETARG_DATUM(4)};
	char		nulls[] = {' ', ' ', PG_ARGISNULL(4) ? 'n' : ' ', '\0'};
	RuleCache  *cache = rule_cache(true);
	EntityRules *rules;
	const char *sql;
	OwnerScope	scope;
	MemoryContext caller = CurrentMemoryContext;
	bool		found;

	for (int i = 0; i < 4; i++)
		if (PG_ARGISNULL(i))
			PG_RETURN_NULL();
	sql = find_verb(text_to_cstring(PG_GETARG_TEXT_PP(3)));
	rules = find_entity(cache, text_to_cstring(PG_GETARG_TEXT_PP(0)));
	if (rules == NULL)
		PG_RETURN_BOOL(false);
	security_begin_owner(&scope, entity_owner(rules->relid));
	PG_TRY();
	{
		run_as_owner(rules, sql, strstr(sql, "$3") != NULL ? 3 : 2, args, nulls);
	}
	PG_CATCH();
	{
		refuse_forged(caller);
		PG_RE_THROW();
	}
	PG_END_TRY();
	found = SPI_processed > 0;
	security_end_read(&scope);
	PG_RETURN_BOOL(found);
}

/* A name for the row as a whole: a column of that name would go before it. */
static char *
row_alias(Oid relid)
{
	char	   *alias = pstrdup("t");

	while (get_attnum(relid, alias) != InvalidAttrNumber)
		alias = psprintf("%s_", alias);
	return alias;
}

/* The row of an entity, read as its table's owner; NULL when there is none. */
HeapTupleHeader
entity_read_row(RuleCache *cache, const char *entity, int64 org_id, int64 id)
{
	EntityRules *rules = find_entity(cache, entity);
	Datum		args[] = {Int64GetDatum(org_id), Int64GetDatum(id)};
	MemoryContext caller = CurrentMemoryContext;
	char	   *alias;
	HeapTupleHeader row = NULL;
	OwnerScope	scope;

	if (rules == NULL)
		return NULL;
	alias = row_alias(rules->relid);
	security_begin_owner(&scope, entity_owner(rules->relid));
	run_as_owner(rules, psprintf("SELECT %s FROM %%s AS %s WHERE org_id = $1 AND %%s = $2", alias, alias),
				 2, args, NULL);
	if (SPI_processed > 0)
	{
		bool		isnull;
		Datum		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);

		caller = MemoryContextSwitchTo(caller);
		row = DatumGetHeapTupleHeaderCopy(value);
		MemoryContextSwitchTo(caller);
	}
	security_end_read(&scope);
	return row;
}
