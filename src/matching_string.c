/*-------------------------------------------------------------------------
 *
 * matching_string.c
 *		How alike two strings are by Jaro and Winkler.
 *
 * Nothing is rounded before the last step: the similarity is a fraction of
 * integers, which decide about Winkler's bonus.
 *
 * IDENTIFICATION
 *		src/matching_string.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "miscadmin.h"
#include "port/pg_bitutils.h"

#include "compat.h"
#include "matching_characters.h"
#include "matching_string.h"

/* Winkler's constants: the bonus is for strings more alike than 7/10, 1/10 per character */
#define PREFIX_LENGTH		4
#define BONUS_PARTS			10
#define BONUS_ABOVE			7

typedef struct Fraction
{
	int64		numerator;
	int64		denominator;
} Fraction;

/*
 * Where each byte stands in the string at hand.  All zero between calls:
 * clearing what was set is much cheaper than clearing everything.
 */
static uint64 masks[UCHAR_MAX + 1];

PG_FUNCTION_INFO_V1(jaro_winkler);

static inline int
count_bits(uint32 word)
{
	word -= word >> 1 & 0x55555555;
	word = (word & 0x33333333) + (word >> 2 & 0x33333333);
	return ((word + (word >> 4)) & 0x0F0F0F0F) * 0x01010101 >> 24;
}

/* How far apart two characters may stand to be in common. */
static inline int
jaro_window(int alength, int blength)
{
	int			longest = Max(alength, blength);

	return longest < 2 ? 0 : longest / 2 - 1;
}

/*
 * Characters in common, and how many of them, each string's taken in order,
 * differ from the other string's.  Each character of a in turn takes the first
 * that is left in b; the outcome is the same with a and b exchanged.
 */
static inline int
jaro_common(const Bytes *s, int *different)
{
	int			window = jaro_window(s->alength, s->blength);
	uint64		near = (UINT64CONST(2) << window) - 1;
	uint64		ataken = 0;
	uint64		btaken = 0;
	int			common = 0;

	for (int i = 0; i < s->blength; i++)
		masks[s->b[i]] |= UINT64CONST(1) << i;
	for (int i = 0; i < s->alength; i++)
	{
		uint64		candidates = masks[s->a[i]] & near & ~btaken;

		btaken |= candidates & -candidates;
		ataken |= (uint64) (candidates != 0) << i;
		common += candidates != 0;
		near = near << 1 | (i < window);
	}
	*different = 0;
	while (ataken != 0)
	{
		uint64		first = btaken & -btaken;

		*different += (masks[s->a[pg_rightmost_one_pos64(ataken)]] & first) == 0;
		ataken &= ataken - 1;
		btaken ^= first;
	}
	for (int i = 0; i < s->blength; i++)
		masks[s->b[i]] = 0;
	return common;
}

static int
compare_places(const void *a, const void *b)
{
	uint64		x = *(const uint64 *) a;
	uint64		y = *(const uint64 *) b;

	return (x > y) - (x < y);
}

/* The places of a string, by character and then from left to right. */
static uint64 *
sorted_places(const Characters *s)
{
	uint64	   *places = palloc(s->count * sizeof(uint64));

	for (int i = 0; i < s->count; i++)
		places[i] = (uint64) s->codes[i] << 32 | i;
	qsort(places, s->count, sizeof(uint64), compare_places);
	CHECK_FOR_INTERRUPTS();
	return places;
}

/*
 * As jaro_common, for strings of any length.  The places of a character are
 * gone through in both strings at once; two characters are always further
 * apart than the window.
 */
static int
jaro_common_long(const Characters *a, const Characters *b, int *different)
{
	int			window = jaro_window(a->count, b->count);
	uint64	   *aplaces = sorted_places(a);
	uint64	   *bplaces = sorted_places(b);
	bool	   *ataken = palloc0(a->count);
	bool	   *btaken = palloc0(b->count);
	int			common = 0;
	int			i = 0;
	int			j = 0;

	while (i < a->count && j < b->count)
	{
		if (aplaces[i] + window < bplaces[j])
			i++;
		else if (bplaces[j] + window < aplaces[i])
			j++;
		else
		{
			ataken[(uint32) aplaces[i++]] = true;
			btaken[(uint32) bplaces[j++]] = true;
			common++;
		}
	}
	*different = 0;
	i = j = 0;
	for (int n = 0; n < common; n++)
	{
		while (!ataken[i])
			i++;
		while (!btaken[j])
			j++;
		*different += a->codes[i++] != b->codes[j++];
	}
	pfree(aplaces);
	pfree(bplaces);
	pfree(ataken);
	pfree(btaken);
	return common;
}

/*
 * Jaro's similarity, with Winkler's bonus for a common prefix.  No branches:
 * the processor could not foresee them.
 */
static inline Fraction
jaro_winkler_fraction(int alength, int blength, int common, int different, int prefix)
{
	int64		product = (int64) alength * blength;
	int64		n = (int64) common * common * (alength + blength) +
		(common - different / 2) * product;
	int64		d = 3 * product * common + (common == 0);
	int64		bonus = BONUS_PARTS * n > BONUS_ABOVE * d ? prefix : 0;

	return (Fraction) { BONUS_PARTS * n + bonus * (d - n), BONUS_PARTS * d };
}

static inline Fraction
jaro_winkler_bytes(const Bytes *s)
{
	int			longest = Min(Min(s->alength, s->blength), PREFIX_LENGTH);
	int			prefix = 0;
	int			different;
	int			common = jaro_common(s, &different);

	while (prefix < longest && s->a[prefix] == s->b[prefix])
		prefix++;
	return jaro_winkler_fraction(s->alength, s->blength, common, different, prefix);
}

static Fraction
jaro_winkler_long(const Characters *a, const Characters *b)
{
	int			longest = Min(Min(a->count, b->count), PREFIX_LENGTH);
	int			prefix = 0;
	int			different;
	int			common = jaro_common_long(a, b, &different);

	while (prefix < longest && a->codes[prefix] == b->codes[prefix])
		prefix++;
	return jaro_winkler_fraction(a->count, b->count, common, different, prefix);
}

static pg_noinline Fraction
jaro_winkler_characters(const char *a, int alength, const char *b, int blength)
{
	Characters	acharacters;
	Characters	bcharacters;
	Fraction	result;

	read_characters(&acharacters, a, alength);
	read_characters(&bcharacters, b, blength);
	if (are_short(&acharacters, &bcharacters))
	{
		Bytes		bytes;

		number_characters(&bytes, &acharacters, &bcharacters);
		result = jaro_winkler_bytes(&bytes);
	}
	else
		result = jaro_winkler_long(&acharacters, &bcharacters);
	free_characters(&acharacters);
	free_characters(&bcharacters);
	return result;
}

#ifdef __SSE2__
/* ---------- Strings that fit into a register ---------- */

typedef struct JaroState
{
	uint32		window;			/* bits 0 to twice the window, moved on with each character */
	uint32		ataken;
	uint32		btaken;			/* and what lies behind b */
	uint32		crossed;		/* places of b taken before one to their left was */
} JaroState;

/* The next 8 characters of a. */
static inline void
jaro_eight(JaroState *state, const uint32 *places, int window, int from)
{
	for (int i = 0; i < 8; i++)
	{
		uint32		candidates = places[i] & state->window >> window & ~state->btaken;
		uint32		first = candidates & -candidates;

		state->crossed |= state->btaken & -first;
		state->btaken |= first;
		state->ataken |= (uint32) (first != 0) << (from + i);
		state->window <<= 1;
	}
}

/* As jaro_common. */
static inline int
jaro_common_register(__m128i a, int alength, __m128i b, int blength, int *different)
{
	int			window = jaro_window(alength, blength);
	uint32		inside = ((uint32) 1 << blength) - 1;
	JaroState	state = { ((uint32) 2 << 2 * window) - 1, 0, ~inside, 0 };
	uint32		places[REGISTER_LENGTH];

	find_eight(_mm_unpacklo_epi8(a, a), b, places);
	jaro_eight(&state, places, window, 0);
	if (alength > 8)
	{
		find_eight(_mm_unpackhi_epi8(a, a), b, places + 8);
		jaro_eight(&state, places + 8, window, 8);
	}
	state.btaken &= inside;
	*different = 0;
	if (state.crossed & inside)
	{
		uint32		ataken = state.ataken;

		for (uint32 btaken = state.btaken; btaken != 0; btaken &= btaken - 1)
		{
			*different += (places[pg_rightmost_one_pos32(ataken)] & btaken & -btaken) == 0;
			ataken &= ataken - 1;
		}
	}
	return count_bits(state.btaken);
}

static inline Fraction
jaro_winkler_register(__m128i a, int alength, __m128i b, int blength)
{
	uint32		equal = equal_bytes(a, b);
	int			prefix = pg_rightmost_one_pos32(~equal | 1 << PREFIX_LENGTH);
	int			common;
	int			different;

	if (equal == 0xFFFF && alength == blength)
		return (Fraction) { 1, 1 };
	put_shorter_first(&a, alength, &b, blength);
	common = jaro_common_register(a, Min(alength, blength), b, Max(alength, blength), &different);
	return jaro_winkler_fraction(alength, blength, common, different, prefix);
}
#endif							/* __SSE2__ */

static inline Fraction
jaro_winkler_of(const char *a, int alength, const char *b, int blength)
{
	Bytes		bytes;

#ifdef __SSE2__
	if (alength <= REGISTER_LENGTH && blength <= REGISTER_LENGTH)
	{
		__m128i		aregister = load_register(a, alength);
		__m128i		bregister = load_register(b, blength);

		if (is_ascii_register(_mm_or_si128(aregister, bregister)))
			return jaro_winkler_register(aregister, alength, bregister, blength);
	}
#endif
	if (alength == blength && memcmp(a, b, alength) == 0)
		return (Fraction) { 1, 1 };
	if (bytes_as_they_stand(&bytes, a, alength, b, blength))
		return jaro_winkler_bytes(&bytes);
	return jaro_winkler_characters(a, alength, b, blength);
}

/* In millionths, rounded down. */
static inline int
millionths(Fraction f)
{
	int			result = 0;

	/* a quotient that is no whole number is further from one than a double's error */
	if (f.denominator < 10 * INT64CONST(3) * SHORT_LENGTH * SHORT_LENGTH * SHORT_LENGTH + 1)
		return (int) ((double) (f.numerator * STRING_ONE) / (double) f.denominator);

	/* digit by digit, which does not overflow */
	for (int unit = STRING_ONE; unit > 0; unit /= 10)
	{
		result += (int) (f.numerator / f.denominator) * unit;
		f.numerator = f.numerator % f.denominator * 10;
	}
	return result;
}

int
string_jaro_winkler(const char *a, int alength, const char *b, int blength)
{
	return millionths(jaro_winkler_of(a, alength, b, blength));
}

Datum
jaro_winkler(PG_FUNCTION_ARGS)
{
	text	   *a = PG_GETARG_TEXT_PP(0);
	text	   *b = PG_GETARG_TEXT_PP(1);
	Fraction	f = jaro_winkler_of(VARDATA_ANY(a), VARSIZE_ANY_EXHDR(a),
									VARDATA_ANY(b), VARSIZE_ANY_EXHDR(b));

	PG_RETURN_FLOAT8((double) f.numerator / (double) f.denominator);
}

/* ---------- Letters, and a bound ---------- */

/* The bit of each ASCII character in string_letters(). */
static inline uint32
letter_bit(uint8 c)
{
	uint8		letter = (c | 0x20) - 'a';

	if (letter < 26)
		return (uint32) 1 << letter;
	if (c >= '0' && c <= '9')
		return (uint32) 1 << (26 + (c - '0') / 2);
	return (uint32) 1 << 31;
}

uint32
string_letters(const char *text, int length)
{
	uint32		letters = 0;

	for (int i = 0; i < length; i++)
		letters |= letter_bit((uint8) text[i]);
	return letters;
}

/* A whole divided by up to so many is looked up. */
#define PARTS				128

/* STRING_ONE / parts, rounded up. */
static inline int
part(int parts)
{
	static int	table[PARTS];

	if (unlikely(parts >= PARTS))
		return (STRING_ONE + parts - 1) / parts;
	if (unlikely(table[1] == 0))
	{
		for (int i = 1; i < PARTS; i++)
			table[i] = (STRING_ONE + i - 1) / i;
	}
	return table[parts];
}

/* All roundings are upwards: the bound may be a few millionths more than it need be. */
int
string_jaro_winkler_bound(uint32 aletters, int alength, uint32 bletters, int blength)
{
	int			common = Min(alength - count_bits(aletters & ~bletters),
							 blength - count_bits(bletters & ~aletters));
	int			prefix = Min(common, PREFIX_LENGTH);
	int			jaro;

	if (common <= 0)
		return alength == 0 && blength == 0 ? STRING_ONE : 0;
	jaro = (int) (((int64) common * (part(alength) + part(blength)) + STRING_ONE + 2) / 3);
	if (jaro >= STRING_ONE / BONUS_PARTS * BONUS_ABOVE)
		jaro += ((STRING_ONE - jaro) * prefix + BONUS_PARTS - 1) / BONUS_PARTS;
	return Min(jaro, STRING_ONE);
}
