/*-------------------------------------------------------------------------
 *
 * matching_characters.c
 *		Strings as arrays of numbers, one per character.
 *
 * IDENTIFICATION
 *		src/matching_characters.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "compat.h"
#include "errors.h"
#include "matching_characters.h"

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

void
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
				 errhint("Compare names, not documents; left(string, %d) is the beginning.",
						 MAX_LENGTH)));
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

void
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

void
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
