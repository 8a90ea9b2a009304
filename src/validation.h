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

typedef struct OutreachTemplate
{
	const char *name;
	const char *language;		/* in lower case */
	bool		is_english;
	const char *recipient;
	const char *medium;
	const char *subject;		/* NULL: none */
	const char *body;
	int64		rule_version_id;
} OutreachTemplate;

/* The rules of all active versions, in the order of their findings. */
typedef struct ValidationRules
{
	int			nrules;
	ValidationRule *rules;
	ArrayType  *versions;
	int			ntemplates;
	OutreachTemplate *templates;
} ValidationRules;

/* A finding of a result that was stored. */
typedef struct Finding
{
	bool		is_fault;		/* no warning */
	const char *kind;
	const char *code;
	const char *field;			/* or type of document */
	const char *category;		/* of its exception */
	const char *message;
	const char *template;		/* NULL: nobody is asked */
} Finding;

typedef enum ValidationStatement
{
	LOCK_REFERRAL, READ_REFERRAL, READ_DOCUMENTS, WRITE_RESULT,
	OPEN_NEW_EXCEPTIONS, OPEN_EXCEPTIONS, CLOSE_EXCEPTIONS, CLOSE_UNTOLD,
	READ_FACTS, FIND_DRAFT, FOLLOW_DRAFT, WRITE_DRAFT, DROP_DRAFT,
	VALIDATION_NSTATEMENTS
} ValidationStatement;

extern void validation_run(bool as_owner, ValidationStatement which, Datum *args,
						   const char *nulls);
extern ValidationRules *validation_rules(RuleCache *cache);
extern void validation_settle(RuleCache *cache, int64 org_id, int64 referral_id,
							  Jsonb *former, Jsonb *present);
extern void validation_draft(RuleCache *cache, int64 org_id, int64 referral_id,
							 List *former, List *present);

#endif							/* REFERRAL_VALIDATION_H */
