/*-------------------------------------------------------------------------
 *
 * work_queue.c
 *		Which queue takes the work that is meant for one.
 *
 * The queue itself, or, while it is switched off or nobody of it is there, the
 * one that it falls back to.  Every referral that comes in asks, and queues,
 * their members and absences seldom change.  So an answer is kept in the
 * session, together with the time from which on another one may be right: the
 * next at which a membership or an absence of the organisation begins or ends.
 * A change of one of the three tables makes all sessions forget.
 *
 * IDENTIFICATION
 *		src/work_queue.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/relation.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "rule.h"
#include "security.h"
#include "work_queue.h"

/*
 * Tables that an answer depends on.  Sessions are told of a change by the index
 * of the primary key: a message about the table would make them read all rules
 * anew as well.
 */
static const char *const read_tables[] = {"queue", "queue_member", "absence"};

#define MAX_CHAIN 100			/* of queues that fall back to each other */

typedef struct AnswerKey
{
	int64		org_id;
	char		name[NAMEDATALEN];
} AnswerKey;

typedef struct Answer
{
	AnswerKey	key;
	int64		queue_id;
	TimestampTz from;			/* it holds at times from here */
	TimestampTz until;			/* to before here */
} Answer;

static HTAB *answers = NULL;
static uint64 changes = 0;		/* of the tables, */
static uint64 changes_known = 0;	/* when the oldest answer was found; */
static uint64 rules_known = 0;	/* of rules and of who is a model */
static Oid	read_keys[lengthof(read_tables)];

/* ---------- Forgetting ---------- */

static void
table_changed(Datum arg, Oid relid)
{
	bool		is_read = !OidIsValid(relid);

	for (int i = 0; i < lengthof(read_tables) && !is_read; i++)
		is_read = relid == read_keys[i];
	if (is_read)
		changes++;
}

void
work_queue_init(void)
{
	CacheRegisterRelcacheCallback(table_changed, (Datum) 0);
}

static Oid
key_of(Oid relid)
{
	Relation	rel = try_relation_open(relid, AccessShareLock);
	Oid			key = InvalidOid;

	if (rel != NULL)
	{
		list_free(RelationGetIndexList(rel));
		key = rel->rd_pkindex;
		relation_close(rel, AccessShareLock);
	}
	return key;
}

PG_FUNCTION_INFO_V1(queues_changed);

/*
 * queues_changed(): AFTER trigger of the tables, for each row (all that logical
 * replication fires) and for TRUNCATE.  It writes nothing.
 */
Datum
queues_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	Oid			key;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigdata->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("queues_changed must be called as an AFTER trigger")));
	key = key_of(RelationGetRelid(trigdata->tg_relation));
	if (OidIsValid(key))
		CacheInvalidateRelcacheByRelid(key);
	else
		CacheInvalidateRelcache(trigdata->tg_relation);
	return PointerGetDatum(NULL);
}

static void
forget_old_answers(RuleCache *cache)
{
	HASHCTL		ctl = {.keysize = sizeof(AnswerKey),.entrysize = sizeof(Answer)};

	if (answers != NULL && changes == changes_known && rule_generation == rules_known)
		return;
	if (answers != NULL)
		hash_destroy(answers);
	answers = NULL;
	for (int i = 0; i < lengthof(read_tables); i++)
		read_keys[i] = key_of(get_relname_relid(read_tables[i], cache->namespace_id));
	changes_known = changes;
	rules_known = rule_generation;
	answers = hash_create("referral queues", 64, &ctl, HASH_ELEM | HASH_BLOBS);
}

/* Another number after each change that what is known about queues and members depends on. */
uint64
work_queue_generation(RuleCache *cache)
{
	forget_old_answers(cache);
	return changes + rule_generation;
}

/* ---------- Finding out, as the owner of the model ---------- */

static WorkStatement find_queue =
	WORK_STATEMENT("SELECT q.queue_id FROM referral.queue q WHERE q.org_id = $1 AND q.name = $2",
				   2, INT8OID, TEXTOID);

/* Somebody who may have items of the queue is there, or the substitute of one who is not; see present_members(). */
static WorkStatement look_at_queue =
	WORK_STATEMENT("SELECT q.fallback_queue_id,"
				   " q.fallback_queue_id IS NULL OR (q.active AND EXISTS ("
				   " SELECT FROM referral.queue_member m"
				   " LEFT JOIN referral.absence a"
				   "  ON a.org_id = m.org_id AND a.member = m.member AND a.during @> $3"
				   " WHERE m.org_id = q.org_id AND m.queue_id = q.queue_id AND m.during @> $3"
				   "  AND m.capacity IS DISTINCT FROM 0"
				   "  AND (a.member IS NULL OR (a.substitute IS NOT NULL AND NOT EXISTS ("
				   "   SELECT FROM referral.absence b"
				   "   WHERE b.org_id = m.org_id AND b.member = a.substitute AND b.during @> $3)))"
				   "  AND NOT referral.is_model(m.org_id, coalesce(a.substitute, m.member))))"
				   " FROM referral.queue q WHERE q.org_id = $1 AND q.queue_id = $2",
				   3, INT8OID, INT8OID, TIMESTAMPTZOID);

/* The next time at which somebody comes or goes. */
static WorkStatement find_change =
	WORK_STATEMENT("SELECT pg_catalog.min(t) FROM (SELECT m.during FROM referral.queue_member m"
				   "  WHERE m.org_id = $1 UNION ALL SELECT a.during FROM referral.absence a"
				   "  WHERE a.org_id = $1) d,"
				   " LATERAL (VALUES (pg_catalog.lower(d.during)), (pg_catalog.upper(d.during))) b (t)"
				   " WHERE b.t >= $2",
				   2, INT8OID, TIMESTAMPTZOID);

static WorkStatement make_queues =
	WORK_STATEMENT("SELECT referral.standard_queues($1)",
				   1, INT8OID);

/* The one that all others fall back to. */
static WorkStatement find_last_queue =
	WORK_STATEMENT("SELECT q.queue_id FROM referral.queue q"
				   " WHERE q.org_id = $1 AND q.name = 'manual_triage'",
				   1, INT8OID);

/*
 * Null when there is no such queue.  queue_guard() sees to it that chains of
 * queues have an end, but snapshots may hide one change of a chain from another.
 */
Maybe
work_queue_effective(Maybe org_id, Maybe queue_id, TimestampTz at)
{
	for (int n = 0; n < MAX_CHAIN; n++)
	{
		if (work_run(&look_at_queue,
					 (Maybe[]) {org_id, queue_id, some(TimestampTzGetDatum(at))}) == 0)
			return no_value;
		if (DatumGetBool(work_column(2).value))
			return queue_id;
		queue_id = work_column(1);
	}
	return work_run(&find_last_queue, &org_id) > 0 ? work_column(1) : no_value;
}

/* manual_triage for null, and when there is no such queue. */
static Maybe
find_out(Maybe org_id, Maybe name, TimestampTz at)
{
	for (int try = 0; try < 3; try++)
	{
		if (!name.isnull && work_run(&find_queue, (Maybe[]) {org_id, name}) > 0)
			return work_queue_effective(org_id, work_column(1), at);
		/* an organisation that came in without its trigger */
		if (try == 1)
			(void) work_run(&make_queues, &org_id);
		name = some_text("manual_triage");
	}
	return no_value;
}

static void
keep_answer(const AnswerKey *key, Maybe org_id, int64 queue_id, TimestampTz at)
{
	TimestampTz until = DT_NOEND;
	Answer	   *answer;
	Maybe		change;

	(void) work_run(&find_change, (Maybe[]) {org_id, some(TimestampTzGetDatum(at))});
	change = work_column(1);
	if (!change.isnull)
		until = DatumGetTimestampTz(change.value);
	answer = hash_search(answers, key, HASH_ENTER, NULL);
	answer->queue_id = queue_id;
	answer->from = at;
	answer->until = until;
}

/*
 * The queue that takes the work for the one of that name in this transaction;
 * manual_triage takes it when there is no such queue, and for null.  Between
 * security_begin_read() and security_end_read().
 */
Maybe
work_queue_for(RuleCache *cache, Maybe org_id, Maybe name)
{
	TimestampTz at = GetCurrentTransactionStartTimestamp();
	AnswerKey	key = {.org_id = DatumGetInt64(org_id.value)};
	Answer	   *answer;
	Maybe		queue_id;

	if (org_id.isnull)
		return no_value;
	if (name.isnull || toast_raw_datum_size(name.value) - VARHDRSZ >= NAMEDATALEN)
		name = some_text("manual_triage");
	text_to_cstring_buffer(DatumGetTextPP(name.value), key.name, sizeof(key.name));
	forget_old_answers(cache);
	answer = hash_search(answers, &key, HASH_FIND, NULL);
	if (answer != NULL && answer->from <= at && at < answer->until)
		return some(Int64GetDatum(answer->queue_id));
	queue_id = find_out(org_id, name, at);
	/* a snapshot that is kept may be older than the tables that others will see */
	if (!queue_id.isnull && changes == changes_known && rule_generation == rules_known &&
		!IsolationUsesXactSnapshot())
		keep_answer(&key, org_id, DatumGetInt64(queue_id.value), at);
	return queue_id;
}
