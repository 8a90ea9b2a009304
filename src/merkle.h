/*-------------------------------------------------------------------------
 *
 * merkle.h
 *		Merkle trees as RFC 9162 section 2.1 defines them.
 *
 * Pure arithmetic over hashes: where the leaves come from is the caller's
 * business.  Leaves are numbered from 0; a tree of size n has leaves 0 to
 * n - 1.
 *
 * IDENTIFICATION
 *		src/merkle.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_MERKLE_H
#define REFERRAL_MERKLE_H

#define MERKLE_HASH_LEN		32
#define MERKLE_MAX_PATH		64	/* hashes in a proof or a frontier, at most */

typedef struct MerkleHash
{
	uint8		bytes[MERKLE_HASH_LEN];
} MerkleHash;

/*
 * A SHA-256 context, used again for each hash.  To be given back with
 * merkle_hasher_free(); after an error the resource owner does.
 */
typedef struct MerkleHasher MerkleHasher;

extern MerkleHasher *merkle_hasher_create(void);
extern void merkle_hasher_free(MerkleHasher *hasher);

/* SHA-256(0x00 || data) and SHA-256(0x01 || left || right) */
extern void merkle_hash_leaf(MerkleHasher *hasher, const void *data, Size length,
							 MerkleHash *out);
extern void merkle_hash_node(MerkleHasher *hasher, const MerkleHash *left,
							 const MerkleHash *right, MerkleHash *out);

/*
 * The roots of the perfect trees that a tree of "size" leaves is made of, the
 * largest (leftmost) first: one for each bit set in size.  All that is needed
 * to append.
 */
typedef struct MerkleFrontier
{
	uint64		size;
	int			nnodes;
	MerkleHash	nodes[MERKLE_MAX_PATH];
} MerkleFrontier;

extern void merkle_append(MerkleHasher *hasher, MerkleFrontier *frontier, const MerkleHash *leaf);
extern void merkle_root(MerkleHasher *hasher, const MerkleFrontier *frontier, MerkleHash *out);

/* The hash of the tree over leaves first to end - 1 (end > first). */
typedef void (*MerkleSubtree) (void *source, uint64 first, uint64 end, MerkleHash *out);

/* Proofs; both return the number of hashes written to "path". */
extern int	merkle_inclusion_path(uint64 leaf, uint64 size, MerkleSubtree subtree, void *source,
								  MerkleHash path[MERKLE_MAX_PATH]);
extern int	merkle_consistency_path(uint64 old_size, uint64 new_size, MerkleSubtree subtree,
									void *source, MerkleHash path[MERKLE_MAX_PATH]);

extern bool merkle_verify_inclusion(MerkleHasher *hasher, uint64 leaf, uint64 size,
									const MerkleHash *leaf_hash, const MerkleHash *path, int npath,
									const MerkleHash *root);
extern bool merkle_verify_consistency(MerkleHasher *hasher, uint64 old_size, uint64 new_size,
									  const MerkleHash *old_root, const MerkleHash *new_root,
									  const MerkleHash *path, int npath);

#endif							/* REFERRAL_MERKLE_H */
