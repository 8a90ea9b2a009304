/*-------------------------------------------------------------------------
 *
 * merkle.c
 *		Merkle trees as RFC 9162 section 2.1 defines them, and their SQL
 *		functions.
 *
 * A node is known by its level (0 for leaves) and its index within it, and
 * covers the leaves from index << level on, 1 << level of them or what is left
 * at the right edge.  A node without a sibling there stands for its parent as
 * well.  Levels are at most 63, since sizes stay below 2^63.
 *
 * IDENTIFICATION
 *		src/merkle.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/cryptohash.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "compat.h"
#include "merkle.h"

struct MerkleHasher
{
	pg_cryptohash_ctx *ctx;
};

MerkleHasher *
merkle_hasher_create(void)
{
	MerkleHasher *hasher = palloc(sizeof(MerkleHasher));

	hasher->ctx = pg_cryptohash_create(PG_SHA256);
	return hasher;
}

void
merkle_hasher_free(MerkleHasher *hasher)
{
	pg_cryptohash_free(hasher->ctx);
	pfree(hasher);
}

/* SHA-256 of two pieces; the second may be empty. */
static void
merkle_hash(MerkleHasher *hasher, const void *head, Size head_length,
			const void *data, Size length, MerkleHash *out)
{
	if (pg_cryptohash_init(hasher->ctx) < 0 ||
		pg_cryptohash_update(hasher->ctx, head, head_length) < 0 ||
		(length > 0 && pg_cryptohash_update(hasher->ctx, data, length) < 0) ||
		pg_cryptohash_final(hasher->ctx, out->bytes, MERKLE_HASH_LEN) < 0)
		elog(ERROR, "could not compute %s hash: %s", "SHA-256",
			 pg_cryptohash_error(hasher->ctx));
}

void
merkle_hash_leaf(MerkleHasher *hasher, const void *data, Size length, MerkleHash *out)
{
	static const uint8 prefix = 0x00;

	merkle_hash(hasher, &prefix, 1, data, length, out);
}

void
merkle_hash_node(MerkleHasher *hasher, const MerkleHash *left, const MerkleHash *right,
				 MerkleHash *out)
{
	uint8		node[1 + 2 * MERKLE_HASH_LEN];

	node[0] = 0x01;
	memcpy(node + 1, left->bytes, MERKLE_HASH_LEN);
	memcpy(node + 1 + MERKLE_HASH_LEN, right->bytes, MERKLE_HASH_LEN);
	merkle_hash(hasher, node, sizeof(node), NULL, 0, out);
}

static bool
merkle_same(const MerkleHash *a, const MerkleHash *b)
{
	return memcmp(a->bytes, b->bytes, MERKLE_HASH_LEN) == 0;
}

void
merkle_append(MerkleHasher *hasher, MerkleFrontier *frontier, const MerkleHash *leaf)
{
	MerkleHash	hash = *leaf;

	Assert(frontier->nnodes == pg_popcount64(frontier->size));
	/* as adding one to size carries, perfect trees of one height join */
	for (uint64 carry = frontier->size; carry & 1; carry >>= 1)
		merkle_hash_node(hasher, &frontier->nodes[--frontier->nnodes], &hash, &hash);
	frontier->nodes[frontier->nnodes++] = hash;
	frontier->size++;
}

void
merkle_root(MerkleHasher *hasher, const MerkleFrontier *frontier, MerkleHash *out)
{
	MerkleHash	hash;

	if (frontier->nnodes == 0)
	{
		merkle_hash(hasher, "", 0, NULL, 0, out);
		return;
	}
	hash = frontier->nodes[frontier->nnodes - 1];
	for (int i = frontier->nnodes - 2; i >= 0; i--)
		merkle_hash_node(hasher, &frontier->nodes[i], &hash, &hash);
	*out = hash;
}

/* Adds the siblings of a node and of those above it; returns the path's length. */
static int
merkle_siblings(uint64 index, int level, uint64 size, MerkleSubtree subtree, void *source,
				MerkleHash *path, int npath)
{
	for (uint64 last = (size - 1) >> level; last != 0; last >>= 1, index >>= 1, level++)
	{
		uint64		first = (index ^ 1) << level;

		if (first >= size)
			continue;			/* none at the right edge */
		subtree(source, first, first + Min(UINT64CONST(1) << level, size - first), &path[npath++]);
	}
	return npath;
}

/* RFC 9162 section 2.1.3.1 */
int
merkle_inclusion_path(uint64 leaf, uint64 size, MerkleSubtree subtree, void *source,
					  MerkleHash path[MERKLE_MAX_PATH])
{
	Assert(leaf < size);
	return merkle_siblings(leaf, 0, size, subtree, source, path, 0);
}

/*
 * RFC 9162 section 2.1.4.1: the last of the perfect trees that the old tree
 * is made of, unless it is the whole of it, and the way up from there.
 */
int
merkle_consistency_path(uint64 old_size, uint64 new_size, MerkleSubtree subtree, void *source,
						MerkleHash path[MERKLE_MAX_PATH])
{
	int			level;
	uint64		index;
	int			npath = 0;

	Assert(old_size > 0 && old_size <= new_size);
	if (old_size == new_size)
		return 0;
	level = pg_rightmost_one_pos64(old_size);
	index = (old_size >> level) - 1;
	if (index != 0)
		subtree(source, index << level, old_size, &path[npath++]);
	return merkle_siblings(index, level, new_size, subtree, source, path, npath);
}

/*
 * Goes to the parent of the node "index", where "last" is the last one of its
 * level and not 0.  Returns whether the sibling passed was on the left.
 */
static bool
merkle_climb(uint64 *index, uint64 *last)
{
	bool		left = (*index & 1) != 0 || *index == *last;

	/* a node alone at the right edge has no sibling before it is a right child */
	while (left && (*index & 1) == 0 && *index != 0)
	{
		*index >>= 1;
		*last >>= 1;
	}
	*index >>= 1;
	*last >>= 1;
	return left;
}

/* RFC 9162 section 2.1.3.2 */
bool
merkle_verify_inclusion(MerkleHasher *hasher, uint64 leaf, uint64 size,
						const MerkleHash *leaf_hash, const MerkleHash *path, int npath,
						const MerkleHash *root)
{
	MerkleHash	hash = *leaf_hash;
	uint64		last = size - 1;

	if (leaf >= size)
		return false;
	for (int i = 0; i < npath; i++)
	{
		if (last == 0)
			return false;
		if (merkle_climb(&leaf, &last))
			merkle_hash_node(hasher, &path[i], &hash, &hash);
		else
			merkle_hash_node(hasher, &hash, &path[i], &hash);
	}
	return last == 0 && merkle_same(&hash, root);
}

/*
 * RFC 9162 section 2.1.4.2.  Nothing is proved from an empty tree: every tree
 * continues that.
 */
bool
merkle_verify_consistency(MerkleHasher *hasher, uint64 old_size, uint64 new_size,
						  const MerkleHash *old_root, const MerkleHash *new_root,
						  const MerkleHash *path, int npath)
{
	bool		whole = old_size != 0 && (old_size & (old_size - 1)) == 0;
	MerkleHash	old_hash,
				new_hash;
	uint64		index,
				last;
	int			level;

	if (old_size == 0 || old_size > new_size)
		return false;
	if (old_size == new_size)
		return npath == 0 && merkle_same(old_root, new_root);
	if (npath <= 0)
		return false;
	/* an old tree that is perfect is itself where the path starts */
	old_hash = new_hash = whole ? *old_root : path[0];
	level = pg_rightmost_one_pos64(old_size);
	index = (old_size - 1) >> level;
	last = (new_size - 1) >> level;
	for (int i = whole ? 0 : 1; i < npath; i++)
	{
		if (last == 0)
			return false;
		if (merkle_climb(&index, &last))
		{
			merkle_hash_node(hasher, &path[i], &old_hash, &old_hash);
			merkle_hash_node(hasher, &path[i], &new_hash, &new_hash);
		}
		else
			merkle_hash_node(hasher, &new_hash, &path[i], &new_hash);
	}
	return last == 0 && merkle_same(&old_hash, old_root) && merkle_same(&new_hash, new_root);
}

/*
 * The SQL functions
 */

static bool
hash_of_bytea(bytea *value, MerkleHash *out)
{
	if (VARSIZE_ANY_EXHDR(value) != MERKLE_HASH_LEN)
		return false;
	memcpy(out->bytes, VARDATA_ANY(value), MERKLE_HASH_LEN);
	return true;
}

static bytea *
bytea_of_hash(const MerkleHash *hash)
{
	bytea	   *value = palloc(VARHDRSZ + MERKLE_HASH_LEN);

	SET_VARSIZE(value, VARHDRSZ + MERKLE_HASH_LEN);
	memcpy(VARDATA(value), hash->bytes, MERKLE_HASH_LEN);
	return value;
}

static void
check_hash_arg(bytea *value, const char *name, MerkleHash *out)
{
	if (!hash_of_bytea(value, out))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is not a hash", name),
				 errdetail("It has %d bytes, a hash has %d.",
						   (int) VARSIZE_ANY_EXHDR(value), MERKLE_HASH_LEN),
				 errhint("Give the result of merkle_leaf_hash() or merkle_node_hash().")));
}

/* Copies the hashes of an array; returns how many came before the first that is none. */
static int
copy_hashes(ArrayType *array, MerkleHash *out)
{
	ArrayIterator it = array_create_iterator(array, 0, NULL);
	Datum		value;
	bool		isnull;
	int			nhashes = 0;

	while (array_iterate(it, &value, &isnull))
	{
		CHECK_FOR_INTERRUPTS();
		if (isnull || !hash_of_bytea(DatumGetByteaPP(value), &out[nhashes]))
			break;
		nhashes++;
	}
	array_free_iterator(it);
	return nhashes;
}

/* A tree whose leaves' hashes the caller holds. */
typedef struct ArrayTree
{
	MerkleHasher *hasher;
	int			size;
	MerkleHash *leaves;
} ArrayTree;

static void
array_tree_open(ArrayTree *tree, ArrayType *array)
{
	int			copied;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("leaf_hashes has more than one dimension"),
				 errdetail("It has %d dimensions.", ARR_NDIM(array)),
				 errhint("Give the hashes of the leaves in the order of the leaves.")));
	tree->size = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	/* short elements may let an array have more than 32 bytes each come to */
	tree->leaves = MemoryContextAllocHuge(CurrentMemoryContext,
										  Max(tree->size, 1) * sizeof(MerkleHash));
	copied = copy_hashes(array, tree->leaves);
	if (copied < tree->size)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an element of leaf_hashes is not a hash"),
				 errdetail("The hash of leaf %d is null, or not of %d bytes.",
						   copied, MERKLE_HASH_LEN),
				 errhint("Give the result of merkle_leaf_hash() for each leaf.")));
	tree->hasher = merkle_hasher_create();
}

static void
array_tree_close(ArrayTree *tree)
{
	merkle_hasher_free(tree->hasher);
	pfree(tree->leaves);
}

/* MerkleSubtree over an ArrayTree */
static void
array_tree_subtree(void *source, uint64 first, uint64 end, MerkleHash *out)
{
	ArrayTree  *tree = source;
	MerkleFrontier frontier;

	frontier.size = 0;
	frontier.nnodes = 0;
	for (uint64 leaf = first; leaf < end; leaf++)
	{
		CHECK_FOR_INTERRUPTS();
		merkle_append(tree->hasher, &frontier, &tree->leaves[leaf]);
	}
	merkle_root(tree->hasher, &frontier, out);
}

static ArrayType *
array_of_path(const MerkleHash *path, int npath)
{
	Datum		values[MERKLE_MAX_PATH];

	for (int i = 0; i < npath; i++)
		values[i] = PointerGetDatum(bytea_of_hash(&path[i]));
	return construct_array(values, npath, BYTEAOID, -1, false, TYPALIGN_INT);
}

/* The hashes of a proof, however bad it is; -1 when it cannot be one. */
static int
path_of_array(ArrayType *array, MerkleHash path[MERKLE_MAX_PATH])
{
	int			npath = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));

	if (ARR_NDIM(array) > 1 || npath > MERKLE_MAX_PATH)
		return -1;
	return copy_hashes(array, path) == npath ? npath : -1;
}

PG_FUNCTION_INFO_V1(merkle_leaf_hash);
PG_FUNCTION_INFO_V1(merkle_node_hash);
PG_FUNCTION_INFO_V1(merkle_tree_root);
PG_FUNCTION_INFO_V1(merkle_inclusion_proof);
PG_FUNCTION_INFO_V1(merkle_consistency_proof);
PG_FUNCTION_INFO_V1(verify_inclusion);
PG_FUNCTION_INFO_V1(verify_consistency);

Datum
merkle_leaf_hash(PG_FUNCTION_ARGS)
{
	bytea	   *data = PG_GETARG_BYTEA_PP(0);
	MerkleHasher *hasher = merkle_hasher_create();
	MerkleHash	hash;

	merkle_hash_leaf(hasher, VARDATA_ANY(data), VARSIZE_ANY_EXHDR(data), &hash);
	merkle_hasher_free(hasher);
	PG_RETURN_BYTEA_P(bytea_of_hash(&hash));
}

Datum
merkle_node_hash(PG_FUNCTION_ARGS)
{
	MerkleHash	left,
				right;
	MerkleHasher *hasher;

	check_hash_arg(PG_GETARG_BYTEA_PP(0), "left_hash", &left);
	check_hash_arg(PG_GETARG_BYTEA_PP(1), "right_hash", &right);
	hasher = merkle_hasher_create();
	merkle_hash_node(hasher, &left, &right, &left);
	merkle_hasher_free(hasher);
	PG_RETURN_BYTEA_P(bytea_of_hash(&left));
}

Datum
merkle_tree_root(PG_FUNCTION_ARGS)
{
	ArrayTree	tree;
	MerkleHash	root;

	array_tree_open(&tree, PG_GETARG_ARRAYTYPE_P(0));
	array_tree_subtree(&tree, 0, tree.size, &root);
	array_tree_close(&tree);
	PG_RETURN_BYTEA_P(bytea_of_hash(&root));
}

Datum
merkle_inclusion_proof(PG_FUNCTION_ARGS)
{
	int64		leaf = PG_GETARG_INT64(1);
	ArrayTree	tree;
	MerkleHash	path[MERKLE_MAX_PATH];
	int			npath;

	array_tree_open(&tree, PG_GETARG_ARRAYTYPE_P(0));
	if (leaf < 0 || leaf >= tree.size)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is no leaf " INT64_FORMAT, leaf),
				 errdetail("leaf_hashes has %d leaves, numbered from 0.", tree.size),
				 errhint("Give the leaf's number in the tree, or a longer array.")));
	npath = merkle_inclusion_path(leaf, tree.size, array_tree_subtree, &tree, path);
	array_tree_close(&tree);
	PG_RETURN_ARRAYTYPE_P(array_of_path(path, npath));
}

Datum
merkle_consistency_proof(PG_FUNCTION_ARGS)
{
	int64		old_size = PG_GETARG_INT64(1);
	ArrayTree	tree;
	MerkleHash	path[MERKLE_MAX_PATH];
	int			npath;

	array_tree_open(&tree, PG_GETARG_ARRAYTYPE_P(0));
	if (old_size < 1 || old_size > tree.size)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is no older tree of size " INT64_FORMAT, old_size),
				 errdetail("leaf_hashes has %d leaves, an older tree from 1 up to that.",
						   tree.size),
				 errhint("From size 0 nothing is to be proved: every tree continues it.")));
	npath = merkle_consistency_path(old_size, tree.size, array_tree_subtree, &tree, path);
	array_tree_close(&tree);
	PG_RETURN_ARRAYTYPE_P(array_of_path(path, npath));
}

Datum
verify_inclusion(PG_FUNCTION_ARGS)
{
	int64		leaf = PG_GETARG_INT64(0);
	int64		size = PG_GETARG_INT64(1);
	MerkleHash	leaf_hash,
				root,
				path[MERKLE_MAX_PATH];
	int			npath = path_of_array(PG_GETARG_ARRAYTYPE_P(3), path);
	MerkleHasher *hasher;
	bool		good;

	if (leaf < 0 || size < 0 || npath < 0 ||
		!hash_of_bytea(PG_GETARG_BYTEA_PP(2), &leaf_hash) ||
		!hash_of_bytea(PG_GETARG_BYTEA_PP(4), &root))
		PG_RETURN_BOOL(false);
	hasher = merkle_hasher_create();
	good = merkle_verify_inclusion(hasher, leaf, size, &leaf_hash, path, npath, &root);
	merkle_hasher_free(hasher);
	PG_RETURN_BOOL(good);
}

Datum
verify_consistency(PG_FUNCTION_ARGS)
{
	int64		old_size = PG_GETARG_INT64(0);
	int64		new_size = PG_GETARG_INT64(1);
	MerkleHash	old_root,
				new_root,
				path[MERKLE_MAX_PATH];
	int			npath = path_of_array(PG_GETARG_ARRAYTYPE_P(4), path);
	MerkleHasher *hasher;
	bool		good;

	if (old_size < 0 || new_size < 0 || npath < 0 ||
		!hash_of_bytea(PG_GETARG_BYTEA_PP(2), &old_root) ||
		!hash_of_bytea(PG_GETARG_BYTEA_PP(3), &new_root))
		PG_RETURN_BOOL(false);
	hasher = merkle_hasher_create();
	good = merkle_verify_consistency(hasher, old_size, new_size, &old_root, &new_root, path, npath);
	merkle_hasher_free(hasher);
	PG_RETURN_BOOL(good);
}
