/*-------------------------------------------------------------------------
 *
 * work_claimer.c
 *		Who may claim in a queue, and how many.
 *
 * Whoever may not is refused by the functions that say so elsewhere, too.  That a
 * member is there and may have as many as he likes is kept in the session, until
 * the next time at which it may be otherwise, or something of it changes.
 *
 * IDENTIFICATION
 *		src/work_claimer.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "security.h"
#include "work_claimer.h"
#include "work_queue.h"
#include "work_sql.h"

#define MAX_KNOWN		1000
#define MAX_ACTOR_LENGTH 100
#define MAX_CLAIMS		1000	/* at once */

typedef struct KnownKey
{
	int64		org_id;
	char		queue[NAMEDATALEN];
	char		actor[MAX_ACTOR_LENGTH + 1];
} KnownKey;

typedef struct Known
{
	KnownKey	key;
	int64		queue_id;
	Interval	lease;
	TimestampTz from;			/* it holds at times from here */
	TimestampTz until;			/* to before here */
} Known;

static HTAB *known = NULL;
static uint64 generation = 0;	/* of what the oldest of them depends on */

static WorkStatement may_change_org =
	WORK_STATEMENT("SELECT referral.may_change_org($1)",
				   1, INT8OID);

static WorkStatement require_claimer =
	WORK_STATEMENT("SELECT referral.require_claimer($1)",
				   1, INT8OID);

static WorkStatement require_number =
	WORK_STATEMENT("SELECT referral.require_number($1, $2)",
				   2, INT4OID, INT4OID);

static WorkStatement refuse_queue =
	WORK_STATEMENT("SELECT referral.refuse_queue($1, $2)",
				   2, INT8OID, TEXTOID);

static WorkStatement room_of =
	WORK_STATEMENT("SELECT referral.room_of($1, $2, $3)",
				   3, INT8OID, INT8OID, TEXTOID);

static WorkStatement require_room =
	WORK_STATEMENT("SELECT referral.require_room($1, $2, $3)",
				   3, INT8OID, INT8OID, TEXTOID);

/* The queue; whether room_of() is to be asked; if not, until when. */
static WorkStatement find_queue =
	WORK_STATEMENT("SELECT q.queue_id, q.lease, m.queue_member_id IS NULL OR m.capacity IS NOT NULL"
				   "  OR a.is_absent OR referral.is_model($1, $3), least(pg_catalog.upper(m.during), a.next)"
				   " FROM referral.queue q LEFT JOIN referral.queue_member m ON m.org_id = q.org_id"
				   "  AND m.queue_id = q.queue_id AND m.member = $3 AND m.during @> $4"
				   " CROSS JOIN LATERAL (SELECT coalesce(pg_catalog.bool_or(a.during @> $4), false) AS is_absent,"
				   "  pg_catalog.min(pg_catalog.lower(a.during)) FILTER (WHERE pg_catalog.lower(a.during) > $4) AS next"
				   "  FROM referral.absence a WHERE a.org_id = $1 AND a.member = $3) a"
				   " WHERE q.org_id = $1 AND q.name = $2",
				   4, INT8OID, TEXTOID, TEXTOID, TIMESTAMPTZOID);

/* ---------- What is known ---------- */

static void
forget_old(RuleCache *cache)
{
	HASHCTL		ctl = {.keysize = sizeof(KnownKey),.entrysize = sizeof(Known)};
	uint64		now = work_queue_generation(cache);

	if (known != NULL && now == generation && hash_get_num_entries(known) < MAX_KNOWN)
		return;
	if (known != NULL)
		hash_destroy(known);
	known = NULL;
	generation = now;
	known = hash_create("referral claimers", 16, &ctl, HASH_ELEM | HASH_BLOBS);
}

/* False when it cannot be kept. */
static bool
make_key(KnownKey *key, int64 org_id, Datum queue)
{
	const char *actor = security_actor();

	memset(key, 0, sizeof(KnownKey));
	if (toast_raw_datum_size(queue) - VARHDRSZ >= NAMEDATALEN || strlen(actor) > MAX_ACTOR_LENGTH)
		return false;
	key->org_id = org_id;
	text_to_cstring_buffer(DatumGetTextPP(queue), key->queue, sizeof(key->queue));
	strlcpy(key->actor, actor, sizeof(key->actor));
	return true;
}

static void
keep(RuleCache *cache, const KnownKey *key, const Claimer *claimer, TimestampTz at, Maybe until)
{
	Known	   *entry;

	/* a snapshot that is kept may be older than the tables that others will see */
	if (generation != work_queue_generation(cache) || IsolationUsesXactSnapshot())
		return;
	entry = hash_search(known, key, HASH_ENTER, NULL);
	entry->queue_id = claimer->queue_id;
	entry->lease = claimer->lease;
	entry->from = at;
	entry->until = until.isnull ? DT_NOEND : DatumGetTimestampTz(until.value);
}

/* ---------- Asking ---------- */

static void
check_actor(Maybe org_id, Maybe queue)
{
	int64		org = DatumGetInt64(org_id.value);

	if (!security_sees_org(org))
	{
		(void) work_run(&may_change_org, (Maybe[]) {org_id});
		if (!rule_read_bool(0, 1))
			(void) work_run(&refuse_queue, (Maybe[]) {org_id, queue});
	}
	if (security_actor_kind(org) == ACTOR_AI)
		(void) work_run(&require_claimer, (Maybe[]) {org_id});
}

static void
check_number(int64 n)
{
	if (n < 0 || n > MAX_CLAIMS)
		(void) work_run(&require_number,
						(Maybe[]) {some(Int32GetDatum((int32) n)), some(Int32GetDatum(MAX_CLAIMS))});
}

static int64
take_room(Maybe org_id, Maybe queue_id, Maybe actor, int64 n)
{
	Maybe		room;

	(void) work_run(&room_of, (Maybe[]) {org_id, queue_id, actor});
	room = work_column(1);
	if (room.isnull)
		return n;
	/* an empty queue must not look like this */
	if (n > 0 && DatumGetInt32(room.value) <= 0)
		(void) work_run(&require_room, (Maybe[]) {org_id, queue_id, actor});
	return Min(n, DatumGetInt32(room.value));
}

/*
 * The queue and its lease, for whoever acts, and how many of n he may claim there.
 * Between security_begin_read() and security_end_read().
 */
Claimer
work_claimer(RuleCache *cache, int64 org_id, Datum queue, int64 n)
{
	Maybe		org = some(Int64GetDatum(org_id));
	Maybe		actor = some_text(security_actor());
	TimestampTz at = GetCurrentTransactionStartTimestamp();
	Claimer		claimer = {.n = n};
	Maybe		until;
	KnownKey	key;
	bool		has_key = make_key(&key, org_id, queue);
	Known	   *entry;

	check_actor(org, some(queue));
	check_number(n);
	forget_old(cache);
	entry = has_key ? hash_search(known, &key, HASH_FIND, NULL) : NULL;
	if (entry != NULL && entry->from <= at && at < entry->until)
		return (Claimer) {entry->queue_id, entry->lease, n};
	if (work_run(&find_queue,
				 (Maybe[]) {org, some(queue), actor, some(TimestampTzGetDatum(at))}) == 0)
		(void) work_run(&refuse_queue, (Maybe[]) {org, some(queue)});
	claimer.queue_id = DatumGetInt64(work_column(1).value);
	claimer.lease = *DatumGetIntervalP(work_column(2).value);
	until = work_column(4);
	if (rule_read_bool(0, 3))
		claimer.n = take_room(org, work_column(1), actor, n);
	else if (has_key)
		keep(cache, &key, &claimer, at, until);
	return claimer;
}
