/*-------------------------------------------------------------------------
 *
 * matching_compare.h
 *		Two records compared: one level per field.
 *
 * IDENTIFICATION
 *		src/matching_compare.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_MATCHING_COMPARE_H
#define REFERRAL_MATCHING_COMPARE_H

#include "matching.h"

/* In the order in which an explanation lists them. */
typedef enum MatchField
{
	FIELD_GIVEN,
	FIELD_FAMILY,
	FIELD_MIDDLE,
	FIELD_SUFFIX,
	FIELD_BIRTH_DATE,
	FIELD_BIRTH_ORDER,
	FIELD_SEX,
	FIELD_IDENTIFIER,
	FIELD_RECORD_NUMBER,
	FIELD_PHONE,
	FIELD_EMAIL,
	FIELD_ADDRESS,
	FIELD_LOCALITY,
	FIELD_MOTHER,
	MATCH_FIELDS
} MatchField;

/* What people of one household have in common, as bits. */
#define MATCH_HOUSEHOLD_FIELDS \
	(1 << FIELD_FAMILY | 1 << FIELD_PHONE | 1 << FIELD_EMAIL | 1 << FIELD_ADDRESS | \
	 1 << FIELD_LOCALITY | 1 << FIELD_MOTHER)

/* Level 0 of every field: not known of one of both, which is no evidence. */
#define LEVEL_UNKNOWN	0

enum GivenLevel
{
	GIVEN_EXACT = 1,
	GIVEN_NICKNAME,
	GIVEN_PART,					/* one word of it, a middle name or an alias */
	GIVEN_INITIAL,
	GIVEN_CLOSE,
	GIVEN_SIMILAR,
	GIVEN_SWAPPED,				/* each one's first name is the other's family name */
	GIVEN_DIFFERENT,
	GIVEN_LEVELS
};

enum FamilyLevel
{
	FAMILY_EXACT = 1,
	FAMILY_PREVIOUS,
	FAMILY_PART_SAME,
	FAMILY_CLOSE,
	FAMILY_SIMILAR,
	FAMILY_SWAPPED,				/* the first name of one is the family name of the other */
	FAMILY_DIFFERENT,
	FAMILY_LEVELS
};

enum MiddleLevel
{
	MIDDLE_EXACT = 1,
	MIDDLE_INITIAL,
	MIDDLE_SIMILAR,
	MIDDLE_DIFFERENT,
	MIDDLE_LEVELS
};

enum SuffixLevel
{
	SUFFIX_SAME = 1,
	SUFFIX_DIFFERENT,
	SUFFIX_LEVELS
};

enum BirthLevel
{
	BIRTH_EXACT = 1,
	BIRTH_SWAPPED,				/* day and month */
	BIRTH_DIGIT,				/* one digit, or two neighbouring ones */
	BIRTH_NEAR,					/* year, month and day each off by a little at most */
	BIRTH_TWO_PARTS,			/* two of year, month and day */
	BIRTH_YEAR,					/* the year alone, or all that one of both knows */
	BIRTH_DIFFERENT,
	BIRTH_LEVELS
};

/* of a multiple birth */
enum BirthOrderLevel
{
	BIRTH_ORDER_SAME = 1,
	BIRTH_ORDER_UNSURE,			/* one of both is a twin, and not known which */
	BIRTH_ORDER_DIFFERENT,
	BIRTH_ORDER_LEVELS
};

enum SexLevel
{
	SEX_SAME = 1,
	SEX_DIFFERENT,
	SEX_LEVELS
};

/* identifier: what only one person has; record_number: what a place counts by */
enum IdentifierLevel
{
	IDENTIFIER_SAME = 1,
	IDENTIFIER_MIXED,			/* one type the same, another one different */
	IDENTIFIER_CLOSE,
	IDENTIFIER_DIFFERENT,
	IDENTIFIER_LEVELS
};

enum PhoneLevel
{
	PHONE_SAME = 1,
	PHONE_CLOSE,				/* but the area code, or but one digit */
	PHONE_DIFFERENT,
	PHONE_LEVELS
};

enum EmailLevel
{
	EMAIL_SAME = 1,
	EMAIL_CLOSE,				/* the same but for the domain, or for slips */
	EMAIL_SIMILAR,				/* slips where they say less: in what is short, or in the first letter */
	EMAIL_DIFFERENT,
	EMAIL_LEVELS
};

enum AddressLevel
{
	ADDRESS_SAME = 1,
	ADDRESS_CLOSE,				/* same number, street spelled otherwise; or the number is missing or misspelled */
	ADDRESS_STREET,				/* the street alone */
	ADDRESS_DIFFERENT,
	ADDRESS_LEVELS
};

enum LocalityLevel
{
	LOCALITY_SAME = 1,			/* postal code */
	LOCALITY_CLOSE,				/* postal code misspelled, or the city */
	LOCALITY_DIFFERENT,
	LOCALITY_LEVELS
};

enum MotherLevel
{
	MOTHER_SAME = 1,
	MOTHER_SIMILAR,
	MOTHER_DIFFERENT,
	MOTHER_LEVELS
};

#define MATCH_MAX_LEVELS	10

typedef struct MatchLevelName
{
	const char *name;
	double		m;				/* shipped: among records of one person */
	double		u;				/* among records of two */
} MatchLevelName;

typedef struct MatchFieldName
{
	const char *name;
	int			nlevels;		/* with LEVEL_UNKNOWN */
	MatchLevelName levels[MATCH_MAX_LEVELS];
} MatchFieldName;

extern const MatchFieldName matching_fields[MATCH_FIELDS];

/* Two records compared; the items that decided, set where the level is known and there are such. */
typedef struct MatchComparison
{
	uint8		level[MATCH_FIELDS];
	const DemographicsItem *a[MATCH_FIELDS];
	const DemographicsItem *b[MATCH_FIELDS];
	int			vetoes;
} MatchComparison;

/*
 * Nearly every look-up in a dictionary is in vain, so those that every
 * comparison makes have a filter of bits before them, by letters and length.
 */
#define MATCH_FILTER_SHIFT	18	/* leaves 14 bits */

typedef struct MatchFilter
{
	uint64		words[(1 << (32 - MATCH_FILTER_SHIFT)) / 64];
} MatchFilter;

static inline uint32
match_filter_bit(uint32 letters, int length, int kind)
{
	return ((letters + (uint32) (length * 37 + kind) * 0x85ebca6b) * 0x9e3779b1) >> MATCH_FILTER_SHIFT;
}

static inline bool
match_filter_has(const MatchFilter *filter, uint32 bit)
{
	return (filter->words[bit / 64] >> (bit % 64)) & 1;
}

/* What the model knows of names and of values that mean nothing. */
typedef struct MatchDictionary
{
	MatchFilter nicknames;
	MatchFilter placeholders;	/* the kind of item is the kind of the bit */
	uint64		births;			/* bits that dates which mean nothing have, by match_birth_bit() */
	bool		first_january;	/* does of a first of January the year alone mean something? */
	struct MatchTables *tables; /* the rest is matching_dictionary.c's */
} MatchDictionary;

static inline int
match_birth_date(const Demographics *d)
{
	return d->birth_year * 10000 + d->birth_month * 100 + d->birth_day;
}

static inline uint64
match_birth_bit(int date)
{
	return UINT64CONST(1) << (((uint32) date * 0x9e3779b1) >> 26);
}

extern void matching_compare(const MatchDictionary *dictionary, const Demographics *a,
							 const Demographics *b, MatchComparison *result);

/* How much of a birth date is known: people type 1900-01-01 to get past the field. */
typedef enum BirthMeaning
{
	BIRTH_MEANS_NOTHING,
	BIRTH_MEANS_YEAR,
	BIRTH_MEANS_DATE
} BirthMeaning;

/* matching_dictionary.c */
extern bool matching_is_nickname(const MatchDictionary *dictionary,
								 const Demographics *a, const DemographicsItem *x,
								 const Demographics *b, const DemographicsItem *y);
extern bool matching_is_placeholder(const MatchDictionary *dictionary, DemographicsKind kind,
									const char *text, int length);
extern BirthMeaning matching_birth_meaning(const MatchDictionary *dictionary, const Demographics *d);

#endif							/* REFERRAL_MATCHING_COMPARE_H */
