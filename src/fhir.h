/*-------------------------------------------------------------------------
 *
 * fhir.h
 *		How the readers of FHIR look into jsonb that may be of any type.
 *
 * IDENTIFICATION
 *		src/fhir.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_FHIR_H
#define REFERRAL_FHIR_H

#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "compat.h"

/* More identifiers than this of one resource are not read. */
#define MAX_IDENTIFIERS		50

/* More given names, address lines or contact points than this are not read. */
#define MAX_TEXTS			50

/* Letters of the types and of the ids of resources. */
#define IS_LETTER(c)	(((c) >= 'a' && (c) <= 'z') || ((c) >= 'A' && (c) <= 'Z'))
#define IS_DIGIT(c)		((c) >= '0' && (c) <= '9')
#define IS_ID(c)		(IS_LETTER(c) || IS_DIGIT(c) || (c) == '-' || (c) == '.')

/* A piece of text, not ended by a null character; NULL when there is none. */
typedef struct Piece
{
	const char *text;
	int			length;
} Piece;

static const Piece no_piece = {NULL, 0};

/* ---------- values of any type ---------- */

/* The value that a jsonb is: a scalar itself, anything else as a container. */
static inline void
value_of(Jsonb *jb, JsonbValue *value)
{
	if (JB_ROOT_IS_SCALAR(jb))
	{
		JsonbValue *scalar = getIthJsonbValueFromContainer(&jb->root, 0);

		*value = *scalar;
		return;
	}
	value->type = jbvBinary;
	value->val.binary.data = &jb->root;
	value->val.binary.len = VARSIZE(jb) - VARHDRSZ;
}

static inline bool
is_array(const JsonbValue *value)
{
	return value != NULL && value->type == jbvBinary &&
		JsonContainerIsArray(value->val.binary.data);
}

static inline bool
is_object(const JsonbValue *value)
{
	return value != NULL && value->type == jbvBinary &&
		JsonContainerIsObject(value->val.binary.data);
}

/* A member of an object; NULL when it is none, or does not have it. */
static inline JsonbValue *
member(const JsonbValue *value, const char *key)
{
	if (!is_object(value))
		return NULL;
	return getKeyJsonValueFromContainer(value->val.binary.data, key, strlen(key), NULL);
}

/* An element of an array; what is no array is its own only element. */
static inline JsonbValue *
element(JsonbValue *value, uint32 i)
{
	if (is_array(value))
		return getIthJsonbValueFromContainer(value->val.binary.data, i);
	return i == 0 ? value : NULL;
}

static inline Piece
trimmed(Piece piece)
{
	while (piece.length > 0 && strchr(" \t\r\n", piece.text[0]) != NULL)
		piece.text++, piece.length--;
	while (piece.length > 0 && strchr(" \t\r\n", piece.text[piece.length - 1]) != NULL)
		piece.length--;
	return piece.length > 0 ? piece : no_piece;
}

/* The text of a string or a number. */
static inline Piece
text_of(const JsonbValue *value)
{
	Piece		piece = no_piece;

	if (value == NULL)
		return no_piece;
	if (value->type == jbvString)
	{
		piece.text = value->val.string.val;
		piece.length = value->val.string.len;
	}
	else if (value->type == jbvNumeric)
	{
		Datum		number = NumericGetDatum(value->val.numeric);

		piece.text = DatumGetCString(DirectFunctionCall1(numeric_out, number));
		piece.length = strlen(piece.text);
	}
	return piece.text == NULL ? no_piece : trimmed(piece);
}

static inline Piece
text_member(const JsonbValue *value, const char *key)
{
	return text_of(member(value, key));
}

static inline bool
is_text(Piece piece, const char *text)
{
	return piece.text != NULL && piece.length == strlen(text) &&
		memcmp(piece.text, text, piece.length) == 0;
}

static inline Piece
argument_text(FunctionCallInfo fcinfo, int i)
{
	Piece		piece = no_piece;

	if (!PG_ARGISNULL(i))
	{
		text	   *argument = PG_GETARG_TEXT_PP(i);

		piece.text = VARDATA_ANY(argument);
		piece.length = VARSIZE_ANY_EXHDR(argument);
	}
	return piece;
}

static inline Piece
constant(const char *text)
{
	Piece		piece = {text, strlen(text)};

	return piece;
}

/* "source/Type", by which the ids of a system are known */
static inline Piece
id_system(Piece source, Piece type)
{
	Piece		system;

	system.text = psprintf("%.*s/%.*s", source.length, source.text != NULL ? source.text : "",
						   type.length, type.text != NULL ? type.text : "");
	system.length = strlen(system.text);
	return system;
}

static inline Datum
piece_datum(FunctionCallInfo fcinfo, Piece piece)
{
	if (piece.text == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text_with_len(piece.text, piece.length));
}

/* ---------- writing ---------- */

static inline void
put_key(JsonbParseState **state, const char *key)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = unconstify(char *, key);
	value.val.string.len = strlen(key);
	pushJsonbValue(state, WJB_KEY, &value);
}

/* A member of the object that is being written, unless it is none. */
static inline void
put_text(JsonbParseState **state, const char *key, Piece piece)
{
	JsonbValue	value;

	if (piece.text == NULL)
		return;
	put_key(state, key);
	value.type = jbvString;
	value.val.string.val = unconstify(char *, piece.text);
	value.val.string.len = piece.length;
	pushJsonbValue(state, WJB_VALUE, &value);
}

/* The same, when there is a text for it. */
static inline void
put(JsonbParseState **state, const char *key, Piece piece)
{
	if (piece.text != NULL && piece.length > 0)
		put_text(state, key, piece);
}

/* An array that has been written, or null when nothing is in it. */
static inline Datum
array_datum(FunctionCallInfo fcinfo, JsonbParseState **state)
{
	JsonbValue *array = pushJsonbValue(state, WJB_END_ARRAY, NULL);

	if (array->val.array.nElems == 0)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(JsonbValueToJsonb(array));
}

#endif							/* REFERRAL_FHIR_H */
