/*-------------------------------------------------------------------------
 *
 * matching_string.h
 *		Measures of how alike two strings are, and how one sounds.
 *
 * Strings are UTF-8 in the database's encoding, given as bytes and length, and
 * are compared by code points, as they stand: whoever wants "José" to equal
 * "jose" normalises both first.  Nothing here allocates for strings of up to
 * 64 code points.
 *
 * IDENTIFICATION
 *		src/matching_string.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_MATCHING_STRING_H
#define REFERRAL_MATCHING_STRING_H

#define STRING_ONE			1000000		/* the measures' 1.0 */

/* Jaro-Winkler similarity in millionths, rounded down; exact integer arithmetic. */
extern int	string_jaro_winkler(const char *a, int alength, const char *b, int blength);

/*
 * Optimal string alignment distance (insertions, deletions, substitutions,
 * transpositions of neighbours), or max + 1 when it is larger than max.
 */
extern int	string_damerau_levenshtein(const char *a, int alength, const char *b, int blength, int max);

/* Keys of double metaphone, at most 6 letters each; the second is "" where it equals the first. */
#define METAPHONE_LENGTH	6

typedef struct Metaphone
{
	char		primary[METAPHONE_LENGTH + 1];
	char		secondary[METAPHONE_LENGTH + 1];
} Metaphone;

extern void string_double_metaphone(const char *text, int length, Metaphone *result);

/*
 * Which letters occur in a text: bits 0 to 25 for a to z (and A to Z), 26 to
 * 30 for pairs of digits (01, 23, ...), 31 for anything else.  Characters of
 * one bit that the other text has not are surely not in common: from this
 * follows an upper bound of every measure.
 */
extern uint32 string_letters(const char *text, int length);

/* An upper bound of the Jaro-Winkler similarity of two ASCII texts, from their letters; cheap. */
extern int	string_jaro_winkler_bound(uint32 aletters, int alength, uint32 bletters, int blength);

#endif							/* REFERRAL_MATCHING_STRING_H */
