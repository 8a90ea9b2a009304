/*-------------------------------------------------------------------------
 *
 * intake_payload.c
 *		What a payload is, before it is read.
 *
 * IDENTIFICATION
 *		src/intake_payload.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "parser/scansup.h"
#include "utils/builtins.h"

#include "compat.h"
#include "errors.h"
#include "intake.h"
#include "intake_message.h"

#define BYTE_ORDER_MARK		"\xEF\xBB\xBF"

/* what is longer does not fit into an index */
#define LONGEST_KEY			500

static const char *const kind_names[] = {
	[PAYLOAD_HL7] = "hl7",
	[PAYLOAD_FHIR] = "fhir",
	[PAYLOAD_JSON] = "json",
	[PAYLOAD_LINES] = "lines",
	[PAYLOAD_CSV] = "csv",
	[PAYLOAD_DOCUMENT] = "document",
};

static const struct
{
	const char *media;
	PayloadKind kind;
}			media_types[] = {
	{"text/csv", PAYLOAD_CSV},
	{"application/csv", PAYLOAD_CSV},
	{"text/tab-separated-values", PAYLOAD_CSV},
	{"application/x-ndjson", PAYLOAD_LINES},
	{"application/ndjson", PAYLOAD_LINES},
	{"application/fhir+ndjson", PAYLOAD_LINES},
	{"application/jsonl", PAYLOAD_LINES},
	{"application/fhir+json", PAYLOAD_FHIR},
	{"application/json", PAYLOAD_JSON},
	{"application/hl7-v2", PAYLOAD_HL7},
	{"x-application/hl7-v2+er7", PAYLOAD_HL7},
	{"application/hl7-v2+er7", PAYLOAD_HL7},
	{"application/edi-hl7", PAYLOAD_HL7},
};

/* ---------- Texts ---------- */

/* Where the text begins behind byte order marks and these characters. */
static const char *
behind(const char *s, const char *end, const char *characters)
{
	for (;;)
	{
		if (end - s >= 3 && memcmp(s, BYTE_ORDER_MARK, 3) == 0)
			s += 3;
		else if (s < end && *s != '\0' && strchr(characters, *s) != NULL)
			s++;
		else
			return s;
	}
}

static const char *
end_before(const char *s, const char *end, const char *characters)
{
	for (;;)
	{
		if (end - s >= 3 && memcmp(end - 3, BYTE_ORDER_MARK, 3) == 0)
			end -= 3;
		else if (end > s && strchr(characters, end[-1]) != NULL)
			end--;
		else
			return end;
	}
}

static bool
begins_with(const char *s, const char *end, const char *word)
{
	int			len = strlen(word);

	return end - s >= len && memcmp(s, word, len) == 0;
}

static bool
is_letter_or_digit(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* The name of a segment, and a separator behind it. */
static bool
is_segment(const char *s, const char *end, const char *name)
{
	return begins_with(s, end, name) && end - s > 3 &&
		!is_letter_or_digit(s[3]) && !scanner_isspace(s[3]) && !IS_HIGHBIT_SET(s[3]);
}

/* ---------- Kinds ---------- */

const char *
intake_payload_kind_name(PayloadKind kind)
{
	return kind_names[kind];
}

/* The media type of a content type, without its parameters. */
static void
media_type(text *content_type, const char **media, int *len)
{
	const char *s = content_type == NULL ? "" : VARDATA_ANY(content_type);
	const char *end = s + (content_type == NULL ? 0 : VARSIZE_ANY_EXHDR(content_type));
	const char *semicolon = memchr(s, ';', end - s);

	if (semicolon != NULL)
		end = semicolon;
	while (s < end && *s == ' ')
		s++;
	while (end > s && end[-1] == ' ')
		end--;
	*media = s;
	*len = end - s;
}

static bool
media_is(const char *media, int len, const char *name)
{
	return strlen(name) == len && pg_strncasecmp(media, name, len) == 0;
}

/* What a payload that does not tell should be, since nothing else comes by the channel. */
static PayloadKind
kind_of_channel(const char *channel)
{
	if (strcmp(channel, "hl7v2") == 0)
		return PAYLOAD_HL7;
	if (strcmp(channel, "fhir") == 0)
		return PAYLOAD_FHIR;
	if (strcmp(channel, "flat_file") == 0)
		return PAYLOAD_CSV;
	return PAYLOAD_DOCUMENT;
}

/* channel may be NULL: then what does not tell is a document. */
PayloadKind
intake_payload_kind(text *content_type, text *payload, const char *channel)
{
	const char *s = VARDATA_ANY(payload);
	const char *end = s + VARSIZE_ANY_EXHDR(payload);
	const char *media;
	int			len;
	bool		is_told;

	media_type(content_type, &media, &len);
	for (int i = 0; i < lengthof(media_types); i++)
	{
		if (media_is(media, len, media_types[i].media))
			return media_types[i].kind;
	}
	s = behind(s, end, " \t\n\v\f\r");
	is_told = len > 0 && !media_is(media, len, "text/plain") && !media_is(media, len, "text/json");
	if (s < end && (*s == '{' || *s == '[') && !is_told)
		return PAYLOAD_JSON;
	s = behind(s, end, " \t\n\v\f\r\x1C");
	if (is_segment(s, end, "MSH") || is_segment(s, end, "FHS") || is_segment(s, end, "BHS"))
		return PAYLOAD_HL7;
	return is_told || channel == NULL ? PAYLOAD_DOCUMENT : kind_of_channel(channel);
}

/* Nothing but blanks, a byte order mark and a frame? */
bool
intake_is_empty(text *t)
{
	const char *s = t == NULL ? "" : VARDATA_ANY(t);
	const char *end = s + (t == NULL ? 0 : VARSIZE_ANY_EXHDR(t));

	return behind(s, end, " \t\n\v\f\r\x1C") == end;
}

PG_FUNCTION_INFO_V1(payload_kind);
Datum
payload_kind(PG_FUNCTION_ARGS)
{
	PayloadKind kind = PAYLOAD_DOCUMENT;
	char	   *channel = NULL;

	if (!PG_ARGISNULL(2))
		channel = DatumGetCString(DirectFunctionCall1(enum_out, PG_GETARG_DATUM(2)));
	if (!PG_ARGISNULL(1))
		kind = intake_payload_kind(intake_argument_text(fcinfo, 0), PG_GETARG_TEXT_PP(1), channel);
	PG_RETURN_TEXT_P(cstring_to_text(intake_payload_kind_name(kind)));
}

/* Has an HL7 payload another message, or an envelope? */
static bool
has_messages(const char *s, const char *end)
{
	for (; s < end; s++)
	{
		if ((*s == '\r' || *s == '\n' || *s == '\v' || *s == '\x1C') &&
			(is_segment(s + 1, end, "MSH") || is_segment(s + 1, end, "BTS") || is_segment(s + 1, end, "FTS")))
			return true;
	}
	return false;
}

/* Is it worked on as it is, so that there is nothing to be taken apart? */
bool
intake_is_whole(PayloadKind kind, text *payload)
{
	const char *s = VARDATA_ANY(payload);
	const char *end = s + VARSIZE_ANY_EXHDR(payload);

	switch (kind)
	{
		case PAYLOAD_HL7:
			return !has_messages(s, end);
		case PAYLOAD_JSON:
			s = behind(s, end, " \t\r\n");
			return s == end || *s != '[';
		case PAYLOAD_LINES:
		case PAYLOAD_CSV:
			return false;
		default:
			return true;
	}
}

/* The mapping that a content type names, as in text/csv; mapping=lake; NULL when it names none. */
text *
intake_mapping_name(text *content_type)
{
	const char *s = content_type == NULL ? "" : VARDATA_ANY(content_type);
	const char *end = s + (content_type == NULL ? 0 : VARSIZE_ANY_EXHDR(content_type));

	while ((s = memchr(s, ';', end - s)) != NULL)
	{
		const char *name;

		s = behind(s + 1, end, " \t\n\v\f\r");
		if (end - s < 7 || pg_strncasecmp(s, "mapping", 7) != 0)
			continue;
		s = behind(s + 7, end, " \t\n\v\f\r");
		if (s == end || *s != '=')
			continue;
		s = behind(s + 1, end, " \t\n\v\f\r");
		if (s < end && *s == '"')
			s++;
		name = s;
		while (s < end && *s != ';' && *s != '"' && !scanner_isspace(*s) && *s != '\v')
			s++;
		if (s > name)
			return cstring_to_text_with_len(name, s - name);
	}
	return NULL;
}

/* ---------- JSON ---------- */

/* \u0000 has no place in a text; what stood there is of no use to anybody. */
static char *
without_null_characters(const char *s)
{
	char	   *copy = pstrdup(s);

	for (char *p = copy; *p != '\0'; p++)
	{
		if (*p != '\\')
			continue;
		if (strncmp(p + 1, "u0000", 5) == 0)
			memcpy(p + 1, "ufffd", 5);
		if (p[1] != '\0')
			p++;
	}
	return copy;
}

/* The line that the parser of JSON tells of in the context of its error. */
static const char *
line_of_error(ErrorData *error)
{
	const char *mark = "JSON data, line ";
	const char *line = error->context == NULL ? NULL : strstr(error->context, mark);
	int			len;

	if (line == NULL)
		return "whole message";
	line += strlen(mark);
	len = strspn(line, "0123456789");
	return psprintf("line %.*s", len, line);
}

/* NULL when it is none: then the error is what is wrong.  Others are raised. */
static Jsonb *
read_json(char *s, ErrorData **error)
{
	MemoryContext caller = CurrentMemoryContext;
	Jsonb	   *volatile result = NULL;

	/* the parser holds nothing but memory, so that no subtransaction is needed */
	PG_TRY();
	{
		result = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(s)));
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		*error = CopyErrorData();
		switch ((*error)->sqlerrcode)
		{
			case ERRCODE_UNTRANSLATABLE_CHARACTER:
			case ERRCODE_INVALID_TEXT_REPRESENTATION:
			case ERRCODE_PROGRAM_LIMIT_EXCEEDED:
			case ERRCODE_STATEMENT_TOO_COMPLEX:
				FlushErrorState();
				break;
			default:
				PG_RE_THROW();
		}
	}
	PG_END_TRY();
	return result;
}

Jsonb *
intake_payload_json(text *payload)
{
	char	   *s = text_to_cstring(payload);
	ErrorData  *error = NULL;
	Jsonb	   *result;

	s = (char *) behind(s, s + strlen(s), "");
	result = read_json(s, &error);
	if (result == NULL && error->sqlerrcode == ERRCODE_UNTRANSLATABLE_CHARACTER)
		result = read_json(without_null_characters(s), &error);
	if (result == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_RF_INVALID_MESSAGE),
				 errmsg("the message is not JSON"),
				 errdetail_internal("%s", line_of_error(error)),
				 errhint("Have the sender mend it.")));
	return result;
}

PG_FUNCTION_INFO_V1(payload_json);
Datum
payload_json(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(intake_payload_json(PG_GETARG_TEXT_PP(0)));
}

/* ---------- Keys ---------- */

static bytea *
hash_of(const char *s, int len)
{
	bytea	   *bytes;
	char	   *utf8 = pg_server_to_any(s, len, PG_UTF8);

	bytes = (bytea *) cstring_to_text_with_len(utf8, utf8 == s ? len : strlen(utf8));
	return DatumGetByteaPP(DirectFunctionCall1(sha256_bytea, PointerGetDatum(bytes)));
}

bytea *
intake_hash(text *payload)
{
	return hash_of(VARDATA_ANY(payload), VARSIZE_ANY_EXHDR(payload));
}

char *
intake_hash_in_hex(bytea *hash)
{
	int			len = VARSIZE_ANY_EXHDR(hash);
	char	   *hex = palloc(2 * len + 1);

	hex_encode(VARDATA_ANY(hash), len, hex);
	hex[2 * len] = '\0';
	return hex;
}

static text *
hex_of(bytea *hash)
{
	return cstring_to_text(intake_hash_in_hex(hash));
}

/* An HL7 message without what the transport has made of it: its frame and its ends of lines. */
static text *
key_of_hl7(const char *s, const char *end)
{
	char	   *bare = palloc(end - s + 1);
	int			len = 0;

	for (; s < end; s++)
	{
		if (*s == '\n')
		{
			if (s[-1] != '\r')
				bare[len++] = '\r';
		}
		else
			bare[len++] = *s;
	}
	bare[len++] = '\r';
	return hex_of(hash_of(bare, len));
}

text *
intake_message_key(text *given, bytea *hash, text *payload)
{
	const char *frame = "\v\x1C\r\n\t ";
	const char *s = VARDATA_ANY(payload);
	const char *end = s + VARSIZE_ANY_EXHDR(payload);

	if (given != NULL && VARSIZE_ANY_EXHDR(given) > LONGEST_KEY)
		return hex_of(intake_hash(given));
	if (given != NULL && VARSIZE_ANY_EXHDR(given) > 0)
		return given;
	s = behind(s, end, frame);
	if (begins_with(s, end, "MSH"))
		return key_of_hl7(s, end_before(s, end, frame));
	return hex_of(hash);
}

PG_FUNCTION_INFO_V1(message_key);
Datum
message_key(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(intake_message_key(intake_argument_text(fcinfo, 0),
										PG_GETARG_BYTEA_PP(1), PG_GETARG_TEXT_PP(2)));
}
