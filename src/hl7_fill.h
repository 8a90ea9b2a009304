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

/* A piece of the message, without blanks around it; text is NULL for none. */
typedef struct Hl7Slice
{
	const char *text;
	int			length;
} Hl7Slice;

/* Where a template reads: repetitions of a field, and the part of them. */
typedef struct Hl7Source
{
	JsonbContainer *field;		/* array of repetitions */
	int			repetition;		/* the first one to read, from 0 */
	int			component;		/* 0 when the path names none */
	int			subcomponent;
	Jsonb	   *message;
	const text *zone;
	const char *problem;		/* finding, when there is something that is no value */
	Hl7Slice	sent;			/* what that is */
} Hl7Source;

/* Reads a value of one type; false when there is none. */
typedef bool (*Hl7Reader) (Hl7Source *source, JsonbValue *value);

/* in hl7_fill.c */
extern void hl7_new_object(JsonbValue *object);
extern void hl7_new_array(JsonbValue *array);
extern void hl7_add(JsonbValue *object, const char *key, int length, const JsonbValue *value);
extern void hl7_add_slice(JsonbValue *object, const char *key, Hl7Slice slice);
extern void hl7_append(JsonbValue *array, const JsonbValue *value);

/* in hl7_value.c */
extern Datum hl7_date(PG_FUNCTION_ARGS);
extern Datum hl7_timestamp(PG_FUNCTION_ARGS);

/* in hl7_types.c */
extern Hl7Reader hl7_find_reader(const char *name, int length);

#endif							/* REFERRAL_HL7_FILL_H */
