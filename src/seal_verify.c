/*-------------------------------------------------------------------------
 *
 * seal_verify.c
 *		verify_journal(): is the journal what was sealed?
 *
 * The rows are hashed again, in their order, and compared with the hashes
 * that are kept; the tree over the kept hashes is compared with every tile and
 * every seal.  The first thing that is wrong ends the walk, after a look at
 * what follows to tell what happened.
 *
 * IDENTIFICATION
 *		src/seal_verify.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/xid8.h"

#include "compat.h"
#include "errors.h"
#include "rule.h"
#include "seal.h"
#include "security.h"

#define SEALS_AT_ONCE	64

typedef struct LeafRange
{
	uint64		first;
	uint64		last;
} LeafRange;

typedef struct Verifier
{
	int64		org_id;
	MemoryContext context;
	MerkleHasher *hasher;
	LeafEncoder *encoder;

	/* what is kept */
	uint64		size;			/* of the last seal */
	int64		nseals;
	SealPosition end;			/* of the last seal */
	uint64		tile;			/* whose hashes are at hand */
	int			nhashes;
	MerkleHash	hashes[SEAL_TILE_WIDTH];
	Seal	   *seals;			/* the next ones */
	int			seals_read;
	int			seals_used;
	LeafRange  *purged;
	int			npurged;

	/* where the walk is */
	SealTree	tree;			/* over the kept hashes; its size is the next leaf */
	int64		seals_seen;
	uint64		last_seal_size;
	int64		last_id;		/* row before, 0 at the beginning */
	SealPosition last_position;
	bool		last_is_row;	/* the leaf before was found as a row */
	int64		suspect;		/* row that did not fit, 0 when there is none */

	/* what came of it */
	uint64		nfound;
	uint64		nmissing;		/* purged ones */
	uint64		nunsealed;
	int64		last_seal_told;	/* highest seal that the journal tells of */
	bool		bad;
	int64		bad_id;
	char	   *detail;

	/* a tree head from elsewhere */
	uint64		known_size;
	MerkleHash	known_root;

	/* journal_leaves(): the leaves in one partition */
	Oid			partition;
	LeafRange  *ranges;
	int			nranges;
} Verifier;

/* The first thing that is wrong counts. */
static void
found_bad(Verifier *v, int64 journal_id, char *detail)
{
	if (v->bad)
		return;
	v->bad = true;
	v->bad_id = journal_id;
	v->detail = MemoryContextStrdup(v->context, detail);
}

static bool
same_hash(const MerkleHash *a, const MerkleHash *b)
{
	return memcmp(a, b, sizeof(MerkleHash)) == 0;
}

/* ---------- What is kept ---------- */

static const MerkleHash *
kept_hash(Verifier *v, uint64 leaf)
{
	uint64		tile = leaf / SEAL_TILE_WIDTH;

	if (leaf >= v->size)
		return NULL;
	if (v->nhashes < 0 || v->tile != tile)
	{
		SPI_connect();
		v->nhashes = seal_read_group(v->org_id, 0, tile, v->size, v->hashes);
		v->tile = tile;
		SPI_finish();
		v->nhashes = Max(v->nhashes, 0);
	}
	return leaf % SEAL_TILE_WIDTH < v->nhashes ? &v->hashes[leaf % SEAL_TILE_WIDTH] : NULL;
}

static Seal *
next_seal(Verifier *v)
{
	Oid			argtypes[] = {INT8OID, INT8OID, INT4OID};
	Datum		args[3];
	uint64		nrows;
	bool		good = true;

	if (v->seals_used < v->seals_read)
		return &v->seals[v->seals_used];
	args[0] = Int64GetDatum(v->org_id);
	args[1] = Int64GetDatum(v->seals_seen);
	args[2] = Int32GetDatum(SEALS_AT_ONCE);
	SPI_connect();
	nrows = seal_query("SELECT " SEAL_COLUMNS " FROM referral.seal s"
					   " WHERE s.org_id = $1 AND s.seal_id > $2 ORDER BY s.seal_id LIMIT $3",
					   3, argtypes, args);
	for (v->seals_read = 0; v->seals_read < nrows && good; v->seals_read++)
	{
		Seal	   *seal = &v->seals[v->seals_read];

		good = seal_of_row(SPI_tuptable->vals[v->seals_read], SPI_tuptable->tupdesc, seal);
		if (!good)
			found_bad(v, 0, psprintf("seal " INT64_FORMAT " was altered: its hashes are not of the number that its tree size asks for",
									 seal->seal_id));
	}
	SPI_finish();
	v->seals_used = 0;
	return v->bad || v->seals_read == 0 ? NULL : &v->seals[0];
}

/* Do the kept hashes from the next leaf on give the root of the next seal? */
static bool
kept_hashes_fit(Verifier *v)
{
	Seal	   *seal = next_seal(v);
	SealTree	tree = v->tree;
	MerkleFrontier frontier;
	MerkleHash	root;

	if (seal == NULL)
		return false;
	while (tree.size < seal->frontier.size)
	{
		const MerkleHash *hash = kept_hash(v, tree.size);

		if (hash == NULL)
			return false;
		seal_tree_append(v->hasher, &tree, hash, NULL, NULL);
	}
	seal_tree_frontier(&tree, &frontier);
	merkle_root(v->hasher, &frontier, &root);
	return same_hash(&root, &seal->root);
}

/* A row does not match: say so, unless it is the kept hashes that are wrong. */
static void
row_is_bad(Verifier *v, int64 journal_id, char *detail)
{
	uint64		leaf = v->tree.size;

	if (v->bad || kept_hashes_fit(v))
		found_bad(v, journal_id, detail);
	else
		found_bad(v, 0, psprintf("the kept hash of leaf " UINT64_FORMAT " (tile " UINT64_FORMAT ", or the tail of a seal after seal " INT64_FORMAT ") or the root of that seal was altered",
								 leaf, leaf / SEAL_TILE_WIDTH, v->seals_seen));
}

/* ---------- Going on by one leaf ---------- */

static bool
same_position(const SealPosition *a, const SealPosition *b)
{
	return a->xid_epoch == b->xid_epoch && FullTransactionIdEquals(a->xid, b->xid) &&
		a->journal_id == b->journal_id;
}

/* A tile is complete; a SealTileDone. */
static void
check_tile(void *arg, int level, uint64 tile, const MerkleHash *root)
{
	Verifier   *v = arg;
	Oid			argtypes[] = {INT8OID, INT4OID, INT8OID};
	Datum		args[] = {Int64GetDatum(v->org_id), Int32GetDatum(level), Int64GetDatum((int64) tile)};
	MerkleHash	kept;
	SealPosition last = {0};
	int			nkept = 0;
	bool		isnull;

	SPI_connect();
	if (seal_query("SELECT t.root_hash, t.xid_epoch, t.xid, t.journal_id FROM referral.seal_tile t"
				   " WHERE t.org_id = $1 AND t.level = $2 AND t.tile = $3"
				   " AND num_nulls(t.hashes, t.xid_epoch, t.xid, t.journal_id) = CASE t.level WHEN 0 THEN 0 ELSE 4 END",
				   3, argtypes, args) == 1)
	{
		HeapTuple	row = SPI_tuptable->vals[0];
		TupleDesc	desc = SPI_tuptable->tupdesc;

		if (!seal_hashes(SPI_getbinval(row, desc, 1, &isnull), &kept, 1, &nkept))
			nkept = 0;
		last.xid_epoch = DatumGetInt32(SPI_getbinval(row, desc, 2, &isnull));
		last.xid = DatumGetFullTransactionId(SPI_getbinval(row, desc, 3, &isnull));
		last.journal_id = DatumGetInt64(SPI_getbinval(row, desc, 4, &isnull));
	}
	SPI_finish();
	if (nkept != 1 || !same_hash(&kept, root) ||
		(level == 0 && v->last_is_row && !same_position(&last, &v->last_position)))
		found_bad(v, 0, psprintf("tile " UINT64_FORMAT " of level %d was altered or removed", tile, level));
}

static void
check_seal(Verifier *v, Seal *seal)
{
	MerkleFrontier frontier;
	MerkleHash	root;

	seal_tree_frontier(&v->tree, &frontier);
	merkle_root(v->hasher, &frontier, &root);
	if (!same_hash(&root, &seal->root) ||
		memcmp(frontier.nodes, seal->frontier.nodes, frontier.nnodes * sizeof(MerkleHash)) != 0 ||
		(v->last_is_row && !same_position(&seal->last, &v->last_position)))
		found_bad(v, 0, psprintf("seal " INT64_FORMAT " does not match its " UINT64_FORMAT " leaves: it, or a kept hash since seal " INT64_FORMAT ", was altered",
								 seal->seal_id, v->tree.size, v->seals_seen));
	if (seal->frontier.size - Max(v->last_seal_size, seal->frontier.size - seal->frontier.size % SEAL_TILE_WIDTH) != seal->ntail)
		found_bad(v, 0, psprintf("seal " INT64_FORMAT " was altered: its tail is not of the hashes that are new", seal->seal_id));
	for (int i = 0; i < seal->ntail && !v->bad; i++)
	{
		const MerkleHash *hash = kept_hash(v, seal->frontier.size - seal->ntail + i);

		if (hash == NULL || !same_hash(hash, &seal->tail[i]))
			found_bad(v, 0, psprintf("seal " INT64_FORMAT " was altered: its tail has other hashes", seal->seal_id));
	}
	v->last_seal_size = seal->frontier.size;
	if (seal->seal_id != v->seals_seen + 1)
		found_bad(v, 0, psprintf("seal " INT64_FORMAT " is missing", v->seals_seen + 1));
	v->seals_seen = seal->seal_id;
	v->seals_used++;
}

static void
check_known(Verifier *v)
{
	MerkleFrontier frontier;
	MerkleHash	root;

	seal_tree_frontier(&v->tree, &frontier);
	merkle_root(v->hasher, &frontier, &root);
	if (!same_hash(&root, &v->known_root))
		found_bad(v, 0, psprintf("the tree of the first " UINT64_FORMAT " rows does not have the root that is known from elsewhere: the journal was rewritten",
								 v->known_size));
}

static void
note_partition(Verifier *v, TupleTableSlot *slot)
{
	bool		isnull;
	Oid			relid;
	uint64		leaf = v->tree.size;

	if (!OidIsValid(v->partition))
		return;
	relid = DatumGetObjectId(slot_getattr(slot, slot->tts_tupleDescriptor->natts, &isnull));
	if (relid != v->partition)
		return;
	if (v->nranges > 0 && v->ranges[v->nranges - 1].last + 1 == leaf)
	{
		v->ranges[v->nranges - 1].last = leaf;
		return;
	}
	if (v->nranges % 64 == 0)
		v->ranges = v->nranges == 0
			? MemoryContextAlloc(v->context, 64 * sizeof(LeafRange))
			: repalloc_huge(v->ranges, (v->nranges + 64) * sizeof(LeafRange));
	v->ranges[v->nranges].first = v->ranges[v->nranges].last = leaf;
	v->nranges++;
}

static void
next_leaf(Verifier *v, bool is_row)
{
	Seal	   *seal;
	MerkleHash	hash = *kept_hash(v, v->tree.size);

	v->last_is_row = is_row;
	seal_tree_append(v->hasher, &v->tree, &hash, check_tile, v);
	seal = next_seal(v);
	if (seal == NULL)
		found_bad(v, 0, pstrdup("the last seals are missing"));
	else if (seal->frontier.size == v->tree.size)
		check_seal(v, seal);
	else if (seal->frontier.size < v->tree.size)
		found_bad(v, 0, psprintf("seal " INT64_FORMAT " was altered: the one before it has as many leaves", seal->seal_id));
	if (v->tree.size == v->known_size)
		check_known(v);
}

/* ---------- Rows ---------- */

static bool
is_purged(Verifier *v, uint64 leaf)
{
	for (int i = 0; i < v->npurged; i++)
		if (leaf >= v->purged[i].first && leaf <= v->purged[i].last)
			return true;
	return false;
}

static void
pass_purged(Verifier *v)
{
	while (!v->bad && v->tree.size < v->size && is_purged(v, v->tree.size) &&
		   kept_hash(v, v->tree.size) != NULL)
	{
		v->nmissing++;
		next_leaf(v, false);
	}
}

/* How many leaves are skipped if the row is the next but some; 0: none fits. */
static uint64
leaves_skipped(Verifier *v, const MerkleHash *hash)
{
	for (uint64 skip = 1; skip < 2 * SEAL_TILE_WIDTH; skip++)
	{
		const MerkleHash *kept = kept_hash(v, v->tree.size + skip);

		if (kept == NULL)
			break;
		if (same_hash(kept, hash))
			return skip;
	}
	return 0;
}

/* The journal's own word on a seal. */
static void
check_seal_told(Verifier *v, TupleTableSlot *slot, int64 journal_id)
{
	Oid			argtypes[] = {INT8OID, INT8OID, JSONBOID};
	Datum		args[3];
	bool		isnull;
	bool		differs = true;
	int64		seal_id = DatumGetInt64(leaf_column(v->encoder, slot, J_ENTITY_ID, &isnull));

	args[0] = Int64GetDatum(v->org_id);
	args[1] = Int64GetDatum(seal_id);
	args[2] = leaf_column(v->encoder, slot, J_CHANGES, &isnull);
	if (isnull)
		return;					/* a forged row will not match its hash */
	SPI_connect();
	/* frontier and tail are not told, but checked anyhow */
	if (seal_query("SELECT NOT $3 ?& '{tree_size,root_hash,xid_epoch,xid,journal_id,sealed_at}' OR EXISTS ("
				   " SELECT FROM unnest(referral.journal_differences('seal', s, (SELECT jsonb_object_agg(c.key, c.value -> 1)"
				   "  FROM jsonb_each(CASE jsonb_typeof($3) WHEN 'object' THEN $3 END) c))) d WHERE $3 ? d)"
				   " FROM referral.seal s WHERE s.org_id = $1 AND s.seal_id = $2", 3, argtypes, args) == 1)
		differs = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	if (differs)
		found_bad(v, 0, psprintf("seal " INT64_FORMAT " is not as journal row " INT64_FORMAT " tells of it: it was altered or removed",
								 seal_id, journal_id));
	v->last_seal_told = Max(v->last_seal_told, seal_id);
}

/* A row that comes after the last leaf. */
static void
unsealed_row(Verifier *v, const SealPosition *position)
{
	if (v->nseals != 0 && !seal_is_after(position, &v->end))
		found_bad(v, position->journal_id,
				  psprintf("journal row " INT64_FORMAT " was put in: it is older than the last seal, but not in the tree",
						   position->journal_id));
	v->nunsealed++;
}

/* The row before did not fit; this one tells what happened to it. */
static void
judge_suspect(Verifier *v, const MerkleHash *hash)
{
	const MerkleHash *kept = kept_hash(v, v->tree.size);

	if (kept != NULL && same_hash(kept, hash))
		row_is_bad(v, v->suspect, psprintf("journal row " INT64_FORMAT " was put in: it is not in the tree",
										   v->suspect));
	else
		row_is_bad(v, v->suspect, psprintf("journal row " INT64_FORMAT " was altered, or is not where it was: it does not match leaf " UINT64_FORMAT,
										   v->suspect, v->tree.size));
}

static bool
verify_row(void *arg, TupleTableSlot *slot)
{
	Verifier   *v = arg;
	SealPosition position = leaf_position(v->encoder, slot);
	const MerkleHash *kept;
	MerkleHash	hash;
	uint64		skipped;

	leaf_encode(v->encoder, slot);
	merkle_hash_leaf(v->hasher, v->encoder->bytes.data, v->encoder->bytes.len, &hash);
	if (v->suspect != 0)
		judge_suspect(v, &hash);
	else
	{
		kept = kept_hash(v, v->tree.size);
		if (kept == NULL || !same_hash(kept, &hash))
			pass_purged(v);
		kept = kept_hash(v, v->tree.size);
		if (v->tree.size >= v->size)
			unsealed_row(v, &position);
		else if (kept == NULL)
			found_bad(v, 0, psprintf("tile " UINT64_FORMAT " of level 0, or a seal that has its hashes, was altered or removed",
									 v->tree.size / SEAL_TILE_WIDTH));
		else if (same_hash(kept, &hash))
		{
			v->last_position = position;
			v->nfound++;
			note_partition(v, slot);
			next_leaf(v, true);
			v->last_id = position.journal_id;
		}
		else if (seal_is_after(&position, &v->end))
			row_is_bad(v, 0, psprintf(UINT64_FORMAT " journal row(s), leaf " UINT64_FORMAT " and following, were removed after row " INT64_FORMAT,
									  v->size - v->tree.size, v->tree.size, v->last_id));
		else if ((skipped = leaves_skipped(v, &hash)) > 0)
			row_is_bad(v, 0, psprintf(UINT64_FORMAT " journal row(s), leaf " UINT64_FORMAT " and following, were removed between rows " INT64_FORMAT " and " INT64_FORMAT,
									  skipped, v->tree.size, v->last_id, position.journal_id));
		else
			v->suspect = position.journal_id;
	}
	if (!v->bad && v->suspect == 0 && leaf_is_of_seal(v->encoder, slot))
		check_seal_told(v, slot, position.journal_id);
	return !v->bad;
}

/* ---------- The whole ---------- */

static void
load_purged(Verifier *v)
{
	Oid			argtypes[] = {INT8OID};
	Datum		args[] = {Int64GetDatum(v->org_id)};
	bool		isnull;

	v->npurged = (int) seal_query("SELECT p.first_leaf, p.last_leaf FROM referral.purged_leaves($1) p"
								  " ORDER BY 1", 1, argtypes, args);
	v->purged = palloc(sizeof(LeafRange) * Max(v->npurged, 1));
	for (int i = 0; i < v->npurged; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];

		v->purged[i].first = DatumGetInt64(SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &isnull));
		v->purged[i].last = DatumGetInt64(SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &isnull));
	}
}

static void
check_number_of_tiles(Verifier *v)
{
	Oid			argtypes[] = {INT8OID};
	Datum		args[] = {Int64GetDatum(v->org_id)};
	int64		expected = 0;
	bool		isnull;

	for (int level = 1; level < SEAL_LEVELS; level++)
		expected += v->size >> (8 * level);
	(void) seal_query("SELECT count(*) FROM referral.seal_tile t WHERE t.org_id = $1",
					  1, argtypes, args);
	if (DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)) != expected)
		found_bad(v, 0, pstrdup("there are tiles that seal() has not made"));
	(void) seal_query("SELECT count(*) FROM referral.seal s WHERE s.org_id = $1",
					  1, argtypes, args);
	if (DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)) != v->nseals)
		found_bad(v, 0, pstrdup("there are seals that seal() has not made"));
}

/* What can only be said when all rows have been seen. */
static void
check_end(Verifier *v)
{
	if (v->suspect != 0)
		row_is_bad(v, v->suspect, psprintf("journal row " INT64_FORMAT " was altered: it does not match leaf " UINT64_FORMAT,
										   v->suspect, v->tree.size));
	if (!v->bad)
		pass_purged(v);
	if (!v->bad && v->tree.size < v->size)
		row_is_bad(v, 0, psprintf(UINT64_FORMAT " journal row(s), leaf " UINT64_FORMAT " and following, were removed after row " INT64_FORMAT,
								  v->size - v->tree.size, v->tree.size, v->last_id));
	if (!v->bad && v->last_seal_told != v->nseals && v->nfound > 0)
		found_bad(v, 0, psprintf("seal " INT64_FORMAT " was put in: the journal does not tell of it", v->nseals));
	if (!v->bad && v->known_size > v->size)
		found_bad(v, 0, psprintf("the tree has " UINT64_FORMAT " leaves, but had " UINT64_FORMAT " when the known root was taken: the journal was cut or rewritten",
								 v->size, v->known_size));
	if (!v->bad)
		check_number_of_tiles(v);
	if (!v->bad && v->nseals == 0 && v->nunsealed == 0)
		v->detail = pstrdup("nothing to verify: the organisation has neither journal rows nor seals");
	else if (!v->bad)
		v->detail = psprintf(UINT64_FORMAT " rows verified against " INT64_FORMAT " seals, " UINT64_FORMAT " purged, " UINT64_FORMAT " not sealed yet",
							 v->nfound, v->nseals, v->nmissing, v->nunsealed);
}

/* Inside a security_begin_read(). */
static void
verify_org(Verifier *v)
{
	Oid			argtypes[] = {INT8OID};
	Datum		args[] = {Int64GetDatum(v->org_id)};
	bool		isnull;

	if (seal_query("SELECT s.tree_size, s.seal_id, s.xid_epoch, s.xid, s.journal_id FROM referral.seal s"
				   " WHERE s.org_id = $1 ORDER BY s.tree_size DESC LIMIT 1", 1, argtypes, args) == 1)
	{
		HeapTuple	row = SPI_tuptable->vals[0];
		TupleDesc	desc = SPI_tuptable->tupdesc;

		v->size = (uint64) DatumGetInt64(SPI_getbinval(row, desc, 1, &isnull));
		v->nseals = DatumGetInt64(SPI_getbinval(row, desc, 2, &isnull));
		v->end.xid_epoch = DatumGetInt32(SPI_getbinval(row, desc, 3, &isnull));
		v->end.xid = DatumGetFullTransactionId(SPI_getbinval(row, desc, 4, &isnull));
		v->end.journal_id = DatumGetInt64(SPI_getbinval(row, desc, 5, &isnull));
	}
	v->nhashes = -1;
	v->seals = palloc(sizeof(Seal) * SEALS_AT_ONCE);
	load_purged(v);
	seal_walk(v->org_id, (SealPosition) {0}, 0, InvalidFullTransactionId, v->encoder,
			  verify_row, v);
	check_end(v);
}

static Verifier *
verifier_create(int64 org_id)
{
	Verifier   *v = palloc0(sizeof(Verifier));

	v->org_id = org_id;
	v->context = CurrentMemoryContext;
	v->hasher = merkle_hasher_create();
	v->encoder = leaf_encoder_create();
	return v;
}

PG_FUNCTION_INFO_V1(verify_journal);

/*
 * verify_journal(org_id bigint, known_size bigint, known_root bytea) returns
 * (ok boolean, tree_size bigint, first_bad_journal_id bigint, detail text)
 */
Datum
verify_journal(PG_FUNCTION_ARGS)
{
	RuleCache  *cache;
	OwnerScope	scope;
	TupleDesc	desc;
	Verifier   *v;
	MemoryContext caller = CurrentMemoryContext;
	int			nknown = 0;
	Datum		values[4];
	bool		nulls[4] = {false, false, false, false};

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	cache = rule_cache(true);
	seal_require_org(cache, PG_GETARG_INT64(0));
	v = verifier_create(PG_GETARG_INT64(0));
	if (PG_ARGISNULL(1) != PG_ARGISNULL(2) ||
		(!PG_ARGISNULL(1) &&
		 (PG_GETARG_INT64(1) < 1 ||
		  !seal_hashes(PG_GETARG_DATUM(2), &v->known_root, 1, &nknown) || nknown != 1)))
		ereport(ERROR,
				(errcode(ERRCODE_RF_NO_SUCH_ROW),
				 errmsg("that is no tree head"),
				 errdetail("A tree head is a size of at least 1 and a root hash of 32 bytes."),
				 errhint("Give both, as seal() or a checkpoint told them, or neither.")));
	if (!PG_ARGISNULL(1))
		v->known_size = (uint64) PG_GETARG_INT64(1);

	security_begin_read(&scope, cache->owner);
	verify_org(v);
	v->detail = MemoryContextStrdup(caller, v->detail);
	security_end_read(&scope);
	merkle_hasher_free(v->hasher);

	MemoryContextSwitchTo(caller);
	values[0] = BoolGetDatum(!v->bad);
	values[1] = Int64GetDatum((int64) v->size);
	values[2] = Int64GetDatum(v->bad_id);
	nulls[2] = v->bad_id == 0;
	values[3] = CStringGetTextDatum(v->detail);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

PG_FUNCTION_INFO_V1(journal_leaves);

/* journal_leaves(org_id bigint, partition regclass) returns setof (first_leaf, last_leaf) */
Datum
journal_leaves(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	RuleCache  *cache = rule_cache(true);
	Verifier   *v;
	OwnerScope	scope;

	seal_require_org(cache, PG_GETARG_INT64(0));
	InitMaterializedSRF(fcinfo, 0);
	v = verifier_create(PG_GETARG_INT64(0));
	v->partition = PG_GETARG_OID(1);
	security_begin_read(&scope, cache->owner);
	verify_org(v);
	if (v->bad)
		ereport(ERROR,
				(errcode(ERRCODE_RF_UNVERIFIED),
				 errmsg("the journal of organisation " INT64_FORMAT " does not verify", v->org_id),
				 errdetail("%s.", v->detail),
				 errhint("Find out who did that, before anything is purged.")));
	security_end_read(&scope);
	merkle_hasher_free(v->hasher);
	for (int i = 0; i < v->nranges; i++)
	{
		Datum		values[] = {Int64GetDatum((int64) v->ranges[i].first), Int64GetDatum((int64) v->ranges[i].last)};
		bool		nulls[] = {false, false};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
