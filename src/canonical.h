/*-------------------------------------------------------------------------
 *
 * canonical.h
 *		The canonical attributes: what a message can tell of a referral, by
 *		flat names, and where each stands in an intake case.
 *
 * IDENTIFICATION
 *		src/canonical.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_CANONICAL_H
#define REFERRAL_CANONICAL_H

typedef enum CanonicalType
{
	CANONICAL_TEXT,
	CANONICAL_CODE,				/* one of codes */
	CANONICAL_DATE,
	CANONICAL_TIME,
	CANONICAL_INTEGER,
	CANONICAL_NUMBER,
	CANONICAL_BOOLEAN
} CanonicalType;

typedef struct CanonicalAttribute
{
	const char *name;
	const char *path;			/* keys in the case, joined by points; a number is a place in an array */
	CanonicalType type;
	const char *codes;			/* of CANONICAL_CODE, joined by commas; else NULL */
	const char *description;
} CanonicalAttribute;

extern const CanonicalAttribute *canonical_attribute_find(const char *name);
extern bool canonical_code_is_valid(const CanonicalAttribute *attribute, const char *code, int length);

#endif							/* REFERRAL_CANONICAL_H */
