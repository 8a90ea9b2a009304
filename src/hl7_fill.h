/*-------------------------------------------------------------------------
 *
 * hl7_fill.h
 *		Values of HL7 messages as canonical jsonb.
 *
 * IDENTIFICATION
 *		src/hl7_fill.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_HL7_FILL_H
#define REFERRAL_HL7_FILL_H

#include "fmgr.h"
#include "utils/jsonb.h"

#include "hl7_tree.h"

/* Where a template reads: repetitions of a field, and the part of them. */
typedef struct Hl7Source
{
	JsonbContainer *field;		/* array of repetitions */
	int			repetition;		/* the first one to read, from 0 */
	int			component;		/* 0 when the path names none */
	int			subcomponent;
	JsonbContainer *message;	/* or segment */
	const text *zone;
	const char *problem;		/* finding, when there is something that is no value */
	Hl7Slice	sent;			/* what that is */
} Hl7Source;

/* Reads a value of one type; false when there is none. */
typedef bool (*Hl7Reader) (Hl7Source *source, JsonbValue *value);

/* A template that is compiled once in a backend: jsonb with ' in the place of ". */
typedef struct Hl7Template
{
	const char *text;
	struct Hl7Node *root;		/* NULL until it is used */
} Hl7Template;

/* in hl7_fill.c */
extern void hl7_fill_in(Hl7Template *template, JsonbContainer *message, const text *zone,
						JsonbValue *told, JsonbValue *findings);
extern JsonbContainer *hl7_find_container(JsonbContainer *object, const char *key, int length);
extern JsonbContainer *hl7_find_segment(JsonbContainer *message, const char *name);
extern JsonbValue *hl7_new_finding(JsonbValue *findings, const char *code, const char *severity,
								   Hl7Slice attribute, Hl7Slice position, const char *detail);

/* in hl7_value.c */
extern Datum hl7_date(PG_FUNCTION_ARGS);
extern Datum hl7_timestamp(PG_FUNCTION_ARGS);

/* in hl7_types.c */
extern Hl7Reader hl7_find_reader(const char *name, int length);

#endif							/* REFERRAL_HL7_FILL_H */
