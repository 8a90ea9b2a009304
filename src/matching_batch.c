/*-------------------------------------------------------------------------
 *
 * matching_batch.c
 *		find_duplicates(): all pairs of an organisation's patients who may be one.
 *
 * The same people are compared as by find_matches() for each of them, but keys
 * are counted by sorting them all, and who shares which is kept in memory: for
 * each person, the rarity of the keys shared with every other one is summed up.
 *
 * Patients are read once, as the caller, into a temporary file.  From there they
 * come in parts of half of maintenance_work_mem; each part is compared with
 * itself and with those after it.  Besides, a byte per key is kept, and the
 * pairs found.
 *
 * IDENTIFICATION
 *		src/matching_batch.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "commands/tablespace.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/buffile.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/tuplesort.h"

#include "compat.h"
#include "errors.h"
#include "matching_find.h"

/* A person in the file: this, the keys, the demographics. */
typedef struct FilePerson
{
	int64		patient_id;
	int64		first_key;		/* how many keys are before, of all people */
	int32		nkeys;
	int32		size;			/* of the demographics */
} FilePerson;

typedef struct FilePosition
{
	int			file;
	off_t		offset;
} FilePosition;

typedef struct Person
{
	int64		patient_id;
	const Demographics *demographics;
	int64		first_slot;		/* of the person's keys in the part */
	int32		nkeys;
} Person;

/* Who has a key that somebody else has too, and not too many. */
typedef struct Entry
{
	int32		key;
	int32		person;			/* by its number in the part */
} Entry;

/* One of a person's keys, in order of the keys. */
typedef struct Slot
{
	uint8		rarity;
	int64		others;			/* the first of the entries whose people have it too, */
	int32		nothers;		/* and their number */
} Slot;

/* People in memory. */
typedef struct Part
{
	int			n;
	int64		people_room;
	Person	   *people;
	int64		nentries;
	int64		entries_room;
	Entry	   *entries;		/* by key, then by person */
	Slot	   *slots;			/* as many as entries */
	char	   *arena;			/* the demographics */
	size_t		used;
} Part;

typedef struct Pair
{
	int64		a;				/* the lesser */
	int64		b;
	float		bits;
	double		probability;
	MatchGrade	grade;
} Pair;

typedef struct Batch
{
	MemoryContext context;
	MemoryContext pair_context; /* of one comparison */
	const MatchModel *model;
	double		people;			/* as find_matches() counts them */
	int			enough;			/* rarity of what a pair has to share */
	int64		npersons;
	int64		nkeys;
	size_t		size;			/* that all people need in parts */
	BufFile    *file;
	Tuplesortstate *sort;		/* key and number of the key, of all people */
	uint8	   *rarities;		/* of a key by its number; 0: nobody else has it, or too many */
	int64		npairs;
	int64		room;
	Pair	   *pairs;
} Batch;

#define ST_SORT sort_entries
#define ST_ELEMENT_TYPE Entry
#define ST_COMPARE(x, y) \
	((x)->key != (y)->key ? ((x)->key > (y)->key) - ((x)->key < (y)->key) : \
	 ((x)->person > (y)->person) - ((x)->person < (y)->person))
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

/* ---------- Reading ---------- */

/* Who was merged is one with who is left, and nobody where the caller does not see who is left. */
static const char *const patients_sql =
	"SELECT CASE WHEN p.merged_into IS NULL THEN p.patient_id ELSE ("
	"  WITH RECURSIVE way AS ("
	"   SELECT p.patient_id AS id, p.merged_into AS next"
	"   UNION ALL"
	"   SELECT s.patient_id, s.merged_into FROM way w JOIN referral.patient s"
	"   ON s.org_id OPERATOR(pg_catalog.=) $1 AND s.patient_id OPERATOR(pg_catalog.=) w.next)"
	"   CYCLE id SET cycle USING path"
	"  SELECT w.id FROM way w WHERE w.next IS NULL LIMIT 1) END,"
	" p.demographics FROM referral.patient p"
	" WHERE p.org_id OPERATOR(pg_catalog.=) $1 AND p.demographics IS NOT NULL";

static void
put_person(Batch *batch, int64 patient_id, const Demographics *demographics)
{
	FilePerson	person;
	int32		keys[MATCHING_MAX_KEYS];

	person.patient_id = patient_id;
	person.first_key = batch->nkeys;
	person.nkeys = matching_keys(demographics, keys);
	person.size = VARSIZE(demographics);
	BufFileWrite(batch->file, &person, sizeof(FilePerson));
	BufFileWrite(batch->file, keys, sizeof(int32) * person.nkeys);
	BufFileWrite(batch->file, (void *) demographics, person.size);
	batch->npersons++;
	batch->size += MAXALIGN(person.size);
	for (int i = 0; i < person.nkeys; i++)
		tuplesort_putdatum(batch->sort,
						   Int64GetDatum(((int64) keys[i] << 32) | batch->nkeys++), false);
	if (batch->nkeys > PG_UINT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many patients to find all duplicates at once"),
				 errdetail("They have more than %u blocking keys.", PG_UINT32_MAX),
				 errhint("Use referral.find_matches() for each of them.")));
}

static void
read_people(Batch *batch, int64 org_id)
{
	Oid			types[1] = { INT8OID };
	Datum		args[1];
	SPIPlanPtr	plan = SPI_prepare(patients_sql, 1, types);
	Portal		portal;
	MemoryContext row_context = AllocSetContextCreate(batch->context, "referral rows",
													  ALLOCSET_DEFAULT_SIZES);

	args[0] = Int64GetDatum(org_id);
	if (plan == NULL)
		elog(ERROR, "could not prepare the query for patients");
	portal = SPI_cursor_open(NULL, plan, args, NULL, true);
	for (;;)
	{
		SPI_cursor_fetch(portal, true, 1000);
		if (SPI_processed == 0)
			break;
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			HeapTuple	row = SPI_tuptable->vals[i];
			TupleDesc	desc = SPI_tuptable->tupdesc;
			bool		null;
			Datum		id = SPI_getbinval(row, desc, 1, &null);
			MemoryContext caller = MemoryContextSwitchTo(row_context);

			if (!null)
				put_person(batch, DatumGetInt64(id),
						   DatumGetDemographics(SPI_getbinval(row, desc, 2, &null)));
			MemoryContextSwitchTo(caller);
		}
		SPI_freetuptable(SPI_tuptable);
		MemoryContextReset(row_context);
		CHECK_FOR_INTERRUPTS();
	}
	SPI_cursor_close(portal);
	SPI_freeplan(plan);
	MemoryContextDelete(row_context);
}

/* How rare each key is, from all of them in order. */
static void
count_keys(Batch *batch)
{
	int64		block[MATCHING_KEY_PEOPLE];
	int64		n = 0;
	int32		key = 0;
	Datum		datum;
	bool		null;
	bool		more;

	batch->rarities = MemoryContextAllocHuge(batch->context, batch->nkeys + 1);
	memset(batch->rarities, 0, batch->nkeys + 1);
	tuplesort_performsort(batch->sort);
	do
	{
		more = compat_tuplesort_getdatum(batch->sort, &datum, &null);
		if (n > 0 && (!more || (int32) (DatumGetInt64(datum) >> 32) != key))
		{
			int			rarity = matching_rarity(key, batch->people, n);

			/* 0 is for keys that are of no use */
			for (int64 i = 0; i < n && n > 1 && n <= MATCHING_KEY_PEOPLE; i++)
				batch->rarities[block[i]] = Max(rarity, 1);
			n = 0;
		}
		if (!more)
			break;
		key = (int32) (DatumGetInt64(datum) >> 32);
		if (n < MATCHING_KEY_PEOPLE)
			block[n] = DatumGetInt64(datum) & PG_UINT32_MAX;
		n++;
		if ((n & 1023) == 0)
			CHECK_FOR_INTERRUPTS();
	} while (true);
	tuplesort_end(batch->sort);
}

/* ---------- Parts ---------- */

static void
read_file(Batch *batch, void *target, size_t size)
{
	if (BufFileRead(batch->file, target, size) != size)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read from a temporary file: %m")));
}

/* With what points to it. */
static size_t
person_size(const FilePerson *person)
{
	return MAXALIGN(person->size) + sizeof(Person) +
		person->nkeys * (sizeof(Entry) + sizeof(Slot));
}

static void
make_room(Part *part, int nkeys)
{
	if (part->n == part->people_room)
	{
		part->people_room *= 2;
		part->people = repalloc_huge(part->people, part->people_room * sizeof(Person));
	}
	if (part->nentries + nkeys > part->entries_room)
	{
		part->entries_room *= 2;
		part->entries = repalloc_huge(part->entries, part->entries_room * sizeof(Entry));
		part->slots = repalloc_huge(part->slots, part->entries_room * sizeof(Slot));
	}
}

static void
load_person(Batch *batch, Part *part, const FilePerson *stored)
{
	int32		keys[MATCHING_MAX_KEYS];
	Person	   *person;

	make_room(part, stored->nkeys);
	person = &part->people[part->n];
	person->patient_id = stored->patient_id;
	person->demographics = (Demographics *) (part->arena + part->used);
	person->first_slot = part->nentries;
	read_file(batch, keys, sizeof(int32) * stored->nkeys);
	read_file(batch, part->arena + part->used, stored->size);
	part->used += MAXALIGN(stored->size);
	for (int i = 0; i < stored->nkeys; i++)
	{
		uint8		rarity = batch->rarities[stored->first_key + i];

		if (rarity == 0)
			continue;
		part->slots[part->nentries].rarity = rarity;
		part->entries[part->nentries].key = keys[i];
		part->entries[part->nentries++].person = part->n;
	}
	person->nkeys = part->nentries - person->first_slot;
	part->n++;
}

/* From a position on as many people as there is room for; moves the position behind them. */
static Part *
load_part(Batch *batch, int64 *person)
{
	Part	   *part = palloc0(sizeof(Part));
	size_t		limit = Max(maintenance_work_mem * (size_t) 512, 1024 * 1024);
	size_t		taken = 0;

	part->people_room = 1024;
	part->people = palloc(part->people_room * sizeof(Person));
	part->entries_room = 16 * 1024;
	part->entries = palloc(part->entries_room * sizeof(Entry));
	part->slots = palloc(part->entries_room * sizeof(Slot));
	part->arena = MemoryContextAllocHuge(CurrentMemoryContext, Min(limit, batch->size));
	while (*person < batch->npersons)
	{
		FilePerson	stored;
		FilePosition start;

		BufFileTell(batch->file, &start.file, &start.offset);
		read_file(batch, &stored, sizeof(FilePerson));
		taken += person_size(&stored);
		if (taken > limit)
		{
			BufFileSeek(batch->file, start.file, start.offset, SEEK_SET);
			break;
		}
		load_person(batch, part, &stored);
		(*person)++;
	}
	sort_entries(part->entries, part->nentries);
	return part;
}

static void
free_part(Part *part)
{
	pfree(part->people);
	pfree(part->entries);
	pfree(part->slots);
	pfree(part->arena);
	pfree(part);
}

/* ---------- Pairs ---------- */

static void
put_pair(Batch *batch, int64 a, int64 b, const MatchScore *score)
{
	Pair	   *pair;

	if (batch->npairs == batch->room)
	{
		batch->room *= 2;
		batch->pairs = repalloc_huge(batch->pairs, batch->room * sizeof(Pair));
	}
	pair = &batch->pairs[batch->npairs++];
	pair->a = Min(a, b);
	pair->b = Max(a, b);
	pair->bits = score->bits;
	pair->probability = score->probability;
	pair->grade = score->grade;
}

static void
compare(Batch *batch, const Person *a, const Person *b)
{
	MatchScore	score;
	MemoryContext caller;

	/* two records may be of one patient already: merged */
	if (a->patient_id == b->patient_id)
		return;
	caller = MemoryContextSwitchTo(batch->pair_context);
	matching_score(batch->model, a->demographics, b->demographics, &score);
	MemoryContextSwitchTo(caller);
	if (score.grade > MATCH_CERTAINLY_NOT)
		put_pair(batch, a->patient_id, b->patient_id, &score);
}

/*
 * Whom shares each person of a part a key with, of another part or (the same
 * one) of those after it?  Both are in order of the keys, and so are a person's
 * slots: "filled" counts how many of them have been met.
 */
static void
find_others(Part *part, const Part *other)
{
	uint8	   *filled = palloc0(part->n);
	int64		j = 0;

	for (int64 i = 0; i < part->nentries; i++)
	{
		const Entry *entry = &part->entries[i];
		Slot	   *slot = &part->slots[part->people[entry->person].first_slot +
									filled[entry->person]++];
		int64		end;

		if (part == other)
			j = i + 1;
		while (j < other->nentries && other->entries[j].key < entry->key)
			j++;
		for (end = j; end < other->nentries && other->entries[end].key == entry->key;)
			end++;
		slot->others = j;
		slot->nothers = end - j;
	}
	pfree(filled);
}

/* Compares the people of a part with those of another one, or with each other. */
static void
compare_parts(Batch *batch, Part *part, const Part *other)
{
	uint16	   *sums = palloc0(sizeof(uint16) * other->n);
	int32	   *met = palloc(sizeof(int32) * other->n);

	find_others(part, other);
	for (int i = 0; i < part->n; i++)
	{
		const Person *person = &part->people[i];
		int			nmet = 0;

		CHECK_FOR_INTERRUPTS();
		for (int k = 0; k < person->nkeys; k++)
		{
			const Slot *slot = &part->slots[person->first_slot + k];
			const Entry *entry = &other->entries[slot->others];

			for (int j = 0; j < slot->nothers; j++, entry++)
			{
				if (sums[entry->person] == 0)
					met[nmet++] = entry->person;
				sums[entry->person] += slot->rarity;	/* never 0, and 64 of them fit */
			}
		}
		for (int j = 0; j < nmet; j++)
		{
			if (sums[met[j]] >= batch->enough)
				compare(batch, person, &other->people[met[j]]);
			sums[met[j]] = 0;
		}
		MemoryContextReset(batch->pair_context);
	}
	pfree(sums);
	pfree(met);
}

static void
compare_all(Batch *batch)
{
	int64		person = 0;

	BufFileSeek(batch->file, 0, 0, SEEK_SET);
	while (person < batch->npersons)
	{
		Part	   *part = load_part(batch, &person);
		int64		other = person;
		FilePosition next;

		BufFileTell(batch->file, &next.file, &next.offset);
		compare_parts(batch, part, part);
		while (other < batch->npersons)
		{
			Part	   *other_part = load_part(batch, &other);

			compare_parts(batch, part, other_part);
			free_part(other_part);
		}
		free_part(part);
		BufFileSeek(batch->file, next.file, next.offset, SEEK_SET);
	}
}

/* ---------- Grades ---------- */

/* By ids; of each pair the best first. */
static int
compare_pairs(const void *x, const void *y)
{
	const Pair *a = x;
	const Pair *b = y;

	if (a->a != b->a)
		return a->a < b->a ? -1 : 1;
	if (a->b != b->b)
		return a->b < b->b ? -1 : 1;
	return (a->bits < b->bits) - (a->bits > b->bits);
}

static void
keep_best_pairs(Batch *batch)
{
	int64		n = 0;

	qsort(batch->pairs, batch->npairs, sizeof(Pair), compare_pairs);
	for (int64 i = 0; i < batch->npairs; i++)
	{
		if (n == 0 || batch->pairs[i].a != batch->pairs[n - 1].a ||
			batch->pairs[i].b != batch->pairs[n - 1].b)
			batch->pairs[n++] = batch->pairs[i];
	}
	batch->npairs = n;
}

/* A pair as one of the two sees it. */
typedef struct Side
{
	int64		patient_id;
	float		bits;
	int64		pair;
} Side;

static int
compare_sides(const void *x, const void *y)
{
	const Side *a = x;
	const Side *b = y;

	if (a->patient_id != b->patient_id)
		return a->patient_id < b->patient_id ? -1 : 1;
	return (a->bits < b->bits) - (a->bits > b->bits);
}

/* Certain is a pair only if it is, for both, far ahead of all others of theirs. */
static void
demand_margin(Batch *batch)
{
	double		margin = matching_model_margin(batch->model);
	int64		n = 0;
	Side	   *sides = MemoryContextAllocHuge(CurrentMemoryContext,
											   2 * (batch->npairs + 1) * sizeof(Side));

	for (int64 i = 0; i < batch->npairs; i++)
	{
		const Pair *pair = &batch->pairs[i];

		sides[n++] = (Side) {pair->a, pair->bits, i};
		sides[n++] = (Side) {pair->b, pair->bits, i};
	}
	qsort(sides, n, sizeof(Side), compare_sides);
	for (int64 i = 0; i < n; i++)
	{
		bool		first = i == 0 || sides[i].patient_id != sides[i - 1].patient_id;
		bool		last = i + 1 == n || sides[i].patient_id != sides[i + 1].patient_id;
		Pair	   *pair = &batch->pairs[sides[i].pair];

		if (pair->grade == MATCH_CERTAIN &&
			(!first || (!last && sides[i].bits - sides[i + 1].bits < margin)))
			pair->grade = MATCH_PROBABLE;
	}
	pfree(sides);
}

/* ---------- find_duplicates() ---------- */

/* Fails where the model is not deployed. */
static void
look_at_patients(Batch *batch)
{
	MatchTable	patients;

	matching_open_patients(&patients);
	batch->people = matching_people(patients.table);
	batch->enough = matching_rarity_wanted(batch->people);
	table_close(patients.table, AccessShareLock);
}

static void
find_pairs(Batch *batch, int64 org_id)
{
	memset(batch, 0, sizeof(Batch));
	batch->context = CurrentMemoryContext;
	batch->pair_context = AllocSetContextCreate(CurrentMemoryContext, "referral pair",
												ALLOCSET_DEFAULT_SIZES);
	batch->room = 1024;
	batch->pairs = palloc(batch->room * sizeof(Pair));
	look_at_patients(batch);
	PrepareTempTablespaces();
	batch->file = BufFileCreateTemp(false);
	batch->sort = tuplesort_begin_datum(INT8OID, Int8LessOperator, InvalidOid, false,
										maintenance_work_mem, NULL, TUPLESORT_NONE);
	read_people(batch, org_id);
	count_keys(batch);
	/* no query runs from here on, whose functions might load another model */
	batch->model = matching_model(0);
	compare_all(batch);
	BufFileClose(batch->file);
	pfree(batch->rarities);
	keep_best_pairs(batch);
	demand_margin(batch);
}

PG_FUNCTION_INFO_V1(find_duplicates);

/* find_duplicates(org_id, min_probability) */
Datum
find_duplicates(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	double		least = PG_ARGISNULL(1) ? 0 : PG_GETARG_FLOAT8(1);
	Batch		batch;

	InitMaterializedSRF(fcinfo, 0);
	if (!(least >= 0 && least <= 1))
		ereport(ERROR,
				(errcode(ERRCODE_RF_INVALID_ARGUMENT),
				 errmsg("a probability is from 0 to 1"),
				 errdetail("min_probability is %g.", least),
				 errhint("Leave it out for all that may be duplicates.")));
	if (PG_ARGISNULL(0))
		return (Datum) 0;

	/* everything is made in SPI's own memory, and gone with it */
	SPI_connect();
	find_pairs(&batch, PG_GETARG_INT64(0));
	for (int64 i = 0; i < batch.npairs; i++)
	{
		const Pair *pair = &batch.pairs[i];
		Datum		values[4];
		bool		nulls[4] = { false, false, false, false };

		if (pair->probability < least)
			continue;
		values[0] = Int64GetDatum(pair->a);
		values[1] = Int64GetDatum(pair->b);
		values[2] = Float8GetDatum(pair->probability);
		values[3] = CStringGetTextDatum(matching_grade_name(pair->grade));
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		pfree(DatumGetPointer(values[3]));
	}
	SPI_finish();
	return (Datum) 0;
}
