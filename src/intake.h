/*-------------------------------------------------------------------------
 *
 * intake.h
 *		What a case of intake says, in the words of the tables.
 *
 * IDENTIFICATION
 *		src/intake.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_INTAKE_H
#define REFERRAL_INTAKE_H

#include "access/tupdesc.h"
#include "utils/jsonb.h"

/* intake.c */
extern JsonbContainer *intake_member_object(JsonbContainer *object, const char *key);
extern Jsonb *intake_argument_object(FunctionCallInfo fcinfo, int argument);
extern text *intake_member_text(JsonbContainer *object, const char *key);
extern text *intake_member_prose(JsonbContainer *object, const char *key);
extern text *intake_system_of(text *type, text *system, text *source);
extern void intake_deform(HeapTupleHeader row, TupleDesc desc, Datum *values, bool *nulls);
extern void intake_fill_texts(TupleDesc desc, JsonbContainer *object, Datum *values, bool *nulls);
extern Datum intake_text_array(Datum *texts, bool *nulls, int count);

#endif							/* REFERRAL_INTAKE_H */
