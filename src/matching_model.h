/*-------------------------------------------------------------------------
 *
 * matching_model.h
 *		What the rules say of matching, as loaded: weights, thresholds, names.
 *
 * IDENTIFICATION
 *		src/matching_model.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_MATCHING_MODEL_H
#define REFERRAL_MATCHING_MODEL_H

#include "matching_compare.h"
#include "rule.h"
#include "security.h"

/*
 * Weights are whole numbers of 1/1024 bit, so that a sum is the same in
 * whatever order it is made, and an explanation adds up to the score.
 */
#define MATCH_BIT			1024

struct MatchModel
{
	int64		rule_version_id;
	int			prior;			/* all in 1/1024 bit */
	int			certain;
	int			probable;
	int			possible;
	int			margin;
	int			household_cap;
	double		frequency_weight;	/* 0 to 1 */
	bool		auto_link;
	int			weight[MATCH_FIELDS][MATCH_MAX_LEVELS];
	double		m[MATCH_FIELDS][MATCH_MAX_LEVELS];
	double		u[MATCH_FIELDS][MATCH_MAX_LEVELS];
	const MatchDictionary *dictionary;
};

/* A population smaller than this says nothing of how common a name is. */
#define MATCH_FREQUENCY_PEOPLE	1000
/* How often a name is taken to occur that refresh_match_frequencies() does not keep. */
#define MATCH_RARE_COUNT		4.0

extern MatchDictionary *matching_dictionary_load(RuleCache *cache);
extern double matching_name_share(const MatchDictionary *dictionary, bool family,
								  const char *text, int length);

#endif							/* REFERRAL_MATCHING_MODEL_H */
