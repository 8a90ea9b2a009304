/*-------------------------------------------------------------------------
 *
 * seal_tree.c
 *		The tree of an organisation's journal, and what is kept of it.
 *
 * referral.seal_tile keeps the root of every complete tile, and those of
 * level 0 the hashes of their leaves.  Leaves of the tile that is not complete
 * yet are in the tails of the seals.
 *
 * IDENTIFICATION
 *		src/seal_tree.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/xid8.h"

#include "compat.h"
#include "errors.h"
#include "seal.h"

/* ---------- Growing ---------- */

/*
 * Append a leaf.  A level that becomes a complete tile hands its root on to
 * the next and starts again; "done" may be NULL.
 */
void
seal_tree_append(MerkleHasher *hasher, SealTree *tree, const MerkleHash *leaf,
				 SealTileDone done, void *arg)
{
	MerkleHash	hash = *leaf;

	tree->size++;
	for (int level = 0; level < SEAL_LEVELS; level++)
	{
		MerkleFrontier *frontier = &tree->level[level];

		merkle_append(hasher, frontier, &hash);
		if (frontier->size < SEAL_TILE_WIDTH)
			return;
		hash = frontier->nodes[0];
		frontier->size = 0;
		frontier->nnodes = 0;
		if (done != NULL)
			done(arg, level, (tree->size >> (8 * (level + 1))) - 1, &hash);
	}
}

void
seal_tree_frontier(const SealTree *tree, MerkleFrontier *out)
{
	out->size = tree->size;
	out->nnodes = 0;
	for (int level = SEAL_LEVELS - 1; level >= 0; level--)
		for (int i = 0; i < tree->level[level].nnodes; i++)
			out->nodes[out->nnodes++] = tree->level[level].nodes[i];
}

void
seal_tree_restore(SealTree *tree, const MerkleFrontier *frontier)
{
	int			next = 0;

	memset(tree, 0, sizeof(SealTree));
	tree->size = frontier->size;
	for (int level = SEAL_LEVELS - 1; level >= 0; level--)
	{
		MerkleFrontier *part = &tree->level[level];

		part->size = (frontier->size >> (8 * level)) % SEAL_TILE_WIDTH;
		for (uint64 bits = part->size; bits != 0; bits &= bits - 1)
			part->nodes[part->nnodes++] = frontier->nodes[next++];
	}
}

/* ---------- Reading ---------- */

/* Hashes one after the other in a bytea; false when it is not that, or too many. */
bool
seal_hashes(Datum value, MerkleHash *hashes, int max, int *nhashes)
{
	bytea	   *bytes = DatumGetByteaPP(value);
	int			length = VARSIZE_ANY_EXHDR(bytes);

	*nhashes = length / MERKLE_HASH_LEN;
	if (length % MERKLE_HASH_LEN != 0 || *nhashes > max)
		return false;
	memcpy(hashes, VARDATA_ANY(bytes), length);
	return true;
}

Datum
seal_bytea(const void *data, int length)
{
	return PointerGetDatum(cstring_to_text_with_len(data, length));
}

/* From a row of SEAL_COLUMNS; false when its hashes are not of the right number. */
bool
seal_of_row(HeapTuple row, TupleDesc desc, Seal *seal)
{
	bool		isnull;
	int			nroot;

	seal->seal_id = DatumGetInt64(SPI_getbinval(row, desc, 1, &isnull));
	seal->frontier.size = (uint64) DatumGetInt64(SPI_getbinval(row, desc, 2, &isnull));
	seal->last.xid_epoch = DatumGetInt32(SPI_getbinval(row, desc, 5, &isnull));
	seal->last.xid = DatumGetFullTransactionId(SPI_getbinval(row, desc, 6, &isnull));
	seal->last.journal_id = DatumGetInt64(SPI_getbinval(row, desc, 7, &isnull));
	return seal_hashes(SPI_getbinval(row, desc, 3, &isnull), &seal->root, 1, &nroot) &&
		nroot == 1 &&
		seal_hashes(SPI_getbinval(row, desc, 4, &isnull), seal->frontier.nodes, MERKLE_MAX_PATH,
					&seal->frontier.nnodes) &&
		seal->frontier.nnodes == pg_popcount64(seal->frontier.size) &&
		seal_hashes(SPI_getbinval(row, desc, 8, &isnull), seal->tail, SEAL_TILE_WIDTH - 1,
					&seal->ntail) &&
		seal->ntail <= seal->frontier.size % SEAL_TILE_WIDTH;
}

/* Run a query; the number of rows, which are in SPI_tuptable. */
uint64
seal_query(const char *sql, int nargs, Oid *argtypes, Datum *args)
{
	if (SPI_execute_with_args(sql, nargs, argtypes, args, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not run: %s", sql);
	return SPI_processed;
}

/* The newest seal; false when there is none. */
bool
seal_read_last(int64 org_id, Seal *seal)
{
	Oid			argtypes[] = {INT8OID};
	Datum		args[] = {Int64GetDatum(org_id)};

	memset(seal, 0, sizeof(Seal));
	if (seal_query("SELECT " SEAL_COLUMNS " FROM referral.seal s"
				   " WHERE s.org_id = $1 ORDER BY s.tree_size DESC LIMIT 1",
				   1, argtypes, args) == 0)
		return false;
	if (!seal_of_row(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, seal))
		ereport(ERROR,
				(errcode(ERRCODE_RF_UNVERIFIED),
				 errmsg("seal " INT64_FORMAT " of organisation " INT64_FORMAT " has been altered",
						seal->seal_id, org_id),
				 errdetail("It does not have as many hashes as its tree size asks for."),
				 errhint("SELECT * FROM referral.verify_journal(…) tells what else was.")));
	return true;
}

/* Leaves from "first" on that are in no complete tile, of a tree of "size". */
static int
read_tails(int64 org_id, uint64 first, uint64 size, MerkleHash *hashes)
{
	Oid			argtypes[] = {INT8OID, INT8OID};
	Datum		args[] = {Int64GetDatum(org_id), Int64GetDatum((int64) first)};
	uint64		nseals = seal_query("SELECT s.tree_size, s.tail FROM referral.seal s"
								   " WHERE s.org_id = $1 AND s.tree_size > $2"
								   " AND s.tree_size < $2 + 256 ORDER BY s.tree_size",
								   2, argtypes, args);
	MerkleHash	tail[SEAL_TILE_WIDTH];
	int			ntail,
				nhashes = 0;
	bool		isnull;

	for (uint64 i = 0; i < nseals && first + nhashes < size; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		int64		end = DatumGetInt64(SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &isnull));

		if (!seal_hashes(SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &isnull), tail,
						 SEAL_TILE_WIDTH - 1, &ntail) ||
			first + nhashes + ntail != end)
			return -1;
		for (int k = 0; k < ntail && first + nhashes < size; k++)
			hashes[nhashes++] = tail[k];
	}
	return nhashes;
}

/* How many children a tile has in a tree of "size". */
static int
group_width(int level, uint64 group, uint64 size)
{
	return (int) (Min(size >> (8 * level), (group + 1) * SEAL_TILE_WIDTH) - group * SEAL_TILE_WIDTH);
}

/*
 * The hashes of a tile's children, those that a tree of "size" has complete:
 * of leaves (level 0) or of tiles of the level below.  Returns how many were
 * found; -1 when what was found makes no sense.
 */
int
seal_read_group(int64 org_id, int level, uint64 group, uint64 size,
				MerkleHash hashes[SEAL_TILE_WIDTH])
{
	Oid			argtypes[] = {INT8OID, INT4OID, INT8OID};
	Datum		args[] = {Int64GetDatum(org_id), Int32GetDatum(level - 1),
	Int64GetDatum((int64) group * SEAL_TILE_WIDTH)};
	int			wanted = group_width(level, group, size);
	int			nhashes = 0;
	bool		isnull;

	if (level == 0)
	{
		args[1] = Int32GetDatum(0);
		args[2] = Int64GetDatum((int64) group);
		if (seal_query("SELECT coalesce(t.hashes, '\\x') FROM referral.seal_tile t"
					  " WHERE t.org_id = $1 AND t.level = $2 AND t.tile = $3", 3, argtypes, args) == 0)
			nhashes = read_tails(org_id, group * SEAL_TILE_WIDTH, size, hashes);
		else if (!seal_hashes(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull),
							  hashes, SEAL_TILE_WIDTH, &nhashes) || nhashes != SEAL_TILE_WIDTH)
			nhashes = -1;
	}
	else
	{
		uint64		ntiles = seal_query("SELECT t.root_hash FROM referral.seal_tile t"
									   " WHERE t.org_id = $1 AND t.level = $2 AND t.tile >= $3"
									   " AND t.tile < $3 + 256 ORDER BY t.tile", 3, argtypes, args);
		int			nroot;

		for (nhashes = 0; nhashes < Min(ntiles, wanted); nhashes++)
			if (!seal_hashes(SPI_getbinval(SPI_tuptable->vals[nhashes], SPI_tuptable->tupdesc, 1,
										   &isnull), &hashes[nhashes], 1, &nroot) || nroot != 1)
				break;
	}
	return Min(nhashes, wanted);
}

int
seal_require_group(int64 org_id, int level, uint64 group, uint64 size,
				   MerkleHash hashes[SEAL_TILE_WIDTH])
{
	int			wanted = group_width(level, group, size);

	if (seal_read_group(org_id, level, group, size, hashes) != wanted)
		ereport(ERROR,
				(errcode(ERRCODE_RF_UNVERIFIED),
				 errmsg("the stored hashes of the journal are not complete"),
				 errdetail("Tile " UINT64_FORMAT " of level %d of organisation " INT64_FORMAT " is missing or altered.",
						   group, level, org_id),
				 errhint("SELECT * FROM referral.verify_journal(…) tells what was altered.")));
	return wanted;
}
