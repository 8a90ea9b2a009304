/*-------------------------------------------------------------------------
 *
 * seal.c
 *		seal(): hashes what is new in the journal into its Merkle trees.
 *
 * One sealer works at a time, and reads up to the horizon only, so no row can
 * come late: there is no gap and no leaf twice.  A seal costs its new rows,
 * since the frontier of the tree is in the seal before it.
 *
 * IDENTIFICATION
 *		src/seal.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "compat.h"
#include "errors.h"
#include "rule.h"
#include "seal.h"
#include "security.h"

/* The seal of one organisation in the making. */
typedef struct Sealer
{
	int64		org_id;
	MerkleHasher *hasher;
	LeafEncoder *encoder;
	SealTree	tree;
	MerkleHash	leaves[SEAL_TILE_WIDTH];	/* of the tile that is not complete yet */
	int			nleaves;
	int			ntail;			/* new ones among them */
	SealPosition last;
	bool		is_new;			/* anything but earlier seals' own rows */
	int64		wanted;			/* so many rows more, not counting those */
} Sealer;

static void
run_insert(const char *sql, int nargs, Oid *argtypes, Datum *args, const char *nulls)
{
	if (SPI_connect() != SPI_OK_CONNECT ||
		SPI_execute_with_args(sql, nargs, argtypes, args, nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not run: %s", sql);
	SPI_finish();
}

/* Keep a complete tile; of level 0, with the hashes of its leaves. */
static void
keep_tile(void *arg, int level, uint64 tile, const MerkleHash *root)
{
	Sealer	   *sealer = arg;
	Oid			argtypes[] = {INT8OID, INT4OID, INT8OID, BYTEAOID, BYTEAOID, INT4OID, XID8OID, INT8OID};
	Datum		args[8];

	sealer->is_new = true;		/* a tile that is kept must be sealed */
	args[0] = Int64GetDatum(sealer->org_id);
	args[1] = Int32GetDatum(level);
	args[2] = Int64GetDatum((int64) tile);
	args[3] = seal_bytea(root, MERKLE_HASH_LEN);
	args[4] = seal_bytea(sealer->leaves, sizeof(sealer->leaves));
	args[5] = Int32GetDatum(sealer->last.xid_epoch);
	args[6] = FullTransactionIdGetDatum(sealer->last.xid);
	args[7] = Int64GetDatum(sealer->last.journal_id);
	run_insert("INSERT INTO referral.seal_tile"
			   " (org_id, level, tile, root_hash, hashes, xid_epoch, xid, journal_id)"
			   " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
			   8, argtypes, args, level == 0 ? NULL : "    nnnn");
	pfree(DatumGetPointer(args[3]));
	pfree(DatumGetPointer(args[4]));
}

static bool
seal_row(void *arg, TupleTableSlot *slot)
{
	Sealer	   *sealer = arg;
	bool		isnull;

	leaf_encode(sealer->encoder, slot);
	sealer->last = leaf_position(sealer->encoder, slot);
	if (!leaf_is_of_seal(sealer->encoder, slot))
	{
		sealer->is_new = true;
		sealer->wanted--;
	}
	/* at rest, the last seal's row would be unsealed for ever, and not to be purged */
	else if (DatumGetTimestampTz(leaf_column(sealer->encoder, slot, J_RECORDED_AT, &isnull)) <
			 GetCurrentTransactionStartTimestamp() - 30 * USECS_PER_DAY)
		sealer->is_new = true;
	if (sealer->nleaves == SEAL_TILE_WIDTH)
		sealer->nleaves = sealer->ntail = 0;	/* that tile is kept */
	merkle_hash_leaf(sealer->hasher, sealer->encoder->bytes.data, sealer->encoder->bytes.len,
					 &sealer->leaves[sealer->nleaves]);
	sealer->nleaves++;
	sealer->ntail++;
	seal_tree_append(sealer->hasher, &sealer->tree, &sealer->leaves[sealer->nleaves - 1],
					 keep_tile, sealer);
	return sealer->wanted > 0;
}

static void
keep_seal(Sealer *sealer, int64 seal_id, MerkleHash *root)
{
	Oid			argtypes[] = {INT8OID, INT8OID, INT8OID, BYTEAOID, BYTEAOID, BYTEAOID,
	INT4OID, XID8OID, INT8OID, TIMESTAMPTZOID};
	Datum		args[10];
	MerkleFrontier frontier;

	if (sealer->nleaves == SEAL_TILE_WIDTH)
		sealer->nleaves = sealer->ntail = 0;
	seal_tree_frontier(&sealer->tree, &frontier);
	merkle_root(sealer->hasher, &frontier, root);
	args[0] = Int64GetDatum(sealer->org_id);
	args[1] = Int64GetDatum(seal_id);
	args[2] = Int64GetDatum((int64) sealer->tree.size);
	args[3] = seal_bytea(root, MERKLE_HASH_LEN);
	args[4] = seal_bytea(frontier.nodes, frontier.nnodes * MERKLE_HASH_LEN);
	args[5] = seal_bytea(sealer->leaves + sealer->nleaves - sealer->ntail,
						 sealer->ntail * MERKLE_HASH_LEN);
	args[6] = Int32GetDatum(sealer->last.xid_epoch);
	args[7] = FullTransactionIdGetDatum(sealer->last.xid);
	args[8] = Int64GetDatum(sealer->last.journal_id);
	args[9] = TimestampTzGetDatum(GetCurrentTimestamp());
	run_insert("INSERT INTO referral.seal (org_id, seal_id, tree_size, root_hash, frontier, tail,"
			   " xid_epoch, xid, journal_id, sealed_at)"
			   " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)", 10, argtypes, args, NULL);
}

/* Seal what is new in one organisation; false when nothing is. */
static bool
seal_org(RuleCache *cache, Sealer *sealer, int64 org_id, int64 max_rows, MerkleHash *root)
{
	Seal		before;
	int32		epoch;
	FullTransactionId xid;

	sealer->org_id = org_id;
	sealer->is_new = false;
	sealer->ntail = 0;
	sealer->nleaves = 0;
	if (seal_read_last(org_id, &before) &&
		before.frontier.size % SEAL_TILE_WIDTH != 0)
		sealer->nleaves = seal_require_group(org_id, 0, before.frontier.size / SEAL_TILE_WIDTH,
												 before.frontier.size, sealer->leaves);
	seal_tree_restore(&sealer->tree, &before.frontier);
	sealer->last = before.last;
	journal_read_horizon(cache, org_id, GetActiveSnapshot(), &epoch, &xid);
	sealer->wanted = max_rows;
	seal_walk(org_id, before.last, epoch, xid, sealer->encoder, seal_row, sealer);
	if (!sealer->is_new)
		return false;
	keep_seal(sealer, before.seal_id + 1, root);
	return true;
}

/* The organisations that have rows; by leaps through the primary key. */
static int64 *
list_orgs(int *norgs)
{
	int64	   *orgs;
	bool		isnull;

	security_read("WITH RECURSIVE o AS ("
				  " (SELECT j.org_id FROM referral.journal j ORDER BY j.org_id LIMIT 1)"
				  " UNION ALL SELECT (SELECT j.org_id FROM referral.journal j"
				  "  WHERE j.org_id > o.org_id ORDER BY j.org_id LIMIT 1)"
				  " FROM o WHERE o.org_id IS NOT NULL)"
				  " SELECT org_id FROM o WHERE org_id IS NOT NULL AND $1",
				  BOOLOID, BoolGetDatum(true));
	*norgs = (int) SPI_processed;
	orgs = palloc(sizeof(int64) * Max(*norgs, 1));
	for (int i = 0; i < *norgs; i++)
		orgs[i] = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1,
											  &isnull));
	return orgs;
}

PG_FUNCTION_INFO_V1(seal);

/*
 * seal(max_rows bigint) returns setof (org_id bigint, tree_size bigint,
 * root_hash bytea): one row for each organisation that had something new.
 */
Datum
seal(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	RuleCache  *cache = rule_cache(true);
	Oid			seals = get_relname_relid("seal", cache->namespace_id);
	int64		max_rows = PG_GETARG_INT64(0);
	Sealer	   *sealer = palloc0(sizeof(Sealer));
	OwnerScope	scope;
	int64	   *orgs;
	int			norgs;

	InitMaterializedSRF(fcinfo, 0);
	if (!OidIsValid(seals))
		ereport(ERROR,
				(errcode(ERRCODE_RF_NOT_DEPLOYED),
				 errmsg("the referral model is not deployed in this database"),
				 errdetail("Table referral.seal does not exist."),
				 errhint("Run SELECT * FROM referral.deploy().")));
	/* the next sealer waits here, and then sees what this one has sealed */
	LockRelationOid(seals, ShareRowExclusiveLock);
	sealer->hasher = merkle_hasher_create();
	sealer->encoder = leaf_encoder_create();
	security_begin_read(&scope, cache->owner);
	orgs = list_orgs(&norgs);
	for (int i = 0; i < norgs && max_rows > 0; i++)
	{
		MerkleHash	root;
		Datum		values[3];
		bool		nulls[3] = {false, false, false};

		if (!seal_org(cache, sealer, orgs[i], max_rows, &root))
			continue;
		values[0] = Int64GetDatum(orgs[i]);
		values[1] = Int64GetDatum((int64) sealer->tree.size);
		values[2] = seal_bytea(&root, MERKLE_HASH_LEN);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	security_end_read(&scope);
	merkle_hasher_free(sealer->hasher);
	return (Datum) 0;
}
