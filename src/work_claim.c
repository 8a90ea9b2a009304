/*-------------------------------------------------------------------------
 *
 * work_claim.c
 *		claim_next(): the items that rank first, in time that does not grow.
 *
 * The index of what can be claimed is in the order of the ranks.  What was
 * claimed leaves dead entries at its head, which vacuum removes only once no
 * snapshot can see them.  So each backend remembers, for each queue, a mark:
 * when it was set, nothing above it could be claimed, or could become so again
 * by a transaction that was open then and fails.  Later arrivals are found by the
 * transaction that brought them (column arrived): one that the snapshot of the
 * mark did not see yet, or our own.  Each look at them takes its own snapshot for
 * the mark, so that every arrival is looked at once, however long others stay
 * open.  A mark is forgotten when a transaction of ours that may have set it is
 * rolled back.
 *
 * IDENTIFICATION
 *		src/work_claim.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "rule.h"
#include "security.h"
#include "work.h"
#include "work_claimer.h"
#include "work_find.h"
#include "work_sql.h"

/* So many claims are made before the mark moves on. */
#define CLAIMS_PER_MARK	32

/* So many spans of arrivals are looked at rather than all from the top. */
#define MAX_SPANS		1000

typedef struct MarkKey
{
	int64		org_id;
	int64		queue_id;
} MarkKey;

typedef struct Mark
{
	MarkKey		key;
	bool		is_set;
	ItemPlace	place;
	uint64		xmax;			/* what came by transactions from here on is not known, */
	uint64		own;			/* nor by our own then; 0: none */
	uint64	   *open;			/* nor by these */
	int			nopen;
	int			claims;			/* since it was set */
} Mark;

static HTAB *marks = NULL;
static MemoryContext marks_context = NULL;	/* theirs */

/* Who claims, and in which queue. */
typedef struct Claim
{
	RuleCache  *cache;
	int64		org_id;
	Claimer		claimer;
	Mark	   *mark;
} Claim;

/* They are locked, so they are still there. */
static WorkStatement take =
	WORK_STATEMENT("UPDATE referral.work_item w SET status = 'in-progress', verb = 'claim', owner = $2,"
				   " claimed_at = pg_catalog.now(), lease_until = pg_catalog.now() + $3"
				   " WHERE w.ctid = ANY ($1)"
				   " RETURNING w.work_item_id, w.entity, w.entity_id, w.referral_id, w.kind, w.title,"
				   "  w.score, w.due_at, w.lease_until",
				   3, TIDARRAYOID, TEXTOID, INTERVALOID);

/* of what it returns */
#define C_WORK_ITEM_ID 1
#define C_SCORE 7
#define C_NCOLUMNS 9

/* ---------- Marks ---------- */

static void
forget_marks(void)
{
	if (marks != NULL)
		MemoryContextDelete(marks_context);
	marks = NULL;
}

/* What was claimed by a transaction that is prepared may come back as well. */
static void
claim_end_of_xact(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		forget_marks();
}

static void
claim_end_of_subxact(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		forget_marks();
}

void
work_claim_init(void)
{
	RegisterXactCallback(claim_end_of_xact, NULL);
	RegisterSubXactCallback(claim_end_of_subxact, NULL);
}

static void
start_from_top(Mark *mark)
{
	mark->is_set = false;
	mark->place = (ItemPlace) {get_float8_infinity(), PG_INT64_MIN};
	mark->claims = CLAIMS_PER_MARK;
}

static Mark *
find_mark(Claim *claim)
{
	MarkKey		key = {claim->org_id, claim->claimer.queue_id};
	Mark	   *mark;
	bool		found;

	if (marks == NULL)
	{
		HASHCTL		ctl = {.keysize = sizeof(MarkKey),.entrysize = sizeof(Mark)};

		marks_context = AllocSetContextCreate(TopMemoryContext, "referral claim marks", ALLOCSET_SMALL_SIZES);
		ctl.hcxt = marks_context;
		marks = hash_create("referral claim marks", 16, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	mark = hash_search(marks, &key, HASH_ENTER, &found);
	if (!found)
	{
		mark->is_set = false;
		mark->open = NULL;
	}
	if (!mark->is_set)
		start_from_top(mark);
	return mark;
}

/* A transaction id of a snapshot taken before "next" was; they do not lie far apart. */
static uint64
widen(TransactionId xid, FullTransactionId next)
{
	return U64FromFullTransactionId(next) - (uint32) (XidFromFullTransactionId(next) - xid);
}

/* What the snapshot sees is known. */
static void
note_snapshot(Mark *mark, Snapshot snapshot)
{
	FullTransactionId next = ReadNextFullTransactionId();

	if (mark->open != NULL)
		pfree(mark->open);
	mark->open = MemoryContextAlloc(marks_context, sizeof(uint64) * Max(snapshot->xcnt, 1));
	mark->nopen = snapshot->xcnt;
	for (int i = 0; i < mark->nopen; i++)
		mark->open[i] = widen(snapshot->xip[i], next);
	mark->xmax = widen(snapshot->xmax, next);
	mark->own = U64FromFullTransactionId(GetTopFullTransactionIdIfAny());
}

/*
 * What has arrived above the mark since it was set is looked at first: by spans of
 * transactions.  What a restored dump has from another cluster is in none.
 */
static void
look_at_arrivals(Mark *mark, ItemTable *items)
{
	uint64		first = arrival_span(mark->xmax);
	uint64		last = arrival_span(widen(GetActiveSnapshot()->xmax, ReadNextFullTransactionId()));
	uint64		own = arrival_span(U64FromFullTransactionId(GetTopFullTransactionIdIfAny()));
	uint64		former = arrival_span(mark->own);

	for (uint64 span = first; span <= last; span += ARRIVAL_SPAN)
		work_find_arrival(items, span, &mark->place);
	/* our own is in no snapshot of ours, and may be the newest */
	if (own > last)
		work_find_arrival(items, own, &mark->place);
	if (mark->own != 0 && former < first)
		work_find_arrival(items, former, &mark->place);
	for (int i = 0; i < mark->nopen; i++)
		if (arrival_span(mark->open[i]) < first)
			work_find_arrival(items, arrival_span(mark->open[i]), &mark->place);
	note_snapshot(mark, GetActiveSnapshot());
}

/* Above the mark nothing is left but what has arrived; after very long, we start from the top. */
static void
catch_up(Mark *mark, ItemTable *items)
{
	uint64		xmax = widen(GetActiveSnapshot()->xmax, ReadNextFullTransactionId());

	if (mark->is_set && xmax - mark->xmax > MAX_SPANS * ARRIVAL_SPAN)
		start_from_top(mark);
	if (mark->is_set)
		look_at_arrivals(mark, items);
}

static void
begin_look(Claim *claim, ItemTable *items)
{
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	work_find_open(claim->cache, claim->org_id, claim->claimer.queue_id, items);
}

static void
end_look(ItemTable *items)
{
	work_find_close(items);
	PopActiveSnapshot();
}

/* Whatever others have locked, and what they are claiming, counts as being there. */
static void
move_mark(Claim *claim, int64 taken)
{
	Mark	   *mark = claim->mark;
	ItemTable	items;

	mark->claims += Max(taken, 1);
	if (mark->claims < CLAIMS_PER_MARK)
		return;
	begin_look(claim, &items);
	/* nothing that can be claimed: only what arrives is worth a look */
	if (!work_find_first(&items, mark->place, &mark->place))
		mark->place = (ItemPlace) {-get_float8_infinity(), PG_INT64_MAX};
	note_snapshot(mark, GetActiveSnapshot());
	end_look(&items);
	mark->claims = 0;
	mark->is_set = true;
}

/* ---------- Claiming ---------- */

/* Locks the n that rank first; NULL when there are none. */
static ArrayType *
lock_items(Claim *claim)
{
	ArrayType  *tids;
	ItemTable	items;
	bool		is_stale;

	do
	{
		begin_look(claim, &items);
		catch_up(claim->mark, &items);
		tids = work_find_and_lock(&items, claim->mark->place, claim->claimer.n, &is_stale);
		end_look(&items);
	} while (is_stale);
	return tids;
}

/* By rank: they come as they lie. */
static int
compare_items(const void *a, const void *b)
{
	uint64		i = *(const uint64 *) a;
	uint64		j = *(const uint64 *) b;
	bool		isnull;
	double		x = DatumGetFloat8(rule_read_datum(i, C_SCORE, &isnull));
	double		y = DatumGetFloat8(rule_read_datum(j, C_SCORE, &isnull));

	if (x != y)
		return x > y ? -1 : 1;
	return rule_read_int64(i, C_WORK_ITEM_ID) < rule_read_int64(j, C_WORK_ITEM_ID) ? -1 : 1;
}

/* The items into the result. */
static void
put_items(ReturnSetInfo *rsinfo, uint64 n)
{
	uint64	   *order = palloc(sizeof(uint64) * Max(n, 1));

	for (uint64 i = 0; i < n; i++)
		order[i] = i;
	qsort(order, n, sizeof(uint64), compare_items);
	for (uint64 i = 0; i < n; i++)
	{
		Datum		values[C_NCOLUMNS];
		bool		nulls[C_NCOLUMNS];

		for (int c = 0; c < C_NCOLUMNS; c++)
			values[c] = rule_read_datum(order[i], c + 1, &nulls[c]);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
}

static void
claim_items(Claim *claim, Datum queue, int64 n, ReturnSetInfo *rsinfo)
{
	ArrayType  *tids;
	uint64		taken = 0;

	claim->claimer = work_claimer(claim->cache, claim->org_id, queue, n);
	if (claim->claimer.n <= 0)
		return;
	claim->mark = find_mark(claim);
	tids = lock_items(claim);
	if (tids != NULL)
		taken = work_run(&take, (Maybe[]) {some(PointerGetDatum(tids)), some_text(security_actor()),
										   some(IntervalPGetDatum(&claim->claimer.lease))});
	put_items(rsinfo, taken);
	/* a trigger may have made us forget it */
	claim->mark = find_mark(claim);
	move_mark(claim, taken);
}

PG_FUNCTION_INFO_V1(claim_next);

/* claim_next(org_id bigint, queue text, n integer) returns setof items */
Datum
claim_next(PG_FUNCTION_ARGS)
{
	Claim		claim = {.cache = rule_cache(true)};
	OwnerScope	scope;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		return (Datum) 0;
	claim.org_id = PG_GETARG_INT64(0);
	security_begin_read(&scope, claim.cache->owner);
	work_set_planner();
	claim_items(&claim, PG_GETARG_DATUM(1), PG_GETARG_INT32(2), (ReturnSetInfo *) fcinfo->resultinfo);
	security_end_read(&scope);
	return (Datum) 0;
}
