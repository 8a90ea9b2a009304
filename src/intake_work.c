/*-------------------------------------------------------------------------
 *
 * intake_work.c
 *		Works on a stored message: reads its parts, has their cases written,
 *		and notes on the message what became of it.
 *
 * Each part is a subtransaction, and undone alone when it fails.  Whatever is
 * written is written by functions in SQL; here is only what holds for each
 * message, since an expression of PL/pgSQL is prepared anew in each
 * transaction, and a message of its own would pay for some hundred.
 *
 * IDENTIFICATION
 *		src/intake_work.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/resowner.h"

#include "compat.h"
#include "errors.h"
#include "intake_message.h"
#include "rule.h"
#include "security.h"

/* What the cases of a message have become so far. */
typedef struct Done
{
	const char *outcome;		/* "mixed" when they differ */
	bool		wrote;
	Jsonb	   *results;
	Jsonb	   *findings;
	int64		referral_id;	/* what the last case told; 0: none */
	int64		patient_id;
	text	   *patient_match;
	text	   *message_type;
	text	   *control_id;
	int64		mapping_version;
} Done;

/* A message while it is worked on. */
typedef struct Work
{
	IntakeMessage *message;
	text	   *payload;
	PayloadKind kind;
	MemoryContext part_memory;	/* what is needed for one part only */
	bool		is_read;		/* are the parts known? */
	bool		is_json;		/* parts are jsonb, not text */
	Datum	   *parts;
	int			nparts;
	int			part;			/* the one that is worked on, from 1 on */
	Done		done;
	int			failed;			/* how many parts */
	const char *error_code;		/* of the first of them */
	const char *error;
	const char *error_position;
} Work;

static IntakeStatement split = {
	.sql = "SELECT referral.payload_parts($1, $2)",
	.nargs = 2,.argtypes = {TEXTOID, TEXTOID}
};
static IntakeStatement split_json = {
	.sql = "SELECT referral.payload_records($1, $2)",
	.nargs = 2,.argtypes = {TEXTOID, TEXTOID}
};
static IntakeStatement map_hl7 = {
	.sql = "SELECT referral.map_hl7v2(referral.hl7_parse($1), $2, $3)",
	.nargs = 3,.argtypes = {TEXTOID, TEXTOID, TEXTOID}
};
static IntakeStatement map_fhir = {
	.sql = "SELECT referral.map_fhir($1, $2)",
	.nargs = 2,.argtypes = {JSONBOID, TEXTOID}
};
static IntakeStatement map_record = {
	.sql = "SELECT referral.map_record($1, $2)",
	.nargs = 2,.argtypes = {JSONBOID, TEXTOID}
};
static IntakeStatement number_case = {
	.sql = "SELECT jsonb_set($1, '{message}', coalesce($1 -> 'message', '{}') || jsonb_build_object('part',"
	" concat_ws('.', $2, coalesce($1 #>> '{message,part}', $3::text))))",
	.nargs = 3,.argtypes = {JSONBOID, INT4OID, INT4OID}
};
static IntakeStatement apply_case = {
	.sql = "SELECT referral.apply_case($1, $2, $3, $4, $5)",
	.nargs = 5,.argtypes = {INT8OID, INT8OID, TEXTOID, TEXTOID, JSONBOID}
};
static IntakeStatement check_referral = {
	.sql = "SELECT referral.check_referral($1, $2)",
	.nargs = 2,.argtypes = {INT8OID, INT8OID}
};
static IntakeStatement check_patient = {
	.sql = "SELECT referral.check_patient($1, $2)",
	.nargs = 2,.argtypes = {INT8OID, INT8OID}
};
static IntakeStatement keep_document = {
	.sql = "SELECT k.document_id, k.is_new, k.told, k.filed_in FROM referral.keep_document($1, $2, $3, $4, $5) k",
	.nargs = 5,.argtypes = {INT8OID, INT8OID, TEXTOID, TEXTOID, TEXTOID}
};
static IntakeStatement place_document = {
	.sql = "UPDATE referral.document d SET referral_id = $3, patient_id = $4"
	" WHERE d.org_id = $1 AND d.document_id = $2 AND (d.referral_id, d.patient_id) IS DISTINCT FROM ($3, $4)",
	.nargs = 4,.argtypes = {INT8OID, INT8OID, INT8OID, INT8OID}
};
static IntakeStatement describe_error = {
	.sql = "SELECT referral.is_passing_error($1), referral.intake_error($1, $2, $3)",
	.nargs = 3,.argtypes = {TEXTOID, TEXTOID, TEXTOID}
};
static IntakeStatement note_outcome = {
	.sql = "UPDATE referral.inbox_message x"
	" SET status = $3::referral.inbox_status, mapping_version = $11, error_code = $12, error = $13, error_position = $14,"
	" attempts = x.attempts + 1, processed_at = clock_timestamp(),"
	/* what it wrote when it was worked on before is still there */
	" outcome = CASE WHEN $15 AND NOT $16 THEN x.outcome ELSE $4 END,"
	" results = CASE WHEN $15 AND NOT $16 THEN x.results ELSE $5 END,"
	" referral_id = coalesce($6, CASE WHEN $15 THEN x.referral_id END),"
	" patient_id = coalesce($7, CASE WHEN $15 THEN x.patient_id END),"
	" patient_match = coalesce($8, CASE WHEN $15 THEN x.patient_match END),"
	" message_type = coalesce($9, CASE WHEN $15 THEN x.message_type END),"
	" control_id = coalesce($10, CASE WHEN $15 THEN x.control_id END)"
	" WHERE x.org_id = $1 AND x.message_id = $2",
	.nargs = 16,.argtypes = {INT8OID, INT8OID, TEXTOID, TEXTOID, JSONBOID, INT8OID, INT8OID, TEXTOID, TEXTOID, TEXTOID, INT8OID, TEXTOID, TEXTOID, TEXTOID,
	BOOLOID, BOOLOID}
};
static IntakeStatement note_findings = {
	.sql = "SELECT referral.note_findings($1, $2, $3, $4)",
	.nargs = 4,.argtypes = {INT8OID, INT8OID, BOOLOID, JSONBOID}
};
static IntakeStatement settle_told = {
	.sql = "SELECT referral.settle_told($1, $2)",
	.nargs = 2,.argtypes = {INT8OID, JSONBOID}
};
static IntakeStatement open_exception = {
	.sql = "SELECT referral.open_exception($1, 'integration', 'inbox_message', $2, $3, 'not_processed', concat_ws('; ', $4, $5), 'high')",
	.nargs = 5,.argtypes = {INT8OID, INT8OID, INT8OID, TEXTOID, TEXTOID}
};
static IntakeStatement close_exception = {
	.sql = "SELECT referral.close_exception(e.org_id, e.exception_id, 'the message was processed')"
	" FROM referral.exception_item e WHERE e.org_id = $1 AND e.entity = 'inbox_message' AND e.entity_id = $2"
	" AND e.category = 'integration' AND e.code = 'not_processed' AND e.status NOT IN ('resolved', 'dismissed')"
	" AND e.exception_rule_id IS NULL",
	.nargs = 2,.argtypes = {INT8OID, INT8OID}
};

/* ---------- Values ---------- */

/* A member of an object, as a value; false when it is not there, or null. */
static bool
member(Jsonb *object, const char *key, JsonbValue *value)
{
	return object != NULL && JB_ROOT_IS_OBJECT(object) &&
		getKeyJsonValueFromContainer(&object->root, key, strlen(key), value) != NULL && value->type != jbvNull;
}

/* NULL when it is no text or number. */
static char *
member_text(Jsonb *object, const char *key)
{
	JsonbValue	value;

	if (!member(object, key, &value))
		return NULL;
	if (value.type == jbvString)
		return pnstrdup(value.val.string.val, value.val.string.len);
	if (value.type == jbvNumeric)
		return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value.val.numeric)));
	return NULL;
}

/* 0 when it is no number. */
static int64
member_id(Jsonb *object, const char *key)
{
	JsonbValue	value;

	if (!member(object, key, &value) || value.type != jbvNumeric)
		return 0;
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(value.val.numeric)));
}

/* NULL when it is no object or array. */
static Jsonb *
member_jsonb(Jsonb *object, const char *key)
{
	JsonbValue	value;

	if (!member(object, key, &value) || value.type != jbvBinary)
		return NULL;
	return JsonbValueToJsonb(&value);
}

static Jsonb *
jsonb_of(const char *s)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(s)));
}

/* a || b; NULL is an empty list */
static Jsonb *
joined(Jsonb *a, Jsonb *b)
{
	if (a == NULL || b == NULL)
		return a == NULL ? b : a;
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(a), JsonbPGetDatum(b)));
}

static bool
is_text(const char *s, const char *word)
{
	return s != NULL && strcmp(s, word) == 0;
}

static text *
text_or_null(const char *s)
{
	return s == NULL ? NULL : cstring_to_text(s);
}

/* Arguments of a statement, null where there is no value. */
static void
put_pointer(Datum *args, char *nulls, int i, const void *value)
{
	args[i] = PointerGetDatum(value);
	nulls[i] = value == NULL ? 'n' : ' ';
}

static void
put_id(Datum *args, char *nulls, int i, int64 id)
{
	args[i] = Int64GetDatum(id);
	nulls[i] = id == 0 ? 'n' : ' ';
}

/* ---------- What became of a case ---------- */

/* Does a case tell of it, in its results: an entity that was written so? */
static bool
has_result(Jsonb *results, const char *entity, const char *action)
{
	int			n = results == NULL ? 0 : JB_ROOT_COUNT(results);

	for (int i = 0; i < n; i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(&results->root, i);
		JsonbValue	e;
		JsonbValue	a;

		if (element->type != jbvBinary ||
			getKeyJsonValueFromContainer(element->val.binary.data, "entity", 6, &e) == NULL ||
			getKeyJsonValueFromContainer(element->val.binary.data, "action", 6, &a) == NULL ||
			e.type != jbvString || a.type != jbvString)
			continue;
		if ((entity == NULL ||
			 (e.val.string.len == strlen(entity) && strncmp(e.val.string.val, entity, e.val.string.len) == 0)) &&
			a.val.string.len == strlen(action) && strncmp(a.val.string.val, action, a.val.string.len) == 0)
			return true;
	}
	return false;
}

/* The first that is more than unchanged, since a row may come several times; NULL for none. */
static const char *
action_on(Jsonb *results, const char *entity)
{
	int			n = results == NULL ? 0 : JB_ROOT_COUNT(results);

	for (int i = 0; i < n; i++)
	{
		Jsonb	   *line = JsonbValueToJsonb(getIthJsonbValueFromContainer(&results->root, i));
		const char *action = member_text(line, "action");

		if ((entity == NULL || is_text(member_text(line, "entity"), entity)) && action != NULL &&
			strcmp(action, "unchanged") != 0)
			return action;
	}
	return has_result(results, entity, "unchanged") ? "unchanged" : NULL;
}

/*
 * One word: what it is about, and created, updated, unchanged, or kept when no
 * row of its own was written.
 */
static const char *
case_outcome(const char *kind, int64 referral_id, Jsonb *results)
{
	bool		is_referral = strcmp(kind, "referral") == 0 || strcmp(kind, "referral_cancel") == 0 ||
		strcmp(kind, "referral_status") == 0;
	const char *about = is_referral ? "referral" : kind;
	const char *entity = about;
	const char *action;

	if (strcmp(kind, "report") == 0)
		entity = "consult_report";
	else if (strcmp(kind, "authorization") == 0)
		entity = "prior_authorization";
	else if (strcmp(kind, "directory") == 0)
		entity = NULL;			/* is about rows of any kind */
	action = action_on(results, entity);
	if (strcmp(kind, "referral_cancel") == 0 && is_text(action, "updated"))
		return "referral_cancelled";
	if (action != NULL)
		return psprintf("%s_%s", about, action);
	if (!is_referral)
		return psprintf("%s_kept", about);
	return referral_id == 0 ? "referral_not_found" : "referral_unchanged";
}

/* The findings of a case of a file, each with its line where it has no place yet; line may be NULL. */
static Jsonb *
with_line(Jsonb *findings, const char *line)
{
	JsonbParseState *state = NULL;
	JsonbValue	value;
	Jsonb	   *place;
	int			n = JB_ROOT_COUNT(findings);

	if (line == NULL)
		return findings;
	place = jsonb_of(psprintf("{\"position\": \"line %s\"}", line));
	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < n; i++)
	{
		Jsonb	   *finding = JsonbValueToJsonb(getIthJsonbValueFromContainer(&findings->root, i));

		if (!member(finding, "position", &value))
			finding = joined(finding, place);
		value.type = jbvBinary;
		value.val.binary.data = &finding->root;
		value.val.binary.len = VARSIZE(finding) - VARHDRSZ;
		pushJsonbValue(&state, WJB_ELEM, &value);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL));
}

/* The findings of a case, each with the referral and patient that it is about. */
static Jsonb *
with_ids(Jsonb *findings, int64 referral_id, int64 patient_id)
{
	JsonbParseState *state = NULL;
	JsonbValue	value;
	StringInfoData tag;
	int			n = JB_ROOT_COUNT(findings);

	if (referral_id == 0 && patient_id == 0)
		return findings;
	initStringInfo(&tag);
	if (referral_id != 0)
		appendStringInfo(&tag, "{\"referral_id\": " INT64_FORMAT "%s", referral_id, patient_id != 0 ? ", " : "}");
	if (patient_id != 0)
		appendStringInfo(&tag, "%s\"patient_id\": " INT64_FORMAT "}", referral_id != 0 ? "" : "{", patient_id);
	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < n; i++)
	{
		Jsonb	   *finding = JsonbValueToJsonb(getIthJsonbValueFromContainer(&findings->root, i));

		finding = joined(finding, jsonb_of(tag.data));
		value.type = jbvBinary;
		value.val.binary.data = &finding->root;
		value.val.binary.len = VARSIZE(finding) - VARHDRSZ;
		pushJsonbValue(&state, WJB_ELEM, &value);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL));
}

/* ---------- Cases ---------- */

static bool
is_our_own(IntakeMessage *m, const char *name)
{
	ListCell   *lc;

	foreach(lc, m->selves)
	{
		if (is_text(name, lfirst(lc)))
			return true;
	}
	return false;
}

/* What the message says of itself; true when it tells of a change that was our own. */
static bool
take_head(IntakeMessage *m, Jsonb *head, Done *done)
{
	char	   *control_id = member_text(head, "control_id");

	if (done->message_type == NULL)
		done->message_type = text_or_null(member_text(head, "type"));
	if (done->control_id == NULL)
		done->control_id = text_or_null(control_id);
	if (done->mapping_version == 0)
		done->mapping_version = member_id(head, "mapping_version");
	/* in effect until the next one */
	if (control_id == NULL || *control_id == '\0')
		control_id = psprintf("message " INT64_FORMAT, m->message_id);
	intake_set("referral.correlation_id", control_id);
	return is_our_own(m, member_text(head, "originator")) || is_our_own(m, member_text(head, "sender"));
}

/* What follows from rows that were written: what is known of a patient now counts for the referrals that he has. */
static void
check(IntakeMessage *m, Jsonb *written, const char *became)
{
	Jsonb	   *results = member_jsonb(written, "results");
	Datum		args[] = {Int64GetDatum(m->org_id), Int64GetDatum(member_id(written, "referral_id"))};
	char	   *match = member_text(written, "patient_match");

	if (is_text(became, "referral_created") || is_text(became, "referral_updated"))
	{
		intake_do(&check_referral, args, NULL);
	}
	if (match != NULL && strcmp(match, "new") != 0 &&
		(has_result(results, "patient", "updated") || has_result(results, "coverage", "created") ||
		 has_result(results, "coverage", "updated")))
	{
		args[1] = Int64GetDatum(member_id(written, "patient_id"));
		intake_do(&check_patient, args, NULL);
	}
}

/* The message of which a case is being written; is_fresh: its first one, and it has just been stored. */
static struct
{
	int64		org_id;
	int64		message_id;		/* 0: none */
	bool		is_fresh;
}			in_work;

bool
intake_is_fresh_message(int64 message_id)
{
	return in_work.is_fresh && message_id != 0 && message_id == in_work.message_id;
}

bool
intake_is_message_in_work(int64 org_id, int64 message_id)
{
	return message_id != 0 && message_id == in_work.message_id && org_id == in_work.org_id;
}

PG_FUNCTION_INFO_V1(intake_is_fresh);

/* intake_is_fresh(message_id bigint) returns boolean */
Datum
intake_is_fresh(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(intake_is_fresh_message(PG_GETARG_INT64(0)));
}

/* Has the case written: what apply_case() says. */
static Jsonb *
apply(IntakeMessage *m, Jsonb *intake)
{
	Datum		args[] = {Int64GetDatum(m->org_id), Int64GetDatum(m->message_id), PointerGetDatum(m->source),
	PointerGetDatum(m->channel), JsonbPGetDatum(intake)};
	Datum		value;
	Jsonb	   *written;

	Assert(in_work.message_id == 0);
	in_work.org_id = m->org_id;
	in_work.message_id = m->message_id;
	in_work.is_fresh = m->is_fresh;
	m->is_fresh = false;
	PG_TRY();
	{
		intake_run(&apply_case, args, NULL);
	}
	PG_FINALLY();
	{
		memset(&in_work, 0, sizeof(in_work));
	}
	PG_END_TRY();
	(void) intake_returned(1, &value);
	written = DatumGetJsonbPCopy(value);
	SPI_freetuptable(SPI_tuptable);
	return written;
}

/* Has the case written, and adds what became of it. */
static void
write_case(IntakeMessage *m, const char *kind, const char *line, Jsonb *intake, Done *done)
{
	const char *became = NULL;
	Jsonb	   *written = NULL;
	Jsonb	   *findings;
	int64		referral_id;
	int64		patient_id;

	if (is_text(kind, "none"))
		became = "none";
	else
	{
		written = apply(m, intake);
		if (kind != NULL)
			became = case_outcome(kind, member_id(written, "referral_id"), member_jsonb(written, "results"));
		done->wrote = true;
		done->results = joined(done->results, member_jsonb(written, "results"));
		check(m, written, became);
	}
	done->outcome = done->outcome != NULL && became != NULL && strcmp(done->outcome, became) != 0 ? "mixed" : became;
	referral_id = member_id(written, "referral_id");
	patient_id = member_id(written, "patient_id");
	findings = joined(member_jsonb(intake, "findings"), member_jsonb(written, "findings"));
	if (findings != NULL && JB_ROOT_COUNT(findings) > 0)
		done->findings = joined(done->findings, with_ids(with_line(findings, line), referral_id, patient_id));
	if (referral_id != 0)
		done->referral_id = referral_id;
	if (patient_id != 0)
		done->patient_id = patient_id;
	if (member_text(written, "patient_match") != NULL)
		done->patient_match = cstring_to_text(member_text(written, "patient_match"));
}

/* Unless it is an echo of our own change. */
static void
take_case(IntakeMessage *m, Jsonb *intake, Done *done)
{
	Jsonb	   *head = member_jsonb(intake, "message");

	if (head != NULL && take_head(m, head, done))
		done->outcome = done->outcome != NULL && strcmp(done->outcome, "echo") != 0 ? "mixed" : "echo";
	else
		write_case(m, member_text(intake, "kind"), member_text(head, "line"), intake, done);
}

/* A payload without structure; when it has been read by now, there is a case of it. */
static void
take_document(Work *work)
{
	IntakeMessage *m = work->message;
	Done	   *done = &work->done;
	Datum		args[5] = {Int64GetDatum(m->org_id), Int64GetDatum(m->message_id), PointerGetDatum(m->source)};
	char		nulls[] = "     ";
	int64		id;
	Datum		value;
	bool		is_new;
	int64		filed_in;
	Jsonb	   *told = NULL;
	MemoryContext part_memory = CurrentMemoryContext;
	OwnerScope	scope;

	put_pointer(args, nulls, 3, m->content_type);
	put_pointer(args, nulls, 4, work->payload);
	/* as the owner: nobody else may keep a document as that of any message */
	security_begin_read(&scope, rule_cache(false)->owner);
	intake_run(&keep_document, args, nulls);
	MemoryContextSwitchTo(part_memory);
	id = intake_returned_id(1);
	is_new = intake_returned(2, &value) && DatumGetBool(value);
	if (intake_returned(3, &value))
		told = DatumGetJsonbPCopy(value);
	filed_in = intake_returned_id(4);
	security_end_read(&scope);
	if (told == NULL)
	{
		const char *action = is_new ? "created" : "unchanged";

		done->outcome = psprintf("document_%s", action);
		done->wrote = true;
		done->results = joined(done->results, jsonb_of(psprintf("[{\"entity\": \"document\", \"id\": " INT64_FORMAT
																", \"action\": \"%s\"}]", id, action)));
		if (filed_in == 0)
			done->findings = joined(done->findings, jsonb_of("[{\"code\": \"content_not_indexed\", \"severity\": \"error\"}]"));
		else
			done->results = joined(done->results, jsonb_of(psprintf("[{\"entity\": \"referral\", \"id\": " INT64_FORMAT
																	", \"action\": \"unchanged\"}]", filed_in)));
		done->referral_id = filed_in;
		return;
	}
	take_case(m, told, done);
	args[1] = Int64GetDatum(id);
	put_id(args, nulls, 2, done->referral_id);
	put_id(args, nulls, 3, done->patient_id);
	intake_do(&place_document, args, nulls);
}

/* ---------- Parts ---------- */

static void
read_parts(Work *work)
{
	Datum		args[] = {CStringGetTextDatum(intake_payload_kind_name(work->kind)), PointerGetDatum(work->payload)};
	Datum		value;
	MemoryContext caller = MemoryContextSwitchTo(MemoryContextGetParent(work->part_memory));

	if (intake_is_whole(work->kind, work->payload))
	{
		work->parts = palloc(sizeof(Datum));
		work->parts[0] = PointerGetDatum(work->payload);
		work->nparts = 1;
	}
	else
	{
		work->is_json = work->kind == PAYLOAD_CSV || work->kind == PAYLOAD_JSON;
		intake_run(work->is_json ? &split_json : &split, args, NULL);
		(void) intake_returned(1, &value);
		deconstruct_array(DatumGetArrayTypePCopy(value), work->is_json ? JSONBOID : TEXTOID, -1, false, TYPALIGN_INT,
						  &work->parts, NULL, &work->nparts);
		SPI_freetuptable(SPI_tuptable);
	}
	MemoryContextSwitchTo(caller);
	work->is_read = true;
}

/* Runs the mapper of a part: its cases are the rows that come back. */
static void
map_part(Work *work, Datum part)
{
	IntakeMessage *m = work->message;
	Datum		args[3] = {part, PointerGetDatum(m->source)};
	Jsonb	   *content;
	JsonbValue	value;

	if (work->kind == PAYLOAD_HL7)
	{
		args[2] = CStringGetTextDatum(m->zone);
		intake_run(&map_hl7, args, NULL);
		return;
	}
	content = work->is_json ? DatumGetJsonbP(part) : intake_payload_json(DatumGetTextPP(part));
	args[0] = JsonbPGetDatum(content);
	if (work->kind == PAYLOAD_FHIR || (work->kind != PAYLOAD_CSV && member(content, "resourceType", &value)))
		intake_run(&map_fhir, args, NULL);
	else if (m->mapping == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_RF_INVALID_MESSAGE),
				 errmsg("no mapping says what the fields mean"),
				 errdetail_internal("whole message"),
				 errhint("Set default_mapping in referral.source_system, or name a mapping in the content type: text/csv; mapping=name.")));
	else
	{
		args[1] = PointerGetDatum(m->mapping);
		intake_run(&map_record, args, NULL);
	}
}

/* What has no number of its own is known by its place. */
static Jsonb *
numbered(Work *work, Jsonb *intake, int n)
{
	Datum		args[] = {JsonbPGetDatum(intake), Int32GetDatum(work->part), Int32GetDatum(n)};
	Datum		value;

	if (work->nparts == 1 && n == 1)
		return intake;
	intake_run(&number_case, args, work->nparts == 1 ? " n " : NULL);
	(void) intake_returned(1, &value);
	intake = DatumGetJsonbPCopy(value);
	SPI_freetuptable(SPI_tuptable);
	return intake;
}

static void
take_part(Work *work)
{
	SPITupleTable *cases;
	uint64		ncases;

	if (work->kind == PAYLOAD_DOCUMENT)
	{
		take_document(work);
		return;
	}
	map_part(work, work->parts[work->part - 1]);
	cases = SPI_tuptable;
	ncases = SPI_processed;
	if (ncases == 0)
		ereport(ERROR,
				(errcode(ERRCODE_RF_INVALID_MESSAGE),
				 errmsg("the message tells nothing that is known"),
				 errdetail_internal("whole message"),
				 errhint("Is the content type right? Does the mapping take records of this form?")));
	for (uint64 i = 0; i < ncases; i++)
	{
		bool		isnull;
		Datum		intake = SPI_getbinval(cases->vals[i], cases->tupdesc, 1, &isnull);

		if (!isnull)
			take_case(work->message, numbered(work, DatumGetJsonbP(intake), i + 1), &work->done);
	}
	SPI_freetuptable(cases);
}

/* A transfer that broke off is nothing that a person could read. */
static void
check_not_empty(text *payload)
{
	if (intake_is_empty(payload))
		ereport(ERROR,
				(errcode(ERRCODE_RF_INVALID_MESSAGE),
				 errmsg("the message is empty"),
				 errdetail_internal("whole message"),
				 errhint("Have the sender send it again.")));
}

/* The next part; reads what the parts are when that is not known. */
static void
take_next(Work *work)
{
	/* times without a zone are the sender's, and never the session's; here, because the server may not know it */
	intake_set("TimeZone", work->message->zone);
	if (!work->is_read)
	{
		check_not_empty(work->payload);
		read_parts(work);
	}
	if (work->part < work->nparts)
	{
		work->part++;
		take_part(work);
	}
}

static Jsonb *
kept_jsonb(Jsonb *now, Jsonb *before)
{
	if (now == before)
		return before;
	if (before != NULL)
		pfree(before);
	return DatumGetJsonbP(datumCopy(JsonbPGetDatum(now), false, -1));
}

static text *
kept_text(text *now, text *before)
{
	return now == before ? before : DatumGetTextP(datumCopy(PointerGetDatum(now), false, -1));
}

/* What a part has added to what became of the message outlives the part. */
static void
keep_done(Done *done, Done *before)
{
	done->results = kept_jsonb(done->results, before->results);
	done->findings = kept_jsonb(done->findings, before->findings);
	done->patient_match = kept_text(done->patient_match, before->patient_match);
	done->message_type = kept_text(done->message_type, before->message_type);
	done->control_id = kept_text(done->control_id, before->control_id);
	if (done->outcome != NULL)
		done->outcome = pstrdup(done->outcome);
}

/* Its error when it fails: then nothing of it is written. */
static ErrorData *
attempt_next(Work *work)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	Done		before = work->done;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(work->part_memory);
	PG_TRY();
	{
		take_next(work);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(caller);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(caller);
		CurrentResourceOwner = owner;
		work->done = before;
	}
	PG_END_TRY();
	if (error == NULL)
		keep_done(&work->done, &before);
	MemoryContextReset(work->part_memory);
	return error;
}

/* Keeps what went wrong, without anything that the message holds.  An error of the moment is raised again. */
static void
note_error(Work *work, ErrorData *error)
{
	const char *code = pstrdup(unpack_sql_state(error->sqlerrcode));
	Datum		args[3] = {CStringGetTextDatum(code)};
	char		nulls[] = "   ";
	Datum		is_passing;

	put_pointer(args, nulls, 1, text_or_null(error->message));
	put_pointer(args, nulls, 2, text_or_null(error->context));
	intake_run(&describe_error, args, nulls);
	if (error->sqlerrcode == ERRCODE_ASSERT_FAILURE || (intake_returned(1, &is_passing) && DatumGetBool(is_passing)))
		ReThrowError(error);
	if (work->failed++ == 0)
	{
		bool		is_placed = error->sqlerrcode == ERRCODE_RF_INVALID_MESSAGE && error->detail != NULL && *error->detail != '\0';

		work->error_code = code;
		work->error = intake_returned_text(2);
		if (work->nparts > 1)
			work->error_position = psprintf("part %d%s%s", work->part, is_placed ? ", " : "", is_placed ? error->detail : "");
		else if (is_placed)
			work->error_position = error->detail;
	}
	SPI_freetuptable(SPI_tuptable);
}

/* ---------- The message ---------- */

static const char *
status_of(Work *work)
{
	if (work->failed > 0)
		return "error";
	if (is_text(work->done.outcome, "echo"))
		return "echo";
	return work->done.wrote ? "processed" : "ignored";
}

static void
write_outcome(Work *work, const char *status)
{
	Done	   *done = &work->done;
	Datum		args[16];
	char		nulls[] = "                ";

	put_id(args, nulls, 0, work->message->org_id);
	put_id(args, nulls, 1, work->message->message_id);
	put_pointer(args, nulls, 2, cstring_to_text(status));
	put_pointer(args, nulls, 3, text_or_null(done->outcome));
	put_pointer(args, nulls, 4, done->results != NULL ? done->results : jsonb_of("[]"));
	put_id(args, nulls, 5, done->referral_id);
	put_id(args, nulls, 6, done->patient_id);
	put_pointer(args, nulls, 7, done->patient_match);
	put_pointer(args, nulls, 8, done->message_type);
	put_pointer(args, nulls, 9, done->control_id);
	put_id(args, nulls, 10, done->mapping_version);
	put_pointer(args, nulls, 11, text_or_null(work->error_code));
	put_pointer(args, nulls, 12, text_or_null(work->error));
	put_pointer(args, nulls, 13, text_or_null(work->error_position));
	args[14] = BoolGetDatum(work->failed > 0);
	args[15] = BoolGetDatum(done->wrote);
	intake_do(&note_outcome, args, nulls);
}

/* How many findings there are. */
static int
write_findings(Work *work, bool again)
{
	Datum		args[] = {Int64GetDatum(work->message->org_id), Int64GetDatum(work->message->message_id),
	BoolGetDatum(again && work->failed == 0), JsonbPGetDatum(work->done.findings)};
	Datum		value;
	int			n = 0;

	if (work->done.findings == NULL)
	{
		if (!again)
			return 0;
		args[3] = JsonbPGetDatum(jsonb_of("[]"));
	}
	intake_run(&note_findings, args, NULL);
	if (intake_returned(1, &value))
		n = DatumGetInt32(value);
	SPI_freetuptable(SPI_tuptable);
	return n;
}

/* What older messages could not tell, and this one has told. */
static void
settle_older(Work *work)
{
	Datum		args[] = {Int64GetDatum(work->message->org_id), JsonbPGetDatum(work->done.results)};

	if (has_result(work->done.results, "data_quality_finding", "settled"))
		intake_do(&settle_told, args, NULL);
}

/* A message that could not be processed is work for somebody, until it can. */
static void
write_exception(Work *work, bool again)
{
	Datum		args[5] = {Int64GetDatum(work->message->org_id), Int64GetDatum(work->message->message_id)};
	char		nulls[] = "     ";

	if (work->failed > 0)
	{
		put_id(args, nulls, 2, work->done.referral_id);
		put_pointer(args, nulls, 3, text_or_null(work->error));
		put_pointer(args, nulls, 4, text_or_null(work->error_position));
		intake_do(&open_exception, args, nulls);
	}
	else if (again)
		intake_do(&close_exception, args, NULL);
}

/*
 * As the owner of the model: nobody else has the right to say what became of a
 * message, or that what was found about it is settled.
 */
static void
write_result(Work *work, bool again, IntakeOutcome *outcome)
{
	OwnerScope	scope;

	security_begin_read(&scope, rule_cache(false)->owner);
	write_outcome(work, outcome->status);
	outcome->findings = write_findings(work, again);
	settle_older(work);
	write_exception(work, again);
	security_end_read(&scope);
}

/*
 * Raises only errors of the moment: the caller has to repeat then.  again: it
 * was worked on before.
 */
void
intake_work(IntakeMessage *message, text *payload, bool again, bool key_reused, IntakeOutcome *outcome)
{
	Work		work = {.message = message,.payload = payload};
	int			level = NewGUCNestLevel();

	work.kind = intake_payload_kind(message->content_type, payload, text_to_cstring(message->channel));
	work.part_memory = AllocSetContextCreate(CurrentMemoryContext, "intake part", ALLOCSET_DEFAULT_SIZES);
	intake_set("referral.origin", text_to_cstring(message->source));
	intake_set("referral.correlation_id", psprintf("message " INT64_FORMAT, message->message_id));
	do
	{
		ErrorData  *error = attempt_next(&work);

		if (error != NULL)
			note_error(&work, error);
	} while (work.part < work.nparts);
	if (work.failed > 0 && work.nparts > 1)
		work.error = psprintf("%d of %d parts: %s", work.failed, work.nparts, work.error);
	if (key_reused)
		work.done.findings = joined(work.done.findings, jsonb_of("[{\"code\": \"dedup_key_reused\", \"severity\": \"warning\"}]"));

	outcome->status = status_of(&work);
	outcome->outcome = work.done.outcome;
	outcome->referral_id = work.done.referral_id;
	outcome->patient_id = work.done.patient_id;
	outcome->error = work.error;
	write_result(&work, again, outcome);
	MemoryContextDelete(work.part_memory);
	AtEOXact_GUC(false, level);
}
