/*-------------------------------------------------------------------------
 *
 * entity.c
 *		Tracked relations: the tables registered in referral.entity.
 *
 * A trigger names its entity and the id column by argument, so that the same
 * trigger works on a partition or on a shard with another name.  That the
 * table really is the registered one is checked once per backend: otherwise
 * a trigger on a table of one's own could write into the journal under
 * another entity's name.
 *
 * IDENTIFICATION
 *		src/entity.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "compat.h"
#include "entity.h"
#include "errors.h"
#include "rule.h"
#include "security.h"
#include "workflow.h"

Oid
entity_owner(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
		ReleaseSysCache(tuple);
	}
	return owner;
}

static bool entity_accept_shards = false;

void
entity_init(void)
{
	DefineCustomBoolVariable("referral.accept_shards",
							 "Lets the triggers fire on tables named as shards of a registered table, \"table_102028\".",
							 "For nodes of a distributed database only: such a table writes the journal of the registered one.",
							 &entity_accept_shards, false, PGC_SUSET, 0, NULL, NULL, NULL);
}

/* Is the name that of a shard, "table_102028", of the registered table? */
static bool
entity_is_shard(Relation rel, Oid registered)
{
	const char *name = RelationGetRelationName(rel);
	char	   *table = get_rel_name(registered);
	size_t		length = table == NULL ? 0 : strlen(table);

	return entity_accept_shards && table != NULL && rel->rd_rel->relowner == entity_owner(registered) &&
		RelationGetNamespace(rel) == get_rel_namespace(registered) &&
		strncmp(name, table, length) == 0 && name[length] == '_' &&
		name[length + 1] != '\0' &&
		strspn(name + length + 1, "0123456789") == strlen(name + length + 1);
}

/*
 * The table itself, a partition of it, or a shard: nothing else may fire the
 * entity's triggers.
 */
static void
entity_check_registered(RuleCache *cache, Relation rel, const char *entity)
{
	Oid			registered = workflow_entity_rules(cache, entity)->relid;

	if (OidIsValid(registered) &&
		(RelationGetRelid(rel) == registered ||
		 list_member_oid(rel->rd_rel->relispartition
						 ? get_partition_ancestors(RelationGetRelid(rel)) : NIL,
						 registered) ||
		 entity_is_shard(rel, registered)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_RF_NOT_DEPLOYED),
			 errmsg("table \"%s\" is not registered as entity \"%s\"",
					RelationGetRelationName(rel), entity),
			 errdetail("The trigger names an entity that referral.entity does not have for this table."),
			 errhint("Use referral.attach() to guard a table, referral.detach() to stop.")));
}

static AttrNumber
entity_column(TupleDesc desc, const char *name)
{
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (!att->attisdropped && strcmp(NameStr(att->attname), name) == 0)
			return att->attnum;
	}
	return 0;
}

static AttrNumber
entity_typed_column(TupleDesc desc, const char *name, Oid type)
{
	AttrNumber	attno = entity_column(desc, name);

	if (attno != 0 && TupleDescAttr(desc, attno - 1)->atttypid != type)
		ereport(ERROR,
				(errcode(ERRCODE_RF_NOT_DEPLOYED),
				 errmsg("column \"%s\" of a tracked table must be of type %s",
						name, format_type_be(type)),
				 errdetail("It is of type %s.",
						   format_type_be(TupleDescAttr(desc, attno - 1)->atttypid)),
				 errhint("Give the table's own column another name.")));
	return attno;
}

/* A column that may be there to choose a workflow by; of another type, it is not it. */
static AttrNumber
entity_scope_column(TupleDesc desc, const char *name, Oid type)
{
	AttrNumber	attno = entity_column(desc, name);

	return attno != 0 && TupleDescAttr(desc, attno - 1)->atttypid == type ? attno : 0;
}

static Oid
entity_state_type(RuleCache *cache)
{
	return GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("state"),
						   ObjectIdGetDatum(cache->namespace_id));
}

static JournalKind
entity_journal_kind(Oid type)
{
	switch (type)
	{
		case BOOLOID:
			return JOURNAL_BOOL;
		case INT2OID:
		case INT4OID:
		case INT8OID:
			return JOURNAL_INTEGER;
		case NUMERICOID:
			return JOURNAL_NUMERIC;
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			return JOURNAL_TEXT;
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return JOURNAL_DATETIME;
		case JSONBOID:
			return JOURNAL_JSONB;
		case UUIDOID:
			return JOURNAL_OUTPUT;
		default:
			return type_is_enum(type) ? JOURNAL_OUTPUT : JOURNAL_OTHER;
	}
}

static void
entity_fill_columns(TrackedRel *tracked)
{
	AttrNumber	carried[] = {tracked->org_id, tracked->id, tracked->version, tracked->step,
	tracked->state, tracked->entered_at, tracked->transition_id};

	tracked->columns = palloc0(sizeof(TrackedColumn) * tracked->desc->natts);
	for (int i = 0; i < tracked->desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(tracked->desc, i);
		TrackedColumn *column = &tracked->columns[i];

		if (att->attisdropped)
			continue;			/* JOURNAL_CARRIED */
		column->treatment = JOURNAL_TOLD;
		column->kind = entity_journal_kind(att->atttypid);
		if (column->kind == JOURNAL_OUTPUT)
		{
			Oid			output;
			bool		is_varlena;

			getTypeOutputInfo(att->atttypid, &output, &is_varlena);
			fmgr_info_cxt(output, &column->function, CurrentMemoryContext);
		}
		if (column->kind == JOURNAL_OTHER)
		{
			/* to_jsonb() learns its argument's type from the call expression */
			FuncExpr   *call = makeFuncExpr(F_TO_JSONB, JSONBOID,
											list_make1(makeNullConst(att->atttypid, att->atttypmod,
																	 att->attcollation)),
											InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);

			fmgr_info_cxt(F_TO_JSONB, &column->function, CurrentMemoryContext);
			fmgr_info_set_expr((Node *) call, &column->function);
		}
	}
	for (int i = 0; i < lengthof(carried); i++)
		if (carried[i] != 0)
			tracked->columns[carried[i] - 1].treatment = JOURNAL_CARRIED;
}

/* What journal_column says of the entity's columns, and the key for digests. */
static void
entity_load_treatments(RuleCache *cache, TrackedRel *tracked)
{
	OwnerScope	scope;
	uint8	   *key = MemoryContextAlloc(cache->context, DIGEST_KEY_LENGTH);
	bytea	   *stored;
	bool		isnull;

	security_begin_read(&scope, cache->owner);
	security_read("SELECT column_name, treatment = 'sensitive' FROM referral.journal_column WHERE entity = $1",
				  TEXTOID, CStringGetTextDatum(tracked->entity));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		AttrNumber	attno = entity_column(tracked->desc, SPI_getvalue(row, SPI_tuptable->tupdesc, 1));

		if (attno != 0 && tracked->columns[attno - 1].treatment == JOURNAL_TOLD)
			tracked->columns[attno - 1].treatment =
				DatumGetBool(SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &isnull))
				? JOURNAL_SENSITIVE : JOURNAL_IGNORED;
	}
	security_read("SELECT key FROM referral.journal_key WHERE $1", BOOLOID, BoolGetDatum(true));
	if (SPI_processed == 1)
	{
		stored = DatumGetByteaPP(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
		if (VARSIZE_ANY_EXHDR(stored) == DIGEST_KEY_LENGTH)
		{
			memcpy(key, VARDATA_ANY(stored), DIGEST_KEY_LENGTH);
			tracked->digest_key = key;
		}
	}
	security_end_read(&scope);
}

/*
 * The cached description of "rel" as a tracked relation, built when needed.
 */
TrackedRel *
entity_tracked(RuleCache *cache, Relation rel, const char *entity, const char *id_column)
{
	Oid			relid = RelationGetRelid(rel);
	TrackedRelEntry *entry;
	TrackedRel *tracked;
	TupleDesc	desc;
	MemoryContext caller;

	entry = hash_search(cache->relations, &relid, HASH_FIND, NULL);
	if (entry != NULL)
		return entry->rel;

	rule_cache_watch(relid);
	entity_check_registered(cache, rel, entity);

	caller = MemoryContextSwitchTo(cache->context);
	desc = CreateTupleDescCopyConstr(RelationGetDescr(rel));
	tracked = palloc0(sizeof(TrackedRel));
	tracked->relid = relid;
	tracked->owner = rel->rd_rel->relowner;
	tracked->entity = pstrdup(entity);
	tracked->desc = desc;
	tracked->id = entity_column(desc, id_column);
	if (tracked->id != 0 && TupleDescAttr(desc, tracked->id - 1)->attgenerated)
		tracked->id = 0;		/* not known yet when the guard runs */
	tracked->org_id = entity_typed_column(desc, "org_id", INT8OID);
	tracked->version = entity_typed_column(desc, "version", INT8OID);
	/* rule tables have a workflow_id too, but nothing that moves */
	if (entity_column(desc, "entered_at") != 0 && entity_column(desc, "workflow_id") != 0)
	{
		tracked->workflow_id = entity_typed_column(desc, "workflow_id", INT8OID);
		tracked->region = entity_scope_column(desc, "region", TEXTOID);
		tracked->site_id = entity_scope_column(desc, "site_id", INT8OID);
		tracked->specialty = entity_scope_column(desc, "specialty", TEXTOID);
		tracked->step = entity_typed_column(desc, "step", TEXTOID);
		tracked->state = entity_typed_column(desc, "state",
											 entity_state_type(cache));
		tracked->status_reason = entity_typed_column(desc, "status_reason", TEXTOID);
		tracked->entered_at = entity_typed_column(desc, "entered_at", TIMESTAMPTZOID);
		tracked->transition_id = entity_typed_column(desc, "transition_id", INT8OID);
	}
	if (tracked->id == 0 ||
		(tracked->workflow_id != 0 &&
		 (tracked->step == 0 || tracked->state == 0 || tracked->status_reason == 0 ||
		  tracked->entered_at == 0 || tracked->transition_id == 0 || tracked->version == 0)))
		ereport(ERROR,
				(errcode(ERRCODE_RF_NOT_DEPLOYED),
				 errmsg("table \"%s\" lacks a column that entity \"%s\" needs",
						RelationGetRelationName(rel), entity),
				 errdetail("Needed are %s, and for a workflow workflow_id, step, state, status_reason, entered_at, version and transition_id.",
						   quote_identifier(id_column)),
				 errhint("Run referral.attach() again.")));
	entity_fill_columns(tracked);
	entity_load_treatments(cache, tracked);
	tracked->nullslot = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	ExecStoreAllNullTuple(tracked->nullslot);
	MemoryContextSwitchTo(caller);

	entry = hash_search(cache->relations, &relid, HASH_ENTER, NULL);
	entry->rel = tracked;
	return tracked;
}

/* Per-statement memory of a trigger, in flinfo->fn_extra. */
typedef struct TriggerMemo
{
	uint64		serial;
	uint64		generation;
	RuleCache  *cache;
	TrackedRel *rel;
	void	   *extra;			/* the trigger's own */
} TriggerMemo;

static uint64 trigger_serial = 0;

static void
fill_memo(TriggerMemo *memo, RuleCache *cache, TriggerData *trigdata)
{
	Trigger    *trigger = trigdata->tg_trigger;

	if (trigger->tgnargs < 2)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("trigger \"%s\" needs at least two arguments: the entity and its id column",
						trigger->tgname)));
	cache->pins++;
	PG_TRY();
	{
		memo->rel = entity_tracked(cache, trigdata->tg_relation,
								   trigger->tgargs[0], trigger->tgargs[1]);
		memo->cache = cache;
		memo->generation = cache->generation;
	}
	PG_FINALLY();
	{
		cache->pins--;
	}
	PG_END_TRY();
}

/*
 * The tracked relation a trigger fires for.  Looked up once per statement,
 * which is also when other sessions' committed rule changes are accepted.
 */
TrackedRel *
entity_of_trigger(TriggerData *trigdata, RuleCache **cache, FmgrInfo *flinfo)
{
	TriggerMemo *memo = (TriggerMemo *) flinfo->fn_extra;

	if (memo == NULL)
	{
		memo = flinfo->fn_extra = MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(TriggerMemo));
		memo->serial = ++trigger_serial;
		fill_memo(memo, rule_cache(true), trigdata);
	}
	else if (memo->generation != rule_generation ||
			 memo->rel->relid != RelationGetRelid(trigdata->tg_relation))
		fill_memo(memo, rule_cache(false), trigdata);
	*cache = memo->cache;
	return memo->rel;
}

/* A pointer that the trigger may keep something behind, for the statement. */
void **
entity_trigger_extra(FmgrInfo *flinfo)
{
	return &((TriggerMemo *) flinfo->fn_extra)->extra;
}

/* Tells the statements apart in which the trigger fires. */
uint64
entity_trigger_serial(FmgrInfo *flinfo)
{
	return ((TriggerMemo *) flinfo->fn_extra)->serial;
}

/*
 * Compare like datum_image_eq(), but take two identical TOAST pointers for
 * the same value without fetching it.
 */
bool
entity_column_changed(TrackedRel *rel, int index,
					  TupleTableSlot *oldslot, TupleTableSlot *newslot)
{
	Form_pg_attribute att = TupleDescAttr(rel->desc, index);
	Datum		a = oldslot->tts_values[index];
	Datum		b = newslot->tts_values[index];

	if (oldslot->tts_isnull[index] || newslot->tts_isnull[index])
		return oldslot->tts_isnull[index] != newslot->tts_isnull[index];
	if (att->attbyval)
		return a != b;
	if (att->attlen > 0)
		return memcmp(DatumGetPointer(a), DatumGetPointer(b), att->attlen) != 0;
	if (att->attlen == -1 &&
		VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(a)) &&
		VARATT_IS_EXTERNAL_ONDISK(DatumGetPointer(b)) &&
		memcmp(DatumGetPointer(a), DatumGetPointer(b),
			   VARSIZE_EXTERNAL(DatumGetPointer(a))) == 0)
		return false;
	return !datum_image_eq(a, b, att->attbyval, att->attlen);
}

/* RF017 when org_id or the id column has changed. */
void
entity_check_identity(TrackedRel *rel, TupleTableSlot *oldslot, TupleTableSlot *newslot)
{
	if ((rel->org_id == 0 ||
		 !entity_column_changed(rel, rel->org_id - 1, oldslot, newslot)) &&
		!entity_column_changed(rel, rel->id - 1, oldslot, newslot))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_RF_IDENTITY),
			 errmsg("the identity of a tracked row may not change"),
			 errdetail("org_id and %s of entity \"%s\" name the row in the journal for ever.",
					   NameStr(TupleDescAttr(rel->desc, rel->id - 1)->attname), rel->entity),
			 errhint("Insert a new row instead.")));
}

int64
entity_get_int64(TrackedRel *rel, AttrNumber attno, Datum value)
{
	switch (TupleDescAttr(rel->desc, attno - 1)->atttypid)
	{
		case INT2OID:
			return DatumGetInt16(value);
		case INT4OID:
			return DatumGetInt32(value);
		case INT8OID:
			return DatumGetInt64(value);
		default:
			ereport(ERROR,
					(errcode(ERRCODE_RF_NOT_DEPLOYED),
					 errmsg("column \"%s\" of entity \"%s\" must be of an integer type",
							NameStr(TupleDescAttr(rel->desc, attno - 1)->attname), rel->entity),
					 errhint("Attach the table with an integer id column.")));
	}
	return 0;					/* keep compiler quiet */
}

/*
 * The tracked relation of an entity and a slot that holds the record, which
 * must be a row of the entity's table.
 */
TrackedRel *
entity_of_record(RuleCache *cache, const char *entity, HeapTupleHeader record,
				 TupleTableSlot **slot)
{
	EntityRules *rules = workflow_entity_rules(cache, entity);
	HeapTupleData tuple = {0};
	Relation	table;
	TrackedRel *rel;

	if (!OidIsValid(rules->relid) ||
		HeapTupleHeaderGetTypeId(record) != get_rel_type_id(rules->relid))
		ereport(ERROR,
				(errcode(ERRCODE_RF_NOT_DEPLOYED),
				 errmsg("the row is not one of entity \"%s\"", entity),
				 errdetail("referral.entity has another table for it, or none."),
				 errhint("Give a row of the entity's own table.")));
	table = table_open(rules->relid, AccessShareLock);
	rel = entity_tracked(cache, table, entity, rules->id_column);
	table_close(table, NoLock);
	tuple.t_len = HeapTupleHeaderGetDatumLength(record);
	tuple.t_data = record;
	*slot = MakeSingleTupleTableSlot(rel->desc, &TTSOpsHeapTuple);
	ExecStoreHeapTuple(heap_copytuple(&tuple), *slot, true);
	slot_getallattrs(*slot);
	return rel;
}
