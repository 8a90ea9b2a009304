/*-------------------------------------------------------------------------
 *
 * matching_find.h
 *		Who of an organisation's patients is a person?
 *
 * IDENTIFICATION
 *		src/matching_find.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_MATCHING_FIND_H
#define REFERRAL_MATCHING_FIND_H

#include "storage/itemptr.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "matching.h"

/*
 * Which people are compared?  Those who share keys that, together, few
 * strangers share by chance: fewer than MATCHING_STRANGERS of all people.  A
 * key that more than MATCHING_KEY_PEOPLE have is left out, so that no key makes
 * a lookup slow.  So the number of comparisons does not grow with the people.
 */
#define MATCHING_KEY_PEOPLE		500
#define MATCHING_STRANGERS		64

/* In 1/16 bit, so that sums do not depend on their order. */
extern int	matching_rarity(double people, double sharing);

/* matching_index.c */
extern void matching_index_init(void);
extern Datum demographics_extract_value(PG_FUNCTION_ARGS);

/* matching_postings.c */
extern double matching_people(Relation table);
/* where in the table "attnum" shares enough with a person of these keys: in order, each once */
extern int	matching_candidates(Relation table, AttrNumber attnum, Snapshot snapshot,
								const int32 *keys, int nkeys, ItemPointerData **tids);

/* A patient who may be the person. */
typedef struct MatchFound
{
	int64		patient_id;
	float		bits;
	float		probability;
	MatchGrade	grade;
} MatchFound;

/* By falling probability, then by id. */
extern int	matching_compare_found(const void *a, const void *b);

#endif							/* REFERRAL_MATCHING_FIND_H */
