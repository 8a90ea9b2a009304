/*-------------------------------------------------------------------------
 *
 * matching_sample.c
 *		People read from a table, and the pairs of them worth comparing: what
 *		a model is fitted to, and what two models are compared on.
 *
 * The table is read as the caller, once, through a cursor.  Memory is bounded:
 * of a large table the people are kept whose value has a small hash, so that
 * the sample depends on the values and the seed, not on the order of rows.
 * Everything after that works on the sample in memory and calls no SQL.
 *
 * IDENTIFICATION
 *		src/matching_sample.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "errors.h"
#include "matching_sample.h"

/* Bounds of what is held in memory. */
#define MAX_PEOPLE			250000
#define MAX_BYTES			((Size) 192 * 1024 * 1024)
/* What a key costs while blocks are made of keys. */
#define KEY_BYTES			(sizeof(KeyEntry) + sizeof(SampleKey) + sizeof(int32))

#define FETCH_ROWS			1000
#define LARGEST_BLOCK		500
/* Pairs within blocks, counted once for each block they are in. */
#define MAX_LOOKS			INT64CONST(8000000)

#define ALL_FIELDS			((1U << MATCH_FIELDS) - 1)

typedef struct KeyEntry
{
	int32		key;
	int32		person;
	uint32		free;
} KeyEntry;

/* ---------- Reading ---------- */

static void
check_column(MatchSample *sample, Oid relation, const char *column, bool is_person)
{
	AttrNumber	attno = get_attnum(relation, column);
	Oid			type;

	if (attno == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_RF_NO_SUCH_ROW),
				 errmsg("%s has no column \"%s\"", sample->relation, column),
				 errdetail("The column to read is not there."),
				 errhint("Name a column of that table or view.")));
	if (!is_person)
		return;
	type = getBaseType(get_atttype(relation, attno));
	if (type != GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("demographics"),
								ObjectIdGetDatum(get_namespace_oid("referral", false))))
		ereport(ERROR,
				(errcode(ERRCODE_RF_INVALID_ARGUMENT),
				 errmsg("column \"%s\" of %s is not of type referral.demographics",
						column, sample->relation),
				 errdetail("It is of type %s.", format_type_be(type)),
				 errhint("Add a generated column, or a view that calls referral.demographics().")));
}

/* Those above the limit go when there are too many; what is left depends on no order. */
static void
lower_limit(MatchSample *sample)
{
	int			kept = 0;

	sample->limit -= sample->limit / 4;
	for (int i = 0; i < sample->npeople; i++)
	{
		SamplePerson *person = sample->people + i;

		if (person->hash <= sample->limit)
		{
			sample->people[kept++] = *person;
			continue;
		}
		sample->bytes -= VARSIZE(person->value) + person->nkeys * KEY_BYTES;
		pfree(person->value);
		if (person->name)
			pfree(person->name);
	}
	sample->npeople = kept;
}

/* Who has no key is never compared with anybody. */
static void
add_person(MatchSample *sample, Datum datum, char *name)
{
	Demographics *value = (Demographics *) PG_DETOAST_DATUM_COPY(datum);
	uint64		hash = hash_bytes_extended((unsigned char *) value + VARHDRSZ,
										   VARSIZE(value) - VARHDRSZ, sample->seed);
	int32		keys[MATCHING_MAX_KEYS];
	SamplePerson *person;
	int			nkeys;

	sample->rows++;
	nkeys = hash <= sample->limit ? matching_keys(value, keys) : 0;
	if (nkeys == 0)
	{
		pfree(value);
		return;
	}
	if (sample->npeople == sample->room)
	{
		sample->room *= 2;
		sample->people = repalloc_huge(sample->people, sample->room * sizeof(SamplePerson));
	}
	person = sample->people + sample->npeople++;
	person->value = value;
	person->hash = hash;
	person->nkeys = nkeys;
	person->name = name ? pstrdup(name) : NULL;
	sample->bytes += VARSIZE(value) + nkeys * KEY_BYTES;
	while (sample->npeople > MAX_PEOPLE || sample->bytes > MAX_BYTES)
		lower_limit(sample);
}

static void
read_rows(MatchSample *sample, const char *query)
{
	SPIPlanPtr	plan = SPI_prepare(query, 0, NULL);
	Portal		portal;

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, true);
	for (;;)
	{
		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		if (SPI_processed == 0)
			break;
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			HeapTuple	tuple = SPI_tuptable->vals[i];
			TupleDesc	desc = SPI_tuptable->tupdesc;
			char	   *name = desc->natts > 1 ? SPI_getvalue(tuple, desc, 2) : NULL;
			bool		isnull;
			Datum		datum = SPI_getbinval(tuple, desc, 1, &isnull);
			MemoryContext former = MemoryContextSwitchTo(sample->context);

			if (!isnull)
				add_person(sample, datum, name);
			MemoryContextSwitchTo(former);
			if (name)
				pfree(name);
		}
		SPI_freetuptable(SPI_tuptable);
		CHECK_FOR_INTERRUPTS();
	}
	SPI_cursor_close(portal);
}

static int
compare_people(const void *a, const void *b)
{
	const SamplePerson *x = a;
	const SamplePerson *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return x->name && y->name ? strcmp(x->name, y->name) : 0;
}

/* ---------- Blocks ---------- */

/*
 * Which fields a key is not made of, by what its kind says.  Names may stand in
 * either order, and who moves changes street and city at once.
 */
static uint32
free_fields(const char *kind)
{
	static const struct
	{
		const char *word;
		uint32		fields;
	}			words[] = {
		{"name", 1 << FIELD_GIVEN | 1 << FIELD_FAMILY | 1 << FIELD_MIDDLE | 1 << FIELD_MOTHER},
		{"birth", 1 << FIELD_BIRTH_DATE},
		{"identifier", 1 << FIELD_IDENTIFIER | 1 << FIELD_RECORD_NUMBER},
		{"phone", 1 << FIELD_PHONE},
		{"mail", 1 << FIELD_EMAIL},
		{"street", 1 << FIELD_ADDRESS | 1 << FIELD_LOCALITY},
		{"city", 1 << FIELD_ADDRESS | 1 << FIELD_LOCALITY},
		{"postal", 1 << FIELD_ADDRESS | 1 << FIELD_LOCALITY},
		{"sex", 1 << FIELD_SEX}
	};
	uint32		used = 0;

	for (int i = 0; i < lengthof(words); i++)
		if (strstr(kind, words[i].word) != NULL)
			used |= words[i].fields;
	/* a kind that says nothing of these may be made of anything */
	return used == 0 ? 0 : ALL_FIELDS & ~used;
}

#define ST_SORT sort_key_entries
#define ST_ELEMENT_TYPE KeyEntry
#define ST_COMPARE(a, b) \
	((a)->key != (b)->key ? ((a)->key < (b)->key ? -1 : 1) : \
	 (a)->person < (b)->person ? -1 : (a)->person > (b)->person)
#define ST_CHECK_FOR_INTERRUPTS
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

static KeyEntry *
list_keys(const MatchSample *sample, int *nentries)
{
	KeyEntry   *entries;
	int			total = 0;
	int			n = 0;

	for (int i = 0; i < sample->npeople; i++)
		total += sample->people[i].nkeys;
	entries = MemoryContextAllocHuge(CurrentMemoryContext, Max(total, 1) * sizeof(KeyEntry));
	for (int i = 0; i < sample->npeople; i++)
	{
		int32		keys[MATCHING_MAX_KEYS];
		const char *kinds[MATCHING_MAX_KEYS];
		int			nkeys = matching_keys_kinds(sample->people[i].value, keys, kinds);

		for (int k = 0; k < Min(nkeys, sample->people[i].nkeys); k++)
			entries[n++] = (KeyEntry) { keys[k], i, free_fields(kinds[k]) };
		CHECK_FOR_INTERRUPTS();
	}
	sort_key_entries(entries, n);
	*nentries = n;
	return entries;
}

static inline int
block_end(const KeyEntry *entries, int n, int start)
{
	int			end = start + 1;

	while (end < n && entries[end].key == entries[start].key)
		end++;
	return end;
}

/* The size of blocks that leaves no more pairs to look at than we want to. */
static int
choose_largest_block(const KeyEntry *entries, int n)
{
	int64		blocks[LARGEST_BLOCK + 1] = {0};
	int64		looks = 0;
	int			size = 1;

	for (int start = 0, end; start < n; start = end)
	{
		end = block_end(entries, n, start);
		if (end - start <= LARGEST_BLOCK)
			blocks[end - start]++;
	}
	while (size < LARGEST_BLOCK)
	{
		looks += blocks[size + 1] * (size + 1) * size / 2;
		if (looks > MAX_LOOKS)
			break;
		size++;
	}
	return size;
}

static void
make_blocks(MatchSample *sample)
{
	int			n;
	KeyEntry   *entries = list_keys(sample, &n);
	int		   *next;
	int			kept = 0;

	sample->largest_block = choose_largest_block(entries, n);
	sample->keys_start = palloc0_array(int, sample->npeople + 2);
	sample->block_start = MemoryContextAllocHuge(CurrentMemoryContext, (n / 2 + 1) * sizeof(int));
	/* entries of blocks move to the front; key becomes the number of the block */
	for (int start = 0, end; start < n; start = end)
	{
		end = block_end(entries, n, start);
		if (end - start < 2 || end - start > sample->largest_block)
			continue;
		sample->block_start[sample->nblocks] = kept;
		for (int i = start; i < end; i++)
		{
			entries[kept] = entries[i];
			entries[kept++].key = sample->nblocks;
		}
		sample->nblocks++;
	}
	sample->block_start[sample->nblocks] = kept;
	sample->block_people = MemoryContextAllocHuge(CurrentMemoryContext,
												  Max(kept, 1) * sizeof(int32));
	sample->keys = MemoryContextAllocHuge(CurrentMemoryContext, Max(kept, 1) * sizeof(SampleKey));
	for (int i = 0; i < kept; i++)
		sample->keys_start[entries[i].person + 2]++;
	for (int i = 2; i < sample->npeople + 2; i++)
		sample->keys_start[i] += sample->keys_start[i - 1];
	next = sample->keys_start + 1;
	for (int i = 0; i < kept; i++)
	{
		sample->block_people[i] = entries[i].person;
		sample->keys[next[entries[i].person]++] = (SampleKey) { entries[i].key, entries[i].free };
	}
	pfree(entries);
}

/*
 * Which fields some key that both have is not made of; false when the first
 * such key is not that of this block, where the pair was met before.
 */
static inline bool
first_met(const MatchSample *sample, int a, int b, int block, uint32 *free)
{
	const SampleKey *x = sample->keys + sample->keys_start[a];
	const SampleKey *y = sample->keys + sample->keys_start[b];
	const SampleKey *xend = sample->keys + sample->keys_start[a + 1];
	const SampleKey *yend = sample->keys + sample->keys_start[b + 1];

	*free = 0;
	while (x < xend && y < yend)
	{
		if (x->block < y->block)
			x++;
		else if (x->block > y->block)
			y++;
		else
		{
			if (x->block < block)
				return false;
			*free |= x->free & y->free;
			x++;
			y++;
		}
	}
	return true;
}

/* ---------- For others ---------- */

MatchSample *
matching_sample_read(Oid relation, const char *column, const char *naming, int64 seed)
{
	MatchSample *sample = palloc0_object(MatchSample);
	StringInfoData query;

	if (get_rel_name(relation) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_RF_NO_SUCH_ROW),
				 errmsg("there is no relation with OID %u", relation),
				 errdetail("The table or view to read is not there."),
				 errhint("Name a table or view that has a column of type referral.demographics.")));
	sample->context = CurrentMemoryContext;
	sample->relation = quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)),
												  get_rel_name(relation));
	sample->seed = seed;
	sample->limit = PG_UINT64_MAX;
	sample->room = 1024;
	sample->people = palloc_array(SamplePerson, sample->room);
	check_column(sample, relation, column, true);
	if (naming)
		check_column(sample, relation, naming, false);

	initStringInfo(&query);
	appendStringInfo(&query, "SELECT x.%s", quote_identifier(column));
	if (naming)
		appendStringInfo(&query, ", x.%s", quote_identifier(naming));
	appendStringInfo(&query, " FROM %s x", sample->relation);
	SPI_connect();
	read_rows(sample, query.data);
	SPI_finish();

	qsort(sample->people, sample->npeople, sizeof(SamplePerson), compare_people);
	make_blocks(sample);
	return sample;
}

/*
 * Each pair of people that have a key in common, once, in an order that depends
 * on values and seed alone.
 */
void
matching_sample_pairs(const MatchSample *sample, SamplePairFunction function, void *arg)
{
	for (int block = 0; block < sample->nblocks; block++)
	{
		const int32 *people = sample->block_people + sample->block_start[block];
		int			n = sample->block_start[block + 1] - sample->block_start[block];

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < n; i++)
			for (int j = i + 1; j < n; j++)
			{
				uint32		free;

				if (first_met(sample, people[i], people[j], block, &free))
					function(arg, people[i], people[j], free);
			}
	}
}

/* Which part of the people is in the sample. */
double
matching_sample_share(const MatchSample *sample)
{
	return (double) sample->limit / (double) PG_UINT64_MAX;
}
