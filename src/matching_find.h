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
 * A lookup compares a person with so many people at most: those that share its
 * rarest keys.
 */
#define MATCHING_CANDIDATES		2000

/* matching_index.c */
extern void matching_index_init(void);
extern Datum demographics_extract_value(PG_FUNCTION_ARGS);

/* matching_postings.c: where in the table "attnum" has one of the keys, in order, each once. */
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
