/*-------------------------------------------------------------------------
 *
 * seal_proof.c
 *		Proofs from the sealed trees, by what is kept of them.
 *
 * Every node of the tree is computed from the children of one tile at most,
 * so a proof reads two tiles a level, however large the tree.
 *
 * IDENTIFICATION
 *		src/seal_proof.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "port/pg_bitutils.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/xid8.h"

#include "compat.h"
#include "errors.h"
#include "rule.h"
#include "seal.h"
#include "security.h"

/* The children of a tile, read once. */
typedef struct TileGroup
{
	int			level;
	uint64		number;
	MerkleHash	hashes[SEAL_TILE_WIDTH];
} TileGroup;

/* Where the hashes of a proof come from. */
typedef struct ProofSource
{
	int64		org_id;
	uint64		size;			/* of the whole sealed tree */
	MerkleHasher *hasher;
	List	   *groups;
} ProofSource;

static TileGroup *
get_group(ProofSource *source, int level, uint64 number)
{
	TileGroup	   *group;
	ListCell   *lc;

	foreach(lc, source->groups)
	{
		group = lfirst(lc);
		if (group->level == level && group->number == number)
			return group;
	}
	group = palloc(sizeof(TileGroup));
	group->level = level;
	group->number = number;
	(void) seal_require_group(source->org_id, level, number, source->size, group->hashes);
	source->groups = lappend(source->groups, group);
	return group;
}

/* The root of the tree over leaves first to end - 1; a MerkleSubtree. */
static void
subtree_root(void *arg, uint64 first, uint64 end, MerkleHash *out)
{
	ProofSource *source = arg;
	uint64		count = end - first;
	int			height = pg_leftmost_one_pos64(count);

	if (count == UINT64CONST(1) << height)
	{
		/* perfect, so it lies within the children of one tile */
		int			level = height / 8;
		uint64		child = first >> (8 * level);
		TileGroup	   *group = get_group(source, level, child / SEAL_TILE_WIDTH);
		MerkleFrontier frontier = {0};

		for (uint64 i = 0; i < count >> (8 * level); i++)
			merkle_append(source->hasher, &frontier, &group->hashes[child % SEAL_TILE_WIDTH + i]);
		*out = frontier.nodes[0];
	}
	else
	{
		MerkleHash	left,
					right;
		uint64		middle = first + (UINT64CONST(1) << height);

		subtree_root(source, first, middle, &left);
		subtree_root(source, middle, end, &right);
		merkle_hash_node(source->hasher, &left, &right, out);
	}
}

static Datum
path_array(const MerkleHash *path, int npath)
{
	Datum	   *hashes = palloc(sizeof(Datum) * Max(npath, 1));

	for (int i = 0; i < npath; i++)
		hashes[i] = seal_bytea(&path[i], MERKLE_HASH_LEN);
	return PointerGetDatum(construct_array(hashes, npath, BYTEAOID, -1, false, TYPALIGN_INT));
}

pg_noreturn static void
refuse_size(int64 org_id, int64 size, uint64 sealed)
{
	ereport(ERROR,
			(errcode(ERRCODE_RF_NO_SUCH_ROW),
			 errmsg("the journal of organisation " INT64_FORMAT " was never sealed at a size of " INT64_FORMAT,
					org_id, size),
			 errdetail("Sealed are " UINT64_FORMAT " leaves.", sealed),
			 errhint("Give a size from 1 to that number; SELECT * FROM referral.seal() seals what is new.")));
	pg_unreachable();
}

/* ---------- Inclusion ---------- */

/* The tile that the row is in: the first that ends at its place or after. */
static uint64
find_tile(int64 org_id, const SealPosition *position, uint64 size)
{
	Oid			argtypes[] = {INT8OID, INT4OID, XID8OID, INT8OID};
	Datum		args[] = {Int64GetDatum(org_id), Int32GetDatum(position->xid_epoch),
	FullTransactionIdGetDatum(position->xid), Int64GetDatum(position->journal_id)};
	bool		isnull;

	if (seal_query("SELECT t.tile FROM referral.seal_tile t WHERE t.org_id = $1 AND t.hashes IS NOT NULL"
				   " AND (t.xid_epoch, t.xid, t.journal_id) >= ($2, $3, $4)"
				   " ORDER BY t.xid_epoch, t.xid, t.journal_id LIMIT 1", 4, argtypes, args) == 0)
		return size / SEAL_TILE_WIDTH;
	return (uint64) DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
												&isnull));
}

/* The number of the row's leaf, and its hash. */
static uint64
find_leaf(ProofSource *source, const Seal *last, int64 journal_id, MerkleHash *hash)
{
	Oid			argtypes[] = {INT8OID, INT8OID};
	Datum		args[] = {Int64GetDatum(source->org_id), Int64GetDatum(journal_id)};
	uint64		nrows = seal_query("SELECT j.* FROM referral.journal j"
								   " WHERE j.org_id = $1 AND j.journal_id = $2 LIMIT 1",
								   2, argtypes, args);
	LeafEncoder *encoder = leaf_encoder_create();
	TupleTableSlot *slot;
	SealPosition position;
	uint64		tile,
				nleaves;

	if (nrows == 0)
		ereport(ERROR,
				(errcode(ERRCODE_RF_NO_SUCH_ROW),
				 errmsg("there is no journal row " INT64_FORMAT " in organisation " INT64_FORMAT,
						journal_id, source->org_id),
				 errdetail("It was never written, or has been purged."),
				 errhint("SELECT journal_id FROM referral.journal WHERE ….")));
	slot = MakeSingleTupleTableSlot(SPI_tuptable->tupdesc, &TTSOpsHeapTuple);
	ExecStoreHeapTuple(SPI_tuptable->vals[0], slot, false);
	leaf_learn(encoder, SPI_tuptable->tupdesc);
	leaf_encode(encoder, slot);
	merkle_hash_leaf(source->hasher, encoder->bytes.data, encoder->bytes.len, hash);
	position = leaf_position(encoder, slot);
	if (seal_is_after(&position, &last->last))
		ereport(ERROR,
				(errcode(ERRCODE_RF_UNVERIFIED),
				 errmsg("journal row " INT64_FORMAT " is not sealed yet", journal_id),
				 errdetail("The last seal ends before it."),
				 errhint("SELECT * FROM referral.seal(), or wait until it is called.")));
	tile = find_tile(source->org_id, &position, source->size);
	nleaves = Min(source->size - tile * SEAL_TILE_WIDTH, SEAL_TILE_WIDTH);
	for (uint64 i = 0; i < nleaves; i++)
		if (memcmp(&get_group(source, 0, tile)->hashes[i], hash, MERKLE_HASH_LEN) == 0)
			return tile * SEAL_TILE_WIDTH + i;
	ereport(ERROR,
			(errcode(ERRCODE_RF_UNVERIFIED),
			 errmsg("journal row " INT64_FORMAT " is not the one that was sealed", journal_id),
			 errdetail("Its hash is not among those of its tile."),
			 errhint("SELECT * FROM referral.verify_journal(…) tells what was altered.")));
	return 0;					/* keep compiler quiet */
}

PG_FUNCTION_INFO_V1(inclusion_proof);

/*
 * inclusion_proof(org_id bigint, journal_id bigint, of_size bigint) returns
 * (leaf_index, tree_size, leaf_hash, root_hash, proof)
 */
Datum
inclusion_proof(PG_FUNCTION_ARGS)
{
	RuleCache  *cache;
	OwnerScope	scope;
	TupleDesc	desc;
	MemoryContext caller = CurrentMemoryContext;
	Seal	   *last = palloc(sizeof(Seal));
	ProofSource source = {0};
	MerkleHash	leaf_hash,
				root,
				path[MERKLE_MAX_PATH];
	uint64		leaf,
				size;
	int			npath;
	Datum		values[5];
	bool		nulls[5] = {0};

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	cache = rule_cache(true);
	source.org_id = PG_GETARG_INT64(0);
	seal_require_org(cache, source.org_id);
	source.hasher = merkle_hasher_create();
	security_begin_read(&scope, cache->owner);
	if (!seal_read_last(source.org_id, last))
		refuse_size(source.org_id, 1, 0);
	source.size = size = last->frontier.size;
	if (!PG_ARGISNULL(2))
	{
		size = (uint64) PG_GETARG_INT64(2);
		if (size < 1 || size > source.size)
			refuse_size(source.org_id, PG_GETARG_INT64(2), source.size);
	}
	leaf = find_leaf(&source, last, PG_GETARG_INT64(1), &leaf_hash);
	if (leaf >= size)
		ereport(ERROR,
				(errcode(ERRCODE_RF_NO_SUCH_ROW),
				 errmsg("journal row " INT64_FORMAT " is not in a tree of " UINT64_FORMAT " leaves",
						PG_GETARG_INT64(1), size),
				 errdetail("It is leaf " UINT64_FORMAT ", counted from 0.", leaf),
				 errhint("Ask for a larger tree.")));
	npath = merkle_inclusion_path(leaf, size, subtree_root, &source, path);
	subtree_root(&source, 0, size, &root);
	security_end_read(&scope);
	merkle_hasher_free(source.hasher);

	MemoryContextSwitchTo(caller);
	values[0] = Int64GetDatum((int64) leaf);
	values[1] = Int64GetDatum((int64) size);
	values[2] = seal_bytea(&leaf_hash, MERKLE_HASH_LEN);
	values[3] = seal_bytea(&root, MERKLE_HASH_LEN);
	values[4] = path_array(path, npath);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* ---------- Consistency ---------- */

PG_FUNCTION_INFO_V1(consistency_proof);

/* consistency_proof(org_id bigint, old_size bigint, new_size bigint) returns bytea[] */
Datum
consistency_proof(PG_FUNCTION_ARGS)
{
	RuleCache  *cache = rule_cache(true);
	int64		old_size = PG_GETARG_INT64(1);
	int64		new_size = PG_GETARG_INT64(2);
	OwnerScope	scope;
	MemoryContext caller = CurrentMemoryContext;
	Seal	   *last = palloc(sizeof(Seal));
	ProofSource source = {0};
	MerkleHash	path[MERKLE_MAX_PATH];
	int			npath;

	source.org_id = PG_GETARG_INT64(0);
	seal_require_org(cache, source.org_id);
	source.hasher = merkle_hasher_create();
	security_begin_read(&scope, cache->owner);
	if (seal_read_last(source.org_id, last))
		source.size = last->frontier.size;
	if (new_size < 1 || new_size > source.size)
		refuse_size(source.org_id, new_size, source.size);
	if (old_size < 1 || old_size > new_size)
		refuse_size(source.org_id, old_size, new_size);
	npath = merkle_consistency_path(old_size, new_size, subtree_root, &source, path);
	security_end_read(&scope);
	merkle_hasher_free(source.hasher);
	MemoryContextSwitchTo(caller);
	PG_RETURN_DATUM(path_array(path, npath));
}
