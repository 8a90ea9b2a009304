/*-------------------------------------------------------------------------
 *
 * matching_characters.h
 *		Strings in the forms in which the string measures look at them.
 *
 * The measures look at characters only to ask whether two are the same.  So a
 * short string becomes an array of bytes, one per character: ASCII, and any
 * single-byte encoding, is one already; other characters are numbered as they
 * come.  A bit mask per byte then tells where in one string it stands, and 64
 * places are looked at in one step.  Most names are ASCII and fit into a
 * register, which gives the masks without any table.  Strings of more than 64
 * characters become arrays of larger numbers.
 *
 * IDENTIFICATION
 *		src/matching_characters.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_MATCHING_CHARACTERS_H
#define REFERRAL_MATCHING_CHARACTERS_H

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "mb/pg_wchar.h"

/* Characters of a string that can be bytes, at most: bits of a mask */
#define SHORT_LENGTH		64

/* Characters of any string, at most: its cube still fits into Jaro's fraction */
#define MAX_LENGTH			100000

/* A string as an array of numbers: equal ones stand for equal characters. */
typedef struct Characters
{
	uint32	   *codes;
	int			count;
	uint32		fixed[SHORT_LENGTH];
} Characters;

/* Two strings of up to SHORT_LENGTH characters as bytes. */
typedef struct Bytes
{
	const uint8 *a;
	const uint8 *b;
	int			alength;
	int			blength;
	uint8		aroom[SHORT_LENGTH];
	uint8		broom[SHORT_LENGTH];
} Bytes;

extern void read_characters(Characters *result, const char *text, int length);
extern void free_characters(Characters *characters);
extern void number_characters(Bytes *bytes, const Characters *a, const Characters *b);

static inline bool
are_short(const Characters *a, const Characters *b)
{
	return a->count <= SHORT_LENGTH && b->count <= SHORT_LENGTH;
}

/* Are all bytes characters of their own? */
static inline bool
is_ascii(const char *text, int length)
{
	const char *end = text + length;
	uint64		all = 0;

	for (; end - text >= (int) sizeof(uint64); text += sizeof(uint64))
	{
		uint64		word;

		memcpy(&word, text, sizeof(word));
		all |= word;
	}
	for (; text < end; text++)
		all |= (uint64) (uint8) *text;
	return (all & UINT64CONST(0x8080808080808080)) == 0;
}

/* Can both be taken as they stand? */
static inline bool
bytes_as_they_stand(Bytes *bytes, const char *a, int alength, const char *b, int blength)
{
	if (alength > SHORT_LENGTH || blength > SHORT_LENGTH)
		return false;
	if (!(is_ascii(a, alength) && is_ascii(b, blength)) && pg_database_encoding_max_length() > 1)
		return false;
	bytes->a = (const uint8 *) a;
	bytes->b = (const uint8 *) b;
	bytes->alength = alength;
	bytes->blength = blength;
	return true;
}

#ifdef __SSE2__
#define REGISTER_LENGTH		16

/* Up to 16 bytes, zeros behind them; no other byte is read. */
static inline __m128i
load_register(const char *text, int length)
{
	uint64		all = 0;
	uint64		rest = 0;

	if (length > 8)
	{
		memcpy(&all, text, 8);
		memcpy(&rest, text + length - 8, 8);
		rest >>= 8 * (REGISTER_LENGTH - length);
	}
	else if (length >= 4)
	{
		uint32		first;
		uint32		last;

		memcpy(&first, text, 4);
		memcpy(&last, text + length - 4, 4);
		all = first | (uint64) last << 8 * (length - 4);
	}
	else if (length > 0)
	{
		all = (uint8) text[0];
		all |= (uint64) (uint8) text[length / 2] << 8 * (length / 2);
		all |= (uint64) (uint8) text[length - 1] << 8 * (length - 1);
	}
	return _mm_set_epi64x(rest, all);
}

/* Exchanges two strings if the first one is longer; a branch could not be foreseen. */
static inline void
put_shorter_first(__m128i *a, int alength, __m128i *b, int blength)
{
	__m128i		all = _mm_set1_epi32(-(alength > blength));
	__m128i		exchange = _mm_and_si128(_mm_xor_si128(*a, *b), all);

	*a = _mm_xor_si128(*a, exchange);
	*b = _mm_xor_si128(*b, exchange);
}

static inline uint32
equal_bytes(__m128i a, __m128i b)
{
	return _mm_movemask_epi8(_mm_cmpeq_epi8(a, b));
}

/* Where each of 8 bytes, given twice each, stands in a string. */
static inline void
find_eight(__m128i twice, __m128i in, uint32 *places)
{
	__m128i		low = _mm_unpacklo_epi16(twice, twice);
	__m128i		high = _mm_unpackhi_epi16(twice, twice);

	places[0] = equal_bytes(_mm_shuffle_epi32(low, 0x00), in);
	places[1] = equal_bytes(_mm_shuffle_epi32(low, 0x55), in);
	places[2] = equal_bytes(_mm_shuffle_epi32(low, 0xAA), in);
	places[3] = equal_bytes(_mm_shuffle_epi32(low, 0xFF), in);
	places[4] = equal_bytes(_mm_shuffle_epi32(high, 0x00), in);
	places[5] = equal_bytes(_mm_shuffle_epi32(high, 0x55), in);
	places[6] = equal_bytes(_mm_shuffle_epi32(high, 0xAA), in);
	places[7] = equal_bytes(_mm_shuffle_epi32(high, 0xFF), in);
}

static inline bool
is_ascii_register(__m128i text)
{
	return _mm_movemask_epi8(text) == 0;
}
#endif							/* __SSE2__ */

#endif							/* REFERRAL_MATCHING_CHARACTERS_H */
