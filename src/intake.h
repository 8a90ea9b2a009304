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
#include "executor/spi.h"
#include "utils/jsonb.h"

/* intake.c */
extern JsonbContainer *intake_member_object(JsonbContainer *object, const char *key);
extern JsonbContainer *intake_member_list(JsonbContainer *object, const char *key);
extern JsonbContainer *intake_list_object(JsonbContainer *list, int i);
extern Jsonb *intake_argument_object(FunctionCallInfo fcinfo, int argument);
extern text *intake_member_text(JsonbContainer *object, const char *key);
extern text *intake_member_prose(JsonbContainer *object, const char *key);
extern text *intake_system_of(text *type, text *system, text *source);
extern void intake_deform(HeapTupleHeader row, TupleDesc desc, Datum *values, bool *nulls);
extern void intake_fill_texts(TupleDesc desc, JsonbContainer *object, Datum *values, bool *nulls);
extern void intake_prepare(SPIPlanPtr *plan, const char *sql, int nargs, Oid *types);
extern Datum intake_text_array(Datum *texts, bool *nulls, int count);

/* where no schema is named, nobody else's operator may be taken */
#define EQ	"OPERATOR(pg_catalog.=)"

#endif							/* REFERRAL_INTAKE_H */
