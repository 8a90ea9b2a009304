/*-------------------------------------------------------------------------
 *
 * matching_index.c
 *		The operators % and <-> of demographics, and their GIN operator class.
 *
 * a % b: the two have a blocking key in common and are one person with a
 * probability of at least referral.match_threshold.  The index finds the keys,
 * the operator itself is rechecked.
 *
 * IDENTIFICATION
 *		src/matching_index.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>

#include "access/gin.h"
#include "access/stratnum.h"
#include "optimizer/pathnode.h"
#include "utils/guc.h"
#include "utils/selfuncs.h"

#include "compat.h"
#include "matching.h"
#include "matching_find.h"

static double match_threshold = 0.5;

void
matching_index_init(void)
{
	DefineCustomRealVariable("referral.match_threshold",
							 "Probability from which the operator % takes two people for one.",
							 "From 0 to 1.",
							 &match_threshold, 0.5, 0.0, 1.0, PGC_USERSET, 0, NULL, NULL, NULL);
}

/* ---------- Operators ---------- */

static MatchScore
score_of(FunctionCallInfo fcinfo)
{
	MatchScore	score;

	matching_score(matching_model(0), PG_GETARG_DEMOGRAPHICS(0), PG_GETARG_DEMOGRAPHICS(1), &score);
	return score;
}

PG_FUNCTION_INFO_V1(match_probability);

Datum
match_probability(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(score_of(fcinfo).probability);
}

PG_FUNCTION_INFO_V1(demographics_distance);

/* a <-> b: 1 - probability, but of those that are all but 1 not all 0 */
Datum
demographics_distance(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(1 / (1 + exp2(score_of(fcinfo).bits)));
}

PG_FUNCTION_INFO_V1(demographics_match);

/* a % b; most candidates of the index fail by their score, so that is asked first */
Datum
demographics_match(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(score_of(fcinfo).probability >= match_threshold &&
				   matching_keys_overlap(PG_GETARG_DEMOGRAPHICS(0), PG_GETARG_DEMOGRAPHICS(1)));
}

/* ---------- GIN operator class ---------- */

static Datum *
extract_keys(Datum value, int32 *nkeys)
{
	int32		keys[MATCHING_MAX_KEYS];
	Datum	   *datums;

	*nkeys = matching_keys(DatumGetDemographics(value), keys);
	datums = palloc(sizeof(Datum) * Max(*nkeys, 1));
	for (int i = 0; i < *nkeys; i++)
		datums[i] = Int32GetDatum(keys[i]);
	return datums;
}

PG_FUNCTION_INFO_V1(demographics_extract_value);

Datum
demographics_extract_value(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(extract_keys(PG_GETARG_DATUM(0), (int32 *) PG_GETARG_POINTER(1)));
}

PG_FUNCTION_INFO_V1(demographics_extract_query);

/* Without keys the query finds nothing. */
Datum
demographics_extract_query(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(extract_keys(PG_GETARG_DATUM(0), (int32 *) PG_GETARG_POINTER(1)));
}

PG_FUNCTION_INFO_V1(demographics_consistent);

/* Is called only when a key is there. */
Datum
demographics_consistent(PG_FUNCTION_ARGS)
{
	bool	   *recheck = (bool *) PG_GETARG_POINTER(5);

	*recheck = true;
	PG_RETURN_BOOL(true);
}

PG_FUNCTION_INFO_V1(demographics_triconsistent);

Datum
demographics_triconsistent(PG_FUNCTION_ARGS)
{
	GinTernaryValue *check = (GinTernaryValue *) PG_GETARG_POINTER(0);
	int32		nkeys = PG_GETARG_INT32(3);

	for (int i = 0; i < nkeys; i++)
	{
		if (check[i] != GIN_FALSE)
			PG_RETURN_GIN_TERNARY_VALUE(GIN_MAYBE);
	}
	PG_RETURN_GIN_TERNARY_VALUE(GIN_FALSE);
}

/* ---------- Selectivity ---------- */

/* A person is found a few times among any number of people. */
#define MATCHING_ROWS	3.0

static double
few_of(double tuples)
{
	return Min(MATCHING_ROWS / Max(tuples, MATCHING_ROWS * 10), 0.1);
}

PG_FUNCTION_INFO_V1(demographics_match_sel);

Datum
demographics_match_sel(PG_FUNCTION_ARGS)
{
	PlannerInfo *root = (PlannerInfo *) PG_GETARG_POINTER(0);
	List	   *args = (List *) PG_GETARG_POINTER(2);
	int			varRelid = PG_GETARG_INT32(3);
	VariableStatData vardata;
	Node	   *other;
	bool		varonleft;
	double		tuples = 0;

	if (get_restriction_variable(root, args, varRelid, &vardata, &other, &varonleft))
	{
		if (vardata.rel)
			tuples = vardata.rel->tuples;
		ReleaseVariableStats(vardata);
	}
	PG_RETURN_FLOAT8(few_of(tuples));
}

PG_FUNCTION_INFO_V1(demographics_match_joinsel);

/* So many of the larger side for each row of the smaller. */
Datum
demographics_match_joinsel(PG_FUNCTION_ARGS)
{
	PlannerInfo *root = (PlannerInfo *) PG_GETARG_POINTER(0);
	List	   *args = (List *) PG_GETARG_POINTER(2);
	SpecialJoinInfo *sjinfo = (SpecialJoinInfo *) PG_GETARG_POINTER(4);
	VariableStatData left;
	VariableStatData right;
	bool		reversed;
	double		tuples = 0;

	if (list_length(args) != 2)
		PG_RETURN_FLOAT8(few_of(tuples));
	get_join_variables(root, args, sjinfo, &left, &right, &reversed);
	if (left.rel)
		tuples = left.rel->tuples;
	if (right.rel)
		tuples = Max(tuples, right.rel->tuples);
	ReleaseVariableStats(left);
	ReleaseVariableStats(right);
	PG_RETURN_FLOAT8(few_of(tuples));
}
