/*-------------------------------------------------------------------------
 *
 * csv.c
 *		Files of comma-separated values (RFC 4180) as records.
 *
 * The first line names the columns.  Messages name lines, never what stands
 * there.
 *
 * IDENTIFICATION
 *		src/csv.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "compat.h"
#include "errors.h"

#define MAX_COLUMNS		1600	/* as of a table */

typedef struct CsvReader
{
	const char *at;
	const char *end;
	char		delimiter;
	int			line;			/* of the record that is being read */
	int			next_line;
	int			n;				/* its values */
	char	   *values[MAX_COLUMNS];
	int			lengths[MAX_COLUMNS];
	StringInfoData buffer;		/* what they are in */
	int			starts[MAX_COLUMNS];
} CsvReader;

pg_noreturn static void
refuse_csv(const char *detail, int line)
{
	ereport(ERROR,
			(errcode(ERRCODE_RF_INVALID_MESSAGE),
			 errmsg("the text is no list of comma-separated values"),
			 errdetail("Line %d: %s", line, detail),
			 errhint("See RFC 4180: the first line names the columns, a value with a delimiter, a quote or a line end is in double quotes.")));
}

/* A value in quotes, up to behind the closing one. */
static void
read_quoted(CsvReader *reader)
{
	reader->at++;
	for (;;)
	{
		const char *quote = memchr(reader->at, '"', reader->end - reader->at);

		if (quote == NULL)
			refuse_csv("a double quote is not closed.", reader->line);
		for (const char *c = reader->at; c < quote; c++)
			if (*c == '\n' || (*c == '\r' && c[1] != '\n'))
				reader->next_line++;
		appendBinaryStringInfo(&reader->buffer, reader->at, quote - reader->at);
		reader->at = quote + 1;
		if (reader->at >= reader->end || *reader->at != '"')
			return;
		appendStringInfoChar(&reader->buffer, '"');
		reader->at++;
	}
}

/* Of a line with too many values the last ones are only counted. */
static void
read_value(CsvReader *reader)
{
	int			start = reader->buffer.len;

	if (reader->at < reader->end && *reader->at == '"')
		read_quoted(reader);
	while (reader->at < reader->end && *reader->at != reader->delimiter &&
		   *reader->at != '\r' && *reader->at != '\n')
		appendStringInfoChar(&reader->buffer, *reader->at++);
	if (reader->n < MAX_COLUMNS)
	{
		reader->starts[reader->n] = start;
		reader->lengths[reader->n] = reader->buffer.len - start;
	}
	reader->n++;
}

/* The next record that is not an empty line; false at the end. */
static bool
read_record(CsvReader *reader)
{
	while (reader->at < reader->end && (*reader->at == '\r' || *reader->at == '\n'))
	{
		if (*reader->at == '\n' || reader->at + 1 >= reader->end || reader->at[1] != '\n')
			reader->next_line++;
		reader->at++;
	}
	if (reader->at >= reader->end)
		return false;
	reader->line = reader->next_line;
	reader->n = 0;
	resetStringInfo(&reader->buffer);
	for (;;)
	{
		read_value(reader);
		if (reader->at >= reader->end || *reader->at != reader->delimiter)
			break;
		reader->at++;
	}
	for (int i = 0; i < Min(reader->n, MAX_COLUMNS); i++)
		reader->values[i] = reader->buffer.data + reader->starts[i];
	return true;
}

/* The delimiter that the first line has most of. */
static char
guess_delimiter(const char *text, int length)
{
	static const char candidates[] = ",;\t|";
	int			best = 0;
	int			most = 0;

	for (int c = 0; candidates[c] != '\0'; c++)
	{
		int			count = 0;

		for (int i = 0; i < length && text[i] != '\r' && text[i] != '\n'; i++)
			count += text[i] == candidates[c];
		if (count > most)
		{
			most = count;
			best = c;
		}
	}
	return candidates[best];
}

static JsonbValue *
trimmed(JsonbValue *value, char *text, int length)
{
	while (length > 0 && isspace((unsigned char) text[length - 1]))
		length--;
	while (length > 0 && isspace((unsigned char) *text))
	{
		text++;
		length--;
	}
	value->type = jbvString;
	value->val.string.val = text;
	value->val.string.len = length;
	return value;
}

/* Is there a column of that name among the first n? */
static bool
is_taken(const JsonbValue *names, int n, const char *name, int length)
{
	for (int i = 0; i < n; i++)
		if (names[i].val.string.len == length && memcmp(names[i].val.string.val, name, length) == 0)
			return true;
	return false;
}

/* A name that no column has: the given one, else with the column's number behind it. */
static char *
free_name(const JsonbValue *names, int n, const char *name, int length, int column)
{
	char	   *result = psprintf("%.*s_%d", length, name, column);

	while (is_taken(names, n, result, strlen(result)))
		result = psprintf("%s_%d", result, column);
	return result;
}

/* Names of the columns; a name that comes again, or is empty, gets its number. */
static JsonbValue *
read_header(CsvReader *reader, int *n)
{
	JsonbValue *names = palloc(sizeof(JsonbValue) * MAX_COLUMNS);

	if (!read_record(reader))
		refuse_csv("there is none.", 1);
	if (reader->n > MAX_COLUMNS)
		refuse_csv("it has too many columns.", reader->line);
	*n = reader->n;
	for (int i = 0; i < reader->n; i++)
	{
		trimmed(&names[i], reader->values[i], reader->lengths[i]);
		names[i].val.string.val = pnstrdup(names[i].val.string.val, names[i].val.string.len);
	}
	for (int i = 0; i < reader->n; i++)
	{
		char	   *name = names[i].val.string.val;
		int			length = names[i].val.string.len;

		if (length > 0 && !is_taken(names, i, name, length))
			continue;
		names[i].val.string.val = free_name(names, reader->n, name, length, i + 1);
		names[i].val.string.len = strlen(names[i].val.string.val);
	}
	return names;
}

/* Empty values are left out; those beyond the last column are named by their number. */
static Datum
record_of(CsvReader *reader, JsonbValue *names, int n)
{
	JsonbParseState *state = NULL;
	JsonbValue *object;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < Min(reader->n, MAX_COLUMNS); i++)
	{
		JsonbValue	value;

		if (trimmed(&value, reader->values[i], reader->lengths[i])->val.string.len == 0)
			continue;
		if (i < n)
			pushJsonbValue(&state, WJB_KEY, &names[i]);
		else
		{
			JsonbValue	surplus;
			char	   *name = free_name(names, n, "", 0, i + 1);

			pushJsonbValue(&state, WJB_KEY, trimmed(&surplus, name, strlen(name)));
		}
		pushJsonbValue(&state, WJB_VALUE, &value);
	}
	object = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return JsonbPGetDatum(JsonbValueToJsonb(object));
}

/* A reader of a text; delimiter: NULL to guess it. */
static CsvReader *
open_csv(text *content, text *delimiter)
{
	CsvReader  *reader = palloc0(sizeof(CsvReader));

	reader->at = VARDATA_ANY(content);
	reader->end = reader->at + VARSIZE_ANY_EXHDR(content);
	/* the mark that some programs put before UTF-8 */
	if (reader->end - reader->at >= 3 && memcmp(reader->at, "\xef\xbb\xbf", 3) == 0)
		reader->at += 3;
	reader->next_line = 1;
	if (delimiter != NULL && (VARSIZE_ANY_EXHDR(delimiter) != 1 || strchr("\"\r\n", *VARDATA_ANY(delimiter))))
		ereport(ERROR,
				(errcode(ERRCODE_RF_INVALID_ARGUMENT),
				 errmsg("a delimiter is one character of one byte"),
				 errdetail("A quote and a line end cannot be one."),
				 errhint("Pass a comma, a semicolon, a tab or a bar, or null.")));
	reader->delimiter = delimiter != NULL ? *VARDATA_ANY(delimiter) :
		guess_delimiter(reader->at, reader->end - reader->at);
	initStringInfo(&reader->buffer);
	return reader;
}

PG_FUNCTION_INFO_V1(csv_columns);

Datum
csv_columns(PG_FUNCTION_ARGS)
{
	CsvReader  *reader;
	JsonbValue *names;
	Datum	   *columns;
	int			n;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	reader = open_csv(PG_GETARG_TEXT_PP(0), PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1));
	names = read_header(reader, &n);
	columns = palloc(n * sizeof(Datum));
	for (int i = 0; i < n; i++)
		columns[i] = PointerGetDatum(cstring_to_text_with_len(names[i].val.string.val,
															  names[i].val.string.len));
	PG_RETURN_ARRAYTYPE_P(construct_array(columns, n, TEXTOID, -1, false, TYPALIGN_INT));
}

PG_FUNCTION_INFO_V1(csv_records);

Datum
csv_records(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext each = AllocSetContextCreate(CurrentMemoryContext, "record", ALLOCSET_SMALL_SIZES);
	CsvReader  *reader;
	JsonbValue *names;
	int			n;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	reader = open_csv(PG_GETARG_TEXT_PP(0), PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1));
	names = read_header(reader, &n);
	while (read_record(reader))
	{
		MemoryContext old = MemoryContextSwitchTo(each);
		Datum		values[3];
		bool		nulls[3] = {false};

		CHECK_FOR_INTERRUPTS();
		values[0] = Int32GetDatum(reader->line);
		values[1] = record_of(reader, names, n);
		nulls[2] = reader->n == n;
		if (!nulls[2])
			values[2] = CStringGetTextDatum(psprintf("%d values for %d columns", reader->n, n));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		MemoryContextSwitchTo(old);
		MemoryContextReset(each);
	}
	return (Datum) 0;
}
