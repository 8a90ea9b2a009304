/*-------------------------------------------------------------------------
 *
 * matching_fit_compare.c
 *		Two models of matching compared on the same pairs of people.
 *
 * The pairs are those that share a blocking key, as in a lookup; of many pairs
 * those with the smallest hashes are taken, so that the same data and seed give
 * the same pairs.
 *
 * IDENTIFICATION
 *		src/matching_fit_compare.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "errors.h"
#include "matching_model.h"
#include "matching_sample.h"

#define MAX_PAIRS			10000000
#define GRADES				(MATCH_CERTAIN + 1)

typedef struct ComparedPair
{
	uint64		hash;
	int32		a;
	int32		b;
} ComparedPair;

typedef struct PairList
{
	const MatchSample *sample;
	int			wanted;
	int			n;
	int			room;
	ComparedPair *pairs;
	uint64		limit;			/* hashes above it are not wanted any more */
} PairList;

/* ---------- Which pairs ---------- */

static int
compare_pairs(const void *a, const void *b)
{
	const ComparedPair *x = a;
	const ComparedPair *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	if (x->a != y->a)
		return x->a < y->a ? -1 : 1;
	return x->b < y->b ? -1 : x->b > y->b;
}

static void
keep_smallest(PairList *list)
{
	qsort(list->pairs, list->n, sizeof(ComparedPair), compare_pairs);
	if (list->n > list->wanted)
	{
		list->n = list->wanted;
		list->limit = list->pairs[list->n - 1].hash;
	}
}

static void
add_pair(void *arg, int a, int b, uint32 free)
{
	PairList   *list = arg;
	const SamplePerson *people = list->sample->people;
	ComparedPair pair = {matching_sample_mix(people[a].hash + people[b].hash), a, b};

	if (pair.hash > list->limit)
		return;
	if (list->n == list->room)
	{
		if (list->n >= 2 * list->wanted)
			keep_smallest(list);
		else
		{
			list->room = Min(2 * list->room, 2 * list->wanted);
			list->pairs = repalloc_huge(list->pairs, list->room * sizeof(ComparedPair));
		}
	}
	list->pairs[list->n++] = pair;
}

static void
choose_pairs(PairList *list, const MatchSample *sample, int wanted)
{
	list->sample = sample;
	list->wanted = wanted;
	list->n = 0;
	list->room = Min(1024, 2 * wanted);
	list->pairs = palloc_array(ComparedPair, list->room);
	list->limit = PG_UINT64_MAX;
	matching_sample_pairs(sample, add_pair, list);
	keep_smallest(list);
}

/* ---------- Both models ---------- */

typedef struct Comparison
{
	ReturnSetInfo *result;
	RuleCache  *cache;
	const MatchModel *models[2];
	PairList	list;
} Comparison;

/* The rules that the first model came with must outlive the loading of the second one. */
static void
load_models(Comparison *comparison, int64 a, int64 b)
{
	comparison->cache = rule_cache(false);
	comparison->cache->pins++;
	PG_TRY();
	{
		comparison->models[0] = matching_model(a);
		comparison->models[1] = matching_model(b);
	}
	PG_FINALLY();
	{
		comparison->cache->pins--;
	}
	PG_END_TRY();
}

static void
score_both(const Comparison *comparison, const ComparedPair *pair, MatchScore *scores)
{
	const SamplePerson *people = comparison->list.sample->people;

	for (int i = 0; i < 2; i++)
		matching_score(comparison->models[i], people[pair->a].value, people[pair->b].value,
					   scores + i);
}

static void
begin_comparison(FunctionCallInfo fcinfo, Comparison *comparison, const char *naming, int64 seed,
				 int max_pairs)
{
	const char *column = NameStr(*PG_GETARG_NAME(3));

	if (max_pairs < 1 || max_pairs > MAX_PAIRS)
		ereport(ERROR,
				(errcode(ERRCODE_RF_INVALID_ARGUMENT),
				 errmsg("%d is no number of pairs to compare", max_pairs),
				 errdetail("It must be from 1 to %d.", MAX_PAIRS),
				 errhint("Leave it out for 100,000 pairs.")));
	InitMaterializedSRF(fcinfo, 0);
	comparison->result = (ReturnSetInfo *) fcinfo->resultinfo;
	choose_pairs(&comparison->list,
				 matching_sample_read(PG_GETARG_OID(2), column, naming, seed), max_pairs);
	/* after all SQL */
	load_models(comparison, PG_GETARG_INT64(0), PG_GETARG_INT64(1));
}

/* ---------- In SQL ---------- */

PG_FUNCTION_INFO_V1(compare_match_models);
Datum
compare_match_models(PG_FUNCTION_ARGS)
{
	Comparison	comparison;
	int64		counts[GRADES][GRADES] = {{0}};

	begin_comparison(fcinfo, &comparison, NULL, PG_GETARG_INT64(4), PG_GETARG_INT32(5));
	for (int i = 0; i < comparison.list.n; i++)
	{
		MatchScore	scores[2];

		CHECK_FOR_INTERRUPTS();
		score_both(&comparison, comparison.list.pairs + i, scores);
		counts[scores[0].grade][scores[1].grade]++;
	}
	for (int a = GRADES - 1; a >= 0; a--)
		for (int b = GRADES - 1; b >= 0; b--)
			if (counts[a][b] > 0)
			{
				bool		nulls[3] = {false};
				Datum		values[3];

				values[0] = CStringGetTextDatum(matching_grade_name(a));
				values[1] = CStringGetTextDatum(matching_grade_name(b));
				values[2] = Int64GetDatum(counts[a][b]);
				tuplestore_putvalues(comparison.result->setResult, comparison.result->setDesc,
									 values, nulls);
			}
	return (Datum) 0;
}

static Datum
name_of(const SamplePerson *person, bool *isnull)
{
	*isnull = person->name == NULL;
	return *isnull ? (Datum) 0 : CStringGetTextDatum(person->name);
}

static void
put_difference(const Comparison *comparison, const ComparedPair *pair, const MatchScore *scores)
{
	const SamplePerson *people = comparison->list.sample->people;
	bool		nulls[6] = {false};
	Datum		values[6];
	int			a = pair->a;
	int			b = pair->b;

	/* the smaller name first, whatever the hashes are */
	if (people[a].name && people[b].name && strcmp(people[a].name, people[b].name) > 0)
	{
		a = pair->b;
		b = pair->a;
	}
	values[0] = name_of(people + a, nulls);
	values[1] = name_of(people + b, nulls + 1);
	values[2] = CStringGetTextDatum(matching_grade_name(scores[0].grade));
	values[3] = CStringGetTextDatum(matching_grade_name(scores[1].grade));
	values[4] = Float8GetDatum(scores[0].bits);
	values[5] = Float8GetDatum(scores[1].bits);
	tuplestore_putvalues(comparison->result->setResult, comparison->result->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(match_model_differences);
Datum
match_model_differences(PG_FUNCTION_ARGS)
{
	Comparison	comparison;

	begin_comparison(fcinfo, &comparison, NameStr(*PG_GETARG_NAME(4)), PG_GETARG_INT64(5),
					 PG_GETARG_INT32(6));
	for (int i = 0; i < comparison.list.n; i++)
	{
		MatchScore	scores[2];

		CHECK_FOR_INTERRUPTS();
		score_both(&comparison, comparison.list.pairs + i, scores);
		if (scores[0].grade != scores[1].grade)
			put_difference(&comparison, comparison.list.pairs + i, scores);
	}
	return (Datum) 0;
}
