/*-------------------------------------------------------------------------
 *
 * hl7_text.c
 *		What reading and writing HL7 messages share: how a message is framed,
 *		what separates its parts, and escape sequences.
 *
 * IDENTIFICATION
 *		src/hl7_text.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "mb/pg_wchar.h"

#include "compat.h"
#include "errors.h"
#include "hl7.h"

#define BYTE_ORDER_MARK		"\xEF\xBB\xBF"
#define BYTE_ORDER_MARK_LENGTH	3

#define MAX_SEPARATORS		6
#define MIN_SEPARATORS		5

const Hl7Separators hl7_default_separators = { '|', '^', '~', '\\', '&', '\0' };

/* Messages name places, never what stands there. */
void
hl7_refuse(const Hl7Place *place, const char *problem, const char *hint)
{
	StringInfoData where;

	initStringInfo(&where);
	if (place->segment > 0)
		appendStringInfo(&where, "Segment %d", place->segment);
	if (place->field > 0)
		appendStringInfo(&where, "%sfield %d", where.len > 0 ? ", " : "", place->field);
	if (place->character > 0)
		appendStringInfo(&where, "%scharacter %d", where.len > 0 ? ", " : "", place->character);
	if (where.len > 0)
		appendStringInfoString(&where, ": ");
	appendStringInfo(&where, "%s.", problem);
	where.data[0] = toupper((unsigned char) where.data[0]);
	ereport(ERROR,
			(errcode(ERRCODE_RF_INVALID_MESSAGE),
			 errmsg("invalid HL7 message"),
			 errdetail_internal("%s", where.data),
			 errhint("%s", hint)));
}

/*
 * Reads "|^~\&" or "|^~\&#".  Returns what is wrong with it, or NULL.
 */
const char *
hl7_check_separators(const char *text, int length, Hl7Separators *separators)
{
	if (length < MIN_SEPARATORS)
		return "a separator is missing in MSH-1 or MSH-2";
	if (length > MAX_SEPARATORS)
		return "MSH-2 has more than five characters";
	for (int i = 0; i < length; i++)
	{
		/* not ispunct(), which the locale has a say in */
		if (text[i] <= ' ' || text[i] > '~' || isalnum((unsigned char) text[i]))
			return "a separator is no ASCII punctuation mark";
		if (memchr(text, text[i], i) != NULL)
			return "two separators are the same character";
	}
	separators->field = text[0];
	separators->component = text[1];
	separators->repetition = text[2];
	separators->escape = text[3];
	separators->subcomponent = text[4];
	separators->truncation = length == MAX_SEPARATORS ? text[5] : '\0';
	return NULL;
}

/* The separators as MSH declares them. */
const char *
hl7_separators_text(const Hl7Separators *separators, int *length)
{
	StaticAssertStmt(sizeof(Hl7Separators) == MAX_SEPARATORS, "separators are characters in a row");
	*length = separators->truncation == '\0' ? MIN_SEPARATORS : MAX_SEPARATORS;
	return (const char *) separators;
}

/* A byte order mark, the start of an MLLP frame, and empty lines before a message. */
const char *
hl7_skip_frame(const char *at, const char *end)
{
	for (;;)
	{
		if (at < end && (*at == HL7_MLLP_START || *at == '\r' || *at == '\n'))
			at++;
		else if (end - at >= BYTE_ORDER_MARK_LENGTH &&
				 memcmp(at, BYTE_ORDER_MARK, BYTE_ORDER_MARK_LENGTH) == 0)
			at += BYTE_ORDER_MARK_LENGTH;
		else
			return at;
	}
}

/* The end of an MLLP frame, and line ends after a message. */
const char *
hl7_skip_frame_end(const char *at, const char *end)
{
	while (end > at && (end[-1] == HL7_MLLP_END || end[-1] == '\r' || end[-1] == '\n'))
		end--;
	return end;
}

/* Where a line ends: before a carriage return or a line feed. */
const char *
hl7_line_end(const char *at, const char *end)
{
	while (at < end && *at != '\r' && *at != '\n')
		at++;
	return at;
}

/* A line of nothing but blanks. */
bool
hl7_is_blank(const char *at, const char *end)
{
	while (at < end && (*at == ' ' || *at == '\t'))
		at++;
	return at == end || *at == '\r' || *at == '\n';
}

/* Whether separators of its own follow the name, as in MSH. */
static bool
declares_separators(const char *at, const char *end)
{
	for (int i = 0; i < 5; i++)
	{
		if (end - at <= HL7_NAME_LENGTH + i || !ispunct((unsigned char) at[HL7_NAME_LENGTH + i]))
			return false;
	}
	return true;
}

/*
 * A line of the envelope around a batch or a file of messages.  field: the
 * separator that is in use, or 0 before any was declared.  A line of somebody's
 * text that begins with one of the names is none.
 */
bool
hl7_is_envelope(const char *at, const char *end, char field)
{
	static const char *const names[] = { "FHS", "BHS", "BTS", "FTS" };

	if (end - at < HL7_NAME_LENGTH)
		return false;
	if (end - at > HL7_NAME_LENGTH && at[HL7_NAME_LENGTH] != '\r' && at[HL7_NAME_LENGTH] != '\n')
	{
		if (field == '\0' ? isalnum((unsigned char) at[HL7_NAME_LENGTH]) :
			at[HL7_NAME_LENGTH] != field && (at[1] != 'H' || !declares_separators(at, end)))
			return false;
	}
	for (int i = 0; i < lengthof(names); i++)
	{
		if (memcmp(at, names[i], HL7_NAME_LENGTH) == 0)
			return true;
	}
	return false;
}

/*
 * Reads MSH-1 and MSH-2 of the line that begins here.  Returns where MSH-2
 * ends, or, with what is wrong, where it goes wrong.
 */
const char *
hl7_read_header(const char *at, const char *end, Hl7Separators *separators, const char **problem)
{
	const char *start = at + HL7_NAME_LENGTH;

	*problem = NULL;
	if (end - at < HL7_NAME_LENGTH || memcmp(at, "MSH", HL7_NAME_LENGTH) != 0)
	{
		*problem = "the message does not start with MSH";
		return at;
	}
	at = start;
	while (at < end && *at != '\r' && *at != '\n' && (at == start || *at != *start) &&
		   at - start <= MAX_SEPARATORS)
		at++;
	*problem = hl7_check_separators(start, at - start, separators);
	return *problem == NULL ? at : start;
}

bool
hl7_is_name(const char *name, int length)
{
	if (length != HL7_NAME_LENGTH)
		return false;
	for (int i = 0; i < HL7_NAME_LENGTH; i++)
	{
		if ((name[i] < 'A' || name[i] > 'Z') && (name[i] < '0' || name[i] > '9'))
			return false;
	}
	return true;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

static bool
all_hex(const char *text, int length)
{
	for (int i = 0; i < length; i++)
	{
		if (hex_digit(text[i]) < 0)
			return false;
	}
	return true;
}

/*
 * Bytes in hexadecimal.  They stay as they are written when they are no text of
 * the database's encoding, or would end it.
 */
static Hl7Escape
decode_hex(const char *body, int length, char *out, int *outlength)
{
	int			n = length / 2;

	if (length == 0 || length % 2 != 0 || !all_hex(body, length))
		return HL7_ESCAPE_UNKNOWN;
	for (int i = 0; i < n; i++)
		out[i] = hex_digit(body[2 * i]) << 4 | hex_digit(body[2 * i + 1]);
	if (memchr(out, '\0', n) != NULL || !pg_verifymbstr(out, n, true))
		return HL7_ESCAPE_KEPT;
	*outlength = n;
	return HL7_ESCAPE_DECODED;
}

static Hl7Escape
decode_letter(const Hl7Separators *separators, char letter, char *out, int *outlength)
{
	*outlength = 1;
	switch (letter)
	{
		case 'F':
			*out = separators->field;
			break;
		case 'S':
			*out = separators->component;
			break;
		case 'T':
			*out = separators->subcomponent;
			break;
		case 'R':
			*out = separators->repetition;
			break;
		case 'E':
			*out = separators->escape;
			break;
		case 'P':
			if (separators->truncation == '\0')
				return HL7_ESCAPE_UNKNOWN;
			*out = separators->truncation;
			break;
		case 'H':				/* highlighting, and its end */
		case 'N':
			*outlength = 0;
			break;
		case '.':
		case 'Z':
			return HL7_ESCAPE_KEPT;
		default:
			return HL7_ESCAPE_UNKNOWN;
	}
	return HL7_ESCAPE_DECODED;
}

/*
 * What stands between two escape characters.  What it stands for, which is never
 * longer, is written to out when it is decoded.
 */
Hl7Escape
hl7_escape(const Hl7Separators *separators, const char *body, int length, char *out,
		   int *outlength)
{
	if (length == 0)
		return HL7_ESCAPE_UNKNOWN;
	if (length == 1)
		return decode_letter(separators, *body, out, outlength);
	switch (*body)
	{
		case 'X':
			return decode_hex(body + 1, length - 1, out, outlength);
		case '.':
			if (length == 3 && memcmp(body, ".br", 3) == 0)
			{
				*out = '\n';
				*outlength = 1;
				return HL7_ESCAPE_DECODED;
			}
			return HL7_ESCAPE_KEPT; /* other formatting */
		case 'Z':				/* of a sender's own */
			return HL7_ESCAPE_KEPT;
		case 'C':				/* another character set */
			return length == 5 && all_hex(body + 1, 4) ? HL7_ESCAPE_KEPT : HL7_ESCAPE_UNKNOWN;
		case 'M':
			return (length == 5 || length == 7) && all_hex(body + 1, length - 1) ?
				HL7_ESCAPE_KEPT : HL7_ESCAPE_UNKNOWN;
		default:
			return HL7_ESCAPE_UNKNOWN;
	}
}

/* Decodes a text into as much room as it takes itself; returns its length. */
int
hl7_decode_escapes(const Hl7Separators *separators, const char *text, int length, char *out)
{
	const char *end = text + length;
	char	   *to = out;

	while (text < end)
	{
		const char *from = memchr(text, separators->escape, end - text);
		const char *until = from == NULL ? NULL :
			memchr(from + 1, separators->escape, end - from - 1);
		int			n = 0;

		if (until == NULL)
			until = end - 1;
		else if (hl7_escape(separators, from + 1, until - from - 1, to + (from - text), &n) ==
				 HL7_ESCAPE_DECODED)
		{
			memcpy(to, text, from - text);
			to += from - text + n;
			text = until + 1;
			continue;
		}
		memcpy(to, text, until + 1 - text);
		to += until + 1 - text;
		text = until + 1;
	}
	return to - out;
}
