/*-------------------------------------------------------------------------
 *
 * intake_lock.c
 *		Locks of intake: who is about to write something for the first time.
 *
 * They are advisory locks of a class of their own, which no function of
 * PostgreSQL takes: a login that may not take messages in cannot stop those
 * who do by a key that it has computed.
 *
 * The lock table of the server is shared by all sessions.  A transaction that
 * has taken very many of these locks, for a large file, takes one instead
 * that stands for all of its organisation.
 *
 * IDENTIFICATION
 *		src/intake_lock.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"

#include "compat.h"
#include "intake.h"

/* Classes of advisory locks; those of pg_advisory_lock() are 1 and 2. */
#define ONE_LOCK_CLASS	17
#define ALL_LOCK_CLASS	18

/* more than a chunk of receive_batch() takes, and less than the lock table has room for */
#define MOST_LOCKS		4000

/* by this transaction */
static int	locks_taken = 0;

static void
forget_locks(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		locks_taken = 0;
}

static LockAcquireResult
acquire(uint16 class, uint64 key, LOCKMODE mode, bool wait)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (key >> 32), (uint32) key, class);
	return LockAcquire(&tag, mode, false, !wait);
}

/* Until the end of the transaction; false when another one has it, and it is not waited for. */
bool
intake_take_lock(int64 org_id, const char *what, int length, bool wait)
{
	static bool is_registered = false;
	bool		is_many = locks_taken >= MOST_LOCKS;
	uint64		key = hash_bytes_extended((const unsigned char *) what, length, (uint64) org_id);
	LockAcquireResult result;

	if (!is_registered)
		RegisterXactCallback(forget_locks, NULL);
	is_registered = true;
	if (acquire(ALL_LOCK_CLASS, (uint64) org_id, is_many ? ExclusiveLock : ShareLock, wait) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	if (is_many)
		return true;
	result = acquire(ONE_LOCK_CLASS, key, ExclusiveLock, wait);
	if (result == LOCKACQUIRE_OK)
		locks_taken++;
	return result != LOCKACQUIRE_NOT_AVAIL;
}

PG_FUNCTION_INFO_V1(intake_lock);

/* intake_lock(org_id bigint, what text) */
Datum
intake_lock(PG_FUNCTION_ARGS)
{
	text	   *what = PG_GETARG_TEXT_PP(1);

	(void) intake_take_lock(PG_GETARG_INT64(0), VARDATA_ANY(what), VARSIZE_ANY_EXHDR(what), true);
	PG_RETURN_VOID();
}
