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
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "lib/stringinfo.h"
#include "utils/lsyscache.h"

#include "compat.h"
#include "security.h"
#include "work.h"
#include "sla_clock.h"
#include "work_rank.h"
#include "work_queue.h"
#include "work_route.h"
#include "workflow_move.h"

static WorkStatement find_item =
	WORK_STATEMENT("SELECT FROM referral.work_item WHERE org_id = $1 AND entity_id = $2"
				   " AND entity = $3 AND kind = $4 AND task = '' AND closed_at IS NULL",
				   4, INT8OID, INT8OID, TEXTOID, TEXTOID);

/* somebody else may be opening it right now */
static WorkStatement insert_item =
	WORK_STATEMENT("INSERT INTO referral.work_item (org_id, queue_id, entity, entity_id,"
				   " referral_id, kind, is_primary, title, due_at, score,"
				   " routing_decision_id)"
				   " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
				   " ON CONFLICT DO NOTHING RETURNING work_item_id",
				   11, INT8OID, INT8OID, TEXTOID, INT8OID, INT8OID, TEXTOID, BOOLOID, TEXTOID,
				   TIMESTAMPTZOID, FLOAT8OID, INT8OID);

static WorkStatement forget_work =
	WORK_STATEMENT("SELECT referral.forget_work($1, $2, $3)", 3, TEXTOID, INT8OID, INT8OID);

static WorkStatement give_item =
	WORK_STATEMENT("SELECT referral.give_item($1, $2, $3, 'assign')",
				   3, INT8OID, INT8OID, TEXTOID);

/* The value of the column that a rule names; null where the rule names none. */
static Maybe
named_value(WorkRow *row, const char *column)
{
	int			attno = column == NULL ? 0 : SPI_fnumber(row->rel->desc, column);

	return attno <= 0 || row_isnull(row->newslot, attno) ? no_value
		: some(row_value(row->newslot, attno));
}

/* Columns that tell which one a row is, without anything about a person. */
static const struct
{
	const char *entity;
	const char *columns[2];
}			telling[] = {
	{"exception_item", {"category", "code"}},
	{"approval_request", {"policy"}}
};

static char *
column_text(WorkRow *row, const char *column)
{
	Oid			output;
	bool		is_varlena;
	Maybe		value = named_value(row, column);

	if (value.isnull)
		return NULL;
	getTypeOutputInfo(SPI_gettypeid(row->rel->desc, SPI_fnumber(row->rel->desc, column)),
					  &output, &is_varlena);
	return OidOutputFunctionCall(output, value.value);
}

/* What its source calls it, and which one it is. */
static Maybe
item_title(WorkRow *row, WorkSource *source)
{
	StringInfoData title;
	const char *before = ": ";

	if (source->title == NULL)
		return no_value;
	initStringInfo(&title);
	appendStringInfoString(&title, source->title);
	for (int i = 0; i < lengthof(telling); i++)
	{
		if (strcmp(telling[i].entity, row->rel->entity) != 0)
			continue;
		for (int j = 0; j < lengthof(telling[i].columns); j++)
		{
			char	   *text = column_text(row, telling[i].columns[j]);

			if (text == NULL)
				continue;
			appendStringInfo(&title, "%s%s", before, text);
			before = ", ";
		}
	}
	return some_text(title.data);
}

/* Where the work goes: as the routing decides, else to the queue of the source. */
static RouteDecision
decide(WorkRow *row, WorkSource *source, RuleSet routing, Maybe referral_id)
{
	RouteRequest request = {some_text(row->rel->entity), some(Int64GetDatum(row->org_id)),
		some(Int64GetDatum(row->id)), referral_id,
	routing.n == 0 ? NULL : work_route(row->cache, routing.ids[0]), true};

	if ((routing.n > 0 || source->is_primary) &&
		OidIsValid(get_relname_relid("routing_decision", row->cache->namespace_id)))
		return work_route_decide(row->cache, &request);
	return (RouteDecision) {
		no_value, work_queue_for(row->cache, request.org_id, some_text(source->queue)), no_value
	};
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

	/* the default of its opened_at */
	item->dates[RANK_OPENED_AT] = security_event_time();
	item->known[RANK_OPENED_AT] = true;
	take_clocks(row, item);
	if (!item->known[RANK_DUE_AT] && !stated.isnull)
	{
		item->dates[RANK_DUE_AT] = DatumGetTimestampTz(stated.value);
		item->known[RANK_DUE_AT] = true;
	}
}

/*
 * Was it?  An open item of a new row is about a former row of the same number,
 * which was deleted without triggers: it is closed as they would have done.
 */
static bool
insert(WorkRow *row, const Maybe *values)
{
	if (work_run(&insert_item, values) > 0)
		return true;
	if (!row->is_new)
		return false;
	(void) work_run(&forget_work, (Maybe[]) {some_text(row->rel->entity),
											 some(Int64GetDatum(row->org_id)), some(Int64GetDatum(row->id))});
	if (work_run(&insert_item, values) == 0)
		return false;
	work_refresh_row(row);		/* the items of other rows that serve it */
	return true;
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
	RouteDecision decision;
	Maybe		due = no_value;
	Maybe		score;
	RankItem	item = {.org_id = row->org_id,.entity = row->rel->entity,.entity_id = row->id};

	/* it may be open already: nothing is decided twice */
	if (!row->is_new && work_run(&find_item, known) > 0)
		return;
	decision = decide(row, source, routing, referral_id);
	item.referral_id = referral_id.isnull ? 0 : DatumGetInt64(referral_id.value);
	take_dates(row, source, &item);
	if (item.known[RANK_DUE_AT])
		due = some(TimestampTzGetDatum(item.dates[RANK_DUE_AT]));
	score = some(Float8GetDatum(rank_row(row->cache, &item, row->rel, row->relation, row->newslot)));
	if (insert(row, (Maybe[]) {org_id, decision.queue_id, entity, id, referral_id, kind,
							   some(BoolGetDatum(source->is_primary)), item_title(row, source),
							   due, score, decision.routing_decision_id}) &&
		!decision.owner.isnull)
	{
		work_set_planner();
		(void) work_run(&give_item, (Maybe[]) {org_id, work_column(1), decision.owner});
	}
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
	open_item(row, source, routing);
	security_end_read(&scope);
}
