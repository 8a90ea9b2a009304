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

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/float.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/xid8.h"

#include "compat.h"
#include "rule.h"
#include "security.h"
#include "statement.h"
#include "work.h"
#include "work_sql.h"

/* So many claims are made before the mark moves on. */
#define CLAIMS_PER_MARK	32

typedef struct MarkKey
{
	int64		org_id;
	int64		queue_id;
} MarkKey;

typedef struct Mark
{
	MarkKey		key;
	bool		is_set;
	double		score;
	int64		work_item_id;
	Datum		snapshot;		/* pg_snapshot: what it saw is known */
	uint64		own;			/* our transaction then, which may bring more; 0: none */
	int			claims;			/* since it was set */
} Mark;

static HTAB *marks = NULL;
static MemoryContext marks_context = NULL;	/* theirs */

/* Who claims, and in which queue. */
typedef struct Claim
{
	RuleCache  *cache;
	Datum		org_id;
	Datum		queue_id;
	Datum		actor;
	Datum		lease;
	int64		n;
	Mark	   *mark;
} Claim;

typedef enum ClaimStatement
{
	MAY_CHANGE_ORG, REQUIRE_CLAIMER, REQUIRE_NUMBER, REFUSE_QUEUE, FIND_QUEUE, ROOM_OF, FIND_ARRIVAL, TAKE, FIND_MARK,
	NSTATEMENTS
} ClaimStatement;

#define MAX_ARGS 7
#define MAX_CLAIMS 1000			/* at once */
#define C_SCORE 7				/* of what is returned */

#define CAN_BE_CLAIMED \
	"org_id = $1 AND queue_id = $2 AND status IN ('ready', 'requested')"

static const struct
{
	const char *sql;
	int			nargs;
	Oid			argtypes[MAX_ARGS];
}			statements[NSTATEMENTS] = {
	[MAY_CHANGE_ORG] = {
		"SELECT referral.may_change_org($1)",
	1, {INT8OID}},
	[REQUIRE_CLAIMER] = {
		"SELECT referral.require_claimer($1)",
	1, {INT8OID}},
	[REQUIRE_NUMBER] = {
		"SELECT referral.require_number($1, $2)",
	2, {INT4OID, INT4OID}},
	[REFUSE_QUEUE] = {
		"SELECT referral.refuse_queue($1, $2)",
	2, {INT8OID, TEXTOID}},
	[FIND_QUEUE] = {
		/* room_of() refuses who may not; that a login is a model we know before */
		"SELECT q.queue_id, q.lease, m.queue_member_id IS NULL OR m.capacity IS NOT NULL"
		"  OR EXISTS (SELECT FROM referral.absence a"
		"   WHERE a.org_id = $1 AND a.member = $3 AND a.during @> pg_catalog.now())"
		"  OR ($3 <> SESSION_USER AND referral.is_model($1, $3))"
		" FROM referral.queue q LEFT JOIN referral.queue_member m ON m.org_id = q.org_id"
		"  AND m.queue_id = q.queue_id AND m.member = $3 AND m.during @> pg_catalog.now()"
		" WHERE q.org_id = $1 AND q.name = $2",
	3, {INT8OID, TEXTOID, TEXTOID}},
	[ROOM_OF] = {
		"SELECT referral.room_of($1, $2, $3)",
	3, {INT8OID, INT8OID, TEXTOID}},
	[FIND_ARRIVAL] = {
		/*
		 * By spans of transactions.  What a restored dump has from another cluster
		 * is in none.  In the words and the order of the index of arrivals, so that
		 * no other one is taken.
		 */
		"SELECT pg_catalog.pg_current_snapshot(), i.score, i.work_item_id"
		" FROM (VALUES (1)) one LEFT JOIN LATERAL (SELECT w.score, w.work_item_id"
		"  FROM (VALUES (pg_catalog.pg_snapshot_xmax($3),"
		"    pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())), ($6, $6),"
		"    (pg_catalog.pg_current_xact_id_if_assigned(), pg_catalog.pg_current_xact_id_if_assigned())"
		"   UNION ALL SELECT x, x FROM pg_catalog.pg_snapshot_xip($3) x) span (first, last)"
		"  CROSS JOIN LATERAL (SELECT score, work_item_id FROM referral.work_item"
		"   WHERE org_id = $1 AND queue_id = $2 AND arrived >= span.first AND arrived <= span.last"
		"    AND owner IS NULL AND closed_at IS NULL"
		"    AND (score > $4 OR (score = $4 AND work_item_id < $5))"
		"   ORDER BY arrived OFFSET 0) w"
		"  ORDER BY w.score DESC, w.work_item_id LIMIT 1) i ON true",
	6, {INT8OID, INT8OID, PG_SNAPSHOTOID, FLOAT8OID, INT8OID, XID8OID}},
	[TAKE] = {
		/* an array: chosen once, and looked up by their keys */
		"UPDATE referral.work_item w SET status = 'in-progress', verb = 'claim', owner = $6,"
		" claimed_at = pg_catalog.now(), lease_until = pg_catalog.now() + $7"
		" WHERE w.org_id = $1 AND w.work_item_id = ANY (ARRAY("
		"  SELECT work_item_id FROM referral.work_item WHERE " CAN_BE_CLAIMED
		"  AND score <= $3 AND (score < $3 OR work_item_id >= $4)"
		"  ORDER BY score DESC, work_item_id LIMIT $5 FOR UPDATE SKIP LOCKED))"
		" RETURNING w.work_item_id, w.entity, w.entity_id, w.referral_id, w.kind, w.title, w.score,"
		"  w.due_at, w.lease_until",
	7, {INT8OID, INT8OID, FLOAT8OID, INT8OID, INT8OID, TEXTOID, INTERVALOID}},
	/* whatever others have locked, and what they are claiming, counts as being there */
	[FIND_MARK] = {
		"SELECT pg_catalog.pg_current_snapshot(), i.score, i.work_item_id"
		" FROM (VALUES (1)) one LEFT JOIN LATERAL (SELECT score, work_item_id FROM referral.work_item"
		"  WHERE " CAN_BE_CLAIMED " AND score <= $3 AND (score < $3 OR work_item_id >= $4)"
		"  ORDER BY score DESC, work_item_id LIMIT 1) i ON true",
	4, {INT8OID, INT8OID, FLOAT8OID, INT8OID}},
};

static SPIPlanPtr plans[NSTATEMENTS];

static uint64
run(ClaimStatement which, Datum *args)
{
	statement_keep(&plans[which], statements[which].sql, statements[which].nargs,
				   statements[which].argtypes, 0);
	if (SPI_execute_plan(plans[which], args, NULL, false, 0) < 0)
		elog(ERROR, "could not run: %s", statements[which].sql);
	return SPI_processed;
}

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

static Mark *
find_mark(Claim *claim)
{
	MarkKey		key = {DatumGetInt64(claim->org_id), DatumGetInt64(claim->queue_id)};
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
		mark->snapshot = (Datum) 0;
	}
	if (!mark->is_set)
	{
		/* from the top */
		mark->score = get_float8_infinity();
		mark->work_item_id = 0;
		mark->claims = CLAIMS_PER_MARK;
	}
	return mark;
}

/* The snapshot, and the place, that a statement has found; is there a place? */
static bool
take_place(Mark *mark)
{
	MemoryContext caller;
	bool		isnull;
	Datum		score;
	Datum		snapshot = rule_read_datum(0, 1, &isnull);

	if (mark->snapshot != (Datum) 0)
		pfree(DatumGetPointer(mark->snapshot));
	caller = MemoryContextSwitchTo(marks_context);
	mark->snapshot = datumCopy(snapshot, false, -1);
	MemoryContextSwitchTo(caller);
	mark->own = U64FromFullTransactionId(GetTopFullTransactionIdIfAny());
	score = rule_read_datum(0, 2, &isnull);
	if (isnull)
		return false;
	mark->score = DatumGetFloat8(score);
	mark->work_item_id = rule_read_int64(0, 3);
	return true;
}

/* What has arrived above the mark since it was set is looked at first. */
static void
look_at_arrivals(Claim *claim)
{
	Mark	   *mark = claim->mark;

	if (!mark->is_set)
		return;
	(void) run(FIND_ARRIVAL, (Datum[]) {claim->org_id, claim->queue_id, mark->snapshot,
										Float8GetDatum(mark->score), Int64GetDatum(mark->work_item_id),
										UInt64GetDatum(mark->own)});
	(void) take_place(mark);
}

/* Nothing that can be claimed: only what arrives is worth a look. */
static void
set_below_all(Mark *mark)
{
	mark->score = -get_float8_infinity();
	mark->work_item_id = PG_INT64_MAX;
}

static void
move_mark(Claim *claim, int64 taken)
{
	Mark	   *mark = claim->mark;

	mark->claims += Max(taken, 1);
	if (mark->claims < CLAIMS_PER_MARK)
		return;
	(void) run(FIND_MARK, (Datum[]) {claim->org_id, claim->queue_id, Float8GetDatum(mark->score),
									 Int64GetDatum(mark->work_item_id)});
	if (!take_place(mark))
		set_below_all(mark);
	mark->claims = 0;
	mark->is_set = true;
}

/* ---------- Claiming ---------- */

/* Who may not claim here is refused by the functions that say so elsewhere, too. */
static void
check_claimer(Claim *claim, Datum queue)
{
	int64		org_id = DatumGetInt64(claim->org_id);
	bool		isnull;

	if (!security_sees_org(org_id))
	{
		(void) run(MAY_CHANGE_ORG, (Datum[]) {claim->org_id});
		if (!rule_read_bool(0, 1))
			(void) run(REFUSE_QUEUE, (Datum[]) {claim->org_id, queue});
	}
	if (claim->n < 0 || claim->n > MAX_CLAIMS)
		(void) run(REQUIRE_NUMBER, (Datum[]) {Int32GetDatum((int32) claim->n),
											  Int32GetDatum(MAX_CLAIMS)});
	if (security_actor_kind(org_id) == ACTOR_AI)
		(void) run(REQUIRE_CLAIMER, (Datum[]) {claim->org_id});
	if (run(FIND_QUEUE, (Datum[]) {claim->org_id, queue, claim->actor}) == 0)
		(void) run(REFUSE_QUEUE, (Datum[]) {claim->org_id, queue});
	claim->queue_id = rule_read_datum(0, 1, &isnull);
	claim->lease = rule_read_datum(0, 2, &isnull);
	if (rule_read_bool(0, 3))
	{
		Datum		room;

		(void) run(ROOM_OF, (Datum[]) {claim->org_id, claim->queue_id, claim->actor});
		room = rule_read_datum(0, 1, &isnull);
		if (!isnull)
			claim->n = Min(claim->n, DatumGetInt32(room));
	}
}

/* By rank: they come in the order of their numbers. */
static int
compare_items(const void *a, const void *b)
{
	uint64		i = *(const uint64 *) a;
	uint64		j = *(const uint64 *) b;
	bool		isnull;
	double		x = DatumGetFloat8(rule_read_datum(i, C_SCORE, &isnull));
	double		y = DatumGetFloat8(rule_read_datum(j, C_SCORE, &isnull));

	return x != y ? (x > y ? -1 : 1) : (i > j) - (i < j);
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
		Datum		values[9];
		bool		nulls[9];

		for (int c = 0; c < lengthof(values); c++)
			values[c] = rule_read_datum(order[i], c + 1, &nulls[c]);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
}

static void
set_planner(void)
{
	static const char *const off[] = {"enable_bitmapscan", "enable_sort", "enable_hashjoin", "enable_mergejoin"};

	work_set_planner();
	for (int i = 0; i < lengthof(off); i++)
		(void) set_config_option(off[i], "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

static void
claim_items(Claim *claim, Datum queue, ReturnSetInfo *rsinfo)
{
	uint64		taken;

	check_claimer(claim, queue);
	if (claim->n <= 0)
		return;
	claim->mark = find_mark(claim);
	look_at_arrivals(claim);
	taken = run(TAKE, (Datum[]) {claim->org_id, claim->queue_id, Float8GetDatum(claim->mark->score),
								 Int64GetDatum(claim->mark->work_item_id), Int64GetDatum(claim->n),
								 claim->actor, claim->lease});
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
	claim.org_id = PG_GETARG_DATUM(0);
	claim.n = PG_GETARG_INT32(2);
	claim.actor = CStringGetTextDatum(security_actor());
	security_begin_read(&scope, claim.cache->owner);
	set_planner();
	claim_items(&claim, PG_GETARG_DATUM(1), (ReturnSetInfo *) fcinfo->resultinfo);
	security_end_read(&scope);
	return (Datum) 0;
}
