/*-------------------------------------------------------------------------
 *
 * matching_normalize.h
 *		Text as people write it, reduced to what tells people apart.
 *
 * IDENTIFICATION
 *		src/matching_normalize.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_MATCHING_NORMALIZE_H
#define REFERRAL_MATCHING_NORMALIZE_H

/* Bytes of a text that are looked at; of a longer one, those at the end are not. */
#define NORMALIZE_MAX_LENGTH	2048
#define NORMALIZE_MAX_WORDS		64

/* What stands before a word; several may. */
#define BEFORE_SPACE		1
#define BEFORE_HYPHEN		2
#define BEFORE_COMMA		4	/* or semicolon */
#define BEFORE_SLASH		8
#define BEFORE_HASH			16

typedef struct NormalWord
{
	uint16		start;
	uint16		length;
	uint8		before;			/* BEFORE_* */
	uint8		group;			/* 0, or the number of the brackets or quotes that it stands in */
} NormalWord;

/* A text's words: lower-case letters and digits. */
typedef struct NormalWords
{
	int			n;
	NormalWord	word[NORMALIZE_MAX_WORDS];
	char		data[NORMALIZE_MAX_LENGTH];
} NormalWords;

/*
 * The text with its characters beyond ASCII folded: no marks, no capitals, no
 * punctuation but the ASCII one.  It is the text itself when it is ASCII, else
 * in the buffer of NORMALIZE_MAX_LENGTH bytes.  Sets its length.
 */
extern const char *normalize_fold(const char *text, int *length, char *buffer);

extern void normalize_words(const char *text, int length, NormalWords *words);

/* How many of at most max bytes are whole characters. */
extern int	normalize_clip(const char *text, int length, int max);

/* Characters of a text, but no more than 2 are counted. */
extern bool normalize_is_initial(const char *text, int length);

/* Maps of words; sorted. */
typedef struct WordMap
{
	const char *from;
	const char *to;
} WordMap;

/* What a word stands for, or NULL. */
extern const char *normalize_map(const WordMap *map, int n, const char *word, int length);

#endif							/* REFERRAL_MATCHING_NORMALIZE_H */
