/*-------------------------------------------------------------------------
 *
 * validation.h
 *		What a referral needs to be complete, as rules.
 *
 * IDENTIFICATION
 *		src/validation.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_VALIDATION_H
#define REFERRAL_VALIDATION_H

#include "utils/array.h"
#include "utils/jsonb.h"

#include "rule.h"

/* The row that a rule tests. */
typedef enum ValidatedRow
{
	ROW_REFERRAL, ROW_PATIENT, ROW_COVERAGE,
	ROW_NKINDS
} ValidatedRow;

typedef enum ValidationSeverity
{
	SEVERITY_MISSING, SEVERITY_INVALID, SEVERITY_WARNING,
	SEVERITY_NKINDS
} ValidationSeverity;

/* Columns of validate(). */
#define FINDING_NCOLUMNS	9

typedef struct ValidationRule
{
	ValidationSeverity severity;
	bool		asks;			/* it has a template */
	Datum		columns[FINDING_NCOLUMNS];	/* of the finding, as validate() returns it */
	bool		nulls[FINDING_NCOLUMNS];
	Jsonb	   *finding;		/* the same as an object */

	int64		scope_org_id;	/* 0: all */
	int64		scope_payer_id; /* 0: all */
	const char *scope_specialty;	/* in lower case; NULL: all */
	const char *scope_referral_type;	/* NULL: all */
	RulePredicate *applies_when;	/* NULL: always */

	const char *document_type;	/* NULL for rules about fields */
	ValidatedRow row;
	bool		wants_row;		/* not only of a row that is there */
	RulePredicate *tested;
} ValidationRule;

/* The rules of all active versions, in the order of their findings. */
typedef struct ValidationRules
{
	int			nrules;
	ValidationRule *rules;
	ArrayType  *versions;
} ValidationRules;

extern ValidationRules *validation_rules(RuleCache *cache);

#endif							/* REFERRAL_VALIDATION_H */
