/*-------------------------------------------------------------------------
 *
 * seal.h
 *		Sealing: the journal of an organisation as a Merkle tree.
 *
 * Leaf n is the n-th journal row of the organisation in the order of
 * (xid_epoch, xid, journal_id).  256 leaves make a tile of level 0, 256 tiles
 * one of the next level; the hashes of complete tiles are kept.
 *
 * IDENTIFICATION
 *		src/seal.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_SEAL_H
#define REFERRAL_SEAL_H

#include "access/transam.h"
#include "executor/tuptable.h"
#include "lib/stringinfo.h"

#include "journal.h"
#include "merkle.h"

/* A place in the order of the rows. */
typedef struct SealPosition
{
	int32		xid_epoch;
	FullTransactionId xid;
	int64		journal_id;
} SealPosition;

/* ---------- seal_leaf.c: the bytes of a leaf ---------- */

extern bool seal_is_after(const SealPosition *a, const SealPosition *b);

typedef struct LeafEncoder
{
	AttrNumber	attno[J_NCOLUMNS];
	MemoryContext scratch;		/* for one row */
	StringInfoData bytes;
	int			nlabels;		/* labels of enum values seen so far */
	struct
	{
		Oid			value;
		const char *label;
	}			labels[32];
} LeafEncoder;

extern LeafEncoder *leaf_encoder_create(void);
extern void leaf_learn(LeafEncoder *encoder, TupleDesc desc);
extern void leaf_encode(LeafEncoder *encoder, TupleTableSlot *slot);
extern SealPosition leaf_position(LeafEncoder *encoder, TupleTableSlot *slot);
/* Is it the journal's own word on a seal? */
extern bool leaf_is_of_seal(LeafEncoder *encoder, TupleTableSlot *slot);
extern Datum leaf_column(LeafEncoder *encoder, TupleTableSlot *slot, JournalColumn column,
						 bool *isnull);

/* ---------- seal_tree.c: the tree, and what is kept of it ---------- */

#define SEAL_TILE_WIDTH		256
#define SEAL_LEVELS			8	/* 256 ^ 8 leaves are enough */

/* A tree that grows; each level holds what is no complete tile yet. */
typedef struct SealTree
{
	uint64		size;
	MerkleFrontier level[SEAL_LEVELS];
} SealTree;

typedef void (*SealTileDone) (void *arg, int level, uint64 tile, const MerkleHash *root);

extern void seal_tree_append(MerkleHasher *hasher, SealTree *tree, const MerkleHash *leaf,
							 SealTileDone done, void *arg);
extern void seal_tree_frontier(const SealTree *tree, MerkleFrontier *out);
extern void seal_tree_restore(SealTree *tree, const MerkleFrontier *frontier);

/* A row of referral.seal. */
typedef struct Seal
{
	int64		seal_id;		/* counts from 1 in each organisation */
	MerkleHash	root;
	MerkleFrontier frontier;	/* its size is the tree's */
	SealPosition last;			/* of the last leaf */
	int			ntail;			/* new leaves that are in no complete tile */
	MerkleHash	tail[SEAL_TILE_WIDTH];
} Seal;

/* All of these need a security_begin_read() around them. */
extern bool seal_read_last(int64 org_id, Seal *seal);
extern bool seal_of_row(HeapTuple row, TupleDesc desc, Seal *seal);
extern int	seal_read_group(int64 org_id, int level, uint64 group, uint64 size,
							MerkleHash hashes[SEAL_TILE_WIDTH]);
extern int	seal_require_group(int64 org_id, int level, uint64 group, uint64 size,
							   MerkleHash hashes[SEAL_TILE_WIDTH]);
extern uint64 seal_query(const char *sql, int nargs, Oid *argtypes, Datum *args);
extern bool seal_hashes(Datum value, MerkleHash *hashes, int max, int *nhashes);
extern Datum seal_bytea(const void *data, int length);

/* "seal_of_row" wants these columns, in this order. */
#define SEAL_COLUMNS \
	"s.seal_id, s.tree_size, s.root_hash, s.frontier, s.xid_epoch, s.xid, s.journal_id, s.tail"

/* ---------- seal_walk.c: the rows in their order ---------- */

/* Called for each row; false ends the walk. */
typedef bool (*SealRow) (void *arg, TupleTableSlot *slot);

/* From after "from" on, up to (until_epoch, until_xid) if that is given. */
extern void seal_walk(int64 org_id, SealPosition from, int32 until_epoch,
					  FullTransactionId until_xid, LeafEncoder *encoder,
					  SealRow row, void *arg);
extern bool seal_may_see(RuleCache *cache, int64 org_id);
extern void seal_require_org(RuleCache *cache, int64 org_id);

#endif							/* REFERRAL_SEAL_H */
