/*-------------------------------------------------------------------------
 *
 * intake_message.h
 *		A message that is taken in, and what becomes of it.
 *
 * IDENTIFICATION
 *		src/intake_message.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_INTAKE_MESSAGE_H
#define REFERRAL_INTAKE_MESSAGE_H

#include "executor/spi.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

/* How a payload is read. */
typedef enum PayloadKind
{
	PAYLOAD_HL7,
	PAYLOAD_FHIR,
	PAYLOAD_JSON,
	PAYLOAD_LINES,
	PAYLOAD_CSV,
	PAYLOAD_DOCUMENT
} PayloadKind;

/* The head of a message, with what source_system says of its source. */
typedef struct IntakeMessage
{
	int64		org_id;
	int64		message_id;
	text	   *channel;
	text	   *source;
	text	   *content_type;	/* NULL: to be told by the payload */
	text	   *mapping;		/* NULL: none */
	const char *zone;			/* of times without one */
	List	   *selves;			/* names that are our own */
	bool		is_fresh;		/* stored just now, and no case of it is written yet */
} IntakeMessage;

/* What became of it. */
typedef struct IntakeOutcome
{
	const char *status;
	const char *outcome;		/* NULL: nothing */
	int64		referral_id;	/* 0: none, as the next */
	int64		patient_id;
	int			findings;
	const char *error;			/* NULL: none */
} IntakeOutcome;

/* A statement whose plan a backend keeps. */
typedef struct IntakeStatement
{
	const char *sql;
	int			nargs;
	Oid			argtypes[20];
	SPIPlanPtr	plan;
} IntakeStatement;

/* intake_run.c */
extern uint64 intake_run(IntakeStatement *statement, Datum *args, const char *nulls);
extern void intake_do(IntakeStatement *statement, Datum *args, const char *nulls);
extern bool intake_returned(int column, Datum *value);
extern int64 intake_returned_id(int column);
extern char *intake_returned_text(int column);
extern int	intake_begin(void);
extern void intake_end(int level);
extern void intake_set(const char *setting, const char *value);

/* intake_payload.c */
extern PayloadKind intake_payload_kind(text *content_type, text *payload, const char *channel);
extern bool intake_is_empty(text *t);
extern const char *intake_payload_kind_name(PayloadKind kind);
extern bool intake_is_whole(PayloadKind kind, text *payload);
extern Jsonb *intake_payload_json(text *payload);
extern text *intake_mapping_name(text *content_type);
extern bytea *intake_hash(text *payload);
extern char *intake_hash_in_hex(bytea *hash);
extern text *intake_message_key(text *given, bytea *hash, text *payload);

/* intake_work.c */
extern void intake_work(IntakeMessage *message, text *payload, bool again, bool key_reused,
						IntakeOutcome *outcome);
extern bool intake_is_fresh_message(int64 message_id);
extern bool intake_is_message_in_work(int64 org_id, int64 message_id);

/* source_mapping.c */
extern void source_mapping_check_name(text *name);

#endif							/* REFERRAL_INTAKE_MESSAGE_H */
