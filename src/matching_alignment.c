/*-------------------------------------------------------------------------
 *
 * matching_alignment.c
 *		How many typing errors lie between two strings: optimal string alignment.
 *
 * IDENTIFICATION
 *		src/matching_alignment.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "miscadmin.h"

#include "compat.h"
#include "errors.h"
#include "matching_characters.h"
#include "matching_string.h"

/* Where each byte stands in a; all zero between calls. */
static uint64 masks[UCHAR_MAX + 1];

PG_FUNCTION_INFO_V1(damerau_levenshtein);

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
	uint64		carried = ((equal & column->up) + column->up) ^ column->up;
	uint64		zero = carried | (equal | column->down | transposed);
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
	else if (are_short(&acharacters, &bcharacters))
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

		if (is_ascii_register(_mm_or_si128(aregister, bregister)))
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
