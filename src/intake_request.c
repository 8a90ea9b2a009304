/*-------------------------------------------------------------------------
 *
 * intake_request.c
 *		What a case of intake says of a referral: its columns, its codes, and
 *		which of its values cannot be used.
 *
 * IDENTIFICATION
 *		src/intake_request.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/syscache.h"

#include "compat.h"
#include "intake.h"
#include "intake_message.h"

extern Datum try_boolean(PG_FUNCTION_ARGS);
extern Datum try_date(PG_FUNCTION_ARGS);
extern Datum try_numeric(PG_FUNCTION_ARGS);
extern Datum try_timestamp(PG_FUNCTION_ARGS);

/* ---------- Values that have to be of a kind ---------- */

typedef enum ToldKind
{
	TOLD_LABEL,					/* of the enum type that is named as the value is */
	TOLD_TIME,
	TOLD_DATE,
	TOLD_BOOLEAN,
	TOLD_AMOUNT,				/* numeric(12,2) */
} ToldKind;

typedef struct ToldValue
{
	const char *key;
	ToldKind	kind;
	const char *otherwise;		/* the label of who says nothing */
} ToldValue;

/* columns of the request */
static const ToldValue told_columns[] = {
	{"urgency", TOLD_LABEL, "routine"},
	{"intent", TOLD_LABEL, "order"},
	{"authored_at", TOLD_TIME, NULL},
	{"expires_on", TOLD_DATE, NULL},
	{"authorization_required", TOLD_BOOLEAN, NULL},
	{"expected_value", TOLD_AMOUNT, NULL},
};

/* what else is told of it */
static const ToldValue told_beside[] = {
	{"state", TOLD_LABEL, NULL},
	{"decision", TOLD_LABEL, NULL},
	{"received_at", TOLD_TIME, NULL},
};

/* Calls a function that answers null, which DirectFunctionCall() does not allow; a second argument is null. */
static bool
try_read(PGFunction function, Datum value, Datum *result)
{
	LOCAL_FCINFO(fcinfo, 2);

	InitFunctionCallInfoData(*fcinfo, NULL, 2, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = value;
	fcinfo->args[0].isnull = false;
	fcinfo->args[1].value = 0;
	fcinfo->args[1].isnull = true;
	*result = function(fcinfo);
	return !fcinfo->isnull;
}

/* The value of a label of one of our enum types; false where there is none. */
static bool
read_label(const char *type, const char *label, Oid schema, Datum *result)
{
	Oid			typid = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
										CStringGetDatum(type), ObjectIdGetDatum(schema));
	Oid			value = InvalidOid;

	if (strlen(label) < NAMEDATALEN)
		value = GetSysCacheOid2(ENUMTYPOIDNAME, Anum_pg_enum_oid,
								ObjectIdGetDatum(typid), CStringGetDatum(label));
	*result = ObjectIdGetDatum(value);
	return OidIsValid(value);
}

static bool
read_amount(Datum text, Datum *result)
{
	Datum		limit = DirectFunctionCall1(int8_numeric, Int64GetDatum(INT64CONST(10000000000)));

	if (!try_read(try_numeric, text, result))
		return false;
	*result = DirectFunctionCall2(numeric_round, *result, Int32GetDatum(2));
	return DatumGetBool(DirectFunctionCall2(numeric_lt, DirectFunctionCall1(numeric_abs, *result), limit));
}

static bool
read_told(const ToldValue *told, text *value, Oid schema, Datum *result)
{
	switch (told->kind)
	{
		case TOLD_LABEL:
			return read_label(told->key, text_to_cstring(value), schema, result);
		case TOLD_TIME:
			return try_read(try_timestamp, PointerGetDatum(value), result);
		case TOLD_DATE:
			return try_read(try_date, PointerGetDatum(value), result);
		case TOLD_BOOLEAN:
			return try_read(try_boolean, PointerGetDatum(value), result);
		case TOLD_AMOUNT:
			return read_amount(PointerGetDatum(value), result);
	}
	return false;
}

/* Is there something of that name which is no value of its kind? */
static bool
is_unusable(const ToldValue *told, JsonbContainer *request, Oid schema)
{
	JsonbValue	v;
	text	   *value;
	Datum		ignored;

	if (getKeyJsonValueFromContainer(request, told->key, strlen(told->key), &v) == NULL)
		return false;
	if (v.type == jbvBinary)
		return true;
	value = intake_member_text(request, told->key);
	return value != NULL && !read_told(told, value, schema, &ignored);
}

static int
list_unusable(const ToldValue *told, int ntold, JsonbContainer *request, Oid schema, Datum *keys)
{
	int			count = 0;

	for (int i = 0; i < ntold; i++)
		if (is_unusable(&told[i], request, schema))
			keys[count++] = CStringGetTextDatum(told[i].key);
	return count;
}

PG_FUNCTION_INFO_V1(intake_unusable);

/* intake_unusable(request jsonb) returns text[] */
Datum
intake_unusable(PG_FUNCTION_ARGS)
{
	Jsonb	   *request = intake_argument_object(fcinfo, 0);
	Oid			schema = get_func_namespace(fcinfo->flinfo->fn_oid);
	Datum		keys[lengthof(told_columns) + lengthof(told_beside)];
	bool		nulls[lengthof(keys)] = {false};
	int			count;

	if (request == NULL)
		PG_RETURN_NULL();
	count = list_unusable(told_columns, lengthof(told_columns), &request->root, schema, keys);
	count += list_unusable(told_beside, lengthof(told_beside), &request->root, schema, keys + count);
	if (count == 0)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(intake_text_array(keys, nulls, count));
}

/* ---------- The columns ---------- */

typedef struct Request
{
	TupleDesc	desc;
	Datum	   *values;
	bool	   *nulls;
} Request;

static int
column(Request *n, const char *name)
{
	for (int i = 0; i < n->desc->natts; i++)
		if (namestrcmp(&TupleDescAttr(n->desc, i)->attname, name) == 0)
			return i;
	elog(ERROR, "intake_request has no column \"%s\"", name);
}

static void
put(Request *n, const char *name, Datum value, bool isnull)
{
	int			i = column(n, name);

	n->values[i] = value;
	n->nulls[i] = isnull;
}

static void
put_text(Request *n, const char *name, text *value)
{
	put(n, name, PointerGetDatum(value), value == NULL);
}

static void
put_told(Request *n, JsonbContainer *request, Oid schema)
{
	for (int i = 0; i < lengthof(told_columns); i++)
	{
		const ToldValue *told = &told_columns[i];
		text	   *value = intake_member_text(request, told->key);
		Datum		result;

		if (value != NULL && read_told(told, value, schema, &result))
			put(n, told->key, result, false);
		else if (told->otherwise != NULL && n->nulls[column(n, told->key)] &&
				 read_label(told->key, told->otherwise, schema, &result))
			put(n, told->key, result, false);
	}
}

/* What is asked for, or why: a code with its system, which go together, and a text; else those of the list's first. */
static void
put_concept(Request *n, JsonbContainer *request, const char *concept, const char *list)
{
	JsonbContainer *all = intake_member_list(request, list);
	JsonbContainer *first = all == NULL ? NULL : intake_list_object(all, 0);
	char	   *code = psprintf("%s_code", concept);
	char	   *system = psprintf("%s_code_system", concept);
	char	   *words = psprintf("%s_text", concept);
	text	   *told = intake_member_prose(request, words);

	if (intake_member_text(request, code) != NULL)
	{
		put_text(n, code, intake_member_text(request, code));
		put_text(n, system, intake_member_text(request, system));
	}
	else if (first != NULL && intake_member_text(first, "code") != NULL)
	{
		put_text(n, code, intake_member_text(first, "code"));
		put_text(n, system, intake_member_text(first, "system"));
	}
	if (told == NULL && first != NULL)
		told = intake_member_prose(first, "display");
	if (told != NULL)
		put_text(n, words, told);
}

/* The texts, but those which put_concept() puts. */
static void
put_texts(Request *n, JsonbContainer *request)
{
	static const char *const kept[] = {"reason_code_system", "service_code_system", "reason_text", "service_text"};
	Datum		values[lengthof(kept)];
	bool		nulls[lengthof(kept)];

	for (int i = 0; i < lengthof(kept); i++)
	{
		values[i] = n->values[column(n, kept[i])];
		nulls[i] = n->nulls[column(n, kept[i])];
	}
	intake_fill_texts(n->desc, request, n->values, n->nulls);
	for (int i = 0; i < lengthof(kept); i++)
		put(n, kept[i], values[i], nulls[i]);
}

/* A number of an order that names no system is the sender's. */
static void
put_order_system(Request *n, const char *number, const char *system, Datum source, bool no_source)
{
	if (!n->nulls[column(n, number)] && n->nulls[column(n, system)])
		put(n, system, source, no_source);
}

/* Who the patient is and who pays, as the steps before have found them. */
static void
put_found(Request *n, HeapTupleHeader work)
{
	static const char *const paying[] = {"coverage_id", "payer_id", "plan_id"};
	bool		isnull;
	Datum		found = GetAttributeByName(work, "patient_id", &isnull);

	if (!isnull)
		put(n, "patient_id", found, false);
	GetAttributeByName(work, "coverage_id", &isnull);
	for (int i = 0; i < lengthof(paying) && !isnull; i++)
	{
		bool		unknown;

		found = GetAttributeByName(work, paying[i], &unknown);
		put(n, paying[i], found, unknown);
	}
}

PG_FUNCTION_INFO_V1(intake_request);

/* intake_request(w intake_work, request jsonb, before intake_request) returns intake_request */
Datum
intake_request(PG_FUNCTION_ARGS)
{
	HeapTupleHeader work = PG_ARGISNULL(0) ? NULL : PG_GETARG_HEAPTUPLEHEADER(0);
	Jsonb	   *request = intake_argument_object(fcinfo, 1);
	HeapTupleHeader before = PG_ARGISNULL(2) ? NULL : PG_GETARG_HEAPTUPLEHEADER(2);
	Request		n;
	bool		no_source;
	Datum		source;

	if (work == NULL || request == NULL)
		PG_RETURN_NULL();
	if (get_call_result_type(fcinfo, NULL, &n.desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "unexpected result type of intake_request()");
	BlessTupleDesc(n.desc);
	n.values = palloc(n.desc->natts * sizeof(Datum));
	n.nulls = palloc(n.desc->natts * sizeof(bool));
	intake_deform(before, n.desc, n.values, n.nulls);

	put_texts(&n, &request->root);
	put_told(&n, &request->root, get_func_namespace(fcinfo->flinfo->fn_oid));
	put_concept(&n, &request->root, "reason", "diagnoses");
	put_concept(&n, &request->root, "service", "procedures");
	source = GetAttributeByName(work, "source", &no_source);
	put_order_system(&n, "placer_order_number", "placer_order_system", source, no_source);
	put_order_system(&n, "filler_order_number", "filler_order_system", source, no_source);
	put_found(&n, work);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(n.desc, n.values, n.nulls)));
}

/* ---------- The codes ---------- */

enum
{
	CODE_SYSTEM, CODE_CODE, CODE_DISPLAY, CODE_NTEXTS
};

enum
{
	CODES_KINDS, CODES_PLACES, CODES_TEXTS, CODES_NFIELDS = CODES_TEXTS + CODE_NTEXTS
};

typedef struct Codes
{
	int			count;
	int			room;
	Datum	   *kinds;
	Datum	   *places;
	Datum	   *texts[CODE_NTEXTS];
	bool	   *nulls[CODE_NTEXTS];
} Codes;

static void
make_room(Codes *codes, int more)
{
	int			room = codes->room + more;

	codes->kinds = repalloc(codes->kinds, room * sizeof(Datum));
	codes->places = repalloc(codes->places, room * sizeof(Datum));
	for (int i = 0; i < CODE_NTEXTS; i++)
	{
		codes->texts[i] = repalloc(codes->texts[i], room * sizeof(Datum));
		codes->nulls[i] = repalloc(codes->nulls[i], room * sizeof(bool));
	}
	codes->room = room;
}

static void
put_code(Codes *codes, const char *kind, int place, JsonbContainer *object)
{
	static const char *const keys[CODE_NTEXTS] = {"system", "code", "display"};

	for (int i = 0; i < CODE_NTEXTS; i++)
	{
		text	   *told = intake_member_text(object, keys[i]);

		codes->texts[i][codes->count] = PointerGetDatum(told);
		codes->nulls[i][codes->count] = told == NULL;
	}
	if (codes->nulls[CODE_CODE][codes->count] && codes->nulls[CODE_DISPLAY][codes->count])
		return;
	codes->kinds[codes->count] = CStringGetTextDatum(kind);
	codes->places[codes->count] = Int32GetDatum(place);
	codes->count++;
}

static void
put_codes(Codes *codes, JsonbContainer *request, const char *key, const char *kind)
{
	JsonbContainer *list = intake_member_list(request, key);

	if (list == NULL)
		return;
	make_room(codes, JsonContainerSize(list));
	for (int i = 0; i < JsonContainerSize(list); i++)
	{
		JsonbContainer *object = intake_list_object(list, i);

		if (object != NULL)
			put_code(codes, kind, i + 1, object);
	}
}

PG_FUNCTION_INFO_V1(intake_code_list);

/* intake_code_list(request jsonb) returns intake_code_list */
Datum
intake_code_list(PG_FUNCTION_ARGS)
{
	Jsonb	   *request = intake_argument_object(fcinfo, 0);
	TupleDesc	desc;
	Codes		codes = {0};
	Datum		values[CODES_NFIELDS];
	bool		nulls[CODES_NFIELDS] = {false};

	if (request == NULL)
		PG_RETURN_NULL();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE || desc->natts != CODES_NFIELDS)
		elog(ERROR, "unexpected result type of intake_code_list()");
	codes.kinds = palloc(sizeof(Datum));
	codes.places = palloc(sizeof(Datum));
	for (int i = 0; i < CODE_NTEXTS; i++)
	{
		codes.texts[i] = palloc(sizeof(Datum));
		codes.nulls[i] = palloc(sizeof(bool));
	}
	put_codes(&codes, &request->root, "diagnoses", "diagnosis");
	put_codes(&codes, &request->root, "procedures", "procedure");
	if (codes.count == 0)
		PG_RETURN_NULL();
	values[CODES_KINDS] = PointerGetDatum(construct_array(codes.kinds, codes.count, TEXTOID, -1, false, TYPALIGN_INT));
	values[CODES_PLACES] = PointerGetDatum(construct_array(codes.places, codes.count, INT4OID, sizeof(int32), true,
														   TYPALIGN_INT));
	for (int i = 0; i < CODE_NTEXTS; i++)
		values[CODES_TEXTS + i] = intake_text_array(codes.texts[i], codes.nulls[i], codes.count);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* ---------- Is it here already? ---------- */

/*
 * $2: an identifier; $3: the message that brings it.  A null is not looked
 * for.  Only the index by value serves: not the one of those with a referral.
 */
static const char *const anything_known =
"SELECT 1 WHERE EXISTS (SELECT FROM referral.identifier t WHERE t.org_id " EQ " $1 AND t.value " EQ " $2"
"                       AND COALESCE(t.referral_id, 0) OPERATOR(pg_catalog.>) 0)"
" OR EXISTS (SELECT FROM referral.identifier t WHERE t.org_id " EQ " $1 AND t.value " EQ " $3"
"            AND t.system " EQ " 'inbox_message' AND COALESCE(t.referral_id, 0) OPERATOR(pg_catalog.>) 0)"
" OR EXISTS (SELECT FROM referral.referral t WHERE t.org_id " EQ " $1 AND t.placer_order_number " EQ " $4)"
" OR EXISTS (SELECT FROM referral.referral t WHERE t.org_id " EQ " $1 AND t.filler_order_number " EQ " $5)";

typedef enum Known
{
	KNOWN_ORG, KNOWN_IDENTIFIER, KNOWN_MESSAGE, KNOWN_PLACER, KNOWN_FILLER, KNOWN_NUMBERS
} Known;

static bool
is_anything_known(Datum *numbers, char *nulls)
{
	static SPIPlanPtr plan = NULL;
	static Oid	types[KNOWN_NUMBERS] = {INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID};

	return intake_finds(&plan, anything_known, lengthof(types), types, numbers, nulls);
}

static void
set_number(Datum *numbers, char *nulls, Known which, text *number)
{
	numbers[which] = PointerGetDatum(number);
	nulls[which] = number == NULL ? 'n' : ' ';
}

/* The next identifier of the list that has a value, from *i on; null when there is none any more. */
static text *
next_identifier(JsonbContainer *list, int *i)
{
	text	   *value = NULL;

	while (list != NULL && value == NULL && *i < JsonContainerSize(list))
	{
		JsonbContainer *identifier = intake_list_object(list, (*i)++);

		if (identifier != NULL)
			value = intake_member_text(identifier, "value");
	}
	return value;
}

/* As intake_lock() does, for another transaction that may be making the same request. */
static void
lock_request(Datum org_id, text *number)
{
	char	   *what = psprintf("referral %s", text_to_cstring(number));

	(void) intake_take_lock(DatumGetInt64(org_id), what, strlen(what), true);
}

/* Then it has made nothing yet. */
static bool
is_of_fresh_message(HeapTupleHeader work)
{
	bool		isnull;
	Datum		message_id = GetAttributeByName(work, "message_id", &isnull);

	return !isnull && intake_is_fresh_message(DatumGetInt64(message_id));
}

PG_FUNCTION_INFO_V1(intake_may_be_here);

/* intake_may_be_here(w intake_work, request jsonb) returns boolean */
Datum
intake_may_be_here(PG_FUNCTION_ARGS)
{
	HeapTupleHeader work = PG_ARGISNULL(0) ? NULL : PG_GETARG_HEAPTUPLEHEADER(0);
	Jsonb	   *request = intake_argument_object(fcinfo, 1);
	JsonbContainer *identifiers;
	int			next = 0;
	Known		naming;			/* the number by which others wait for us */
	Datum		numbers[KNOWN_NUMBERS];
	char		nulls[KNOWN_NUMBERS];
	bool		isnull = true;

	if (work != NULL && request != NULL)
		numbers[KNOWN_ORG] = GetAttributeByName(work, "org_id", &isnull);
	if (isnull)
		PG_RETURN_BOOL(true);
	nulls[KNOWN_ORG] = ' ';
	identifiers = intake_member_list(&request->root, "identifiers");
	set_number(numbers, nulls, KNOWN_IDENTIFIER, next_identifier(identifiers, &next));
	set_number(numbers, nulls, KNOWN_PLACER, intake_member_text(&request->root, "placer_order_number"));
	set_number(numbers, nulls, KNOWN_FILLER, intake_member_text(&request->root, "filler_order_number"));
	naming = nulls[KNOWN_PLACER] == ' ' ? KNOWN_PLACER : nulls[KNOWN_FILLER] == ' ' ? KNOWN_FILLER : KNOWN_IDENTIFIER;
	if (nulls[naming] == ' ')
		lock_request(numbers[KNOWN_ORG], DatumGetTextPP(numbers[naming]));
	numbers[KNOWN_MESSAGE] = GetAttributeByName(work, "message_key", &isnull);
	nulls[KNOWN_MESSAGE] = isnull || is_of_fresh_message(work) ? 'n' : ' ';
	while (!is_anything_known(numbers, nulls))
	{
		/* further identifiers are looked for by themselves */
		set_number(numbers, nulls, KNOWN_IDENTIFIER, next_identifier(identifiers, &next));
		if (nulls[KNOWN_IDENTIFIER] == 'n')
			PG_RETURN_BOOL(false);
		memset(nulls + KNOWN_MESSAGE, 'n', KNOWN_NUMBERS - KNOWN_MESSAGE);
	}
	PG_RETURN_BOOL(true);
}
