/*-------------------------------------------------------------------------
 *
 * hl7_parse.c
 *		From the text of an HL7 message to jsonb.
 *
 * One pass over the text.  Each separator ends a subcomponent, and whatever is
 * of a lower rank than itself; what ended is gathered as a JsonbValue in the
 * lists of the rank above.  Numbers of fields are pushed in ascending order,
 * which is the order of keys in jsonb (by length, then by bytes): objects need
 * not be sorted, and the tree goes to JsonbValueToJsonb() as a whole.
 *
 * IDENTIFICATION
 *		src/hl7_parse.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "compat.h"
#include "hl7.h"

/* What a byte ends, in ascending rank. */
typedef enum Rank
{
	RANK_NONE,
	RANK_ESCAPE,
	RANK_SUBCOMPONENT,
	RANK_COMPONENT,
	RANK_REPETITION,
	RANK_FIELD,
	RANK_SEGMENT
} Rank;

/* An object while it grows: what is there, by number, and the number of the one at hand. */
typedef struct Pairs
{
	JsonbPair  *pairs;
	int			n;
	int			allocated;
	int			number;
} Pairs;

/* An array while it grows. */
typedef struct Values
{
	JsonbValue *values;
	int			n;
	int			allocated;
} Values;

typedef struct Parser
{
	const char *text;
	const char *end;
	Hl7Separators separators;
	uint8		ranks[256];
	Pairs		subcomponents;
	Pairs		components;
	Values		repetitions;
	int			filled;			/* repetitions up to the last that is not empty */
	Pairs		fields;
	Values		segments;
	int			values;			/* gathered in all */
} Parser;

PG_FUNCTION_INFO_V1(hl7_parse);

pg_noreturn static void
refuse(const Parser *parser, const char *at, const char *problem, const char *hint)
{
	Hl7Place	place;

	place.segment = parser->segments.n + 1;
	place.field = parser->fields.number;
	place.character = pg_mbstrlen_with_len(parser->text, at - parser->text) + 1;
	hl7_refuse(&place, problem, hint);
}

static inline void
set_string(JsonbValue *value, const char *text, int length)
{
	value->type = jbvString;
	value->val.string.val = unconstify(char *, text);
	value->val.string.len = length;
}

/* The number of a field as a key. */
static void
set_key(JsonbValue *key, int number)
{
	static const char ones[] = "123456789";
	static const char tens[] =
		"10111213141516171819202122232425262728293031323334353637383940"
		"41424344454647484950515253545556575859606162636465666768697071"
		"72737475767778798081828384858687888990919293949596979899";

	if (number < 10)
		set_string(key, ones + number - 1, 1);
	else if (number < 100)
		set_string(key, tens + 2 * (number - 10), 2);
	else
	{
		char	   *text = psprintf("%d", number);

		set_string(key, text, strlen(text));
	}
}

static inline JsonbValue *
add_pair(Pairs *list)
{
	JsonbPair  *pair;

	if (list->n == list->allocated)
	{
		list->allocated = list->allocated * 2;
		list->pairs = repalloc(list->pairs, list->allocated * sizeof(JsonbPair));
	}
	pair = &list->pairs[list->n++];
	set_key(&pair->key, list->number);
	return &pair->value;
}

static inline JsonbValue *
add_value(Values *list)
{
	if (list->n == list->allocated)
	{
		list->allocated = list->allocated * 2;
		list->values = repalloc(list->values, list->allocated * sizeof(JsonbValue));
	}
	return &list->values[list->n++];
}

static inline void
set_object(JsonbValue *value, const Pairs *list)
{
	value->type = jbvObject;
	value->val.object.nPairs = list->n;
	value->val.object.pairs = palloc(list->n * sizeof(JsonbPair));
	memcpy(value->val.object.pairs, list->pairs, list->n * sizeof(JsonbPair));
}

static inline void
set_array(JsonbValue *value, const Values *list, int n)
{
	value->type = jbvArray;
	value->val.array.rawScalar = false;
	value->val.array.nElems = n;
	value->val.array.elems = palloc(n * sizeof(JsonbValue));
	memcpy(value->val.array.elems, list->values, n * sizeof(JsonbValue));
}

static inline void
next_number(const Parser *parser, Pairs *list, const char *at)
{
	if (list->number == HL7_MAX_NUMBER)
		refuse(parser, at, "more than 9,999 fields, components or subcomponents",
			   "A field, a component or a subcomponent has a number of up to 9,999.");
	list->number++;
}

static inline void
count_value(Parser *parser, const char *at)
{
	if (++parser->values > HL7_MAX_VALUES)
		refuse(parser, at, "the message has more than 1,000,000 values",
			   "Split the message into smaller ones.");
}

static void
end_subcomponent(Parser *parser, const char *start, const char *at, bool escaped)
{
	Pairs	   *list = &parser->subcomponents;
	int			length = at - start;

	if (escaped)
	{
		char	   *decoded = palloc(length);

		length = hl7_decode_escapes(&parser->separators, start, length, decoded);
		start = decoded;
	}
	if (length > 0)
	{
		count_value(parser, at);
		set_string(add_pair(list), start, length);
	}
	next_number(parser, list, at);
}

/*
 * What a list amounts to: nothing, the text of the only first one, or an object.
 * The list is left empty.
 */
static inline bool
end_list(Pairs *list, JsonbValue *value)
{
	int			n = list->n;

	if (n == 1 && list->pairs[0].key.val.string.val[0] == '1' &&
		list->pairs[0].key.val.string.len == 1 && list->pairs[0].value.type == jbvString)
		*value = list->pairs[0].value;
	else if (n > 0)
		set_object(value, list);
	list->n = 0;
	list->number = 1;
	return n > 0;
}

static void
end_component(Parser *parser, const char *at)
{
	JsonbValue	value;

	if (end_list(&parser->subcomponents, &value))
		*add_pair(&parser->components) = value;
	next_number(parser, &parser->components, at);
}

static void
end_repetition(Parser *parser, const char *at)
{
	JsonbValue	value;
	bool		filled = end_list(&parser->components, &value);

	if (!filled)
	{
		count_value(parser, at);
		set_string(&value, "", 0);
	}
	*add_value(&parser->repetitions) = value;
	if (filled)
		parser->filled = parser->repetitions.n;
}

/* Empty repetitions at the end are none. */
static void
end_field(Parser *parser, const char *at)
{
	CHECK_FOR_INTERRUPTS();
	if (parser->filled > 0)
		set_array(add_pair(&parser->fields), &parser->repetitions, parser->filled);
	parser->repetitions.n = 0;
	parser->filled = 0;
	next_number(parser, &parser->fields, at);
}

static void
end_segment(Parser *parser, const char *name)
{
	Pairs	   *fields = &parser->fields;

	fields->number = 1;
	set_string(add_pair(fields), name, HL7_NAME_LENGTH);
	set_string(&fields->pairs[fields->n - 1].key, "segment", 7);
	set_object(add_value(&parser->segments), fields);
	fields->n = 0;
	fields->number = 0;
}

/*
 * Reads values up to the end of the line, or of the text, and returns where that is.
 * The values that end there are closed up to the given rank.
 */
static const char *
read_values(Parser *parser, const char *at, const char *end, Rank last)
{
	const uint8 *ranks = parser->ranks;
	const char *start = at;
	bool		escaped = false;

	for (;; at++)
	{
		Rank		rank = at == end ? RANK_SEGMENT : ranks[(unsigned char) *at];

		if (rank == RANK_NONE)
			continue;
		if (rank == RANK_ESCAPE)
		{
			escaped = true;
			continue;
		}
		end_subcomponent(parser, start, at, escaped);
		rank = Min(rank, last);
		if (rank >= RANK_COMPONENT)
			end_component(parser, at);
		if (rank >= RANK_REPETITION)
			end_repetition(parser, at);
		if (rank >= RANK_FIELD)
			end_field(parser, at);
		if (at == end || ranks[(unsigned char) *at] == RANK_SEGMENT)
			return at;
		start = at + 1;
		escaped = false;
	}
}

/* MSH-1 and MSH-2 are the separators themselves, and not to be decoded. */
static const char *
read_header(Parser *parser, const char *at)
{
	const char *problem;
	const char *rest = hl7_read_header(at, parser->end, &parser->separators, &problem);

	if (problem != NULL)
		refuse(parser, rest, problem, HL7_HEADER_HINT);
	at += HL7_NAME_LENGTH;
	for (parser->fields.number = 1; parser->fields.number <= 2; parser->fields.number++)
	{
		set_string(add_value(&parser->repetitions), at,
				   parser->fields.number == 1 ? 1 : rest - at);
		set_array(add_pair(&parser->fields), &parser->repetitions, 1);
		parser->repetitions.n = 0;
		at++;
	}
	return rest;
}

static void
prepare_ranks(Parser *parser)
{
	const Hl7Separators *separators = &parser->separators;
	uint8	   *ranks = parser->ranks;

	memset(ranks, RANK_NONE, sizeof(parser->ranks));
	ranks[(unsigned char) separators->field] = RANK_FIELD;
	ranks[(unsigned char) separators->component] = RANK_COMPONENT;
	ranks[(unsigned char) separators->repetition] = RANK_REPETITION;
	ranks[(unsigned char) separators->escape] = RANK_ESCAPE;
	ranks[(unsigned char) separators->subcomponent] = RANK_SUBCOMPONENT;
	ranks['\r'] = RANK_SEGMENT;
	ranks['\n'] = RANK_SEGMENT;
}

static void
allocate_pairs(Pairs *list, int n)
{
	list->pairs = palloc(n * sizeof(JsonbPair));
	list->allocated = n;
	list->n = 0;
	list->number = 1;
}

static void
allocate_values(Values *list, int n)
{
	list->values = palloc(n * sizeof(JsonbValue));
	list->allocated = n;
	list->n = 0;
}

static void
prepare(Parser *parser, const char *text, int length)
{
	parser->text = text;
	parser->end = text + length;
	parser->filled = 0;
	parser->values = 0;
	allocate_pairs(&parser->subcomponents, 16);
	allocate_pairs(&parser->components, 32);
	allocate_values(&parser->repetitions, 16);
	allocate_pairs(&parser->fields, 64);
	allocate_values(&parser->segments, 64);
	parser->fields.number = 0;
}

/* Reads a line after the first; returns where it ends. */
static const char *
read_line(Parser *parser, const char *at)
{
	const char *line = at;
	const char *end = parser->end;

	if (end - at < HL7_NAME_LENGTH || !hl7_is_name(at, HL7_NAME_LENGTH) ||
		(end - at > HL7_NAME_LENGTH && at[HL7_NAME_LENGTH] != parser->separators.field &&
		 parser->ranks[(unsigned char) at[HL7_NAME_LENGTH]] != RANK_SEGMENT))
		refuse(parser, at, "the line does not start with a segment's name and a field separator",
			   "A segment's name is three capital letters or digits. Line ends within a field are written \\.br\\.");
	if (memcmp(at, "MSH", HL7_NAME_LENGTH) == 0)
		refuse(parser, at, "another message starts here",
			   "Take a batch apart with referral.hl7_split().");
	at += HL7_NAME_LENGTH;
	if (at < end && *at == parser->separators.field)
	{
		parser->fields.number = 1;
		at = read_values(parser, at + 1, end, RANK_FIELD);
	}
	end_segment(parser, line);
	return at;
}

/* The message is the first and only one of what may be a batch; blank lines are none. */
static void
read_message(Parser *parser)
{
	const char *at = hl7_skip_frame(parser->text, parser->end);
	const char *line = at;

	while (hl7_is_envelope(at, parser->end))
		line = at = hl7_skip_frame(hl7_line_end(at, parser->end), parser->end);
	parser->end = hl7_skip_frame_end(at, parser->end);
	at = read_header(parser, at);
	prepare_ranks(parser);
	if (at < parser->end && *at == parser->separators.field)
		at = read_values(parser, at + 1, parser->end, RANK_FIELD);
	end_segment(parser, line);

	while (at < parser->end)
	{
		if (*at == '\r' || *at == '\n')
		{
			at++;
			continue;
		}
		CHECK_FOR_INTERRUPTS();
		if (hl7_is_envelope(at, parser->end) || hl7_is_blank(at, parser->end))
		{
			at = hl7_line_end(at, parser->end);
			continue;
		}
		if (parser->segments.n == HL7_MAX_SEGMENTS)
			refuse(parser, at, "the message has more than 100,000 segments",
				   "Split the message into smaller ones.");
		at = read_line(parser, at);
	}
}

static Jsonb *
message_to_jsonb(const Parser *parser)
{
	JsonbPair	pairs[2];
	JsonbValue	message;
	const char *separators;
	int			length;

	separators = hl7_separators_text(&parser->separators, &length);
	set_string(&pairs[0].key, "segments", 8);
	set_array(&pairs[0].value, &parser->segments, parser->segments.n);
	set_string(&pairs[1].key, "separators", 10);
	set_string(&pairs[1].value, separators, length);
	message.type = jbvObject;
	message.val.object.nPairs = 2;
	message.val.object.pairs = pairs;
	return JsonbValueToJsonb(&message);
}

/* One repetition of a field, for hl7_get(). */
void
hl7_read_repetition(const Hl7Separators *separators, const char *text, int length,
					JsonbValue *value)
{
	Parser		parser;

	prepare(&parser, text, length);
	parser.separators = *separators;
	prepare_ranks(&parser);
	read_values(&parser, text, parser.end, RANK_COMPONENT);
	if (!end_list(&parser.components, value))
		set_string(value, "", 0);
}

/* hl7_parse(message text) */
Datum
hl7_parse(PG_FUNCTION_ARGS)
{
	text	   *message = PG_GETARG_TEXT_PP(0);
	Parser		parser;

	prepare(&parser, VARDATA_ANY(message), VARSIZE_ANY_EXHDR(message));
	if (VARSIZE_ANY_EXHDR(message) > HL7_MAX_BYTES)
		refuse(&parser, parser.text, "the message is larger than 64 MB",
			   "Send documents of that size apart from the message.");
	read_message(&parser);
	PG_RETURN_JSONB_P(message_to_jsonb(&parser));
}
