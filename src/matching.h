/*-------------------------------------------------------------------------
 *
 * matching.h
 *		Are two records of the same person?  Comparison, score, blocking keys.
 *
 * Two values are compared field by field, each with the outcome of one level
 * (matching_compare.c); a model gives each level a weight in bits, and the sum
 * is the score (matching_score.c).  Only records that have a blocking key in
 * common are ever compared in a lookup (matching_keys.c).
 *
 * IDENTIFICATION
 *		src/matching.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_MATCHING_H
#define REFERRAL_MATCHING_H

#include "matching_value.h"

/* ---------- Blocking keys (matching_keys.c) ---------- */

#define MATCHING_MAX_KEYS	64

/*
 * The blocking keys of a person: sorted, distinct hashes of key kind and
 * content.  Depends on nothing but the value.  Returns their number.
 */
extern int	matching_keys(const Demographics *d, int32 *keys);

/* What a key was made of, for explanations: "name+birth year", ... ; kinds[i] of keys[i]. */
extern int	matching_keys_kinds(const Demographics *d, int32 *keys, const char **kinds);

extern bool matching_keys_overlap(const Demographics *a, const Demographics *b);

/* ---------- Scoring (matching_model.c, matching_score.c) ---------- */

typedef enum MatchGrade
{
	MATCH_CERTAINLY_NOT,
	MATCH_POSSIBLE,
	MATCH_PROBABLE,
	MATCH_CERTAIN
} MatchGrade;

/* Reasons not to link two records without a person's look, whatever the score. */
#define MATCH_VETO_GIVEN		0x001	/* first names are not the same */
#define MATCH_VETO_FAMILY		0x002	/* family names that nothing connects */
#define MATCH_VETO_BIRTH		0x004	/* birth dates that nothing connects */
#define MATCH_VETO_TWIN			0x008	/* one of a multiple birth, and not shown to be the same one */
#define MATCH_VETO_SUFFIX		0x010	/* senior and junior */
#define MATCH_VETO_SEX			0x020
#define MATCH_VETO_IDENTIFIER	0x040	/* identifiers that only one person has are different */
#define MATCH_VETO_MISSING		0x080	/* too little is known of either */
#define MATCH_VETO_MIDDLE		0x100	/* middle names that nothing connects */
#define MATCH_VETO_UNSURE_TWIN	0x200	/* one of a multiple birth, and not known which, but of the same first name */
#define MATCH_VETO_OTHER_GIVEN	0x400	/* first names that nothing connects */
/* These make two people likely: the grade is one lower. */
#define MATCH_VETOES_LOWER		(MATCH_VETO_OTHER_GIVEN | MATCH_VETO_TWIN | MATCH_VETO_SUFFIX)

typedef struct MatchModel MatchModel;

typedef struct MatchScore
{
	float		bits;			/* log2 of the odds, prior included */
	double		probability;
	MatchGrade	grade;			/* of the pair alone: without a margin over other candidates */
} MatchScore;

/*
 * A model by its id, or (0) the active one; lives until rules change, which
 * nobody notices before the next call.  RF019 when there is none.
 */
extern const MatchModel *matching_model(int64 model_id);
extern void matching_score(const MatchModel *model, const Demographics *a, const Demographics *b,
						   MatchScore *score);

/* By how many bits a certain match has to be ahead of the next candidate. */
extern double matching_model_margin(const MatchModel *model);

/* The probability from which two records are graded possible. */
extern double matching_model_possible(const MatchModel *model);
extern const char *matching_grade_name(MatchGrade grade);

#endif							/* REFERRAL_MATCHING_H */
