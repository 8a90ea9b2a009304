/*-------------------------------------------------------------------------
 *
 * rule.c
 *		Parsing, checking, compiling and evaluating rule expressions.
 *
 * A rule runs with the rights of whoever changes the row, so its author must
 * not be able to smuggle code into it.  Therefore names are resolved on a
 * fixed search path, only functions of pg_catalog, of this extension and
 * those in referral.rule_function may be called, and no type may appear that
 * could bring code of its own (a domain's CHECK, a cast).
 *
 * IDENTIFICATION
 *		src/rule.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/sysattr.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parse_relation.h"
#include "parser/parse_type.h"
#include "parser/parser.h"
#include "rewrite/prs2lock.h"
#include "rewrite/rewriteManip.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/syscache.h"

#include "compat.h"
#include "errors.h"
#include "rule.h"
#include "security.h"

#define RULE_MAX_LENGTH 8192

/* One predicate compiled for one relation. */
struct RuleCompiled
{
	Oid			relid;
	ExprState  *state;
	MemoryContext context;		/* holds this and all below */
	List	   *functions;		/* every function the expression may call */
	Oid			checked_role;	/* last role found allowed to call them all */
	bool		needs_neutral;	/* its outcome may depend on settings */
	bool		row_alone;		/* its outcome follows from the columns below */
	Bitmapset  *columns;		/* that it names */
	bool		in_use;
	SubTransactionId in_use_by;
	RuleCompiled *outer;		/* the one that was evaluated when this began */
	RulePredicate *predicate;	/* NULL: a private copy, gone with its caller's memory */
	RuleCompiled *next;
};

/* What the walk over an analysed expression carries along. */
typedef struct RuleCheck
{
	Relation	rel;
	Oid			extension_id;
	List	   *functions;
	bool		needs_neutral;
	const char *refusal;		/* why the expression is refused, or NULL */
	int			location;		/* where, in bytes from 0; -1 when not known */
} RuleCheck;

/* The predicates being evaluated, innermost first; left over by errors. */
static RuleCompiled *rule_in_flight = NULL;

static void rule_end_of_xact(XactEvent event, void *arg);
static void rule_end_of_subxact(SubXactEvent event, SubTransactionId mine,
								SubTransactionId parent, void *arg);

void
rule_init(void)
{
	RegisterXactCallback(rule_end_of_xact, NULL);
	RegisterSubXactCallback(rule_end_of_subxact, NULL);
}

/* ---------- Checking ---------- */

static bool
rule_type_is_safe(RuleCheck *check, Oid typid)
{
	TupleDesc	desc = RelationGetDescr(check->rel);
	Oid			element = get_element_type(typid);

	if (get_typtype(typid) == TYPTYPE_PSEUDO && typid != RECORDOID && typid != UNKNOWNOID)
		return false;			/* void, internal and the like: no value at all */
	if (typid == REGCLASSOID || typid == REGPROCOID || typid == REGPROCEDUREOID ||
		typid == REGOPEROID || typid == REGOPERATOROID || typid == REGTYPEOID ||
		typid == REGROLEOID || typid == REGNAMESPACEOID)
		return false;			/* what a name means depends on search_path */
	if (!OidIsValid(typid) || typid < FirstGenbkiObjectId ||
		(OidIsValid(element) && element < FirstGenbkiObjectId))
		return true;
	if (getExtensionOfObject(TypeRelationId,
							 OidIsValid(element) ? element : typid) ==
		check->extension_id)
		return true;
	/* The table's owner chose the types of its columns. */
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped &&
			(att->atttypid == typid || att->atttypid == element))
			return true;
	}
	return false;
}

static const char *
rule_type_refusal(Oid typid)
{
	return psprintf(typid < FirstGenbkiObjectId ? "type %s cannot be used in a rule"
					: "type %s is neither built in nor a column's type",
					format_type_be(typid));
}

/*
 * Was the function registered by an administrator, and is it still the one
 * that was registered?
 */
static bool
rule_function_is_registered(Oid funcid)
{
	RuleCache  *cache = rule_cache(false);
	OwnerScope	scope;
	bool		found;

	security_begin_read(&scope, cache->owner);
	security_read("SELECT 1 FROM referral.rule_function f"
				  " WHERE to_regprocedure(f.signature) = $1"
				  "   AND f.definition_hash = sha256(convert_to(pg_get_functiondef($1), 'UTF8'))",
				  OIDOID, ObjectIdGetDatum(funcid));
	found = SPI_processed > 0;
	security_end_read(&scope);
	return found;
}

/* Why a rule may not call the function, or NULL. */
static const char *
rule_function_refusal(RuleCheck *check, Oid funcid)
{
	char	   *name = format_procedure(funcid);

	if (func_volatile(funcid) == PROVOLATILE_VOLATILE)
		return psprintf("function %s is volatile", name);
	if (get_func_namespace(funcid) == PG_CATALOG_NAMESPACE)
	{
		/* table_to_xml() and its kin run queries over whatever they are told */
		if (get_func_rettype(funcid) == XMLOID)
			return psprintf("function %s yields xml, which rules cannot use", name);
	}
	else if (getExtensionOfObject(ProcedureRelationId, funcid) != check->extension_id &&
			 !rule_function_is_registered(funcid))
		return psprintf("function %s is not registered for rules, or changed since", name);
	return NULL;
}

/* Stable functions may; of the built-in ones, a few often used do not. */
static bool
rule_function_heeds_settings(RuleCheck *check, Oid funcid)
{
	return func_volatile(funcid) == PROVOLATILE_STABLE &&
		funcid != F_NOW && funcid != F_STATEMENT_TIMESTAMP &&
		funcid != F_PG_HAS_ROLE_NAME_TEXT &&
		getExtensionOfObject(ProcedureRelationId, funcid) != check->extension_id;
}

/* check_functions_in_node callback: true stops the walk. */
static bool
rule_check_function(Oid funcid, void *arg)
{
	RuleCheck  *check = (RuleCheck *) arg;

	check->refusal = rule_function_refusal(check, funcid);
	check->needs_neutral |= rule_function_heeds_settings(check, funcid);
	check->functions = list_append_unique_oid(check->functions, funcid);
	return check->refusal != NULL;
}

/*
 * Functions that read a value of a type named at run time would run the type's
 * own code (a domain's CHECK) without the type showing in the expression.
 */
static bool
rule_check_call(FuncExpr *call, RuleCheck *check)
{
	Oid		   *argtypes;
	int			nargs;
	const char *name = get_func_name(call->funcid);

	(void) get_func_signature(call->funcid, &argtypes, &nargs);
	for (int i = 0; i < nargs; i++)
		if (argtypes[i] == CSTRINGOID || argtypes[i] == INTERNALOID)
			check->refusal = psprintf("function %s cannot be called by a rule", name);
	if (get_func_namespace(call->funcid) == PG_CATALOG_NAMESPACE &&
		strncmp(name, "pg_input_", strlen("pg_input_")) == 0)
		check->refusal = psprintf("function %s cannot be called by a rule", name);
	return check->refusal != NULL;
}

static bool
rule_check_column(Var *var, RuleCheck *check)
{
	TupleDesc	desc = RelationGetDescr(check->rel);

	if (var->varattno == 0)
		check->refusal = "a whole row cannot be used, name its columns";
	else if (var->varattno < 0)
		check->refusal = "system columns cannot be used";
	else if (var->varno == PRS2_NEW_VARNO &&
			 TupleDescAttr(desc, var->varattno - 1)->attgenerated)
		check->refusal = psprintf("generated column \"%s\" is not known yet when the rule runs",
								  NameStr(TupleDescAttr(desc, var->varattno - 1)->attname));
	return check->refusal != NULL;
}

/* Is there something about this node itself that a rule may not have? */
static bool
rule_check_node(Node *node, RuleCheck *check)
{
	if (IsA(node, SubLink) || IsA(node, Query))
		check->refusal = "subqueries are not allowed";
	else if (IsA(node, Param) || IsA(node, CurrentOfExpr) || IsA(node, NextValueExpr))
		check->refusal = "parameters are not allowed";
	else if (IsA(node, Var) && rule_check_column((Var *) node, check))
		return true;
	else if (IsA(node, FuncExpr) && rule_check_call((FuncExpr *) node, check))
		return true;
	else if (check_functions_in_node(node, rule_check_function, check))
		return true;
	else if (!rule_type_is_safe(check, exprType(node)))
		check->refusal = rule_type_refusal(exprType(node));
	return check->refusal != NULL;
}

static bool
rule_check_walker(Node *node, void *arg)
{
	RuleCheck  *check = (RuleCheck *) arg;

	if (node == NULL)
		return false;
	if (IsA(node, SQLValueFunction) || IsA(node, CoerceViaIO))
		check->needs_neutral = true;
	if (!IsA(node, List) && rule_check_node(node, check))
	{
		check->location = exprLocation(node);
		return true;
	}
	return expression_tree_walker(node, rule_check_walker, arg);
}

/*
 * The analysis turns literals into values, and that runs code: the input
 * function of the type, and with it the CHECK of a domain inside.  So what an
 * expression names is judged before it is analysed.
 */
static bool
rule_check_raw_type(TypeName *name, RuleCheck *check)
{
	Type		type = LookupTypeName(NULL, name, NULL, true);

	if (type == NULL)
		return false;			/* the analysis will say so */
	if (!rule_type_is_safe(check, typeTypeId(type)))
		check->refusal = rule_type_refusal(typeTypeId(type));
	ReleaseSysCache(type);
	return check->refusal != NULL;
}

/* Every function or operator of another schema that the name could mean. */
static bool
rule_check_raw_candidates(FuncCandidateList candidates, bool operators, RuleCheck *check)
{
	for (; candidates != NULL && check->refusal == NULL; candidates = candidates->next)
	{
		Oid			funcid = operators ? get_opcode(candidates->oid) : candidates->oid;

		if (get_func_namespace(funcid) != PG_CATALOG_NAMESPACE)
			check->refusal = rule_function_refusal(check, funcid);
	check->needs_neutral |= rule_function_heeds_settings(check, funcid);
	}
	return check->refusal != NULL;
}

static bool
rule_check_raw_call(FuncCall *call, RuleCheck *check)
{
	/* f(x) may also mean a cast to type f */
	if (rule_check_raw_type(makeTypeNameFromNameList(call->funcname), check))
		return true;
	return rule_check_raw_candidates(FuncnameGetCandidates(call->funcname, -1, NIL, false,
														   false, false, true),
									 false, check);
}

static bool
rule_check_raw(Node *node, void *arg)
{
	RuleCheck  *check = (RuleCheck *) arg;
	int			location;

	if (node == NULL)
		return false;
	location = IsA(node, SubLink) ? ((SubLink *) node)->location : exprLocation(node);
	if (IsA(node, SubLink))
		check->refusal = "subqueries are not allowed";
	/* a star is expanded in select lists only; the analysis does not expect it */
	else if (IsA(node, ColumnRef) && IsA(llast(((ColumnRef *) node)->fields), A_Star))
		check->refusal = "a whole row cannot be used, name its columns";
	else if (IsA(node, TypeCast))
		(void) rule_check_raw_type(((TypeCast *) node)->typeName, check);
	else if (IsA(node, FuncCall))
		(void) rule_check_raw_call((FuncCall *) node, check);
	else if (IsA(node, A_Expr) && list_length(((A_Expr *) node)->name) > 1)
		(void) rule_check_raw_candidates(OpernameGetCandidates(((A_Expr *) node)->name,
															   '\0', false),
										 true, check);
	if (check->refusal != NULL)
	{
		check->location = location;
		return true;
	}
	return raw_expression_tree_walker(node, rule_check_raw, arg);
}

static char *
rule_columns_on_offer(Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped || att->attgenerated)
			continue;
		appendStringInfo(&buf, "%s%s", buf.len > 0 ? ", " : "",
						 quote_identifier(NameStr(att->attname)));
	}
	return buf.data;
}

pg_noreturn static void
rule_refuse(const char *source, Relation rel, const char *why, int location)
{
	/* people count characters */
	int			position = location < 0 ? 0 : pg_mbstrlen_with_len(source, location) + 1;

	ereport(ERROR,
			(errcode(ERRCODE_RF_INVALID_RULE),
			 errmsg("invalid rule expression: %s", why),
			 errdetail("Columns on offer, for the new row by bare name, for the former as old.column: %s.",
					   rule_columns_on_offer(rel)),
			 errhint("%sRules are boolean SQL expressions over one row: no subqueries, aggregates, window or set-returning functions, volatile functions or parameters; functions beyond pg_catalog and referral only when registered in referral.rule_function.",
					 position > 0 ? psprintf("See character %d. ", position) : ""),
			 internalerrquery(source),
			 position > 0 ? internalerrposition(position) : 0));
}

/* ---------- Parsing ---------- */

/* The one expression in "source", as the grammar gives it. */
static Node *
rule_parse_raw(const char *source, Relation rel)
{
	List	   *parsed = raw_parser(source, RAW_PARSE_PLPGSQL_EXPR);
	SelectStmt *stmt = (SelectStmt *) linitial_node(RawStmt, parsed)->stmt;
	ResTarget  *target;

	if (!IsA(stmt, SelectStmt) || list_length(stmt->targetList) != 1 ||
		stmt->distinctClause || stmt->intoClause || stmt->fromClause ||
		stmt->whereClause || stmt->groupClause || stmt->havingClause ||
		stmt->windowClause || stmt->valuesLists || stmt->sortClause ||
		stmt->limitOffset || stmt->limitCount || stmt->lockingClause ||
		stmt->withClause || stmt->op != SETOP_NONE)
		rule_refuse(source, rel, "it must be one expression", -1);
	target = linitial_node(ResTarget, stmt->targetList);
	if (target->name != NULL)
		rule_refuse(source, rel, psprintf("\"%s\" is not expected at its end", target->name), -1);
	if (target->indirection != NIL)
		rule_refuse(source, rel, "it must be one expression", -1);
	return target->val;
}

static bool
rule_calls_only_builtins(RuleCheck *check)
{
	ListCell   *lc;

	foreach(lc, check->functions)
		if (get_func_namespace(lfirst_oid(lc)) != PG_CATALOG_NAMESPACE)
			return false;
	return true;
}

static Node *
rule_analyse(const char *source, Relation rel, RuleCheck *check)
{
	ParseState *pstate = make_parsestate(NULL);
	ParseNamespaceItem *nsitem;
	Node	   *raw = rule_parse_raw(source, rel);
	Node	   *node;

	check->rel = rel;
	check->extension_id = get_extension_oid("referral", false);
	check->location = -1;
	if (rule_check_raw(raw, check))
		return NULL;

	pstate->p_sourcetext = source;
	nsitem = addRangeTableEntryForRelation(pstate, rel, AccessShareLock,
										   makeAlias("old", NIL), false, false);
	Assert(nsitem->p_rtindex == PRS2_OLD_VARNO);
	addNSItemToQuery(pstate, nsitem, false, true, false);
	nsitem = addRangeTableEntryForRelation(pstate, rel, AccessShareLock,
										   makeAlias("new", NIL), false, false);
	Assert(nsitem->p_rtindex == PRS2_NEW_VARNO);
	addNSItemToQuery(pstate, nsitem, false, true, true);

	node = transformExpr(pstate, raw, EXPR_KIND_TRIGGER_WHEN);
	node = coerce_to_boolean(pstate, node, "rule");
	assign_expr_collations(pstate, node);
	free_parsestate(pstate);

	/*
	 * Planning evaluates what is constant, so that 1 / 0 is found now; but
	 * that must not run functions of others with whatever rights we have.
	 */
	if (!rule_check_walker(node, check) && rule_calls_only_builtins(check))
		(void) expression_planner((Expr *) copyObject(node));
	return node;
}

/* The parser speaks of trigger conditions; our users write rules. */
static char *
rule_reword(const char *message)
{
	static const char *const theirs[] = {"trigger WHEN conditions", "trigger WHEN condition"};
	static const char *const ours[] = {"rule expressions", "a rule expression"};

	for (int i = 0; i < lengthof(theirs); i++)
	{
		const char *at = strstr(message, theirs[i]);

		if (at != NULL)
			return psprintf("%.*s%s%s", (int) (at - message), message, ours[i],
							at + strlen(theirs[i]));
	}
	return pstrdup(message);
}

/* An error's position is in characters already; bring it back to bytes. */
static int
error_location(const char *source, ErrorData *edata)
{
	int			position = edata->cursorpos > 0 ? edata->cursorpos : edata->internalpos;

	return position <= 0 ? -1 : pg_mbcharcliplen(source, strlen(source), position - 1);
}

/*
 * Parse and check "source" as a predicate over "rel"; RF011 when it is none.
 * What the check found is returned through "result".
 */
static Node *
rule_parse_checked(const char *source, Relation rel, RuleCheck *result)
{
	RuleCheck	check = {0};
	static const char *const parse_settings[][2] = {
		{"standard_conforming_strings", "on"}, {"transform_null_equals", "off"}
	};
	MemoryContext caller = CurrentMemoryContext;
	Node	   *volatile node = NULL;
	int			nest;

	if (strlen(source) > RULE_MAX_LENGTH)
		rule_refuse("", rel, psprintf("it is longer than %d bytes", RULE_MAX_LENGTH), -1);

	/* Read it the same way for everybody. */
	nest = security_neutral_settings();
	for (int i = 0; i < lengthof(parse_settings); i++)
		(void) set_config_option(parse_settings[i][0], parse_settings[i][1],
								 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	PG_TRY();
	{
		node = rule_analyse(source, rel, &check);
	}
	PG_CATCH();
	{
		ErrorData  *edata;
		int			category;

		MemoryContextSwitchTo(caller);
		edata = CopyErrorData();
		category = ERRCODE_TO_CATEGORY(edata->sqlerrcode);
		if (edata->sqlerrcode == ERRCODE_RF_INVALID_RULE ||
			edata->sqlerrcode == ERRCODE_INSUFFICIENT_PRIVILEGE ||
			(category != ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION &&
			 category != ERRCODE_DATA_EXCEPTION &&
			 edata->sqlerrcode != ERRCODE_UNDEFINED_SCHEMA &&
			 category != ERRCODE_FEATURE_NOT_SUPPORTED))
			PG_RE_THROW();
		FlushErrorState();
		rule_refuse(source, rel, rule_reword(edata->message), error_location(source, edata));
	}
	PG_END_TRY();
	AtEOXact_GUC(false, nest);

	if (check.refusal != NULL)
		rule_refuse(source, rel, check.refusal, check.location);
	if (result != NULL)
		*result = check;
	return node;
}

/* ---------- Compiling and evaluating ---------- */

static RuleCompiled *
rule_compile(RulePredicate *predicate, Relation rel, MemoryContext parent)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context;
	RuleCompiled *compiled;
	RuleCheck	check;
	Node	   *node;
	int			guc_level;

	node = rule_parse_checked(predicate->source, rel, &check);

	/* As for trigger conditions: the former row is inner, the new one outer. */
	ChangeVarNodes(node, PRS2_OLD_VARNO, INNER_VAR, 0);
	ChangeVarNodes(node, PRS2_NEW_VARNO, OUTER_VAR, 0);

	context = AllocSetContextCreate(parent, "referral rule", ALLOCSET_SMALL_SIZES);
	MemoryContextSwitchTo(context);
	compiled = palloc0(sizeof(RuleCompiled));
	compiled->relid = RelationGetRelid(rel);
	compiled->context = context;
	compiled->predicate = predicate;
	compiled->functions = list_copy(check.functions);
	compiled->needs_neutral = check.needs_neutral;
	pull_varattnos(node, INNER_VAR, &compiled->columns);
	/* what it says of the former row changes with each change of the row */
	compiled->row_alone = compiled->columns == NULL && !contain_mutable_functions(node);
	pull_varattnos(node, OUTER_VAR, &compiled->columns);
	compiled->checked_role = InvalidOid;
	guc_level = security_neutral_settings();	/* constants are evaluated now */
	compiled->state = ExecInitExpr(expression_planner((Expr *) copyObject(node)), NULL);
	AtEOXact_GUC(false, guc_level);
	MemoryContextSwitchTo(caller);
	return compiled;
}

/* A tree built under one role must not serve another unchecked. */
static void
rule_check_execute(RuleCompiled *compiled, Oid roleid)
{
	ListCell   *lc;

	foreach(lc, compiled->functions)
	{
		Oid			funcid = lfirst_oid(lc);

		if (!compat_may_use_schema(get_func_namespace(funcid), roleid))
			aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_SCHEMA,
						   get_namespace_name(get_func_namespace(funcid)));
		if (!compat_may_execute(funcid, roleid))
			aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FUNCTION, get_func_name(funcid));
	}
	compiled->checked_role = roleid;
}

static void
rule_error_context(void *arg)
{
	errcontext("%s", ((RulePredicate *) arg)->label);
}

static RuleCompiled *
rule_compiled(RulePredicate *predicate, Relation rel)
{
	RuleCompiled *compiled;

	for (compiled = predicate->compiled; compiled != NULL; compiled = compiled->next)
		if (compiled->relid == RelationGetRelid(rel))
			return compiled;
	compiled = rule_compile(predicate, rel, predicate->context);
	compiled->next = predicate->compiled;
	predicate->compiled = compiled;
	return compiled;
}

/*
 * Does the outcome follow from columns of the row alone?  They are added to
 * "columns", by attribute number.
 */
bool
rule_reads_row_alone(RulePredicate *predicate, Relation rel, Bitmapset **columns)
{
	RuleCompiled *compiled = rule_compiled(predicate, rel);
	int			member = -1;

	while ((member = bms_next_member(compiled->columns, member)) >= 0)
	{
		int			attno = member + FirstLowInvalidHeapAttributeNumber;

		if (attno <= 0)
			return false;		/* the row as a whole */
		*columns = bms_add_member(*columns, attno);
	}
	return compiled->row_alone;
}

/*
 * Does the predicate hold?  NULL is "no".  Results of inner steps go to the
 * caller's memory context, which for triggers is the executor's per-row one.
 */
bool
rule_holds(RulePredicate *predicate, Relation rel,
		   TupleTableSlot *newslot, TupleTableSlot *oldslot)
{
	ErrorContextCallback errcallback;
	RuleCompiled *compiled;
	ExprContext econtext = {.type = T_ExprContext};
	Oid			roleid = GetUserId();
	int			guc_level = 0;
	bool		isnull;
	Datum		result;

	errcallback.callback = rule_error_context;
	errcallback.arg = predicate;
	errcallback.previous = error_context_stack;
	error_context_stack = &errcallback;

	compiled = rule_compiled(predicate, rel);
	if (compiled->in_use)
	{
		/* called from within itself: an expression state serves one at a time */
		compiled = rule_compile(predicate, rel, CurrentMemoryContext);
		compiled->predicate = NULL;
	}
	if (compiled->checked_role != roleid)
		rule_check_execute(compiled, roleid);

	econtext.ecxt_per_tuple_memory = CurrentMemoryContext;
	econtext.ecxt_per_query_memory = CurrentMemoryContext;
	econtext.ecxt_outertuple = newslot;
	econtext.ecxt_innertuple = oldslot;

	if (compiled->predicate != NULL)
	{
		compiled->in_use = true;
		compiled->in_use_by = GetCurrentSubTransactionId();
		compiled->outer = rule_in_flight;
		rule_in_flight = compiled;
	}
	if (compiled->needs_neutral)
		guc_level = security_neutral_settings();
	result = ExecEvalExpr(compiled->state, &econtext, &isnull);
	if (compiled->needs_neutral)
		AtEOXact_GUC(false, guc_level);
	if (compiled->predicate != NULL)
	{
		rule_in_flight = compiled->outer;
		compiled->in_use = false;
	}

	error_context_stack = errcallback.previous;
	return !isnull && DatumGetBool(result);
}

/*
 * Calls "what" in a subtransaction of its own, so that an error raised by a rule
 * can be answered otherwise than by failing.  Returns true when there was none;
 * else "sqlstate" tells which.  What is nobody's fault is passed on: a cancelled
 * query, a conflict with another transaction, a lack of resources.
 */
bool
rule_try(void (*what) (void *arg), void *arg, int *sqlstate)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool done = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(caller);
	PG_TRY();
	{
		what(arg);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(caller);
		CurrentResourceOwner = owner;
		done = true;
	}
	PG_CATCH();
	{
		ErrorData  *edata;
		int			category;

		MemoryContextSwitchTo(caller);
		edata = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(caller);
		CurrentResourceOwner = owner;
		category = ERRCODE_TO_CATEGORY(edata->sqlerrcode);
		if (category == ERRCODE_OPERATOR_INTERVENTION || category == ERRCODE_TRANSACTION_ROLLBACK ||
			category == ERRCODE_INSUFFICIENT_RESOURCES)
			ReThrowError(edata);
		*sqlstate = edata->sqlerrcode;
		FreeErrorData(edata);
	}
	PG_END_TRY();
	return done;
}

/*
 * An error in the middle of a predicate may leave its state unusable: forget
 * those that the aborted (sub)transaction was evaluating.
 */
static void
rule_forget_in_flight(SubTransactionId aborted)
{
	while (rule_in_flight != NULL && rule_in_flight->in_use_by >= aborted)
	{
		RuleCompiled *dead = rule_in_flight;
		RulePredicate *predicate = dead->predicate;

		rule_in_flight = dead->outer;
		for (RuleCompiled **link = &predicate->compiled; *link != NULL; link = &(*link)->next)
			if (*link == dead)
			{
				*link = dead->next;
				MemoryContextDelete(dead->context);
				break;
			}
	}
}

static void
rule_end_of_xact(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_ABORT)
		rule_forget_in_flight(TopSubTransactionId);
}

static void
rule_end_of_subxact(SubXactEvent event, SubTransactionId mine,
					SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		rule_forget_in_flight(mine);
}

/* ---------- SQL ---------- */

PG_FUNCTION_INFO_V1(check_rule);

/*
 * check_rule(relation regclass, expression text) returns text: the expression
 * itself, or RF011.
 */
Datum
check_rule(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	char	   *source = text_to_cstring(PG_GETARG_TEXT_PP(1));
	Relation	rel = try_relation_open(relid, AccessShareLock);
	Oid			userid;
	int			sec_context;

	if (rel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_RF_NO_SUCH_ROW),
				 errmsg("the table of the rule does not exist any more"),
				 errdetail("Its oid was %u.", relid),
				 errhint("Attach the entity's table again.")));

	/* literals become values of the columns' types: code of the table's owner */
	GetUserIdAndSecContext(&userid, &sec_context);
	SetUserIdAndSecContext(rel->rd_rel->relowner, sec_context |
						   SECURITY_RESTRICTED_OPERATION | SECURITY_LOCAL_USERID_CHANGE);
	(void) rule_parse_checked(source, rel, NULL);
	SetUserIdAndSecContext(userid, sec_context);
	relation_close(rel, AccessShareLock);
	PG_RETURN_TEXT_P(cstring_to_text(source));
}
