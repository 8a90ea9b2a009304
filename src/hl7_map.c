/*-------------------------------------------------------------------------
 *
 * hl7_map.c
 *		The mapper of HL7 messages: which cases of intake a message tells of.
 *
 * A referral is read here, all else by hl7_cases() in SQL.
 *
 * IDENTIFICATION
 *		src/hl7_map.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/datum.h"

#include "compat.h"
#include "errors.h"
#include "hl7_content.h"
#include "statement.h"

#define OTHER_CASES	"SELECT c FROM referral.hl7_cases($1, $2, $3, $4) AS c"

/* MSH-9, in capitals; text is NULL for what is not there. */
typedef struct MessageType
{
	Hl7Slice	type;
	Hl7Slice	event;
} MessageType;

static Hl7Template type_template = {
	.text = "{'type': 'MSH-9.1:raw', 'event': 'MSH-9.2:raw'}"
};

PG_FUNCTION_INFO_V1(map_hl7v2);

static void
read_type(JsonbContainer *message, const text *zone, MessageType *type)
{
	JsonbValue	told;
	JsonbValue	findings;

	hl7_new_array(&findings);
	hl7_fill_in(&type_template, message, zone, &told, &findings);
	type->type = hl7_in_capitals(hl7_find_text(&told, "type"));
	type->event = hl7_in_capitals(hl7_find_text(&told, "event"));
	if (type->type.text == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_RF_INVALID_MESSAGE),
				 errmsg("message has no type"),
				 errdetail("MSH-9 is empty."),
				 errhint("Have the sender fill in MSH-9, or write a mapping that says what the "
						 "message is.")));
}

/* A referral without results; an RRI that carries the report is not read here. */
static bool
is_referral(JsonbContainer *message, const MessageType *type)
{
	static const char *const events[] = {"I12", "I13", "I14", "I15"};

	if (!hl7_is_one_of(type->event, events, lengthof(events)))
		return false;
	return hl7_is(type->type, "REF") ||
		(hl7_is(type->type, "RRI") && hl7_find_segment(message, "OBR") == NULL);
}

static Datum
slice_datum(Hl7Slice slice)
{
	return slice.text == NULL ? (Datum) 0 :
		PointerGetDatum(cstring_to_text_with_len(slice.text, slice.length));
}

/* The cases of a message of another type, in a context that lives long enough */
static List *
other_cases(Jsonb *message, const MessageType *type, text *zone, MemoryContext context)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[] = {JSONBOID, TEXTOID, TEXTOID, TEXTOID};
	Datum		args[] = {
		JsonbPGetDatum(message), slice_datum(type->type), slice_datum(type->event),
		PointerGetDatum(zone)
	};
	char		nulls[] = {' ', ' ', type->event.text == NULL ? 'n' : ' ', ' '};
	List	   *cases = NIL;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	statement_keep(&plan, OTHER_CASES, lengthof(types), types, 0);
	if (SPI_execute_plan(plan, args, nulls, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not run: %s", OTHER_CASES);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Datum		found = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);
		MemoryContext old = MemoryContextSwitchTo(context);

		cases = lappend(cases, DatumGetPointer(datumCopy(found, false, -1)));
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	return cases;
}

static List *
map_message(Jsonb *message, text *zone, MemoryContext context)
{
	MessageType type;
	Datum		one;
	MemoryContext old;
	List	   *cases;

	read_type(&message->root, zone, &type);
	if (!is_referral(&message->root, &type))
		return other_cases(message, &type, zone, context);
	one = hl7_make_referral_case(&message->root, type.type, type.event, zone);
	old = MemoryContextSwitchTo(context);
	cases = list_make1(DatumGetPointer(datumCopy(one, false, -1)));
	MemoryContextSwitchTo(old);
	return cases;
}

/* map_hl7v2(message jsonb, source text, zone text) */
Datum
map_hl7v2(PG_FUNCTION_ARGS)
{
	FuncCallContext *call;
	List	   *cases;
	void	   *next;

	if (SRF_IS_FIRSTCALL())
	{
		call = SRF_FIRSTCALL_INIT();
		if (!PG_ARGISNULL(0))
			call->user_fctx = map_message(PG_GETARG_JSONB_P(0),
										  PG_ARGISNULL(2) ? cstring_to_text("UTC") :
										  PG_GETARG_TEXT_PP(2),
										  call->multi_call_memory_ctx);
	}
	call = SRF_PERCALL_SETUP();
	cases = call->user_fctx;
	if (call->call_cntr == (uint64) list_length(cases))
		SRF_RETURN_DONE(call);
	next = list_nth(cases, call->call_cntr);
	SRF_RETURN_NEXT(call, PointerGetDatum(next));
}
