/*-------------------------------------------------------------------------
 *
 * intake.h
 *		What cases of intake say, as C functions read it.
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
#include "fmgr.h"
#include "utils/jsonb.h"

/* The system of the numbers of our own messages, by which what has no number is known. */
#define INTAKE_OWN_SYSTEM	"inbox_message"

enum
{
	ID_NUMBER, ID_SYSTEM, ID_TYPE, ID_ASSIGNER, ID_NFIELDS
};

/* Identifiers of somebody, all texts; a type and an assigner may be null. */
typedef struct IntakeIdentifiers
{
	int			count;
	Datum	   *fields[ID_NFIELDS];
	bool	   *nulls[ID_NFIELDS];
} IntakeIdentifiers;

/* intake.c */
extern JsonbContainer *intake_member_object(JsonbContainer *object, const char *key);
extern JsonbContainer *intake_member_list(JsonbContainer *object, const char *key);
extern JsonbContainer *intake_list_object(JsonbContainer *list, int i);
extern text *intake_argument_text(FunctionCallInfo fcinfo, int argument);
extern Jsonb *intake_argument_object(FunctionCallInfo fcinfo, int argument);
extern text *intake_member_text(JsonbContainer *object, const char *key);
extern text *intake_member_prose(JsonbContainer *object, const char *key);
extern text *intake_system_of(const text *type, text *system, text *source);
extern void intake_deform(HeapTupleHeader row, TupleDesc desc, Datum *values, bool *nulls);
extern void intake_fill_texts(TupleDesc desc, JsonbContainer *object, Datum *values, bool *nulls);
extern bool intake_finds(SPIPlanPtr *plan, const char *sql, int nargs, Oid *types, Datum *args,
						 const char *nulls);
extern Datum intake_text_array(Datum *texts, bool *nulls, int count);

extern text *intake_value_text(const JsonbValue *v);
extern bool intake_text_is(const text *t, const char *s);

/* intake_lock.c */
extern bool intake_take_lock(int64 org_id, const char *what, int length, bool wait);

/* try_cast.c */
extern Datum try_date(PG_FUNCTION_ARGS);
extern Datum try_boolean(PG_FUNCTION_ARGS);
extern Datum try_integer(PG_FUNCTION_ARGS);
extern bool intake_try(PGFunction try, const text *told, Datum *value);

extern void intake_put_finding(JsonbParseState **findings, const char *code, const char *severity,
							   const char *attribute, const char *detail, const text *value);
extern void intake_put_no_value(JsonbParseState **findings, const char *code, const char *attribute);
extern Jsonb *intake_findings(JsonbParseState **findings);

extern void intake_begin_identifiers(IntakeIdentifiers *ids, int room);
extern void intake_add_identifier(IntakeIdentifiers *ids, text **value);
extern void intake_read_identifiers(IntakeIdentifiers *ids, JsonbContainer *list, text *source,
									int room);
extern Datum intake_identifiers_row(const IntakeIdentifiers *ids, TupleDesc desc);

/* where no schema is named, nobody else's operator may be taken */
#define EQ	"OPERATOR(pg_catalog.=)"

#endif							/* REFERRAL_INTAKE_H */
