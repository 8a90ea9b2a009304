/*-------------------------------------------------------------------------
 *
 * journal_write.c
 *		Where a journal row goes, and how it gets there.
 *
 * The row is written straight into the partition of its month.  Transaction
 * ids start anew in a restored cluster, so readers order by (epoch, xid); the
 * first write that finds the cluster changed begins a new epoch.
 *
 * IDENTIFICATION
 *		src/journal_write.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "commands/async.h"
#include "commands/sequence.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/snapmgr.h"
#include "utils/xid8.h"

#include "compat.h"
#include "errors.h"
#include "journal.h"
#include "rule.h"
#include "security.h"

const char *const journal_columns[J_NCOLUMNS] = {
	"org_id", "journal_id", "entity", "entity_id", "version", "action", "transition",
	"from_step", "to_step", "from_state", "to_state", "actor", "actor_kind", "db_user",
	"application_name", "reason", "origin", "correlation_id", "rule_version",
	"occurred_at", "recorded_at", "xid_epoch", "xid", "changes"
};

#define LEAF_LIMIT			(256 * 1024 * 1024)
#define LEAF_CERTAINLY_FITS	8192	/* of changes: numbers grow most, to 131 kB of text each */

/*
 * The epoch that an organisation's rows are written in, and the one that its
 * readers have come to, from snapshots of their own; 0 is not known yet.
 */
typedef struct OrgEpoch
{
	int64		org_id;			/* hash key */
	int32		to_write;
	int32		to_read;
} OrgEpoch;

/* Where the journal is, as long as no relation that matters changes. */
static struct
{
	MemoryContext context;
	uint64		generation;
	Oid			relid;
	Oid			sequence;
	HTAB	   *epochs;			/* org_id -> OrgEpoch */
	bool		epoch_is_new;	/* begun by this transaction */
	Oid			partition;		/* the one written to last, and its layout: */
	AttrNumber	attno[J_NCOLUMNS];
	List	   *added;			/* columns that the user added */
}			target;

/* Calls of the journal's functions that are under way, one within another. */
int			journal_depth = 0;

static bool setting_notify = false;
static bool notified = false;	/* in this transaction */

/* ---------- Transaction ends ---------- */

static void
write_end_of_xact(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_ABORT && event != XACT_EVENT_COMMIT && event != XACT_EVENT_PREPARE)
		return;
	/* an aborted transaction takes its new epoch back, a prepared one may */
	if (target.epoch_is_new && event != XACT_EVENT_COMMIT)
		target.generation = 0;
	target.epoch_is_new = false;
	notified = false;
	journal_depth = 0;
}

static void
write_end_of_subxact(SubXactEvent event, SubTransactionId mine,
					 SubTransactionId parent, void *arg)
{
	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	if (target.epoch_is_new)
		target.generation = 0;
	notified = false;
}

void
journal_write_init(void)
{
	DefineCustomBoolVariable("referral.notify",
							 "Sends NOTIFY referral_journal, without a payload, at the end of each transaction that wrote to the journal.",
							 "Wakes up consumers that LISTEN. Commits that notify queue up behind each other.",
							 &setting_notify, false, PGC_SUSET, 0, NULL, NULL, NULL);
	RegisterXactCallback(write_end_of_xact, NULL);
	RegisterSubXactCallback(write_end_of_subxact, NULL);
}

/* ---------- Epochs ---------- */

/* Is the newest epoch still going on? */
typedef enum EpochState
{
	EPOCH_GOES_ON,
	EPOCH_NONE,					/* none yet, or of another cluster: a restore */
	EPOCH_AHEAD					/* holds transactions that are yet to come here: a restore
								 * into an older copy of the same cluster */
} EpochState;

/*
 * The epoch that a row of the organisation written now belongs to, as the
 * snapshot in force tells.  Unless the newest one goes on, it is one that
 * journal_epoch does not have yet.
 */
static int32
find_epoch(int64 org_id, EpochState *state)
{
	Oid			argtypes[] = {INT8OID, XID8OID, TEXTOID};
	Datum		args[3];
	HeapTuple	row;
	TupleDesc	desc;
	bool		isnull;

	args[0] = Int64GetDatum(org_id);
	args[1] = FullTransactionIdGetDatum(ReadNextFullTransactionId());
	args[2] = CStringGetTextDatum(psprintf(UINT64_FORMAT, GetSystemIdentifier()));
	if (SPI_execute_with_args("SELECT e.xid_epoch, e.system_identifier = $3, EXISTS ("
							  " SELECT FROM referral.journal j WHERE j.org_id = $1"
							  " AND (j.xid_epoch, j.xid) >= (e.xid_epoch, $2))"
							  " FROM referral.journal_epoch e ORDER BY e.xid_epoch DESC LIMIT 1",
							  3, argtypes, args, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read referral.journal_epoch");
	*state = EPOCH_NONE;
	if (SPI_processed == 0)
		return 1;
	row = SPI_tuptable->vals[0];
	desc = SPI_tuptable->tupdesc;
	if (DatumGetBool(SPI_getbinval(row, desc, 2, &isnull)))
		*state = DatumGetBool(SPI_getbinval(row, desc, 3, &isnull)) ? EPOCH_AHEAD : EPOCH_GOES_ON;
	return DatumGetInt32(SPI_getbinval(row, desc, 1, &isnull)) + (*state != EPOCH_GOES_ON);
}

/*
 * Begin a new epoch.  Nobody may go on writing rows of the old one, or readers
 * that have moved on would miss them.  In another cluster nobody can; in this
 * one, the lock waits for those who do and the invalidation stops those who
 * would.
 */
static int32
begin_epoch(int64 org_id, EpochState state)
{
	Oid			argtypes[] = {INT4OID, TEXTOID};
	Datum		args[2];
	int32		epoch;
	bool		isnull;

	if (state == EPOCH_AHEAD)
		LockRelationOid(target.relid, ShareRowExclusiveLock);
	PushActiveSnapshot(GetLatestSnapshot());
	epoch = find_epoch(org_id, &state);
	if (state != EPOCH_GOES_ON)
	{
		/* another session may be at the same, and be first */
		args[0] = Int32GetDatum(epoch);
		args[1] = CStringGetTextDatum(psprintf(UINT64_FORMAT, GetSystemIdentifier()));
		if (SPI_execute_with_args("INSERT INTO referral.journal_epoch (xid_epoch, system_identifier)"
								  " VALUES ($1, $2)"
								  " ON CONFLICT (xid_epoch) DO UPDATE SET system_identifier = excluded.system_identifier"
								  " RETURNING xid_epoch",
								  2, argtypes, args, NULL, false, 1) != SPI_OK_INSERT_RETURNING)
			elog(ERROR, "could not write referral.journal_epoch");
		epoch = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
											&isnull));
		CacheInvalidateRelcacheByRelid(target.relid);
		target.epoch_is_new = true;
	}
	PopActiveSnapshot();
	return epoch;
}

static OrgEpoch *
org_epoch(int64 org_id)
{
	bool		found;
	OrgEpoch   *entry = hash_search(target.epochs, &org_id, HASH_ENTER, &found);

	if (!found)
		entry->to_write = entry->to_read = 0;
	return entry;
}

static int32
epoch_to_write(RuleCache *cache, int64 org_id)
{
	OwnerScope	scope;
	int32		epoch = org_epoch(org_id)->to_write;
	EpochState	state;

	if (epoch != 0)
		return epoch;
	security_begin_read(&scope, cache->owner);
	epoch = find_epoch(org_id, &state);
	if (state != EPOCH_GOES_ON)
		epoch = begin_epoch(org_id, state);
	security_end_read(&scope);
	org_epoch(org_id)->to_write = epoch;
	return epoch;
}

/* ---------- The table ---------- */

static void
find_target(RuleCache *cache)
{
	if (target.generation == rule_generation)
		return;
	target.generation = 0;
	if (target.context == NULL)
		target.context = AllocSetContextCreate(CacheMemoryContext, "referral journal",
											   ALLOCSET_SMALL_SIZES);
	if (journal_depth > 1)
	{
		/* a call up the stack may be reading it */
		MemoryContextSetParent(target.context, TopTransactionContext);
		target.context = AllocSetContextCreate(CacheMemoryContext, "referral journal",
											   ALLOCSET_SMALL_SIZES);
	}
	else
		MemoryContextReset(target.context);
	target.partition = InvalidOid;
	target.relid = get_relname_relid("journal", cache->namespace_id);
	target.sequence = get_relname_relid("journal_journal_id_seq", cache->namespace_id);
	if (!OidIsValid(target.relid) || !OidIsValid(target.sequence) ||
		get_rel_relkind(target.relid) != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_RF_NOT_DEPLOYED),
				 errmsg("the referral model is not deployed in this database"),
				 errdetail("There is no partitioned table referral.journal."),
				 errhint("Run SELECT * FROM referral.deploy().")));
	rule_cache_watch(target.relid);
	{
		HASHCTL		ctl = {0};

		ctl.keysize = sizeof(int64);
		ctl.entrysize = sizeof(OrgEpoch);
		ctl.hcxt = target.context;
		target.epochs = hash_create("referral epochs", 16, &ctl,
									HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	target.generation = rule_generation;
}

/* The partition for the time; the same look-up as the executor's. */
static Oid
find_partition(Relation journal, TimestampTz at)
{
	PartitionKey key = RelationGetPartitionKey(journal);
	PartitionDesc parts = RelationGetPartitionDesc(journal, true);
	Datum		value = TimestampTzGetDatum(at);
	int			index = -1;
	bool		is_equal;

	if (parts->nparts > 0)
	{
		index = partition_range_datum_bsearch(key->partsupfunc, key->partcollation,
											  parts->boundinfo, 1, &value, &is_equal);
		index = parts->boundinfo->indexes[index + 1];
		if (index < 0)
			index = parts->boundinfo->default_index;
	}
	if (index < 0)
		ereport(ERROR,
				(errcode(ERRCODE_RF_NOT_DEPLOYED),
				 errmsg("the journal has no partition for this month"),
				 errdetail("A change that cannot be recorded cannot stand."),
				 errhint("Run SELECT * FROM referral.make_journal_partitions().")));
	return parts->oids[index];
}

static void
learn_layout(Relation partition)
{
	Oid			relid = RelationGetRelid(partition);

	target.partition = InvalidOid;
	rule_cache_watch(relid);
	for (int c = 0; c < J_NCOLUMNS; c++)
	{
		target.attno[c] = get_attnum(relid, journal_columns[c]);
		if (target.attno[c] == InvalidAttrNumber)
			ereport(ERROR,
					(errcode(ERRCODE_RF_NOT_DEPLOYED),
					 errmsg("referral.journal has no column \"%s\"", journal_columns[c]),
					 errhint("Run SELECT * FROM referral.deploy().")));
	}
	target.added = table_added_columns(partition, target.attno, J_NCOLUMNS, target.context);
	target.partition = relid;
}

/* ---------- Writing ---------- */

/*
 * A row that could not be hashed could never be sealed, and would hold up all
 * that come after it.  The text of jsonb can be much longer than jsonb is.
 */
static void
check_leaf_size(JournalRow *row)
{
	static const JournalColumn unlimited[] = {
		J_REASON, J_ORIGIN, J_CORRELATION_ID, J_ACTOR, J_APPLICATION_NAME
	};
	Size		size = 0;

	for (int i = 0; i < lengthof(unlimited); i++)
		if (!row->nulls[unlimited[i]])
			size += VARSIZE_ANY_EXHDR(DatumGetPointer(row->values[unlimited[i]]));
	if (!row->nulls[J_CHANGES])
	{
		Jsonb	   *changes = DatumGetJsonbP(row->values[J_CHANGES]);
		char	   *text;

		if (VARSIZE(changes) > LEAF_CERTAINLY_FITS)
		{
			text = JsonbToCString(NULL, &changes->root, VARSIZE(changes));
			size += strlen(text);
			pfree(text);
		}
	}
	if (size > LEAF_LIMIT)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the change is too large for the journal"),
				 errdetail("Its old and new values make %zu bytes of text; the limit is %d.", size, LEAF_LIMIT),
				 errhint("Keep the content of large documents elsewhere, and their hash here.")));
}

/*
 * Append the row; its id, time and transaction are filled in here.  What it
 * takes to do so is kept in *writer, until "lifetime" ends.
 */
void
journal_write(RuleCache *cache, JournalRow *row, TableWriter **kept, MemoryContext lifetime)
{
	Relation	journal;
	TableWriter *writer;
	TimestampTz now = GetCurrentTimestamp();

	check_leaf_size(row);
	find_target(cache);
	journal = table_open(target.relid, RowExclusiveLock);
	find_target(cache);			/* the lock may have brought news */
	journal_put(row, J_XID_EPOCH,
				Int32GetDatum(epoch_to_write(cache, DatumGetInt64(row->values[J_ORG_ID]))));
	journal_put(row, J_XID, FullTransactionIdGetDatum(GetTopFullTransactionId()));
	journal_put(row, J_JOURNAL_ID, Int64GetDatum(nextval_internal(target.sequence, false)));
	journal_put(row, J_RECORDED_AT, TimestampTzGetDatum(now));

	writer = table_writer_get(kept, lifetime, find_partition(journal, now), target.generation);
	if (target.partition != writer->relid)
		learn_layout(writer->rri->ri_RelationDesc);
	table_writer_fill(writer, target.attno, row->values, row->nulls, J_NCOLUMNS, target.added);
	if (!table_writer_insert(writer))
		ereport(ERROR,
				(errcode(ERRCODE_RF_APPEND_ONLY),
				 errmsg("a journal row was not written"),
				 errdetail("A trigger on referral.journal left it out, so the change cannot stand."),
				 errhint("Let BEFORE INSERT triggers on the journal return NEW.")));
	table_close(journal, NoLock);

	if (setting_notify && !notified)
	{
		Async_Notify("referral_journal", "");
		notified = true;
	}
}

/* ---------- SQL ---------- */

/*
 * Up to where the organisation's rows are settled: none can come any more
 * below, and all that are there are visible to the snapshot.
 */
void
journal_read_horizon(RuleCache *cache, int64 org_id, Snapshot snapshot,
					 int32 *epoch, FullTransactionId *xid)
{
	OwnerScope	scope;
	FullTransactionId next;
	EpochState	state;
	uint32		wraps;

	find_target(cache);
	/* an older snapshot than the one it was learnt from must ask again */
	*epoch = IsolationUsesXactSnapshot() ? 0 : org_epoch(org_id)->to_read;
	if (*epoch == 0)
	{
		security_begin_read_as_of(&scope, cache->owner, snapshot);
		*epoch = find_epoch(org_id, &state);
		security_end_read(&scope);
		if (state == EPOCH_GOES_ON && !IsolationUsesXactSnapshot())
			org_epoch(org_id)->to_read = *epoch;
		else if (state == EPOCH_AHEAD)
			(*epoch)--;			/* nobody has begun the next one yet, and may not have to */
	}
	/* an xmin above the next id is of the round before */
	next = ReadNextFullTransactionId();
	wraps = EpochFromFullTransactionId(next);
	if (snapshot->xmin > XidFromFullTransactionId(next))
		wraps--;
	*xid = FullTransactionIdFromEpochAndXid(wraps, snapshot->xmin);
}

PG_FUNCTION_INFO_V1(journal_horizon);

/*
 * journal_horizon(org_id bigint) returns (xid_epoch integer, xid xid8).
 * Told from the caller's own snapshot, so that it fits what the caller reads.
 */
Datum
journal_horizon(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	int32		epoch;
	FullTransactionId xid;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	journal_read_horizon(rule_cache(true), PG_GETARG_INT64(0), GetActiveSnapshot(), &epoch, &xid);
	values[0] = Int32GetDatum(epoch);
	values[1] = FullTransactionIdGetDatum(xid);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
