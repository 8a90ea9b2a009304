/*-------------------------------------------------------------------------
 *
 * matching_postings.c
 *		The candidates of a lookup, read from the GIN index key by key.
 *
 * An index scan would read every posting of every key, and a birth date that
 * stands for "unknown" may have millions; and it would not tell who shares one
 * frequent key from who shares many rare ones, which saves most of the reads of
 * the table.  Pages are read and locked as in PostgreSQL's own ginget.c.
 *
 * What counts is how many people of the organisation have a key.  The index does
 * not know: it has rows of all organisations, and those that are dead until
 * VACUUM removes them.  So some rows of each key are looked at, and where many
 * are none of ours, all of them; else whoever writes many rows, or one row many
 * times, could make a key look frequent, and hide those who have it.
 *
 * IDENTIFICATION
 *		src/matching_postings.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/gin_private.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "catalog/pg_am.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "storage/bufmgr.h"
#include "storage/predicate.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "errors.h"
#include "matching_find.h"

/* So many postings of a key are read at most. */
#define MAX_POSTINGS	10000

/*
 * What may be spent on looking at rows, of all keys together: a row costs 1, the
 * first one of a page BLOCK_COST more.  So all of the rows that somebody writes at
 * once can be looked at, but few of those all over the table.
 */
#define BLOCK_COST		20
#define MAX_COST		40000

/* Rows looked at to estimate how many are ours: first of all, if not all of these are, if few are. */
#define SMALL_SAMPLE	4
#define SAMPLE			16
#define LARGE_SAMPLE	64

/* From this share on, the estimate will do. */
#define MOST			0.5

typedef struct Reader
{
	Relation	index;
	AttrNumber	attnum;			/* in the index */
	Snapshot	snapshot;
	GinState	state;
	int			limit;			/* of the postings of a key */
	AttrNumber	org_attnum;		/* in the table */
	int64		org_id;
	IndexFetchTableData *fetch;
	TupleTableSlot *slot;
	int			left;			/* of MAX_COST */
	Bitmapset  *pages;			/* of rows looked at */
} Reader;

/* Where a key is. */
typedef struct Postings
{
	int32		key;
	int			n;				/* read */
	int			room;
	double		total;			/* of postings, then of people; an estimate if not all are read */
	int			pending;		/* of n, those that wait to be put into the index */
	double		pending_total;
	ItemPointerData *tids;
} Postings;

/* ---------- The index ---------- */

/* The column of an index that serves, or 0. */
static AttrNumber
usable_column(Relation index, AttrNumber attnum)
{
	Form_pg_index form = index->rd_index;

	if (index->rd_rel->relkind != RELKIND_INDEX || index->rd_rel->relam != GIN_AM_OID ||
		!form->indisvalid || RelationGetIndexPredicate(index) != NIL)
		return 0;
	/* as the planner does: rows of older snapshots may be missing */
	if (form->indcheckxmin &&
		!TransactionIdPrecedes(HeapTupleHeaderGetXmin(index->rd_indextuple->t_data),
							   TransactionXmin))
		return 0;
	for (int i = 0; i < form->indnkeyatts; i++)
	{
		if (form->indkey.values[i] == attnum &&
			index_getprocinfo(index, i + 1, GIN_EXTRACTVALUE_PROC)->fn_addr ==
			demographics_extract_value)
			return i + 1;
	}
	return 0;
}

static void
open_index(Reader *reader, Relation table, AttrNumber attnum)
{
	List	   *indexes = RelationGetIndexList(table);
	ListCell   *lc;

	reader->index = NULL;
	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);

		reader->attnum = usable_column(index, attnum);
		if (reader->attnum != 0)
		{
			reader->index = index;
			break;
		}
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	if (reader->index == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_RF_NOT_DEPLOYED),
				 errmsg("relation \"%s\" has no index to find people by",
						RelationGetRelationName(table)),
				 errdetail("A lookup reads a valid GIN index of operator class demographics_ops, of all rows."),
				 errhint("Run SELECT * FROM referral.deploy(); if there is such an index, REINDEX it.")));
	initGinState(&reader->state, reader->index);
}

static void
open_reader(Reader *reader, const MatchTable *people, int64 org_id, Snapshot snapshot)
{
	open_index(reader, people->table, people->demographics);
	reader->snapshot = snapshot;
	reader->limit = MATCHING_KEY_PEOPLE;
	reader->org_attnum = people->org_id;
	reader->org_id = org_id;
	reader->fetch = table_index_fetch_begin(people->table);
	reader->slot = table_slot_create(people->table, NULL);
	reader->left = MAX_COST;
	reader->pages = NULL;
}

static void
close_reader(Reader *reader)
{
	table_index_fetch_end(reader->fetch);
	ExecDropSingleTupleTableSlot(reader->slot);
	index_close(reader->index, AccessShareLock);
}

/* ---------- One key ---------- */

static void
put_tids(Postings *postings, const ItemPointerData *tids, int n)
{
	int			wanted = Min(postings->n + n, MAX_POSTINGS);

	if (wanted > postings->room)
	{
		postings->room = Min(Max(wanted, 2 * postings->room), MAX_POSTINGS);
		if (postings->tids == NULL)
			postings->tids = palloc(postings->room * sizeof(ItemPointerData));
		else
			postings->tids = repalloc(postings->tids, postings->room * sizeof(ItemPointerData));
	}
	if (wanted > postings->n)
		memcpy(postings->tids + postings->n, tids,
			   (wanted - postings->n) * sizeof(ItemPointerData));
	postings->n = wanted;
	postings->total += n;
}

/* From the leftmost leaf of a posting tree on. */
static void
read_tree(Reader *reader, BlockNumber root, Postings *postings)
{
	GinBtreeData btree;
	GinBtreeStack *stack = compat_gin_begin_posting_tree(&btree, reader->index, root,
														 reader->snapshot);
	Buffer		buffer = stack->buffer;
	double		pages = stack->predictNumber;
	double		before = postings->total;
	int			read = 0;

	IncrBufferRefCount(buffer); /* the stack's own pin goes with it */
	freeGinBtreeStack(stack);
	for (;;)
	{
		Page		page = BufferGetPage(buffer);

		if ((GinPageGetOpaque(page)->flags & GIN_DELETED) == 0)
		{
			ItemPointerData first;
			ItemPointer tids;
			int			n;

			ItemPointerSetMin(&first);
			tids = GinDataLeafPageGetItems(page, &n, first);
			/* a page that VACUUM has emptied has none */
			if (tids != NULL)
			{
				put_tids(postings, tids, n);
				pfree(tids);
			}
		}
		if (GinPageRightMost(page))
			break;
		read++;
		if (postings->total > reader->limit)
		{
			/* an estimate, to compare frequent keys by; one page more there is for sure */
			postings->total = before + (postings->total - before) / read * Max(pages, read + 1);
			break;
		}
		buffer = ginStepRight(buffer, reader->index, GIN_SHARE);
		CHECK_FOR_INTERRUPTS();
	}
	UnlockReleaseBuffer(buffer);
}

static void
read_key(Reader *reader, Postings *postings)
{
	GinBtreeData btree;
	GinBtreeStack *stack;
	bool		locked = true;

	ginPrepareEntryScan(&btree, reader->attnum, Int32GetDatum(postings->key), GIN_CAT_NORM_KEY,
						&reader->state);
	stack = compat_gin_find_leaf_page(&btree, reader->snapshot);
	if (btree.findItem(&btree, stack))
	{
		Page		page = BufferGetPage(stack->buffer);
		IndexTuple	tuple = (IndexTuple) PageGetItem(page, PageGetItemId(page, stack->off));

		if (GinIsPostingTree(tuple))
		{
			BlockNumber root = GinGetPostingTree(tuple);

			/* the entry stays and its tree too, so the page is not needed any more */
			PredicateLockPage(reader->index, root, reader->snapshot);
			LockBuffer(stack->buffer, GIN_UNLOCK);
			locked = false;
			read_tree(reader, root, postings);
		}
		else
		{
			PredicateLockPage(reader->index, BufferGetBlockNumber(stack->buffer), reader->snapshot);
			if (GinGetNPosting(tuple) > 0)
			{
				int			n;
				ItemPointer tids = ginReadTuple(&reader->state, reader->attnum, tuple, &n);

				put_tids(postings, tids, n);
				pfree(tids);
			}
		}
	}
	else
		PredicateLockPage(reader->index, BufferGetBlockNumber(stack->buffer), reader->snapshot);
	if (locked)
		LockBuffer(stack->buffer, GIN_UNLOCK);
	freeGinBtreeStack(stack);
}

/* ---------- Rows that wait to be put into the index (fastupdate) ---------- */

/* Which keys are looked for?  A bit for each, by its last bits but one. */
#define FILTER_BITS		4096
#define FILTER_BIT(key)		(((uint32) (key) >> 1) % FILTER_BITS)

static void
put_pending(Reader *reader, IndexTuple tuple, const uint8 *filter, Postings *postings, int nkeys)
{
	int32		key;

	if (IndexTupleHasNulls(tuple))
		return;					/* stands for a row without keys */
	if (reader->state.oneCol)
		memcpy(&key, (char *) tuple + IndexInfoFindDataOffset(tuple->t_info), sizeof(key));
	else
	{
		GinNullCategory category;

		if (gintuple_get_attrnum(&reader->state, tuple) != reader->attnum)
			return;
		key = DatumGetInt32(gintuple_get_key(&reader->state, tuple, &category));
		if (category != GIN_CAT_NORM_KEY)
			return;
	}
	if ((filter[FILTER_BIT(key) / 8] & (1 << FILTER_BIT(key) % 8)) == 0)
		return;
	for (int i = 0; i < nkeys; i++)
	{
		if (postings[i].key == key)
			put_tids(&postings[i], &tuple->t_tid, 1);
	}
}

/*
 * Is called before the keys are read: what is moved to the index meanwhile is
 * then found there.
 */
static void
read_pending(Reader *reader, Postings *postings, int nkeys)
{
	uint8		filter[FILTER_BITS / 8] = { 0 };
	Buffer		buffer = ReadBuffer(reader->index, GIN_METAPAGE_BLKNO);
	BlockNumber next;

	for (int i = 0; i < nkeys; i++)
		filter[FILTER_BIT(postings[i].key) / 8] |= 1 << FILTER_BIT(postings[i].key) % 8;
	LockBuffer(buffer, GIN_SHARE);
	PredicateLockPage(reader->index, GIN_METAPAGE_BLKNO, reader->snapshot);
	next = GinPageGetMeta(BufferGetPage(buffer))->head;
	while (next != InvalidBlockNumber)
	{
		Buffer		page_buffer = ReadBuffer(reader->index, next);
		Page		page;

		/* is locked before the last page is let go, so that nobody removes it in between */
		LockBuffer(page_buffer, GIN_SHARE);
		UnlockReleaseBuffer(buffer);
		buffer = page_buffer;
		page = BufferGetPage(buffer);
		for (OffsetNumber i = FirstOffsetNumber; i <= PageGetMaxOffsetNumber(page); i++)
			put_pending(reader, (IndexTuple) PageGetItem(page, PageGetItemId(page, i)), filter,
						postings, nkeys);
		next = GinPageGetOpaque(page)->rightlink;
	}
	UnlockReleaseBuffer(buffer);
}

/* ---------- How many people have a key? ---------- */

/* Was a row of its page looked at?  Of pages beyond 8 TB that is taken for granted. */
static bool
has_page(const Reader *reader, const ItemPointerData *tid)
{
	BlockNumber block = ItemPointerGetBlockNumber(tid);

	return block > PG_INT32_MAX / 2 || bms_is_member(block, reader->pages);
}

/* Can all rows of a key be looked at? */
static bool
can_visit(const Reader *reader, const Postings *postings)
{
	int64		cost = postings->n;
	BlockNumber last = InvalidBlockNumber;

	for (int i = 0; i < postings->n; i++)
	{
		BlockNumber block = ItemPointerGetBlockNumber(&postings->tids[i]);

		if (block != last && !has_page(reader, &postings->tids[i]))
			cost += BLOCK_COST;
		last = block;
	}
	return cost <= reader->left;
}

/* Is there a row at a place, for the snapshot, and of the organisation? */
static bool
is_ours(Reader *reader, ItemPointerData tid)
{
	bool		call_again = false;
	bool		null;

	reader->left--;
	if (!has_page(reader, &tid))
	{
		reader->left -= BLOCK_COST;
		reader->pages = bms_add_member(reader->pages, ItemPointerGetBlockNumber(&tid));
	}
	return table_index_fetch_tuple(reader->fetch, &tid, reader->snapshot, reader->slot,
								   &call_again, NULL) &&
		DatumGetInt64(slot_getattr(reader->slot, reader->org_attnum, &null)) == reader->org_id;
}

/* Which share of a key's postings is ours, by some of them, from all over the table? */
static double
sample_share(Reader *reader, const Postings *postings, int size)
{
	int			ours = 0;

	size = Min(size, postings->n);
	for (int64 i = 0; i < size; i++)
		ours += is_ours(reader, postings->tids[i * postings->n / size]);
	return (double) ours / size;
}

/* All postings of a key, or as many as are read at most. */
static void
read_all(Reader *reader, Postings *postings)
{
	reader->limit = MAX_POSTINGS;
	postings->n = postings->pending;
	postings->total = postings->pending_total;
	read_key(reader, postings);
	reader->limit = MATCHING_KEY_PEOPLE;
}

/* Leaves those that are ours, or the first of them if they are too many anyway. */
static void
keep_ours(Reader *reader, Postings *postings)
{
	int			ours = 0;
	int			i;

	for (i = 0; i < postings->n && ours <= MATCHING_KEY_PEOPLE; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (is_ours(reader, postings->tids[i]))
			postings->tids[ours++] = postings->tids[i];
	}
	postings->total *= (double) ours / i;
	postings->n = ours;
}

/* Makes the total one of people; an estimate where that does no harm. */
static void
count_people(Reader *reader, Postings *postings)
{
	double		share;

	/* who has such a key is compared in any case */
	if (reader->left <= 0 || postings->total <= MATCHING_STRANGERS ||
		(postings->total <= MATCHING_KEY_PEOPLE && MATCHING_KEY_IS_ENOUGH(postings->key)))
		return;
	if (sample_share(reader, postings, SMALL_SAMPLE) == 1)
		return;
	share = sample_share(reader, postings, SAMPLE);
	if (postings->n < postings->total &&
		(share < MOST || share * postings->total <= MATCHING_KEY_PEOPLE))
	{
		read_all(reader, postings);
		share = sample_share(reader, postings, LARGE_SAMPLE);
	}
	if (share >= MOST || share * postings->total > 4 * MATCHING_KEY_PEOPLE)
		postings->total *= share;
	else if (can_visit(reader, postings))
		keep_ours(reader, postings);
	else if (postings->total <= MATCHING_KEY_PEOPLE)
		postings->total = Max(share * postings->total, 1);
}

/* Is anybody of ours among them? */
static bool
has_ours(Reader *reader, const Postings *postings, int npostings)
{
	for (int i = 0; i < npostings; i++)
	{
		for (int j = 0; j < postings[i].n; j++)
		{
			if (is_ours(reader, postings[i].tids[j]))
				return true;
		}
	}
	return false;
}

/* ---------- All keys ---------- */

static int
compare_totals(const void *a, const void *b)
{
	const Postings *x = a;
	const Postings *y = b;

	if (x->total != y->total)
		return x->total < y->total ? -1 : 1;
	return (x->key > y->key) - (x->key < y->key);
}

static inline uint64
tid_number(const ItemPointerData *tid)
{
	return ((uint64) ItemPointerGetBlockNumberNoCheck(tid) << 16) |
		ItemPointerGetOffsetNumberNoCheck(tid);
}

#define ST_SORT sort_numbers
#define ST_ELEMENT_TYPE uint64
#define ST_COMPARE(a, b) ((*(a) > *(b)) - (*(a) < *(b)))
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

int
matching_rarity_wanted(double people)
{
	return people > MATCHING_STRANGERS ?
		Min((int) (8 * log2(people / MATCHING_STRANGERS)), 255) : 0;
}

int
matching_rarity(int32 key, double people, double sharing)
{
	if (MATCHING_KEY_IS_ENOUGH(key))
		return 255;
	return sharing < people ? Min((int) (8 * log2(people / sharing)), 255) : 0;
}

/* How many rows a table may have; need not be exact. */
double
matching_people(Relation table)
{
	double		pages = RelationGetNumberOfBlocks(table);
	double		density = 10;

	if (table->rd_rel->relpages > 0 && table->rd_rel->reltuples > 0)
		density = table->rd_rel->reltuples / table->rd_rel->relpages;
	return Max(pages * density, MATCHING_STRANGERS);
}

/* What shares enough, in order, each once. */
static int
choose(const Postings *postings, int npostings, double people, ItemPointerData **tids)
{
	int			rarity[MATCHING_MAX_KEYS];
	int			enough = matching_rarity_wanted(people);
	int			total = 0;
	int			n = 0;
	int			chosen = 0;
	uint64	   *numbers;

	for (int i = 0; i < npostings; i++)
		total += postings[i].n;
	numbers = palloc(sizeof(uint64) * Max(total, 1));
	for (int i = 0; i < npostings; i++)
	{
		rarity[i] = matching_rarity(postings[i].key, people, postings[i].total);
		for (int j = 0; j < postings[i].n; j++)
			numbers[n++] = tid_number(&postings[i].tids[j]) * MATCHING_MAX_KEYS + i;
	}
	sort_numbers(numbers, n);
	*tids = palloc(sizeof(ItemPointerData) * Max(total, 1));
	for (int i = 0; i < n;)
	{
		uint64		tid = numbers[i] / MATCHING_MAX_KEYS;
		int			sum = 0;

		for (int last = -1; i < n && numbers[i] / MATCHING_MAX_KEYS == tid; i++)
		{
			int			key = numbers[i] % MATCHING_MAX_KEYS;

			if (key != last)	/* may be in the index and wait to be put into it */
				sum += rarity[key];
			last = key;
		}
		if (sum >= enough)
		{
			ItemPointerSet(&(*tids)[chosen], tid >> 16, tid & 0xffff);
			chosen++;
		}
	}
	pfree(numbers);
	return chosen;
}

/*
 * If all keys that somebody has are too frequent, some of those who have the
 * rarest of them are better than nobody.  They are from all over the table: the
 * first places are those of whoever came first, or wants to be found.
 */
static int
choose_any(Reader *reader, Postings *postings, int npostings, ItemPointerData **tids)
{
	Postings   *rarest = NULL;
	int			stride;
	int			chosen = 0;

	for (int i = 0; i < npostings; i++)
	{
		if (rarest == NULL || compare_totals(&postings[i], rarest) < 0)
			rarest = &postings[i];
	}
	if (rarest == NULL)
		return 0;
	read_all(reader, rarest);
	*tids = palloc(sizeof(ItemPointerData) * MATCHING_KEY_PEOPLE);
	stride = (rarest->n + MATCHING_KEY_PEOPLE - 1) / MATCHING_KEY_PEOPLE;
	for (int first = 0; first < stride; first++)
	{
		for (int i = first; i < rarest->n && chosen < MATCHING_KEY_PEOPLE; i += stride)
		{
			CHECK_FOR_INTERRUPTS();
			if (is_ours(reader, rarest->tids[i]))
				(*tids)[chosen++] = rarest->tids[i];
		}
	}
	return chosen;
}

/* All postings of some keys, the fewest first. */
static void
read_keys(Reader *reader, const int32 *keys, int nkeys, Postings *postings)
{
	memset(postings, 0, sizeof(Postings) * nkeys);
	for (int i = 0; i < nkeys; i++)
		postings[i].key = keys[i];
	read_pending(reader, postings, nkeys);
	for (int i = 0; i < nkeys; i++)
	{
		postings[i].pending = postings[i].n;
		postings[i].pending_total = postings[i].total;
		read_key(reader, &postings[i]);
	}
	qsort(postings, nkeys, sizeof(Postings), compare_totals);
}

int
matching_candidates(const MatchTable *people, int64 org_id, Snapshot snapshot,
					const int32 *keys, int nkeys, ItemPointerData **tids)
{
	Reader		reader;
	Postings	postings[MATCHING_MAX_KEYS];
	Postings	usable[MATCHING_MAX_KEYS];
	int			nusable = 0;
	int			nfrequent = 0;
	int			ntids;

	open_reader(&reader, people, org_id, snapshot);
	read_keys(&reader, keys, nkeys, postings);
	for (int i = 0; i < nkeys; i++)
	{
		if (postings[i].n > 0)
			count_people(&reader, &postings[i]);
		if (postings[i].total > MATCHING_KEY_PEOPLE)
			postings[nfrequent++] = postings[i];
		else if (postings[i].total > 0)
			usable[nusable++] = postings[i];
	}
	if (nusable == 0 || (nfrequent > 0 && !has_ours(&reader, usable, nusable)))
		ntids = choose_any(&reader, postings, nfrequent, tids);
	else
		ntids = choose(usable, nusable, matching_people(people->table), tids);
	close_reader(&reader);
	return ntids;
}
