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

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

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

/* ---------- Rows that refer to another row ---------- */

/* What identifies a row, as a jsonb object. */
static char *
key_expression(ArrayType *columns)
{
	StringInfoData expr;
	Datum	   *names;
	int			nnames;

	deconstruct_array(columns, NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR, &names, NULL, &nnames);
	initStringInfo(&expr);
	appendStringInfoString(&expr, "pg_catalog.jsonb_build_object(");
	for (int i = 0; i < nnames; i++)
	{
		const char *name = NameStr(*DatumGetName(names[i]));

		appendStringInfo(&expr, "%s%s, %s", i > 0 ? ", " : "",
						 quote_literal_cstr(name), quote_identifier(name));
	}
	appendStringInfoChar(&expr, ')');
	return expr.data;
}

/*
 * The statement of rows_as_owner(): $1 organisation, $2 the id referred to, $3
 * the id to refer to instead, $4 the keys.  Null parameters count as any.
 */
static char *
reference_statement(Oid relid, const char *org_column, const char *column, ArrayType *key,
					bool change)
{
	const char *relation = quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
													  get_rel_name(relid));
	const char *key_sql = key_expression(key);
	char	   *where = psprintf("%s = $1 AND %s = $2 AND ($4 IS NULL OR %s IN"
								 " (SELECT pg_catalog.jsonb_array_elements($4)))",
								 quote_identifier(org_column), quote_identifier(column), key_sql);

	if (change)
		/* a trigger of the table may have its own way with the column */
		return psprintf("WITH changed AS (UPDATE %s SET %s = $3 WHERE %s"
						" RETURNING %s AS key, %s = $3 AS went)"
						" SELECT pg_catalog.jsonb_agg(key ORDER BY key) FILTER (WHERE went) FROM changed",
						relation, quote_identifier(column), where, key_sql,
						quote_identifier(column));
	return psprintf("SELECT pg_catalog.jsonb_agg(%s ORDER BY %s) FROM %s WHERE %s AND $3 IS NULL",
					key_sql, key_sql, relation, where);
}

/*
 * Whoever waited for a lock on the row that is referred to must find what was
 * committed meanwhile, also in a transaction that looks at an older snapshot.
 */
static void
run_on_latest(const char *sql, Datum *args, const char *nulls)
{
	Oid			argtypes[] = {INT8OID, INT8OID, INT8OID, JSONBOID};
	SPIPlanPtr	plan = SPI_prepare(sql, lengthof(argtypes), argtypes);

	if (plan == NULL ||
		SPI_execute_snapshot(plan, args, nulls,
							 IsolationUsesXactSnapshot() ? GetLatestSnapshot() : InvalidSnapshot,
							 InvalidSnapshot, false, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not run: %s", sql);
}

/* The one value that was selected, in the memory of the caller; NULL for null. */
static Datum *
only_value(MemoryContext caller)
{
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	Datum	   *copy;

	if (isnull)
		return NULL;
	caller = MemoryContextSwitchTo(caller);
	copy = palloc(sizeof(Datum));
	*copy = PointerGetDatum(PG_DETOAST_DATUM_COPY(value));
	MemoryContextSwitchTo(caller);
	return copy;
}

PG_FUNCTION_INFO_V1(rows_as_owner);

/*
 * rows_as_owner(relation regclass, org_column name, column_name name, key
 * name[], org_id bigint, id bigint, to_id bigint, keys jsonb) returns jsonb:
 * the keys of the rows that refer to the id, and now to to_id if that is given.
 */
Datum
rows_as_owner(PG_FUNCTION_ARGS)
{
	Datum		args[4];
	char		nulls[] = "    ";
	Oid			owner;
	char	   *sql;
	Datum	   *keys;
	OwnerScope	scope;
	MemoryContext caller = CurrentMemoryContext;

	for (int i = 0; i < 6; i++)
		if (PG_ARGISNULL(i))
			PG_RETURN_NULL();
	for (int i = 0; i < 4; i++)
	{
		args[i] = PG_GETARG_DATUM(4 + i);
		nulls[i] = PG_ARGISNULL(4 + i) ? 'n' : ' ';
	}
	sql = reference_statement(PG_GETARG_OID(0), NameStr(*PG_GETARG_NAME(1)),
							  NameStr(*PG_GETARG_NAME(2)), PG_GETARG_ARRAYTYPE_P(3),
							  !PG_ARGISNULL(6));
	owner = entity_owner(PG_GETARG_OID(0));
	/* our own tables: nobody's code but ours, and constraints may be deferred */
	if (owner == GetUserId())
		security_begin_read(&scope, owner);
	else
		security_begin_owner(&scope, owner);
	PG_TRY();
	{
		run_on_latest(sql, args, nulls);
	}
	PG_CATCH();
	{
		refuse_forged(caller);
		PG_RE_THROW();
	}
	PG_END_TRY();
	keys = only_value(caller);
	security_end_read(&scope);
	if (keys == NULL)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(*keys);
}
