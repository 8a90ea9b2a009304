/*-------------------------------------------------------------------------
 *
 * hl7_decode.c
 *		From what a sender sent to texts of one message each: character sets,
 *		and batches.
 *
 * Neither refuses what is no message: that is for hl7_parse() to do, with one
 * message at a time.
 *
 * IDENTIFICATION
 *		src/hl7_decode.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "compat.h"
#include "hl7.h"

#define CHARACTER_SET_FIELD		18	/* of MSH */
#define MAX_DECODED				(MaxAllocSize / MAX_CONVERSION_GROWTH - 2)

typedef struct CharacterSet
{
	const char *name;
	pg_enc		encoding;
} CharacterSet;

/* HL7 table 0211, where the server does not know the name itself. */
static const CharacterSet character_sets[] = {
	{"8859/1", PG_LATIN1},
	{"8859/2", PG_LATIN2},
	{"8859/3", PG_LATIN3},
	{"8859/4", PG_LATIN4},
	{"8859/5", PG_ISO_8859_5},
	{"8859/6", PG_ISO_8859_6},
	{"8859/7", PG_ISO_8859_7},
	{"8859/8", PG_ISO_8859_8},
	{"8859/9", PG_LATIN5},
	{"8859/10", PG_LATIN6},
	{"8859/11", PG_WIN874},
	{"8859/13", PG_LATIN7},
	{"8859/14", PG_LATIN8},
	{"8859/15", PG_LATIN9},
	{"8859/16", PG_LATIN10},
	{"UNICODE UTF-8", PG_UTF8},
	{"UNICODE", PG_UTF8},
	{"GB 18030-2000", PG_GB18030},
	{"BIG-5", PG_BIG5},
	{"KS X 1001", PG_EUC_KR},
};

PG_FUNCTION_INFO_V1(hl7_decode);
PG_FUNCTION_INFO_V1(hl7_split);

/* ---------- character sets ---------- */

/* The encoding of a name in MSH-18, or -1 */
static int
find_encoding(const char *name, int length)
{
	char	   *copy;

	for (int i = 0; i < lengthof(character_sets); i++)
	{
		if (strlen(character_sets[i].name) == length &&
			pg_strncasecmp(character_sets[i].name, name, length) == 0)
			return character_sets[i].encoding;
	}
	if (length >= NAMEDATALEN)
		return -1;
	copy = pnstrdup(name, length);
	if (pg_strcasecmp(copy, "SQL_ASCII") == 0 || pg_strcasecmp(copy, "MULE_INTERNAL") == 0)
		return -1;
	return pg_char_to_encoding(copy);
}

/* The encoding that the first repetition of MSH-18 names, or -1 */
static int
declared_encoding(const char *at, const char *end)
{
	Hl7Separators separators;
	const char *problem;

	at = hl7_skip_frame(at, end);
	while (hl7_is_envelope(at, end, '\0'))
		at = hl7_skip_frame(hl7_line_end(at, end), end);
	end = hl7_line_end(at, end);
	at = hl7_read_header(at, end, &separators, &problem);
	if (problem != NULL)
		return -1;
	for (int field = 2; field < CHARACTER_SET_FIELD; field++)
	{
		at = at == end ? NULL : memchr(at + (field > 2), separators.field, end - at - (field > 2));
		if (at == NULL)
			return -1;
	}
	at++;
	for (int i = 0; at + i <= end; i++)
	{
		if (at + i == end || at[i] == separators.field || at[i] == separators.repetition)
			return find_encoding(at, i);
	}
	return -1;
}

static text *
convert(const char *bytes, int length, int encoding)
{
	int			to = GetDatabaseEncoding();
	Oid			conversion;
	text	   *result;
	int			done;

	if (!PG_VALID_BE_ENCODING(encoding) && !PG_VALID_FE_ENCODING(encoding))
		return NULL;
	if (to != PG_SQL_ASCII && !pg_verify_mbstr(encoding, bytes, length, true))
		return NULL;
	if (to == encoding || to == PG_SQL_ASCII)
		return cstring_to_text_with_len(bytes, length);
	conversion = FindDefaultConversionProc(encoding, to);
	if (!OidIsValid(conversion))
		return NULL;
	result = palloc(VARHDRSZ + length * MAX_CONVERSION_GROWTH + 1);
	done = pg_do_encoding_conversion_buf(conversion, encoding, to,
										 (unsigned char *) unconstify(char *, bytes), length,
										 (unsigned char *) VARDATA(result),
										 length * MAX_CONVERSION_GROWTH + 1, true);
	if (done != length)
		return NULL;
	SET_VARSIZE(result, VARHDRSZ + strlen(VARDATA(result)));
	return result;
}

/* As UTF-8 what is UTF-16 by its byte order mark; length is set. */
static char *
from_utf16(const unsigned char *bytes, int *length)
{
	int			high = bytes[0] == 0xFE ? 0 : 1;
	int			n = *length / 2;
	unsigned char *result = palloc(n * 3 + 1);
	unsigned char *to = result;

	for (int i = 1; i < n; i++)
	{
		pg_wchar	c = bytes[2 * i + high] << 8 | bytes[2 * i + 1 - high];
		pg_wchar	next = i + 1 == n ? 0 :
			bytes[2 * i + 2 + high] << 8 | bytes[2 * i + 3 - high];

		if (is_utf16_surrogate_first(c) && is_utf16_surrogate_second(next))
		{
			c = surrogate_pair_to_codepoint(c, next);
			i++;
		}
		else if (is_utf16_surrogate_first(c) || is_utf16_surrogate_second(c))
			c = 0xFFFD;			/* half a character */
		unicode_to_utf8(c, to);
		to += pg_utf_mblen(to);
	}
	*length = to - result;
	return (char *) result;
}

/* A NUL cannot be part of a text; those that pad a message become blanks. */
static char *
without_nul(const char *bytes, int length)
{
	char	   *copy = palloc(length + 1);

	for (int i = 0; i < length; i++)
		copy[i] = bytes[i] == '\0' ? ' ' : bytes[i];
	return copy;
}

/* hl7_decode(message bytea) */
Datum
hl7_decode(PG_FUNCTION_ARGS)
{
	bytea	   *message = PG_GETARG_BYTEA_PP(0);
	char	   *bytes = VARDATA_ANY(message);
	int			length = VARSIZE_ANY_EXHDR(message);
	Hl7Place	nowhere = { 0 };
	text	   *result = NULL;
	bool		has_mark = false;	/* of Unicode */
	int			declared;

	if (length > MAX_DECODED)
		hl7_refuse(&nowhere, "it is larger than 255 MB", "Give the file in parts.");
	if (length >= 2 && (memcmp(bytes, "\xFE\xFF", 2) == 0 || memcmp(bytes, "\xFF\xFE", 2) == 0))
	{
		bytes = from_utf16((unsigned char *) bytes, &length);
		has_mark = true;
	}
	else if (length >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0)
	{
		bytes += 3;
		length -= 3;
		has_mark = true;
	}
	if (memchr(bytes, '\0', length) != NULL)
		bytes = without_nul(bytes, length);
	declared = declared_encoding(bytes, bytes + length);
	if (declared >= 0 && !has_mark)
		result = convert(bytes, length, declared);
	if (result == NULL)
		result = convert(bytes, length, PG_UTF8);
	if (result == NULL && declared >= 0 && has_mark)
		result = convert(bytes, length, declared);
	if (result == NULL)
		result = convert(bytes, length, PG_LATIN1);
	if (result == NULL)
		hl7_refuse(&nowhere, "it has characters that the encoding of this database lacks",
				   "Use a database whose encoding is UTF8.");
	PG_RETURN_TEXT_P(result);
}

/* ---------- batches ---------- */

static void
put_message(ReturnSetInfo *result, const char *start, const char *end)
{
	Datum		value;
	bool		null = false;

	value = PointerGetDatum(cstring_to_text_with_len(start, end - start));
	tuplestore_putvalues(result->setResult, result->setDesc, &value, &null);
	pfree(DatumGetPointer(value));
}

static bool
starts_message(const char *at, const char *end)
{
	return end - at >= HL7_NAME_LENGTH && memcmp(at, "MSH", HL7_NAME_LENGTH) == 0;
}

/*
 * hl7_split(batch text)
 *
 * Messages are returned as they stand, from MSH to the last line before the next
 * MSH or line of an envelope.  Lines that belong to no message are returned, too,
 * so that nothing is lost; hl7_parse() refuses them.
 */
Datum
hl7_split(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	text	   *batch = PG_GETARG_TEXT_PP(0);
	const char *at = VARDATA_ANY(batch);
	const char *end = at + VARSIZE_ANY_EXHDR(batch);
	const char *message = NULL; /* the one at hand */
	const char *message_end = NULL;
	char		field = '\0';

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	while (at < end)
	{
		const char *line = hl7_skip_frame(at, end);
		const char *line_end = hl7_line_end(line, end);
		const char *filled = hl7_skip_frame_end(line, line_end);
		bool		envelope = hl7_is_envelope(line, line_end, field);

		CHECK_FOR_INTERRUPTS();
		if ((envelope || starts_message(line, line_end)) && line_end - line > HL7_NAME_LENGTH)
			field = line[HL7_NAME_LENGTH];
		if (message != NULL && (envelope || starts_message(line, line_end)))
		{
			put_message(result, message, message_end);
			message = NULL;
		}
		if (!envelope && !hl7_is_blank(line, filled))
		{
			message = message == NULL ? line : message;
			message_end = filled;
		}
		at = line_end;
		if (at < end)
			at++;
	}
	if (message != NULL)
		put_message(result, message, message_end);
	return (Datum) 0;
}
