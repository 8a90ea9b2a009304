/*-------------------------------------------------------------------------
 *
 * intake_receive.c
 *		The front door: a message is stored, then worked on; one that came
 *		before is counted.
 *
 * IDENTIFICATION
 *		src/intake_receive.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "parser/scansup.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "compat.h"
#include "errors.h"
#include "intake.h"
#include "intake_message.h"
#include "rule.h"
#include "security.h"

/* it is part of the key of its messages */
#define LONGEST_SOURCE	500

/* What receive() answers. */
typedef struct Received
{
	int64		message_id;
	bool		repeated;
	bool		worked;			/* was it worked on by this call? */
	IntakeOutcome outcome;
} Received;

static IntakeStatement find_source = {
	.sql = "SELECT x.source, x.source = $2, x.is_self, x.active, coalesce(referral.acting_login() = ANY (x.logins), true),"
	" x.default_mapping, x.zone"
	" FROM referral.source_system x WHERE x.org_id = $1 AND (x.source = $2 OR x.is_self)",
	.nargs = 2,.argtypes = {INT8OID, TEXTOID}
};
static IntakeStatement current_org = {
	.sql = "SELECT referral.current_org()",
	.nargs = 0,.argtypes = {0}
};
static IntakeStatement store = {
	.sql = "INSERT INTO referral.inbox_message (org_id, channel, source, content_type, dedup_key, payload, payload_hash)"
	" VALUES ($1, $2::referral.intake_channel, $3, $4, $5, $6, $7)"
	" ON CONFLICT ON CONSTRAINT inbox_message_key DO NOTHING RETURNING message_id",
	.nargs = 7,.argtypes = {INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, BYTEAOID}
};
static IntakeStatement count_repeat = {
	.sql = "UPDATE referral.inbox_message x SET repeat_count = x.repeat_count + 1, last_repeat_at = clock_timestamp()"
	" WHERE x.org_id = $1 AND x.source = $2 AND x.dedup_key = $3"
	" AND (x.payload_hash = $4 OR referral.message_key('', x.payload_hash, x.payload) = referral.message_key('', $4, $5))"
	" RETURNING x.message_id, x.status::text, x.outcome, x.referral_id, x.patient_id, x.error,"
	" (SELECT count(*) FROM referral.data_quality_finding f"
	" WHERE f.org_id = x.org_id AND f.message_id = x.message_id AND f.resolved_at IS NULL),"
	/* nobody has worked on what was not stored by receive() */
	" x.status = 'received' OR (x.status = 'error' AND x.content_type IS DISTINCT FROM $6)",
	.nargs = 6,.argtypes = {INT8OID, TEXTOID, TEXTOID, BYTEAOID, TEXTOID, TEXTOID}
};
static IntakeStatement take_content_type = {
	.sql = "UPDATE referral.inbox_message x SET content_type = $3"
	" WHERE x.org_id = $1 AND x.message_id = $2 AND x.content_type IS DISTINCT FROM $3",
	.nargs = 3,.argtypes = {INT8OID, INT8OID, TEXTOID}
};
static IntakeStatement is_kept_by_source = {
	.sql = "SELECT 1 WHERE EXISTS (SELECT FROM (SELECT DISTINCT s.entity FROM referral.source_of_record s WHERE s.owner_system = $2) e"
	" CROSS JOIN LATERAL referral.foreign_attributes($1, e.entity) f WHERE f.owner_system = $2)",
	.nargs = 2,.argtypes = {INT8OID, TEXTOID}
};
static IntakeStatement read_again = {
	.sql = "SELECT x.channel::text, x.source, x.content_type, x.payload, x.attempts > 0,"
	" starts_with(reverse(x.dedup_key), reverse('#' || left(encode(x.payload_hash, 'hex'), 16)))"
	" FROM referral.inbox_message x WHERE x.org_id = $1 AND x.message_id = $2 FOR NO KEY UPDATE",
	.nargs = 2,.argtypes = {INT8OID, INT8OID}
};

/* Is it receive() that writes to inbox_message, and has looked who may? */
static bool is_storing = false;

/* ---------- The head of a message ---------- */

static void
check_source(text *source)
{
	if (intake_is_empty(source))
		ereport(ERROR,
				(errcode(ERRCODE_RF_INVALID_ARGUMENT),
				 errmsg("a message needs a source"),
				 errdetail("The source is the system that sends; dedup keys are unique within it."),
				 errhint("Name the system in source.")));
	if (VARSIZE_ANY_EXHDR(source) > LONGEST_SOURCE)
		ereport(ERROR,
				(errcode(ERRCODE_RF_INVALID_ARGUMENT),
				 errmsg("the name of a source is too long"),
				 errdetail("It is part of the key of its messages, which has room for %d bytes.", LONGEST_SOURCE),
				 errhint("Name the system in source.")));
}

/* A column of the row i that came back; NULL for null. */
static char *
source_text(uint64 i, int column)
{
	return SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, column);
}

static bool
source_is(uint64 i, int column)
{
	bool		isnull;

	return DatumGetBool(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, column, &isnull)) && !isnull;
}

static void
refuse_login(bool is_active)
{
	ereport(ERROR,
			(errcode(ERRCODE_RF_ROLE),
			 errmsg("this login may not receive messages of this source"),
			 is_active ? errdetail("Messages of the source come by other logins.") :
			 errdetail("The source is not active."),
			 errhint("See logins and active in referral.source_system.")));
}

/*
 * The head of a message, with what source_system says of its source: one that
 * has no row there has no mapping, and times in UTC.  is_new: may this session
 * receive its messages?
 */
static void
read_head(IntakeMessage *m, bool is_new)
{
	Datum		args[] = {Int64GetDatum(m->org_id), PointerGetDatum(m->source)};

	m->zone = "UTC";
	m->mapping = intake_mapping_name(m->content_type);
	intake_run(&find_source, args, NULL);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		if (source_is(i, 3))
			m->selves = lappend(m->selves, source_text(i, 1));
		if (!source_is(i, 2))
			continue;
		if (is_new && !(source_is(i, 4) && source_is(i, 5)))
			refuse_login(source_is(i, 4));
		if (m->mapping == NULL && source_text(i, 6) != NULL)
			m->mapping = cstring_to_text(source_text(i, 6));
		m->zone = source_text(i, 7);
	}
	SPI_freetuptable(SPI_tuptable);
}

/* The head of what a session sends. */
static void
begin_head(IntakeMessage *m, Datum channel, text *source, text *content_type)
{
	memset(m, 0, sizeof(IntakeMessage));
	check_source(source);
	m->channel = cstring_to_text(DatumGetCString(DirectFunctionCall1(enum_out, channel)));
	m->source = source;
	m->content_type = content_type;
	intake_run(&current_org, NULL, NULL);
	m->org_id = intake_returned_id(1);
	SPI_freetuptable(SPI_tuptable);
	read_head(m, true);
}

/* ---------- One message ---------- */

/* False when there is one of the same key already. */
static bool
store_message(IntakeMessage *m, text *key, text *payload, bytea *hash)
{
	Datum		args[] = {Int64GetDatum(m->org_id), PointerGetDatum(m->channel), PointerGetDatum(m->source),
	PointerGetDatum(m->content_type), PointerGetDatum(key), PointerGetDatum(payload), PointerGetDatum(hash)};

	bool		is_new;

	is_storing = true;
	PG_TRY();
	{
		is_new = intake_run(&store, args, m->content_type == NULL ? "   n   " : NULL) > 0;
	}
	PG_FINALLY();
	{
		is_storing = false;
	}
	PG_END_TRY();
	if (is_new)
		m->message_id = intake_returned_id(1);
	SPI_freetuptable(SPI_tuptable);
	return is_new;
}

/*
 * What became of the message when it came first; false when that was another
 * one.  is_mended: it could not be read, and is now sent with another content
 * type.
 */
static bool
count_again(IntakeMessage *m, text *key, text *payload, bytea *hash, Received *received, bool *is_mended)
{
	Datum		args[] = {Int64GetDatum(m->org_id), PointerGetDatum(m->source), PointerGetDatum(key),
	PointerGetDatum(hash), PointerGetDatum(payload), PointerGetDatum(m->content_type)};
	IntakeOutcome *o = &received->outcome;
	Datum		value;

	if (intake_run(&count_repeat, args, m->content_type == NULL ? "     n" : NULL) == 0)
		return false;
	received->repeated = true;
	received->message_id = intake_returned_id(1);
	o->status = intake_returned_text(2);
	o->outcome = intake_returned_text(3);
	o->referral_id = intake_returned_id(4);
	o->patient_id = intake_returned_id(5);
	o->error = intake_returned_text(6);
	o->findings = intake_returned_id(7);
	*is_mended = intake_returned(8, &value) && DatumGetBool(value);
	SPI_freetuptable(SPI_tuptable);
	return true;
}

/*
 * How a stored message is to be read from now on; the journal keeps what was
 * said before.  As the owner: nobody else may change what is stored.
 */
static void
write_content_type(IntakeMessage *m)
{
	Datum		args[] = {Int64GetDatum(m->org_id), Int64GetDatum(m->message_id), PointerGetDatum(m->content_type)};
	OwnerScope	scope;

	security_begin_read(&scope, rule_cache(false)->owner);
	intake_run(&take_content_type, args, m->content_type == NULL ? "  n" : NULL);
	security_end_read(&scope);
}

/* Who is not believed for the source could not write what the source keeps, and it would be lost. */
static void
check_may_repeat(IntakeMessage *m)
{
	Datum		args[] = {Int64GetDatum(m->org_id), PointerGetDatum(m->source)};

	intake_set("referral.origin", text_to_cstring(m->source));
	if (intake_run(&is_kept_by_source, args, NULL) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_RF_ROLE),
				 errmsg("this login may not process messages of this source again"),
				 errdetail("The source keeps attributes here, and its messages come by other logins, or it is not active."),
				 errhint("Have a login of the source call reprocess(): see logins and active in referral.source_system.")));
	SPI_freetuptable(SPI_tuptable);
}

/* Works on a stored message; is_retyped: as the content type at hand says, and not the stored one. */
static void
work_again(IntakeMessage *m, bool is_retyped, IntakeOutcome *outcome)
{
	Datum		args[] = {Int64GetDatum(m->org_id), Int64GetDatum(m->message_id)};
	text	   *payload;
	Datum		again;
	Datum		reused;

	if (intake_run(&read_again, args, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_RF_NO_SUCH_ROW),
				 errmsg("there is no message " INT64_FORMAT, m->message_id),
				 errdetail("It is not there, or another organisation's."),
				 errhint("SELECT message_id FROM referral.inbox_message.")));
	m->channel = cstring_to_text(intake_returned_text(1));
	m->source = cstring_to_text(intake_returned_text(2));
	if (!is_retyped)
		m->content_type = intake_returned_text(3) == NULL ? NULL : cstring_to_text(intake_returned_text(3));
	payload = cstring_to_text(intake_returned_text(4));
	(void) intake_returned(5, &again);
	(void) intake_returned(6, &reused);
	SPI_freetuptable(SPI_tuptable);
	check_may_repeat(m);
	if (is_retyped)
		write_content_type(m);
	m->selves = NIL;
	read_head(m, false);
	intake_work(m, payload, DatumGetBool(again), DatumGetBool(reused), outcome);
}

static void
receive_message(IntakeMessage *m, text *payload, text *given_key, Received *received)
{
	bytea	   *hash = intake_hash(payload);
	text	   *key = intake_message_key(given_key, hash, payload);
	bool		reused = false;
	bool		is_mended;

	received->repeated = false;
	received->worked = true;
	while (!store_message(m, key, payload, hash))
	{
		if (count_again(m, key, payload, hash, received, &is_mended))
		{
			received->worked = is_mended;
			m->message_id = received->message_id;
			if (is_mended)
				work_again(m, true, &received->outcome);
			return;
		}
		if (reused)
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("another session changed the message with this key meanwhile")));
		/* senders do use a key again for another message: it is kept under a key of its own */
		reused = true;
		key = cstring_to_text(psprintf("%s#%.16s", text_to_cstring(key), intake_hash_in_hex(hash)));
	}
	received->message_id = m->message_id;
	m->is_fresh = true;
	intake_work(m, payload, false, reused, &received->outcome);
}

/* ---------- As SQL calls it ---------- */

static Datum
text_datum(const char *s, bool *isnull)
{
	*isnull = s == NULL;
	return s == NULL ? (Datum) 0 : CStringGetTextDatum(s);
}

static Datum
id_datum(int64 id, bool *isnull)
{
	*isnull = id == 0;
	return Int64GetDatum(id);
}

/* The columns status, outcome, referral_id, patient_id of an answer, from the first one on. */
static void
put_outcome(TupleDesc desc, IntakeOutcome *o, int first, Datum *values, bool *nulls)
{
	values[first] = DirectFunctionCall2(enum_in, CStringGetDatum(o->status),
										ObjectIdGetDatum(TupleDescAttr(desc, first)->atttypid));
	values[first + 1] = text_datum(o->outcome, &nulls[first + 1]);
	values[first + 2] = id_datum(o->referral_id, &nulls[first + 2]);
	values[first + 3] = id_datum(o->patient_id, &nulls[first + 3]);
}

static TupleDesc
answer_type(FunctionCallInfo fcinfo)
{
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "unexpected result type");
	return BlessTupleDesc(desc);
}

static void
check_given(bool is_given)
{
	if (!is_given)
		ereport(ERROR,
				(errcode(ERRCODE_RF_INVALID_ARGUMENT),
				 errmsg("a message needs a channel and a payload"),
				 errdetail("There is nothing to keep."),
				 errhint("Pass the message as text, what is binary as base64.")));
}

PG_FUNCTION_INFO_V1(receive);
Datum
receive(PG_FUNCTION_ARGS)
{
	TupleDesc	desc = answer_type(fcinfo);
	MemoryContext caller = CurrentMemoryContext;
	IntakeMessage message;
	Received	received;
	Datum		values[8];
	bool		nulls[8] = {false};
	HeapTuple	answer;
	int			level;

	check_source(intake_argument_text(fcinfo, 1));
	check_given(!PG_ARGISNULL(0) && !PG_ARGISNULL(3));
	level = intake_begin();
	begin_head(&message, PG_GETARG_DATUM(0), intake_argument_text(fcinfo, 1), intake_argument_text(fcinfo, 2));
	receive_message(&message, PG_GETARG_TEXT_PP(3), intake_argument_text(fcinfo, 4), &received);

	MemoryContextSwitchTo(caller);
	values[0] = Int64GetDatum(received.message_id);
	put_outcome(desc, &received.outcome, 1, values, nulls);
	values[5] = BoolGetDatum(received.repeated);
	values[6] = Int32GetDatum(received.outcome.findings);
	values[7] = text_datum(received.outcome.error, &nulls[7]);
	answer = heap_form_tuple(desc, values, nulls);
	intake_end(level);
	PG_RETURN_DATUM(HeapTupleGetDatum(answer));
}

/* An array of texts; its length when it has none of its own is that of the payloads. */
static void
read_texts(FunctionCallInfo fcinfo, int i, Datum **texts, bool **nulls, int *n)
{
	*n = 0;
	if (!PG_ARGISNULL(i))
		deconstruct_array(PG_GETARG_ARRAYTYPE_P(i), TEXTOID, -1, false, TYPALIGN_INT, texts, nulls, n);
}

PG_FUNCTION_INFO_V1(receive_chunk);
Datum
receive_chunk(PG_FUNCTION_ARGS)
{
	TupleDesc	desc = answer_type(fcinfo);
	int64		processed = 0;
	int64		repeated = 0;
	int64		failed = 0;
	int64		repeated_in_error = 0;
	Datum	   *payloads;
	Datum	   *keys;
	bool	   *no_payload;
	bool	   *no_key;
	int			npayloads;
	int			nkeys;
	IntakeMessage head;
	MemoryContext each;
	MemoryContext caller;
	Datum		values[4];
	bool		nulls[4] = {false};
	int			level;

	check_source(intake_argument_text(fcinfo, 1));
	check_given(!PG_ARGISNULL(0));
	level = intake_begin();
	read_texts(fcinfo, 3, &payloads, &no_payload, &npayloads);
	read_texts(fcinfo, 4, &keys, &no_key, &nkeys);
	begin_head(&head, PG_GETARG_DATUM(0), intake_argument_text(fcinfo, 1), intake_argument_text(fcinfo, 2));
	if (intake_mapping_name(head.content_type) != NULL)
		source_mapping_check_name(head.mapping);
	each = AllocSetContextCreate(CurrentMemoryContext, "intake message", ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(each);
	for (int i = 0; i < npayloads; i++)
	{
		IntakeMessage message = head;
		Received	received;
		bool		is_error;

		CHECK_FOR_INTERRUPTS();
		check_given(!no_payload[i]);
		receive_message(&message, DatumGetTextPP(payloads[i]),
						i < nkeys && !no_key[i] ? DatumGetTextPP(keys[i]) : NULL, &received);
		is_error = strcmp(received.outcome.status, "error") == 0;
		processed += received.worked && !is_error;
		failed += received.worked && is_error;
		repeated += !received.worked;
		repeated_in_error += !received.worked && is_error;
		MemoryContextReset(each);
	}
	MemoryContextSwitchTo(caller);
	intake_end(level);
	values[0] = Int64GetDatum(processed);
	values[1] = Int64GetDatum(repeated);
	values[2] = Int64GetDatum(failed);
	values[3] = Int64GetDatum(repeated_in_error);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}

/* Refuses where what calls this could not commit. */
PG_FUNCTION_INFO_V1(check_may_commit);
Datum
check_may_commit(PG_FUNCTION_ARGS)
{
	if (!SPI_inside_nonatomic_context() || IsTransactionBlock() || IsSubTransaction())
		ereport(ERROR,
				(errcode(ERRCODE_RF_INVALID_ARGUMENT),
				 errmsg("receive_batch() cannot be called inside a transaction"),
				 errdetail("It commits what it has received, again and again."),
				 errhint("CALL it by itself, outside of BEGIN and COMMIT, functions and blocks with EXCEPTION; "
						 "inside a transaction receive_chunk() takes arrays.")));
	PG_RETURN_VOID();
}

/* A stored message, for reprocess(). */
PG_FUNCTION_INFO_V1(reprocess);
Datum
reprocess(PG_FUNCTION_ARGS)
{
	TupleDesc	desc = answer_type(fcinfo);
	MemoryContext caller = CurrentMemoryContext;
	IntakeMessage message = {0};
	IntakeOutcome outcome;
	Datum		values[6];
	bool		nulls[6] = {false};
	HeapTuple	answer;
	int			level;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	message.org_id = PG_GETARG_INT64(0);
	message.message_id = PG_GETARG_INT64(1);
	message.content_type = intake_argument_text(fcinfo, 2);
	level = intake_begin();
	work_again(&message, message.content_type != NULL, &outcome);

	MemoryContextSwitchTo(caller);
	put_outcome(desc, &outcome, 0, values, nulls);
	values[4] = Int32GetDatum(outcome.findings);
	values[5] = text_datum(outcome.error, &nulls[5]);
	answer = heap_form_tuple(desc, values, nulls);
	intake_end(level);
	PG_RETURN_DATUM(HeapTupleGetDatum(answer));
}

/* The trigger of inbox_message: who writes to it by other ways than receive() is held to the same. */
PG_FUNCTION_INFO_V1(inbox_arrival);
Datum
inbox_arrival(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	IntakeMessage m = {0};
	HeapTuple	row;
	TupleDesc	desc;
	Datum		payload;
	Datum		value;
	int			column;
	bool		isnull;
	int			level;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ||
		!TRIGGER_FIRED_BEFORE(trigger->tg_event) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		elog(ERROR, "inbox_arrival() is a BEFORE INSERT row trigger");
	row = trigger->tg_trigtuple;
	if (is_storing)
		PG_RETURN_DATUM(PointerGetDatum(row));
	desc = RelationGetDescr(trigger->tg_relation);
	m.org_id = DatumGetInt64(SPI_getbinval(row, desc, SPI_fnumber(desc, "org_id"), &isnull));
	value = SPI_getbinval(row, desc, SPI_fnumber(desc, "source"), &isnull);
	if (!isnull)
	{
		m.source = DatumGetTextPP(value);
		level = intake_begin();
		read_head(&m, true);
		intake_end(level);
	}
	payload = SPI_getbinval(row, desc, SPI_fnumber(desc, "payload"), &isnull);
	if (!isnull)
	{
		column = SPI_fnumber(desc, "payload_hash");
		value = PointerGetDatum(intake_hash(DatumGetTextPP(payload)));
		row = heap_modify_tuple_by_cols(row, desc, 1, &column, &value, &isnull);
	}
	PG_RETURN_DATUM(PointerGetDatum(row));
}
