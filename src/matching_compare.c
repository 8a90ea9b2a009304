/*-------------------------------------------------------------------------
 *
 * matching_compare.c
 *		Two records compared, field by field.
 *
 * Of a field that may have several values the best pair counts.  What one of
 * both does not know, and values that mean nothing (placeholders), are no
 * evidence either way.
 *
 * IDENTIFICATION
 *		src/matching_compare.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "port/pg_bitutils.h"

#include "matching_compare.h"
#include "matching_string.h"

/* Jaro-Winkler, in millionths */
#define CLOSE_JARO_WINKLER		920000
#define SIMILAR_JARO_WINKLER	840000

/* One letter wrong is close from this length on. */
#define CLOSE_LENGTH			4
#define PART_LENGTH				3

typedef enum Likeness
{
	LIKE_DIFFERENT,
	LIKE_SIMILAR,
	LIKE_CLOSE,
	LIKE_EXACT
} Likeness;

static inline bool
same_text(const Demographics *a, const DemographicsItem *x,
		  const Demographics *b, const DemographicsItem *y)
{
	return x->letters == y->letters && x->length == y->length &&
		memcmp(demographics_text(a, x), demographics_text(b, y), x->length) == 0;
}

/*
 * One edit at most?  What is left between the start and the end that two texts
 * share is then a character of one, or one of each, or two exchanged.
 */
static bool
within_one_edit(const char *a, int alength, const char *b, int blength)
{
	const char *aend = a + alength;
	const char *bend = b + blength;

	while (a < aend && b < bend && *a == *b)
		a++, b++;
	while (a < aend && b < bend && aend[-1] == bend[-1])
		aend--, bend--;
	if (aend - a <= 1 && bend - b <= 1)
		return true;
	return aend - a == 2 && bend - b == 2 && a[0] == b[1] && a[1] == b[0];
}

/* Is the distance of two texts no more than max (1 or 2)?  Each edit takes a letter away, or adds one, or both. */
static inline bool
within_edits(const char *a, int alength, uint32 aletters,
			 const char *b, int blength, uint32 bletters, int max)
{
	if (pg_popcount32(aletters ^ bletters) > 2 * max || abs(alength - blength) > 4 * max)
		return false;
	/* bit 31: there may be characters of several bytes */
	if (max == 1 && ((aletters | bletters) >> 31) == 0)
		return within_one_edit(a, alength, b, blength);
	return string_damerau_levenshtein(a, alength, b, blength, max) <= max;
}

static inline bool
items_within_edits(const Demographics *a, const DemographicsItem *x,
				   const Demographics *b, const DemographicsItem *y, int max)
{
	return within_edits(demographics_text(a, x), x->length, x->letters,
						demographics_text(b, y), y->length, y->letters, max);
}

static Likeness
likeness(const Demographics *a, const DemographicsItem *x,
		 const Demographics *b, const DemographicsItem *y)
{
	const char *atext = demographics_text(a, x);
	const char *btext = demographics_text(b, y);
	int			shorter = Min(x->length, y->length);
	int			jaro_winkler;

	if (same_text(a, x, b, y))
		return LIKE_EXACT;
	if (shorter < 2 ||
		string_jaro_winkler_bound(x->letters, x->length, y->letters, y->length) < SIMILAR_JARO_WINKLER)
		return LIKE_DIFFERENT;
	jaro_winkler = string_jaro_winkler(atext, x->length, btext, y->length);
	if (jaro_winkler >= CLOSE_JARO_WINKLER ||
		(jaro_winkler >= SIMILAR_JARO_WINKLER && shorter >= CLOSE_LENGTH &&
		 items_within_edits(a, x, b, y, 1)))
		return LIKE_CLOSE;
	return jaro_winkler >= SIMILAR_JARO_WINKLER ? LIKE_SIMILAR : LIKE_DIFFERENT;
}

/* The best likeness of any item of two kinds. */
static Likeness
best_likeness(const Demographics *a, DemographicsKind akind, const Demographics *b,
			  DemographicsKind bkind, int min_length)
{
	const DemographicsItem *x = demographics_items(a, akind);
	const DemographicsItem *y = demographics_items(b, bkind);
	int			nx = demographics_count(a, akind);
	int			ny = demographics_count(b, bkind);
	Likeness	best = LIKE_DIFFERENT;

	for (int i = 0; i < nx; i++)
		for (int j = 0; j < ny; j++)
			if (x[i].length >= min_length && y[j].length >= min_length)
			{
				Likeness	like = likeness(a, x + i, b, y + j);

				best = Max(best, like);
			}
	return best;
}

static inline bool
means_nothing(const MatchDictionary *dictionary, DemographicsKind kind, const char *text,
			  int length, uint32 letters)
{
	return match_filter_has(&dictionary->placeholders, match_filter_bit(letters, length, kind)) &&
		matching_is_placeholder(dictionary, kind, text, length);
}

/* The item of a single-valued kind, unless it is unknown or means nothing. */
static const DemographicsItem *
known(const MatchDictionary *dictionary, const Demographics *d, DemographicsKind kind)
{
	const DemographicsItem *item = demographics_items(d, kind);

	if (demographics_count(d, kind) == 0 ||
		means_nothing(dictionary, kind == DEMO_MIDDLE ? DEMO_GIVEN : kind, demographics_text(d, item),
					  item->length, item->letters))
		return NULL;
	return item;
}

/* ---------- Names ---------- */

static inline bool
is_prefix(const Demographics *a, const DemographicsItem *x,
		  const Demographics *b, const DemographicsItem *y, int min_length)
{
	int			shorter = Min(x->length, y->length);

	return shorter >= min_length &&
		memcmp(demographics_text(a, x), demographics_text(b, y), shorter) == 0;
}

/* Does a name of b, other than its first, say the same as a's first name? */
static Likeness
other_given(const Demographics *a, const Demographics *b)
{
	static const DemographicsKind kinds[] = { DEMO_GIVEN_PART, DEMO_MIDDLE, DEMO_ALIAS };
	Likeness	best = LIKE_DIFFERENT;

	for (int i = 0; i < lengthof(kinds) && best < LIKE_EXACT; i++)
		if (demographics_count(b, kinds[i]) > 0)
		{
			Likeness	like = best_likeness(a, DEMO_GIVEN, b, kinds[i], PART_LENGTH);

			best = Max(best, like);
		}
	return best;
}

static int
given_level(const MatchDictionary *dictionary, const Demographics *a, const DemographicsItem *x,
			const Demographics *b, const DemographicsItem *y)
{
	Likeness	like = likeness(a, x, b, y);
	Likeness	other;

	if (like == LIKE_EXACT)
		return GIVEN_EXACT;
	if (x->length == 1 || y->length == 1)
	{
		if (is_prefix(a, x, b, y, 1))
			return GIVEN_INITIAL;
	}
	else if (matching_is_nickname(dictionary, a, x, b, y))
		return GIVEN_NICKNAME;
	other = Max(other_given(a, b), other_given(b, a));
	if (demographics_count(a, DEMO_GIVEN_PART) > 0 && demographics_count(b, DEMO_GIVEN_PART) > 0)
	{
		Likeness	part = best_likeness(a, DEMO_GIVEN_PART, b, DEMO_GIVEN_PART, PART_LENGTH);

		other = Max(other, part);
	}
	if (other == LIKE_EXACT)
		return GIVEN_PART;
	if (like == LIKE_CLOSE || is_prefix(a, x, b, y, PART_LENGTH))
		return GIVEN_CLOSE;
	return like == LIKE_SIMILAR || other == LIKE_CLOSE ? GIVEN_SIMILAR : GIVEN_DIFFERENT;
}

static Likeness
family_parts(const Demographics *a, const Demographics *b)
{
	static const DemographicsKind kinds[] = { DEMO_FAMILY, DEMO_FAMILY_PART };
	Likeness	best = LIKE_DIFFERENT;

	if (demographics_count(a, DEMO_FAMILY_PART) + demographics_count(b, DEMO_FAMILY_PART) == 0)
		return LIKE_DIFFERENT;
	for (int i = 0; i < lengthof(kinds); i++)
		for (int j = 0; j < lengthof(kinds); j++)
			if (i + j > 0)
			{
				Likeness	like = best_likeness(a, kinds[i], b, kinds[j], PART_LENGTH);

				best = Max(best, like);
			}
	return best;
}

static Likeness
family_previous(const Demographics *a, const Demographics *b)
{
	static const DemographicsKind kinds[] = { DEMO_PREVIOUS, DEMO_PREVIOUS_PART };
	Likeness	best = LIKE_DIFFERENT;

	for (int i = 0; i < lengthof(kinds); i++)
	{
		Likeness	like;

		if (demographics_count(a, kinds[i]) > 0)
		{
			like = best_likeness(a, kinds[i], b, DEMO_FAMILY, PART_LENGTH);
			best = Max(best, like);
			like = best_likeness(a, kinds[i], b, DEMO_FAMILY_PART, PART_LENGTH);
			best = Max(best, like);
			like = best_likeness(a, kinds[i], b, DEMO_PREVIOUS, PART_LENGTH);
			best = Max(best, like);
		}
		if (demographics_count(b, kinds[i]) > 0)
		{
			like = best_likeness(a, DEMO_FAMILY, b, kinds[i], PART_LENGTH);
			best = Max(best, like);
			like = best_likeness(a, DEMO_FAMILY_PART, b, kinds[i], PART_LENGTH);
			best = Max(best, like);
		}
	}
	return best;
}

static int
family_level(const Demographics *a, const DemographicsItem *x,
			 const Demographics *b, const DemographicsItem *y)
{
	Likeness	like = likeness(a, x, b, y);
	Likeness	previous;
	Likeness	part;

	if (like == LIKE_EXACT)
		return FAMILY_EXACT;
	previous = family_previous(a, b);
	if (previous >= LIKE_CLOSE)
		return FAMILY_PREVIOUS;
	part = family_parts(a, b);
	if (part == LIKE_EXACT)
		return FAMILY_PART_SAME;
	if (like == LIKE_CLOSE)
		return FAMILY_CLOSE;
	return like == LIKE_SIMILAR || part == LIKE_CLOSE ? FAMILY_SIMILAR : FAMILY_DIFFERENT;
}

/* Given where the family name should be, in one of both. */
static void
compare_swapped(const Demographics *a, const DemographicsItem *given_a, const DemographicsItem *family_a,
				const Demographics *b, const DemographicsItem *given_b, const DemographicsItem *family_b,
				MatchComparison *result)
{
	Likeness	there = likeness(a, given_a, b, family_b);
	Likeness	back = likeness(a, family_a, b, given_b);

	if (Max(there, back) < LIKE_CLOSE)
		return;
	if (Min(there, back) >= LIKE_SIMILAR && result->level[FIELD_GIVEN] >= GIVEN_SIMILAR)
		result->level[FIELD_GIVEN] = GIVEN_SWAPPED;
	else if (result->level[FIELD_GIVEN] < GIVEN_SIMILAR)
		return;
	result->level[FIELD_FAMILY] = FAMILY_SWAPPED;
}

static void
compare_names(const MatchDictionary *dictionary, const Demographics *a, const Demographics *b,
			  MatchComparison *result)
{
	const DemographicsItem *ag = known(dictionary, a, DEMO_GIVEN);
	const DemographicsItem *af = known(dictionary, a, DEMO_FAMILY);
	const DemographicsItem *bg = known(dictionary, b, DEMO_GIVEN);
	const DemographicsItem *bf = known(dictionary, b, DEMO_FAMILY);

	if (ag && bg)
	{
		result->level[FIELD_GIVEN] = given_level(dictionary, a, ag, b, bg);
		result->a[FIELD_GIVEN] = ag;
		result->b[FIELD_GIVEN] = bg;
	}
	if (af && bf)
	{
		result->level[FIELD_FAMILY] = family_level(a, af, b, bf);
		result->a[FIELD_FAMILY] = af;
		result->b[FIELD_FAMILY] = bf;
	}
	if (ag && af && bg && bf && result->level[FIELD_FAMILY] >= FAMILY_SIMILAR)
		compare_swapped(a, ag, af, b, bg, bf, result);
}

static void
compare_middle(const MatchDictionary *dictionary, const Demographics *a, const Demographics *b,
			   MatchComparison *result)
{
	const DemographicsItem *x = known(dictionary, a, DEMO_MIDDLE);
	const DemographicsItem *y = known(dictionary, b, DEMO_MIDDLE);
	Likeness	like;

	/* a first name that is the other's middle name was counted there */
	if (!x || !y || result->level[FIELD_GIVEN] == GIVEN_PART ||
		result->level[FIELD_GIVEN] == GIVEN_SWAPPED)
		return;
	result->a[FIELD_MIDDLE] = x;
	result->b[FIELD_MIDDLE] = y;
	like = best_likeness(a, DEMO_MIDDLE, b, DEMO_MIDDLE, 1);
	if (like == LIKE_EXACT)
		result->level[FIELD_MIDDLE] = Min(x->length, y->length) == 1 ? MIDDLE_INITIAL : MIDDLE_EXACT;
	else if ((x->length == 1 || y->length == 1) && is_prefix(a, x, b, y, 1))
		result->level[FIELD_MIDDLE] = MIDDLE_INITIAL;
	else
		result->level[FIELD_MIDDLE] = like >= LIKE_SIMILAR ? MIDDLE_SIMILAR : MIDDLE_DIFFERENT;
}

/* A field of one item each, with a level for the same and one for others. */
static void
compare_equal(MatchField field, DemographicsKind kind, int same, int different,
			  const Demographics *a, const Demographics *b, MatchComparison *result)
{
	const DemographicsItem *x = demographics_items(a, kind);
	const DemographicsItem *y = demographics_items(b, kind);

	if (demographics_count(a, kind) == 0 || demographics_count(b, kind) == 0)
		return;
	result->a[field] = x;
	result->b[field] = y;
	result->level[field] = same_text(a, x, b, y) ? same : different;
}

static void
compare_mother(const Demographics *a, const Demographics *b, MatchComparison *result)
{
	Likeness	like;

	if (demographics_count(a, DEMO_MOTHER_MAIDEN) == 0 ||
		demographics_count(b, DEMO_MOTHER_MAIDEN) == 0)
		return;
	result->a[FIELD_MOTHER] = demographics_items(a, DEMO_MOTHER_MAIDEN);
	result->b[FIELD_MOTHER] = demographics_items(b, DEMO_MOTHER_MAIDEN);
	like = best_likeness(a, DEMO_MOTHER_MAIDEN, b, DEMO_MOTHER_MAIDEN, 1);
	result->level[FIELD_MOTHER] = like == LIKE_EXACT ? MOTHER_SAME :
		like >= LIKE_SIMILAR ? MOTHER_SIMILAR : MOTHER_DIFFERENT;
}

/* ---------- Birth date ---------- */

/* How two numbers of so many digits differ: in how many digits, and whether those are two neighbours exchanged. */
static int
digits_different(int a, int b, int ndigits, bool *exchanged)
{
	int			different = 0;
	int			former_a = -1;
	int			former_b = -1;

	for (int i = 0; i < ndigits; i++, a /= 10, b /= 10)
	{
		int			x = a % 10;
		int			y = b % 10;

		if (x != y)
		{
			different++;
			if (former_a >= 0 && x == former_b && y == former_a)
				*exchanged = true;
			former_a = x;
			former_b = y;
		}
		else
			former_a = former_b = -1;
	}
	return different;
}

/* Is each of year, month and day off by a little at most? */
static bool
birth_near(const Demographics *a, const Demographics *b)
{
	int			years = abs(a->birth_year - b->birth_year);
	int			months = abs(a->birth_month - b->birth_month);
	int			days = abs(a->birth_day - b->birth_day);

	return (years <= 1 || years == 10) && (months <= 1 || months == 11) && (days <= 3 || days >= 28);
}

static int
birth_level(const Demographics *a, const Demographics *b)
{
	bool		exchanged = false;
	int			same_parts;
	int			different;

	if (a->birth_month == 0 || b->birth_month == 0)
		return a->birth_year == b->birth_year ? BIRTH_YEAR : BIRTH_DIFFERENT;
	if (a->birth_day == 0 || b->birth_day == 0)
		return a->birth_year == b->birth_year && a->birth_month == b->birth_month ? BIRTH_TWO_PARTS :
			a->birth_year == b->birth_year ? BIRTH_YEAR : BIRTH_DIFFERENT;
	same_parts = (a->birth_year == b->birth_year) + (a->birth_month == b->birth_month) +
		(a->birth_day == b->birth_day);
	if (same_parts == 3)
		return BIRTH_EXACT;
	if (a->birth_year == b->birth_year && a->birth_month == b->birth_day &&
		a->birth_day == b->birth_month)
		return BIRTH_SWAPPED;
	different = digits_different(a->birth_year, b->birth_year, 4, &exchanged) +
		digits_different(a->birth_month, b->birth_month, 2, &exchanged) +
		digits_different(a->birth_day, b->birth_day, 2, &exchanged);
	if (different == 1 || (different == 2 && exchanged))
		return BIRTH_DIGIT;
	if (birth_near(a, b))
		return BIRTH_NEAR;
	if (same_parts == 2)
		return BIRTH_TWO_PARTS;
	return a->birth_year == b->birth_year ? BIRTH_YEAR : BIRTH_DIFFERENT;
}

static void
compare_birth(const MatchDictionary *dictionary, const Demographics *a, const Demographics *b,
			  MatchComparison *result)
{
	BirthMeaning meaning;
	BirthMeaning other;
	int			level;

	if (a->birth_year == 0 || b->birth_year == 0)
		return;
	meaning = matching_birth_meaning(dictionary, a);
	other = matching_birth_meaning(dictionary, b);
	meaning = Min(meaning, other);
	if (meaning == BIRTH_MEANS_NOTHING)
		return;
	level = birth_level(a, b);
	if (meaning == BIRTH_MEANS_YEAR)
	{
		if (a->birth_year != b->birth_year)
			return;
		level = BIRTH_YEAR;
	}
	result->level[FIELD_BIRTH_DATE] = level;
}

static void
compare_birth_order(const Demographics *a, const Demographics *b, MatchComparison *result)
{
	if (a->birth_order != 0 && b->birth_order != 0)
	{
		if (a->birth_order != b->birth_order)
			result->level[FIELD_BIRTH_ORDER] = BIRTH_ORDER_DIFFERENT;
		else if (a->multiple_birth == 2 && b->multiple_birth == 2)
			result->level[FIELD_BIRTH_ORDER] = BIRTH_ORDER_SAME;
	}
	else if (a->multiple_birth == 2 || b->multiple_birth == 2)
		result->level[FIELD_BIRTH_ORDER] = BIRTH_ORDER_UNSURE;
}

/* ---------- Numbers ---------- */

/* 9999999999, 123456789: what people type to get past a field. */
static bool
is_filler(const char *text, int length)
{
	bool		same = true;
	bool		rising = true;

	for (int i = 1; i < length && (same || rising); i++)
	{
		same &= text[i] == text[0];
		rising &= text[i] == text[i - 1] + 1 || (text[i] == '0' && text[i - 1] == '9');
	}
	return same || (rising && length > 3);
}

/*
 * A type of which each person has one number, and each number one person.  The
 * types of a length, one after the other.
 */
static bool
is_national(const char *type, int length)
{
	static const char *const types[] = {
		[2] = "ss" "mc" "ma" "ni" "dl",
		[3] = "ssn" "tax" "mbi" "nhs" "nin" "nid" "nni" "sin" "ppn" "ihi" "bsn" "cpf",
		[4] = "itin" "nino" "curp" "ussn",
		[5] = "usssn" "usmbi" "nnfin",
		[7] = "aadhaar",
		[8] = "medicare" "medicaid" "national" "passport",
		[9] = "nhsnumber",
		[10] = "nationalid",
		[12] = "personnummer",
		[14] = "driverslicense",
		[16] = "birthcertificate"
	};
	const char *candidate;

	if (length == 0)
		return true;			/* not said: taken for one */
	if (length >= lengthof(types) || types[length] == NULL)
		return false;
	for (candidate = types[length]; *candidate; candidate += length)
		if (memcmp(candidate, type, length) == 0)
			return true;
	return false;
}

typedef struct Identifier
{
	const DemographicsItem *item;
	const char *type;
	int			type_length;
	const char *value;
	int			length;
} Identifier;

/* The identifiers of a person that are national ones, or those that are not. */
static int
identifiers_of(const MatchDictionary *dictionary, const Demographics *d, bool national,
			   Identifier *result)
{
	const DemographicsItem *items = demographics_items(d, DEMO_IDENTIFIER);
	int			n = demographics_count(d, DEMO_IDENTIFIER);
	int			found = 0;

	for (int i = 0; i < n; i++)
	{
		const char *text = demographics_text(d, items + i);
		const char *bar = memchr(text, '|', items[i].length);
		int			type_length = bar == NULL ? 0 : bar - text;
		const char *value = bar == NULL ? text : bar + 1;
		int			length = items[i].length - (value - text);

		if (is_national(text, type_length) != national || is_filler(value, length) ||
			means_nothing(dictionary, DEMO_IDENTIFIER, value, length, items[i].letters))
			continue;
		result[found++] = (Identifier) { items + i, text, type_length, value, length };
	}
	return found;
}

static int
identifier_level(const Identifier *x, const Identifier *y)
{
	int			shorter = Min(x->length, y->length);

	if (x->length == y->length && memcmp(x->value, y->value, shorter) == 0)
		return IDENTIFIER_SAME;
	/* the last digits alone, or one digit wrong */
	if (shorter >= 4 && x->length != y->length &&
		memcmp(x->value + x->length - shorter, y->value + y->length - shorter, shorter) == 0)
		return IDENTIFIER_CLOSE;
	if (shorter >= 5 && within_edits(x->value, x->length, x->item->letters,
									 y->value, y->length, y->item->letters, 1))
		return IDENTIFIER_CLOSE;
	return IDENTIFIER_DIFFERENT;
}

static void
compare_identifiers(const MatchDictionary *dictionary, MatchField field, bool national,
					const Demographics *a, const Demographics *b, MatchComparison *result)
{
	Identifier	x[DEMO_MAX_ITEMS];
	Identifier	y[DEMO_MAX_ITEMS];
	int			nx;
	int			ny;
	bool		found[IDENTIFIER_LEVELS] = { false };

	if (demographics_count(a, DEMO_IDENTIFIER) == 0 || demographics_count(b, DEMO_IDENTIFIER) == 0)
		return;
	nx = identifiers_of(dictionary, a, national, x);
	ny = identifiers_of(dictionary, b, national, y);
	for (int i = 0; i < nx; i++)
	{
		int			best = 0;

		for (int j = 0; j < ny; j++)
		{
			int			level;

			if (x[i].type_length > 0 && y[j].type_length > 0 &&
				(x[i].type_length != y[j].type_length ||
				 memcmp(x[i].type, y[j].type, x[i].type_length) != 0))
				continue;		/* numbers of two kinds say nothing about each other */
			level = identifier_level(x + i, y + j);
			if (best != 0 && level >= best)
				continue;
			best = level;
			if (result->level[field] == LEVEL_UNKNOWN || level < result->level[field])
			{
				result->level[field] = level;
				result->a[field] = x[i].item;
				result->b[field] = y[j].item;
			}
		}
		found[best] = true;
	}
	if (found[IDENTIFIER_SAME] && found[IDENTIFIER_DIFFERENT])
		result->level[field] = IDENTIFIER_MIXED;
}

#define PHONE_LOCAL_LENGTH	7

static void
compare_phone(const MatchDictionary *dictionary, const Demographics *a, const Demographics *b,
			  MatchComparison *result)
{
	const DemographicsItem *x = demographics_items(a, DEMO_PHONE);
	const DemographicsItem *y = demographics_items(b, DEMO_PHONE);

	for (int i = 0; i < demographics_count(a, DEMO_PHONE); i++)
	{
		const char *atext = demographics_text(a, x + i);

		if (is_filler(atext, x[i].length) ||
			means_nothing(dictionary, DEMO_PHONE, atext, x[i].length, x[i].letters))
			continue;
		for (int j = 0; j < demographics_count(b, DEMO_PHONE); j++)
		{
			const char *btext = demographics_text(b, y + j);
			int			shorter = Min(x[i].length, y[j].length);
			int			level;

			if (is_filler(btext, y[j].length) ||
				means_nothing(dictionary, DEMO_PHONE, btext, y[j].length, y[j].letters))
				continue;
			if (same_text(a, x + i, b, y + j))
				level = PHONE_SAME;
			else if (shorter >= PHONE_LOCAL_LENGTH &&
					 (memcmp(atext + x[i].length - PHONE_LOCAL_LENGTH,
							 btext + y[j].length - PHONE_LOCAL_LENGTH, PHONE_LOCAL_LENGTH) == 0 ||
					  items_within_edits(a, x + i, b, y + j, 1)))
				level = PHONE_CLOSE;
			else
				level = PHONE_DIFFERENT;
			if (result->level[FIELD_PHONE] == LEVEL_UNKNOWN || level < result->level[FIELD_PHONE])
			{
				result->level[FIELD_PHONE] = level;
				result->a[FIELD_PHONE] = x + i;
				result->b[FIELD_PHONE] = y + j;
			}
		}
	}
}

#define EMAIL_LOCAL_LENGTH	5

/*
 * What is short says little before the @: info of another place is another one.
 * And a.khan is not b.khan.
 */
static int
email_level(const Demographics *a, const DemographicsItem *x,
			const Demographics *b, const DemographicsItem *y)
{
	const char *atext = demographics_text(a, x);
	const char *btext = demographics_text(b, y);
	const char *at = memchr(atext, '@', x->length);
	const char *bt = memchr(btext, '@', y->length);
	int			alocal = at == NULL ? x->length : at - atext;
	int			blocal = bt == NULL ? y->length : bt - btext;
	bool		is_long = Min(alocal, blocal) >= EMAIL_LOCAL_LENGTH;
	bool		same_local = alocal == blocal && memcmp(atext, btext, alocal) == 0;

	if (same_text(a, x, b, y))
		return EMAIL_SAME;
	if (same_local && is_long)
		return EMAIL_CLOSE;
	if (!items_within_edits(a, x, b, y, 2))
		return EMAIL_DIFFERENT;
	return same_local || (is_long && atext[0] == btext[0]) ? EMAIL_CLOSE : EMAIL_SIMILAR;
}

static void
compare_email(const MatchDictionary *dictionary, const Demographics *a, const Demographics *b,
			  MatchComparison *result)
{
	const DemographicsItem *x = demographics_items(a, DEMO_EMAIL);
	const DemographicsItem *y = demographics_items(b, DEMO_EMAIL);

	for (int i = 0; i < demographics_count(a, DEMO_EMAIL); i++)
	{
		const char *atext = demographics_text(a, x + i);

		if (means_nothing(dictionary, DEMO_EMAIL, atext, x[i].length, x[i].letters))
			continue;
		for (int j = 0; j < demographics_count(b, DEMO_EMAIL); j++)
		{
			const char *btext = demographics_text(b, y + j);
			int			level;

			if (means_nothing(dictionary, DEMO_EMAIL, btext, y[j].length, y[j].letters))
				continue;
			level = email_level(a, x + i, b, y + j);
			if (result->level[FIELD_EMAIL] == LEVEL_UNKNOWN || level < result->level[FIELD_EMAIL])
			{
				result->level[FIELD_EMAIL] = level;
				result->a[FIELD_EMAIL] = x + i;
				result->b[FIELD_EMAIL] = y + j;
			}
		}
	}
}

/* ---------- Where they live ---------- */

static int
address_level(const Demographics *a, const DemographicsItem *street_a,
			  const Demographics *b, const DemographicsItem *street_b)
{
	const DemographicsItem *number_a = demographics_items(a, DEMO_STREET_NUMBER);
	const DemographicsItem *number_b = demographics_items(b, DEMO_STREET_NUMBER);
	bool		numbered = demographics_count(a, DEMO_STREET_NUMBER) > 0 &&
		demographics_count(b, DEMO_STREET_NUMBER) > 0;
	bool		same_number = numbered && same_text(a, number_a, b, number_b);
	Likeness	like;

	if (!street_a && !street_b)
		return same_number ? ADDRESS_SAME : ADDRESS_DIFFERENT;	/* post office boxes */
	if (!street_a || !street_b)
		return ADDRESS_DIFFERENT;
	like = likeness(a, street_a, b, street_b);
	if (like == LIKE_EXACT && same_number)
		return ADDRESS_SAME;
	if (like == LIKE_DIFFERENT)
		return ADDRESS_DIFFERENT;
	if (same_number)
		return ADDRESS_CLOSE;
	if (like < LIKE_CLOSE)
		return ADDRESS_DIFFERENT;
	if (!numbered ||
		(Max(number_a->length, number_b->length) > 1 &&
		 items_within_edits(a, number_a, b, number_b, 1)))
		return ADDRESS_CLOSE;
	return ADDRESS_STREET;
}

static void
compare_address(const MatchDictionary *dictionary, const Demographics *a, const Demographics *b,
				MatchComparison *result)
{
	const DemographicsItem *x = known(dictionary, a, DEMO_STREET);
	const DemographicsItem *y = known(dictionary, b, DEMO_STREET);

	if ((!x && demographics_count(a, DEMO_STREET_NUMBER) == 0) ||
		(!y && demographics_count(b, DEMO_STREET_NUMBER) == 0))
		return;
	/* a number alone is an address only where it is a post office box */
	if ((!x && demographics_items(a, DEMO_STREET_NUMBER)->length < 4) ||
		(!y && demographics_items(b, DEMO_STREET_NUMBER)->length < 4))
		return;
	result->a[FIELD_ADDRESS] = x;
	result->b[FIELD_ADDRESS] = y;
	result->level[FIELD_ADDRESS] = address_level(a, x, b, y);
}

static void
compare_locality(const MatchDictionary *dictionary, const Demographics *a, const Demographics *b,
				 MatchComparison *result)
{
	const DemographicsItem *postal_a = known(dictionary, a, DEMO_POSTAL);
	const DemographicsItem *postal_b = known(dictionary, b, DEMO_POSTAL);
	const DemographicsItem *city_a = known(dictionary, a, DEMO_CITY);
	const DemographicsItem *city_b = known(dictionary, b, DEMO_CITY);
	int			level = LEVEL_UNKNOWN;

	if (postal_a && postal_b)
	{
		result->a[FIELD_LOCALITY] = postal_a;
		result->b[FIELD_LOCALITY] = postal_b;
		level = LOCALITY_DIFFERENT;
		if (same_text(a, postal_a, b, postal_b))
			level = LOCALITY_SAME;
		else if (items_within_edits(a, postal_a, b, postal_b, 1))
			level = LOCALITY_CLOSE;
	}
	if (level != LOCALITY_SAME && level != LOCALITY_CLOSE && city_a && city_b)
	{
		if (likeness(a, city_a, b, city_b) >= LIKE_CLOSE)
			level = LOCALITY_CLOSE;
		else if (level == LEVEL_UNKNOWN)
			level = LOCALITY_DIFFERENT;
		result->a[FIELD_LOCALITY] = city_a;
		result->b[FIELD_LOCALITY] = city_b;
	}
	result->level[FIELD_LOCALITY] = level;
}

/* ---------- All of it ---------- */

/* Does anything agree that neither namesakes nor people of one house have in common? */
static bool
is_corroborated(const uint8 *level)
{
	return level[FIELD_IDENTIFIER] == IDENTIFIER_SAME || level[FIELD_IDENTIFIER] == IDENTIFIER_CLOSE ||
		level[FIELD_RECORD_NUMBER] == IDENTIFIER_SAME || level[FIELD_PHONE] == PHONE_SAME ||
		level[FIELD_EMAIL] == EMAIL_SAME || level[FIELD_MIDDLE] == MIDDLE_EXACT ||
		level[FIELD_MIDDLE] == MIDDLE_INITIAL || level[FIELD_MOTHER] == MOTHER_SAME;
}

static int
vetoes(const uint8 *level)
{
	bool		same_number = level[FIELD_IDENTIFIER] == IDENTIFIER_SAME;
	int			result = 0;

	/* names of twins may be alike, and a child may have been given its mother's number */
	if (level[FIELD_GIVEN] >= GIVEN_CLOSE || (level[FIELD_GIVEN] > GIVEN_EXACT && !same_number))
		result |= MATCH_VETO_GIVEN;
	if (level[FIELD_GIVEN] == GIVEN_DIFFERENT)
		result |= MATCH_VETO_OTHER_GIVEN;
	if (level[FIELD_FAMILY] == FAMILY_DIFFERENT && !same_number)
		result |= MATCH_VETO_FAMILY;
	/* twins of one first name, and a father and a son of one birthday */
	if (level[FIELD_MIDDLE] == MIDDLE_DIFFERENT && !same_number)
		result |= MATCH_VETO_MIDDLE;
	if (level[FIELD_BIRTH_DATE] == BIRTH_DIFFERENT ||
		(level[FIELD_BIRTH_DATE] > BIRTH_SWAPPED && !same_number))
		result |= MATCH_VETO_BIRTH;
	if (level[FIELD_BIRTH_ORDER] == BIRTH_ORDER_DIFFERENT ||
		(level[FIELD_BIRTH_ORDER] == BIRTH_ORDER_UNSURE && level[FIELD_GIVEN] != GIVEN_EXACT))
		result |= MATCH_VETO_TWIN;
	else if (level[FIELD_BIRTH_ORDER] == BIRTH_ORDER_UNSURE && !same_number)
		result |= MATCH_VETO_UNSURE_TWIN;
	if (level[FIELD_SUFFIX] == SUFFIX_DIFFERENT)
		result |= MATCH_VETO_SUFFIX;
	if (level[FIELD_SEX] == SEX_DIFFERENT)
		result |= MATCH_VETO_SEX;
	if (level[FIELD_IDENTIFIER] == IDENTIFIER_DIFFERENT || level[FIELD_IDENTIFIER] == IDENTIFIER_MIXED)
		result |= MATCH_VETO_IDENTIFIER;
	if (level[FIELD_GIVEN] == LEVEL_UNKNOWN || level[FIELD_FAMILY] == LEVEL_UNKNOWN ||
		level[FIELD_BIRTH_DATE] == LEVEL_UNKNOWN || !is_corroborated(level))
		result |= MATCH_VETO_MISSING;
	return result;
}

void
matching_compare(const MatchDictionary *dictionary, const Demographics *a, const Demographics *b,
				 MatchComparison *result)
{
	memset(result->level, LEVEL_UNKNOWN, sizeof(result->level));
	compare_names(dictionary, a, b, result);
	compare_middle(dictionary, a, b, result);
	compare_equal(FIELD_SUFFIX, DEMO_SUFFIX, SUFFIX_SAME, SUFFIX_DIFFERENT, a, b, result);
	compare_birth(dictionary, a, b, result);
	compare_birth_order(a, b, result);
	if (a->sex != DEMO_SEX_UNKNOWN && b->sex != DEMO_SEX_UNKNOWN)
		result->level[FIELD_SEX] = a->sex == b->sex ? SEX_SAME : SEX_DIFFERENT;
	compare_identifiers(dictionary, FIELD_IDENTIFIER, true, a, b, result);
	compare_identifiers(dictionary, FIELD_RECORD_NUMBER, false, a, b, result);
	compare_phone(dictionary, a, b, result);
	compare_email(dictionary, a, b, result);
	compare_address(dictionary, a, b, result);
	compare_locality(dictionary, a, b, result);
	compare_mother(a, b, result);
	result->vetoes = vetoes(result->level);
}
