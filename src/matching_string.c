/*-------------------------------------------------------------------------
 *
 * matching_string.c
 *		How alike two strings are: Jaro-Winkler, and optimal string alignment.
 *
 * Both measures look at characters only to ask whether two are the same.  So
 * a short string becomes an array of bytes, one per character: ASCII, and any
 * single-byte encoding, is one already; other characters are numbered as they
 * come.  A bit mask per byte then tells where in one string it stands, and 64
 * places are looked at in one step.  Most names are ASCII and fit into a
 * register, which gives the masks without any table.  Strings of more than 64
 * characters take a slower path without masks.
 *
 * Nothing is rounded before the last step: Jaro's fraction is kept in integers,
 * which decide about Winkler's bonus.
 *
 * IDENTIFICATION
 *		src/matching_string.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "compat.h"
#include "errors.h"
#include "matching_string.h"

/* Characters of a string that takes the fast path, at most: bits of a mask */
#define SHORT_LENGTH		64

/* Characters of any string, at most: its cube still fits into Jaro's fraction */
#define MAX_LENGTH			100000

/* Winkler's constants: the bonus is for strings more alike than 7/10, 1/10 per character */
#define PREFIX_LENGTH		4
#define BONUS_PARTS			10
#define BONUS_ABOVE			7

typedef struct Fraction
{
	int64		numerator;
	int64		denominator;
} Fraction;

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

/*
 * Where each byte stands in the string at hand.  All zero between calls:
 * clearing what was set is much cheaper than clearing everything.
 */
static uint64 masks[UCHAR_MAX + 1];

PG_FUNCTION_INFO_V1(jaro_winkler);
PG_FUNCTION_INFO_V1(damerau_levenshtein);
PG_FUNCTION_INFO_V1(double_metaphone_keys);

/* ---------- Characters ---------- */

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

/*
 * Bytes of the first character, never more than there are.  What is no valid
 * text of the encoding is read as some characters or others.
 */
static inline int
character_length(const char *text, int remaining)
{
	if (!IS_HIGHBIT_SET(*text) || remaining == 1)
		return 1;
	return Min(pg_mblen(text), remaining);
}

static int
count_characters(const char *text, int length)
{
	int			count = 0;

	while (length > 0)
	{
		int			bytes = character_length(text, length);

		text += bytes;
		length -= bytes;
		count++;
	}
	return count;
}

static void
read_characters(Characters *result, const char *text, int length)
{
	int			count = length;

	if (length > SHORT_LENGTH)
		count = count_characters(text, length);
	if (count > MAX_LENGTH)
		ereport(ERROR,
				(errcode(ERRCODE_RF_INVALID_ARGUMENT),
				 errmsg("string is too long to be compared"),
				 errdetail("It has %d characters; %d are the most.", count, MAX_LENGTH),
				 errhint("Compare names, not documents; left(string, %d) is the beginning.", MAX_LENGTH)));
	result->codes = result->fixed;
	if (count > SHORT_LENGTH)
		result->codes = palloc(count * sizeof(uint32));
	result->count = 0;
	while (length > 0)
	{
		int			bytes = character_length(text, length);
		uint32		code = 0;

		for (int i = 0; i < bytes; i++)
			code = code << 8 | (uint8) text[i];
		result->codes[result->count++] = code;
		text += bytes;
		length -= bytes;
	}
}

static void
free_characters(Characters *characters)
{
	if (characters->codes != characters->fixed)
		pfree(characters->codes);
}

/* The number of a character among those seen, by open addressing; there are at most 128. */
static inline uint8
number_of(uint32 code, uint32 *seen)
{
	uint8		number = (uint8) code;

	/* no character is 0 */
	while (seen[number] != 0 && seen[number] != code)
		number++;
	seen[number] = code;
	return number;
}

static void
number_characters(Bytes *bytes, const Characters *a, const Characters *b)
{
	uint32		seen[UCHAR_MAX + 1] = { 0 };

	for (int i = 0; i < a->count; i++)
		bytes->aroom[i] = number_of(a->codes[i], seen);
	for (int i = 0; i < b->count; i++)
		bytes->broom[i] = number_of(b->codes[i], seen);
	bytes->a = bytes->aroom;
	bytes->b = bytes->broom;
	bytes->alength = a->count;
	bytes->blength = b->count;
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

/* ---------- Jaro-Winkler ---------- */

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

/* As jaro_common, for strings of any length. */
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
		else if (aplaces[i] >> 32 != bplaces[j] >> 32)
			aplaces[i] < bplaces[j] ? i++ : j++;
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

/* Jaro's similarity, with Winkler's bonus for a common prefix.  No branches: nobody could foresee them. */
static inline Fraction
jaro_winkler_fraction(int alength, int blength, int common, int different, int prefix)
{
	int64		product = (int64) alength * blength;
	int64		n = (int64) common * common * (alength + blength) + (common - different / 2) * product;
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
	if (acharacters.count <= SHORT_LENGTH && bcharacters.count <= SHORT_LENGTH)
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

/* Exchanges two strings if the first one is longer, without a branch that nobody could foresee. */
static inline void
put_shorter_first(__m128i *a, int alength, __m128i *b, int blength)
{
	__m128i		exchange = _mm_and_si128(_mm_xor_si128(*a, *b), _mm_set1_epi32(-(alength > blength)));

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

typedef struct JaroState
{
	uint32		window;			/* bits from 0 to twice the window, moved to the character at hand */
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

		if (_mm_movemask_epi8(_mm_or_si128(aregister, bregister)) == 0)
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

int
string_jaro_winkler_bound(uint32 aletters, int alength, uint32 bletters, int blength)
{
	int			common = Min(alength - count_bits(aletters & ~bletters),
							 blength - count_bits(bletters & ~aletters));

	if (alength == 0 && blength == 0)
		return STRING_ONE;
	if (common <= 0)
		return 0;
	return millionths(jaro_winkler_fraction(alength, blength, common, 0, Min(common, PREFIX_LENGTH)));
}

/* ---------- Optimal string alignment ---------- */

/*
 * A column of the distance matrix: bits are differences between neighbours.
 * The last row is bit 63; rows that a short string leaves over lie above the
 * first one, and are all like the row that stands for the empty string.
 */
typedef struct Column
{
	uint64		up;				/* one more than the cell above */
	uint64		down;			/* one less */
	uint64		zero;			/* the same as the cell above to the left */
	uint64		before;			/* equal of the column before */
} Column;

static inline Column
first_column(int unused)
{
	return (Column) { ~UINT64CONST(0) << unused, 0, 0, 0 };
}

/*
 * The next column, for a character of b that is equal to a's in these places,
 * by Hyyrö's recurrence ("A bit-vector algorithm for computing Levenshtein and
 * Damerau edit distances", 2003).  Returns by how much the distance grows.
 */
static inline int
next_column(Column *column, uint64 equal)
{
	uint64		transposed = (~column->zero & equal) << 1 & column->before;
	uint64		zero = (((equal & column->up) + column->up) ^ column->up) | (equal | column->down | transposed);
	uint64		not_right = ~column->down & (zero | column->up);
	uint64		left = zero & column->up;

	/* each column waits for up of the one before: the shortest way there counts */
	column->up = left << 1 | (~zero & not_right << 1);
	column->down = ~(not_right << 1) & zero;
	column->zero = zero;
	column->before = equal;
	return (int) (~not_right >> 63) - (int) (left >> 63);
}

static int
alignment_bytes(const Bytes *s, int max)
{
	int			unused = SHORT_LENGTH - s->alength;
	Column		column = first_column(unused);
	int			distance = s->alength;

	for (int i = 0; i < s->alength; i++)
		masks[s->a[i]] |= UINT64CONST(1) << (unused + i);
	for (int j = 0; j < s->blength; j++)
		distance += next_column(&column, masks[s->b[j]]);
	for (int i = 0; i < s->alength; i++)
		masks[s->a[i]] = 0;
	return distance > max ? max + 1 : distance;
}

#ifdef __SSE2__
/* b is the shorter one, and is not empty. */
static inline int
alignment_register(__m128i a, int alength, __m128i b, int blength)
{
	int			unused = SHORT_LENGTH - alength;
	Column		column = first_column(unused);
	uint32		places[REGISTER_LENGTH];
	int			distance = alength;

	find_eight(_mm_unpacklo_epi8(b, b), a, places);
	if (blength > 8)
		find_eight(_mm_unpackhi_epi8(b, b), a, places + 8);

	for (int j = 0; j < blength; j++)
		distance += next_column(&column, (uint64) places[j] << unused);
	return distance;
}
#endif							/* __SSE2__ */

/*
 * Row by row, within a band of max cells on both sides of the diagonal: what
 * lies outside costs more than max.  Three rows take turns.
 */
static int
alignment_long(const uint32 *a, int alength, const uint32 *b, int blength, int max)
{
	int		   *room = palloc(3 * (blength + 1) * sizeof(int));
	int		   *above2 = room;
	int		   *above = room + (blength + 1);
	int		   *row = above + (blength + 1);
	int			least = 0;
	int			result = max + 1;

	for (int j = 0; j <= blength; j++)
		above[j] = j;
	for (int i = 1; i <= alength && least <= max; i++)
	{
		int			from = Max(1, i - max);
		int			to = Min(blength, i + max);
		int		   *rotated = above2;

		CHECK_FOR_INTERRUPTS();
		row[from - 1] = from == 1 ? i : max + 1;
		least = row[from - 1];
		for (int j = from; j <= to; j++)
		{
			int			best = above[j - 1] + (a[i - 1] != b[j - 1]);

			best = Min(best, row[j - 1] + 1);
			best = Min(best, above[j] + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				best = Min(best, above2[j - 2] + 1);
			row[j] = best;
			least = Min(least, best);
		}
		/* the next row's band ends one cell further */
		if (to < blength)
			row[to + 1] = max + 1;
		above2 = above;
		above = row;
		row = rotated;
	}
	if (least <= max)
		result = Min(result, above[blength]);
	pfree(room);
	return result;
}

static int
alignment_characters(const char *a, int alength, const char *b, int blength, int max)
{
	Characters	acharacters;
	Characters	bcharacters;
	int			result;

	read_characters(&acharacters, a, alength);
	read_characters(&bcharacters, b, blength);
	max = Min(max, Max(acharacters.count, bcharacters.count));
	if (abs(acharacters.count - bcharacters.count) > max)
		result = max + 1;
	else if (acharacters.count == 0 || bcharacters.count == 0)
		result = Max(acharacters.count, bcharacters.count);
	else if (acharacters.count <= SHORT_LENGTH && bcharacters.count <= SHORT_LENGTH)
	{
		Bytes		bytes;

		number_characters(&bytes, &acharacters, &bcharacters);
		result = alignment_bytes(&bytes, max);
	}
	else
		result = alignment_long(acharacters.codes, acharacters.count,
								bcharacters.codes, bcharacters.count, max);
	free_characters(&acharacters);
	free_characters(&bcharacters);
	return result;
}

int
string_damerau_levenshtein(const char *a, int alength, const char *b, int blength, int max)
{
	int			longest = Max(alength, blength);
	Bytes		bytes;

	Assert(max >= 0);
	max = Min(max, longest);
#ifdef __SSE2__
	if (longest <= REGISTER_LENGTH)
	{
		__m128i		aregister = load_register(a, alength);
		__m128i		bregister = load_register(b, blength);
		int			distance;

		if (_mm_movemask_epi8(_mm_or_si128(aregister, bregister)) == 0)
		{
			if (abs(alength - blength) > max)
				return max + 1;
			if (alength == 0 || blength == 0)
				return longest;
			put_shorter_first(&bregister, blength, &aregister, alength);
			distance = alignment_register(aregister, longest, bregister, Min(alength, blength));
			return Min(distance, max + 1);
		}
	}
#endif
	if (alength == blength && memcmp(a, b, alength) == 0)
		return 0;
	if (!bytes_as_they_stand(&bytes, a, alength, b, blength))
		return alignment_characters(a, alength, b, blength, max);
	if (abs(alength - blength) > max)
		return max + 1;
	if (alength == 0 || blength == 0)
		return longest;
	return alignment_bytes(&bytes, max);
}

Datum
damerau_levenshtein(PG_FUNCTION_ARGS)
{
	text	   *a = PG_GETARG_TEXT_PP(0);
	text	   *b = PG_GETARG_TEXT_PP(1);
	int			max = PG_GETARG_INT32(2);

	if (max < 0)
		ereport(ERROR,
				(errcode(ERRCODE_RF_INVALID_ARGUMENT),
				 errmsg("the largest distance must not be negative"),
				 errdetail("It is %d.", max),
				 errhint("Give 0 or more, or leave it out for the exact distance.")));
	PG_RETURN_INT32(string_damerau_levenshtein(VARDATA_ANY(a), VARSIZE_ANY_EXHDR(a),
											   VARDATA_ANY(b), VARSIZE_ANY_EXHDR(b), max));
}

/* ---------- Double metaphone: matching_metaphone.c ---------- */

Datum
double_metaphone_keys(PG_FUNCTION_ARGS)
{
	text	   *name = PG_GETARG_TEXT_PP(0);
	Metaphone	keys;
	Datum		elements[2];
	int			count = 0;

	string_double_metaphone(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), &keys);
	if (keys.primary[0] != '\0')
		elements[count++] = CStringGetTextDatum(keys.primary);
	if (keys.secondary[0] != '\0')
		elements[count++] = CStringGetTextDatum(keys.secondary);
	PG_RETURN_ARRAYTYPE_P(construct_array(elements, count, TEXTOID, -1, false, TYPALIGN_INT));
}
