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
 * strangers share by chance: at most MATCHING_STRANGERS of all people; or a key
 * that is enough by itself, whoever else has it.  A key that more than
 * MATCHING_KEY_PEOPLE have is left out, so that no key makes a lookup slow.
 */
#define MATCHING_KEY_PEOPLE		500
#define MATCHING_STRANGERS		16

#define MATCHING_KEY_IS_ENOUGH(key)		(((key) & 1) != 0)

/* In 1/8 bit, so that sums do not depend on their order; at most 255. */
extern int	matching_rarity(int32 key, double people, double sharing);
extern int	matching_rarity_wanted(double people);

/* matching_index.c */
extern void matching_index_init(void);
extern Datum demographics_extract_value(PG_FUNCTION_ARGS);

/* referral.patient, and where its columns are */
typedef struct MatchTable
{
	Relation	table;
	AttrNumber	org_id;
	AttrNumber	patient_id;
	AttrNumber	demographics;
} MatchTable;

/* matching_find.c */
extern void matching_open_patients(MatchTable *patients);

/* matching_postings.c */
extern double matching_people(Relation table);
/* where in the table people of the organisation share enough with somebody of these keys */
extern int	matching_candidates(const MatchTable *people, int64 org_id, Snapshot snapshot,
								const int32 *keys, int nkeys, ItemPointerData **tids);

/* A patient who may be the person. */
typedef struct MatchFound
{
	int64		patient_id;
	float		bits;
	double		probability;
	MatchGrade	grade;
} MatchFound;

/* By falling probability, then by id. */
extern int	matching_compare_found(const void *a, const void *b);

#endif							/* REFERRAL_MATCHING_FIND_H */
