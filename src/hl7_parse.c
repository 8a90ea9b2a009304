/*-------------------------------------------------------------------------
 *
 * hl7_parse.c
 *		From the text of an HL7 message to jsonb.
 *
 * One pass over the text.  Each separator ends a subcomponent, and whatever is
 * of a lower rank than itself; what ended is gathered in the items of the rank
 * above.  Numbers ascend, which is the order of keys in jsonb.
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
#include "hl7_jsonb.h"

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

/* What has a number among its like, and what is there of them. */
typedef struct Level
{
	Hl7Items	items;
	int			number;			/* of the one at hand */
} Level;

typedef struct Parser
{
	const char *text;
	const char *end;
	Hl7Separators separators;
	uint8		ranks[256];
	Level		subcomponents;
	Level		components;
	Hl7Items	repetitions;
	int			filled;			/* repetitions up to the last that is not empty */
	Level		fields;
	Hl7Items	segments;
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

/* A number as a key, and its length */
static inline const char *
number_key(int number, int *length)
{
	static const char ones[] = "123456789";
	static const char tens[] =
		"10111213141516171819202122232425262728293031323334353637383940"
		"41424344454647484950515253545556575859606162636465666768697071"
		"72737475767778798081828384858687888990919293949596979899";
	char	   *key;

	if (number < 10)
	{
		*length = 1;
		return ones + number - 1;
	}
	if (number < 100)
	{
		*length = 2;
		return tens + 2 * (number - 10);
	}
	key = psprintf("%d", number);
	*length = strlen(key);
	return key;
}

/* The part of the number at hand ends; its number. */
static inline int
take_number(const Parser *parser, Level *level, const char *at)
{
	if (level->number > HL7_MAX_NUMBER)
		refuse(parser, at, "more than 9,999 fields, components or subcomponents",
			   "A field, a component or a subcomponent has a number of up to 9,999.");
	return level->number++;
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
	Level	   *level = &parser->subcomponents;
	int			length = at - start;
	int			number = take_number(parser, level, at);

	if (escaped)
	{
		char	   *decoded = palloc(length);

		length = hl7_decode_escapes(&parser->separators, start, length, decoded);
		start = decoded;
	}
	if (length > 0)
	{
		int			key_length;
		const char *key = number_key(number, &key_length);

		count_value(parser, at);
		items_add_text(&level->items, key, key_length, start, length);
	}
}

/* Whether a level has nothing but a text in the first place, which then stands for all. */
static inline bool
is_plain(const Hl7Items *items)
{
	return items->n == 1 && items->items[0].text != NULL &&
		items->items[0].key_length == 1 && items->items[0].key[0] == '1';
}

/*
 * What a level amounts to: nothing (false), or a text or an object, which becomes
 * an item of that number of the level above; of number 0 in an array.
 */
static bool
end_level(Level *level, Hl7Items *into, int number)
{
	Hl7Items   *items = &level->items;
	int			key_length = 0;
	const char *key;

	level->number = 1;
	if (items->n == 0)
		return false;
	key = number == 0 ? NULL : number_key(number, &key_length);
	if (is_plain(items))
	{
		items_add_text(into, key, key_length, items->items[0].text, items->items[0].length);
		items_clear(items);
	}
	else
		hl7_items_close(items, items->n, false, into, key, key_length);
	return true;
}

static void
end_component(Parser *parser, const char *at)
{
	int			number = take_number(parser, &parser->components, at);

	end_level(&parser->subcomponents, &parser->components.items, number);
}

/* An empty one counts as a value, unless it may be all that there is of the field. */
static void
end_repetition(Parser *parser, const char *at)
{
	if (end_level(&parser->components, &parser->repetitions, 0))
		parser->filled = parser->repetitions.n;
	else
	{
		if (parser->repetitions.n > 0)
			count_value(parser, at);
		items_add_text(&parser->repetitions, NULL, 0, "", 0);
	}
}

/* Empty repetitions at the end are none. */
static void
end_field(Parser *parser, const char *at)
{
	int			number = take_number(parser, &parser->fields, at);

	CHECK_FOR_INTERRUPTS();
	if (parser->filled > 0)
	{
		int			key_length;
		const char *key = number_key(number, &key_length);

		hl7_items_close(&parser->repetitions, parser->filled, true, &parser->fields.items,
						key, key_length);
	}
	items_clear(&parser->repetitions);
	parser->filled = 0;
}

static void
end_segment(Parser *parser, const char *name)
{
	Level	   *fields = &parser->fields;

	items_add_text(&fields->items, "segment", 7, name, HL7_NAME_LENGTH);
	hl7_items_close(&fields->items, fields->items.n, false, &parser->segments, NULL, 0);
	fields->number = 0;
}

/*
 * Reads values up to the end of the line, or of the text, and returns where that
 * is.  Nothing above the given rank is closed.
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
	items_add_text(&parser->repetitions, NULL, 0, at, 1);
	hl7_items_close(&parser->repetitions, 1, true, &parser->fields.items, "1", 1);
	items_add_text(&parser->repetitions, NULL, 0, at + 1, rest - at - 1);
	hl7_items_close(&parser->repetitions, 1, true, &parser->fields.items, "2", 1);
	parser->fields.number = 3;
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
prepare(Parser *parser, const char *text, int length)
{
	memset(parser, 0, offsetof(Parser, ranks));
	memset(&parser->subcomponents, 0, sizeof(Parser) - offsetof(Parser, subcomponents));
	parser->text = text;
	parser->end = text + length;
	parser->subcomponents.number = 1;
	parser->components.number = 1;
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
			   "A segment's name is three capital letters or digits. "
			   "Line ends within a field are written \\.br\\.");
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

/* The only message of what may be an envelope; blank lines are skipped. */
static void
read_message(Parser *parser)
{
	const char *at = hl7_skip_frame(parser->text, parser->end);
	const char *line = at;

	while (hl7_is_envelope(at, parser->end, '\0'))
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
		if (hl7_is_envelope(at, parser->end, parser->separators.field) ||
			hl7_is_blank(at, parser->end))
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
message_to_jsonb(Parser *parser)
{
	Hl7Items	message = { 0 };
	int			length;
	const char *separators = hl7_separators_text(&parser->separators, &length);

	hl7_items_close(&parser->segments, parser->segments.n, true, &message, "segments", 8);
	items_add_text(&message, "separators", 10, separators, length);
	return hl7_items_to_jsonb(&message);
}

/* One repetition of a field, for hl7_get(): a text, or what is in jsonb. */
void
hl7_read_repetition(const Hl7Separators *separators, const char *text, int length,
					JsonbValue *value)
{
	Parser		parser;
	Hl7Item    *item;

	prepare(&parser, text, length);
	parser.separators = *separators;
	prepare_ranks(&parser);
	read_values(&parser, text, parser.end, RANK_REPETITION);
	item = &parser.repetitions.items[0];
	value->type = item->text != NULL ? jbvString : jbvBinary;
	if (item->text != NULL)
	{
		value->val.string.val = unconstify(char *, item->text);
		value->val.string.len = item->length;
	}
	else
	{
		value->val.binary.data = (JsonbContainer *) (parser.repetitions.bytes + item->start);
		value->val.binary.len = item->length;
	}
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
