/*-------------------------------------------------------------------------
 *
 * fhir_bundle.c
 *		The resources of a FHIR message, and the keys by which they are referred to.
 *
 * A message is a resource, or a Bundle or Parameters of them; a bundle may hold
 * bundles, and a resource may contain others.
 *
 * IDENTIFICATION
 *		src/fhir_bundle.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/array.h"

#include "fhir.h"

/* Bundles within bundles are opened so far. */
#define MAX_DEPTH		4

#define UUID_PREFIX		"urn:uuid:"

/* What is found in the message, before it is known whether it holds others. */
typedef struct Part
{
	JsonbValue *body;			/* NULL when there is none */
	Piece		full_url;
	const char *position;		/* a JSON pointer */
	int			depth;
	bool		is_sent_anew;		/* its UUID is made up for the message */
} Part;

typedef struct Entry
{
	int			root;			/* of the entry that contains it; its own number when none does */
	Piece		type;
	Piece		full_url;
	const char *position;
	Jsonb	   *resource;
} Entry;

PG_FUNCTION_INFO_V1(fhir_entries);

/* ---------- what there is ---------- */

/* A text as it stands, without trimming; none for values of other types. */
static Piece
plain_text(const JsonbValue *value)
{
	return value != NULL && value->type == jbvString ?
		(Piece) {value->val.string.val, value->val.string.len} : text_of(value);
}

/*
 * Adds the resources of a list of entries or parameters to the parts.  What a
 * server is asked to store gets its id there: until then it is called anything.
 */
static List *
add_parts(List *parts, const Part *whole, const char *list_name, bool is_bundle)
{
	JsonbValue *list = member(whole->body, list_name);
	Piece		kind = is_bundle ? plain_text(member(whole->body, "type")) : no_piece;
	bool		is_sent_anew = is_text(kind, "transaction") || is_text(kind, "batch");
	JsonbValue *holder;

	if (list == NULL || !(is_array(list) || is_object(list)))
		return parts;
	for (uint32 i = 0; (holder = element(list, i)) != NULL; i++)
	{
		Part	   *part;

		CHECK_FOR_INTERRUPTS();
		if (!is_bundle && member(holder, "resource") == NULL)
			continue;
		part = palloc(sizeof(Part));
		part->body = member(holder, "resource");
		part->full_url = is_bundle ? plain_text(member(holder, "fullUrl")) : no_piece;
		part->position = psprintf("%s/%s/%u/resource", whole->position, list_name, i);
		part->depth = whole->depth + 1;
		part->is_sent_anew = is_sent_anew;
		parts = lappend(parts, part);
	}
	return parts;
}

/* A copy of a resource with an id, in the place of its own one or only where it has none. */
static Jsonb *
with_id(const JsonbValue *body, Piece id, bool replace)
{
	JsonbParseState *state = NULL;
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	if (!replace)
		put(&state, "id", id);
	iterator = JsonbIteratorInit(body->val.binary.data);
	(void) JsonbIteratorNext(&iterator, &value, true);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) == WJB_KEY || token == WJB_VALUE)
		pushJsonbValue(&state, token, &value);
	if (replace)
	{
		put_key(&state, "id");
		value.type = id.text == NULL ? jbvNull : jbvString;
		if (id.text != NULL)
		{
			value.val.string.val = unconstify(char *, id.text);
			value.val.string.len = id.length;
		}
		pushJsonbValue(&state, WJB_VALUE, &value);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* What has no other id than the UUID of its entry is known by that, where the UUID lasts. */
static Jsonb *
entry_resource(const Part *part)
{
	const int	length = strlen(UUID_PREFIX);
	JsonbParseState *state = NULL;

	if (!is_object(part->body))
	{
		pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
	}
	if (!part->is_sent_anew && part->full_url.text != NULL && part->full_url.length > length &&
		memcmp(part->full_url.text, UUID_PREFIX, length) == 0 &&
		member(part->body, "id") == NULL)
		return with_id(part->body, (Piece) {part->full_url.text + length,
											part->full_url.length - length}, false);
	return JsonbValueToJsonb(part->body);
}

static Piece
type_of(Jsonb *resource)
{
	JsonbValue	value;

	value_of(resource, &value);
	return text_member(&value, "resourceType");
}

/* The resources of bundles and parameters, level by level */
static List *
find_entries(JsonbValue *message)
{
	Part		whole = {message, {NULL, 0}, "", 0, false};
	List	   *parts = list_make1(&whole);
	List	   *entries = NIL;

	for (int i = 0; i < list_length(parts); i++)
	{
		Part	   *part = list_nth(parts, i);
		Piece		type = plain_text(member(part->body, "resourceType"));
		bool		opens = part->depth < MAX_DEPTH;
		Entry	   *entry;

		if (opens && is_text(type, "Bundle"))
			parts = add_parts(parts, part, "entry", true);
		else if (opens && is_text(type, "Parameters"))
			parts = add_parts(parts, part, "parameter", false);
		else
		{
			entry = palloc(sizeof(Entry));
			entry->root = list_length(entries) + 1;
			entry->full_url = part->full_url;
			entry->position = part->position;
			entry->resource = entry_resource(part);
			entry->type = type_of(entry->resource);
			entries = lappend(entries, entry);
		}
	}
	return entries;
}

static Piece
without_marks(Piece id)
{
	while (id.length > 0 && id.text[0] == '#')
		id.text++, id.length--;
	return id;
}

/* Adds what the entries contain; their ids get a mark. */
static List *
add_contained(List *entries)
{
	int			n = list_length(entries);

	for (int i = 0; i < n; i++)
	{
		Entry	   *container = list_nth(entries, i);
		JsonbValue	resource;
		JsonbValue *list;
		JsonbValue *found;

		CHECK_FOR_INTERRUPTS();
		value_of(container->resource, &resource);
		list = member(&resource, "contained");
		if (list == NULL || !(is_array(list) || is_object(list)))
			continue;
		for (uint32 j = 0; (found = element(list, j)) != NULL; j++)
		{
			Piece		id = without_marks(text_member(found, "id"));
			Entry	   *entry;

			if (!is_object(found))
				continue;
			if (id.text != NULL)
				id = constant(psprintf("#%.*s", id.length, id.text));
			entry = palloc(sizeof(Entry));
			entry->root = container->root;
			entry->full_url = no_piece;
			entry->position = psprintf("%s/contained/%u", container->position, j);
			entry->resource = with_id(found, id, true);
			entry->type = type_of(entry->resource);
			entries = lappend(entries, entry);
		}
	}
	return entries;
}

/* ---------- keys ---------- */

/* The number of a resource under a key, unless a part of the key is none. */
static void
add_key(JsonbParseState **state, Datum number, const Piece *pieces, int n, const char *separator)
{
	StringInfoData key;
	JsonbValue	value;

	for (int i = 0; i < n; i++)
		if (pieces[i].text == NULL)
			return;
	initStringInfo(&key);
	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			appendStringInfoString(&key, separator);
		appendBinaryStringInfo(&key, pieces[i].text, pieces[i].length);
	}
	put_key(state, key.data);
	value.type = jbvNumeric;
	value.val.numeric = DatumGetNumeric(number);
	pushJsonbValue(state, WJB_VALUE, &value);
}

static void
add_identifier_keys(JsonbParseState **state, Datum number, Piece type, JsonbValue *identifiers)
{
	JsonbValue *identifier;

	if (identifiers == NULL || !(is_array(identifiers) || is_object(identifiers)))
		return;
	for (uint32 i = 0; (identifier = element(identifiers, i)) != NULL; i++)
	{
		Piece		system = plain_text(member(identifier, "system"));

		if (system.text == NULL)
			system = constant("");
		add_key(state, number,
				(Piece[]) {type, system, plain_text(member(identifier, "value"))}, 3, "|");
	}
}

static void
add_keys(JsonbParseState **state, const Entry *entry, int n)
{
	Datum		number = NumericGetDatum(int64_to_numeric(n));
	Piece		root = constant(psprintf("%d", entry->root));
	JsonbValue	resource;
	Piece		id;

	value_of(entry->resource, &resource);
	id = text_member(&resource, "id");
	if (entry->root != n)
		add_key(state, number, (Piece[]) {root, without_marks(id)}, 2, "#");
	else
	{
		add_key(state, number, (Piece[]) {entry->type, id}, 2, "/");
		add_key(state, number, &id, 1, "");
	}
	add_key(state, number, &entry->full_url, 1, "");
	add_key(state, number, (Piece[]) {entry->type, entry->full_url}, 2, "/");
	add_identifier_keys(state, number, entry->type, member(&resource, "identifier"));
}

/* Of two resources with one key the first counts: the one that is written last. */
static Jsonb *
keys_of(List *entries)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int n = list_length(entries); n > 0; n--)
		add_keys(&state, list_nth(entries, n - 1), n);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* ---------- the result ---------- */

static Datum
piece_or_null(Piece piece, bool *isnull)
{
	*isnull = piece.text == NULL;
	return *isnull ? (Datum) 0 :
		PointerGetDatum(cstring_to_text_with_len(piece.text, piece.length));
}

/*
 * fhir_entries(message jsonb, OUT roots integer[], OUT types text[], OUT positions text[],
 * OUT full_urls text[], OUT resources jsonb[], OUT keys jsonb)
 */
Datum
fhir_entries(PG_FUNCTION_ARGS)
{
	static const Oid types[] = {INT4OID, TEXTOID, TEXTOID, TEXTOID, JSONBOID};
	ArrayBuildState *columns[lengthof(types)] = {NULL};
	Datum		values[lengthof(types) + 1];
	bool		nulls[lengthof(types) + 1] = {false};
	TupleDesc	row;
	JsonbValue	message;
	List	   *entries;
	ListCell   *cell;

	if (get_call_result_type(fcinfo, NULL, &row) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	value_of(PG_GETARG_JSONB_P(0), &message);
	entries = add_contained(find_entries(&message));
	foreach(cell, entries)
	{
		const Entry *entry = lfirst(cell);

		values[0] = Int32GetDatum(entry->root);
		values[1] = piece_or_null(entry->type, &nulls[1]);
		values[2] = PointerGetDatum(cstring_to_text(entry->position));
		values[3] = piece_or_null(entry->full_url, &nulls[3]);
		values[4] = JsonbPGetDatum(entry->resource);
		for (size_t i = 0; i < lengthof(types); i++)
			columns[i] = accumArrayResult(columns[i], values[i], nulls[i], types[i],
										  CurrentMemoryContext);
	}
	for (size_t i = 0; i < lengthof(types); i++)
	{
		nulls[i] = columns[i] == NULL;
		if (!nulls[i])
			values[i] = makeArrayResult(columns[i], CurrentMemoryContext);
	}
	values[lengthof(types)] = JsonbPGetDatum(keys_of(entries));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(row), values, nulls)));
}
