/*-------------------------------------------------------------------------
 *
 * work_item.c
 *		Opening the item of a row that is work.
 *
 * Every referral that comes in gets one, so this is done with few statements,
 * prepared once, as the owner of the model.
 *
 * IDENTIFICATION
 *		src/work_item.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "security.h"
#include "work.h"
#include "sla_clock.h"
#include "work_rank.h"
#include "workflow_move.h"

typedef enum ItemStatement
{
	FIND_ITEM, FIND_QUEUE, QUEUE_FOR, ROUTE_ROW, READ_DECISION, OPEN_ITEM, OPEN_IF_NEW, GIVE_ITEM,
	NSTATEMENTS
} ItemStatement;

#define MAX_ARGS 11

#define INSERT_ITEM \
	"INSERT INTO referral.work_item (org_id, queue_id, entity, entity_id, referral_id, kind," \
	" is_primary, title, opened_at, due_at, score, routing_decision_id)" \
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, pg_catalog.now(), $9, $10, $11)"

static const struct
{
	const char *sql;
	int			nargs;
	Oid			argtypes[MAX_ARGS];
}			statements[NSTATEMENTS] = {
	[FIND_ITEM] = {
		"SELECT FROM referral.work_item WHERE org_id = $1 AND entity_id = $2 AND entity = $3"
		" AND kind = $4 AND task = '' AND closed_at IS NULL",
	4, {INT8OID, INT8OID, TEXTOID, TEXTOID}},
	/* what effective_queue() says of the queue that has nothing to fall back to */
	[FIND_QUEUE] = {
		"SELECT q.queue_id FROM referral.queue q WHERE q.org_id = $1 AND q.name = $2"
		" AND q.fallback_queue_id IS NULL",
	2, {INT8OID, TEXTOID}},
	[QUEUE_FOR] = {
		"SELECT referral.queue_for($1, $2)",
	2, {INT8OID, TEXTOID}},
	[ROUTE_ROW] = {
		"SELECT referral.route_row($1, $2, $3, $4)",
	4, {TEXTOID, INT8OID, INT8OID, INT8ARRAYOID}},
	[READ_DECISION] = {
		"SELECT queue_id, owner FROM referral.routing_decision WHERE org_id = $1 AND routing_decision_id = $2",
	2, {INT8OID, INT8OID}},
	[OPEN_ITEM] = {
		INSERT_ITEM " RETURNING work_item_id",
		11, {INT8OID, INT8OID, TEXTOID, INT8OID, INT8OID, TEXTOID, BOOLOID, TEXTOID,
	TIMESTAMPTZOID, FLOAT8OID, INT8OID}},
	/* somebody else may be opening it right now */
	[OPEN_IF_NEW] = {
		INSERT_ITEM " ON CONFLICT DO NOTHING RETURNING work_item_id",
		11, {INT8OID, INT8OID, TEXTOID, INT8OID, INT8OID, TEXTOID, BOOLOID, TEXTOID,
	TIMESTAMPTZOID, FLOAT8OID, INT8OID}},
	[GIVE_ITEM] = {
		"SELECT referral.give_item($1, $2, $3, 'assign')",
	3, {INT8OID, INT8OID, TEXTOID}},
};

static SPIPlanPtr plans[NSTATEMENTS];

/* A value of SQL that may be null. */
typedef struct Maybe
{
	Datum		value;
	bool		isnull;
} Maybe;

static const Maybe no_value = {(Datum) 0, true};

static Maybe
some(Datum value)
{
	return (Maybe) {value, false};
}

/* A text, null for NULL. */
static Maybe
some_text(const char *value)
{
	return value == NULL ? no_value : some(CStringGetTextDatum(value));
}

/*
 * Plans are made once and kept, without looking at the values: statistics may be
 * missing, and the rows are found by their keys.  Holds until the end of the
 * scope that was begun.
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
static uint64
run(ItemStatement which, const Maybe *given)
{
	Datum		args[MAX_ARGS];
	char		nulls[MAX_ARGS];

	for (int i = 0; i < statements[which].nargs; i++)
	{
		args[i] = given[i].value;
		nulls[i] = given[i].isnull ? 'n' : ' ';
	}
	if (plans[which] == NULL)
	{
		SPIPlanPtr	plan = SPI_prepare(statements[which].sql, statements[which].nargs,
									   (Oid *) statements[which].argtypes);

		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "could not prepare: %s", statements[which].sql);
		plans[which] = plan;
	}
	if (SPI_execute_plan(plans[which], args, nulls, false, 0) < 0)
		elog(ERROR, "could not run: %s", statements[which].sql);
	return SPI_processed;
}

/* A column of the first row; of a type that is passed by value. */
static Maybe
read_column(int column)
{
	Maybe		result = {0};

	result.value = rule_read_datum(0, column, &result.isnull);
	return result;
}

/* The value of the column that a rule names; null where the rule names none. */
static Maybe
named_value(WorkRow *row, const char *column)
{
	int			attno = column == NULL ? 0 : SPI_fnumber(row->rel->desc, column);

	return attno <= 0 || row_isnull(row->newslot, attno) ? no_value
		: some(row_value(row->newslot, attno));
}

static Maybe
queue_for(WorkRow *row, WorkSource *source)
{
	Maybe		args[] = {some(Int64GetDatum(row->org_id)),
	some_text(source->queue == NULL ? "manual_triage" : source->queue)};

	if (run(FIND_QUEUE, args) == 0)
		(void) run(QUEUE_FOR, args);
	return read_column(1);
}

/* Where the routing sends it; false: nowhere in particular. */
static bool
decide(WorkRow *row, WorkSource *source, RuleSet routing, Maybe *queue, Maybe *decision, Maybe *owner)
{
	Maybe		args[] = {some_text(row->rel->entity), some(Int64GetDatum(row->org_id)),
		some(Int64GetDatum(row->id)),
	some(PointerGetDatum(rule_ids_array(routing.ids, routing.n)))};
	Maybe		key[] = {args[1], no_value};

	if ((routing.n == 0 && !source->is_primary) ||
		!OidIsValid(get_relname_relid("routing_decision", row->cache->namespace_id)))
		return false;
	(void) run(ROUTE_ROW, args);
	key[1] = *decision = read_column(1);
	if (run(READ_DECISION, key) == 0)
		return false;
	*queue = read_column(1);
	*owner = read_column(2);
	return !queue->isnull;
}

/* What the open clocks of the row say: when the first is due, and when the payer has to decide. */
static void
take_clocks(WorkRow *row, RankItem *item)
{
	Change		change = {.cache = row->cache,.rel = row->rel,.org_id = row->org_id,.id = row->id};
	ListCell   *lc;

	clock_read(&change);
	foreach(lc, change.clocks)
	{
		Clock	   *clock = lfirst(lc);

		if (!clock->is_open || !clock->has_due)
			continue;
		if (!item->known[RANK_DUE_AT] || clock->due_at < item->dates[RANK_DUE_AT])
			item->dates[RANK_DUE_AT] = clock->due_at;
		item->known[RANK_DUE_AT] = true;
		if (strcmp(clock->policy, "payer_decision") == 0)
		{
			item->dates[RANK_PAYER_DEADLINE] = clock->due_at;
			item->known[RANK_PAYER_DEADLINE] = true;
		}
	}
}

/* The dates of the item: it is due by the first of its clocks, else as the row says. */
static void
take_dates(WorkRow *row, WorkSource *source, RankItem *item)
{
	Maybe		stated = named_value(row, source->due_column);

	item->dates[RANK_OPENED_AT] = GetCurrentTransactionStartTimestamp();
	item->known[RANK_OPENED_AT] = true;
	take_clocks(row, item);
	if (!item->known[RANK_DUE_AT] && !stated.isnull)
	{
		item->dates[RANK_DUE_AT] = DatumGetTimestampTz(stated.value);
		item->known[RANK_DUE_AT] = true;
	}
}

static void
open_item(WorkRow *row, WorkSource *source, RuleSet routing)
{
	Maybe		org_id = some(Int64GetDatum(row->org_id));
	Maybe		id = some(Int64GetDatum(row->id));
	Maybe		entity = some_text(row->rel->entity);
	Maybe		kind = some_text(source->kind);
	Maybe		known[] = {org_id, id, entity, kind};
	Maybe		referral_id = strcmp(row->rel->entity, "referral") == 0 ? id
		: named_value(row, source->referral_column);
	Maybe		queue;
	Maybe		decision = no_value;
	Maybe		owner = no_value;
	Maybe		due = no_value;
	Maybe		score;
	RankItem	item = {.org_id = row->org_id,.entity = row->rel->entity,.entity_id = row->id};

	/* it may be open already: nothing is decided twice */
	if (!row->is_new && run(FIND_ITEM, known) > 0)
		return;
	if (!decide(row, source, routing, &queue, &decision, &owner))
		queue = queue_for(row, source);
	item.referral_id = referral_id.isnull ? 0 : DatumGetInt64(referral_id.value);
	take_dates(row, source, &item);
	if (item.known[RANK_DUE_AT])
		due = some(TimestampTzGetDatum(item.dates[RANK_DUE_AT]));
	score = some(Float8GetDatum(rank_row(row->cache, &item, row->rel, row->relation, row->newslot)));
	if (run(row->is_new ? OPEN_ITEM : OPEN_IF_NEW,
			(Maybe[]) {org_id, queue, entity, id, referral_id, kind,
					   some(BoolGetDatum(source->is_primary)), some_text(source->title),
					   due, score, decision}) > 0 && !owner.isnull)
		(void) run(GIVE_ITEM, (Maybe[]) {org_id, read_column(1), owner});
}

/*
 * The item that a rule of work_source asks for, where the first routing rule
 * sends it, else in the queue of the source.
 */
void
work_item_open(WorkRow *row, WorkSource *source, RuleSet routing)
{
	OwnerScope	scope;

	security_begin_read(&scope, row->cache->owner);
	work_set_planner();
	open_item(row, source, routing);
	security_end_read(&scope);
}
