/*-------------------------------------------------------------------------
 *
 * matching_value.h
 *		The type demographics: what identifies a person, normalised.
 *
 * A value is a list of items: texts of a kind, normalised when the value was
 * made.  Normalisation depends on nothing but the text (and the version of
 * PostgreSQL's Unicode tables), so that values may be stored and indexed.  It
 * is idempotent: the text form of a value makes the same value again.
 *
 * Normalised text: compatibility decomposition, marks stripped, letters that
 * do not decompose spelled out (ø o, ß ss, æ ae, ł l ...), lower case, words
 * separated by one space, no punctuation.  See docs/matching.md.
 *
 * IDENTIFICATION
 *		src/matching_value.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_MATCHING_VALUE_H
#define REFERRAL_MATCHING_VALUE_H

#include "fmgr.h"
#include "utils/date.h"

/* Of the layout and of the normaliser; a value of another version is refused. */
#define DEMOGRAPHICS_VERSION	1

/*
 * Kinds of items, in the order in which they are stored.
 *
 * A name of several words is an item of the words joined without space (the
 * whole), followed by an item of the PART kind for each word of 2 or more
 * letters: family "garcia-marquez" is FAMILY garciamarquez, FAMILY_PART
 * garcia, FAMILY_PART marquez.  Particles (de, la, van, von, al, bin, ...) are
 * in the whole but are no part.  A name of one word has no parts.  In text
 * form a name is its words with spaces between them, which the item keeps in
 * its "shown" text where they are several.
 */
typedef enum DemographicsKind
{
	DEMO_FAMILY,
	DEMO_FAMILY_PART,
	DEMO_PREVIOUS,				/* maiden and former family names, whole */
	DEMO_PREVIOUS_PART,
	DEMO_GIVEN,					/* the first given name, one at most: "mary-ann" is whole maryann */
	DEMO_GIVEN_PART,
	DEMO_MIDDLE,				/* further given names, initials included, each a single word */
	DEMO_MIDDLE_PART,			/* hence none */
	DEMO_ALIAS,					/* other given names the person goes by */
	DEMO_SUFFIX,				/* jr, sr, ii, iii, iv, v; titles and degrees are dropped */
	DEMO_MOTHER_MAIDEN,			/* the mother's maiden name */
	DEMO_PHONE,					/* 5 to 10 digits: the national number, without a trunk prefix */
	DEMO_EMAIL,
	DEMO_STREET_NUMBER,			/* 12, 12b; "po 123" for a post office box */
	DEMO_STREET,				/* with type and direction abbreviated alike: "n main st" */
	DEMO_UNIT,					/* apartment, suite, lot */
	DEMO_CITY,
	DEMO_STATE,
	DEMO_POSTAL,				/* lower-case letters and digits; ZIP+4 cut to 5 */
	DEMO_IDENTIFIER,			/* "type|value", lower-case letters and digits; no type: "|value" */
	DEMO_KINDS
} DemographicsKind;

typedef enum DemographicsSex
{
	DEMO_SEX_UNKNOWN,			/* not stated: no evidence */
	DEMO_SEX_MALE,
	DEMO_SEX_FEMALE,
	DEMO_SEX_OTHER
} DemographicsSex;

typedef struct DemographicsItem
{
	uint32		letters;		/* string_letters() of the text; of an identifier, of its value */
	uint16		offset;			/* of the text, from the start of the texts */
	uint8		length;			/* bytes of the text, 1 to DEMO_MAX_LENGTH */
	uint8		shown_length;	/* of the words with spaces, which follow; 0: one word */
} DemographicsItem;

#define DEMO_MAX_LENGTH			120		/* bytes of an item; what does not fit is cut off */
#define DEMO_MAX_ITEMS			12		/* of a kind; more are dropped */
#define DEMO_MAX_BIRTH_ORDER	20

typedef struct Demographics
{
	int32		vl_len_;		/* varlena header */
	uint8		version;
	uint8		sex;
	uint8		multiple_birth; /* 0 not stated, 1 single birth, 2 one of several */
	uint8		birth_order;	/* 0 not stated */
	int16		birth_year;		/* as written, be there such a date or not; 0 not known */
	uint8		birth_month;	/* 0 not known; up to 99 as written */
	uint8		birth_day;
	uint8		first[DEMO_KINDS + 1];	/* where a kind's items begin; the last: their number */
	uint8		padding[3];
	DemographicsItem items[FLEXIBLE_ARRAY_MEMBER];
	/* then the texts */
} Demographics;

#define DatumGetDemographics(datum)		((Demographics *) PG_DETOAST_DATUM(datum))
#define PG_GETARG_DEMOGRAPHICS(n)		DatumGetDemographics(PG_GETARG_DATUM(n))

static inline int
demographics_count(const Demographics *d, DemographicsKind kind)
{
	return d->first[kind + 1] - d->first[kind];
}

/* The items of a kind. */
static inline const DemographicsItem *
demographics_items(const Demographics *d, DemographicsKind kind)
{
	return d->items + d->first[kind];
}

static inline const char *
demographics_text(const Demographics *d, const DemographicsItem *item)
{
	return (const char *) (d->items + d->first[DEMO_KINDS]) + item->offset;
}

/* A person in the making: texts as people write them, in any order. */
typedef struct DemographicsDraft DemographicsDraft;

extern DemographicsDraft *demographics_begin(void);
extern void demographics_add(DemographicsDraft *draft, DemographicsKind kind,
							 const char *text, int length);

/* A line of an address: number, street and unit are found in it. */
extern void demographics_add_address(DemographicsDraft *draft, const char *text, int length);

/* An identifier with its system, which may be empty. */
extern void demographics_add_identifier(DemographicsDraft *draft,
										const char *system, int system_length,
										const char *value, int length);
extern void demographics_set_birth_text(DemographicsDraft *draft, const char *text, int length);
extern void demographics_set_birth_date(DemographicsDraft *draft, DateADT date);
extern void demographics_set_sex(DemographicsDraft *draft, const char *text, int length);
extern void demographics_set_multiple_birth(DemographicsDraft *draft, bool multiple);
extern void demographics_set_birth_order(DemographicsDraft *draft, int order);
extern Demographics *demographics_finish(DemographicsDraft *draft);

#endif							/* REFERRAL_MATCHING_VALUE_H */
