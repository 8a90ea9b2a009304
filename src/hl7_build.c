/*-------------------------------------------------------------------------
 *
 * hl7_build.c
 *		From jsonb to the text of an HL7 message.
 *
 * Writes what hl7_parse() reads back as the same jsonb.  Empty values at the
 * end of a field or of a segment leave no separators behind.
 *
 * IDENTIFICATION
 *		src/hl7_build.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "compat.h"
#include "hl7.h"

/* so many separators are cheaper than a look at what comes behind them */
#define NEAR		16

#define SHAPE_HINT	"See docs/hl7.md for the shape of a message in jsonb."

typedef struct Builder
{
	StringInfo	out;
	Hl7Separators separators;
	bool		plain[256];		/* bytes that are written as they are */
	Hl7Place	place;
} Builder;

/* Writes the value of one number, if there is anything in it. */
typedef void (*WritePart) (Builder *builder, const JsonbValue *value);

/* Parts in a row, with separators between them. */
typedef struct Row
{
	char		separator;
	int			at;				/* the number that is next without another separator */
	int			written;		/* up to the end of the last part that is not empty */
} Row;

PG_FUNCTION_INFO_V1(hl7_build);

pg_noreturn static void
refuse(const Builder *builder, const char *problem)
{
	hl7_refuse(&builder->place, problem, SHAPE_HINT);
}

static void
prepare(Builder *builder, StringInfo out, const Hl7Separators *separators)
{
	const char *text;
	int			length;

	builder->out = out;
	builder->separators = *separators;
	memset(&builder->place, 0, sizeof(builder->place));
	for (int i = 0; i < 256; i++)
		builder->plain[i] = i >= ' ' || i == '\t';
	text = hl7_separators_text(separators, &length);
	for (int i = 0; i < length; i++)
		builder->plain[(unsigned char) text[i]] = false;
}

static void
check_size(const Builder *builder)
{
	if (builder->out->len > HL7_MAX_BYTES)
		hl7_refuse(&builder->place, "the message would be larger than 64 MB",
				   "Send documents of that size apart from the message.");
}

/* ---------- text ---------- */

/*
 * The length of a sequence that stands in a text as hl7_parse() left it, because
 * no character stands for it, and that reads back as it is; or 0.
 */
static int
kept_escape(const Builder *builder, const char *text, const char *end)
{
	char		escape = builder->separators.escape;
	const char *close = memchr(text + 1, escape, end - text - 1);
	int			length;
	char	   *scratch;
	int			unused;
	Hl7Escape	kind;

	if (close == NULL)
		return 0;
	length = close - text - 1;
	for (int i = 1; i <= length; i++)
	{
		if (!builder->plain[(unsigned char) text[i]])
			return 0;
	}
	scratch = palloc(length + 1);
	kind = hl7_escape(&builder->separators, text + 1, length, scratch, &unused);
	pfree(scratch);
	return kind == HL7_ESCAPE_KEPT ? length + 2 : 0;
}

static void
write_escape(Builder *builder, char c)
{
	const Hl7Separators *separators = &builder->separators;
	char		letter = '\0';

	if (c == separators->field)
		letter = 'F';
	else if (c == separators->component)
		letter = 'S';
	else if (c == separators->repetition)
		letter = 'R';
	else if (c == separators->escape)
		letter = 'E';
	else if (c == separators->subcomponent)
		letter = 'T';
	else if (c == separators->truncation)
		letter = 'P';

	appendStringInfoChar(builder->out, separators->escape);
	if (letter != '\0')
		appendStringInfoChar(builder->out, letter);
	else if (c == '\n' && builder->plain['.'])
		appendStringInfoString(builder->out, ".br");
	else
		appendStringInfo(builder->out, "X%02X", (unsigned char) c);
	appendStringInfoChar(builder->out, separators->escape);
}

static void
write_text(Builder *builder, const char *text, int length)
{
	const char *end = text + length;

	while (text < end)
	{
		const char *start = text;
		int			kept;

		while (text < end && builder->plain[(unsigned char) *text])
			text++;
		appendBinaryStringInfo(builder->out, start, text - start);
		if (text == end)
			break;
		kept = *text == builder->separators.escape ? kept_escape(builder, text, end) : 0;
		if (kept > 0)
			appendBinaryStringInfo(builder->out, text, kept);
		else
			write_escape(builder, *text);
		text += Max(kept, 1);
	}
	check_size(builder);
}

/* ---------- parts by number ---------- */

/* A key as a number from 1 to 9,999 without a leading zero. */
static int
read_number(const Builder *builder, const JsonbValue *key)
{
	int			number = 0;

	for (int i = 0; i < key->val.string.len && number <= HL7_MAX_NUMBER; i++)
	{
		char		c = key->val.string.val[i];

		if (c < (i == 0 ? '1' : '0') || c > '9')
			refuse(builder, "a key is not the number of a field, component or subcomponent");
		number = number * 10 + (c - '0');
	}
	if (number == 0 || number > HL7_MAX_NUMBER)
		refuse(builder, "a key is not a number from 1 to 9,999");
	return number;
}

static void
begin_row(const Builder *builder, Row *row, char separator, int first)
{
	row->separator = separator;
	row->at = first;
	row->written = builder->out->len;
}

/* Whether anything of a value would be written: a text that is not empty */
static bool
has_text(const JsonbValue *value)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	part;

	if (value->type != jbvBinary)
		return value->type == jbvString && value->val.string.len > 0;
	iterator = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&iterator, &part, false)) != WJB_DONE)
	{
		CHECK_FOR_INTERRUPTS();
		if ((token == WJB_VALUE || token == WJB_ELEM) &&
			part.type == jbvString && part.val.string.len > 0)
			return true;
	}
	return false;
}

/*
 * A part without text is read, to refuse what it should not have, and leaves no
 * separators; far out none are written to begin with.
 */
static void
write_part(Builder *builder, Row *row, int number, const JsonbValue *value, WritePart write)
{
	int			start;

	CHECK_FOR_INTERRUPTS();
	if (number - row->at <= NEAR || has_text(value))
		for (; row->at < number; row->at++)
			appendStringInfoChar(builder->out, row->separator);
	start = builder->out->len;
	write(builder, value);
	if (builder->out->len > start)
		row->written = builder->out->len;
}

/* Takes back the separators in front of empty parts at the end. */
static void
end_row(Builder *builder, const Row *row)
{
	builder->out->len = row->written;
	builder->out->data[row->written] = '\0';
}

/* Keys come in the order of their numbers: shorter ones first. */
static void
write_object(Builder *builder, JsonbContainer *object, char separator, WritePart write)
{
	JsonbIterator *iterator = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue	value;
	Row			row;
	int			number = 0;

	begin_row(builder, &row, separator, 1);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			number = read_number(builder, &value);
		else if (token == WJB_VALUE)
			write_part(builder, &row, number, &value, write);
	}
	end_row(builder, &row);
}

static bool
is_object(const JsonbValue *value)
{
	return value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data);
}

static bool
is_array(const JsonbValue *value)
{
	return value->type == jbvBinary && JsonContainerIsArray(value->val.binary.data);
}

static void
write_subcomponent(Builder *builder, const JsonbValue *value)
{
	if (value->type == jbvString)
		write_text(builder, value->val.string.val, value->val.string.len);
	else if (value->type != jbvNull)
		refuse(builder, "a value is not a string");
}

static void
write_component(Builder *builder, const JsonbValue *value)
{
	if (is_object(value))
		write_object(builder, value->val.binary.data, builder->separators.subcomponent,
					 write_subcomponent);
	else
		write_subcomponent(builder, value);
}

static void
write_repetition(Builder *builder, const JsonbValue *value)
{
	if (is_object(value))
		write_object(builder, value->val.binary.data, builder->separators.component,
					 write_component);
	else
		write_subcomponent(builder, value);
}

static void
write_field(Builder *builder, const JsonbValue *value)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	repetition;
	Row			row;
	int			number = 0;

	CHECK_FOR_INTERRUPTS();
	if (value->type == jbvNull)
		return;
	if (!is_array(value))
		refuse(builder, "a field is not an array of its repetitions");
	begin_row(builder, &row, builder->separators.repetition, 1);
	iterator = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&iterator, &repetition, true)) != WJB_DONE)
	{
		if (token == WJB_ELEM)
			write_part(builder, &row, ++number, &repetition, write_repetition);
	}
	end_row(builder, &row);
}

/* ---------- segments ---------- */

/* MSH-1 and MSH-2 are there already; in jsonb they may be left out, but not differ. */
static void
check_header(Builder *builder, JsonbContainer *object, int field)
{
	JsonbValue	value;
	JsonbValue *repetition;
	int			length;
	const char *text = hl7_separators_text(&builder->separators, &length);

	if (getKeyJsonValueFromContainer(object, field == 1 ? "1" : "2", 1, &value) == NULL)
		return;
	repetition = is_array(&value) && JsonContainerSize(value.val.binary.data) == 1 ?
		getIthJsonbValueFromContainer(value.val.binary.data, 0) : NULL;
	text += field == 1 ? 0 : 1;
	length = field == 1 ? 1 : length - 1;
	if (repetition == NULL || repetition->type != jbvString ||
		repetition->val.string.len != length ||
		memcmp(repetition->val.string.val, text, length) != 0)
		refuse(builder, "MSH-1 or MSH-2 is not what \"separators\" says");
}

/* A separator goes before the first field, too; MSH-2 is followed by MSH-3. */
static void
write_fields(Builder *builder, JsonbContainer *object, bool is_header)
{
	JsonbIterator *iterator = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue	value;
	Row			row;
	bool		is_name = false;

	begin_row(builder, &row, builder->separators.field, is_header ? 2 : 0);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			is_name = value.val.string.len == 7 &&
				memcmp(value.val.string.val, "segment", 7) == 0;
			if (!is_name)
				builder->place.field = read_number(builder, &value);
		}
		else if (token == WJB_VALUE && !is_name &&
				 !(is_header && builder->place.field <= 2))
			write_part(builder, &row, builder->place.field, &value, write_field);
	}
	end_row(builder, &row);
	builder->place.field = 0;
}

static void
write_segment(Builder *builder, const JsonbValue *segment)
{
	JsonbValue	name;
	bool		is_header;
	int			length;
	const char *separators;

	builder->place.segment++;
	if (builder->place.segment > HL7_MAX_SEGMENTS)
		refuse(builder, "the message has more than 100,000 segments");
	if (!is_object(segment) ||
		getKeyJsonValueFromContainer(segment->val.binary.data, "segment", 7, &name) == NULL ||
		name.type != jbvString || !hl7_is_name(name.val.string.val, name.val.string.len))
		refuse(builder,
			   "a segment is not an object whose \"segment\" is three capital letters or digits");
	is_header = memcmp(name.val.string.val, "MSH", HL7_NAME_LENGTH) == 0;
	if (is_header != (builder->place.segment == 1) ||
		hl7_is_envelope(name.val.string.val, name.val.string.val + name.val.string.len, '\0'))
		refuse(builder,
			   "the first segment, and no other, is MSH, and none is FHS, BHS, BTS or FTS");
	appendBinaryStringInfo(builder->out, name.val.string.val, HL7_NAME_LENGTH);
	if (is_header)
	{
		check_header(builder, segment->val.binary.data, 1);
		check_header(builder, segment->val.binary.data, 2);
		separators = hl7_separators_text(&builder->separators, &length);
		appendBinaryStringInfo(builder->out, separators, length);
	}
	write_fields(builder, segment->val.binary.data, is_header);
	appendStringInfoChar(builder->out, '\r');
	check_size(builder);
}

static void
write_segments(Builder *builder, const JsonbValue *segments)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	segment;

	if (!is_array(segments) || JsonContainerSize(segments->val.binary.data) == 0)
		refuse(builder, "\"segments\" is not an array of segments");
	iterator = JsonbIteratorInit(segments->val.binary.data);
	while ((token = JsonbIteratorNext(&iterator, &segment, true)) != WJB_DONE)
	{
		if (token == WJB_ELEM)
			write_segment(builder, &segment);
	}
}

/* ---------- messages ---------- */

/* The separators that a message in jsonb has; the usual ones when it has none. */
void
hl7_get_separators(JsonbContainer *message, Hl7Separators *separators)
{
	Hl7Place	nowhere = {0};
	JsonbValue	value;
	const char *problem;

	*separators = hl7_default_separators;
	if (getKeyJsonValueFromContainer(message, "separators", 10, &value) == NULL)
		return;
	problem = value.type != jbvString ? "\"separators\" is not a string" :
		hl7_check_separators(value.val.string.val, value.val.string.len, separators);
	if (problem != NULL)
		hl7_refuse(&nowhere, problem, SHAPE_HINT);
}

/* One repetition, or component, as a message has it, for hl7_get(). */
void
hl7_write_value(StringInfo out, const Hl7Separators *separators, const JsonbValue *value,
				bool is_component)
{
	Builder		builder;

	prepare(&builder, out, separators);
	if (is_component)
		write_component(&builder, value);
	else
		write_repetition(&builder, value);
}

static void
check_keys(Builder *builder, Jsonb *message, JsonbValue *segments)
{
	JsonbValue	unused;
	int			known;

	if (!JB_ROOT_IS_OBJECT(message) ||
		getKeyJsonValueFromContainer(&message->root, "segments", 8, segments) == NULL)
		refuse(builder, "it is not an object with the key \"segments\"");
	known = 1 + (getKeyJsonValueFromContainer(&message->root, "separators", 10, &unused) != NULL);
	if (JB_ROOT_COUNT(message) != known)
		refuse(builder, "it has another key than \"segments\" and \"separators\"");
}

/* hl7_build(message jsonb) */
Datum
hl7_build(PG_FUNCTION_ARGS)
{
	Jsonb	   *message = PG_GETARG_JSONB_P(0);
	Hl7Separators separators = hl7_default_separators;
	Builder		builder;
	JsonbValue	segments;
	StringInfoData out;

	initStringInfo(&out);
	prepare(&builder, &out, &separators);
	check_keys(&builder, message, &segments);
	hl7_get_separators(&message->root, &separators);
	prepare(&builder, &out, &separators);
	write_segments(&builder, &segments);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}
