/*-------------------------------------------------------------------------
 *
 * matching_keys.c
 *		Blocking keys: what two records of one person have in common.
 *
 * Only records with a key in common are ever compared, so the keys decide what
 * can be found.  A key is the hash of its kind and of some of what is known,
 * chosen so that a person is found by what is right, whatever else is wrong:
 * the birth date with day and month in either order, either half of an
 * identifier, names by sound and by their first letters in either order, each
 * name with the city, the street with its number or the city.  Each key costs
 * its place in the index, three times what a comparison costs, so there are few
 * of them; and a few more of people of whom little is known.
 *
 * The hash is the same on every machine and depends on nothing but the value.
 * Whoever changes a key makes indexes wrong: that needs a new opclass.
 *
 * IDENTIFICATION
 *		src/matching_keys.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "compat.h"
#include "matching.h"
#include "matching_string.h"

typedef enum KeyKind
{
	KEY_BIRTH_DATE,
	KEY_IDENTIFIER,
	KEY_PHONE_END,
	KEY_PHONE_MIDDLE,
	KEY_EMAIL_START,
	KEY_EMAIL_DOMAIN,
	KEY_EMAIL_LOCAL,
	KEY_NAMES_SOUND,
	KEY_NAMES_START,
	KEY_NAMES_YEAR,
	KEY_IDENTIFIER_START,
	KEY_IDENTIFIER_END,
	KEY_NAME_YEAR,
	KEY_NAME,
	KEY_NUMBER_STREET,
	KEY_NUMBER_POSTAL,
	KEY_STREET_POSTAL,
	KEY_STREET_CITY,
	KEY_NAME_CITY,
	KEY_NAME_POSTAL,
	KEY_CITY_YEAR
} KeyKind;

/* For explanations. */
static const char *const key_names[] = {
	[KEY_BIRTH_DATE] = "birth date",
	[KEY_IDENTIFIER] = "identifier",
	[KEY_PHONE_END] = "end of phone",
	[KEY_PHONE_MIDDLE] = "middle of phone",
	[KEY_EMAIL_START] = "start of e-mail",
	[KEY_EMAIL_DOMAIN] = "first letter and domain of e-mail",
	[KEY_EMAIL_LOCAL] = "e-mail up to the first letter of its domain",
	[KEY_NAMES_SOUND] = "names by sound",
	[KEY_NAMES_START] = "starts of names",
	[KEY_NAMES_YEAR] = "starts of names, birth year",
	[KEY_IDENTIFIER_START] = "start of identifier",
	[KEY_IDENTIFIER_END] = "end of identifier",
	[KEY_NAME_YEAR] = "name, birth year",
	[KEY_NAME] = "name",
	[KEY_NUMBER_STREET] = "street number, street",
	[KEY_NUMBER_POSTAL] = "street number, postal code",
	[KEY_STREET_POSTAL] = "street, postal code",
	[KEY_STREET_CITY] = "street, city",
	[KEY_NAME_CITY] = "name, city",
	[KEY_NAME_POSTAL] = "name, postal code",
	[KEY_CITY_YEAR] = "city, birth year"
};

/* How many letters of a name or street by sound, and how many from its start. */
#define SOUND_LETTERS	4
#define START_LETTERS	3
#define SHORT_LETTERS	2
#define EMAIL_LETTERS	7

/* Of several values of a kind, so many take part in keys. */
#define MAX_FAMILIES	5
#define MAX_GIVENS		4
#define MAX_SEVERAL		4
#define MAX_ADDRESSES	2

/* A part of a key, hashed; 0 where nothing is known. */
typedef uint64 Part;

/* What the keys are made of. */
typedef struct Parts
{
	Part		birth_date;
	Part		birth_year;
	int			nfamilies;
	int			ngivens;
	struct
	{
		Part		sound;
		Part		start;
		Part		shorter;
	}			names[MAX_FAMILIES + MAX_GIVENS];	/* family names, then given names */
	int			nstreets;
	Part		streets[MAX_ADDRESSES]; /* sound */
	Part		street_starts[MAX_ADDRESSES];
	int			nnumbers;
	Part		numbers[MAX_ADDRESSES];
	int			ncities;
	Part		cities[MAX_ADDRESSES];	/* sound */
	Part		city_starts[MAX_ADDRESSES];
	int			npostals;
	Part		postals[MAX_ADDRESSES];
} Parts;

typedef struct KeySet
{
	int			n;
	int32	   *keys;
	const char **kinds;			/* or null: not wanted */
	bool		sparse;			/* of somebody of whom little is known, who is found by less */
} KeySet;

/* The finalizer of MurmurHash3, which mixes all bits. */
static inline uint64
mix(uint64 h)
{
	h ^= h >> 33;
	h *= UINT64CONST(0xff51afd7ed558ccd);
	h ^= h >> 33;
	h *= UINT64CONST(0xc4ceb9fe1a85ec53);
	return h ^ (h >> 33);
}

/* FNV-1a, never 0. */
static inline Part
part_of(const char *text, int length)
{
	uint64		h = UINT64CONST(0xcbf29ce484222325);

	for (int i = 0; i < length; i++)
		h = (h ^ (unsigned char) text[i]) * UINT64CONST(0x100000001b3);
	return h | 1;
}

static inline Part
part_of_number(uint32 number)
{
	return mix(number + UINT64CONST(0x9e3779b97f4a7c15)) | 1;
}

static void
put_key(KeySet *set, KeyKind kind, Part a, Part b, Part c)
{
	int32		key;
	int			at;

	if (set->n == MATCHING_MAX_KEYS)
		return;
	key = (int32) mix(mix(mix(a + kind) + b) + c) & ~1;
	if (kind == KEY_BIRTH_DATE)
		key |= 1;				/* MATCHING_KEY_IS_ENOUGH */
	for (at = set->n; at > 0 && set->keys[at - 1] >= key; at--)
	{
		if (set->keys[at - 1] == key)
			return;
	}
	memmove(set->keys + at + 1, set->keys + at, (set->n - at) * sizeof(int32));
	set->keys[at] = key;
	if (set->kinds)
	{
		memmove(set->kinds + at + 1, set->kinds + at, (set->n - at) * sizeof(char *));
		set->kinds[at] = key_names[kind];
	}
	set->n++;
}

/* Two parts of a kind, in either order. */
static void
put_pair(KeySet *set, KeyKind kind, Part a, Part b, Part c)
{
	put_key(set, kind, Min(a, b), Max(a, b), c);
}

static bool
is_ascii(const char *text, int length)
{
	for (int i = 0; i < length; i++)
	{
		if (IS_HIGHBIT_SET(text[i]))
			return false;
	}
	return true;
}

/* The bytes of the first characters. */
static int
start_length(const char *text, int length, int characters)
{
	return pg_mbcharcliplen(text, length, characters);
}

static Part
start_of(const char *text, int length, int characters)
{
	return part_of(text, start_length(text, length, characters));
}

/* A name by its sound; one that is not written in ASCII by its first characters. */
static Part
sound_of(const char *text, int length)
{
	Metaphone	sound;

	if (!is_ascii(text, length))
		return start_of(text, length, START_LETTERS);
	string_double_metaphone(text, length, &sound);
	if (sound.primary[0] == '\0')
		return start_of(text, length, SOUND_LETTERS);
	return part_of(sound.primary, strnlen(sound.primary, SOUND_LETTERS));
}

/* A street without directions and the like before it: "n main st" is found as main. */
static const char *
street_core(const char *text, int *length)
{
	for (;;)
	{
		const char *space = memchr(text, ' ', *length);
		int			word = space ? space - text : 0;

		if (word == 0 || word > 2 || *length - word - 1 < START_LETTERS)
			return text;
		text = space + 1;
		*length -= word + 1;
	}
}

static int
add_names(Parts *parts, int n, int max, const Demographics *d, DemographicsKind kind)
{
	const DemographicsItem *item = demographics_items(d, kind);

	for (int i = 0; i < demographics_count(d, kind) && n < max; i++, item++)
	{
		const char *text = demographics_text(d, item);

		parts->names[n].sound = sound_of(text, item->length);
		parts->names[n].start = start_of(text, item->length, START_LETTERS);
		parts->names[n].shorter = start_of(text, item->length, SHORT_LETTERS);
		n++;
	}
	return n;
}

static void
birth_parts(const Demographics *d, Parts *parts)
{
	int			month = d->birth_month;
	int			day = d->birth_day;

	if (d->birth_year == 0)
		return;
	parts->birth_year = part_of_number(d->birth_year);
	if (month == 0 || day == 0)
		return;
	/* month and day in either order */
	parts->birth_date = mix(parts->birth_year +
							part_of_number(1000000 + Min(month, day) * 1000 + Max(month, day)));
}

static void
address_parts(const Demographics *d, Parts *parts)
{
	const DemographicsItem *item;

	item = demographics_items(d, DEMO_STREET);
	parts->nstreets = Min(demographics_count(d, DEMO_STREET), MAX_ADDRESSES);
	for (int i = 0; i < parts->nstreets; i++)
	{
		int			length = item[i].length;
		const char *text = street_core(demographics_text(d, &item[i]), &length);

		parts->streets[i] = sound_of(text, length);
		parts->street_starts[i] = start_of(text, length, START_LETTERS);
	}
	item = demographics_items(d, DEMO_STREET_NUMBER);
	parts->nnumbers = Min(demographics_count(d, DEMO_STREET_NUMBER), MAX_ADDRESSES);
	for (int i = 0; i < parts->nnumbers; i++)
		parts->numbers[i] = part_of(demographics_text(d, &item[i]), item[i].length);
	item = demographics_items(d, DEMO_CITY);
	parts->ncities = Min(demographics_count(d, DEMO_CITY), MAX_ADDRESSES);
	for (int i = 0; i < parts->ncities; i++)
	{
		const char *text = demographics_text(d, &item[i]);

		parts->cities[i] = sound_of(text, item[i].length);
		parts->city_starts[i] = start_of(text, item[i].length, START_LETTERS);
	}
	item = demographics_items(d, DEMO_POSTAL);
	parts->npostals = Min(demographics_count(d, DEMO_POSTAL), MAX_ADDRESSES);
	for (int i = 0; i < parts->npostals; i++)
		parts->postals[i] = part_of(demographics_text(d, &item[i]), item[i].length);
}

static void
split(const Demographics *d, Parts *parts)
{
	static const DemographicsKind family_kinds[] = {
		DEMO_FAMILY, DEMO_FAMILY_PART, DEMO_PREVIOUS, DEMO_PREVIOUS_PART
	};
	static const DemographicsKind given_kinds[] = {DEMO_GIVEN, DEMO_GIVEN_PART, DEMO_ALIAS};
	int			n = 0;

	memset(parts, 0, offsetof(Parts, names));
	birth_parts(d, parts);
	for (int i = 0; i < lengthof(family_kinds); i++)
		n = add_names(parts, n, MAX_FAMILIES, d, family_kinds[i]);
	parts->nfamilies = n;
	n = parts->nfamilies;
	for (int i = 0; i < lengthof(given_kinds); i++)
		n = add_names(parts, n, parts->nfamilies + MAX_GIVENS, d, given_kinds[i]);
	parts->ngivens = n - parts->nfamilies;
	address_parts(d, parts);
}

/* An identifier without its type, which is not always known. */
static const char *
identifier_value(const Demographics *d, const DemographicsItem *item, int *length)
{
	const char *text = demographics_text(d, item);
	const char *bar = memchr(text, '|', item->length);

	*length = bar ? item->length - (int) (bar + 1 - text) : item->length;
	return bar ? bar + 1 : text;
}

/* Either half of an identifier: one wrong digit leaves one of them right.  A short one whole. */
static void
put_identifiers(KeySet *set, const Demographics *d)
{
	const DemographicsItem *item = demographics_items(d, DEMO_IDENTIFIER);

	for (int i = 0; i < demographics_count(d, DEMO_IDENTIFIER); i++)
	{
		int			length;
		const char *value = identifier_value(d, &item[i], &length);
		int			half = Max((length + 1) / 2, 4);

		if (length < 6 || !is_ascii(value, length))
			put_key(set, KEY_IDENTIFIER, part_of(value, length), 0, 0);
		else
		{
			put_key(set, KEY_IDENTIFIER_START, part_of(value, half), 0, 0);
			put_key(set, KEY_IDENTIFIER_END, part_of(value + length - half, half), 0, 0);
		}
	}
}

/* The last five digits; the five that begin two before them. */
static void
put_phones(KeySet *set, const Demographics *d)
{
	const DemographicsItem *item = demographics_items(d, DEMO_PHONE);

	for (int i = 0; i < Min(demographics_count(d, DEMO_PHONE), MAX_SEVERAL); i++)
	{
		const char *end = demographics_text(d, &item[i]) + item[i].length;

		if (item[i].length < 5)
			continue;
		put_key(set, KEY_PHONE_END, part_of(end - 5, 5), 0, 0);
		if (set->sparse && item[i].length >= 7)
			put_key(set, KEY_PHONE_MIDDLE, part_of(end - 7, 5), 0, 0);
	}
}

/* The first letters and digits of an address, whatever is between them. */
static Part
email_start(const char *text, int length)
{
	char		letters[EMAIL_LETTERS];
	int			n = 0;

	for (int i = 0; i < length && n < EMAIL_LETTERS; i++)
	{
		char		c = text[i];

		if (c != '@' && c != '.' && c != '-' && c != '_' && c != '+')
			letters[n++] = c;
	}
	return part_of(letters, n);
}

/* The start; the domain without its ending, and what is before it, with a letter of the other. */
static void
put_emails(KeySet *set, const Demographics *d)
{
	const DemographicsItem *item = demographics_items(d, DEMO_EMAIL);

	for (int i = 0; i < Min(demographics_count(d, DEMO_EMAIL), MAX_SEVERAL); i++)
	{
		const char *text = demographics_text(d, &item[i]);
		const char *end = text + item[i].length;
		const char *at = memchr(text, '@', item[i].length);
		const char *dot;

		put_key(set, KEY_EMAIL_START, email_start(text, item[i].length), 0, 0);
		if (!set->sparse || at == NULL || at == text || at + 1 == end)
			continue;
		dot = memchr(at, '.', end - at);
		put_key(set, KEY_EMAIL_DOMAIN, start_of(text, at - text, 1),
				part_of(at + 1, (dot ? dot : end) - at - 1), 0);
		put_key(set, KEY_EMAIL_LOCAL, part_of(text, at - text), start_of(at + 1, 1, 1), 0);
	}
}

static void
put_names(KeySet *set, const Parts *parts)
{
	for (int f = 0; f < parts->nfamilies; f++)
	{
		for (int g = parts->nfamilies; g < parts->nfamilies + parts->ngivens; g++)
		{
			put_pair(set, KEY_NAMES_SOUND, parts->names[f].sound, parts->names[g].sound, 0);
			put_pair(set, KEY_NAMES_START, parts->names[f].start, parts->names[g].start, 0);
			if (parts->birth_year && set->sparse)
				put_pair(set, KEY_NAMES_YEAR, parts->names[f].shorter, parts->names[g].shorter,
						 parts->birth_year);
		}
	}
}

static void
put_names_and_dates(KeySet *set, const Parts *parts)
{
	for (int i = 0; set->sparse && i < parts->nfamilies + parts->ngivens; i++)
	{
		put_key(set, KEY_NAME, parts->names[i].sound, 0, 0);
		if (parts->birth_year)
			put_key(set, KEY_NAME_YEAR, parts->names[i].sound, parts->birth_year, 0);
	}
}

static void
put_addresses(KeySet *set, const Parts *parts)
{
	for (int i = 0; i < parts->nnumbers; i++)
	{
		for (int j = 0; j < parts->nstreets; j++)
			put_key(set, KEY_NUMBER_STREET, parts->numbers[i], parts->streets[j], 0);
		for (int j = 0; set->sparse && j < parts->npostals; j++)
			put_key(set, KEY_NUMBER_POSTAL, parts->numbers[i], parts->postals[j], 0);
	}
	for (int i = 0; i < parts->nstreets; i++)
	{
		for (int j = 0; set->sparse && j < parts->npostals; j++)
			put_key(set, KEY_STREET_POSTAL, parts->street_starts[i], parts->postals[j], 0);
		for (int j = 0; j < parts->ncities; j++)
			put_key(set, KEY_STREET_CITY, parts->street_starts[i], parts->city_starts[j], 0);
	}
	for (int i = 0; set->sparse && parts->birth_year && i < parts->ncities; i++)
		put_key(set, KEY_CITY_YEAR, parts->cities[i], parts->birth_year, 0);
}

static void
put_names_and_addresses(KeySet *set, const Parts *parts)
{
	for (int i = 0; i < parts->nfamilies + parts->ngivens; i++)
	{
		Part		name = parts->names[i].sound;

		for (int j = 0; j < parts->ncities; j++)
			put_key(set, KEY_NAME_CITY, name, parts->cities[j], 0);
		for (int j = 0; j < parts->npostals && (i < parts->nfamilies || set->sparse); j++)
			put_key(set, KEY_NAME_POSTAL, name, parts->postals[j], 0);
	}
}

/*
 * Is little known?  Then more of it is a key: that costs little, and what is
 * known may all be a bit wrong.
 */
static bool
is_sparse(const Demographics *d)
{
	bool		address = demographics_count(d, DEMO_STREET_NUMBER) > 0 &&
		demographics_count(d, DEMO_STREET) > 0;

	return (demographics_count(d, DEMO_IDENTIFIER) > 0) + (demographics_count(d, DEMO_PHONE) > 0) +
		(demographics_count(d, DEMO_EMAIL) > 0) + address < 2;
}

/* In order of use, because there is room for MATCHING_MAX_KEYS. */
static void
make_keys(KeySet *set, const Demographics *d)
{
	Parts		parts;

	split(d, &parts);
	if (parts.birth_date)
		put_key(set, KEY_BIRTH_DATE, parts.birth_date, 0, 0);
	set->sparse = is_sparse(d);
	put_phones(set, d);
	put_emails(set, d);
	put_addresses(set, &parts);
	put_identifiers(set, d);
	put_names(set, &parts);
	put_names_and_dates(set, &parts);
	put_names_and_addresses(set, &parts);
}

int
matching_keys(const Demographics *d, int32 *keys)
{
	KeySet		set = { 0, keys, NULL, false };

	make_keys(&set, d);
	return set.n;
}

int
matching_keys_kinds(const Demographics *d, int32 *keys, const char **kinds)
{
	KeySet		set = { 0, keys, kinds, false };

	make_keys(&set, d);
	return set.n;
}

bool
matching_keys_overlap(const Demographics *a, const Demographics *b)
{
	int32		akeys[MATCHING_MAX_KEYS];
	int32		bkeys[MATCHING_MAX_KEYS];
	int			na = matching_keys(a, akeys);
	int			nb = matching_keys(b, bkeys);
	int			i = 0;
	int			j = 0;

	while (i < na && j < nb)
	{
		if (akeys[i] == bkeys[j])
			return true;
		if (akeys[i] < bkeys[j])
			i++;
		else
			j++;
	}
	return false;
}

PG_FUNCTION_INFO_V1(match_keys);

Datum
match_keys(PG_FUNCTION_ARGS)
{
	int32		keys[MATCHING_MAX_KEYS];
	Datum		datums[MATCHING_MAX_KEYS];
	int			n = matching_keys(PG_GETARG_DEMOGRAPHICS(0), keys);

	for (int i = 0; i < n; i++)
		datums[i] = Int32GetDatum(keys[i]);
	PG_RETURN_ARRAYTYPE_P(construct_array(datums, n, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}

PG_FUNCTION_INFO_V1(match_keys_explain);

Datum
match_keys_explain(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int32		keys[MATCHING_MAX_KEYS];
	const char *kinds[MATCHING_MAX_KEYS];
	int			n = matching_keys_kinds(PG_GETARG_DEMOGRAPHICS(0), keys, kinds);

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < n; i++)
	{
		Datum		values[2];
		bool		nulls[2] = { false, false };

		values[0] = Int32GetDatum(keys[i]);
		values[1] = CStringGetTextDatum(kinds[i]);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
